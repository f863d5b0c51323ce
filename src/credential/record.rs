//! What a token file says: one JSON object with a checksum. What it says beyond what is known here is kept.

use std::fmt;
use std::sync::Arc;

use super::provider::{Granted, Registration};
use crate::clock::UnixMillis;
use crate::secret::Secret;

/// The name of a token: `[a-z0-9-]{1,64}`, made by us, also its file's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(Arc<str>);

impl TokenId {
    /// A fresh one, which begins with the provider's name as far as that fits.
    pub fn fresh(provider: &str) -> Self {
        let _ = provider;
        todo!()
    }

    /// One that was read; `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        fits.then(|| Self(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A token, as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its name.
    pub id: TokenId,
    /// The provider's name.
    pub provider: Arc<str>,
    /// From 1; one more with each refresh.
    pub generation: u64,
    /// Empty: there is none yet (an import of a refresh token alone).
    pub access_token: Secret,
    /// `None`: it cannot be refreshed.
    pub refresh_token: Option<Secret>,
    /// `Bearer`.
    pub token_type: String,
    /// What was granted, if it was said.
    pub scope: Option<String>,
    /// When the login was.
    pub created_at: UnixMillis,
    /// When this generation was had.
    pub obtained_at: UnixMillis,
    /// When the access token ends.
    pub expires_at: UnixMillis,
    /// When the refresh token ends, if that was said.
    pub refresh_expires_at: Option<UnixMillis>,
    /// Random for each login: tells a token's successors from another login's.
    pub lineage: String,
    /// The generation before, and SHA-256 of the refresh token that was spent for this one.
    pub previous: Option<(u64, String)>,
    /// Whether it may be used.
    pub state: State,
    /// Why not, in a word: `invalid_grant`, `rotation_outcome_unknown`, `registration_expired`, `stale_restore`.
    pub reason: Option<String>,
    /// How the last refresh failed, if it did: never holds a secret.
    pub last_error: Option<String>,
    /// Of AWS.
    pub registration: Option<Registration>,
    /// Keys that are not known here.
    pub further: serde_json::Map<String, serde_json::Value>,
}

/// Whether a token may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It may.
    Valid,
    /// Somebody has to log in again.
    NeedsLogin,
    /// Taken out by an operator.
    Disabled,
}

impl Record {
    /// The first generation of a login.
    pub fn first(provider: &Arc<str>, granted: &Granted, registration: Option<Registration>, now: UnixMillis) -> Self {
        let _ = (provider, granted, registration, now);
        todo!()
    }

    /// The next generation.
    #[must_use]
    pub fn next(&self, granted: &Granted, now: UnixMillis) -> Self {
        let _ = (granted, now);
        todo!()
    }

    /// The first eight hex digits of the SHA-256 of the refresh token, or of the access token without one: tells tokens
    /// apart, and nothing of them.
    pub fn fingerprint(&self) -> String {
        todo!()
    }
}
