//! HTTP/2 towards upstreams: by ALPN and without TLS, many requests on one connection, what it refuses sent again, and the
//! same clocks as over HTTP/1.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::authority::Authority;
use crate::support::edge::{Reported, free_address};
use crate::support::frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS};
use crate::support::h2::{self, H2};
use crate::support::nginx::Nginx;
use crate::support::origin::After;
use crate::support::process::{Process, run};
use crate::support::{Config, Edge, Ending, Request, eventually};

const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

// ---- real nginx ----

fn nginx(authority: &Authority, listen: &str, server: &str) -> Nginx {
    let files = authority.server("users.internal.example");
    let tls = format!("ssl_certificate {}; ssl_certificate_key {};", files.certificate, files.key);
    let tls = if listen.contains("ssl") { tls.as_str() } else { "" };
    Nginx::start_on(listen, &format!("{tls} {server}"))
}

/// A TLS server that has never heard of ALPN.
fn without_alpn(authority: &Authority) -> (Process, String) {
    const SCRIPT: &str = "import http.server, ssl, sys\n\
        server = http.server.HTTPServer(('127.0.0.1', 0), http.server.BaseHTTPRequestHandler)\n\
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
        tls.load_cert_chain(sys.argv[1], sys.argv[2])\n\
        server.socket = tls.wrap_socket(server.socket, server_side=True)\n\
        print(server.server_port, flush=True)\n\
        server.serve_forever()\n";
    let files = authority.server("users.internal.example");
    let process = Process::spawn(Command::new("python3").args(["-c", SCRIPT, &files.certificate, &files.key]));
    let port = eventually("the server says its port", || process.stdout().trim().parse::<u16>().ok());
    (process, format!("127.0.0.1:{port}"))
}

#[test]
fn http2_is_spoken_where_alpn_agrees_and_only_there() {
    let authority = Authority::new();
    let says = "location / { return 200 \"$server_protocol $host $http_te $http_connection\"; }";
    let (both, old) = (nginx(&authority, "ssl http2", says), nginx(&authority, "ssl", says));
    let clear = nginx(&authority, "http2", says);
    let (_server, mute) = without_alpn(&authority);
    let edge = Config::new(
        r#"
        upstreams:
          auto: { scheme: https, endpoints: [{ address: "{both}" }], tls: { server_name: users.internal.example, ca: "{ca}" } }
          off: { scheme: https, http2: off, endpoints: [{ address: "{both}" }], tls: { server_name: users.internal.example, ca: "{ca}" } }
          only: { scheme: https, http2: only, endpoints: [{ address: "{both}" }], tls: { server_name: users.internal.example, ca: "{ca}" } }
          auto-old: { scheme: https, endpoints: [{ address: "{old}" }], tls: { server_name: users.internal.example, ca: "{ca}" } }
          only-old: { scheme: https, http2: only, endpoints: [{ address: "{old}" }], tls: { server_name: users.internal.example, ca: "{ca}" } }
          only-mute: { scheme: https, http2: only, endpoints: [{ address: "{mute}" }], tls: { server_name: users.internal.example, ca: "{ca}" } }
          clear: { scheme: h2c, endpoints: [{ address: "{clear}" }] }
        projects:
          demo:
            upstream_policy: open
            environments:
              production:
                routes:
                  - { prefix: /only-mute, upstream: only-mute, auth: none }
                  - { prefix: /auto, upstream: auto, auth: none }
                  - { prefix: /off, upstream: off, auth: none }
                  - { prefix: /only, upstream: only, auth: none }
                  - { prefix: /auto-old, upstream: auto-old, auth: none }
                  - { prefix: /only-old, upstream: only-old, auth: none }
                  - { prefix: /clear, upstream: clear, host: client, auth: none }
        "#,
    )
    .value("both", &both.address.to_string())
    .value("old", &old.address.to_string())
    .value("mute", &mute)
    .value("clear", &clear.address.to_string())
    .value("ca", &authority.certificate())
    .start();
    let _report = Reported(&edge);
    let over2 = "HTTP/2.0 users.internal.example  ";
    let over1 = "HTTP/1.1 users.internal.example  ";
    // Twice: once on a new connection, once out of the pool, and each group has a pool of its own.
    for round in 0..2 {
        for (path, text) in [("/auto", over2), ("/off", over1), ("/only", over2), ("/auto-old", over1)] {
            let response = edge.get(path);
            assert_eq!((response.status, response.text().as_str()), (200, text), "{path}, {round}");
        }
        // This one refuses in the handshake; the one without ALPN is found out behind it.
        edge.get("/only-old").expect_error(502, "upstream_tls_failed");
        edge.get("/only-mute").expect_error(502, "upstream_not_http2");
        assert_eq!(edge.get("/clear").text(), "HTTP/2.0 demo.test  ");
    }
    let old_client = |path: &str| {
        let mut wire = edge.connect();
        wire.send(format!("GET {path} HTTP/1.0\r\nhost: demo.test\r\n\r\n"));
        wire.response()
    };
    assert_eq!(old_client("/auto/old").text(), over1, "a client of HTTP/1.0 is served over HTTP/1");
    assert_eq!(old_client("/clear/old").status, 505, "and refused where there is only HTTP/2");
}

#[test]
fn bodies_of_any_size_go_both_ways_over_http2() {
    let nginx = Nginx::start_on("http2", "location /file { root {dir}; }");
    let body = vec![b'x'; 20 * 1024 * 1024];
    std::fs::write(nginx.directory.path().join("file"), &body).expect("a large file");
    let edge = clear(&nginx.address.to_string(), "");
    let response = edge.get("/file");
    assert_eq!((response.status, response.body.len()), (200, body.len()));
    assert_eq!(response.header("content-length"), Some(&*body.len().to_string()));
    assert_eq!(edge.call(&Request::new("HEAD", "/file")).header("content-length"), Some(&*body.len().to_string()));
    let part = edge.call(&Request::get("/file").header("range", "bytes=5-9"));
    assert_eq!((part.status, part.body.as_slice()), (206, &b"xxxxx"[..]));
}

// ---- an upstream of single frames ----

/// An edge in front of an h2c upstream, with further keys of the route.
fn clear(authority: &str, keys: &str) -> Edge {
    Config::new(
        r#"
        upstreams:
          clear: { scheme: h2c, endpoints: [{ address: "{upstream}" }] }
        projects:
          demo:
            upstream_policy: open
            environments:
              production:
                routes:
                  - { prefix: /, upstream: clear, auth: none, timeouts: { connect: 2s, first_byte: 600ms, idle: 500ms, send: 5s }{keys} }
        "#,
    )
    .value("upstream", authority)
    .value("keys", keys)
    .start()
}

/// RFC 9110 §6.4.1. Data behind such a head must become part of no answer, in either protocol.
#[test]
fn an_answer_that_has_no_body_gets_none_whatever_the_upstream_sends() {
    const NO_CONTENT: &[u8] = &[0x89];
    const NOT_MODIFIED: &[u8] = &[0x8b];
    for (status, head) in [(204, NO_CONTENT), (304, NOT_MODIFIED)] {
        let upstream = Frames::start(move |peer, stream, _| {
            peer.frame(HEADERS, END_HEADERS, stream, head);
            peer.frame(DATA, 0, stream, b"body");
            peer.frame(DATA, END_STREAM, stream, b"");
            After::Keep
        });
        let edge = Config::new(
            r#"
            upstreams:
              u: { scheme: h2c, endpoints: [{ address: "{upstream}" }] }
            projects:
              demo:
                upstream_policy: open
                environments: { production: { routes: [{ prefix: /, upstream: u, auth: none }] } }
            "#,
        );
        let edge = edge.value("upstream", &upstream.authority()).listener("h2c: true").start();
        let answer = H2::connect(edge.data).get("/x");
        assert_eq!((answer.status, answer.body.len(), answer.end), (status, 0, Some(h2::End::Clean)), "{answer:?}");
        let mut wire = edge.connect();
        for _ in 0..2 {
            wire.send(Request::get("/x").keep_alive().bytes());
            assert_eq!(wire.response().status, status, "the connection keeps its place");
        }
    }
}

#[test]
fn many_requests_share_one_connection() {
    // From the fiftieth request on, nobody is answered before twenty wait.
    let waiting = Mutex::new(Vec::new());
    let upstream = Frames::start(move |peer, stream, before| {
        if before < 50 {
            peer.answer(stream, "hello");
            return After::Keep;
        }
        let mut waiting = waiting.lock().unwrap();
        waiting.push(stream);
        if waiting.len() == 20 {
            for &stream in &*waiting {
                peer.answer(stream, "hello");
            }
        }
        After::Keep
    });
    let edge = clear(&upstream.authority(), "");
    let mut wire = edge.connect();
    for _ in 0..50 {
        wire.send("GET /x HTTP/1.1\r\nhost: demo.test\r\n\r\n");
        assert_eq!(wire.response().text(), "hello");
    }
    assert_eq!((upstream.requests(), upstream.connections()), (50, 1));
    let mut clients: Vec<_> = (1..=20)
        .map(|n| {
            let mut wire = edge.connect();
            wire.send("POST /x HTTP/1.1\r\nhost: demo.test\r\ncontent-length: 1\r\n\r\nx");
            // One after another: of two that look at the same instant, one may find the connection taken.
            eventually("the request to arrive", || (upstream.requests() == 50 + n).then_some(()));
            wire
        })
        .collect();
    assert!(clients.iter_mut().all(|wire| wire.response_to("POST").text() == "hello"));
    assert_eq!((upstream.requests(), upstream.connections()), (70, 1));
}

/// RFC 9113 §8.7: what is refused was not processed, so it may be sent again, whatever the method.
#[test]
fn what_is_refused_is_sent_again_even_a_post() {
    for way in ["refused", "goaway", "goaway and close"] {
        let upstream = Frames::start(move |peer, stream, before| {
            if before > 0 {
                peer.answer(stream, "served");
                return After::Keep;
            }
            match way {
                "refused" => _ = peer.reset(stream, REFUSED_STREAM),
                _ => _ = peer.goaway(stream - 1, 0),
            }
            if way == "goaway and close" { After::Close } else { After::Keep }
        });
        let edge = clear(&upstream.authority(), "");
        let _report = Reported(&edge);
        let response = edge.call(&Request::new("POST", "/pay").body("amount=1"));
        assert_eq!((response.status, response.text().as_str()), (200, "served"), "{way}");
        assert_eq!(upstream.requests(), 2, "{way}");
        assert_eq!(edge.metrics().sum("countersign_upstream_retries_total", &[("reason", "refused")]), 1.0, "{way}");
        assert_eq!(edge.logged("/pay")["attempts"], 2);
    }
}

#[test]
fn what_may_have_been_processed_is_not() {
    for way in ["reset", "goaway at it", "close", "rst"] {
        let upstream = Frames::start(move |peer, stream, _| match way {
            "reset" => {
                peer.reset(stream, INTERNAL_ERROR);
                After::Keep
            }
            "goaway at it" => {
                peer.goaway(stream, 0);
                After::Close
            }
            "close" => After::Close,
            _ => After::Reset,
        });
        let edge = clear(&upstream.authority(), ", retry: { attempts: 3 }");
        let _report = Reported(&edge);
        let response = edge.call(&Request::new("POST", "/pay").body("amount=1"));
        assert_eq!(response.status, 502, "{way}");
        assert_eq!(upstream.requests(), 1, "{way}: a POST may have been executed");
        assert_eq!(edge.logged("/pay")["end"], "upstream_abort", "{way}");
        assert_eq!(edge.get("/get").status, 502);
        assert_eq!(upstream.requests(), 4, "{way}: a GET is sent three times");
        edge.wait_idle();
    }
}

#[test]
fn an_upstream_that_refuses_for_ever_is_not_asked_for_ever() {
    let upstream = Frames::start(|peer, stream, _| {
        peer.reset(stream, REFUSED_STREAM);
        After::Keep
    });
    let edge = clear(&upstream.authority(), "");
    assert_eq!(edge.call(&Request::new("POST", "/pay").body("x")).status, 502);
    assert_eq!(upstream.requests(), 4);
}

#[test]
fn the_clocks_are_those_of_http1() {
    let seen = Arc::new(AtomicUsize::new(0));
    let reset = Arc::clone(&seen);
    let upstream = Frames::start(move |peer, stream, before| {
        match before {
            0 | 1 => {}
            2 => _ = peer.head(stream, 0) && peer.frame(DATA, 0, stream, b"half"),
            _ => {
                // Takes no more of the upload than the first window.
            }
        }
        if peer.wait_reset(stream) {
            reset.fetch_add(1, Ordering::SeqCst);
        }
        After::Close
    });
    let edge = clear(&upstream.authority(), "");
    let _report = Reported(&edge);
    for (index, request) in [Request::get("/mute"), Request::new("POST", "/mute/post").body("x")].iter().enumerate() {
        let started = Instant::now();
        edge.call(request).expect_error(504, "upstream_timeout");
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        eventually("the stream is given up", || (seen.load(Ordering::SeqCst) == index + 1).then_some(()));
    }
    assert_eq!(edge.logged("/mute")["end"], "timeout");

    let mut wire = edge.connect();
    wire.send("GET /half HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    let response = wire.response();
    assert_eq!(response.status, 200);
    assert!(matches!(response.ending, Ending::Cut(_)), "{:?}", response.ending);
    assert_eq!(edge.logged("/half")["end"], "timeout");

    let mut wire = edge.connect();
    wire.send("POST /deaf HTTP/1.1\r\nhost: demo.test\r\ncontent-length: 10000000\r\n\r\n");
    let mut copy = wire.socket().try_clone().expect("a copy");
    let pouring = std::thread::spawn(move || {
        let piece = vec![b'x'; 64 * 1024];
        for _ in 0..150 {
            if std::io::Write::write_all(&mut copy, &piece).is_err() {
                return;
            }
        }
    });
    wire.response_to("POST").expect_error(504, "upstream_send_timeout");
    drop(wire);
    pouring.join().expect("the client");
    edge.wait_idle();
}

#[test]
fn an_answer_that_is_cut_is_cut_for_the_client() {
    for way in ["reset", "close", "rst", "garbage"] {
        let upstream = Frames::start(move |peer, stream, _| {
            peer.head(stream, 0);
            peer.frame(DATA, 0, stream, b"half");
            match way {
                "reset" => {
                    peer.reset(stream, INTERNAL_ERROR);
                    After::Keep
                }
                "garbage" => {
                    peer.raw(b"HTTP/1.1 400 Bad Request\r\n\r\nthis is no frame at all, and it is long enough");
                    After::Keep
                }
                "close" => After::Close,
                _ => After::Reset,
            }
        });
        let edge = clear(&upstream.authority(), "");
        let _report = Reported(&edge);
        let mut wire = edge.connect();
        wire.send("GET /cut HTTP/1.1\r\nhost: demo.test\r\n\r\n");
        match wire.try_response_to("GET") {
            Ok(response) if response.status == 200 => assert!(matches!(response.ending, Ending::Cut(_)), "{way}"),
            Ok(response) => assert_eq!(response.status, 502, "{way}"),
            Err(stop) => println!("{way}: {stop:?}"),
        }
        assert_eq!(edge.logged("/cut")["end"], "upstream_abort", "{way}");
        edge.wait_idle();
    }
}

/// The h2 crate swallows interim answers, so the edge asks for the body itself.
#[test]
fn a_client_that_waits_for_a_100_gets_one() {
    let upstream = Frames::start(|peer, stream, _| {
        while let Some((kind, flags, of, _)) = peer.next() {
            if kind == DATA && of == stream && flags & END_STREAM != 0 {
                break;
            }
        }
        peer.answer(stream, "thanks");
        After::Keep
    });
    let edge = clear(&upstream.authority(), "");
    let mut wire = edge.connect();
    wire.send("PUT /x HTTP/1.1\r\nhost: demo.test\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(wire.interim(), 100);
    wire.send("hello");
    assert_eq!(wire.response_to("PUT").text(), "thanks");
}

// ---- WebSockets, client certificates ----

#[test]
fn a_websocket_goes_over_http1() {
    let authority = Authority::new();
    let says = "location / { return 200 \"$server_protocol $http_upgrade\"; }";
    let nginx = nginx(&authority, "ssl http2", says);
    let edge = Config::new(
        r#"
        upstreams:
          auto: { scheme: https, endpoints: [{ address: "{nginx}" }], tls: { server_name: users.internal.example, ca: "{ca}" } }
        projects:
          demo:
            upstream_policy: open
            environments: { production: { routes: [{ prefix: /, upstream: auto, auth: none }] } }
        "#,
    )
    .value("nginx", &nginx.address.to_string())
    .value("ca", &authority.certificate())
    .start();
    assert_eq!(edge.get("/plain").text(), "HTTP/2.0 ");
    let upgrade = Request::get("/ws").header("connection", "upgrade").header("upgrade", "websocket");
    let upgrade = upgrade.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(edge.call(&upgrade).text(), "HTTP/1.1 websocket");
}

#[test]
fn an_upstream_that_asks_for_a_certificate_is_shown_the_groups() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let server = format!(
        "ssl_verify_client on; ssl_client_certificate {}; location / {{ return 200 \"$ssl_client_s_dn $server_protocol\"; }}",
        authority.certificate()
    );
    let nginx = nginx(&authority, "ssl http2", &server);
    let (ours, theirs) = (authority.client("edge-1"), stranger.client("edge-2"));
    let group = |name: &str, keys: &str| {
        format!(
            "  {name}: {{ scheme: https, {keys} endpoints: [{{ address: \"{{nginx}}\" }}], tls: {{ server_name: users.internal.example, ca: \"{{ca}}\""
        )
    };
    let shown = |files: &crate::support::authority::Pair| {
        format!(", client_cert: \"{}\", client_key: \"{}\" }} }}\n", files.certificate, files.key)
    };
    let text = format!(
        "upstreams:\n{}{}{}{}{}{} }} }}\n{}",
        group("shown", ""),
        shown(&ours),
        group("shown-old", "http2: off,"),
        shown(&ours),
        group("stranger", "") + &shown(&theirs),
        group("none", ""),
        crate::support::edge::project(
            "demo",
            r#"
            - { prefix: /shown, upstream: shown, auth: none }
            - { prefix: /shown-old, upstream: shown-old, auth: none }
            - { prefix: /stranger, upstream: stranger, auth: none }
            - { prefix: /none, upstream: none, auth: none }
            "#
        )
    );
    let edge =
        Config::new(&text).value("nginx", &nginx.address.to_string()).value("ca", &authority.certificate()).start();
    let _report = Reported(&edge);
    for _ in 0..2 {
        assert_eq!(edge.get("/shown").text(), "CN=edge-1 HTTP/2.0");
        assert_eq!(edge.get("/shown-old").text(), "CN=edge-1 HTTP/1.1");
        for path in ["/none", "/stranger"] {
            let refused = edge.get(path);
            assert!(matches!(refused.status, 400 | 502), "{path}: {} {}", refused.status, refused.text());
            assert!(!refused.text().contains("edge-1"), "{path}: somebody else's connection");
        }
    }
    // Files are live: another certificate under the same names.
    let renewed = authority.client("edge-renewed");
    std::fs::copy(&renewed.certificate, &ours.certificate).expect("replace the certificate");
    std::fs::copy(&renewed.key, &ours.key).expect("replace the key");
    edge.reload();
    eventually("the new certificate is shown", || {
        (edge.get("/shown").text() == "CN=edge-renewed HTTP/2.0").then_some(())
    });
}

#[test]
fn a_bad_client_certificate_is_found_when_the_file_is_read() {
    let authority = Authority::new();
    let (ours, other) = (authority.client("edge-1"), authority.client("edge-2"));
    let directory = tempfile::tempdir().expect("a directory");
    let check = |certificate: &str, key: &str| {
        let text = format!(
            "listeners: {{ main: {{ address: \"127.0.0.1:1\" }} }}\nupstreams: {{ u: {{ scheme: https, endpoints: [{{ address: \"a.example:443\" }}], tls: {{ client_cert: \"{certificate}\", client_key: \"{key}\" }} }} }}\nprojects: {{ demo: {{ environments: {{ production: {{ routes: [{{ prefix: /, upstream: u, auth: none }}] }} }} }} }}\n"
        );
        let file = directory.path().join("countersign.yaml");
        std::fs::write(&file, text).expect("a configuration");
        let done = run(Command::new(crate::support::edge::BINARY).args(["check", "-c"]).arg(&file));
        (done.code, done.stdout)
    };
    assert_eq!(check(&ours.certificate, &ours.key).0, Some(0));
    for (certificate, key, why) in [
        (&ours.certificate, &other.key, "does not belong"),
        (&ours.key, &ours.key, "client_cert"),
        (&ours.certificate, &ours.certificate, "client_key"),
        (&ours.certificate, &"/nowhere.key".to_owned(), "cannot be read"),
    ] {
        let (code, said) = check(certificate, key);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("invalid_client_certificate") && said.contains(why), "{said}");
    }
}

// ---- real haproxy ----

#[test]
fn haproxy_is_spoken_to_in_every_way() {
    let authority = Authority::new();
    let files = authority.server("users.internal.example");
    let directory = tempfile::tempdir().expect("a directory");
    let both = directory.path().join("both.pem");
    let read = |path: &str| std::fs::read_to_string(path).expect("a PEM file");
    std::fs::write(&both, read(&files.certificate) + &read(&files.key)).expect("certificate and key in one");
    let [tls, clear, old] = [(); 3].map(|()| free_address());
    let text = format!(
        "defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 1s\n  timeout http-keep-alive 1s\n\
         frontend f\n  bind {tls} ssl crt {} alpn h2,http/1.1\n  bind {clear} proto h2\n  bind {old}\n  \
         http-request return status 200 content-type text/plain lf-string \"%HV %HM\"\n",
        both.display()
    );
    let file = directory.path().join("haproxy.cfg");
    std::fs::write(&file, text).expect("haproxy.cfg");
    let haproxy = Process::spawn(Command::new("haproxy").arg("-db").arg("-f").arg(&file));
    eventually("haproxy accepts", || {
        assert!(haproxy.ended().is_none(), "haproxy: {}", haproxy.stderr());
        std::net::TcpStream::connect(old).ok()
    });
    let edge = Config::new(
        r#"
        upstreams:
          tls: { scheme: https, endpoints: [{ address: "{tls}" }], tls: { server_name: users.internal.example, ca: "{ca}" } }
          clear: { scheme: h2c, endpoints: [{ address: "{clear}" }] }
          old: { endpoints: [{ address: "{old}" }] }
        projects:
          demo:
            upstream_policy: open
            environments:
              production:
                routes:
                  - { prefix: /tls, upstream: tls, auth: none }
                  - { prefix: /clear, upstream: clear, auth: none }
                  - { prefix: /old, upstream: old, auth: none }
        "#,
    )
    .value("tls", &tls.to_string())
    .value("clear", &clear.to_string())
    .value("old", &old.to_string())
    .value("ca", &authority.certificate())
    .start();
    let _report = Reported(&edge);
    // Between the rounds haproxy ends what is idle.
    for round in 0..3 {
        for (path, version) in [("/tls", "HTTP/2.0"), ("/clear", "HTTP/2.0"), ("/old", "HTTP/1.1")] {
            for method in ["GET", "POST"] {
                let request = Request::new(method, path);
                let request = if method == "POST" { request.body("hello") } else { request };
                let response = edge.call(&request);
                assert_eq!((response.status, response.text()), (200, format!("{version} {method}")), "{path}, {round}");
            }
        }
        let since = Instant::now();
        eventually("the connections are idle for about a second", || {
            (since.elapsed() > Duration::from_millis(960 + 40 * round)).then_some(())
        });
    }
}
