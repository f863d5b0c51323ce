//! From claims to a person.
//!
//! `x-kms-user` is the lower-case mail address, `x-kms-username` the name as the SSO gives it: Chinese, English or an
//! address. What cannot be one line of text is nobody's name.

use std::sync::Arc;

use serde_json::{Map, Value};

/// Of a mail address, in bytes (RFC 5321 §4.5.3.1.3, without the brackets).
const LONGEST_USER: usize = 254;
/// Of a name, in bytes: it is sent in a header, where every byte may take three.
const LONGEST_NAME: usize = 512;
/// Where a mail address may be, if the claim for it is absent.
const OTHER_USERS: [&str; 3] = ["preferred_username", "upn", "sub"];

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// A mail address in lower case.
    pub user: Arc<str>,
    /// As the SSO gives it.
    pub name: Arc<str>,
}

/// Which claims say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// Holds the mail address.
    pub user: String,
    /// Holds the name.
    pub name: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self { user: "email".to_owned(), name: "name".to_owned() }
    }
}

impl ClaimNames {
    /// Whether the claim for the mail address is there, whatever it holds.
    pub(super) fn has_user(&self, claims: &Map<String, Value>) -> bool {
        claims.get(&self.user).is_some_and(|claim| !claim.is_null())
    }

    /// Whether the claim for the name holds one.
    pub(super) fn has_name(&self, claims: &Map<String, Value>) -> bool {
        name(claims, &self.name).is_some()
    }
}

/// Why claims name nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPerson {
    /// No claim that is looked at holds one.
    #[error("the token names no mail address")]
    NoMail,
    /// `email_verified` is false.
    #[error("the issuer has not verified the mail address")]
    NotVerified,
}

impl Person {
    /// Of a token's claims ([`super::Claims::values`]), or of an answer of the userinfo endpoint.
    ///
    /// # Errors
    /// See [`NoPerson`].
    pub fn of(claims: &Map<String, Value>, names: &ClaimNames) -> Result<Self, NoPerson> {
        if is_unverified(claims.get("email_verified")) {
            return Err(NoPerson::NotVerified);
        }
        let user = user(claims, names).ok_or(NoPerson::NoMail)?;
        let name = name(claims, &names.name).or_else(|| name(claims, "preferred_username"));
        let name = name.map_or_else(|| Arc::clone(&user), Arc::from);
        Ok(Self { user, name })
    }
}

/// Some issuers write it as text. What is neither true nor absent is no yes.
fn is_unverified(claim: Option<&Value>) -> bool {
    match claim {
        None | Some(Value::Null | Value::Bool(true)) => false,
        Some(Value::String(text)) => !text.eq_ignore_ascii_case("true"),
        Some(_) => true,
    }
}

/// A claim that is there but is no mail address is not passed over: what the operator named decides.
fn user(claims: &Map<String, Value>, names: &ClaimNames) -> Option<Arc<str>> {
    match claims.get(&names.user) {
        None | Some(Value::Null) => OTHER_USERS.iter().find_map(|other| mail(claims.get(*other)?)),
        Some(claim) => mail(claim),
    }
}

/// A mail address in lower case; `None`: it is none.
fn mail(claim: &Value) -> Option<Arc<str>> {
    let text = claim.as_str()?;
    let (local, domain) = text.rsplit_once('@')?;
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && !is_invisible(c) && !"\"(),:;<>[\\]@".contains(c);
    let is_sound =
        !local.is_empty() && !domain.is_empty() && local.chars().all(is_plain) && domain.chars().all(is_plain);
    (is_sound && text.len() <= LONGEST_USER).then(|| text.to_lowercase().into())
}

/// A name as it stands, without the white space around it; `None`: there is none that can be sent.
fn name<'a>(claims: &'a Map<String, Value>, claim: &str) -> Option<&'a str> {
    let text = claims.get(claim)?.as_str()?.trim();
    let is_sound = !text.is_empty() && text.len() <= LONGEST_NAME;
    (is_sound && !text.chars().any(|c| c.is_control() || is_invisible(c))).then_some(text)
}

/// Line separators, and what changes the direction or order of the text around it. Joiners stay: names are written with them.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests;
