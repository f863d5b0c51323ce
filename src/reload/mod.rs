//! An edit's life: notice, read, compile, compare, publish with one store.
//!
//! Flow: [`Reloader::start`] does the first load. Later ones come from the watcher ([`watch`]), a signal or the admin API;
//! each calls [`Reloader::reload`], which blocks (reading files, compiling) and so belongs on a thread of its own.
//!
//! Invariants: what is in force changes by one store or not at all (`a_rejected_edit_changes_nothing`); there is one load
//! at a time, and whoever asks gets the verdict on files read after the question (`who_asks_together_is_answered_together`);
//! no problem in a configuration, not even a panic, stops later reloads.

pub mod logging;
mod read;
mod report;
#[cfg(test)]
pub(crate) mod tests;
pub mod watch;

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::config::{self, Effective, Loading, Overlay, Sources};
use crate::diagnostic::Diagnostic;
use crate::follow::Fingerprint;
use crate::observe::{Observer, systemd};
use crate::table::Table;
use crate::table::compile::{Compiled, Stamp, compile};
use crate::table::diff::diff;

pub use report::{Changes, Named, Outcome, Report, Trigger};

/// Where this module's lines in the process log come from.
const LOG: &str = "countersign::reload";

/// Reloads of the past that are remembered.
const HISTORY: usize = 50;

/// Diagnostics of a reload that are kept with their excerpts.
const EXCERPTS: usize = 50;

/// Looks variables up; of the process, or of a test.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Reads the configuration; again at each reload.
type Load = Box<dyn Fn(&Overlay) -> Loading + Send + Sync>;

/// Routes up to which the effective configuration is spelt out: beyond it would be larger than all else in memory.
const SPELT_OUT: usize = 10_000;

/// Why the effective configuration cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    /// More than 10,000 routes.
    #[error("the configuration has more than 10,000 routes; `countersign config show --effective` reads the files")]
    TooLarge,
    /// The files say something else by now: an edit that was rejected, or is about to be read.
    #[error("the files do not say what is in force; reload, or mend what was rejected")]
    Edited,
}

/// Why there is no first table.
#[derive(Debug)]
pub struct Failure {
    /// The texts that the diagnostics point into.
    pub sources: Sources,
    /// What is wrong; never empty.
    pub diagnostics: Vec<Diagnostic>,
}

/// What would come of an edit.
#[derive(Debug)]
pub struct Judged {
    /// As a reload would report it.
    pub report: Report,
    /// There when it holds and says something new. It shares counters with the table in force, and is never published.
    pub table: Option<Table>,
}

/// The configuration in force, and the only one who changes it.
pub struct Reloader {
    load: Load,
    path: Option<PathBuf>,
    table: Arc<ArcSwap<Table>>,
    last: ArcSwap<Report>,
    /// The last ones that changed something, were rejected, or were asked for; the newest first.
    history: Mutex<VecDeque<Arc<Report>>>,
    /// What the table in force was made from, spelt out; `None`: too large.
    /// Warnings of the first load, as lines for the log.
    first_warnings: Vec<String>,
    /// What was read for the table in force and by the last attempt, and how it looked then.
    seen: Mutex<(Vec<PathBuf>, Fingerprint)>,
    /// Tables that requests may still hold: dropped here, so that no request pays for freeing one.
    retired: Mutex<Vec<Arc<Table>>>,
    observer: OnceLock<Arc<Observer>>,
    /// Told of every table that is published after the first.
    published: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
    /// When the last load began.
    began: Mutex<Instant>,
    /// How many have asked, ever.
    asked: AtomicU64,
    /// Up to which question the last load answered; held while one runs.
    answered: Mutex<u64>,
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let generation = self.current().generation;
        f.debug_struct("Reloader").field("path", &self.path).field("generation", &generation).finish_non_exhaustive()
    }
}

impl Reloader {
    /// Reads the file at `path` for the first time. Nothing is logged yet: [`Self::observe`] does that.
    ///
    /// # Errors
    /// The configuration does not hold.
    pub fn start(path: &Path, environment: Environment) -> Result<Arc<Self>, Box<Failure>> {
        let file = path.to_owned();
        // Read at start only, as the rest of the process does not move with it.
        let state_dir = OnceLock::new();
        let load = move |overlay: &Overlay| {
            let pinned = state_dir.get().map(PathBuf::as_path);
            let loading = config::load_at(&file, &|name: &str| environment(name), overlay, pinned);
            if let Some(model) = &loading.model {
                state_dir.get_or_init(|| model.admin.state_dir.clone());
            }
            loading
        };
        Self::first(Some(path.to_owned()), Box::new(load))
    }

    /// The same for a text without a file (`run --to`): reloads find it unchanged, but for secret files that it names.
    ///
    /// # Errors
    /// The configuration does not hold.
    pub fn start_text(name: &str, text: &str, dir: &Path, environment: Environment) -> Result<Arc<Self>, Box<Failure>> {
        let (name, text, dir) = (name.to_owned(), text.to_owned(), dir.to_owned());
        let load = move |_: &Overlay| config::load_text(&name, &text, &dir, &|name: &str| environment(name));
        Self::first(None, Box::new(load))
    }

    fn first(path: Option<PathBuf>, load: Load) -> Result<Arc<Self>, Box<Failure>> {
        let begun = Instant::now();
        let candidate = Candidate::read(&load, &Overlay::default(), 1, None);
        let report = candidate.report(Trigger::Start, Outcome::Applied, 1, begun);
        let Some(table) = candidate.table else {
            return Err(Box::new(Failure { sources: candidate.sources, diagnostics: candidate.diagnostics }));
        };
        Ok(Arc::new(Self {
            load,
            path,
            table: Arc::new(ArcSwap::from_pointee(table)),
            history: Mutex::new(VecDeque::from([Arc::new(report.clone())])),
            last: ArcSwap::from_pointee(report),
            first_warnings: lines(&candidate.sources, &candidate.diagnostics),
            seen: Mutex::new((candidate.watched, candidate.fingerprint)),
            retired: Mutex::default(),
            observer: OnceLock::new(),
            published: Mutex::default(),
            began: Mutex::new(begun),
            asked: AtomicU64::new(0),
            answered: Mutex::new(0),
        }))
    }

    /// From now on outcomes are seen: metrics, log lines, log settings. Records the first load.
    pub fn observe(&self, observer: Arc<Observer>) {
        let table = self.current();
        for line in &self.first_warnings {
            log::warn!(target: LOG, "{line}");
        }
        log::info!(target: LOG, "configuration generation {}: {} routes", table.generation, table.routes.len());
        observer.metrics.reload(Outcome::Applied.as_str(), table.generation, &table.sha256);
        // A second observer would have nothing to observe that the first does not.
        let _ = self.observer.set(observer);
    }

    /// From now on `told` is called after every table that is published. It must not block.
    pub fn on_publish(&self, told: impl Fn() + Send + Sync + 'static) {
        self.published.lock().push(Box::new(told));
    }

    /// The table in force.
    pub fn current(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Where the table in force is published: what the data plane loads from.
    pub fn tables(&self) -> Arc<ArcSwap<Table>> {
        Arc::clone(&self.table)
    }

    /// How the last reload went.
    pub fn last(&self) -> Arc<Report> {
        self.last.load_full()
    }

    /// The reloads of the past that are worth knowing of, the newest first.
    pub fn history(&self) -> Vec<Arc<Report>> {
        self.history.lock().iter().cloned().collect()
    }

    /// A file that was touched and says the same is no part of the history.
    fn remember(&self, report: &Arc<Report>) {
        if report.outcome == Outcome::Unchanged && report.trigger == Trigger::File {
            return;
        }
        let mut history = self.history.lock();
        history.truncate(HISTORY - 1);
        history.push_front(Arc::clone(report));
    }

    /// What is in force, key by key, with where each value came from. Read again for this, as it is large and seldom asked
    /// for. Blocks.
    ///
    /// # Errors
    /// See [`NotShown`].
    pub fn effective(&self) -> Result<Effective, NotShown> {
        let table = self.current();
        if table.routes.len() > SPELT_OUT {
            return Err(NotShown::TooLarge);
        }
        let Loading { sources, model, sha256, .. } = (self.load)(&Overlay::default());
        let model = model.filter(|_| hex::encode(sha256) == table.sha256).ok_or(NotShown::Edited)?;
        Ok(Effective::of(&model, &sources))
    }

    /// The files as they would be, read and not compiled: for whoever has to know where something is written. Blocks.
    pub fn load(&self, overlay: &Overlay) -> Loading {
        (self.load)(overlay)
    }

    /// What the configuration would be with these files: nothing is published, nothing remembered. Blocks.
    pub fn judge(&self, overlay: &Overlay) -> Judged {
        let begun = Instant::now();
        let old = self.current();
        let candidate = Candidate::read(&self.load, overlay, old.generation + 1, Some(&old));
        let outcome = match &candidate.table {
            _ if candidate.has_errors() => Outcome::Rejected,
            None => Outcome::Unchanged,
            Some(_) => Outcome::Applied,
        };
        let mut report = candidate.report(Trigger::Api, outcome, old.generation, begun);
        if let Some(table) = &candidate.table {
            let difference = diff(&old, table);
            report.changes = Changes::of(&difference);
            report.named = Named::of(&difference);
            report.needs_restart = difference.needs_restart;
        }
        Judged { report, table: candidate.table }
    }

    /// The configuration file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Everything that was read for the table in force and by the last attempt.
    pub fn watched(&self) -> Vec<PathBuf> {
        self.seen.lock().0.clone()
    }

    /// The same, with how it looked when it was read.
    fn seen(&self) -> (Vec<PathBuf>, Fingerprint) {
        self.seen.lock().clone()
    }

    /// Reads the files again and publishes what they say. Blocks. Those who ask while a load runs wait for the next one,
    /// together, as the running one may have read its files already.
    pub fn reload(&self, trigger: Trigger) -> Report {
        let question = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut answered = self.answered.lock();
        if *answered >= question {
            return Report::clone(&self.last());
        }
        let questions = self.asked.load(Ordering::Acquire);
        let report = self.run(trigger);
        *answered = questions;
        report
    }

    /// Frees tables that no request holds any more. The watcher calls it now and then.
    pub fn sweep(&self) {
        let idle: Vec<_> = self.retired.lock().extract_if(.., |table| Arc::strong_count(table) == 1).collect();
        drop(idle);
    }

    /// When the last load began: what was written before it has been read.
    fn last_began(&self) -> Instant {
        *self.began.lock()
    }

    fn run(&self, trigger: Trigger) -> Report {
        systemd::reloading();
        let (begun, old) = (Instant::now(), self.current());
        *self.began.lock() = begun;
        let candidate = read::consistently(|| self.watched(), || self.read(&old));
        let report = match candidate {
            Ok(candidate) => self.settle(trigger, begun, &old, candidate),
            Err(panic) => {
                self.look_again();
                Report::rejected_by_panic(trigger, old.generation, begun, &*panic)
            }
        };
        self.announce(&report, &self.last());
        let kept = Arc::new(report.clone());
        self.remember(&kept);
        self.last.store(kept);
        self.sweep();
        report
    }

    fn read(&self, old: &Table) -> Candidate {
        Candidate::read(&self.load, &Overlay::default(), old.generation + 1, Some(old))
    }

    /// Publishes the candidate if it holds and says something new.
    fn settle(&self, trigger: Trigger, begun: Instant, old: &Arc<Table>, candidate: Candidate) -> Report {
        self.watch_also(&candidate);
        let unchanged = candidate.sha256 == old.sha256 && !candidate.has_errors();
        let outcome = match &candidate.table {
            _ if unchanged => Outcome::Unchanged,
            None => Outcome::Rejected,
            Some(_) => Outcome::Applied,
        };
        let mut report = candidate.report(trigger, outcome, old.generation, begun);
        if let (Outcome::Applied, Some(table)) = (outcome, candidate.table) {
            self.publish(old, table, &mut report);
        }
        report
    }

    /// After a rejected edit what it read is watched beside what is in force: mending either may mend it all.
    fn watch_also(&self, candidate: &Candidate) {
        let mut seen = self.seen.lock();
        if !candidate.has_errors() {
            *seen = (candidate.watched.clone(), candidate.fingerprint.clone());
            return;
        }
        let known: HashSet<PathBuf> = seen.0.iter().cloned().collect();
        seen.0.extend(candidate.watched.iter().filter(|path| !known.contains(*path)).cloned());
        seen.1 = Fingerprint::of(&seen.0);
    }

    /// Takes the files for seen although nothing came of reading them: only another edit is worth another attempt.
    fn look_again(&self) {
        let mut seen = self.seen.lock();
        seen.1 = Fingerprint::of(&seen.0);
    }

    fn publish(&self, old: &Arc<Table>, table: Table, report: &mut Report) {
        let difference = diff(old, &table);
        report.changes = Changes::of(&difference);
        report.named = Named::of(&difference);
        report.needs_restart = difference.needs_restart;
        report.generation = table.generation;
        let table = Arc::new(table);
        self.table.store(Arc::clone(&table));
        self.retired.lock().push(Arc::clone(old));
        self.published.lock().iter().for_each(|told| told());
        let Some(observer) = self.observer.get() else { return };
        observer.live.published.notify_one();
        if table.logging != old.logging {
            observer.reconfigure(&logging::settings(&table.logging));
        }
    }

    /// One event, everywhere it is seen: log, metrics, service manager.
    fn announce(&self, report: &Report, before: &Report) {
        report.log(before);
        if let Some(observer) = self.observer.get() {
            let table = self.current();
            observer.metrics.reload(report.outcome.as_str(), table.generation, &table.sha256);
        }
        systemd::ready(&report.summary());
    }
}

/// What one walk over the files found.
struct Candidate {
    sources: Sources,
    diagnostics: Vec<Diagnostic>,
    watched: Vec<PathBuf>,
    /// Of the watched files, right after they were read.
    fingerprint: Fingerprint,
    sha256: String,
    table: Option<Table>,
}

impl Candidate {
    fn read(load: &Load, overlay: &Overlay, generation: u64, previous: Option<&Table>) -> Self {
        let Loading { sources, mut diagnostics, model, mut watched, sha256 } = load(overlay);
        let fingerprint = Fingerprint::of(&watched);
        let stamp = Stamp { generation, sha256, now: crate::clock::unix_millis() };
        let sha256 = hex::encode(sha256);
        // What says the same as before need not be compiled again.
        let known = previous.is_some_and(|table| table.sha256 == sha256);
        let mut table = None;
        if let Some(model) = model.filter(|_| !known) {
            let compiled: Compiled = compile(model, &sources, stamp, previous);
            diagnostics.extend(compiled.diagnostics);
            watched.extend(compiled.mendable);
            table = compiled.table;
        }
        Self { sources, diagnostics, watched, fingerprint, sha256, table }
    }

    fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    fn report(&self, trigger: Trigger, outcome: Outcome, generation: u64, begun: Instant) -> Report {
        Report {
            outcome,
            generation,
            diagnostics: self.diagnostics.iter().map(|it| config::render::json(&self.sources, it)).collect(),
            needs_restart: Vec::new(),
            trigger,
            at: crate::clock::unix_millis(),
            took: begun.elapsed(),
            changes: Changes::default(),
            named: Named::default(),
            lines: lines(&self.sources, &self.diagnostics),
            excerpts: excerpts(&self.sources, &self.diagnostics),
        }
    }
}

fn excerpts(sources: &Sources, diagnostics: &[Diagnostic]) -> Vec<String> {
    let human = |diagnostic| config::render::human(sources, std::slice::from_ref(diagnostic), false);
    diagnostics.iter().take(EXCERPTS).map(human).collect()
}

fn lines(sources: &Sources, diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(|diagnostic| config::render::line(sources, diagnostic)).collect()
}
