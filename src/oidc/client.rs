//! The relying party: what we are to an issuer, and what we ask it for.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::TARGET;
use super::claims::{Claims, Expected, Why};
use super::issuer::{Issuer, Unreachable, Verdict};
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
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) settings: Settings,
    /// Which client of which issuer: what sessions and log-ins are of.
    pub(super) mark: String,
}

impl Client {
    /// One.
    pub fn new(settings: Settings) -> Self {
        let named = format!("{}\n{}", settings.issuer.url(), settings.client_id);
        let mark = URL_SAFE_NO_PAD.encode(Sha256::digest(named));
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
        self.holds(&session, now).then_some(session)
    }

    /// Whether a session is of this client and has not ended. One that was made for longer than sessions are now ends as
    /// those do.
    pub(super) fn holds(&self, session: &Session, now: UnixMillis) -> bool {
        let longest = session.signed_in_at.saturating_add(self.length());
        session.of == self.mark && now < session.ends_at.min(longest)
    }

    /// How long somebody stays logged in, in milliseconds.
    pub(super) fn length(&self) -> UnixMillis {
        UnixMillis::try_from(self.settings.session.as_millis()).unwrap_or(UnixMillis::MAX)
    }

    /// The values of a session's cookies.
    pub fn seal(&self, process: Option<&Sealer>, session: &Session) -> Option<Vec<String>> {
        session.seal(self.sealer(process)?)
    }

    /// Where a browser logs out at the issuer, to come back to `back` (which the issuer must know): OpenID Connect
    /// RP-Initiated Logout 1.0 §2. `None`: it has no such place, or was not asked yet.
    pub fn logout_location(&self, session: &Session, back: Option<&str>, now: UnixMillis) -> Option<String> {
        let mut url = self.issuer().known_metadata(now)?.end_session_endpoint.clone()?;
        let mut query = url.query_pairs_mut();
        query.append_pair("client_id", &self.settings.client_id);
        if let Some(token) = &session.id_token {
            query.append_pair("id_token_hint", token.expose());
        }
        if let Some(back) = back {
            query.append_pair("post_logout_redirect_uri", back);
        }
        drop(query);
        Some(url.into())
    }

    /// Gives the refresh token back (RFC 7009), as far as the issuer takes it: a courtesy, which nothing waits for twice.
    pub async fn revoke(&self, session: &Session, now: UnixMillis) {
        let Some(token) = &session.refresh_token else { return };
        let Some(metadata) = self.issuer().known_metadata(now) else { return };
        let Some(url) = &metadata.revocation_endpoint else { return };
        let fields = [("token", token.expose()), ("token_type_hint", "refresh_token")];
        let why = match self.ask(url, &metadata, &fields).await {
            Ok(answer) if answer.status().is_success() => return,
            Ok(answer) => format!("answered {}", answer.status()),
            Err(failure) => failure.to_string(),
        };
        log::info!(target: TARGET, "the issuer {} did not take a refresh token back: {why}", self.issuer().url());
    }

    /// An ID token's claims; its key is learned where it is not known.
    pub(super) async fn read_id_token(
        &self,
        token: &Secret,
        nonce: Option<&str>,
        now: UnixMillis,
    ) -> Result<Claims, Unread> {
        let expected = Expected::id_token(&self.settings.client_id, nonce);
        let issuer = self.issuer();
        let mut verdict = issuer.verify(token.expose(), &expected, now);
        if verdict == Verdict::Unknown {
            issuer.learn(now).await?;
            verdict = issuer.verify(token.expose(), &expected, now);
        }
        match verdict {
            Verdict::Valid(claims) => Ok(claims),
            Verdict::Refused(why) => Err(Unread::Refused(why)),
            Verdict::Unknown => Err(Unread::Refused(Why::UnknownKey)),
        }
    }
}

/// Why an ID token says nothing.
#[derive(Debug)]
pub(super) enum Unread {
    /// It is not one for us.
    Refused(Why),
    /// Nobody could tell.
    Unreachable(Unreachable),
}

impl From<Unreachable> for Unread {
    fn from(unreachable: Unreachable) -> Self {
        Self::Unreachable(unreachable)
    }
}
