//! The last ten minutes of traffic, for the overview: one look a second at counters that requests move anyway.
//!
//! Looks are added up to slots of five seconds, of which the last 120 are kept: some hundred kilobytes, whatever happens.
//! The sampler is a task of the admin listener's own runtime; a second costs it a few thousand additions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior};

use crate::observe::Observer;
use crate::observe::totals::Counted;

/// Slots that are kept: ten minutes.
pub const SLOTS: usize = 120;

/// Looks in a slot.
const LOOKS: u32 = 5;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// What happened in about five seconds.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// How long it was.
    pub lasted: Duration,
    /// What ended in it.
    pub counted: Counted,
    /// The most requests in flight that were seen.
    pub in_flight: u64,
    /// The most open streams that were seen.
    pub streams: u64,
    pub(super) looks: u32,
}

/// The last slots.
#[derive(Debug, Default)]
pub struct Samples(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    slots: VecDeque<Slot>,
    /// The last second alone.
    last: Slot,
}

impl Slot {
    /// So many of them a second.
    #[allow(clippy::cast_precision_loss, reason = "a rate that is shown with a few digits")]
    pub fn rate(&self, count: u64) -> f64 {
        let seconds = self.lasted.as_secs_f64();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }

    fn add(&mut self, look: &Self) {
        self.lasted += look.lasted;
        self.counted.add(&look.counted);
        self.in_flight = self.in_flight.max(look.in_flight);
        self.streams = self.streams.max(look.streams);
        self.looks += 1;
    }
}

impl Samples {
    /// The slots, oldest first, and the last second alone.
    pub fn read(&self) -> (Vec<Slot>, Slot) {
        let kept = self.0.lock();
        (kept.slots.iter().cloned().collect(), kept.last.clone())
    }

    fn take(&self, look: Slot) {
        let mut kept = self.0.lock();
        if kept.slots.back().is_none_or(|slot| slot.looks >= LOOKS) {
            if kept.slots.len() >= SLOTS {
                kept.slots.pop_front();
            }
            kept.slots.push_back(Slot::default());
        }
        if let Some(slot) = kept.slots.back_mut() {
            slot.add(&look);
        }
        kept.last = look;
    }
}

/// Looks each second, until it is dropped.
pub async fn run(samples: Arc<Samples>, observer: Arc<Observer>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut at) = (observer.totals.read(), Instant::now());
    // The first tick comes at once.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let (counted, now) = (observer.totals.read(), Instant::now());
        let level = |level: &std::sync::atomic::AtomicI64| u64::try_from(level.load(Ordering::Relaxed)).unwrap_or(0);
        samples.take(Slot {
            lasted: now - at,
            counted: counted.since(&before),
            in_flight: level(&observer.live.in_flight),
            streams: level(&observer.live.streams_open),
            looks: 1,
        });
        (before, at) = (counted, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(in_flight: u64) -> Slot {
        let mut look = Slot { lasted: PERIOD, counted: Counted::default(), in_flight, streams: 1, looks: 1 };
        look.counted.fine = 10;
        look
    }

    #[test]
    fn looks_add_up_to_slots_and_old_ones_go() {
        let samples = Samples::default();
        for number in 0..7 {
            samples.take(look(number));
        }
        let (slots, last) = samples.read();
        assert_eq!(slots.iter().map(|it| it.counted.fine).collect::<Vec<_>>(), [50, 20]);
        assert_eq!((slots[0].in_flight, slots[0].streams, last.in_flight), (4, 1, 6));
        assert!((slots[0].rate(slots[0].counted.fine) - 10.0).abs() < 1e-9);
        for _ in 0..(SLOTS as u32 * LOOKS) {
            samples.take(look(0));
        }
        assert_eq!(samples.read().0.len(), SLOTS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_has_what_ended_in_it() {
        let (samples, observer) = (Arc::<Samples>::default(), Arc::new(Observer::for_tests().unwrap()));
        let task = tokio::spawn(run(Arc::clone(&samples), Arc::clone(&observer)));
        tokio::time::sleep(PERIOD / 2).await;
        observer.live.in_flight.store(3, Ordering::Relaxed);
        observer.totals.record(&crate::observe::tests::event());
        tokio::time::sleep(PERIOD).await;
        let (slots, last) = samples.read();
        assert_eq!((slots.len(), last.counted.fine, last.in_flight), (1, 1, 3));
        tokio::time::sleep(PERIOD).await;
        assert_eq!(samples.read().1.counted.fine, 0);
        task.abort();
    }
}
