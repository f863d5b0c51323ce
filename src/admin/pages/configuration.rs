//! `/dashboard/configuration`: what is in force and why, what the last reload found, and what each one changed.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::config::Line;
use crate::reload::{Named, Outcome, Report, Trigger};

use super::super::Shared;
use super::moment::{Moment, latency};
use super::overview::{outcome, reload as reload_part, trigger};
use super::words::Words;
use super::{Frame, Notice, Visit, aside, html};

/// Diagnostics that are shown with their excerpts.
const EXCERPTS: usize = 50;

/// Lines of a rejected reload that its entry shows.
const LINES: usize = 3;

/// Keys in force that are shown; the filter finds the others.
const KEYS: usize = 500;

/// Names of what changed that an entry shows.
const NAMES: usize = 12;

#[derive(Template)]
#[template(path = "configuration.html")]
struct Page {
    w: &'static Words,
    frame: Frame,
    csrf: String,
    generation: u64,
    notice: Option<Notice>,
    file: Option<String>,
    sha256: String,
    reload: String,
    excerpts: Vec<Excerpt>,
    history: Vec<Entry>,
    query: String,
    /// `None`: the files say something else than what is in force.
    effective: Option<Keys>,
}

/// Keys in force.
struct Keys {
    rows: Vec<Key>,
    more: usize,
}

struct Key {
    key: String,
    value: String,
    /// `None`: it is the default.
    origin: Option<String>,
}

/// One diagnostic with the line that it is about, secrets masked.
struct Excerpt {
    tone: &'static str,
    severity: &'static str,
    code: String,
    text: String,
}

/// One reload of the past.
struct Entry {
    at: Moment,
    tone: &'static str,
    outcome: &'static str,
    generation: u64,
    cause: &'static str,
    took: String,
    changes: Vec<Change>,
    lines: Vec<String>,
}

/// What it changed, of one kind.
struct Change {
    word: &'static str,
    names: Vec<String>,
    more: usize,
}

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    q: String,
}

/// `GET /dashboard/configuration`
pub async fn page(State(shared): State<Arc<Shared>>, visit: Visit, Query(asked): Query<Asked>) -> Response {
    let seen = visit.clone();
    aside(&visit, move || show(&shared, &seen, StatusCode::OK, None, &asked)).await
}

/// `POST /dashboard/configuration/reload`: the verdict is the page.
pub async fn reload(State(shared): State<Arc<Shared>>, visit: Visit) -> Response {
    let seen = visit.clone();
    let run = move || {
        let report = shared.parts.reloader.reload(Trigger::Api);
        let (_, word, meaning) = outcome(seen.w, report.outcome);
        let (status, tone) = match report.outcome {
            Outcome::Applied | Outcome::Unchanged => (StatusCode::OK, "ok"),
            Outcome::Rejected => (StatusCode::UNPROCESSABLE_ENTITY, "bad"),
        };
        let said = Notice { tone, ..Notice::good(word, meaning) };
        show(&shared, &seen, status, Some(said), &Asked::default())
    };
    aside(&visit, run).await
}

fn show(shared: &Shared, visit: &Visit, status: StatusCode, notice: Option<Notice>, asked: &Asked) -> Response {
    let reloader = &shared.parts.reloader;
    let (table, last) = (reloader.current(), reloader.last());
    let page = Page {
        w: visit.w,
        frame: visit.frame(),
        csrf: visit.csrf(),
        generation: table.generation,
        notice,
        file: reloader.path().map(|path| path.display().to_string()),
        sha256: table.sha256.clone(),
        reload: reload_part(visit.w, &last, 0),
        excerpts: excerpts(visit.w, &last),
        history: reloader.history().iter().map(|report| Entry::of(visit, report)).collect(),
        query: asked.q.clone(),
        effective: reloader.effective().ok().map(|effective| keys(effective.lines(), &asked.q)),
    };
    html(status, &page)
}

/// The keys that are looked for.
fn keys(lines: Vec<Line>, query: &str) -> Keys {
    let needle = query.trim().to_lowercase();
    let holds = |text: &str| text.to_lowercase().contains(&needle);
    let found = lines.into_iter().map(|line| Key {
        key: line.key,
        value: line.value,
        origin: line.origin.map(|origin| format!("{}:{}", origin.file, origin.line)),
    });
    let wanted = |key: &Key| holds(&key.key) || holds(&key.value) || key.origin.as_deref().is_some_and(holds);
    let mut rows: Vec<Key> = found.filter(wanted).collect();
    let more = rows.len().saturating_sub(KEYS);
    rows.truncate(KEYS);
    Keys { rows, more }
}

fn excerpts(w: &'static Words, report: &Report) -> Vec<Excerpt> {
    let pairs = report.diagnostics.iter().zip(&report.excerpts).take(EXCERPTS);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    pairs
        .map(|(diagnostic, excerpt)| {
            let is_error = diagnostic["severity"] == "error";
            let (tone, severity) = if is_error { ("bad", w.error) } else { ("warn", w.warning) };
            Excerpt { tone, severity, code: text(&diagnostic["code"]), text: excerpt.clone() }
        })
        .collect()
}

impl Entry {
    fn of(visit: &Visit, report: &Report) -> Self {
        let (tone, word, _) = outcome(visit.w, report.outcome);
        let lines = match report.outcome {
            Outcome::Rejected => report.lines.iter().take(LINES).cloned().collect(),
            Outcome::Applied | Outcome::Unchanged => Vec::new(),
        };
        Self {
            at: visit.moment(report.at),
            tone,
            outcome: word,
            generation: report.generation,
            cause: trigger(visit.w, report.trigger),
            took: latency(report.took),
            changes: changes(visit.w, &report.named, &report.needs_restart),
            lines,
        }
    }
}

fn changes(w: &'static Words, named: &Named, needs_restart: &[String]) -> Vec<Change> {
    let kinds = [
        (w.changed_added, &named.added[..], named.omitted[0]),
        (w.changed_removed, &named.removed[..], named.omitted[1]),
        (w.changed_changed, &named.changed[..], named.omitted[2]),
        (w.changed_settings, &named.settings[..], 0),
        (w.changed_restart, needs_restart, 0),
    ];
    let shown = |(word, names, omitted): (&'static str, &[String], usize)| Change {
        word,
        names: names.iter().take(NAMES).cloned().collect(),
        more: names.len().saturating_sub(NAMES) + omitted,
    };
    kinds.into_iter().filter(|(_, names, _)| !names.is_empty()).map(shown).collect()
}
