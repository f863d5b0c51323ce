//! The dashboard: pages made on the server, in English and Chinese, that need neither JavaScript nor a mouse.
//!
//! Flow: a request has passed the [`gate`](super::gate) and brings its [`Caller`]; a handler looks at what it shows, on another thread where
//! that may take long, and fills a template of `templates/`, which escapes. A form is sent to a path of its own, changes something, and
//! the browser is sent back to a page (303). What moves is a *part*: an element `part-NAME`, which the module of the page asks for again
//! under `…/live.json`, so that everything is drawn in one place, here. Everything lies below `/dashboard`, with absolute addresses, so
//! that one route of the data plane carries it.
//!
//! Invariants: nothing is shown that is not escaped (`what_is_hostile_is_shown_as_text`); no page holds a script, a style or an address
//! of another site of its own (`every_page_is_whole`); no secret is ever asked of those who show it.

mod account;
mod assets;
mod chart;
mod configuration;
mod explain;
mod log;
mod moment;
mod overview;
mod projects;
mod route;
mod routes;
mod sessions;
mod sign_in;
mod test_now;
#[cfg(test)]
mod tests;
mod tokens;
mod words;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value};

use super::Shared;
use super::answer::{Problem, document, page};
use super::caller::{self, Caller};

pub use account::Underway;
pub use assets::{ICON, STYLE};
pub use log::places;
pub use route::Pending;
pub use words::Words;

use moment::Moment;

/// All pages.
pub fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/dashboard", get(overview::page))
        .route("/dashboard/", get(overview::page))
        .route("/dashboard/live.json", get(overview::live))
        .route("/dashboard/login", get(sign_in::page))
        .route("/dashboard/assets/{name}", get(assets::serve))
        .route("/dashboard/tokens", get(tokens::page))
        .route("/dashboard/tokens/live.json", get(tokens::live))
        .route("/dashboard/tokens/add", get(account::add))
        .route("/dashboard/tokens/login", post(account::begin))
        .route("/dashboard/tokens/login/{key}", get(account::underway))
        .route("/dashboard/tokens/login/{key}/live.json", get(account::live))
        .route("/dashboard/tokens/callback", get(account::callback_page).post(account::callback))
        .route("/dashboard/tokens/{id}/refresh", post(tokens::refresh))
        .route("/dashboard/tokens/{id}/test", post(tokens::test))
        .route("/dashboard/tokens/{id}/remove", get(tokens::confirm).post(tokens::remove))
        .route("/dashboard/routes", get(routes::page))
        .route("/dashboard/routes/explain", get(explain::blank).post(explain::answer))
        .route("/dashboard/projects/{project}", get(projects::page))
        .route("/dashboard/projects/{project}/environment", post(projects::switch))
        .route("/dashboard/projects/{project}/grant", post(projects::grant))
        .route("/dashboard/projects/{project}/{environment}/add", get(route::add))
        .route("/dashboard/projects/{project}/{environment}/route", get(route::page))
        .route("/dashboard/projects/{project}/{environment}/preview", post(route::look))
        .route("/dashboard/projects/{project}/{environment}/save", post(route::save))
        .route("/dashboard/projects/{project}/{environment}/token", post(route::tokens::change))
        .route("/dashboard/undo", get(route::undo::page).post(route::undo::undo))
        .route("/dashboard/configuration", get(configuration::page))
        .route("/dashboard/configuration/reload", post(configuration::reload))
        .route("/dashboard/log", get(log::page))
        .route("/dashboard/log/stream", get(log::stream))
        .route("/dashboard/sessions", get(sessions::page))
        .route("/dashboard/sessions/{handle}/revoke", post(sessions::revoke))
        .route("/dashboard/{*rest}", get(not_found))
        .layer(from_fn(remember_language))
}

/// Who looks, in which language, at what.
#[derive(Clone, Debug)]
pub struct Visit {
    w: &'static Words,
    /// `None`: nobody has signed in yet.
    who: Option<Who>,
    /// The path, for the link to the other language.
    path: String,
    caller: Option<Caller>,
}

/// Who has signed in.
#[derive(Clone, Debug)]
struct Who {
    name: String,
    /// What every form sends back; empty where no cookie speaks for the caller.
    csrf: String,
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let chosen = asked_language(parts.uri.query());
        let w = chosen.unwrap_or_else(|| Words::of(&parts.headers));
        let caller = parts.extensions.get::<Caller>().cloned();
        let who = caller.as_ref().map(|caller| Who {
            name: match &caller.who {
                caller::Who::Token => w.admin_token.to_owned(),
                caller::Who::User(user) => user.to_string(),
            },
            csrf: caller.csrf().unwrap_or_default().to_owned(),
        });
        Ok(Self { w, who, path: parts.uri.path().to_owned(), caller })
    }
}

impl Visit {
    fn csrf(&self) -> String {
        self.who.as_ref().map(|who| who.csrf.clone()).unwrap_or_default()
    }

    /// Whoever it is, for those who read later what was changed.
    fn name(&self) -> String {
        self.caller.as_ref().map(|caller| caller.who.to_string()).unwrap_or_default()
    }

    /// What is around a page.
    fn frame(&self) -> Frame {
        let other_language = format!("{}?lang={}", self.path, self.w.other_code);
        Frame {
            w: self.w,
            who: self.who.clone(),
            path: self.path.clone(),
            other_language,
            live: None,
            refresh: None,
            style: assets::STYLE.address(),
            module: assets::MODULE.address(),
            icon: assets::ICON.address(),
        }
    }

    fn moment(&self, at: crate::clock::UnixMillis) -> Moment {
        Moment::new(self.w, at, crate::clock::unix_millis())
    }
}

/// `?lang=zh` on any page.
fn asked_language(query: Option<&str>) -> Option<&'static Words> {
    let code = query?.split('&').find_map(|pair| pair.strip_prefix("lang="))?;
    Words::coded(code)
}

/// A language that was asked for stays: in a cookie that says nothing else.
async fn remember_language(request: Request, next: Next) -> Response {
    let asked = asked_language(request.uri().query());
    let mut response = next.run(request).await;
    if let Some(words) = asked {
        let cookie = format!("cs_lang={}; Path=/dashboard; Max-Age=31536000; SameSite=Lax; HttpOnly", words.code);
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    response
}

/// What is around every page.
#[derive(Debug)]
struct Frame {
    w: &'static Words,
    who: Option<Who>,
    path: String,
    other_language: String,
    /// What the module asks for each second.
    live: Option<String>,
    /// Seconds after which a browser without JavaScript looks again.
    refresh: Option<u32>,
    style: String,
    module: String,
    icon: String,
}

/// An entry of the menu.
struct Entry {
    href: &'static str,
    name: &'static str,
    current: bool,
}

impl Frame {
    fn live(mut self, address: impl Into<String>) -> Self {
        self.live = Some(address.into());
        self
    }

    fn menu(&self) -> [Entry; 5] {
        let entry = |href: &'static str, name| {
            let below = self.path.strip_prefix(href);
            let current = match href {
                "/dashboard" => matches!(below, Some("" | "/")),
                "/dashboard/routes" if is_about_routes(&self.path) => true,
                _ => below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            };
            Entry { href, name, current }
        };
        [
            entry("/dashboard", self.w.overview),
            entry("/dashboard/tokens", self.w.tokens),
            entry("/dashboard/routes", self.w.routes),
            entry("/dashboard/configuration", self.w.configuration),
            entry("/dashboard/log", self.w.log),
        ]
    }
}

fn is_about_routes(path: &str) -> bool {
    path.starts_with("/dashboard/projects/") || path == "/dashboard/undo"
}

/// Something to say at the top of a page.
#[derive(Clone, Debug, Default)]
struct Notice {
    /// `ok` or `bad`.
    tone: &'static str,
    /// The message of the interface.
    message: String,
    /// In somebody else's words.
    detail: String,
    /// What to do next.
    next: String,
}

impl Notice {
    fn good(message: &str, next: &str) -> Self {
        Self { tone: "ok", message: message.to_owned(), detail: String::new(), next: next.to_owned() }
    }

    fn bad(message: &str, detail: impl Into<String>, next: &str) -> Self {
        Self { tone: "bad", message: message.to_owned(), detail: detail.into(), next: next.to_owned() }
    }
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "notice.html")]
struct NoticePage {
    w: &'static Words,
    frame: Frame,
    title: String,
    tone: &'static str,
    message: String,
    detail: String,
    next: String,
    href: &'static str,
    link: &'static str,
}

/// A page that says one thing, and where to go from there.
fn notice(visit: &Visit, status: StatusCode, notice: Notice, href: &'static str, link: &'static str) -> Response {
    let Notice { tone, message, detail, next } = notice;
    let title = message.clone();
    html(status, &NoticePage { w: visit.w, frame: visit.frame(), title, tone, message, detail, next, href, link })
}

/// There is no such page.
async fn not_found(visit: Visit) -> Response {
    let said = Notice::bad(visit.w.not_found, "", visit.w.not_found_next);
    notice(&visit, StatusCode::NOT_FOUND, said, "/dashboard", visit.w.overview)
}

/// A filled template as an answer.
fn html(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => {
            let mut response = page(text);
            *response.status_mut() = status;
            response
        }
        Err(error) => {
            ::log::error!(target: super::LOG, "a page could not be made: {error}");
            let message = "the page could not be made; the log says more";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message).into_response()
        }
    }
}

/// A filled template as a piece of a page.
fn part(template: &impl Template) -> String {
    template.render().unwrap_or_default()
}

/// Parts by name, for the module.
fn parts(pairs: Vec<(&str, String)>) -> Response {
    let map: Map<String, Value> = pairs.into_iter().map(|(name, text)| (format!("part-{name}"), text.into())).collect();
    document(StatusCode::OK, &map)
}

/// Makes a page on another thread: large tables must not hold up health.
async fn aside(visit: &Visit, work: impl FnOnce() -> Response + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(response) => response,
        Err(_) => {
            let said = Notice::bad(visit.w.fault, "", visit.w.fault_next);
            notice(visit, StatusCode::INTERNAL_SERVER_ERROR, said, "/dashboard", visit.w.overview)
        }
    }
}
