//! One token's lock: `flock` on `.lock/ID`. Each lock opens the file anew, so that it keeps out other threads as well as
//! other processes; the system releases it with the process, however that ends.
//!
//! The file may be removed by who holds it (the token is gone): whoever has waited then holds a file without a name, sees that, and
//! begins again.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock, fstat};
use rustix::io::Errno;

use super::directory::Folder;

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
            if held && is_still(folder, name, &file)? {
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

/// Whether the name still is that file's.
fn is_still(folder: &Folder, name: &str, file: &File) -> io::Result<bool> {
    let (held, named) = (fstat(file)?, folder.stat(name)?);
    Ok(named.is_some_and(|named| (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)))
}
