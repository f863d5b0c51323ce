//! Connections to upstreams are kept, and their end is not the client's business.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::edge::Reported;
use crate::support::nginx::Nginx;
use crate::support::origin::After;
use crate::support::{Config, Edge, Origin, Request, Wire, eventually, eventually_within};

const ROUTE: &str = r#"- { prefix: /, upstream: "http://{origin}", auth: none }"#;

fn wait_until_old() {
    let since = Instant::now();
    eventually_within(Duration::from_secs(5), "the connection is old", || {
        (since.elapsed() > Duration::from_millis(900)).then_some(())
    });
}

fn reused(edge: &Edge, path: &str) -> serde_json::Value {
    edge.logged(path)["reused"].clone()
}

#[test]
fn a_post_goes_on_a_young_connection_or_a_new_one() {
    let origin = Origin::start();
    let edge = Edge::routes(ROUTE, &origin);
    let _report = Reported(&edge);
    edge.get("/first");
    edge.call(&Request::new("POST", "/young").body("x"));
    assert_eq!((reused(&edge, "/young"), origin.connections()), (true.into(), 1));
    wait_until_old();
    edge.get("/old/get");
    assert_eq!(reused(&edge, "/old/get"), true, "what can be repeated may ride an old one");
    wait_until_old();
    let posted = edge.call(&Request::new("POST", "/old/post").body("x"));
    assert_eq!((posted.status, origin.connections()), (200, 2));
    let record = edge.logged("/old/post");
    assert_eq!((&record["reused"], &record["attempts"]), (&false.into(), &1.into()), "{record}");
    wait_until_old();
    let large = "l".repeat(100_000);
    edge.get("/again");
    wait_until_old();
    edge.call(&Request::new("PUT", "/old/large").body(&large));
    assert_eq!(reused(&edge, "/old/large"), false, "a body that is not kept cannot be repeated");
    assert_eq!(origin.requests_for("/old").len(), 3, "nothing was sent twice");
}

/// `Keep-Alive: timeout=1`: the edge is the first to let go.
#[test]
fn an_upstream_that_says_when_it_closes_is_believed() {
    let origin = Origin::start();
    origin.answer("/", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: timeout=1, max=100\r\n\r\nok");
    let edge = Edge::routes(ROUTE, &origin);
    edge.get("/first");
    let response = edge.get("/second");
    assert!(response.header("keep-alive").is_none(), "of one hop");
    assert_eq!((origin.connections(), origin.open()), (1, 1));
    eventually_within(Duration::from_secs(2), "the edge closes it", || (origin.open() == 0).then_some(()));
}

#[test]
fn as_many_idle_connections_are_kept_as_the_group_says() {
    let origin = Origin::start();
    let waiting = Arc::new(AtomicUsize::new(0));
    let open = Arc::new(AtomicBool::new(false));
    let (here, go) = (Arc::clone(&waiting), Arc::clone(&open));
    origin.on("/together", move |exchange| {
        here.fetch_add(1, Ordering::SeqCst);
        eventually("all are there", || go.load(Ordering::SeqCst).then_some(()));
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        After::Keep
    });
    let edge = Config::new(
        r#"
        upstreams:
          few: { endpoints: [{ address: "{origin}" }], keepalive: { max_idle: 3 } }
        projects:
          demo:
            upstream_policy: open
            environments: { production: { routes: [{ prefix: /, upstream: few, auth: none }] } }
        "#,
    )
    .origin(&origin)
    .start();
    let _report = Reported(&edge);
    let mut wires: Vec<Wire> = (0..12).map(|_| edge.connect()).collect();
    for wire in &mut wires {
        wire.send("GET /together HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    }
    eventually("all are at the origin", || (waiting.load(Ordering::SeqCst) == 12).then_some(()));
    assert_eq!(origin.open(), 12);
    open.store(true, Ordering::SeqCst);
    for wire in &mut wires {
        assert_eq!(wire.response().status, 200);
    }
    eventually_within(Duration::from_secs(5), "three stay", || (origin.open() == 3).then_some(()));
    for _ in 0..10 {
        assert_eq!(edge.get("/later").status, 200);
    }
    // A pooled connection that is just being looked after is passed over: once, perhaps, but not at each request.
    assert!(origin.connections() <= 13, "{} connections: what is kept is used", origin.connections());
    eventually_within(Duration::from_secs(5), "three stay", || (origin.open() <= 3).then_some(()));
}

/// An upstream that closes idle connections after a second, and requests that come just then.
#[test]
fn the_end_of_an_idle_connection_is_no_502() {
    let nginx = Nginx::start("keepalive_timeout 1s; location / { return 200 \"ok\"; }");
    let edge = Config::routes(r#"- { prefix: /, upstream: "http://{nginx}", auth: none }"#)
        .value("nginx", &nginx.address.to_string())
        .start();
    let _report = Reported(&edge);
    let threads: Vec<_> = (0..8u64)
        .map(|number| {
            let mut wire = edge.connect();
            std::thread::spawn(move || {
                let mut statuses = Vec::new();
                for round in 0..6u64 {
                    let method = if number % 2 == 0 { "POST" } else { "GET" };
                    wire.send(format!("{method} /r{number} HTTP/1.1\r\nhost: demo.test\r\ncontent-length: 0\r\n\r\n"));
                    statuses.push(wire.response_to(method).status);
                    // Around the moment at which the upstream closes.
                    let gap = Duration::from_micros(985_000 + (number * 7 + round * 3) % 31 * 1000);
                    let since = Instant::now();
                    eventually("the moment", || (since.elapsed() >= gap).then_some(()));
                }
                statuses
            })
        })
        .collect();
    for thread in threads {
        let statuses = thread.join().expect("a client");
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    }
    assert_eq!(nginx.access_lines().len(), 48, "each was executed once");
}

/// The pool holds what an upstream has already ended only for as long as nobody has looked.
#[test]
fn connections_that_the_upstream_ended_are_not_used() {
    let origin = Origin::start();
    origin.on("/end-soon", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        After::Close
    });
    let edge = Edge::routes(ROUTE, &origin);
    for round in 0..30 {
        let mut wire = edge.connect();
        let _ = wire.socket().flush();
        wire.send("POST /end-soon HTTP/1.1\r\nhost: demo.test\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(wire.response_to("POST").status, 200, "round {round}");
        eventually("it is closed", || (origin.open() == 0).then_some(()));
    }
    assert_eq!(origin.count(), 30);
}
