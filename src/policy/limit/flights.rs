//! How many requests of each caller are in flight. A caller without any has no entry, so there are never more entries than
//! requests.

use std::collections::HashMap;

use ahash::RandomState;
use parking_lot::Mutex;

/// Parts with a lock of their own.
const SHARDS: usize = 64;

/// All counts.
#[derive(Debug)]
pub(super) struct Flights {
    shards: Vec<Mutex<HashMap<u64, u32, RandomState>>>,
}

impl Default for Flights {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Flights {
    /// Counts one more, unless there are `most` already.
    pub(super) fn enter(&self, key: u64, most: u32) -> bool {
        let Some(shard) = self.shard(key) else { return false };
        let mut counts = shard.lock();
        if most == 0 || counts.get(&key).is_some_and(|count| *count >= most) {
            return false;
        }
        *counts.entry(key).or_insert(0) += 1;
        true
    }

    /// Counts one less.
    pub(super) fn leave(&self, key: u64) {
        let Some(shard) = self.shard(key) else { return };
        let mut counts = shard.lock();
        match counts.get_mut(&key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = counts.remove(&key),
        }
    }

    fn shard(&self, key: u64) -> Option<&Mutex<HashMap<u64, u32, RandomState>>> {
        self.shards.get(usize::try_from(key & 0xffff).unwrap_or_default() % SHARDS)
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}
