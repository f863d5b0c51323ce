//! `identity.jwt`: issuers whose tokens are believed; one, or a list.

use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::model::Jwt;
use crate::config::section::providers::optional_url;
use crate::config::tree::{Kind, Node};
use crate::config::value::Problem;
use crate::config::web_url;
use crate::diagnostic::{Diagnostic, Pos};

use super::oidc::{ca, claims, issuer};

const JWT: Shape = Shape { what: "`identity.jwt`", keys: &["issuer", "audience", "jwks_url", "user", "name", "ca"] };

/// Decodes one mapping or a list of them.
pub(super) fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Vec<Jwt> {
    match node.target().kind() {
        Kind::Sequence(_) => decoder.list(node, one).unwrap_or_default(),
        _ => one(decoder, node).into_iter().collect(),
    }
}

/// An empty mapping stands for none.
fn one(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<Jwt> {
    let fields = decoder.fields(node, &JWT)?;
    if fields.is_empty() {
        return None;
    }
    let issuer = issuer(decoder, &fields, fields.at);
    let audiences = audiences(decoder, &fields, fields.at);
    let jwks_url = optional_url(decoder, &fields, "jwks_url", web_url::https);
    let claims = claims(decoder, &fields);
    let ca = ca(decoder, &fields);
    Some(Jwt { issuer: issuer?, audiences: audiences?, jwks_url, claims, ca })
}

/// One, or several of which a token must name one (RFC 7519 §4.1.3).
fn audiences(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>, at: Pos) -> Option<Vec<String>> {
    if fields.get("audience").is_none() && !fields.is_meant(&["audience"]) {
        let message = "`audience` is missing";
        let hint = "a token that the issuer made for somebody else must not be believed: write audience: edge, \
                    the name that your tokens' `aud` has for this API";
        decoder.note(Diagnostic::error("missing_key", at, message).hint(hint));
    }
    let node = fields.get("audience")?;
    let all = match node.target().kind() {
        Kind::Sequence(_) => decoder.values(node, audience)?,
        _ => vec![decoder.parsed(node, audience)?],
    };
    if all.is_empty() && node.is_empty() {
        let message = "without an audience no token can be believed";
        decoder.note(Diagnostic::error("invalid_value", node.target().at, message).hint("write audience: edge"));
    }
    (!all.is_empty()).then_some(all)
}

fn audience(text: &str) -> Result<String, Problem> {
    match text {
        "" => Err(Problem::says("missing_key", "cannot be the `audience`")),
        text if text.chars().any(char::is_control) => {
            Err(Problem::says("invalid_value", "has a line break or another control character"))
        }
        text => Ok(text.to_owned()),
    }
}
