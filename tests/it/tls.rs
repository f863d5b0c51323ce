//! TLS on a listener: which certificate a client is shown, what is spoken and what is refused, whose clients are let in,
//! and files that change under way.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::origin::After;
use crate::support::process::{Finished, run, run_within};
use crate::support::tls::{Authority, Pem, TlsClient};
use crate::support::{Config, Edge, Ending, Origin, Request, Stop, Wire, eventually, gate};

mod clients;
mod files;
mod wire;

const ROUTES: &str = r#"- { prefix: /, upstream: "http://{origin}", auth: none }"#;

/// An edge with a second listener for these pairs (`NAME.crt`, `NAME.key`), the first is the default.
pub fn edge_with(origin: &Origin, pairs: &[(&str, &Pem)], keys: &str, client: TlsClient) -> Edge {
    let files: Vec<String> = pairs.iter().map(|(name, _)| format!("{{ cert: {name}.crt, key: {name}.key }}")).collect();
    let keys = keys.replace("CERTIFICATES", &format!("certificates: [{}]", files.join(", ")));
    let config = Config::routes(ROUTES).origin(origin).secured_by(&keys, client);
    let add = |config: Config, (name, pem): &(&str, &Pem)| {
        config.file(&format!("{name}.crt"), &pem.cert).file(&format!("{name}.key"), &pem.key)
    };
    pairs.iter().fold(config, add).start()
}

/// One request on this connection, kept open.
pub fn get(wire: &mut Wire, target: &str) -> crate::support::Response {
    wire.send(Request::get(target).keep_alive().bytes());
    wire.response()
}

fn handshakes(edge: &Edge, outcome: &str) -> f64 {
    edge.metrics().sum("countersign_tls_handshakes_total", &[("listener", "secured"), ("outcome", outcome)])
}

#[test]
fn the_name_chooses_the_certificate() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let first = authority.server(&["first.test"]);
    let exact = authority.server(&["x.a.test", "y.b.test"]);
    let wild = authority.server(&["*.a.test"]);
    let pairs = [("first", &first), ("exact", &exact), ("wild", &wild)];
    let edge = edge_with(&origin, &pairs, "tls: { CERTIFICATES }", TlsClient::curious());
    for (name, expected) in [
        ("first.test", &first),
        ("x.a.test", &exact),
        ("Y.b.TEST", &exact),
        ("z.a.test", &wild),
        ("a.test", &first),
        ("z.z.a.test", &first),
        ("unknown.example", &first),
        ("127.0.0.1", &first),
    ] {
        let wire = edge.try_secured(name).expect("a connection");
        assert_eq!(wire.seen().fingerprint, expected.fingerprint(), "{name}");
    }
    let status = edge.status();
    let tls: Vec<_> = status["listeners"].as_array().unwrap().iter().map(|it| it["tls"].clone()).collect();
    assert_eq!(tls, [false, true]);
}

fn s_client(edge: &Edge, arguments: &[&str]) -> Finished {
    let address = edge.secured.expect("a second listener").to_string();
    run(Command::new("openssl").args(["s_client", "-connect", &address, "-servername", "a.test"]).args(arguments))
}

#[test]
fn rsa_and_ecdsa_stand_side_by_side() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let (rsa, ecdsa) = (authority.rsa_server(&["a.test"]), authority.server(&["a.test"]));
    let pairs = [("rsa", &rsa), ("ecdsa", &ecdsa)];
    let edge = edge_with(&origin, &pairs, "tls: { CERTIFICATES }", TlsClient::curious());
    for version in ["-tls1_2", "-tls1_3"] {
        for (algorithms, expected) in [
            ("rsa_pss_rsae_sha256", "Server public key is 2048 bit"),
            ("ecdsa_secp256r1_sha256", "Server public key is 256 bit"),
            ("ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256", "Server public key is 256 bit"),
            ("rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256", "Server public key is 2048 bit"),
        ] {
            let finished = s_client(&edge, &[version, "-sigalgs", algorithms]);
            assert!(finished.stdout.contains(expected), "{version} {algorithms}: {finished:?}");
        }
    }
    let only_rsa = s_client(&edge, &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"]);
    assert!(only_rsa.stdout.contains("Server public key is 2048 bit"), "TLS 1.2 has the suite say: {only_rsa:?}");
}

#[test]
fn what_is_old_or_weak_is_refused() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let (rsa, ecdsa) = (authority.rsa_server(&["a.test"]), authority.server(&["a.test"]));
    let pairs = [("rsa", &rsa), ("ecdsa", &ecdsa)];
    let edge = edge_with(&origin, &pairs, "tls: { CERTIFICATES }", TlsClient::curious());
    let weak = "ALL:COMPLEMENTOFALL@SECLEVEL=0";
    for refused in [
        &["-tls1", "-cipher", weak][..],
        &["-tls1_1", "-cipher", weak],
        &["-tls1_2", "-cipher", "AES128-GCM-SHA256@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256@SECLEVEL=0"],
        &["-tls1_2", "-sigalgs", "RSA+SHA1:ECDSA+SHA1", "-cipher", "ALL@SECLEVEL=0"],
    ] {
        let finished = s_client(&edge, refused);
        assert!(finished.stdout.contains("Cipher is (NONE)"), "{refused:?}: {finished:?}");
    }
    for accepted in [
        &["-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"][..],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
        &["-tls1_3", "-groups", "P-384"],
    ] {
        let finished = s_client(&edge, accepted);
        assert!(!finished.stdout.contains("Cipher is (NONE)"), "{accepted:?}: {finished:?}");
    }
    let renegotiating = s_client(&edge, &["-tls1_2"]);
    assert!(renegotiating.stdout.contains("Secure Renegotiation IS supported"), "{renegotiating:?}");
}

#[test]
fn a_listener_may_ask_for_the_new_version() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let pem = authority.server(&["a.test"]);
    let keys = "tls: { min_version: \"1.3\", CERTIFICATES }";
    let edge = edge_with(&origin, &[("edge", &pem)], keys, TlsClient::trusting(&authority));
    assert!(s_client(&edge, &["-tls1_2"]).stdout.contains("Cipher is (NONE)"));
    assert_eq!(edge.connect_secured().seen().version, rustls::ProtocolVersion::TLSv1_3);
}

#[test]
fn sessions_are_resumed_in_both_versions() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let pem = authority.server(&["a.test"]);
    let client = TlsClient::trusting(&authority);
    let edge = edge_with(&origin, &[("edge", &pem)], "tls: { CERTIFICATES }", client.clone());
    let address = edge.secured.unwrap();
    for (count, version) in [(1.0, &rustls::version::TLS13), (2.0, &rustls::version::TLS12)] {
        let client = client.speaking(version, &authority);
        for resumed in [false, true] {
            let mut wire = client.connect(address, "a.test").expect("a connection");
            assert_eq!(get(&mut wire, "/x").status, 200);
            assert_eq!(wire.seen().resumed, resumed, "{version:?}");
        }
        let counted = || (handshakes(&edge, "full"), handshakes(&edge, "resumed"));
        eventually("both are counted", || (counted() == (count, count)).then_some(()));
    }
    let other = client.connect(address, "a.test").expect("a connection");
    assert!(!other.seen().resumed, "a client without a session has none to resume");
}

#[test]
fn protocols_are_agreed_upon() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let pem = authority.server(&["a.test"]);
    let client = TlsClient::trusting(&authority).offering(&["h2", "http/1.1"]);
    let edge = edge_with(&origin, &[("edge", &pem)], "http2: false, tls: { CERTIFICATES }", client.clone());
    let address = edge.secured.unwrap();
    assert_eq!(client.connect(address, "a.test").unwrap().seen().alpn, "http/1.1");
    assert_eq!(client.offering(&[]).connect(address, "a.test").unwrap().seen().alpn, "");
    assert!(client.offering(&["spdy/3"]).connect(address, "a.test").is_err(), "RFC 7301 §3.2: nothing in common");
}

#[test]
fn the_upstream_hears_that_it_was_https() {
    let origin = Origin::start();
    let edge = Config::routes(ROUTES).origin(&origin).secured().start();
    assert_eq!(get(&mut edge.connect_secured(), "/tls").status, 200);
    assert_eq!(origin.request_for("/tls").header("x-forwarded-proto"), Some("https"));
    assert_eq!(edge.get("/plain").status, 200);
    assert_eq!(origin.request_for("/plain").header("x-forwarded-proto"), Some("http"));
}

#[test]
fn http_in_the_clear_is_told_about_https() {
    let origin = Origin::start();
    let edge = Config::routes(ROUTES).origin(&origin).secured().start();
    let mut wire = Wire::connect(edge.secured.unwrap());
    wire.send(Request::get("/clear").bytes());
    wire.response().expect_error(400, "tls_required");
    assert_eq!(wire.end().0, Stop::Closed);
    assert_eq!((edge.logged("/clear")["code"].as_str(), origin.count()), (Some("tls_required"), 0));
}

#[test]
fn a_silent_or_half_said_hello_ends_in_time() {
    let (origin, authority) = (Origin::start(), Authority::default());
    let pem = authority.server(&["a.test"]);
    let keys = "headers_timeout: 400ms, tls: { CERTIFICATES }";
    let edge = edge_with(&origin, &[("edge", &pem)], keys, TlsClient::trusting(&authority));
    for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16\x03\x01\xff\xff", b"\0\0\0\0\0"] {
        let mut wire = Wire::connect(edge.secured.unwrap());
        wire.send(said);
        assert!(wire.closed() < Duration::from_secs(4), "{said:?}");
    }
    assert_eq!(edge.connect_secured().seen().version, rustls::ProtocolVersion::TLSv1_3);
    eventually("they are gone", || (edge.status()["connections"] == 0).then_some(()));
}

#[test]
fn a_handshake_that_nobody_goes_on_with_delays_no_stop() {
    let origin = Origin::start();
    let edge = Config::routes(ROUTES).origin(&origin).secured().start();
    let _silent = Wire::connect(edge.secured.unwrap());
    eventually("it is accepted", || (edge.status()["connections"] == 1).then_some(()));
    edge.process.signal("TERM");
    let (status, took) = edge.process.wait(Duration::from_secs(8));
    assert!(status.success() && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn connections_are_capped_before_they_shake_hands() {
    let origin = Origin::start();
    let edge = Config::routes(ROUTES).origin(&origin).secured().server("max_connections: 2").start();
    let silent: Vec<Wire> = (0..2).map(|_| Wire::connect(edge.secured.unwrap())).collect();
    eventually("they are accepted", || (edge.status()["connections"] == 2).then_some(()));
    assert!(edge.try_secured("a.test").is_err());
    drop(silent);
    eventually("there is room again", || edge.try_secured("a.test").ok());
}

/// A file with the certificates that curl is to believe.
pub fn ca_file(edge: &Edge, authority: &Authority) -> PathBuf {
    let path = edge.directory().join("authority.pem");
    std::fs::write(&path, &authority.pem).expect("write the authority");
    path
}

pub fn curl(edge: &Edge, authority: &Authority, arguments: &[&str], path: &str) -> Finished {
    let address = edge.secured.expect("a second listener");
    let resolve = format!("demo.test:{}:{}", address.port(), address.ip());
    let ca = ca_file(edge, authority).display().to_string();
    let url = format!("https://demo.test:{}{path}", address.port());
    let fixed = ["--silent", "--show-error", "--max-time", "60", "--cacert", &ca, "--resolve", &resolve];
    run_within(Duration::from_secs(70), Command::new("curl").args(fixed).args(arguments).arg(url))
}
