//! Where to listen so that nothing that happens to a set of files goes unheard.
//!
//! An inode that is watched says nothing when an editor renames another file over it, or when a symbolic link on the way
//! is pointed elsewhere (Kubernetes flips `..data`). So the directories are watched: of each file, and of each link that
//! leads to it. A directory that is missing is waited for in the nearest one that is there.

use std::collections::{BTreeSet, HashSet};
use std::path::{Component, Path, PathBuf};

/// More links than that are a loop (Linux gives up at the same number).
const LINKS: usize = 40;

/// Directories to watch, and the names in them that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// What to watch.
    pub directories: BTreeSet<PathBuf>,
    /// Events on these are changes by themselves.
    pub exact: HashSet<PathBuf>,
}

impl Places {
    /// For files and directories; relative ones are relative to the working directory.
    pub fn of(paths: &[PathBuf]) -> Self {
        let mut places = Self::default();
        for path in paths {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            places.follow(&absolute);
        }
        places
    }

    /// Walks the path from the root, link by link.
    fn follow(&mut self, path: &Path) {
        let mut rest: Vec<PathBuf> = parts(path);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = rest.pop() {
            let here = join(&at, &part);
            match std::fs::read_link(&here) {
                Ok(target) if links < LINKS => {
                    links += 1;
                    self.entry(&at, &here);
                    at = if target.is_absolute() { PathBuf::from("/") } else { at };
                    rest.extend(parts(&target));
                }
                _ => {
                    // The file itself, or the first thing that is missing on the way to it.
                    if rest.is_empty() || !here.exists() {
                        self.entry(&at, &here);
                        self.inside(&here);
                        return;
                    }
                    at = here;
                }
            }
        }
    }

    fn entry(&mut self, directory: &Path, name: &Path) {
        self.directories.insert(directory.to_owned());
        self.exact.insert(name.to_owned());
    }

    /// A path that is a directory is watched for what comes and goes in it.
    fn inside(&mut self, path: &Path) {
        if path.is_dir() {
            self.directories.insert(path.to_owned());
        }
    }
}

/// The components, last one first; without the root.
fn parts(path: &Path) -> Vec<PathBuf> {
    let named = path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
    let mut parts: Vec<PathBuf> = named.map(|part| PathBuf::from(part.as_os_str())).collect();
    parts.reverse();
    parts
}

fn join(at: &Path, part: &Path) -> PathBuf {
    if part == Path::new("..") { at.parent().unwrap_or(at).to_owned() } else { at.join(part) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory without links on the way to it.
    fn real(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().canonicalize().unwrap()
    }

    fn names(places: &Places, root: &Path) -> (Vec<String>, Vec<String>) {
        let relative = |path: &PathBuf| path.strip_prefix(root).ok().map(|path| path.display().to_string());
        let mut exact: Vec<String> = places.exact.iter().filter_map(relative).collect();
        exact.sort();
        (places.directories.iter().filter_map(relative).collect(), exact)
    }

    #[test]
    fn a_config_map_is_watched_link_by_link() {
        let dir = tempfile::tempdir().unwrap();
        let root = real(&dir);
        fs::create_dir_all(root.join("mnt/..2026")).unwrap();
        fs::write(root.join("mnt/..2026/edge.yaml"), "").unwrap();
        symlink("..2026", root.join("mnt/..data")).unwrap();
        symlink("..data/edge.yaml", root.join("mnt/edge.yaml")).unwrap();
        symlink(root.join("mnt"), root.join("conf")).unwrap();
        let places = Places::of(&[root.join("conf/edge.yaml")]);
        let (directories, exact) = names(&places, &root);
        assert_eq!(directories, ["", "mnt", "mnt/..2026"]);
        assert_eq!(exact, ["conf", "mnt/..2026/edge.yaml", "mnt/..data", "mnt/edge.yaml"]);
    }

    #[test]
    fn what_is_missing_is_waited_for_where_it_will_appear() {
        let dir = tempfile::tempdir().unwrap();
        let root = real(&dir);
        fs::create_dir(root.join("conf")).unwrap();
        let places = Places::of(&[root.join("conf/secrets/a.token"), root.join("conf/edge.yaml")]);
        assert_eq!(names(&places, &root), (vec!["conf".into()], vec!["conf/edge.yaml".into(), "conf/secrets".into()]));
    }

    #[test]
    fn a_directory_is_watched_from_outside_and_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = real(&dir);
        fs::create_dir(root.join("projects")).unwrap();
        let places = Places::of(&[root.join("projects")]);
        assert_eq!(names(&places, &root), (vec![String::new(), "projects".into()], vec!["projects".into()]));
    }

    #[test]
    fn a_loop_of_links_ends() {
        let dir = tempfile::tempdir().unwrap();
        let root = real(&dir);
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        let places = Places::of(&[root.join("a")]);
        assert_eq!(names(&places, &root).0, [""]);
    }
}
