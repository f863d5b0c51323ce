//! A token is in use for as long as its request is: streams, WebSockets, clients that leave.

use super::{config, received, token};
use crate::support::edge::Reported;
use crate::support::origin::After;
use crate::support::{Edge, Exchange, Origin, Request, eventually, gate};

const ROUTES: &str = r#"- { prefix: /, upstream: "http://{origin}", auth: none, credential: pool }"#;
const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn two_tokens(origin: &Origin) -> Edge {
    let config = config(ROUTES, ", use: least_used", origin);
    config.token("a", &token("c4n4ry-a")).token("b", &token("c4n4ry-b")).start()
}

/// `least_used`: whoever has fewer requests in flight, then fewer in all.
#[test]
fn a_token_is_in_use_until_the_last_event() {
    let origin = Origin::start();
    let (key, gate) = gate();
    origin.on("/sse", move |exchange: &mut Exchange| {
        exchange.send(EVENTS);
        gate.wait();
        exchange.send("9\r\ndata: 1\n\n\r\n");
        gate.wait();
        exchange.send("0\r\n\r\n");
        After::Keep
    });
    let edge = two_tokens(&origin);
    let _report = Reported(&edge);
    let mut wire = edge.connect();
    wire.send("GET /sse HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.head().status, 200);
    key.open();
    assert_eq!(wire.chunk(), b"data: 1\n\n");
    for _ in 0..3 {
        assert_eq!(edge.get("/x").status, 200);
    }
    let first = received(&origin);
    assert!(first[1..].iter().all(|token| *token != first[0]), "the stream's token is in use: {first:?}");
    key.open();
    assert_eq!(wire.exactly(5), b"0\r\n\r\n");
    eventually("the record of the stream", || (edge.logged("/sse")["end"] == "ok").then_some(()));
    assert_eq!(edge.get("/y").status, 200);
    assert_eq!(received(&origin).last(), first.first(), "it is free again, and was used less");
}

#[test]
fn a_client_that_leaves_gives_its_token_back() {
    let origin = Origin::start();
    origin.on("/sse", |exchange: &mut Exchange| {
        exchange.send(EVENTS);
        exchange.wait_end();
        After::Close
    });
    let edge = two_tokens(&origin);
    let _report = Reported(&edge);
    let mut wire = edge.connect();
    wire.send("GET /sse HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.head().status, 200);
    wire.abort();
    eventually("the record of the stream", || (edge.logged("/sse")["end"] == "client_abort").then_some(()));
    for _ in 0..2 {
        assert_eq!(edge.get("/x").status, 200);
    }
    let tokens = received(&origin);
    assert!(tokens.contains(&"c4n4ry-a".to_owned()) && tokens.contains(&"c4n4ry-b".to_owned()), "{tokens:?}");
    edge.wait_idle();
}

#[test]
fn a_websocket_carries_its_token_and_keeps_it() {
    let origin = Origin::start();
    let (key, gate) = gate();
    origin.on("/ws", move |exchange: &mut Exchange| {
        let token = exchange.head.fields.get("authorization").unwrap_or_default().to_owned();
        if token.ends_with("-a") {
            exchange.send("HTTP/1.1 429 Busy\r\ncontent-length: 0\r\n\r\n");
            return After::Keep;
        }
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
        gate.wait();
        exchange.send("frame");
        After::Close
    });
    let edge = config(ROUTES, "", &origin).token("a", &token("c4n4ry-a")).token("b", &token("c4n4ry-b")).start();
    let _report = Reported(&edge);
    let mut wire = edge.connect();
    wire.send("GET /ws HTTP/1.1\r\nhost: demo.test\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert_eq!(wire.head().status, 101);
    key.open();
    assert_eq!(wire.exactly(5), b"frame");
    drop(wire);
    assert_eq!(edge.logged("/ws")["token"], "b");
    assert_eq!(edge.call(&Request::new("HEAD", "/x")).status, 200);
}
