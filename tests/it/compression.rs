//! Compressed answers: what is compressed and what is not, what the head says, that every piece can be read as soon as it
//! was sent, and that the plain text is the same in the end. Decoded by the codings' own libraries, and by curl.

use std::io::Read;
use std::process::Command;

use crate::support::origin::After;
use crate::support::process::run;
use crate::support::{Config, Edge, Ending, Exchange, Origin, Request, Response, gate};

const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

/// The whole plain text behind a coding; fails unless the stream is complete.
pub fn plain(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let read = match coding {
        "zstd" => zstd::stream::read::Decoder::new(bytes).expect("zstd").read_to_end(&mut plain),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain),
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain),
        other => panic!("no decoder for {other}"),
    };
    read.unwrap_or_else(|error| panic!("{coding}: {error}"));
    plain
}

/// As much as can be read of a stream that goes on.
fn readable(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut reader: Box<dyn Read> = match coding {
        "zstd" => Box::new(zstd::stream::read::Decoder::new(bytes).expect("zstd")),
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        _ => Box::new(flate2::read::GzDecoder::new(bytes)),
    };
    let (mut plain, mut byte) = (Vec::new(), [0]);
    while let Ok(1) = reader.read(&mut byte) {
        plain.push(byte[0]);
    }
    plain
}

fn edge(origin: &Origin) -> Edge {
    Edge::routes(r#"- { prefix: /, upstream: "http://{origin}", auth: none, compress: [zstd, br, gzip] }"#, origin)
}

fn accepting(target: &str, accept: &str) -> Request {
    Request::get(target).header("accept-encoding", accept)
}

fn text() -> String {
    (0..4000).map(|line| format!("{line}: a line that is much like the others\n")).collect()
}

/// An origin that answers `/x` with these fields and that body.
fn answering(fields: &str, body: &str) -> Origin {
    let origin = Origin::start();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{fields}\r\n", body.len());
    let (head, body) = (head, body.to_owned());
    origin.on("/x", move |exchange| {
        exchange.read_body();
        let body = if exchange.head.start.starts_with("HEAD ") { "" } else { &body };
        exchange.send([head.as_bytes(), body.as_bytes()].concat());
        After::Keep
    });
    origin
}

fn compressed(answer: &Response) -> bool {
    answer.header("content-encoding").is_some()
}

#[test]
fn the_client_chooses_and_the_text_is_the_same() {
    let text = text();
    let origin =
        answering("content-type: application/json\r\netag: \"v1\"\r\nvary: origin\r\naccept-ranges: bytes\r\n", &text);
    let edge = edge(&origin);
    for coding in CODINGS {
        let answer = edge.call(&accepting("/x", coding));
        assert_eq!(answer.header("content-encoding"), Some(coding));
        assert_eq!(answer.header("etag"), Some("W/\"v1\""), "{coding}");
        assert_eq!(answer.header("vary"), Some("origin, accept-encoding"), "{coding}");
        assert_eq!((answer.header("content-length"), answer.header("accept-ranges")), (None, None), "{coding}");
        assert!(answer.body.len() < text.len() / 5, "{coding}: {} bytes", answer.body.len());
        assert!(plain(coding, &answer.body) == text.as_bytes(), "{coding}");
        let head = edge.call(&Request::new("HEAD", "/x").header("accept-encoding", coding));
        for name in ["content-encoding", "etag", "vary", "content-length", "content-type", "accept-ranges"] {
            assert_eq!(head.header(name), answer.header(name), "HEAD differs in {name}: {coding}");
        }
        assert_eq!(origin.take("/x").header("accept-encoding"), Some(coding), "the client's wish goes on");
        origin.take("/x");
    }
    for (accept, expected) in
        [("gzip, br, zstd", "zstd"), ("gzip;q=1, zstd;q=0.5", "gzip"), ("*", "zstd"), ("br;q=0, *", "zstd")]
    {
        let answer = edge.call(&accepting("/x", accept));
        assert_eq!(answer.header("content-encoding"), Some(expected), "{accept}");
        assert!(plain(expected, &answer.body) == text.as_bytes());
    }
    for accept in ["identity", "", "gzip;q=0", "deflate"] {
        let answer = edge.call(&accepting("/x", accept));
        assert_eq!((answer.header("content-encoding"), answer.header("etag")), (None, Some("\"v1\"")), "{accept}");
        assert_eq!(answer.header("vary"), Some("origin, accept-encoding"), "caches must know: {accept}");
        assert_eq!(answer.text(), text);
    }
    assert!(!compressed(&edge.get("/x")));
    let record = edge.logged("/x");
    assert!(record["bytes_out"].as_u64().is_some_and(|sent| sent > 0 && sent < text.len() as u64), "{record}");
}

#[test]
fn what_does_not_suit_passes_untouched() {
    let long = text();
    for (fields, body) in [
        ("content-type: text/event-stream\r\n", &*long),
        ("content-type: text/event-stream; charset=utf-8\r\n", &*long),
        ("content-type: image/png\r\n", &*long),
        ("", &*long),
        ("content-type: text/plain\r\ncontent-encoding: gzip\r\n", &*long),
        ("content-type: text/plain\r\ncache-control: no-transform\r\n", &*long),
        ("content-type: text/plain\r\ncontent-digest: sha-256=:x:\r\n", &*long),
        ("content-type: text/plain\r\n", "short"),
        ("content-type: application/grpc\r\n", &*long),
    ] {
        let origin = answering(fields, body);
        let answer = edge(&origin).call(&accepting("/x", "gzip, br, zstd"));
        assert_eq!(answer.header("content-length"), Some(&*body.len().to_string()), "{fields}");
        assert_eq!(answer.text(), body, "{fields}");
        assert_eq!(answer.header("vary"), None, "{fields}");
    }
}

#[test]
fn parts_and_answers_without_a_body_pass_untouched() {
    let origin = Origin::start();
    let part = "x".repeat(2000);
    origin.answer(
        "/part",
        format!("HTTP/1.1 206 Partial Content\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-1999/9000\r\ncontent-length: 2000\r\n\r\n{part}"),
    );
    origin.answer("/known", "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\ncontent-type: text/plain\r\n\r\n");
    origin.answer("/nothing", "HTTP/1.1 204 No Content\r\ncontent-type: text/plain\r\n\r\n");
    origin.answer("/empty", "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n");
    let edge = edge(&origin);
    let answer = edge.call(&accepting("/part", "gzip").header("range", "bytes=0-1999"));
    assert_eq!((answer.status, answer.text()), (206, part));
    for (target, status) in [("/known", 304), ("/nothing", 204), ("/empty", 200)] {
        let answer = edge.call(&accepting(target, "gzip"));
        assert_eq!((answer.status, compressed(&answer), answer.body.len()), (status, false, 0), "{target}");
    }
    assert_eq!(edge.call(&accepting("/known", "gzip")).header("etag"), Some("\"a\""));
}

/// The origin sends one piece, and the next only when the test has read the first.
#[test]
fn every_piece_can_be_read_before_the_next_is_sent() {
    for coding in CODINGS {
        let origin = Origin::start();
        let (key, gate) = gate();
        origin.on("/x", move |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
            for piece in ["first", "second", "third"] {
                exchange.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
                gate.wait();
            }
            exchange.send("0\r\n\r\n");
            After::Keep
        });
        let edge = edge(&origin);
        let mut wire = edge.connect();
        wire.send(accepting("/x", coding).bytes());
        assert_eq!(wire.head().header("content-encoding"), Some(coding));
        let mut bytes = Vec::new();
        for expected in ["first", "firstsecond", "firstsecondthird"] {
            while readable(coding, &bytes) != expected.as_bytes() {
                bytes.extend_from_slice(&wire.chunk());
            }
            key.open();
        }
        loop {
            let chunk = wire.chunk();
            if chunk.is_empty() {
                break;
            }
            bytes.extend_from_slice(&chunk);
        }
        assert_eq!(plain(coding, &bytes), b"firstsecondthird", "{coding}");
    }
}

#[test]
fn an_event_stream_is_never_held_up_by_it() {
    let origin = Origin::start();
    let (key, gate) = gate();
    origin.on("/x", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n");
        gate.wait();
        exchange.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n");
        After::Keep
    });
    let edge = edge(&origin);
    let mut wire = edge.connect();
    wire.send(accepting("/x", "gzip, br, zstd").bytes());
    assert!(!compressed(&wire.head()));
    assert_eq!(wire.chunk(), b"data: 1\n\n");
    key.open();
    assert_eq!(wire.chunk(), b"data: 2\n\n");
}

fn trickle(exchange: &mut Exchange, pieces: &[String], whole: bool) {
    exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
    for piece in pieces {
        exchange.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    if whole {
        exchange.send("0\r\n\r\n");
    }
}

#[test]
fn a_large_answer_in_odd_pieces_is_the_same_in_the_end() {
    let pieces: Vec<String> = (0..300).map(|round| format!("{round} ").repeat(1 + (round * 7919) % 3000)).collect();
    let whole = pieces.concat();
    let origin = Origin::start();
    origin.on("/x", move |exchange| {
        trickle(exchange, &pieces, true);
        After::Keep
    });
    let edge = edge(&origin);
    let mut wire = edge.connect();
    for coding in ["zstd", "br", "gzip", "zstd"] {
        wire.send(accepting("/x", coding).keep_alive().bytes());
        let answer = wire.response();
        assert_eq!(answer.ending, Ending::Clean, "{coding}");
        assert!(plain(coding, &answer.body) == whole.as_bytes(), "{coding}");
    }
}

#[test]
fn a_cut_answer_stays_cut() {
    let origin = Origin::start();
    origin.on("/x", |exchange| {
        trickle(exchange, &[text()], false);
        After::Close
    });
    let edge = edge(&origin);
    for coding in CODINGS {
        let mut wire = edge.connect();
        wire.send(accepting("/x", coding).bytes());
        assert!(matches!(wire.response().ending, Ending::Cut(_)), "{coding}");
        let mut old = edge.connect();
        old.send(format!("GET /x HTTP/1.0\r\nhost: demo.test\r\naccept-encoding: {coding}\r\n\r\n"));
        assert!(matches!(old.response().ending, Ending::Cut(_)), "HTTP/1.0, {coding}");
    }
}

#[test]
fn old_clients_get_it_up_to_the_close() {
    let text = text();
    let origin = answering("content-type: text/html\r\n", &text);
    let edge = edge(&origin);
    let mut wire = edge.connect();
    wire.send("GET /x HTTP/1.0\r\nhost: demo.test\r\naccept-encoding: gzip\r\nconnection: keep-alive\r\n\r\n");
    let answer = wire.response();
    assert_eq!((answer.header("transfer-encoding"), answer.header("content-encoding")), (None, Some("gzip")));
    assert!(plain("gzip", &answer.body) == text.as_bytes());
}

#[test]
fn answers_of_the_edges_own_and_the_routes_edits() {
    let body = "a fixed text that is long enough to be worth it. ".repeat(40);
    let origin = answering("content-type: text/plain\r\n", &body);
    let routes = format!(
        r#"
        - {{ prefix: /fixed, respond: {{ body: "{body}" }}, auth: none, compress: [br, gzip] }}
        - {{ prefix: /short, respond: {{ body: "pong" }}, auth: none, compress: [br, gzip] }}
        - {{ prefix: /off, respond: {{ body: "{body}" }}, auth: none }}
        - {{ prefix: /x, upstream: "http://{{origin}}/x", auth: none, compress: [gzip], headers: {{ response: {{ set: {{ cache-control: no-transform }} }} }} }}
        "#
    );
    let edge = Config::routes(&routes).origin(&origin).start();
    for (accept, coding) in [("gzip", "gzip"), ("gzip, br", "br")] {
        let answer = edge.call(&accepting("/fixed", accept));
        assert_eq!(answer.header("content-encoding"), Some(coding));
        assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
        assert_eq!(plain(coding, &answer.body), body.as_bytes());
    }
    assert_eq!(edge.get("/fixed").text(), body);
    assert_eq!(edge.get("/fixed").header("vary"), Some("accept-encoding"));
    for target in ["/short", "/off", "/x"] {
        assert!(!compressed(&edge.call(&accepting(target, "gzip, br"))), "{target}");
    }
    let missing = edge.call(&accepting("/none", "gzip"));
    assert!(missing.status == 404 && !compressed(&missing));
}

#[test]
fn curl_decodes_it() {
    let text = text();
    let origin = answering("content-type: text/css\r\n", &text);
    let edge = edge(&origin);
    let url = format!("{}/x", edge.url());
    let done = run(Command::new("curl").args(["--silent", "--show-error", "--compressed", "--max-time", "8", &url]));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout == text);
    let dumped = run(Command::new("curl").args([
        "--silent",
        "--compressed",
        "--max-time",
        "8",
        "--dump-header",
        "-",
        "--output",
        "/dev/null",
        &url,
    ]));
    assert!(dumped.stdout.to_ascii_lowercase().contains("content-encoding: "), "{}", dumped.stdout);
}

// ---- files ----

fn site(files: &[(&str, &[u8])], keys: &str) -> (tempfile::TempDir, Edge) {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content).expect("write a file");
    }
    let routes = format!(r#"- {{ prefix: /, auth: none, files: {{ root: "{{root}}" }}{keys} }}"#);
    let edge = Config::routes(&routes).value("root", &directory.path().display().to_string()).start();
    (directory, edge)
}

#[test]
fn files_are_compressed_on_the_way() {
    let text = text().repeat(4);
    let (_directory, edge) = site(
        &[("a.txt", text.as_bytes()), ("a.png", text.as_bytes()), ("short.txt", b"short")],
        ", compress: [zstd, br, gzip]",
    );
    let untouched = edge.get("/a.txt");
    let tag = untouched.header("etag").expect("an etag").to_owned();
    assert_eq!((untouched.header("accept-ranges"), untouched.header("vary")), (Some("bytes"), Some("accept-encoding")));
    for coding in CODINGS {
        let answer = edge.call(&accepting("/a.txt", coding));
        assert_eq!(answer.header("content-encoding"), Some(coding));
        assert_eq!(answer.header("etag"), Some(&*format!("W/{tag}")), "{coding}");
        assert_eq!((answer.header("accept-ranges"), answer.header("content-length")), (None, None), "{coding}");
        assert!(plain(coding, &answer.body) == text.as_bytes(), "{coding}");
        let head = edge.call(&Request::new("HEAD", "/a.txt").header("accept-encoding", coding));
        for name in ["content-encoding", "etag", "vary", "content-length", "content-type", "last-modified"] {
            assert_eq!(head.header(name), answer.header(name), "HEAD differs in {name}: {coding}");
        }
        let known = edge.call(&accepting("/a.txt", coding).header("if-none-match", &format!("W/{tag}")));
        assert_eq!((known.status, known.header("etag")), (304, Some(&*format!("W/{tag}"))), "{coding}");
        assert_eq!((known.header("vary"), known.header("content-encoding")), (Some("accept-encoding"), None));
        let part = edge.call(&accepting("/a.txt", coding).header("range", "bytes=0-9"));
        assert_eq!((part.status, part.text(), compressed(&part)), (206, text[..10].to_owned(), false), "{coding}");
        let stale = edge
            .call(&accepting("/a.txt", coding).header("range", "bytes=0-9").header("if-range", &format!("W/{tag}")));
        assert_eq!(stale.status, 200, "a weak tag is no ground for a part");
    }
    for target in ["/a.png", "/short.txt"] {
        assert!(!compressed(&edge.call(&accepting(target, "gzip, br, zstd"))), "{target}");
    }
}

#[test]
fn files_that_are_compressed_beforehand_are_served_as_they_are() {
    let text = text();
    let (directory, edge) = site(
        &[
            ("a.js", text.as_bytes()),
            ("a.js.gz", b"these are the bytes of the gz"),
            ("a.js.br", b"these are the bytes of the br"),
            ("only.txt.gz", b"an archive"),
        ],
        ", compress: [zstd, br, gzip]",
    );
    let plain_tag = edge.get("/a.js").header("etag").expect("an etag").to_owned();
    let mut tags = vec![plain_tag];
    for (accept, coding) in [("gzip", "gzip"), ("gzip, br", "br"), ("br, zstd", "br"), ("gzip;q=1, br;q=0.5", "gzip")] {
        let answer = edge.call(&accepting("/a.js", accept));
        let name = if coding == "br" { "br" } else { "gz" };
        assert_eq!(answer.header("content-encoding"), Some(coding), "{accept}");
        assert_eq!(answer.text(), format!("these are the bytes of the {name}"), "{accept}");
        assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!((answer.header("content-length"), answer.header("accept-ranges")), (Some("29"), Some("bytes")));
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        let tag = answer.header("etag").expect("an etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with(&format!("-{coding}\"")), "{tag}");
        let part = edge.call(&accepting("/a.js", accept).header("range", "bytes=0-4").header("if-range", &tag));
        assert_eq!((part.status, part.text().as_str(), part.header("content-encoding")), (206, "these", Some(coding)));
        assert_eq!(part.header("content-range"), Some("bytes 0-4/29"));
        let known = edge.call(&accepting("/a.js", accept).header("if-none-match", &tag));
        assert_eq!((known.status, known.header("etag")), (304, Some(&*tag)));
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "each representation has a tag of its own: {tags:?}");
    assert_eq!(edge.call(&accepting("/a.js", "zstd")).header("content-encoding"), Some("zstd"), "on the way");
    assert_eq!(edge.get("/a.js").text(), text);
    edge.call(&accepting("/only.txt", "gzip")).expect_error(404, "file_not_found");
    assert_eq!(edge.get("/only.txt.gz").header("content-type"), Some("application/gzip"));

    let future = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    std::fs::File::options()
        .write(true)
        .open(directory.path().join("a.js"))
        .and_then(|file| file.set_modified(future))
        .expect("touch");
    let answer = edge.call(&accepting("/a.js", "br"));
    assert!(plain("br", &answer.body) == text.as_bytes(), "one that is older than its file is out of date");
}

#[test]
fn without_compress_nothing_is_and_siblings_are_files_like_others() {
    let text = text();
    let (_directory, edge) = site(&[("a.js", text.as_bytes()), ("a.js.gz", b"gz")], "");
    let answer = edge.call(&accepting("/a.js", "gzip"));
    assert_eq!((answer.text(), answer.header("vary"), compressed(&answer)), (text, None, false));
}
