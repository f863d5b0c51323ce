//! Wrong passwords and tokens are counted by address, and an address with too many has to wait: guessing is bounded, and so
//! is what remembering it costs.
//!
//! What costs something to verify is an [`Attempt`]: it counts from its beginning, so that a thousand at the same moment
//! are no way around the bound. An address whose attempts under way fill its allowance waits for their outcome; nobody is
//! sent away for what others behind the same address have not yet got wrong.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::UnixMillis;

/// Failures count for so long, from the first of them on.
const WINDOW: Duration = Duration::from_secs(60);

/// So many addresses are remembered: with them the map has about 10 MiB.
const ADDRESSES: usize = 100_000;

/// Whose failures count together: an IPv4 address, or an IPv6 /64, which is one customer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => Self(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into()),
            v4 => Self(v4),
        }
    }
}

impl Network {
    /// As bytes, for a digest.
    pub(super) fn octets(self) -> [u8; 16] {
        match self.0 {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        }
    }
}

/// Failures by address.
#[derive(Debug)]
pub struct Guesses {
    allowed: u32,
    known: Mutex<HashMap<Network, Failures>>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    /// The first failure that counts.
    since: UnixMillis,
    count: u32,
    /// Attempts whose outcome is not known yet.
    under_way: u32,
}

impl Failures {
    /// What is left of the window; a clock that was set back ends it.
    fn left(&self, now: UnixMillis) -> Option<Duration> {
        let age = Duration::from_millis(now.checked_sub(self.since)?);
        WINDOW.checked_sub(age).filter(|left| !left.is_zero())
    }

    fn fail(&mut self, now: UnixMillis) {
        if self.count == 0 || self.left(now).is_none() {
            (self.since, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
    }
}

/// Whether an attempt may begin.
#[derive(Debug)]
pub enum Beginning {
    /// It has.
    Begun(Attempt),
    /// Others from there have not ended: ask again when one has.
    Later,
    /// Not before this has passed.
    Closed(Duration),
}

/// An attempt under way. Dropped without an outcome, it counts as failed.
#[derive(Debug)]
pub struct Attempt {
    guesses: Arc<Guesses>,
    from: Network,
    began: UnixMillis,
    ended: bool,
}

impl Guesses {
    /// So many failures a minute are allowed.
    pub fn new(allowed: u32) -> Self {
        Self { allowed, known: Mutex::default() }
    }

    /// How long that address has to wait; `None`: it may try.
    pub fn wait(&self, from: Network, now: UnixMillis) -> Option<Duration> {
        let failures = *self.known.lock().get(&from)?;
        failures.left(now).filter(|_| failures.count >= self.allowed)
    }

    /// Something wrong came from there.
    pub fn failed(&self, from: Network, now: UnixMillis) {
        self.entry(from, now, |failures| failures.fail(now));
    }

    /// Begins an attempt that costs something.
    pub fn begin(self: &Arc<Self>, from: Network, now: UnixMillis) -> Beginning {
        let allowed = self.allowed;
        self.entry(from, now, |failures| {
            let failed = failures.left(now).map_or(0, |_| failures.count);
            match failures.left(now).filter(|_| failed >= allowed) {
                Some(left) => Beginning::Closed(left),
                None if failed.saturating_add(failures.under_way) >= allowed => Beginning::Later,
                None => {
                    failures.under_way += 1;
                    Beginning::Begun(Attempt { guesses: Arc::clone(self), from, began: now, ended: false })
                }
            }
        })
    }

    fn entry<T>(&self, from: Network, now: UnixMillis, change: impl FnOnce(&mut Failures) -> T) -> T {
        let mut known = self.known.lock();
        if known.len() >= ADDRESSES && !known.contains_key(&from) {
            make_room(&mut known, now);
        }
        change(known.entry(from).or_insert(Failures { since: now, count: 0, under_way: 0 }))
    }
}

impl Attempt {
    /// It was right, and counts for nothing.
    pub fn succeeded(mut self) {
        self.end(None);
    }

    /// It was wrong.
    pub fn failed(mut self, now: UnixMillis) {
        self.end(Some(now));
    }

    fn end(&mut self, failed: Option<UnixMillis>) {
        self.ended = true;
        let mut known = self.guesses.known.lock();
        let Some(failures) = known.get_mut(&self.from) else { return };
        failures.under_way = failures.under_way.saturating_sub(1);
        if let Some(now) = failed {
            failures.fail(now);
        }
        if failures.count == 0 && failures.under_way == 0 {
            known.remove(&self.from);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Some(self.began));
        }
    }
}

/// Forgets what is over; when that is not enough, the oldest half, which has waited longest.
fn make_room(known: &mut HashMap<Network, Failures>, now: UnixMillis) {
    known.retain(|_, failures| failures.under_way > 0 || (failures.count > 0 && failures.left(now).is_some()));
    if known.len() >= ADDRESSES / 4 * 3 {
        let mut begun: Vec<UnixMillis> = known.values().map(|failures| failures.since).collect();
        let middle = begun.len() / 2;
        let middle = *begun.select_nth_unstable(middle).1;
        let mut spare = ADDRESSES / 2;
        known.retain(|_, failures| {
            let keep = failures.under_way > 0 || failures.since > middle || (failures.since == middle && spare > 0);
            spare = spare.saturating_sub(usize::from(failures.since == middle));
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = 1_700_000_000_000;
    const MINUTE: u64 = 60_000;

    fn from(text: &str) -> Network {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn guesses() -> Arc<Guesses> {
        Arc::new(Guesses::new(5))
    }

    #[test]
    fn five_failures_close_the_door_for_a_minute() {
        let (guesses, caller) = (guesses(), from("192.0.2.1"));
        for second in 0..5 {
            assert_eq!(guesses.wait(caller, NOW), None);
            guesses.failed(caller, NOW + second * 1000);
        }
        assert_eq!(guesses.wait(caller, NOW + 5000), Some(Duration::from_secs(55)));
        assert_eq!(guesses.wait(from("::ffff:192.0.2.1"), NOW), Some(WINDOW), "the same address");
        assert_eq!(guesses.wait(from("192.0.2.2"), NOW), None, "somebody else");
        assert_eq!(guesses.wait(caller, NOW + MINUTE), None);
        guesses.failed(caller, NOW + MINUTE);
        assert_eq!(guesses.wait(caller, NOW + MINUTE), None, "counted anew");
        assert_eq!(guesses.wait(caller, NOW - 1), None, "a clock that was set back locks nobody out");
    }

    #[test]
    fn a_network_of_addresses_is_one_guesser() {
        let guesses = guesses();
        (0..5).for_each(|host| guesses.failed(from(&format!("2001:db8::{host}")), NOW));
        assert!(guesses.wait(from("2001:db8::ffff"), NOW).is_some());
        assert!(guesses.wait(from("2001:db8:0:1::"), NOW).is_none());
    }

    fn begun(guesses: &Arc<Guesses>, from: Network) -> Attempt {
        match guesses.begin(from, NOW) {
            Beginning::Begun(attempt) => attempt,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn attempts_at_the_same_time_cannot_be_more_than_are_allowed() {
        let (guesses, caller) = (guesses(), from("192.0.2.1"));
        let mut attempts: Vec<Attempt> = (0..5).map(|_| begun(&guesses, caller)).collect();
        assert!(matches!(guesses.begin(caller, NOW), Beginning::Later));
        assert!(matches!(guesses.begin(from("192.0.2.2"), NOW), Beginning::Begun(_)));
        attempts.pop().unwrap().succeeded();
        attempts.push(begun(&guesses, caller));
        attempts.into_iter().for_each(|attempt| attempt.failed(NOW));
        assert!(matches!(guesses.begin(caller, NOW + 1000), Beginning::Closed(left) if left.as_secs() == 59));
    }

    #[test]
    fn whoever_leaves_before_the_outcome_has_guessed() {
        let (guesses, caller) = (guesses(), from("192.0.2.1"));
        (0..5).for_each(|_| drop(begun(&guesses, caller)));
        assert!(guesses.wait(caller, NOW).is_some());
    }

    #[test]
    fn success_leaves_no_trace() {
        let (guesses, caller) = (guesses(), from("192.0.2.1"));
        begun(&guesses, caller).succeeded();
        assert!(guesses.known.lock().is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let guesses = guesses();
        for number in 0..300_000u32 {
            guesses.failed(Network(IpAddr::from(number.to_be_bytes())), NOW + u64::from(number / 7000));
        }
        let known = guesses.known.lock();
        assert!(known.len() <= ADDRESSES && known.len() > ADDRESSES / 4, "{}", known.len());
        // hashbrown: one byte beside each entry, at most 7 of 8 of a power of two in use.
        let bytes = (known.capacity() * 8 / 7).next_power_of_two() * (size_of::<(Network, Failures)>() + 1);
        assert!(bytes <= 16 << 20, "{bytes} bytes");
    }

    #[test]
    fn all_at_one_moment_are_bounded_too() {
        let guesses = guesses();
        (0..250_000u32).for_each(|number| guesses.failed(Network(IpAddr::from(number.to_be_bytes())), NOW));
        assert!(guesses.known.lock().len() <= ADDRESSES);
    }
}
