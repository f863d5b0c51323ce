//! The thread that tells whoever is made from files that one of them may have changed.
//!
//! Invariants: nobody is told without an event about one of its files or a different look of them
//! (`only_whom_it_concerns_is_told`); a change while it is being told is told again; what panics when told is told again
//! at the next change, and the others are told all the same.

use std::collections::HashSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Ears, Everything, Fingerprint, Followed, Handle, Heard, LOG, Places, Woken};

/// How often the files are looked at without an event.
const POLL: Duration = Duration::from_secs(5);

/// The same where events cannot be had.
const POLL_BLIND: Duration = Duration::from_secs(1);

/// Follows files until dropped.
#[derive(Debug)]
pub struct Follower {
    handle: Handle,
}

impl Follower {
    /// Starts following.
    ///
    /// # Errors
    /// No thread can be started. (Where events cannot be had, the files are looked at more often instead.)
    pub fn start(everything: Everything) -> io::Result<Self> {
        let (ears, handle) = Ears::open();
        let thread = Thread { everything, ears, known: Vec::new() };
        std::thread::Builder::new().name("follow".to_owned()).spawn(move || thread.run())?;
        Ok(Self { handle })
    }

    /// What is to be followed may be something else now: it is asked for again.
    pub fn poke(&self) {
        self.handle.poke();
    }

    /// The same for those who may outlive it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

/// One thing that is followed.
struct Known {
    followed: Arc<dyn Followed>,
    paths: Vec<PathBuf>,
    /// How they looked before they were read last, if that is known.
    seen: Option<Fingerprint>,
    /// Names about which an event is a change by itself.
    exact: HashSet<PathBuf>,
}

impl Known {
    fn new(followed: Arc<dyn Followed>) -> Self {
        let (paths, seen) = (followed.paths(), followed.seen());
        Self { followed, paths, seen, exact: HashSet::new() }
    }

    fn differs(&self) -> bool {
        self.seen.as_ref().is_none_or(|seen| Fingerprint::of(&self.paths) != *seen)
    }

    /// Looks first, so that what changes while it is read is a difference again.
    fn tell(&mut self) {
        self.paths = self.followed.paths();
        self.seen = Some(Fingerprint::of(&self.paths));
        if catch_unwind(AssertUnwindSafe(|| self.followed.refresh())).is_err() {
            log::error!(target: LOG, "reading {:?} again has panicked; what was read before stays", self.paths);
        }
    }
}

struct Thread {
    everything: Everything,
    ears: Ears,
    known: Vec<Known>,
}

impl Thread {
    fn run(mut self) {
        loop {
            self.take_up();
            let hears_all = self.arm();
            // Also catches what changed between the reading of a file and the watching of it.
            if self.known.iter().any(Known::differs) {
                self.ears.touch();
            }
            match self.ears.wait(if hears_all { POLL } else { POLL_BLIND }) {
                Woken::Stop => return,
                Woken::Poll => {}
                Woken::Rested(heard) => self.act(&heard),
            }
        }
    }

    /// What was followed before keeps what is known of it.
    fn take_up(&mut self) {
        let mut before = std::mem::take(&mut self.known);
        for followed in (self.everything)() {
            let known = before.iter().position(|known| Arc::ptr_eq(&known.followed, &followed));
            self.known.push(known.map_or_else(|| Known::new(followed), |index| before.swap_remove(index)));
        }
    }

    /// Links may lead elsewhere after any change, so that the places are found anew.
    fn arm(&mut self) -> bool {
        let mut all = Places::default();
        for known in &mut self.known {
            let places = Places::of(&known.paths);
            all.directories.extend(places.directories);
            all.exact.extend(places.exact.iter().cloned());
            known.exact = places.exact;
        }
        self.ears.arm(all)
    }

    fn act(&mut self, heard: &Heard) {
        for known in &mut self.known {
            if heard.concerns(&known.exact) || known.differs() {
                known.tell();
            }
        }
    }
}

#[cfg(test)]
mod tests;
