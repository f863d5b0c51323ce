//! Streams on their way: nothing is withheld, whoever lets the other wait is found out, and what is cut never ends cleanly.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::{fresh, rig};
use crate::streaming::{trickle, watched};
use crate::support::edge::Reported;
use crate::support::h2::*;
use crate::support::origin::After;
use crate::support::{PATIENCE, Stop, eventually, gate};

#[test]
fn server_sent_events_arrive_as_they_are_sent() {
    let rig = fresh();
    let (key, gate) = gate();
    rig.origin.on("/sse", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        trickle(exchange, &gate, &["9\r\ndata: 1\n\n\r\n", "9\r\ndata: 2\n\n\r\n"]);
        gate.wait();
        exchange.send("0\r\n\r\n");
        After::Keep
    });
    let mut client = H2::connect(rig.edge.data);
    let stream = client.request("GET", "/sse", &[], true);
    let head = client.until(|client| client.answers.get(&stream).map(|answer| answer.status));
    assert_eq!(head, Some(200), "before the first event");
    assert_eq!(rig.edge.status()["streams_open"], 1);
    let mut expected = Vec::new();
    for number in 1..=2 {
        key.open();
        expected.extend_from_slice(format!("data: {number}\n\n").as_bytes());
        let come = client.until(|client| (client.answers[&stream].body == expected).then_some(()));
        assert!(come.is_some(), "event {number}: {:?}", client.answers);
    }
    key.open();
    assert_eq!(client.answer(stream).end, Some(End::Clean));
}

#[test]
fn a_body_of_known_length_that_trickles_arrives_byte_by_byte() {
    let rig = fresh();
    let (key, gate) = gate();
    rig.origin.on("/trickle", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n");
        trickle(exchange, &gate, &["a", "b", "c", "d"])
    });
    let mut client = H2::connect(rig.edge.data);
    let stream = client.request("GET", "/trickle", &[], true);
    client.until(|client| client.answers.get(&stream).map(|answer| answer.status));
    for count in 1..=4 {
        key.open();
        assert!(
            client.until(|client| (client.answers[&stream].body.len() == count).then_some(())).is_some(),
            "{count}"
        );
    }
    assert_eq!(client.answer(stream).end, Some(End::Clean));
}

#[test]
fn an_upload_reaches_the_upstream_as_it_is_sent() {
    let rig = fresh();
    let arrived = watched(&rig.origin, "/upload");
    let mut client = H2::connect(rig.edge.data);
    let stream = client.request("POST", "/upload", &[], false);
    assert_eq!(arrived.recv_timeout(PATIENCE).expect("the head, before the body"), b"HEAD");
    for byte in b"abcd" {
        client.data(stream, &[*byte], false);
        assert_eq!(arrived.recv_timeout(PATIENCE).expect("the next byte"), [*byte]);
    }
    client.data(stream, b"", true);
    assert_eq!(client.answer(stream).text(), "done");
}

#[test]
fn interim_answers_arrive_before_the_final_one() {
    let rig = fresh();
    let (key, gate) = gate();
    rig.origin.on("/hints", move |exchange| {
        exchange.send("HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\nconnection: x\r\n\r\n");
        gate.wait();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        After::Keep
    });
    let mut client = H2::connect(rig.edge.data);
    let stream = client.request("GET", "/hints", &[], true);
    let hint = client.until(|client| client.answers.get(&stream)?.interim.first().cloned());
    let (status, fields) = hint.expect("an interim answer");
    assert_eq!((status, fields.get("link"), fields.has("connection")), (103, Some("</style.css>; rel=preload"), false));
    key.open();
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.text().as_str(), answer.end), (200, "ok", Some(End::Clean)));
}

#[test]
fn expect_100_continue_is_answered_before_the_body_is_sent() {
    let rig = fresh();
    rig.origin.on("/expect", |exchange| {
        exchange.send("HTTP/1.1 100 Continue\r\n\r\n");
        exchange.read_body();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        After::Keep
    });
    let mut client = H2::connect(rig.edge.data);
    let stream = client.request("POST", "/expect", &[("expect", "100-continue"), ("content-length", "3")], false);
    let go_on = client.until(|client| client.answers.get(&stream)?.interim.first().map(|(status, _)| *status));
    assert_eq!(go_on, Some(100));
    client.data(stream, b"abc", true);
    assert_eq!(client.answer(stream).text(), "ok");
}

#[test]
fn a_client_that_resets_its_stream_ends_the_upstreams_work_at_once() {
    let rig = fresh();
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    rig.origin.on("/left", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
        let _ = sender.lock().unwrap().send(exchange.wait_end());
        After::Close
    });
    for path in ["/left/reset", "/left/connection"] {
        let mut client = H2::connect(rig.edge.data);
        let stream = client.request("GET", path, &[], true);
        client.until(|client| (client.answers.get(&stream)?.body == b"abc").then_some(()));
        let left = Instant::now();
        if path.ends_with("reset") {
            client.frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
            assert!(client.ping(), "the connection goes on");
        } else {
            drop(client);
        }
        let (stop, _) = receiver.recv_timeout(PATIENCE).expect("the upstream's connection to end");
        assert!(matches!(stop, Stop::Closed | Stop::Reset), "{stop:?}");
        assert!(left.elapsed() < Duration::from_secs(1), "{:?}", left.elapsed());
        let record = rig.edge.logged(path);
        assert_eq!((record["end"].as_str(), record["bytes_out"].as_u64()), (Some("client_abort"), Some(3)), "{record}");
    }
    rig.edge.wait_idle();
}

#[test]
fn a_client_that_resets_while_the_upstream_is_silent_is_heard_too() {
    let rig = fresh();
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    rig.origin.on("/waiting", move |exchange| {
        let _ = sender.lock().unwrap().send(exchange.wait_end());
        After::Close
    });
    let mut client = H2::connect(rig.edge.data);
    let stream = client.request("GET", "/waiting", &[], true);
    rig.origin.request_for("/waiting");
    client.frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    receiver.recv_timeout(PATIENCE).expect("the upstream's connection to end");
    let record = rig.edge.logged("/waiting");
    assert_eq!((record["end"].as_str(), record["status"].as_u64()), (Some("client_abort"), Some(0)), "{record}");
}

#[test]
fn an_upload_that_is_reset_never_arrives_whole() {
    let rig = fresh();
    let mut client = H2::connect(rig.edge.data);
    let stream = client.request("POST", "/half", &[], false);
    client.data(stream, b"abc", false);
    rig.origin.request_for("/half");
    client.frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    assert_eq!(rig.edge.logged("/half")["end"], "client_abort");
    assert!(rig.origin.requests_for("/half").iter().all(|request| !request.complete));
}

#[test]
fn a_body_that_does_not_come_is_408() {
    let rig = fresh();
    let mut client = H2::connect(rig.edge.data);
    let stream = client.request("POST", "/short/late", &[("content-length", "3")], false);
    client.data(stream, b"a", false);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.code().as_str()), (408, "client_timeout"), "{answer:?}");
    assert!(client.ping(), "the connection goes on");
    assert_eq!(rig.edge.logged("/short/late")["end"], "timeout");
}

#[test]
fn a_client_that_does_not_read_is_cut_and_so_is_its_upstream() {
    let rig = fresh();
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    rig.origin.on("/short/big", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n");
        while exchange.send([b'x'; 64 * 1024]) {}
        let _ = sender.lock().unwrap().send(());
        After::Close
    });
    let mut client = H2::connect(rig.edge.data);
    client.polite = false;
    let stream = client.request("GET", "/short/big", &[], true);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.end), (200, Some(End::Reset(CANCEL))), "{}", answer.body.len());
    receiver.recv_timeout(PATIENCE).expect("the upstream to be let go");
    assert_eq!(rig.edge.logged("/short/big")["end"], "timeout");
    assert!(client.ping(), "the connection goes on");
}

#[test]
fn one_stream_that_stalls_does_not_hold_the_others_up() {
    let rig = fresh();
    rig.origin.on("/big", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n");
        while exchange.send([b'x'; 64 * 1024]) {}
        After::Close
    });
    let mut client = H2::connect(rig.edge.data);
    client.polite = false;
    // Streams have no window; the connection has one of its own.
    client.frame(SETTINGS, 0, 0, &setting(4, 0));
    let stalled = client.request("GET", "/big", &[], true);
    client.until(|client| client.answers.get(&stalled).map(|answer| answer.status));
    client.frame(SETTINGS, 0, 0, &setting(4, 65_535)).frame(SETTINGS, 0, 0, &setting(4, 0));
    client.frame(WINDOW_UPDATE, 0, 0, &[0, 1, 0, 0]);
    let other = client.request("GET", "/local", &[], true);
    client.frame(WINDOW_UPDATE, 0, other, &[0, 0, 0, 9]);
    assert_eq!(client.answer(other).text(), "hello");
}

#[test]
fn upstreams_that_fail_are_told_apart() {
    let rig = fresh();
    rig.origin.on("/closed", |_| After::Close);
    rig.origin.on("/reset", |_| After::Reset);
    rig.origin.on("/short/silent", |exchange| {
        exchange.wait_end();
        After::Close
    });
    let mut client = H2::connect(rig.edge.data);
    for (path, status, code) in [
        ("/closed", 502, "upstream_closed"),
        ("/reset", 502, "upstream_closed"),
        ("/short/silent", 504, "upstream_timeout"),
    ] {
        let answer = client.get(path);
        assert_eq!((answer.status, answer.code().as_str(), answer.end), (status, code, Some(End::Clean)), "{path}");
    }
    assert!(client.ping());
}

#[test]
fn an_answer_that_is_cut_is_reset_and_never_ends_cleanly() {
    let rig = fresh();
    rig.origin.on("/cut/length", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
        After::Close
    });
    rig.origin.on("/cut/chunked", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
        After::Close
    });
    rig.origin.on("/cut/reset", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
        After::Reset
    });
    rig.origin.on("/short/cut", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
        exchange.wait_end();
        After::Close
    });
    for path in ["/cut/length", "/cut/chunked", "/cut/reset", "/short/cut"] {
        let mut client = H2::connect(rig.edge.data);
        let answer = client.get(path);
        // An origin that aborts may take its first bytes along.
        let told = answer.status == 502 && path == "/cut/reset";
        assert!(told || answer.end == Some(End::Reset(INTERNAL_ERROR)), "{path}: {answer:?}");
        assert!(client.ping(), "{path}: the connection goes on");
        assert_ne!(rig.edge.logged(path)["end"], "ok", "{path}");
    }
}

#[test]
fn an_answer_that_ends_with_the_origins_connection_is_whole() {
    let rig = rig();
    rig.origin.answer_and_close("/until-close", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nwhole");
    let answer = H2::connect(rig.edge.data).get("/until-close");
    assert_eq!((answer.text().as_str(), answer.end), ("whole", Some(End::Clean)));
}

#[test]
fn an_early_answer_ends_an_upload_without_an_error() {
    let rig = fresh();
    rig.origin.on("/early", |exchange| {
        exchange.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
        After::Close
    });
    let mut client = H2::connect(rig.edge.data);
    let stream = client.request("POST", "/early", &[], false);
    client.data(stream, b"some", false);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.text().as_str(), answer.end), (403, "no", Some(End::Clean)), "{answer:?}");
    let is_told = |frame: &Frame| frame.kind == RST_STREAM && frame.stream == stream && frame.payload == [0; 4];
    let told = client.until(|client| client.seen.iter().any(is_told).then_some(()));
    assert!(told.is_some(), "the client is told to keep the rest (RFC 9113 §8.1): {:?}", client.seen);
    let record = rig.edge.logged("/early");
    assert_eq!((record["end"].as_str(), record["code"].as_str()), (Some("ok"), Some("")), "{record}");
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let rig = rig();
    let mut client = H2::connect(rig.edge.data);
    let stream = client.request("POST", "/a0/../x", &[], false);
    client.data(stream, &[b'x'; 10_000], false);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_path"), "{answer:?}");
    assert!(client.ping());
}

#[test]
fn many_streams_at_once_are_all_answered_with_their_own() {
    let rig = rig();
    rig.origin.on("/own", |exchange| {
        let body = exchange.target();
        exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        After::Keep
    });
    let mut client = H2::connect(rig.edge.data);
    let streams: Vec<(u32, String)> = (0..90)
        .map(|number| {
            let path = format!("/own/{number}");
            (client.request("GET", &path, &[], true), path)
        })
        .collect();
    for (stream, path) in streams {
        let answer = client.answer(stream);
        assert_eq!((answer.status, answer.text()), (200, path));
    }
}

#[test]
fn large_bodies_go_through_in_both_directions_and_memory_stays_flat() {
    let rig = fresh();
    let _report = Reported(&rig.edge);
    let total = 64 << 20;
    rig.origin.on("/both", move |exchange| {
        let mut count = 0;
        let _ = exchange.stream_body(&mut |bytes| count += bytes.len());
        exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {total}\r\nx-count: {count}\r\n\r\n"));
        for _ in 0..total / 65_536 {
            exchange.send([b'x'; 65_536]);
        }
        After::Keep
    });
    let before = rig.edge.process.resident();
    let mut command = std::process::Command::new("curl");
    let url = format!("{}/both", rig.edge.url());
    command.args([
        "-sS",
        "--http2-prior-knowledge",
        "-o",
        "/dev/null",
        "-w",
        "%{size_download}",
        "-T",
        "-",
        "-X",
        "POST",
    ]);
    command.arg(url).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut curl = command.spawn().expect("curl");
    let mut input = curl.stdin.take().expect("its input");
    for _ in 0..total / 65_536 {
        std::io::Write::write_all(&mut input, &[b'y'; 65_536]).expect("curl takes it");
    }
    drop(input);
    let done = curl.wait_with_output().expect("curl ends");
    assert_eq!(String::from_utf8_lossy(&done.stdout), total.to_string());
    let grown = rig.edge.process.resident().saturating_sub(before);
    assert!(grown < 32 << 20, "memory grew by {} KiB", grown / 1024);
    let record =
        eventually("the record", || rig.edge.access_log().into_iter().find(|record| record["path"] == "/both"));
    assert_eq!((record["bytes_in"].as_u64(), record["bytes_out"].as_u64()), (Some(total), Some(total)));
}
