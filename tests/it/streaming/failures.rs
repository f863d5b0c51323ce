//! What an upstream breaks off stays broken off; timeouts, refusals and unknown names are told apart.

use std::time::Duration;

use super::rig;
use crate::support::dns::Dns;
use crate::support::edge::{Reported, free_address};
use crate::support::origin::After;
use crate::support::{Config, Ending, Origin, Request, Stop};

#[test]
fn an_upstream_that_stops_half_way_is_never_turned_into_a_clean_end() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let bodies = [
        ("/cut-length", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this"),
        ("/cut-chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\nonly this"),
        ("/cut-between", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n"),
        ("/cut-last", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n0\r\n"),
        ("/cut-close", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nonly this"),
    ];
    for (path, bytes) in bodies {
        for (reset, suffix) in [(false, "fin"), (true, "rst")] {
            if path == "/cut-close" && !reset {
                continue; // there, FIN is the end
            }
            rig.origin.on(&format!("{path}/{suffix}"), move |exchange| {
                exchange.send(bytes);
                if reset { After::Reset } else { After::Close }
            });
            for version in ["1.1", "1.0"] {
                let mut wire = rig.edge.connect();
                let target = format!("{path}/{suffix}/{}", version.replace('.', "-"));
                wire.send(format!("GET {target} HTTP/{version}\r\nhost: demo.test\r\n\r\n"));
                match wire.try_response_to("GET") {
                    Ok(response) if response.status == 200 => {
                        assert_ne!(response.ending, Ending::Clean, "{target}: a cut response ended cleanly");
                        assert_ne!(response.ending, Ending::Cut(Stop::Patience), "{target}: the cut was not passed on");
                    }
                    Ok(response) => assert_eq!(response.status, 502, "{target}"),
                    Err(stop) => assert_eq!(stop, Stop::Reset, "{target}: not even a head"),
                }
                assert_eq!(rig.edge.logged(&target)["end"], "upstream_abort", "{target}");
            }
        }
    }
}

// ---- timeouts and failures told apart ----

#[test]
fn an_upstream_that_never_answers_is_504() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    rig.origin.on("/hasty/mute", |exchange| {
        let _ = exchange.wait_end();
        After::Close
    });
    let response = rig.edge.get("/hasty/mute");
    assert_eq!(response.status, 504, "{}", response.text());
    response.expect_error_shape();
    let record = rig.edge.logged("/hasty/mute");
    assert_eq!((&record["end"], &record["status"]), (&"timeout".into(), &504.into()), "{record}");
    assert_eq!(record["code"], response.code());
}

#[test]
fn an_upstream_that_falls_silent_half_way_is_cut() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    rig.origin.on("/hasty/silent", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this");
        let _ = exchange.wait_end();
        After::Close
    });
    let mut wire = rig.edge.connect();
    wire.send("GET /hasty/silent HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    let response = wire.response();
    assert_eq!(response.status, 200);
    assert!(matches!(response.ending, Ending::Cut(Stop::Closed | Stop::Reset)), "{:?}", response.ending);
    assert_eq!(rig.edge.logged("/hasty/silent")["end"], "timeout");
}

#[test]
fn an_upstream_that_resets_before_its_answer_is_502() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    rig.origin.on("/reset", |_| After::Reset);
    rig.origin.on("/fin", |_| After::Close);
    for path in ["/reset", "/fin"] {
        let response = rig.edge.call(&Request::new("POST", path).body("x"));
        assert_eq!(response.status, 502, "{path}: {}", response.text());
        response.expect_error_shape();
        assert_eq!(rig.edge.logged(path)["end"], "upstream_abort");
    }
}

#[test]
fn a_refused_connection_is_502_a_dead_one_504_and_an_unknown_name_503() {
    let dns = Dns::start(&[("known.example", std::net::Ipv4Addr::LOCALHOST)]);
    let deaf = Deaf::new();
    let origin = Origin::start();
    let edge = Config::routes(
        r#"
        - { prefix: /refused, upstream: "http://{refused}", auth: none }
        - { prefix: /deaf, upstream: "http://{deaf}", auth: none, timeouts: { connect: 400ms } }
        - { prefix: /unknown, upstream: "http://nobody.example:80", auth: none }
        - { prefix: /known, upstream: "http://known.example:{port}", auth: none }
        "#,
    )
    .server("dns: { servers: [\"{dns}\"], timeout: 1s }")
    .value("refused", &free_address().to_string())
    .value("deaf", &deaf.address)
    .value("dns", &dns.address.to_string())
    .value("port", origin.authority().rsplit(':').next().unwrap_or_default())
    .start();
    let mut codes = Vec::new();
    for (path, status) in [("/refused", 502), ("/deaf", 504), ("/unknown", 503)] {
        let response = edge.get(path);
        assert_eq!(response.status, status, "{path}: {}", response.text());
        response.expect_error_shape();
        codes.push(response.code());
        let record = edge.logged(path);
        assert!(record["end"] == "timeout" || record["end"] == "upstream_abort", "{path}: {record}");
    }
    codes.dedup();
    assert_eq!(codes.len(), 3, "three causes, three codes: {codes:?}");
    assert_eq!(edge.get("/known/x").status, 200, "a name is resolved by the configured server");
    assert_eq!(
        origin.take("/x").header("host"),
        Some(&*format!("known.example:{}", origin.authority().rsplit(':').next().unwrap()))
    );
}

/// A listener whose queue is full: the kernel drops further connection attempts.
struct Deaf {
    address: String,
    _listener: socket2::Socket,
    _queue: Vec<socket2::Socket>,
}

impl Deaf {
    fn new() -> Self {
        use socket2::{Domain, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).expect("bind");
        listener.listen(0).expect("listen");
        let address = listener.local_addr().expect("an address");
        let attempt = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let connected = socket.connect_timeout(&address, Duration::from_millis(150)).is_ok();
            (socket, connected)
        };
        let mut queue = Vec::new();
        for _ in 0..16 {
            let (socket, connected) = attempt();
            queue.push(socket);
            if !connected {
                break;
            }
        }
        Self { address: address.as_socket().expect("IPv4").to_string(), _listener: listener, _queue: queue }
    }
}

#[test]
fn a_guarded_project_never_connects_to_loopback_by_name() {
    let dns = Dns::start(&[("inside.example", std::net::Ipv4Addr::LOCALHOST)]);
    let origin = Origin::start();
    let edge = Config::new(
        r#"
        projects:
          demo:
            environments:
              production:
                routes:
                  - { prefix: /, upstream: "http://inside.example:{port}", auth: none }
        "#,
    )
    .server("dns: { servers: [\"{dns}\"], timeout: 1s }")
    .value("dns", &dns.address.to_string())
    .value("port", origin.authority().rsplit(':').next().unwrap_or_default())
    .start();
    let response = edge.get("/inside");
    assert!(matches!(response.status, 502 | 503), "{} {}", response.status, response.text());
    response.expect_error_shape();
    assert_eq!(origin.connections(), 0);
}
