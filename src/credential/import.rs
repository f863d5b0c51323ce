//! Token files that others made: our own format, AWS's SSO cache, lists of `{"auth":"IdC","refreshToken":…}`.
//!
//! Names are compared without case, `_` and `-`, so that the formats are one: `access_token` is `accessToken`. What is read
//! here came by hand from somewhere: every complaint says which key of which entry, and never what it holds.

mod entry;

use std::collections::HashSet;

use serde_json::Value;

use super::provider::Registration;
use crate::clock::UnixMillis;
use crate::secret::Secret;

/// Of a document.
const LARGEST: usize = 1 << 20;
/// Of a document: tokens.
const MOST: usize = 1000;

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

/// Reads a document: one object, or a list of them; never empty. Entries that say they are disabled are left out, and of
/// two with one refresh token the second: used twice, it would be revoked.
///
/// # Errors
/// It is none of the known formats; the message says what was looked for.
pub fn parse(document: &[u8]) -> Result<Vec<Imported>, ImportError> {
    if document.len() > LARGEST {
        return refused("the document is larger than 1 MiB");
    }
    let tokens = match value(document)? {
        Value::Array(entries) => list(entries)?,
        Value::Object(members) => entry::read(members).map_err(ImportError)?.into_iter().collect(),
        _ => return refused("the document is neither a JSON object nor a list of them"),
    };
    let tokens = each_once(tokens);
    if tokens.is_empty() {
        return refused("the document has no token that is not disabled");
    }
    Ok(tokens)
}

fn refused<T>(why: impl Into<String>) -> Result<T, ImportError> {
    Err(ImportError(why.into()))
}

fn value(document: &[u8]) -> Result<Value, ImportError> {
    let text = document.strip_prefix("\u{feff}".as_bytes()).unwrap_or(document);
    // What serde_json complains about is syntax and where; it quotes nothing.
    serde_json::from_slice(text).map_err(|error| ImportError(format!("the document is not JSON: {error}")))
}

fn list(entries: Vec<Value>) -> Result<Vec<Imported>, ImportError> {
    if entries.len() > MOST {
        return refused(format!("the document has more than {MOST} entries"));
    }
    let mut tokens = Vec::with_capacity(entries.len());
    for (at, value) in entries.into_iter().enumerate() {
        let why = match value {
            Value::Object(members) => entry::read(members),
            _ => Err("it is no JSON object".to_owned()),
        };
        tokens.extend(why.map_err(|why| ImportError(format!("entry {}: {why}", at + 1)))?);
    }
    Ok(tokens)
}

fn each_once(tokens: Vec<Imported>) -> Vec<Imported> {
    let mut seen = HashSet::new();
    let fresh = |token: &Imported| {
        let Some(own) = token.refresh_token.as_ref().or(token.access_token.as_ref()) else { return true };
        seen.insert(own.expose().to_owned())
    };
    let mut fresh = fresh;
    tokens.into_iter().filter(|token| fresh(token)).collect()
}

#[cfg(test)]
mod tests;
