//! Waiting for conditions instead of sleeping.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How long a test waits for something that normally takes milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Asks again and again until `probe` has an answer; fails the test, naming `what`, when patience ends.
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, probe)
}

/// The same with a patience of one's own.
pub fn eventually_within<T>(patience: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < patience, "waited {patience:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The waiting side of a gate: an origin's script stands here until the test opens it.
pub struct Gate(Mutex<Receiver<()>>);

/// The test's side of a gate; each [`Key::open`] lets one wait pass. Dropped: all waits pass at once.
pub struct Key(Sender<()>);

/// A gate and its key.
pub fn gate() -> (Key, Gate) {
    let (sender, receiver) = channel();
    (Key(sender), Gate(Mutex::new(receiver)))
}

impl Gate {
    /// Waits until the test opens, or gives up after the patience.
    pub fn wait(&self) {
        let _ = self.0.lock().unwrap().recv_timeout(PATIENCE);
    }
}

impl Key {
    /// Lets one wait pass.
    pub fn open(&self) {
        let _ = self.0.send(());
    }
}
