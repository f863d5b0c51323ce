//! With the programs that people use: nginx behind the edge, curl in front of it, and the `openai` and `anthropic` SDKs
//! streaming through it.

use std::process::Command;
use std::time::Duration;

use crate::support::leak::CANARY;
use crate::support::nginx::Nginx;
use crate::support::origin::After;
use crate::support::process::{Finished, Process, run};
use crate::support::python::{python, scripts};
use crate::support::{Config, Edge, Gate, Origin, Request, eventually, eventually_within, gate, signature};

// ---- nginx ----

#[test]
fn nginx_serves_files_through_the_edge() {
    let nginx = Nginx::start("location / { root {dir}/www; } keepalive_timeout 30s;");
    let www = nginx.directory.path().join("www");
    std::fs::create_dir(&www).expect("www");
    let large = "0123456789abcdef".repeat(64 * 1024);
    std::fs::write(www.join("small.txt"), "hello").expect("small.txt");
    std::fs::write(www.join("large.txt"), &large).expect("large.txt");
    let edge = Config::routes(r#"- { prefix: /files, upstream: "http://{nginx}", auth: none }"#)
        .value("nginx", &nginx.address.to_string())
        .start();

    let small = edge.get("/files/small.txt");
    assert_eq!((small.status, small.text().as_str()), (200, "hello"));
    assert!(small.header("server").is_none_or(|server| server.starts_with("nginx")), "{:?}", small.head);
    assert_eq!(edge.get("/files/large.txt").text(), large);

    let etag = small.header("etag").expect("an etag").to_owned();
    let unchanged = edge.call(&Request::get("/files/small.txt").header("if-none-match", &etag));
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    let part = edge.call(&Request::get("/files/small.txt").header("range", "bytes=1-3"));
    assert_eq!((part.status, part.text().as_str()), (206, "ell"));
    let head = edge.call(&Request::new("HEAD", "/files/large.txt"));
    assert_eq!(head.header("content-length"), Some(&*large.len().to_string()));
    assert_eq!(edge.get("/files/missing.txt").status, 404);
    assert_eq!(edge.call(&Request::new("POST", "/files/small.txt").body("x")).status, 405);

    for _ in 0..20 {
        assert_eq!(edge.get("/files/small.txt").text(), "hello");
    }
    let metrics = edge.metrics();
    let new = metrics.sum("countersign_upstream_connections_total", &[("state", "new")]);
    assert!(new <= 3.0, "{new} connections for 27 requests in a row");
}

// ---- curl ----

fn curl(arguments: &[&str]) -> Finished {
    let done = run(Command::new("curl").args(["--silent", "--show-error", "--max-time", "8"]).args(arguments));
    assert_eq!(done.code, Some(0), "curl {arguments:?}: {}", done.stderr);
    done
}

fn curl_edge(origin: &Origin) -> Edge {
    Config::new(
        r#"
        clients:
          laptop: { token: curl-client-token-0123456789abcdef0, user: dev@example.com, name: 王小明 }
        projects:
          demo:
            upstream_policy: open
            environments:
              production:
                routes:
                  - { prefix: /open, upstream: "http://{origin}/open", auth: none }
                  - { prefix: /signed, upstream: "http://{origin}/signed", sign: { scheme: user-stamp, token: 0123456789-0123456789-0123456789-abc } }
        "#,
    )
    .origin(origin)
    .start()
}

#[test]
fn curl_gets_posts_and_uploads() {
    let origin = Origin::start();
    origin.on("/open/length", |exchange| {
        let mut count = 0usize;
        let _ = exchange.stream_body(&mut |bytes| count += bytes.len());
        let text = count.to_string();
        exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()));
        After::Keep
    });
    let edge = curl_edge(&origin);
    let url = |path: &str| format!("{}{path}", edge.url());

    assert_eq!(curl(&[&url("/open/x")]).stdout, "ok");
    let both = curl(&[&url("/open/1"), &url("/open/2"), "--write-out", "%{num_connects};"]).stdout;
    assert_eq!(both, "ok1;ok0;", "the second request reuses the connection");
    let head = curl(&["--head", &url("/open/head")]).stdout;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(curl(&["--http1.0", &url("/open/old")]).stdout, "ok");

    let file = edge.directory().join("upload.bin");
    std::fs::write(&file, vec![b'x'; 3_000_000]).expect("a file to upload");
    let path = file.display().to_string();
    assert_eq!(curl(&["--upload-file", &path, &url("/open/length")]).stdout, "3000000");
    let data = format!("@{path}");
    assert_eq!(
        curl(&["--data-binary", &data, "--header", "Expect: 100-continue", &url("/open/length")]).stdout,
        "3000000"
    );
    let chunked = ["--data-binary", &data, "--header", "Transfer-Encoding: chunked", &url("/open/length")];
    assert_eq!(curl(&chunked).stdout, "3000000");
}

#[test]
fn curl_with_a_token_is_signed_and_without_one_refused() {
    let origin = Origin::start();
    let edge = curl_edge(&origin);
    let url = format!("{}/signed/userlist", edge.url());
    let status = curl(&["--output", "/dev/null", "--write-out", "%{http_code}", &url]).stdout;
    assert_eq!(status, "401");
    let bearer = "Authorization: Bearer curl-client-token-0123456789abcdef0";
    let answer = curl(&["--header", bearer, "--header", "X-Kms-User: forged@example.com", &url]);
    assert_eq!(answer.stdout, "ok");
    let seen = origin.take("/signed/userlist");
    let user = signature::verify(&seen.head.fields, "user-stamp", "0123456789-0123456789-0123456789-abc");
    assert_eq!(user, "dev@example.com");
    assert_eq!(seen.header("x-kms-username"), Some("%E7%8E%8B%E5%B0%8F%E6%98%8E"));
}

#[test]
fn curl_prints_events_as_they_come_and_fails_on_a_cut_response() {
    let origin = Origin::start();
    let (key, gate) = gate();
    origin.on("/open/events", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        exchange.send("9\r\ndata: 1\n\n\r\n");
        gate.wait();
        exchange.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n");
        After::Keep
    });
    origin.answer_and_close("/open/cut", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n");
    let edge = curl_edge(&origin);
    let url = format!("{}/open/events", edge.url());
    let streaming = Process::spawn(Command::new("curl").args(["--silent", "--no-buffer", "--max-time", "20", &url]));
    eventually("the first event, while the stream is open", || (streaming.stdout() == "data: 1\n\n").then_some(()));
    key.open();
    assert_eq!(streaming.wait(Duration::from_secs(10)).0.code(), Some(0));
    assert_eq!(streaming.stdout(), "data: 1\n\ndata: 2\n\n");

    let cut = run(Command::new("curl").args(["--silent", "--max-time", "8", &format!("{}/open/cut", edge.url())]));
    assert!(matches!(cut.code, Some(18 | 56)), "curl must notice the cut: {cut:?}");
}

// ---- SDKs ----

pub(super) const KEY: &str = "c4n4ry-sdk-client-token-0123456789";

/// An edge in front of a scripted model; both SDKs' calls stop at the gate after the first piece.
fn model(path: &'static str, first: &'static str, rest: &'static str, gate: Gate) -> (Origin, Edge) {
    let origin = Origin::start();
    origin.on(path, move |exchange| {
        exchange.read_body();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        exchange.send(format!("{:x}\r\n{first}\r\n", first.len()));
        gate.wait();
        exchange.send(format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len()));
        After::Keep
    });
    let edge = Config::new(
        r#"
        clients:
          sdk: { token: "${SDK_KEY}", user: dev@example.com }
        projects:
          llm:
            upstream_policy: open
            environments:
              production:
                routes:
                  - { prefix: /v1, upstream: "http://{origin}/v1", payload: { x-vendor-key: of-the-edge } }
        "#,
    )
    .environment("SDK_KEY", KEY)
    .origin(&origin)
    .start();
    (origin, edge)
}

pub(super) fn stream_with_sdk(script: &str, url: &str, key: &crate::support::wait::Key) -> String {
    let script = scripts("sdk").join(script);
    let process = Process::spawn(
        Command::new(python("sdk")).arg(script).args([url, KEY]).env_remove("HTTP_PROXY").env("NO_PROXY", "*"),
    );
    eventually_within(Duration::from_secs(30), "the first piece, while the stream is open", || {
        assert!(process.ended().is_none(), "{}{}", process.stdout(), process.stderr());
        process.stdout().contains("first: Hel\n").then_some(())
    });
    key.open();
    let (status, _) = process.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0), "{}", process.stderr());
    eventually("the whole text", || {
        process.stdout().lines().last().map(str::to_owned).filter(|line| line.starts_with("all: "))
    })
}

#[test]
fn the_openai_sdk_streams_through_the_edge() {
    let (key, gate) = gate();
    let (origin, edge) = model("/v1/chat/completions", OPENAI_FIRST, OPENAI_REST, gate);
    assert_eq!(stream_with_sdk("openai_stream.py", &format!("{}/v1", edge.url()), &key), "all: Hello");
    let seen = origin.request_for("/v1/chat/completions");
    assert_eq!((seen.method(), seen.header("x-vendor-key")), ("POST", Some("of-the-edge")));
    assert!(!seen.contains(CANARY), "the caller's key went upstream");
    assert!(String::from_utf8_lossy(&seen.body).contains("\"stream\":true"), "{:?}", seen.body);
}

#[test]
fn the_anthropic_sdk_streams_through_the_edge() {
    let (key, gate) = gate();
    let (origin, edge) = model("/v1/messages", ANTHROPIC_FIRST, ANTHROPIC_REST, gate);
    assert_eq!(stream_with_sdk("anthropic_stream.py", &edge.url(), &key), "all: Hello");
    let seen = origin.request_for("/v1/messages");
    assert_eq!((seen.method(), seen.header("x-vendor-key")), ("POST", Some("of-the-edge")));
    assert!(!seen.contains(CANARY), "the caller's key went upstream");
    assert!(seen.header("anthropic-version").is_some());
}

pub(super) const OPENAI_FIRST: &str = concat!(
    r#"data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"},"finish_reason":null}]}"#,
    "\n\n"
);
pub(super) const OPENAI_REST: &str = concat!(
    r#"data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":null}]}"#,
    "\n\n",
    r#"data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "\n\ndata: [DONE]\n\n"
);
pub(super) const ANTHROPIC_FIRST: &str = concat!(
    "event: message_start\n",
    r#"data: {"type":"message_start","message":{"id":"m1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#,
    "\n\nevent: content_block_start\n",
    r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    "\n\nevent: content_block_delta\n",
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}"#,
    "\n\n"
);
pub(super) const ANTHROPIC_REST: &str = concat!(
    "event: content_block_delta\n",
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo"}}"#,
    "\n\nevent: content_block_stop\n",
    r#"data: {"type":"content_block_stop","index":0}"#,
    "\n\nevent: message_delta\n",
    r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}"#,
    "\n\nevent: message_stop\n",
    r#"data: {"type":"message_stop"}"#,
    "\n\n"
);
