//! What an operator pastes: the address at which his browser ended. Parsed, never fetched (RFC 8252 §7.3, §8.3).

use crate::secret::Secret;

/// What a callback says.
#[derive(Debug)]
pub struct Callback {
    /// Scheme, host, port and path as they were pasted; `None`: only a query, or `code#state`, was.
    pub address: Option<String>,
    /// Which login it belongs to.
    pub state: Secret,
    /// How that went.
    pub outcome: Outcome,
    /// Who says so (RFC 9207).
    pub issuer: Option<String>,
}

/// How a login went at the provider.
#[derive(Debug)]
pub enum Outcome {
    /// To be exchanged.
    Code(Secret),
    /// `error`, with its `error_description`: printable, bounded.
    Error {
        /// Such as `access_denied`.
        code: String,
        /// In the provider's words.
        description: Option<String>,
    },
}

/// Why a text is no callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// Neither `code` nor `error`, or no `state`.
    #[error("Callback URL missing code or state parameter")]
    Missing,
    /// A parameter comes twice, with the same value or another.
    #[error("the address has a parameter twice")]
    Ambiguous,
    /// More than 8 KiB.
    #[error("the address is longer than 8 KiB")]
    TooLong,
    /// Not an http(s) URL, a query, or `code#state`.
    #[error("this is no callback address")]
    Malformed,
}

/// Parses what was pasted: a whole URL, its query alone, or `code#state`; stray spaces, quotes, angle brackets and line
/// breaks are forgiven.
///
/// # Errors
/// See [`CallbackError`].
pub fn parse(pasted: &str) -> Result<Callback, CallbackError> {
    let _ = pasted;
    todo!()
}

/// The query of a request to `/oauth/callback`.
///
/// # Errors
/// See [`CallbackError`].
pub fn parse_query(query: &str) -> Result<Callback, CallbackError> {
    let _ = query;
    todo!()
}
