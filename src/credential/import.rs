//! Token files that others made: our own format, AWS's SSO cache, lists of `{"auth":"IdC","refreshToken":…}`.

use super::provider::Registration;
use crate::clock::UnixMillis;
use crate::secret::Secret;

/// One token of an imported document.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Which provider's, if the document says so.
    pub provider: Option<String>,
    /// `None`: it is refreshed at once.
    pub access_token: Option<Secret>,
    /// `None`: it ends when the access token does.
    pub refresh_token: Option<Secret>,
    /// When the access token ends.
    pub expires_at: Option<UnixMillis>,
    /// Of AWS.
    pub registration: Option<Registration>,
    /// What else is there and is kept (never secrets of known names).
    pub further: serde_json::Map<String, serde_json::Value>,
}

/// Why a document cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ImportError(pub String);

/// Reads a document; never empty.
///
/// # Errors
/// It is none of the known formats; the message says what was looked for.
pub fn parse(document: &[u8]) -> Result<Vec<Imported>, ImportError> {
    let _ = document;
    todo!()
}
