//! A log-in: there and back, with one cookie in between.

use super::claims::Why;
use super::client::Client;
use super::issuer::Unreachable;
use super::person::NoPerson;
use super::session::Session;
use crate::clock::UnixMillis;
use crate::sealed::Sealer;

/// A log-in that begins.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser is sent.
    pub location: String,
    /// The value of the cookie that it comes back with, for ten minutes.
    pub state_cookie: String,
    /// Tells this log-in's cookie from those of others in the same browser ([`login_mark`]).
    pub mark: String,
}

/// A log-in that has ended well.
#[derive(Debug)]
pub struct Finished {
    /// Who it is.
    pub session: Session,
    /// Where he was: a path of our own host.
    pub back: String,
}

/// Why there is no log-in. The words are for the log, and hold nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No cookie of this log-in, or an old one, or somebody else's; or what came back is no answer to it.
    #[error("this log-in was not begun here, or too long ago")]
    State,
    /// It was begun here, but the answer is of another issuer (RFC 9207).
    #[error("the answer is of another issuer")]
    Issuer,
    /// The issuer says no (RFC 6749 §4.1.2.1).
    #[error("the issuer refused: {0}")]
    Refused(String),
    /// The issuer cannot be asked: later, perhaps.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// It does not exchange the code, or not as it should.
    #[error("the issuer did not exchange the code: {0}")]
    Exchange(String),
    /// Its ID token is not one for us.
    #[error("the ID token is refused: {0}")]
    Token(#[from] Why),
    /// It names nobody.
    #[error(transparent)]
    Person(#[from] NoPerson),
    /// Nothing can be sealed here: no key, or no randomness.
    #[error("there is no key to seal a log-in with")]
    Unsealed,
}

impl Client {
    /// Begins one. `redirect_uri`: ours, absolute. `back`: see [`super::safe_back`].
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn begin(
        &self,
        _redirect_uri: &str,
        _back: &str,
        _process: Option<&Sealer>,
        _now: UnixMillis,
    ) -> Result<Begun, Fault> {
        Err(Fault::Unsealed)
    }

    /// Ends one. `query`: of the request that came back, without `?`. The cookie is to be removed, whatever comes of it.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn finish(
        &self,
        _redirect_uri: &str,
        _query: &str,
        _state_cookie: &str,
        _process: Option<&Sealer>,
        _now: UnixMillis,
    ) -> Result<Finished, Fault> {
        Err(Fault::State)
    }
}

/// Which log-in an answer's query is of: the [`Begun::mark`] of its cookie. 16 hexadecimal digits; `None`: of none.
pub fn login_mark(_query: &str) -> Option<String> {
    None
}
