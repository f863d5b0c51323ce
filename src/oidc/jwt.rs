//! A JSON Web Token as it comes: three parts, two of them JSON (RFC 7515 §7.1, RFC 7519 §7.2). Nothing in it is believed yet.
//!
//! Keys that a token brings along (`jwk`, `jku`, `x5c`, `x5u`) are not looked at: keys are the issuer's to publish.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::claims::{Claims, Expected, Kind, Why};
use super::json;
use super::keys::{Algorithm, Found, Keys};
use crate::clock::UnixMillis;

/// Of a token, in bytes.
pub const LARGEST: usize = 16 * 1024;

/// A token in its parts.
pub struct Token<'a> {
    /// By its own word.
    algorithm: Algorithm,
    /// Which key, by its own word.
    pub kid: Option<String>,
    /// What it was made as, by its own word.
    typ: Option<String>,
    /// What the signature is of.
    signed: &'a [u8],
    /// The signature.
    signature: Vec<u8>,
    payload: &'a str,
}

impl<'a> Token<'a> {
    /// Takes it apart; it must have been made as what is expected.
    ///
    /// # Errors
    /// See [`Why`].
    pub fn read(text: &'a str, kind: Kind) -> Result<Self, Why> {
        let token = Self::apart(text)?;
        token.is_a(kind).map(|()| token)
    }

    fn apart(text: &'a str) -> Result<Self, Why> {
        let (header, payload, signature) = parts(text)?;
        let members = decoded(header).ok_or(Why::Malformed)?;
        if members.contains_key("crit") || members.contains_key("b64") {
            return Err(Why::Critical);
        }
        let algorithm = word(&members, "alg")?.and_then(|name| Algorithm::named(&name)).ok_or(Why::Algorithm)?;
        Ok(Self {
            algorithm,
            kid: word(&members, "kid")?,
            typ: word(&members, "typ")?,
            signed: text.as_bytes().get(..header.len() + 1 + payload.len()).ok_or(Why::Malformed)?,
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| Why::Malformed)?,
            payload,
        })
    }

    /// Whether it was made as what is expected (RFC 8725 §3.11, RFC 9068 §4).
    fn is_a(&self, kind: Kind) -> Result<(), Why> {
        let typ = self.typ.as_deref().map(str::to_ascii_lowercase);
        let typ = typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
        let fits = match typ {
            None | Some("jwt") => kind != Kind::AccessToken,
            Some("at+jwt") => kind != Kind::IdToken,
            Some(_) => false,
        };
        fits.then_some(()).ok_or(Why::Kind)
    }

    /// What it says, if one of these keys has signed it and it is what is expected.
    ///
    /// # Errors
    /// See [`Why`].
    pub fn judge(&self, keys: &Keys, issuer: &str, expected: &Expected, now: UnixMillis) -> Result<Claims, Why> {
        match keys.verify(self.kid.as_deref(), self.algorithm, self.signed, &self.signature) {
            Found::Right => Claims::judge(self.payload()?, self.algorithm, issuer, expected, now),
            Found::Wrong => Err(Why::Signature),
            Found::Nothing => Err(Why::UnknownKey),
        }
    }

    /// It is an object in which every name comes once, or nothing.
    fn payload(&self) -> Result<Map<String, Value>, Why> {
        decoded(self.payload).ok_or(Why::Malformed)
    }
}

/// Whether a bearer token is one for [`super::Issuer::verify`] to judge: it has three parts, and the first is that of a JWS.
pub fn looks_like_jwt(token: &str) -> bool {
    parts(token).is_ok_and(|(header, ..)| decoded(header).is_some_and(|members| members.contains_key("alg")))
}

/// Who has made it by its own word: to choose among several issuers, and for nothing else.
pub fn claimed_issuer(token: &str) -> Option<String> {
    let (_, payload, _) = parts(token).ok()?;
    Some(decoded(payload)?.get("iss")?.as_str()?.to_owned())
}

fn parts(text: &str) -> Result<(&str, &str, &str), Why> {
    if text.len() > LARGEST {
        return Err(Why::TooLarge);
    }
    let mut parts = text.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None) => Ok((header, payload, signature)),
        _ => Err(Why::Malformed),
    }
}

fn decoded(part: &str) -> Option<Map<String, Value>> {
    json::object(&URL_SAFE_NO_PAD.decode(part).ok()?)
}

/// A member of the header that is text; absent: `None`.
fn word(members: &Map<String, Value>, name: &str) -> Result<Option<String>, Why> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Why::Malformed),
    }
}
