//! What an issuer says of itself: OpenID Connect Discovery 1.0 §3 and §4.3, RFC 8414 §2 and §3.3.

use serde_json::{Map, Value};
use url::{Host, Url};

use super::json;

/// An issuer's endpoints.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Where its keys are.
    pub jwks_uri: Url,
    /// Where people log in.
    pub authorization_endpoint: Option<Url>,
    /// Where codes and refresh tokens are exchanged.
    pub token_endpoint: Option<Url>,
    /// Where more claims are.
    pub userinfo_endpoint: Option<Url>,
    /// Where people log out (OpenID Connect RP-Initiated Logout 1.0).
    pub end_session_endpoint: Option<Url>,
    /// Where tokens are given back (RFC 7009).
    pub revocation_endpoint: Option<Url>,
    /// How a client with a secret proves itself.
    pub proof: Option<Proof>,
    /// Whether every answer names the issuer (RFC 9207 §3).
    pub names_itself: bool,
}

/// How a client with a secret proves itself (OpenID Connect Core 1.0 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
}

/// Why a document is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMetadata {
    /// No JSON object.
    #[error("it is no discovery document")]
    Malformed,
    /// It is another issuer's.
    #[error("it is of another issuer")]
    Issuer,
    /// A URL that is missing, or cannot be trusted.
    #[error("its {0} is missing, or neither https nor on loopback")]
    Endpoint(&'static str),
}

impl Metadata {
    /// Reads a document that must be of this issuer, to the character.
    ///
    /// # Errors
    /// See [`BadMetadata`].
    pub fn read(document: &[u8], issuer: &str) -> Result<Self, BadMetadata> {
        let members = json::object(document).ok_or(BadMetadata::Malformed)?;
        if members.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return Err(BadMetadata::Issuer);
        }
        Ok(Self {
            jwks_uri: endpoint(&members, "jwks_uri")?.ok_or(BadMetadata::Endpoint("jwks_uri"))?,
            authorization_endpoint: endpoint(&members, "authorization_endpoint")?,
            token_endpoint: endpoint(&members, "token_endpoint")?,
            userinfo_endpoint: endpoint(&members, "userinfo_endpoint")?,
            end_session_endpoint: endpoint(&members, "end_session_endpoint")?,
            revocation_endpoint: endpoint(&members, "revocation_endpoint")?,
            proof: proof(members.get("token_endpoint_auth_methods_supported")),
            names_itself: members.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
        })
    }
}

/// Where an issuer's document may be: as OpenID Connect puts the well-known path, behind the issuer's own, and as RFC 8414
/// §3.1 does, before it.
pub fn places(issuer: &str) -> Vec<Url> {
    let behind = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let before = Url::parse(issuer).ok().map(|mut url| {
        let path = format!("/.well-known/oauth-authorization-server{}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    });
    Url::parse(&behind).ok().into_iter().chain(before).collect()
}

/// Absent: Basic (OpenID Connect Discovery 1.0 §3).
fn proof(methods: Option<&Value>) -> Option<Proof> {
    let Some(methods) = methods else { return Some(Proof::Basic) };
    let offers = |name: &str| methods.as_array().is_some_and(|list| list.iter().any(|one| one.as_str() == Some(name)));
    match (offers("client_secret_basic"), offers("client_secret_post")) {
        (true, _) => Some(Proof::Basic),
        (false, true) => Some(Proof::Post),
        (false, false) => None,
    }
}

fn endpoint(members: &Map<String, Value>, name: &'static str) -> Result<Option<Url>, BadMetadata> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let url = value.as_str().and_then(|text| Url::parse(text).ok()).filter(is_trustworthy);
            url.map(Some).ok_or(BadMetadata::Endpoint(name))
        }
    }
}

/// https, or http on loopback; without a user and without a fragment.
pub fn is_trustworthy(url: &Url) -> bool {
    let is_secure = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url));
    is_secure && url.has_host() && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
