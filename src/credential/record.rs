//! What a token file says: one JSON object with a checksum. What it says beyond what is known here is kept.
//!
//! [`document`] is its form as bytes, `moment` that of its times.

pub mod document;
pub(super) mod moment;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::provider::{Granted, Registration};
use crate::clock::UnixMillis;
use crate::id::RequestId;
use crate::secret::Secret;

/// The longest name.
const LONGEST_ID: usize = 64;
/// `-` and eight characters of base32 make a name nobody's: 40 random bits.
const RANDOM_TAIL: usize = 9;

/// The name of a token: `[a-z0-9-]{1,64}`, made by us, also its file's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(Arc<str>);

impl TokenId {
    /// A fresh one, which begins with the provider's name as far as that fits.
    pub fn fresh(provider: &str) -> Self {
        let mut name = String::new();
        for character in provider.chars().map(|character| character.to_ascii_lowercase()) {
            let fits = character.is_ascii_lowercase() || character.is_ascii_digit();
            match character {
                _ if name.len() >= LONGEST_ID - RANDOM_TAIL => break,
                fitting if fits => name.push(fitting),
                _ if name.is_empty() || name.ends_with('-') => {}
                _ => name.push('-'),
            }
        }
        let name = match name.trim_end_matches('-') {
            "" => "token",
            name => name,
        };
        Self(format!("{name}-{}", random_tail()).into())
    }

    /// One that was read; `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=LONGEST_ID).contains(&text.len())
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

/// Eight characters of base32 (RFC 4648 §6, in lower case). No secret: it only has to be nobody else's.
fn random_tail() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let random = RequestId::fresh();
    let bits = random.as_str().get(..10).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default();
    let letters = (0..8).filter_map(|place| ALPHABET.get(usize::try_from(bits >> (5 * place) & 31).ok()?));
    letters.map(|letter| char::from(*letter)).collect()
}

/// A token, as it is stored.
#[derive(Clone, PartialEq)]
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

impl State {
    /// As token files have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::NeedsLogin => "needs_login",
            Self::Disabled => "disabled",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Valid, Self::NeedsLogin, Self::Disabled].into_iter().find(|state| state.as_str() == text)
    }
}

impl Record {
    /// The first generation of a login.
    pub fn first(provider: &Arc<str>, granted: &Granted, registration: Option<Registration>, now: UnixMillis) -> Self {
        Self {
            id: TokenId::fresh(provider),
            provider: Arc::clone(provider),
            generation: 1,
            access_token: granted.access_token.clone(),
            refresh_token: granted.refresh_token.clone(),
            token_type: granted.token_type.clone(),
            scope: granted.scope.clone(),
            created_at: now,
            obtained_at: now,
            expires_at: after(now, granted.expires_in),
            refresh_expires_at: granted.refresh_expires_in.map(|lifetime| after(now, lifetime)),
            lineage: fresh_lineage(),
            previous: None,
            state: State::Valid,
            reason: None,
            last_error: None,
            registration,
            further: serde_json::Map::new(),
        }
    }

    /// The next generation. What the provider does not say again goes on: the refresh token (RFC 6749 §6) with its end, and
    /// the scope (RFC 6749 §5.1).
    #[must_use]
    pub fn next(&self, granted: &Granted, now: UnixMillis) -> Self {
        let kept_end = if granted.refresh_token.is_none() { self.refresh_expires_at } else { None };
        Self {
            generation: self.generation.saturating_add(1),
            access_token: granted.access_token.clone(),
            refresh_token: granted.refresh_token.clone().or_else(|| self.refresh_token.clone()),
            token_type: granted.token_type.clone(),
            scope: granted.scope.clone().or_else(|| self.scope.clone()),
            obtained_at: now,
            expires_at: after(now, granted.expires_in),
            refresh_expires_at: granted.refresh_expires_in.map(|lifetime| after(now, lifetime)).or(kept_end),
            previous: self.refresh_sha256().map(|digest| (self.generation, digest)),
            state: State::Valid,
            reason: None,
            last_error: None,
            ..self.clone()
        }
    }

    /// SHA-256 of the refresh token, in hex: what a journal and a successor name it by.
    pub fn refresh_sha256(&self) -> Option<String> {
        self.refresh_token.as_ref().map(sha256)
    }

    /// Whether that is the refresh token that was spent for this generation.
    pub fn has_spent(&self, token: &Secret) -> bool {
        self.previous.as_ref().is_some_and(|(_, spent)| *spent == sha256(token))
    }

    /// The first eight hex digits of the SHA-256 of the refresh token, or of the access token without one: tells tokens
    /// apart, and nothing of them.
    pub fn fingerprint(&self) -> String {
        let token = self.refresh_token.as_ref().unwrap_or(&self.access_token);
        let mut digits = sha256(token);
        digits.truncate(8);
        digits
    }
}

impl fmt::Debug for Record {
    /// Without the keys that are not known here: nobody knows what is secret among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("id", &self.id)
            .field("generation", &self.generation)
            .field("state", &self.state)
            .field("reason", &self.reason)
            .field("expires_at", &self.expires_at)
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

fn sha256(token: &Secret) -> String {
    hex::encode(Sha256::digest(token.expose()))
}

/// 128 random bits.
fn fresh_lineage() -> String {
    RequestId::fresh().to_string()
}

fn after(now: UnixMillis, lifetime: Duration) -> UnixMillis {
    now.saturating_add(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX)).min(moment::LAST)
}

#[cfg(test)]
mod tests;
