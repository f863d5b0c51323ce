//! What is seen of tokens: how they stand, asked of whoever knows when somebody reads; and how refreshes go.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::families::{CALLS, counters, gauge, gauges, histograms};
use crate::clock::UnixMillis;

/// How one token stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenState {
    /// The provider's name in the configuration.
    pub provider: Arc<str>,
    /// Its id, which is ours.
    pub token: String,
    /// One of `STATES`.
    pub state: &'static str,
    /// When its access token ends.
    pub expires_at: UnixMillis,
}

/// All of them, and whether all of them are on the disk.
#[derive(Clone, Debug, Default)]
pub struct TokenStates {
    /// Each.
    pub tokens: Vec<TokenState>,
    /// Everything that is in use would survive a crash.
    pub durable: bool,
}

/// A token has one series for each.
pub const STATES: [&str; 5] = ["valid", "expiring", "expired", "resting", "needs_login"];

/// Who knows.
type Source = Box<dyn Fn() -> TokenStates + Send + Sync>;

/// The families.
pub struct TokenFamilies {
    expiry: IntGaugeVec,
    state: IntGaugeVec,
    durable: IntGauge,
    refreshes: IntCounterVec,
    took: HistogramVec,
    source: OnceLock<Source>,
}

impl fmt::Debug for TokenFamilies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFamilies").finish_non_exhaustive()
    }
}

impl TokenFamilies {
    /// Makes and registers them.
    ///
    /// # Errors
    /// A name or label is malformed or taken: a mistake in this file, found by every test.
    pub fn register(r: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            expiry: gauges(
                r,
                "token_expiry_timestamp_seconds",
                "When a token's access token ends.",
                &["provider", "token"],
            )?,
            state: gauges(
                r,
                "token_state",
                "How a token stands: 1 for its state, 0 for the others.",
                &["provider", "token", "state"],
            )?,
            durable: gauge(r, "token_store_durable", "0 while a token is in use that the disk does not have.")?,
            refreshes: counters(
                r,
                "token_refreshes_total",
                "Attempts to refresh a token, by outcome.",
                &["provider", "outcome"],
            )?,
            took: histograms(r, "token_refresh_seconds", "How long such an attempt took.", &["provider"], CALLS)?,
            source: OnceLock::new(),
        })
    }

    /// Asks from now on who knows.
    pub fn ask(&self, source: Source) {
        let _ = self.source.set(source);
    }

    pub fn refresh(&self, provider: &str, outcome: &str, took: Duration) {
        self.refreshes.with_label_values(&[provider, outcome]).inc();
        self.took.with_label_values(&[provider]).observe(took.as_secs_f64());
    }

    /// Only ever called under the `consistent` lock: what is gone has no series.
    pub fn read(&self) {
        let TokenStates { tokens, durable } = self.source.get().map_or_else(TokenStates::none, |source| source());
        self.durable.set(i64::from(durable));
        self.expiry.reset();
        self.state.reset();
        for token in tokens {
            let names = [&*token.provider, token.token.as_str()];
            self.expiry.with_label_values(&names).set(i64::try_from(token.expires_at / 1000).unwrap_or(i64::MAX));
            for state in STATES {
                let [provider, id] = names;
                self.state.with_label_values(&[provider, id, state]).set(i64::from(state == token.state));
            }
        }
    }
}

impl TokenStates {
    /// Nobody has tokens, and so none is in danger.
    fn none() -> Self {
        Self { tokens: Vec::new(), durable: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_series_a_state_until_it_is_gone() {
        let registry = Registry::new();
        let families = TokenFamilies::register(&registry).unwrap();
        let token = TokenState { provider: "kiro".into(), token: "kiro-1".into(), state: "resting", expires_at: 7_999 };
        let readings = std::sync::Mutex::new(vec![
            TokenStates { tokens: Vec::new(), durable: true },
            TokenStates { tokens: vec![token], durable: false },
        ]);
        families.ask(Box::new(move || readings.lock().unwrap().pop().unwrap()));
        let text = || prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        families.read();
        let first = text();
        assert!(first.contains(r#"expiry_timestamp_seconds{provider="kiro",token="kiro-1"} 7"#), "{first}");
        assert_eq!(first.matches("countersign_token_state{").count(), 5, "{first}");
        assert!(first.contains(r#"token_state{provider="kiro",state="resting",token="kiro-1"} 1"#), "{first}");
        assert!(first.contains(r#"token_state{provider="kiro",state="valid",token="kiro-1"} 0"#), "{first}");
        assert!(first.contains("token_store_durable 0"), "{first}");
        families.read();
        let second = text();
        assert!(!second.contains("kiro-1") && second.contains("token_store_durable 1"), "{second}");
    }
}
