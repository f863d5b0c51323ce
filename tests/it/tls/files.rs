//! Certificate files that change: served at the next handshake, nobody is dropped, and what is broken is not served.

use super::{After, Authority, Origin, Pem, TlsClient, edge_with, eventually, gate, get};
use crate::support::{Edge, Request};

/// To a client that has no session: a resumed one knows the certificate of its beginning.
fn served(edge: &Edge, name: &str) -> String {
    let wire = TlsClient::curious().connect(edge.secured.unwrap(), name);
    wire.expect("a TLS connection").seen().fingerprint
}

fn wait_for(edge: &Edge, pem: &Pem) {
    let expected = pem.fingerprint();
    eventually("the new certificate is served", || (served(edge, "a.test") == expected).then_some(()));
}

fn broken(edge: &Edge) -> f64 {
    edge.metrics().sum("countersign_tls_certificate_files_broken", &[("name", "a.test")])
}

#[test]
fn a_new_certificate_is_served_while_an_old_connection_streams_on() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let (key, gate) = gate();
    origin.on("/events", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        exchange.send("9\r\ndata: 1\n\n\r\n");
        gate.wait();
        exchange.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n");
        After::Keep
    });
    let (old, new) = (authority.server(&["a.test"]), authority.server(&["a.test"]));
    let keys = "http2: false, tls: { CERTIFICATES }";
    let edge = edge_with(&origin, &[("edge", &old)], keys, TlsClient::trusting(&authority));
    let mut stream = edge.connect_secured();
    stream.send(Request::get("/events").keep_alive().bytes());
    assert_eq!((stream.head().status, stream.chunk()), (200, b"data: 1\n\n".to_vec()));
    assert_eq!(served(&edge, "a.test"), old.fingerprint());
    new.write(edge.directory(), "edge");
    wait_for(&edge, &new);
    key.open();
    assert_eq!(stream.chunk(), b"data: 2\n\n");
    assert_eq!(stream.chunk(), b"");
    assert_eq!(get(&mut stream, "/after").status, 200, "the old connection serves further requests");
    assert_eq!(edge.status()["generation"], 1, "it was no reload");
    let not_after =
        edge.metrics().sum("countersign_tls_certificate_not_after_timestamp_seconds", &[("name", "a.test")]);
    assert_eq!(not_after, 4_859_740_800.0, "2124-01-01");
}

#[test]
fn a_broken_file_leaves_the_old_certificate_and_is_told_loudly_once() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let (old, new) = (authority.server(&["a.test"]), authority.server(&["a.test"]));
    let keys = "http2: false, tls: { CERTIFICATES }";
    let edge = edge_with(&origin, &[("edge", &old)], keys, TlsClient::trusting(&authority));
    assert_eq!(broken(&edge), 0.0);
    std::fs::write(edge.directory().join("edge.crt"), "nonsense").unwrap();
    edge.wait_log("the certificate from before stays in use");
    assert_eq!((served(&edge, "a.test"), broken(&edge)), (old.fingerprint(), 1.0));
    new.write(edge.directory(), "edge");
    wait_for(&edge, &new);
    eventually("it is mended", || (broken(&edge) == 0.0).then_some(()));
    let complaints = edge.output().matches("stays in use").count();
    assert_eq!(complaints, 1, "{}", edge.output());
}

#[test]
fn half_of_a_pair_is_never_served() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let (old, new) = (authority.server(&["a.test"]), authority.server(&["a.test"]));
    let keys = "http2: false, tls: { CERTIFICATES }";
    let edge = edge_with(&origin, &[("edge", &old)], keys, TlsClient::trusting(&authority));
    std::fs::write(edge.directory().join("edge.key"), &new.key).unwrap();
    edge.wait_log("does not belong to the certificate");
    assert_eq!(served(&edge, "a.test"), old.fingerprint());
    std::fs::write(edge.directory().join("edge.crt"), &new.cert).unwrap();
    wait_for(&edge, &new);
}

#[test]
fn links_that_lead_elsewhere_are_followed_as_certbot_sets_them() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let (old, new) = (authority.server(&["a.test"]), authority.server(&["a.test"]));
    let keys = "http2: false, tls: { certificates: [{ cert: live.crt, key: live.key }] }";
    let pairs = [("archive1", &old), ("archive2", &new), ("live", &old)];
    let edge = edge_with(&origin, &pairs, keys, TlsClient::trusting(&authority));
    for number in ["1", "2"] {
        for end in ["key", "crt"] {
            let aside = edge.directory().join("aside");
            std::os::unix::fs::symlink(format!("archive{number}.{end}"), &aside).unwrap();
            std::fs::rename(&aside, edge.directory().join(format!("live.{end}"))).unwrap();
        }
        wait_for(&edge, if number == "1" { &old } else { &new });
    }
}

#[test]
fn an_edit_of_the_certificates_applies_on_reload_and_a_broken_one_is_rejected() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let (first, second) = (authority.server(&["a.test"]), authority.server(&["b.test"]));
    let pairs = [("first", &first), ("second", &second)];
    let keys = "http2: false, tls: { certificates: [{ cert: first.crt, key: first.key }] }";
    let edge = edge_with(&origin, &pairs, keys, TlsClient::curious());
    assert_eq!(served(&edge, "b.test"), first.fingerprint());
    let mut wire = edge.try_secured("b.test").unwrap();
    let text = edge.text();
    let edit = |to: &str| {
        std::fs::write(edge.file(), text.replace("[{ cert: first.crt, key: first.key }]", to)).unwrap();
        edge.command(&["reload"], &["--wait"])
    };
    let applied = edit("[{ cert: first.crt, key: first.key }, { cert: second.crt, key: second.key }]");
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(!applied.stdout.contains("restart"), "{applied:?}");
    assert_eq!(served(&edge, "b.test"), second.fingerprint());
    assert_eq!(get(&mut wire, "/x").status, 200, "nobody is dropped");
    let rejected = edit("[{ cert: first.crt, key: second.key }]");
    assert_eq!(rejected.code, Some(1), "{rejected:?}");
    assert!(rejected.stdout.contains("does not belong to the certificate"), "{rejected:?}");
    assert_eq!(served(&edge, "b.test"), second.fingerprint());
    first.write(edge.directory(), "third");
    let missing = edit("[{ cert: fourth.crt, key: fourth.key }]");
    assert_eq!(missing.code, Some(1), "{missing:?}");
    second.write(edge.directory(), "fourth");
    eventually("what was missing is there", || (served(&edge, "a.test") == second.fingerprint()).then_some(()));
}
