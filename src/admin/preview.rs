//! What a change would do, before it is made: judged, and tried on the last requests.
//!
//! Calls that can be asked with `dry_run` answer with it; [`files`] is for edits that are made with an editor.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use crate::clock::unix_millis;
use crate::config::Overlay;
use crate::edit::preview::{self, Preview};
use crate::reload::{Judged, Outcome, Reloader};

use super::answer::{Problem, document};
use super::audit::NoChange;
use super::change::aside;
use super::form::Sent;
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

/// The body of `POST /api/v1/preview`: none, or what files of the configuration would say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// By path, relative to the first file's directory. They must be files of the configuration in force.
    files: HashMap<PathBuf, String>,
}

/// `POST /api/v1/preview`: what a reload would do, with these files or with those that lie there.
pub async fn files(State(shared): State<Arc<Shared>>, Sent(body): Sent) -> Response {
    let look = move || {
        let overlay = overlay(&body, &shared.parts.reloader)?;
        Ok(answer(&shared.parts.reloader.judge(&overlay), &shared.parts))
    };
    let mut response = aside(look).await.unwrap_or_else(Problem::into_response);
    response.extensions_mut().insert(NoChange);
    response
}

/// Nothing of the body is said again: secrets may stand in it.
fn overlay(body: &[u8], reloader: &Reloader) -> Result<Overlay, Problem> {
    let mut overlay = Overlay::default();
    if body.is_empty() {
        return Ok(overlay);
    }
    let wrong = |message| Problem::new(StatusCode::BAD_REQUEST, "bad_body", message);
    let asked: Asked = serde_json::from_slice(body)
        .map_err(|_| wrong("the body is {\"files\":{\"countersign.yaml\":\"…\"}}, or there is none"))?;
    let known: HashSet<PathBuf> = reloader.watched().iter().filter_map(|path| path.canonicalize().ok()).collect();
    let directory = reloader.path().and_then(Path::parent).unwrap_or(Path::new(""));
    for (path, text) in asked.files {
        let path = directory.join(path);
        if !path.canonicalize().is_ok_and(|path| path.is_file() && known.contains(&path)) {
            return Err(wrong("a file that is not part of the configuration in force"));
        }
        overlay.set(&path, Some(text.into_bytes()));
    }
    Ok(overlay)
}
