//! Hears edits of a set of files: the system's events on their directories, gathered until the files rest.
//!
//! Flow: [`Ears::arm`] says which files matter and watches what leads to them; [`Ears::wait`] returns when they have rested
//! after events, when it is time to look without one, or at the end. The [`Handle`] is the other threads' side.
//!
//! Invariant: files that merely lie beside the watched ones (a log) cause nothing but a look at directories' entries.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::{Condvar, Mutex};

use super::{LOG, Places};

/// How long files must rest before they are read.
const REST: Duration = Duration::from_millis(100);

/// The same while a writer still has one of them open: it is probably not done.
const REST_OPEN: Duration = Duration::from_millis(300);

/// Files that never rest are read as they are after this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Names that are remembered until the files rest; beyond that every file counts as concerned.
const NAMES: usize = 1_000;

/// What events told of a set of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The last one.
    pub last: Instant,
    /// The files and links that they were about; directories on the way are not among them.
    names: HashSet<PathBuf>,
    /// Events were lost: it may have been any of them.
    lost: bool,
}

impl Heard {
    /// Whether one of the files themselves was concerned, not only a directory on the way.
    pub fn is_exact(&self) -> bool {
        self.lost || !self.names.is_empty()
    }

    /// Whether one of these names was concerned.
    pub fn concerns(&self, names: &HashSet<PathBuf>) -> bool {
        self.lost || !self.names.is_disjoint(names)
    }
}

/// What [`Ears::wait`] returns for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The files have rested after events.
    Rested(Heard),
    /// Time to look.
    Poll,
    /// The end.
    Stop,
}

/// Other threads' side of [`Ears`].
#[derive(Clone, Debug, Default)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// Has whoever waits look now.
    pub fn poke(&self) {
        self.0.pending.lock().poked = true;
        self.0.wake.notify_one();
    }

    /// Ends the waiting.
    pub fn stop(&self) {
        self.0.pending.lock().stop = true;
        self.0.wake.notify_one();
    }

    /// Whether everything heard has been acted upon.
    pub fn is_at_rest(&self) -> bool {
        self.0.pending.lock().heard.is_none()
    }

    /// Whether a writer has been heard to be done, and that is not yet acted upon.
    pub fn has_heard_all(&self) -> bool {
        let pending = self.0.pending.lock();
        pending.heard.is_some() && pending.open.is_empty()
    }
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    wake: Condvar,
}

/// What has been heard and not yet acted upon.
#[derive(Debug, Default)]
struct Pending {
    /// First and last event.
    heard: Option<(Instant, Instant)>,
    /// The names that matter and were concerned.
    concerned: HashSet<PathBuf>,
    /// More than could be noted.
    lost: bool,
    /// Files that have been written to and not closed.
    open: HashSet<PathBuf>,
    /// The names that matter.
    names: HashSet<PathBuf>,
    poked: bool,
    stop: bool,
}

impl Pending {
    fn touch(&mut self) {
        let now = Instant::now();
        self.heard = Some((self.heard.map_or(now, |(first, _)| first), now));
    }

    /// When the files will have rested, unless something happens.
    fn due(&self) -> Option<Instant> {
        let (first, last) = self.heard?;
        let rest = if self.open.is_empty() { REST } else { REST_OPEN };
        Some((last + rest).min(first + PATIENCE))
    }

    /// What was heard, once the files have rested.
    fn take_rested(&mut self, now: Instant) -> Option<Heard> {
        let due = self.due();
        let (_, last) = self.heard.take_if(|_| due.is_some_and(|due| due <= now))?;
        self.open.clear();
        let (names, lost) = (std::mem::take(&mut self.concerned), std::mem::take(&mut self.lost));
        Some(Heard { last, names, lost })
    }

    /// Takes note of an event. Returns whether it matters.
    fn hear(&mut self, event: &Event) -> bool {
        if event.need_rescan() {
            self.lost = true;
            self.touch();
            return true;
        }
        let mut matters = false;
        for path in &event.paths {
            let exact = self.names.contains(path);
            if exact {
                self.follow_writer(event.kind, path);
                self.concern(path);
            }
            matters |= exact || comes_or_goes(event.kind);
        }
        if matters {
            self.touch();
        }
        matters
    }

    fn concern(&mut self, path: &Path) {
        if self.concerned.len() < NAMES {
            self.concerned.insert(path.to_owned());
        } else {
            self.lost = true;
        }
    }

    fn follow_writer(&mut self, kind: EventKind, path: &Path) {
        if matches!(kind, EventKind::Modify(ModifyKind::Data(_))) {
            self.open.insert(path.to_owned());
        } else {
            self.open.remove(path);
        }
    }
}

/// Whether a name in a directory appears, disappears, or leads elsewhere now.
fn comes_or_goes(kind: EventKind) -> bool {
    matches!(kind, EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)))
}

/// Whether an event can mean a change. Opening and reading cannot, and our own reading causes those.
fn can_matter(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(_)) || kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}

/// The waiting side.
#[derive(Debug)]
pub struct Ears {
    shared: Arc<Shared>,
    events: Option<RecommendedWatcher>,
    /// Watched directories, and which inode had that name then.
    armed: BTreeMap<PathBuf, (u64, u64)>,
}

impl Ears {
    /// Opens them; nothing is watched yet. Where events cannot be had, [`Self::arm`] says so.
    pub fn open() -> (Self, Handle) {
        let handle = Handle::default();
        let ears = Self { shared: Arc::clone(&handle.0), events: events(&handle), armed: BTreeMap::new() };
        (ears, handle)
    }

    /// Watches what leads to these files, and nothing else. Returns whether events will come for all of them.
    pub fn arm(&mut self, places: Places) -> bool {
        self.shared.pending.lock().names = places.exact;
        let Some(events) = &mut self.events else { return false };
        let wanted: BTreeMap<PathBuf, (u64, u64)> =
            places.directories.iter().filter_map(|path| Some((path.clone(), identity(path)?))).collect();
        for path in self.armed.keys().filter(|path| !wanted.contains_key(*path)) {
            // Gone with its directory, perhaps; either way it is not watched afterwards.
            let _ = events.unwatch(path);
        }
        let mut complete = wanted.len() == places.directories.len();
        let mut armed = BTreeMap::new();
        for (path, identity) in wanted {
            let known = self.armed.get(&path) == Some(&identity);
            if known || watch(events, &path, self.armed.contains_key(&path)) {
                armed.insert(path, identity);
            } else {
                complete = false;
            }
        }
        self.armed = armed;
        complete
    }

    /// A difference that no event told of is treated like an event: the files must rest first.
    pub fn touch(&self) {
        self.shared.pending.lock().touch();
    }

    /// Waits; at most `poll` long while nothing is heard.
    pub fn wait(&self, poll: Duration) -> Woken {
        let look_at = Instant::now() + poll;
        let mut pending = self.shared.pending.lock();
        loop {
            if pending.stop {
                return Woken::Stop;
            }
            let now = Instant::now();
            if let Some(heard) = pending.take_rested(now) {
                return Woken::Rested(heard);
            }
            let due = pending.due();
            if std::mem::take(&mut pending.poked) || (due.is_none() && look_at <= now) {
                return Woken::Poll;
            }
            self.shared.wake.wait_until(&mut pending, due.unwrap_or(look_at));
        }
    }
}

/// The system's events, or none.
fn events(handle: &Handle) -> Option<RecommendedWatcher> {
    let shared = Arc::clone(&handle.0);
    let hear = move |event: notify::Result<Event>| {
        let mut pending = shared.pending.lock();
        let matters = match event {
            Ok(event) => can_matter(event.kind) && pending.hear(&event),
            Err(_) => {
                pending.touch();
                true
            }
        };
        if matters {
            shared.wake.notify_one();
        }
    };
    match notify::recommended_watcher(hear) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            log::warn!(target: LOG, "no file events to be had ({error}); the files are looked at more often instead");
            None
        }
    }
}

/// Watches a directory; `anew`: another one had that name before.
fn watch(events: &mut RecommendedWatcher, path: &Path, anew: bool) -> bool {
    if anew {
        let _ = events.unwatch(path);
    }
    match events.watch(path, RecursiveMode::NonRecursive) {
        Ok(()) => true,
        Err(error) => {
            log::debug!(target: LOG, "{} cannot be watched: {error}", path.display());
            false
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}
