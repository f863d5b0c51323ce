use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;

use crate::config::model::{Balance, Eject, HashOn, Health};

use super::super::testing::*;
use super::super::{Decision, NoTrace, Table};
use super::key::mix;
use super::*;

const EJECT: Eject = Eject { errors: 3, within: Duration::from_secs(10), rest: Duration::from_secs(30) };

/// A group of `e0`, `e1` … with these weights.
fn upstream(balance: Balance, weights: &[u32]) -> Arc<Upstream> {
    let table = grouped(balance, weights, |_| {});
    Arc::clone(&table.upstreams[0])
}

fn grouped(balance: Balance, weights: &[u32], edit: impl FnOnce(&mut crate::config::model::Group)) -> Table {
    let names: Vec<String> = (0..weights.len()).map(|index| format!("e{index}.example.com")).collect();
    let endpoints: Vec<_> = names.iter().zip(weights).map(|(name, weight)| (name.as_str(), 80, *weight)).collect();
    let mut group = group("users", Scheme::Http, &endpoints);
    group.balance = balance;
    group.health = Some(health());
    group.eject = Some(EJECT);
    edit(&mut group);
    let mut model = model(vec![project("demo", &[], vec![route("/a", "users")])]);
    model.upstreams = vec![group];
    table(model)
}

fn health() -> Health {
    let second = Duration::from_secs(1);
    let (path, host, status) = ("/".to_owned(), None, None);
    Health { path, interval: second, timeout: second, healthy_after: 1, unhealthy_after: 1, host, status }
}

/// A seeded generator.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }
}

fn pick(upstream: &Upstream, wish: &Wish<'_>) -> usize {
    let chosen = upstream.choose(wish).expect("somebody");
    upstream.endpoints.iter().position(|endpoint| Arc::ptr_eq(endpoint, chosen)).expect("one of them")
}

/// How often each is chosen; with other chance, and another key, each time.
fn tally(upstream: &Upstream, picks: u32) -> Vec<u32> {
    let (mut dice, mut counts) = (Dice(1), vec![0; upstream.endpoints.len()]);
    for _ in 0..picks {
        let (random, key) = (dice.roll(), Some(dice.roll()));
        counts[pick(upstream, &Wish { random, key, ..ANY })] += 1;
    }
    counts
}

/// That each share is within a twentieth (and six) of what the weights ask for.
fn assert_shares(counts: &[u32], weights: &[u32], what: &str) {
    let (picks, total) = (counts.iter().sum::<u32>(), weights.iter().sum::<u32>());
    for (count, weight) in counts.iter().zip(weights) {
        let due = f64::from(picks) * f64::from(*weight) / f64::from(total);
        assert!((f64::from(*count) - due).abs() <= due / 20.0 + 6.0, "{what}: {counts:?} for {weights:?}");
    }
}

fn every_balance() -> [Balance; 4] {
    [Balance::RoundRobin, Balance::LeastRequests, Balance::RandomTwo, Balance::Hash(HashOn::Address)]
}

#[test]
fn idle_endpoints_are_chosen_by_weight() {
    for balance in every_balance() {
        for weights in [&[1, 1, 1][..], &[5, 3, 1, 1], &[1000, 500]] {
            let upstream = upstream(balance.clone(), weights);
            assert_shares(&tally(&upstream, 20_000), weights, &format!("{balance:?}"));
        }
    }
}

#[test]
fn the_turns_of_an_unhealthy_endpoint_are_shared_by_weight() {
    for balance in every_balance() {
        let upstream = upstream(balance.clone(), &[2, 3, 1, 2]);
        upstream.endpoints[1].state.fitness.judge(false);
        assert_shares(&tally(&upstream, 20_000), &[2, 0, 1, 2], &format!("{balance:?}"));
    }
}

#[test]
fn somebody_unhealthy_is_never_chosen_and_with_nobody_else_there_is_no_choice() {
    for balance in every_balance() {
        for weights in [&[1][..], &[1, 1]] {
            let upstream = upstream(balance.clone(), weights);
            for endpoint in &upstream.endpoints {
                assert!(upstream.choose(&ANY).is_some());
                endpoint.state.fitness.judge(false);
            }
            assert!(upstream.choose(&Wish { key: Some(1), ..ANY }).is_none(), "{balance:?}");
        }
    }
}

#[test]
fn an_attempt_after_a_failed_one_goes_elsewhere_if_there_is_elsewhere() {
    for balance in every_balance() {
        let upstream = upstream(balance, &[9, 1, 9]);
        let (first, second) = (Arc::clone(&upstream.endpoints[0]), Arc::clone(&upstream.endpoints[2]));
        let tried = [first, second];
        for random in 0..100 {
            let wish = Wish { avoid: &tried, random, key: Some(random), ..ANY };
            assert_eq!(pick(&upstream, &wish), 1);
        }
        upstream.endpoints[1].state.fitness.judge(false);
        assert_ne!(pick(&upstream, &Wish { avoid: &tried, key: Some(1), ..ANY }), 1, "rather the same once more");
    }
}

#[test]
fn least_requests_and_random_two_turn_to_the_idle() {
    for balance in [Balance::LeastRequests, Balance::RandomTwo] {
        let upstream = upstream(balance, &[1, 1]);
        upstream.endpoints[0].state.in_flight.store(3, Ordering::Relaxed);
        assert_eq!(tally(&upstream, 100), [0, 100]);
        upstream.endpoints[1].state.in_flight.store(4, Ordering::Relaxed);
        assert_eq!(tally(&upstream, 100), [100, 0]);
    }
    let weighted = upstream(Balance::LeastRequests, &[3, 1]);
    weighted.endpoints[0].state.in_flight.store(5, Ordering::Relaxed);
    weighted.endpoints[1].state.in_flight.store(2, Ordering::Relaxed);
    assert_eq!(tally(&weighted, 10), [10, 0], "five of three are less than two of one");
}

#[test]
fn the_busiest_of_three_never_wins_among_two() {
    let upstream = upstream(Balance::RandomTwo, &[1, 1, 1]);
    upstream.endpoints[1].state.in_flight.store(100, Ordering::Relaxed);
    assert_eq!(tally(&upstream, 1000)[1], 0);
}

#[test]
fn a_key_stays_where_it_is_in_every_process() {
    let upstream = upstream(Balance::Hash(HashOn::Address), &[1, 1, 1, 1]);
    let chosen: Vec<usize> = (0..12).map(|key| pick(&upstream, &Wish { key: Some(key), random: key, ..ANY })).collect();
    let again: Vec<usize> = (0..12).map(|key| pick(&upstream, &Wish { key: Some(key), random: 7, ..ANY })).collect();
    assert_eq!(chosen, again);
    // The function is part of what several edges agree on: it must not change unnoticed.
    assert_eq!(chosen, [3, 3, 2, 1, 3, 3, 3, 0, 3, 3, 3, 3]);
}

/// Where each of 4,000 keys goes, by label.
fn places(upstream: &Upstream) -> HashMap<u64, Arc<str>> {
    let place = |key: u64| Arc::clone(&upstream.choose(&Wish { key: Some(mix(key)), ..ANY }).expect("somebody").label);
    (0..4000).map(|key| (key, place(key))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn who_comes_or_goes_moves_only_his_own_keys(
        weights in proptest::collection::vec(1u32..20, 2..8),
        gone in 0usize..8,
    ) {
        let gone = gone % weights.len();
        let upstream = upstream(Balance::Hash(HashOn::Address), &weights);
        let before = places(&upstream);
        upstream.endpoints[gone].state.fitness.judge(false);
        let left = Arc::clone(&upstream.endpoints[gone].label);
        for (key, place) in places(&upstream) {
            prop_assert_ne!(&place, &left);
            prop_assert!(before[&key] == left || before[&key] == place, "{} moved for nothing", key);
        }
    }

    #[test]
    fn more_weight_only_attracts(weight in 1u32..50, more in 1u32..50) {
        let (light, heavy) = (upstream(Balance::Hash(HashOn::Path), &[weight, 10, 10]),
            upstream(Balance::Hash(HashOn::Path), &[weight + more, 10, 10]));
        let (before, after) = (places(&light), places(&heavy));
        let favourite = &light.endpoints[0].label;
        prop_assert!(after.iter().all(|(key, place)| place == favourite || before[key] == *place));
    }

    #[test]
    fn a_choice_is_always_of_the_best_there_is(
        states in proptest::collection::vec((any::<bool>(), any::<bool>(), any::<bool>(), 1u32..10), 1..12),
        random in any::<u64>(),
        balance in 0usize..4,
    ) {
        let weights: Vec<u32> = states.iter().map(|(_, _, _, weight)| *weight).collect();
        let upstream = upstream(every_balance()[balance].clone(), &weights);
        let mut tried = Vec::new();
        for (endpoint, (healthy, ejected, was_tried, _)) in upstream.endpoints.iter().zip(&states) {
            endpoint.state.fitness.judge(*healthy);
            if *ejected { eject(&upstream, endpoint, NOW) }
            if *was_tried { tried.push(Arc::clone(endpoint)) }
        }
        let rank = |endpoint: &Arc<Endpoint>| {
            let tried = tried.iter().any(|it| Arc::ptr_eq(it, endpoint));
            match upstream.standing(endpoint, NOW) {
                Standing::Up => Some(u8::from(tried)),
                Standing::Ejected => Some(2 + u8::from(tried)),
                Standing::Unhealthy => None,
            }
        };
        let best = upstream.endpoints.iter().filter_map(rank).min();
        let chosen = upstream.choose(&Wish { avoid: &tried, random, key: Some(random), ..ANY });
        prop_assert_eq!(chosen.and_then(rank), best);
    }
}

fn eject(upstream: &Upstream, endpoint: &Endpoint, now: u64) {
    for failure in 1..=EJECT.errors {
        assert_eq!(upstream.note_failure(endpoint, now, now), failure == EJECT.errors);
    }
}

#[test]
fn failures_within_the_window_eject_and_time_brings_back() {
    let upstream = upstream(Balance::RoundRobin, &[1, 1]);
    let endpoint = &upstream.endpoints[0];
    let at = |second: u64| NOW + second * 1000;
    for second in [0, 9, 18, 27] {
        assert!(!upstream.note_failure(endpoint, at(second), at(second)), "never three within ten seconds");
    }
    assert_eq!(upstream.standing(endpoint, at(27)), Standing::Up);
    assert!(!upstream.note_failure(endpoint, at(36), at(36)));
    assert!(upstream.note_failure(endpoint, at(36), at(36)), "27, 36 and 36");
    assert_eq!(upstream.standing(endpoint, at(36)), Standing::Ejected);
    assert_eq!(tally_at(&upstream, at(40)), [0, 10]);
    assert_eq!(upstream.standing(endpoint, at(66) - 1), Standing::Ejected);
    assert_eq!(upstream.standing(endpoint, at(66)), Standing::Up);
    assert_eq!(tally_at(&upstream, at(66)), [5, 5]);
    assert!(!upstream.note_failure(endpoint, at(66), at(66)), "it begins anew");
}

fn tally_at(upstream: &Upstream, now: u64) -> Vec<u32> {
    let mut counts = vec![0; upstream.endpoints.len()];
    for _ in 0..10 {
        counts[pick(upstream, &Wish { now, ..ANY })] += 1;
    }
    counts
}

#[test]
fn of_all_ejected_the_least_recent_is_tried_and_failing_again_sends_it_to_the_end() {
    let upstream = upstream(Balance::LeastRequests, &[1, 1, 1]);
    let [a, b, c] = &upstream.endpoints[..] else { panic!() };
    eject(&upstream, b, NOW);
    eject(&upstream, a, NOW + 10);
    eject(&upstream, c, NOW + 20);
    let next = |now: u64| pick(&upstream, &Wish { now, ..ANY });
    assert_eq!(next(NOW + 30), 1);
    assert!(!upstream.note_failure(b, NOW, NOW + 40), "it was under way when it was ejected");
    assert_eq!(next(NOW + 40), 1);
    assert!(!upstream.note_failure(b, NOW + 30, NOW + 50), "ejected already");
    assert_eq!(next(NOW + 50), 0);
    let tried = [Arc::clone(a)];
    assert_eq!(pick(&upstream, &Wish { now: NOW + 50, avoid: &tried, ..ANY }), 2);
    assert_eq!(next(NOW + 30_010), 0, "it is back");
}

#[test]
fn a_clock_that_is_set_back_ejects_nobody_for_ever() {
    let upstream = upstream(Balance::RoundRobin, &[1]);
    eject(&upstream, &upstream.endpoints[0], NOW);
    assert_eq!(upstream.standing(&upstream.endpoints[0], NOW - 3_600_000), Standing::Up);
    eject(&upstream, &upstream.endpoints[0], NOW - 3_600_000);
}

#[test]
fn what_a_group_does_not_ask_for_does_not_count() {
    let table = grouped(Balance::RoundRobin, &[1, 1], |group| (group.health, group.eject) = (None, None));
    let upstream = &table.upstreams[0];
    for endpoint in &upstream.endpoints {
        endpoint.state.fitness.judge(false);
        assert!((0..100).all(|_| !upstream.note_failure(endpoint, NOW, NOW)));
        assert_eq!(upstream.standing(endpoint, NOW), Standing::Up);
    }
}

#[test]
fn what_is_hashed_is_read_from_the_request() {
    let key_of = |on: HashOn, request: &Request| {
        let table = grouped(Balance::Hash(on), &[1, 1], |_| {});
        let (decision, canonical) = table.decide(&request.view(), NOW, &mut NoTrace);
        let Decision::Admit(admitted) = decision else { panic!("{decision:?}") };
        table.upstreams[0].key(&admitted, &request.view(), &canonical.expect("it has a meaning"))
    };
    let get = |target: &str| Request::get("demo.example.com", target);
    let header = || HashOn::Header(http::HeaderName::from_static("x-session"));
    let cookie = || HashOn::Cookie("sid".to_owned());
    assert_ne!(key_of(HashOn::Address, &get("/a")), key_of(HashOn::Address, &get("/a").from("192.0.2.10")));
    assert_eq!(key_of(HashOn::Address, &get("/a")), key_of(HashOn::Client, &get("/a")), "nobody authenticated");
    assert_eq!(key_of(HashOn::Path, &get("/a/x?q=1")), key_of(HashOn::Path, &get("/a/x?q=2").from("192.0.2.10")));
    assert_ne!(key_of(HashOn::Path, &get("/a/x")), key_of(HashOn::Path, &get("/a/y")));
    assert_eq!(key_of(header(), &get("/a")), None);
    let one = key_of(header(), &get("/a").with("x-session", "one"));
    assert_eq!(one, key_of(header(), &get("/a/b").with("x-session", "one").from("192.0.2.10")));
    assert_ne!(one, key_of(header(), &get("/a").with("x-session", "two")));
    assert_eq!(key_of(cookie(), &get("/a").with("cookie", "ssid=1; other=sid=1")), None);
    let first = key_of(cookie(), &get("/a").with("cookie", "x=1; sid=abc"));
    assert!(first.is_some());
    assert_eq!(first, key_of(cookie(), &get("/a").with("cookie", "y=2").with("cookie", "sid=abc;z=3")));
    assert_ne!(first, key_of(cookie(), &get("/a").with("cookie", "sid=abd")));
}
