//! A route's `sign`: the scheme and the shared token.

use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::clock::UnixMillis;
use crate::config::decoder::Decoder;
use crate::config::fields::Shape;
use crate::config::model::{Sign, SignScheme};
use crate::config::tree::{Entry, Node};
use crate::config::value::word;
use crate::diagnostic::{Diagnostic, Spanned};
use crate::secret::Secret;
use crate::sign_token::{Home, SHORTEST, Tokens};

const SIGN: Shape = Shape { what: "`sign`", keys: &["scheme", "token"] };

/// What a secret begins with that is the content of a file.
const FILE: &str = "file:";

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
    let tokens = fields.get("token").map(|node| home(decoder, node)).unwrap_or_default();
    let named = decoder.required(&fields, "scheme", entry.at)?;
    let scheme = decoder.parsed(named, |text| word(text, SCHEMES))?;
    if let (SignScheme::None, Some((at, _))) = (scheme, &token) {
        let message = "`scheme: none` makes no signature, so a token has no use";
        decoder.note(Diagnostic::error("conflicting_keys", *at, message).hint("remove `token`, or choose a scheme"));
    }
    Some(Sign { scheme, token: token.and_then(|(_, token)| token), tokens, at: entry.at })
}

/// Where the token is that is written here.
fn home(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Tokens {
    let raw = node.scalar().unwrap_or_default();
    let named = raw.starts_with(FILE).then(|| decoder.filled(raw).ok()).flatten();
    let path = named.and_then(|filled| Some(decoder.dir.join(filled.text.strip_prefix(FILE)?)));
    let set_at = path.as_deref().and_then(modified);
    Tokens { home: path.map_or(Home::ByHand, |path| Home::File(path.into())), set_at, ..Tokens::default() }
}

fn modified(path: &Path) -> Option<UnixMillis> {
    let since = std::fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
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
