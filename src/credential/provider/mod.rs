//! OAuth servers: what is sent to each kind of them, and what their answers mean. No I/O: a [`Call`] is data, an answer
//! is bytes, so that both are tested by tables.

mod answer;
mod aws;
mod call;
mod client_credentials;
mod oauth2;
pub mod pkce;
mod shown;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use url::Url;

pub use answer::LARGEST;
use answer::Names;
pub use call::{Body, Call, LIMITS};
pub(super) use shown::is_invisible;
pub use shown::{masked, printable};

use crate::clock::UnixMillis;
use crate::secret::Secret;

/// An OAuth server, ready for use.
#[derive(Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name in the configuration: the `provider` of token files, metrics, pages.
    pub name: Arc<str>,
    /// What it speaks.
    pub kind: Kind,
    /// Further CA certificates (DER) for its own TLS.
    pub anchors: Vec<Vec<u8>>,
}

/// What a provider speaks.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// RFC 6749 with PKCE (RFC 7636), device flow (RFC 8628).
    OAuth2(OAuth2),
    /// AWS IAM Identity Center and Builder ID.
    AwsSsoOidc(AwsSsoOidc),
    /// RFC 6749 §4.4: nobody logs in.
    ClientCredentials(ClientCredentials),
}

/// `oauth2`.
#[derive(Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// Where an operator's browser is sent.
    pub authorization_url: Url,
    /// Where codes and refresh tokens are exchanged.
    pub token_url: Url,
    /// `None`: no device flow.
    pub device_authorization_url: Option<Url>,
    /// Whom the provider knows us as.
    pub client_id: String,
    /// `None`: a public client.
    pub client_secret: Option<Secret>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// `None`: [`Provider::redirect_uri`]'s default.
    pub redirect_url: Option<Url>,
    /// What `iss` of a callback must be (RFC 9207); `None`: it is not checked.
    pub issuer: Option<String>,
}

/// `aws_sso_oidc`.
#[derive(Debug, PartialEq, Eq)]
pub struct AwsSsoOidc {
    /// Such as us-east-1.
    pub region: String,
    /// `startUrl`.
    pub start_url: String,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The parameter of the authorization URL that names the scopes.
    pub scope_parameter: String,
    /// What stands between them there.
    pub scope_separator: String,
    /// Base of `/client/register`, `/authorize`, `/token`, `/device_authorization`.
    pub endpoint: Url,
    /// `None`: [`Provider::redirect_uri`]'s default.
    pub redirect_url: Option<Url>,
}

/// `client_credentials`.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientCredentials {
    /// Where tokens are had.
    pub token_url: Url,
    /// Whom the provider knows us as.
    pub client_id: String,
    /// What proves it.
    pub client_secret: Secret,
    /// What is asked for.
    pub scopes: Vec<String>,
}

/// A client that was registered with the provider for this login (AWS: `RegisterClient`); kept beside the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// `clientId`
    pub client_id: String,
    /// `clientSecret`
    pub client_secret: Secret,
    /// `clientSecretExpiresAt`; after that no token of it can be refreshed.
    pub expires_at: Option<UnixMillis>,
}

/// What a token is asked for with.
#[derive(Clone, Debug)]
pub enum Grant {
    /// An authorization code.
    Code {
        /// As the callback had it.
        code: Secret,
        /// Of PKCE.
        verifier: Secret,
        /// The very one that the authorization URL named.
        redirect_uri: String,
    },
    /// A refresh token.
    Refresh {
        /// The one that is spent by this, where the provider rotates.
        refresh_token: Secret,
    },
    /// A device code.
    Device {
        /// As the device authorization had it.
        device_code: Secret,
    },
    /// Nothing but who we are.
    ClientCredentials,
}

/// What an authorization URL is made from.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// 256 bits, in base64url.
    pub state: &'a str,
    /// PKCE, S256 of the verifier.
    pub challenge: &'a str,
    /// Where the browser comes back to.
    pub redirect_uri: &'a str,
    /// Of AWS.
    pub registration: Option<&'a Registration>,
}

/// What a token endpoint's answer means.
#[derive(Debug)]
pub enum Answer {
    /// A token.
    Granted(Granted),
    /// Device flow: the person has not agreed yet (`authorization_pending`, `slow_down`).
    Pending {
        /// The interval grows by five seconds.
        slow_down: bool,
    },
    /// A definite no.
    Refused(Refused),
    /// 429, or 503 with `retry-after`: later.
    Busy {
        /// What it asks for.
        retry_after: Option<Duration>,
    },
    /// Neither: 5xx, HTML, more than 64 KiB, no token in it. What became of the grant is unknown.
    Unknown(String),
}

/// A token, as the provider gave it.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The access token.
    pub access_token: Secret,
    /// `None`: the old one goes on (RFC 6749 §6).
    pub refresh_token: Option<Secret>,
    /// `Bearer`, as the provider writes it.
    pub token_type: String,
    /// Space separated, if it says so.
    pub scope: Option<String>,
    /// How long it lives; 300 s when the provider does not say.
    pub expires_in: Duration,
    /// How long the refresh token lives, if the provider says so.
    pub refresh_expires_in: Option<Duration>,
    /// Something to tell the operator (no `expires_in`).
    pub note: Option<&'static str>,
}

/// A definite no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What follows from it.
    pub kind: Refusal,
    /// `error`, as the provider wrote it: printable, bounded.
    pub code: String,
    /// `error_description`: printable, bounded; never holds what we sent.
    pub description: Option<String>,
}

/// What follows from a definite no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `invalid_grant`, `expired_token`, `access_denied`: only another login helps.
    Grant,
    /// `invalid_client`, `unauthorized_client`, a redirect: the configuration is wrong; the token is left alone.
    Client,
    /// Anything else.
    Other,
}

/// What a device authorization's answer says (RFC 8628 §3.2).
#[derive(Clone, Debug)]
pub struct DeviceCode {
    /// For polling.
    pub device_code: Secret,
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// How long it is good.
    pub expires_in: Duration,
    /// Between polls; 5 s unless the provider says otherwise.
    pub interval: Duration,
}

impl Grant {
    /// What is secret of it: a provider may quote it.
    pub fn secrets(&self) -> Vec<&Secret> {
        match self {
            Self::Code { code, verifier, .. } => vec![code, verifier],
            Self::Refresh { refresh_token } => vec![refresh_token],
            Self::Device { device_code } => vec![device_code],
            Self::ClientCredentials => Vec::new(),
        }
    }
}

impl Answer {
    /// The same, with `***` for what its words quote of these.
    #[must_use]
    pub fn without(self, secrets: &[&Secret]) -> Self {
        match self {
            Self::Refused(refused) => Self::Refused(refused.without(secrets)),
            answer => answer,
        }
    }
}

impl Refused {
    /// The same, with `***` for what its words quote of these. [`Provider::answer`] knows our own secret alone: who has
    /// sent a grant, or a registration's secret, takes them out before anybody sees a word.
    #[must_use]
    pub fn without(self, secrets: &[&Secret]) -> Self {
        let description = self.description.map(|text| masked(&text, secrets));
        Self { code: masked(&self.code, secrets), description, ..self }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.code)?;
        match &self.description {
            Some(description) => write!(f, " ({description})"),
            None => Ok(()),
        }
    }
}

impl Provider {
    /// Whether somebody logs in (and not just we).
    pub fn has_login(&self) -> bool {
        !matches!(self.kind, Kind::ClientCredentials(_))
    }

    /// Whether it has the device flow.
    pub fn has_device_flow(&self) -> bool {
        match &self.kind {
            Kind::OAuth2(own) => own.device_authorization_url.is_some(),
            Kind::AwsSsoOidc(_) => true,
            Kind::ClientCredentials(_) => false,
        }
    }

    /// Whether a client has to be registered before a login.
    pub fn registers(&self) -> bool {
        matches!(self.kind, Kind::AwsSsoOidc(_))
    }

    /// Where a browser comes back to; `admin_port`: of the admin listener as it is bound.
    pub fn redirect_uri(&self, admin_port: u16) -> String {
        let given = match &self.kind {
            Kind::OAuth2(own) => own.redirect_url.as_ref(),
            Kind::AwsSsoOidc(own) => own.redirect_url.as_ref(),
            Kind::ClientCredentials(_) => None,
        };
        given.map_or_else(|| format!("http://127.0.0.1:{admin_port}/oauth/callback"), Url::to_string)
    }

    /// Whether a callback may be from this provider (RFC 9207 §2.4): one that has an issuer says so.
    pub fn takes_issuer(&self, said: Option<&str>) -> bool {
        match &self.kind {
            Kind::OAuth2(OAuth2 { issuer: Some(issuer), .. }) => said == Some(issuer),
            _ => true,
        }
    }

    /// Where an operator's browser is sent; `None`: nobody logs in, or no client is registered.
    pub fn authorization_url(&self, ask: &Ask<'_>) -> Option<Url> {
        match &self.kind {
            Kind::OAuth2(own) => Some(oauth2::authorization_url(own, ask)),
            Kind::AwsSsoOidc(own) => aws::authorization_url(own, ask),
            Kind::ClientCredentials(_) => None,
        }
    }

    /// Registers a client (AWS); `None`: there is nothing to register.
    pub fn register(&self, redirect_uri: &str) -> Option<Call> {
        match &self.kind {
            Kind::AwsSsoOidc(own) => Some(aws::register(own, redirect_uri)),
            _ => None,
        }
    }

    /// What the answer to [`Self::register`] says; the message says what is wrong with it.
    ///
    /// # Errors
    /// It is none.
    pub fn registered(&self, status: StatusCode, body: &[u8]) -> Result<Registration, String> {
        answer::registered(status, body)
    }

    /// Begins a device flow; `None`: there is none, or no client is registered.
    pub fn device_authorization(&self, registration: Option<&Registration>) -> Option<Call> {
        match &self.kind {
            Kind::OAuth2(own) => oauth2::device_authorization(own),
            Kind::AwsSsoOidc(own) => aws::device_authorization(own, registration),
            Kind::ClientCredentials(_) => None,
        }
    }

    /// What the answer to [`Self::device_authorization`] says. The message may quote a registration's secret: see
    /// [`masked`].
    ///
    /// # Errors
    /// It is none: the message says what is wrong with it.
    pub fn device_code(&self, status: StatusCode, body: &[u8]) -> Result<DeviceCode, String> {
        answer::device_code(self.names(), status, body).map_err(|why| masked(&why, &self.secrets()))
    }

    /// Asks for a token; `None`: that grant cannot be asked of it (AWS without a registration).
    pub fn token(&self, grant: &Grant, registration: Option<&Registration>) -> Option<Call> {
        match &self.kind {
            Kind::OAuth2(own) => oauth2::token(own, grant),
            Kind::AwsSsoOidc(own) => aws::token(own, grant, registration),
            Kind::ClientCredentials(own) => client_credentials::token(own, grant),
        }
    }

    /// What the answer to [`Self::token`] means. Redirects are never followed: they are a wrong configuration.
    ///
    /// [`Answer::Pending`] to anything but a device code is a throttled request. A refusal's words may quote the grant:
    /// see [`Answer::without`].
    pub fn answer(&self, status: StatusCode, headers: &HeaderMap, body: &[u8], now: UnixMillis) -> Answer {
        match answer::token(self.names(), status, headers, body, now).without(&self.secrets()) {
            // RFC 6749 §4.4.3: there should be none, and nothing would be gained by it.
            Answer::Granted(granted) if !self.has_login() => {
                Answer::Granted(Granted { refresh_token: None, ..granted })
            }
            answer => answer,
        }
    }

    fn names(&self) -> &'static Names {
        match self.kind {
            Kind::AwsSsoOidc(_) => &answer::CAMEL,
            _ => &answer::SNAKE,
        }
    }

    /// What proves us to the provider.
    fn secrets(&self) -> Vec<&Secret> {
        match &self.kind {
            Kind::OAuth2(own) => own.client_secret.iter().collect(),
            Kind::AwsSsoOidc(_) => Vec::new(),
            Kind::ClientCredentials(own) => vec![&own.client_secret],
        }
    }
}

#[cfg(test)]
mod tests;
