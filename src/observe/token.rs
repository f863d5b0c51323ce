//! What happens to tokens: one struct or call an event; the log line and the metric side by side. A token is named by the
//! id that we gave it, never by what a provider says.

use std::time::Duration;

use ::log::Level;

use super::Observer;

/// Under this target the process log has its lines about tokens.
const TOKEN: &str = "countersign::token";

/// An attempt at a token ended.
#[derive(Clone, Debug)]
pub struct TokenRefresh<'a> {
    /// The provider's name in the configuration.
    pub provider: &'a str,
    /// The token's id.
    pub token: &'a str,
    /// `refreshed`, `taken` (another process was first), `needs_login`, `refused`, `busy`, `unreached`, `unknown`,
    /// `unwritable`.
    pub outcome: &'static str,
    /// The generation in use now.
    pub generation: u64,
    /// How long it took.
    pub took: Duration,
    /// How it failed, or what is to be told; never a secret.
    pub detail: &'a str,
}

/// Somebody has to log in again.
#[derive(Clone, Debug)]
pub struct Lack<'a> {
    /// The provider's name in the configuration.
    pub provider: &'a str,
    /// The token's id.
    pub token: &'a str,
    /// In a word.
    pub reason: &'a str,
    /// In the provider's words; never a secret.
    pub detail: &'a str,
}

impl Observer {
    /// An attempt at a token ended.
    pub fn token_refresh(&self, event: &TokenRefresh<'_>) {
        self.metrics.token_refresh(event.provider, event.outcome, event.took);
        let level = match event.outcome {
            "refreshed" => Level::Info,
            "taken" => Level::Debug,
            "refused" | "needs_login" => Level::Error,
            _ => Level::Warn,
        };
        ::log::log!(
            target: TOKEN, level,
            "token {} of provider {}: {} (generation {}, took {} ms){}{}",
            event.token, event.provider, told(event.outcome), event.generation, event.took.as_millis(),
            if event.detail.is_empty() { "" } else { ": " }, event.detail,
        );
    }

    /// A token was added: by a login, an import, another process.
    pub fn token_added(&self, provider: &str, token: &str, how: &str) {
        ::log::info!(target: TOKEN, "token {token} of provider {provider} was added by {how}");
    }

    /// A token was removed.
    pub fn token_removed(&self, provider: &str, token: &str, how: &str) {
        ::log::info!(target: TOKEN, "token {token} of provider {provider} was removed by {how}");
    }

    /// Somebody has to log in again.
    pub fn token_lacks(&self, event: &Lack<'_>) {
        ::log::error!(
            target: TOKEN,
            "token {} of provider {} needs a login ({}): {}; its file is kept",
            event.token, event.provider, event.reason, event.detail,
        );
    }

    /// A token is in use, and in memory alone.
    pub fn token_unsaved(&self, provider: &str, token: &str, detail: &str) {
        ::log::error!(
            target: TOKEN,
            "Failed to save token {token} of provider {provider}: {detail}; it is in use, and is saved as soon as that is \
             possible",
        );
    }

    /// It is on the disk after all.
    pub fn token_saved(&self, provider: &str, token: &str) {
        ::log::info!(target: TOKEN, "token {token} of provider {provider} is saved now");
    }

    /// An upstream answered 401 to a generation for the first time.
    pub fn token_rejected(&self, provider: &str, token: &str, generation: u64) {
        ::log::warn!(
            target: TOKEN,
            "an upstream rejected generation {generation} of token {token} of provider {provider} (401)",
        );
    }

    /// A token rests.
    pub fn token_rests(&self, provider: &str, token: &str, rest: Duration) {
        ::log::info!(
            target: TOKEN,
            "token {token} of provider {provider} rests for {} s: its upstream has asked for a pause (429)",
            rest.as_secs(),
        );
    }

    /// A token file cannot be used.
    pub fn token_fault(&self, file: &str, code: &str, message: &str) {
        ::log::error!(target: TOKEN, "token file {file} ({code}): {message}");
    }
}

fn told(outcome: &str) -> &str {
    match outcome {
        "refreshed" => "refreshed",
        "taken" => "another process has refreshed it",
        "needs_login" => "cannot be refreshed any more",
        "refused" => "the provider refuses to refresh it; it is left as it is",
        "busy" => "not refreshed yet",
        "unreached" => "the provider cannot be reached",
        "unknown" => "nobody knows whether it was refreshed; it serves until it ends, and is tried again then",
        _ => "not refreshed, because nothing can be written",
    }
}
