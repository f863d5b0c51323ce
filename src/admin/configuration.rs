//! `GET /api/v1/config`: the configuration in force, where each of its values came from, and what the reloads changed. Secrets are
//! `***`, as everywhere.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::config::Line;
use crate::reload::{NotShown, Outcome, Reloader, Report};

use super::answer::Problem;
use super::status::time;

/// The whole answer.
#[derive(Debug, Serialize)]
pub struct Shown {
    generation: u64,
    sha256: String,
    config_file: Option<String>,
    /// The sections, with nothing left to defaults.
    effective: Value,
    /// One entry a key: its value, and its file, line and column; no `origin`: it is the default.
    origins: Vec<Line>,
    /// Of the last attempt.
    diagnostics: Vec<Value>,
    /// The latest first.
    history: Vec<Past>,
}

/// One reload of the past.
#[derive(Debug, Serialize)]
struct Past {
    generation: u64,
    outcome: Outcome,
    at: String,
    trigger: &'static str,
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
    settings: Vec<String>,
    needs_restart: Vec<String>,
    /// How many routes were added, removed and changed that are not named.
    omitted: [usize; 3],
    /// Of a rejected one: what was wrong.
    lines: Vec<String>,
}

/// What there is to show.
pub fn shown(reloader: &Reloader) -> Result<Shown, Problem> {
    let table = reloader.current();
    let effective = reloader.effective().map_err(not_shown)?;
    Ok(Shown {
        generation: table.generation,
        sha256: table.sha256.clone(),
        config_file: reloader.path().map(|path| path.display().to_string()),
        effective: effective.json(),
        origins: effective.lines(),
        diagnostics: reloader.last().diagnostics.clone(),
        history: reloader.history().iter().map(|report| Past::of(report)).collect(),
    })
}

fn not_shown(why: NotShown) -> Problem {
    let (status, words) = (StatusCode::SERVICE_UNAVAILABLE, why.to_string());
    match why {
        NotShown::TooLarge => Problem::new(status, "configuration_too_large", words),
        NotShown::Edited => Problem::new(status, "configuration_edited", words),
    }
}

impl Past {
    fn of(report: &Report) -> Self {
        let named = report.named.clone();
        Self {
            generation: report.generation,
            outcome: report.outcome,
            at: time(report.at),
            trigger: report.trigger.as_str(),
            added: named.added,
            removed: named.removed,
            changed: named.changed,
            settings: named.settings,
            needs_restart: report.needs_restart.clone(),
            omitted: named.omitted,
            lines: if report.outcome == Outcome::Rejected { report.lines.clone() } else { Vec::new() },
        }
    }
}
