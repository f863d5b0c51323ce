//! `identity`, compiled: where the person behind a call is found, and who counts wrong guesses. One for the whole edge, and
//! one for each project that has its own.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use url::Url;

use crate::oidc::{ClaimNames, Client, Expected, Issuer};
use crate::policy::access::Networks;
use crate::policy::forward;
use crate::policy::own_cookie::Wire;
use crate::policy::request_gate::RequestView;
use crate::secret::Secret;
use crate::users::{Guesses, UsersFile};

/// Wrong passwords that an address may send in a minute, and wrong client tokens.
const WRONG_PASSWORDS: u32 = 5;
const WRONG_TOKENS: u32 = 10;

/// How the person behind a call is found.
#[derive(Debug)]
pub struct Identification {
    /// Asked in this order; the first that answers wins.
    pub sources: Vec<Source>,
    /// What a 401 asks for.
    pub(super) challenges: Vec<HeaderValue>,
    /// The same when what was sent is wrong.
    pub(super) challenges_wrong: Vec<HeaderValue>,
}

/// One place to look.
#[derive(Clone, Debug)]
pub enum Source {
    /// A token of `clients`.
    Client,
    /// HTTP Basic, against this file.
    Basic(Arc<UsersFile>),
    /// Headers, believed from trusted proxies only.
    Header {
        /// Who.
        user: HeaderName,
        /// The display name.
        name: Option<HeaderName>,
    },
    /// The certificate that the client showed.
    Certificate,
    /// The session of somebody who has logged in at an issuer.
    Oidc(Arc<LogIn>),
    /// A JWT of one of these.
    Jwt(Arc<[Trusted]>),
}

/// Log-in at an issuer.
#[derive(Debug)]
pub struct LogIn {
    /// What we are to it.
    pub client: Client,
    /// What was written.
    pub settings: LogInSettings,
}

/// What a log-in is made from, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogInSettings {
    /// As its tokens name it.
    pub issuer: String,
    /// Who we are to it.
    pub client_id: String,
    /// What proves it; `None`: a public client.
    pub client_secret: Option<Secret>,
    /// What sessions are sealed under; `None`: the process's own key.
    pub cookie_secret: Option<Secret>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Which claims say who it is.
    pub claims: ClaimNames,
    /// How long somebody stays logged in.
    pub session: Duration,
    /// Where the issuer sends browsers back to; `None`: to the host that they came from.
    pub redirect_url: Option<Url>,
    /// Where a browser ends up after logging out.
    pub logout_redirect_url: Option<Url>,
}

/// An issuer whose tokens are believed.
#[derive(Debug)]
pub struct Trusted {
    /// Who.
    pub issuer: Arc<Issuer>,
    /// What its tokens must say.
    pub expected: Expected,
    /// Which claims say who it is.
    pub claims: ClaimNames,
}

impl LogIn {
    /// Whether the browser speaks https with us: by where the issuer is to send it back to, else by the request.
    pub fn wire(&self, request: &RequestView<'_>, trusted: &Networks) -> Wire {
        let scheme = match &self.settings.redirect_url {
            Some(url) => url.scheme(),
            None => forward::x_forwarded_proto(request.tls, request.peer, request.headers, trusted),
        };
        Wire::of(scheme)
    }

    fn same(&self, other: &Self) -> bool {
        self.settings == other.settings && Arc::ptr_eq(self.client.issuer(), other.client.issuer())
    }
}

impl Trusted {
    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.issuer, &other.issuer) && (&self.expected, &self.claims) == (&other.expected, &other.claims)
    }
}

impl Source {
    /// The configuration's word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Basic(_) => "basic",
            Self::Header { .. } => "header",
            Self::Certificate => "certificate",
            Self::Oidc(_) => "oidc",
            Self::Jwt(_) => "jwt",
        }
    }

    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Client, Self::Client) | (Self::Certificate, Self::Certificate) => true,
            (Self::Basic(one), Self::Basic(two)) => one.path() == two.path(),
            (Self::Header { user, name }, Self::Header { user: other, name: other_name }) => {
                (user, name) == (other, other_name)
            }
            (Self::Oidc(one), Self::Oidc(two)) => one.same(two),
            (Self::Jwt(one), Self::Jwt(two)) => {
                one.len() == two.len() && one.iter().zip(two.iter()).all(|(one, two)| one.same(two))
            }
            _ => false,
        }
    }
}

const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"countersign\"");
const BEARER_WRONG: HeaderValue = HeaderValue::from_static("Bearer realm=\"countersign\", error=\"invalid_token\"");
/// RFC 7617 §2.1: names and passwords are UTF-8.
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"countersign\", charset=\"UTF-8\"");

impl Identification {
    pub(super) fn new(sources: Vec<Source>) -> Self {
        let challenges = |bearer: HeaderValue| {
            let basic = sources.iter().any(|source| matches!(source, Source::Basic(_)));
            // RFC 9110 §11.6.1: there is always one, also where no scheme of HTTP is a source.
            let reads_bearer = |source: &Source| matches!(source, Source::Client | Source::Jwt(_));
            let bearer = Some(bearer).filter(|_| !basic || sources.iter().any(reads_bearer));
            bearer.into_iter().chain(basic.then_some(BASIC)).collect()
        };
        Self { challenges: challenges(BEARER), challenges_wrong: challenges(BEARER_WRONG), sources }
    }

    /// Whether a client's token is looked at.
    pub(super) fn reads_tokens(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::Client))
    }

    /// Whether JWTs are looked at.
    pub(super) fn reads_jwts(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::Jwt(_)))
    }

    /// Where people log in; `None`: nowhere.
    pub fn log_in(&self) -> Option<&Arc<LogIn>> {
        self.sources.iter().find_map(|source| match source {
            Source::Oidc(log_in) => Some(log_in),
            _ => None,
        })
    }

    /// Every issuer that has a word in it.
    pub(super) fn issuers(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.sources.iter().flat_map(|source| {
            let (one, several): (Option<&Arc<Issuer>>, &[Trusted]) = match source {
                Source::Oidc(log_in) => (Some(log_in.client.issuer()), &[]),
                Source::Jwt(trusted) => (None, trusted),
                _ => (None, &[]),
            };
            one.into_iter().chain(several.iter().map(|trusted| &trusted.issuer))
        })
    }

    /// Whether HTTP Basic is looked at.
    pub(super) fn reads_basic(&self) -> bool {
        self.users().is_some()
    }

    /// Whether anybody but clients can be somebody.
    pub(super) fn knows_others(&self) -> bool {
        self.sources.iter().any(|source| !matches!(source, Source::Client))
    }

    /// The users of the source `basic`.
    pub fn users(&self) -> Option<&Arc<UsersFile>> {
        self.sources.iter().find_map(|source| match source {
            Source::Basic(users) => Some(users),
            _ => None,
        })
    }

    /// Whether two find everybody alike.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.sources.len() == other.sources.len()
            && self.sources.iter().zip(&other.sources).all(|(one, other)| one.same(other))
    }
}

/// Who counts wrong guesses, for as long as the process lives.
#[derive(Clone, Debug)]
pub struct Guessing {
    /// Of client tokens.
    pub tokens: Arc<Guesses>,
    /// Of passwords.
    pub passwords: Arc<Guesses>,
}

impl Default for Guessing {
    fn default() -> Self {
        Self { tokens: Arc::new(Guesses::new(WRONG_TOKENS)), passwords: Arc::new(Guesses::new(WRONG_PASSWORDS)) }
    }
}
