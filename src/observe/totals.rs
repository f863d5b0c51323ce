//! What the dashboard draws: every finished request, counted by class and by time to its first byte, whatever its route.
//!
//! The families of the metrics page have a series for each route and status; adding thousands of them up each second would
//! cost more than counting once more. The counts lie in shards, one for a few threads, so that workers do not
//! fight for a cache line: a request costs two additions that nobody else waits for.
//!
//! Invariant: a quantile that is read lies within an eighth of the true one (`quantiles_are_near_the_truth`).

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::event::{End, RequestEnd};

/// More threads than this share.
const SHARDS: usize = 16;

/// Four to an octave, of microseconds: the first holds everything below 64 µs, the last everything from half an hour on.
const BUCKETS: usize = 101;

/// The octave of the first bucket's end.
const FIRST_OCTAVE: u32 = 6;

/// What has been counted since the start.
#[derive(Debug)]
pub struct Totals {
    shards: Box<[Shard; SHARDS]>,
    next: AtomicUsize,
}

/// Aligned so that no two lie in one cache line (with the pair that some processors fetch at once).
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    fine: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    first_bytes: [AtomicU64; BUCKETS],
}

impl Default for Shard {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { fine: zero(), refused: zero(), failed: zero(), first_bytes: std::array::from_fn(|_| zero()) }
    }
}

/// The counts at one moment, or the difference of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Requests below 400.
    pub fine: u64,
    /// 4xx, and clients that left.
    pub refused: u64,
    /// 5xx, and answers that were cut short.
    pub failed: u64,
    pub(crate) first_bytes: [u64; BUCKETS],
}

impl Default for Counted {
    fn default() -> Self {
        Self { fine: 0, refused: 0, failed: 0, first_bytes: [0; BUCKETS] }
    }
}

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl Default for Totals {
    fn default() -> Self {
        Self { shards: Box::new(std::array::from_fn(|_| Shard::default())), next: AtomicUsize::new(0) }
    }
}

impl Totals {
    /// Counts a finished request.
    pub fn record(&self, event: &RequestEnd<'_>) {
        let Some(shard) = self.shards.get(self.mine()) else { return };
        let class = match (event.end, event.status) {
            (End::UpstreamAbort, _) | (_, 500..) => &shard.failed,
            (End::ClientAbort, _) | (_, 400..=499) => &shard.refused,
            _ => &shard.fine,
        };
        class.fetch_add(1, Ordering::Relaxed);
        let bucket = event.first_byte.and_then(|it| shard.first_bytes.get(bucket(it)));
        if let Some(bucket) = bucket {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The shard of this thread: the same one each time.
    fn mine(&self) -> usize {
        SHARD.with(|mine| {
            if mine.get() == usize::MAX {
                mine.set(self.next.fetch_add(1, Ordering::Relaxed) % SHARDS);
            }
            mine.get()
        })
    }

    /// The counts as of now.
    pub fn read(&self) -> Counted {
        let mut sum = Counted::default();
        for shard in self.shards.iter() {
            sum.fine += shard.fine.load(Ordering::Relaxed);
            sum.refused += shard.refused.load(Ordering::Relaxed);
            sum.failed += shard.failed.load(Ordering::Relaxed);
            let pairs = sum.first_bytes.iter_mut().zip(&shard.first_bytes);
            pairs.for_each(|(sum, one)| *sum += one.load(Ordering::Relaxed));
        }
        sum
    }
}

impl Counted {
    /// Requests.
    pub fn requests(&self) -> u64 {
        self.fine + self.refused + self.failed
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut first_bytes = self.first_bytes;
        let pairs = first_bytes.iter_mut().zip(&earlier.first_bytes);
        pairs.for_each(|(now, then)| *now = now.saturating_sub(*then));
        Self {
            fine: self.fine.saturating_sub(earlier.fine),
            refused: self.refused.saturating_sub(earlier.refused),
            failed: self.failed.saturating_sub(earlier.failed),
            first_bytes,
        }
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.fine += other.fine;
        self.refused += other.refused;
        self.failed += other.failed;
        self.first_bytes.iter_mut().zip(&other.first_bytes).for_each(|(sum, one)| *sum += one);
    }

    /// The time to the first byte that this part of the requests (0.0 to 1.0) did not exceed; `None`: nobody answered.
    pub fn first_byte(&self, part: f64) -> Option<Duration> {
        let all: u64 = self.first_bytes.iter().sum();
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank"
        )]
        let rank = ((all as f64 * part).ceil() as u64).clamp(1, all.max(1));
        let mut seen = 0;
        self.first_bytes.iter().enumerate().find_map(|(index, count)| {
            seen += count;
            (*count > 0 && seen >= rank).then(|| middle(index))
        })
    }
}

/// Where a duration is counted.
fn bucket(duration: Duration) -> usize {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1);
    let octave = micros.ilog2();
    if octave < FIRST_OCTAVE {
        return 0;
    }
    let quarter = (micros >> (octave - 2)) & 3;
    let index = u64::from(octave - FIRST_OCTAVE) * 4 + quarter + 1;
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// What a bucket stands for.
fn middle(index: usize) -> Duration {
    let Some(above) = u64::try_from(index).unwrap_or(0).checked_sub(1) else {
        return Duration::from_micros(1 << (FIRST_OCTAVE - 1));
    };
    let width = 1u64 << (above / 4 + u64::from(FIRST_OCTAVE) - 2);
    Duration::from_micros(width * (4 + above % 4) + width / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::event;
    use super::*;

    fn counted(events: &[RequestEnd<'_>]) -> Counted {
        let totals = Totals::default();
        events.iter().for_each(|event| totals.record(event));
        totals.read()
    }

    #[test]
    fn requests_are_counted_by_how_they_ended() {
        let counted = counted(&[
            event(),
            RequestEnd { status: 301, ..event() },
            RequestEnd { status: 404, ..event() },
            RequestEnd { status: 0, end: End::ClientAbort, ..event() },
            RequestEnd { status: 503, ..event() },
            RequestEnd { end: End::UpstreamAbort, ..event() },
        ]);
        assert_eq!((counted.fine, counted.refused, counted.failed, counted.requests()), (2, 2, 2, 6));
    }

    #[test]
    fn a_difference_has_what_came_between() {
        let totals = Totals::default();
        totals.record(&RequestEnd { first_byte: Some(Duration::from_secs(9)), ..event() });
        let before = totals.read();
        totals.record(&RequestEnd { first_byte: Some(Duration::from_millis(2)), ..event() });
        let between = totals.read().since(&before);
        assert_eq!(between.requests(), 1);
        assert!(between.first_byte(0.99).unwrap() < Duration::from_millis(3));
        assert_eq!(totals.read().since(&totals.read()).first_byte(0.5), None);
    }

    #[test]
    fn threads_lose_nothing() {
        let totals = Totals::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..500).for_each(|_| totals.record(&event())));
            }
        });
        assert_eq!(totals.read().requests(), 10_000);
    }

    proptest! {
        #[test]
        fn quantiles_are_near_the_truth(mut micros in proptest::collection::vec(64u64..1_000_000_000, 1..200), part in 0.01f64..1.0) {
            let totals = Totals::default();
            for micros in &micros {
                totals.record(&RequestEnd { first_byte: Some(Duration::from_micros(*micros)), ..event() });
            }
            micros.sort_unstable();
            let rank = ((micros.len() as f64 * part).ceil() as usize).max(1);
            let (truth, read) = (micros[rank - 1] as f64, totals.read().first_byte(part).unwrap().as_micros() as f64);
            prop_assert!((read - truth).abs() <= truth / 8.0 + 1.0, "{read} for {truth}");
        }
    }
}
