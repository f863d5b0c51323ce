//! Real clients: curl, nghttp and h2load.

use std::process::Command;

use super::{fresh, rig};
use crate::support::PATIENCE;
use crate::support::origin::After;
use crate::support::process::{run, run_within};

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
