//! What an operator pastes: the address at which his browser ended. Parsed, never fetched (RFC 8252 §7.3, §8.3).
//!
//! What copying and terminals do to an address is undone; what is left must be one of three forms, and say one thing.

use url::Url;

use super::provider::{is_invisible, printable};
use crate::secret::Secret;

/// Of what is pasted.
const LARGEST: usize = 8 * 1024;
/// What begins an `http` address.
const SCHEMES: [&str; 2] = ["http://", "https://"];
/// The parameters that are ours to read (RFC 6749 §4.1.2, RFC 9207).
const NAMES: [&str; 5] = ["code", "state", "error", "error_description", "iss"];

/// What a callback says.
#[derive(Debug)]
pub struct Callback {
    /// Scheme, host, port and path, as addresses are compared ([`Callback::matches`]); `None`: only a query, or
    /// `code#state`, was pasted.
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
    /// They are where browsers keep them to themselves.
    #[error(
        "Callback URL missing code or state parameter: they stand behind its `#`, where the provider must not put them; \
         have it answer in the query (response_mode=query)"
    )]
    InFragment,
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

impl Callback {
    /// Whether it may be for this login: what was pasted without an address may; an address must be the one that was
    /// registered, in scheme, host, port and path. 127.0.0.1, `[::1]` and localhost are three hosts.
    pub fn matches(&self, redirect_uri: &str) -> bool {
        let Some(own) = &self.address else { return true };
        Url::parse(redirect_uri).is_ok_and(|registered| *own == comparable(registered))
    }
}

/// Parses what was pasted: a whole URL, its query alone, or `code#state`; stray spaces, quotes, angle brackets and line
/// breaks are forgiven.
///
/// # Errors
/// See [`CallbackError`].
pub fn parse(pasted: &str) -> Result<Callback, CallbackError> {
    if pasted.len() > LARGEST {
        return Err(CallbackError::TooLong);
    }
    let text = cleaned(pasted);
    if text.chars().any(char::is_control) {
        return Err(CallbackError::Malformed);
    }
    match form(&text)? {
        Form::Url { address, query, fragment } => {
            let address = comparable(address_of(address)?);
            Ok(Callback { address: Some(address), ..read(query, fragment)? })
        }
        Form::Query { query, fragment } => read(query, fragment),
        Form::Pair { code, state } => pair(code, state),
    }
}

/// The query of a request to `/oauth/callback`.
///
/// # Errors
/// See [`CallbackError`].
pub fn parse_query(query: &str) -> Result<Callback, CallbackError> {
    if query.len() > LARGEST {
        return Err(CallbackError::TooLong);
    }
    read(query, "")
}

/// Without what copying, quoting and wrapping add; none of it can stand in an address.
fn cleaned(pasted: &str) -> String {
    let stray = |c: char| c.is_whitespace() || is_invisible(c) || matches!(c, '"' | '<' | '>');
    let text: String = pasted.chars().filter(|c| !stray(*c)).collect();
    // These may stand in an address, but hardly at its ends.
    let quotes = ['\'', '`', '‘', '’', '‚', '“', '”', '„', '«', '»', '‹', '›', '「', '」', '《', '》'];
    text.trim_matches(quotes).to_owned()
}

/// What was pasted, taken apart.
enum Form<'a> {
    Url { address: &'a str, query: &'a str, fragment: &'a str },
    Query { query: &'a str, fragment: &'a str },
    Pair { code: &'a str, state: &'a str },
}

fn form(text: &str) -> Result<Form<'_>, CallbackError> {
    let (front, fragment) = text.split_once('#').unwrap_or((text, ""));
    if SCHEMES.iter().any(|scheme| begins_with(text, scheme)) {
        let (address, query) = front.split_once('?').unwrap_or((front, ""));
        return Ok(Form::Url { address, query, fragment });
    }
    if let Some(query) = front.strip_prefix('?') {
        return Ok(Form::Query { query, fragment });
    }
    // Before the first value there are names alone: no address of another scheme, or of none.
    let names = front.split(['=', '&']).next().unwrap_or_default();
    if names.contains("://") || names.contains('?') {
        return Err(CallbackError::Malformed);
    }
    if text.contains('#') && !is_query(front) && !is_query(fragment) {
        return Ok(Form::Pair { code: front, state: fragment });
    }
    Ok(Form::Query { query: front, fragment })
}

/// Whether a text has a value for a parameter of ours.
fn is_query(text: &str) -> bool {
    let names = text.split('&').filter_map(|part| part.split_once('=')).map(|(name, _)| decoded(name));
    names.flatten().flatten().any(|name| NAMES.contains(&name.as_str()))
}

fn begins_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// What stands before the query, if a browser can have been there.
fn address_of(text: &str) -> Result<Url, CallbackError> {
    let behind = text.split_once("://").map_or("", |(_, behind)| behind);
    let authority = behind.split('/').next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') || text.contains('\\') {
        return Err(CallbackError::Malformed);
    }
    Url::parse(text).map_err(|_| CallbackError::Malformed)
}

/// Scheme, host, port unless it is the scheme's, and path.
fn comparable(mut url: Url) -> String {
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// A query, of which the browser may have kept a fragment behind: it counts for nothing, but must not contradict.
fn read(query: &str, fragment: &str) -> Result<Callback, CallbackError> {
    let said = Said::of(query)?;
    let behind = Said::of(fragment);
    let is_behind = behind.as_ref().map_or(true, |behind| behind.code.is_some() || behind.state.is_some());
    match said.callback() {
        Ok(_) if is_behind => Err(CallbackError::Ambiguous),
        Err(CallbackError::Missing) if is_behind => Err(CallbackError::InFragment),
        read => read,
    }
}

/// A code as a page shows it, or as an address has it: a `+` is one in either.
fn pair(code: &str, state: &str) -> Result<Callback, CallbackError> {
    if state.contains('#') {
        return Err(CallbackError::Malformed);
    }
    let plain = |text: &str| decoded(&text.replace('+', "%2B"));
    let said = Said { code: plain(code)?, state: plain(state)?, ..Said::default() };
    said.callback()
}

/// The parameters that are ours to read; empty is as good as absent.
#[derive(Default)]
struct Said {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    description: Option<String>,
    issuer: Option<String>,
}

impl Said {
    fn of(query: &str) -> Result<Self, CallbackError> {
        let mut values: [Option<&str>; NAMES.len()] = [None; NAMES.len()];
        for part in query.split('&') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decoded(name).unwrap_or_default().unwrap_or_default();
            let known = NAMES.iter().zip(&mut values).find(|(known, _)| **known == name);
            if let Some((_, slot)) = known
                && slot.replace(value).is_some()
            {
                return Err(CallbackError::Ambiguous);
            }
        }
        let [code, state, error, description, issuer] = values.map(|value| value.map_or(Ok(None), decoded));
        Ok(Self { code: code?, state: state?, error: error?, description: description?, issuer: issuer? })
    }

    fn callback(self) -> Result<Callback, CallbackError> {
        let state = Secret::new(self.state.ok_or(CallbackError::Missing)?);
        let outcome = match (self.code, self.error) {
            (Some(code), None) => Outcome::Code(Secret::new(code)),
            (None, Some(error)) => Outcome::Error {
                code: printable(&error).unwrap_or_else(|| "unknown".to_owned()),
                description: self.description.as_deref().and_then(printable),
            },
            (Some(_), Some(_)) => return Err(CallbackError::Malformed),
            (None, None) => return Err(CallbackError::Missing),
        };
        Ok(Callback { address: None, state, outcome, issuer: self.issuer })
    }
}

/// A form's value; `None`: it is empty. What is not UTF-8 is nobody's code.
fn decoded(value: &str) -> Result<Option<String>, CallbackError> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, behind @ ..] = rest {
        let escaped = (*first == b'%').then(|| behind.first_chunk::<2>()).flatten().and_then(hex);
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = behind.get(if escaped.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    let text = String::from_utf8(bytes).map_err(|_| CallbackError::Malformed)?;
    Ok((!text.is_empty()).then_some(text))
}

fn hex(digits: &[u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

#[cfg(test)]
mod tests;
