//! What can be wrong with one file: a word for programs, and for people a sentence that names the file and says what to do.

use std::io;
use std::path::Path;

use rustix::fs::FileType;

/// It is damaged: cut off, or changed by something that is not countersign.
pub const CORRUPT: &str = "corrupt";
/// It is older than what was there.
pub const STALE_RESTORE: &str = "stale_restore";
/// Others may read it.
pub const WRONG_MODE: &str = "wrong_mode";
/// It is somebody else's.
pub const WRONG_OWNER: &str = "wrong_owner";
/// It is a link, a pipe, a device, a directory, or has a second name.
pub const NOT_A_FILE: &str = "not_a_file";
/// It cannot be read, or says something that is not understood.
pub const UNREADABLE: &str = "unreadable";
/// It is encrypted, and the key is another one or missing.
pub const SEALED: &str = "sealed";

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

impl Fault {
    /// With a sentence that goes on from the file's path.
    pub(super) fn new(path: &Path, code: &'static str, sentence: &str) -> Self {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { file, code, message: format!("{}{sentence}", path.display()) }
    }

    pub(super) fn damaged(path: &Path, why: &str) -> Self {
        Self::new(path, CORRUPT, &format!(" is damaged ({why}): restore it from a backup, or log in again"))
    }

    pub(super) fn set_aside(path: &Path, why: &str, aside: &str) -> Self {
        let sentence = format!(
            " was damaged ({why}) and is now {aside} beside it: restore it from a backup, or log in again. If it was edited by \
             hand, take `crc32c` and `v` out of it and put it back"
        );
        Self::new(path, CORRUPT, &sentence)
    }

    pub(super) fn stale(path: &Path, generation: u64, mark: u64) -> Self {
        let sentence = format!(
            " is generation {generation}, and generation {mark} was there before: it comes from a backup. It is refreshed once; \
             if its refresh token has been spent, log in again"
        );
        Self::new(path, STALE_RESTORE, &sentence)
    }

    pub(super) fn mode(path: &Path, mode: u32) -> Self {
        let sentence = format!(" has mode {mode:04o}, which lets others in: `chmod 600 {}`", path.display());
        Self::new(path, WRONG_MODE, &sentence)
    }

    pub(super) fn owner(path: &Path, owner: u32) -> Self {
        let sentence = format!(" belongs to user {owner}, not to the user this process runs as: `chown` it");
        Self::new(path, WRONG_OWNER, &sentence)
    }

    pub(super) fn kind(path: &Path, kind: FileType) -> Self {
        let what = match kind {
            FileType::Symlink => "a symbolic link: put the file itself there",
            FileType::Directory => "a directory: move it elsewhere",
            FileType::Fifo => "a pipe: remove it",
            FileType::Socket => "a socket: remove it",
            _ => "a device: remove it",
        };
        Self::new(path, NOT_A_FILE, &format!(" is not a regular file but {what}"))
    }

    pub(super) fn links(path: &Path, links: u64) -> Self {
        let sentence = format!(" has {links} names (hard links), so that others may change it: remove the others");
        Self::new(path, NOT_A_FILE, &sentence)
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let sentence = format!(" cannot be read: {error}; give the user this process runs as access to it");
        Self::new(path, UNREADABLE, &sentence)
    }

    pub(super) fn not_adopted(path: &Path, error: &io::Error) -> Self {
        let sentence =
            format!(" cannot be taken over: {error}; see to the disk, and that this process may write there");
        Self::new(path, UNREADABLE, &sentence)
    }

    pub(super) fn not_understood(path: &Path, why: &str) -> Self {
        Self::new(
            path,
            UNREADABLE,
            &format!(" is not used: {why}; move it elsewhere, or `countersign token import` it"),
        )
    }

    pub(super) fn too_large(path: &Path, size: u64, largest: usize) -> Self {
        let sentence =
            format!(" has {size} bytes, more than the {largest} that a token file may have: move it elsewhere");
        Self::new(path, UNREADABLE, &sentence)
    }

    pub(super) fn misnamed(path: &Path, id: &str) -> Self {
        let sentence = format!(
            " is the file of another token, {id}, under another name: remove it if it is a copy, or name it {id}.json. (Two \
             files with one refresh token would have it revoked.)"
        );
        Self::new(path, UNREADABLE, &sentence)
    }

    pub(super) fn sealed(path: &Path, has_key: bool) -> Self {
        let why = if has_key {
            "`tokens.encryption_key` is not the key it was encrypted with: set that one"
        } else {
            "`tokens.encryption_key` is not set: set the key it was encrypted with"
        };
        Self::new(path, SEALED, &format!(" is encrypted, and {why}, or log in again"))
    }
}
