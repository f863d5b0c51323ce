//! Message framing: lengths, codings, chunks, and what follows a body.

use super::Then::{Answer, Nothing, Seen, UnseenAndClosed};
use super::rig;
use crate::support::Stop;
use std::time::Duration;

#[test]
fn content_length() {
    rig().run(&[
        (
            "CL 3",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc",
            &[200],
            Seen(|r| r.body == b"abc" && r.complete),
        ),
        (
            "CL 3 twice",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            &[400, 200],
            Nothing,
        ),
        (
            "CL 3 and 4",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            &[400],
            UnseenAndClosed,
        ),
        ("CL -1", "POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: -1\r\n\r\n", &[400], UnseenAndClosed),
        ("CL +3", "POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: +3\r\n\r\nabc", &[400], UnseenAndClosed),
        ("CL 0x3", "POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0x3\r\n\r\nabc", &[400], UnseenAndClosed),
        ("CL 3,3", "POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3,3\r\n\r\nabc", &[400], UnseenAndClosed),
        ("CL empty", "POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length:\r\n\r\n", &[400], UnseenAndClosed),
        (
            "CL 2^63",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9223372036854775808\r\n\r\nabc",
            &[413],
            UnseenAndClosed,
        ),
        (
            "CL 2^64",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 18446744073709551616\r\n\r\nabc",
            &[400, 413],
            UnseenAndClosed,
        ),
        (
            "TE and CL",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400],
            UnseenAndClosed,
        ),
        (
            "CL and TE on HTTP/1.0",
            "POST /echo HTTP/1.0\r\nHost: a.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400],
            UnseenAndClosed,
        ),
        (
            "TE on HTTP/1.0",
            "POST /echo HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400],
            UnseenAndClosed,
        ),
    ]);
}

#[test]
fn transfer_encoding() {
    rig().run(&[
        ("gzip alone", "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip\r\n\r\n", &[400, 501], UnseenAndClosed),
        (
            "gzip, chunked",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            &[501],
            UnseenAndClosed,
        ),
        (
            "two chunked lines",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400],
            UnseenAndClosed,
        ),
        (
            "chunked, chunked",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            &[400],
            UnseenAndClosed,
        ),
        (
            "identity, chunked",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
            &[400, 501],
            UnseenAndClosed,
        ),
        ("xchunked", "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", &[400, 501], UnseenAndClosed),
        (
            "VT before chunked",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n",
            &[400],
            UnseenAndClosed,
        ),
        (
            "CR after chunked",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\r\n\r\n0\r\n\r\n",
            &[400],
            UnseenAndClosed,
        ),
        (
            "an empty list element",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n",
            &[400],
            UnseenAndClosed,
        ),
        (
            "Chunked in another case",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            &[200],
            Seen(|r| r.body == b"abc" && r.complete),
        ),
    ]);
}

#[test]
fn chunked_bodies() {
    rig().run(&[
        (
            "GET with a chunked body",
            "GET /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            &[200],
            Seen(|r| r.body == b"abc" && r.complete),
        ),
        (
            "HEAD with a chunked body",
            "HEAD /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            &[200],
            Answer(|r| r.body.is_empty()),
        ),
        (
            "a chunk extension is dropped",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
            &[200],
            Seen(|r| r.body == b"abc" && r.complete),
        ),
        (
            "16 digits with leading zeros",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0000000000000003\r\nabc\r\n0\r\n\r\n",
            &[200, 400],
            Nothing,
        ),
        (
            "trailers do not become fields",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
            &[200],
            Seen(|r| r.body == b"abc" && !r.contains("x-t:")),
        ),
        // A trailer section is read to its empty line and dropped, whatever its lines are; refusing it is as good.
        (
            "a trailer that is no field",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nno colon\r\n\r\n",
            &[200, 400],
            Nothing,
        ),
        (
            "a trailer with a space before its colon",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Kms-User : x\r\n\r\n",
            &[200, 400],
            Nothing,
        ),
        (
            "forged trailers never reach the upstream",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Kms-User: forged\r\nContent-Length: 9\r\n\r\n",
            &[200, 400],
            Nothing,
        ),
    ]);
}

/// The head may have been forwarded before the body turned out broken: then the upstream's request never completes.
#[test]
fn a_broken_chunked_body_is_400_and_never_completes_upstream() {
    let rig = rig();
    let broken = [
        ("bare CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        ("size 0x3", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("size +3", "+3\r\nabc\r\n0\r\n\r\n"),
        ("size with a leading space", " 3\r\nabc\r\n0\r\n\r\n"),
        ("size of 17 digits", "00000000000000003\r\nabc\r\n0\r\n\r\n"),
        ("an empty size", "\r\nabc\r\n0\r\n\r\n"),
        ("data without its line end", "3\r\nabcdef\r\n0\r\n\r\n"),
        ("negative size", "-3\r\nabc\r\n0\r\n\r\n"),
        ("a bare LF after the size", "3\nabc\r\n0\r\n\r\n"),
        ("a bare LF after the data", "3\r\nabc\n0\r\n\r\n"),
        ("a bare CR after the size", "3\rabc\r\n0\r\n\r\n"),
        ("a bare LF in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
        ("bare LF everywhere", "3\nabc\n0\n\n"),
        ("a tab after the size", "3\t\r\nabc\r\n0\r\n\r\n"),
        ("letters after the size", "3g\r\nabc\r\n0\r\n\r\n"),
        ("a size beyond all numbers", "ffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("a trailer with a bare CR", "3\r\nabc\r\n0\r\nx-t: 1\r2\r\n\r\n"),
    ];
    let mut failures = Vec::new();
    for (index, (name, body)) in broken.into_iter().enumerate() {
        let mut wire = rig.edge.connect();
        wire.patience = Duration::from_secs(4);
        wire.send(format!("POST /broken-{index} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        let status = wire.try_response_to("POST").map_or_else(|stop| format!("{stop:?}"), |r| r.status.to_string());
        if status != "400" && status != "Closed" && status != "Reset" {
            failures.push(format!("  {name}: {status}"));
        }
        if wire.end().0 == Stop::Patience {
            failures.push(format!("  {name}: the connection stays open"));
        }
        if rig.origin.requests_for(&format!("/broken-{index}")).iter().any(|request| request.complete) {
            failures.push(format!("  {name}: the upstream's request completed"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_client_that_ends_inside_a_chunk_gets_no_success_and_the_upstream_no_end() {
    let rig = rig();
    for (target, bytes) in [
        ("/eof-chunk", "Transfer-Encoding: chunked\r\n\r\n5\r\nab"),
        ("/eof-between", "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"),
        ("/eof-length", "Content-Length: 10\r\n\r\nabc"),
    ] {
        let mut wire = rig.edge.connect();
        wire.send(format!("POST {target} HTTP/1.1\r\nHost: a.test\r\n{bytes}"));
        wire.finish_sending();
        if let Ok(response) = wire.try_response_to("POST") {
            assert!(response.status >= 400, "{target}: {}", response.status);
        }
        assert!(rig.origin.requests_for(target).iter().all(|request| !request.complete), "{target}");
    }
    rig.edge.wait_idle();
}

#[test]
fn pipelined_requests_are_answered_in_order_or_the_first_with_close() {
    let rig = rig();
    rig.origin.answer("/first", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst");
    rig.origin.answer("/second", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond");
    let mut wire = rig.edge.connect();
    wire.send("GET /first HTTP/1.1\r\nHost: a.test\r\n\r\nGET /second HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let first = wire.response();
    assert_eq!(first.text(), "first");
    if first.header("connection") == Some("close") {
        wire.closed();
    } else {
        assert_eq!(wire.response().text(), "second");
    }
}

#[test]
fn bytes_after_a_body_are_never_routed_as_part_of_it() {
    let rig = rig();
    let mut wire = rig.edge.connect();
    wire.send("POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabcGARBAGE\r\n\r\n");
    assert_eq!(wire.response_to("POST").status, 200);
    if let Ok(second) = wire.try_response_to("GET") {
        assert_eq!(second.status, 400, "the garbage was taken for a request");
    }
    wire.closed();
    assert_eq!(rig.origin.count(), 1);
    assert_eq!(rig.origin.requests()[0].body, b"abc");
}
