//! When each bucket will be full again: a table of fixed size, in which the fullest bucket makes room.
//!
//! A key has [`WAYS`] places where it may stand. Nothing is ever deleted: a record whose moment has passed is free by itself.
//! The pages are zero until they are used, so an edge with few callers holds little memory.

use std::sync::OnceLock;

use parking_lot::Mutex;

use super::Nanos;

/// Parts with a lock of their own.
const SHARDS: usize = 64;
/// Records in all: 16 MiB.
const RECORDS: usize = 1 << 20;
/// Places that one key may stand at.
const WAYS: usize = 8;
const SETS: usize = RECORDS / SHARDS / WAYS;

/// A key and the moment at which its bucket is full.
type Record = [u64; 2];

/// All records.
#[derive(Debug)]
pub(super) struct Records {
    /// Each made when it is first used: an edge without limits has none.
    shards: Vec<OnceLock<Mutex<Box<[Record]>>>>,
}

impl Default for Records {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| OnceLock::new()).collect() }
    }
}

impl Records {
    /// Moves the moment of one bucket, as `judge` says; when it refuses, nothing changes.
    pub(super) fn update<E>(
        &self,
        key: u64,
        now: Nanos,
        judge: impl FnOnce(Nanos) -> Result<Nanos, E>,
    ) -> Result<(), E> {
        // Low bits choose the shard, the next ones the set: the key is a hash.
        let place = usize::try_from(key & 0xffff_ffff).unwrap_or_default();
        let Some(shard) = self.shards.get(place % SHARDS) else { return judge(now).map(|_| ()) };
        let mut records = shard.get_or_init(|| Mutex::new(vec![[0; 2]; SETS * WAYS].into_boxed_slice())).lock();
        let from = (place / SHARDS % SETS) * WAYS;
        let set = records.get_mut(from..from + WAYS).unwrap_or_default();
        let own = set.iter().position(|[known, full_at]| *known == key && *full_at > now);
        let full_at = own.and_then(|at| set.get(at)).map_or(now, |[_, full_at]| *full_at);
        let full_at = judge(full_at)?;
        let own = own.or_else(|| fullest(set));
        if let Some(record) = own.and_then(|at| set.get_mut(at)) {
            *record = [key, full_at];
        }
        Ok(())
    }
}

/// The place whose bucket is full the soonest, or was the longest ago.
fn fullest(set: &[Record]) -> Option<usize> {
    set.iter().enumerate().min_by_key(|(_, [_, full_at])| *full_at).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of the given set that is unlike those of other `n`.
    fn key(set: u64, n: u64) -> u64 {
        (n << 32) | (set * SHARDS as u64)
    }

    fn add(records: &Records, key: u64, full_at: Nanos, now: Nanos) {
        records.update(key, now, |_| Ok::<_, ()>(full_at)).unwrap();
    }

    fn read(records: &Records, key: u64, now: Nanos) -> Nanos {
        records.update(key, now, Err::<Nanos, _>).unwrap_err()
    }

    #[test]
    fn the_fullest_bucket_makes_room() {
        let records = Records::default();
        for n in 1..=WAYS as u64 {
            add(&records, key(3, n), 1000 + n, 10);
        }
        add(&records, key(3, 99), 5000, 10);
        assert_eq!(read(&records, key(3, 1), 10), 10, "it was the fullest, and is forgotten");
        assert_eq!(read(&records, key(3, 2), 10), 1002);
        assert_eq!(read(&records, key(3, 99), 10), 5000);
        assert_eq!(read(&records, key(4, 2), 10), 10, "another set");
    }

    #[test]
    fn a_moment_that_has_passed_is_a_free_place() {
        let records = Records::default();
        for n in 1..=WAYS as u64 {
            add(&records, key(0, n), if n == 5 { 20 } else { 1000 }, 10);
        }
        add(&records, key(0, 99), 2000, 30);
        for n in (1..=WAYS as u64).filter(|n| *n != 5) {
            assert_eq!(read(&records, key(0, n), 30), 1000, "{n}");
        }
    }

    #[test]
    fn a_refusal_changes_nothing() {
        let records = Records::default();
        add(&records, 7, 100, 10);
        assert_eq!(records.update(7, 10, |_| Err("no")), Err("no"));
        assert_eq!(read(&records, 7, 10), 100);
    }
}
