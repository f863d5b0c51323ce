//! The one decision: what happens to a request, and why. The data plane acts on it, `explain` prints it.
//!
//! Order of the answers when several apply: 400, 421, 404, (preflight,) 405, 403 (access), 401, 403 (client), 429, 413, 503.
//!
//! Invariants: an [`Admitted`] is made in one place, after every policy has spoken (`refusals_come_in_the_documented_order`);
//! listening changes nothing (`tracing_changes_nothing`); on the way to an admission nothing is allocated or formatted.

mod asking;
mod caller;
mod limits;
mod sso;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::clock::UnixMillis;
use crate::oidc::{Issuer, Renewed, Session};
use crate::policy::auth::ClientIndex;
use crate::policy::page::Pages;
use crate::policy::request_gate::{self, Canonical, Gate, RequestView};
use crate::users::{Login, Network, Outcome};

use super::Table;
use super::direct::Direct;
use super::identity::LogIn;
use super::own::Page;
use super::route::Route;
use asking::{Asking, malformed};

pub(super) use asking::{API_KEY, NOT_BELOW, allowed_methods, max_forwards};

/// One of `clients`.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientEntry {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Lower-case; empty when the client has no user.
    pub user: Arc<str>,
    /// The display name; the user when none was given.
    pub display_name: Arc<str>,
    /// `None`: every project.
    pub projects: Option<Vec<Arc<str>>>,
    /// The first millisecond that is too late.
    pub expires_before: Option<UnixMillis>,
    /// Whether the token cannot be guessed: it is looked at also while its address has to wait for having guessed.
    pub strong: bool,
    /// `user` and `display_name` (percent-encoded) as header values, made once.
    pub(super) values: IdentityValues,
    /// To tell whether an edit changed the token.
    pub(super) token: TokenDigest,
}

/// SHA-256 of a token; not shown, since a weak token can be guessed from it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenDigest(pub(super) [u8; 32]);

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// What the identity headers of one client say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdentityValues {
    pub(super) user: HeaderValue,
    pub(super) name_percent: HeaderValue,
}

/// The person behind a call; empty strings: anonymous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Lower-case mail address.
    pub user: Arc<str>,
    /// Display name, as it came.
    pub name: Arc<str>,
}

/// Proof that every policy admitted the request. Only [`Table::decide`] makes one; no peer is chosen without it.
#[derive(Debug)]
#[allow(clippy::manual_non_exhaustive, reason = "`non_exhaustive` would let the rest of the crate make one")]
pub struct Admitted {
    /// The winner.
    pub route: Arc<Route>,
    /// Who calls, if a client authenticated.
    pub client: Option<Arc<ClientEntry>>,
    /// Whose identity is signed.
    pub identity: Identity,
    /// The true client address.
    pub client_ip: IpAddr,
    /// Whether `authorization` / `x-api-key` was what the caller authenticated with (and must not travel on).
    pub consumed: Consumed,
    /// The source of `identity.sources` that answered; empty: none did.
    pub source: &'static str,
    /// What becomes of the session's cookie.
    pub session: SessionCookie,
    /// Whether the request said itself, by a field or a cookie, which environment serves it.
    pub environment_named: bool,
    _sealed: (),
}

/// Which header carried the caller's token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consumed {
    /// `authorization: Bearer …`
    pub authorization: bool,
    /// `x-api-key`
    pub api_key: bool,
}

/// Why a request is answered by the edge with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status.
    pub status: u16,
    /// The error code.
    pub code: &'static str,
    /// For the client.
    pub message: Cow<'static, str>,
    /// Further headers of the answer: `allow`, `www-authenticate`, `retry-after`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether the connection must close after it (framing in doubt).
    pub close: bool,
    /// A client token that nobody has came from there: to be counted.
    pub wrong_token_from: Option<Network>,
}

/// What happens.
#[derive(Debug)]
pub enum Decision {
    /// Go on: forward, respond or redirect, as the route's action says.
    Admit(Admitted),
    /// Answer with this; how far the request had come (for metrics, log and pages).
    Refuse(Refusal, Place),
    /// One of the edge's own pages.
    Own(OwnRequest, Place),
    /// A password has to be verified first, which takes its time; then [`Table::decide_after`] goes on.
    Verify(Box<Login>),
    /// An issuer has to be asked first; then [`Table::decide_after`] goes on.
    Ask(Box<Question>),
    /// Somebody's browser has to do with its log-in: it is sent to the issuer, comes back from there, or leaves.
    LogIn(LogInRequest, Place),
    /// A browser asks what its page may do: 204 with these headers, without asking who it is.
    Preflight(Vec<(HeaderName, HeaderValue)>, Arc<Route>),
    /// `OPTIONS *`, or an OPTIONS that may not be forwarded any further (RFC 9110 §7.6.2): 204 with `allow`.
    ServerOptions,
}

/// A request for one of the edge's own pages.
#[derive(Clone, Debug)]
pub struct OwnRequest {
    /// Which.
    pub page: Page,
    /// The project whose host it is: its place among [`Matcher::projects`](super::matcher::Matcher::projects).
    pub project: usize,
    /// The true client address.
    pub client_ip: IpAddr,
}

/// What only an issuer can say.
#[derive(Clone, Debug)]
pub enum Question {
    /// Whether somebody who has logged in may still be taken for logged in.
    Session {
        /// Where.
        log_in: Arc<LogIn>,
        /// Whose project it is asked for.
        project: Arc<str>,
        /// What the browser has brought.
        session: Box<Session>,
    },
    /// By which keys it signs.
    Keys(Arc<Issuer>),
}

/// What has been found out for a request, once it was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Learned<'q> {
    /// How the verification of the password went that the request carries.
    pub password: Option<Outcome>,
    /// What has become of the session that was due.
    pub session: Option<&'q Renewed>,
    /// Whether the issuer has said by which keys it signs.
    pub keys: Option<bool>,
}

impl From<Outcome> for Learned<'_> {
    fn from(outcome: Outcome) -> Self {
        Self { password: Some(outcome), ..Self::default() }
    }
}

/// A request that has to do with logging in.
#[derive(Clone, Debug)]
pub struct LogInRequest {
    /// What it is.
    pub step: Step,
    /// Where people log in.
    pub log_in: Arc<LogIn>,
    /// The project.
    pub project: Arc<str>,
}

/// What a browser does about its log-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes to a page that needs one.
    Needed,
    /// It asks for one: `oidc/login`.
    Begin,
    /// The issuer has sent it back: `oidc/callback`.
    End,
    /// It leaves: `oidc/logout`.
    Leave,
}

/// What is to become of the session's cookie, beside what has been learned about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionCookie {
    /// Nothing: there is none, or it is good.
    #[default]
    Stays,
    /// It is no session of this project, or one that has ended: it goes.
    Goes,
}

/// Where a request was when it was refused: what had been found out until then.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The project that has its host.
    pub project: Option<Arc<str>>,
    /// The environment that serves it.
    pub environment: Option<Arc<str>>,
    /// Whether the request said so itself, by a field or a cookie.
    pub named: bool,
    /// The route.
    pub route: Option<Arc<Route>>,
    /// The project's own error pages.
    pub pages: Option<Arc<Pages>>,
    /// What becomes of the session's cookie.
    pub session: SessionCookie,
}

/// What `explain` wants to know on the way. The data plane passes [`NoTrace`], which costs nothing.
pub trait Trace {
    /// A project was chosen.
    fn project(&mut self, _name: &str) {}
    /// An environment was chosen, by this rule.
    fn environment(&mut self, _name: &str, _rule: std::fmt::Arguments<'_>) {}
    /// A route was looked at and lost.
    fn candidate(&mut self, _route: &Arc<Route>, _lost: &'static str) {}
    /// A direct prefix was looked at, which serves no request.
    fn direct(&mut self, _direct: &Direct, _lost: &'static str) {}
    /// A route won.
    fn winner(&mut self, _route: &Arc<Route>) {}
    /// A policy spoke.
    fn verdict(&mut self, _policy: &'static str, _verdict: &'static str, _detail: std::fmt::Arguments<'_>) {}
    /// Whether anybody listens (losing candidates are only collected if so).
    fn wanted(&self) -> bool {
        true
    }
}

/// Nobody listens.
#[derive(Debug)]
pub struct NoTrace;

impl Trace for NoTrace {
    fn wanted(&self) -> bool {
        false
    }
}

/// What `explain` takes for granted instead of reading it from the request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Assumed<'q> {
    /// The environment that the request is taken to have named, and may have.
    pub(super) environment: Option<&'q str>,
    /// The client that the caller is taken to be.
    pub(super) client: Option<ClientIndex>,
    /// The person that the caller is taken to be, and the source that knows.
    pub(super) person: Option<(&'q str, &'q Identity)>,
    /// What has been found out for it.
    pub(super) learned: Learned<'q>,
}

impl Table {
    /// Decides about one request. Also returns its canonical form, when it has one, for rewriting and the log.
    pub fn decide<'a, T: Trace>(
        &self,
        request: &RequestView<'a>,
        now: UnixMillis,
        trace: &mut T,
    ) -> (Decision, Option<Canonical<'a>>) {
        self.decide_assuming(request, now, Assumed::default(), trace)
    }

    /// Decides again, now that it has been found out what could not be known at once.
    pub fn decide_after<'a, 'q, T: Trace>(
        &self,
        learned: impl Into<Learned<'q>>,
        request: &RequestView<'a>,
        now: UnixMillis,
        trace: &mut T,
    ) -> (Decision, Option<Canonical<'a>>) {
        let assumed = Assumed { learned: learned.into(), ..Assumed::default() };
        self.decide_assuming(request, now, assumed, trace)
    }

    /// The same, for a question that leaves things out.
    pub(super) fn decide_assuming<'a, T: Trace>(
        &self,
        request: &RequestView<'a>,
        now: UnixMillis,
        assumed: Assumed<'_>,
        trace: &mut T,
    ) -> (Decision, Option<Canonical<'a>>) {
        let canonical = match request_gate::judge(request) {
            Gate::Pass(canonical) => canonical,
            Gate::ServerOptions => {
                trace.verdict("request", "answer", format_args!("OPTIONS * is answered by the edge"));
                return (Decision::ServerOptions, None);
            }
            Gate::Refuse(refusal) => {
                trace.verdict("request", "refuse", format_args!("{}", refusal.message));
                return (Decision::Refuse(malformed(refusal), Place::default()), None);
            }
        };
        trace.verdict("request", "pass", format_args!("one meaning: host {}, path {}", canonical.host, canonical.path));
        let mut asking = Asking {
            table: self,
            request,
            canonical: &canonical,
            now,
            assumed,
            trace,
            named: false,
            place: Place::default(),
            session: SessionCookie::Stays,
        };
        let decision = asking.decide();
        (decision, Some(canonical))
    }
}
