//! Floods: frames that cost us and bring the client nothing. Each one ends its connection soon, the proxy's memory stays as it
//! was, and another client is served meanwhile.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use super::{Rig, fresh};
use crate::support::h2::*;
use crate::support::{eventually, hpack};

const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":authority", "demo.test"), (":path", "/local")];
const UPLOAD: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "http"), (":authority", "demo.test"), (":path", "/up")];
/// Rounds that a flood would go on for.
const ROUNDS: u32 = 200_000;
/// By how much the proxy's memory may have grown meanwhile.
const GROWTH: u64 = 24 << 20;

/// Sends rounds until the connection is no more. How it ended, and how many rounds were taken.
fn flood(rig: &Rig, before: impl FnOnce(&mut H2), round: impl Fn(u32) -> Vec<u8>) -> (Option<End>, u32) {
    let mut client = H2::connect(rig.edge.data);
    before(&mut client);
    let resident = rig.edge.process.resident();
    let mut sent = 0;
    let mut batch = Vec::new();
    while sent < ROUNDS {
        batch.clear();
        for _ in 0..100 {
            batch.extend(round(sent));
            sent += 1;
        }
        if !client.try_send(&batch) || client.glance() {
            break;
        }
        if sent % 1000 == 0 {
            assert_eq!(H2::connect(rig.edge.data).get("/local").status, 200, "another client, meanwhile");
        }
    }
    let end = client.end();
    let grown = rig.edge.process.resident().saturating_sub(resident);
    assert!(grown < GROWTH, "memory grew by {} KiB", grown / 1024);
    assert_eq!(H2::connect(rig.edge.data).get("/local").status, 200, "another client, afterwards");
    (end, sent)
}

fn is_over(end: Option<End>) -> bool {
    matches!(end, Some(End::Away(_) | End::Closed))
}

fn counted(rig: &Rig, kind: &str) {
    eventually("the flood to be counted", || {
        (rig.edge.metrics().sum("countersign_http2_floods_total", &[("kind", kind)]) >= 1.0).then_some(())
    });
}

/// What every flood has in common: it is over long before its end.
fn ends(rig: &Rig, what: &str, before: impl FnOnce(&mut H2), round: impl Fn(u32) -> Vec<u8>) {
    let (end, sent) = flood(rig, before, round);
    assert!(is_over(end) && sent < ROUNDS / 4, "{what}: {end:?} after {sent} rounds");
}

#[test]
fn frames_that_move_nothing() {
    let rig = fresh();
    ends(&rig, "pings", |_| {}, |_| frame(PING, 0, 0, &[0; 8]));
    ends(&rig, "settings", |_| {}, |_| frame(SETTINGS, 0, 0, &setting(4, 65_535)));
    ends(&rig, "empty settings", |_| {}, |_| frame(SETTINGS, 0, 0, &[]));
    ends(&rig, "priorities", |_| {}, |_| frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 16]));
    ends(&rig, "window updates", |_| {}, |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
    ends(&rig, "unknown frames", |_| {}, |_| frame(0xfa, 0, 0, b"x"));
    counted(&rig, "frames");
}

#[test]
fn data_that_is_none() {
    let rig = fresh();
    let open = |client: &mut H2| {
        client.head(1, UPLOAD, false);
    };
    ends(&rig, "empty data", open, |_| frame(DATA, 0, 1, &[]));
    ends(&rig, "data that is all padding", open, |_| frame(DATA, PADDED, 1, &[3, 0, 0, 0]));
}

#[test]
fn a_header_block_without_an_end() {
    let rig = fresh();
    let begin = |client: &mut H2| {
        client.frame(HEADERS, END_STREAM, 1, &hpack::encode(GET));
    };
    ends(&rig, "continuations", begin, |n| {
        let mut block = Vec::new();
        hpack::literal(&mut block, format!("x-{n}").as_bytes(), b"y");
        frame(CONTINUATION, 0, 1, &block)
    });
    ends(&rig, "empty continuations", begin, |_| frame(CONTINUATION, 0, 1, &[]));
}

#[test]
fn requests_that_are_reset_at_once() {
    let rig = fresh();
    let block = hpack::encode(GET);
    ends(
        &rig,
        "rapid reset",
        |_| {},
        |n| {
            let stream = 1 + 2 * n;
            [frame(HEADERS, END_HEADERS | END_STREAM, stream, &block), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
                .concat()
        },
    );
    assert!(rig.edge.metrics().sum("countersign_http_requests_in_flight", &[]) < 100.0);
}

#[test]
fn requests_that_the_client_makes_us_reset() {
    let rig = fresh();
    let block = hpack::encode(UPLOAD);
    ends(
        &rig,
        "made you reset, by window updates of 0",
        |_| {},
        |n| {
            let stream = 1 + 2 * n;
            [frame(HEADERS, END_HEADERS, stream, &block), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
        },
    );
    ends(
        &rig,
        "made you reset, by a dependency on itself",
        |_| {},
        |n| {
            let stream = 1 + 2 * n;
            let own = stream.to_be_bytes();
            [frame(HEADERS, END_HEADERS, stream, &block), frame(PRIORITY, 0, stream, &[&own[..], &[16]].concat())]
                .concat()
        },
    );
    ends(
        &rig,
        "made you reset, by malformed heads",
        |_| {},
        |n| frame(HEADERS, END_HEADERS, 1 + 2 * n, &hpack::encode(&[(":method", "GET"), ("x-no", "path")])),
    );
}

#[test]
fn streams_beyond_what_the_settings_allow() {
    let rig = fresh();
    let block = hpack::encode(UPLOAD);
    ends(&rig, "streams", |_| {}, |n| frame(HEADERS, END_HEADERS, 1 + 2 * n, &block));
}

/// One large field, remembered once and named again and again: one byte each.
#[test]
fn a_header_block_that_unpacks_to_much_more() {
    let rig = fresh();
    let prepare = |client: &mut H2| {
        let mut block = hpack::encode(GET);
        hpack::remembered(&mut block, b"x", &[b'y'; 4000]);
        client.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
        assert_eq!(client.answer(1).status, 200);
    };
    let bomb = [hpack::encode(GET), vec![0xbe; 16_000]].concat();
    let (end, sent) = flood(&rig, prepare, |n| frame(HEADERS, END_HEADERS | END_STREAM, 3 + 2 * n, &bomb));
    assert!(is_over(end) && sent <= 1000, "{end:?} after {sent}");
}

/// A client that opens its window byte by byte, so that every byte of the answer becomes a frame.
#[test]
fn a_window_that_is_opened_byte_by_byte() {
    let rig = fresh();
    rig.origin.answer("/long", {
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec();
        answer.resize(answer.len() + 1_000_000, b'x');
        answer
    });
    let ask = |client: &mut H2| {
        client.polite = false;
        client.frame(SETTINGS, 0, 0, &setting(4, 0));
        client.request("GET", "/long", &[], true);
    };
    ends(&rig, "dribble", ask, |_| frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]));
}

/// Every stream of a connection waits for a window that never opens: each is cut in its time, and nothing of it is left.
#[test]
fn windows_that_never_open() {
    let rig = fresh();
    rig.origin.answer("/short/big", {
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n".to_vec();
        answer.resize(answer.len() + 300_000, b'x');
        answer
    });
    let resident = rig.edge.process.resident();
    let mut client = H2::connect(rig.edge.data);
    client.polite = false;
    client.frame(SETTINGS, 0, 0, &setting(4, 0));
    let streams: Vec<u32> = (0..100).map(|_| client.request("GET", "/short/big", &[], true)).collect();
    for stream in streams {
        assert_eq!(client.answer(stream).end, Some(End::Reset(CANCEL)));
    }
    rig.edge.wait_idle();
    // Of each response the engine reads up to 256 KiB ahead of its client, and copies them once to write them together.
    let grown = rig.edge.process.resident().saturating_sub(resident);
    assert!(grown < 100 * 2 * 256 * 1024 + GROWTH, "memory grew by {} KiB", grown / 1024);
}

/// A client that asks and never reads from its socket: the connection itself stalls, and ends.
#[test]
fn a_client_that_never_reads_holds_little() {
    let rig = fresh();
    let resident = rig.edge.process.resident();
    let mut socket = TcpStream::connect(rig.edge.data).expect("connect");
    socket.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let _ = socket.write_all(PREFACE);
    let _ = socket.write_all(&frame(SETTINGS, 0, 0, &[]));
    // Every PING is answered, until nothing more is taken in either direction.
    let pings: Vec<u8> = (0..200).flat_map(|_| frame(PING, 0, 0, &[0; 8])).collect();
    for _ in 0..2000 {
        if socket.write_all(&pings).is_err() {
            break;
        }
    }
    assert!(rig.edge.process.resident().saturating_sub(resident) < GROWTH);
    assert_eq!(H2::connect(rig.edge.data).get("/local").status, 200);
}

/// What a client may do in earnest is no flood.
#[test]
fn busy_clients_are_left_alone() {
    let rig = fresh();
    let mut client = H2::connect(rig.edge.data);
    for _ in 0..2000 {
        assert_eq!(client.get("/local").status, 200);
    }
    let mut client = H2::connect(rig.edge.data);
    let streams: Vec<u32> = (0..90).map(|_| client.request("POST", "/up", &[], false)).collect();
    for stream in streams {
        client.frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    }
    assert!(client.ping(), "a page that is left with 90 requests under way");
    let stream = client.request("POST", "/up", &[], false);
    for _ in 0..5000 {
        client.data(stream, b"x", false);
    }
    client.data(stream, b"", true);
    assert_eq!(client.answer(stream).status, 200, "five thousand small messages");
}
