//! What touches the disk. In one place, so that tests can have each single step fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// The steps. Nothing but its tests' failures is in it.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    #[cfg(test)]
    pub trip: std::sync::Arc<super::trip::Trip>,
}

impl Disk {
    /// Whether the next step may be taken.
    #[cfg(not(test))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "in tests it can fail")]
    pub fn step(&self) -> io::Result<()> {
        Ok(())
    }

    /// Whether the next step may be taken.
    #[cfg(test)]
    pub fn step(&self) -> io::Result<()> {
        self.trip.step()
    }

    /// Writes all of it there.
    pub fn write_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        self.step()?;
        #[cfg(test)]
        let bytes = &bytes[..self.trip.room(bytes.len())];
        file.write_all_at(bytes, at)?;
        #[cfg(test)]
        self.trip.was_written()?;
        Ok(())
    }

    /// Until the file's content and size are on the disk.
    pub fn sync(&self, file: &File) -> io::Result<()> {
        self.step()?;
        file.sync_all()
    }

    /// Takes the room that the file will need, so that writing cannot fail for want of it. Where a filesystem cannot
    /// promise room, it is filled with zeros: those that copy on write give no promise at all.
    pub fn reserve(&self, file: &File, length: u64) -> io::Result<()> {
        self.step()?;
        loop {
            match fallocate(file, FallocateFlags::empty(), 0, length) {
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return fill(file, length),
                other => return Ok(other?),
            }
        }
    }
}

/// From where the file ends.
fn fill(file: &File, length: u64) -> io::Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut at = file.metadata()?.len();
    while at < length {
        let piece = usize::try_from(length - at).unwrap_or(ZEROS.len()).min(ZEROS.len());
        file.write_all_at(ZEROS.get(..piece).unwrap_or(&ZEROS), at)?;
        at += piece as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filling_ends_where_it_should_and_keeps_what_is_there() {
        for (had, length) in [(0, 10_000), (5, 4096), (4097, 8192), (9000, 100)] {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&vec![7; had], 0).unwrap();
            fill(&file, length).unwrap();
            assert_eq!(file.metadata().unwrap().len(), length.max(had as u64));
            let mut kept = vec![0; had];
            file.read_exact_at(&mut kept, 0).unwrap();
            assert!(kept.iter().all(|byte| *byte == 7));
        }
    }
}
