//! The token endpoint: what is sent, and what its answers mean (RFC 6749 §4.1.3, §5, §6; OpenID Connect Core 1.0 §9).
//!
//! What is shown of an answer is a word of our own: an issuer may quote what it was sent.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::client::Client;
use super::json;
use super::metadata::{Metadata, Proof};
use crate::outbound::Failure;
use crate::secret::Secret;

/// How long a grant goes unasked: at least, if nobody says so, and at most.
const SHORTEST: Duration = Duration::from_secs(60);
const UNSAID: Duration = Duration::from_secs(5 * 60);
const LONGEST: Duration = Duration::from_secs(3600);
/// Of a refresh token that a browser can carry, in bytes.
const LARGEST: usize = 8 * 1024;
/// The words of RFC 6749 §5.2 and OpenID Connect Core 1.0 §3.1.2.6 that are shown as they are.
const CODES: [&str; 18] = [
    "access_denied",
    "account_selection_required",
    "consent_required",
    "expired_token",
    "interaction_required",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_request_object",
    "invalid_scope",
    "login_required",
    "request_not_supported",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
    "unmet_authentication_requirements",
];
/// Those by which it says that this person's grant is over.
const OVER: [&str; 6] =
    ["access_denied", "consent_required", "expired_token", "interaction_required", "invalid_grant", "login_required"];

/// What was granted.
#[derive(Debug)]
pub struct Granted {
    /// For the userinfo endpoint.
    pub access_token: Secret,
    /// Who it is.
    pub id_token: Option<Secret>,
    /// To ask again.
    pub refresh_token: Option<Secret>,
    /// After which time.
    pub check_after: Duration,
}

impl Granted {
    /// In milliseconds.
    pub fn check_after_millis(&self) -> u64 {
        u64::try_from(self.check_after.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Why nothing was. The words hold nothing of what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum No {
    /// The grant is over: the code or the refresh token will never be taken.
    #[error("it says {0}")]
    Over(&'static str),
    /// It is not known to be over.
    #[error("{0}")]
    Else(String),
}

impl Client {
    /// Exchanges a code or a refresh token.
    pub(super) async fn exchange(&self, metadata: &Metadata, fields: &[(&str, &str)]) -> Result<Granted, No> {
        let url = metadata.token_endpoint.as_ref().ok_or_else(|| No::Else("it has no token endpoint".to_owned()))?;
        let answer = self.ask(url, metadata, fields).await.map_err(|failure| No::Else(failure.to_string()))?;
        granted(answer.status(), answer.body())
    }

    /// Sends a form, with what proves us.
    pub(super) async fn ask(
        &self,
        url: &Url,
        metadata: &Metadata,
        fields: &[(&str, &str)],
    ) -> Result<Response<Bytes>, Failure> {
        let (form, authorization) = self.form(url, metadata, fields)?;
        self.issuer().network().post(url, form, authorization).await
    }

    fn form(&self, url: &Url, metadata: &Metadata, fields: &[(&str, &str)]) -> Result<Proven, Failure> {
        let mut form = Serializer::new(String::new());
        form.extend_pairs(fields);
        let id = self.settings.client_id.as_str();
        let mut authorization = None;
        match (&self.settings.client_secret, metadata.proof) {
            (None, _) => drop(form.append_pair("client_id", id)),
            (Some(secret), Some(Proof::Basic)) => authorization = basic(id, secret),
            (Some(secret), Some(Proof::Post)) => {
                form.append_pair("client_id", id).append_pair("client_secret", secret.expose());
            }
            (Some(_), None) => {
                let why = format!("{url} takes neither client_secret_basic nor client_secret_post");
                return Err(Failure::Unsent(why));
            }
        }
        Ok((form.finish(), authorization))
    }
}

/// A form, and what goes into the head of its request.
type Proven = (String, Option<HeaderValue>);

/// RFC 6749 §2.3.1: id and secret are escaped before they are joined.
fn basic(id: &str, secret: &Secret) -> Option<HeaderValue> {
    let escaped = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", escaped(id), escaped(secret.expose()));
    HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()
}

/// A yes is a success with a bearer token; a no says so in JSON; anything else says nothing.
pub fn granted(status: StatusCode, body: &[u8]) -> Result<Granted, No> {
    let members = json::object(body);
    if let Some(code) = members.as_ref().and_then(|members| members.get("error")).filter(|_| !status.is_server_error())
    {
        return Err(refused(code));
    }
    let members = members.filter(|_| status.is_success());
    members.as_ref().and_then(read).ok_or_else(|| No::Else(format!("it answered {status} without a token")))
}

fn refused(code: &Value) -> No {
    match known_code(code.as_str().unwrap_or_default()) {
        Some(code) if OVER.contains(&code) => No::Over(code),
        Some(code) => No::Else(format!("it says {code}")),
        None => No::Else("it gives a reason of its own".to_owned()),
    }
}

/// An error's code, if it is one that everybody knows.
pub fn known_code(code: &str) -> Option<&'static str> {
    CODES.into_iter().find(|known| *known == code)
}

fn read(members: &Map<String, Value>) -> Option<Granted> {
    let token = |name: &str| {
        let text = members.get(name)?.as_str()?;
        let is_sound = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_sound.then(|| Secret::new(text))
    };
    let is_bearer = members
        .get("token_type")
        .is_none_or(|kind| kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")));
    let lives = members.get("expires_in").and_then(Value::as_u64).map(Duration::from_secs);
    let access_token = token("access_token").filter(|_| is_bearer)?;
    Some(Granted {
        access_token,
        id_token: token("id_token"),
        refresh_token: token("refresh_token").filter(|token| token.len() <= LARGEST),
        check_after: lives.unwrap_or(UNSAID).clamp(SHORTEST, LONGEST),
    })
}

#[cfg(test)]
mod tests;
