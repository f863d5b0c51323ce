//! Real clients: curl, nghttp and h2load.

use std::process::Command;

use super::{fresh, rig};
use crate::support::origin::After;
use crate::support::process::{run, run_within};
use crate::support::tls::{Authority, TlsClient};
use crate::support::{Origin, PATIENCE};
use crate::tls::edge_with;

#[test]
fn curl_speaks_to_us() {
    let rig = rig();
    let url = format!("{}/local", rig.edge.url());
    let done =
        run(Command::new("curl").args(["-sS", "--http2-prior-knowledge", "-w", " %{http_version} %{http_code}", &url]));
    assert_eq!(done.stdout, "hello 2 200", "{}", done.stderr);
    let url = format!("{}/api", rig.edge.url());
    let arguments = ["-sS", "--http2-prior-knowledge", "-F", "file=@-;filename=x", "-b", "a=1; b=2", &url];
    let done = run(Command::new("curl").args(arguments).stdin(std::process::Stdio::null()));
    assert_eq!(done.stdout, "ok", "{}", done.stderr);
    assert_eq!(rig.origin.take("/api").header("cookie"), Some("a=1; b=2"));
}

#[test]
fn nghttp_speaks_to_us_with_priorities_and_an_upload() {
    let rig = rig();
    let urls: Vec<String> = (0..5).map(|number| format!("{}/nghttp/{number}", rig.edge.url())).collect();
    let done = run(Command::new("nghttp").args(["--stat", "--null-out"]).args(&urls));
    assert!(
        done.stdout.contains("/nghttp/4") && !done.stdout.contains("Some requests were not processed"),
        "{}",
        done.stdout
    );
    assert_eq!(rig.origin.requests_for("/nghttp").len(), 5);
    let upload = std::env::current_exe().expect("this very program");
    let url = format!("{}/nghttp-upload", rig.edge.url());
    let done = run(Command::new("nghttp").arg("-d").arg(&upload).arg(url));
    assert!(done.stdout.contains("ok"), "{} {}", done.stdout, done.stderr);
    let length = std::fs::metadata(upload).expect("its size").len();
    let seen = rig.origin.request_for("/nghttp-upload");
    assert_eq!((u64::try_from(seen.body.len()).unwrap(), seen.complete), (length, true));
}

#[test]
fn h2load_is_served_without_a_failure() {
    let rig = fresh();
    rig.origin.on("/load", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
        exchange.send([b'x'; 1000]);
        After::Keep
    });
    let url = format!("{}/load", rig.edge.url());
    let done = run_within(PATIENCE * 6, Command::new("h2load").args(["-n", "1000", "-c", "10", "-m", "100", &url]));
    assert!(done.stdout.contains("1000 succeeded, 0 failed, 0 errored, 0 timeout"), "{}", done.stdout);
    assert!(done.stdout.contains("status codes: 1000 2xx"), "{}", done.stdout);
    rig.edge.wait_idle();
}

/// What ALPN agrees on is the same protocol, over TLS.
#[test]
fn clients_agree_on_http_2_over_tls() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let pair = authority.server(&["a.test"]);
    let edge = edge_with(&origin, &[("edge", &pair)], "tls: { CERTIFICATES }", TlsClient::curious());
    let port = edge.secured.expect("a listener with TLS").port();
    let ca = edge.directory().join("ca.pem");
    std::fs::write(&ca, &authority.pem).expect("write the authority");
    let total = 8 << 20;
    origin.on("/tls", move |exchange| {
        let mut count = 0;
        let _ = exchange.stream_body(&mut |bytes| count += bytes.len());
        exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {total}\r\nx-count: {count}\r\n\r\n"));
        exchange.send(vec![b'x'; total]);
        After::Keep
    });
    let upload = edge.directory().join("upload");
    std::fs::write(&upload, vec![b'y'; total]).expect("write an upload");
    let mut curl = Command::new("curl");
    curl.args([
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_version} %{http_code} %{size_upload} %{size_download}",
        "--cacert",
    ]);
    curl.arg(&ca).arg("-T").arg(&upload).arg("--connect-to").arg(format!("a.test:443:127.0.0.1:{port}"));
    let done = run_within(PATIENCE * 3, curl.arg("https://a.test/tls"));
    assert_eq!(done.stdout, format!("2 200 {total} {total}"), "{}", done.stderr);
    let seen = origin.take("/tls");
    assert_eq!((seen.header("x-forwarded-proto"), seen.header("x-forwarded-host")), (Some("https"), Some("a.test")));
    let record = edge.logged("/tls");
    assert_eq!(
        (record["protocol"].as_str(), record["bytes_in"].as_u64()),
        (Some("HTTP/2.0"), Some(8 << 20)),
        "{record}"
    );
    let url = format!("https://127.0.0.1:{port}/load");
    let done = run_within(PATIENCE * 6, Command::new("h2load").args(["-n", "500", "-c", "5", "-m", "50", &url]));
    assert!(done.stdout.contains("500 succeeded, 0 failed, 0 errored, 0 timeout"), "{}", done.stdout);
    let done = run(Command::new("nghttp").args(["--null-out", "--stat", &format!("https://127.0.0.1:{port}/x")]));
    assert!(done.stdout.contains("200"), "{} {}", done.stdout, done.stderr);
}
