//! Opening below a directory, with no way out of it.
//!
//! The kernel resolves (`openat2` with `RESOLVE_BENEATH`), so that nothing that is renamed or linked in the meantime can lead
//! elsewhere. It refuses absolute links, also those that stay below the root: for these the real path is looked up, and what
//! it says is opened by the same rule again. Where the kernel or a sandbox lacks `openat2`, each name is opened by itself
//! without following links.
//!
//! Invariant: what is opened lay below the root at that moment (`links_that_lead_out_are_refused`, and the same by walking).

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// A directory that nothing leads out of.
#[derive(Debug)]
pub struct Root<'p> {
    directory: OwnedFd,
    path: &'p Path,
}

/// How often a look-up that a rename disturbs is tried again.
const TRIES: usize = 8;

/// Never waits (for the other end of a FIFO), never becomes the terminal.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl<'p> Root<'p> {
    /// The directory as it is now; links in its own path are the operator's.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &'p Path) -> io::Result<Self> {
        let directory = openat(CWD, path, DIRECTORY, Mode::empty())?;
        Ok(Self { directory, path })
    }

    /// Opens what a relative path names; empty: the root itself.
    ///
    /// # Errors
    /// The system's; `EXDEV` where it leads out.
    pub fn open_below(&self, relative: &[u8]) -> io::Result<File> {
        let opened = match self.resolve(relative) {
            // A sandbox without the call answers EPERM.
            Err(Errno::NOSYS | Errno::PERM) => self.walk_or_follow(relative),
            Err(Errno::XDEV) => self.real_path(relative).and_then(|real| self.resolve(&real)),
            other => other,
        };
        Ok(File::from(opened?))
    }

    fn resolve(&self, relative: &[u8]) -> Result<OwnedFd, Errno> {
        const FLAGS: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
        let path = if relative.is_empty() { b"." } else { relative };
        for _ in 0..TRIES {
            match openat2(&self.directory, OsStr::from_bytes(path), READ, Mode::empty(), FLAGS) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    fn walk_or_follow(&self, relative: &[u8]) -> Result<OwnedFd, Errno> {
        match self.walk(relative) {
            // What a link in the middle, and one at the end, looks like to who does not follow.
            Err(Errno::NOTDIR | Errno::LOOP) => self.real_path(relative).and_then(|real| self.walk(&real)),
            other => other,
        }
    }

    /// Name by name, without following links.
    fn walk(&self, relative: &[u8]) -> Result<OwnedFd, Errno> {
        let (directories, last) = match memchr::memrchr(b'/', relative) {
            Some(slash) => (relative.get(..slash).unwrap_or_default(), relative.get(slash + 1..).unwrap_or_default()),
            None => (&[][..], relative),
        };
        let last = if relative.is_empty() { b"." } else { last };
        let mut directory: Option<OwnedFd> = None;
        for name in directories.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let above = directory.as_ref().map_or(self.directory.as_fd(), AsFd::as_fd);
            directory = Some(openat(above, OsStr::from_bytes(name), DIRECTORY.union(OFlags::NOFOLLOW), Mode::empty())?);
        }
        let above = directory.as_ref().map_or(self.directory.as_fd(), AsFd::as_fd);
        openat(above, OsStr::from_bytes(last), READ.union(OFlags::NOFOLLOW), Mode::empty())
    }

    /// Where links lead, as a path below the root without links; `EXDEV`: elsewhere.
    fn real_path(&self, relative: &[u8]) -> Result<Vec<u8>, Errno> {
        let failed = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let root = self.path.canonicalize().map_err(failed)?;
        let real = self.path.join(OsStr::from_bytes(relative)).canonicalize().map_err(failed)?;
        let below = real.strip_prefix(&root).map_err(|_| Errno::XDEV)?;
        Ok(below.as_os_str().as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    struct Tree {
        _directory: tempfile::TempDir,
        root: PathBuf,
    }

    /// `secret` outside; inside: `in.txt`, `sub/deep.txt`, and links of every kind.
    fn tree() -> Tree {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::create_dir(directory.path().join("root-beside")).unwrap();
        std::fs::write(directory.path().join("secret"), "SECRET").unwrap();
        std::fs::write(directory.path().join("root-beside/secret"), "SECRET").unwrap();
        std::fs::write(root.join("in.txt"), "inside").unwrap();
        std::fs::write(root.join("sub/deep.txt"), "inside").unwrap();
        let absolute = |name: &str| directory.path().join(name);
        for (target, link) in [
            (PathBuf::from("in.txt"), "to-file"),
            (PathBuf::from("to-file"), "to-link"),
            (PathBuf::from("sub"), "to-dir"),
            (PathBuf::from("../in.txt"), "sub/up"),
            (absolute("root/in.txt"), "absolute"),
            (absolute("root/sub"), "absolute-dir"),
            (PathBuf::from("../secret"), "out"),
            (absolute("secret"), "absolute-out"),
            (absolute(""), "dir-out"),
            (absolute("root-beside"), "beside-out"),
            (PathBuf::from("out"), "to-out"),
            (PathBuf::from("../../secret"), "sub/out"),
            (PathBuf::from("/proc/self/root"), "magic"),
            (PathBuf::from("/etc"), "etc"),
            (PathBuf::from("loop"), "loop"),
            (PathBuf::from("nowhere"), "broken"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        Tree { _directory: directory, root }
    }

    fn text(mut file: File) -> String {
        let mut text = String::new();
        let _ = file.read_to_string(&mut text);
        text
    }

    const INSIDE: [&str; 9] = [
        "in.txt",
        "sub/deep.txt",
        "to-file",
        "to-link",
        "to-dir/deep.txt",
        "sub/up",
        "absolute",
        "absolute-dir/deep.txt",
        "to-dir/up",
    ];
    const OUTSIDE: [&str; 13] = [
        "out",
        "absolute-out",
        "dir-out/secret",
        "beside-out/secret",
        "to-out",
        "sub/out",
        "to-dir/out",
        "magic/etc/passwd",
        "etc/passwd",
        "loop",
        "broken",
        "nowhere",
        "in.txt/x",
    ];

    #[test]
    fn links_that_lead_out_are_refused() {
        let tree = tree();
        let root = Root::open(&tree.root).unwrap();
        for name in INSIDE {
            assert_eq!(text(root.open_below(name.as_bytes()).unwrap()), "inside", "{name}");
        }
        for name in OUTSIDE {
            assert!(root.open_below(name.as_bytes()).is_err(), "{name}");
        }
        assert!(root.open_below(b"").unwrap().metadata().unwrap().is_dir());
        assert!(root.open_below(b"sub").unwrap().metadata().unwrap().is_dir());
    }

    #[test]
    fn links_that_lead_out_are_refused_by_walking_too() {
        let tree = tree();
        let root = Root::open(&tree.root).unwrap();
        for name in INSIDE {
            let file = root.walk_or_follow(name.as_bytes()).unwrap();
            assert_eq!(text(File::from(file)), "inside", "{name}");
        }
        for name in OUTSIDE {
            assert!(root.walk_or_follow(name.as_bytes()).is_err(), "{name}");
        }
        for name in ["to-file", "to-dir/deep.txt", "absolute"] {
            assert!(root.walk(name.as_bytes()).is_err(), "{name} is followed");
        }
        assert!(File::from(root.walk(b"").unwrap()).metadata().unwrap().is_dir());
    }

    #[test]
    fn dots_that_come_this_far_lead_nowhere() {
        let tree = tree();
        let root = Root::open(&tree.root).unwrap();
        for name in ["../secret", "sub/../../secret", "/etc/passwd", ".."] {
            assert!(root.open_below(name.as_bytes()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_link_that_is_turned_while_it_is_opened_never_leads_out() {
        let tree = tree();
        let (inside, outside) = (tree.root.join("turn-in"), tree.root.join("turn-out"));
        let link = tree.root.join("turning");
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for (temporary, target) in [(&inside, "sub"), (&outside, "..")] {
                        symlink(target, temporary).unwrap();
                        std::fs::rename(temporary, &link).unwrap();
                    }
                }
            });
            let root = Root::open(&tree.root).unwrap();
            let (mut seen, mut served) = (0, 0);
            for round in 0..20_000 {
                let name: &[u8] = if round % 2 == 0 { b"turning/secret" } else { b"turning/deep.txt" };
                let opened = if round % 3 == 0 {
                    root.walk_or_follow(name).ok().map(File::from)
                } else {
                    root.open_below(name).ok()
                };
                seen += 1;
                served += usize::from(opened.is_some());
                assert!(opened.is_none_or(|file| text(file) == "inside"), "round {seen}");
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(served > 0, "nothing was ever opened");
        });
    }
}
