//! Logging an account in: choose a provider, sign in there, come back by itself, by a code, or by pasting.
//!
//! A login that has begun is remembered here for as long as it lasts, under a name of its own, so that its page can be opened again:
//! what it shows (where to sign in, what to type) is nobody's secret but belongs to this dashboard, and never to an address.

use std::collections::VecDeque;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::clock;
use crate::credential::callback::{self, CallbackError};
use crate::credential::login::{BeginError, Begun, DeviceState, FinishError, Flow};
use crate::credential::provider::Kind;
use crate::id::RequestId;

use super::super::Shared;
use super::super::answer::see_other;
use super::super::form::{Fields, Sent};
use super::super::tokens::NotFinished;
use super::moment::Moment;
use super::words::Words;
use super::{Frame, Notice, Visit, html, part, parts, tokens};

/// Logins that are remembered: more than that are under way at no time.
const REMEMBERED: usize = 1000;

/// The longest that is shown again in a form.
const PASTED: usize = 8 * 1024;

/// Logins that have begun here.
#[derive(Debug, Default)]
pub struct Underway(Mutex<VecDeque<(String, Arc<Shown>)>>);

/// One of them.
#[derive(Debug)]
struct Shown {
    begun: Begun,
    /// Whether the browser that began it will come back by itself.
    comes_back: bool,
}

impl Underway {
    fn remember(&self, shown: Shown) -> String {
        let key = RequestId::fresh().as_str().to_owned();
        let now = clock::unix_millis();
        let mut all = self.0.lock();
        all.retain(|(_, shown)| shown.begun.expires_at > now);
        while all.len() >= REMEMBERED {
            all.pop_front();
        }
        all.push_back((key.clone(), Arc::new(shown)));
        key
    }

    fn find(&self, key: &str) -> Option<Arc<Shown>> {
        let now = clock::unix_millis();
        let all = self.0.lock();
        let found = all.iter().find(|(known, _)| known == key).map(|(_, shown)| Arc::clone(shown));
        found.filter(|shown| shown.begun.expires_at > now)
    }
}

#[derive(Template)]
#[template(path = "add.html")]
struct AddPage {
    w: &'static Words,
    frame: Frame,
    csrf: String,
    problem: Option<Notice>,
    choices: Vec<Choice>,
    any_device: bool,
}

struct Choice {
    name: String,
    kind: &'static str,
    device: bool,
    selected: bool,
}

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    provider: Option<String>,
}

/// `GET /dashboard/tokens/add`
pub async fn add(State(shared): State<Arc<Shared>>, visit: Visit, Query(asked): Query<Asked>) -> Response {
    choose(&shared, &visit, StatusCode::OK, asked.provider.as_deref(), None)
}

fn choose(
    shared: &Shared,
    visit: &Visit,
    status: StatusCode,
    selected: Option<&str>,
    problem: Option<Notice>,
) -> Response {
    let table = shared.parts.reloader.current();
    let choices = table.providers.iter().filter(|provider| provider.has_login());
    let choices: Vec<Choice> = choices
        .map(|provider| Choice {
            name: provider.name.to_string(),
            kind: kind(&provider.kind),
            device: provider.has_device_flow(),
            selected: selected == Some(&*provider.name),
        })
        .collect();
    let any_device = choices.iter().any(|choice| choice.device);
    html(status, &AddPage { w: visit.w, frame: visit.frame(), csrf: visit.csrf(), problem, choices, any_device })
}

/// The configuration's word.
fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::OAuth2(_) => "oauth2",
        Kind::AwsSsoOidc(_) => "aws_sso_oidc",
        Kind::ClientCredentials(_) => "client_credentials",
    }
}

/// `POST /dashboard/tokens/login`
pub async fn begin(State(shared): State<Arc<Shared>>, visit: Visit, headers: HeaderMap, Sent(body): Sent) -> Response {
    let fields = Fields::parse(&body);
    let provider = fields.one("provider").unwrap_or_default();
    // Whoever may do this has been asked already; without a caller nobody gets here.
    let Some(session) = visit.caller.as_ref().map(super::super::caller::Caller::session) else {
        return see_other("/dashboard/login");
    };
    let begun = match fields.one("flow") {
        Some("device") => shared.parts.logins.begin_device(provider, &session).await,
        _ => shared.parts.logins.begin(provider, &session).await,
    };
    match begun {
        Ok(begun) => {
            let comes_back = comes_back(&begun.flow, &headers);
            let key = shared.underway.remember(Shown { begun, comes_back });
            see_other(&format!("/dashboard/tokens/login/{key}"))
        }
        Err(error) => {
            let said = Notice::bad(visit.w.begin_failed, error.to_string(), visit.w.begin_next);
            choose(&shared, &visit, begin_status(&error), Some(provider), Some(said))
        }
    }
}

fn begin_status(error: &BeginError) -> StatusCode {
    match error {
        BeginError::NoProvider(_) | BeginError::NoSuchFlow(_) => StatusCode::BAD_REQUEST,
        BeginError::TooMany => StatusCode::TOO_MANY_REQUESTS,
        BeginError::Provider(_) => StatusCode::BAD_GATEWAY,
        BeginError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Whether the redirect leads to where this browser has the dashboard from: its own word for that is `origin`.
fn comes_back(flow: &Flow, headers: &HeaderMap) -> bool {
    let Flow::Browser { redirect_uri, .. } = flow else { return false };
    let Ok(redirect) = url::Url::parse(redirect_uri) else { return false };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text(header::ORIGIN) {
        Some(origin) if origin != "null" => redirect.origin().ascii_serialization().eq_ignore_ascii_case(origin),
        _ => text(header::HOST).is_some_and(|host| redirect.authority().eq_ignore_ascii_case(host)),
    }
}

#[derive(Template)]
#[template(path = "underway.html")]
struct UnderwayPage {
    w: &'static Words,
    frame: Frame,
    csrf: String,
    key: String,
    provider: String,
    expires: Moment,
    device: bool,
    pasted: String,
    problem: Option<Notice>,
    flow: FlowView,
    device_state: String,
}

/// How a login goes on, for the template.
enum FlowView {
    Browser { authorization_url: String, redirect_uri: String, comes_back: bool },
    Device { user_code: String, verification_uri: String, verification_uri_complete: Option<String> },
}

impl FlowView {
    fn of(shown: &Shown) -> Self {
        match shown.begun.flow.clone() {
            Flow::Browser { authorization_url, redirect_uri, .. } => {
                Self::Browser { authorization_url: web(authorization_url), redirect_uri, comes_back: shown.comes_back }
            }
            Flow::Device { user_code, verification_uri, verification_uri_complete, .. } => Self::Device {
                user_code,
                verification_uri: web(verification_uri),
                verification_uri_complete: verification_uri_complete.map(web),
            },
        }
    }
}

/// An address that a provider gave becomes a link only if it is one of the web: `javascript:` is none.
fn web(address: String) -> String {
    let is_web = url::Url::parse(&address).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if is_web { address } else { "about:blank".to_owned() }
}

/// `GET /dashboard/tokens/login/{key}`
pub async fn underway(State(shared): State<Arc<Shared>>, visit: Visit, Path(key): Path<String>) -> Response {
    match shared.underway.find(&key) {
        Some(shown) => follow(&shared, &visit, StatusCode::OK, &key, &shown, String::new(), None),
        None => over(&visit),
    }
}

fn over(visit: &Visit) -> Response {
    let said = Notice::bad(visit.w.login_over, "", visit.w.device_gone_next);
    tokens::lost(visit, StatusCode::NOT_FOUND, said)
}

fn follow(
    shared: &Shared,
    visit: &Visit,
    status: StatusCode,
    key: &str,
    shown: &Shown,
    pasted: String,
    problem: Option<Notice>,
) -> Response {
    let mut frame = visit.frame();
    let mut device_state = String::new();
    if let Flow::Device { id, .. } = &shown.begun.flow {
        frame = Frame { refresh: Some(5), ..frame.live(format!("/dashboard/tokens/login/{key}/live.json")) };
        device_state = device_part(shared, visit.w, id);
    }
    let provider = shared.parts.reloader.current().providers.iter().find(|it| it.name == shown.begun.provider).cloned();
    let page = UnderwayPage {
        w: visit.w,
        frame,
        csrf: visit.csrf(),
        key: key.to_owned(),
        provider: shown.begun.provider.to_string(),
        expires: visit.moment(shown.begun.expires_at),
        device: provider.is_some_and(|provider| provider.has_device_flow()),
        pasted,
        problem,
        flow: FlowView::of(shown),
        device_state,
    };
    html(status, &page)
}

#[derive(Template)]
#[template(path = "part/device.html")]
struct DevicePart {
    w: &'static Words,
    state: DeviceView,
}

/// How a device login stands, for the template.
enum DeviceView {
    Pending,
    Done(String),
    Failed(String),
    Gone,
}

fn device_part(shared: &Shared, w: &'static Words, id: &str) -> String {
    let state = match shared.parts.logins.device(id) {
        Some(DeviceState::Pending) => DeviceView::Pending,
        Some(DeviceState::Done(token)) => DeviceView::Done(token.id.to_string()),
        Some(DeviceState::Failed(why)) => DeviceView::Failed(why),
        None => DeviceView::Gone,
    };
    part(&DevicePart { w, state })
}

/// `GET /dashboard/tokens/login/{key}/live.json`
pub async fn live(State(shared): State<Arc<Shared>>, visit: Visit, Path(key): Path<String>) -> Response {
    let state = match shared.underway.find(&key).as_deref() {
        Some(Shown { begun: Begun { flow: Flow::Device { id, .. }, .. }, .. }) => device_part(&shared, visit.w, id),
        _ => part(&DevicePart { w: visit.w, state: DeviceView::Gone }),
    };
    parts(vec![("device", state)])
}

#[derive(Template)]
#[template(path = "callback.html")]
struct CallbackPage {
    w: &'static Words,
    frame: Frame,
    csrf: String,
    pasted: String,
    problem: Option<Notice>,
}

/// `GET /dashboard/tokens/callback`
pub async fn callback_page(visit: Visit) -> Response {
    paste(&visit, StatusCode::OK, String::new(), None)
}

fn paste(visit: &Visit, status: StatusCode, pasted: String, problem: Option<Notice>) -> Response {
    html(status, &CallbackPage { w: visit.w, frame: visit.frame(), csrf: visit.csrf(), pasted, problem })
}

/// `POST /dashboard/tokens/callback`
pub async fn callback(State(shared): State<Arc<Shared>>, visit: Visit, Sent(body): Sent) -> Response {
    let fields = Fields::parse(&body);
    let pasted = fields.one("callback_url").unwrap_or_default();
    let outcome = match callback::parse(pasted) {
        Ok(callback) => {
            shared.parts.logins.finish(callback, None).await.map_err(|error| finish_problem(visit.w, error))
        }
        Err(error) => Err((StatusCode::BAD_REQUEST, true, callback_problem(visit.w, error))),
    };
    match outcome {
        Ok(token) => see_other(&format!("/dashboard/tokens?done=saved#token-{}", token.id)),
        Err((status, correctable, said)) => {
            // A code that has been spent is not put into a page again.
            let pasted = if correctable && pasted.len() <= PASTED { pasted.to_owned() } else { String::new() };
            match fields.one("login").and_then(|key| Some((key, shared.underway.find(key)?))) {
                Some((key, shown)) => follow(&shared, &visit, status, key, &shown, pasted, Some(said)),
                None => paste(&visit, status, pasted, Some(said)),
            }
        }
    }
}

/// Status, whether another attempt with a corrected text can work, and what to say.
type Said = (StatusCode, bool, Notice);

fn finish_problem(w: &Words, error: FinishError) -> Said {
    let (correctable, next) = match &error {
        FinishError::InvalidState => (true, w.invalid_state_next),
        FinishError::Refused { .. } => (false, w.refused_next),
        FinishError::Exchange { .. } => (false, w.exchange_next),
        FinishError::Save { .. } => (false, w.save_next),
    };
    let NotFinished { status, error, detail } = error.into();
    (status, correctable, Notice::bad(&error, detail.unwrap_or_default(), next))
}

fn callback_problem(w: &Words, error: CallbackError) -> Notice {
    let next = match error {
        CallbackError::Missing => w.missing_next,
        CallbackError::Ambiguous | CallbackError::TooLong | CallbackError::Malformed | CallbackError::InFragment => {
            w.malformed_next
        }
    };
    Notice::bad(&error.to_string(), "", next)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::secret::Secret;

    fn flow(redirect_uri: &str) -> Flow {
        Flow::Browser {
            authorization_url: "https://login.example.com/authorize".to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            state: Secret::new("state"),
        }
    }

    #[test]
    fn a_browser_comes_back_where_it_has_the_dashboard_from() {
        let back = |redirect: &str, headers: &[(header::HeaderName, &'static str)]| {
            let pairs = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
            comes_back(&flow(redirect), &pairs.collect())
        };
        let (origin, host) = (header::ORIGIN, header::HOST);
        assert!(back("http://127.0.0.1:9090/oauth/callback", &[(origin.clone(), "http://127.0.0.1:9090")]));
        assert!(back("https://edge.test/dashboard/oauth/callback", &[(origin.clone(), "https://edge.test")]));
        assert!(back("http://127.0.0.1:9090/oauth/callback", &[(host.clone(), "127.0.0.1:9090")]));
        assert!(!back(
            "http://127.0.0.1:9090/oauth/callback",
            &[(origin, "https://edge.test"), (host.clone(), "127.0.0.1:9090")]
        ));
        assert!(!back("http://127.0.0.1:9090/oauth/callback", &[(host, "localhost:9090")]));
        assert!(!back("nonsense", &[]));
    }

    #[test]
    fn a_login_is_found_until_it_ends_and_under_its_own_name_alone() {
        let underway = Underway::default();
        let begin = |expires_at| {
            let begun = Begun { provider: "demo".into(), flow: flow("http://127.0.0.1:1/x"), expires_at };
            underway.remember(Shown { begun, comes_back: false })
        };
        let (old, new) = (begin(1), begin(u64::MAX));
        assert!(underway.find(&old).is_none() && underway.find(&new).is_some() && underway.find("").is_none());
        for _ in 0..REMEMBERED {
            begin(u64::MAX);
        }
        assert!(underway.find(&new).is_none() && underway.0.lock().len() == REMEMBERED);
    }

    #[test]
    fn only_addresses_of_the_web_become_links() {
        assert_eq!(web("https://a.test/x".to_owned()), "https://a.test/x");
        for address in ["javascript:alert(1)", "data:text/html,x", "", "//a.test"] {
            assert_eq!(web(address.to_owned()), "about:blank");
        }
    }
}
