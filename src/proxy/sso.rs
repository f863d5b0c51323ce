//! What issuers are asked on behalf of requests, and browsers that log in, come back and leave.
//!
//! Flow of a log-in: a browser goes to a page that needs somebody ([`Step::Needed`]), or asks for a log-in
//! ([`Step::Begin`]); it is sent to the issuer with a sealed cookie of this one log-in; the issuer sends it back
//! ([`Step::End`]), its answer is exchanged for a session, and the browser goes on to where it was. Whatever goes wrong ends
//! at a page with a link, never in another redirect: nobody is sent in circles.
//!
//! Invariants: a browser is sent to its own host or to the issuer, and nowhere else; what is in a cookie, a code or a token
//! is in no message.

mod answers;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::engine::Shared;
use super::respond::Answer;
use crate::clock;
use crate::id::RequestId;
use crate::oidc::{self, Begun, Fault, Finished, Renewed, Session};
use crate::policy::own_cookie::{self, Wire};
use crate::policy::request_gate::{Canonical, RequestView};
use crate::policy::{forward, host, navigation, sign};
use crate::sealed::Sealer;
use crate::table::Table;
use crate::table::decide::{Decision, Learned, LogInRequest, Question, SessionCookie, Step};
use crate::table::identity::LogIn;
use crate::table::matcher::covers;
use crate::users::Outcome;

/// Where an issuer sends browsers back to.
const CALLBACK: &str = "/.countersign/oidc/callback";
/// Nobody comes back to one of these from a log-in.
const PAGES: &str = "/.countersign/oidc";
/// As long as the issuer has to send a browser back.
const LOG_IN_SECONDS: u64 = 600;
/// More questions than this no request can need: a password, a session, a key.
const ROUNDS: usize = 3;

/// What has been found out for one request.
#[derive(Debug, Default)]
pub struct Heard {
    rounds: usize,
    password: Option<Outcome>,
    session: Option<(Arc<LogIn>, Renewed)>,
    keys: Option<bool>,
    /// Why an issuer could not be asked, for the log.
    pub detail: String,
}

impl Heard {
    /// As the decision takes it.
    pub fn learned(&self) -> Learned<'_> {
        let session = self.session.as_ref().map(|(_, renewed)| renewed);
        Learned { password: self.password, session, keys: self.keys }
    }

    /// Whether another question may be asked.
    pub fn may_go_on(&mut self) -> bool {
        self.rounds += 1;
        self.rounds <= ROUNDS
    }

    /// How a password was judged.
    pub fn password(&mut self, outcome: Outcome) {
        self.password = Some(outcome);
    }

    /// Asks the issuer.
    pub async fn ask(&mut self, shared: &Shared, question: Question) {
        let metrics = &shared.observer().metrics;
        match question {
            Question::Session { log_in, project, session } => {
                let renewed = log_in.client.renew(&session, clock::unix_millis()).await;
                metrics.session_renewal(&project, outcome_of(&renewed));
                self.session = Some((log_in, renewed));
            }
            Question::Keys(issuer) => {
                let learned = issuer.learn(clock::unix_millis()).await;
                metrics.issuer_asked(issuer.url(), if learned.is_ok() { "ok" } else { "failed" });
                self.keys = Some(learned.is_ok());
                self.detail = learned.err().map(|why| why.to_string()).unwrap_or_default();
            }
        }
    }

    /// What the browser is to keep of a session that has been renewed, whatever it is answered.
    pub fn cookies(&self, table: &Table, request: &RequestView<'_>) -> Vec<HeaderValue> {
        match &self.session {
            Some((log_in, Renewed::Fresh(session))) => set_cookies(table, request, log_in, session).unwrap_or_default(),
            _ => Vec::new(),
        }
    }
}

/// What takes the session's cookie from a browser if it is of no use.
pub fn stale(table: &Table, request: &RequestView<'_>, decision: &Decision) -> Vec<HeaderValue> {
    let (fate, route) = match decision {
        Decision::Admit(admitted) => (admitted.session, Some(&admitted.route)),
        Decision::Refuse(_, place) | Decision::LogIn(_, place) => (place.session, place.route.as_ref()),
        _ => (SessionCookie::Stays, None),
    };
    if fate == SessionCookie::Stays {
        return Vec::new();
    }
    let log_in = route.and_then(|route| route.identification.log_in());
    let gone = |log_in: &Arc<LogIn>| {
        own_cookie::set_session(request.headers, log_in.wire(request, &table.trusted_proxies), &[], 0)
    };
    log_in.map(gone).unwrap_or_default()
}

fn outcome_of(renewed: &Renewed) -> &'static str {
    match renewed {
        Renewed::Fresh(_) => "renewed",
        Renewed::Ended => "ended",
        Renewed::Later => "later",
    }
}

/// `None`: there is no randomness, or too much to carry.
fn set_cookies(
    table: &Table,
    request: &RequestView<'_>,
    log_in: &LogIn,
    session: &Session,
) -> Option<Vec<HeaderValue>> {
    let pieces = log_in.client.seal(table.cookies.sealer(), session)?;
    let seconds = session.ends_at.saturating_sub(clock::unix_millis()) / 1000;
    let wire = log_in.wire(request, &table.trusted_proxies);
    Some(own_cookie::set_session(request.headers, wire, &pieces, seconds))
}

/// What a browser is answered about its log-in.
#[derive(Debug)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// Its error code, if it is none that was hoped for.
    pub code: Option<&'static str>,
    /// More for the log.
    pub detail: String,
}

/// One request about a log-in.
struct Asked<'a> {
    shared: &'a Shared,
    table: &'a Table,
    id: &'a RequestId,
    request: &'a RequestView<'a>,
    canonical: &'a Canonical<'a>,
    asked: &'a LogInRequest,
    wire: Wire,
}

/// Answers one.
pub async fn answer(
    shared: &Shared,
    table: &Table,
    id: &RequestId,
    request: &RequestView<'_>,
    canonical: &Canonical<'_>,
    asked: &LogInRequest,
) -> Answered {
    let wire = asked.log_in.wire(request, &table.trusted_proxies);
    let this = Asked { shared, table, id, request, canonical, asked, wire };
    match asked.step {
        Step::Needed => this.begin(&this.here(), Some("login_required")).await,
        Step::Begin if this.is_read() => this.begin(&this.wished(), None).await,
        Step::Begin => this.method_not_allowed("GET, HEAD"),
        Step::End if *request.method == Method::GET => this.end().await,
        Step::End => this.method_not_allowed("GET"),
        Step::Leave if this.is_read() || *request.method == Method::POST => this.leave().await,
        Step::Leave => this.method_not_allowed("GET, HEAD, POST"),
    }
}

impl Asked<'_> {
    fn is_read(&self) -> bool {
        matches!(*self.request.method, Method::GET | Method::HEAD)
    }

    fn process(&self) -> Option<&Sealer> {
        self.table.cookies.sealer()
    }

    /// Where the browser is.
    fn here(&self) -> String {
        match self.canonical.query {
            Some(query) => format!("{}?{query}", self.canonical.raw_path),
            None => self.canonical.raw_path.to_owned(),
        }
    }

    /// Where a page wants its reader to come back to.
    fn wished(&self) -> String {
        let query = self.canonical.query.unwrap_or_default();
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let back = pairs.find(|(name, _)| name == "back").map(|(_, back)| back.into_owned()).unwrap_or_default();
        let path = back.split(['?', '#']).next().unwrap_or_default();
        if covers(PAGES, path) { "/".to_owned() } else { back }
    }

    async fn begin(&self, back: &str, code: Option<&'static str>) -> Answered {
        let client = &self.asked.log_in.client;
        let redirect_uri = self.redirect_uri();
        let begun = client.begin(&redirect_uri, oidc::safe_back(back), self.process(), clock::unix_millis()).await;
        let Begun { location, state_cookie, mark } = match begun {
            Ok(begun) => begun,
            Err(fault) => return self.failed(&fault),
        };
        let cookies = own_cookie::begin_log_in(self.request.headers, self.wire, &mark, &state_cookie, LOG_IN_SECONDS);
        match answers::to(&location, cookies) {
            Some(answer) => Answered { answer, code, detail: String::new() },
            None => self.failed(&Fault::Unsealed),
        }
    }

    async fn end(&self) -> Answered {
        let query = self.canonical.query.unwrap_or_default();
        let mark = oidc::login_mark(query).unwrap_or_default();
        let kept = own_cookie::log_in(self.request.headers, self.wire, &mark);
        let finished = self
            .asked
            .log_in
            .client
            .finish(&self.redirect_uri(), query, kept.unwrap_or_default(), self.process(), clock::unix_millis())
            .await;
        let mut answered = match finished {
            Ok(finished) => self.logged_in(&finished),
            Err(fault) => self.failed(&fault),
        };
        let spent = kept.and_then(|_| own_cookie::end_log_in(self.wire, &mark));
        answered.answer.headers.extend(spent.map(set_cookie));
        answered
    }

    fn logged_in(&self, finished: &Finished) -> Answered {
        let Finished { session, back } = finished;
        if sign::canonical_user(&session.person.user).is_err() {
            return self.failed(&Fault::Person(oidc::NoPerson::NoMail));
        }
        let cookies = set_cookies(self.table, self.request, &self.asked.log_in, session);
        match cookies.and_then(|cookies| answers::to(oidc::safe_back(back), cookies)) {
            Some(answer) => {
                self.count("ok");
                log::info!("project {}: {} has logged in", self.asked.project, session.person.user);
                Answered { answer, code: None, detail: String::new() }
            }
            None => self.failed(&Fault::Unsealed),
        }
    }

    fn failed(&self, fault: &Fault) -> Answered {
        let trouble = answers::Trouble::of(fault);
        self.count(trouble.outcome);
        let detail = fault.to_string();
        Answered { answer: answers::page(&trouble, self.id, self.request.headers), code: Some(trouble.code), detail }
    }

    async fn leave(&self) -> Answered {
        if !self.is_own_page() {
            return self.plain(&answers::OF_ANOTHER_SITE);
        }
        let log_in = &self.asked.log_in;
        let now = clock::unix_millis();
        let pieces = own_cookie::session(self.request.headers, self.wire);
        let session = log_in.client.session(self.process(), pieces.as_slice(), now);
        let location = match &session {
            Some(session) => self.leave_the_issuer(session).await,
            None => None,
        };
        let after = log_in.settings.logout_redirect_url.as_ref().map(|url| url.as_str().to_owned());
        let cookies = own_cookie::set_session(self.request.headers, self.wire, &[], 0);
        let to = location.or(after).and_then(|to| answers::to(&to, cookies.clone()));
        let answer = to.unwrap_or_else(|| answers::logged_out(self.id, self.request.headers, cookies));
        Answered { answer, code: None, detail: String::new() }
    }

    /// Where the issuer's own session ends, if it has such a place. (After a restart it has not been asked yet.)
    async fn leave_the_issuer(&self, session: &Session) -> Option<String> {
        let log_in = &self.asked.log_in;
        let now = clock::unix_millis();
        log_in.client.leave(session, now);
        let back = log_in.settings.logout_redirect_url.as_ref().map(url::Url::as_str);
        let mut location = log_in.client.logout_location(session, back, now);
        if location.is_none() {
            // Out of reach: the session ends here all the same.
            let _ = log_in.client.issuer().learn(now).await;
            location = log_in.client.logout_location(session, back, now);
        }
        let (log_in, session) = (Arc::clone(log_in), session.clone());
        tokio::spawn(async move { log_in.client.revoke(&session, now).await });
        location
    }

    /// Whether nobody else's page has sent the browser here: nobody is logged out by a link or a form of another site.
    fn is_own_page(&self) -> bool {
        let headers = self.request.headers;
        let origin = headers.get(header::ORIGIN).filter(|_| *self.request.method != Method::GET);
        let own = || format!("{}://{}", self.scheme(), self.authority());
        // Where the browser says whose page it was, that counts: `origin` is `null` under `referrer-policy: no-referrer`, and names
        // the public host where a proxy in front has changed ours.
        let says = headers.contains_key("sec-fetch-site");
        !navigation::is_of_another_site(headers) && (says || origin.is_none_or(|origin| *origin == own()))
    }

    fn method_not_allowed(&self, allow: &'static str) -> Answered {
        let mut answered = self.plain(&answers::METHOD_NOT_ALLOWED);
        answered.answer.headers.push((header::ALLOW, HeaderValue::from_static(allow)));
        answered
    }

    fn plain(&self, trouble: &answers::Trouble) -> Answered {
        let answer = answers::page(trouble, self.id, self.request.headers);
        Answered { answer, code: Some(trouble.code), detail: String::new() }
    }

    fn count(&self, outcome: &'static str) {
        self.shared.observer().metrics.log_in(&self.asked.project, outcome);
    }

    /// Where the issuer is to send the browser back to: to the host that it came from, as it sees it.
    fn redirect_uri(&self) -> String {
        match &self.asked.log_in.settings.redirect_url {
            Some(url) => url.as_str().to_owned(),
            None => format!("{}://{}{CALLBACK}", self.scheme(), self.authority()),
        }
    }

    fn scheme(&self) -> &'static str {
        let RequestView { tls, peer, headers, .. } = *self.request;
        forward::x_forwarded_proto(tls, peer, headers, &self.table.trusted_proxies)
    }

    /// The host with its port, which is left out where it goes without saying.
    fn authority(&self) -> String {
        let host = &*self.canonical.host;
        let written = self.request.authority.or_else(|| text(self.request.headers, &header::HOST));
        let port = written.and_then(|asked| host::split(asked).ok()).and_then(|(_, port)| port);
        match (self.scheme(), port) {
            (_, None) | ("https", Some(443)) | ("http", Some(80)) => host.to_owned(),
            (_, Some(port)) => format!("{host}:{port}"),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn set_cookie(value: HeaderValue) -> (HeaderName, HeaderValue) {
    (header::SET_COOKIE, value)
}
