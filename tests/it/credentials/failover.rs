//! What an upstream says of a token: 401 and 429, the next token, and the end of all tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::{by_token, config, received, token};
use crate::support::edge::Reported;
use crate::support::frames::{END_HEADERS, END_STREAM, Frames, HEADERS};
use crate::support::hpack::{self, Decoder};
use crate::support::origin::After;
use crate::support::{Config, Edge, Exchange, Origin, Request, eventually};

const ROUTES: &str = r#"- { prefix: /, upstream: "http://{origin}", auth: none, credential: pool }"#;
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const REJECTED: &str = "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer error=\"invalid_token\"\r\ncontent-length: 7\r\nx-told: 401\r\n\r\nexpired";
const LIMITED: &str =
    "HTTP/1.1 429 Too Many Requests\r\nretry-after: 3600\r\ncontent-length: 4\r\nx-told: 429\r\n\r\nbusy";

/// An OAuth server that gives `ACCESS-2`, `ACCESS-3` … for refresh tokens, and counts.
struct Provider {
    origin: Origin,
    refreshes: Arc<AtomicUsize>,
}

impl Provider {
    fn start(access: &'static str) -> Self {
        let origin = Origin::start();
        let refreshes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&refreshes);
        origin.on("/token", move |exchange| {
            exchange.read_body();
            let number = count.fetch_add(1, Ordering::SeqCst) + 2;
            let body = format!(
                r#"{{"access_token":"{access}-{number}","refresh_token":"c4n4ry-refresh-{number}","token_type":"Bearer","expires_in":3600}}"#
            );
            let length = body.len();
            exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"));
            After::Keep
        });
        Self { origin, refreshes }
    }

    fn refreshes(&self) -> usize {
        self.refreshes.load(Ordering::SeqCst)
    }
}

/// An edge whose vault may ask again: it leaves a token alone for a second after it has taken it up.
fn settled(config: Config) -> Edge {
    let edge = config.start();
    let up = Instant::now();
    eventually("a second has passed", || (up.elapsed() > Duration::from_millis(1100)).then_some(()));
    edge
}

fn retries(edge: &Edge, reason: &str) -> f64 {
    edge.metrics().sum("countersign_upstream_retries_total", &[("reason", reason)])
}

fn post(path: &str) -> Request {
    Request::new("POST", path).body("amount=1")
}

#[test]
fn after_a_401_a_post_goes_out_again_with_the_refreshed_token() {
    let (origin, provider) = (Origin::start(), Provider::start("c4n4ry-a"));
    by_token(&origin, &[("c4n4ry-a", REJECTED)]);
    let config = config(ROUTES, "", &origin).value("provider", &provider.origin.authority());
    let edge = settled(config.token("a", &token("c4n4ry-a")));
    let _report = Reported(&edge);
    let response = edge.call(&post("/pay"));
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    assert!(!response.head.fields.has("x-told") && !response.head.fields.has("www-authenticate"));
    assert_eq!(received(&origin), ["c4n4ry-a", "c4n4ry-a-2"]);
    assert!(origin.requests().iter().all(|request| request.body == b"amount=1"), "the body is sent again, whole");
    let record = edge.logged("/pay");
    assert_eq!((&record["token"], &record["attempts"]), (&"a".into(), &2.into()), "{record}");
    assert_eq!(
        (&record["status"], &record["upstream_status"], &record["code"]),
        (&200.into(), &200.into(), &"".into())
    );
    assert_eq!((retries(&edge, "401"), provider.refreshes()), (1.0, 1));

    assert_eq!(edge.call(&post("/pay")).status, 200);
    assert_eq!(received(&origin).last().unwrap(), "c4n4ry-a-2");
    assert_eq!((origin.count(), provider.refreshes()), (3, 1), "the fresh token stays");
}

/// A token that its upstream never takes is refreshed once on that account, not for ever.
#[test]
fn a_401_of_the_fresh_token_is_the_clients() {
    let (origin, provider) = (Origin::start(), Provider::start("c4n4ry-a"));
    origin.answer("/", REJECTED);
    let config = config(ROUTES, "", &origin).value("provider", &provider.origin.authority());
    let edge = settled(config.token("a", &token("c4n4ry-a")));
    let _report = Reported(&edge);
    for _ in 0..3 {
        let response = edge.call(&post("/pay"));
        assert_eq!((response.status, response.text().as_str()), (401, "expired"));
        assert_eq!(response.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    }
    assert_eq!(provider.refreshes(), 1, "one that was forced in a minute");
    assert!(origin.count() <= 4, "{} requests", origin.count());
}

#[test]
fn after_a_429_the_next_token_serves_and_the_first_rests() {
    let origin = Origin::start();
    let until = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
    let dated = format!("HTTP/1.1 429 Busy\r\nretry-after: {until}\r\ncontent-length: 0\r\n\r\n");
    by_token(&origin, &[("c4n4ry-a", LIMITED), ("c4n4ry-b", &dated)]);
    let config = config(ROUTES, "", &origin);
    let edge =
        config.token("a", &token("c4n4ry-a")).token("b", &token("c4n4ry-b")).token("c", &token("c4n4ry-c")).start();
    let _report = Reported(&edge);
    let response = edge.call(&post("/first"));
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    let record = edge.logged("/first");
    assert_eq!((&record["token"], &record["attempts"]), (&"c".into(), &3.into()), "{record}");
    assert_eq!(retries(&edge, "429"), 2.0);
    for _ in 0..3 {
        assert_eq!(edge.get("/later").status, 200);
    }
    let tokens = received(&origin);
    assert_eq!(tokens.len(), 6, "{tokens:?}");
    assert!(tokens[2..].iter().all(|token| token == "c4n4ry-c"), "both others rest: {tokens:?}");
}

#[test]
fn when_all_rest_nothing_is_sent_and_the_client_is_told_when_to_come_back() {
    let origin = Origin::start();
    origin.answer("/", LIMITED);
    let routes = r#"
        - { prefix: /, upstream: "http://{origin}", auth: none, credential: pool, cors: { origins: ["https://app.test"] } }
        - { prefix: /small, upstream: "http://{origin}", auth: none, credential: pool, limits: { body: 4B } }
        - { prefix: /once, upstream: "http://{origin}", auth: none, credential: pool, limits: { requests: 1/h, burst: 1 } }
        - { prefix: /fixed, upstream: "http://{origin}", auth: none, credential: fixed }
    "#;
    let edge = config(routes, "", &origin).token("a", &token("c4n4ry-a")).start();
    let _report = Reported(&edge);
    let response = edge.get("/x");
    assert_eq!((response.status, response.text().as_str()), (429, "busy"), "the last token's answer is the client's");
    assert_eq!(response.header("retry-after"), Some("3600"));
    let (asked, connections) = (origin.count(), origin.connections());

    let response = edge.call(&Request::get("/y").header("origin", "https://app.test"));
    response.expect_error(503, "credential_unavailable");
    assert_eq!(response.header("access-control-allow-origin"), Some("https://app.test"));
    let seconds: u64 = response.header("retry-after").unwrap_or_default().parse().expect("seconds");
    assert!((1..=3600).contains(&seconds), "{seconds}");
    let page = edge.call(&Request::get("/y").header("accept", "text/html"));
    assert_eq!((page.status, page.header("content-type")), (503, Some("text/html; charset=utf-8")));
    let record = edge.logged("/y");
    assert_eq!((&record["code"], &record["end"]), (&"credential_unavailable".into(), &"refused".into()), "{record}");
    assert_eq!(
        (&record["token"], &record["attempts"], &record["upstream_status"]),
        (&"".into(), &0.into(), &serde_json::Value::Null)
    );
    assert_ne!(record["detail"], "", "{record}");

    edge.call(&Request::new("POST", "/small/x").body("larger")).expect_error(413, "body_too_large");
    edge.get("/once/x").expect_error(503, "credential_unavailable");
    edge.get("/once/x").expect_error(429, "too_many_requests");
    assert_eq!((origin.count(), origin.connections()), (asked, connections), "nothing was sent, nothing was connected");
    origin.answer("/", OK);
    assert_eq!(edge.get("/fixed").status, 200, "what needs no token is served");
}

#[test]
fn without_a_token_at_all_nothing_is_sent() {
    let origin = Origin::start();
    let edge = config(ROUTES, "", &origin).listener("h2c: true").start();
    let _report = Reported(&edge);
    edge.get("/x").expect_error(503, "credential_unavailable");
    let mut http2 = crate::support::h2::H2::connect(edge.data);
    let answer = http2.get("/x");
    assert_eq!((answer.status, answer.code().as_str()), (503, "credential_unavailable"));
    assert!(answer.header("retry-after").is_some());
    // A body on its way does not cost the connection.
    let mut wire = edge.connect();
    for _ in 0..2 {
        wire.send("POST /x HTTP/1.1\r\nhost: demo.test\r\ncontent-length: 3\r\n\r\nabc");
        assert_eq!(wire.response_to("POST").status, 503);
    }
    assert_eq!((origin.count(), origin.connections()), (0, 0));
}

#[test]
fn what_cannot_be_sent_again_gets_the_upstreams_answer() {
    let origin = Origin::start();
    by_token(&origin, &[("c4n4ry-a", REJECTED), ("c4n4ry-b", LIMITED)]);
    origin.on("/early", |exchange: &mut Exchange| {
        exchange.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
        exchange.send(LIMITED);
        After::Keep
    });
    let config = config(ROUTES, ", use: round_robin", &origin);
    let edge = config.token("a", &token("c4n4ry-a")).token("b", &token("c4n4ry-b")).start();
    let _report = Reported(&edge);
    let large = "l".repeat(200_000);
    let first = edge.call(&Request::new("POST", "/large").body(&large));
    assert!(matches!(first.status, 401 | 429), "{}", first.status);
    assert_eq!(origin.count(), 1);
    let early = edge.get("/early");
    assert_eq!((early.interim.len(), origin.count()), (1, 2), "the 103 was the client's already");
    assert!(matches!(early.status, 401 | 429), "{}", early.status);
}

#[test]
fn a_fixed_secret_that_is_turned_down_is_the_clients_affair() {
    let origin = Origin::start();
    let routes = r#"- { prefix: /, upstream: "http://{origin}", auth: none, credential: fixed }"#;
    let edge = config(routes, "", &origin).token("a", &token("c4n4ry-a")).start();
    for (status, answer) in [(401, REJECTED), (429, LIMITED)] {
        origin.answer("/", answer);
        let response = edge.get("/x");
        assert_eq!((response.status, response.header("x-told")), (status, Some(&*status.to_string())));
        assert_eq!(response.head.fields.has("www-authenticate"), status == 401);
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_request_goes_out_four_times_at_most() {
    let origin = Origin::start();
    origin.answer("/", LIMITED);
    let mut config = config(ROUTES, "", &origin);
    for id in ["a", "b", "c", "d", "e", "f"] {
        config = config.token(id, &token(&format!("c4n4ry-{id}")));
    }
    let edge = config.start();
    let _report = Reported(&edge);
    assert_eq!(edge.call(&post("/x")).status, 429);
    let mut tokens = received(&origin);
    assert_eq!(tokens.len(), 4, "{tokens:?}");
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 4, "each once");
    assert_eq!(edge.logged("/x")["attempts"], 4);
    assert_eq!(edge.call(&post("/x")).status, 429);
    assert_eq!(origin.count(), 6, "the two that were left");
    edge.get("/x").expect_error(503, "credential_unavailable");
}

/// `retry` asks other endpoints after the last token, and its attempts are not spent by tokens.
#[test]
fn where_retry_lists_them_other_endpoints_come_after_the_last_token() {
    let (origin, second) = (Origin::start(), Origin::start());
    origin.answer("/", LIMITED);
    second.answer("/", OK);
    let routes = r#"- { prefix: /, upstream: two, auth: none, credential: pool, retry: { attempts: 2, on: ["429"] } }"#;
    let config = config(routes, "", &origin).value("second", &second.authority());
    let edge = config.token("a", &token("c4n4ry-a")).start();
    let _report = Reported(&edge);
    assert_eq!(edge.call(&post("/x")).status, 200);
    assert_eq!((received(&origin), received(&second)), (vec!["c4n4ry-a".to_owned()], vec!["c4n4ry-a".to_owned()]));
    assert_eq!(edge.logged("/x")["endpoint"], second.authority().as_str());
}

/// Attempts for other reasons carry the token that the request has.
#[test]
fn an_endpoint_that_cannot_be_reached_costs_no_token() {
    let origin = Origin::start();
    let routes = r#"- { prefix: /, upstream: two, auth: none, credential: pool, retry: { attempts: 2 } }"#;
    let config = config(routes, ", use: round_robin", &origin);
    let edge = config.token("a", &token("c4n4ry-a")).token("b", &token("c4n4ry-b")).start();
    let _report = Reported(&edge);
    for _ in 0..4 {
        assert_eq!(edge.call(&post("/x")).status, 200);
    }
    let mut tokens = received(&origin);
    tokens.sort();
    assert_eq!(tokens, ["c4n4ry-a", "c4n4ry-a", "c4n4ry-b", "c4n4ry-b"]);
}

#[test]
fn over_http2_a_429_is_followed_by_the_next_token_too() {
    let origin = Origin::start();
    // :status 429 as a literal with an indexed name, then a short body.
    let upstream = Frames::start(|peer, stream, before| {
        if before == 0 {
            let mut head = Vec::new();
            hpack::literal(&mut head, b":status", b"429");
            peer.frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        } else {
            peer.answer(stream, "hello");
        }
        After::Keep
    });
    let routes = r#"- { prefix: /, upstream: clear, auth: none, credential: pool }"#;
    let config = config(routes, "", &origin).value("clear", &upstream.authority());
    let edge = config.token("a", &token("c4n4ry-a")).token("b", &token("c4n4ry-b")).start();
    let _report = Reported(&edge);
    let response = edge.call(&post("/x"));
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert_eq!(edge.logged("/x")["token"], "b");
    let mut decoder = Decoder::default();
    let tokens: Vec<String> =
        upstream.blocks().iter().map(|block| decoder.decode(block).get("authorization").unwrap().to_owned()).collect();
    assert_eq!(tokens, ["Bearer c4n4ry-a", "Bearer c4n4ry-b"]);
}

#[test]
fn a_hundred_requests_at_once_refresh_a_rejected_token_once() {
    let (origin, provider) = (Origin::start(), Provider::start("c4n4ry-a"));
    by_token(&origin, &[("c4n4ry-a", REJECTED)]);
    let config = config(ROUTES, "", &origin).value("provider", &provider.origin.authority());
    let edge = settled(config.token("a", &token("c4n4ry-a")));
    let _report = Reported(&edge);
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..100).map(|_| scope.spawn(|| edge.call(&post("/x")).status)).collect();
        for call in calls {
            assert_eq!(call.join().unwrap(), 200);
        }
    });
    assert_eq!(provider.refreshes(), 1);
    edge.wait_idle();
}
