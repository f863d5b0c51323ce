//! The PROXY protocol: who is believed, and what becomes of the rest.

use std::time::Duration;

use crate::support::tls::{Authority, TlsClient};
use crate::support::{Config, Edge, Origin, Request, Stop, Wire, eventually};

const ROUTES: &str = r#"- { prefix: /, upstream: "http://{origin}", auth: none }"#;

fn edge(origin: &Origin, trusted: &str) -> Edge {
    Config::routes(ROUTES)
        .origin(origin)
        .server(&format!("trusted_proxies: [{trusted}]"))
        .listener("proxy_protocol: true, headers_timeout: 600ms")
        .start()
}

fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend(payload);
    bytes
}

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 12345 443\r\n";
const V4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb];

/// Whom the origin sees, asked through a connection that begins with these bytes.
fn seen(edge: &Edge, origin: &Origin, header: &[u8], target: &str) -> String {
    let mut wire = edge.connect();
    wire.send([header, &Request::get(target).header("x-forwarded-for", "198.51.100.7").bytes()].concat());
    assert_eq!(wire.response().status, 200, "{target}");
    assert_eq!(
        edge.logged(target)["client_ip"].as_str(),
        origin.request_for(target).header("x-forwarded-for").map(|value| value.split(", ").next().unwrap())
    );
    origin.request_for(target).header("x-forwarded-for").unwrap_or_default().to_owned()
}

#[test]
fn whom_a_trusted_proxy_speaks_for_is_the_client() {
    let origin = Origin::start();
    let edge = edge(&origin, "127.0.0.1");
    let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9][..]; 2].concat();
    let v6 = [&v6[..], &[0x30, 0x39, 1, 0xbb]].concat();
    let with_more = [&V4[..], &[4, 0, 1, 42]].concat();
    assert_eq!(seen(&edge, &origin, V1, "/v1"), "203.0.113.9", "what the client says of itself is not believed");
    assert_eq!(seen(&edge, &origin, b"PROXY TCP6 2001:db8::9 ::1 1 2\r\n", "/v1-6"), "2001:db8::9");
    assert_eq!(seen(&edge, &origin, &binary(0x21, 0x11, &V4), "/v2"), "203.0.113.9");
    assert_eq!(seen(&edge, &origin, &binary(0x21, 0x21, &v6), "/v2-6"), "2001:db8::9");
    assert_eq!(seen(&edge, &origin, &binary(0x21, 0x11, &with_more), "/v2-more"), "203.0.113.9");
}

#[test]
fn a_proxy_that_speaks_for_itself_is_the_client() {
    let origin = Origin::start();
    let edge = edge(&origin, "127.0.0.1");
    for (header, target) in [(binary(0x20, 0x00, &[]), "/local"), (b"PROXY UNKNOWN\r\n".to_vec(), "/unknown")] {
        let mut wire = edge.connect();
        wire.send([&header[..], &Request::get(target).bytes()].concat());
        assert_eq!(wire.response().status, 200, "{target}");
        assert_eq!(edge.logged(target)["client_ip"], "127.0.0.1", "{target}");
    }
}

#[test]
fn a_header_may_come_byte_by_byte_and_the_connection_goes_on() {
    let origin = Origin::start();
    let edge = edge(&origin, "127.0.0.1");
    for header in [V1.to_vec(), binary(0x21, 0x11, &V4)] {
        let mut wire = edge.connect();
        for byte in &header {
            wire.send([*byte]);
        }
        for target in ["/one", "/two"] {
            wire.send(Request::get(target).keep_alive().bytes());
            assert_eq!(wire.response().status, 200);
        }
    }
}

#[test]
fn everything_else_ends_the_connection_without_a_word() {
    let origin = Origin::start();
    let edge = edge(&origin, "127.0.0.1");
    let request = Request::get("/refused").bytes();
    for header in [
        &b""[..],
        b"PROXY TCP4 999.0.113.9 10.0.0.1 12345 443\r\n",
        b"PROXY TCP5 203.0.113.9 10.0.0.1 12345 443\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc",
    ] {
        let mut wire = edge.connect();
        wire.send([header, &request].concat());
        assert!(wire.closed() < Duration::from_secs(4), "{header:?}");
        assert_eq!(wire.received(), "", "{header:?}");
    }
    assert_eq!(origin.count(), 0);
    let refused = || edge.metrics().sum("countersign_proxy_protocol_refused_total", &[("listener", "main")]);
    eventually("they are counted", || (refused() == 5.0).then_some(()));
}

#[test]
fn a_header_that_does_not_come_ends_the_connection_in_time() {
    let origin = Origin::start();
    let edge = edge(&origin, "127.0.0.1");
    for begun in [&b""[..], b"PROXY TCP4 203.0.", &binary(0x21, 0x11, &V4)[..20]] {
        let mut wire = edge.connect();
        wire.send(begun);
        assert!(wire.closed() < Duration::from_secs(4), "{begun:?}");
        assert_eq!(wire.received(), "");
    }
}

#[test]
fn nobody_else_is_believed_or_served() {
    let origin = Origin::start();
    let edge = edge(&origin, "10.0.0.0/8");
    let mut wire = edge.connect();
    wire.send([V1, &Request::get("/untrusted").bytes()].concat());
    assert_ne!(wire.end().0, Stop::Patience);
    assert_eq!((wire.received().as_str(), origin.count()), ("", 0));
    edge.wait_log("not in server.trusted_proxies");
}

#[test]
fn the_header_comes_before_tls() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let pem = authority.server(&["a.test"]);
    let client = TlsClient::trusting(&authority);
    let keys = "http2: false, proxy_protocol: true, tls: { certificates: [{ cert: edge.crt, key: edge.key }] }";
    let config = Config::routes(ROUTES).origin(&origin).server("trusted_proxies: [127.0.0.1]");
    let edge = config.secured_by(keys, client.clone()).file("edge.crt", &pem.cert).file("edge.key", &pem.key).start();
    for (header, target) in [(V1.to_vec(), "/v1"), (binary(0x21, 0x11, &V4), "/v2")] {
        let mut wire = client.connect_saying(edge.secured.unwrap(), "a.test", &header).expect("a connection");
        wire.send(Request::get(target).bytes());
        assert_eq!(wire.response().status, 200);
        assert_eq!(edge.logged(target)["client_ip"], "203.0.113.9");
        assert_eq!(origin.request_for(target).header("x-forwarded-proto"), Some("https"));
    }
    assert!(client.connect(edge.secured.unwrap(), "a.test").is_err(), "TLS without a header");
    let mut plain: Wire = edge.connect();
    plain.send(Request::get("/plain").bytes());
    assert_eq!(plain.response().status, 200, "the other listener asks for none");
}
