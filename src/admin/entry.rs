//! Logging in and out, and the list of sessions.
//!
//! `POST /login` and `POST /logout` are the same as those below `/dashboard`, so that one route of the data plane to `/dashboard`
//! carries everything that a browser needs. Forms are answered with a redirect, everything else with JSON.
//!
//! Invariant: where a log-in leads to is a page of the dashboard, whatever it asked for (`only_pages_of_ours_come_next`).

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::clock::Moment;
use crate::secret::Secret;

use super::answer::{Problem, document, see_other};
use super::audit::Note;
use super::caller::{Caller, Held, How, Who};
use super::form::{Fields, Sent, is_form, wants_page};
use super::gate::Peer;
use super::session::{self, Entrant, LIFETIME, Listed, Mark};
use super::status::time;
use super::{LOG, Shared, login};

/// Where somebody goes who has logged in.
const HOME: &str = "/dashboard";

/// The page with the form.
const LOG_IN: &str = "/dashboard/login";

/// The same, for somebody who has just left.
const LOGGED_OUT: &str = "/dashboard/login?done=out";

/// The longest `next`.
const NEXT: usize = 2048;

/// `POST /login`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    /// Where to go afterwards.
    next: Option<String>,
}

impl Asked {
    fn of_form(body: &[u8]) -> Self {
        let fields = Fields::parse(body);
        let field = |name: &str| fields.one(name).filter(|value| !value.is_empty()).map(str::to_owned);
        Self { user: field("user"), password: field("password"), token: field("token"), next: field("next") }
    }

    fn of_json(body: &[u8]) -> Result<Self, Problem> {
        // The parser's message could quote what was sent.
        serde_json::from_slice(body).map_err(|_| bad_login())
    }
}

/// Logs in: by `token`, or by `user` and `password`.
pub async fn log_in(
    State(shared): State<Arc<Shared>>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    Sent(body): Sent,
) -> Response {
    if is_form(&headers) {
        let asked = Asked::of_form(&body);
        let next = page_after(asked.next.as_deref());
        return match enter(&shared, asked, &headers, peer.ip()).await {
            Ok(entered) => entered.with_cookie(see_other(&next)),
            Err(problem) if wants_page(&headers) => to_log_in(&next, problem.code),
            Err(problem) => problem.into_response(),
        };
    }
    match Asked::of_json(&body) {
        Err(problem) => problem.into_response(),
        Ok(asked) => match enter(&shared, asked, &headers, peer.ip()).await {
            Ok(entered) => entered.with_cookie(document(StatusCode::OK, &entered.described())),
            Err(problem) => problem.into_response(),
        },
    }
}

/// A session that has just begun.
struct Entered {
    who: Who,
    id: Secret,
    held: Held,
    created: u64,
}

impl Entered {
    fn described(&self) -> serde_json::Value {
        let ends = self.created.saturating_add(u64::try_from(LIFETIME.as_millis()).unwrap_or(u64::MAX));
        json!({
            "user": user(&self.who), "session": &*self.held.handle, "csrf": self.held.csrf.expose(),
            "expires_at": time(ends),
        })
    }

    fn with_cookie(&self, mut response: Response) -> Response {
        if let Some(cookie) = session::cookie(&self.id) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response.extensions_mut().insert(Note(format!("{} has logged in", self.who)));
        response
    }
}

async fn enter(shared: &Shared, asked: Asked, headers: &HeaderMap, from: std::net::IpAddr) -> Result<Entered, Problem> {
    let (who, mark) = identify(shared, asked, from).await?;
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default().to_owned();
    let now = Moment::now();
    let entrant = Entrant { who: who.clone(), mark, from, agent };
    let (id, held) = shared.sessions.open(entrant, now).map_err(|error| {
        log::error!(target: LOG, "no session can be made: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the system has no randomness")
    })?;
    // Whoever knew the old one does not get into the new one.
    if let Some(old) = session::shown(headers) {
        shared.sessions.end(old.expose());
    }
    Ok(Entered { who, id, held, created: now.wall })
}

async fn identify(shared: &Shared, asked: Asked, from: std::net::IpAddr) -> Result<(Who, Option<Mark>), Problem> {
    match asked {
        Asked { token: Some(token), user: None, password: None, .. } => {
            login::check_token(shared, &Secret::new(token.trim()), from)?;
            Ok((Who::Token, None))
        }
        Asked { token: None, user: Some(user), password: Some(password), .. } => {
            login::check_user(shared, user.into_boxed_str(), Secret::new(password), from).await
        }
        _ => Err(bad_login()),
    }
}

fn bad_login() -> Problem {
    let message = "a log-in has `user` and `password`, or `token` alone";
    Problem::new(StatusCode::BAD_REQUEST, "bad_login", message)
}

/// Ends the session that the request came with.
pub async fn log_out(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let Some(id) = session::shown(&headers) {
        shared.sessions.end(id.expose());
    }
    let mut response =
        if wants_page(&headers) { see_other(LOGGED_OUT) } else { StatusCode::NO_CONTENT.into_response() };
    response.headers_mut().insert(header::SET_COOKIE, session::no_cookie());
    response
}

/// `GET /login`, for people who type it.
pub async fn page() -> Response {
    see_other(LOG_IN)
}

/// The page with the form, with why it is shown again and where it leads.
pub fn to_log_in(next: &str, error: &str) -> Response {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let next = page_after(Some(next));
    if next != HOME {
        query.append_pair("next", &next);
    }
    if !error.is_empty() {
        query.append_pair("error", error);
    }
    let query = query.finish();
    see_other(&if query.is_empty() { LOG_IN.to_owned() } else { format!("{LOG_IN}?{query}") })
}

/// Whether a path is that of a page.
pub fn is_page(path: &str) -> bool {
    path.strip_prefix(HOME).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where a log-in leads: to the page that was asked for if it is one of ours, to the first page otherwise.
pub fn page_after(next: Option<&str>) -> String {
    next.filter(|next| is_next(next)).unwrap_or(HOME).to_owned()
}

/// Strict rather than clever: a path of the dashboard in plain characters, which no browser reads as anything else.
fn is_next(next: &str) -> bool {
    let path = next.split(['?', '#']).next().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/?#&=%+:@,;!$'()*".contains(&byte);
    next.len() <= NEXT
        && next.bytes().all(plain)
        && is_page(path)
        && !path.contains("//")
        && !path.contains('%')
        && !path.split('/').any(|segment| segment == "." || segment == "..")
        && !matches!(path, "/dashboard/login" | "/dashboard/logout" | "/dashboard/oauth/callback")
}

/// One session of `GET /api/v1/sessions`.
#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    /// `null`: whoever has the admin token.
    user: Option<String>,
    created_at: String,
    last_used: String,
    from: std::net::IpAddr,
    user_agent: String,
    /// Whether it is the one that asks.
    current: bool,
}

impl Shown {
    fn of(listed: Listed, caller: &Caller) -> Self {
        let current = matches!(&caller.how, How::Session(held) if *held.handle == *listed.handle);
        Self {
            user: user(&listed.who),
            created_at: time(listed.created),
            last_used: time(listed.used),
            from: listed.from,
            user_agent: listed.agent,
            current,
            id: listed.handle,
        }
    }
}

fn user(who: &Who) -> Option<String> {
    match who {
        Who::Token => None,
        Who::User(user) => Some(user.to_string()),
    }
}

/// `GET /api/v1/sessions`
pub async fn sessions(State(shared): State<Arc<Shared>>, Extension(caller): Extension<Caller>) -> Response {
    let listed = shared.sessions.list(Moment::now()).into_iter();
    let shown: Vec<Shown> = listed.map(|listed| Shown::of(listed, &caller)).collect();
    document(StatusCode::OK, &shown)
}

/// `DELETE /api/v1/sessions/{id}`
pub async fn revoke(State(shared): State<Arc<Shared>>, Path(handle): Path<String>) -> Response {
    if shared.sessions.revoke(&handle, Moment::now()) {
        return StatusCode::NO_CONTENT.into_response();
    }
    Problem::new(StatusCode::NOT_FOUND, "unknown_session", "there is no such session (any more)").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_ours_come_next() {
        for page in [
            "/dashboard",
            "/dashboard/",
            "/dashboard/tokens",
            "/dashboard/routes?project=demo&url=%2Fa0%2Fx",
            "/dashboard/log?level=warn#end",
        ] {
            assert_eq!(page_after(Some(page)), page);
        }
        for elsewhere in OPEN_REDIRECTS {
            assert_eq!(page_after(Some(elsewhere)), HOME, "{elsewhere:?}");
        }
        assert_eq!(page_after(None), HOME);
        assert_eq!(page_after(Some(&format!("/dashboard/{}", "x".repeat(NEXT)))), HOME);
    }

    /// After oauth2-proxy's list, and those that are peculiar to a prefix.
    const OPEN_REDIRECTS: &[&str] = &[
        "",
        "/",
        "//evil.test",
        "///evil.test",
        "/\\evil.test",
        "\\\\evil.test",
        "\\/evil.test",
        "/\t/evil.test",
        "/\n/evil.test",
        "/\r\n/evil.test",
        "/ /evil.test",
        "https://evil.test",
        "http:evil.test",
        "https:/evil.test",
        "HtTpS://evil.test",
        "javascript:alert(1)",
        "data:text/html,x",
        "dashboard",
        "evil.test/dashboard",
        "//dashboard",
        "//dashboard/",
        "/dashboardx",
        "/dashboard.evil.test",
        "/dashboard@evil.test",
        "/dashboard:80@evil.test",
        "/dashboard//evil.test",
        "/dashboard/..//evil.test",
        "/dashboard/../evil",
        "/dashboard/./x",
        "/dashboard/..",
        "/dashboard/%2e%2e//evil.test",
        "/dashboard/%2f%2fevil.test",
        "/dashboard%2f..%2f",
        "/dashboard\\..\\..\\evil.test",
        "/dashboard/\\evil.test",
        "/dashboard\n",
        "/dashboard\r\nset-cookie: x=y",
        "/dashboard /x",
        "/dashboard\u{3000}",
        "/dashboard/\u{2044}\u{2044}evil.test",
        "/dashboard\0",
        "/dashboard/login",
        "/dashboard/login?next=/dashboard",
        "/dashboard/logout",
        "/dashboard/oauth/callback?code=x&state=y",
        "/api/v1/status",
        "/oauth/callback",
    ];
}
