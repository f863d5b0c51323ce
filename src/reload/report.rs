//! How a reload went: what the admin API answers, the status page shows and the log says.

use std::any::Any;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::UnixMillis;
use crate::table::diff::Diff;

use super::LOG;

/// What a reload came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// There is a new table.
    Applied,
    /// The files say what is in force already.
    Unchanged,
    /// The files do not hold; what was in force still is.
    Rejected,
}

impl Outcome {
    /// The word of API, metrics and log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Rejected => "rejected",
        }
    }
}

/// What caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The start of the process.
    Start,
    /// A file changed.
    File,
    /// SIGHUP.
    Signal,
    /// The admin API.
    Api,
}

impl Trigger {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::File => "file change",
            Self::Signal => "signal",
            Self::Api => "admin API",
        }
    }
}

/// How many routes an edit touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New ones.
    pub added: usize,
    /// Ones that are gone.
    pub removed: usize,
    /// Ones that do something else now.
    pub changed: usize,
}

impl Changes {
    pub(super) fn of(diff: &Diff) -> Self {
        Self { added: diff.added.len(), removed: diff.removed.len(), changed: diff.changed.len() }
    }
}

/// What an edit touched, by name: the first of each kind, as the past is kept in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Routes, as `project/environment/prefix`.
    pub added: Vec<String>,
    /// Routes.
    pub removed: Vec<String>,
    /// Routes.
    pub changed: Vec<String>,
    /// Keys outside of the routes.
    pub settings: Vec<String>,
    /// How many more routes were added, removed and changed.
    pub omitted: [usize; 3],
}

impl Named {
    /// Names of a kind that are kept.
    const KEPT: usize = 50;

    pub(super) fn of(diff: &Diff) -> Self {
        let first = |names: &[String]| names.iter().take(Self::KEPT).cloned().collect::<Vec<_>>();
        let routes = [&diff.added, &diff.removed, &diff.changed];
        let omitted = routes.map(|names| names.len().saturating_sub(Self::KEPT));
        let [added, removed, changed] = routes.map(|names| first(names));
        Self { added, removed, changed, settings: first(&diff.settings), omitted }
    }
}

/// One reload. Serialized, it is the answer of `POST /api/v1/reload`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What it came to.
    pub outcome: Outcome,
    /// Of the table in force afterwards.
    pub generation: u64,
    /// Errors and warnings, as the interface page writes them.
    pub diagnostics: Vec<Value>,
    /// Keys that differ from what the process was started with and wait for the next start.
    pub needs_restart: Vec<String>,
    /// What caused it.
    #[serde(skip)]
    pub trigger: Trigger,
    /// When it ended.
    #[serde(skip)]
    pub at: UnixMillis,
    /// How long it took, waiting for others not included.
    #[serde(skip)]
    pub took: Duration,
    /// What it changed.
    #[serde(skip)]
    pub changes: Changes,
    /// What it changed, by name.
    #[serde(skip)]
    pub named: Named,
    /// The diagnostics, a line each.
    #[serde(skip)]
    pub lines: Vec<String>,
    /// The first diagnostics, each with the line that it is about; secrets masked.
    #[serde(skip)]
    pub excerpts: Vec<String>,
}

impl Report {
    /// Reading or compiling stopped half-way: a mistake of ours, which must not take the running proxy along.
    pub(super) fn rejected_by_panic(
        trigger: Trigger,
        generation: u64,
        begun: Instant,
        panic: &(dyn Any + Send),
    ) -> Self {
        let cause = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let cause = cause.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        log::error!(target: LOG, "reading the configuration panicked: {cause}");
        let message = "the configuration could not be read because of a fault in countersign itself; the log says more";
        Self {
            outcome: Outcome::Rejected,
            generation,
            diagnostics: vec![json!({
                "file": "", "line": 0, "column": 0, "severity": "error", "code": "internal_error",
                "message": message, "hint": "",
            })],
            needs_restart: Vec::new(),
            trigger,
            at: crate::clock::unix_millis(),
            took: begun.elapsed(),
            changes: Changes::default(),
            named: Named::default(),
            lines: vec![message.to_owned()],
            excerpts: Vec::new(),
        }
    }

    /// One line for `systemctl status`.
    pub fn summary(&self) -> String {
        match self.outcome {
            Outcome::Applied | Outcome::Unchanged => format!("serving generation {}", self.generation),
            Outcome::Rejected => {
                let first = self.lines.first().map(String::as_str).unwrap_or_default();
                format!("serving generation {}; the last edit was rejected: {first}", self.generation)
            }
        }
    }

    /// The log's lines: one for the outcome, one for each diagnostic.
    pub(super) fn log(&self, before: &Self) {
        let (trigger, took) = (self.trigger.as_str(), self.took.as_millis());
        match self.outcome {
            Outcome::Applied => self.log_applied(trigger, took),
            Outcome::Unchanged => log::log!(
                target: LOG, self.unchanged_level(before),
                "configuration unchanged, generation {} stays ({trigger}, {took} ms)", self.generation
            ),
            Outcome::Rejected => {
                self.lines.iter().for_each(|line| log::error!(target: LOG, "{line}"));
                log::error!(
                    target: LOG, "configuration rejected, generation {} stays in force ({trigger}, {took} ms)",
                    self.generation
                );
            }
        }
    }

    fn log_applied(&self, trigger: &str, took: u128) {
        self.lines.iter().for_each(|line| log::warn!(target: LOG, "{line}"));
        let Changes { added, removed, changed } = self.changes;
        log::info!(
            target: LOG,
            "configuration generation {} applied ({trigger}, {took} ms): routes added {added}, removed {removed}, \
             changed {changed}",
            self.generation
        );
        if !self.needs_restart.is_empty() {
            log::warn!(target: LOG, "waiting for a restart: {}", self.needs_restart.join(", "));
        }
    }

    /// Files are touched for many reasons; people who ask, or whose mistake is mended, want to hear of it.
    fn unchanged_level(&self, before: &Self) -> log::Level {
        if self.trigger == Trigger::File && before.outcome != Outcome::Rejected {
            log::Level::Debug
        } else {
            log::Level::Info
        }
    }
}
