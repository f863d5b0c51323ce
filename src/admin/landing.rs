//! Where a browser comes back to from a provider: `/oauth/callback`, and the same below `/dashboard`.
//!
//! The navigation comes from another site, so that it brings no `SameSite=Strict` cookie, and nobody knows yet who it is. The answer
//! is a page of ours with one form, which a script (or, without one, the person) sends back here: from this origin, with the
//! cookie. Only then is the login ended, and only for the session that began it: the state, which no other page can know, is
//! what `csrf` is in other forms.
//!
//! Invariants: what the provider says reaches the page escaped, and neither a log nor a referrer; the address with the code is
//! replaced by that of the tokens' page (`a_browser_comes_back_and_is_logged_in`).

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::credential::callback;

use super::Shared;
use super::answer::{page, see_other, typed};
use super::audit::Note;
use super::caller::Caller;
use super::form::{Fields, Sent};
use super::pages::{self, Words};
use super::tokens::{self, NotFinished};

/// Sends the form at once.
const SCRIPT: &str = "document.forms[0].submit();\n";

/// Longer is no callback.
const LONGEST: usize = 8 * 1024;

/// The tokens' page, with what was done.
const DONE: &str = "/dashboard/tokens?done=login";

#[derive(Template)]
#[template(path = "landing.html")]
struct Landing<'a> {
    w: &'static Words,
    style: String,
    icon: String,
    /// What goes on, if anything does.
    query: Option<&'a str>,
    error: &'a str,
    detail: &'a str,
}

impl<'a> Landing<'a> {
    fn new(w: &'static Words, query: Option<&'a str>, error: &'a str, detail: &'a str) -> Self {
        Self { w, style: pages::STYLE.address(), icon: pages::ICON.address(), query, error, detail }
    }
}

/// `GET /oauth/callback`
pub async fn arrive(RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let query = query.unwrap_or_default();
    let w = Words::of(&headers);
    if query.len() > LONGEST {
        return show(StatusCode::BAD_REQUEST, &failed(w, &callback::CallbackError::TooLong.into()));
    }
    match callback::parse_query(&query) {
        Ok(_) => show(StatusCode::OK, &Landing::new(w, Some(&query), "", "")),
        Err(error) => show(StatusCode::BAD_REQUEST, &failed(w, &error.into())),
    }
}

/// `POST /oauth/callback`: the same browser, now with its session.
pub async fn finish(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Sent(body): Sent,
) -> Response {
    let fields = Fields::parse(&body);
    match tokens::landed(&shared, fields.one("query").unwrap_or_default(), &caller.session()).await {
        Ok(token) => {
            let mut response = see_other(DONE);
            response.extensions_mut().insert(Note(format!("token {}", token.id)));
            response
        }
        Err(not_finished) => {
            let mut response = show(not_finished.status, &failed(Words::of(&headers), &not_finished));
            response.extensions_mut().insert(Note(not_finished.error));
            response
        }
    }
}

/// `GET /oauth/callback.js`
pub async fn script() -> Response {
    typed(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT)
}

fn failed<'a>(w: &'static Words, why: &'a NotFinished) -> Landing<'a> {
    Landing::new(w, None, &why.error, why.detail.as_deref().unwrap_or_default())
}

fn show(status: StatusCode, landing: &Landing<'_>) -> Response {
    let Ok(html) = landing.render() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let mut response = page(html);
    *response.status_mut() = status;
    // The path and the code stay here; without the origin some browsers would send `origin: null` with the form.
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    response
}
