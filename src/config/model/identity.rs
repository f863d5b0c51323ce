//! `identity`: who the person behind a call is, for the whole edge or for one project.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use url::Url;

use crate::diagnostic::{Pos, Spanned};
use crate::secret::Secret;

/// `identity`, or `projects.NAME.identity`.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Asked in this order; `[client]`.
    pub sources: Vec<IdentitySource>,
    /// For the source `header`; believed from `server.trusted_proxies` only.
    pub header: Option<HeaderIdentity>,
    /// For the source `basic`: an htpasswd file.
    pub basic_users: Option<Spanned<PathBuf>>,
    /// For the source `oidc`.
    pub oidc: Option<Oidc>,
    /// For the source `jwt`: whose tokens are believed.
    pub jwt: Vec<Jwt>,
    /// Where the sources stand.
    pub at: Pos,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            sources: vec![IdentitySource::Client],
            header: None,
            basic_users: None,
            oidc: None,
            jwt: Vec::new(),
            at: Pos::default(),
        }
    }
}

/// Where the person behind a call is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentitySource {
    /// A client's token.
    Client,
    /// HTTP Basic, from the users' file.
    Basic,
    /// Headers of a trusted proxy.
    Header,
    /// The certificate that the client showed.
    Certificate,
    /// A session that began with an OpenID Connect log-in.
    Oidc,
    /// A JWT of an issuer, as a bearer token.
    Jwt,
}

/// Which headers of a trusted proxy name the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderIdentity {
    /// The mail address.
    pub user: HeaderName,
    /// The display name.
    pub name: Option<HeaderName>,
}

/// `identity.oidc`: log-in at an OpenID Connect issuer.
#[derive(Clone, Debug)]
pub struct Oidc {
    /// https, or loopback; as written, since tokens are compared with it.
    pub issuer: Spanned<String>,
    /// Whom the issuer knows us as.
    pub client_id: String,
    /// `None`: a public client.
    pub client_secret: Option<Secret>,
    /// What sessions are sealed under, at least 32 characters; `None`: the process's own key.
    pub cookie_secret: Option<Secret>,
    /// The longest that one log-in lasts; 8 hours.
    pub session: Duration,
    /// What is asked for; `openid email profile`.
    pub scopes: Vec<String>,
    /// Which claims say who it is.
    pub claims: ClaimNames,
    /// Where the issuer sends the browser back to; `None`: to the host that it came from.
    pub redirect_url: Option<Spanned<Url>>,
    /// Where a browser ends up after logging out; `None`: at a page of the issuer or of ours.
    pub logout_redirect_url: Option<Spanned<Url>>,
    /// A PEM file with further CA certificates for the issuer's own TLS.
    pub ca: Option<Spanned<PathBuf>>,
    /// Where the key stands.
    pub at: Pos,
}

/// One of `identity.jwt`: an issuer whose tokens are believed.
#[derive(Clone, Debug)]
pub struct Jwt {
    /// https, or loopback; as written, since tokens are compared with it.
    pub issuer: Spanned<String>,
    /// For whom its tokens must be, one of these; never empty.
    pub audiences: Vec<String>,
    /// Where its keys are; `None`: where its discovery document says.
    pub jwks_url: Option<Spanned<Url>>,
    /// Which claims say who it is.
    pub claims: ClaimNames,
    /// A PEM file with further CA certificates for the issuer's own TLS.
    pub ca: Option<Spanned<PathBuf>>,
}

/// Which claims of a token say who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// The mail address; `email`.
    pub user: String,
    /// The display name; `name`.
    pub name: String,
}
