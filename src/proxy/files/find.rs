//! Which file answers a request: itself, a directory's index, the fallback, and, if the client takes it, one that is
//! compressed beforehand and lies beside it.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::beneath::Root;
use crate::policy::coding::Coding;
use crate::policy::conditional::whole_seconds;
use crate::policy::file_path::Wanted;
use crate::table::route::Files;

/// An open file.
#[derive(Debug)]
pub struct Found {
    /// Open for reading.
    pub file: File,
    /// Bytes, when it was opened.
    pub length: u64,
    /// In whole seconds.
    pub modified: SystemTime,
    /// An entity tag, strong, with its quotes.
    pub tag: String,
    /// How it is compressed, beforehand.
    pub coding: Option<Coding>,
    /// The name that tells its type: without the coding's suffix.
    pub name: Vec<u8>,
}

/// What is there.
#[derive(Debug)]
pub enum Finding {
    /// A file.
    File(Found),
    /// A directory, asked for without the slash.
    Directory,
}

/// Why there is nothing to serve.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// There is no such file.
    #[error("there is no such file")]
    Nothing,
    /// There is something that may not be served.
    #[error("not served: {0}")]
    Refused(io::Error),
    /// The system could not tell.
    #[error("cannot be read: {0}")]
    Failed(io::Error),
}

/// Looks for what is wanted. `accepted`: the codings that the client takes, the most welcome first.
///
/// # Errors
/// When there is nothing to serve.
pub fn find(files: &Files, wanted: &Wanted, accepted: &[Coding]) -> Result<Finding, Missing> {
    let root = Root::open(&files.root).map_err(missing)?;
    match (look(&root, wanted, &files.index), &files.fallback) {
        (Err(Missing::Nothing), Some(fallback)) => plain_file(&root, fallback.as_bytes().to_vec()),
        (finding, _) => finding,
    }
    .map(|finding| match finding {
        Finding::File(found) => Finding::File(beside(&root, found, accepted)),
        Finding::Directory => Finding::Directory,
    })
}

fn look(root: &Root<'_>, wanted: &Wanted, index: &str) -> Result<Finding, Missing> {
    let opened = root.open_below(&wanted.path).map_err(missing)?;
    let metadata = opened.metadata().map_err(Missing::Failed)?;
    match (metadata.is_dir(), wanted.as_directory) {
        (false, false) => regular(opened, &metadata, wanted.path.clone()).map(Finding::File),
        (false, true) => Err(Missing::Nothing),
        (true, false) => Ok(Finding::Directory),
        (true, true) if index.is_empty() => Err(Missing::Nothing),
        (true, true) if wanted.path.is_empty() => plain_file(root, index.as_bytes().to_vec()),
        (true, true) => plain_file(root, [&wanted.path, &b"/"[..], index.as_bytes()].concat()),
    }
}

/// A file that is one; a directory is nothing here.
fn plain_file(root: &Root<'_>, path: Vec<u8>) -> Result<Finding, Missing> {
    let opened = root.open_below(&path).map_err(missing)?;
    let metadata = opened.metadata().map_err(Missing::Failed)?;
    if metadata.is_dir() { Err(Missing::Nothing) } else { regular(opened, &metadata, path).map(Finding::File) }
}

fn regular(file: File, metadata: &Metadata, name: Vec<u8>) -> Result<Found, Missing> {
    if !metadata.is_file() {
        return Err(Missing::Refused(io::Error::other("it is not a regular file")));
    }
    let modified = whole_seconds(metadata.modified().map_err(Missing::Failed)?);
    Ok(Found { file, length: metadata.len(), modified, tag: tag(metadata, None), coding: None, name })
}

/// The file itself, or the most welcome of those that are compressed beforehand. One that is older than the file was made
/// from an earlier version of it.
fn beside(root: &Root<'_>, found: Found, accepted: &[Coding]) -> Found {
    accepted.iter().find_map(|coding| compressed(root, &found, *coding)).unwrap_or(found)
}

fn compressed(root: &Root<'_>, plain: &Found, coding: Coding) -> Option<Found> {
    let path = [&plain.name, coding.suffix().as_bytes()].concat();
    let file = root.open_below(&path).ok()?;
    let metadata = file.metadata().ok().filter(Metadata::is_file)?;
    let modified = metadata.modified().map(whole_seconds).ok().filter(|modified| *modified >= plain.modified)?;
    Some(Found {
        file,
        length: metadata.len(),
        modified,
        tag: tag(&metadata, Some(coding)),
        coding: Some(coding),
        name: plain.name.clone(),
    })
}

/// Other bytes have another tag: a file that is replaced has another inode, one that is written to another change time,
/// whatever its modification time is set to afterwards. Hashed, since inodes are nobody's business.
fn tag(metadata: &Metadata, coding: Option<Coding>) -> String {
    let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    let mut hash = Sha256::new();
    hash.update(metadata.ino().to_le_bytes());
    hash.update(metadata.len().to_le_bytes());
    times.iter().for_each(|part| hash.update(part.to_le_bytes()));
    let digest = hash.finalize();
    let short = hex::encode(digest.get(..8).unwrap_or_default());
    coding.map_or_else(|| format!("\"{short}\""), |coding| format!("\"{short}-{}\"", coding.name()))
}

fn missing(error: io::Error) -> Missing {
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Missing::Nothing,
        Some(Errno::XDEV) => Missing::Refused(io::Error::other("a link leads out of the root")),
        Some(Errno::LOOP | Errno::ACCESS | Errno::PERM | Errno::NXIO | Errno::NODEV | Errno::AGAIN) => {
            Missing::Refused(error)
        }
        _ => Missing::Failed(error),
    }
}
