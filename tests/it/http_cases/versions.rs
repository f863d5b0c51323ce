//! Two versions of HTTP/1 at one edge: each side is spoken to in what it understands. RFC 9110 §6.2, §10.1.1, §15.2.

use super::rig;
use crate::support::{Ending, Request};

#[test]
fn an_http_1_0_client_gets_no_interim_answer() {
    let rig = rig();
    for (path, interim) in [
        ("/early", "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"),
        ("/processing", "HTTP/1.1 102 Processing\r\n\r\n"),
        ("/continue", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        rig.origin.answer(path, format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
        for version in ["1.0", "1.1"] {
            let mut wire = rig.edge.connect();
            wire.send(format!("GET {path} HTTP/{version}\r\nHost: a.test\r\nConnection: close\r\n\r\n"));
            let response = wire.response();
            assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{path}");
            let told = !response.interim.is_empty();
            assert!(version == "1.1" || !told, "{path}: an interim answer to an HTTP/1.0 client");
            assert!(version == "1.0" || told || path == "/continue", "{path}: none to an HTTP/1.1 client");
        }
    }
}

#[test]
fn what_an_http_1_0_client_expects_is_ignored() {
    let rig = rig();
    rig.origin.on("/expect", |exchange| {
        if exchange.head.fields.has("expect") {
            exchange.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        exchange.read_body();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone");
        crate::support::origin::After::Keep
    });
    let mut wire = rig.edge.connect();
    wire.send("POST /expect HTTP/1.0\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
    let response = wire.response_to("POST");
    assert_eq!((response.status, response.text().as_str()), (200, "done"));
    assert!(response.interim.is_empty(), "{:?}", response.interim);
    let seen = rig.origin.take("/expect");
    assert_eq!((seen.header("expect"), seen.body.as_slice()), (None, &b"abc"[..]));
}

#[test]
fn an_http_1_0_upstreams_answer_is_ours_to_the_client() {
    let rig = rig();
    rig.origin.answer_and_close("/old-length", "HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold");
    rig.origin.answer_and_close("/old-close", "HTTP/1.0 200 OK\r\n\r\nold");
    rig.origin.answer("/old-kept", "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 3\r\n\r\nold");
    for path in ["/old-length", "/old-close", "/old-kept"] {
        let mut wire = rig.edge.connect();
        for round in ["first", "second"] {
            wire.send(Request::get(path).host("a.test").keep_alive().bytes());
            let response = wire.response();
            assert!(response.head.start.starts_with("HTTP/1.1 200"), "{path}, {round}: {:?}", response.head.start);
            assert_eq!((response.text().as_str(), &response.ending), ("old", &Ending::Clean), "{path}, {round}");
        }
    }
}
