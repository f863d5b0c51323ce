//! Reading one file, if it is one that only we could have written.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::directory::Folder;
use super::fault::Fault;

/// How often a file that is replaced while it is opened is opened again.
const TRIES: usize = 16;

/// All of it; `None`: there is none.
pub fn read(folder: &Folder, name: &str, largest: usize) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
    let path = folder.path_of(name);
    let unreadable = |error: io::Error| Fault::unreadable(&path, &error);
    for _ in 0..TRIES {
        // Looked at before it is opened: opening alone may already do something to a device.
        match folder.stat(name).map_err(unreadable)? {
            None => return Ok(None),
            Some(stat) => check_kind(&path, &stat)?,
        }
        let file = match folder.read(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // It has become a link since.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => continue,
            other => other.map_err(unreadable)?,
        };
        let Some(stat) = named(folder, name, &file).map_err(unreadable)? else { continue };
        check(&path, &stat, largest)?;
        return content(file, &stat, largest).map(Some).map_err(unreadable);
    }
    Err(unreadable(Errno::AGAIN.into()))
}

/// What a file is that was opened under a name, if the name still is that file's. `None`: it is another's by now.
///
/// That keeps out what a link is turned into, and what was replaced. A second name that goes at this very instant is not seen by any
/// look: the system counts a file's names before it lets go of one. But only this user can give a file a name in here.
pub fn named(folder: &Folder, name: &str, file: &File) -> io::Result<Option<Stat>> {
    let opened = fstat(file)?;
    let is_it = |named: &Stat| (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino);
    Ok(folder.stat(name)?.filter(is_it))
}

/// Whether a file is ours alone.
pub fn check(path: &Path, stat: &Stat, largest: usize) -> Result<(), Fault> {
    check_kind(path, stat)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        Err(Fault::owner(path, stat.st_uid))
    } else if stat.st_mode & 0o077 != 0 {
        Err(Fault::mode(path, stat.st_mode & 0o7777))
    } else if stat.st_nlink > 1 {
        #[allow(clippy::useless_conversion, reason = "its width is the platform's")]
        let links = stat.st_nlink.into();
        Err(Fault::links(path, links))
    } else if size > largest as u64 {
        Err(Fault::too_large(path, size, largest))
    } else {
        Ok(())
    }
}

fn check_kind(path: &Path, stat: &Stat) -> Result<(), Fault> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        other => Err(Fault::kind(path, other)),
    }
}

fn content(file: File, stat: &Stat, largest: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // At once as large as it is: growing would leave copies of secrets behind.
    let size = usize::try_from(stat.st_size).unwrap_or(0).min(largest);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(largest as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
