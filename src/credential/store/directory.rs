//! The directory itself, opened once: whatever its path leads to later, these are the files that are meant. What is opened
//! in it has one name without a slash and is no link.
//!
//! Invariants: 0700 and ours (`a_directory_of_somebody_elses_is_refused`), or it is not used; no name leads out of it
//! (`a_name_that_is_turned_into_a_link_never_leads_out`).

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, ResolveFlags, Stat, fstat, fstatfs, mkdirat, openat, openat2,
    renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::OpenError;
use super::disk::Disk;
use super::filesystem;
use crate::credential::LOG;
use crate::private;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Never waits (for the other end of a FIFO), never becomes the terminal, is not inherited by what the process runs.
const FILE: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
const BELOW: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// How often what a rename disturbs is tried again.
const TRIES: usize = 8;

/// An open directory.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    pub(super) disk: Disk,
}

impl Folder {
    /// Opens the directory of tokens, which is made if it is not there.
    pub fn open(path: &Path, allow_network: bool, disk: Disk) -> Result<Self, OpenError> {
        // A slash at the end would follow a link.
        let path: PathBuf = path.components().collect();
        refuse_link(&path)?;
        private::directory(&path).map_err(|error| OpenError(error.to_string()))?;
        let failed = |error: Errno| OpenError(format!("{}: {}", path.display(), io::Error::from(error)));
        let fd = openat(CWD, &path, DIRECTORY, Mode::empty()).map_err(failed)?;
        refuse_others(&path, &fstat(&fd).map_err(failed)?)?;
        let kind = filesystem::network(fstatfs(&fd).map_err(failed)?.f_type);
        match kind {
            Some(kind) if !allow_network => Err(OpenError(format!(
                "{} lies on a network filesystem ({kind}), where locks and syncing may mean nothing: name a directory on \
                 a local disk, or set `tokens.allow_network_filesystem: true`",
                path.display()
            ))),
            Some(kind) => {
                log::warn!(target: LOG, "{} lies on a network filesystem ({kind}), as allowed", path.display());
                Ok(Self { fd, path, disk })
            }
            None => Ok(Self { fd, path, disk }),
        }
    }

    /// A directory in it of the store's own, which is made if it is not there.
    pub fn below(&self, name: &str) -> io::Result<Self> {
        let made = match mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let fd = openat(&self.fd, name, DIRECTORY, Mode::empty())?;
        let path = self.path.join(name);
        let stat = fstat(&fd)?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            let what = format!("{} belongs to user {}: `chown` it", path.display(), stat.st_uid);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        let folder = Self { fd, path, disk: self.disk.clone() };
        if stat.st_mode & 0o077 != 0 {
            File::from(folder.fd.try_clone()?).set_permissions(Permissions::from_mode(0o700))?;
        }
        if made {
            self.sync()?;
        }
        Ok(folder)
    }

    /// Where a name is, for messages.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a file to read it.
    pub fn read(&self, name: &str) -> io::Result<File> {
        self.resolve(name, FILE.union(OFlags::RDONLY), Mode::empty())
    }

    /// Opens a file to read and write it, which is made if it is not there.
    pub fn write(&self, name: &str) -> io::Result<File> {
        self.disk.step()?;
        self.resolve(name, FILE.union(OFlags::RDWR).union(OFlags::CREATE), PRIVATE_FILE)
    }

    /// Opens a file to read and write it, if it is there.
    pub fn change(&self, name: &str) -> io::Result<Option<File>> {
        match self.resolve(name, FILE.union(OFlags::RDWR), Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Makes a file that was not there.
    pub fn create(&self, name: &str) -> io::Result<File> {
        self.disk.step()?;
        self.resolve(name, FILE.union(OFlags::RDWR).union(OFlags::CREATE).union(OFlags::EXCL), PRIVATE_FILE)
    }

    fn resolve(&self, name: &str, flags: OFlags, mode: Mode) -> io::Result<File> {
        if name.is_empty() || name == "." || name == ".." || name.contains('/') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for _ in 0..TRIES {
            match openat2(&self.fd, name, flags, mode, BELOW) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // A kernel, or a sandbox, without the call. One name without a slash can lead nowhere but by being a link.
                Err(Errno::NOSYS | Errno::PERM) => return Ok(openat(&self.fd, name, flags, mode)?.into()),
                opened => return Ok(opened?.into()),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// What a name is, itself and not what it leads to. `None`: nothing.
    pub fn stat(&self, name: &str) -> io::Result<Option<Stat>> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    /// Puts a file in another's place.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.step()?;
        Ok(renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Gives a file a name that nobody has.
    pub fn rename_to_new(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.step()?;
        match renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            // The filesystem cannot.
            Err(Errno::INVAL | Errno::NOSYS) if self.stat(to)?.is_none() => Ok(renameat(&self.fd, from, &self.fd, to)?),
            other => Ok(other?),
        }
    }

    /// Takes a name away; it need not be there.
    pub fn unlink(&self, name: &str) -> io::Result<()> {
        self.disk.step()?;
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Every name in it that is text.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Until every name in it is on the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.disk.step()?;
        loop {
            match rustix::fs::fsync(self.fd.as_fd()) {
                Err(Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }
}

fn refuse_link(path: &Path) -> Result<(), OpenError> {
    if !path.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
        return Ok(());
    }
    let real = path.canonicalize().map_or_else(|_| "that it leads to".to_owned(), |real| real.display().to_string());
    Err(OpenError(format!("{} is a symbolic link: name the directory {real} itself", path.display())))
}

/// It may have become something else since it was closed to others.
fn refuse_others(path: &Path, stat: &Stat) -> Result<(), OpenError> {
    let ours = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o077 == 0;
    let refusal = || OpenError(format!("{} is open to others: `chmod 700` and `chown` it", path.display()));
    if ours { Ok(()) } else { Err(refusal()) }
}
