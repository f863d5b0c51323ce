//! One token's lock: `flock` on `.lock/ID`. Each lock opens the file anew, so that it keeps out other threads as well as
//! other processes; the system releases it with the process, however that ends.
//!
//! The file may be removed by who holds it, as the last thing that is done under it (the token is gone): whoever has waited then
//! holds a file without a name, sees that, and begins again.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::directory::Folder;
use super::file;

/// How often somebody who waits for a while looks again.
const PAUSE: Duration = Duration::from_millis(10);

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub enum Wait {
    /// Until it is free.
    Forever,
    /// At most that long; then `WouldBlock`.
    AtMost(Duration),
}

/// Held until dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing it releases the lock")] File);

impl Lock {
    /// Takes the lock of that name.
    pub fn take(folder: &Folder, name: &str, wait: Wait) -> io::Result<Self> {
        let began = Instant::now();
        loop {
            let file = folder.write(name)?;
            let held = match wait {
                Wait::Forever => acquire(&file, FlockOperation::LockExclusive)?,
                Wait::AtMost(_) => acquire(&file, FlockOperation::NonBlockingLockExclusive)?,
            };
            if held && file::named(folder, name, &file)?.is_some() {
                return Ok(Self(file));
            }
            match wait {
                Wait::AtMost(patience) if !held && began.elapsed() >= patience => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Wait::AtMost(_) if !held => std::thread::sleep(PAUSE),
                _ => {}
            }
        }
    }
}

fn acquire(file: &File, operation: FlockOperation) -> io::Result<bool> {
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::disk::Disk;
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(&directory.path().join("locks"), false, Disk::default()).unwrap();
        (directory, folder)
    }

    #[test]
    fn one_has_it_at_a_time_also_when_its_file_is_removed() {
        let (_directory, folder) = folder();
        let (inside, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (folder, inside, rounds) = (&folder, &inside, &rounds);
                scope.spawn(move || {
                    for round in 0..500 {
                        let lock = Lock::take(folder, "x", Wait::Forever).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                        rounds.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        // The last thing that is done under it: whoever comes now has another file.
                        if (round + thread) % 3 == 0 {
                            folder.unlink("x").unwrap();
                        }
                        drop(lock);
                    }
                });
            }
        });
        assert_eq!(rounds.into_inner(), 2_000);
    }

    #[test]
    fn who_waits_for_a_while_gives_up_in_time() {
        let (_directory, folder) = folder();
        let held = Lock::take(&folder, "x", Wait::Forever).unwrap();
        for patience in [Duration::ZERO, Duration::from_millis(30)] {
            let error = Lock::take(&folder, "x", Wait::AtMost(patience)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        Lock::take(&folder, "y", Wait::AtMost(Duration::ZERO)).unwrap();
        drop(held);
        Lock::take(&folder, "x", Wait::AtMost(Duration::ZERO)).unwrap();
    }
}
