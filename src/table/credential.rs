//! What a route puts on its upstream requests, ready for use.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::credential::vault::{Spec, header_value};
use crate::secret::Secret;

/// One of `credentials`.
#[derive(Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Where it comes from.
    pub source: Source,
    /// The header that carries it.
    pub header: HeaderName,
    /// What stands before the token in the header's value, such as `Bearer `.
    pub before: String,
    /// What stands behind it.
    pub after: String,
}

/// Where a credential comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// Tokens of a provider.
    Pool {
        /// What is asked of the vault.
        spec: Spec,
        /// How long before its end a token is refreshed.
        refresh_before: Duration,
    },
    /// The same for every request.
    Secret(Secret),
}

impl Credential {
    /// How long before its end a token of that provider is refreshed, if this is where it goes.
    pub fn refresh_before(&self, provider: &str) -> Option<Duration> {
        match &self.source {
            Source::Pool { spec, refresh_before } if *spec.provider == *provider => Some(*refresh_before),
            Source::Pool { .. } | Source::Secret(_) => None,
        }
    }

    /// The header's value with that token in it; `None`: no header can carry it.
    pub fn value(&self, token: &Secret) -> Option<HeaderValue> {
        let text = zeroize::Zeroizing::new(format!("{}{}{}", self.before, token.expose(), self.after));
        header_value(&text)
    }
}
