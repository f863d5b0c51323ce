//! `oauth2`: RFC 6749 with PKCE, device flow (RFC 8628). The client proves itself by Basic when it has a secret, and names
//! itself in the form otherwise.

use url::Url;

use super::call::{Call, with_query};
use super::{Ask, Grant, OAuth2};

/// `grant_type` of a device code (RFC 8628 §3.4).
pub(super) const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// RFC 6749 §4.1.1, RFC 7636 §4.3.
pub(super) fn authorization_url(own: &OAuth2, ask: &Ask<'_>) -> Url {
    let scope = own.scopes.join(" ");
    let mut parameters =
        vec![("response_type", "code"), ("client_id", own.client_id.as_str()), ("redirect_uri", ask.redirect_uri)];
    if !scope.is_empty() {
        parameters.push(("scope", &scope));
    }
    parameters.extend([("state", ask.state), ("code_challenge", ask.challenge), ("code_challenge_method", "S256")]);
    with_query(&own.authorization_url, &parameters)
}

/// RFC 6749 §4.1.3 and §6, RFC 8628 §3.4.
pub(super) fn token(own: &OAuth2, grant: &Grant) -> Option<Call> {
    let fields = match grant {
        Grant::Code { code, verifier, redirect_uri } => vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier.expose()),
        ],
        Grant::Refresh { refresh_token } => {
            vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())]
        }
        Grant::Device { device_code } => vec![("grant_type", DEVICE), ("device_code", device_code.expose())],
        Grant::ClientCredentials => return None,
    };
    Some(identified(own, &own.token_url, fields))
}

/// RFC 8628 §3.1.
pub(super) fn device_authorization(own: &OAuth2) -> Option<Call> {
    let url = own.device_authorization_url.as_ref()?;
    let scope = own.scopes.join(" ");
    let fields = if scope.is_empty() { Vec::new() } else { vec![("scope", scope.as_str())] };
    Some(identified(own, url, fields))
}

fn identified<'a>(own: &'a OAuth2, url: &Url, mut fields: Vec<(&'a str, &'a str)>) -> Call {
    match &own.client_secret {
        Some(secret) => Call::form(url, &fields).by_basic(&own.client_id, secret),
        None => {
            fields.push(("client_id", &own.client_id));
            Call::form(url, &fields)
        }
    }
}
