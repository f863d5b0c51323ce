//! Which project, environment and route a request gets, what path the upstream sees, and what the edge answers itself.

use std::sync::Arc;

use crate::support::edge::Reported;
use crate::support::{Config, Edge, Origin, Request, Shared};

struct Rig {
    edge: Edge,
    origin: Origin,
}

static RIG: Shared<Rig> = Shared::new();

fn rig() -> Arc<Rig> {
    RIG.get(|| {
        let origin = Origin::start();
        let edge = Config::new(CONFIGURATION).origin(&origin).start();
        Rig { edge, origin }
    })
}

const CONFIGURATION: &str = r#"
upstreams:
  pool:
    scheme: http
    endpoints: [{ address: "{origin}" }]
projects:
  demo:
    hosts: [demo.test, "*.demo.test"]
    upstream_policy: open
    environments:
      production:
        routes:
          - { prefix: /who, respond: { status: 200, body: "demo\n" }, auth: none }
          - { prefix: /a0, upstream: "http://{origin}/api", auth: none }
          - { prefix: /a0/deep, upstream: "http://{origin}/deeper", auth: none }
          - { prefix: /strip, upstream: "http://{origin}", auth: none }
          - { prefix: /strip-slash, upstream: "http://{origin}/", auth: none }
          - { prefix: /trailing/, upstream: "http://{origin}/trailing", auth: none }
          - { prefix: /group, upstream: pool, auth: none }
          - { prefix: /rewritten, upstream: pool, rewrite: /internal/users, auth: none }
          - { prefix: /reads, upstream: "http://{origin}/reads", methods: [GET], auth: none }
          - { prefix: /host-client, upstream: "http://{origin}/host-client", host: client, auth: none }
          - { prefix: /host-literal, upstream: "http://{origin}/host-literal", host: api.internal.test, auth: none }
          - { prefix: /old, redirect: { to: "https://new.test/users{rest}{query}", status: 308 }, auth: none }
          - { prefix: /moved, redirect: { to: "https://new.test/fixed" }, auth: none }
          - { prefix: /teapot, respond: { status: 418, body: "short and stout" }, auth: none }
          - { prefix: /denied, upstream: "http://{origin}/denied", auth: none, access: { deny: [127.0.0.0/8] } }
          - { prefix: /allowed, upstream: "http://{origin}/allowed", auth: none, access: { allow: [127.0.0.0/8] } }
          - { prefix: /elsewhere, upstream: "http://{origin}/no", auth: none, access: { allow: [10.0.0.0/8] } }
          - prefix: /edits
            upstream: "http://{origin}/edits"
            auth: none
            headers:
              request: { set: { x-forwarded-app: demo }, remove: [cookie] }
              response: { set: { strict-transport-security: max-age=31536000 }, remove: [x-internal] }
  exact:
    hosts: [special.demo.test]
    upstream_policy: open
    environments:
      production:
        routes:
          - { prefix: /who, respond: { status: 200, body: "exact\n" }, auth: none }
  deep:
    hosts: ["*.deep.demo.test"]
    upstream_policy: open
    environments:
      production:
        routes:
          - { prefix: /who, respond: { status: 200, body: "deep\n" }, auth: none }
  env:
    hosts: [env.test, dev.env.test]
    upstream_policy: open
    environment: production
    choose_environment:
      - { header: x-environment, of: [dev, staging] }
      - { header: x-far, of: [dev], from: [10.0.0.0/8] }
      - { cookie: cs_environment, of: [dev, local] }
      - { host: dev.env.test, is: dev }
    environments:
      production:
        routes:
          - { prefix: /which, respond: { status: 200, body: production }, auth: none }
          - { prefix: /production-only, respond: { status: 200, body: production }, auth: none }
      dev:
        routes:
          - { prefix: /which, respond: { status: 200, body: dev }, auth: none }
      staging:
        routes:
          - { prefix: /which, respond: { status: 200, body: staging }, auth: none }
      local:
        routes:
          - { prefix: /which, respond: { status: 200, body: local }, auth: none }
"#;

/// Sends GET for that path, and returns what the origin saw as the target.
fn seen_upstream(rig: &Rig, target: &str, expected: &str) {
    let response = rig.edge.get(target);
    assert_eq!(response.status, 200, "{target}: {}", response.text());
    rig.origin.take(expected);
}

#[test]
fn hosts_choose_the_project_exact_before_the_longest_wildcard() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let rows = [
        ("demo.test", "demo\n"),
        ("DEMO.Test", "demo\n"),
        ("demo.test.", "demo\n"),
        ("demo.test:8080", "demo\n"),
        ("one.demo.test", "demo\n"),
        ("one.two.demo.test", "demo\n"),
        ("special.demo.test", "exact\n"),
        ("x.special.demo.test", "demo\n"),
        ("x.deep.demo.test", "deep\n"),
        ("x.y.deep.demo.test", "deep\n"),
        ("deep.demo.test", "demo\n"),
    ];
    for (host, expected) in rows {
        let response = rig.edge.call(&Request::get("/who").host(host));
        assert_eq!((response.status, response.text().as_str()), (200, expected), "{host}");
    }
}

#[test]
fn an_unknown_host_is_421_and_reaches_nothing() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    for host in ["nobody.test", "xdemo.test", "demo.test.evil.test", "127.0.0.1", "[::1]:80"] {
        let response = rig.edge.call(&Request::get("/a0/unknown-host").host(host));
        assert_eq!(response.status, 421, "{host}: {}", response.text());
        response.expect_error_shape();
    }
    assert!(rig.origin.requests_for("/api/unknown-host").is_empty());
}

#[test]
fn a_project_without_hosts_answers_for_every_host() {
    let origin = Origin::start();
    let edge = Edge::routes(r#"- { prefix: /, upstream: "http://{origin}", auth: none }"#, &origin);
    for host in ["anything.test", "127.0.0.1", "[::1]:80", "xn--fiqs8s.test"] {
        assert_eq!(edge.call(&Request::get("/any").host(host)).status, 200, "{host}");
    }
    assert_eq!(origin.requests_for("/any").len(), 4);
}

#[test]
fn prefixes_match_whole_segments_and_the_longest_wins() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    seen_upstream(&rig, "/a0", "/api");
    seen_upstream(&rig, "/a0/", "/api/");
    seen_upstream(&rig, "/a0/userlist", "/api/userlist");
    seen_upstream(&rig, "/a0/deeply/x", "/api/deeply/x");
    seen_upstream(&rig, "/a0/deep/x", "/deeper/x");
    seen_upstream(&rig, "/a0/deep", "/deeper");
    seen_upstream(&rig, "/trailing", "/trailing");
    seen_upstream(&rig, "/trailing/x", "/trailing/x");
    for path in ["/a0x", "/a0x/userlist", "/A0/userlist", "/", "/a"] {
        let response = rig.edge.get(path);
        response.expect_error(404, "route_not_found");
    }
}

#[test]
fn an_upstream_path_replaces_the_prefix_and_an_empty_one_strips_it() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    seen_upstream(&rig, "/strip/x/y", "/x/y");
    seen_upstream(&rig, "/strip-slash/x/z", "/x/z");
    seen_upstream(&rig, "/strip?q=1", "/?q=1");
    seen_upstream(&rig, "/strip-slash?q=2", "/?q=2");
    seen_upstream(&rig, "/group/x", "/group/x");
    seen_upstream(&rig, "/rewritten/x", "/internal/users/x");
    seen_upstream(&rig, "/rewritten", "/internal/users");
}

#[test]
fn path_and_query_travel_byte_for_byte() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let rests = [
        "/bytes?x=1",
        "/bytes?",
        "/bytes?a=1&&b=%20&c=//x?y&d=..",
        "/bytes/%E4%BD%A0%e5%A5%BD",
        "/bytes/a%20b;v=1/c@d:e!$&'()*+,=~",
        "/bytes/%41%7E/",
        "/bytes?q=%zz&raw={}|^`",
    ];
    for rest in rests {
        seen_upstream(&rig, &format!("/a0{rest}"), &format!("/api{rest}"));
    }
}

#[test]
fn no_spelling_of_a_path_escapes_its_route() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    seen_upstream(&rig, "/%61%30/spelled", "/api/spelled");
    seen_upstream(&rig, "/a0/%64eep/spelled", "/deeper/spelled");
}

#[test]
fn the_upstream_gets_the_host_that_the_route_says() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let host_seen = |target: &str, upstream: &str| {
        rig.edge.get(target);
        rig.origin.take(upstream).header("host").map(str::to_owned)
    };
    assert_eq!(host_seen("/a0/host", "/api/host"), Some(rig.origin.authority()));
    assert_eq!(host_seen("/group/host", "/group/host"), Some(rig.origin.authority()));
    assert_eq!(host_seen("/host-client", "/host-client").as_deref(), Some("demo.test"));
    assert_eq!(host_seen("/host-literal", "/host-literal").as_deref(), Some("api.internal.test"));
}

#[test]
fn a_refused_method_is_405_and_names_the_allowed_ones() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    assert_eq!(rig.edge.get("/reads").status, 200);
    assert_eq!(rig.edge.call(&Request::new("HEAD", "/reads")).status, 200);
    for method in ["POST", "DELETE", "PURGE"] {
        let response = rig.edge.call(&Request::new(method, "/reads"));
        assert_eq!(response.status, 405, "{method}");
        response.expect_error_shape();
        let allowed = response.header("allow").unwrap_or_default().to_owned();
        assert!(allowed.contains("GET") && allowed.contains("HEAD") && !allowed.contains("POST"), "allow: {allowed:?}");
    }
}

#[test]
fn respond_and_redirect_answer_without_an_upstream() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let ping = rig.edge.get("/who");
    assert_eq!(ping.header("content-type"), Some("text/plain; charset=utf-8"));
    let teapot = rig.edge.get("/teapot");
    assert_eq!((teapot.status, teapot.text().as_str()), (418, "short and stout"));
    let head = rig.edge.call(&Request::new("HEAD", "/teapot"));
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (418, Some("15"), 0));
    let location = |target: &str| {
        let response = rig.edge.get(target);
        (response.status, response.header("location").map(str::to_owned))
    };
    assert_eq!(location("/old/x%20y?z=1&z=2"), (308, Some("https://new.test/users/x%20y?z=1&z=2".into())));
    assert_eq!(location("/old"), (308, Some("https://new.test/users".into())));
    assert_eq!(location("/moved/x?y=1"), (302, Some("https://new.test/fixed".into())));
}

#[test]
fn errors_are_json_for_programs_and_html_for_browsers() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let program = rig.edge.call(&Request::get("/nothing-here").header("accept", "*/*"));
    program.expect_error(404, "route_not_found");
    let wish = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let browser = rig.edge.call(&Request::get("/nothing-here").header("accept", wish));
    assert_eq!(browser.status, 404);
    assert_eq!(browser.header("cache-control"), Some("no-store"));
    let kind = browser.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/html"), "{kind}");
    assert!(browser.text().to_ascii_lowercase().contains("<!doctype html"), "{}", browser.text());
    assert!(!browser.text().contains("<script"), "{}", browser.text());
}

#[test]
fn every_answer_of_our_own_carries_a_request_id_of_its_own() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let id = || rig.edge.get("/nothing-here").json()["error"]["request_id"].as_str().map(str::to_owned);
    let (first, second) = (id(), id());
    assert!(first.is_some() && second.is_some() && first != second, "{first:?} {second:?}");
}

#[test]
fn access_lists_refuse_by_address() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    assert_eq!(rig.edge.get("/allowed").status, 200);
    for path in ["/denied", "/elsewhere"] {
        let response = rig.edge.get(path);
        assert_eq!(response.status, 403, "{path}: {}", response.text());
        response.expect_error_shape();
    }
    let spoofed = rig.edge.call(&Request::get("/elsewhere").header("x-forwarded-for", "10.1.2.3"));
    assert_eq!(spoofed.status, 403, "an address that a stranger claims is not believed");
}

#[test]
fn header_edits_apply_in_both_directions() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    rig.origin.answer("/edits", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-internal: 1\r\nx-kept: 1\r\n\r\nok");
    let request = Request::get("/edits").header("cookie", "a=b").header("x-forwarded-app", "forged");
    let response = rig.edge.call(&request);
    assert_eq!(response.header("strict-transport-security"), Some("max-age=31536000"));
    assert_eq!((response.header("x-internal"), response.header("x-kept")), (None, Some("1")));
    let seen = rig.origin.take("/edits");
    assert_eq!(seen.head.fields.all("x-forwarded-app"), ["demo"]);
    assert_eq!(seen.header("cookie"), None);
}

#[test]
fn the_environment_is_chosen_by_header_cookie_host_or_default() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let which = |request: Request| {
        let response = rig.edge.call(&request);
        (response.status, response.text())
    };
    let get = || Request::get("/which").host("env.test");
    assert_eq!(which(get()), (200, "production".into()));
    assert_eq!(which(get().header("x-environment", "dev")), (200, "dev".into()));
    assert_eq!(which(get().header("x-environment", "staging")), (200, "staging".into()));
    assert_eq!(which(get().header("cookie", "a=1; cs_environment=dev; b=2")), (200, "dev".into()));
    assert_eq!(which(get().header("cookie", "cs_environment=local")), (200, "local".into()));
    assert_eq!(which(get().header("cookie", "xcs_environment=dev")), (200, "production".into()));
    assert_eq!(which(get().host("dev.env.test")), (200, "dev".into()));
    let both = get().host("dev.env.test").header("x-environment", "staging");
    assert_eq!(which(both), (200, "staging".into()), "the first rule that names one wins");
}

#[test]
fn an_environment_that_may_not_be_chosen_is_404_and_never_the_default() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let refused = [("x-environment", "local"), ("x-environment", "nowhere"), ("x-far", "dev")];
    for (name, value) in refused {
        let response = rig.edge.call(&Request::get("/which").host("env.test").header(name, value));
        response.expect_error(404, "environment_unavailable");
    }
    let missing = Request::get("/production-only").host("env.test").header("x-environment", "dev");
    rig.edge.call(&missing).expect_error(404, "route_not_found");
}

#[test]
fn a_group_shares_requests_by_weight() {
    let (heavy, light) = (Origin::start(), Origin::start());
    let edge = Config::new(
        r#"
        upstreams:
          pool:
            scheme: http
            endpoints: [{ address: "{heavy}", weight: 2 }, { address: "{light}" }]
        projects:
          demo:
            upstream_policy: open
            environments:
              production:
                routes:
                  - { prefix: /, upstream: pool, auth: none }
        "#,
    )
    .value("heavy", &heavy.authority())
    .value("light", &light.authority())
    .start();
    for _ in 0..30 {
        assert_eq!(edge.get("/shared").status, 200);
    }
    assert_eq!((heavy.count(), light.count()), (20, 10));
}
