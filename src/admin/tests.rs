//! The admin listener over real sockets.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::credential::vault;
use crate::reload::tests::start as start_reloader;

const PATIENCE: Duration = Duration::from_secs(10);

struct Bench {
    _dir: tempfile::TempDir,
    config: PathBuf,
    token: String,
    observer: Arc<Observer>,
    admin: Running,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn code(&self) -> String {
        let value = self.json();
        let error = &value["error"];
        assert_eq!(error["request_id"].as_str().map(str::len), Some(32), "{value}");
        assert!(!error["message"].as_str().unwrap().is_empty());
        error["code"].as_str().unwrap().to_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let find = |line: &'_ str| line.split_once(": ").is_some_and(|(known, _)| known.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| find(line)).and_then(|line| Some(line.split_once(": ")?.1))
    }
}

impl Bench {
    fn new(config: &str) -> Self {
        Self::with(config, Patience::default())
    }

    fn with(config: &str, patience: Patience) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge.yaml");
        fs::write(&path, config).unwrap();
        let reloader = start_reloader(&path);
        let observer = Arc::new(Observer::for_tests().unwrap());
        reloader.observe(Arc::clone(&observer));
        let token = AdminToken::open(&dir.path().join("state")).unwrap();
        let clear = token.expose().to_owned();
        let address = "127.0.0.1:8080".parse().unwrap();
        let listeners = vec![ListenerAddress { name: "http".to_owned(), address, tls: true }];
        let (verifier, started_at) = (Verifier::start(1).unwrap(), 1_795_290_358_123);
        let acme = None;
        let vault = Vault::start(vault::Parts { store: None, observer: Arc::clone(&observer) }).unwrap();
        let logins = Arc::new(Logins::open(Arc::clone(&vault), None, 9090).unwrap());
        let observer_of_admin = Arc::clone(&observer);
        let parts = Parts {
            reloader,
            observer: observer_of_admin,
            token,
            verifier,
            listeners,
            started_at,
            acme,
            vault,
            logins,
        };
        let admin =
            start_with(bind("127.0.0.1:0".parse().unwrap(), Wire::Clear).unwrap(), Wire::Clear, parts, patience)
                .unwrap();
        Self { _dir: dir, config: path, token: clear, observer, admin }
    }

    /// Sends bytes, and reads to the end.
    fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // The listener may answer, and close, before it has read all of it.
        let _ = stream.write_all(bytes);
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let answer = Answer { status, head: head.to_owned(), body: body.to_owned() };
        assert_eq!(answer.header("server"), None);
        answer
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.admin.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let host = format!("127.0.0.1:{}", self.admin.address().port());
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "host") {
            head.push_str(&format!("host: {host}\r\n"));
        }
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        let answer = self.raw(format!("{head}\r\n{body}").as_bytes());
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{}", answer.head);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        answer
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    /// With the token.
    fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, path, &[("authorization", &format!("Bearer {}", self.token))], body)
    }
}

#[test]
fn it_never_listens_beyond_loopback_in_the_clear() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let address = address.parse().unwrap();
        assert!(matches!(bind(address, Wire::Clear), Err(BindError::NotLoopback(_))), "{address}");
        assert!(!matches!(bind(address, Wire::Tls), Err(BindError::NotLoopback(_))), "{address}");
    }
    bind("127.0.0.2:0".parse().unwrap(), Wire::Clear).unwrap();
}

#[test]
fn an_address_in_use_is_named() {
    let taken = bind("127.0.0.1:0".parse().unwrap(), Wire::Clear).unwrap();
    let address = taken.local_addr().unwrap();
    assert!(bind(address, Wire::Clear).unwrap_err().to_string().contains(&address.to_string()));
}

#[test]
fn everything_else_wants_the_token() {
    let bench = Bench::new("route /a");
    for path in ["/livez", "/metrics"] {
        assert_eq!(bench.get(path).status, 200, "{path}");
    }
    assert_eq!(bench.get("/readyz").status, 503);
    for path in ["/", "/api/v1/status", "/api/v1/routes", "/api/v1/reload", "/nothing", "/livez/", "/metrics/x"] {
        let answer = bench.get(path);
        assert_eq!((answer.status, answer.code().as_str()), (401, "authentication_required"), "{path}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
        assert!(!answer.body.contains(&bench.token));
    }
    for path in ["/", "/api/v1/status", "/api/v1/routes"] {
        assert_eq!(bench.call("GET", path, "").status, 200, "{path}");
    }
}

#[test]
fn readiness_follows_the_proxys_life() {
    let bench = Bench::new("route /a");
    let live = &bench.observer.live;
    live.ready.store(true, Ordering::Release);
    assert_eq!(bench.get("/readyz").status, 200);
    let verbose = bench.get("/readyz?verbose").body;
    assert_eq!(verbose, "[+] table: generation 1\n[+] listeners: accepting\n[+] drain: none\nready\n");
    live.draining.store(true, Ordering::Release);
    let draining = bench.get("/readyz?verbose=1");
    assert_eq!(draining.status, 503);
    assert!(draining.body.contains("[-] drain: under way\nnot ready\n"), "{}", draining.body);
    assert_eq!(bench.get("/livez").status, 200);
}

#[test]
fn guessing_ends_after_ten_wrong_tokens_and_the_right_one_passes() {
    let bench = Bench::new("route /a");
    let guess = |token: &str| bench.send("GET", "/", &[("authorization", &format!("Bearer {token}"))], "");
    for number in 0..10 {
        let answer = guess(&format!("{number:064}"));
        assert_eq!((answer.status, answer.code().as_str()), (401, "wrong_token"));
    }
    let answer = guess("once more");
    assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_attempts"));
    assert_ne!(guess(&bench.token).status, 429, "who has the token is not locked out by who has not");
    assert!((1..=60).contains(&answer.header("retry-after").unwrap().parse::<u64>().unwrap()));
    assert_eq!(bench.get("/livez").status, 200, "health needs no token");
}

/// `ann:secret`, bcrypt of cost 4.
const ANN: &str = "ann:$2y$04$.yD01AtfO0h/R9aSMKK11e3Of1j.wKjWe5PgoOsC/8vfAOZz9pCGi\n";

#[test]
fn users_log_in_beside_the_token() {
    let bench = Bench::new("route /a");
    let ask = |value: &str| bench.send("GET", "/api/v1/status", &[("authorization", value)], "");
    // base64 of ann:secret, ann:wrong
    let (right, wrong) = ("Basic YW5uOnNlY3JldA==", "Basic YW5uOndyb25n");
    assert_eq!((ask(right).status, ask(right).code().as_str()), (401, "authentication_required"));
    assert!(!ask(right).head.contains("Basic"), "nobody has a password yet");
    let users = bench.config.with_file_name("users");
    fs::write(&users, ANN).unwrap();
    fs::write(&bench.config, format!("route /a\nusers {}", users.display())).unwrap();
    assert_eq!(bench.call("POST", "/api/v1/reload", "").status, 200);
    assert_eq!((ask(right).status, bench.call("GET", "/api/v1/status", "").status), (200, 200));
    for _ in 0..5 {
        let answer = ask(wrong);
        assert_eq!((answer.status, answer.code().as_str()), (401, "wrong_password"));
        assert!(answer.head.contains("Bearer realm=") && answer.head.contains("Basic realm="), "{}", answer.head);
    }
    let answer = ask(wrong);
    assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_attempts"));
    assert!((1..=60).contains(&answer.header("retry-after").unwrap().parse::<u64>().unwrap()));
    assert_eq!((ask(right).status, bench.call("GET", "/api/v1/status", "").status), (200, 200), "known from here");
}

#[test]
fn metrics_may_want_a_login_too() {
    let bench = Bench::new("route /a");
    assert_eq!(bench.get("/metrics").status, 200);
    fs::write(&bench.config, "route /a\nmetrics-auth required\nallow 192.0.2.0/24").unwrap();
    assert_eq!(bench.call("POST", "/api/v1/reload", "").status, 200);
    let answer = bench.get("/metrics");
    assert_eq!((answer.status, answer.code().as_str()), (401, "authentication_required"));
    assert_eq!(bench.call("GET", "/metrics", "").status, 200, "metrics.allow is enough of an address");
}

#[test]
fn addresses_outside_of_allow_are_refused_from_the_next_edit_on() {
    let bench = Bench::new("route /a");
    fs::write(&bench.config, "route /a\nallow 192.0.2.0/24\nmetrics-allow 127.0.0.0/8").unwrap();
    assert_eq!(bench.call("POST", "/api/v1/reload", "").status, 200);
    for path in ["/", "/livez", "/api/v1/status"] {
        let answer = bench.call("GET", path, "");
        assert_eq!((answer.status, answer.code().as_str()), (403, "address_not_allowed"), "{path}");
    }
    assert_eq!(bench.get("/metrics").status, 200, "metrics has a list of its own");
}

#[test]
fn metrics_beyond_its_list_want_the_token() {
    let bench = Bench::new("route /a\nmetrics-allow 192.0.2.0/24");
    assert_eq!(bench.get("/metrics").status, 401);
    let answer = bench.call("GET", "/metrics", "");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
    assert!(answer.body.contains("countersign_config_generation 1\n"), "{}", answer.body);
}

#[test]
fn foreign_hosts_are_not_answered() {
    let bench = Bench::new("route /a");
    let port = bench.admin.address().port();
    let ask = |host: &str| bench.send("GET", "/livez", &[("host", host)], "");
    for host in [format!("localhost:{port}"), "edge.internal".to_owned()] {
        assert_eq!(ask(&host).status, 200, "{host}");
    }
    for host in [format!("rebound.evil.test:{port}"), "localhost".to_owned(), String::new()] {
        let answer = ask(&host);
        assert_eq!((answer.status, answer.code().as_str()), (421, "unknown_host"), "{host}");
    }
    let none = bench.raw(b"GET /livez HTTP/1.0\r\n\r\n");
    assert_eq!(none.status, 421);
}

#[test]
fn another_sites_page_changes_nothing() {
    let bench = Bench::new("route /a");
    fs::write(&bench.config, "route /b").unwrap();
    let bearer = format!("Bearer {}", bench.token);
    for header in [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")] {
        let answer = bench.send("POST", "/api/v1/reload", &[("authorization", &bearer), header], "");
        assert_eq!((answer.status, answer.code().as_str()), (403, "cross_site"));
    }
    assert_eq!(bench.call("GET", "/api/v1/status", "").json()["generation"], 1);
}

#[test]
fn wrong_paths_and_methods_are_told_apart() {
    let bench = Bench::new("route /a");
    let nothing = bench.call("GET", "/api/v1/nothing", "");
    assert_eq!((nothing.status, nothing.code().as_str()), (404, "not_found"));
    let method = bench.call("DELETE", "/api/v1/status", "");
    assert_eq!((method.status, method.code().as_str()), (405, "method_not_allowed"));
    assert_eq!(method.header("allow"), Some("GET,HEAD"));
    assert_eq!(bench.call("GET", "/api/v1/reload", "").header("allow"), Some("POST"));
}

#[test]
fn reload_tells_its_verdict() {
    let bench = Bench::new("route /a");
    let verdict = || {
        let answer = bench.call("POST", "/api/v1/reload", "");
        (answer.status, answer.json())
    };
    let unchanged = json!({"outcome": "unchanged", "generation": 1, "diagnostics": [], "needs_restart": []});
    assert_eq!(verdict(), (200, unchanged));
    fs::write(&bench.config, "route /b\nthreads 7").unwrap();
    let applied =
        json!({"outcome": "applied", "generation": 2, "diagnostics": [], "needs_restart": ["server.threads"]});
    assert_eq!(verdict(), (200, applied));
    fs::write(&bench.config, "route /b\nwrong turn").unwrap();
    let (status, rejected) = verdict();
    assert_eq!((status, &rejected["outcome"], &rejected["generation"]), (422, &"rejected".into(), &2.into()));
    assert_eq!(
        (&rejected["diagnostics"][0]["line"], &rejected["diagnostics"][0]["message"]),
        (&2.into(), &"turn".into())
    );
    let status = bench.call("GET", "/api/v1/status", "").json();
    assert_eq!(status["last_reload"]["outcome"], "rejected");
    assert_eq!(status["last_reload"]["diagnostics"], rejected["diagnostics"]);
}

#[test]
fn status_says_what_runs() {
    let bench = Bench::new("route /a");
    bench.observer.live.in_flight.store(3, Ordering::Relaxed);
    bench.observer.live.streams_open.store(2, Ordering::Relaxed);
    let status = bench.call("GET", "/api/v1/status", "").json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&status["generation"], &status["routes"]), (&1.into(), &1.into()));
    assert_eq!(status["started_at"], "2026-11-21T19:45:58.123000Z");
    assert_eq!(status["listeners"], json!([{"name": "http", "address": "127.0.0.1:8080", "tls": true}]));
    assert_eq!((&status["in_flight"], &status["streams_open"]), (&3.into(), &2.into()));
    assert_eq!(status["last_reload"]["outcome"], "applied");
    assert!(status["last_reload"]["at"].as_str().unwrap().starts_with("20"));
    assert!(status["upstreams"].is_array());
}

#[test]
fn routes_are_listed_with_their_places() {
    let bench = Bench::new("route /a\nroute /b");
    let routes = bench.call("GET", "/api/v1/routes", "").json();
    assert_eq!(routes["routes"].as_array().unwrap().len(), 2);
    let second = &routes["routes"][1];
    assert_eq!((&second["prefix"], &second["line"]), (&"/b".into(), &2.into()));
    assert_eq!(
        (&second["action"], &second["auth"], &second["project"]),
        (&"respond".into(), &"none".into(), &"demo".into())
    );
    assert!(second["file"].as_str().unwrap().ends_with("edge.yaml"));
}

#[test]
fn explain_answers_for_the_table_in_force() {
    let bench = Bench::new("route /a");
    let ask = |body: Value| bench.call("POST", "/api/v1/explain", &body.to_string());
    let routed = ask(json!({"method": "GET", "url": "http://any.test/a/x?y=1", "headers": {"accept": "*/*"}}));
    assert_eq!((routed.status, &routed.json()["outcome"]), (200, &"routed".into()), "{}", routed.body);
    assert_eq!(routed.json()["route"]["prefix"], "/a");
    let refused = ask(json!({"url": "http://any.test/b", "headers": [["accept", "*/*"], ["accept", "a/b"]]}));
    assert_eq!((refused.status, &refused.json()["outcome"]), (200, &"refused".into()), "{}", refused.body);
}

#[test]
fn a_question_that_is_none_is_refused_without_its_values() {
    let bench = Bench::new("route /a");
    for body in [
        "",
        "[]",
        "{}",
        r#"{"url": "http://a.test/", "method": "G T"}"#,
        r#"{"url": "http://a.test/", "typo": 1}"#,
        r#"{"url": "http://a.test/", "headers": {"a b": "c"}}"#,
        r#"{"url": "http://a.test/", "headers": [["a"]]}"#,
        r#"{"url": "http://a.test/", "headers": {"x-key": "s3cret\n"}}"#,
        r#"{"url": "http://a.test/", "from": "x"}"#,
        r#"{"url": "http://a.test/", "headers": "x"}"#,
        r#"{"url": "http://a.test/", "client": "nobody"}"#,
    ] {
        let answer = bench.call("POST", "/api/v1/explain", body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_question"), "{body}");
        assert!(!answer.body.contains("s3cret"));
    }
}

#[test]
fn a_large_body_is_refused() {
    let bench = Bench::new("route /a");
    let head = format!(
        "POST /api/v1/explain HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
         content-length: 1048577\r\n\r\n",
        bench.admin.address().port(),
        bench.token
    );
    let answer = bench.raw(head.as_bytes());
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
}

#[test]
fn silent_clients_do_not_keep_others_out() {
    let bench = Bench::new("route /a");
    let silent: Vec<TcpStream> = (0..64).map(|_| bench.connect()).collect();
    for stream in &silent {
        (&*stream).write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    }
    let begun = Instant::now();
    assert_eq!(bench.get("/livez").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(silent);
}

#[test]
fn a_client_that_sends_no_whole_head_is_cut() {
    let head = Duration::from_millis(200);
    let bench = Bench::with("route /a", Patience { head, ..Patience::default() });
    let mut stream = bench.connect();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n").unwrap();
    let begun = Instant::now();
    stream.read_to_end(&mut Vec::new()).unwrap();
    assert!((head / 2..PATIENCE / 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[test]
fn a_client_that_reads_nothing_is_cut() {
    let stall = Duration::from_millis(200);
    let bench = Bench::with("route /a", Patience { stall, ..Patience::default() });
    let routes: String = (0..60_000).map(|number| format!("route /{number:0>40}\n")).collect();
    fs::write(&bench.config, routes).unwrap();
    assert_eq!(bench.call("POST", "/api/v1/reload", "").status, 200);
    let mut stream = bench.connect();
    let head = format!(
        "GET /api/v1/routes HTTP/1.1\r\nhost: localhost:{}\r\nauthorization: Bearer {}\r\n\r\n",
        bench.admin.address().port(),
        bench.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    let begun = Instant::now();
    // Until the answer is cut, every further byte is accepted; afterwards writing fails.
    while stream.write(b"x").is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the answer was never given up");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn stopping_is_quick_and_frees_the_address() {
    let bench = Bench::new("route /a");
    let address = bench.admin.address();
    let idle = bench.connect();
    assert_eq!(bench.get("/livez").status, 200);
    let begun = Instant::now();
    drop(bench);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    bind(address, Wire::Clear).unwrap();
    drop(idle);
}

mod sessions;

mod pages;
