//! Clients that stall are cut off, slow ones that keep going are not, and there is a cap on connections.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::{rig, watched};
use crate::support::edge::Reported;
use crate::support::origin::After;
use crate::support::{Config, Origin, PATIENCE, Stop, eventually, gate};

#[test]
fn a_client_that_stops_reading_is_cut_and_so_is_its_upstream() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let (ended, end) = channel();
    let ended = Mutex::new(ended);
    rig.origin.on("/hasty/flood", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: x/y\r\ncontent-length: 1000000000\r\n\r\n");
        let piece = vec![b'x'; 256 * 1024];
        while exchange.send(&piece) {}
        let _ = ended.lock().unwrap().send(());
        After::Close
    });
    let mut wire = rig.edge.connect();
    wire.send("GET /hasty/flood HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.head().status, 200);
    end.recv_timeout(PATIENCE).expect("the upstream's connection ends when the client reads nothing");
    assert_eq!(rig.edge.logged("/hasty/flood")["end"], "timeout");
}

#[test]
fn a_client_that_stops_sending_its_body_is_cut() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    rig.origin.on("/hasty/stalled", |exchange| {
        exchange.read_body();
        After::Close
    });
    let mut wire = rig.edge.connect();
    wire.send("POST /hasty/stalled HTTP/1.1\r\nhost: demo.test\r\ncontent-length: 100\r\n\r\nabc");
    match wire.try_response_to("POST") {
        Ok(response) => assert_eq!(response.status, 408, "{}", response.text()),
        Err(stop) => assert_ne!(stop, Stop::Patience, "the stalled upload was not cut"),
    }
    wire.closed();
    assert_eq!(rig.edge.logged("/hasty/stalled")["end"], "timeout");
    assert!(!rig.origin.request_for("/hasty/stalled").complete);
}

#[test]
fn a_slow_but_steady_upload_is_not_cut() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let arrived = watched(&rig.origin, "/hasty/steady");
    let mut wire = rig.edge.connect();
    wire.send("POST /hasty/steady HTTP/1.1\r\nhost: demo.test\r\ncontent-length: 8\r\n\r\n");
    for byte in b"abcdefgh" {
        wire.silent_for(Duration::from_millis(120));
        wire.send([*byte]);
    }
    assert_eq!(wire.response_to("POST").text(), "done", "longer than every timeout, but never silent that long");
    drop(arrived);
}

#[test]
fn a_slow_but_steady_response_is_not_cut() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let (key, gate) = gate();
    rig.origin.on("/hasty/drip", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n");
        for byte in b"abcdefgh" {
            gate.wait();
            exchange.send([*byte]);
        }
        After::Keep
    });
    let mut wire = rig.edge.connect();
    wire.send("GET /hasty/drip HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.head().status, 200);
    for byte in b"abcdefgh" {
        wire.silent_for(Duration::from_millis(120));
        key.open();
        assert_eq!(wire.exactly(1), [*byte]);
    }
}

const UPGRADE: &str = "HTTP/1.1\r\nhost: demo.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn a_websocket_lives_while_either_side_speaks_and_ends_when_both_are_silent() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let (heard, hears) = channel();
    let heard = Mutex::new(heard);
    rig.origin.on("/hasty/socket", move |exchange| {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n");
        while let Ok(bytes) = exchange.some() {
            let _ = heard.lock().unwrap().send(bytes);
        }
        After::Close
    });
    let mut wire = rig.edge.connect();
    wire.send(format!("GET /hasty/socket {UPGRADE}"));
    assert_eq!(wire.head().status, 101);
    for byte in b"abcdefgh" {
        wire.silent_for(Duration::from_millis(120));
        wire.send([*byte]);
        assert_eq!(hears.recv_timeout(PATIENCE).expect("what the client says"), [*byte]);
    }
    let took = wire.closed();
    println!("both sides silent: cut after {took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(rig.edge.logged("/hasty/socket")["status"], 101);
}

#[test]
fn the_number_of_connections_has_a_cap_and_frees_up() {
    let origin = Origin::start();
    let edge = Config::routes(r#"- { prefix: /, upstream: "http://{origin}", auth: none }"#)
        .origin(&origin)
        .server("max_connections: 4")
        .start();
    let mut held: Vec<_> = (0..4).map(|_| edge.connect()).collect();
    for wire in &mut held {
        wire.send("GET /held HTTP/1.1\r\nhost: demo.test\r\n\r\n");
        assert_eq!(wire.response().status, 200);
    }
    let mut extra = edge.connect();
    extra.send("GET /extra HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    extra.patience = Duration::from_secs(1);
    assert!(extra.try_response_to("GET").is_err() || origin.requests_for("/extra").is_empty(), "one more than the cap");
    drop(extra);
    held.pop();
    eventually("a place is free again", || {
        let mut wire = crate::support::Wire::try_connect(edge.data).ok()?;
        wire.patience = Duration::from_secs(1);
        wire.send("GET /freed HTTP/1.1\r\nhost: demo.test\r\nconnection: close\r\n\r\n");
        wire.try_response_to("GET").ok().filter(|response| response.status == 200)
    });
    for wire in &mut held {
        wire.send("GET /still HTTP/1.1\r\nhost: demo.test\r\n\r\n");
        assert_eq!(wire.response().status, 200, "those inside are not disturbed");
    }
}
