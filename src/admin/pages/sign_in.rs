//! `GET /dashboard/login`: the form. What is sent with it goes to [`entry`](super::super::entry), which comes back here with
//! the code of what was wrong.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::super::entry::page_after;
use super::super::{Shared, answer::see_other};
use super::words::Words;
use super::{Frame, Visit, html};

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    next: Option<String>,
    error: Option<String>,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page {
    w: &'static Words,
    frame: Frame,
    problem: Option<&'static str>,
    signed_out: bool,
    by_password: bool,
    has_users: bool,
    next: String,
    token_file: Option<String>,
}

/// The page; whoever has signed in already goes on.
pub async fn page(State(shared): State<Arc<Shared>>, visit: Visit, Query(asked): Query<Asked>) -> Response {
    let next = page_after(asked.next.as_deref());
    if visit.who.is_some() {
        return see_other(&next);
    }
    let table = shared.parts.reloader.current();
    let state_dir = &table.started_with.admin.state_dir;
    let by_password = asked.error.as_deref() == Some("wrong_password");
    let has_file = shared.parts.reloader.path().is_some();
    let page = Page {
        w: visit.w,
        frame: visit.frame(),
        problem: asked.error.as_deref().map(|code| problem(visit.w, code)),
        signed_out: asked.done.is_some(),
        by_password,
        has_users: table.admin_users.is_some(),
        next,
        token_file: has_file.then(|| state_dir.join("admin.token").display().to_string()),
    };
    html(StatusCode::OK, &page)
}

/// What went wrong, in words of our own: the address is anybody's.
fn problem(w: &Words, code: &str) -> &'static str {
    match code {
        "wrong_token" => w.wrong_token,
        "wrong_password" => w.wrong_password,
        "too_many_attempts" => w.too_many_attempts,
        "authentication_busy" => w.authentication_busy,
        _ => w.sign_in_again,
    }
}
