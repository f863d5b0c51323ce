//! `redirect_to_https`: where a plain listener sends its clients.

use crate::support::{Config, Edge, Origin, Request};

fn rig() -> (Origin, Edge) {
    let origin = Origin::start();
    let edge = Config::new(
        r#"
        projects:
          demo:
            hosts: [a.test, "*.w.test"]
            upstream_policy: open
            environments:
              production:
                routes:
                  - { prefix: /, upstream: "http://{origin}", auth: none }
                  - { prefix: /closed, upstream: "http://{origin}", auth: none, methods: [POST] }
        "#,
    )
    .origin(&origin)
    .listener("redirect_to_https: true")
    .secured()
    .start();
    (origin, edge)
}

#[test]
fn every_request_for_a_known_host_is_sent_to_https() {
    let (origin, edge) = rig();
    let port = edge.secured.unwrap().port();
    for (method, host, target) in [
        ("GET", "a.test", "/x/y?q=1&r=%2F"),
        ("HEAD", "a.test", "/x"),
        ("POST", "x.w.test", "/"),
        ("DELETE", "a.test", "/closed?"),
        ("GET", "a.test", "/.well-known/acme-challenge/unknown"),
    ] {
        let mut request = Request::new(method, target).host(host);
        if method == "POST" {
            request = request.body("hello");
        }
        let answer = edge.call(&request);
        assert_eq!(answer.status, 308, "{method} {target}");
        assert_eq!(answer.header("location"), Some(format!("https://{host}:{port}{target}").as_str()));
        assert_eq!(answer.text(), "");
    }
    assert_eq!(origin.count(), 0);
    let record = edge.logged("/x/y");
    assert_eq!((&record["status"], &record["end"], &record["route"]), (&308.into(), &"ok".into(), &"".into()));
    assert_eq!(edge.metrics().sum("countersign_http_requests_total", &[("code", "308"), ("listener", "main")]), 5.0);
}

#[test]
fn what_has_no_meaning_or_no_project_is_sent_nowhere() {
    let (_origin, edge) = rig();
    edge.call(&Request::get("/x").host("evil.test")).expect_error(421, "unknown_host");
    edge.call(&Request::get("/a/../b").host("a.test")).expect_error(400, "invalid_path");
    edge.call(&Request::new("TRACE", "/x").host("a.test")).expect_error(405, "method_not_allowed");
}

#[test]
fn the_place_it_leads_to_serves() {
    let (origin, edge) = rig();
    let mut wire = edge.connect_secured();
    wire.send(Request::get("/there").host("a.test").bytes());
    assert_eq!(wire.response().status, 200);
    assert_eq!(origin.request_for("/there").header("x-forwarded-proto"), Some("https"));
}

#[test]
fn a_keep_alive_connection_is_redirected_again_and_again() {
    let (_origin, edge) = rig();
    let mut wire = edge.connect();
    for _ in 0..3 {
        wire.send(Request::get("/x").host("a.test").keep_alive().bytes());
        assert_eq!(wire.response().status, 308);
    }
}
