//! Upstreams that stop taking a request half-way, and tunnels whose upstream falls silent or resets: every request ends
//! in time, and nothing of the edge's own is ever mixed into what was begun.

use std::io::Write;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::rig;
use crate::support::edge::Reported;
use crate::support::origin::After;
use crate::support::wait::Key;
use crate::support::{Edge, Ending, Exchange, Gate, Origin, Stop, Wire, eventually_within, gate};

/// `timeouts.idle` is 400 ms; the edge's own clock may come a second later, and a busy machine later still.
const BOUND: Duration = Duration::from_secs(5);

const ROUTES: &str = r#"
    - { prefix: /, upstream: "http://{origin}", auth: none, timeouts: { connect: 500ms, first_byte: 1s, idle: 400ms, send: 5s } }
    "#;

// ---- uploads ----

#[test]
fn an_upstream_that_stops_reading_an_upload_is_504_in_time_and_holds_nothing() {
    let origin = Origin::start();
    let key = deaf(&origin, "/deaf", |_| {});
    let edge = Edge::routes(ROUTES, &origin);
    let started = Instant::now();
    let (mut wire, pouring) = upload(&edge, "/deaf");
    wire.response_to("POST").expect_error(504, "upstream_send_timeout");
    println!("upstream deaf -> 504 after {:?}", started.elapsed());
    assert!(started.elapsed() < BOUND, "{:?}", started.elapsed());
    ends_as(&edge, "/deaf", 504);
    assert_eq!(edge.logged("/deaf")["code"], "upstream_send_timeout");
    drop((wire, key));
    pouring.join().expect("the upload ends");
}

#[test]
fn an_upstream_that_answers_early_and_then_stops_reading_is_cut_and_never_ends_cleanly() {
    let origin = Origin::start();
    let heads = [
        ("/early-length", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this"),
        ("/early-chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n"),
    ];
    let edge = Edge::routes(ROUTES, &origin);
    for (path, head) in heads {
        let key = deaf(&origin, path, move |exchange| {
            exchange.send(head);
        });
        let started = Instant::now();
        let (mut wire, pouring) = upload(&edge, path);
        let response = wire.response_to("POST");
        assert_eq!(response.status, 200, "{path}");
        assert!(matches!(response.ending, Ending::Cut(Stop::Closed | Stop::Reset)), "{path}: {:?}", response.ending);
        assert_eq!(response.text(), "only this", "{path}: nothing but what the upstream said");
        assert!(started.elapsed() < BOUND, "{path}: {:?}", started.elapsed());
        ends_as(&edge, path, 200);
        drop((wire, key));
        pouring.join().expect("the upload ends");
    }
}

#[test]
fn a_client_that_leaves_an_upload_that_nobody_takes_holds_nothing() {
    let origin = Origin::start();
    let key = deaf(&origin, "/deaf", |_| {});
    let edge = Edge::routes(ROUTES, &origin);
    let (wire, pouring) = upload(&edge, "/deaf");
    origin.request_for("/deaf");
    wire.socket().shutdown(std::net::Shutdown::Both).expect("leave");
    wire.abort();
    pouring.join().expect("the upload ends");
    nothing_is_held(&edge);
    drop(key);
}

/// A script that reads the head and nothing after it, says what it has to say, and stands still while the key is held.
fn deaf(origin: &Origin, path: &str, says: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Key {
    let (key, gate) = gate();
    origin.on(path, move |exchange| stand_still(exchange, &gate, &says));
    key
}

fn stand_still(exchange: &mut Exchange, gate: &Gate, says: &dyn Fn(&mut Exchange)) -> After {
    says(exchange);
    gate.wait();
    After::Reset
}

/// Begins an upload larger than all buffers on the way; a thread sends until nobody takes more.
fn upload(edge: &Edge, path: &str) -> (Wire, JoinHandle<()>) {
    let mut wire = edge.connect();
    wire.send(format!("POST {path} HTTP/1.1\r\nhost: demo.test\r\ncontent-length: 1000000000\r\n\r\n"));
    let mut socket = wire.socket().try_clone().expect("a second handle");
    let pouring = std::thread::spawn(move || {
        let piece = vec![b'x'; 256 * 1024];
        while socket.write_all(&piece).is_ok() {}
    });
    (wire, pouring)
}

/// Its record says timeout, and nothing is in flight although the upstream still stands there.
fn ends_as(edge: &Edge, path: &str, status: u16) {
    let record = edge.logged(path);
    assert_eq!((&record["end"], &record["status"]), (&"timeout".into(), &status.into()), "{record}");
    nothing_is_held(edge);
}

/// Sooner than the standing script gives up.
fn nothing_is_held(edge: &Edge) {
    eventually_within(BOUND, "nothing in flight", || (edge.status()["in_flight"] == 0).then_some(()));
}

// ---- tunnels ----

const UPGRADE: &str = "HTTP/1.1\r\nhost: demo.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nhi";

#[test]
fn nothing_of_the_edges_own_gets_into_a_tunnel_whose_upstream_falls_silent() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    rig.origin.on("/hasty/quiet-tunnel", |exchange| {
        exchange.send(SWITCH);
        let _ = exchange.wait_end();
        After::Close
    });
    let mut wire = tunnel(&rig.edge, "/hasty/quiet-tunnel");
    only_the_tunnel_ends(&mut wire);
    let record = rig.edge.logged("/hasty/quiet-tunnel");
    assert_eq!((&record["end"], &record["status"]), (&"timeout".into(), &101.into()), "{record}");
}

#[test]
fn nothing_of_the_edges_own_gets_into_a_tunnel_whose_upstream_resets() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    rig.origin.on("/torn-tunnel", |exchange| {
        exchange.send(SWITCH);
        let _ = exchange.some();
        After::Reset
    });
    let mut wire = tunnel(&rig.edge, "/torn-tunnel");
    wire.send("x");
    only_the_tunnel_ends(&mut wire);
    let record = rig.edge.logged("/torn-tunnel");
    assert_eq!((&record["end"], &record["status"]), (&"upstream_abort".into(), &101.into()), "{record}");
}

/// A tunnel in which the upstream has said `hi`.
fn tunnel(edge: &Edge, path: &str) -> Wire {
    let mut wire = edge.connect();
    wire.send(format!("GET {path} {UPGRADE}"));
    assert_eq!(wire.head().status, 101);
    assert_eq!(wire.exactly(2), b"hi");
    wire
}

fn only_the_tunnel_ends(wire: &mut Wire) {
    wire.closed();
    assert_eq!(wire.pending(), b"", "bytes that the upstream never sent: {}", wire.received());
}
