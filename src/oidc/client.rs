//! The relying party: what we are to an issuer, and what we ask it for.

use std::sync::Arc;
use std::time::Duration;

use super::issuer::Issuer;
use super::person::ClaimNames;
use super::session::Session;
use crate::clock::UnixMillis;
use crate::sealed::Sealer;
use crate::secret::Secret;

/// What a client is made from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who is asked.
    pub issuer: Arc<Issuer>,
    /// Who we are to it.
    pub client_id: String,
    /// What proves it; `None`: a public client, which PKCE alone protects.
    pub client_secret: Option<Secret>,
    /// What is asked for; `openid` always is.
    pub scopes: Vec<String>,
    /// Which claims name a person.
    pub claims: ClaimNames,
    /// How long somebody stays logged in.
    pub session: Duration,
    /// Seals sessions and log-ins; `None`: the process's own does.
    pub sealer: Option<Sealer>,
}

/// We, as the issuer knows us. Made anew with each configuration: what must outlive one is in the [`Issuer`].
#[derive(Debug)]
pub struct Client {
    pub(super) settings: Settings,
    /// Which client of which issuer: what sessions and log-ins are of.
    pub(super) mark: String,
}

impl Client {
    /// One.
    pub fn new(settings: Settings) -> Self {
        let mark = String::new();
        Self { settings, mark }
    }

    /// Who is asked.
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.settings.issuer
    }

    /// What seals sessions and log-ins: its own, or the process's.
    pub fn sealer<'a>(&'a self, process: Option<&'a Sealer>) -> Option<&'a Sealer> {
        self.settings.sealer.as_ref().or(process)
    }

    /// The session in a browser's cookies, if it is of this client and has not ended. It may be due ([`Session::is_due`]).
    pub fn session(&self, process: Option<&Sealer>, pieces: &[&str], now: UnixMillis) -> Option<Session> {
        let session = Session::open(self.sealer(process)?, pieces)?;
        (session.of == self.mark && now < session.ends_at).then_some(session)
    }

    /// The values of a session's cookies.
    pub fn seal(&self, process: Option<&Sealer>, session: &Session) -> Option<Vec<String>> {
        session.seal(self.sealer(process)?)
    }

    /// Where a browser logs out at the issuer, to come back to `back` (which the issuer must know); `None`: it has no such
    /// place, or was never asked.
    pub fn logout_location(&self, _session: &Session, _back: Option<&str>) -> Option<String> {
        None
    }

    /// Gives the refresh token back (RFC 7009), as far as the issuer takes it.
    pub async fn revoke(&self, _session: &Session) {}
}
