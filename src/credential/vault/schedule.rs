//! When a token is refreshed, and when it is tried again. Pure: the moment is an argument, the jitter comes from the token.
//!
//! A refresh is due at `expires_at - min(refresh_before, half of the lifetime)`, up to a tenth of that margin later, so that
//! tokens of one login hour are not refreshed in one second; at once when an upstream has rejected the generation, once a
//! generation and once a minute. After a refresh whose outcome is unknown, the old token serves until it ends, and only then
//! the old refresh token is tried again.

use std::time::Duration;

use super::moment::Moment;

/// Between two refreshes that an upstream's 401 asked for.
const FORCED_EVERY: Duration = Duration::from_secs(60);
/// Between any two attempts at one token.
const ATTEMPTS_EVERY: Duration = Duration::from_secs(1);
/// How long a 401 counts against a generation.
pub const REJECTION_LASTS: Duration = Duration::from_secs(60);
/// The largest part of a lifetime, and the longest time, that a token is no longer lent before its end.
const SKEW_PART: u32 = 20;
const SKEW: Duration = Duration::from_secs(1);

/// When an access token was had, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// From.
    pub obtained: Moment,
    /// To.
    pub ends: Moment,
}

impl Life {
    /// How long it is.
    pub fn length(&self) -> Duration {
        self.ends.since(self.obtained)
    }

    /// Whether a request that gets it now arrives in time.
    pub fn is_over(&self, now: Moment) -> bool {
        let skew = (self.length() / SKEW_PART).min(SKEW);
        now >= self.ends.before(skew)
    }

    /// When it is refreshed. `jitter`: from 0 to 1000, of a tenth of the margin.
    pub fn refresh_at(&self, refresh_before: Duration, jitter: u32) -> Moment {
        let margin = refresh_before.min(self.length() / 2);
        let later = margin / 10 * jitter.min(1000) / 1000;
        self.ends.before(margin).after(later)
    }
}

/// Why a refresh is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its time has come, or its token has ended.
    Due,
    /// An upstream rejected the generation.
    Rejected,
    /// What an earlier process began is taken up; nothing is asked.
    Recovery,
    /// It is in memory alone: it is saved; nothing is asked.
    Save,
    /// Somebody wants it now.
    Operator,
}

/// What the next attempt at a token depends on.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// There is something to refresh it with, and nobody has to log in.
    pub refreshable: bool,
    /// It is on the disk, or there is no disk.
    pub kept: bool,
    /// What an earlier process may have left has been looked at.
    pub recovered: bool,
    /// Restored from a backup: it may have been spent long ago.
    pub stale: bool,
    /// Of the access token.
    pub life: Life,
    /// As configured.
    pub refresh_before: Duration,
    /// See [`Life::refresh_at`].
    pub jitter: u32,
    /// When an upstream rejected this generation.
    pub rejected: Option<Moment>,
    /// When the last refresh was sent because of a 401, and whether for this generation.
    pub forced: Option<(Moment, bool)>,
    /// When this generation's refresh was sent whose outcome nobody knows.
    pub unknown: Option<Moment>,
    /// Backing off until then.
    pub not_before: Moment,
    /// When the last attempt began.
    pub last_attempt: Moment,
}

/// The next attempt: when, and what for. `None`: there is nothing to be done.
pub fn next_attempt(facts: &Facts) -> Option<(Moment, Cause)> {
    let (at, cause) = wanted(facts)?;
    let at = at.max(facts.not_before);
    match cause {
        // Once a generation and once a minute is seldom enough, and a request waits.
        Cause::Rejected => Some((at, cause)),
        _ => Some((at.max(facts.last_attempt.after(ATTEMPTS_EVERY)), cause)),
    }
}

fn wanted(facts: &Facts) -> Option<(Moment, Cause)> {
    if !facts.kept {
        return Some((Moment::LONG_AGO, Cause::Save));
    }
    if !facts.recovered {
        return Some((Moment::LONG_AGO, Cause::Recovery));
    }
    if !facts.refreshable {
        return None;
    }
    // One attempt at once; after one whose outcome is unknown, the old access token is used up first.
    if facts.stale && facts.unknown.is_none() {
        return Some((Moment::LONG_AGO, Cause::Due));
    }
    if let Some(sent) = facts.unknown {
        return Some((after_unknown(facts, sent), Cause::Due));
    }
    let regular = facts.life.refresh_at(facts.refresh_before, facts.jitter);
    match forced_at(facts) {
        Some(forced) if forced < regular => Some((forced, Cause::Rejected)),
        _ => Some((regular, Cause::Due)),
    }
}

/// The old token serves until its end; one that upstreams reject has ended, but the provider gets a minute.
fn after_unknown(facts: &Facts, sent: Moment) -> Moment {
    match facts.rejected {
        Some(_) => facts.life.ends.min(sent.after(FORCED_EVERY)),
        None => facts.life.ends,
    }
}

fn forced_at(facts: &Facts) -> Option<Moment> {
    let rejected = facts.rejected?;
    match facts.forced {
        Some((_, true)) => None,
        Some((last, false)) => Some(rejected.max(last.after(FORCED_EVERY))),
        None => Some(rejected),
    }
}

/// How long to wait after that many failures in a row: doubled each time.
pub fn backoff(failures: u32, first: Duration, longest: Duration) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(20));
    doubled.min(longest)
}

/// The same for everybody who asks about this token and generation; spread evenly over 0 to 1000 (FNV-1a).
pub fn jitter(id: &str, generation: u64) -> u32 {
    let bytes = id.bytes().chain(generation.to_le_bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    u32::try_from((hash >> 17) % 1001).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1000;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn facts() -> Facts {
        Facts {
            refreshable: true,
            kept: true,
            recovered: true,
            stale: false,
            life: Life { obtained: Moment(0), ends: Moment(3600 * S) },
            refresh_before: seconds(300),
            jitter: 0,
            rejected: None,
            forced: None,
            unknown: None,
            not_before: Moment::LONG_AGO,
            last_attempt: Moment::LONG_AGO,
        }
    }

    #[test]
    fn refreshes_come_before_the_end_but_never_before_half_of_the_life() {
        let life = |length: i64| Life { obtained: Moment(0), ends: Moment(length * S) };
        let rows =
            [(3600, 300, 0, 3300), (3600, 300, 1000, 3330), (400, 300, 0, 200), (400, 300, 1000, 220), (4, 300, 0, 2)];
        for (length, before, jitter, at) in rows {
            let found = life(length).refresh_at(seconds(before), jitter);
            assert_eq!(found, Moment(at * S), "{length} {before} {jitter}");
        }
    }

    #[test]
    fn a_token_is_over_a_moment_before_its_end() {
        let life = Life { obtained: Moment(0), ends: Moment(3600 * S) };
        assert!(!life.is_over(Moment(3598 * S)) && life.is_over(Moment(3599 * S)));
        let short = Life { obtained: Moment(0), ends: Moment(2 * S) };
        assert!(!short.is_over(Moment(1899)) && short.is_over(Moment(1900)));
        let none = Life { obtained: Moment(0), ends: Moment(0) };
        assert!(none.is_over(Moment(0)));
    }

    #[test]
    fn what_is_done_next() {
        let rejected = Facts { rejected: Some(Moment(100 * S)), ..facts() };
        let unknown = Facts { unknown: Some(Moment(3300 * S)), ..facts() };
        let early_unknown = Facts { unknown: Some(Moment(100 * S)), ..rejected };
        let rows = [
            ("in time", facts(), Some((3300 * S, Cause::Due))),
            ("nothing to refresh it with", Facts { refreshable: false, ..facts() }, None),
            ("restored", Facts { stale: true, ..facts() }, Some((i64::MIN, Cause::Due))),
            ("not looked at yet", Facts { recovered: false, ..facts() }, Some((i64::MIN, Cause::Recovery))),
            ("not saved: nothing else is done", Facts { kept: false, ..rejected }, Some((i64::MIN, Cause::Save))),
            ("backing off", Facts { not_before: Moment(3400 * S), ..facts() }, Some((3400 * S, Cause::Due))),
            ("just tried", Facts { last_attempt: Moment(3300 * S), ..facts() }, Some((3301 * S, Cause::Due))),
            ("rejected", rejected, Some((100 * S, Cause::Rejected))),
            (
                "rejected again",
                Facts { forced: Some((Moment(80 * S), false)), ..rejected },
                Some((140 * S, Cause::Rejected)),
            ),
            ("once a generation", Facts { forced: Some((Moment(0), true)), ..rejected }, Some((3300 * S, Cause::Due))),
            ("unknown: at its end", unknown, Some((3600 * S, Cause::Due))),
            ("unknown and rejected: in a minute", early_unknown, Some((160 * S, Cause::Due))),
        ];
        for (name, facts, expected) in rows {
            let found = next_attempt(&facts);
            assert_eq!(
                found,
                expected.map(|(at, cause)| (Moment(at).max(Moment::LONG_AGO.after(seconds(1))), cause)),
                "{name}"
            );
        }
    }

    #[test]
    fn failures_are_followed_by_longer_waits() {
        let waits = [0, 1, 2, 3, 7, 40].map(|n| backoff(n, seconds(1), seconds(60)).as_secs());
        assert_eq!(waits, [1, 1, 2, 4, 60, 60]);
    }

    #[test]
    fn jitter_is_spread() {
        let found: Vec<u32> = (0..1000).map(|generation| jitter("kiro-1f", generation)).collect();
        let mean = found.iter().sum::<u32>() / 1000;
        assert!((400..600).contains(&mean) && found.iter().all(|found| *found <= 1000), "{mean}");
        assert_ne!(jitter("kiro-1f", 1), jitter("kiro-2f", 1));
    }
}
