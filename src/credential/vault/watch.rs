//! What other processes do in the directory: a command line that removes a token, a predecessor that saves its last
//! refresh, an operator who copies a file there. Events of the system tell within milliseconds; a look now and then
//! catches what no event told of.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::entry::{Entry, Held};
use super::holdings::Holdings;
use super::refresh::is_older;
use crate::credential::LOG;
use crate::credential::record::{Record, TokenId};
use crate::credential::store::{CORRUPT, Fault, SaveError, Store};

/// How long a change may go on before it is looked at: several renames are one look.
pub const GATHER: Duration = Duration::from_millis(10);
/// How often the directory is looked at without an event, and where events cannot be had.
pub const POLL: Duration = Duration::from_secs(30);
pub const POLL_BLIND: Duration = Duration::from_millis(500);

/// Tells of changes of token files until it is dropped. `None`: there are no events to be had.
pub fn listen(directory: &Path, changed: Arc<Notify>) -> Option<RecommendedWatcher> {
    let hear = move |event: notify::Result<Event>| {
        if event.map_or(true, |event| concerns(&event)) {
            changed.notify_one();
        }
    };
    let watcher = notify::recommended_watcher(hear).and_then(|mut watcher| {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watcher
        .inspect_err(|error| {
            log::warn!(target: LOG, "no events of the tokens' directory are to be had ({error}); it is looked at instead");
        })
        .ok()
}

/// Whether an event can mean another token: the store's own temporary files begin with a dot.
fn concerns(event: &Event) -> bool {
    let is_token = |path: &std::path::PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".json") && !name.starts_with('.')
    };
    event.need_rescan() || (!matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(is_token))
}

impl Holdings {
    /// Compares what is in use with what is in the directory. Blocks.
    pub fn look_at_directory(self: &Arc<Self>) {
        let Some(store) = &self.store else { return };
        let (records, faults) = store.load();
        self.put_back(store, &faults);
        for fault in self.set_faults(faults) {
            self.observer.token_fault(&fault.file, fault.code, &fault.message);
        }
        self.drop_what_is_gone(store, &records);
        for record in records {
            self.compare(store, record);
        }
    }

    /// A damaged file of a token in use is written again from what is in use.
    fn put_back(&self, store: &Store, faults: &[Fault]) {
        for fault in faults.iter().filter(|fault| fault.code == CORRUPT) {
            let id = fault.file.strip_suffix(".json").and_then(TokenId::parse);
            let Some((_, entry)) = id.and_then(|id| self.find(&id)) else { continue };
            if entry.is_placeholder() || entry.is_removed() {
                continue;
            }
            // Read under the lock: an attempt publishes before it releases it.
            let locked = store.lock(&entry.id).map_err(SaveError::from);
            if let Err(error) = locked.and_then(|mut locked| locked.save(&entry.held().record)) {
                log::error!(target: LOG, "token {} is in memory alone: {error}", entry.id);
                entry.put(entry.held().record.clone(), false, &self.clock);
            }
        }
    }

    fn compare(self: &Arc<Self>, store: &Store, record: Record) {
        let Some((pool, entry)) = self.find(&record.id) else {
            self.observer.token_added(&record.provider, record.id.as_str(), "another process");
            return self.insert(Entry::new(record, true, true, &self.clock));
        };
        let held = Arc::clone(&*entry.held());
        if is_older(&record, &held.record) {
            self.heal(store, &entry, &held);
        } else if record.generation > held.record.generation {
            entry.put(record, true, &self.clock);
            pool.line.bump();
            self.wake.notify_one();
        } else if record.generation == held.record.generation && record.state != held.record.state {
            // What was read may be older than what is in use: that is told under the lock.
            self.look_again(&pool, &entry);
        }
    }

    /// An old file was put in the place of what is in use. What was read may have been replaced meanwhile.
    fn heal(&self, store: &Store, entry: &Entry, held: &Held) {
        let is_older = |current: Record| is_older(&current, &held.record);
        if held.durable && store.read(&entry.id).ok().flatten().is_some_and(is_older) {
            log::warn!(target: LOG, "the file of token {} is older than what is in use, which is saved again", entry.id);
            entry.put(held.record.clone(), false, &self.clock);
            self.wake.notify_one();
        }
    }

    /// What is saved while the directory is read may be missing in what was read: each is asked for again.
    fn drop_what_is_gone(&self, store: &Store, records: &[Record]) {
        let known: std::collections::HashSet<_> = records.iter().map(|record| &record.id).collect();
        let pools = self.pools();
        for entry in pools.values().flat_map(|pool| &pool.tokens) {
            let expected = entry.held().durable && !entry.is_removed();
            if expected && !known.contains(&entry.id) && matches!(store.read(&entry.id), Ok(None)) {
                self.observer.token_removed(&entry.provider, entry.id.as_str(), "another process");
                self.take_out(entry);
            }
        }
    }
}
