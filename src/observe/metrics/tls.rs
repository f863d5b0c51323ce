//! What listeners' TLS moves, and when certificates end: read from whoever knows, when somebody asks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::families::{counters, gauges};
use crate::clock::UnixMillis;

/// When one certificate ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateEnd {
    /// Its first name, or that of its file.
    pub name: String,
    /// From then on it is not valid.
    pub not_after: UnixMillis,
    /// Its files hold something else that can't be served.
    pub broken: bool,
}

/// Who knows which certificates there are.
type Source = Box<dyn Fn() -> Vec<CertificateEnd> + Send + Sync>;

/// The families.
pub struct TlsFamilies {
    handshakes: IntCounterVec,
    proxy_headers: IntCounterVec,
    not_after: IntGaugeVec,
    broken: IntGaugeVec,
    source: OnceLock<Source>,
}

impl fmt::Debug for TlsFamilies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFamilies").finish_non_exhaustive()
    }
}

impl TlsFamilies {
    pub fn register(r: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            handshakes: counters(
                r,
                "tls_handshakes_total",
                "TLS handshakes with clients: full, resumed or failed.",
                &["listener", "outcome"],
            )?,
            proxy_headers: counters(
                r,
                "proxy_protocol_refused_total",
                "Connections ended because their PROXY header was missing, malformed or not believed.",
                &["listener"],
            )?,
            not_after: gauges(
                r,
                "tls_certificate_not_after_timestamp_seconds",
                "When the certificate that is served ends; of several for one name, the first that does.",
                &["name"],
            )?,
            broken: gauges(
                r,
                "tls_certificate_files_broken",
                "1 while the files hold something that can't be served, and the last good certificate is.",
                &["name"],
            )?,
            source: OnceLock::new(),
        })
    }

    /// Asks from now on who knows.
    pub fn ask(&self, source: Source) {
        let _ = self.source.set(source);
    }

    pub fn handshake(&self, listener: &str, outcome: &'static str) {
        self.handshakes.with_label_values(&[listener, outcome]).inc();
    }

    pub fn proxy_header_refused(&self, listener: &str) {
        self.proxy_headers.with_label_values(&[listener]).inc();
    }

    /// Only ever called under the `consistent` lock: what is gone has no series.
    pub fn read(&self) {
        let Some(source) = self.source.get() else { return };
        let mut ends: BTreeMap<String, (UnixMillis, bool)> = BTreeMap::new();
        for CertificateEnd { name, not_after, broken } in source() {
            let end = ends.entry(name).or_insert((not_after, broken));
            *end = (end.0.min(not_after), end.1 || broken);
        }
        self.not_after.reset();
        self.broken.reset();
        for (name, (not_after, broken)) in &ends {
            self.not_after.with_label_values(&[name]).set(i64::try_from(not_after / 1000).unwrap_or(i64::MAX));
            self.broken.with_label_values(&[name]).set(i64::from(*broken));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_has_no_series_and_the_first_end_counts() {
        let registry = Registry::new();
        let families = TlsFamilies::register(&registry).unwrap();
        let ends = std::sync::Mutex::new(vec![vec![("b.test", 3_000)], vec![("a.test", 9_000), ("a.test", 7_999)]]);
        families.ask(Box::new(move || {
            let end = |(name, not_after): (&str, u64)| CertificateEnd { name: name.into(), not_after, broken: false };
            ends.lock().unwrap().pop().unwrap().into_iter().map(end).collect()
        }));
        families.read();
        assert_eq!(families.not_after.with_label_values(&["a.test"]).get(), 7);
        families.read();
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(text.contains("not_after_timestamp_seconds{name=\"b.test\"} 3") && !text.contains("a.test"), "{text}");
    }
}
