//! Bytes over TLS: large ones both ways, small ones at once, and ends that tell the truth.

use super::{
    After, Authority, Config, Ending, Origin, ROUTES, Stop, TlsClient, Wire, curl, edge_with, eventually, gate, get,
};
use crate::support::Request;

#[test]
fn ten_megabytes_pass_both_ways_unchanged() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let pem = authority.server(&["demo.test"]);
    let large: Vec<u8> = (0..10u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let answer = large.clone();
    origin.on("/large", move |exchange| {
        let mut received = Vec::new();
        exchange.stream_body(&mut |bytes| received.extend_from_slice(bytes)).expect("the whole body");
        let same = received == answer;
        exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-same: {same}\r\n\r\n", answer.len()));
        exchange.send(&answer);
        After::Keep
    });
    let edge = edge_with(&origin, &[("edge", &pem)], "http2: false, tls: { CERTIFICATES }", TlsClient::curious());
    let (sent, received) = (edge.directory().join("sent"), edge.directory().join("received"));
    let head = edge.directory().join("head");
    std::fs::write(&sent, &large).expect("write the body");
    let body = format!("@{}", sent.display());
    let (received_path, head_path) = (received.display().to_string(), head.display().to_string());
    for version in ["--tlsv1.3", "--tls-max"] {
        let version: &[&str] = if version == "--tls-max" { &["--tls-max", "1.2"] } else { &["--tlsv1.3"] };
        let arguments = [version, &["--data-binary", &body, "--output", &received_path, "--dump-header", &head_path]];
        let finished = curl(&edge, &authority, &arguments.concat(), "/large");
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert!(std::fs::read(&received).expect("the answer") == large, "the answer differs");
        let head = std::fs::read_to_string(&head).expect("the head");
        assert!(head.contains("x-same: true"), "{head}");
    }
}

#[test]
fn events_are_not_withheld() {
    let origin = Origin::start();
    let (key, gate) = gate();
    origin.on("/events", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        for event in ["9\r\ndata: 1\n\n\r\n", "9\r\ndata: 2\n\n\r\n0\r\n\r\n"] {
            exchange.send(event);
            gate.wait();
        }
        After::Keep
    });
    let edge = Config::routes(ROUTES).origin(&origin).secured().start();
    let mut wire = edge.connect_secured();
    wire.send(Request::get("/events").bytes());
    assert_eq!(wire.head().status, 200);
    assert_eq!(wire.chunk(), b"data: 1\n\n");
    key.open();
    assert_eq!(wire.chunk(), b"data: 2\n\n");
}

#[test]
fn a_whole_answer_ends_with_a_farewell_and_a_cut_one_does_not() {
    let origin = Origin::start();
    origin.answer_and_close("/whole", "HTTP/1.1 200 OK\r\n\r\nabc");
    origin.answer_and_close("/short", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc");
    origin.on("/reset", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\n\r\nabc");
        After::Reset
    });
    let edge = Config::routes(ROUTES).origin(&origin).secured().start();
    let ask = |target: &str| {
        let mut wire = edge.connect_secured();
        wire.send(Request::get(target).bytes());
        let response = wire.response();
        (response.ending, wire.end().0)
    };
    assert_eq!(ask("/whole"), (Ending::Clean, Stop::Closed));
    assert!(matches!(ask("/short").0, Ending::Cut(_)));
    assert_ne!(ask("/reset"), (Ending::Clean, Stop::Closed), "what was cut short must not end well");
}

/// HTTP/1.0 has no other end than the connection's: TLS's farewell is the end of the body.
#[test]
fn an_old_client_knows_the_end_by_the_farewell() {
    let origin = Origin::start();
    origin.answer("/chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    origin.answer_and_close("/cut", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let edge = Config::routes(ROUTES).origin(&origin).secured().start();
    for (target, expected) in [("/chunks", Ending::Clean), ("/cut", Ending::Cut(Stop::Reset))] {
        let mut wire = edge.connect_secured();
        wire.send(format!("GET {target} HTTP/1.0\r\nhost: demo.test\r\n\r\n"));
        let response = wire.response();
        assert_eq!((response.text().as_str(), response.ending), ("abc", expected), "{target}");
    }
}

#[test]
fn a_client_that_leaves_without_a_farewell_has_left() {
    let origin = Origin::start();
    let edge = Config::routes(ROUTES).origin(&origin).secured().start();
    let mut wires: Vec<Wire> = (0..3).map(|_| edge.connect_secured()).collect();
    for wire in &mut wires {
        assert_eq!(get(wire, "/x").status, 200);
    }
    wires[0].finish_sending();
    let _ = wires[1].socket().shutdown(std::net::Shutdown::Both);
    wires.pop().expect("the third").abort();
    eventually("all are gone", || (edge.status()["connections"] == 0).then_some(()));
}

#[test]
fn many_requests_share_a_connection_and_pipelined_ones_are_answered_in_order() {
    let origin = Origin::start();
    let edge = Config::routes(ROUTES).origin(&origin).secured().start();
    let mut wire = edge.connect_secured();
    for number in 0..20 {
        assert_eq!(get(&mut wire, &format!("/{number}")).status, 200);
    }
    let together: Vec<u8> = (0..5).flat_map(|n| Request::get(&format!("/p{n}")).keep_alive().bytes()).collect();
    wire.send(together);
    for _ in 0..5 {
        assert_eq!(wire.response().status, 200);
    }
    let seen: Vec<String> =
        origin.requests().iter().map(|it| it.target().to_owned()).filter(|it| it.starts_with("/p")).collect();
    assert_eq!(seen, ["/p0", "/p1", "/p2", "/p3", "/p4"]);
}

#[test]
fn an_idle_connection_stays_small() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let pem = authority.server(&["a.test"]);
    let keys = "idle_timeout: 5m, http2: false, tls: { CERTIFICATES }";
    let edge = edge_with(&origin, &[("edge", &pem)], keys, TlsClient::trusting(&authority));
    let open = |count: usize| -> Vec<Wire> {
        let one = |_| {
            let mut wire = edge.connect_secured();
            assert_eq!(get(&mut wire, "/x").status, 200);
            wire
        };
        (0..count).map(one).collect()
    };
    let _warm = open(50);
    let before = edge.process.resident();
    let _idle = open(300);
    let each = edge.process.resident().saturating_sub(before) / 300;
    println!("an idle TLS connection: {each} bytes");
    assert!(each < 32 * 1024, "{each} bytes for an idle TLS connection");
}

#[test]
fn http2_is_agreed_upon_and_carries_large_bodies_both_ways() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let pem = authority.server(&["demo.test"]);
    let large: Vec<u8> = (0..10u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let answer = large.clone();
    origin.on("/large", move |exchange| {
        let mut received = Vec::new();
        exchange.stream_body(&mut |bytes| received.extend_from_slice(bytes)).expect("the whole body");
        let same = received == answer;
        exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-same: {same}\r\n\r\n", answer.len()));
        exchange.send(&answer);
        After::Keep
    });
    let edge = edge_with(&origin, &[("edge", &pem)], "tls: { CERTIFICATES }", TlsClient::curious());
    let (sent, received) = (edge.directory().join("sent"), edge.directory().join("received").display().to_string());
    std::fs::write(&sent, &large).expect("write the body");
    let body = format!("@{}", sent.display());
    let asks =
        ["--http2", "--data-binary", &body, "--output", &received, "--write-out", "%{http_version} %header{x-same}"];
    let finished = curl(&edge, &authority, &asks, "/large");
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "2 true"), "{finished:?}");
    assert!(std::fs::read(&received).expect("the answer") == large, "the answer differs");
    assert_eq!(edge.logged("/large")["protocol"], "HTTP/2.0");
    assert_eq!(origin.request_for("/large").header("x-forwarded-proto"), Some("https"));
}
