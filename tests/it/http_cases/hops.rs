//! Hop-by-hop fields, forwarding fields, upgrades.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::Then::{Answer, Seen, Unseen};
use super::rig;
use crate::support::origin::After;
use crate::support::{Config, Origin, PATIENCE};

#[test]
fn hop_by_hop_and_upgrades() {
    rig().run(&[
        (
            "no hop-by-hop field goes upstream",
            "GET /echo HTTP/1.1\r\nHost: a.test\r\nConnection: close, X-Priv\r\nX-Priv: 1\r\nKeep-Alive: timeout=5\r\n\
             Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\nTE: gzip\r\nTrailer: X-T\r\nX-Kept: 1\r\n\r\n",
            &[200],
            Seen(|r| {
                let gone = ["x-priv", "keep-alive:", "proxy-connection", "proxy-authorization", "te:", "trailer"];
                let names: Vec<String> = r.head.fields.names().iter().map(|name| format!("{name}:")).collect();
                r.header("x-kept") == Some("1") && !gone.iter().any(|g| names.iter().any(|n| n.starts_with(g)))
            }),
        ),
        (
            "Connection: Content-Length",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nConnection: Content-Length\r\nContent-Length: 3\r\n\r\nabc",
            &[400],
            Unseen,
        ),
        ("Connection: Host", "GET /echo HTTP/1.1\r\nHost: a.test\r\nConnection: Host\r\n\r\n", &[400], Unseen),
        (
            "Connection: x-kms-sign",
            "GET /a0/x HTTP/1.1\r\nHost: a.test\r\nConnection: close, x-kms-sign, x-kms-user\r\n\r\n",
            &[200],
            Seen(|r| r.head.fields.all("x-kms-sign").len() == 1 && r.head.fields.all("x-kms-user").len() == 1),
        ),
        (
            "Connection: Cookie",
            "GET /echo HTTP/1.1\r\nHost: a.test\r\nConnection: Cookie\r\nCookie: a=b\r\n\r\n",
            &[200],
            Seen(|r| r.header("cookie").is_none()),
        ),
        (
            "TE: trailers",
            "GET /echo HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
            &[200],
            Seen(|r| r.header("te").is_none()),
        ),
        ("Expect: foo", "GET /echo HTTP/1.1\r\nHost: a.test\r\nExpect: foo\r\n\r\n", &[417], Unseen),
        (
            "Upgrade: h2c is ignored",
            "GET /echo HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
            &[200],
            Seen(|r| !r.contains("h2c") && !r.contains("http2-settings")),
        ),
        (
            "Upgrade on HTTP/1.0 is ignored",
            "GET /echo HTTP/1.0\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            &[200],
            Seen(|r| !r.contains("upgrade")),
        ),
        (
            "Upgrade without Connection: upgrade is ignored",
            "GET /echo HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive\r\nUpgrade: websocket\r\n\r\n",
            &[200],
            Seen(|r| !r.contains("upgrade")),
        ),
        (
            "Upgrade without Connection is ignored",
            "GET /echo HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n",
            &[200],
            Seen(|r| !r.contains("upgrade")),
        ),
        (
            "Upgrade with a POST is ignored",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
            &[200],
            Seen(|r| !r.contains("upgrade")),
        ),
        (
            "Upgrade with a body of some length is ignored",
            "GET /echo HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc",
            &[200],
            Seen(|r| !r.contains("upgrade") && r.body == b"abc"),
        ),
        (
            "Upgrade with a chunked body is ignored",
            "GET /echo HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            &[200],
            Seen(|r| !r.contains("upgrade: ") && r.body == b"abc"),
        ),
        (
            "forwarding fields of a stranger are replaced",
            "GET /echo HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\
             X-Forwarded-Proto: gopher\r\nX-Forwarded-Port: 6666\r\nX-Forwarded-Host: evil.test\r\n\r\n",
            &[200],
            Seen(|r| {
                let fields = &r.head.fields;
                !r.contains("6.6.6.6")
                    && !r.contains("evil.test")
                    && fields.all("x-forwarded-for") == ["127.0.0.1"]
                    // What the listener knows, which every port goes with, and not what the client says.
                    && matches!(
                        (fields.get("x-forwarded-proto"), fields.get("x-forwarded-port")),
                        (Some("http"), Some(port)) | (Some("https"), Some(port)) if port != "6666"
                    )
            }),
        ),
        (
            "HTTP/1.0 with keep-alive is closed or kept, never silently both",
            "GET /echo HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n",
            &[200],
            Answer(|r| r.header("connection") == Some("close") || r.header("connection") == Some("keep-alive")),
        ),
        ("HTTP/1.0 without Host", "GET /echo HTTP/1.0\r\n\r\n", &[400, 421], Unseen),
    ]);
}

#[test]
fn a_trusted_proxy_is_believed_and_appended_to() {
    let origin = Origin::start();
    let edge = Config::routes(r#"- { prefix: /, upstream: "http://{origin}", auth: none }"#)
        .origin(&origin)
        .server("trusted_proxies: [127.0.0.0/8]")
        .start();
    let mut wire = edge.connect();
    wire.send(
        "GET /trusted HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6, 7.7.7.7\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(wire.response().status, 200);
    let seen = origin.take("/trusted");
    let value: String = seen.header("x-forwarded-for").unwrap_or_default().replace(' ', "");
    assert_eq!(value, "6.6.6.6,7.7.7.7,127.0.0.1");
    assert_eq!(edge.logged("/trusted")["client_ip"], "7.7.7.7", "the right-most address that is not trusted");
}

#[test]
fn a_tunnel_is_opened_only_to_what_both_sides_asked_for() {
    let rig = rig();
    let asked = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let requests = [
        ("/no-upgrade", "", "websocket"),
        ("/no-connection", "Upgrade: websocket\r\n", "websocket"),
        ("/kept", "Connection: keep-alive\r\nUpgrade: websocket\r\n", "websocket"),
        ("/with-body", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 9\r\n", "websocket"),
        ("/with-chunks", "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", "websocket"),
        ("/another", asked, "foo"),
        ("/several", asked, "websocket, foo"),
    ];
    for (path, fields, switched) in requests {
        let answer =
            format!("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: {switched}\r\n\r\nraw");
        let (told, hears) = channel();
        let told = Mutex::new(told);
        rig.origin.on(path, move |exchange| {
            exchange.send(&answer);
            let mut heard = Vec::new();
            while let Ok(bytes) = exchange.some() {
                heard.extend_from_slice(&bytes);
            }
            let _ = told.lock().unwrap().send(heard);
            After::Close
        });
        let mut wire = rig.edge.connect();
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"));
        wire.response().expect_error(502, "unexpected_upgrade");
        wire.send("GET /smuggled HTTP/1.1\r\nHost: a.test\r\nx-kms-user: forged\r\n\r\n");
        wire.closed();
        assert!(!wire.received().contains("raw"), "{path}: {}", wire.received());
        let heard = hears.recv_timeout(PATIENCE).expect("the upstream's connection is closed");
        assert!(!String::from_utf8_lossy(&heard).contains("smuggled"), "{path}: {}", String::from_utf8_lossy(&heard));
        assert_eq!(rig.edge.logged(path)["code"], "unexpected_upgrade", "{path}");
    }
}

#[test]
fn a_websocket_upgrade_is_relayed_both_ways() {
    let rig = rig();
    rig.origin.on("/socket", |exchange| {
        assert_eq!(exchange.head.fields.get("upgrade"), Some("websocket"));
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n",
        );
        while let Ok(bytes) = exchange.some() {
            exchange.send(bytes.to_ascii_uppercase());
        }
        crate::support::origin::After::Close
    });
    let mut wire = rig.edge.connect();
    wire.send(
        "GET /socket HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let switched = wire.head();
    assert_eq!(switched.status, 101);
    assert_eq!(switched.header("upgrade"), Some("websocket"));
    for message in ["one", "two", "three"] {
        wire.send(message);
        assert_eq!(wire.exactly(message.len()), message.to_ascii_uppercase().as_bytes());
    }
    wire.finish_sending();
    wire.closed();
}
