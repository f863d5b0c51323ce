//! Bodies that nobody wanted: what a client sends after a refusal is never taken for a request, on either side.

use std::time::Duration;

use super::{Rig, rig};
use crate::support::origin::After;
use crate::support::{Config, Edge, Origin, Stop, Wire, eventually};

/// A body that would be a request if anybody took it for one.
const DISGUISED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Sends a POST whose body is a disguised request, then an honest GET; the honest one is answered or the connection ends.
fn then_an_honest_request(wire: &mut Wire, target: &str, honest: &str) -> u16 {
    wire.send(format!(
        "POST {target} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{DISGUISED}",
        DISGUISED.len()
    ));
    let status = wire.response_to("POST").status;
    wire.send(format!("GET {honest} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    match wire.try_response_to("GET") {
        Ok(response) => assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{target}"),
        Err(stop) => assert_ne!(stop, Stop::Patience, "{target}: neither an answer nor an end"),
    }
    status
}

fn nothing_was_smuggled(rig: &Rig) {
    assert!(rig.origin.requests().iter().all(|request| request.target() != "/smuggled"), "smuggled");
}

#[test]
fn the_body_of_a_refused_request_is_not_the_next_request() {
    let origin = Origin::start();
    let edge = Config::new(
        r#"
        clients:
          laptop: { token: bodies-client-token-0123456789abcdef, user: dev@example.com }
        projects:
          demo:
            hosts: [a.test]
            upstream_policy: open
            environments:
              production:
                routes:
                  - { prefix: /open, upstream: "http://{origin}/open", auth: none }
                  - { prefix: /closed, upstream: "http://{origin}/closed" }
                  - { prefix: /reads, upstream: "http://{origin}/reads", auth: none, methods: [GET] }
                  - { prefix: /answer, respond: { body: answered }, auth: none }
                  - { prefix: /away, redirect: { to: "https://b.test" }, auth: none }
        "#,
    )
    .origin(&origin)
    .start();
    let rig = Rig { origin, edge };
    for (target, expected) in
        [("/nowhere", 404), ("/closed", 401), ("/reads", 405), ("/answer", 200), ("/away", 302), ("/closed/../x", 400)]
    {
        let mut wire = rig.edge.connect();
        assert_eq!(then_an_honest_request(&mut wire, target, "/open/honest"), expected, "{target}");
    }
    nothing_was_smuggled(&rig);
}

#[test]
fn an_upstream_that_answers_without_reading_does_not_poison_its_connection() {
    let rig = rig();
    rig.origin.on("/impatient", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        After::Keep
    });
    for _ in 0..10 {
        let mut wire = rig.edge.connect();
        then_an_honest_request(&mut wire, "/impatient", "/honest");
    }
    // The origin itself reads the unread body as a request: that is its own affair. No client may get an answer from it.
    for round in 0..10 {
        let response = rig.edge.call(&crate::support::Request::get(&format!("/later-{round}")).host("a.test"));
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        assert_eq!(rig.origin.request_for(&format!("/later-{round}")).method(), "GET");
    }
}

#[test]
fn an_early_answer_ends_the_exchange_although_the_upload_goes_on() {
    let rig = rig();
    rig.origin.on("/early", |exchange| {
        exchange.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
        After::Close
    });
    let mut wire = rig.edge.connect();
    wire.send("POST /early HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10000000\r\n\r\nabc");
    let response = wire.response_to("POST");
    assert!(matches!(response.status, 403 | 502), "{}", response.status);
    let piece = vec![b'x'; 64 * 1024];
    let cut = (0..200).any(|_| wire.try_send(&piece).is_err());
    wire.patience = Duration::from_secs(8);
    assert!(cut || wire.end().0 != Stop::Patience, "the edge goes on swallowing an upload that nobody wants");
}

#[test]
fn nothing_stays_in_flight_after_every_kind_of_failure() {
    let origin = Origin::start();
    origin.on("/reset", |_| After::Reset);
    origin.answer_and_close("/short", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc");
    origin.answer_and_close("/garbage", "hello\r\n\r\n");
    origin.on("/mute", |exchange| {
        let _ = exchange.wait_end();
        After::Close
    });
    let edge = Edge::routes(
        r#"- { prefix: /, upstream: "http://{origin}", auth: none, timeouts: { first_byte: 200ms, idle: 200ms, send: 300ms } }"#,
        &origin,
    );
    for target in ["/reset", "/short", "/garbage", "/mute", "/a//b"] {
        let mut wire = edge.connect();
        wire.send(format!("POST {target} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx"));
        let _ = wire.try_response_to("POST");
    }
    for partial in [
        "GET /mute HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "POST /mute HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nx",
        "GET /mute HTTP/1.1\r\nHo",
        "",
    ] {
        let mut wire = edge.connect();
        wire.send(partial);
        wire.abort();
    }
    eventually("nothing is in flight, by the status and by the metrics", || {
        let (status, metrics) = (edge.status(), edge.metrics());
        let gauges = ["countersign_http_requests_in_flight", "countersign_http_streams_open"];
        let counted: f64 = gauges.iter().map(|name| metrics.sum(name, &[])).sum();
        (status["in_flight"] == 0 && status["streams_open"] == 0 && counted == 0.0).then_some(())
    });
}
