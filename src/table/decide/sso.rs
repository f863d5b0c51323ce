//! Callers by the word of an issuer: a browser's session, a program's JWT, and the browser that has to log in first.
//!
//! Both are judged here, by what is known. What only the issuer can say (its keys, whether a session that is due goes on) becomes
//! a [`Question`], with whose answer the decision is made again. A session that cannot be used is as none: its browser can
//! log in anew. A token that cannot be used is refused: whoever sent it meant it.

use std::fmt;
use std::sync::Arc;

use http::header::{HeaderValue, RETRY_AFTER};

use crate::oidc::{self, Claims, NoPerson, Person, Renewed, Session, Verdict, Why};
use crate::policy::auth::{self, Presented};
use crate::policy::own_cookie::{self, Pieces};
use crate::policy::{navigation, sign};

use super::super::identity::{LogIn, Trusted};
use super::super::route::Route;
use super::asking::{Asking, refusal};
use super::caller::{Caller, Stop, wrong};
use super::{API_KEY, Question, Refusal, SessionCookie, Trace};

/// The seconds after which an issuer is worth another try.
const COME_BACK: u64 = 5;

impl<T: Trace> Asking<'_, '_, T> {
    /// Somebody whose browser has a session here.
    pub(super) fn session(&mut self, route: &Route, log_in: &Arc<LogIn>) -> Result<Option<Caller>, Stop> {
        let wire = log_in.wire(self.request, &self.table.trusted_proxies);
        let pieces = own_cookie::session(self.request.headers, wire);
        if pieces.is_empty() {
            return Ok(None);
        }
        match self.assumed.learned.session {
            None => self.session_brought(route, log_in, &pieces),
            Some(Renewed::Fresh(session)) => Ok(self.person(session)),
            Some(Renewed::Ended) => Ok(self.no_session("the issuer has ended the session")),
            Some(Renewed::Later) => Ok(self.opened(log_in, &pieces).and_then(|session| self.person(&session))),
        }
    }

    fn session_brought(
        &mut self,
        route: &Route,
        log_in: &Arc<LogIn>,
        pieces: &Pieces<'_>,
    ) -> Result<Option<Caller>, Stop> {
        let Some(session) = self.opened(log_in, pieces) else { return Ok(None) };
        if !session.is_due(self.now) {
            return Ok(self.person(&session));
        }
        self.trace.verdict("auth", "ask", format_args!("the session is due: a running edge asks its issuer about it"));
        let (log_in, project) = (Arc::clone(log_in), Arc::clone(&route.project));
        Err(Stop::Ask(Box::new(Question::Session { log_in, project, session: Box::new(session) })))
    }

    fn opened(&mut self, log_in: &LogIn, pieces: &Pieces<'_>) -> Option<Session> {
        let process = self.table.cookies.sealer();
        if log_in.client.sealer(process).is_none() {
            let detail = format_args!("there is a session cookie, which only the running edge can open");
            self.trace.verdict("auth", "skip", detail);
            return None;
        }
        let session = log_in.client.session(process, pieces.as_slice(), self.now);
        let session = session.filter(|session| !log_in.client.has_left(session));
        if session.is_none() {
            self.no_session("the session cookie is not of this project, or has ended");
        }
        session
    }

    fn no_session(&mut self, why: &'static str) -> Option<Caller> {
        self.session = SessionCookie::Goes;
        self.trace.verdict("auth", "skip", format_args!("{why}"));
        None
    }

    fn person(&mut self, session: &Session) -> Option<Caller> {
        let Some(caller) = caller(&session.person) else {
            return self.no_session("the session is of somebody without a mail address that can be signed");
        };
        self.trace.verdict("auth", "pass", format_args!("user {}, by session", session.person.user));
        Some(caller)
    }

    /// Where to send a browser that goes to a page.
    pub(super) fn goes_to_log_in(&mut self, route: &Route) -> Option<Arc<LogIn>> {
        let log_in = route.identification.log_in()?;
        if !navigation::is_navigation(self.request.method, self.request.headers) {
            return None;
        }
        let issuer = &log_in.settings.issuer;
        self.trace.verdict(
            "auth",
            "answer",
            format_args!("a browser goes to a page: it is sent to log in at {issuer}"),
        );
        Some(Arc::clone(log_in))
    }

    /// Whether what is no client's token is for the source `jwt` to judge.
    pub(super) fn is_for_jwt(&self, route: &Route) -> bool {
        let headers = self.request.headers;
        let bearer = || auth::bearer_text(headers).ok().flatten().is_some_and(oidc::looks_like_jwt);
        route.identification.reads_jwts() && !headers.contains_key(API_KEY) && bearer()
    }

    /// Whoever an issuer's token names.
    pub(super) fn jwt(&mut self, route: &Route, trusted: &[Trusted]) -> Result<Option<Caller>, Stop> {
        let reads_tokens = route.identification.reads_tokens();
        let token = match auth::bearer_text(self.request.headers) {
            Ok(None) => return Ok(None),
            Ok(Some(token)) if reads_tokens && !oidc::looks_like_jwt(token) => return Ok(None),
            Ok(Some(token)) => token,
            Err(why) => return Err(self.no_token(route, why).into()),
        };
        // With a second token beside it the source `client` has the word: a request has one caller.
        let beside = self.request.headers.contains_key(API_KEY);
        let present = || self.table.clients.present(self.request.headers);
        if reads_tokens && (beside || matches!(present(), Presented::Client(_))) {
            return Ok(None);
        }
        let claimed = oidc::claimed_issuer(token);
        let mut why = Why::Issuer;
        for one in trusted.iter().filter(|one| claimed.as_deref() == Some(one.issuer.url())) {
            match one.issuer.verify(token, &one.expected, self.now) {
                Verdict::Valid(claims) => return self.named(&claims, one).map(Some),
                Verdict::Refused(refused) => why = refused,
                Verdict::Unknown => return Err(self.unknown(route, one)),
            }
        }
        Err(self.no_token(route, why).into())
    }

    fn named(&mut self, claims: &Claims, trusted: &Trusted) -> Result<Caller, Stop> {
        let person = Person::of(claims.values(), &trusted.claims).map_err(|why| self.nobody_named(why))?;
        let Some(caller) = caller(&person) else { return Err(self.nobody_named(NoPerson::NoMail).into()) };
        self.trace.verdict(
            "auth",
            "pass",
            format_args!("user {}, by a token of {}", person.user, trusted.issuer.url()),
        );
        Ok(caller)
    }

    fn unknown(&mut self, route: &Route, trusted: &Trusted) -> Stop {
        let issuer = trusted.issuer.url();
        match self.assumed.learned.keys {
            None => {
                let detail = format_args!("the token's key is not known here: a running edge asks {issuer} for it");
                self.trace.verdict("auth", "ask", detail);
                Stop::Ask(Box::new(Question::Keys(Arc::clone(&trusted.issuer))))
            }
            Some(true) => self.no_token(route, Why::UnknownKey).into(),
            Some(false) => {
                self.trace.verdict("auth", "refuse", format_args!("{issuer} cannot be asked for the token's key"));
                unavailable().into()
            }
        }
    }

    fn no_token(&mut self, route: &Route, why: impl fmt::Display) -> Refusal {
        self.trace.verdict("auth", "refuse", format_args!("the bearer token is refused: {why}"));
        wrong(route, "invalid_token", format!("the bearer token is not accepted: {why}"))
    }

    fn nobody_named(&mut self, why: NoPerson) -> Refusal {
        self.trace.verdict("auth", "refuse", format_args!("the bearer token is good, but names nobody: {why}"));
        refusal(403, "no_mail_address", why.to_string())
    }
}

/// Who can say is out of reach.
fn unavailable() -> Refusal {
    let message = "who you are cannot be verified just now, as the issuer is out of reach";
    refusal(503, "identity_unavailable", message).with(RETRY_AFTER, HeaderValue::from(COME_BACK))
}

/// With a user that can be signed.
fn caller(person: &Person) -> Option<Caller> {
    match sign::canonical_user(&person.user) {
        Ok(user) if *user == *person.user => Some(Caller::of(Arc::clone(&person.user), Arc::clone(&person.name))),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
