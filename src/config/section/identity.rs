//! `identity`: who the person behind a call is, by which sources in which order. The same section below a project's key
//! `identity` takes the place of this one there.

mod jwt;
mod oidc;

use http::HeaderName;

use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::header;
use crate::config::model::{HeaderIdentity, Identity, IdentitySource};
use crate::config::tree::Node;
use crate::config::value::{Problem, word};
use crate::diagnostic::{Diagnostic, Pos};

const IDENTITY: Shape = Shape { what: "`identity`", keys: &["sources", "header", "basic", "oidc", "jwt"] };

const HEADER: Shape = Shape { what: "`identity.header`", keys: &["user", "name"] };
const BASIC: Shape = Shape { what: "`identity.basic`", keys: &["users_file"] };

const SOURCES: &[(&str, IdentitySource)] = &[
    ("client", IdentitySource::Client),
    ("basic", IdentitySource::Basic),
    ("header", IdentitySource::Header),
    ("certificate", IdentitySource::Certificate),
    ("oidc", IdentitySource::Oidc),
    ("jwt", IdentitySource::Jwt),
];

/// Headers that mean something else already, and so cannot say who somebody is.
const TAKEN: &[&str] =
    &["authorization", "cookie", "x-api-key", "x-request-id", "x-real-ip", "forwarded", "proxy-authorization"];

/// Decodes the section.
pub fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Identity {
    let mut identity = Identity::default();
    let Some(fields) = decoder.fields(node, &IDENTITY) else { return identity };
    identity.at = fields.at;
    if let Some(node) = fields.get("sources") {
        identity.at = node.target().at;
        identity.sources = sources(decoder, node).unwrap_or(identity.sources);
    }
    identity.header = fields.get("header").and_then(|node| header(decoder, node));
    if let Some(fields) = fields.get("basic").and_then(|node| decoder.fields(node, &BASIC)) {
        let file = decoder.required(&fields, "users_file", fields.at);
        identity.basic_users = file.and_then(|node| decoder.path(node)).flatten();
    }
    identity.oidc = fields.get("oidc").and_then(|node| oidc::decode(decoder, node));
    identity.jwt = fields.get("jwt").map(|node| jwt::decode(decoder, node)).unwrap_or_default();
    agree(decoder, &fields, &identity);
    identity
}

fn sources(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<Vec<IdentitySource>> {
    let mut found: Vec<IdentitySource> = Vec::new();
    let listed = decoder.list(node, |decoder, node| {
        let source = decoder.parsed(node, |text| word(text, SOURCES))?;
        if found.contains(&source) {
            let message = "this source is in the list already";
            let problem = Diagnostic::warning("duplicate_source", node.target().at, message);
            decoder.note(problem.hint("the first that answers wins; remove the second"));
        } else {
            found.push(source);
        }
        Some(())
    })?;
    if listed.is_empty() && node.is_empty() {
        let message = "without a source nobody can be identified";
        decoder.note(Diagnostic::error("invalid_value", node.target().at, message).hint("write sources: [client]"));
    }
    (!found.is_empty()).then_some(found)
}

fn header(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<HeaderIdentity> {
    let fields = decoder.fields(node, &HEADER)?;
    if fields.is_empty() {
        return None;
    }
    let user = decoder.required(&fields, "user", fields.at).and_then(|node| decoder.parsed(node, telling));
    let name = fields.get("name").and_then(|node| decoder.optional(node, telling));
    Some(HeaderIdentity { user: user?, name })
}

/// The name of a header that may say who somebody is.
fn telling(text: &str) -> Result<HeaderName, Problem> {
    let name = header::editable(text)?;
    if TAKEN.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-") {
        return Err(Problem::says("forbidden_header", "has a meaning of its own")
            .hint("name the header that the proxy in front sets, such as x-auth-user"));
    }
    Ok(name)
}

/// A source and its settings come together.
fn agree(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>, identity: &Identity) {
    let pairs = [
        (IdentitySource::Basic, "basic", identity.basic_users.is_some(), "basic: { users_file: users.htpasswd }"),
        (IdentitySource::Header, "header", identity.header.is_some(), "header: { user: x-auth-user }"),
        (
            IdentitySource::Oidc,
            "oidc",
            identity.oidc.is_some(),
            "oidc: { issuer: https://sso.example.com, client_id: edge, client_secret: \"${OIDC_SECRET}\" }",
        ),
        (
            IdentitySource::Jwt,
            "jwt",
            !identity.jwt.is_empty(),
            "jwt: { issuer: https://sso.example.com, audience: edge }",
        ),
    ];
    for (source, key, given, example) in pairs {
        let asked = identity.sources.contains(&source);
        let written = fields.entry(key).filter(|entry| !entry.value.is_empty()).map(|entry| entry.at);
        match (asked, given, written) {
            (true, false, None) if !fields.is_meant(&[key]) => missing(decoder, identity.at, key, example),
            (false, _, Some(at)) => unused(decoder, at, key),
            _ => {}
        }
    }
}

fn missing(decoder: &mut Decoder<'_, '_>, at: Pos, key: &str, example: &str) {
    let message = format!("the source `{key}` needs `identity.{key}`");
    decoder.note(Diagnostic::error("missing_key", at, message).hint(format!("write {example}")));
}

fn unused(decoder: &mut Decoder<'_, '_>, at: Pos, key: &str) {
    let message = format!("`{key}` is not among `identity.sources`, so nobody is identified by it");
    decoder.note(
        Diagnostic::warning("unused_source", at, message).hint(format!("add `{key}` to `sources`, or remove it")),
    );
}
