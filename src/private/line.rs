//! One line of random bits in a file that only this process's user can read, there from the first start: the admin
//! listener's token, the key of cookies.
//!
//! The file appears whole or not at all, with its mode from the beginning: written aside, synced, then linked into place,
//! which fails when there is one already (so that two starts at once agree on one line).
//!
//! Invariant: a file that somebody else could have read or put there is refused (`a_file_that_others_may_read_is_refused`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::DirectoryError;
use crate::secret::{self, Secret};

/// A line of the operator's own making must not be guessable.
const SHORTEST: usize = 32;

/// Longer is no such line.
const LONGEST: u64 = 1024;

/// Why the line cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The system refuses.
    #[error("{path}: {source}")]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A link, a pipe, a directory.
    #[error("{0} is not a regular file (a symbolic link does not count)")]
    NotAFile(PathBuf),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Somebody else's.
    #[error("{path} belongs to user {owner}, not to the user this process runs as: `chown` it")]
    Owner {
        /// What.
        path: PathBuf,
        /// Whose.
        owner: u32,
    },
    /// Others may read it.
    #[error("{path} has mode {mode:04o}, which lets others in: `chmod 600 {path}`")]
    Mode {
        /// What.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not one line of printable characters, long enough.
    #[error("{0} does not hold one line of at least 32 printable characters; remove it to get a new one")]
    Malformed(PathBuf),
    /// The system has no randomness.
    #[error("no random bytes to be had: {0}")]
    Random(getrandom::Error),
}

/// Reads the line of a private directory; makes directory and line (64 hex digits) when there are none.
///
/// # Errors
/// See [`LineError`]; every message says what to do.
pub fn open(directory: &Path, name: &str) -> Result<Secret, LineError> {
    super::directory(directory)?;
    match find(directory, name) {
        Err(LineError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            create(directory, name)?;
            find(directory, name)
        }
        outcome => outcome,
    }
}

/// Reads a line that another process made.
///
/// # Errors
/// See [`LineError`].
pub fn find(directory: &Path, name: &str) -> Result<Secret, LineError> {
    let path = &*directory.join(name);
    let io = |source| LineError::Io { path: path.to_owned(), source };
    if fs::symlink_metadata(path).map_err(io)?.is_symlink() {
        return Err(LineError::NotAFile(path.to_owned()));
    }
    // NOFOLLOW: it may have become a link meanwhile. NONBLOCK: opening a pipe would wait for its writer.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(LineError::NotAFile(path.to_owned()));
    }
    check_private(path, &meta)?;
    let mut text = zeroize::Zeroizing::new(String::new());
    let read = file.take(LONGEST + 1).read_to_string(&mut text);
    // Bytes that are no text are no such line either; their error would be no help.
    let line = if read.is_ok() { text.strip_suffix('\n').unwrap_or(&text) } else { "" };
    let fits = (SHORTEST..=LONGEST as usize).contains(&line.len()) && line.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(Secret::new(line)) } else { Err(LineError::Malformed(path.to_owned())) }
}

/// One that is written nowhere: for a run without files.
///
/// # Errors
/// The system has no randomness.
pub fn fresh() -> Result<Secret, LineError> {
    let random = secret::random().map_err(LineError::Random)?;
    Ok(Secret::new(hex::encode(*random)))
}

fn check_private(path: &Path, meta: &fs::Metadata) -> Result<(), LineError> {
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(LineError::Owner { path: path.to_owned(), owner: meta.uid() });
    }
    match meta.mode() & 0o7777 {
        mode if mode & 0o077 != 0 => Err(LineError::Mode { path: path.to_owned(), mode }),
        _ => Ok(()),
    }
}

fn create(directory: &Path, name: &str) -> Result<(), LineError> {
    let path = &*directory.join(name);
    let line = zeroize::Zeroizing::new(format!("{}\n", fresh()?.expose()));
    let aside = directory.join(format!(".{name}.{}", crate::id::RequestId::fresh()));
    let placed = write_aside(&aside, line.as_bytes()).and_then(|()| place(&aside, path, directory));
    // Whatever became of it, the name aside is not needed any more.
    let _ = fs::remove_file(&aside);
    placed.map_err(|source| LineError::Io { path: path.to_owned(), source })
}

fn write_aside(aside: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(aside)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn place(aside: &Path, path: &Path, directory: &Path) -> io::Result<()> {
    match fs::hard_link(aside, path) {
        // Another start was faster: its line it is.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(directory)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn state() -> tempfile::TempDir {
        tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap()
    }

    fn refused(state: &tempfile::TempDir) -> String {
        open(state.path(), NAME).unwrap_err().to_string()
    }

    fn put(state: &tempfile::TempDir, text: &str, mode: u32) -> PathBuf {
        let path = state.path().join(NAME);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    const NAME: &str = "admin.token";
    const GOOD: &str = "0123456789abcdef0123456789abcdef\n";

    #[test]
    fn the_first_start_makes_one_and_later_ones_keep_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("var/state");
        let first = open(&state, NAME).unwrap();
        let second = open(&state, NAME).unwrap();
        assert_eq!(first.expose(), second.expose());
        assert_eq!((first.expose().len(), format!("{first:?}")), (64, "***".to_owned()));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&state), mode(&state.join(NAME))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "something was left beside it");
    }

    #[test]
    fn starts_at_the_same_time_agree() {
        let state = state();
        let tokens: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| open(state.path(), NAME).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap().expose().to_owned()).collect()
        });
        assert!(tokens.iter().all(|token| *token == tokens[0]));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o660, 0o644] {
            let state = state();
            let path = put(&state, GOOD, mode);
            let message = refused(&state);
            assert!(message.contains("chmod 600") && message.contains(&format!("{mode:04o}")), "{message}");
            fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
            open(state.path(), NAME).unwrap();
        }
    }

    #[test]
    fn a_directory_that_others_may_enter_is_closed() {
        let state = state();
        fs::set_permissions(state.path(), Permissions::from_mode(0o755)).unwrap();
        open(state.path(), NAME).unwrap();
        assert_eq!(fs::metadata(state.path()).unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn a_state_directory_may_be_a_link() {
        let (state, elsewhere) = (state(), tempfile::tempdir().unwrap());
        let link = elsewhere.path().join("state");
        symlink(state.path(), &link).unwrap();
        let token = open(&link, NAME).unwrap();
        assert_eq!(token.expose(), open(state.path(), NAME).unwrap().expose());
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let linked = state();
        let elsewhere = linked.path().join("elsewhere");
        fs::write(&elsewhere, GOOD).unwrap();
        symlink(&elsewhere, linked.path().join(NAME)).unwrap();
        assert!(refused(&linked).contains("symbolic link"));
        let directory = state();
        fs::create_dir(directory.path().join(NAME)).unwrap();
        assert!(refused(&directory).contains("not a regular file"));
        let pipe = state();
        let status = std::process::Command::new("mkfifo").arg(pipe.path().join(NAME)).status().unwrap();
        assert!(status.success() && refused(&pipe).contains("not a regular file"));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "\n", "short\n", "0123456789abcdef 0123456789abcdef\n", &"x".repeat(2000)] {
            let state = state();
            put(&state, text, 0o600);
            assert!(refused(&state).contains("does not hold one line"), "{text:?}");
        }
        let binary = state();
        let path = put(&binary, "", 0o600);
        fs::write(path, [0xff; 64]).unwrap();
        assert!(refused(&binary).contains("does not hold one line"));
    }
}
