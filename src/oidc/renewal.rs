//! A session that is due is shown to the issuer again.

use super::client::Client;
use super::session::Session;
use crate::clock::UnixMillis;

/// What becomes of a session that was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// It goes on; its cookies are to be set anew.
    Fresh(Session),
    /// The issuer says no: somebody who wants more logs in again.
    Ended,
    /// The issuer cannot be asked just now: the session goes on as it is.
    Later,
}

impl Client {
    /// Asks, once for however many come with one refresh token.
    pub async fn renew(&self, _session: &Session, _now: UnixMillis) -> Renewed {
        Renewed::Later
    }
}
