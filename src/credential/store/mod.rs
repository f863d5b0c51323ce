//! The directory of token files. Everything here blocks: it is called from threads that may wait.
//!
//! Invariants: a file that can be seen is whole; what was acknowledged survives a crash at any instant; nothing outside
//! of the directory is read or written, whatever links say; a file that cannot be used never takes another with it.

use std::path::PathBuf;

use super::record::{Record, TokenId};
use crate::clock::UnixMillis;
use crate::secret::Secret;

/// How tokens are kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// `tokens_dir`: 0700, ours.
    pub directory: PathBuf,
    /// `tokens.encryption_key`; `None`: token files are readable JSON.
    pub encryption_key: Option<Secret>,
    /// `tokens.allow_network_filesystem`.
    pub allow_network_filesystem: bool,
}

/// Why the directory cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// What is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file's name, without its directory.
    pub file: String,
    /// `corrupt`, `stale_restore`, `wrong_mode`, `wrong_owner`, `not_a_file`, `unreadable`, `sealed`.
    pub code: &'static str,
    /// What it is and what to do, for people.
    pub message: String,
}

/// Why something was not written. The old state is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Somebody else has saved a later generation: theirs it is.
    #[error("another process has saved generation {0} meanwhile")]
    Overtaken(u64),
    /// The disk is full, read-only, broken.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// What is there cannot be used.
    #[error("{}", .0.message)]
    Fault(Fault),
}

/// What is about to be asked of the provider: on disk before it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The generation whose refresh token is spent.
    pub generation: u64,
    /// SHA-256 of that, in hex.
    pub refresh_sha256: String,
    /// When.
    pub started_at: UnixMillis,
}

/// A refresh that a crash interrupted.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// What was asked.
    pub intent: Intent,
    /// What was answered, if all of it had arrived: status and body.
    pub answer: Option<(u16, Vec<u8>)>,
}

/// The directory.
#[derive(Debug)]
pub struct Store {}

/// One token, locked against other threads and processes; released when dropped.
#[derive(Debug)]
pub struct Locked<'s> {
    _store: &'s Store,
}

impl Store {
    /// Opens the directory, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be used; the message says what to do.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let _ = options;
        todo!()
    }

    /// Every token, and everything that is wrong.
    pub fn load(&self) -> (Vec<Record>, Vec<Fault>) {
        todo!()
    }

    /// One token.
    ///
    /// # Errors
    /// It cannot be used. `None`: there is none.
    pub fn read(&self, id: &TokenId) -> Result<Option<Record>, Fault> {
        let _ = id;
        todo!()
    }

    /// Saves a login's first generation under a name that nobody has.
    ///
    /// # Errors
    /// See [`SaveError`].
    pub fn create(&self, record: &Record) -> Result<(), SaveError> {
        let _ = record;
        todo!()
    }

    /// Locks one token; waits while another thread or process has it.
    ///
    /// # Errors
    /// The lock's file cannot be had.
    pub fn lock(&self, id: &TokenId) -> std::io::Result<Locked<'_>> {
        let _ = id;
        todo!()
    }

    /// Whether everything that was acknowledged is on the disk. `false` after a failed sync, until the next that holds.
    pub fn is_durable(&self) -> bool {
        todo!()
    }
}

impl Locked<'_> {
    /// What is stored now.
    ///
    /// # Errors
    /// It cannot be used. `None`: it is gone.
    pub fn current(&self) -> Result<Option<Record>, Fault> {
        todo!()
    }

    /// A refresh that was not finished.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn unfinished(&self) -> std::io::Result<Option<Unfinished>> {
        todo!()
    }

    /// Writes down what is about to be asked, and takes the room that the answer and the save will need: without it
    /// nothing may be asked.
    ///
    /// # Errors
    /// No room, or none that lasts.
    pub fn intend(&mut self, intent: &Intent) -> Result<(), SaveError> {
        let _ = intent;
        todo!()
    }

    /// Writes down the answer as it came, before anybody looks at it.
    ///
    /// # Errors
    /// It is not on the disk.
    pub fn answered(&mut self, status: u16, body: &[u8]) -> Result<(), SaveError> {
        let _ = (status, body);
        todo!()
    }

    /// Saves: a generation that is one more than what is stored, or the same with another state. Ends the journal.
    ///
    /// # Errors
    /// See [`SaveError`]; the journal stays.
    pub fn save(&mut self, record: &Record) -> Result<(), SaveError> {
        let _ = record;
        todo!()
    }

    /// Ends the journal: the provider has said no, and nothing changes.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn settle(&mut self) -> std::io::Result<()> {
        todo!()
    }

    /// Removes the token, with all that belongs to it.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(self) -> std::io::Result<()> {
        todo!()
    }
}
