//! How the bytes of a file travel: all of them, never more than announced, never a clean end that is none, and a bounded
//! part of them in memory.

use std::fs::{self, File};

use super::{Tree, get};
use crate::support::{Config, Ending, Request, eventually};

const MIB: usize = 1024 * 1024;

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn ten_mebibytes_arrive_whole_and_in_parts() {
    let tree = Tree::new(&[]);
    let content = noise(10 * MIB + 7);
    tree.write("big.bin", &content);
    let edge = tree.edge("", "");
    let whole = edge.get("/s/big.bin");
    assert_eq!(whole.header("content-length"), Some(&*content.len().to_string()));
    assert!(whole.body == content);
    let part = get(&edge, "/s/big.bin", &[("range", "bytes=1000000-9999999")]);
    assert_eq!(part.header("content-range"), Some(&*format!("bytes 1000000-9999999/{}", content.len())));
    assert!(part.body == content[1_000_000..10_000_000]);
    let parts = get(&edge, "/s/big.bin", &[("range", "bytes=0-2999999,5000000-7999999")]);
    assert_eq!(parts.header("content-length"), Some(&*parts.body.len().to_string()));
    assert!(parts.body.windows(1000).any(|piece| *piece == content[7_999_000..8_000_000]));
    let record = edge.logged("/s/big.bin");
    assert_eq!((&record["end"], &record["bytes_out"]), (&"ok".into(), &content.len().into()), "{record}");
}

#[test]
fn a_connection_serves_many_files_and_heads() {
    let tree = Tree::new(&[("a.txt", "abc"), ("b.txt", "")]);
    tree.write("c.bin", &noise(300_000));
    let edge = tree.edge("", "");
    let mut wire = edge.connect();
    for _ in 0..5 {
        for (method, target, length) in [
            ("GET", "/s/a.txt", 3),
            ("HEAD", "/s/a.txt", 0),
            ("GET", "/s/b.txt", 0),
            ("GET", "/s/c.bin", 300_000),
            ("HEAD", "/s/c.bin", 0),
            ("GET", "/s/none", -1),
        ] {
            wire.send(Request::new(method, target).keep_alive().bytes());
            let answer = wire.response_to(method);
            assert_eq!(answer.status, if length < 0 { 404 } else { 200 }, "{method} {target}");
            assert!(length < 0 || answer.body.len() == length as usize, "{method} {target}");
        }
    }
}

#[test]
fn a_file_that_shrinks_is_cut_and_one_that_grows_is_not_longer() {
    let tree = Tree::new(&[]);
    let path = tree.write("large.bin", b"");
    let length = 64 * MIB;
    let edge = tree.edge("", "");
    for shrink in [true, false] {
        File::options().write(true).open(&path).and_then(|file| file.set_len(length as u64)).expect("make it long");
        let mut wire = edge.connect();
        wire.send(Request::get("/s/large.bin").bytes());
        let first = wire.exactly(64 * 1024);
        assert!(
            String::from_utf8_lossy(&first).to_ascii_lowercase().contains(&format!("content-length: {length}")),
            "the head"
        );
        let file = File::options().write(true).open(&path).expect("open it");
        file.set_len(if shrink { 0 } else { 2 * length as u64 }).expect("change it");
        let end = wire.end();
        let received = first.len() + end_count(&wire);
        if shrink {
            assert!(received < length, "{received} bytes came of a file that is gone: {end:?}");
        } else {
            assert!(received > length && received < length + 2000, "{received} bytes");
        }
    }
    let records = eventually("two records", || Some(edge.access_log()).filter(|records| records.len() == 2));
    assert_eq!((&records[0]["code"], &records[0]["end"]), (&"file_cut".into(), &"upstream_abort".into()));
    assert_eq!((&records[1]["code"], &records[1]["end"]), (&"".into(), &"ok".into()));
}

fn end_count(wire: &crate::support::Wire) -> usize {
    wire.pending().len()
}

#[test]
fn a_file_that_is_replaced_is_sent_to_its_end() {
    let tree = Tree::new(&[]);
    let content = noise(40 * MIB);
    let path = tree.write("release.bin", &content);
    let edge = tree.edge("", "");
    let mut wire = edge.connect();
    wire.send(Request::get("/s/release.bin").bytes());
    let head = wire.head();
    let tag = head.header("etag").expect("an etag").to_owned();
    let fresh = tree.write("fresh", b"new");
    fs::rename(&fresh, &path).expect("replace it");
    assert!(wire.exactly(content.len()) == content);
    let after = get(&edge, "/s/release.bin", &[("if-none-match", &tag)]);
    assert_eq!((after.status, after.text().as_str()), (200, "new"));
}

#[test]
fn another_content_of_the_same_length_and_time_has_another_tag() {
    let tree = Tree::new(&[("a.txt", "one")]);
    let edge = tree.edge("", "");
    let tag = |expected: &str| {
        let answer = edge.get("/s/a.txt");
        assert_eq!(answer.text(), expected);
        answer.header("etag").expect("an etag").to_owned()
    };
    let first = tag("one");
    assert!(first.starts_with('"') && first.len() == 18, "{first}");
    tree.write("a.txt", b"two");
    let second = tag("two");
    assert_ne!(first, second, "written over, its time set back");
    tree.write("b.txt", b"six");
    fs::rename(tree.root().join("b.txt"), tree.root().join("a.txt")).expect("replace it");
    assert_ne!(second, tag("six"), "replaced");
}

#[test]
fn clients_that_do_not_read_cost_little_and_are_cut() {
    const CLIENTS: usize = 30;
    let tree = Tree::new(&[("warm.txt", "warm")]);
    let path = tree.write("large.bin", b"");
    File::options().write(true).open(&path).and_then(|file| file.set_len(256 * MIB as u64)).expect("make it long");
    let edge = tree.edge("", ", timeouts: { send: 2s }");
    assert_eq!(edge.get("/s/warm.txt").text(), "warm");
    let before = edge.process.resident();
    let mut wires: Vec<_> = (0..CLIENTS).map(|_| edge.connect()).collect();
    for wire in &mut wires {
        wire.send(Request::get("/s/large.bin").bytes());
        assert!(wire.exactly(1000).starts_with(b"HTTP/1.1 200"));
    }
    let grown = edge.process.resident().saturating_sub(before) / CLIENTS as u64;
    assert!(grown < 512 * 1024, "{grown} bytes for each client");
    eventually("all records", || (edge.access_log().len() == CLIENTS + 1).then_some(()));
    let stalled = edge.access_log().iter().filter(|record| record["code"] == "client_stalled").count();
    assert_eq!(stalled, CLIENTS, "{:?}", edge.access_lines());
    for wire in &mut wires {
        wire.closed();
    }
    edge.wait_idle();
}

#[test]
fn a_client_that_leaves_is_noticed() {
    let tree = Tree::new(&[]);
    let path = tree.write("large.bin", b"");
    File::options().write(true).open(&path).and_then(|file| file.set_len(256 * MIB as u64)).expect("make it long");
    let edge = tree.edge("", "");
    for _ in 0..5 {
        let mut wire = edge.connect();
        wire.send(Request::get("/s/large.bin").bytes());
        wire.exactly(1000);
        wire.abort();
    }
    edge.wait_idle();
    eventually("all records", || (edge.access_log().len() == 5).then_some(()));
    assert!(edge.access_log().iter().all(|record| record["end"] == "client_abort"), "{:?}", edge.access_lines());
    let is_open = |entry: std::io::Result<fs::DirEntry>| {
        let target = entry.and_then(|entry| fs::read_link(entry.path()));
        target.is_ok_and(|target| target == path)
    };
    let descriptors = format!("/proc/{}/fd", edge.process.id());
    eventually("the file is closed", || {
        (!fs::read_dir(&descriptors).expect("its descriptors").any(is_open)).then_some(())
    });
}

#[test]
fn old_clients_are_served_too() {
    let tree = Tree::new(&[("a.txt", "abc")]);
    tree.write("big.txt", "a line of text\n".repeat(10_000).as_bytes());
    let edge = tree.edge("", ", compress: [gzip]");
    let mut wire = edge.connect();
    wire.send("GET /s/a.txt HTTP/1.0\r\nhost: demo.test\r\n\r\n");
    let answer = wire.response();
    assert_eq!((answer.status, answer.text().as_str(), answer.ending), (200, "abc", Ending::Clean));
    let mut wire = edge.connect();
    wire.send("GET /s/big.txt HTTP/1.0\r\nhost: demo.test\r\naccept-encoding: gzip\r\n\r\n");
    let answer = wire.response();
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!((answer.header("content-encoding"), answer.header("content-length")), (Some("gzip"), None));
    assert_eq!(super::super::compression::plain("gzip", &answer.body).len(), 150_000);
}

#[test]
fn many_files_at_once() {
    let tree = Tree::new(&[]);
    let content = noise(MIB);
    for number in 0..8 {
        tree.write(&format!("{number}.bin"), &content);
    }
    let edge = Config::routes(r#"- { prefix: /s, auth: none, files: { root: "{root}" } }"#)
        .value("root", &tree.root().display().to_string())
        .start();
    std::thread::scope(|scope| {
        for client in 0..16 {
            let (edge, content) = (&edge, &content);
            scope.spawn(move || {
                for round in 0..4 {
                    let answer = edge.get(&format!("/s/{}.bin", (client + round) % 8));
                    assert!(answer.body == *content, "client {client}");
                }
            });
        }
    });
}
