//! The two schemes that bind the request: method, path, query and identity. For upstreams that can ask for more than who and
//! when.
//!
//! `hmac-sha256`: HMAC-SHA256 (RFC 2104) over lines of `length:value`, so that no two requests have one text. `rfc9421`:
//! HTTP Message Signatures with `hmac-sha256` (RFC 9421 §3.3.3), in `signature-input` and `signature`, always over the same
//! components in the same order, so that a verifier may compare instead of parse.
//!
//! Bodies are streamed and therefore not covered.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

use super::{Claims, lower_hex};
use crate::secret::Secret;

/// First line of the text that `hmac-sha256` is made over.
const VERSION: &str = "countersign-hmac-sha256-1";
/// The signature's name in `signature` and `signature-input`.
const LABEL: &str = "countersign";
/// Seconds from `created` to `expires`: the window that verifiers accept.
const WINDOW: u64 = 300;

/// The request as the upstream gets it. The schemes that do not bind it leave it unread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'a> {
    /// As it is sent.
    pub method: &'a str,
    /// `Host`, lower case.
    pub authority: &'a str,
    /// As it is sent, with its percent-encoding; never empty.
    pub path: &'a str,
    /// Without `?`; empty: there is none, or nothing in it.
    pub query: &'a str,
    /// The value of `…username`, as it travels.
    pub username: &'a str,
    /// What the headers' names begin with, `x-kms-`.
    pub prefix: &'a str,
    /// Different for each request; only `rfc9421` carries it.
    pub nonce: &'a str,
}

/// What RFC 9421 puts into the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageSignature {
    /// `signature-input`
    pub input: String,
    /// `signature`
    pub signature: String,
}

/// `hmac-sha256`: 64 hex digits.
pub(super) fn hmac(claims: &Claims<'_>, message: &Message<'_>, token: &Secret) -> [u8; 64] {
    lower_hex(&mac(token, &hmac_base(claims, message)))
}

/// The text of `hmac-sha256`.
pub(super) fn hmac_base(claims: &Claims<'_>, message: &Message<'_>) -> String {
    let mut stamp = itoa::Buffer::new();
    let Message { method, path, query, username, .. } = *message;
    let Claims { user, project, app_id, .. } = *claims;
    let mut base = String::from(VERSION);
    base.push('\n');
    for value in [method, path, query, user, username, project, app_id, stamp.format(claims.stamp)] {
        // Writing to a String cannot fail.
        let _ = writeln!(base, "{}:{value}", value.len());
    }
    base
}

/// `rfc9421`: both headers.
pub(super) fn message(claims: &Claims<'_>, message: &Message<'_>, token: &Secret) -> MessageSignature {
    let parameters = parameters(claims, message, token);
    let mac = mac(token, &message_base(claims, message, &parameters));
    MessageSignature {
        input: format!("{LABEL}={parameters}"),
        signature: format!("{LABEL}=:{}:", STANDARD.encode(mac)),
    }
}

/// The text of `rfc9421` (RFC 9421 §2.5) over those parameters.
pub(super) fn message_base(claims: &Claims<'_>, message: &Message<'_>, parameters: &str) -> String {
    let Message { method, authority, path, query, username, prefix, .. } = *message;
    let Claims { user, project, app_id, stamp } = *claims;
    // RFC 9421 §2.2.7: `?` even where there is no query.
    format!(
        "\"@method\": {method}\n\"@authority\": {authority}\n\"@path\": {path}\n\"@query\": ?{query}\n\
         \"{prefix}user\": {user}\n\"{prefix}username\": {username}\n\"{prefix}stamp\": {stamp}\n\
         \"{prefix}appid\": {app_id}\n\"{prefix}project\": {project}\n\"@signature-params\": {parameters}"
    )
}

/// What stands behind the label (RFC 9421 §2.3).
pub(super) fn parameters(claims: &Claims<'_>, message: &Message<'_>, token: &Secret) -> String {
    let Message { prefix, nonce, .. } = *message;
    let (created, key) = (claims.stamp / 1000, key_id(token));
    format!(
        "(\"@method\" \"@authority\" \"@path\" \"@query\" \"{prefix}user\" \"{prefix}username\" \"{prefix}stamp\" \
         \"{prefix}appid\" \"{prefix}project\");created={created};expires={};nonce=\"{nonce}\";keyid=\"{key}\";\
         alg=\"hmac-sha256\";tag=\"{LABEL}\"",
        created + WINDOW
    )
}

/// Tells tokens apart, and nothing of them that could be guessed: they have at least 31 characters.
pub fn key_id(token: &Secret) -> String {
    let digest = Sha256::new().chain_update("countersign-key:").chain_update(token.expose()).finalize();
    let mut id = hex::encode(digest);
    id.truncate(16);
    id
}

fn mac(token: &Secret, text: &str) -> [u8; 32] {
    // A key of any length is one (RFC 2104 §2).
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(token.expose().as_bytes()) else { return [0; 32] };
    mac.chain_update(text).finalize().into_bytes().into()
}
