//! What a refresh leaves on the disk while it runs, in `.wal/ID`: first what is about to be asked, then what was answered, as it
//! came. The file has its full size from the beginning, so that a full disk is noticed before anything is asked.
//!
//! An entry is `CSJ1`, its kind, the length and the CRC-32C of its payload, and that. The answer repeats the random bytes of its
//! intent, so that what an earlier refresh has left behind never answers a later one. An entry that is not whole is none.

use std::fs::File;
use std::io;

use serde_json::{Value, json};

use super::Intent;
use super::directory::Folder;
use super::disk::Disk;
use super::file;
use super::save::Failed;
use super::seal::{Key, Purpose};
use crate::credential::record::TokenId;
use crate::id::RequestId;

/// Room for an intent and the largest answer, sealed.
pub const LENGTH: usize = 128 * 1024;

const MAGIC: &[u8; 4] = b"CSJ1";
/// Magic, kind, length, checksum.
const HEAD: usize = 13;
const INTENT: u8 = 1;
const ANSWER: u8 = 2;
const SEALED_ANSWER: u8 = 3;
/// Of the intent's random bytes, as hex digits.
const NONCE: usize = 32;

/// A journal that a refresh has opened.
#[derive(Debug)]
pub struct Journal {
    file: File,
    disk: Disk,
    id: TokenId,
    generation: u64,
    nonce: String,
    /// Where the answer begins.
    end: usize,
}

/// What a journal says.
#[derive(Debug, PartialEq, Eq)]
pub struct Entries {
    /// What was asked.
    pub intent: Intent,
    /// What was answered.
    pub answer: Option<Answer>,
    nonce: String,
}

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    is_sealed: bool,
    payload: Vec<u8>,
}

impl Journal {
    /// Takes the room, and writes down what is about to be asked.
    pub fn begin(folder: &Folder, id: &TokenId, intent: &Intent) -> Result<Self, Failed> {
        let is_new = folder.stat(id.as_str())?.is_none();
        let file = folder.write(id.as_str())?;
        check(folder, id, &file)?;
        let disk = folder.disk.clone();
        disk.reserve(&file, LENGTH as u64)?;
        let nonce = RequestId::fresh().to_string();
        let mut entry = entry(INTENT, &intent_to_json(intent, &nonce));
        let end = entry.len();
        // Ends what may be left of an earlier answer.
        entry.extend_from_slice(&[0; HEAD]);
        disk.write_at(&file, &entry, 0)?;
        disk.sync(&file).map_err(Failed::in_sync)?;
        if is_new {
            folder.sync().map_err(Failed::in_sync)?;
        }
        Ok(Self { file, disk, id: id.clone(), generation: intent.generation, nonce, end })
    }

    /// Writes down what was answered.
    pub fn answer(&self, status: u16, body: &[u8], key: Option<&Key>) -> Result<(), Failed> {
        let plain = [self.nonce.as_bytes(), &status.to_be_bytes(), body].concat();
        let plain = zeroize::Zeroizing::new(plain);
        let entry = match key {
            None => entry(ANSWER, &plain),
            Some(key) => {
                let purpose =
                    Purpose::Answer { id: self.id.as_str(), generation: self.generation, nonce: self.nonce.as_bytes() };
                let sealed = key.seal(&plain, purpose).ok_or_else(|| io::Error::other("no random bytes to be had"))?;
                entry(SEALED_ANSWER, &sealed)
            }
        };
        let entry = zeroize::Zeroizing::new(entry);
        if self.end + entry.len() > LENGTH {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge).into());
        }
        self.disk.write_at(&self.file, &entry, self.end as u64)?;
        self.disk.sync(&self.file).map_err(Failed::in_sync)
    }
}

/// Ends a journal, if there is one; nothing of what it said stays.
pub fn clear(folder: &Folder, id: &TokenId) -> io::Result<()> {
    let Some(file) = folder.change(id.as_str())? else { return Ok(()) };
    check(folder, id, &file)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(LENGTH).min(LENGTH);
    folder.disk.write_at(&file, &vec![0; length], 0)?;
    folder.disk.sync(&file)
}

/// What is written must be ours alone.
fn check(folder: &Folder, id: &TokenId, file: &File) -> io::Result<()> {
    let stat = file::named(folder, id.as_str(), file)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let outcome = file::check(&folder.path_of(id.as_str()), &stat, LENGTH);
    outcome.map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault.message))
}

/// Reads a journal's bytes. `None`: nothing was about to be asked.
pub fn parse(bytes: &[u8]) -> Option<Entries> {
    let (INTENT, intent, rest) = next(bytes)? else { return None };
    let (intent, nonce) = intent_of_json(intent)?;
    let answer = match next(rest) {
        Some((kind @ (ANSWER | SEALED_ANSWER), payload, _)) => {
            Some(Answer { is_sealed: kind == SEALED_ANSWER, payload: payload.to_vec() })
        }
        _ => None,
    };
    Some(Entries { intent, answer, nonce })
}

impl Entries {
    /// The answer's status and body; `None`: there is none to this intent.
    ///
    /// # Errors
    /// It is sealed, and does not open.
    pub fn open_answer(&self, id: &TokenId, key: Option<&Key>) -> io::Result<Option<(u16, Vec<u8>)>> {
        let Some(answer) = &self.answer else { return Ok(None) };
        if !answer.is_sealed {
            return Ok(self.split(&answer.payload));
        }
        let purpose =
            Purpose::Answer { id: id.as_str(), generation: self.intent.generation, nonce: self.nonce.as_bytes() };
        let opened = key.and_then(|key| key.open(&answer.payload, purpose));
        let closed = || io::Error::new(io::ErrorKind::InvalidData, "the journal is encrypted with another key");
        opened.map(|plain| self.split(&plain)).ok_or_else(closed)
    }

    fn split(&self, plain: &[u8]) -> Option<(u16, Vec<u8>)> {
        let (nonce, rest) = plain.split_at_checked(NONCE)?;
        let (status, body) = rest.split_first_chunk::<2>()?;
        (nonce == self.nonce.as_bytes()).then(|| (u16::from_be_bytes(*status), body.to_vec()))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.payload);
    }
}

fn entry(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD * 2 + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.push(kind);
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&checksum(kind, payload).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The first entry's kind and payload, and what comes after it.
fn next(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, rest) = bytes.strip_prefix(MAGIC)?.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let (payload, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    (checksum(*kind, payload) == u32::from_be_bytes(*sum)).then_some((*kind, payload, rest))
}

fn checksum(kind: u8, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[kind]), payload)
}

fn intent_to_json(intent: &Intent, nonce: &str) -> Vec<u8> {
    let Intent { generation, refresh_sha256, started_at } = intent;
    json!({ "generation": generation, "refresh_sha256": refresh_sha256, "started_at": started_at, "nonce": nonce })
        .to_string()
        .into_bytes()
}

fn intent_of_json(bytes: &[u8]) -> Option<(Intent, String)> {
    let object: Value = serde_json::from_slice(bytes).ok()?;
    let intent = Intent {
        generation: object.get("generation")?.as_u64()?,
        refresh_sha256: object.get("refresh_sha256")?.as_str()?.to_owned(),
        started_at: object.get("started_at")?.as_u64()?,
    };
    Some((intent, object.get("nonce")?.as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::disk::Disk;
    use super::super::seal::parse_key;
    use super::*;

    fn intent(generation: u64) -> Intent {
        Intent { generation, refresh_sha256: "ab".repeat(32), started_at: 1_795_313_758_000 }
    }

    fn id() -> TokenId {
        TokenId::parse("idp-a").unwrap()
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(&directory.path().join("wal"), false, Disk::default()).unwrap();
        (directory, folder)
    }

    fn bytes(folder: &Folder) -> Vec<u8> {
        std::fs::read(folder.path_of("idp-a")).unwrap()
    }

    #[test]
    fn every_cut_and_every_flip_is_noticed() {
        let (_directory, folder) = folder();
        Journal::begin(&folder, &id(), &intent(3)).unwrap().answer(200, b"body", None).unwrap();
        let bytes = bytes(&folder);
        assert_eq!(bytes.len(), LENGTH);
        let whole = parse(&bytes).unwrap();
        assert_eq!(whole.intent, intent(3));
        assert_eq!(whole.open_answer(&id(), None).unwrap(), Some((200, b"body".to_vec())));
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for place in 0..used {
            let mut flipped = bytes.clone();
            flipped[place] ^= 0x10;
            for damaged in [&flipped[..], &bytes[..place]] {
                // The intent alone, or nothing: never something else.
                if let Some(entries) = parse(damaged) {
                    assert_eq!((&entries.intent, &entries.answer), (&whole.intent, &None), "byte {place}");
                }
            }
        }
    }

    #[test]
    fn an_earlier_answer_is_not_a_later_ones() {
        let (_directory, folder) = folder();
        Journal::begin(&folder, &id(), &intent(3)).unwrap().answer(200, b"of the third", None).unwrap();
        let third = bytes(&folder);
        Journal::begin(&folder, &id(), &intent(4)).unwrap();
        let fourth = bytes(&folder);
        assert_eq!(parse(&fourth).unwrap().open_answer(&id(), None).unwrap(), None);
        // Also not where the disk has put an old page beside a new one.
        let (_, _, rest) = next(&fourth).unwrap();
        let mixed = [&fourth[..fourth.len() - rest.len()], next(&third).unwrap().2].concat();
        let entries = parse(&mixed).unwrap();
        assert!(entries.answer.is_some());
        assert_eq!(entries.open_answer(&id(), None).unwrap(), None);
    }

    #[test]
    fn the_largest_answer_fits_and_a_larger_one_is_refused() {
        let key = parse_key(&"1".repeat(64)).unwrap();
        for key in [None, Some(&key)] {
            let (_directory, folder) = folder();
            let journal = Journal::begin(&folder, &id(), &intent(3)).unwrap();
            let largest = vec![b'x'; 64 * 1024];
            journal.answer(200, &largest, key).unwrap();
            let answer = parse(&bytes(&folder)).unwrap().open_answer(&id(), key).unwrap();
            assert_eq!(answer, Some((200, largest)));
            let error = journal.answer(200, &vec![b'x'; LENGTH], key).unwrap_err().error;
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        }
    }

    #[test]
    fn a_journal_that_is_over_says_nothing() {
        let (_directory, folder) = folder();
        clear(&folder, &id()).unwrap();
        Journal::begin(&folder, &id(), &intent(3)).unwrap().answer(200, b"secret", None).unwrap();
        clear(&folder, &id()).unwrap();
        let bytes = bytes(&folder);
        assert!(parse(&bytes).is_none() && bytes.iter().all(|byte| *byte == 0) && bytes.len() == LENGTH);
        for nothing in [&b""[..], b"CSJ1", &[0xff; 100], b"CSJ1\x01\xff\xff\xff\xff\0\0\0\0"] {
            assert!(parse(nothing).is_none());
        }
    }
}
