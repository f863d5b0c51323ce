//! Files and compressed answers over HTTP/2, with curl.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use super::Tree;
use crate::support::process::{Finished, Process, run};
use crate::support::{Config, Edge, Origin, eventually};

fn curl(edge: &Edge, target: &str, arguments: &[&str]) -> Finished {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "8",
        "--http2-prior-knowledge",
        "--header",
        "host: demo.test",
    ]);
    run(command.args(arguments).arg(format!("{}{target}", edge.url())))
}

fn edge(tree: &Tree, origin: &Origin) -> Edge {
    let routes = r#"
        - { prefix: /s, auth: none, files: { root: "{root}" }, compress: [zstd, br, gzip], timeouts: { send: 5s } }
        - { prefix: /x, auth: none, upstream: "http://{origin}", compress: [zstd, br, gzip] }
    "#;
    let config = Config::routes(routes).value("root", &tree.root().display().to_string());
    config.origin(origin).listener("h2c: true").start()
}

#[test]
fn files_travel_over_http2() {
    let tree = Tree::new(&[("a.txt", "abcdefghij"), ("deep/index.html", "x")]);
    let text: String = (0..20_000).map(|line| format!("line {line} of a large text\n")).collect();
    tree.write("big.txt", text.as_bytes());
    let origin = Origin::start();
    let (length, body) = (text.len(), text.clone());
    origin
        .answer("/", format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{body}"));
    let edge = edge(&tree, &origin);

    let small = curl(&edge, "/s/a.txt", &["--write-out", " %{http_version} %{http_code}"]);
    assert_eq!(small.stdout, "abcdefghij 2 200", "{}", small.stderr);
    let out = tree.beside("received");
    for arguments in [&[][..], &["--compressed"], &["--header", "accept-encoding: br", "--compressed"]] {
        for target in ["/s/big.txt", "/x"] {
            let received = out.display().to_string();
            let done = curl(&edge, target, &[arguments, &["--output", &received]].concat());
            assert_eq!(done.code, Some(0), "{target} {arguments:?}: {}", done.stderr);
            assert!(fs::read(&out).expect("what was received") == text.as_bytes(), "{target} {arguments:?}");
        }
    }
    let part = curl(&edge, "/s/a.txt", &["--range", "2-4", "--write-out", " %{http_code}"]);
    assert_eq!(part.stdout, "cde 206", "{}", part.stderr);
    let head = curl(&edge, "/s/big.txt", &["--head", "--header", "accept-encoding: gzip"]).stdout;
    assert!(head.contains("content-encoding: gzip") && !head.contains("content-length"), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an etag").trim().to_owned();
    let known =
        curl(&edge, "/s/big.txt", &["--header", &format!("if-none-match: {tag}"), "--write-out", "%{http_code}"]);
    assert_eq!(known.stdout, "304", "{}", known.stderr);
    let moved = curl(&edge, "/s/deep?q=1", &["--write-out", "%{http_code} %{redirect_url}"]).stdout;
    assert!(moved.starts_with("308 ") && moved.ends_with("/s/deep/?q=1"), "{moved}");
    assert_eq!(curl(&edge, "/s/none", &["--write-out", "%{http_code}", "--output", "/dev/null"]).stdout, "404");
}

#[test]
fn a_file_that_shrinks_resets_its_stream() {
    let tree = Tree::new(&[]);
    let path = tree.write("large.bin", b"");
    set_length(&path, 512 * 1024 * 1024);
    let edge = edge(&tree, &Origin::start());
    let (url, received) = (format!("{}/s/large.bin", edge.url()), tree.beside("received"));
    let arguments = ["--silent", "--http2-prior-knowledge", "--limit-rate", "20M", "--max-time", "9", "--output"];
    let mut command = Command::new("curl");
    let curl = Process::spawn(command.args(arguments).arg(&received).args(["--header", "host: demo.test", &url]));
    eventually("the download is under way", || fs::metadata(&received).ok().filter(|file| file.len() > 0));
    set_length(&path, 0);
    let (status, _) = curl.wait(std::time::Duration::from_secs(15));
    assert_eq!(status.code(), Some(92), "a stream that was not closed cleanly");
    assert_eq!(edge.logged("/s/large.bin")["code"], "file_cut");
}

fn set_length(path: &Path, length: u64) {
    File::options().write(true).open(path).and_then(|file| file.set_len(length)).expect("set its length");
}
