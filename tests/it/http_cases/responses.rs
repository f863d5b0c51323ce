//! What upstreams answer, good and bad, and what the client gets of it.

use super::{Rig, fill, guarded, own_errors_are_well_formed, rig, short};
use crate::support::message::{Ending, find};
use crate::support::{Response, Stop};
use std::time::Duration;

/// What must come of an upstream's answer.
#[derive(Clone, Copy)]
enum Outcome {
    /// One of these statuses, whole, and this holds.
    Whole(&'static [u16], fn(&Response) -> bool),
    /// That status, but the response is cut.
    Cut(u16),
    /// That status (502 …), made by the edge.
    Refused(u16),
    /// Any of these statuses, whole or cut.
    Any(&'static [u16]),
}

use Outcome::{Any, Cut, Refused, Whole};

fn anything(_: &Response) -> bool {
    true
}

#[test]
fn upstream_responses() {
    let rig = rig();
    let rows: &[(&str, &str, Outcome)] = &[
        ("plain", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Whole(&[200], |r| r.body == b"ok")),
        (
            "chunked with a trailer",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n",
            Whole(&[200], |r| r.body == b"ok" && r.header("trailer").is_none() && r.header("x-t").is_none()),
        ),
        (
            "a forged trailer",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nset-cookie: a=b\r\n\r\n",
            Whole(&[200], |r| r.header("set-cookie").is_none() && !r.trailers.has("set-cookie")),
        ),
        (
            "hop-by-hop fields",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x-priv, keep-alive\r\nx-priv: 1\r\nkeep-alive: timeout=5\r\n\
             proxy-authenticate: Basic\r\nproxy-connection: close\r\nupgrade: h2c\r\nx-kept: 1\r\n\r\nok",
            Whole(&[200], |r| r.header("x-priv").is_none() && r.header("x-kept") == Some("1")),
        ),
        ("space before a colon", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a : a\r\n\r\nok", Any(&[200, 502])),
        ("CL 2 and 3", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", Refused(502)),
        ("CL 2, 3 in one line", "HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nok", Refused(502)),
        ("CL foo", "HTTP/1.1 200 OK\r\ncontent-length: foo\r\n\r\nok", Refused(502)),
        ("CL -1", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nok", Refused(502)),
        (
            "TE and CL",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Whole(&[200, 502], |r| r.status == 502 || r.header("content-length").is_none() && r.body == b"ok"),
        ),
        ("TE gzip", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok", Refused(502)),
        (
            "TE gzip, chunked",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Refused(502),
        ),
        (
            "TE chunked twice",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Refused(502),
        ),
        ("CL 10, two bytes", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok", Cut(200)),
        ("a chunk cut short", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nok", Cut(200)),
        ("no last chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", Cut(200)),
        (
            "a bad chunk size",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
            Any(&[200, 502]),
        ),
        (
            "extra bytes after the body",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokEXTRA",
            Whole(&[200], |r| r.body == b"ok"),
        ),
        ("status 999x", "HTTP/1.1 999x OK\r\ncontent-length: 2\r\n\r\nok", Refused(502)),
        ("status 999", "HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\nok", Any(&[502, 999])),
        ("status 99", "HTTP/1.1 99 Odd\r\ncontent-length: 2\r\n\r\nok", Refused(502)),
        (
            "204 with CL",
            "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello",
            Whole(&[204], |r| r.header("content-length").is_none() && r.body.is_empty()),
        ),
        (
            "204 with TE",
            "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Whole(&[204], |r| r.header("transfer-encoding").is_none()),
        ),
        (
            "304 keeps its fields and has no body",
            "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n",
            Whole(&[304], |r| r.header("etag") == Some("\"x\"")),
        ),
        (
            "103 then 200",
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            Whole(&[200], |r| r.interim.len() == 1 && r.interim[0].0 == 103 && r.interim[0].1.has("link")),
        ),
        (
            "an unsolicited 100",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            Whole(&[200], |r| r.body == b"ok"),
        ),
        (
            "an unsolicited 101",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            Refused(502),
        ),
        ("a CR in a value", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: 1\r2\r\n\r\nok", Refused(502)),
        ("a NUL in a value", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: 1\u{0}2\r\n\r\nok", Refused(502)),
        ("bare LF line ends", "HTTP/1.1 200 OK\ncontent-length: 2\n\nok", Whole(&[200, 502], anything)),
        ("300 fields", "HTTP/1.1 200 OK\r\n{fields:300}content-length: 2\r\n\r\nok", Refused(502)),
        ("a field of 1 MB", "HTTP/1.1 200 OK\r\nx-a: {long:1100000}\r\ncontent-length: 2\r\n\r\nok", Any(&[502, 200])),
        (
            "no Date",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            Whole(&[200], |r| r.head.fields.all("date").len() == 1),
        ),
        ("HTTP/1.2", "HTTP/1.2 200 OK\r\ncontent-length: 2\r\n\r\nok", Any(&[200, 502])),
        (
            "HTTP/1.0, delimited by its end",
            "HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nok",
            Whole(&[200], |r| r.body == b"ok"),
        ),
        ("no status line", "hello\r\n\r\n", Refused(502)),
        ("HTTP/2 frames", "\0\0\u{12}\u{4}\0\0\0\0\0", Refused(502)),
        ("nothing at all", "", Refused(502)),
        ("half a head", "HTTP/1.1 200 OK\r\ncontent-le", Refused(502)),
        ("no reason phrase", "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", Whole(&[200], |r| r.body == b"ok")),
        (
            "a server field of the upstream's own passes",
            "HTTP/1.1 200 OK\r\nserver: own\r\ncontent-length: 2\r\n\r\nok",
            Whole(&[200], |r| r.header("server") == Some("own")),
        ),
        (
            "two cookies stay two",
            "HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 2\r\n\r\nok",
            Whole(&[200], |r| r.head.fields.all("set-cookie") == ["a=1", "b=2"]),
        ),
        (
            "obs-text in a value",
            "HTTP/1.1 200 OK\r\nx-a: \u{e0e4}\r\ncontent-length: 2\r\n\r\nok",
            Whole(&[200], |r| r.head.fields.bytes("x-a") == Some(b"\xe4")),
        ),
        (
            "401 with its challenge",
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic\r\ncontent-length: 0\r\n\r\n",
            Whole(&[401], |r| r.header("www-authenticate") == Some("Basic")),
        ),
        ("500 passes", "HTTP/1.1 500 Oops\r\ncontent-length: 3\r\n\r\nerr", Whole(&[500], |r| r.body == b"err")),
    ];
    let mut failures = Vec::new();
    for (index, (name, bytes, outcome)) in rows.iter().enumerate() {
        let path = format!("/canned-{index}/");
        rig.origin.answer_and_close(&path, fill(bytes));
        if let Err(what) = guarded(name, || canned(&rig, &path, *outcome)) {
            failures.push(format!("  {name}: {what}"));
        }
        let next = rig.edge.call(&crate::support::Request::get("/after").host("a.test"));
        if (next.status, next.body.as_slice()) != (200, b"ok") {
            failures.push(format!("  {name}: the next request got {} {:?}", next.status, next.text()));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

fn canned(rig: &Rig, path: &str, outcome: Outcome) -> Result<(), String> {
    let mut wire = rig.edge.connect();
    wire.patience = Duration::from_secs(4);
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"));
    let response = wire.try_response_to("GET").map_err(|stop| format!("{stop:?}: {:?}", short(&wire.received())))?;
    let whole = response.ending == Ending::Clean;
    let good = match outcome {
        Whole(statuses, check) => statuses.contains(&response.status) && whole && check(&response),
        Cut(status) => (response.status == status && !whole) || response.status == 502,
        Refused(status) => response.status == status && whole && own_errors_are_well_formed(Some(&response)).is_ok(),
        Any(statuses) => statuses.contains(&response.status),
    };
    let ending = &response.ending;
    if good { Ok(()) } else { Err(format!("{} {ending:?}: {:?}", response.status, short(&wire.received()))) }
}

#[test]
fn too_many_interim_responses_are_502() {
    let rig = rig();
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(50);
    rig.origin.answer_and_close("/interim", format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
    let mut wire = rig.edge.connect();
    wire.send("GET /interim HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    match wire.try_response_to("GET") {
        Ok(response) => assert_eq!(response.status, 502, "{:?}", response.head),
        Err(stop) => assert_ne!(stop, Stop::Patience, "neither an answer nor an end"),
    }
    let passed = wire.received().matches("102 ").count();
    assert!(passed <= 16, "{passed} interim responses reached the client");
}

#[test]
fn a_response_to_head_has_no_body_and_the_connection_is_reused() {
    let rig = rig();
    rig.origin.answer("/head", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut wire = rig.edge.connect();
    wire.send("HEAD /head HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let response = wire.response_to("HEAD");
    assert_eq!((response.status, response.body.len()), (200, 0));
    wire.send("GET /after-head HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(wire.response().text(), "ok");
}

/// RFC 9112 §6.3: what follows a response that was not asked for must never answer the next request.
#[test]
fn an_upstream_that_says_too_much_never_answers_the_next_request() {
    let rig = rig();
    rig.origin.answer(
        "/chatty",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
    );
    for round in 0..20 {
        let chatty = rig.edge.call(&crate::support::Request::get("/chatty").host("a.test"));
        assert_eq!(chatty.text(), "ok");
        let mut wire = rig.edge.connect();
        wire.send(format!("GET /innocent-{round} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"));
        let innocent = wire.response();
        assert_eq!(find(&innocent.body, b"poison"), None, "round {round}");
        assert_eq!(innocent.text(), "ok");
    }
}

#[test]
fn http_1_0_clients_get_no_chunks() {
    let rig = rig();
    rig.origin
        .answer("/chunked", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nay!\r\n0\r\n\r\n");
    rig.origin.answer_and_close("/closing", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end");
    for (target, expected) in [("/chunked", "okay!"), ("/closing", "until the end")] {
        let mut wire = rig.edge.connect();
        wire.send(format!("GET {target} HTTP/1.0\r\nHost: a.test\r\n\r\n"));
        let response = wire.response();
        assert_eq!(response.header("transfer-encoding"), None, "{target}");
        assert_eq!(response.text(), expected);
        response.expect_clean();
        wire.closed();
    }
}
