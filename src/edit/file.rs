//! One file of the configuration: looked at, and replaced whole or not at all.
//!
//! A new text is written aside, synced, and renamed over the old one, behind a symbolic link too; mode and owner stay. A new
//! file is 0600: what the control plane writes may hold secrets.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::Digest as _;

/// SHA-256 of a file's bytes.
pub type Digest = [u8; 32];

/// The largest file of a configuration.
const LARGEST: u64 = 16 << 20;

/// What a file said.
#[derive(Clone)]
pub struct Seen {
    /// All of it. May hold secrets.
    pub bytes: Vec<u8>,
    /// Of it.
    pub digest: Digest,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seen").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// Of some bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    sha2::Sha256::digest(bytes).into()
}

/// What the file says; `None`: there is none.
///
/// # Errors
/// It cannot be read, or is larger than any configuration may be.
pub fn look(path: &Path) -> io::Result<Option<Seen>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 16 MiB"));
    }
    Ok(Some(Seen { digest: digest(&bytes), bytes }))
}

/// Makes the file say this; `None`: takes it away. Durable when it returns.
///
/// # Errors
/// Nothing was changed then, unless only syncing the directory failed.
pub fn write(path: &Path, text: Option<&[u8]>) -> io::Result<()> {
    let path = &*fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match text {
        Some(text) => {
            let aside = aside(path, directory);
            let placed = write_aside(&aside, path, text).and_then(|()| fs::rename(&aside, path));
            if placed.is_err() {
                // It may never have been made.
                let _ = fs::remove_file(&aside);
            }
            placed?;
        }
        None => match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        },
    }
    File::open(directory)?.sync_all()
}

/// Closes a file that may hold secrets to everybody else, with a warning.
pub fn close(path: &Path) {
    let Ok(meta) = fs::metadata(path) else { return };
    let mode = meta.mode() & 0o7777;
    if mode & 0o077 == 0 {
        return;
    }
    match fs::set_permissions(path, Permissions::from_mode(0o600)) {
        Ok(()) => log::warn!("{}: mode {mode:04o} let others in; it is 0600 now", path.display()),
        Err(error) => log::warn!("{}: mode {mode:04o} lets others in: {error}", path.display()),
    }
}

/// Removes what a process that was killed while it wrote has left in a directory, beside files whose names fit. What is younger
/// than a minute may be another's, who is still writing.
pub fn sweep(directory: &Path, fits: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let left = name.to_str().and_then(|name| name.strip_prefix('.')?.rsplit_once('.'));
        let is_aside = left.is_some_and(|(name, id)| id.len() == ASIDE && fits(name));
        let old = || Some(entry.metadata().ok()?.modified().ok()?.elapsed().ok()? > Duration::from_secs(60));
        if is_aside && old() == Some(true) {
            // Whatever is in the way of it will be there at the next start too.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Digits of the name aside.
const ASIDE: usize = 32;

/// Begins with a dot, so that no `include` takes it for one of its own.
fn aside(path: &Path, directory: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    directory.join(format!(".{name}.{}", crate::id::RequestId::fresh()))
}

fn write_aside(aside: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(aside)?;
    file.write_all(text)?;
    if let Ok(old) = fs::metadata(path) {
        keep_owner(aside, &old)?;
        file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
    }
    file.sync_all()
}

/// Where the file is somebody else's, it stays theirs; who may not give files away is told so.
fn keep_owner(aside: &Path, old: &fs::Metadata) -> io::Result<()> {
    let new = fs::metadata(aside)?;
    if (new.uid(), new.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    std::os::unix::fs::chown(aside, Some(old.uid()), Some(old.gid()))
        .map_err(|error| io::Error::new(error.kind(), format!("its owner cannot be kept ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_mode_and_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.yaml"), dir.path().join("link.yaml"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real.yaml", &link).unwrap();
        write(&link, Some(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(look(&real).unwrap().unwrap().bytes, b"new");
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "something was left beside it");
    }

    #[test]
    fn a_new_file_is_private_and_can_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new.yaml");
        assert!(look(&path).unwrap().is_none());
        write(&path, Some(b"x")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        write(&path, None).unwrap();
        write(&path, None).unwrap();
        assert!(look(&path).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_written_leaves_everything_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("directory");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, Some(b"x")).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("none/x"), Some(b"x")).is_err());
    }
}
