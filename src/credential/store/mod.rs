//! The directory of token files. Everything here blocks: it is called from threads that may wait.
//!
//! | in the directory | what it is |
//! | --- | --- |
//! | `ID.json` | one token, whole whenever it can be seen ([`save`](self)) |
//! | `.wal/ID` | the journal of its refresh: what was asked, what was answered |
//! | `.lock/ID` | what threads and processes lock it by |
//! | `.hw/ID` | the highest generation that it has had |
//! | `.tmp.ID.RANDOM` | a file that is being written; what a crash left is removed at the next start |
//! | `.corrupt-TIME-NAME` | a damaged file, set aside |
//!
//! A refresh: [`Store::lock`] → [`Locked::current`] (somebody else may have been faster) → [`Locked::intend`] → the provider is asked →
//! [`Locked::answered`] → [`Locked::save`]. After a crash, [`Locked::unfinished`] says how far it had come. Only [`Locked`] is held
//! over anything but the store's own work.
//!
//! The guarantee: after the provider's answer has reached us, a crash loses nothing. Between the moment when the provider gives out new
//! tokens and the arrival of its answer nobody can know; we then say so, keep the old record, and recover by ourselves if the
//! provider has a grace period.
//!
//! Somebody may put a file of his own there: a JSON object with `provider`, and `access_token` or `refresh_token`, without
//! `crc32c` and `v`. It is adopted where it lies, as the first generation of a token of that name.
//!
//! Invariants: a file that can be seen is whole; what was acknowledged survives a crash at any instant; nothing outside
//! of the directory is read or written, whatever links say; a file that cannot be used never takes another with it.

mod adopt;
mod directory;
mod disk;
mod fault;
mod file;
mod filesystem;
mod high_water;
mod journal;
mod load;
mod lock;
mod locked;
mod save;
mod seal;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trip;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use rustix::fs::Stat;
use zeroize::Zeroizing;

use super::LOG;
use super::record::document::{self, Envelope, Foreign, Parsed};
use super::record::{Record, TokenId};
use crate::clock::UnixMillis;
use crate::secret::Secret;

use directory::Folder;
use disk::Disk;
use lock::{Lock, Wait};
use save::{Aside, Failed, LARGEST};
use seal::Purpose;

pub use fault::{CORRUPT, Fault, NOT_A_FILE, SEALED, STALE_RESTORE, UNREADABLE, WRONG_MODE, WRONG_OWNER};
pub use locked::Locked;
pub use seal::{Key, parse_key};

/// How long a file is waited for that another process works on, where nobody waits for an answer of it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Files written aside for nobody that can be told are removed when they are that old.
const ABANDONED: Duration = Duration::from_secs(3600);

/// How tokens are kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// `tokens_dir`: 0700, ours.
    pub directory: PathBuf,
    /// `tokens.encryption_key` (see [`parse_key`]); `None`: token files are readable JSON.
    pub encryption_key: Option<Secret>,
    /// `tokens.allow_network_filesystem`.
    pub allow_network_filesystem: bool,
}

/// Why the directory cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

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
#[derive(Clone)]
pub struct Unfinished {
    /// What was asked.
    pub intent: Intent,
    /// What was answered, if all of it had arrived: status and body.
    pub answer: Option<(u16, Vec<u8>)>,
}

impl std::fmt::Debug for Unfinished {
    /// Without the answer, which holds tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status = self.answer.as_ref().map(|(status, _)| status);
        f.debug_struct("Unfinished").field("intent", &self.intent).field("status", &status).finish_non_exhaustive()
    }
}

/// The directory.
#[derive(Debug)]
pub struct Store {
    root: Folder,
    journals: Folder,
    locks: Folder,
    marks: Folder,
    key: Option<Key>,
    /// What the disk has failed to keep, until it is saved.
    unkept: Mutex<BTreeSet<TokenId>>,
}

/// What a file holds that can be used.
enum Found {
    Ours {
        record: Box<Record>,
        /// What the file says, if a higher generation was there before: `record` has that one.
        stale: Option<u64>,
    },
    Foreign(Foreign),
}

impl Store {
    /// Opens the directory, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be used; the message says what to do.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        Self::open_on(options, Disk::default())
    }

    fn open_on(options: &Options, disk: Disk) -> Result<Self, OpenError> {
        let key = options.encryption_key.as_ref().map(|key| parse_key(key.expose())).transpose();
        let key = key.map_err(|message| OpenError(format!("tokens.encryption_key: {message}")))?;
        let root = Folder::open(&options.directory, options.allow_network_filesystem, disk)?;
        let below = |name: &str| {
            let failed = |error: io::Error| OpenError(format!("{}: {error}", options.directory.join(name).display()));
            root.below(name).map_err(failed)
        };
        let (journals, locks, marks) = (below(".wal")?, below(".lock")?, below(".hw")?);
        let store = Self { root, journals, locks, marks, key, unkept: Mutex::default() };
        if let Err(error) = store.sweep() {
            log::warn!(target: LOG, "{}: {error}", options.directory.display());
        }
        Ok(store)
    }

    /// One token.
    ///
    /// # Errors
    /// It cannot be used. `None`: there is none.
    pub fn read(&self, id: &TokenId) -> Result<Option<Record>, Fault> {
        match self.look(&file_name(id))? {
            None => Ok(None),
            Some(Found::Ours { record, .. }) => Ok(Some(*record)),
            Some(Found::Foreign(_)) => self.adopt(id),
        }
    }

    /// Saves a login's first generation under a name that nobody has. Must not be called by who holds that name's lock.
    ///
    /// # Errors
    /// See [`SaveError`].
    pub fn create(&self, record: &Record) -> Result<(), SaveError> {
        let _lock = self.lock(&record.id)?;
        match self.look(&file_name(&record.id)).map_err(SaveError::Fault)? {
            None => self.write(record, None),
            // The last try has come as far as the name.
            Some(Found::Ours { record: there, .. })
                if (there.generation, &there.lineage) == (record.generation, &record.lineage) =>
            {
                self.write(record, None)
            }
            Some(Found::Ours { record: there, .. }) => Err(SaveError::Overtaken(there.generation)),
            Some(Found::Foreign(_)) => Err(SaveError::Overtaken(1)),
        }
    }

    /// Locks one token; waits while another thread or process has it.
    ///
    /// # Errors
    /// The lock's file cannot be had.
    pub fn lock(&self, id: &TokenId) -> io::Result<Locked<'_>> {
        let lock = Lock::take(&self.locks, id.as_str(), Wait::Forever)?;
        Ok(Locked::new(self, id.clone(), lock))
    }

    /// Whether everything that was acknowledged is on the disk. `false` after a failed sync, until what could not be kept is saved.
    pub fn is_durable(&self) -> bool {
        self.unkept.lock().is_empty()
    }

    /// What is under that name. The mark is read before the file, so that one who saves meanwhile makes nothing look stale.
    fn look(&self, name: &str) -> Result<Option<Found>, Fault> {
        let id = name.strip_suffix(EXTENSION).and_then(TokenId::parse);
        let mark = id.as_ref().map_or(0, |id| high_water::read(&self.marks, id));
        let Some(bytes) = file::read(&self.root, name, LARGEST)? else { return Ok(None) };
        let path = self.root.path_of(name);
        let record = match document::parse(&bytes) {
            Ok(Parsed::Foreign(foreign)) => return Ok(Some(Found::Foreign(foreign))),
            Ok(Parsed::Record(record)) => record,
            Ok(Parsed::Sealed(envelope)) => {
                self.unseal(&envelope).ok_or_else(|| Fault::sealed(&path, self.key.is_some()))?
            }
            Err(malformed) if malformed.is_damage() => return Err(Fault::damaged(&path, &malformed.to_string())),
            Err(malformed) => return Err(Fault::not_understood(&path, &malformed.to_string())),
        };
        if id.as_ref() != Some(&record.id) {
            return Err(Fault::misnamed(&path, record.id.as_str()));
        }
        Ok(Some(aged(record, mark)))
    }

    fn unseal(&self, envelope: &Envelope) -> Option<Box<Record>> {
        let Envelope { id, provider, generation, sealed } = envelope;
        let purpose = Purpose::Record { provider, id: id.as_str(), generation: *generation };
        let plain = self.key.as_ref()?.open(&STANDARD.decode(sealed).ok()?, purpose)?;
        match document::parse(&plain) {
            Ok(Parsed::Record(record)) if record.id == *id && record.generation == *generation => Some(record),
            _ => None,
        }
    }

    /// Puts a token's file in its place, whatever is there.
    fn write(&self, record: &Record, reserved: Option<Aside<'_>>) -> Result<(), SaveError> {
        let bytes = self.encode(record)?;
        let name = file_name(&record.id);
        let failed = |failed| self.failed(&self.root, &name, &record.id, failed);
        let aside = match reserved {
            Some(aside) => aside,
            None => Aside::create(&self.root, &record.id).map_err(|error| failed(error.into()))?,
        };
        aside.place(&bytes, &name).map_err(failed)?;
        self.unkept.lock().remove(&record.id);
        self.mark(&record.id, record.generation);
        Ok(())
    }

    fn encode(&self, record: &Record) -> io::Result<Zeroizing<Vec<u8>>> {
        let plain = record.to_json();
        let bytes = match &self.key {
            None => plain,
            Some(key) => {
                let (provider, id) = (&*record.provider, record.id.as_str());
                let purpose = Purpose::Record { provider, id, generation: record.generation };
                let sealed = key.seal(&plain, purpose).ok_or_else(|| io::Error::other("no random bytes to be had"))?;
                let (id, provider) = (record.id.clone(), provider.to_owned());
                Envelope { id, provider, generation: record.generation, sealed: STANDARD.encode(sealed) }.to_json()
            }
        };
        if bytes.len() > LARGEST {
            let what =
                format!("the token is too large: its file would have {} bytes of at most {LARGEST}", bytes.len());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        Ok(bytes)
    }

    /// Takes note of what the disk has failed to keep, and says where that was.
    fn failed(&self, folder: &Folder, name: &str, id: &TokenId, failed: Failed) -> io::Error {
        if failed.in_sync {
            self.unkept.lock().insert(id.clone());
        }
        let what = format!("{}: {}", folder.path_of(name).display(), failed.error);
        io::Error::new(failed.error.kind(), what)
    }

    /// What is saved is saved: a mark that cannot be set only notices less.
    fn mark(&self, id: &TokenId, generation: u64) {
        if let Err(error) = high_water::raise(&self.marks, id, generation) {
            log::warn!(target: LOG, "{}: {error}", self.marks.path_of(id.as_str()).display());
        }
    }

    /// Removes files written aside that nobody will put in place any more: their tokens' locks are free.
    fn sweep(&self) -> io::Result<()> {
        for name in self.root.names()? {
            let abandoned = match save::aside(&name) {
                None => continue,
                Some(Some(id)) => {
                    let lock = Lock::take(&self.locks, id.as_str(), Wait::AtMost(Duration::ZERO));
                    if lock.is_ok() {
                        self.root.unlink(&name)?;
                    }
                    continue;
                }
                Some(None) => self.root.stat(&name)?.is_some_and(|stat| age(&stat) > Some(ABANDONED)),
            };
            if abandoned {
                self.root.unlink(&name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Store {
    /// For the tests of others: from now on the disk takes nothing.
    pub fn fill_disk(&self) {
        self.root.disk.trip.full_after(0);
    }

    /// There is room again.
    pub fn free_disk(&self) {
        self.root.disk.trip.heal();
    }
}

/// Behind a token's name.
const EXTENSION: &str = ".json";

fn file_name(id: &TokenId) -> String {
    format!("{id}{EXTENSION}")
}

/// A file that is older than what was there counts as that generation, so that the next one is higher than all.
fn aged(mut record: Box<Record>, mark: u64) -> Found {
    if record.generation >= mark {
        return Found::Ours { record, stale: None };
    }
    let stale = Some(record.generation);
    record.generation = mark;
    record.reason.get_or_insert_with(|| STALE_RESTORE.to_owned());
    Found::Ours { record, stale }
}

/// How long ago a file was written; `None`: in the future.
fn age(stat: &Stat) -> Option<Duration> {
    let seconds = Duration::from_secs(u64::try_from(stat.st_mtime).ok()?);
    #[allow(clippy::useless_conversion, reason = "its width is the platform's")]
    let nanoseconds = Duration::from_nanos(stat.st_mtime_nsec.into());
    let written = SystemTime::UNIX_EPOCH.checked_add(seconds + nanoseconds)?;
    SystemTime::now().duration_since(written).ok()
}
