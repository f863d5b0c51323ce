//! Where log bytes end up: a file that can be opened again after rotation, or one of the process's own streams.
//!
//! Streams are written through a duplicate of their descriptor, without the standard library's line buffer in between:
//! the number of bytes written is then exact, and a retry neither repeats nor loses any.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to, created with mode 0640.
    File(PathBuf),
}

/// An open place.
#[derive(Debug)]
pub struct Destination {
    place: Place,
    file: File,
}

impl Destination {
    /// Opens it.
    ///
    /// # Errors
    /// The file cannot be opened or created, or the stream is closed.
    pub fn open(place: Place) -> io::Result<Self> {
        let file = match &place {
            Place::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            Place::Stderr => File::from(io::stderr().as_fd().try_clone_to_owned()?),
            Place::File(path) => append(path)?,
        };
        Ok(Self { place, file })
    }

    /// Opens a file by its name again (after it was moved away); streams stay as they are.
    ///
    /// # Errors
    /// The file cannot be opened; the old one stays in use.
    pub fn reopen(&mut self) -> io::Result<()> {
        if let Place::File(path) = &self.place {
            self.file = append(path)?;
        }
        Ok(())
    }

    /// Writes once; may write less than all.
    ///
    /// # Errors
    /// As the system says.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    /// How messages name it.
    pub fn describe(&self) -> String {
        match &self.place {
            Place::Stdout => "standard output".to_owned(),
            Place::Stderr => "standard error".to_owned(),
            Place::File(path) => path.display().to_string(),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_file_is_not_for_everybody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        Destination::open(Place::File(path.clone())).unwrap();
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
    }

    #[test]
    fn what_is_there_is_kept_and_a_moved_file_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        std::fs::write(&path, "old\n").unwrap();
        let mut destination = Destination::open(Place::File(path.clone())).unwrap();
        destination.write(b"one\n").unwrap();
        std::fs::rename(&path, dir.path().join("access.log.1")).unwrap();
        destination.reopen().unwrap();
        destination.write(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("access.log.1")).unwrap(), "old\none\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "two\n");
    }
}
