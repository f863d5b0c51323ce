//! Groups of endpoints: who gets the next request, who is found unhealthy or put to rest, and what a name's addresses do.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::dns::Dns;
use crate::support::origin::After;
use crate::support::wait::gate;
use crate::support::{Config, Edge, Origin, Request, eventually, eventually_within};

mod names;
mod peers;

/// One group `pool` of two origins, with these further keys, behind `/`.
const PAIR: &str = r#"
upstreams:
  pool: { endpoints: [{ address: "{a}" }, { address: "{b}" }], {keys} }
projects:
  demo:
    upstream_policy: open
    environments:
      production:
        routes:
          - { prefix: /, upstream: pool, auth: none }
"#;

fn pair(a: &Origin, b: &Origin, keys: &str) -> Config {
    Config::new(PAIR).value("a", &a.authority()).value("b", &b.authority()).value("keys", keys)
}

/// An origin whose `/healthz` says what the switch says.
fn patient() -> (Origin, Arc<AtomicBool>) {
    let (origin, healthy) = (Origin::start(), Arc::new(AtomicBool::new(true)));
    let switch = Arc::clone(&healthy);
    origin.on("/healthz", move |exchange| {
        exchange.read_body();
        let status = if switch.load(Ordering::SeqCst) { "204 No Content" } else { "500 Sick" };
        exchange.send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
        After::Keep
    });
    (origin, healthy)
}

/// What the status says of an endpoint.
fn endpoint(edge: &Edge, address: &str) -> Value {
    let status = edge.status();
    let all = status["upstreams"].as_array().expect("upstreams").iter().flat_map(|it| it["endpoints"].as_array());
    let found = all.flatten().find(|it| it["address"] == address).cloned();
    found.unwrap_or_else(|| panic!("{address} in {status}"))
}

fn wait_state(edge: &Edge, address: &str, state: &str) {
    eventually(&format!("{address} is {state}"), || (endpoint(edge, address)["state"] == state).then_some(()));
}

fn up(edge: &Edge, address: &str) -> f64 {
    edge.metrics().sum("countersign_upstream_up", &[("endpoint", address)])
}

/// How many requests, other than checks, came there.
fn served(origin: &Origin) -> usize {
    origin.requests().iter().filter(|request| !request.target().starts_with("/healthz")).count()
}

fn ask(edge: &Edge, count: usize, path: &str) {
    for number in 0..count {
        let response = edge.get(path);
        assert_eq!(response.status, 200, "{path} {number}: {}", response.text());
    }
}

const CHECKED: &str =
    "health: { path: \"/healthz?deep=1\", interval: 100ms, timeout: 2s, healthy_after: 2, unhealthy_after: 2 }";

#[test]
fn an_endpoint_that_fails_its_checks_gets_nothing_until_it_is_well_again() {
    let ((a, well), (b, _)) = (patient(), patient());
    let edge = pair(&a, &b, CHECKED).start();
    let check = a.request_for("/healthz");
    assert_eq!((check.method(), check.target()), ("GET", "/healthz?deep=1"));
    assert_eq!(check.header("host"), Some(&*a.authority()));
    assert_eq!(check.header("user-agent"), Some(concat!("countersign-health/", env!("CARGO_PKG_VERSION"))));
    ask(&edge, 4, "/x");
    assert_eq!((served(&a), served(&b)), (2, 2));
    assert_eq!(up(&edge, &a.authority()), 1.0);

    well.store(false, Ordering::SeqCst);
    wait_state(&edge, &a.authority(), "unhealthy");
    edge.wait_log("is unhealthy: status 500 (2 check(s) in a row)");
    ask(&edge, 6, "/y");
    assert_eq!((served(&a), served(&b)), (2, 8));
    assert_eq!((up(&edge, &a.authority()), up(&edge, &b.authority())), (0.0, 1.0));
    let seen = endpoint(&edge, &a.authority());
    assert_eq!(
        (&seen["last_error"], &seen["last_check"]["healthy"]),
        (&"health check: status 500".into(), &false.into())
    );

    well.store(true, Ordering::SeqCst);
    wait_state(&edge, &a.authority(), "up");
    edge.wait_log("is healthy again: status 204");
    ask(&edge, 4, "/z");
    assert_eq!((served(&a), served(&b)), (4, 10));
    assert_eq!(up(&edge, &a.authority()), 1.0);
}

#[test]
fn with_nobody_healthy_requests_are_503_at_once() {
    let ((a, well), (b, _)) = (patient(), patient());
    let edge = pair(&a, &b, "health: { path: /healthz, interval: 100ms, unhealthy_after: 1, status: 200 }").start();
    // 204 is not the 200 that is asked for.
    for origin in [&a, &b] {
        wait_state(&edge, &origin.authority(), "unhealthy");
    }
    let refused = edge.get("/x");
    refused.expect_error(503, "upstream_unhealthy");
    assert!(refused.header("retry-after").is_some());
    assert_eq!((served(&a), served(&b), well.load(Ordering::SeqCst)), (0, 0, true));
    assert_eq!(edge.logged("/x")["code"], "upstream_unhealthy");
}

#[test]
fn what_is_unhealthy_counts_as_healthy_until_it_has_failed_often_enough() {
    let ((a, _), b) = (patient(), Origin::start());
    let silent = "health: { path: /healthz, interval: 1h, unhealthy_after: 3, timeout: 1s }";
    b.on("/healthz", |exchange| {
        exchange.send("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n");
        After::Close
    });
    let edge = pair(&a, &b, silent).start();
    b.request_for("/healthz");
    eventually("the first check is known", || (!endpoint(&edge, &b.authority())["last_check"].is_null()).then_some(()));
    assert_eq!(endpoint(&edge, &b.authority())["state"], "up");
    ask(&edge, 4, "/x");
    assert_eq!((served(&a), served(&b)), (2, 2));
}

#[test]
fn redirects_are_healthy_and_not_followed_and_silence_is_not_healthy() {
    let (moved, silent) = (Origin::start(), Origin::start());
    moved.answer("/healthz", "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n");
    silent.on("/healthz", |exchange| {
        let _ = exchange.wait_end();
        After::Close
    });
    let keys = "health: { path: /healthz, interval: 50ms, timeout: 200ms, unhealthy_after: 1, host: checks.example }";
    let edge = pair(&moved, &silent, keys).start();
    wait_state(&edge, &silent.authority(), "unhealthy");
    eventually("five checks", || (moved.count() >= 5).then_some(()));
    assert_eq!(endpoint(&edge, &moved.authority())["state"], "up");
    assert!(moved.requests_for("/elsewhere").is_empty());
    assert_eq!(moved.request_for("/healthz").header("host"), Some("checks.example"));
    assert_eq!(endpoint(&edge, &silent.authority())["last_error"], "health check: no answer in time");
}

#[test]
fn a_reload_keeps_the_verdicts_and_starts_and_stops_checks() {
    let ((a, well), (b, _)) = (patient(), patient());
    let edge = pair(&a, &b, CHECKED).start();
    well.store(false, Ordering::SeqCst);
    wait_state(&edge, &a.authority(), "unhealthy");
    let another = PAIR.replace("auth: none }", "auth: none, host: client }");
    edge.apply(&another);
    assert_eq!(endpoint(&edge, &a.authority())["state"], "unhealthy", "the verdict was lost");
    ask(&edge, 4, "/x");
    assert_eq!((served(&a), served(&b)), (0, 4));

    // Another interval, another task; the verdict stays until the new checks disagree.
    edge.apply(&another.replace("{keys}", &CHECKED.replace("100ms", "50ms")));
    assert_eq!(endpoint(&edge, &a.authority())["state"], "unhealthy");
    well.store(true, Ordering::SeqCst);
    wait_state(&edge, &a.authority(), "up");

    well.store(false, Ordering::SeqCst);
    wait_state(&edge, &a.authority(), "unhealthy");
    // Without `health` for one group, with it for a group of its own: the second shows that time has passed.
    let apart = r#"
        upstreams:
          pool: { endpoints: [{ address: "{a}" }] }
          other: { endpoints: [{ address: "{b}" }], health: { path: /healthz/other, interval: 50ms } }
        projects:
          demo:
            upstream_policy: open
            environments:
              production:
                routes:
                  - { prefix: /, upstream: pool, auth: none }
                  - { prefix: /other, upstream: other, auth: none }
        "#;
    edge.apply(apart);
    ask(&edge, 2, "/x");
    assert_eq!(served(&a), 2, "nobody asks whether it is healthy any more");
    eventually("the new group is checked", || (!b.requests_for("/healthz/other").is_empty()).then_some(()));
    let (checks, others) = (a.requests_for("/healthz").len(), b.requests_for("/healthz/other").len());
    eventually("ten more", || (b.requests_for("/healthz/other").len() >= others + 10).then_some(()));
    assert!(a.requests_for("/healthz").len() <= checks + 1, "a removed check goes on");
    assert!(!edge.metrics().has("countersign_upstream_up", &[("upstream", "pool"), ("endpoint", &b.authority())]));
}

#[test]
fn who_fails_too_often_rests_and_comes_back() {
    let (a, b) = (Origin::start(), Origin::start());
    a.answer("/bad", "HTTP/1.1 500 Bad\r\ncontent-length: 0\r\n\r\n");
    a.answer("/missing", "HTTP/1.1 404 Missing\r\ncontent-length: 0\r\n\r\n");
    let edge = pair(&a, &b, "eject: { errors: 3, within: 1m, for: 1500ms }").start();
    for _ in 0..8 {
        edge.get("/missing");
    }
    let statuses: Vec<u16> = (0..4).map(|_| edge.get("/bad").status).collect();
    assert_eq!(statuses, [500, 200, 500, 200]);
    assert_eq!(endpoint(&edge, &a.authority())["state"], "up", "two errors; what is missing is none");
    assert_eq!(edge.get("/bad").status, 500);
    let begun = Instant::now();
    wait_state(&edge, &a.authority(), "ejected");
    edge.wait_log("is ejected for 1.5s: 3 failure(s) within 60s");
    assert!(!endpoint(&edge, &a.authority())["ejected_until"].is_null());
    assert_eq!((up(&edge, &a.authority()), up(&edge, &b.authority())), (0.0, 1.0));
    let before = served(&a);
    let mut asked = 0;
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(edge.get("/bad").status, 200, "the other one answers");
        asked += 1;
    }
    assert!(asked > 3);
    assert_eq!(served(&a), before);
    wait_state(&edge, &a.authority(), "up");
    ask(&edge, 2, "/good");
    assert_eq!(served(&a), before + 1);
    assert_eq!(up(&edge, &a.authority()), 1.0);
}

#[test]
fn connections_that_fail_count_and_clients_that_leave_do_not() {
    let (a, b) = (Origin::start(), Origin::start());
    a.on("/never", |exchange| {
        let _ = exchange.wait_end();
        After::Close
    });
    a.on("/cut", |exchange| {
        exchange.read_body();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this");
        After::Close
    });
    b.answer("/", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let edge =
        pair(&a, &b, "balance: hash, hash_on: { header: x-who }, eject: { errors: 2, within: 1m, for: 1h }").start();
    let who = key_for(&edge, &a);
    for round in 0..4 {
        let mut wire = edge.connect();
        wire.send(format!("GET /never/{round} HTTP/1.1\r\nhost: demo.test\r\nx-who: {who}\r\n\r\n"));
        a.request_for(&format!("/never/{round}"));
        wire.abort();
        assert_eq!(edge.logged(&format!("/never/{round}"))["end"], "client_abort");
    }
    assert_eq!(endpoint(&edge, &a.authority())["state"], "up", "clients left, nobody failed");
    for _ in 0..2 {
        let mut wire = edge.connect();
        wire.send(format!("GET /cut HTTP/1.1\r\nhost: demo.test\r\nx-who: {who}\r\n\r\n"));
        wire.head();
        wire.closed();
    }
    wait_state(&edge, &a.authority(), "ejected");
}

/// A value of `x-who` that leads to that origin.
fn key_for(edge: &Edge, origin: &Origin) -> String {
    let keys = (0..100).map(|number| format!("key-{number}"));
    let found = keys.into_iter().find(|key| {
        let before = origin.count();
        edge.call(&Request::get("/find").header("x-who", key));
        origin.count() > before
    });
    found.expect("some key leads there")
}

#[test]
fn with_everybody_ejected_somebody_is_tried_all_the_same() {
    let (a, b) = (Origin::start(), Origin::start());
    for origin in [&a, &b] {
        origin.answer("/bad", "HTTP/1.1 502 Bad\r\ncontent-length: 0\r\n\r\n");
    }
    let edge = pair(&a, &b, "eject: { errors: 1, within: 1m, for: 1h }").start();
    assert_eq!([edge.get("/bad").status, edge.get("/bad").status], [502, 502]);
    for origin in [&a, &b] {
        wait_state(&edge, &origin.authority(), "ejected");
    }
    let (at_a, at_b) = (a.count(), b.count());
    ask(&edge, 3, "/good");
    assert_eq!((a.count(), b.count()), (at_a + 3, at_b), "the first that was ejected");
    assert_eq!(edge.get("/bad").status, 502);
    ask(&edge, 3, "/good");
    assert_eq!(b.count(), at_b + 3, "it failed again: now the other one");
}

#[test]
fn least_requests_turns_away_from_whoever_is_slow() {
    let (a, b) = (Origin::start(), Origin::start());
    let (key, held) = gate();
    let held = Arc::new(held);
    for origin in [&a, &b] {
        let held = Arc::clone(&held);
        origin.on("/slow", move |exchange| {
            exchange.read_body();
            held.wait();
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            After::Keep
        });
    }
    for balance in ["least_requests", "random_two"] {
        let edge = pair(&a, &b, &format!("balance: {balance}")).start();
        let mut wire = edge.connect();
        wire.send(format!("GET /slow/{balance} HTTP/1.1\r\nhost: demo.test\r\n\r\n"));
        let slow = eventually("the slow request arrives", || {
            [&a, &b].into_iter().find(|origin| !origin.requests_for(&format!("/slow/{balance}")).is_empty())
        });
        let before = slow.count();
        ask(&edge, 10, "/quick");
        assert_eq!(slow.count(), before, "{balance}: the busy one got more");
    }
    key.open();
}

#[test]
fn a_hash_sends_the_same_to_the_same() {
    let (a, b) = (Origin::start(), Origin::start());
    for (hash_on, name) in [("{ header: x-session }", "x-session"), ("{ cookie: sid }", "cookie")] {
        let edge = pair(&a, &b, &format!("balance: hash, hash_on: {hash_on}")).start();
        let mut places = Vec::new();
        for session in 0..16 {
            let value = if name == "cookie" { format!("theme=dark; sid=s{session}") } else { format!("s{session}") };
            let before = a.count();
            for _ in 0..3 {
                assert_eq!(edge.call(&Request::get("/x").header(name, &value)).status, 200);
            }
            let there = a.count() - before;
            assert!(there == 0 || there == 3, "{name} {session}: {there} of three at one, the rest at the other");
            places.push(there == 3);
        }
        assert!(places.contains(&true) && places.contains(&false), "{name}: sixteen sessions at one endpoint");
        // Without one: anywhere.
        let before = (a.count(), b.count());
        ask(&edge, 40, "/none");
        assert!(a.count() > before.0 && b.count() > before.1, "{name}: requests without it are spread");
    }
    let edge = pair(&a, &b, "balance: hash, hash_on: address").start();
    let before = (a.count(), b.count());
    ask(&edge, 10, "/x");
    let came = (a.count() - before.0, b.count() - before.1);
    assert!(came == (10, 0) || came == (0, 10), "{came:?}");
    let edge = pair(&a, &b, "balance: hash, hash_on: path").start();
    let before = (a.count(), b.count());
    for number in 0..20 {
        ask(&edge, 1, &format!("/path/{number}"));
    }
    assert!(a.count() > before.0 && b.count() > before.1);
}

#[test]
fn an_endpoint_that_goes_moves_only_its_own_sessions() {
    let ((a, well), (b, _)) = (patient(), patient());
    let c = Origin::start();
    let text = PAIR.replace("{ address: \"{b}\" }", "{ address: \"{b}\" }, { address: \"{c}\" }");
    let keys = format!("balance: hash, hash_on: {{ header: x-session }}, {CHECKED}");
    let config = Config::new(&text).value("a", &a.authority()).value("b", &b.authority());
    let edge = config.value("c", &c.authority()).value("keys", &keys).start();
    let place = |session: usize| {
        let before = [served(&a), served(&b), served(&c)];
        edge.call(&Request::get("/x").header("x-session", &session.to_string()));
        let after = [served(&a), served(&b), served(&c)];
        (0..3).find(|origin| after[*origin] > before[*origin]).expect("somebody got it")
    };
    let before: Vec<usize> = (0..24).map(place).collect();
    assert!((0..3).all(|origin| before.contains(&origin)), "{before:?}");
    well.store(false, Ordering::SeqCst);
    wait_state(&edge, &a.authority(), "unhealthy");
    let during: Vec<usize> = (0..24).map(place).collect();
    for (before, during) in before.iter().zip(&during) {
        assert!(*during != 0 && (*before == 0 || before == during), "{before} became {during}");
    }
    well.store(true, Ordering::SeqCst);
    wait_state(&edge, &a.authority(), "up");
    assert_eq!((0..24).map(place).collect::<Vec<_>>(), before, "all are back");
}
