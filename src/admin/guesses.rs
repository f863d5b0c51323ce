//! Wrong tokens are counted by address, and an address with too many has to wait: guessing is bounded, and so is what
//! remembering it costs.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// So many wrong tokens …
const ALLOWED: u32 = 10;

/// … in so long.
const WINDOW: Duration = Duration::from_secs(60);

/// So many addresses are remembered.
const ADDRESSES: usize = 10_000;

/// Failures by address.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<HashMap<IpAddr, Failures>>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Guesses {
    /// How long that address has to wait; `None`: it may try.
    pub fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.0.lock().get(&network(address)).copied()?;
        let left = WINDOW.checked_sub(now.saturating_duration_since(failures.since)).filter(|left| !left.is_zero())?;
        (failures.count >= ALLOWED).then_some(left)
    }

    /// A wrong token came from there.
    pub fn failed(&self, address: IpAddr, now: Instant) {
        let mut known = self.0.lock();
        if known.len() >= ADDRESSES {
            make_room(&mut known, now);
        }
        let failures = known.entry(network(address)).or_insert(Failures { since: now, count: 0 });
        if now.saturating_duration_since(failures.since) >= WINDOW {
            *failures = Failures { since: now, count: 0 };
        }
        failures.count += 1;
    }
}

/// Forgets what is over; when that is nothing, the oldest half, which has waited longest.
fn make_room(known: &mut HashMap<IpAddr, Failures>, now: Instant) {
    known.retain(|_, failures| now.saturating_duration_since(failures.since) < WINDOW);
    if known.len() >= ADDRESSES {
        let mut begun: Vec<Instant> = known.values().map(|failures| failures.since).collect();
        begun.sort_unstable();
        let middle = begun.get(begun.len() / 2).copied().unwrap_or(now);
        known.retain(|_, failures| failures.since > middle);
    }
}

/// One IPv6 customer has a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_failures_close_the_door_for_a_minute() {
        let (guesses, now, caller) = (Guesses::default(), Instant::now(), address("192.0.2.1"));
        for _ in 0..10 {
            assert_eq!(guesses.wait(caller, now), None);
            guesses.failed(caller, now);
        }
        assert_eq!(guesses.wait(caller, now), Some(WINDOW));
        assert_eq!(guesses.wait(address("::ffff:192.0.2.1"), now), Some(WINDOW), "the same address");
        assert_eq!(guesses.wait(address("192.0.2.2"), now), None, "somebody else");
        assert_eq!(guesses.wait(caller, now + WINDOW), None);
        guesses.failed(caller, now + WINDOW);
        assert_eq!(guesses.wait(caller, now + WINDOW), None, "counted anew");
    }

    #[test]
    fn a_network_of_addresses_is_one_guesser() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        (0..10).for_each(|host| guesses.failed(address(&format!("2001:db8::{host}")), now));
        assert!(guesses.wait(address("2001:db8::ffff"), now).is_some());
        assert!(guesses.wait(address("2001:db8:0:1::"), now).is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        for number in 0..30_000u32 {
            guesses.failed(IpAddr::from(number.to_be_bytes()), start + Duration::from_micros(u64::from(number)));
        }
        assert!(guesses.0.lock().len() <= ADDRESSES);
    }
}
