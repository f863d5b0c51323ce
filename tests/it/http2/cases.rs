//! Request heads and bodies over HTTP/2, as rows: fields and data sent, what must come back, what may reach the origin.
//! RFC 9113 §8; the meanings that all versions share are RFC 9110's.

use super::fresh;
use crate::http_cases::guarded;
use crate::support::h2::{END_HEADERS, END_STREAM};
use crate::support::h2::{End, H2, HEADERS, PROTOCOL_ERROR};
use crate::support::hpack;
use crate::support::{Recorded, eventually};

type Fields = &'static [(&'static str, &'static str)];

/// What must come of a row.
#[derive(Clone, Copy)]
enum Then {
    /// This status, of ours; nothing reached the origin.
    Refused(u16),
    /// The stream or the connection is reset with PROTOCOL_ERROR, or 400; nothing reached the origin.
    Malformed,
    /// 200, and the origin saw this.
    Seen(fn(&Recorded) -> bool),
    /// This status, by the edge.
    Answered(u16),
}

use Then::{Answered, Malformed, Refused, Seen};

/// Name, fields (`:scheme` is added unless a row has one), data (`None`: the head ends the stream), what must come.
type Row = (&'static str, Fields, Option<&'static str>, Then);

fn run(rows: &[Row]) {
    let rig = fresh();
    let failures: Vec<String> = rows.iter().filter_map(|row| guarded(row.0, || one(&rig, row)).err()).collect();
    assert!(failures.is_empty(), "{} of {} rows failed:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

fn one(rig: &super::Rig, (name, fields, data, then): &Row) -> Result<(), String> {
    let before = rig.origin.count();
    let mut client = H2::connect(rig.edge.data);
    let mut all: Vec<(&str, &str)> = Vec::new();
    if !fields.iter().any(|(name, _)| *name == ":scheme") && !fields.contains(&(":method", "CONNECT")) {
        all.push((":scheme", "http"));
    }
    all.extend_from_slice(fields);
    client.head(1, &all, data.is_none());
    if let Some(data) = data {
        client.data(1, data.as_bytes(), true);
    }
    let answer = client.answer(1);
    let seen = rig.origin.requests().split_off(before);
    let fail = |what: &str| Err(format!("  {name}: {what}; got {answer:?}; the origin saw {seen:?}"));
    let is_reset = matches!(answer.end, Some(End::Reset(PROTOCOL_ERROR) | End::Away(PROTOCOL_ERROR)));
    match then {
        Refused(_) | Malformed if !seen.is_empty() => fail("it reached the origin"),
        Refused(status) if answer.status != *status => fail("another status"),
        Refused(_) if answer.code().is_empty() && !fields.contains(&(":method", "HEAD")) => fail("no code"),
        Refused(_) if answer.end != Some(End::Clean) => fail("no clean end"),
        Malformed if !(answer.status == 400 || is_reset) => fail("it was not refused"),
        Answered(status) if answer.status != *status || answer.end != Some(End::Clean) => fail("another answer"),
        Seen(_) if answer.status != 200 || answer.end != Some(End::Clean) => fail("it did not pass"),
        Seen(check) if seen.len() != 1 || !check(&seen[0]) => fail("the origin saw something else"),
        _ => Ok(()),
    }
}

#[test]
fn whom_a_request_is_for() {
    run(&[
        (
            ":authority becomes Host",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/x?y=1")],
            None,
            Seen(|r| {
                r.target() == "/x?y=1"
                    && r.head.fields.all("host").len() == 1
                    && r.header("x-forwarded-host") == Some("demo.test")
            }),
        ),
        (
            "Host alone is enough",
            &[(":method", "GET"), (":path", "/"), ("host", "demo.test")],
            None,
            Seen(|r| r.head.fields.all("host").len() == 1),
        ),
        (
            ":authority and an equal Host",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("host", "demo.test")],
            None,
            Seen(|r| r.head.fields.all("host").len() == 1),
        ),
        (
            ":authority and another Host",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("host", "other.test")],
            None,
            Refused(400),
        ),
        ("neither", &[(":method", "GET"), (":path", "/")], None, Refused(400)),
        (
            "two Host fields",
            &[(":method", "GET"), (":path", "/"), ("host", "demo.test"), ("host", "demo.test")],
            None,
            Refused(400),
        ),
        ("a path in :authority", &[(":method", "GET"), (":authority", "demo.test/x"), (":path", "/")], None, Malformed),
        (
            "user info in :authority",
            &[(":method", "GET"), (":authority", "u@demo.test"), (":path", "/")],
            None,
            Refused(400),
        ),
        ("an empty :authority", &[(":method", "GET"), (":authority", ""), (":path", "/")], None, Malformed),
        (
            "two :authority",
            &[(":method", "GET"), (":authority", "a"), (":authority", "a"), (":path", "/")],
            None,
            Malformed,
        ),
    ]);
}

#[test]
fn what_a_request_asks_for() {
    run(&[
        (":path without a slash", &[(":method", "GET"), (":authority", "demo.test"), (":path", "x")], None, Malformed),
        ("an empty :path", &[(":method", "GET"), (":authority", "demo.test"), (":path", "")], None, Malformed),
        ("no :path", &[(":method", "GET"), (":authority", "demo.test")], None, Malformed),
        (
            ":path is a URL",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "http://demo.test/x")],
            None,
            Malformed,
        ),
        ("OPTIONS *", &[(":method", "OPTIONS"), (":authority", "demo.test"), (":path", "*")], None, Answered(204)),
        ("GET *", &[(":method", "GET"), (":authority", "demo.test"), (":path", "*")], None, Malformed),
        ("letters beyond ASCII", &[(":method", "GET"), (":authority", "demo.test"), (":path", "/ä")], None, Malformed),
        ("a space", &[(":method", "GET"), (":authority", "demo.test"), (":path", "/a b")], None, Malformed),
        ("a line end", &[(":method", "GET"), (":authority", "demo.test"), (":path", "/a\r\nx: y")], None, Malformed),
        ("dot segments", &[(":method", "GET"), (":authority", "demo.test"), (":path", "/a0/../x")], None, Refused(400)),
        (
            "encoded dots",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/a0/%2e%2e/x")],
            None,
            Refused(400),
        ),
        (
            "an empty segment",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "//evil.test")],
            None,
            Refused(400),
        ),
        (
            "a reserved path",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/.countersign/x")],
            None,
            Refused(404),
        ),
        ("no :method", &[(":authority", "demo.test"), (":path", "/")], None, Malformed),
        (
            "a :method that is no token",
            &[(":method", "GE T"), (":authority", "demo.test"), (":path", "/")],
            None,
            Malformed,
        ),
        ("TRACE", &[(":method", "TRACE"), (":authority", "demo.test"), (":path", "/")], None, Refused(405)),
        ("CONNECT", &[(":method", "CONNECT"), (":authority", "demo.test:443")], Some("tunnel"), Refused(405)),
        (
            "CONNECT with a :protocol",
            &[
                (":method", "CONNECT"),
                (":scheme", "http"),
                (":protocol", "websocket"),
                (":authority", "demo.test"),
                (":path", "/"),
            ],
            Some(""),
            Malformed,
        ),
        (
            "another scheme",
            &[(":method", "GET"), (":scheme", "ftp"), (":authority", "demo.test"), (":path", "/")],
            None,
            Refused(400),
        ),
        (
            "no scheme at all",
            &[(":method", "GET"), (":scheme", ""), (":authority", "demo.test"), (":path", "/")],
            None,
            Malformed,
        ),
        (
            "a scheme that is none",
            &[(":method", "GET"), (":scheme", "h t"), (":authority", "demo.test"), (":path", "/")],
            None,
            Malformed,
        ),
        (
            "HEAD",
            &[(":method", "HEAD"), (":authority", "demo.test"), (":path", "/")],
            None,
            Seen(|r| r.method() == "HEAD"),
        ),
    ]);
}

#[test]
fn fields() {
    run(&[
        (
            "an unknown pseudo-field",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), (":x", "y")],
            None,
            Malformed,
        ),
        (
            ":status",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), (":status", "200")],
            None,
            Malformed,
        ),
        (
            "a pseudo-field behind a field",
            &[(":method", "GET"), (":authority", "demo.test"), ("x", "y"), (":path", "/")],
            None,
            Malformed,
        ),
        (
            "upper case",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("X-Upper", "y")],
            None,
            Malformed,
        ),
        (
            "a name that is no token",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("x y", "z")],
            None,
            Malformed,
        ),
        (
            "a line end in a value",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("x", "a\r\nb: c")],
            None,
            Malformed,
        ),
        (
            "NUL in a value",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("x", "a\0b")],
            None,
            Malformed,
        ),
        (
            "a space before a value",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("x", " y")],
            None,
            Refused(400),
        ),
        (
            "a tab behind a value",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("x", "y\t")],
            None,
            Refused(400),
        ),
        (
            "connection",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("connection", "close")],
            None,
            Malformed,
        ),
        (
            "keep-alive",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("keep-alive", "1")],
            None,
            Malformed,
        ),
        (
            "upgrade",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("upgrade", "websocket")],
            None,
            Malformed,
        ),
        (
            "proxy-connection",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("proxy-connection", "close")],
            None,
            Malformed,
        ),
        (
            "transfer-encoding",
            &[(":method", "POST"), (":authority", "demo.test"), (":path", "/"), ("transfer-encoding", "chunked")],
            Some("0\r\n\r\n"),
            Malformed,
        ),
        (
            "te: gzip",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("te", "gzip")],
            None,
            Malformed,
        ),
        (
            "te: trailers stays here",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("te", "trailers")],
            None,
            Seen(|r| !r.head.fields.has("te")),
        ),
        (
            "proxy-authorization stays here",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("proxy-authorization", "Basic eDp5")],
            None,
            Seen(|r| !r.head.fields.has("proxy-authorization")),
        ),
        (
            "the signature family in any spelling",
            &[
                (":method", "GET"),
                (":authority", "demo.test"),
                (":path", "/a0/x"),
                ("x_kms_user", "evil"),
                ("x-kms-user", "evil"),
                ("x.kms.sign", "evil"),
            ],
            None,
            Seen(|r| r.target() == "/api/x" && r.header("x-kms-user") == Some("") && !r.contains("evil")),
        ),
        (
            "crumbs of a cookie are put together",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("cookie", "a=1"), ("cookie", "b=2")],
            None,
            Seen(|r| r.head.fields.all("cookie") == ["a=1; b=2"]),
        ),
        (
            "strangers do not say where they come from",
            &[
                (":method", "GET"),
                (":authority", "demo.test"),
                (":path", "/"),
                ("x-forwarded-for", "1.2.3.4"),
                ("forwarded", "for=1.2.3.4"),
                ("x-real-ip", "1.2.3.4"),
            ],
            None,
            Seen(|r| !r.contains("1.2.3.4")),
        ),
        (
            "expect: foo",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/"), ("expect", "foo")],
            None,
            Refused(417),
        ),
    ]);
}

#[test]
fn bodies() {
    run(&[
        (
            "a body of known length",
            &[(":method", "POST"), (":authority", "demo.test"), (":path", "/"), ("content-length", "3")],
            Some("abc"),
            Seen(|r| r.header("content-length") == Some("3") && r.body == b"abc" && r.complete),
        ),
        (
            "a body of unknown length",
            &[(":method", "POST"), (":authority", "demo.test"), (":path", "/")],
            Some("abc"),
            Seen(|r| r.header("transfer-encoding") == Some("chunked") && r.body == b"abc" && r.complete),
        ),
        (
            "an empty body of unknown length",
            &[(":method", "POST"), (":authority", "demo.test"), (":path", "/")],
            Some(""),
            Seen(|r| r.body.is_empty() && r.complete),
        ),
        (
            "no body",
            &[(":method", "POST"), (":authority", "demo.test"), (":path", "/")],
            None,
            Seen(|r| r.header("content-length") == Some("0") && !r.head.fields.has("transfer-encoding")),
        ),
        (
            "GET without a body has no framing",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/")],
            None,
            Seen(|r| !r.head.fields.has("content-length") && !r.head.fields.has("transfer-encoding")),
        ),
        (
            "GET with a body",
            &[(":method", "GET"), (":authority", "demo.test"), (":path", "/")],
            Some("abc"),
            Seen(|r| r.body == b"abc"),
        ),
        (
            "content-length twice",
            &[
                (":method", "POST"),
                (":authority", "demo.test"),
                (":path", "/"),
                ("content-length", "3"),
                ("content-length", "3"),
            ],
            Some("abc"),
            Malformed,
        ),
        (
            "content-length is no number",
            &[(":method", "POST"), (":authority", "demo.test"), (":path", "/"), ("content-length", "+3")],
            Some("abc"),
            Malformed,
        ),
        (
            "content-length without a body",
            &[(":method", "POST"), (":authority", "demo.test"), (":path", "/"), ("content-length", "3")],
            None,
            Malformed,
        ),
    ]);
}

/// More data, or less, than announced: the request never becomes a whole one upstream.
#[test]
fn a_body_that_is_not_as_long_as_announced_never_arrives_whole() {
    let rig = fresh();
    for (path, data) in [("/long", "abcd"), ("/brief", "ab")] {
        let mut client = H2::connect(rig.edge.data);
        let stream = client.request("POST", path, &[("content-length", "3")], false);
        client.data(stream, data.as_bytes(), true);
        let answer = client.answer(stream);
        assert_eq!(answer.end, Some(End::Reset(PROTOCOL_ERROR)), "{path}: {answer:?}");
        assert!(rig.origin.requests_for(path).iter().all(|request| !request.complete), "{path}");
        assert_eq!(rig.edge.logged(path)["status"], 0, "{path}");
    }
}

#[test]
fn limits_are_those_of_http_1() {
    let rig = fresh();
    let long = "x".repeat(17_000);
    let path = format!("/{long}");
    let mut client = H2::connect(rig.edge.data);
    send_block(
        &mut client,
        1,
        &hpack::encode(&[(":method", "GET"), (":scheme", "http"), (":authority", "demo.test"), (":path", &path)]),
    );
    let answer = client.answer(1);
    assert_eq!((answer.status, answer.code().as_str()), (414, "uri_too_long"));

    let large = "y".repeat(33 * 1024);
    let mut block =
        hpack::encode(&[(":method", "GET"), (":scheme", "http"), (":authority", "demo.test"), (":path", "/large")]);
    hpack::literal(&mut block, b"x", large.as_bytes());
    let mut client = H2::connect(rig.edge.data);
    send_block(&mut client, 1, &block);
    let answer = client.answer(1);
    assert_eq!((answer.status, answer.code().as_str()), (431, "header_too_large"), "{answer:?}");
    assert_eq!(rig.edge.logged("/large")["protocol"], "HTTP/2.0");

    let names: Vec<String> = (0..101).map(|n| format!("x-n{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    let mut client = H2::connect(rig.edge.data);
    let stream = client.request("GET", "/", &many, true);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.code().as_str()), (431, "too_many_headers"));
    assert_eq!(rig.origin.count(), 0);
}

#[test]
fn a_header_block_of_300_kilobytes_is_431_or_the_end() {
    let rig = fresh();
    let mut client = H2::connect(rig.edge.data);
    let mut block =
        hpack::encode(&[(":method", "GET"), (":scheme", "http"), (":authority", "demo.test"), (":path", "/")]);
    for number in 0..30 {
        hpack::literal(&mut block, format!("x-{number}").as_bytes(), &[b'y'; 10_000]);
    }
    send_block(&mut client, 1, &block);
    let answer = client.answer(1);
    assert!(answer.status == 431 || matches!(answer.end, Some(End::Away(_) | End::Closed)), "{answer:?}");
    assert_eq!(rig.origin.count(), 0);
}

/// A header block, cut into as many frames as it takes.
fn send_block(client: &mut H2, stream: u32, block: &[u8]) {
    let mut pieces = block.chunks(16_000).peekable();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        let first = if kind == HEADERS { END_STREAM } else { 0 };
        client.frame(kind, last | first, stream, piece);
        kind = crate::support::h2::CONTINUATION;
    }
}

/// An upload that ends with an empty frame has one end upstream, and the connection there goes on in step.
#[test]
fn an_empty_last_frame_ends_an_upload_once() {
    let rig = fresh();
    let mut client = H2::connect(rig.edge.data);
    for round in 0..5 {
        let path = format!("/empty-end-{round}");
        let stream = client.request("POST", &path, &[], false);
        client.data(stream, b"abc", false).data(stream, b"", false).data(stream, b"", true);
        let answer = client.answer(stream);
        assert_eq!((answer.status, answer.end), (200, Some(End::Clean)), "round {round}: {answer:?}");
        let seen = rig.origin.take(&path);
        assert_eq!((seen.body.as_slice(), seen.complete), (&b"abc"[..], true), "round {round}");
    }
    assert_eq!(rig.origin.connections(), 1, "one connection upstream, in step all the time");
    assert_eq!(rig.origin.count(), 0, "and nothing that was read as a request of its own");
}

#[test]
fn trailers_of_a_request_go_no_further() {
    let rig = fresh();
    let mut client = H2::connect(rig.edge.data);
    let stream = client.request("POST", "/trailers", &[], false);
    client.data(stream, b"abc", false).head(stream, &[("x-kms-user", "evil"), ("x-sum", "1")], true);
    assert_eq!(client.answer(stream).status, 200);
    let seen = rig.origin.request_for("/trailers");
    assert!(seen.complete && seen.body == b"abc" && seen.trailers.0.is_empty(), "{seen:?}");
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let rig = fresh();
    rig.origin.answer("/204", "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n");
    rig.origin.answer("/304", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\netag: \"x\"\r\n\r\n");
    let mut client = H2::connect(rig.edge.data);
    let answer = client.get("/204");
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (204, None, 0));
    let answer = client.get("/304");
    assert_eq!((answer.status, answer.header("etag"), answer.body.len()), (304, Some("\"x\""), 0));
    let stream = client.request("HEAD", "/head", &[], true);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, Some("2"), 0));
}

#[test]
fn fields_of_one_hop_and_the_origins_framing_stay_behind() {
    let rig = fresh();
    rig.origin.answer(
        "/hops",
        "HTTP/1.1 200 OK\r\nconnection: x-priv\r\nx-priv: 1\r\nkeep-alive: timeout=5\r\nproxy-authenticate: Basic\r\n\
         upgrade: h2c\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\nx-kept: yes\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n",
    );
    let mut client = H2::connect(rig.edge.data);
    let answer = client.get("/hops");
    assert_eq!((answer.status, answer.text().as_str(), answer.end), (200, "ok", Some(End::Clean)));
    assert_eq!(answer.header("x-kept"), Some("yes"));
    for name in ["connection", "x-priv", "keep-alive", "proxy-authenticate", "upgrade", "trailer", "transfer-encoding"]
    {
        assert!(!answer.fields.has(name), "{name}: {answer:?}");
    }
    assert!(answer.fields.has("date"));
}

#[test]
fn an_origin_that_switches_protocols_unasked_is_502() {
    let rig = fresh();
    rig.origin
        .answer_and_close("/101", "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    let mut client = H2::connect(rig.edge.data);
    let answer = client.get("/101");
    assert_eq!((answer.status, answer.end), (502, Some(End::Clean)), "{answer:?}");
}

#[test]
fn the_record_and_the_metrics_are_those_of_any_request() {
    let rig = fresh();
    let mut client = H2::connect(rig.edge.data);
    let stream = client.request("POST", "/recorded?q=1", &[("user-agent", "tests")], false);
    client.data(stream, b"abcd", true);
    assert_eq!(client.answer(stream).text(), "ok");
    let record = rig.edge.logged("/recorded");
    for (key, value) in [
        ("protocol", "HTTP/2.0".into()),
        ("method", "POST".into()),
        ("host", "demo.test".into()),
        ("query", "q=1".into()),
        ("status", 200.into()),
        ("bytes_in", 4.into()),
        ("bytes_out", 2.into()),
        ("end", "ok".into()),
        ("code", "".into()),
        ("user_agent", "tests".into()),
        ("listener", "main".into()),
    ] {
        let value: serde_json::Value = value;
        assert_eq!(record[key], value, "{key} in {record}");
    }
    let counted = |code: &str| rig.edge.metrics().sum("countersign_http_requests_total", &[("code", code)]);
    eventually("the request to be counted", || (counted("200") >= 1.0).then_some(()));
    eventually("nothing in flight", || (rig.edge.status()["in_flight"] == 0).then_some(()));
}
