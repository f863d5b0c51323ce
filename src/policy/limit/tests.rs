//! The bucket against a naive one, the exact wait, whose requests count together, and the memory.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const SECOND: Nanos = 1_000_000_000;

fn rules(quota: Option<Quota>, concurrent: Option<u32>) -> Rules {
    Rules { quota, concurrent, body: None }
}

fn limits(scope: Scope, rules: Rules) -> Limits {
    Limits::new(&Arc::default(), ("demo", "production", "/a0"), scope, rules)
}

fn per_second(count: u32, burst: u32) -> Limits {
    limits(Scope::Address, rules(Some(Quota::new(count, Duration::from_secs(1), burst)), None))
}

fn from(address: &str) -> Caller<'static> {
    Caller { client: None, user: "", address: address.parse().unwrap() }
}

fn client(name: &'static str, address: &str) -> Caller<'static> {
    Caller { client: Some(name), ..from(address) }
}

fn passes(limits: &Limits, caller: Caller<'_>, now: Nanos) -> bool {
    limits.take(caller, now).is_ok()
}

#[test]
fn the_first_burst_passes_at_once_and_then_the_rate_counts() {
    let limits = per_second(10, 3);
    let caller = from("192.0.2.1");
    let start = 5 * SECOND;
    assert!((0..3).all(|_| passes(&limits, caller, start)));
    assert_eq!(limits.take(caller, start).unwrap_err(), Exceeded::Requests(SECOND / 10));
    assert!(!passes(&limits, caller, start + SECOND / 10 - 1));
    assert!(passes(&limits, caller, start + SECOND / 10));
    assert!(!passes(&limits, caller, start + SECOND / 10), "one flowed in, one passed");
    assert!((0..3).all(|_| passes(&limits, caller, start + 10 * SECOND)), "a rested bucket is full");
    assert!(!passes(&limits, caller, start + 10 * SECOND), "and not more than full");
}

#[test]
fn what_a_caller_is_told_to_wait_is_enough_in_whole_seconds() {
    assert_eq!(Exceeded::Requests(1).retry_after(), 1);
    assert_eq!(Exceeded::Requests(SECOND).retry_after(), 1);
    assert_eq!(Exceeded::Requests(SECOND + 1).retry_after(), 2);
    assert_eq!(Exceeded::Concurrent.retry_after(), 1);
}

#[test]
fn rates_that_do_not_divide_are_rounded_to_less() {
    let third = Quota::new(3, Duration::from_secs(1), 1);
    assert_eq!(third.interval, 333_333_334);
    assert_eq!(Quota::new(u32::MAX, Duration::from_nanos(1), 1).interval, 1);
    let slow = Quota::new(1, Duration::from_secs(36_000_000), u32::MAX);
    assert_eq!(slow.tolerance, u64::MAX, "an absurd bucket is large, not wrapped around");
}

#[test]
fn callers_are_told_apart_as_the_scope_says() {
    let once = rules(Some(Quota::new(1, Duration::from_secs(60), 1)), None);
    let by_client = limits(Scope::Client, once);
    assert!(passes(&by_client, client("a", "192.0.2.1"), 1) && passes(&by_client, client("b", "192.0.2.1"), 1));
    assert!(!passes(&by_client, client("a", "198.51.100.1"), 1), "a client is one wherever it calls from");
    assert!(passes(&by_client, from("192.0.2.1"), 1), "an anonymous caller is its address");
    assert!(!passes(&by_client, from("::ffff:192.0.2.1"), 1));
    let person = |user: &'static str| Caller { user, ..from("192.0.2.9") };
    assert!(passes(&by_client, person("a"), 1), "a person is not the client of that name");
    assert!(!passes(&by_client, Caller { user: "a", ..from("198.51.100.9") }, 1) && passes(&by_client, person("b"), 1));
    let by_address = limits(Scope::Address, once);
    assert!(passes(&by_address, client("a", "192.0.2.1"), 1) && !passes(&by_address, client("b", "192.0.2.1"), 1));
    let by_route = limits(Scope::Route, once);
    assert!(passes(&by_route, client("a", "192.0.2.1"), 1) && !passes(&by_route, client("b", "192.0.2.2"), 1));
}

#[test]
fn an_ipv6_holder_is_its_64_bit_network() {
    let limits = per_second(1, 1);
    assert!(passes(&limits, from("2001:db8:0:1::1"), 1));
    assert!(!passes(&limits, from("2001:db8:0:1:ffff::9"), 1), "the same /64");
    assert!(passes(&limits, from("2001:db8:0:2::1"), 1));
}

#[test]
fn what_is_in_flight_is_given_back_when_it_ends() {
    let limits = limits(Scope::Route, rules(None, Some(2)));
    let caller = from("192.0.2.1");
    let first = limits.take(caller, 1).unwrap();
    let second = limits.take(caller, 1).unwrap();
    assert_eq!(limits.take(caller, 1).unwrap_err(), Exceeded::Concurrent);
    drop(first);
    let third = limits.take(caller, 1).unwrap();
    assert_eq!(limits.take(caller, 1).unwrap_err(), Exceeded::Concurrent);
    drop((second, third));
    assert_eq!(limits.ledger.flights.entries(), 0, "who has nothing in flight has no entry");
}

#[test]
fn a_refused_request_holds_no_place_and_costs_nothing() {
    let both = rules(Some(Quota::new(1, Duration::from_secs(60), 1)), Some(5));
    let limits = limits(Scope::Route, both);
    let caller = from("192.0.2.1");
    let permit = limits.take(caller, 1).unwrap();
    assert!(matches!(limits.take(caller, 1), Err(Exceeded::Requests(_))));
    drop(permit);
    assert_eq!(limits.ledger.flights.entries(), 0, "refused by the rate, the place in flight is given back");
    let full = Limits { rules: rules(both.quota, Some(0)), ..limits };
    assert_eq!(full.take(caller, 120 * SECOND).unwrap_err(), Exceeded::Concurrent);
    let again = Limits { rules: both, ..full };
    assert!(again.take(caller, 120 * SECOND).is_ok(), "refused for what is in flight, the rate was not charged");
}

#[test]
fn the_same_limits_in_the_next_table_go_on_and_others_begin() {
    let ledger = Arc::new(Ledger::default());
    let quota = |count| rules(Some(Quota::new(count, Duration::from_secs(60), 1)), Some(1));
    let of = |prefix, rules| Limits::new(&ledger, ("demo", "production", prefix), Scope::Route, rules);
    let caller = from("192.0.2.1");
    let held = of("/a0", quota(1)).take(caller, 1).unwrap();
    assert_eq!(of("/a0", quota(1)).take(caller, 1).unwrap_err(), Exceeded::Concurrent);
    assert_eq!(of("/a0", quota(2)).take(caller, 1).unwrap_err(), Exceeded::Concurrent, "in flight is in flight");
    drop(held);
    assert!(matches!(of("/a0", quota(1)).take(caller, 1), Err(Exceeded::Requests(_))));
    assert!(of("/a0", quota(2)).take(caller, 1).is_ok(), "another rate is another bucket");
    assert!(of("/a1", quota(1)).take(caller, 1).is_ok(), "another route too");
}

#[test]
fn a_million_callers_fit() {
    let limits = per_second(1, 10);
    let victim = from("2001:db8::1");
    assert!((0..10).all(|_| passes(&limits, victim, 1)));
    for n in 0..1_000_000u32 {
        let caller = Caller { client: None, user: "", address: std::net::Ipv4Addr::from_bits(n).into() };
        assert!(passes(&limits, caller, 2));
    }
    assert!(!passes(&limits, victim, 3), "who has used its burst is remembered while a million others pass by");
}

/// Keeps every arrival that passed: a request passes if the bucket, refilled since the beginning, still holds one.
struct Naive {
    interval: u128,
    burst: u128,
    /// Level in interval-ths: `interval` units are one request.
    level: u128,
    last: u64,
}

impl Naive {
    fn passes(&mut self, now: u64) -> bool {
        let flowed = u128::from(now - self.last);
        self.last = now;
        self.level = (self.level + flowed).min(self.burst * self.interval);
        let one = self.level >= self.interval;
        if one {
            self.level -= self.interval;
        }
        one
    }
}

fn arrivals() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(prop_oneof![Just(0), 0u64..2_000, 0u64..2_000_000, 0u64..5_000_000_000], 1..120)
}

proptest! {
    #[test]
    fn it_agrees_with_a_bucket_that_is_really_refilled(
        count in 1u32..50, period in 1u64..5_000_000_000, burst in 1u32..20, steps in arrivals(),
    ) {
        let quota = Quota::new(count, Duration::from_nanos(period), burst);
        let limits = limits(Scope::Route, rules(Some(quota), None));
        let interval = u128::from(quota.interval);
        let mut naive = Naive { interval, burst: burst.into(), level: interval * u128::from(burst), last: 1 };
        let mut now = 1;
        for step in steps {
            now += step;
            prop_assert_eq!(passes(&limits, from("192.0.2.1"), now), naive.passes(now), "at {}", now);
        }
    }

    #[test]
    fn no_window_lets_more_pass_than_burst_and_rate(
        count in 1u32..50, period in 1u64..1_000_000_000, burst in 1u32..20, steps in arrivals(),
    ) {
        let quota = Quota::new(count, Duration::from_nanos(period), burst);
        let limits = limits(Scope::Route, rules(Some(quota), None));
        let (mut now, mut passed) = (1, VecDeque::new());
        for step in steps {
            now += step;
            if passes(&limits, from("192.0.2.1"), now) {
                passed.push_back(now);
            }
        }
        for (index, first) in passed.iter().enumerate() {
            for (more, last) in passed.iter().skip(index).enumerate() {
                let allowed = u128::from(burst) + u128::from(last - first) * u128::from(count) / u128::from(period);
                prop_assert!((more as u128) < allowed, "{} passed in {} ns", more + 1, last - first);
            }
        }
    }

    #[test]
    fn the_wait_is_exact(count in 1u32..50, period in 1u64..5_000_000_000, burst in 1u32..20, steps in arrivals()) {
        let quota = Quota::new(count, Duration::from_nanos(period), burst);
        let limits = limits(Scope::Route, rules(Some(quota), None));
        let caller = from("192.0.2.1");
        let mut now = 1;
        for step in steps {
            now += step;
            if let Err(Exceeded::Requests(wait)) = limits.take(caller, now) {
                prop_assert!(wait > 0);
                prop_assert!(!passes(&limits, caller, now + wait - 1));
                now += wait;
                prop_assert!(passes(&limits, caller, now));
            }
        }
    }
}
