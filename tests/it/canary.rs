//! Secrets in every slot, requests over every path on which something fails, at the most talkative level; then every output is
//! searched for each of them: as it is, in base64, percent-encoded, in hex.
//!
//! What an upstream sends back of its own request is that upstream's doing, and is read by that one client only: such answers
//! are not searched, everything else of those requests is. The environment of the process is not searched either: who may read
//! that may read the variables from which the secrets came.

pub(crate) mod outputs;
pub(crate) mod slots;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::support::edge::Reported;
use crate::support::h2::H2;
use crate::support::origin::After;
use crate::support::tls::Authority;
use crate::support::{Config, Edge, Exchange, Origin};
use outputs::Outputs;
use slots::{Slots, forms};

/// Every way to the upstream, and every way not to get there.
const SECTIONS: &str = r#"
providers:
  sso: { oauth2: { authorization_url: "http://{provider}/authorize", token_url: "http://{provider}/token", client_id: edge, client_secret: "${OAUTH_SECRET}", scopes: [api] } }
  other: { oauth2: { authorization_url: "http://{provider}/authorize", token_url: "http://{provider}/token", client_id: edge, client_secret: "${OAUTH_SECRET}", scopes: [api] } }
  dead: { oauth2: { authorization_url: "http://{refused}/authorize", token_url: "http://{refused}/token", client_id: edge, client_secret: "${OAUTH_SECRET}", scopes: [api] } }
credentials:
  pool: { provider: sso, inject: { header: authorization, value: "Bearer {token}" }, hosts: [127.0.0.1] }
  other: { provider: other, inject: { header: authorization, value: "Bearer {token}" }, hosts: [127.0.0.1] }
  lost: { provider: dead, inject: { header: authorization, value: "Bearer {token}" }, hosts: [127.0.0.1] }
  fixed: { secret: "${FIXED}", inject: { header: x-api-key, value: "{token}" }, hosts: [127.0.0.1] }
  filed: { secret: "file:fixed.secret", inject: { header: authorization, value: "Bearer {token}" }, hosts: [127.0.0.1] }
identity: { sources: [client, basic], basic: { users_file: users } }
clients:
  laptop: { token: "${CLIENT}", user: dev@example.com, name: Dev }
upstreams:
  untrusted: { scheme: https, endpoints: [{ address: "127.0.0.1:{tls_port}" }], tls: { server_name: users.internal.example } }
  clear: { scheme: h2c, endpoints: [{ address: "127.0.0.1:{clear_port}" }] }
projects:
  demo:
    hosts: [demo.test]
    app_id: "1001"
    upstream_policy: open
    environments:
      production:
        routes:
          - { prefix: /signed, upstream: "http://{origin}/signed", sign: { scheme: user-stamp, token: "${SIGN}" }, payload: { x-payload: "${PAYLOAD}", x-filed: "file:payload.secret" }, credential: fixed }
          - { prefix: /pool, upstream: "http://{origin}/pool", credential: pool, timeouts: { first_byte: 1s, idle: 1s }, limits: { body: 1000B } }
          - { prefix: /other, upstream: "http://{origin}/other", auth: none, credential: other }
          - { prefix: /lost, upstream: "http://{origin}/lost", auth: none, credential: lost }
          - { prefix: /open, upstream: "http://{origin}/open", auth: none, credential: fixed, timeouts: { first_byte: 1s, idle: 1s }, retry: { attempts: 2, on: [connect, reset, "503"] } }
          - { prefix: /filed, upstream: "http://{origin}/filed", auth: none, credential: filed }
          - { prefix: /refused, upstream: "http://{refused}", auth: none, credential: fixed }
          - { prefix: /untrusted, upstream: untrusted, auth: none, credential: fixed }
          - { prefix: /no-http2, upstream: clear, auth: none, credential: fixed }
          - { prefix: /limited, upstream: "http://{origin}/limited", auth: none, credential: fixed, limits: { requests: 1/h, burst: 1 } }
          - { prefix: /inside, respond: { body: inside }, access: { allow: [10.0.0.0/8] } }
"#;

/// What the upstream says, by the last part of the path.
fn upstream(exchange: &mut Exchange) -> After {
    let target = exchange.target();
    exchange.read_body();
    let how = target.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
    let status = |exchange: &mut Exchange, line: &str| {
        exchange.send(format!("HTTP/1.1 {line}\r\ncontent-length: 2\r\n\r\nno"));
        After::Keep
    };
    match how.as_str() {
        "echo" => {
            let body = String::from_utf8_lossy(&exchange.head.raw).into_owned();
            let value = body.lines().find(|line| line.contains("c4n4ry")).unwrap_or("none").to_owned();
            exchange
                .send(format!("HTTP/1.1 200 OK\r\nx-echo: {value}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
            After::Keep
        }
        "malformed" => {
            let echo =
                exchange.head.fields.get("authorization").or(exchange.head.fields.get("x-api-key")).unwrap_or_default();
            exchange.send(format!("HTTP/1.1 200 OK\r\nx-echo: \u{0}{echo}\r\n{echo}\r\n\r\n"));
            After::Close
        }
        "nonsense" => {
            let echo =
                exchange.head.fields.get("authorization").or(exchange.head.fields.get("x-api-key")).unwrap_or_default();
            exchange.send(format!("{echo} is what I got\r\n\r\n"));
            After::Close
        }
        "two-lengths" => {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nno!");
            After::Close
        }
        "cut" => {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx");
            After::Close
        }
        "reset" => After::Reset,
        "mute" => {
            let _ = exchange.wait_end();
            After::Close
        }
        "401" => status(exchange, "401 Unauthorized"),
        "429" => status(exchange, "429 Too Many Requests"),
        "503" => status(exchange, "503 Service Unavailable"),
        _ => status(exchange, "200 OK"),
    }
}

struct Rig {
    edge: Edge,
    slots: Slots,
    origin: Origin,
    _provider: Origin,
    _tls: crate::support::nginx::Nginx,
}

fn start(format: &str) -> Rig {
    let slots = Slots::new();
    let (origin, provider) = (Origin::start(), Origin::start());
    origin.on("/", upstream);
    // The provider repeats what it was asked, as some do, in its error and in what it grants.
    provider.on("/token", |exchange| {
        exchange.read_body();
        let raw = String::from_utf8_lossy(&exchange.head.raw).into_owned();
        let body = json!({ "error": "invalid_grant", "error_description": format!("not taken: {raw}") }).to_string();
        exchange.send(format!(
            "HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        After::Keep
    });
    let authority = Authority::default();
    let pem = authority.server(&["users.internal.example"]);
    let files = tempfile::tempdir().expect("a directory");
    pem.write(files.path(), "upstream");
    let path = |end: &str| files.path().join(format!("upstream.{end}")).display().to_string();
    let tls =
        format!("ssl_certificate {}; ssl_certificate_key {}; location / {{ return 200; }}", path("crt"), path("key"));
    let tls = crate::support::nginx::Nginx::start_on("ssl", &tls);
    let refused = crate::support::edge::free_address();
    let edge = Config::new(SECTIONS)
        .origin(&origin)
        .value("provider", &provider.authority())
        .value("refused", &refused.to_string())
        .value("tls_port", &tls.address.port().to_string())
        .value("clear_port", &origin.port().to_string())
        .environment("OAUTH_SECRET", &slots.oauth)
        .environment("FIXED", &slots.fixed)
        .environment("CLIENT", &slots.client)
        .environment("SIGN", &slots.sign)
        .environment("PAYLOAD", &slots.payload)
        .environment("LOG_LEVEL", "trace")
        .environment("RUST_LOG", "trace")
        .environment("RUST_BACKTRACE", "full")
        .file("fixed.secret", &format!("{}\n", slots.filed))
        .file("payload.secret", &format!("{}\n", slots.payload_filed))
        .file("users", &slots::htpasswd("dev", &slots.basic))
        .file("admins", &slots::htpasswd("root", &slots.admin_password))
        .token("one", &slots.token(0, "sso"))
        .token("two", &slots.token(1, "sso"))
        .token("three", &slots.token(2, "other"))
        .token(
            "broken",
            &json!({ "provider": "sso", "access_token": [&slots.broken], "refresh_token": 7, "expires_at": "never" }),
        )
        .listener("h2c: true")
        .secured()
        .admin("users_file: admins")
        .logging("level: trace, file: \"{dir}/process.log\"")
        .access(&format!("format: {format}, query: redacted"))
        .start();
    Rig { edge, slots, origin, _provider: provider, _tls: tls }
}

/// Sends bytes, and reads what comes until the end or a silence.
fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("connect to the edge");
    stream.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
    let _ = stream.write_all(bytes.as_ref());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn status(answer: &[u8]) -> u16 {
    let line = String::from_utf8_lossy(answer.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
    line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Every request of the list: target, further lines of its head, body, and what is answered (0: anything).
fn requests(slots: &Slots) -> Vec<(String, String, String, u16)> {
    let bearer = format!("authorization: Bearer {}\r\n", slots.client);
    let key = format!("x-api-key: {}\r\n", slots.client);
    let basic = format!("authorization: {}\r\n", slots::basic("dev", &slots.basic));
    let cookie = format!("cookie: session={}\r\nreferer: http://demo.test/x?code={}\r\n", slots.cookie, slots.query);
    let query = format!("token={}&code={}", slots.query, slots.query);
    let large = "l".repeat(2000);
    let mut all: Vec<(String, String, String, u16)> = Vec::new();
    let mut add = |path: &str, head: &str, body: &str, status: u16| {
        all.push((format!("{path}?{query}"), format!("{head}{cookie}"), body.to_owned(), status));
    };
    for how in ["x", "echo", "two-lengths", "malformed", "nonsense", "cut", "reset", "mute", "401", "429", "503"] {
        let expected = match how {
            "x" | "echo" | "cut" => 200,
            "two-lengths" | "malformed" | "nonsense" | "reset" => 502,
            "mute" => 504,
            other => other.parse().expect("a status"),
        };
        add(&format!("/open/{how}"), "", "", expected);
        add(&format!("/filed/{how}"), "", "", if how == "mute" { 0 } else { expected });
    }
    add("/signed/x", &bearer, "", 200);
    add("/signed/x", &key, "body", 200);
    add("/signed/x", &basic, "", 200);
    add("/signed/x", &basic.replace("Basic ", "Basic x"), "", 401);
    add("/signed/echo", &bearer, "", 200);
    for wrong in [slots::basic("dev", &slots.wrong), format!("Bearer {}", slots.wrong)] {
        add("/signed/x", &format!("authorization: {wrong}\r\n"), "", 401);
    }
    add("/signed/x", &format!("{bearer}{bearer}"), "", 0);
    add("/pool/x", &bearer, "", 200);
    add("/pool/echo", &bearer, "", 200);
    add("/pool/x", &bearer, &large, 413);
    for how in ["malformed", "nonsense", "mute", "reset", "cut"] {
        add(&format!("/pool/{how}"), &bearer, "", 0);
    }
    add("/lost/x", "", "", 503);
    add("/refused/x", "", "", 502);
    add("/untrusted/x", "", "", 502);
    add("/no-http2/x", "", "", 0);
    add("/limited/x", "", "", 200);
    add("/limited/x", "", "", 429);
    add("/inside/x", &bearer, "", 403);
    add("/nowhere", &bearer, "", 404);
    // Last, as they use the tokens up.
    add("/pool/429", &bearer, "", 429);
    add("/pool/x", &bearer, "", 503);
    add("/other/401", "", "", 401);
    add("/other/x", "", "", 503);
    all
}

fn play(rig: &Rig, outputs: &mut Outputs) {
    let Rig { edge, slots, .. } = rig;
    for (target, head, body, expected) in requests(slots) {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let bytes =
            format!("{method} {target} HTTP/1.1\r\nhost: demo.test\r\n{head}{length}connection: close\r\n\r\n{body}");
        let answer = exchange(edge.data, bytes);
        let place = format!("the answer to {method} {}", target.split('?').next().unwrap_or_default());
        assert!(expected == 0 || status(&answer) == expected, "{place}: {}", String::from_utf8_lossy(&answer));
        if !target.contains("/echo") {
            outputs.add(&place, answer);
        }
    }
    malformed(edge, slots, outputs);
    http2(edge, slots);
    for (name, bytes) in [
        ("garbage", slots.client.clone()),
        ("http", format!("GET /x?x={} HTTP/1.1\r\nauthorization: {}\r\n\r\n", slots.query, slots.client)),
    ] {
        outputs.add(&format!("{name} on the TLS listener"), exchange(edge.secured.expect("a second listener"), bytes));
    }
}

fn malformed(edge: &Edge, slots: &Slots, outputs: &mut Outputs) {
    let secret = &slots.client;
    for (index, bytes) in [
        format!("GET /signed HTTP/1.1\r\nhost: demo.test\r\nauthorization: Bearer {secret}\r\nx: \0\r\n\r\n"),
        format!("GET /signed HTTP/1.1\r\nhost: demo.test\r\nx-api-key : {secret}\r\n\r\n"),
        format!("GET /signed HTTP/1.1\r\nhost: demo.test\r\nx-api-key: {secret}\r\ncontent-length: x\r\n\r\n"),
        format!("GET /signed HTTP/1.1\r\nhost: demo.test\r\nauthorization: Bearer\r\n {secret}\r\n\r\n"),
        format!("GET /signed/..?x={secret} HTTP/9.9\r\nauthorization: {secret}\r\n\r\n"),
        format!("POST /open/x HTTP/1.1\r\nhost: demo.test\r\ntransfer-encoding: chunked\r\n\r\n{secret}\r\n"),
        format!("GET /signed HTTP/1.1\r\nhost: demo.test\r\nauthorization: Basic {secret}\r\n\r\n"),
        format!("{secret}\r\n\r\n"),
        format!("GET /open/x HTTP/1.1\r\nhost: demo.test\r\ncookie: {}\r\n\r\n", slots.cookie.repeat(2000)),
    ]
    .into_iter()
    .enumerate()
    {
        outputs.add(&format!("the answer to malformed request {index}"), exchange(edge.data, bytes));
    }
}

/// Answers pass the leak guard by themselves.
fn http2(edge: &Edge, slots: &Slots) {
    let bearer = format!("Bearer {}", slots.client);
    let mut client = H2::connect(edge.data);
    for (path, further, status) in [
        ("/signed/x", [("authorization", bearer.as_str()), ("cookie", &slots.cookie)], 200),
        ("/signed/x", [("authorization", slots.wrong.as_str()), ("cookie", &slots.cookie)], 401),
        ("/open/nonsense", [("x-api-key", slots.wrong.as_str()), ("cookie", &slots.cookie)], 502),
        ("/lost/x", [("authorization", bearer.as_str()), ("cookie", &slots.cookie)], 503),
    ] {
        let stream = client.request("GET", path, &further, true);
        assert_eq!(client.answer(stream).status, status, "{path}");
    }
    let stream = client.request("GET", "/signed/x", &[("Authorization", &bearer)], true);
    assert_ne!(client.answer(stream).status, 200, "a name in upper case is malformed");
    let mut client = H2::connect(edge.data);
    client.send(slots.client.as_bytes()).send(&[0; 64]);
    client.glance();
}

#[test]
fn no_secret_leaves_by_any_output() {
    for format in ["json", "combined"] {
        let rig = start(format);
        let _report = Reported(&rig.edge);
        let mut outputs = Outputs::default();
        play(&rig, &mut outputs);
        rig.edge.wait_idle();
        outputs.of_the_admin_listener(&rig.edge, &rig.slots);
        outputs.of_commands(&rig.edge);
        outputs.of_a_broken_reload(&rig.edge, &rig.slots);
        outputs.of_the_arguments(&rig.edge);
        let generated = generated(&rig.edge);
        outputs.of_the_process(&rig.edge);
        let carried = rig.origin.requests();
        for (slot, secret) in rig.slots.sent_upstream() {
            assert!(
                carried.iter().any(|request| String::from_utf8_lossy(&request.head.raw).contains(secret)),
                "{slot} was never sent"
            );
        }
        outputs.expect_nothing_of(&rig.slots, &generated);
    }
}

/// What was made at the start: the administrator's token, and lines of the private key.
fn generated(edge: &Edge) -> Vec<(&'static str, String)> {
    let key = std::fs::read_to_string(edge.directory().join("secured.key")).expect("the private key");
    let lines = key.lines().filter(|line| !line.starts_with('-')).map(|line| ("private key", line.to_owned()));
    lines.chain([("administrator's token", edge.token())]).collect()
}

/// A process that cannot be dumped belongs to root for whoever looks at it from outside (proc(5)), whoever it runs as.
#[test]
fn the_process_leaves_no_core_dump() {
    let origin = Origin::start();
    let edge = Edge::routes(r#"- { prefix: /, upstream: "http://{origin}", auth: none }"#, &origin);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", edge.process.id())).expect("its limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    assert!(!outputs::may_be_dumped(), "set for whoever runs the binary");
}

#[test]
fn the_search_finds_every_form() {
    let secret = "c4n4ry-test/+=~ 0123456789";
    for (name, text) in [
        ("raw", format!("a {secret} b")),
        ("upper case", secret.to_ascii_uppercase()),
        ("hex", hex::encode(format!("xx{secret}"))),
        ("percent", "c4n4ry-test%2F%2B%3D~%200123456789".to_owned()),
        ("form", "c4n4ry-test%2f%2b%3d%7e+0123456789".to_owned()),
        ("base64", slots::basic("u", secret)),
        ("base64 of percent", slots::basic("u", "c4n4ry-test%2F%2B%3D%7E%200123456789")),
        ("base64, shifted", slots::basic("us", secret)),
        ("base64, shifted again", slots::basic("use", secret)),
        ("JSON", json!(secret).to_string()),
    ] {
        assert!(outputs::find(text.as_bytes(), &forms(secret)).is_some(), "{name}: {text}");
    }
    assert!(outputs::find(b"c4n4ry-test alone, and *** for it", &forms(secret)).is_none());
}
