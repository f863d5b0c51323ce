//! When things happen: pure arithmetic over milliseconds, with the moment and the randomness handed in.
//!
//! Certificates live for ninety days, for six, or, in tests, for a minute. So no time here is absolute: each is bounded
//! by a part of the lifetime, and what is normal for ninety days is what the bounds leave untouched.

use std::time::Duration;

use crate::clock::UnixMillis;

/// The first wait after a failure that the CA had part in.
const FIRST: Duration = Duration::from_secs(60);
/// The same when the CA could not even be asked, which costs it nothing.
const FIRST_UNREACHABLE: Duration = Duration::from_secs(5);
/// No wait that we choose ourselves is longer.
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// What a CA may ask for at most.
const LONGEST_ASKED: Duration = Duration::from_secs(7 * 24 * 3600);
/// RFC 9773 §4.3.2: the bounds of what a CA may say about when to ask again.
const SOONEST_LOOK: Duration = Duration::from_secs(60);
const LATEST_LOOK: Duration = Duration::from_secs(24 * 3600);
/// When there was no answer (RFC 9773 §4.3.3).
const LOOK_AGAIN: Duration = Duration::from_secs(6 * 3600);

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The first moment.
    pub from: UnixMillis,
    /// The moment that is too late.
    pub until: UnixMillis,
}

impl Life {
    fn length(self) -> u64 {
        self.until.saturating_sub(self.from)
    }

    fn part(self, of: u64) -> Duration {
        Duration::from_millis(self.length() / of)
    }
}

/// When the CA suggests to renew (RFC 9773 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// From.
    pub start: UnixMillis,
    /// To; later than `start`.
    pub end: UnixMillis,
}

impl Window {
    /// `None`: it ends before it starts, and so suggests nothing.
    pub fn new(start: UnixMillis, end: UnixMillis) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }
}

/// When to renew. `chance`: from 0 to 1, so that not everybody comes at once.
pub fn renewal(life: Life, before: Option<Duration>, window: Option<Window>, chance: f64) -> UnixMillis {
    let planned = match window {
        Some(Window { start, end }) => start.saturating_add(scaled(end - start, chance)),
        None => by_age(life, before, chance),
    };
    // Whatever was said: a tenth of the life is left for when it fails the first time.
    planned.min(life.until.saturating_sub(life.length() / 10))
}

/// A third of the life before its end, or what the operator wrote; up to a fiftieth of the life earlier by chance.
fn by_age(life: Life, before: Option<Duration>, chance: f64) -> UnixMillis {
    let length = life.length();
    let before = before.map_or(length / 3, millis);
    // Written for longer lives, it would renew without end.
    let before = before.min(length / 3 * 2);
    life.until.saturating_sub(before).saturating_sub(scaled(length / 50, chance))
}

/// Why the last attempt came to nothing, as far as waiting is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setback {
    /// The CA was not reached.
    Unreachable,
    /// Anything else.
    Refused,
}

/// How long to wait after that many failures in a row (at least 1): twice as long each time, and at least what the CA
/// asked for. `life`: of the certificate that is to be replaced.
pub fn backoff(failures: u32, setback: Setback, life: Option<Life>, asked: Option<Duration>, chance: f64) -> Duration {
    let first = if setback == Setback::Unreachable { FIRST_UNREACHABLE } else { FIRST };
    let (first, most) = match life {
        Some(life) => (first.min(life.part(30)), LONGEST.min(life.part(12))),
        None => (first, LONGEST),
    };
    let doubled = first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(most);
    let spread = Duration::from_millis(scaled(millis(doubled) / 10, chance));
    let wait = doubled.saturating_sub(spread).max(Duration::from_secs(1));
    wait.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

/// How long until the CA's suggestion is asked for again. `said`: by its Retry-After; `Err`: there was no answer.
pub fn next_look(life: Life, said: Result<Option<Duration>, ()>) -> Duration {
    let wanted = match said {
        Ok(said) => said.unwrap_or(LOOK_AGAIN),
        Err(()) => LOOK_AGAIN,
    };
    let soonest = SOONEST_LOOK.min(life.part(30));
    let latest = LATEST_LOOK.min(life.part(8));
    wanted.clamp(soonest, latest.max(soonest)).max(Duration::from_secs(1))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A part of a span; what the span has beyond 2^53 ms is of no interest.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part, from 0 to 1, of a span of years at most"
)]
fn scaled(span: u64, chance: f64) -> u64 {
    (span as f64 * chance.clamp(0.0, 1.0)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1000;
    const DAY: u64 = 24 * 3600 * SECOND;
    const HOUR: Duration = Duration::from_secs(3600);

    fn days(days: u64) -> Life {
        Life { from: 1000 * DAY, until: (1000 + days) * DAY }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const MINUTE_LONG: Life = Life { from: 1000 * DAY, until: 1000 * DAY + 60 * SECOND };

    #[test]
    fn without_a_word_from_the_ca_a_certificate_is_renewed_after_two_thirds_of_its_life() {
        let of = |life: Life, before: Option<Duration>, chance| renewal(life, before, None, chance) - life.from;
        for (life, before, chance, expected) in [
            (days(90), None, 0.0, 60 * DAY),
            (days(90), None, 1.0, 60 * DAY - 90 * DAY / 50),
            (days(6), None, 0.0, 4 * DAY),
            (MINUTE_LONG, None, 0.0, 40 * SECOND),
            (days(90), Some(HOUR * 24 * 10), 0.0, 80 * DAY),
            // Meant for ninety days, applied to six: still not at once, nor before anything else has happened.
            (days(6), Some(HOUR * 24 * 30), 0.0, 2 * DAY),
            // Too short to survive a failure.
            (days(90), Some(seconds(1)), 0.0, 81 * DAY),
        ] {
            assert_eq!(of(life, before, chance), expected, "{life:?} {before:?} {chance}");
        }
    }

    #[test]
    fn the_cas_window_is_kept_to_wherever_it_lies() {
        let life = days(90);
        let window = |from: u64, to: u64| Window::new(life.from + from * DAY, life.from + to * DAY);
        for (window, chance, expected) in [
            (window(50, 52), 0.0, 50 * DAY),
            (window(50, 52), 0.5, 51 * DAY),
            (window(50, 52), 1.0, 52 * DAY),
            // A revocation is near: now, and before `renew_before` would have it.
            (window(1, 2), 0.5, DAY + DAY / 2),
            // Nonsense, which would leave clients without a valid certificate.
            (window(95, 99), 0.5, 81 * DAY),
            (window(52, 50), 0.0, 60 * DAY),
            (window(50, 50), 0.0, 60 * DAY),
        ] {
            assert_eq!(renewal(life, None, window, chance) - life.from, expected, "{window:?} {chance}");
        }
        let written = renewal(life, Some(HOUR), window(50, 52), 0.0) - life.from;
        assert_eq!(written, 50 * DAY, "the CA's word goes before `renew_before`");
    }

    #[test]
    fn failures_are_followed_by_waits_that_double_and_end_at_half_a_day() {
        use Setback::{Refused, Unreachable};
        let wait = |failures, setback, life| backoff(failures, setback, life, None, 0.0);
        for (failures, setback, life, expected) in [
            (1, Refused, None, seconds(60)),
            (2, Refused, None, seconds(120)),
            (5, Refused, None, seconds(960)),
            (11, Refused, None, HOUR * 12),
            (u32::MAX, Refused, None, HOUR * 12),
            (1, Unreachable, None, seconds(5)),
            (3, Unreachable, None, seconds(20)),
            (40, Unreachable, None, HOUR * 12),
            (1, Refused, Some(days(90)), seconds(60)),
            (40, Refused, Some(days(90)), HOUR * 12),
            (40, Refused, Some(days(3)), HOUR * 6),
            (1, Refused, Some(MINUTE_LONG), seconds(2)),
            (2, Refused, Some(MINUTE_LONG), seconds(4)),
            (9, Refused, Some(MINUTE_LONG), seconds(5)),
        ] {
            assert_eq!(wait(failures, setback, life), expected, "{failures} {setback:?} {life:?}");
        }
        assert_eq!(backoff(2, Refused, None, None, 1.0), seconds(108), "up to a tenth sooner by chance");
    }

    #[test]
    fn a_ca_gets_the_time_that_it_asks_for() {
        let asked = |asked, failures| backoff(failures, Setback::Refused, Some(MINUTE_LONG), Some(asked), 0.5);
        assert_eq!(asked(HOUR, 1), HOUR, "however short the certificate's life is");
        assert_eq!(asked(HOUR * 24 * 365, 1), HOUR * 24 * 7, "within reason");
        assert!(backoff(5, Setback::Refused, None, Some(seconds(1)), 0.0) > seconds(900), "and not less than ours");
    }

    #[test]
    fn suggestions_are_asked_for_as_the_ca_says_and_at_least_daily() {
        for (life, said, expected) in [
            (days(90), Ok(Some(HOUR * 3)), HOUR * 3),
            (days(90), Ok(Some(HOUR * 1000)), HOUR * 24),
            (days(90), Ok(Some(seconds(0))), seconds(60)),
            (days(90), Ok(None), HOUR * 6),
            (days(90), Err(()), HOUR * 6),
            (days(6), Ok(Some(HOUR * 1000)), HOUR * 18),
            (MINUTE_LONG, Ok(Some(HOUR)), Duration::from_millis(7500)),
            (MINUTE_LONG, Ok(Some(seconds(0))), seconds(2)),
        ] {
            assert_eq!(next_look(life, said), expected, "{life:?} {said:?}");
        }
    }
}
