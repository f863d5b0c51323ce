//! The second listener: who may ask, what it answers, and that its numbers come from the configuration only.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use crate::support::edge::Reported;
use crate::support::leak::CANARY;
use crate::support::origin::After;
use crate::support::{Config, Edge, Origin, Request, Shared, Wire, eventually, gate};

struct Rig {
    edge: Edge,
    origin: Origin,
}

static RIG: Shared<Rig> = Shared::new();

const SIGN_TOKEN: &str = "c4n4ry-sign-token-0123456789-abcdefghij";
const CLIENT: &str = "c4n4ry-client-token-0123456789abcdef";

fn rig() -> Arc<Rig> {
    RIG.get(|| {
        let origin = Origin::start();
        let edge = Config::new(
            r#"
            clients:
              laptop: { token: "${CLIENT}", user: dev@example.com, name: Dev }
            projects:
              demo:
                app_id: "1001"
                upstream_policy: open
                choose_environment: [{ header: x-environment, of: [dev] }]
                environments:
                  production:
                    routes:
                      - { prefix: /open, upstream: "http://{origin}/open", auth: none }
                      - { prefix: /signed, upstream: "http://{origin}/signed", sign: { scheme: user-stamp, token: "${SIGN_TOKEN}" }, payload: { x-api-token: "${PAYLOAD}" } }
                  dev:
                    routes:
                      - { prefix: /open, upstream: "http://{origin}/dev", auth: none }
            "#,
        )
        .origin(&origin)
        .environment("SIGN_TOKEN", SIGN_TOKEN)
        .environment("CLIENT", CLIENT)
        .environment("PAYLOAD", "c4n4ry-payload")
        .admin("hosts: [admin.test]")
        .start();
        Rig { edge, origin }
    })
}

const PROTECTED: [(&str, &str); 4] =
    [("GET", "/api/v1/status"), ("GET", "/api/v1/routes"), ("POST", "/api/v1/reload"), ("POST", "/api/v1/explain")];

#[test]
fn everything_but_health_and_metrics_needs_the_token() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let host = rig.edge.admin.to_string();
    for (method, target) in PROTECTED {
        let plain = Request::new(method, target).host(&host);
        for request in [plain.clone(), plain.clone().bearer("wrong"), plain.clone().bearer("")] {
            let response = rig.edge.admin_call(&request);
            assert_eq!(response.status, 401, "{method} {target}: {}", response.text());
            assert!(response.header("www-authenticate").is_some(), "{method} {target}");
        }
    }
    for target in ["/livez", "/readyz", "/readyz?verbose", "/metrics"] {
        let response = rig.edge.admin_call(&Request::get(target).host(&host));
        assert_eq!(response.status, 200, "{target}: {}", response.text());
    }
}

#[test]
fn a_client_token_is_no_admin_token() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let request = Request::get("/api/v1/status").host(&rig.edge.admin.to_string()).bearer(CLIENT);
    assert_eq!(rig.edge.admin_call(&request).status, 401);
}

#[test]
fn only_its_own_names_are_answered() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let port = rig.edge.admin.port();
    let status =
        |host: &str| rig.edge.admin_call(&Request::get("/api/v1/status").host(host).bearer(&rig.edge.token())).status;
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("admin.test:{port}")] {
        assert_eq!(status(&host), 200, "{host}");
    }
    for host in ["evil.test".to_owned(), format!("evil.test:{port}"), format!("127.0.0.1.evil.test:{port}")] {
        assert_eq!(status(&host), 421, "{host}: a rebound name");
    }
}

#[test]
fn a_cross_site_request_is_refused() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let generation = rig.edge.generation();
    let post = || rig.edge.admin_request("POST", "/api/v1/reload");
    for (name, value) in [
        ("origin", "https://evil.test"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("origin", "http://127.0.0.1:1"),
    ] {
        let response = rig.edge.admin_call(&post().header(name, value));
        assert_eq!(response.status, 403, "{name}: {value}: {}", response.text());
    }
    let own = format!("http://{}", rig.edge.admin);
    let same = rig.edge.admin_call(&post().header("origin", &own).header("sec-fetch-site", "same-origin"));
    assert_eq!(same.status, 200, "{}", same.text());
    assert_eq!(rig.edge.generation(), generation);
}

#[test]
fn methods_and_paths_that_do_not_exist_are_told_apart() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    assert_eq!(rig.edge.admin("GET", "/api/v1/nothing").status, 404);
    assert_eq!(rig.edge.admin("GET", "/api/v1/reload").status, 405);
    assert_eq!(rig.edge.get("/dashboard").status, 404, "the admin listener's pages are not on a data listener");
    assert_eq!(rig.edge.get("/api/v1/status").status, 404);
    assert_eq!(rig.edge.get("/metrics").status, 404);
}

#[test]
fn the_token_file_is_private_and_stable() {
    let origin = Origin::start();
    let edge = Edge::routes(r#"- { prefix: /, upstream: "http://{origin}", auth: none }"#, &origin);
    let mode = |path: &str| {
        let metadata = std::fs::metadata(edge.directory().join(path)).expect(path);
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("state/admin.token"), 0o600);
    assert_eq!(mode("state") & 0o077, 0, "state is for its owner only");
    let token = edge.token();
    assert!(token.len() >= 32, "{} characters", token.len());
    edge.apply(&crate::support::edge::project("demo", "- { prefix: /x, respond: { body: x }, auth: none }"));
    assert_eq!(edge.token(), token);
}

#[test]
fn status_says_what_runs() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    rig.edge.get("/open/status");
    let status = rig.edge.status();
    for key in
        ["version", "generation", "started_at", "last_reload", "listeners", "upstreams", "in_flight", "streams_open"]
    {
        assert!(!status[key].is_null(), "{key} in {status}");
    }
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["started_at"].as_str().is_some_and(|at| at.contains('T')), "{status}");
    let last = &status["last_reload"];
    assert!(last["outcome"].is_string() && last["diagnostics"].is_array(), "{last}");
    assert!(status["listeners"].to_string().contains(&rig.edge.data.to_string()), "{status}");
    let upstreams = status["upstreams"].as_array().expect("upstreams");
    let endpoint = upstreams
        .iter()
        .flat_map(|upstream| upstream["endpoints"].as_array().into_iter().flatten())
        .find(|endpoint| endpoint["address"] == rig.origin.authority())
        .unwrap_or_else(|| panic!("no endpoint {} in {status}", rig.origin.authority()));
    for key in ["state", "in_flight"] {
        assert!(!endpoint[key].is_null(), "{key} in {endpoint}");
    }
    assert!(endpoint.as_object().is_some_and(|object| object.contains_key("last_error")), "{endpoint}");
}

#[test]
fn status_counts_what_is_in_flight() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let (key, gate) = gate();
    rig.origin.on("/open/held", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        gate.wait();
        exchange.send("0\r\n\r\n");
        After::Keep
    });
    let mut wire = rig.edge.connect();
    wire.send("GET /open/held HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.head().status, 200);
    eventually("one stream in flight", || {
        let status = rig.edge.status();
        (status["in_flight"].as_i64() >= Some(1) && status["streams_open"].as_i64() >= Some(1)).then_some(())
    });
    let metrics = rig.edge.metrics();
    assert!(metrics.sum("countersign_http_requests_in_flight", &[]) >= 1.0);
    assert!(metrics.sum("countersign_http_streams_open", &[]) >= 1.0);
    key.open();
    assert_eq!(wire.exactly(5), b"0\r\n\r\n");
}

#[test]
fn routes_lists_the_table_without_secrets() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let response = rig.edge.admin("GET", "/api/v1/routes");
    assert_eq!(response.status, 200);
    let text = response.text();
    for word in ["/open", "/signed", "production", "dev", "demo", "x-api-token"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert!(!text.contains(CANARY), "{text}");
}

#[test]
fn explain_over_the_api_says_what_would_happen_and_sends_nothing() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let before = rig.origin.count();
    let question = serde_json::json!({
        "method": "GET", "url": "http://any.test/signed/explained?x=1",
        "headers": { "x-note": "1" }, "client": "laptop",
    });
    let request = rig.edge.admin_request("POST", "/api/v1/explain").header("content-type", "application/json");
    let response = rig.edge.admin_call(&request.body(question.to_string()));
    assert_eq!(response.status, 200, "{}", response.text());
    let answer = response.json();
    for key in [
        "outcome",
        "status",
        "code",
        "project",
        "environment",
        "environment_rule",
        "route",
        "candidates",
        "upstream_url",
        "host",
        "verdicts",
        "headers",
        "sign",
        "generation",
    ] {
        assert!(answer.as_object().is_some_and(|object| object.contains_key(key)), "{key} in {answer}");
    }
    assert_eq!(answer["outcome"], "routed");
    assert_eq!(answer["route"]["prefix"], "/signed");
    assert_eq!(answer["upstream_url"], format!("http://{}/signed/explained?x=1", rig.origin.authority()));
    assert_eq!(answer["sign"]["scheme"], "user-stamp");
    assert!(answer["sign"]["base"].as_str().is_some_and(|base| base.starts_with("dev@example.com")), "{answer}");
    assert!(!response.text().contains(CANARY), "{answer}");
    assert_eq!(rig.origin.count(), before, "explaining sends nothing");
}

#[test]
fn hostile_requests_create_no_labels() {
    let origin = Origin::start();
    let edge = Edge::routes(r#"- { prefix: /known, upstream: "http://{origin}", auth: none }"#, &origin);
    edge.get("/known/x");
    edge.get("/nothing");
    edge.call(&Request::new("PURGE", "/known/x"));
    let warm = edge.metrics().len();
    for number in 0..50 {
        edge.call(&Request::new(&format!("EVIL{number}"), &format!("/known/{number}")));
        edge.call(&Request::get(&format!("/evil-{number}")).host(&format!("evil{number}.test")));
        let mut wire = edge.connect();
        wire.send(format!("GET /evil {number} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let _ = wire.try_response_to("GET");
    }
    let metrics = edge.metrics();
    let values = |label| metrics.label_values("countersign_http_requests_total", label);
    assert!(values("method").contains(&"OTHER".to_owned()), "{:?}", values("method"));
    for label in ["method", "route", "project", "environment", "listener"] {
        assert!(values(label).iter().all(|value| !value.to_ascii_lowercase().contains("evil")), "{:?}", values(label));
    }
    assert_eq!(values("route"), ["", "/known"]);
    assert!(metrics.len() < warm + 60, "{warm} series, then {}", metrics.len());
}

#[test]
fn the_metrics_have_their_published_names_and_labels() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    rig.edge.get("/open/metrics");
    rig.edge.call(&Request::get("/signed/metrics").bearer(CLIENT));
    rig.edge.call(&Request::get("/signed/metrics"));
    rig.edge.logged("/signed/metrics");
    let metrics = rig.edge.metrics();
    let labels: [(&str, &[&str]); 17] = [
        ("http_requests_total", &["code", "environment", "listener", "method", "project", "route"]),
        ("http_request_duration_seconds_bucket", &["environment", "le", "project", "route"]),
        ("http_response_first_byte_seconds_bucket", &["environment", "le", "project", "route"]),
        ("http_requests_in_flight", &[]),
        ("http_streams_open", &[]),
        ("upstream_requests_total", &["code_class", "endpoint", "upstream"]),
        ("upstream_connect_seconds_bucket", &["le", "upstream"]),
        ("upstream_connections_total", &["state", "upstream"]),
        ("config_generation", &[]),
        ("config_last_reload_successful", &[]),
        ("config_last_reload_success_timestamp_seconds", &[]),
        ("config_reloads_total", &["outcome"]),
        ("config_info", &["sha256"]),
        ("requests_signed_total", &["route", "scheme"]),
        ("requests_refused_total", &["reason", "route"]),
        ("log_records_dropped_total", &[]),
        ("build_info", &["pingora", "revision", "rustc", "version"]),
    ];
    for (name, labels) in labels {
        let name = format!("countersign_{name}");
        assert!(metrics.has(&name, &[]), "{name} is missing");
        assert_eq!(metrics.label_names(&name), labels, "{name}");
    }
    for name in ["http_request_bytes_total", "http_response_bytes_total"] {
        assert!(metrics.has(&format!("countersign_{name}"), &[]), "{name} is missing");
    }
    assert!(metrics.text.contains("process_resident_memory_bytes"), "process metrics are missing");
    let signed = metrics.sum("countersign_requests_signed_total", &[("route", "/signed"), ("scheme", "user-stamp")]);
    assert!(signed >= 1.0, "{signed}");
    assert!(metrics.sum("countersign_requests_refused_total", &[("route", "/signed")]) >= 1.0);
    assert!(!metrics.text.contains(CANARY));
}

#[test]
fn counters_count() {
    let origin = Origin::start();
    let edge = Edge::routes(r#"- { prefix: /known, upstream: "http://{origin}", auth: none }"#, &origin);
    for _ in 0..5 {
        edge.call(&Request::new("POST", "/known/x").body("12345"));
    }
    edge.get("/nothing");
    eventually("all six are counted", || {
        (edge.metrics().sum("countersign_http_requests_total", &[]) == 6.0).then_some(())
    });
    let metrics = edge.metrics();
    let labels = [("method", "POST"), ("code", "200"), ("route", "/known"), ("project", "demo")];
    assert_eq!(metrics.sum("countersign_http_requests_total", &labels), 5.0);
    assert_eq!(metrics.sum("countersign_http_requests_total", &[("code", "404"), ("route", "")]), 1.0);
    assert_eq!(metrics.sum("countersign_http_request_duration_seconds_count", &[("route", "/known")]), 5.0);
    assert_eq!(metrics.sum("countersign_http_request_bytes_total", &[]), 25.0);
    assert!(metrics.sum("countersign_http_response_bytes_total", &[]) >= 10.0);
    assert_eq!(metrics.sum("countersign_upstream_requests_total", &[("code_class", "2xx")]), 5.0);
    assert_eq!(metrics.sum("countersign_http_requests_in_flight", &[]), 0.0);
}

#[test]
fn it_does_not_bind_beyond_loopback_without_tls() {
    let config = Config::routes("- { prefix: /, respond: { body: x }, auth: none }");
    let admin: std::net::SocketAddr = ([0, 0, 0, 0], crate::support::edge::free_address().port()).into();
    let edge = config.launch_at(crate::support::edge::free_address(), admin);
    let (status, _) = edge.process.wait(crate::support::PATIENCE);
    assert_eq!(status.code(), Some(78), "{}", edge.output());
    assert!(edge.output().contains("countersign.yaml:"), "{}", edge.output());
}

#[test]
fn a_slow_admin_client_does_not_hinder_others() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut wire = Wire::connect(rig.edge.admin);
        wire.send("GET /livez HTTP/1.1\r\nhost");
        slow.push(wire);
    }
    assert_eq!(rig.edge.admin("GET", "/livez").status, 200);
}

#[test]
fn guessing_the_token_is_bounded() {
    let origin = Origin::start();
    let edge = Edge::routes(r#"- { prefix: /, upstream: "http://{origin}", auth: none }"#, &origin);
    let guess = || Request::get("/api/v1/status").host(&edge.admin.to_string()).bearer("guess");
    let statuses: Vec<u16> = (0..30).map(|_| edge.admin_call(&guess()).status).collect();
    let evaluated = statuses.iter().filter(|status| **status == 401).count();
    assert!(evaluated <= 10 && statuses.last() == Some(&429), "{statuses:?}");
    assert!(edge.admin_call(&guess()).header("retry-after").is_some());
    assert!(edge.ready(), "health is answered all the same");
}
