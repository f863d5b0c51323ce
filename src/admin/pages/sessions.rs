//! `/dashboard/sessions`: the browsers that are signed in.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::super::Shared;
use super::super::answer::see_other;
use super::super::audit::Note;
use super::super::caller::{Caller, How};
use super::super::session::Listed;
use super::moment::Moment;
use super::words::Words;
use super::{Frame, Visit, html};

#[derive(Template)]
#[template(path = "sessions.html")]
struct Page {
    w: &'static Words,
    frame: Frame,
    csrf: String,
    done: bool,
    rows: Vec<Row>,
}

struct Row {
    handle: String,
    user: String,
    current: bool,
    since: Moment,
    seen: Moment,
    address: String,
    browser: String,
}

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    done: Option<String>,
}

/// `GET /dashboard/sessions`
pub async fn page(State(shared): State<Arc<Shared>>, visit: Visit, Query(asked): Query<Asked>) -> Response {
    let listed = shared.sessions.list(crate::clock::Moment::now());
    let page = Page {
        w: visit.w,
        frame: visit.frame(),
        csrf: visit.csrf(),
        done: asked.done.is_some(),
        rows: listed.into_iter().map(|it| row(&visit, it)).collect(),
    };
    html(StatusCode::OK, &page)
}

fn row(visit: &Visit, listed: Listed) -> Row {
    let is_ours = |caller: &Caller| matches!(&caller.how, How::Session(held) if *held.handle == *listed.handle);
    Row {
        user: listed.who.to_string(),
        current: visit.caller.as_ref().is_some_and(is_ours),
        since: visit.moment(listed.created),
        seen: visit.moment(listed.used),
        address: listed.from.to_string(),
        browser: listed.agent,
        handle: listed.handle,
    }
}

/// `POST /dashboard/sessions/{handle}/revoke`
pub async fn revoke(State(shared): State<Arc<Shared>>, Path(handle): Path<String>) -> Response {
    let ended = shared.sessions.revoke(&handle, crate::clock::Moment::now());
    let mut response = see_other("/dashboard/sessions?done=ended");
    let note = if ended { "a session was ended" } else { "there was no such session" };
    response.extensions_mut().insert(Note(note.to_owned()));
    response
}
