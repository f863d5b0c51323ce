//! A bounded buffer in front of a slow place: whoever logs appends and goes on, a thread of its own writes.
//!
//! Flow: [`Spool::append`] copies one record under a short lock; the thread takes everything at once and writes it.
//! While the thread has work it looks again by itself, so that a busy proxy pays no wake-up per record; only the first
//! record after a pause wakes it.
//!
//! Invariants: `append` never waits for the place (`a_blocked_place_blocks_nobody`); records keep their order and stay
//! whole, also across failed writes (`a_failed_write_is_tried_again_without_loss`); what does not fit is counted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::{Condvar, Mutex};

use super::destination::Destination;
use super::recent::{Recent, Source};

/// How long a failed write rests before it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The same for a place that is only full for the moment (a pipe in non-blocking mode).
const FULL_RETRY_AFTER: Duration = Duration::from_millis(10);

/// How long stopping waits for the place to take what is left.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Buffers that grew beyond this are given back when less than this comes at a time.
const KEPT_CAPACITY: usize = 256 * 1024;

/// How a spool behaves.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes that may wait.
    pub capacity: usize,
    /// How long the thread collects before it writes.
    pub linger: Duration,
    /// Told once when writing begins to fail, and once when it works again.
    pub report: fn(&str),
}

/// The buffer and its thread. Dropping it writes what is left.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// For the thread: there is something to do.
    work: Condvar,
    /// For those who flush or stop: something has been done.
    done: Condvar,
    dropped: Arc<AtomicU64>,
    limits: Limits,
    /// Who else is shown what is written.
    shown: ArcSwapOption<(Source, Arc<Recent>)>,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    /// Bytes ever appended, and bytes ever written or given up.
    appended: u64,
    settled: u64,
    /// The thread waits and must be woken.
    idle: bool,
    /// The thread has been woken because the buffer is half full.
    pressed: bool,
    switch: Option<Switch>,
    stopping: bool,
    finished: bool,
}

/// From that byte of `pending` on, write elsewhere.
#[derive(Debug)]
struct Switch {
    at: usize,
    /// `None`: the same place, opened again.
    to: Option<Destination>,
}

impl State {
    fn has_command(&self) -> bool {
        self.switch.is_some() || self.stopping
    }
}

impl Spool {
    /// Starts the thread. Records that do not fit are counted in `dropped`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(name: &str, destination: Destination, limits: Limits, dropped: Arc<AtomicU64>) -> io::Result<Self> {
        let (state, work, done, shown) = (Mutex::default(), Condvar::new(), Condvar::new(), ArcSwapOption::empty());
        let shared = Arc::new(Shared { state, work, done, dropped, limits, shown });
        let writer = Writer { shared: Arc::clone(&shared), destination, batch: Vec::new(), failing: false };
        std::thread::Builder::new().name(name.to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared })
    }

    /// Takes one record, or drops and counts it when the buffer is full.
    pub fn append(&self, record: &[u8]) {
        let mut state = self.shared.state.lock();
        let capacity = self.shared.limits.capacity;
        if state.finished || state.pending.len() + record.len() > capacity {
            drop(state);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.pending.extend_from_slice(record);
        state.appended += record.len() as u64;
        let presses = state.pending.len() > capacity / 2 && !std::mem::replace(&mut state.pressed, true);
        let wakes = std::mem::take(&mut state.idle) || presses;
        drop(state);
        if wakes {
            self.shared.work.notify_one();
        }
    }

    /// From now on, write there.
    pub fn replace(&self, destination: Destination) {
        self.command(|state| state.switch = Some(Switch { at: state.pending.len(), to: Some(destination) }));
    }

    /// From now on, show there what is written, too.
    pub fn show(&self, source: Source, recent: Arc<Recent>) {
        self.shared.shown.store(Some(Arc::new((source, recent))));
    }

    /// Open the file by its name again.
    pub fn reopen(&self) {
        // A place that is about to be opened for the first time needs no second opening.
        self.command(|state| {
            let at = state.pending.len();
            state.switch.get_or_insert(Switch { at, to: None });
        });
    }

    /// Waits until everything appended so far is written (or given up), at most `patience`. Returns whether it is.
    pub fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.state.lock();
        let target = state.appended;
        state.pressed = true;
        self.shared.work.notify_one();
        while state.settled < target && !state.finished {
            if self.shared.done.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.settled >= target
    }

    /// Writes what is left and ends the thread. A place that takes nothing is given up after two seconds.
    pub fn stop(&self) {
        self.command(|state| state.stopping = true);
        let deadline = Instant::now() + STOP_PATIENCE;
        let mut state = self.shared.state.lock();
        while !state.finished {
            if self.shared.done.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    fn command(&self, give: impl FnOnce(&mut State)) {
        give(&mut self.shared.state.lock());
        self.shared.work.notify_one();
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The thread's side.
struct Writer {
    shared: Arc<Shared>,
    destination: Destination,
    /// Taken from the buffer and not yet written.
    batch: Vec<u8>,
    failing: bool,
}

impl Writer {
    fn run(mut self) {
        loop {
            let (switch, stopping) = self.take();
            self.show();
            let before = switch.as_ref().map_or(self.batch.len(), |switch| switch.at);
            self.write(0, before, stopping);
            if let Some(switch) = switch {
                self.obey(switch);
                self.write(before, self.batch.len(), stopping);
            }
            self.settle();
            if stopping {
                break;
            }
        }
        let mut state = self.shared.state.lock();
        state.finished = true;
        self.shared.done.notify_all();
    }

    /// Waits for work, collects for a moment, and takes it. Returns what to obey and whether it is the last.
    fn take(&mut self) -> (Option<Switch>, bool) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.lock();
        while state.pending.is_empty() && !state.has_command() {
            state.idle = true;
            shared.work.wait(&mut state);
        }
        state.idle = false;
        if !shared.limits.linger.is_zero() {
            let mut collecting = |state: &mut State| !state.pressed && !state.has_command();
            shared.work.wait_while_for(&mut state, &mut collecting, shared.limits.linger);
        }
        state.pressed = false;
        std::mem::swap(&mut state.pending, &mut self.batch);
        (state.switch.take(), state.stopping)
    }

    /// Before it is written: whoever looks at a log sees most while its disk takes nothing.
    fn show(&self) {
        if let Some((source, recent)) = self.shared.shown.load().as_deref() {
            recent.take(*source, &self.batch);
        }
    }

    fn obey(&mut self, switch: Switch) {
        if let Some(destination) = switch.to {
            self.destination = destination;
            self.failing = false;
        } else if let Err(error) = self.destination.reopen() {
            self.report(&format!("cannot reopen {}: {error}; the old file stays in use", self.destination.describe()));
        }
    }

    /// Writes that part of the batch, however often it takes; at the end of the spool, only as long as that works.
    fn write(&mut self, mut from: usize, to: usize, mut stopping: bool) {
        while let Some(rest) = self.batch.get(from..to).filter(|rest| !rest.is_empty()) {
            match self.destination.write(rest) {
                Ok(0) => from = self.fail(&io::ErrorKind::WriteZero.into(), from, to, &mut stopping),
                Ok(count) => {
                    from += count;
                    self.recovered();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => from = self.fail(&error, from, to, &mut stopping),
            }
        }
    }

    /// A write failed: says so once, then rests. Returns where to go on (the end, when it is given up).
    fn fail(&mut self, error: &io::Error, from: usize, to: usize, stopping: &mut bool) -> usize {
        let full = error.kind() == io::ErrorKind::WouldBlock;
        if !full && !std::mem::replace(&mut self.failing, true) {
            self.report(&format!("cannot write to {}: {error}; trying again", self.destination.describe()));
        }
        if *stopping {
            self.give_up(from, to);
            return to;
        }
        *stopping = self.rest(if full { FULL_RETRY_AFTER } else { RETRY_AFTER });
        from
    }

    /// Waits for a while or for a command. Returns whether the spool is stopping.
    ///
    /// A switch to another place is obeyed at once: what the failing one did not take goes there.
    fn rest(&mut self, how_long: Duration) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.lock();
        shared.work.wait_while_for(&mut state, |state| !state.has_command(), how_long);
        let (switch, stopping) = (state.switch.take(), state.stopping);
        drop(state);
        if let Some(switch) = switch {
            self.obey(switch);
        }
        stopping
    }

    fn give_up(&self, from: usize, to: usize) {
        let lost = self.batch.get(from..to).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
        self.shared.dropped.fetch_add(lost as u64, Ordering::Relaxed);
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failing) {
            self.report(&format!("writing to {} works again", self.destination.describe()));
        }
    }

    fn settle(&mut self) {
        let count = self.batch.len() as u64;
        self.batch.clear();
        if count < KEPT_CAPACITY as u64 {
            self.batch.shrink_to(KEPT_CAPACITY);
        }
        let mut state = self.shared.state.lock();
        state.settled += count;
        self.shared.done.notify_all();
    }

    fn report(&self, message: &str) {
        (self.shared.limits.report)(message);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::Read;
    use std::path::Path;
    use std::process::Command;
    use std::sync::atomic::AtomicUsize;

    use super::super::destination::Place;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn ignore(_: &str) {}

    fn limits(capacity: usize) -> Limits {
        Limits { capacity, linger: Duration::from_millis(5), report: ignore }
    }

    fn spool(path: &Path, limits: Limits) -> (Spool, Arc<AtomicU64>) {
        let dropped = Arc::new(AtomicU64::new(0));
        let destination = Destination::open(Place::File(path.to_owned())).unwrap();
        (Spool::start("test-log", destination, limits, Arc::clone(&dropped)).unwrap(), dropped)
    }

    #[test]
    fn records_of_many_threads_arrive_whole_and_in_each_ones_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (spool, dropped) = spool(&path, limits(1 << 20));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let spool = &spool;
                scope.spawn(move || (0..500).for_each(|n| spool.append(format!("{thread} {n}\n").as_bytes())));
            }
        });
        drop(spool);
        let text = std::fs::read_to_string(path).unwrap();
        for thread in 0..4 {
            let mine: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&format!("{thread} "))).collect();
            assert_eq!(mine, (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_single_record_is_written_without_another_one_following() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (spool, _) = spool(&path, Limits { linger: Duration::from_millis(50), ..limits(1 << 20) });
        for round in 1..=3 {
            let begun = Instant::now();
            spool.append(b"x\n");
            while std::fs::metadata(&path).unwrap().len() < 2 * round {
                assert!(begun.elapsed() < PATIENCE, "record {round} never arrived");
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn reopening_leaves_the_rotated_file_and_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (spool, _) = spool(&path, limits(1 << 20));
        spool.append(b"before\n");
        assert!(spool.flush(PATIENCE));
        std::fs::rename(&path, dir.path().join("log.1")).unwrap();
        spool.reopen();
        let begun = Instant::now();
        while !path.exists() {
            assert!(begun.elapsed() < PATIENCE, "never reopened");
            std::thread::yield_now();
        }
        spool.append(b"after\n");
        drop(spool);
        assert_eq!(std::fs::read_to_string(dir.path().join("log.1")).unwrap(), "before\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "after\n");
    }

    static REPORTS: AtomicUsize = AtomicUsize::new(0);

    #[test]
    fn a_failed_write_is_tried_again_without_loss() {
        fn count(_: &str) {
            REPORTS.fetch_add(1, Ordering::Relaxed);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (spool, dropped) = spool(Path::new("/dev/full"), Limits { report: count, ..limits(1 << 20) });
        spool.append(b"one\n");
        assert!(!spool.flush(Duration::from_millis(100)));
        spool.append(b"two\n");
        spool.replace(Destination::open(Place::File(path.clone())).unwrap());
        assert!(spool.flush(PATIENCE));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "one\ntwo\n");
        assert_eq!(REPORTS.load(Ordering::Relaxed), 1, "a full disk is reported once");
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_a_failing_place_never_took_is_counted_at_the_end() {
        let (spool, dropped) = spool(Path::new("/dev/full"), limits(1 << 20));
        spool.append(b"one\n");
        spool.append(b"two\n");
        let begun = Instant::now();
        drop(spool);
        assert!(begun.elapsed() < STOP_PATIENCE * 2);
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    }

    fn fifo(path: &Path) -> File {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        OpenOptions::new().read(true).write(true).open(path).unwrap()
    }

    #[test]
    fn a_blocked_place_blocks_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let mut reader = fifo(&path);
        let (spool, dropped) = spool(&path, limits(64 * 1024));
        let record = [b'x'; 1023];
        let record = [record.as_slice(), b"\n"].concat();
        let begun = Instant::now();
        for _ in 0..1000 {
            spool.append(&record);
        }
        assert!(begun.elapsed() < PATIENCE / 2, "appending waited for the reader");
        let lost = dropped.load(Ordering::Relaxed);
        assert!(lost > 500, "only {lost} dropped");
        let mut taken = vec![0; usize::try_from(1000 - lost).unwrap() * 1024];
        reader.read_exact(&mut taken).unwrap();
        assert!(taken.chunks(1024).all(|chunk| chunk == record), "records were torn");
    }
}
