//! What a route puts on its upstream requests, ready for use, and where it may go.
//!
//! Invariant: a credential leaves only through a [`Destination`], and there is none for an endpoint of another upstream than
//! the route's, nor for a route with a credential without it. [`super::rewrite::plan`] takes nothing else.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::credential::vault::{Spec, header_value};
use crate::secret::Secret;

use super::route::Forward;
use super::upstream::Endpoint;

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

/// Where one attempt goes, with what it carries there.
pub struct Destination<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) carried: Option<(HeaderName, HeaderValue)>,
}

/// Why a credential does not go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// Nobody has leased one.
    #[error("no token was leased")]
    NoToken,
    /// It was configured for others.
    #[error("the endpoint does not belong to the route's upstream")]
    Elsewhere,
    /// It holds what would end the header, or is empty.
    #[error("no header can carry it")]
    NotAHeader,
}

impl<'a> Destination<'a> {
    /// An endpoint of the route's own upstream. `leased`: the token, where the route's credential is a pool.
    ///
    /// # Errors
    /// The route has a credential, and the request would have to go without it, or go elsewhere with it.
    pub fn of(forward: &Forward, endpoint: &'a Arc<Endpoint>, leased: Option<&Secret>) -> Result<Self, Withheld> {
        let Some(credential) = forward.credential.as_deref() else {
            return Ok(Self { endpoint, carried: None });
        };
        if !forward.upstream.endpoints.iter().any(|own| Arc::ptr_eq(own, endpoint)) {
            return Err(Withheld::Elsewhere);
        }
        let token = match &credential.source {
            Source::Secret(secret) => secret,
            Source::Pool { .. } => leased.ok_or(Withheld::NoToken)?,
        };
        let value = Some(token).filter(|token| !token.is_empty()).and_then(|token| credential.value(token));
        let value = value.ok_or(Withheld::NotAHeader)?;
        Ok(Self { endpoint, carried: Some((credential.header.clone(), value)) })
    }
}

impl fmt::Debug for Destination<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let carried = self.carried.as_ref().map(|(name, _)| name);
        f.debug_struct("Destination").field("endpoint", &self.endpoint.label).field("carried", &carried).finish()
    }
}
