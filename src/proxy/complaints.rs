//! Complaints that anybody can cause: told now and then, with how many were left out, so that nobody fills the log.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long one is told for all.
const QUIET: Duration = Duration::from_secs(10);

/// The complaints of one listener.
#[derive(Debug, Default)]
pub struct Complaints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    left_out: u64,
}

impl Complaints {
    /// Lets one be told, with what to add to it, unless one was told lately.
    pub fn complain(&self, tell: impl FnOnce(&str)) {
        if let Some(left_out) = self.may_tell(Instant::now()) {
            match left_out {
                0 => tell(""),
                more => tell(&format!(" ({more} more since the last such line)")),
            }
        }
    }

    fn may_tell(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        if state.told.is_some_and(|told| now.saturating_duration_since(told) < QUIET) {
            state.left_out += 1;
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_told_for_many() {
        let complaints = Complaints::default();
        let start = Instant::now();
        assert_eq!(complaints.may_tell(start), Some(0));
        for _ in 0..3 {
            assert_eq!(complaints.may_tell(start + QUIET / 2), None);
        }
        assert_eq!(complaints.may_tell(start + QUIET), Some(3));
        assert_eq!(complaints.may_tell(start + QUIET * 3), Some(0));
    }
}
