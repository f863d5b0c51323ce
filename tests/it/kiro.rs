//! `conf/kiro.yaml`, run as it stands with the variables that it names: SDKs stream through `/v1` with a token of the client's own,
//! in either header, and the upstream gets the account's.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::real::{ANTHROPIC_FIRST, ANTHROPIC_REST, KEY, OPENAI_FIRST, OPENAI_REST, stream_with_sdk};
use crate::support::edge::{BINARY, free_address};
use crate::support::leak::{CANARY, check_bytes};
use crate::support::origin::After;
use crate::support::process::Process;
use crate::support::tokens::{now, rfc3339};
use crate::support::{Gate, Origin, Request, Wire, eventually, gate};

const ACCOUNT: &str = "c4n4ry-of-the-account-0123456789";

struct Server {
    process: Process,
    data: SocketAddr,
    directory: tempfile::TempDir,
}

/// The file, but that its upstream is on this machine, which a guarded project refuses.
fn configuration() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/kiro.yaml");
    let text = std::fs::read_to_string(path).expect("conf/kiro.yaml");
    let open = text.replacen("projects:\n  kiro:\n", "projects:\n  kiro:\n    upstream_policy: open\n", 1);
    assert_ne!(open, text, "the project of conf/kiro.yaml");
    open
}

/// A server that somebody has set up by the guide: an account's token is there, from another machine.
fn server(origin: &Origin) -> Server {
    let directory = tempfile::Builder::new().prefix("countersign-kiro-").tempdir().expect("a directory");
    let (tokens, file) = (directory.path().join("tokens"), directory.path().join("kiro.yaml"));
    std::fs::write(&file, configuration()).expect("write the configuration");
    std::fs::create_dir(&tokens).expect("make KIRO_TOKENS_DIR");
    std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o700)).expect("close it");
    let token = json!({ "provider": "builder-id", "access_token": ACCOUNT, "refresh_token": "c4n4ry-refresh-0123456789",
        "expires_at": rfc3339(now() + 3600) });
    let token_file = tokens.join("account.json");
    std::fs::write(&token_file, token.to_string()).expect("put the token there");
    std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o600)).expect("close it");
    let (data, admin) = (free_address(), free_address());
    let mut command = Command::new(BINARY);
    command.arg("run").arg("-c").arg(&file);
    command.env("PORT", data.port().to_string()).env("ADMIN_PORT", admin.port().to_string());
    command.env("KIRO_CLIENT_TOKEN", KEY).env("KIRO_TOKENS_DIR", &tokens);
    command.env("KIRO_STATE_DIR", directory.path().join("state"));
    command.env("KIRO_UPSTREAM", format!("http://{}/v1", origin.authority()));
    command.env("LOG_LEVEL", "debug").env("LOG_FORMAT", "json").env("LOG_FILE", directory.path().join("edge.log"));
    let process = Process::spawn(&mut command);
    eventually("the server is ready", || {
        assert!(process.ended().is_none(), "{}{}", process.stdout(), process.stderr());
        let mut wire = Wire::try_connect(admin).ok()?;
        wire.send(Request::get("/readyz").host(&admin.to_string()).bytes());
        (wire.try_response_to("GET").ok()?.status == 200).then_some(())
    });
    Server { process, data, directory }
}

/// A model that stands at the gate after its first piece.
fn model(path: &'static str, first: &'static str, rest: &'static str, gate: Gate) -> Origin {
    let origin = Origin::start();
    origin.on(path, move |exchange| {
        exchange.read_body();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        exchange.send(format!("{:x}\r\n{first}\r\n", first.len()));
        gate.wait();
        exchange.send(format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len()));
        After::Keep
    });
    origin
}

/// The upstream got the account's token alone, and nobody else got any.
fn expect_account(server: &Server, origin: &Origin, path: &str) {
    let seen = origin.request_for(path);
    assert_eq!(seen.head.fields.all("authorization"), [format!("Bearer {ACCOUNT}")]);
    assert!(!seen.contains(KEY) && !seen.head.fields.has("x-api-key"), "the client's own token went upstream");
    let log = std::fs::read_to_string(server.directory.path().join("edge.log")).expect("LOG_FILE");
    check_bytes("the log", log.as_bytes());
    check_bytes("the output", format!("{}{}", server.process.stdout(), server.process.stderr()).as_bytes());
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "LOG_FORMAT=json");
    assert!(ACCOUNT.starts_with(CANARY), "what the guard looks for");
}

#[test]
fn the_openai_sdk_streams_with_a_bearer_token() {
    let (key, gate) = gate();
    let origin = model("/v1/chat/completions", OPENAI_FIRST, OPENAI_REST, gate);
    let server = server(&origin);
    let url = format!("http://{}/v1", server.data);
    assert_eq!(stream_with_sdk("openai_stream.py", &url, &key), "all: Hello");
    expect_account(&server, &origin, "/v1/chat/completions");
}

#[test]
fn the_anthropic_sdk_streams_with_an_api_key() {
    let (key, gate) = gate();
    let origin = model("/v1/messages", ANTHROPIC_FIRST, ANTHROPIC_REST, gate);
    let server = server(&origin);
    assert_eq!(stream_with_sdk("anthropic_stream.py", &format!("http://{}", server.data), &key), "all: Hello");
    expect_account(&server, &origin, "/v1/messages");
}

#[test]
fn who_has_no_token_of_the_guide_gets_401_and_no_account() {
    let origin = Origin::start();
    let server = server(&origin);
    for request in [
        Request::get("/v1/models"),
        Request::get("/v1/models").bearer("wrong"),
        Request::get("/v1/models").bearer(ACCOUNT),
    ] {
        let mut wire = Wire::connect(server.data);
        wire.send(request.bytes());
        assert_eq!(wire.response().status, 401);
    }
    assert_eq!(origin.count(), 0);
}
