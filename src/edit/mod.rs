//! Changes that the control plane makes to the files of the configuration: an environment switched, a route added.
//!
//! Flow: whoever changes something (`environment`, over `scalar`) says which files will say what, and what they said when it was looked at ([`Change`]);
//! [`Editor::judge`] compiles the configuration as it would be, touching nothing; [`Editor::apply`] does the same, then
//! writes (`file`: whole or not at all), then reloads.
//!
//! Invariants: a file that says something else than what was looked at is left alone; what would not hold is not written;
//! one change at a time.

pub mod environment;
pub mod file;
pub mod scalar;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::Overlay;
use crate::reload::{Judged, Outcome, Reloader, Report, Trigger};

pub use file::{Digest, Seen};

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

/// Who changes files.
#[derive(Debug)]
pub struct Editor {
    reloader: Arc<Reloader>,
    /// Held while files are changed.
    one: Mutex<()>,
}

impl Editor {
    /// Changes what this reloader reads.
    pub fn new(reloader: Arc<Reloader>) -> Self {
        Self { reloader, one: Mutex::new(()) }
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

    /// Does it: judges, writes, reloads. Blocks. What a reload refuses all the same (another file changed at that moment) is
    /// taken back.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn apply(&self, changes: &[Change]) -> Result<Report, Refused> {
        let _alone = self.one.lock();
        self.judge(changes)?;
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
        let report = self.reloader.reload(Trigger::Api);
        if report.outcome == Outcome::Rejected {
            take_back(&done);
            self.reloader.reload(Trigger::Api);
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
    let written = file::write(&change.path, change.after.as_deref());
    written.map_err(|source| Refused::Write { path: change.path.clone(), source })?;
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
