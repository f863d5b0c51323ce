//! The life of a connection: how it begins, when it is told to go, when it is cut; and HTTP/1 beside it on the same port.

use std::time::{Duration, Instant};

use super::{config, fresh, rig};
use crate::support::h2::*;
use crate::support::origin::After;
use crate::support::tls::{Authority, TlsClient};
use crate::support::{Config, Origin, PATIENCE, Request, Wire, eventually, gate};

#[test]
fn http_1_goes_on_as_http_1_on_the_same_port() {
    let rig = rig();
    assert_eq!(rig.edge.get("/local").text(), "hello");
    // Shorter than the preface: nobody waits for more.
    let mut wire = rig.edge.connect();
    wire.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(wire.response().status, 400);
    let mut wire = rig.edge.connect();
    wire.send("P").send("UT /local HTTP/1.1\r\nhost: demo.test\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(wire.response_to("PUT").status, 200, "a request that begins like the preface, in two pieces");
}

#[test]
fn a_preface_in_pieces_is_a_preface() {
    let rig = rig();
    let mut client = H2::silent(rig.edge.data);
    for piece in PREFACE.chunks(5) {
        client.send(piece);
        std::thread::yield_now();
    }
    client.frame(SETTINGS, 0, 0, &[]);
    assert_eq!(client.get("/local").text(), "hello");
}

#[test]
fn what_only_begins_like_a_preface_is_refused() {
    let rig = rig();
    let mut wire = rig.edge.connect();
    wire.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert!([400, 505].contains(&wire.response().status));
}

#[test]
fn a_listener_without_h2c_does_not_speak_http_2_in_the_clear() {
    let origin = Origin::start();
    let edge = Config::routes("- { prefix: /, upstream: \"http://{origin}\", auth: none }").origin(&origin).start();
    let mut wire = edge.connect();
    wire.send(PREFACE);
    assert!([400, 505].contains(&wire.response().status));
    assert_eq!(origin.count(), 0);
}

#[test]
fn half_a_preface_and_silence_end_in_time() {
    let origin = Origin::start();
    let edge = config(&origin).listener("h2c: true, headers_timeout: 1s").start();
    for start in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
        let mut client = H2::silent(edge.data);
        let began = Instant::now();
        client.send(start);
        assert!(client.closed(), "{start:?}");
        assert!(began.elapsed() >= Duration::from_millis(900), "{start:?}: not before its time");
    }
}

#[test]
fn a_connection_without_streams_is_sent_home_and_one_with_a_stream_is_not() {
    let origin = Origin::start();
    let (key, gate) = gate();
    origin.on("/slow", move |exchange| {
        gate.wait();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        After::Keep
    });
    let edge = config(&origin).listener("h2c: true, idle_timeout: 1s").start();
    let mut idle = H2::connect(edge.data);
    assert_eq!(idle.get("/local").status, 200);
    let mut busy = H2::connect(edge.data);
    let stream = busy.request("GET", "/slow", &[], true);
    origin.request_for("/slow");
    assert_eq!(idle.end(), Some(End::Away(NO_ERROR)));
    assert!(idle.closed());
    key.open();
    assert_eq!(busy.answer(stream).text(), "ok");
}

#[test]
fn keeping_in_touch_does_not_keep_a_connection_without_streams() {
    let origin = Origin::start();
    let edge = config(&origin).listener("h2c: true, idle_timeout: 1s").start();
    let mut client = H2::connect(edge.data);
    let began = Instant::now();
    while client.ended.is_none() && began.elapsed() < PATIENCE {
        client.frame(PING, 0, 0, &[0; 8]).glance();
    }
    assert_eq!(client.ended, Some(End::Away(NO_ERROR)));
}

#[test]
fn a_drain_tells_clients_lets_streams_finish_and_ends_with_the_last() {
    let origin = Origin::start();
    let (key, gate) = gate();
    origin.on("/slow", move |exchange| {
        gate.wait();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        After::Keep
    });
    let edge = config(&origin).start();
    let mut idle = H2::connect(edge.data);
    assert_eq!(idle.get("/local").status, 200);
    let mut busy = H2::connect(edge.data);
    let stream = busy.request("GET", "/slow", &[], true);
    origin.request_for("/slow");
    edge.process.signal("TERM");
    assert!(idle.closed(), "nothing is under way on it");
    assert_eq!(busy.until(|client| client.ended), Some(End::Away(NO_ERROR)));
    key.open();
    let answer = busy.answer(stream);
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{answer:?}");
    assert!(busy.closed());
    let (status, _) = edge.process.wait(PATIENCE);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn an_idle_proxy_stops_at_once_even_if_its_clients_do_not_answer() {
    let origin = Origin::start();
    let edge = config(&origin).start();
    let mut client = H2::connect(edge.data);
    client.polite = false;
    assert_eq!(client.get("/local").status, 200);
    edge.process.signal("TERM");
    let (status, took) = edge.process.wait(PATIENCE);
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn clients_that_have_said_nothing_yet_go_home_with_the_drain() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let pem = authority.server(&["demo.test"]);
    let client = TlsClient::trusting(&authority).offering(&["h2"]);
    let keys = "headers_timeout: 1m, tls: { certificates: [{ cert: edge.crt, key: edge.key }] }";
    let config = config(&origin).listener("h2c: true, headers_timeout: 1m").secured_by(keys, client);
    let edge = config.file("edge.crt", &pem.cert).file("edge.key", &pem.key).start();
    let mut silent = edge.connect();
    let mut agreed = edge.try_secured("demo.test").expect("a handshake");
    eventually("both connections", || (edge.status()["connections"] == 2).then_some(()));
    edge.process.signal("TERM");
    assert!(silent.closed() < Duration::from_secs(4));
    assert!(agreed.closed() < Duration::from_secs(4));
    let (status, took) = edge.process.wait(PATIENCE);
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(4), "{took:?}");
}

/// What the drain's deadline meets: 503 where nothing was said yet, a reset where something was.
#[test]
fn the_drains_deadline_cuts_streams_and_says_so() {
    let origin = Origin::start();
    origin.on("/silent", |exchange| {
        exchange.wait_end();
        After::Close
    });
    origin.on("/begun", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
        exchange.wait_end();
        After::Close
    });
    let edge = config(&origin).server("drain_timeout: 1s").start();
    let mut client = H2::connect(edge.data);
    let silent = client.request("GET", "/silent", &[], true);
    let begun = client.request("GET", "/begun", &[], true);
    origin.request_for("/silent");
    client.until(|client| (client.answers.get(&begun)?.body == b"abc").then_some(()));
    edge.process.signal("TERM");
    let answer = client.answer(silent);
    assert_eq!((answer.status, answer.code().as_str()), (503, "draining"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("5"), "{answer:?}");
    assert_eq!(client.answer(begun).end, Some(End::Reset(INTERNAL_ERROR)));
    assert!(client.closed());
    edge.process.wait(PATIENCE);
    let record = edge.logged("/begun");
    assert_eq!((record["end"].as_str(), record["protocol"].as_str()), (Some("drained"), Some("HTTP/2.0")), "{record}");
}

#[test]
fn connections_and_descriptors_are_given_back() {
    let rig = fresh();
    let gauge = || rig.edge.process.descriptors();
    assert_eq!(H2::connect(rig.edge.data).get("/warm").status, 200);
    let before = eventually("a count at rest", || Some(gauge()));
    for round in 0..50 {
        let mut client = H2::connect(rig.edge.data);
        client.request("GET", "/x", &[], true);
        if round % 2 == 0 {
            client.answer(1);
        }
    }
    eventually("the descriptors to be given back", || (gauge() <= before + 8).then_some(()));
    rig.edge.wait_idle();
}

#[test]
fn an_idle_connection_costs_little_memory() {
    let rig = fresh();
    let open = || {
        let mut client = H2::connect(rig.edge.data);
        assert_eq!(client.get("/local").status, 200);
        client
    };
    let _warm: Vec<H2> = (0..50).map(|_| open()).collect();
    let before = rig.edge.process.resident();
    let _clients: Vec<H2> = (0..300).map(|_| open()).collect();
    let each = rig.edge.process.resident().saturating_sub(before) / 300;
    assert!(each < 64 * 1024, "{each} bytes for each idle connection");
}

#[test]
fn explain_and_requests_over_both_versions_agree() {
    let rig = rig();
    let over_1 = rig.edge.call(&Request::get("/a0/x"));
    let over_2 = H2::connect(rig.edge.data).get("/a0/x");
    assert_eq!((over_1.status, over_1.text()), (over_2.status, over_2.text()));
    let seen = rig.origin.requests_for("/api/x");
    let names = |at: usize| {
        let mut names = seen[at].head.fields.names();
        names.sort();
        names
    };
    assert_eq!(names(0), names(1), "the origin sees the same fields");
    let _ = Wire::connect(rig.edge.data);
}
