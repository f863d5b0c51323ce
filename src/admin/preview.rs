//! What a change would do, before it is made: judged, and tried on the last requests.
//!
//! Calls that can be asked with `dry_run` answer with it; [`files`] is for edits that were made with an editor and are not in force yet.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::clock::unix_millis;
use crate::config::Overlay;
use crate::edit::preview::{self, Preview};
use crate::reload::{Judged, Outcome};

use super::answer::{Problem, document};
use super::audit::NoChange;
use super::change::aside;
use super::{Parts, Shared};

/// What a judged change would do to what is in force.
pub fn of(judged: &Judged, parts: &Parts) -> Preview {
    preview::of(&parts.reloader.current(), judged, &parts.observer.requests, unix_millis())
}

/// The answer of a call that only asks: `report` as a reload would give it, and `preview`, unless it would be rejected.
pub fn answer(judged: &Judged, parts: &Parts) -> Response {
    let holds = judged.report.outcome != Outcome::Rejected;
    let status = if holds { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let preview = holds.then(|| of(judged, parts));
    let mut response = document(status, &json!({ "report": judged.report, "preview": preview }));
    response.extensions_mut().insert(NoChange);
    response
}

/// `POST /api/v1/preview`: what a reload would do now.
pub async fn files(State(shared): State<Arc<Shared>>) -> Response {
    let look = move || Ok(answer(&shared.parts.reloader.judge(&Overlay::default()), &shared.parts));
    let mut response = aside(look).await.unwrap_or_else(Problem::into_response);
    response.extensions_mut().insert(NoChange);
    response
}
