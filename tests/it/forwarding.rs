//! What an upstream is told about a request beside the request itself: where it came from, which trace it is of, by whom it
//! came, and what the operator writes into headers.

use std::sync::Arc;

use crate::support::edge::Reported;
use crate::support::origin::Recorded;
use crate::support::{Config, Edge, Origin, Request, Shared};

struct Rig {
    /// Trusts nobody.
    strict: Edge,
    /// Trusts 127.0.0.1.
    behind: Edge,
    origin: Origin,
}

static RIG: Shared<Rig> = Shared::new();

fn rig() -> Arc<Rig> {
    RIG.get(|| {
        let origin = Origin::start();
        origin
            .answer("/up/answer", "HTTP/1.1 201 Created\r\ncontent-length: 0\r\nvia: 1.1 inner\r\nx-status: 9\r\n\r\n");
        let config = || Config::routes(ROUTES).origin(&origin);
        let strict = config().start();
        let behind = config().server("trusted_proxies: [127.0.0.0/8]").start();
        Rig { strict, behind, origin }
    })
}

const ROUTES: &str = r#"
    - { prefix: /plain, upstream: "http://{origin}/up", auth: none }
    - prefix: /told
      upstream: "http://{origin}/up"
      auth: none
      headers:
        request:
          set: { x-from: "{client_ip} {scheme}", x-what: "{method} {host} {path} {query}", x-id: "{request_id}", x-json: '{{"a":1}}' }
        response:
          set: { x-status: "{upstream_status}", x-route: "{project}/{environment}{route}" }
    - prefix: /own
      respond: { body: ok }
      auth: none
      headers: { response: { set: { x-id: "{request_id}", x-status: "[{upstream_status}]" } } }
"#;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

impl Rig {
    /// Sends GET with these fields, and answers what the upstream saw.
    fn seen(&self, edge: &Edge, target: &str, fields: &[(&str, &str)]) -> Recorded {
        let request = fields.iter().fold(Request::get(target), |request, (name, value)| request.header(name, value));
        let answer = edge.call(&request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let upstream = target.replacen("/plain", "/up", 1).replacen("/told", "/up", 1);
        self.origin.take(&upstream)
    }
}

#[test]
fn strangers_cannot_say_where_they_come_from() {
    let rig = rig();
    let _report = Reported(&rig.strict);
    let spoofed = [
        ("x-forwarded-for", "6.6.6.6"),
        ("X_Forwarded_For", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6;proto=https;host=evil.test"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-port", "6666"),
        ("x-real-ip", "6.6.6.6"),
        ("x-request-id", "6666"),
    ];
    let seen = rig.seen(&rig.strict, "/plain/spoof", &spoofed);
    for hostile in ["6.6.6.6", "evil.test", "6666"] {
        assert!(!seen.contains(hostile), "{hostile} reached the upstream");
    }
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("demo.test"));
    assert_eq!(seen.header("x-forwarded-port"), Some("80"));
    assert_eq!(seen.header("forwarded"), None);
    assert_eq!(rig.strict.logged("/plain/spoof")["client_ip"], "127.0.0.1");
}

/// Whoever bans addresses by the log must not be led to ban the proxy in front.
#[test]
fn a_refused_request_is_recorded_with_the_address_that_the_trusted_proxy_names() {
    let rig = rig();
    for (edge, expected) in [(&rig.behind, "203.0.113.9"), (&rig.strict, "127.0.0.1")] {
        let request = Request::new("TRACE", "/plain/refused").header("x-forwarded-for", "203.0.113.9");
        assert_eq!(edge.call(&request).status, 405);
        assert_eq!(edge.logged("/plain/refused")["client_ip"], expected);
    }
}

#[test]
fn a_refusal_is_logged_with_the_address_that_a_trusted_proxy_names() {
    let rig = rig();
    let _report = Reported(&rig.behind);
    for (edge, expected) in [(&rig.behind, "203.0.113.9"), (&rig.strict, "127.0.0.1")] {
        assert_eq!(edge.call(&Request::get("/nowhere").header("x-forwarded-for", "203.0.113.9")).status, 404);
        assert_eq!(edge.logged("/nowhere")["client_ip"], expected);
    }
}

#[test]
fn a_trusted_proxy_speaks_in_either_language() {
    let rig = rig();
    let _report = Reported(&rig.behind);
    let chain = "for=203.0.113.9;proto=https, for=\"[2001:db8::1]:4711\";proto=https";
    let seen = rig.seen(&rig.behind, "/plain/forwarded", &[("forwarded", chain), ("x-request-id", "front-7")]);
    assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.9, 2001:db8::1, 127.0.0.1"));
    assert_eq!(seen.header("x-real-ip"), Some("2001:db8::1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-port"), Some("443"));
    assert_eq!(seen.header("x-request-id"), Some("front-7"));
    let ours = format!("{chain}, for=127.0.0.1;proto=http;host=\"demo.test\"");
    assert_eq!(seen.header("forwarded"), Some(ours.as_str()));
    let record = rig.behind.logged("/plain/forwarded");
    assert_eq!((&record["client_ip"], &record["request_id"]), (&"2001:db8::1".into(), &"front-7".into()));
    let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "203.0.113.9")];
    assert_eq!(rig.seen(&rig.behind, "/plain/both", &both).header("x-real-ip"), Some("203.0.113.9"));
    for odd in ["two words", &"x".repeat(129)] {
        let seen = rig.seen(&rig.behind, "/plain/odd", &[("x-request-id", odd)]);
        assert_eq!(seen.header("x-request-id").unwrap().len(), 32, "an id that is none is replaced");
    }
}

#[test]
fn traces_go_on_or_begin() {
    let rig = rig();
    let _report = Reported(&rig.strict);
    let seen = rig.seen(&rig.strict, "/plain/on", &[("traceparent", PARENT), ("tracestate", "a=1")]);
    assert_eq!((seen.header("traceparent"), seen.header("tracestate")), (Some(PARENT), Some("a=1")));
    assert_eq!(rig.strict.logged("/plain/on")["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let broken = PARENT.replace("4736-", "-");
    for (target, fields) in
        [("/plain/begun", vec![]), ("/plain/broken", vec![("traceparent", broken.as_str()), ("tracestate", "a=1")])]
    {
        let seen = rig.seen(&rig.strict, target, &fields);
        let begun = seen.header("traceparent").unwrap();
        let trace = rig.strict.logged(target)["trace_id"].as_str().unwrap().to_owned();
        assert_eq!((begun.len(), begun.get(3..35)), (55, Some(trace.as_str())), "{begun}");
        assert_eq!(seen.header("tracestate"), None, "it belongs to a trace that nobody knows");
    }
}

#[test]
fn via_names_everybody_both_ways() {
    let rig = rig();
    let seen = rig.seen(&rig.strict, "/plain/via", &[("via", "1.0 fred")]);
    assert_eq!(seen.header("via"), Some("1.0 fred, 1.1 countersign"));
    let answer = rig.strict.get("/plain/answer");
    assert_eq!(answer.head.fields.all("via").join(", "), "1.1 inner, 1.1 countersign");
    assert_eq!(rig.strict.get("/own").header("via"), None, "the edge's own answers came through nobody");
}

#[test]
fn variables_are_filled_in_both_ways() {
    let rig = rig();
    let _report = Reported(&rig.strict);
    let seen = rig.seen(&rig.strict, "/told/%61?x=1&y=%0d%0a", &[("x-from", "root"), ("x-what", "mine")]);
    assert_eq!(seen.head.fields.all("x-from"), ["127.0.0.1 http"]);
    assert_eq!(seen.head.fields.all("x-what"), ["GET demo.test /told/%61 x=1&y=%0d%0a"]);
    assert_eq!(seen.header("x-id"), seen.header("x-request-id"));
    assert_eq!(seen.header("x-json"), Some("{\"a\":1}"));
    let answer = rig.strict.get("/told/answer");
    assert_eq!(answer.head.fields.all("x-status"), ["201"]);
    assert_eq!(answer.header("x-route"), Some("demo/production/told"));
    let own = rig.strict.get("/own");
    assert_eq!(own.header("x-id").map(str::len), Some(32));
    assert_eq!(own.header("x-status"), Some("[]"));
}
