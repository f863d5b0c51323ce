//! Who has asked, once it is known: an extension of every request that got past the [`gate`](super::gate).

use std::fmt;
use std::sync::Arc;

use crate::credential::login::Session;
use crate::secret::Secret;

/// Whoever asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is.
    pub who: Who,
    /// How that was shown.
    pub how: How,
}

/// Who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever has the admin token.
    Token,
    /// A user of `admin.users_file`.
    User(Arc<str>),
}

/// How that was shown.
#[derive(Clone, Debug)]
pub enum How {
    /// `authorization: Bearer`
    Bearer,
    /// `authorization: Basic`
    Basic,
    /// The cookie of a session.
    Session(Held),
}

/// What a request knows of its session.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its public name.
    pub handle: Arc<str>,
    /// What every form has to send back as `csrf`.
    pub csrf: Secret,
    /// SHA-256 of its id, in hex.
    pub digest: Arc<str>,
}

impl Caller {
    /// What a form has to hold as its field `csrf`; `None`: nothing, as no cookie speaks for the caller.
    pub fn csrf(&self) -> Option<&str> {
        match &self.how {
            How::Session(held) => Some(held.csrf.expose()),
            How::Bearer | How::Basic => None,
        }
    }

    /// Whom a login that begins here belongs to.
    pub fn session(&self) -> Session {
        Session(match (&self.how, &self.who) {
            (How::Session(held), _) => format!("session:{}", held.digest),
            (How::Bearer | How::Basic, Who::Token) => "token".to_owned(),
            (How::Bearer | How::Basic, Who::User(user)) => format!("user:{user}"),
        })
    }
}

impl Who {
    /// Whether it is that user.
    #[cfg(test)]
    pub fn is(&self, user: &str) -> bool {
        matches!(self, Self::User(known) if **known == *user)
    }
}

impl fmt::Display for Who {
    /// For people: a user may call himself `token`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("(admin token)"),
            Self::User(user) => f.write_str(user),
        }
    }
}

impl How {
    /// In a word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::Session(_) => "session",
        }
    }
}
