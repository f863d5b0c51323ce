//! How many of an upstream's requests may be repeats, so that an outage is not made worse by those who wait for its end.
//!
//! Counted over the last ten seconds: a fifth of the requests, and a few more, so that an upstream with little traffic may
//! repeat too. Time is an argument.

use parking_lot::Mutex;

/// Seconds that are looked back on.
const WINDOW: u64 = 10;
/// One repeat for so many requests.
const SHARE: u64 = 5;
/// Repeats in the window that need no requests.
const FLOOR: u64 = 30;

/// The repeats of one upstream.
#[derive(Debug, Default)]
pub struct Budget(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    /// The second that was counted last.
    second: u64,
    /// By second, modulo the window.
    slots: [Slot; WINDOW as usize],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    requests: u64,
    repeats: u64,
}

impl Budget {
    /// A request is sent for the first time. `now`: any clock that only goes forward, in milliseconds.
    pub fn sent(&self, now: u64) {
        let mut window = self.0.lock();
        if let Some(slot) = window.slot(now) {
            slot.requests += 1;
        }
    }

    /// Takes one repeat out of the budget, if there is one in it.
    pub fn take(&self, now: u64) -> bool {
        let mut window = self.0.lock();
        // Time first: what is too old must not count.
        let _ = window.slot(now);
        let (requests, repeats) = window.sums();
        let left = repeats < FLOOR + requests / SHARE;
        if left && let Some(slot) = window.slot(now) {
            slot.repeats += 1;
        }
        left
    }
}

impl Window {
    /// The present second's slot; seconds that nobody counted are emptied on the way.
    fn slot(&mut self, now: u64) -> Option<&mut Slot> {
        let second = now / 1000;
        if second >= self.second + WINDOW {
            self.slots = [Slot::default(); WINDOW as usize];
            self.second = second;
        }
        while self.second < second {
            self.second += 1;
            if let Some(slot) = self.slots.get_mut(index_of(self.second)) {
                *slot = Slot::default();
            }
        }
        self.slots.get_mut(index_of(self.second))
    }

    fn sums(&self) -> (u64, u64) {
        self.slots.iter().fold((0, 0), |sums, slot| (sums.0 + slot.requests, sums.1 + slot.repeats))
    }
}

fn index_of(second: u64) -> usize {
    usize::try_from(second % WINDOW).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Budget, FLOOR};

    fn takes(budget: &Budget, now: u64, count: u64) -> u64 {
        (0..count).map(|_| u64::from(budget.take(now))).sum()
    }

    #[test]
    fn a_fifth_of_the_requests_and_a_few_more() {
        let budget = Budget::default();
        assert_eq!(takes(&budget, 1_000_000, 1000), FLOOR);
        (0..1000).for_each(|_| budget.sent(1_000_500));
        assert_eq!(takes(&budget, 1_001_000, 1000), 200);
    }

    #[test]
    fn what_is_older_than_ten_seconds_does_not_count() {
        let budget = Budget::default();
        (0..100).for_each(|_| budget.sent(5_000));
        assert_eq!(takes(&budget, 5_000, 1000), FLOOR + 20);
        assert_eq!(takes(&budget, 14_999, 1), 0, "still within");
        assert_eq!(takes(&budget, 15_000, 1000), FLOOR, "both the requests and the repeats are forgotten");
        assert_eq!(takes(&budget, 900_000, 1000), FLOOR);
    }

    /// Threads read the clock in an order of their own.
    #[test]
    fn a_clock_that_goes_back_a_little_loses_nothing() {
        let budget = Budget::default();
        budget.sent(20_000);
        assert_eq!(takes(&budget, 19_990, 1000), FLOOR);
        assert_eq!(takes(&budget, 20_000, 1000), 0);
    }
}
