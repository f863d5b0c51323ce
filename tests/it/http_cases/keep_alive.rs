//! One connection, many requests: what of one must never touch the next.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::rig;
use crate::support::origin::After;
use crate::support::{Edge, Origin, PATIENCE, Request, Stop, gate, signature};

#[test]
fn a_hundred_different_requests_on_one_connection_get_their_own_answers() {
    let rig = rig();
    rig.origin.on("/n", |exchange| {
        exchange.read_body();
        let target = exchange.target();
        let number: usize = target.trim_start_matches("/n").parse().unwrap_or(0);
        let body = "x".repeat(number * 37 % 3000) + &target;
        if number.is_multiple_of(2) {
            exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        } else {
            exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            exchange.send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
        }
        After::Keep
    });
    let mut wire = rig.edge.connect();
    for number in 0..100 {
        let (method, head) = match number % 5 {
            0 => ("GET", String::new()),
            1 => ("POST", "Content-Length: 5\r\n\r\nhello".into()),
            2 => ("POST", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".into()),
            3 => ("PUT", "Content-Length: 0\r\n\r\n".into()),
            _ => ("DELETE", String::new()),
        };
        let rest = if head.is_empty() { "\r\n".to_owned() } else { head };
        wire.send(format!("{method} /n{number} HTTP/1.1\r\nHost: a.test\r\n{rest}"));
        let response = wire.response_to(method);
        assert!(response.text().ends_with(&format!("/n{number}")), "{number}: {}", response.text());
        assert_eq!(response.text().trim_start_matches('x').len(), format!("/n{number}").len(), "{number}");
    }
    assert_eq!(rig.origin.requests_for("/n").len(), 100);
}

#[test]
fn pipelined_uploads_are_each_whole() {
    let rig = rig();
    let mut wire = rig.edge.connect();
    let one = |n: usize| format!("POST /piped{n} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\nbody-{n}");
    wire.send([one(1), one(2), one(3)].concat());
    for number in 1..=3 {
        match wire.try_response_to("POST") {
            Ok(response) => {
                assert_eq!(response.text(), "ok");
                assert_eq!(
                    rig.origin.request_for(&format!("/piped{number}")).body,
                    format!("body-{number}").as_bytes()
                );
                if response.header("connection") == Some("close") {
                    return;
                }
            }
            Err(stop) => panic!("answer {number}: {stop:?}"),
        }
    }
}

#[test]
fn an_answer_of_the_edge_to_a_small_body_keeps_the_connection() {
    let edge = crate::support::Config::routes("- { prefix: /fixed, auth: none, respond: { body: \"ok\" } }").start();
    let small = "POST /fixed HTTP/1.1\r\nHost: demo.test\r\nContent-Length: 5\r\n\r\nhello";
    let refused = small.replace("/fixed", "/nowhere");
    let mut wire = edge.connect();
    for request in [small, &refused, small] {
        wire.send(request);
        let response = wire.response_to("POST");
        assert_eq!(response.header("connection"), Some("keep-alive"), "{request}: {}", response.status);
    }
    wire.send([small, small].concat());
    assert_eq!((wire.response_to("POST").status, wire.response_to("POST").status), (200, 200), "pipelined");
    for head in ["Content-Length: 5\r\nExpect: 100-continue", "Content-Length: 65537", "Transfer-Encoding: chunked"] {
        let mut wire = edge.connect();
        wire.send(format!("POST /fixed HTTP/1.1\r\nHost: demo.test\r\n{head}\r\n\r\n"));
        assert_eq!(wire.response_to("POST").header("connection"), Some("close"), "nobody waits for it: {head}");
    }
}

#[test]
fn an_outage_of_the_upstream_does_not_cost_the_clients_connection() {
    let origin = Origin::start();
    origin.on("/cut", |_| After::Close);
    let routes = r#"
        - { prefix: /gone, auth: none, upstream: "http://127.0.0.1:1" }
        - { prefix: /nowhere, auth: none, upstream: "http://nowhere.invalid" }
        - { prefix: /cut, auth: none, upstream: "http://{origin}/cut" }
        - { prefix: /fixed, auth: none, respond: { body: "ok" } }
    "#;
    let edge = crate::support::Config::routes(routes).origin(&origin).start();
    let mut wire = edge.connect();
    for (path, status) in
        [("/gone", 502), ("/fixed", 200), ("/cut", 502), ("/nowhere", 503), ("/gone", 502), ("/fixed", 200)]
    {
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: demo.test\r\n\r\n"));
        let response = wire.response();
        assert_eq!((response.status, response.header("connection")), (status, Some("keep-alive")), "{path}");
    }
    wire.send("GET /gone HTTP/1.1\r\nHost: demo.test\r\n\r\nGET /fixed HTTP/1.1\r\nHost: demo.test\r\n\r\n");
    assert_eq!((wire.response().status, wire.response().status), (502, 200), "pipelined");
    wire.send("POST /gone HTTP/1.1\r\nHost: demo.test\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(wire.response_to("POST").header("connection"), Some("close"), "its body has not come");
}

#[test]
fn a_head_that_arrives_byte_by_byte_is_one_request() {
    let rig = rig();
    let mut wire = rig.edge.connect();
    for byte in b"POST /byte-by-byte HTTP/1.1\r\nHost: a.test\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" {
        wire.send([*byte]);
    }
    assert_eq!(wire.response_to("POST").text(), "ok");
    let seen = rig.origin.take("/byte-by-byte");
    assert_eq!((seen.header("x-a"), seen.body.as_slice(), seen.complete), (Some("1"), b"abc".as_slice(), true));
}

#[test]
fn close_is_honoured_and_nothing_after_it_is_served() {
    let rig = rig();
    let mut wire = rig.edge.connect();
    wire.send("GET /last HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\nGET /after-last HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let response = wire.response();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert_eq!(wire.end().0, Stop::Closed);
    assert!(rig.origin.requests_for("/after-last").is_empty());
}

/// One caller's identity must not stay with the connection, on either side of the edge.
#[test]
fn identities_do_not_stick_to_connections() {
    const TOKEN: &str = "sticky-sign-token-0123456789-abcdefghij";
    let origin = Origin::start();
    let edge = crate::support::Config::new(
        r#"
        clients:
          one: { token: sticky-client-one-0123456789abcdef, user: one@example.com }
          two: { token: sticky-client-two-0123456789abcdef, user: two@example.com }
        projects:
          demo:
            upstream_policy: open
            environments:
              production:
                routes:
                  - { prefix: /, upstream: "http://{origin}", auth: optional, sign: { scheme: user-stamp, token: sticky-sign-token-0123456789-abcdefghij } }
        "#,
    )
    .origin(&origin)
    .start();
    let mut wire = edge.connect();
    let callers = [Some("one"), None, Some("two"), Some("one"), None, None, Some("two")];
    for (round, caller) in callers.into_iter().enumerate() {
        let target = format!("/sticky-{round}");
        let mut request = Request::get(&target).keep_alive();
        if let Some(name) = caller {
            request = request.bearer(&format!("sticky-client-{name}-0123456789abcdef"));
        }
        wire.send(request.bytes());
        assert_eq!(wire.response().status, 200);
        let user = signature::verify(&origin.take(&target).head.fields, "user-stamp", TOKEN);
        assert_eq!(user, caller.map_or(String::new(), |name| format!("{name}@example.com")), "round {round}");
    }
    assert_eq!(origin.connections(), 1, "all on one upstream connection");
}

/// A response that was cut must not leave its upstream connection for the next request.
#[test]
fn a_half_read_response_does_not_leave_its_connection_to_the_next_client() {
    let origin = Origin::start();
    origin.on("/large", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n");
        let piece = vec![b'L'; 64 * 1024];
        while exchange.send(&piece) {}
        After::Close
    });
    let edge = Edge::routes(r#"- { prefix: /, upstream: "http://{origin}", auth: none }"#, &origin);
    for round in 0..10 {
        let mut wire = edge.connect();
        wire.patience = Duration::from_secs(5);
        wire.send("GET /large HTTP/1.1\r\nhost: a.test\r\n\r\n");
        assert_eq!(wire.head().status, 200);
        wire.exactly(1000);
        wire.abort();
        let response = edge.get(&format!("/small-{round}"));
        assert_eq!(response.text(), "ok", "round {round}");
    }
}

#[test]
fn an_empty_post_and_a_post_without_length_are_what_they_are() {
    let rig = rig();
    for (target, fields) in [("/zero", "Content-Length: 0\r\n"), ("/none", "")] {
        let mut wire = rig.edge.connect();
        wire.send(format!("POST {target} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"));
        assert_eq!(wire.response_to("POST").status, 200, "{target}");
        let seen = rig.origin.take(target);
        assert!(seen.complete && seen.body.is_empty(), "{target}: {:?}", seen.head);
        assert_ne!(seen.header("transfer-encoding"), Some("chunked"), "{target}: a body was made up");
    }
}

// ---- far ahead of the answers ----

/// More than the edge reads ahead, and less than the sockets between hold.
const FAR_AHEAD: usize = 300_000;

#[test]
fn an_upload_behind_a_held_answer_waits_its_turn_and_arrives_whole() {
    let rig = rig();
    let (key, gate) = gate();
    rig.origin.on("/held", move |exchange| {
        gate.wait();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst");
        After::Keep
    });
    rig.origin.answer("/upload", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond");
    let body: Vec<u8> = (0..FAR_AHEAD).map(|at| b"abcdefghijklmnopqrstuvwxy"[(at / 7) % 25]).collect();
    let mut wire = rig.edge.connect();
    wire.send("GET /held HTTP/1.1\r\nHost: a.test\r\n\r\n");
    rig.origin.request_for("/held");
    let mut socket = wire.socket().try_clone().expect("a second handle");
    let sent = body.clone();
    let sending = std::thread::spawn(move || {
        let head = format!("POST /upload HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", sent.len());
        socket.write_all(&[head.as_bytes(), &sent].concat())
    });
    // Long enough for the edge to have looked whether a client so far ahead is still there.
    wire.silent_for(Duration::from_millis(1500));
    assert_eq!(rig.origin.requests_for("/upload").len(), 0, "one after the other");
    key.open();
    let first = wire.response();
    assert_eq!((first.text().as_str(), first.header("connection") == Some("close")), ("first", false));
    assert_eq!(wire.response_to("POST").text(), "second");
    sending.join().expect("the sender ends").expect("all is taken");
    let arrived = rig.origin.request_for("/upload");
    assert!(arrived.complete && arrived.body == body, "{} of {} bytes", arrived.body.len(), body.len());
}

#[test]
fn a_client_that_is_far_ahead_and_leaves_is_heard_leaving() {
    for (path, reset) in [("/left-by-reset", true), ("/left-by-fin", false)] {
        let rig = rig();
        let (ended, end) = channel();
        let ended = Mutex::new(ended);
        rig.origin.on(path, move |exchange| {
            let _ = exchange.wait_end();
            let _ = ended.lock().unwrap().send(());
            After::Close
        });
        let mut wire = rig.edge.connect();
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        rig.origin.request_for(path);
        let ahead = "GET /ahead HTTP/1.1\r\nHost: a.test\r\n\r\n";
        wire.send(ahead.repeat(48 * 1024 / ahead.len()));
        wire.silent_for(Duration::from_millis(300));
        let left = Instant::now();
        if reset {
            wire.abort()
        } else {
            drop(wire)
        }
        end.recv_timeout(PATIENCE).expect("the upstream's connection ends when the client leaves");
        println!("{path}: client gone -> upstream closed: {:?}", left.elapsed());
        assert!(left.elapsed() < Duration::from_secs(3), "{path}: {:?}", left.elapsed());
        assert_eq!(rig.edge.logged(path)["end"], "client_abort");
        assert_eq!(rig.origin.requests_for("/ahead").len(), 0, "what was pipelined behind it is not served");
    }
}
