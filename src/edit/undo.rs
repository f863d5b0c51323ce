//! What was changed last, so that it can be taken back: who, when, what, and what the files said before.
//!
//! Each change is a file of its own in `state_dir/undo`, 0600 as it may hold secrets, written before the change is made. What lists them
//! never shows a file's text.
//!
//! Invariants: a change is taken back only while the files say what it made them say (`a_file_that_was_edited_meanwhile_is_left_alone`);
//! a change that was cut short by the end of the process is none (`what_was_cut_short_is_no_change`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::Change;
use super::file::{self, Digest};
use crate::clock::UnixMillis;
use crate::private;

/// Of `state_dir`.
const DIRECTORY: &str = "undo";

/// How many changes are remembered.
const MOST: usize = 50;

/// How much of the disk they may take; the oldest go first.
const MOST_BYTES: u64 = 64 << 20;

/// Whose change it is, and what it does: for people, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Who has asked for it.
    pub who: String,
    /// In a few words: `demo/production: route /a1 added`.
    pub what: String,
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Its number.
    pub id: u64,
    /// When.
    pub at: UnixMillis,
    /// Who and what.
    pub note: Note,
    /// The files.
    pub files: Vec<PathBuf>,
    /// Whether they still say what it made them say.
    pub undoable: bool,
}

/// As it is on the disk.
#[derive(Serialize, Deserialize)]
struct Record {
    id: u64,
    at: UnixMillis,
    who: String,
    what: String,
    files: Vec<Before>,
}

/// One file.
#[derive(Serialize, Deserialize)]
struct Before {
    path: PathBuf,
    /// Digests in hex; `None`: the file was not there.
    before: Option<String>,
    after: Option<String>,
    /// What it said, in base64.
    was: Option<String>,
}

/// The journal.
#[derive(Debug)]
pub struct Undo {
    directory: PathBuf,
    /// The highest number that was given: none is given twice, as somebody may still look at it.
    given: AtomicU64,
}

impl Undo {
    /// The one of a state directory.
    pub fn of(state_dir: &Path) -> Self {
        let directory = state_dir.join(DIRECTORY);
        file::sweep(&directory, |name| name.ends_with(".json"));
        Self { directory, given: AtomicU64::new(0) }
    }

    /// Remembers a change that is about to be made; `was`: what each file says now. Answers its number.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn remember(
        &self,
        note: &Note,
        changes: &[Change],
        was: &[Option<Vec<u8>>],
        at: UnixMillis,
    ) -> io::Result<u64> {
        private::directory(&self.directory).map_err(io::Error::other)?;
        let numbers = self.numbers();
        let id = numbers.last().copied().unwrap_or(0).max(self.given.load(Ordering::Relaxed)) + 1;
        self.given.store(id, Ordering::Relaxed);
        let files = changes.iter().zip(was).map(|(change, was)| Before::of(change, was.as_deref())).collect();
        let record = Record { id, at, who: note.who.clone(), what: note.what.clone(), files };
        let text = zeroize::Zeroizing::new(serde_json::to_vec(&record)?);
        file::write(&self.path(id), Some(&text))?;
        self.forget_the_oldest(&numbers);
        Ok(id)
    }

    /// A change was not made after all, or has been taken back.
    pub fn forget(&self, id: u64) {
        if let Err(error) = file::write(&self.path(id), None) {
            log::warn!("{}: {error}", self.path(id).display());
        }
    }

    /// The changes, the latest first. One that never came about is forgotten.
    pub fn list(&self) -> Vec<Past> {
        let numbers = self.numbers();
        let records: Vec<Record> = numbers.iter().rev().filter_map(|id| self.read(*id)).collect();
        let mut past: Vec<Past> = Vec::with_capacity(records.len());
        for record in records {
            if past.is_empty() && record.never_came_about() {
                self.forget(record.id);
                continue;
            }
            past.push(record.shown());
        }
        past
    }

    /// What takes a change back.
    pub fn reverse(&self, id: u64) -> Option<Vec<Change>> {
        self.read(id)?.files.iter().rev().map(Before::reverse).collect()
    }

    fn read(&self, id: u64) -> Option<Record> {
        let text = zeroize::Zeroizing::new(file::look(&self.path(id)).ok()??.bytes);
        match serde_json::from_slice(&text) {
            Ok(record) => Some(record),
            // The parser's words could quote what stands there.
            Err(_) => {
                log::warn!("{} is not what was written", self.path(id).display());
                None
            }
        }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.directory.join(format!("{id:010}.json"))
    }

    /// In ascending order.
    fn numbers(&self) -> Vec<u64> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok();
        let mut numbers: Vec<u64> = entries.filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// `numbers`: those before the latest.
    fn forget_the_oldest(&self, numbers: &[u64]) {
        let size = |id: &u64| fs::metadata(self.path(*id)).map_or(0, |meta| meta.len());
        let mut bytes = 0u64;
        for (place, id) in numbers.iter().rev().enumerate() {
            bytes = bytes.saturating_add(size(id));
            if place + 1 >= MOST || bytes > MOST_BYTES {
                self.forget(*id);
            }
        }
    }
}

impl Record {
    fn shown(self) -> Past {
        Past {
            undoable: self.files.iter().all(|file| file.says(file.after.as_deref())),
            id: self.id,
            at: self.at,
            note: Note { who: self.who, what: self.what },
            files: self.files.into_iter().map(|file| file.path).collect(),
        }
    }

    /// Written down, and then the process ended; or taken back, and then it ended.
    fn never_came_about(&self) -> bool {
        let as_before = self.files.iter().all(|file| file.says(file.before.as_deref()));
        let as_after = self.files.iter().all(|file| file.says(file.after.as_deref()));
        as_before && !as_after
    }
}

impl Before {
    fn of(change: &Change, was: Option<&[u8]>) -> Self {
        Self {
            // The next process may be started from elsewhere.
            path: std::path::absolute(&change.path).unwrap_or_else(|_| change.path.clone()),
            before: change.before.as_ref().map(hex::encode),
            after: change.after.as_deref().map(|after| hex::encode(file::digest(after))),
            was: was.map(|was| STANDARD.encode(was)),
        }
    }

    fn says(&self, digest: Option<&str>) -> bool {
        let seen = file::look(&self.path).ok().map(|seen| seen.map(|seen| hex::encode(seen.digest)));
        seen.is_some_and(|seen| seen.as_deref() == digest)
    }

    /// `None`: it is not what was written.
    fn reverse(&self) -> Option<Change> {
        let was = match &self.was {
            None => None,
            Some(was) => Some(STANDARD.decode(was).ok()?),
        };
        let digest = |hex: &String| -> Option<Digest> { hex::decode(hex).ok()?.try_into().ok() };
        let intact = was.as_deref().map(file::digest) == self.before.as_ref().and_then(digest);
        let before = self.after.as_ref().map(digest);
        let before = match before {
            None => None,
            Some(digest) => Some(digest?),
        };
        intact.then(|| Change { path: self.path.clone(), before, after: was })
    }
}
