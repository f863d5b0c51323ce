//! Directories that hold secrets or speak for the process: made 0700, or found to be ours and closed to others.
//!
//! A symbolic link is followed: service managers make state directories so, and what counts is where it leads. Whose the
//! link is does not matter either, as the directory behind it must be ours.
//!
//! Invariants: a directory of somebody else's is refused; one of ours is never left open to others.

pub mod line;

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Why a private directory could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It can't be made, read or closed.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{0} is not a directory")]
    NotADirectory(PathBuf),
    /// The system's (`/run`, `/tmp`): closing it would lock everybody else out.
    #[error("{0} is shared with other programs: name a directory below it, such as {0}/countersign")]
    Shared(PathBuf),
    /// Somebody else's.
    #[error("{path} belongs to user {owner}, not to the user this process runs as: `chown` it")]
    Owner {
        /// Which.
        path: PathBuf,
        /// Whose.
        owner: u32,
    },
}

/// Makes a directory 0700, or checks that it is one and ours. One that lets others in (a fresh checkout does) is closed,
/// with a warning.
///
/// # Errors
/// See [`DirectoryError`].
pub fn directory(path: &Path) -> Result<(), DirectoryError> {
    let io = |source| DirectoryError::Io { path: path.to_owned(), source };
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(DirectoryError::NotADirectory(path.to_owned()));
        }
        made => made.map_err(io)?,
    }
    // What is checked is what is closed, whatever becomes of the name meanwhile.
    let flags = OFlags::DIRECTORY.bits().cast_signed();
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io)?;
    let meta = directory.metadata().map_err(io)?;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(DirectoryError::Owner { path: path.to_owned(), owner: meta.uid() });
    }
    match meta.mode() & 0o7777 {
        mode if mode & 0o077 != 0 && is_shared(path, mode) => Err(DirectoryError::Shared(path.to_owned())),
        mode if mode & 0o077 != 0 => {
            log::warn!("{}: mode {mode:04o} let others in; it is 0700 now", path.display());
            directory.set_permissions(Permissions::from_mode(0o700)).map_err(io)
        }
        _ => Ok(()),
    }
}

/// Whether a directory is there for everybody: sticky as `/tmp` is, or right below the root as `/run` is.
fn is_shared(path: &Path, mode: u32) -> bool {
    const STICKY: u32 = 0o1000;
    let below_root = || path.canonicalize().is_ok_and(|path| path.components().count() <= 2);
    mode & STICKY != 0 || below_root()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_directory_that_others_need_is_refused_and_left_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), Permissions::from_mode(0o1777)).unwrap();
        assert!(matches!(directory(place.path()), Err(DirectoryError::Shared(_))));
        assert_eq!(mode(place.path()), 0o1777);
        assert!(is_shared(Path::new("/usr"), 0o755));
    }

    #[test]
    fn a_missing_directory_is_made_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        directory(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        directory(&path).unwrap();
    }

    #[test]
    fn an_open_directory_is_closed() {
        for open in [0o755, 0o750, 0o701, 0o2770] {
            let dir = tempfile::tempdir().unwrap();
            fs::set_permissions(dir.path(), Permissions::from_mode(open)).unwrap();
            directory(dir.path()).unwrap();
            assert_eq!(mode(dir.path()), 0o700, "was {open:o}");
        }
    }

    #[test]
    fn a_link_to_a_directory_of_ours_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("private"), dir.path().join("state"));
        fs::create_dir(&target).unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o755)).unwrap();
        symlink(&target, &link).unwrap();
        directory(&link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(mode(&target), 0o700);
    }

    #[test]
    fn what_leads_to_no_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (file, to_file, to_nothing) = (dir.path().join("f"), dir.path().join("l"), dir.path().join("n"));
        fs::write(&file, "").unwrap();
        symlink(&file, &to_file).unwrap();
        symlink("nowhere", &to_nothing).unwrap();
        for path in [file, to_file, to_nothing] {
            assert!(matches!(directory(&path), Err(DirectoryError::NotADirectory(_))), "{}", path.display());
        }
    }

    #[test]
    fn a_directory_of_somebody_elses_is_refused() {
        // The root directory is root's; a root that runs the tests makes one of another user's.
        let dir = tempfile::tempdir().unwrap();
        let theirs = if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(65534), None).unwrap();
            dir.path()
        } else {
            Path::new("/")
        };
        let error = directory(theirs).unwrap_err();
        assert!(matches!(error, DirectoryError::Owner { .. }), "{error}");
        assert!(error.to_string().contains("chown"), "{error}");
    }
}
