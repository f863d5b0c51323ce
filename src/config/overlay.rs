//! Files as they would be: what a change would make of a configuration is read before anything is written.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::files::{MAX_FILE, read_limited};

/// Contents in place of those on the disk.
#[derive(Clone, Debug, Default)]
pub struct Overlay(HashMap<PathBuf, Option<Vec<u8>>>);

impl Overlay {
    /// From now on that file says this; `None`: it is not there.
    pub fn set(&mut self, path: &Path, contents: Option<Vec<u8>>) {
        self.0.insert(real(path), contents);
    }

    /// Whether there is such a file.
    pub fn has(&self, path: &Path) -> bool {
        self.of(path).map_or_else(|| path.is_file(), Option::is_some)
    }

    /// The first bytes of a file, one more than the largest may have at most.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.of(path) {
            None => read_limited(path, MAX_FILE),
            Some(Some(contents)) => Ok(contents.clone()),
            Some(None) => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    /// What takes the place of a file's contents; `None`: nothing does. (`Some(None)`: it is not there.)
    pub(super) fn instead_of(&self, path: &Path) -> Option<Option<&[u8]>> {
        self.of(path).map(Option::as_deref)
    }

    /// The names of the files of a directory that would be there.
    pub(super) fn names_in<'o>(&'o self, directory: &Path) -> impl Iterator<Item = String> + use<'o> {
        let directory = real(directory);
        let within = move |path: &&PathBuf| path.parent() == Some(&directory);
        let there = self.0.iter().filter(|(_, contents)| contents.is_some()).map(|(path, _)| path);
        there.filter(within).filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
    }

    fn of(&self, path: &Path) -> Option<&Option<Vec<u8>>> {
        if self.0.is_empty() { None } else { self.0.get(&real(path)) }
    }
}

/// The file behind links; of one that is not there yet, the directory's.
fn real(path: &Path) -> PathBuf {
    let of_directory = || {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(std::fs::canonicalize(parent).ok()?.join(path.file_name()?))
    };
    std::fs::canonicalize(path).ok().or_else(of_directory).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_every_name() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, new) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("new"));
        std::fs::write(&file, "disk").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut overlay = Overlay::default();
        assert_eq!(overlay.read(&link).unwrap(), b"disk");
        overlay.set(&file, Some(b"would be".to_vec()));
        overlay.set(&new, Some(b"new".to_vec()));
        assert_eq!(overlay.read(&link).unwrap(), b"would be");
        assert_eq!(overlay.read(&dir.path().join(".").join("new")).unwrap(), b"new");
        overlay.set(&link, None);
        assert!(overlay.read(&file).is_err() && !overlay.has(&file) && overlay.has(&new));
        assert_eq!(std::fs::read(&file).unwrap(), b"disk");
    }
}
