//! Bytes reach the other side when they are sent, in both directions; what is cut stays cut; who stalls is cut off.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::edge::Reported;
use crate::support::origin::After;
use crate::support::{Config, Edge, Exchange, Gate, Origin, PATIENCE, Shared, Stop, gate};

mod blame;
mod connections;
mod deaf_upstreams;
mod failures;
mod slow_clients;

pub struct Rig {
    pub edge: Edge,
    pub origin: Origin,
}

static RIG: Shared<Rig> = Shared::new();

pub fn rig() -> Arc<Rig> {
    RIG.get(|| {
        let origin = Origin::start();
        let edge = Config::routes(
            r#"
            - { prefix: /, upstream: "http://{origin}", auth: none }
            - { prefix: /hasty, upstream: "http://{origin}/hasty", auth: none, timeouts: { connect: 500ms, first_byte: 400ms, idle: 400ms, send: 600ms } }
            "#,
        )
        .origin(&origin)
        .start();
        Rig { edge, origin }
    })
}

/// Sends each part after one opening of the gate.
pub fn trickle(exchange: &mut Exchange, gate: &Gate, parts: &[&str]) -> After {
    for part in parts {
        gate.wait();
        if !exchange.send(part) {
            return After::Close;
        }
    }
    After::Keep
}

// ---- responses as they come ----

#[test]
fn server_sent_events_arrive_as_they_are_sent() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let (key, gate) = gate();
    rig.origin.on("/sse", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        trickle(exchange, &gate, &["9\r\ndata: 1\n\n\r\n", "9\r\ndata: 2\n\n\r\n", "9\r\ndata: 3\n\n\r\n", "0\r\n\r\n"])
    });
    let mut wire = rig.edge.connect();
    wire.send("GET /sse HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    let head = wire.head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "before the first event");
    for number in 1..=3 {
        key.open();
        assert_eq!(wire.chunk(), format!("data: {number}\n\n").as_bytes());
    }
    key.open();
    assert_eq!(wire.exactly(5), b"0\r\n\r\n");
}

#[test]
fn a_content_length_body_that_trickles_arrives_byte_by_byte() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let (key, gate) = gate();
    rig.origin.on("/trickle", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n");
        trickle(exchange, &gate, &["a", "b", "c", "d", "e", "f", "g", "h"])
    });
    let mut wire = rig.edge.connect();
    wire.send("GET /trickle HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.head().header("content-length"), Some("8"), "the head, before the first byte of the body");
    for byte in b"abcdefgh" {
        key.open();
        assert_eq!(wire.exactly(1), [*byte]);
    }
}

#[test]
fn a_body_that_ends_with_the_connection_arrives_as_it_is_sent() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let (key, gate) = gate();
    rig.origin.on("/until-close", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
        trickle(exchange, &gate, &["one", "two"]);
        gate.wait();
        After::Close
    });
    let mut wire = rig.edge.connect();
    wire.send("GET /until-close HTTP/1.0\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.head().status, 200);
    for part in ["one", "two"] {
        key.open();
        assert_eq!(wire.exactly(3), part.as_bytes());
    }
    key.open();
    assert_eq!(wire.end().0, Stop::Closed);
}

#[test]
fn early_hints_arrive_before_the_final_response() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let (key, gate) = gate();
    rig.origin.on("/hints", move |exchange| {
        exchange.send("HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n");
        gate.wait();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        After::Keep
    });
    let mut wire = rig.edge.connect();
    wire.send("GET /hints HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.interim(), 103);
    key.open();
    assert_eq!(wire.response().text(), "ok");
}

// ---- uploads as they come ----

/// An origin script that passes on every piece of the body as it comes, then answers.
pub fn watched(origin: &Origin, path: &str) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    origin.on(path, move |exchange| {
        let sender = sender.lock().unwrap().clone();
        let _ = sender.send(b"HEAD".to_vec());
        let _ = exchange.stream_body(&mut |bytes| {
            let _ = sender.send(bytes.to_vec());
        });
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone");
        After::Keep
    });
    receiver
}

#[test]
fn an_upload_reaches_the_upstream_as_it_is_sent() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let arrived = watched(&rig.origin, "/upload");
    let mut wire = rig.edge.connect();
    wire.send("POST /upload HTTP/1.1\r\nhost: demo.test\r\ncontent-length: 4\r\n\r\n");
    assert_eq!(arrived.recv_timeout(PATIENCE).expect("the head, before the body"), b"HEAD");
    for byte in b"abcd" {
        wire.send([*byte]);
        assert_eq!(arrived.recv_timeout(PATIENCE).expect("the next byte"), [*byte]);
    }
    assert_eq!(wire.response_to("POST").text(), "done");
}

#[test]
fn a_chunked_upload_reaches_the_upstream_as_it_is_sent() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let arrived = watched(&rig.origin, "/chunked-upload");
    let mut wire = rig.edge.connect();
    wire.send("POST /chunked-upload HTTP/1.1\r\nhost: demo.test\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(arrived.recv_timeout(PATIENCE).expect("the head, before the body"), b"HEAD");
    for part in ["one", "two"] {
        wire.send(format!("3\r\n{part}\r\n"));
        assert_eq!(arrived.recv_timeout(PATIENCE).expect("the next chunk"), part.as_bytes());
    }
    wire.send("0\r\n\r\n");
    assert_eq!(wire.response_to("POST").text(), "done");
    assert!(rig.origin.request_for("/chunked-upload").complete);
}

#[test]
fn expect_100_continue_is_answered_before_the_body_is_sent() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    rig.origin.on("/expect", |exchange| {
        if exchange.head.fields.has("expect") {
            exchange.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        exchange.read_body();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone");
        After::Keep
    });
    let mut wire = rig.edge.connect();
    wire.send("POST /expect HTTP/1.1\r\nhost: demo.test\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n");
    assert_eq!(wire.interim(), 100);
    wire.send("abc");
    let response = wire.response_to("POST");
    assert_eq!((response.status, response.text().as_str()), (200, "done"));
    assert_eq!(rig.origin.request_for("/expect").body, b"abc");
}

#[test]
fn an_early_refusal_reaches_a_client_that_is_still_waiting_to_send() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    rig.origin.on("/early", |exchange| {
        exchange.send("HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlarge");
        After::Close
    });
    let mut wire = rig.edge.connect();
    wire.send("POST /early HTTP/1.1\r\nhost: demo.test\r\nexpect: 100-continue\r\ncontent-length: 1000000\r\n\r\n");
    let response = wire.response_to("POST");
    assert_eq!((response.status, response.text().as_str()), (413, "large"));
}

// ---- leaving ----

#[test]
fn a_client_that_leaves_cancels_the_upstream() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let (left, measured) = channel();
    let left = Mutex::new(left);
    rig.origin.on("/abandoned", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        exchange.send("9\r\ndata: 1\n\n\r\n");
        let _ = exchange.wait_end();
        let _ = left.lock().unwrap().send(Instant::now());
        After::Close
    });
    rig.origin.on("/never-answered", |exchange| {
        let _ = exchange.wait_end();
        After::Close
    });
    let mut wire = rig.edge.connect();
    wire.send("GET /abandoned HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.head().status, 200);
    wire.chunk();
    let gone = Instant::now();
    wire.abort();
    let noticed = measured.recv_timeout(PATIENCE).expect("the upstream's connection ends when the client leaves");
    println!("client gone -> upstream closed: {:?}", noticed.saturating_duration_since(gone));
    assert!(noticed.saturating_duration_since(gone) < Duration::from_secs(1));
    assert_eq!(rig.edge.logged("/abandoned")["end"], "client_abort");

    let mut early = rig.edge.connect();
    early.send("GET /never-answered HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    rig.origin.request_for("/never-answered");
    drop(early);
    assert_eq!(rig.edge.logged("/never-answered")["end"], "client_abort");
}

#[test]
fn a_client_that_leaves_during_an_upload_never_completes_it() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let arrived = watched(&rig.origin, "/half-upload");
    let mut wire = rig.edge.connect();
    wire.send("POST /half-upload HTTP/1.1\r\nhost: demo.test\r\ncontent-length: 10\r\n\r\nabc");
    while arrived.recv_timeout(PATIENCE).expect("the first half") != b"abc" {}
    wire.abort();
    rig.edge.logged("/half-upload");
    assert!(!rig.origin.request_for("/half-upload").complete);
}
