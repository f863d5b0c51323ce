//! Time in the vault: moments of a clock that never jumps. The wall's clock is asked once, when a token is taken up
//! (its file knows nothing else), and for what people see.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{self, UnixMillis};

/// Milliseconds since the vault's start; negative before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// Earlier than anything that happens.
    pub const LONG_AGO: Self = Self(i64::MIN);

    /// That much later.
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(millis(time)))
    }

    /// That much earlier.
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(millis(time)))
    }

    /// How long ago `earlier` was; zero if it was not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// The vault's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    /// For tests with a clock of their own: the wall's time at the origin.
    wall_at_origin: Option<UnixMillis>,
}

impl Clock {
    /// Begins now.
    pub fn start() -> Self {
        Self { origin: Instant::now(), wall_at_origin: None }
    }

    /// The wall's clock goes with tokio's, which tests stop and wind.
    #[cfg(test)]
    pub fn manual(wall: UnixMillis) -> Self {
        Self { origin: Instant::now(), wall_at_origin: Some(wall) }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        Moment(millis(self.origin.elapsed()))
    }

    /// Now, on the wall.
    pub fn wall(&self) -> UnixMillis {
        match self.wall_at_origin {
            Some(wall) => wall.saturating_add_signed(self.now().0),
            None => clock::unix_millis(),
        }
    }

    /// The moment that is that time on the wall, as the wall's clock goes now.
    pub fn moment_of(&self, wall: UnixMillis) -> Moment {
        let ahead = i128::from(wall) - i128::from(self.wall());
        let ahead = i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX });
        Moment(self.now().0.saturating_add(ahead))
    }

    /// What the wall's clock shows at that moment, as it goes now.
    pub fn wall_of(&self, moment: Moment) -> UnixMillis {
        self.wall().saturating_add_signed(moment.0.saturating_sub(self.now().0))
    }

    /// For waiting.
    pub fn instant_of(&self, moment: Moment) -> Instant {
        let ahead = Duration::from_millis(u64::try_from(moment.0).unwrap_or(0));
        self.origin.checked_add(ahead).unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn walls_and_moments_go_together() {
        let clock = Clock::manual(1_000_000);
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!((clock.now(), clock.wall()), (Moment(250), 1_000_250));
        assert_eq!(clock.moment_of(999_000), Moment(-1_000));
        assert_eq!(clock.wall_of(Moment(-1_000)), 999_000);
        assert_eq!(clock.moment_of(u64::MAX), Moment(i64::MAX));
    }

    #[test]
    fn nothing_overflows() {
        assert_eq!(Moment(i64::MAX).after(Duration::MAX), Moment(i64::MAX));
        assert_eq!(Moment::LONG_AGO.before(Duration::MAX), Moment::LONG_AGO);
        assert_eq!(Moment(3).since(Moment(5)), Duration::ZERO);
    }
}
