//! The clock: the one place that reads wall time, so that everything that decides can be handed the moment.

use std::time::{SystemTime, UNIX_EPOCH};

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
