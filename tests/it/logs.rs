//! The access log as published, `combined` as nginx writes it, and no secret in any output at any level.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::leak::CANARY;
use crate::support::nginx::Nginx;
use crate::support::origin::After;
use crate::support::{Config, Edge, Origin, Request, Wire, eventually};

const FIELDS: [&str; 32] = [
    "time",
    "request_id",
    "listener",
    "client_ip",
    "method",
    "host",
    "path",
    "query",
    "protocol",
    "status",
    "bytes_in",
    "bytes_out",
    "duration_ms",
    "first_byte_ms",
    "project",
    "environment",
    "route",
    "generation",
    "client",
    "user",
    "source",
    "upstream",
    "endpoint",
    "upstream_status",
    "attempts",
    "reused",
    "token",
    "end",
    "code",
    "referer",
    "user_agent",
    "trace_id",
];

const ROUTES: &str = r#"
- { prefix: /a0, upstream: "http://{origin}/api", auth: none }
- { prefix: /ping, respond: { body: pong }, auth: none }
"#;

#[test]
fn a_json_record_has_exactly_the_published_fields() {
    let origin = Origin::start();
    let edge = Edge::routes(ROUTES, &origin);
    let request = Request::new("POST", "/a0/fields?secret=1&x=2")
        .header("referer", "https://ref.test/\"quoted\"")
        .header("user-agent", "agent/1 \u{fc}")
        .body("12345");
    assert_eq!(edge.call(&request).status, 200);
    let record = edge.logged("/a0/fields");
    let keys: BTreeSet<&str> = record.as_object().expect("an object").keys().map(String::as_str).collect();
    let expected: BTreeSet<&str> = FIELDS.into_iter().collect();
    assert_eq!(keys, expected);

    let seen = origin.take("/api/fields?secret=1&x=2");
    let expected = serde_json::json!({
        "listener": "main", "client_ip": "127.0.0.1", "method": "POST", "host": "demo.test", "path": "/a0/fields",
        "query": "secret=1&x=2", "protocol": "HTTP/1.1", "status": 200, "bytes_in": 5, "bytes_out": 2,
        "project": "demo", "environment": "production", "route": "/a0", "generation": 1, "client": "", "user": "", "source": "",
        "endpoint": origin.authority(), "upstream_status": 200, "attempts": 1, "reused": false, "token": "",
        "end": "ok", "code": "", "referer": "https://ref.test/\"quoted\"", "user_agent": "agent/1 \u{fc}",
    });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&record[key], value, "{key} in {record}");
    }
    assert_eq!(seen.header("x-request-id"), record["request_id"].as_str(), "one id, everywhere");
    let time = record["time"].as_str().expect("a time");
    assert!(time.ends_with('Z') && time.len() == "2026-01-02T03:04:05.123456Z".len(), "{time}");
    for key in ["duration_ms", "first_byte_ms"] {
        assert!(record[key].as_f64().is_some_and(|ms| (0.0..60_000.0).contains(&ms)), "{key} in {record}");
    }
}

#[test]
fn queries_are_redacted_unless_asked_for() {
    let origin = Origin::start();
    for (setting, expected) in [("redacted", "secret=***&flag&x=***"), ("off", "")] {
        let edge = Config::routes(ROUTES).origin(&origin).access(&format!("format: json, query: {setting}")).start();
        edge.get("/a0/redacted?secret=c4n4ry-query&flag&x=2");
        assert_eq!(edge.logged("/a0/redacted")["query"], expected, "{setting}");
        edge.stop();
        assert!(!edge.output().contains(CANARY), "{}", edge.output());
    }
}

#[test]
fn without_a_file_records_go_to_standard_output() {
    let origin = Origin::start();
    let edge = Config::routes(ROUTES).origin(&origin).launch();
    edge.wait_ready();
    edge.write(&edge.text().replace(&format!(", file: \"{}/access.log\"", edge.directory().display()), ""));
    edge.reload();
    edge.get("/ping/stdout");
    eventually("the record on standard output", || {
        let line = edge.process.stdout().lines().find(|line| line.contains("/ping/stdout")).map(str::to_owned)?;
        serde_json::from_str::<Value>(&line).ok().filter(|record| record["status"] == 200)
    });
}

#[test]
fn what_is_refused_under_the_parser_is_logged_and_counted() {
    let origin = Origin::start();
    let edge = Edge::routes(ROUTES, &origin);
    let rows: [(&str, u16); 5] = [
        ("GET /a b HTTP/1.1\r\nhost: demo.test\r\n\r\n", 400),
        ("GET /a0 HTTP/2.0\r\nhost: demo.test\r\n\r\n", 505),
        ("POST /a0 HTTP/1.1\r\nhost: demo.test\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        ("CONNECT demo.test:443 HTTP/1.1\r\nhost: demo.test\r\n\r\n", 405),
        ("POST /a0 HTTP/1.1\r\nhost: demo.test\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 501),
    ];
    for (bytes, status) in rows {
        let mut wire = edge.connect();
        wire.send(bytes);
        assert_eq!(wire.response().status, status, "{bytes:?}");
    }
    let records = eventually("five records", || Some(edge.access_log()).filter(|records| records.len() == rows.len()));
    let mut logged: Vec<u64> = records.iter().filter_map(|record| record["status"].as_u64()).collect();
    logged.sort_unstable();
    assert_eq!(logged, [400, 400, 405, 501, 505]);
    for record in &records {
        assert_eq!(record["end"], "refused", "{record}");
        assert!(record["code"].as_str().is_some_and(|code| !code.is_empty()), "{record}");
        assert_eq!(record["client_ip"], "127.0.0.1", "{record}");
        assert_eq!(record["request_id"].as_str().map(str::len), Some(32), "{record}");
    }
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("countersign_http_requests_total", &[]), 5.0);
    assert_eq!(metrics.sum("countersign_http_requests_total", &[("code", "400")]), 2.0);
    assert_eq!(metrics.sum("countersign_requests_refused_total", &[]), 5.0);
}

#[test]
fn hostile_bytes_never_break_a_line() {
    let origin = Origin::start();
    let edge = Edge::routes(ROUTES, &origin);
    let hostile: [&[u8]; 6] = [
        b"GET /a0/\"quoted\" HTTP/1.1\r\nhost: demo.test\r\n\r\n",
        b"GET /a0/x?q=\"\\\xff HTTP/1.1\r\nhost: demo.test\r\nuser-agent: \xff\xfe\"}{\r\n\r\n",
        b"GET /a0/ua HTTP/1.1\r\nhost: demo.test\r\nuser-agent: a\tb\"\\\xc3\x28\r\nreferer: \x80\r\n\r\n",
        b"G\"ET /a0/x HTTP/1.1\r\nhost: demo.test\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET /a0/x HTTP/1.1\r\nhost: \"evil\"\r\n\r\n",
    ];
    for bytes in hostile {
        let mut wire = edge.connect();
        wire.send(bytes);
        let _ = wire.try_response_to("GET");
    }
    eventually("six records", || (edge.access_lines().len() == hostile.len()).then_some(()));
    for line in edge.access_lines() {
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "no JSON: {line:?}");
        assert!(!line.bytes().any(|byte| byte < 0x20), "a control character: {line:?}");
    }
    edge.stop();
    for line in edge.process.stderr().lines().filter(|line| line.starts_with('{')) {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "no JSON: {line:?}");
    }
}

#[test]
fn the_id_in_an_error_is_the_id_in_the_log() {
    let origin = Origin::start();
    let edge = Edge::routes(ROUTES, &origin);
    let response = edge.get("/nowhere");
    assert_eq!(edge.logged("/nowhere")["request_id"], response.json()["error"]["request_id"]);
    assert_eq!(edge.logged("/nowhere")["code"], response.json()["error"]["code"]);
}

#[test]
fn a_failed_request_is_one_line_in_the_log() {
    let origin = Origin::start();
    origin.on("/api/broken", |_| After::Reset);
    let edge = Edge::routes(ROUTES, &origin);
    let id = edge.call(&Request::new("POST", "/a0/broken").body("x")).json()["error"]["request_id"].clone();
    let id = id.as_str().expect("an id").to_owned();
    edge.wait_log(&id);
    edge.stop();
    let lines: Vec<_> = edge.process.stderr().lines().filter(|line| line.contains(&id)).map(str::to_owned).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let all = edge.process.stderr();
    let of_it = all.lines().filter(|line| line.contains("/broken") || line.to_ascii_lowercase().contains("reset"));
    assert_eq!(of_it.count(), 1, "one line for one failure:\n{all}");
}

// ---- combined ----

/// Requests that both must log alike.
const COMBINED: [&str; 9] = [
    "GET /same/plain HTTP/1.1\r\nHost: demo.test\r\nConnection: close\r\n\r\n",
    "GET /same/query?a=1&b=%20c HTTP/1.1\r\nHost: demo.test\r\nConnection: close\r\n\r\n",
    "GET /same/agent HTTP/1.1\r\nHost: demo.test\r\nUser-Agent: agent/1.0 (x; y)\r\nReferer: http://ref.test/?q=1\r\nConnection: close\r\n\r\n",
    "GET /same/quotes HTTP/1.1\r\nHost: demo.test\r\nUser-Agent: a \"quoted\" \\ agent\r\nReferer: \"\r\nConnection: close\r\n\r\n",
    "GET /same/utf8 HTTP/1.1\r\nHost: demo.test\r\nUser-Agent: \u{fc}ml\u{4f60}\r\nConnection: close\r\n\r\n",
    "POST /same/post HTTP/1.1\r\nHost: demo.test\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
    "HEAD /same/head HTTP/1.1\r\nHost: demo.test\r\nConnection: close\r\n\r\n",
    "GET /same/missing HTTP/1.1\r\nHost: demo.test\r\nUser-Agent: \r\nConnection: close\r\n\r\n",
    "GET /same/old HTTP/1.0\r\nHost: demo.test\r\n\r\n",
];

#[test]
fn combined_is_what_nginx_writes_for_the_same_requests() {
    let origin = Origin::start();
    origin.answer("/same/missing", "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\ngone");
    let nginx = Nginx::start(&format!(
        "location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}",
        origin.authority()
    ));
    let edge = Config::routes(r#"- { prefix: /, upstream: "http://{origin}", auth: none }"#)
        .origin(&origin)
        .access("format: combined, query: full")
        .start();
    for bytes in COMBINED {
        for address in [nginx.address, edge.data] {
            let mut wire = Wire::connect(address);
            wire.send(bytes);
            let answered = if address == edge.data {
                wire.response_to(bytes.split(' ').next().unwrap_or("GET")).status
            } else {
                wire.end();
                200
            };
            assert!(answered < 500, "{bytes:?}: {answered}");
        }
    }
    let count = COMBINED.len();
    let ours = eventually("our lines", || Some(edge.access_lines()).filter(|lines| lines.len() == count));
    let theirs = eventually("nginx's lines", || Some(nginx.access_lines()).filter(|lines| lines.len() == count));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(without_time(ours), without_time(theirs));
        assert_eq!(time_shape(ours), time_shape(theirs));
    }
}

/// The line with its `[time]` cut out.
fn without_time(line: &str) -> String {
    let (front, rest) = line.split_once('[').unwrap_or((line, ""));
    format!("{front}[]{}", rest.split_once(']').map_or("", |(_, tail)| tail))
}

/// The time with every digit as 0 and every letter as a.
fn time_shape(line: &str) -> String {
    let time = line.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(time, _)| time);
    time.chars()
        .map(|c| {
            if c.is_ascii_digit() {
                '0'
            } else if c.is_alphabetic() {
                'a'
            } else {
                c
            }
        })
        .collect()
}

// ---- secrets ----

const SECRETS: &str = r#"
clients:
  laptop: { token: "${CLIENT}", user: dev@example.com, name: Dev }
projects:
  demo:
    hosts: [demo.test]
    app_id: "1001"
    upstream_policy: open
    environments:
      production:
        routes:
          - { prefix: /signed, upstream: "http://{origin}/signed", sign: { scheme: user-stamp, token: "${SIGN}" }, payload: { x-api-token: "${PAYLOAD}", x-from-file: "file:payload.secret" } }
          - { prefix: /cut, upstream: "http://{origin}/cut", auth: none, payload: { x-api-token: "${PAYLOAD}" }, timeouts: { first_byte: 300ms } }
          - { prefix: /refused, upstream: "http://{refused}", auth: none, payload: { x-api-token: "${PAYLOAD}" } }
"#;

#[test]
fn no_secret_is_in_any_output_at_any_level() {
    let origin = Origin::start();
    origin.on("/cut", |exchange| {
        let target = exchange.target();
        if target.ends_with("mute") {
            let _ = exchange.wait_end();
        } else if target.ends_with("garbage") {
            exchange.send("HTTP/1.1 200 OK\r\nx-a: \u{0}c4n4ry-of-the-upstream\r\n\r\n");
        } else {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx");
        }
        After::Close
    });
    let edge = Config::new(SECRETS)
        .origin(&origin)
        .value("refused", &crate::support::edge::free_address().to_string())
        .environment("CLIENT", "c4n4ry-client-token-0123456789abcdef")
        .environment("SIGN", "c4n4ry-sign-token-0123456789-abcdefghij")
        .environment("PAYLOAD", "c4n4ry-payload")
        .environment("LOG_LEVEL", "trace")
        .environment("RUST_LOG", "trace")
        .file("payload.secret", "c4n4ry-from-a-file\n")
        .logging("level: trace")
        .access("format: json, query: redacted")
        .start();
    let client = "c4n4ry-client-token-0123456789abcdef";
    assert_eq!(edge.call(&Request::get("/signed/x?key=c4n4ry-query").bearer(client)).status, 200);
    assert_eq!(origin.take("/signed/x?key=c4n4ry-query").header("x-from-file"), Some("c4n4ry-from-a-file"));
    for target in ["/cut/short?c=c4n4ry", "/cut/mute", "/cut/garbage", "/refused/x?k=c4n4ry", "/nowhere?k=c4n4ry"] {
        let mut wire = edge.connect();
        wire.send(Request::get(target).header("cookie", "s=c4n4ry").header("authorization", "Bearer c4n4ry-x").bytes());
        let _ = wire.try_response_to("GET");
    }
    for bytes in [
        "GET /signed HTTP/1.1\r\nhost: demo.test\r\nauthorization: Bearer c4n4ry\r\nx: \0\r\n\r\n",
        "GET /signed HTTP/1.1\r\nhost: demo.test\r\nx-api-key : c4n4ry\r\n\r\n",
        "POST /signed HTTP/1.1\r\nhost: demo.test\r\nx-api-key: c4n4ry-wrong\r\ncontent-length: x\r\n\r\n",
    ] {
        let mut wire = edge.connect();
        wire.send(bytes);
        let _ = wire.try_response_to("GET");
    }
    edge.rewrite(&SECRETS.replace("timeouts:", "timeout:").replace("\"${PAYLOAD}\"", "\"c4n4ry-literal\""));
    edge.process.signal("HUP");
    edge.wait_log("timeout");
    let checked = edge.command(&["check"], &[]);
    let answers: Vec<String> = ["/api/v1/status", "/api/v1/routes", "/metrics", "/readyz?verbose"]
        .into_iter()
        .map(|target| edge.admin("GET", target).text())
        .collect();
    edge.stop();
    let access = edge.access_lines().join("\n");
    assert!(access.contains("/nowhere") && edge.process.stderr().len() > 1000, "the log level is trace");
    for (place, text) in [
        ("standard error", edge.process.stderr()),
        ("standard output", edge.process.stdout()),
        ("the access log", access),
        ("check", checked.stdout + &checked.stderr),
        ("the admin listener", answers.join("\n")),
    ] {
        let leaking: Vec<&str> = text.lines().filter(|line| line.to_ascii_lowercase().contains(CANARY)).collect();
        assert!(leaking.is_empty(), "{place}: {} lines, the first: {}", leaking.len(), leaking[0]);
    }
}
