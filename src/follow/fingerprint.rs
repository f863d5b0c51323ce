//! What can be told of files without reading them: enough to see that one was written, replaced, or pointed elsewhere.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Entries of one directory that are looked at; more is no directory of configuration files.
const ENTRIES: usize = 10_000;

/// The state of a set of paths. Equal ones: nothing to read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(Vec<State>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Not there, or not for us to see.
    Absent,
    File(Inode),
    /// A directory is who lies in it; what the files in it say is theirs to tell.
    Directory(Inode, Vec<PathBuf>),
}

/// The change time is there because it cannot be set back, as the modification time can (`cp -p`, archives).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    /// Looks, following symbolic links.
    pub fn of(paths: &[PathBuf]) -> Self {
        Self(paths.iter().map(State::of).collect())
    }
}

impl State {
    fn of(path: &PathBuf) -> Self {
        let Ok(meta) = fs::metadata(path) else { return Self::Absent };
        if !meta.is_dir() {
            return Self::File(Inode::of(&meta));
        }
        let entries = fs::read_dir(path).into_iter().flatten().flatten().take(ENTRIES);
        let mut names: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        names.sort_unstable();
        // Times and size of a directory move with files that matter to nobody.
        Self::Directory(Inode { size: 0, modified: (0, 0), changed: (0, 0), ..Inode::of(&meta) }, names)
    }
}

impl Inode {
    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn whatever_happens_to_a_file_shows() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other, link) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("l"));
        let paths = [link.clone(), dir.path().join("d")];
        let mut seen = vec![Fingerprint::of(&paths)];
        let mut changed = |what: &str| {
            let now = Fingerprint::of(&paths);
            assert!(!seen.contains(&now), "{what} does not show");
            seen.push(now);
        };
        fs::write(&path, "one").unwrap();
        symlink(&path, &link).unwrap();
        changed("a new link");
        fs::write(&path, "longer").unwrap();
        changed("a write");
        fs::write(&other, "longer").unwrap();
        fs::rename(&other, &path).unwrap();
        changed("a replacement");
        fs::create_dir(dir.path().join("d")).unwrap();
        changed("a directory");
        fs::write(dir.path().join("d/x.yaml"), "").unwrap();
        changed("a new file in a directory");
        assert_eq!(seen.last(), Some(&Fingerprint::of(&paths)));
    }

    #[test]
    fn writing_into_a_file_of_a_directory_is_that_files_matter() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("access.log"), "").unwrap();
        let paths = [dir.path().to_owned()];
        let before = Fingerprint::of(&paths);
        fs::write(dir.path().join("access.log"), "line\n").unwrap();
        assert_eq!(before, Fingerprint::of(&paths));
    }
}
