//! Changes that the control plane makes to the files of the configuration: an environment switched, a route added.
//!
//! Flow: whoever changes something (`environment`, over `scalar`) says which files will say what, and what they said when it was looked at ([`Change`]);
//! [`Editor::judge`] compiles the configuration as it would be, touching nothing; [`Editor::apply`] does the same, then
//! writes (`file`: whole or not at all), then reloads. `dashboard` is the one file that is all ours, `routes` what is done to its
//! routes, `undo` the way back.
//!
//! Invariants: a file that says something else than what was looked at is left alone; what would not hold is not written;
//! one change at a time.

pub mod dashboard;
pub mod environment;
pub mod file;
pub mod preview;
pub mod routes;
pub mod scalar;
pub mod sign_token;
#[cfg(test)]
mod tests;
pub mod undo;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::config::Overlay;
use crate::reload::{Judged, Outcome, Reloader, Report, Trigger};

pub use file::{Digest, Seen};
pub use undo::{Note, Past, Undo};

/// What one file will say.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which.
    pub path: PathBuf,
    /// What it said when it was looked at; `None`: it was not there.
    pub before: Option<Digest>,
    /// What it will say; `None`: it goes.
    pub after: Option<Vec<u8>>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Somebody else was faster.
    #[error("{0} has changed meanwhile; look at it again")]
    Changed(PathBuf),
    /// It would not hold.
    #[error("the configuration would not hold")]
    Invalid(Box<Report>),
    /// The system refuses.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no file (`run --to`).
    #[error("this process was started without a configuration file; there is nothing to edit")]
    NoFile,
}

/// Why a change was not taken back.
#[derive(Debug, thiserror::Error)]
pub enum NotUndone {
    /// There is none, or not that one.
    #[error("there is no such change (any more)")]
    Unknown,
    /// Somebody has changed the file since.
    #[error("{0} has been changed since; edit it by hand")]
    Changed(PathBuf),
    /// See there.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Who changes files.
#[derive(Debug)]
pub struct Editor {
    reloader: Arc<Reloader>,
    undo: Undo,
    /// Held while files are changed.
    one: Mutex<()>,
}

/// The right to change files, which one has at a time.
#[derive(Debug)]
pub struct Alone<'e> {
    editor: &'e Editor,
    _one: MutexGuard<'e, ()>,
}

impl Editor {
    /// Changes what this reloader reads. Closes the dashboard's file to others, and removes what a killed process has left.
    pub fn new(reloader: Arc<Reloader>) -> Self {
        let state_dir = reloader.current().started_with.admin.state_dir.clone();
        if reloader.path().is_some() {
            dashboard::settle(&state_dir);
        }
        let undo = Undo::of(&state_dir);
        Self { reloader, undo, one: Mutex::new(()) }
    }

    /// The configuration in force.
    pub fn reloader(&self) -> &Arc<Reloader> {
        &self.reloader
    }

    /// What would come of it. Blocks.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn judge(&self, changes: &[Change]) -> Result<Judged, Refused> {
        if self.reloader.path().is_none() {
            return Err(Refused::NoFile);
        }
        let mut overlay = Overlay::default();
        for change in changes {
            check(change)?;
            overlay.set(&change.path, change.after.clone());
        }
        let judged = self.reloader.judge(&overlay);
        if judged.report.outcome == Outcome::Rejected {
            return Err(Refused::Invalid(Box::new(judged.report)));
        }
        Ok(judged)
    }

    /// Waits until nobody else changes files: what is looked at from then on is changed by nobody else here. Blocks.
    pub fn alone(&self) -> Alone<'_> {
        Alone { editor: self, _one: self.one.lock() }
    }

    /// Does it: judges, writes, reloads. Blocks. What a reload refuses all the same (another file changed at that moment) is
    /// taken back. It is not remembered.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn apply(&self, changes: &[Change]) -> Result<Report, Refused> {
        self.alone().apply(changes)
    }

    /// The same, remembered, so that it can be undone.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn apply_as(&self, note: &Note, changes: &[Change]) -> Result<Report, Refused> {
        self.alone().apply_as(note, changes)
    }

    /// What was changed, the latest first. Blocks.
    pub fn past(&self) -> Vec<Past> {
        let _alone = self.alone();
        self.undo.list()
    }
}

impl Alone<'_> {
    /// See [`Editor::apply`].
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn apply(&self, changes: &[Change]) -> Result<Report, Refused> {
        self.editor.judge(changes)?;
        self.perform(changes)
    }

    /// See [`Editor::apply_as`].
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn apply_as(&self, note: &Note, changes: &[Change]) -> Result<Report, Refused> {
        self.apply_after(&[], note, changes)
    }

    /// The same. `first`: what is changed before the rest, and not remembered.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn apply_after(&self, first: &[Change], note: &Note, changes: &[Change]) -> Result<Report, Refused> {
        let all = [first, changes].concat();
        self.editor.judge(&all)?;
        let was: Vec<Option<Vec<u8>>> = changes.iter().map(check).collect::<Result<_, _>>()?;
        let undo = &self.editor.undo;
        let remembered = undo.remember(note, changes, &was, crate::clock::unix_millis());
        // A change that nobody could take back is better than none at all.
        let id = remembered.inspect_err(|error| log::warn!("this change cannot be undone later: {error}")).ok();
        let done = self.perform(&all);
        if let (Err(_), Some(id)) = (&done, id) {
            undo.forget(id);
        }
        done
    }

    /// Which change would be taken back: that one, or the latest; and how.
    ///
    /// # Errors
    /// See [`NotUndone`].
    pub fn reverse(&self, id: Option<u64>) -> Result<(Past, Vec<Change>), NotUndone> {
        let past = self.editor.undo.list();
        let wanted = past.into_iter().find(|past| id.is_none_or(|id| id == past.id)).ok_or(NotUndone::Unknown)?;
        if !wanted.undoable {
            return Err(NotUndone::Changed(wanted.files.first().cloned().unwrap_or_default()));
        }
        let changes = self.editor.undo.reverse(wanted.id).ok_or(NotUndone::Unknown)?;
        Ok((wanted, changes))
    }

    /// Takes a change back: that one, or the latest.
    ///
    /// # Errors
    /// See [`NotUndone`].
    pub fn undo(&self, id: Option<u64>) -> Result<(Past, Report), NotUndone> {
        let (past, changes) = self.reverse(id)?;
        let report = self.apply(&changes).map_err(|refused| match refused {
            Refused::Changed(path) => NotUndone::Changed(path),
            other => NotUndone::Refused(other),
        })?;
        self.editor.undo.forget(past.id);
        Ok((past, report))
    }

    fn perform(&self, changes: &[Change]) -> Result<Report, Refused> {
        let reloader = &self.editor.reloader;
        let mut done = Vec::with_capacity(changes.len());
        for change in changes {
            let before = match replace(change) {
                Ok(before) => before,
                Err(refused) => {
                    take_back(&done);
                    return Err(refused);
                }
            };
            done.push((change, before));
        }
        let report = reloader.reload(Trigger::Api);
        if report.outcome == Outcome::Rejected {
            take_back(&done);
            reloader.reload(Trigger::Api);
            return Err(Refused::Invalid(Box::new(report)));
        }
        Ok(report)
    }
}

/// That the file says what it said.
fn check(change: &Change) -> Result<Option<Vec<u8>>, Refused> {
    let seen = file::look(&change.path).map_err(|source| Refused::Write { path: change.path.clone(), source })?;
    if seen.as_ref().map(|seen| seen.digest) != change.before {
        return Err(Refused::Changed(change.path.clone()));
    }
    Ok(seen.map(|seen| seen.bytes))
}

/// What the file said before.
fn replace(change: &Change) -> Result<Option<Vec<u8>>, Refused> {
    let before = check(change)?;
    if let Err(source) = file::write(&change.path, change.after.as_deref()) {
        // The new text may stand there all the same, only not for certain after a crash.
        if check(change).is_err() {
            take_back(&[(change, before)]);
        }
        return Err(Refused::Write { path: change.path.clone(), source });
    }
    Ok(before)
}

/// What was written is as it was, the last first.
fn take_back(done: &[(&Change, Option<Vec<u8>>)]) {
    for (change, before) in done.iter().rev() {
        if let Err(error) = file::write(&change.path, before.as_deref()) {
            log::error!("{} could not be put back as it was: {error}", change.path.display());
        }
    }
}
