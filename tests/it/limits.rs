//! How much passes, over real sockets: the rate and its wait, what is in flight and how it is given back, bodies.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::origin::After;
use crate::support::process::run;
use crate::support::wait::{eventually, gate};
use crate::support::{Config, Edge, Origin, Request};

/// A minute is longer than any of these tests: what is used up stays used up.
const ROUTES: &str = r#"
    - { prefix: /rate, upstream: "http://{origin}", auth: none, limits: { requests: 2/m, burst: 3, per: route } }
    - { prefix: /fast, upstream: "http://{origin}", auth: none, limits: { requests: 4/s, burst: 1, per: route } }
    - { prefix: /each, upstream: "http://{origin}", auth: required, limits: { requests: 1/h, burst: 1 } }
    - { prefix: /local, respond: { body: ok }, auth: none, limits: { requests: 1/h, burst: 1, per: address } }
    - { prefix: /one, upstream: "http://{origin}", auth: none, limits: { concurrent: 1, per: route } }
    - { prefix: /two, upstream: "http://{origin}", auth: none, limits: { concurrent: 2, per: route } }
    - { prefix: /small, upstream: "http://{origin}/small", auth: none, limits: { body: 1KiB } }
"#;

fn edge(origin: &Origin) -> Edge {
    let clients = "\nclients:\n  a: { token: \"limits-test-token-of-client-a-0123456789\" }\n  \
                   b: { token: \"limits-test-token-of-client-b-0123456789\" }\n";
    Config::new(&(crate::support::edge::project("demo", ROUTES) + clients)).origin(origin).start()
}

#[test]
fn the_burst_passes_at_once_and_then_the_wait_is_told() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for _ in 0..3 {
        assert_eq!(edge.get("/rate/x").status, 200);
    }
    let refused = edge.get("/rate/x");
    refused.expect_error(429, "too_many_requests");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((25..=30).contains(&wait), "one flows in each thirty seconds, and {wait} are to be waited");
    assert_eq!(origin.count(), 3, "what is refused never reaches the upstream");
    let record = eventually("a refused record", || edge.access_log().into_iter().find(|it| it["status"] == 429));
    assert_eq!((&record["end"], &record["code"]), (&"refused".into(), &"too_many_requests".into()));
    let labels = [("route", "/rate"), ("reason", "too_many_requests")];
    assert_eq!(edge.metrics().sum("countersign_requests_refused_total", &labels), 1.0);
}

#[test]
fn who_waits_as_long_as_told_passes() {
    let origin = Origin::start();
    let edge = edge(&origin);
    assert_eq!(edge.get("/fast").status, 200);
    let refused = eventually("a refusal", || Some(edge.get("/fast")).filter(|it| it.status == 429));
    let until = Instant::now() + Duration::from_secs(refused.header("retry-after").unwrap().parse().unwrap());
    eventually("the time that was told", || (Instant::now() >= until).then_some(()));
    assert_eq!(edge.get("/fast").status, 200);
}

#[test]
fn clients_have_rates_of_their_own_and_anonymous_callers_one_for_each_address() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let by = |name: &str| {
        edge.call(&Request::get("/each").bearer(&format!("limits-test-token-of-client-{name}-0123456789")))
    };
    assert_eq!((by("a").status, by("b").status), (200, 200));
    assert_eq!((by("a").status, by("b").status), (429, 429));
    assert_eq!((edge.get("/local").status, edge.get("/local").status), (200, 429), "the edge's own answers count too");
}

#[test]
fn a_reload_forgives_nothing_and_other_limits_begin_anew() {
    let origin = Origin::start();
    let edge = edge(&origin);
    assert_eq!((edge.get("/local").status, edge.get("/local").status), (200, 429));
    let text = edge.text();
    let reload = |text: &str| {
        edge.write(text);
        assert_eq!(edge.reload().0, 200);
    };
    reload(&text.replace("body: ok", "body: fine"));
    assert_eq!(edge.get("/local").status, 429, "the same limits go on");
    reload(&text.replace("requests: 1/h, burst: 1, per: address", "requests: 2/h, burst: 1, per: address"));
    assert_eq!(edge.get("/local").status, 200);
}

#[test]
fn what_is_in_flight_counts_until_it_has_ended() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let (key, lock) = gate();
    origin.on("/held", move |exchange| {
        exchange.read_body();
        lock.wait();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        After::Keep
    });
    let mut held = edge.connect();
    held.send(Request::get("/one/held").bytes());
    origin.request_for("/held");
    let refused = edge.get("/one/other");
    refused.expect_error(429, "too_many_at_once");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(edge.get("/two/other").status, 200, "another route");
    key.open();
    assert_eq!(held.response().status, 200);
    eventually("its place is free", || (edge.get("/one/other").status == 200).then_some(()));
}

#[test]
fn a_client_that_leaves_gives_its_place_back() {
    let origin = Origin::start();
    let edge = edge(&origin);
    origin.on("/held", |exchange| {
        exchange.read_body();
        exchange.wait_end();
        After::Close
    });
    for _ in 0..3 {
        let mut held = edge.connect();
        held.send(Request::get("/one/held").bytes());
        origin.take("/held");
        assert_eq!(edge.get("/one/other").status, 429);
        held.abort();
        eventually("its place is free", || (edge.get("/one/other").status == 200).then_some(()));
    }
}

#[test]
fn an_upstream_that_fails_gives_the_place_back() {
    let origin = Origin::start();
    let edge = edge(&origin);
    origin.on("/reset", |_| After::Reset);
    for _ in 0..5 {
        assert_eq!(edge.call(&Request::new("POST", "/one/reset").body("x")).status, 502);
    }
}

#[test]
fn an_announced_body_that_is_too_large_is_refused_before_anything_goes_upstream() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let fits = edge.call(&Request::new("POST", "/small").body(vec![b'x'; 1024]));
    assert_eq!(fits.status, 200);
    let refused = edge.call(&Request::new("POST", "/small").body(vec![b'x'; 1025]));
    refused.expect_error(413, "body_too_large");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_client_that_asks_first_is_refused_before_it_sends_the_body() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut wire = edge.connect();
    wire.send("POST /small HTTP/1.1\r\nhost: demo.test\r\nexpect: 100-continue\r\ncontent-length: 1025\r\n\r\n");
    let refused = wire.response_to("POST");
    refused.expect_error(413, "body_too_large");
    assert!(refused.interim.is_empty(), "nobody asked for the body");
    wire.closed();
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_body_that_grows_too_large_is_cut_and_the_upstream_never_gets_its_end() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let mut wire = edge.connect();
    wire.send("POST /small HTTP/1.1\r\nhost: demo.test\r\ntransfer-encoding: chunked\r\n\r\n");
    wire.send(format!("400\r\n{}\r\n", "x".repeat(0x400)));
    origin.request_for("/small");
    wire.send("1\r\nx\r\n0\r\n\r\n");
    wire.response_to("POST").expect_error(413, "body_too_large");
    wire.closed();
    edge.wait_idle();
    assert!(!origin.request_for("/small").complete, "a request that is cut must not look whole");
    let within = edge.call(&Request::new("POST", "/small").body("x"));
    assert_eq!(within.status, 200, "and the next request is not harmed by it");
}

#[test]
fn an_answer_that_has_begun_is_cut_with_the_body() {
    let origin = Origin::start();
    let edge = edge(&origin);
    origin.on("/small", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello");
        exchange.wait_end();
        After::Close
    });
    let mut wire = edge.connect();
    wire.send("POST /small HTTP/1.1\r\nhost: demo.test\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n");
    assert_eq!(wire.head().status, 200);
    wire.send(format!("400\r\n{}\r\n", "x".repeat(0x400)));
    wire.closed();
    assert!(!wire.received().contains("413"), "{}", wire.received());
    assert_eq!(edge.logged("/small")["code"], "body_too_large");
}

#[test]
fn explain_shows_the_limits_and_takes_nothing() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for _ in 0..3 {
        let said = edge.command(&["explain"], &["GET", "http://demo.test/local", "--json"]);
        assert!(said.stdout.contains("1 requests at once"), "{}", said.stdout);
    }
    let large = edge.command(&["explain"], &["POST", "http://demo.test/small", "-H", "content-length: 9999"]);
    assert_eq!(large.code, Some(4), "{}", large.stdout);
    assert_eq!(edge.get("/local").status, 200);
}

/// One request over HTTP/2 in the clear, by prior knowledge; `body`: sent without announcing its length. Status, then body.
fn over_http2(edge: &Edge, target: &str, body: Option<&str>) -> (String, String) {
    let port = edge.data.port();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--http2-prior-knowledge", "--max-time", "20", "-w", "\n%{http_version} %{response_code}"]);
    curl.args(["--resolve", &format!("demo.test:{port}:127.0.0.1"), &format!("http://demo.test:{port}{target}")]);
    if let Some(body) = body {
        let file = edge.directory().join("upload");
        std::fs::write(&file, body).unwrap();
        // Of `transfer-encoding` curl takes the meaning over HTTP/2, and leaves the length out.
        curl.args(["-H", "transfer-encoding: chunked", "-H", "expect:", "--data-binary"]);
        curl.arg(format!("@{}", file.display()));
    }
    let done = run(&mut curl);
    let (text, status) = done.stdout.rsplit_once('\n').unwrap_or_else(|| panic!("{done:?}"));
    (status.to_owned(), text.to_owned())
}

#[test]
fn http2_is_limited_alike() {
    let origin = Origin::start();
    let edge = Config::routes(ROUTES_HTTP2).listener("h2c: true").origin(&origin).start();
    let (status, text) = over_http2(&edge, "/small", Some(&"x".repeat(4000)));
    assert_eq!(status, "2 413", "{text}");
    assert!(text.contains("body_too_large"), "{text}");
    assert_eq!(over_http2(&edge, "/small", Some("fits")).0, "2 200");
    assert_eq!(over_http2(&edge, "/rate", None).0, "2 200");
    assert_eq!(over_http2(&edge, "/rate", None).0, "2 429");
    edge.wait_idle();
    assert!(origin.requests_for("/small").iter().filter(|request| !request.complete).count() <= 1);
    assert_eq!(origin.request_for("/rate").header("via"), Some("2.0 countersign"));
}

const ROUTES_HTTP2: &str = r#"
    - { prefix: /small, upstream: "http://{origin}/small", auth: none, limits: { body: 1KiB } }
    - { prefix: /rate, upstream: "http://{origin}/rate", auth: none, limits: { requests: 1/h, burst: 1 } }
"#;
