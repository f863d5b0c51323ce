//! A request is sent again only where that is safe, never after the first byte, and a POST is executed at most once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::edge::{Reported, free_address};
use crate::support::origin::After;
use crate::support::{Config, Edge, Ending, Exchange, Origin, Request, eventually};

const GROUP: &str = r#"
upstreams:
  two: { endpoints: [{ address: "{first}" }, { address: "{second}" }] }
projects:
  demo:
    upstream_policy: open
    environments:
      production:
        routes:
          - { prefix: /, upstream: two, auth: none, retry: { attempts: 2, on: [connect, reset, "429", "401", "502", "503", "504"] }, timeouts: { first_byte: 2s } }
          - { prefix: /plain, upstream: two, auth: none }
          - { prefix: /only-503, upstream: two, auth: none, retry: { attempts: 3, on: ["503"] } }
"#;

/// Two endpoints and an edge; the first request goes to the first.
fn pair() -> (Origin, Origin, Edge) {
    let (first, second) = (Origin::start(), Origin::start());
    let edge = Config::new(GROUP).value("first", &first.authority()).value("second", &second.authority()).start();
    (first, second, edge)
}

fn answer(status: u16) -> String {
    format!("HTTP/1.1 {status} Told\r\ncontent-length: 4\r\nx-told: {status}\r\n\r\nno!\n")
}

fn retries(edge: &Edge, reason: &str) -> f64 {
    edge.metrics().sum("countersign_upstream_retries_total", &[("reason", reason)])
}

#[test]
fn after_a_status_that_is_listed_another_endpoint_is_asked() {
    for status in [401, 429, 502, 503, 504] {
        let (first, second, edge) = pair();
        let _report = Reported(&edge);
        for origin in [&first, &second] {
            origin.answer("/told", answer(status));
        }
        second.answer("/told", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond");
        first.answer("/told/twice", answer(status));
        second.answer("/told/twice", answer(status));

        let response = edge.get("/told");
        assert_eq!((response.status, response.text().as_str()), (200, "second"), "{status}");
        assert!(!response.head.fields.has("x-told"), "nothing of the answer that was dropped");
        let record = edge.logged("/told");
        assert_eq!((&record["attempts"], &record["end"]), (&2.into(), &"ok".into()), "{record}");
        assert_eq!(record["endpoint"], second.authority().as_str());
        assert_eq!((first.count(), second.count()), (1, 1));
        assert_eq!(retries(&edge, &status.to_string()), 1.0);

        let response = edge.get("/told/twice");
        assert_eq!(response.status, status, "the last answer is the client's");
        assert_eq!(edge.logged("/told/twice")["attempts"], 2);
    }
}

/// RFC 9110 §9.2.2; 401 and 429 say that the request was not executed.
#[test]
fn a_post_is_sent_again_only_when_it_was_not_executed() {
    for (status, executions) in [(401, 2), (429, 2), (502, 1), (503, 1), (504, 1)] {
        let (first, second, edge) = pair();
        first.answer("/pay", answer(status));
        let response = edge.call(&Request::new("POST", "/pay").body("amount=1"));
        assert_eq!(first.count() + second.count(), executions, "{status}");
        assert_eq!(response.status, if executions == 2 { 200 } else { status });
        if executions == 2 {
            assert_eq!(second.take("/pay").body, b"amount=1", "the body is sent again, whole");
        }
    }
}

#[test]
fn a_body_is_sent_again_as_long_as_it_was_kept() {
    let (first, second, edge) = pair();
    let _report = Reported(&edge);
    first.answer("/put", answer(503));
    first.answer("/chunked", answer(503));
    let kept = "k".repeat(60_000);
    let response = edge.call(&Request::new("PUT", "/put/kept").body(&kept));
    assert_eq!(response.status, 200);
    assert_eq!(second.take("/put/kept").body, kept.as_bytes());

    // `two` takes turns: the next request would begin at the first endpoint again.
    assert_eq!(edge.get("/x").status, 200);
    let large = "l".repeat(200_000);
    let asked = first.count();
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(edge.call(&Request::new("PUT", "/put/large").body(&large)).status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503], "what was not kept is not sent again");
    assert_eq!(first.count() - asked, 1);
}

#[test]
fn a_connection_that_ends_without_an_answer() {
    for (way, after) in [("fin", After::Close), ("rst", After::Reset)] {
        let (first, second, edge) = pair();
        let _report = Reported(&edge);
        first.on("/end", move |_| after);
        let response = edge.get("/end");
        assert_eq!(response.status, 200, "{way}");
        assert_eq!((first.count(), second.count()), (1, 1), "{way}");
        assert_eq!(retries(&edge, "reset"), 1.0);

        assert_eq!(edge.call(&Request::new("DELETE", "/turn")).status, 200);
        let posted = edge.call(&Request::new("POST", "/end/post").body("x"));
        let tries = first.requests_for("/end/post").len() + second.requests_for("/end/post").len();
        assert_eq!(tries, 1, "{way}: a POST may have been executed");
        assert!(matches!(posted.status, 200 | 502));

        let plain = (0..2).map(|_| edge.get("/plain/x").status).collect::<Vec<_>>();
        assert_eq!(plain, [200, 200]);
    }
}

#[test]
fn without_retry_an_answer_and_an_end_are_final() {
    let (first, second, edge) = pair();
    for origin in [&first, &second] {
        origin.answer("/plain/503", answer(503));
        origin.on("/plain/end", |_| After::Close);
    }
    assert_eq!(edge.get("/plain/503").status, 503);
    assert_eq!(edge.get("/plain/end").status, 502);
    assert_eq!(first.count() + second.count(), 2);
    assert_eq!(edge.logged("/plain/end")["attempts"], 1);
}

#[test]
fn only_what_is_listed_is_a_reason() {
    let (first, second, edge) = pair();
    for origin in [&first, &second] {
        origin.answer("/only-503/502", answer(502));
        origin.answer("/only-503/503", answer(503));
        origin.on("/only-503/end", |_| After::Close);
    }
    assert_eq!(edge.get("/only-503/502").status, 502);
    assert_eq!(edge.get("/only-503/end").status, 502);
    assert_eq!(first.count() + second.count(), 2);
    assert_eq!(edge.get("/only-503/503").status, 503);
    assert_eq!(first.count() + second.count(), 5, "three attempts");
    assert_eq!(edge.logged("/only-503/503")["attempts"], 3);
}

/// Nothing was sent, so the method and the body do not matter.
#[test]
fn after_a_refused_connection_another_endpoint_is_asked_whatever_the_request() {
    let second = Origin::start();
    let edge =
        Config::new(GROUP).value("first", &free_address().to_string()).value("second", &second.authority()).start();
    let _report = Reported(&edge);
    let large = "l".repeat(300_000);
    for round in 0..4 {
        let posted = edge.call(&Request::new("POST", "/connect/post").body(&large));
        assert_eq!(posted.status, 200, "round {round}: {}", posted.text());
    }
    assert_eq!(second.requests_for("/connect").len(), 4);
    assert!(second.requests_for("/connect").iter().all(|request| request.body.len() == large.len()));
    let refused = (0..2).map(|_| edge.get("/plain/refused").status).collect::<Vec<_>>();
    assert!(refused.contains(&502), "without `retry` nobody else is asked: {refused:?}");
}

#[test]
fn nothing_is_repeated_after_the_first_byte() {
    let (first, second, edge) = pair();
    let _report = Reported(&edge);
    first.on("/half", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
        After::Close
    });
    first.on("/early", |exchange| {
        exchange.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
        After::Close
    });
    let mut wire = edge.connect();
    wire.send("GET /half HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    let response = wire.response();
    assert_eq!(response.status, 200);
    assert_ne!(response.ending, Ending::Clean);
    assert_eq!(second.count(), 0);
    assert_eq!(edge.get("/turn").status, 200);
    let early = edge.get("/early");
    assert_eq!(early.status, 502, "the 103 was the client's already");
    assert!(second.requests_for("/early").is_empty());
}

#[test]
fn a_timeout_is_not_repeated() {
    let (first, second, edge) = pair();
    first.on("/mute", |exchange| {
        let _ = exchange.wait_end();
        After::Close
    });
    assert_eq!(edge.get("/mute").status, 504);
    assert_eq!((first.count(), second.count()), (1, 0));
}

#[test]
fn a_429_without_another_endpoint_is_the_clients() {
    let origin = Origin::start();
    origin.answer("/busy", answer(429));
    origin.answer("/broken", answer(503));
    let routes =
        r#"- { prefix: /, upstream: "http://{origin}", auth: none, retry: { attempts: 2, on: ["429", "503"] } }"#;
    let edge = Edge::routes(routes, &origin);
    assert_eq!(edge.get("/busy").status, 429);
    assert_eq!(origin.count(), 1, "the same endpoint would only say it again");
    assert_eq!(edge.get("/broken").status, 503);
    assert_eq!(origin.count(), 3);
}

/// An outage is not made worse: beyond a few, at most a fifth of the requests is repeated.
#[test]
fn a_budget_bounds_the_repeats() {
    let (first, second, edge) = pair();
    let _report = Reported(&edge);
    for origin in [&first, &second] {
        origin.answer("/outage", answer(503));
    }
    let mut wire = edge.connect();
    for _ in 0..200 {
        wire.send("GET /outage HTTP/1.1\r\nhost: demo.test\r\n\r\n");
        assert_eq!(wire.response().status, 503);
    }
    let repeats = first.count() + second.count() - 200;
    // 30 and a fifth of 200; the window may have moved on over a slow machine's test.
    assert!((30..=140).contains(&repeats), "{repeats} repeats of 200 requests");
    let metrics = edge.metrics();
    let suppressed = metrics.sum("countersign_upstream_retries_suppressed_total", &[("upstream", "two")]);
    assert!(suppressed >= 1.0, "{suppressed}");
    assert_eq!(retries(&edge, "503") as usize, repeats);
}

/// The origin counts what it has read whole as executed, and dies at every point of its answer.
#[test]
fn a_post_is_executed_at_most_once_wherever_the_upstream_dies() {
    const PHASES: usize = 8;
    let (first, second, edge) = pair();
    let _report = Reported(&edge);
    let executed = Arc::new(AtomicUsize::new(0));
    for origin in [&first, &second] {
        let (executed, phase) = (Arc::clone(&executed), AtomicUsize::new(0));
        origin.on("/pay", move |exchange: &mut Exchange| {
            let phase = phase.fetch_add(1, Ordering::SeqCst) % PHASES;
            if phase == 0 {
                return After::Reset;
            }
            exchange.read_body();
            executed.fetch_add(1, Ordering::SeqCst);
            match phase {
                1 => return After::Close,
                2 => return After::Reset,
                3 => _ = exchange.send("HTTP/1.1 20"),
                4 => _ = exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"),
                5 => _ = exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
                6 => {
                    exchange.send(answer(503));
                    return After::Close;
                }
                _ => {
                    exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                    return After::Keep;
                }
            }
            After::Close
        });
    }
    let mut sent = 0;
    for round in 0..PHASES * 8 {
        let mut wire = edge.connect();
        wire.send(Request::new("POST", &format!("/pay/{round}")).body("amount=1").bytes());
        let _ = wire.try_response_to("POST");
        sent += 1;
        for origin in [&first, &second] {
            let target = format!("/pay/{round}");
            assert!(origin.requests_for(&target).iter().filter(|request| request.target() == target).count() <= 1);
        }
    }
    let received = first.requests_for("/pay").len() + second.requests_for("/pay").len();
    assert_eq!(received, sent, "none was sent twice");
    assert!(executed.load(Ordering::SeqCst) <= sent);
    edge.wait_idle();
}

#[test]
fn an_answer_that_is_dropped_leaves_nothing_behind() {
    let (first, _second, edge) = pair();
    // Endless: dropping it must end it.
    let ended = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&ended);
    first.on("/flood", move |exchange| {
        exchange.send("HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n");
        while exchange.send("4\r\nno!\n\r\n") {}
        seen.fetch_add(1, Ordering::SeqCst);
        After::Close
    });
    assert_eq!(edge.get("/flood").status, 200);
    eventually("the upstream's connection is closed", || (ended.load(Ordering::SeqCst) == 1).then_some(()));
    edge.wait_idle();
}
