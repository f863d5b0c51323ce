//! `identity.oidc`: log-in at an OpenID Connect issuer.

use std::time::Duration;

use url::Url;

use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::model::{ClaimNames, Oidc};
use crate::config::section::providers::{optional_url, redirect, required_text, scope};
use crate::config::tree::Node;
use crate::config::value::{self, Problem};
use crate::config::web_url;
use crate::diagnostic::{Diagnostic, Pos, Spanned};
use crate::secret::Secret;

const OIDC: Shape = Shape {
    what: "`identity.oidc`",
    keys: &[
        "issuer",
        "client_id",
        "client_secret",
        "cookie_secret",
        "session",
        "scopes",
        "user",
        "name",
        "redirect_url",
        "logout_redirect_url",
        "ca",
    ],
};

/// As many characters as 128 random bits have in hexadecimal.
const LEAST_COOKIE_SECRET: usize = 32;

/// Where the issuer sends browsers back to, on every host of a project.
const CALLBACK: &str = "/.countersign/oidc/callback";

/// The scope without which it is no log-in (OpenID Connect Core 1.0 §3.1.2.1).
const OPENID: &str = "openid";

/// Decodes the mapping; an empty one stands for none.
pub(super) fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<Oidc> {
    let fields = decoder.fields(node, &OIDC)?;
    if fields.is_empty() {
        return None;
    }
    let at = fields.at;
    let issuer = issuer(decoder, &fields, at);
    let client_id = required_text(decoder, &fields, "client_id", at);
    // Empty: a public client.
    let client_secret = fields.get("client_secret").and_then(|node| decoder.secret(node));
    let cookie_secret = cookie_secret(decoder, &fields);
    let session = fields.get("session").and_then(|node| decoder.parsed(node, length));
    let scopes = scopes(decoder, &fields);
    let claims = claims(decoder, &fields);
    let redirect_url = optional_url(decoder, &fields, "redirect_url", callback);
    let logout_redirect_url = optional_url(decoder, &fields, "logout_redirect_url", web_url::https);
    let ca = ca(decoder, &fields);
    Some(Oidc {
        issuer: issuer?,
        client_id: client_id?,
        client_secret: client_secret.filter(|secret| !secret.is_empty()).map(|secret| secret.value),
        cookie_secret,
        session: session.unwrap_or(Duration::from_secs(8 * 3600)),
        scopes,
        claims,
        redirect_url,
        logout_redirect_url,
        ca,
        at,
    })
}

/// An issuer, as tokens name it (OpenID Connect Discovery 1.0 §3): a URL without query and fragment.
pub(super) fn issuer(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>, at: Pos) -> Option<Spanned<String>> {
    let node = decoder.required(fields, "issuer", at)?;
    decoder.spanned(node, |text| match web_url::https(text)?.query() {
        Some(_) => Err(Problem::says("invalid_url", "has a query").hint("write the issuer as its tokens name it")),
        None => Ok(text.to_owned()),
    })
}

/// Which claims say who it is.
pub(super) fn claims(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>) -> ClaimNames {
    let mut claim = |key: &str, default: &str| {
        let written = fields.get(key).and_then(|node| decoder.optional(node, claim));
        written.unwrap_or_else(|| default.to_owned())
    };
    ClaimNames { user: claim("user", "email"), name: claim("name", "name") }
}

fn claim(text: &str) -> Result<String, Problem> {
    if text.len() <= 256 && !text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Ok(text.to_owned());
    }
    Err(Problem::not("invalid_value", "the name of a claim").hint("such as email, name or preferred_username"))
}

/// A file whose change is a change of the configuration.
pub(super) fn ca(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>) -> Option<Spanned<std::path::PathBuf>> {
    let ca = fields.get("ca").and_then(|node| decoder.path(node)).flatten();
    if let Some(ca) = &ca {
        decoder.depends_on_file(&ca.value);
    }
    ca
}

/// As short as it may be without people being sent in circles.
const SHORTEST_SESSION: Duration = Duration::from_secs(60);

fn length(text: &str) -> Result<Duration, Problem> {
    match value::positive_duration(text)? {
        length if length < SHORTEST_SESSION => {
            Err(Problem::says("out_of_range", "is too short to get anything done").hint("give at least 1m"))
        }
        length => Ok(length),
    }
}

/// Empty: the process's own key.
fn cookie_secret(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>) -> Option<Secret> {
    let secret = decoder.secret(fields.get("cookie_secret")?)?;
    if secret.is_empty() {
        return None;
    }
    if secret.expose().chars().count() < LEAST_COOKIE_SECRET {
        let message = format!("the cookie secret is shorter than {LEAST_COOKIE_SECRET} characters");
        let hint = "make one with `openssl rand -base64 32`, or leave the key out: the edge then keeps one of its own";
        decoder.note(Diagnostic::error("weak_cookie_secret", secret.at, message).hint(hint));
    }
    Some(secret.value)
}

fn scopes(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>) -> Vec<String> {
    let default = || [OPENID, "email", "profile"].map(str::to_owned).to_vec();
    let Some(node) = fields.get("scopes") else { return default() };
    let scopes = decoder.values(node, scope).unwrap_or_default();
    if scopes.is_empty() {
        return default();
    }
    if !scopes.iter().any(|scope| scope == OPENID) {
        let message = "without the scope `openid` the issuer does not say who somebody is";
        decoder.note(Diagnostic::error("invalid_value", node.target().at, message).hint("add openid to the scopes"));
    }
    scopes
}

/// The issuer's answer is read at one place.
fn callback(text: &str) -> Result<Url, Problem> {
    let url = redirect(text)?;
    if url.path() == CALLBACK && url.query().is_none() {
        return Ok(url);
    }
    let origin = value::printable(&url.origin().ascii_serialization());
    Err(Problem::says("invalid_redirect_url", "is not where the edge awaits the issuer's answer")
        .hint(format!("write {origin}{CALLBACK}, and register it with the issuer")))
}
