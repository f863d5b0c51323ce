//! The fixtures themselves, without an edge: a client straight at a scripted origin. What they claim to see, they see.

use std::net::UdpSocket;
use std::time::Duration;

use crate::support::dns::Dns;
use crate::support::metrics::Metrics;
use crate::support::origin::After;
use crate::support::{Ending, Origin, Request, Stop, Wire, gate, leak};

fn direct(origin: &Origin, target: &str) -> Wire {
    let mut wire = Wire::connect(origin.authority().parse().expect("an address"));
    wire.patience = Duration::from_secs(2);
    wire.send(Request::get(target).bytes());
    wire
}

#[test]
fn the_client_tells_a_clean_end_from_a_cut_and_fin_from_rst() {
    let origin = Origin::start();
    origin.answer_and_close("/short", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc");
    origin.answer_and_close("/chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    origin.answer_and_close(
        "/whole",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nt: 1\r\n\r\n",
    );
    origin.on("/reset", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\n\r\nabc");
        After::Reset
    });
    assert_eq!(direct(&origin, "/short").response().ending, Ending::Cut(Stop::Closed));
    assert_eq!(direct(&origin, "/chunk").response().ending, Ending::Cut(Stop::Closed));
    let whole = direct(&origin, "/whole").response();
    assert_eq!((whole.text().as_str(), whole.trailers.get("t")), ("abc", Some("1")));
    whole.expect_clean();
    assert_eq!(direct(&origin, "/reset").response().ending, Ending::Cut(Stop::Reset));
}

#[test]
fn an_origin_records_bytes_and_waits_at_gates() {
    let origin = Origin::start();
    let (key, gate) = gate();
    origin.on("/gated", move |exchange| {
        assert!(exchange.read_body());
        gate.wait();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx");
        After::Keep
    });
    let mut wire = Wire::connect(origin.authority().parse().expect("an address"));
    wire.send(
        "POST /gated HTTP/1.1\r\nHost: a\r\nX-B: \t two \r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\n\r\n",
    );
    let seen = origin.request_for("/gated");
    assert_eq!((seen.method(), seen.header("x-b")), ("POST", Some("two")));
    wire.silent_for(Duration::from_millis(50));
    key.open();
    assert_eq!(wire.response_to("POST").text(), "x");
    let seen = origin.take("/gated");
    assert_eq!((seen.body.as_slice(), seen.complete), (b"hi".as_slice(), true));
}

#[test]
fn the_leak_guard_catches_what_it_is_for() {
    let origin = Origin::start();
    for field in
        ["X-Kms-User: x", "Keep-Alive: timeout=5", "Server: Pingora", "Connection: x-priv", "x: c4n4ry", "Trailer: x"]
    {
        origin.answer("/leak", format!("HTTP/1.1 200 OK\r\n{field}\r\ncontent-length: 0\r\n\r\n"));
        let caught = std::panic::catch_unwind(|| direct(&origin, "/leak").response());
        assert!(caught.is_err(), "{field} passed the leak guard");
    }
    assert!(std::panic::catch_unwind(|| leak::check_bytes("x", b"a c4n4ry sings")).is_err());
}

#[test]
fn metrics_are_read_with_their_labels() {
    let text = "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"1\",c=\"x,\\\"y\\\"}\"} 2\na_total{b=\"2\",c=\"\"} 3\nd 4.5\n";
    let metrics = Metrics::parse(text);
    assert_eq!(metrics.sum("a_total", &[]), 5.0);
    assert_eq!(metrics.sum("a_total", &[("b", "2")]), 3.0);
    assert_eq!(metrics.sum("d", &[]), 4.5);
    assert_eq!(metrics.label_values("a_total", "c"), ["", "x,\"y\"}"]);
    assert_eq!(metrics.label_names("a_total"), ["b", "c"]);
}

#[test]
fn the_name_server_knows_its_names() {
    let dns = Dns::start(&[("known.example", std::net::Ipv4Addr::LOCALHOST)]);
    let ask = |name: &str| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).expect("a short label"));
            query.extend_from_slice(label.as_bytes());
        }
        query.extend_from_slice(&[0, 0, 1, 0, 1]);
        socket.send_to(&query, dns.address).expect("ask");
        let mut answer = [0u8; 512];
        let count = socket.recv(&mut answer).expect("an answer");
        answer[..count].to_vec()
    };
    let known = ask("Known.Example");
    assert_eq!((known[3] & 15, &known[known.len() - 4..]), (0, &[127, 0, 0, 1][..]));
    assert_eq!(ask("other.example")[3] & 15, 3);
}
