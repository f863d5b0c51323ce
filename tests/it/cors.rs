//! CORS as a browser meets it: preflights, simple requests, credentials, and the edge's own errors.

use std::process::Command;
use std::sync::Arc;

use crate::support::edge::Reported;
use crate::support::process::run;
use crate::support::{Config, Edge, Origin, Request, Response, Shared};

struct Rig {
    edge: Edge,
    origin: Origin,
}

static RIG: Shared<Rig> = Shared::new();

fn rig() -> Arc<Rig> {
    RIG.get(|| {
        let origin = Origin::start();
        origin.answer(
            "/theirs",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\naccess-control-allow-origin: *\r\n\
             access-control-allow-credentials: true\r\naccess-control-expose-headers: x-secret\r\nvary: accept\r\n\r\nok",
        );
        let edge = Config::new(CONFIGURATION).origin(&origin).start();
        Rig { edge, origin }
    })
}

const CONFIGURATION: &str = r#"
projects:
  demo:
    hosts: [demo.test]
    upstream_policy: open
    environment: dev
    environments:
      production:
        routes: []
      dev:
        routes:
          - prefix: /list
            upstream: "http://{origin}"
            auth: required
            methods: [GET, POST]
            cors: { origins: ["https://app.test", "https://*.pages.test"], credentials: true, expose: [x-total] }
          - { prefix: /any, upstream: "http://{origin}", auth: none, cors: { origins: any, max_age: 1m } }
          - { prefix: /down, upstream: "http://127.0.0.1:9", auth: none, cors: { origins: any } }
          - { prefix: /busy, respond: { body: ok }, auth: none, cors: { origins: any }, limits: { requests: 1/h, burst: 1 } }
          - { prefix: /plain, upstream: "http://{origin}", auth: none }
clients:
  page: { token: "cors-test-token-of-a-page-0123456789" }
"#;

const TOKEN: &str = "cors-test-token-of-a-page-0123456789";

fn preflight(target: &str, origin: &str) -> Request {
    Request::new("OPTIONS", target).header("origin", origin).header("access-control-request-method", "POST")
}

fn cors_fields(response: &Response) -> Vec<String> {
    let names = response.head.fields.names().into_iter();
    names.filter(|name| name.to_ascii_lowercase().starts_with("access-control-")).collect()
}

#[test]
fn a_preflight_is_answered_without_a_token_and_never_forwarded() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let asked =
        preflight("/list/preflight", "https://app.test").header("access-control-request-headers", "authorization,x-a");
    let answer = rig.edge.call(&asked);
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.test"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, POST"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization,x-a"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.header("access-control-max-age"), Some("28800"));
    assert!(answer.header("vary").unwrap().contains("origin"));
    assert!(answer.header("content-length").is_none(), "204 has none");
    assert!(rig.origin.requests_for("/preflight").is_empty());
    let record = rig.edge.logged("/list/preflight");
    assert_eq!((&record["status"], &record["end"], &record["route"]), (&204.into(), &"ok".into(), &"/list".into()));
}

#[test]
fn a_preflight_of_a_stranger_is_refused_and_told_nothing() {
    let rig = rig();
    for origin in ["https://evil.test", "null", "https://app.test.evil.test", "http://app.test"] {
        let answer = rig.edge.call(&preflight("/list", origin));
        answer.expect_error(403, "origin_not_allowed");
        assert!(cors_fields(&answer).is_empty(), "{origin}: {:?}", answer.head);
    }
    assert_eq!(rig.edge.call(&preflight("/list", "https://a.pages.test")).status, 204);
}

#[test]
fn a_page_reads_the_answer_only_if_it_may() {
    let rig = rig();
    let call = |target: &str, origin: &str| rig.edge.call(&Request::get(target).header("origin", origin).bearer(TOKEN));
    let own = call("/list/theirs", "https://app.test");
    assert_eq!(own.status, 200);
    assert_eq!(own.head.fields.all("access-control-allow-origin"), ["https://app.test"], "ours replaces theirs");
    assert_eq!(own.header("access-control-expose-headers"), Some("x-total"));
    assert_eq!(own.head.fields.all("vary").join(", "), "accept, origin");
    let stranger = call("/list/theirs", "https://evil.test");
    assert_eq!(stranger.status, 200, "the browser keeps it from the page, not the edge");
    assert!(cors_fields(&stranger).is_empty(), "{:?}", stranger.head);
    let nobody = rig.edge.call(&Request::get("/list/theirs").bearer(TOKEN));
    assert!(cors_fields(&nobody).is_empty());
    assert!(nobody.head.fields.all("vary").join(", ").contains("origin"), "a cache must not mix them up");
}

#[test]
fn anybody_is_echoed_and_never_given_credentials() {
    let rig = rig();
    let answer = rig.edge.call(&Request::get("/any/theirs").header("origin", "https://whoever.test"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://whoever.test"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let asked = rig.edge.call(&preflight("/any", "null"));
    assert_eq!((asked.status, asked.header("access-control-max-age")), (204, Some("60")));
    assert_eq!(asked.header("access-control-allow-methods"), Some("POST"));
}

#[test]
fn a_page_can_read_why_it_was_refused() {
    let rig = rig();
    let from = |request: Request| rig.edge.call(&request.header("origin", "https://app.test"));
    assert_eq!(from(Request::get("/busy")).status, 200);
    for (request, status) in [
        (Request::get("/list"), 401),
        (Request::new("PUT", "/list").bearer(TOKEN), 405),
        (Request::get("/down"), 502),
        (Request::get("/busy"), 429),
    ] {
        let answer = from(request);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.test"), "{status}");
        assert_eq!(answer.head.fields.all("vary"), ["origin"], "{status}");
    }
}

#[test]
fn a_route_without_cors_leaves_it_to_the_upstream() {
    let rig = rig();
    let answer = rig.edge.call(&preflight("/plain/theirs", "https://evil.test"));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("*")));
}

#[test]
fn anybody_is_refused_in_production() {
    let rig = rig();
    let text = rig.edge.text().replace("environment: dev", "environment: production");
    let text = text.replace(
        "        routes: []",
        "        routes: [{ prefix: /p, respond: {}, auth: none, cors: { origins: any } }]",
    );
    let file = rig.edge.directory().join("production.yaml");
    std::fs::write(&file, text).unwrap();
    let mut check = Command::new(crate::support::edge::BINARY);
    let checked = run(check.arg("check").arg("-c").arg(&file));
    assert_eq!(checked.code, Some(1), "{}", checked.stdout);
    assert!(checked.stdout.contains("any_origin_in_production"), "{}", checked.stdout);
}

#[test]
fn curl_sees_the_same() {
    let rig = rig();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-i", "-X", "OPTIONS", "-H", "host: demo.test", "-H", "origin: https://app.test"]);
    curl.args(["-H", "access-control-request-method: POST", "--max-time", "20", &format!("{}/list", rig.edge.url())]);
    let said = run(&mut curl).stdout.to_ascii_lowercase();
    assert!(said.starts_with("http/1.1 204"), "{said}");
    assert!(said.contains("access-control-allow-origin: https://app.test\r\n"), "{said}");
}
