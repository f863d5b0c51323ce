//! A route's `sign`: the scheme and the shared token.

use crate::config::decoder::Decoder;
use crate::config::fields::Shape;
use crate::config::model::{Sign, SignScheme};
use crate::config::tree::{Entry, Node};
use crate::config::value::word;
use crate::diagnostic::{Diagnostic, Spanned};
use crate::secret::Secret;

const SIGN: Shape = Shape { what: "`sign`", keys: &["scheme", "token"], later: &[] };

/// The least number of characters of a sign token.
pub const SHORTEST: usize = 31;

const SCHEMES: &[(&str, SignScheme)] = &[
    ("user-stamp", SignScheme::UserStamp),
    ("user-project-stamp", SignScheme::UserProjectStamp),
    ("user-project-appid-stamp", SignScheme::UserProjectAppidStamp),
    ("none", SignScheme::None),
    ("hmac-sha256", SignScheme::HmacSha256),
    ("rfc9421", SignScheme::Rfc9421),
];

/// Decodes the key.
pub fn decode(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<Sign> {
    let fields = decoder.fields(&entry.value, &SIGN)?;
    let token = fields.entry("token").map(|entry| (entry.at, token(decoder, &entry.value)));
    let named = decoder.required(&fields, "scheme", entry.at)?;
    let scheme = decoder.parsed(named, |text| word(text, SCHEMES))?;
    if let (SignScheme::None, Some((at, _))) = (scheme, &token) {
        let message = "`scheme: none` makes no signature, so a token has no use";
        decoder.note(Diagnostic::error("conflicting_keys", *at, message).hint("remove `token`, or choose a scheme"));
    }
    Some(Sign { scheme, token: token.and_then(|(_, token)| token), at: entry.at })
}

fn token(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<Spanned<Secret>> {
    let token = decoder.secret(node)?;
    let length = token.expose().chars().count();
    if length < SHORTEST {
        let message = format!("the sign token has {length} characters; it needs at least {SHORTEST}");
        let hint = match length {
            0 => "make one with `openssl rand -base64 32`, or leave `token` out to sign without one",
            _ => "make one with `openssl rand -base64 32`",
        };
        decoder.note(Diagnostic::error("weak_sign_token", token.at, message).hint(hint));
    }
    Some(token)
}
