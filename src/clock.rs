//! The clock: the one place that reads wall time, so that everything that decides can be handed the moment.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC.
pub type UnixMillis = u64;

/// Wall time now, in milliseconds since the epoch (0 if the machine's clock is before it).
pub fn unix_millis() -> UnixMillis {
    unix_micros() / 1000
}

/// Wall time now, in microseconds since the epoch (0 if the machine's clock is before it).
pub fn unix_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// A moment on both clocks: the one that only runs while the machine does, and the one that people set.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Never goes back.
    pub monotonic: Instant,
    /// Goes on while the machine sleeps.
    pub wall: UnixMillis,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), wall: unix_millis() }
    }

    /// The longer of what the two clocks say.
    pub fn since(self, earlier: Self) -> Duration {
        let by_wall = Duration::from_millis(self.wall.saturating_sub(earlier.wall));
        by_wall.max(self.monotonic.saturating_duration_since(earlier.monotonic))
    }
}
