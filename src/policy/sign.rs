//! The signer: `x-kms-sign` is the lower-case hex of SHA-256 over a plain concatenation that ends in the token.
//!
//! The first three schemes are an agreement with upstreams that exist; they are implemented as they are, with what is wrong
//! with them said out loud by [`ambiguity()`]. The other two ([`Message`]) bind the request as well. Nothing here reads the clock; the stamp is handed in. `tests/vectors/sign.json` holds
//! vectors that other implementations can run.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::secret::Secret;

mod ambiguity;
mod bound;

pub use ambiguity::ambiguity;
pub use bound::{Message, MessageSignature, key_id};

/// What is signed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// user + stamp + token
    UserStamp,
    /// user + project + stamp + token
    UserProjectStamp,
    /// user + project + appid + stamp + token
    UserProjectAppidStamp,
    /// HMAC over the request and the identity; needs a token.
    HmacSha256,
    /// RFC 9421, over the request and the identity; needs a token.
    Rfc9421,
}

/// A signature, as it goes into the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// `x-kms-sign`: 64 hex digits.
    Sign([u8; 64]),
    /// `signature-input` and `signature`.
    Message(MessageSignature),
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// Lower-case mail address; empty for an anonymous caller.
    pub user: &'a str,
    /// The project's name.
    pub project: &'a str,
    /// May be empty.
    pub app_id: &'a str,
    /// Milliseconds since the epoch.
    pub stamp: u64,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::UserStamp, Self::UserProjectStamp, Self::UserProjectAppidStamp, Self::HmacSha256, Self::Rfc9421];

    /// The configuration's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::UserStamp => "user-stamp",
            Self::UserProjectStamp => "user-project-stamp",
            Self::UserProjectAppidStamp => "user-project-appid-stamp",
            Self::HmacSha256 => "hmac-sha256",
            Self::Rfc9421 => "rfc9421",
        }
    }

    /// From the configuration's word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }

    /// Whether it binds the request too. Such a scheme cannot do without a token.
    pub fn binds_request(self) -> bool {
        self.fields(&Claims { user: "", project: "", app_id: "", stamp: 0 }).is_none()
    }

    /// The fields in front of the stamp; `None`: it is no plain concatenation.
    fn fields<'a>(self, claims: &Claims<'a>) -> Option<[&'a str; 3]> {
        match self {
            Self::UserStamp => Some([claims.user, "", ""]),
            Self::UserProjectStamp => Some([claims.user, claims.project, ""]),
            Self::UserProjectAppidStamp => Some([claims.user, claims.project, claims.app_id]),
            Self::HmacSha256 | Self::Rfc9421 => None,
        }
    }
}

/// The base string with `***` in the token's place (nothing there when there is no token), for `explain`.
pub fn masked_base(scheme: Scheme, claims: &Claims<'_>, message: &Message<'_>, token: Option<&Secret>) -> String {
    let Some(fields) = scheme.fields(claims) else {
        return match token {
            Some(token) if scheme == Scheme::Rfc9421 => {
                bound::message_base(claims, message, &bound::parameters(claims, message, token))
            }
            _ => bound::hmac_base(claims, message),
        };
    };
    let mut base = fields.concat();
    base.push_str(itoa::Buffer::new().format(claims.stamp));
    base.push_str(if token.is_some() { "***" } else { "" });
    base
}

/// Signs. `None`: a scheme that binds the request has no token.
pub fn signature(
    scheme: Scheme,
    claims: &Claims<'_>,
    message: &Message<'_>,
    token: Option<&Secret>,
) -> Option<Signature> {
    match (scheme.fields(claims), token) {
        (Some(fields), token) => Some(Signature::Sign(digest(fields, claims.stamp, token))),
        (None, Some(token)) if scheme == Scheme::Rfc9421 => {
            Some(Signature::Message(bound::message(claims, message, token)))
        }
        (None, Some(token)) => Some(Signature::Sign(bound::hmac(claims, message, token))),
        (None, None) => None,
    }
}

/// The 64 hex digits of a plain concatenation.
fn digest(fields: [&str; 3], stamp: u64, token: Option<&Secret>) -> [u8; 64] {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update(field);
    }
    hash.update(itoa::Buffer::new().format(stamp));
    hash.update(token.map_or("", Secret::expose));
    lower_hex(&hash.finalize().into())
}

fn lower_hex(digest: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
    text
}

/// Whether that is the signature, in constant time.
pub fn verify(
    scheme: Scheme,
    claims: &Claims<'_>,
    message: &Message<'_>,
    token: Option<&Secret>,
    presented: &Presented<'_>,
) -> bool {
    match (signature(scheme, claims, message, token), presented) {
        (Some(Signature::Sign(expected)), Presented::Sign(sign)) => expected.as_slice().ct_eq(sign.as_bytes()).into(),
        (Some(Signature::Message(expected)), Presented::Message { input, signature }) => {
            let same_input = expected.input.as_bytes().ct_eq(input.as_bytes());
            (same_input & expected.signature.as_bytes().ct_eq(signature.as_bytes())).into()
        }
        _ => false,
    }
}

/// A signature, as it was found in a head.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'a> {
    /// `x-kms-sign`
    Sign(&'a str),
    /// RFC 9421.
    Message {
        /// `signature-input`; its nonce is that of the [`Message`].
        input: &'a str,
        /// `signature`
        signature: &'a str,
    },
}

/// The user as it is signed: ASCII lower case.
///
/// # Errors
/// What no header may carry or what lower-cases ambiguously: non-ASCII (K for the Kelvin sign), controls, spaces.
pub fn canonical_user(user: &str) -> Result<String, &'static str> {
    match user.bytes().find(|byte| !byte.is_ascii_graphic()) {
        None => Ok(user.to_ascii_lowercase()),
        Some(0x80..) => Err("a user may only have ASCII characters: others have no one lower case"),
        Some(b' ' | b'\t') => Err("a user may not contain white space"),
        Some(_) => Err("a user may not contain control characters"),
    }
}

/// `x-kms-username`: all bytes of the UTF-8 but RFC 3986 unreserved as upper-case %XX.
pub fn percent_encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len() * 3);
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&hex::encode_upper([byte]));
        }
    }
    encoded
}

/// Whether a client's header must not reach an upstream: its name, in lower case with `_` and `.` read as `-`, begins
/// with `prefix` (given in that form already).
///
/// In fact everything but letters and digits reads as `-`: that is how CGI-like interfaces make variables of names.
pub fn in_family(name: &str, prefix: &str) -> bool {
    let start = name.as_bytes().get(..prefix.len());
    start.is_some_and(|start| start.iter().map(family_byte).eq(prefix.bytes()))
}

fn family_byte(byte: &u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

#[cfg(test)]
mod tests;
