//! `clients`: who may call.

use sha2::{Digest, Sha256};

use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::model::{Client, ClientToken};
use crate::config::tree::{Entry, Node};
use crate::config::value::{self, Problem};
use crate::diagnostic::{Diagnostic, Pos, Spanned};
use crate::secret::Secret;

const CLIENT: Shape =
    Shape { what: "a client", keys: &["token", "token_sha256", "user", "name", "projects", "expires"] };

/// The token that the documentation shows, and that must not be in use anywhere.
const PLACEHOLDER: &str = "your-secure-token";

/// Fewer characters than this cannot hold 128 random bits in base64.
const STRONG: usize = 22;

const MAKE_ONE: &str = "make one with `openssl rand -base64 32`";

/// Decodes one entry of the section.
pub fn decode(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<Client> {
    let name = decoder.key(entry, value::name);
    let fields = decoder.fields(&entry.value, &CLIENT)?;
    let user = fields.get("user").and_then(|node| decoder.optional_spanned(node));
    let display_name = fields.get("name").and_then(|node| decoder.optional_spanned(node));
    let projects = fields.get("projects").and_then(|node| decoder.spanned_values(node, value::name));
    let expires_before = fields.get("expires").and_then(|node| decoder.parsed(node, value::day_end));
    let token = token(decoder, &fields, entry.at)?;
    Some(Client { name: name?, token, user, display_name, projects, expires_before })
}

fn token(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>, at: Pos) -> Option<ClientToken> {
    match (fields.entry("token"), fields.entry("token_sha256")) {
        (Some(entry), None) => clear(decoder, &entry.value).map(ClientToken::Clear),
        (None, Some(entry)) => hashed(decoder, &entry.value).map(ClientToken::Sha256),
        (Some(first), Some(second)) => {
            decoder.mask_value(&first.value);
            decoder.note(
                Diagnostic::error("conflicting_keys", second.at, "a client has one token")
                    .hint("give either `token` or `token_sha256`")
                    .related(first.at, "the other is here"),
            );
            None
        }
        (None, None) if fields.is_meant(&["token", "token_sha256"]) => None,
        (None, None) => {
            decoder.note(
                Diagnostic::error("missing_key", at, "the client has no token")
                    .hint("give `token`, or `token_sha256` with the lower-case hex of its SHA-256"),
            );
            None
        }
    }
}

fn clear(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<Secret> {
    let Spanned { value: secret, at } = decoder.secret(node)?;
    let token = secret.expose();
    if token == PLACEHOLDER {
        decoder.note(placeholder(at));
        return None;
    }
    if token.is_empty() {
        decoder.note(Diagnostic::error("weak_client_token", at, "the client token is empty").hint(MAKE_ONE));
        return None;
    }
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        let message = "the client token has a character that no header can carry";
        decoder
            .note(Diagnostic::error("invalid_value", at, message).hint("use visible ASCII characters without spaces"));
        return None;
    }
    if token.len() < STRONG {
        let message = format!("the client token has {} characters; it should have at least {STRONG}", token.len());
        decoder.note(Diagnostic::warning("weak_client_token", at, message).hint(MAKE_ONE));
    }
    Some(secret)
}

fn hashed(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<[u8; 32]> {
    let digest = decoder.spanned(node, sha256)?;
    if digest.value == <[u8; 32]>::from(Sha256::digest(PLACEHOLDER)) {
        decoder.note(placeholder(digest.at));
        return None;
    }
    Some(digest.value)
}

fn placeholder(at: Pos) -> Diagnostic {
    Diagnostic::error("placeholder_token", at, "the token is the placeholder of the documentation").hint(MAKE_ONE)
}

/// What identifies a client's token without being it.
pub fn digest(token: &ClientToken) -> [u8; 32] {
    match token {
        ClientToken::Clear(secret) => Sha256::digest(secret.expose()).into(),
        ClientToken::Sha256(digest) => *digest,
    }
}

fn sha256(text: &str) -> Result<[u8; 32], Problem> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).map_err(|_| {
        Problem::not("invalid_value", "a SHA-256 digest")
            .hint("64 hex digits, as `printf %s TOKEN | sha256sum` prints them")
    })?;
    Ok(digest)
}
