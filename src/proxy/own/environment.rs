//! `/.countersign/environment`: which environment this browser is on and until when; where a link of the dashboard puts it on one, and
//! where it leaves.
//!
//! Flow: `GET ?grant=…` makes the link's grant a cookie and leads to the page without it, so that it stays in no history and no
//! `referer`; `GET` shows how the browser stands, as a page or as JSON; `POST` takes the cookie back.
//!
//! Invariants: a grant opens for its own project alone; no page of another site makes a browser leave
//! (`only_our_own_page_makes_a_browser_leave`).

mod words;

use std::time::Duration;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, LOCATION, ORIGIN, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method};
use pingora_core::Result;
use sha2::{Digest as _, Sha256};

use super::super::gateway::internal;
use super::super::respond::Answer;
use super::{Reply, refusal};
use crate::clock::{self, UnixMillis};
use crate::observe::timestamp::rfc3339_millis;
use crate::policy::request_gate::{Canonical, RequestView};
use crate::policy::{accept, forward};
use crate::table::decide::OwnRequest;
use crate::table::environment::browser::{self, Grant};
use crate::table::environment::{By, Choice};
use crate::table::matcher::ProjectEntry;
use crate::table::{Refusal, Table};

use words::Words;

/// Its path.
const HERE: &str = "/.countersign/environment";

/// How the page looks: in it, as it is the only thing of its kind.
const STYLE: &str = include_str!("environment/style.css");

/// Answers.
///
/// # Errors
/// The answer cannot be built.
pub(super) fn answer(
    table: &Table,
    request: &RequestView<'_>,
    canonical: &Canonical<'_>,
    asked: &OwnRequest,
) -> Result<Reply> {
    let project = table.matcher.projects().get(asked.project).ok_or_else(internal)?;
    let proto = forward::x_forwarded_proto(request.tls, request.peer, request.headers, &table.trusted_proxies);
    let page = Page { table, request, canonical, asked, project, https: proto == "https", now: clock::unix_millis() };
    match *request.method {
        Method::GET | Method::HEAD => match page.grant() {
            Some(grant) => page.open(&grant),
            None => page.show(),
        },
        Method::POST => page.leave(),
        _ => {
            let headers = vec![(ALLOW, HeaderValue::from_static("GET, HEAD, POST"))];
            let message = "this page is read with GET or HEAD, and left with POST";
            Ok(Reply::Refuse(Refusal { headers, ..refusal(405, "method_not_allowed", message) }))
        }
    }
}

/// One request for the page.
struct Page<'a> {
    table: &'a Table,
    request: &'a RequestView<'a>,
    canonical: &'a Canonical<'a>,
    asked: &'a OwnRequest,
    project: &'a ProjectEntry,
    https: bool,
    now: UnixMillis,
}

impl Page<'_> {
    fn grant(&self) -> Option<String> {
        let pairs = url::form_urlencoded::parse(self.canonical.query?.as_bytes());
        pairs.into_iter().find(|(name, _)| name == "grant").map(|(_, value)| value.into_owned())
    }

    /// Puts the browser on the grant's environment.
    fn open(&self, grant: &str) -> Result<Reply> {
        let sealer = self.table.cookies.sealer().ok_or_else(internal)?;
        let opened = Grant::open(sealer, grant).filter(|grant| self.is_good(grant));
        let Some(Grant { stay, .. }) = opened else {
            let message = "this link is over, or was never made for this project; get a new one from the dashboard";
            return Ok(Reply::Refuse(refusal(400, "unusable_grant", message)));
        };
        let left = Duration::from_millis(stay.until.saturating_sub(self.now)).as_secs();
        let value = stay.seal(sealer).ok_or_else(internal)?;
        self.come_back(&self.cookie(&value, left)?)
    }

    fn is_good(&self, grant: &Grant) -> bool {
        let Grant { stay, opens_until } = grant;
        self.now < *opens_until
            && self.now < stay.until
            && *self.project.name == *stay.project
            && self.project.may_grant(&stay.environment)
    }

    fn leave(&self) -> Result<Reply> {
        if !self.is_same_origin() {
            let message = "a page of another site cannot take this browser off its environment";
            return Ok(Reply::Refuse(refusal(403, "cross_site", message)));
        }
        self.come_back(&self.cookie("", 0)?)
    }

    /// Whether our own page sent the form (Fetch Metadata, and `Origin` for the rest); who is no browser says neither.
    fn is_same_origin(&self) -> bool {
        let text = |name: HeaderName| self.request.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let site = text(HeaderName::from_static("sec-fetch-site"));
        let host = self.request.authority.or_else(|| text(HOST)).unwrap_or_default();
        let own = |origin: &str| {
            let scheme = if self.https { "https://" } else { "http://" };
            origin.strip_prefix(scheme).is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        };
        match (site, text(ORIGIN)) {
            (Some("same-origin"), _) | (None, None) => true,
            (None, Some(origin)) => own(origin),
            _ => false,
        }
    }

    fn cookie(&self, value: &str, seconds: u64) -> Result<HeaderValue> {
        let (name, secure) = (browser::name(self.https), if self.https { " Secure;" } else { "" });
        let text = format!("{name}={value}; Path=/; Max-Age={seconds};{secure} HttpOnly; SameSite=Lax");
        let mut field = HeaderValue::try_from(text).map_err(|_| internal())?;
        field.set_sensitive(true);
        Ok(field)
    }

    /// To the page without what the address brought.
    fn come_back(&self, cookie: &HeaderValue) -> Result<Reply> {
        let headers = vec![
            (LOCATION, HeaderValue::from_static(HERE)),
            (SET_COOKIE, cookie.clone()),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        Ok(Reply::Answer(Answer { status: 303, headers, body: Bytes::new() }))
    }

    fn show(&self) -> Result<Reply> {
        let choice =
            self.table.choose(self.project, &self.canonical.host, self.request, self.asked.client_ip, self.now);
        let state = State::of(choice.ok_or_else(internal)?);
        let (kind, body) = if accept::prefers_html(self.request.headers) {
            ("text/html; charset=utf-8", self.html(&state)?)
        } else {
            ("application/json", self.json(&state))
        };
        let style = STANDARD.encode(Sha256::digest(STYLE));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        let headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static(kind)),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
            (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
            (CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).map_err(|_| internal())?),
        ];
        Ok(Reply::Answer(Answer { status: 200, headers, body: Bytes::from(body) }))
    }

    fn json(&self, state: &State<'_>) -> String {
        let document = serde_json::json!({
            "project": &*self.project.name,
            "environment": state.environment,
            "chosen_by": state.by,
            "until": state.until.map(rfc3339_millis),
            "default": self.project.default_name(),
            "problem": state.problem,
        });
        format!("{document}\n")
    }

    fn html(&self, state: &State<'_>) -> Result<String> {
        let w = Words::of(self.request.headers);
        let page = Html {
            w,
            style: STYLE,
            project: &self.project.name,
            default: self.project.default_name(),
            state,
            until: state.until.map(minute),
            left: state.until.map(|until| w.span(until.saturating_sub(self.now))),
        };
        page.render().map_err(|_| internal())
    }
}

/// `2026-11-22 18:00 UTC`
fn minute(at: UnixMillis) -> String {
    let text = rfc3339_millis(at);
    format!("{} {} UTC", text.get(..10).unwrap_or_default(), text.get(11..16).unwrap_or_default())
}

/// How a browser stands.
struct State<'t> {
    /// `None`: it gets nothing.
    environment: Option<&'t str>,
    by: String,
    /// Whether it was put there, and so can leave.
    put: bool,
    until: Option<UnixMillis>,
    /// Why it gets nothing.
    problem: Option<&'static str>,
}

impl<'t> State<'t> {
    fn of(choice: Choice<'t>) -> Self {
        let (environment, by, problem) = match choice {
            Choice::Default(environment) => (Some(environment), None, None),
            Choice::Chosen(environment, by) => (Some(environment), Some(by), None),
            Choice::Unavailable(by, why) => (None, Some(by), Some(why)),
        };
        Self {
            environment: environment.map(|it| &*it.name),
            put: matches!(by, Some(By::Browser(_))),
            until: by.and_then(|by| match by {
                By::Browser(until) => until,
                By::Rule(_) => None,
            }),
            by: by.map_or_else(|| "default of the project".to_owned(), |by| by.to_string()),
            problem,
        }
    }
}

#[derive(Template)]
#[template(path = "own/environment.html")]
struct Html<'a> {
    w: &'static Words,
    style: &'static str,
    project: &'a str,
    default: &'a str,
    state: &'a State<'a>,
    until: Option<String>,
    left: Option<String>,
}
