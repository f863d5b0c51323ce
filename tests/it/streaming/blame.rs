//! Whose fault it was: a client's leaving never counts against its upstream, and a name that nobody resolves costs one
//! look-up, not one a request.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::dns::Dns;
use crate::support::origin::After;
use crate::support::{Config, Edge, Origin, Request, eventually, eventually_within};

// ---- names ----

/// A name server that hears every query and never answers.
struct BlackHole {
    address: String,
    queries: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl BlackHole {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind a name server");
        let address = socket.local_addr().expect("an address").to_string();
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let (queries, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&queries), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                if socket.recv_from(&mut [0; 1500]).is_ok() {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Self { address, queries, stop }
    }

    fn queries(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }
}

impl Drop for BlackHole {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// An edge that asks that name server, with one route to a name.
fn asking(dns: &str, connect: &str) -> Edge {
    Config::routes(
        r#"- { prefix: /, upstream: "http://nowhere.example", auth: none, timeouts: { connect: {connect} } }"#,
    )
    .server("dns: { servers: [\"{dns}\"], timeout: 200ms }")
    .value("dns", dns)
    .value("connect", connect)
    .start()
}

/// One request; how long its 503 took. (Names below `.invalid` would be refused without a query.)
fn unresolved(edge: &Edge) -> Duration {
    let started = Instant::now();
    edge.get("/dead").expect_error(503, "upstream_unresolved");
    started.elapsed()
}

#[test]
fn a_failed_look_up_is_remembered_for_the_next_request() {
    let dns = BlackHole::start();
    let edge = asking(&dns.address, "5s");
    let first = unresolved(&edge);
    let asked = dns.queries();
    let second = unresolved(&edge);
    println!("unresolved: {first:?} and {asked} queries, then {second:?}");
    assert!(first < Duration::from_secs(5), "{first:?}");
    assert_eq!((asked > 0, dns.queries()), (true, asked), "the second request asks nobody");
    assert!(second < Duration::from_millis(150), "{second:?}");
    let record = edge.logged("/dead");
    assert_eq!((&record["code"], &record["status"]), (&"upstream_unresolved".into(), &503.into()), "{record}");
}

#[test]
fn a_name_server_that_is_not_there_is_503_in_time_too() {
    let closed = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("an address");
    let edge = asking(&closed.to_string(), "5s");
    let (first, second) = (unresolved(&edge), unresolved(&edge));
    println!("name server closed: {first:?}, then {second:?}");
    assert!(first < Duration::from_secs(5) && second < Duration::from_millis(150), "{first:?}, {second:?}");
}

#[test]
fn a_request_that_gives_up_on_a_name_does_not_end_the_look_up() {
    let dns = BlackHole::start();
    let edge = asking(&dns.address, "100ms");
    let first = unresolved(&edge);
    assert!(first < Duration::from_secs(2), "bounded by timeouts.connect, not by the name server: {first:?}");
    let quick = eventually_within(Duration::from_secs(8), "an answer from the remembered failure", || {
        Some(unresolved(&edge)).filter(|took| *took < Duration::from_millis(60))
    });
    println!("gave up after {first:?}; from memory {quick:?}");
}

#[test]
fn an_endpoint_whose_first_address_is_dead_is_served_by_its_second_and_not_by_its_neighbour() {
    const ROUNDS: usize = 6;
    const TWO: &[(&str, Ipv4Addr)] = &[("two.example", NOBODY), ("two.example", Ipv4Addr::LOCALHOST)];
    /// Nothing listens there.
    const NOBODY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    let dns = Dns::start(TWO);
    let (second, neighbour) = (Origin::start(), Origin::start());
    let edge = Config::new(
        r#"
        upstreams:
          pool: { scheme: http, endpoints: [{ address: "two.example:{port}" }, { address: "{neighbour}" }] }
        projects:
          demo:
            upstream_policy: open
            environments:
              production:
                routes:
                  - { prefix: /, upstream: pool, auth: none }
        "#,
    )
    .server("dns: { servers: [\"{dns}\"], timeout: 1s }")
    .value("dns", &dns.address.to_string())
    .value("port", second.authority().rsplit(':').next().unwrap_or_default())
    .value("neighbour", &neighbour.authority())
    .start();
    for round in 0..ROUNDS {
        let response = edge.call(&Request::new("POST", &format!("/{round}")).body("x"));
        assert_eq!(response.status, 200, "{round}: {}", response.text());
    }
    assert_eq!((second.count(), neighbour.count()), (ROUNDS / 2, ROUNDS / 2), "each its turn");
    assert!(edge.access_log().iter().all(|line| line["attempts"] == 1), "to a request it is one attempt");
}

// ---- clients ----

#[test]
fn a_clients_fault_does_not_mark_its_upstream_down() {
    let origin = Origin::start();
    origin.on("/never", |exchange| {
        let _ = exchange.wait_end();
        After::Close
    });
    origin.on("/stream", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this");
        let _ = exchange.wait_end();
        After::Close
    });
    origin.on("/body", |exchange| {
        exchange.read_body();
        After::Close
    });
    origin.on("/reset", |_| After::Reset);
    let edge = Edge::routes(r#"- { prefix: /, upstream: "http://{origin}", auth: none }"#, &origin);
    assert_eq!(edge.get("/fine").status, 200);
    assert_eq!(standing(&edge), (1.0, 0.0), "after one good answer");

    for (path, head) in [("/never", false), ("/stream", true)] {
        let mut wire = edge.connect();
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: demo.test\r\n\r\n"));
        origin.request_for(path);
        if head {
            assert_eq!(wire.head().status, 200);
        }
        wire.abort();
        assert_eq!(edge.logged(path)["end"], "client_abort", "{path}");
        assert_eq!(standing(&edge), (1.0, 0.0), "{path}: the client left");
    }
    for (path, body) in [("/body/malformed", "zz\r\n"), ("/body/left", "5\r\nhel")] {
        let mut wire = edge.connect();
        wire.send(format!("POST {path} HTTP/1.1\r\nhost: demo.test\r\ntransfer-encoding: chunked\r\n\r\n{body}"));
        if path.ends_with("left") {
            origin.request_for(path);
            wire.abort();
        }
        edge.logged(path);
        assert_eq!(standing(&edge), (1.0, 0.0), "{path}: the client's body was at fault");
    }

    assert_eq!(edge.get("/reset").status, 502);
    eventually("the upstream's own fault counts", || {
        (standing(&edge).0 == 0.0 && standing(&edge).1 >= 1.0).then_some(())
    });
}

/// Whether its one endpoint is up, and how many attempts at it are counted as errors.
fn standing(edge: &Edge) -> (f64, f64) {
    let metrics = edge.metrics();
    assert!(metrics.has("countersign_upstream_up", &[]), "{}", metrics.text);
    let errors = metrics.sum("countersign_upstream_requests_total", &[("code_class", "error")]);
    (metrics.sum("countersign_upstream_up", &[]), errors)
}
