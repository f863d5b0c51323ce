//! Notices edits: whatever the editor does to the files, they are live within half a second of the last write.
//!
//! Flow: [`Ears`] hear events that concern the files and let them rest, so that several quick saves are one reload; then the
//! [`Reloader`] reads. A look at the files every two seconds catches what no event told of (network file systems, a
//! replaced directory). What is watched is settled anew after each load.
//!
//! Invariant: files that merely lie beside the watched ones (a log) cause nothing
//! (`a_log_beside_the_configuration_is_not_an_edit`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::follow::{Ears, Fingerprint, Handle, Heard, Places, Woken};

use super::{Reloader, Trigger};

/// How often the files are looked at without an event.
const POLL: Duration = Duration::from_secs(2);

/// The same where events cannot be had.
const POLL_BLIND: Duration = Duration::from_millis(200);

/// Watches the files of one [`Reloader`] until dropped.
#[derive(Debug)]
pub struct Watch {
    handle: Handle,
}

impl Watch {
    /// Starts watching.
    ///
    /// # Errors
    /// No thread can be started. (Where events cannot be had, the files are looked at more often instead.)
    pub fn start(reloader: Arc<Reloader>) -> io::Result<Self> {
        let (ears, handle) = Ears::open();
        let listener = Listener { reloader, ears };
        std::thread::Builder::new().name("config-watch".to_owned()).spawn(move || listener.run())?;
        Ok(Self { handle })
    }

    /// Whether everything heard has been acted upon.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.handle.is_at_rest()
    }

    /// Whether a writer has been heard to be done, and that is not yet acted upon.
    #[cfg(test)]
    pub(super) fn has_heard_all(&self) -> bool {
        self.handle.has_heard_all()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

/// The thread's side.
struct Listener {
    reloader: Arc<Reloader>,
    ears: Ears,
}

impl Listener {
    fn run(mut self) {
        loop {
            let hears_all = self.ears.arm(Places::of(&self.reloader.watched()));
            // Also catches what changed between a load and the watching of what it read.
            if self.differs() {
                self.ears.touch();
            }
            match self.ears.wait(if hears_all { POLL } else { POLL_BLIND }) {
                Woken::Stop => return,
                Woken::Poll => {}
                Woken::Rested(heard) => self.act(&heard),
            }
            self.reloader.sweep();
        }
    }

    /// Times and sizes do not tell everything of two quick writes, so that an event about a file counts by itself; unless
    /// somebody has asked for a reload since.
    fn act(&self, heard: &Heard) {
        let unread = heard.is_exact() && self.reloader.last_began() <= heard.last;
        if unread || self.differs() {
            self.reloader.reload(Trigger::File);
        }
    }

    fn differs(&self) -> bool {
        let (files, seen) = self.reloader.seen();
        Fingerprint::of(&files) != seen
    }
}
