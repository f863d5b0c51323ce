//! Silent, slow and oversized clients against short configured limits.

use std::time::Duration;

use super::{fill, rig};
use crate::support::{Config, Edge, Origin, Stop, eventually_within};

fn hasty() -> (Origin, Edge) {
    let origin = Origin::start();
    let edge = Config::routes(r#"- { prefix: /, upstream: "http://{origin}", auth: none }"#)
        .origin(&origin)
        .listener("headers_timeout: 400ms, idle_timeout: 600ms, max_header_size: 8KiB")
        .start();
    (origin, edge)
}

#[test]
fn silent_and_slow_connections_are_closed_in_time() {
    let (_origin, edge) = hasty();
    let bound = Duration::from_secs(4);

    let mut silent = edge.connect();
    assert!(silent.closed() < bound, "a connection that never says anything");
    assert!(silent.received().is_empty() || silent.received().starts_with("HTTP/1.1 408"), "{}", silent.received());

    let mut partial = edge.connect();
    partial.send("GET /echo HTTP/1.1\r\nHo");
    assert!(partial.closed() < bound, "a head that stops half-way");
    assert!(partial.received().is_empty() || partial.received().starts_with("HTTP/1.1 408"), "{}", partial.received());

    let mut idle = edge.connect();
    idle.send("GET /echo HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(idle.response().status, 200);
    assert!(idle.closed() < bound, "an idle keep-alive connection");

    let mut second = edge.connect();
    second.send("GET /echo HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(second.response().status, 200);
    second.send("GET /echo HTTP/1.1\r\nHo");
    assert!(second.closed() < bound, "a second head that stops half-way");
}

#[test]
fn a_head_that_trickles_is_cut_although_bytes_keep_coming() {
    let (origin, edge) = hasty();
    let mut wire = edge.connect();
    wire.send("GET /slowloris HTTP/1.1\r\nHost: a.test\r\n");
    eventually_within(Duration::from_secs(5), "the slow head is cut", || {
        let sent = wire.try_send("x: y\r\n");
        wire.patience = Duration::from_millis(50);
        (sent.is_err() || wire.end().0 != Stop::Patience).then_some(())
    });
    assert!(wire.received().is_empty() || wire.received().starts_with("HTTP/1.1 4"), "{}", wire.received());
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_listener_has_its_own_head_size() {
    let (origin, edge) = hasty();
    let long = "x".repeat(9000);
    let mut wire = edge.connect();
    wire.send(format!("GET /x HTTP/1.1\r\nHost: a.test\r\nx-a: {long}\r\n\r\n"));
    assert_eq!(wire.response().status, 431);
    let mut wire = edge.connect();
    wire.send(format!("GET /{long} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    assert_eq!(wire.response().status, 414);
    assert_eq!(origin.count(), 0);
}

#[test]
fn many_large_heads_do_not_fill_the_memory() {
    let rig = rig();
    let before = rig.edge.process.resident();
    let mut wires = Vec::new();
    for _ in 0..100 {
        let mut wire = rig.edge.connect();
        let _ = wire.socket().set_write_timeout(Some(Duration::from_millis(500)));
        wire.send(fill("GET /echo HTTP/1.1\r\nHost: a.test\r\nX-A: {long:900000}"));
        wires.push(wire);
    }
    let grown = rig.edge.process.resident().saturating_sub(before);
    println!("100 heads of 0.9 MB: {} KiB more", grown / 1024);
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes for 100 heads");
}
