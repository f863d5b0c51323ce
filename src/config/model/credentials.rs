//! Where tokens come from, what routes put on their upstream requests, and how tokens are kept.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::diagnostic::{Pos, Spanned};
use crate::secret::Secret;

/// One of `providers`: an OAuth server.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its key, which credentials name.
    pub name: Spanned<String>,
    /// What it speaks.
    pub kind: ProviderKind,
    /// A PEM file with further CA certificates for the provider's own TLS.
    pub ca: Option<Spanned<PathBuf>>,
    /// Where the key stands.
    pub at: Pos,
}

/// What a provider speaks.
#[derive(Clone, Debug)]
pub enum ProviderKind {
    /// Authorization code with PKCE, and device flow (RFC 6749, RFC 7636, RFC 8628).
    OAuth2(OAuth2),
    /// AWS IAM Identity Center and Builder ID.
    AwsSsoOidc(AwsSsoOidc),
    /// RFC 6749 §4.4: nobody logs in.
    ClientCredentials(ClientCredentials),
}

/// `oauth2`. URLs are https, except on loopback.
#[derive(Clone, Debug)]
pub struct OAuth2 {
    /// Where an operator's browser is sent.
    pub authorization_url: Spanned<Url>,
    /// Where codes and refresh tokens are exchanged.
    pub token_url: Spanned<Url>,
    /// Given: the device flow is offered too.
    pub device_authorization_url: Option<Spanned<Url>>,
    /// Whom the provider knows us as.
    pub client_id: String,
    /// `None`: a public client.
    pub client_secret: Option<Secret>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// `None`: `http://127.0.0.1:<admin port>/oauth/callback`.
    pub redirect_url: Option<Spanned<Url>>,
    /// What `iss` of a callback must be (RFC 9207); `None`: it is not checked.
    pub issuer: Option<String>,
}

/// `aws_sso_oidc`.
#[derive(Clone, Debug)]
pub struct AwsSsoOidc {
    /// Such as us-east-1.
    pub region: String,
    /// `startUrl` of the device flow and of sign-in.
    pub start_url: String,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The parameter of the authorization URL that names them; `scope`.
    pub scope_parameter: String,
    /// What stands between them there; a space.
    pub scope_separator: String,
    /// `https://oidc.REGION.amazonaws.com` unless written.
    pub endpoint: Spanned<Url>,
    /// `None`: `http://127.0.0.1:<admin port>/oauth/callback`.
    pub redirect_url: Option<Spanned<Url>>,
}

/// `client_credentials`.
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    /// Where tokens are had.
    pub token_url: Spanned<Url>,
    /// Whom the provider knows us as.
    pub client_id: String,
    /// What proves it.
    pub client_secret: Secret,
    /// What is asked for.
    pub scopes: Vec<String>,
}

/// One of `credentials`: what a route puts on its upstream requests.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its key, which routes name.
    pub name: Spanned<String>,
    /// Where it comes from.
    pub source: CredentialSource,
    /// The header that carries it.
    pub header: Spanned<http::HeaderName>,
    /// Holds `{token}` once; `Bearer {token}` for `authorization`, `{token}` otherwise.
    pub value: Spanned<String>,
    /// The only upstream hosts that it may go to; empty: those of the routes that name it.
    pub hosts: Vec<Spanned<String>>,
    /// Where the key stands.
    pub at: Pos,
}

/// Where a credential comes from.
#[derive(Clone, Debug)]
pub enum CredentialSource {
    /// Every token of that provider.
    Provider {
        /// Its name.
        provider: Spanned<String>,
        /// Which token is used first; [`UseTokens::InOrder`].
        choice: UseTokens,
        /// How long before its end a token is refreshed, but not earlier than half of its life; 5 minutes.
        refresh_before: Duration,
        /// How long a token rests after a 429 without `retry-after`; 60 seconds.
        rest_after_429: Duration,
    },
    /// The same for every request.
    Secret(Spanned<Secret>),
}

/// Which token of a pool is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UseTokens {
    /// The oldest that can be used.
    #[default]
    InOrder,
    /// Each in turn.
    RoundRobin,
    /// The one that has fewest requests in flight, then fewest in all.
    LeastUsed,
}

/// `tokens`: how token files are kept; read at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// 32 bytes, as 64 hex digits or base64; `None`: token files are readable JSON.
    pub encryption_key: Option<Spanned<Secret>>,
    /// Whether the directory may lie on a network filesystem, where locks and syncing may mean nothing; no.
    pub allow_network_filesystem: bool,
}
