//! `identity`, compiled: where the person behind a call is found, and who counts wrong guesses.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

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
}

impl Source {
    /// The configuration's word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Basic(_) => "basic",
            Self::Header { .. } => "header",
            Self::Certificate => "certificate",
        }
    }

    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Client, Self::Client) | (Self::Certificate, Self::Certificate) => true,
            (Self::Basic(one), Self::Basic(two)) => one.path() == two.path(),
            (Self::Header { user, name }, Self::Header { user: other, name: other_name }) => {
                (user, name) == (other, other_name)
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
            let bearer =
                Some(bearer).filter(|_| !basic || sources.iter().any(|source| matches!(source, Source::Client)));
            bearer.into_iter().chain(basic.then_some(BASIC)).collect()
        };
        Self { challenges: challenges(BEARER), challenges_wrong: challenges(BEARER_WRONG), sources }
    }

    /// Whether a client's token is looked at.
    pub(super) fn reads_tokens(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::Client))
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
