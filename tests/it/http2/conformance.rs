//! Conformance with RFC 9113, frame by frame: what is sent, and with which error it must be met. The sections are those of
//! the specification; every row has a connection of its own. The same ground as the suite `h2spec`, which is no
//! package of any registry that tests may use.

use super::rig;
use crate::http_cases::guarded;
use crate::support::h2::*;
use crate::support::hpack;

/// How a row must end.
#[derive(Clone, Copy)]
enum Must {
    /// The connection ends: GOAWAY with one of these codes, or a close.
    EndConnection(&'static [u32]),
    /// The stream 1 ends with one of these codes; so may the connection.
    EndStream(&'static [u32]),
    /// The connection is still good for a PING.
    GoOn,
    /// Stream 1 is answered 200.
    Answer,
}

use Must::{Answer, EndConnection, EndStream, GoOn};

type Row = (&'static str, fn(&mut H2), Must);

fn run(rows: &[Row]) {
    let rig = rig();
    let one = |(name, send, must): &Row| {
        let mut client = H2::connect(rig.edge.data);
        send(&mut client);
        guarded(name, || {
            check(&mut client, *must).map_err(|got| format!("  {name}: {got}; received {:?}", client.seen))
        })
    };
    let failures: Vec<String> = rows.iter().filter_map(|row| one(row).err()).collect();
    assert!(failures.is_empty(), "{} of {} rows failed:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

fn check(client: &mut H2, must: Must) -> Result<(), String> {
    let connection = |end: Option<End>, codes: &[u32]| match end {
        Some(End::Away(code)) => codes.contains(&code),
        Some(End::Closed) => true,
        _ => false,
    };
    let passed = match must {
        EndConnection(codes) => {
            let end = client.end();
            connection(end, codes) && client.closed()
        }
        EndStream(codes) => match client.answer(1).end {
            Some(End::Reset(code)) => codes.contains(&code),
            end => connection(end, codes),
        },
        GoOn => client.ping(),
        Answer => {
            let answer = client.answer(1);
            answer.status == 200 && answer.end == Some(End::Clean)
        }
    };
    if passed { Ok(()) } else { Err(format!("ended {:?}, answers {:?}", client.ended, client.answers)) }
}

const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":authority", "demo.test"), (":path", "/local")];
const POST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "http"), (":authority", "demo.test"), (":path", "/up")];

fn get() -> Vec<u8> {
    hpack::encode(GET)
}

/// A row's frames need nothing further.
fn sent(_: &mut H2) {}

/// A request whose body is to come.
fn open(client: &mut H2) -> &mut H2 {
    client.head(1, POST, false)
}

/// A request that is complete.
fn ask(client: &mut H2) -> &mut H2 {
    client.head(1, GET, true)
}

#[test]
fn section_3_and_4_preface_and_frames() {
    run(&[
        ("3.4 settings come first from us", |_| {}, GoOn),
        ("4.1 an unknown kind of frame is ignored", |c| sent(c.frame(0x16, 0, 0, &[0; 8])), GoOn),
        ("4.1 unknown flags are ignored", |c| sent(c.frame(PING, 0x16, 0, &[0; 8])), GoOn),
        ("4.1 the reserved bit is ignored", |c| sent(c.frame(PING, 0, 0x8000_0000, &[0; 8])), GoOn),
        ("4.2 a frame of 2^14 bytes", |c| sent(open(c).data(1, &[b'x'; 16_384], true)), Answer),
        ("4.2 data beyond it", |c| sent(open(c).data(1, &[b'x'; 16_385], true)), EndStream(&[FRAME_SIZE_ERROR])),
        (
            "4.2 a header block beyond it",
            |c| {
                let mut block = get();
                hpack::literal(&mut block, b"x", &[b'y'; 16_384]);
                c.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
            },
            EndConnection(&[FRAME_SIZE_ERROR]),
        ),
        (
            "4.3 a block that is none",
            |c| sent(c.frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x40, 0x7f])),
            EndConnection(&[COMPRESSION_ERROR, PROTOCOL_ERROR]),
        ),
        (
            "4.3 PRIORITY inside a block",
            |c| sent(c.frame(HEADERS, END_STREAM, 1, &get()).frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16])),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
        (
            "4.3 another stream inside a block",
            |c| sent(c.frame(HEADERS, END_STREAM, 1, &get()).head(3, GET, true)),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
    ]);
}

#[test]
fn section_5_1_states() {
    run(&[
        ("idle: DATA", |c| sent(c.data(1, b"x", true)), EndConnection(&[PROTOCOL_ERROR])),
        ("idle: RST_STREAM", |c| sent(c.frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])), EndConnection(&[PROTOCOL_ERROR])),
        (
            "idle: WINDOW_UPDATE",
            |c| sent(c.frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9])),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
        (
            "idle: CONTINUATION",
            |c| sent(c.frame(CONTINUATION, END_HEADERS, 1, &get())),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
        ("idle: PRIORITY", |c| sent(c.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16])), GoOn),
        (
            "half closed: DATA",
            |c| sent(c.head(1, POST, true).data(1, b"x", true)),
            EndStream(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        (
            "half closed: HEADERS",
            |c| sent(c.head(1, POST, true).head(1, GET, true)),
            EndStream(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        (
            "half closed: CONTINUATION",
            |c| sent(c.head(1, POST, true).frame(CONTINUATION, END_HEADERS, 1, &get())),
            EndConnection(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        ("half closed: WINDOW_UPDATE", |c| sent(ask(c).frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9])), Answer),
        ("half closed: PRIORITY", |c| sent(ask(c).frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16])), Answer),
        ("half closed: RST_STREAM", |c| sent(ask(c).frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])), GoOn),
        (
            "reset: DATA",
            |c| sent(open(c).frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]).data(1, b"x", true)),
            EndStream(&[STREAM_CLOSED]),
        ),
        (
            "reset: HEADERS",
            |c| sent(open(c).frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]).head(1, GET, true)),
            EndStream(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        (
            "closed: DATA",
            |c| {
                ask(c);
                c.answer(1);
                c.answers.clear();
                c.data(1, b"x", true);
            },
            EndStream(&[STREAM_CLOSED]),
        ),
        (
            "closed: HEADERS",
            |c| {
                ask(c);
                c.answer(1);
                c.answers.clear();
                c.head(1, GET, true);
            },
            EndConnection(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        ("5.1.1 an even number", |c| sent(c.head(2, GET, true)), EndConnection(&[PROTOCOL_ERROR])),
        (
            "5.1.1 a number that is passed",
            |c| sent(c.head(5, GET, true).head(3, GET, true)),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
    ]);
}

/// More streams than the settings allow are refused, without harm to the others.
#[test]
fn section_5_1_2_concurrency() {
    let rig = rig();
    let mut client = H2::connect(rig.edge.data);
    for number in 0..101 {
        client.head(1 + 2 * number, POST, false);
    }
    let answer = client.answer(201);
    assert_eq!(answer.end, Some(End::Reset(REFUSED_STREAM)), "{answer:?}");
    client.data(1, b"x", true);
    assert_eq!(client.answer(1).status, 200);
}

#[test]
fn section_5_3_to_5_5() {
    run(&[
        (
            "5.3.1 HEADERS that depend on themselves",
            |c| {
                sent(c.frame(
                    HEADERS,
                    END_HEADERS | END_STREAM | PRIORITIZED,
                    1,
                    &[&[0, 0, 0, 1, 16], &get()[..]].concat(),
                ))
            },
            EndStream(&[PROTOCOL_ERROR]),
        ),
        (
            "5.3.1 PRIORITY that depends on itself",
            |c| sent(open(c).frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 16])),
            EndStream(&[PROTOCOL_ERROR]),
        ),
        (
            "5.4.1 GOAWAY of a client",
            |c| sent(c.frame(GOAWAY, 0, 0, &[0; 8]).frame(PING, 0, 0, &[0; 7])),
            EndConnection(&[0, FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
        ),
        (
            "5.5 an unknown kind inside a block",
            |c| sent(c.frame(HEADERS, END_STREAM, 1, &get()).frame(0x16, 0, 1, &[0; 8])),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
    ]);
}

#[test]
fn section_6_1_to_6_4_data_headers_priority_reset() {
    run(&[
        ("6.1 DATA on stream 0", |c| sent(open(c).data(0, b"x", true)), EndConnection(&[PROTOCOL_ERROR])),
        ("6.1 padding", |c| sent(open(c).frame(DATA, END_STREAM | PADDED, 1, b"\x05abcde\0\0\0\0\0")), Answer),
        (
            "6.1 padding beyond the frame",
            |c| sent(open(c).frame(DATA, END_STREAM | PADDED, 1, b"\x06abcde")),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
        ("6.2 HEADERS on stream 0", |c| sent(c.head(0, GET, true)), EndConnection(&[PROTOCOL_ERROR])),
        (
            "6.2 padding",
            |c| sent(c.frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &[&[2], &get()[..], &[0, 0]].concat())),
            Answer,
        ),
        (
            "6.2 padding beyond the frame",
            |c| sent(c.frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &[&[255], &get()[..1]].concat())),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.2 a priority",
            |c| {
                sent(c.frame(
                    HEADERS,
                    END_HEADERS | END_STREAM | PRIORITIZED,
                    1,
                    &[&[0x80, 0, 0, 0, 255], &get()[..]].concat(),
                ))
            },
            Answer,
        ),
        (
            "6.3 PRIORITY on stream 0",
            |c| sent(c.frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 16])),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.3 PRIORITY of 4 bytes",
            |c| sent(open(c).frame(PRIORITY, 0, 1, &[0; 4])),
            EndStream(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
        ),
        (
            "6.4 RST_STREAM on stream 0",
            |c| sent(open(c).frame(RST_STREAM, 0, 0, &[0; 4])),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.4 RST_STREAM of 3 bytes",
            |c| sent(open(c).frame(RST_STREAM, 0, 1, &[0; 3])),
            EndConnection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
        ),
        (
            "8.4 PUSH_PROMISE of a client",
            |c| sent(open(c).frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &get()[..]].concat())),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
    ]);
}

#[test]
fn section_6_5_settings() {
    run(&[
        (
            "ACK with a payload",
            |c| sent(c.frame(SETTINGS, ACK, 0, &setting(3, 1))),
            EndConnection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
        ),
        ("on a stream", |c| sent(c.frame(SETTINGS, 0, 1, &setting(3, 1))), EndConnection(&[PROTOCOL_ERROR])),
        ("of 3 bytes", |c| sent(c.frame(SETTINGS, 0, 0, &[0; 3])), EndConnection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR])),
        ("ENABLE_PUSH 2", |c| sent(c.frame(SETTINGS, 0, 0, &setting(2, 2))), EndConnection(&[PROTOCOL_ERROR])),
        (
            "a window beyond 2^31-1",
            |c| sent(c.frame(SETTINGS, 0, 0, &setting(4, 0x8000_0000))),
            EndConnection(&[FLOW_CONTROL_ERROR, PROTOCOL_ERROR]),
        ),
        ("frames below 2^14", |c| sent(c.frame(SETTINGS, 0, 0, &setting(5, 16_383))), EndConnection(&[PROTOCOL_ERROR])),
        (
            "frames beyond 2^24-1",
            |c| sent(c.frame(SETTINGS, 0, 0, &setting(5, 16_777_216))),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
        ("an unknown setting", |c| sent(c.frame(SETTINGS, 0, 0, &setting(0xff, 1))), GoOn),
        (
            "windows in one frame: the last counts",
            |c| {
                let both = [setting(4, 100), setting(4, 3)].concat();
                c.frame(SETTINGS, 0, 0, &both);
                ask(c);
                c.polite = false;
                c.until(|c| (c.answers.get(&1)?.body.len() == 3).then_some(()));
                c.frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9]);
            },
            Answer,
        ),
        (
            "they are acknowledged",
            |c| {
                let acked = c.until(|c| c.seen.iter().any(|f| f.kind == SETTINGS && f.flags & ACK != 0).then_some(()));
                assert!(acked.is_some());
            },
            GoOn,
        ),
    ]);
}

#[test]
fn section_6_7_and_6_8_ping_and_goaway() {
    run(&[
        ("PING on a stream", |c| sent(c.frame(PING, 0, 1, &[0; 8])), EndConnection(&[PROTOCOL_ERROR])),
        ("PING of 6 bytes", |c| sent(c.frame(PING, 0, 0, &[0; 6])), EndConnection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR])),
        (
            "PING with ACK is not answered",
            |c| {
                c.frame(PING, ACK, 0, b"unasked!");
                assert!(c.ping());
                assert!(!c.seen.iter().any(|f| f.payload == b"unasked!"));
            },
            GoOn,
        ),
        ("GOAWAY on a stream", |c| sent(c.frame(GOAWAY, 0, 1, &[0; 8])), EndConnection(&[PROTOCOL_ERROR])),
    ]);
}

#[test]
fn section_6_9_flow_control() {
    run(&[
        ("an increment of 0", |c| sent(c.frame(WINDOW_UPDATE, 0, 0, &[0; 4])), EndConnection(&[PROTOCOL_ERROR])),
        (
            "an increment of 0 for a stream",
            |c| sent(open(c).frame(WINDOW_UPDATE, 0, 1, &[0; 4])),
            EndStream(&[PROTOCOL_ERROR]),
        ),
        (
            "of 3 bytes",
            |c| sent(c.frame(WINDOW_UPDATE, 0, 0, &[0; 3])),
            EndConnection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
        ),
        (
            "the connection's window beyond 2^31-1",
            |c| {
                sent(c.frame(WINDOW_UPDATE, 0, 0, &[127, 255, 255, 255]).frame(
                    WINDOW_UPDATE,
                    0,
                    0,
                    &[127, 255, 255, 255],
                ))
            },
            EndConnection(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "a stream's window beyond 2^31-1",
            |c| {
                sent(open(c).frame(WINDOW_UPDATE, 0, 1, &[127, 255, 255, 255]).frame(
                    WINDOW_UPDATE,
                    0,
                    1,
                    &[127, 255, 255, 255],
                ))
            },
            EndStream(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "a window of one byte, opened later by settings",
            |c| {
                c.frame(SETTINGS, 0, 0, &setting(4, 1));
                c.polite = false;
                ask(c);
                c.until(|c| (c.answers.get(&1)?.body == b"h").then_some(()));
                c.frame(SETTINGS, 0, 0, &setting(4, 100));
            },
            Answer,
        ),
        (
            "a window that became negative",
            |c| {
                c.frame(SETTINGS, 0, 0, &setting(4, 3));
                c.polite = false;
                ask(c);
                c.until(|c| (c.answers.get(&1)?.body == b"hel").then_some(()));
                c.frame(SETTINGS, 0, 0, &setting(4, 0)).frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 3]);
                assert!(c.ping());
                assert_eq!(c.answers[&1].body, b"hel", "three bytes of debt, three paid back");
                c.frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 2]);
            },
            Answer,
        ),
    ]);
}

#[test]
fn section_6_10_continuation() {
    run(&[
        (
            "a block in three frames",
            |c| {
                let block = get();
                c.frame(HEADERS, END_STREAM, 1, &block[..5]).frame(CONTINUATION, 0, 1, &block[5..9]);
                c.frame(CONTINUATION, END_HEADERS, 1, &block[9..]);
            },
            Answer,
        ),
        (
            "DATA inside a block",
            |c| sent(c.frame(HEADERS, 0, 1, &get()).data(1, b"x", true)),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
        (
            "on stream 0",
            |c| sent(c.frame(HEADERS, END_STREAM, 1, &get()).frame(CONTINUATION, END_HEADERS, 0, &[])),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
        (
            "behind a whole block",
            |c| sent(c.head(1, POST, false).frame(CONTINUATION, END_HEADERS, 1, &get())),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
        (
            "behind DATA",
            |c| sent(open(c).data(1, b"x", false).frame(CONTINUATION, END_HEADERS, 1, &get())),
            EndConnection(&[PROTOCOL_ERROR]),
        ),
    ]);
}

#[test]
fn section_8_1_messages() {
    run(&[
        ("a second head without an end", |c| sent(open(c).head(1, &[("x", "y")], false)), EndStream(&[PROTOCOL_ERROR])),
        (
            "content-length and two frames that are more",
            |c| {
                let fields = [POST, &[("content-length", "3")]].concat();
                c.head(1, &fields, false).data(1, b"ab", false).data(1, b"cd", true);
            },
            EndStream(&[PROTOCOL_ERROR]),
        ),
    ]);
}

#[test]
fn header_compression() {
    run(&[
        (
            "an index that is none",
            |c| sent(c.frame(HEADERS, END_HEADERS | END_STREAM, 1, &[get(), vec![0xff, 0x10]].concat())),
            EndConnection(&[COMPRESSION_ERROR, PROTOCOL_ERROR]),
        ),
        (
            "the index 0",
            |c| sent(c.frame(HEADERS, END_HEADERS | END_STREAM, 1, &[get(), vec![0x80]].concat())),
            EndConnection(&[COMPRESSION_ERROR, PROTOCOL_ERROR]),
        ),
        (
            "a new size at the end",
            |c| sent(c.frame(HEADERS, END_HEADERS | END_STREAM, 1, &[get(), vec![0x21]].concat())),
            EndConnection(&[COMPRESSION_ERROR, PROTOCOL_ERROR]),
        ),
        (
            "a size beyond the settings",
            |c| sent(c.frame(HEADERS, END_HEADERS | END_STREAM, 1, &[vec![0x3f, 0xe2, 0x1f], get()].concat())),
            EndConnection(&[COMPRESSION_ERROR, PROTOCOL_ERROR]),
        ),
        (
            "too much padding in a string",
            |c| {
                sent(c.frame(
                    HEADERS,
                    END_HEADERS | END_STREAM,
                    1,
                    &[get(), vec![0, 1, b'x', 0x82, 0xff, 0xff]].concat(),
                ))
            },
            EndConnection(&[COMPRESSION_ERROR, PROTOCOL_ERROR]),
        ),
        (
            "fields that are remembered are understood again",
            |c| {
                let mut block = get();
                hpack::remembered(&mut block, b"x-remembered", b"yes");
                c.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
                assert_eq!(c.answer(1).status, 200);
                c.frame(HEADERS, END_HEADERS | END_STREAM, 3, &[get(), vec![0xbe]].concat());
                assert_eq!(c.answer(3).status, 200);
            },
            GoOn,
        ),
    ]);
}
