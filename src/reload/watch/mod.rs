//! Notices edits: whatever the editor does to the files, they are live within half a second of the last write.
//!
//! Flow: directories are watched (`places`); events that concern the files start a rest period, so that several quick
//! saves are one reload; then the [`Reloader`] reads. A look at the files every two seconds ([`fingerprint`]) catches
//! what no event told of (network file systems, a replaced directory). What is watched is settled anew after each load.
//!
//! Invariant: files that merely lie beside the watched ones (a log) cause nothing
//! (`a_log_beside_the_configuration_is_not_an_edit`).

pub mod fingerprint;
mod places;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::{Condvar, Mutex};

use fingerprint::Fingerprint;
use places::Places;

use super::{LOG, Reloader, Trigger};

/// How long files must rest before they are read.
const REST: Duration = Duration::from_millis(100);

/// The same while a writer still has one of them open: it is probably not done.
const REST_OPEN: Duration = Duration::from_millis(300);

/// Files that never rest are read as they are after this.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the files are looked at without an event.
const POLL: Duration = Duration::from_secs(2);

/// The same where events cannot be had.
const POLL_BLIND: Duration = Duration::from_millis(200);

/// Watches the files of one [`Reloader`] until dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
}

impl Watch {
    /// Starts watching.
    ///
    /// # Errors
    /// No thread can be started. (Where events cannot be had, the files are looked at more often instead.)
    pub fn start(reloader: Arc<Reloader>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let watcher =
            Listener { reloader, shared: Arc::clone(&shared), events: events(&shared), armed: BTreeMap::new() };
        std::thread::Builder::new().name("config-watch".to_owned()).spawn(move || watcher.run())?;
        Ok(Self { shared })
    }

    /// Whether everything heard has been acted upon.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.shared.pending.lock().heard.is_none()
    }

    /// Whether a writer has been heard to be done, and that is not yet acted upon.
    #[cfg(test)]
    pub(super) fn has_heard_all(&self) -> bool {
        let pending = self.shared.pending.lock();
        pending.heard.is_some() && pending.open.is_empty()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.pending.lock().stop = true;
        self.shared.wake.notify_one();
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
    /// One of the files themselves was concerned, not only a directory on the way.
    exact: bool,
    /// Files that have been written to and not closed.
    open: HashSet<PathBuf>,
    /// The names that matter.
    names: HashSet<PathBuf>,
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

    /// Takes note of an event. Returns whether it matters.
    fn hear(&mut self, event: &Event) -> bool {
        if event.need_rescan() {
            self.exact = true;
            self.touch();
            return true;
        }
        let mut matters = false;
        for path in &event.paths {
            let exact = self.names.contains(path);
            if exact {
                self.follow_writer(event.kind, path);
            }
            if exact || comes_or_goes(event.kind) {
                self.exact |= exact;
                matters = true;
            }
        }
        if matters {
            self.touch();
        }
        matters
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

/// The system's events, or none.
fn events(shared: &Arc<Shared>) -> Option<RecommendedWatcher> {
    let shared = Arc::clone(shared);
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
            log::warn!(target: LOG, "no file events to be had ({error}); looking at the files five times a second");
            None
        }
    }
}

/// What events told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    /// They were about the files themselves.
    exact: bool,
    /// The last one.
    last: Instant,
}

/// What the thread wakes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    /// The files have rested after events.
    Rested(Heard),
    /// Time to look.
    Poll,
    Stop,
}

/// The thread's side.
struct Listener {
    reloader: Arc<Reloader>,
    shared: Arc<Shared>,
    events: Option<RecommendedWatcher>,
    /// Watched directories, and which inode had that name then.
    armed: BTreeMap<PathBuf, (u64, u64)>,
}

impl Listener {
    fn run(mut self) {
        loop {
            let hears_all = self.arm();
            // Also catches what changed between a load and the watching of what it read.
            self.look();
            match self.wait(if hears_all { POLL } else { POLL_BLIND }) {
                Woken::Stop => return,
                Woken::Poll => {}
                Woken::Rested(heard) => self.act(heard),
            }
            self.reloader.sweep();
        }
    }

    fn wait(&self, poll: Duration) -> Woken {
        let look_at = Instant::now() + poll;
        let mut pending = self.shared.pending.lock();
        loop {
            if pending.stop {
                return Woken::Stop;
            }
            let due = pending.due();
            let now = Instant::now();
            if let Some((_, last)) = pending.heard.take_if(|_| due.is_some_and(|due| due <= now)) {
                pending.open.clear();
                return Woken::Rested(Heard { exact: std::mem::take(&mut pending.exact), last });
            }
            if due.is_none() && look_at <= now {
                return Woken::Poll;
            }
            self.shared.wake.wait_until(&mut pending, due.unwrap_or(look_at));
        }
    }

    /// A difference that no event told of is treated like an event: the files must rest first.
    fn look(&self) {
        if self.differs() {
            self.shared.pending.lock().touch();
        }
    }

    /// Times and sizes do not tell everything of two quick writes, so that an event about a file counts by itself; unless
    /// somebody has asked for a reload since.
    fn act(&self, heard: Heard) {
        let unread = heard.exact && self.reloader.last_began() <= heard.last;
        if unread || self.differs() {
            self.reloader.reload(Trigger::File);
        }
    }

    fn differs(&self) -> bool {
        let (files, seen) = self.reloader.seen();
        Fingerprint::of(&files) != seen
    }

    /// Watches what the last load has read, and nothing else. Returns whether events will come for all of it.
    fn arm(&mut self) -> bool {
        let places = Places::of(&self.reloader.watched());
        self.shared.pending.lock().names.clone_from(&places.exact);
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
