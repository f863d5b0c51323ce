//! An upstream that fails in every phase of a request, in every way, over HTTP/1 and HTTP/2: the status and the record are
//! right, and nothing is left behind.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::edge::{Reported, free_address};
use crate::support::frames::{DATA, Frames, HEADERS, Peer};
use crate::support::origin::After;
use crate::support::{Config, Edge, Ending, Exchange, Origin, Request, eventually_within};

/// How an upstream fails.
const WAYS: [&str; 4] = ["fin", "rst", "hang", "garbage"];

/// What the client sees.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    /// An answer of the edge's own: status and code.
    Told(u16, &'static str),
    /// The upstream's answer, cut.
    Cut,
    /// The upstream's answer, whole.
    Whole,
}

const CLOSED: Seen = Seen::Told(502, "upstream_closed");
const INVALID: Seen = Seen::Told(502, "upstream_invalid_response");
const LATE: Seen = Seen::Told(504, "upstream_timeout");

fn edge(upstreams: &str) -> Edge {
    Config::new(&format!(
        r#"
upstreams:
{upstreams}
projects:
  demo:
    upstream_policy: open
    environments:
      production:
        routes:
          - {{ prefix: /, upstream: u, auth: none, timeouts: {{ connect: 400ms, first_byte: 500ms, idle: 400ms, send: 5s }} }}
"#
    ))
    .start()
}

fn ask(edge: &Edge, request: &Request) -> Seen {
    let mut wire = edge.connect();
    wire.send(request.bytes());
    match wire.try_response_to(&request.method) {
        Ok(response) if response.status != 200 => {
            response.expect_error_shape();
            let code = response.code();
            let known = [
                "upstream_closed",
                "upstream_invalid_response",
                "upstream_timeout",
                "upstream_connect_failed",
                "upstream_connect_timeout",
                "upstream_tls_failed",
                "upstream_send_timeout",
            ];
            Seen::Told(response.status, known.into_iter().find(|known| *known == code).unwrap_or("another code"))
        }
        Ok(response) if response.ending == Ending::Clean => Seen::Whole,
        Ok(_) => Seen::Cut,
        Err(stop) => panic!("{}: not even a head ({stop:?})", request.target),
    }
}

/// Asks several times, checks what is recorded, and that nothing is left.
fn check(edge: &Edge, phase: &str, way: &str, expected: Seen) {
    let path = format!("/{}/{way}", phase.replace(' ', "-"));
    for method in ["GET", "POST"] {
        let request = Request::new(method, &path);
        let request = if method == "POST" { request.body("hello") } else { request };
        let started = Instant::now();
        assert_eq!(ask(edge, &request), expected, "{method} {phase}, {way}");
        assert!(started.elapsed() < Duration::from_secs(5), "{phase}, {way}: {:?}", started.elapsed());
    }
    let record = edge.logged(&path);
    let end = match expected {
        Seen::Told(504, "upstream_timeout") => "timeout",
        Seen::Cut if way == "hang" => "timeout",
        Seen::Whole => "ok",
        _ => "upstream_abort",
    };
    assert_eq!(record["end"], end, "{phase}, {way}: {record}");
    if let Seen::Told(status, code) = expected {
        assert_eq!((&record["status"], &record["code"]), (&status.into(), &code.into()), "{phase}, {way}");
    }
}

fn nothing_is_left(edge: &Edge, before: usize) {
    edge.wait_idle();
    eventually_within(Duration::from_secs(10), "descriptors come back", || {
        (edge.process.descriptors() <= before + 2).then_some(())
    });
}

/// The whole request, then this much of an answer.
fn fail_http1(exchange: &mut Exchange, phase: &str, way: &str) -> After {
    let said = match phase {
        "mid-head" => "HTTP/1.1 200 OK\r\ncontent-le",
        "mid-body" => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        "mid-chunk" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\nhalf",
        "after body" => "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
        _ => "",
    };
    exchange.read_body();
    exchange.send(said);
    match way {
        "fin" => return After::Close,
        "rst" => return After::Reset,
        "garbage" => _ = exchange.send("\u{1}\u{2}\0 this is no HTTP \r\n\r\n\r\n"),
        _ => {}
    }
    let _ = exchange.wait_end();
    After::Close
}

#[test]
fn an_http1_upstream_fails_in_every_phase() {
    let origin = Origin::start();
    let phases = ["wait", "mid-head", "mid-body", "mid-chunk", "after body"];
    for phase in phases {
        for way in WAYS {
            let path = format!("/{}/{way}", phase.replace(' ', "-"));
            origin.on(&path, move |exchange| fail_http1(exchange, phase, way));
        }
    }
    let edge = edge(&format!("  u: {{ endpoints: [{{ address: \"{}\" }}] }}", origin.authority()));
    let _report = Reported(&edge);
    assert_eq!(edge.get("/ok").status, 200);
    let before = edge.process.descriptors();
    for phase in phases {
        for way in WAYS {
            let expected = match (phase, way) {
                ("after body", _) => Seen::Whole,
                ("wait", "garbage") | ("mid-head", "garbage") => INVALID,
                ("wait" | "mid-head", "hang") => LATE,
                ("wait" | "mid-head", _) => CLOSED,
                _ => Seen::Cut,
            };
            if (phase, way) == ("mid-body", "garbage") || (phase, way) == ("mid-chunk", "garbage") {
                continue; // any octets are a body
            }
            if (phase, way) == ("after body", "hang") {
                continue; // nobody can know before the next request
            }
            check(&edge, phase, way, expected);
        }
    }
    nothing_is_left(&edge, before);
    assert_eq!(edge.get("/ok").status, 200, "and it goes on");
}

/// After the request's head: nothing, half of an answer, or all of it; then the failure.
fn fail_http2(peer: &mut Peer, stream: u32, phase: &str, way: &str) -> After {
    match phase {
        "mid-head" => _ = peer.raw(&[0, 0, 9, HEADERS, 4, 0, 0, 0]),
        "mid-body" => _ = peer.head(stream, 0) && peer.frame(DATA, 0, stream, b"half"),
        "after body" => _ = peer.answer(stream, "body"),
        _ => {}
    }
    match way {
        "fin" => return After::Close,
        "rst" => return After::Reset,
        "garbage" => _ = peer.raw(b"\xff\xff\xff this is no frame of HTTP/2, and it is long enough to be seen as one"),
        _ => {}
    }
    After::Keep
}

#[test]
fn an_http2_upstream_fails_in_every_phase() {
    for phase in ["wait", "mid-head", "mid-body", "after body"] {
        for way in WAYS {
            let upstream = Frames::start(move |peer, stream, _| fail_http2(peer, stream, phase, way));
            let edge =
                edge(&format!("  u: {{ scheme: h2c, endpoints: [{{ address: \"{}\" }}] }}", upstream.authority()));
            let _report = Reported(&edge);
            let _ = ask(&edge, &Request::get("/warm"));
            let before = edge.process.descriptors();
            let expected = match (phase, way) {
                ("after body", "rst") => continue, // a reset may overtake what was said before it
                ("after body", _) => Seen::Whole,
                ("mid-body", "rst") => continue,
                ("mid-head", "hang") => continue, // half of a frame holds up every request of its connection
                ("mid-body", _) => Seen::Cut,
                (_, "hang") => LATE,
                (_, "garbage") => INVALID,
                _ => CLOSED,
            };
            check(&edge, phase, way, expected);
            nothing_is_left(&edge, before);
        }
    }
}

/// A listener that accepts and then fails before anything is said.
fn before_http(way: &'static str) -> std::net::SocketAddr {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let serve = move |mut stream: TcpStream| {
            let mut hello = [0u8; 16];
            if way != "hang" {
                let _ = stream.read(&mut hello);
            }
            match way {
                "rst" => drop(socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))),
                "garbage" => drop(stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n\r\n\r\n")),
                "hang" => drop(stream.read_to_end(&mut Vec::new())),
                _ => {}
            }
        };
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

#[test]
fn what_cannot_be_connected_to() {
    let refused = free_address();
    for (way, expected) in [
        ("fin", Seen::Told(502, "upstream_tls_failed")),
        ("rst", Seen::Told(502, "upstream_tls_failed")),
        ("garbage", Seen::Told(502, "upstream_tls_failed")),
        ("hang", Seen::Told(504, "upstream_connect_timeout")),
    ] {
        let address = before_http(way);
        for http2 in ["auto", "only", "off"] {
            let group = format!("  u: {{ scheme: https, http2: {http2}, endpoints: [{{ address: \"{address}\" }}] }}");
            let edge = edge(&group);
            let _report = Reported(&edge);
            let _ = ask(&edge, &Request::get("/warm"));
            let before = edge.process.descriptors();
            check(&edge, "tls", way, expected);
            nothing_is_left(&edge, before);
        }
    }
    for scheme in ["http", "https", "h2c"] {
        let edge = edge(&format!("  u: {{ scheme: {scheme}, endpoints: [{{ address: \"{refused}\" }}] }}"));
        check(&edge, "connect", "refused", Seen::Told(502, "upstream_connect_failed"));
    }
}
