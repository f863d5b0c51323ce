//! `aws_sso_oidc`: AWS IAM Identity Center and Builder ID. OAuth in content, but JSON with names in camel case, and a
//! client that is registered for each login; nothing is signed (API version 2019-06-10).

use serde_json::{Value, json};
use url::Url;

use super::call::{Call, with_query};
use super::oauth2::DEVICE;
use super::{Ask, AwsSsoOidc, Grant, Registration};

/// How we call ourselves.
const CLIENT_NAME: &str = "countersign";

/// `RegisterClient`.
pub(super) fn register(own: &AwsSsoOidc, redirect_uri: &str) -> Call {
    let document = json!({
        "clientName": CLIENT_NAME,
        "clientType": "public",
        "scopes": own.scopes,
        "grantTypes": ["authorization_code", "refresh_token", DEVICE],
        "redirectUris": [redirect_uri],
        "issuerUrl": own.start_url,
    });
    Call::json(place(own, "client/register"), &document)
}

/// Where a browser is sent; `None`: no client is registered.
pub(super) fn authorization_url(own: &AwsSsoOidc, ask: &Ask<'_>) -> Option<Url> {
    let scopes = own.scopes.join(&own.scope_separator);
    let mut parameters = vec![
        ("response_type", "code"),
        ("client_id", ask.registration?.client_id.as_str()),
        ("redirect_uri", ask.redirect_uri),
    ];
    if !scopes.is_empty() {
        parameters.push((&own.scope_parameter, &scopes));
    }
    parameters.extend([("state", ask.state), ("code_challenge", ask.challenge), ("code_challenge_method", "S256")]);
    Some(with_query(&place(own, "authorize"), &parameters))
}

/// `CreateToken`; `None`: no client is registered, or the grant is none of AWS's.
pub(super) fn token(own: &AwsSsoOidc, grant: &Grant, registration: Option<&Registration>) -> Option<Call> {
    let document = match grant {
        Grant::Code { code, verifier, redirect_uri } => json!({
            "grantType": "authorization_code",
            "code": code.expose(),
            "codeVerifier": verifier.expose(),
            "redirectUri": redirect_uri,
        }),
        Grant::Refresh { refresh_token } => {
            json!({ "grantType": "refresh_token", "refreshToken": refresh_token.expose() })
        }
        Grant::Device { device_code } => json!({ "grantType": DEVICE, "deviceCode": device_code.expose() }),
        Grant::ClientCredentials => return None,
    };
    Some(Call::json(place(own, "token"), &identified(document, registration?)))
}

/// `StartDeviceAuthorization`; `None`: no client is registered.
pub(super) fn device_authorization(own: &AwsSsoOidc, registration: Option<&Registration>) -> Option<Call> {
    let document = identified(json!({ "startUrl": own.start_url }), registration?);
    Some(Call::json(place(own, "device_authorization"), &document))
}

fn identified(mut document: Value, registration: &Registration) -> Value {
    if let Value::Object(members) = &mut document {
        members.insert("clientId".into(), registration.client_id.clone().into());
        members.insert("clientSecret".into(), registration.client_secret.expose().into());
    }
    document
}

/// Below the endpoint, whether that ends in a slash or not.
fn place(own: &AwsSsoOidc, path: &str) -> Url {
    let mut url = own.endpoint.clone();
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/{path}"));
    url
}
