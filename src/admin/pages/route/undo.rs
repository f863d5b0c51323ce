//! `/dashboard/undo`: the last changes that were made here, and taking one back.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::super::super::Shared;
use super::super::super::answer::see_other;
use super::super::super::audit::Note;
use super::super::super::edits::{Run, take_back};
use super::super::super::form::{Fields, Sent};
use super::super::moment::Moment;
use super::super::words::Words;
use super::super::{Frame, Notice, Visit, aside, html};

#[derive(Template)]
#[template(path = "undo.html")]
struct Page {
    w: &'static Words,
    frame: Frame,
    csrf: String,
    notice: Option<Notice>,
    rows: Vec<Row>,
}

struct Row {
    id: u64,
    at: Moment,
    who: String,
    what: String,
    undoable: bool,
}

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    done: Option<String>,
}

/// `GET /dashboard/undo`
pub async fn page(State(shared): State<Arc<Shared>>, visit: Visit, Query(asked): Query<Asked>) -> Response {
    let seen = visit.clone();
    let make = move || {
        let done = asked.done.filter(|done| done == "undone");
        let notice = done.map(|_| Notice::good(seen.w.undone, ""));
        show(&shared, &seen, StatusCode::OK, notice)
    };
    aside(&visit, make).await
}

fn show(shared: &Shared, visit: &Visit, status: StatusCode, notice: Option<Notice>) -> Response {
    let rows = shared.editor.past().into_iter().map(|past| Row {
        id: past.id,
        at: visit.moment(past.at),
        who: past.note.who,
        what: past.note.what,
        undoable: past.undoable,
    });
    let page = Page { w: visit.w, frame: visit.frame(), csrf: visit.csrf(), notice, rows: rows.collect() };
    html(status, &page)
}

/// `POST /dashboard/undo`
pub async fn undo(State(shared): State<Arc<Shared>>, visit: Visit, Sent(body): Sent) -> Response {
    let seen = visit.clone();
    let make = move || {
        let id = Fields::parse(&body).one("id").and_then(|id| id.parse::<u64>().ok());
        // Without a number it would be the latest, which may be another by now.
        match take_back(&shared, Some(id.unwrap_or(u64::MAX)), Run::Real) {
            Ok((past, ..)) => {
                let mut response = see_other("/dashboard/undo?done=undone");
                response.extensions_mut().insert(Note(format!("undone: {}", past.note.what)));
                response
            }
            Err(why) => {
                let said = Notice::bad(seen.w.not_undone, why.to_string(), seen.w.change_refused_next);
                show(&shared, &seen, StatusCode::CONFLICT, Some(said))
            }
        }
    };
    aside(&visit, make).await
}
