//! Starting, stopping, signals, exit codes, and what the process prints.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::edge::{BINARY, countersign, free_address};
use crate::support::origin::After;
use crate::support::process::Process;
use crate::support::{Config, Edge, Ending, Origin, PATIENCE, Request, Stop, Wire, eventually, gate};

const ROUTES: &str = r#"- { prefix: /, upstream: "http://{origin}", auth: none }"#;

#[test]
fn an_idle_edge_stops_at_once_and_cleanly() {
    let origin = Origin::start();
    let edge = Edge::routes(ROUTES, &origin);
    let mut idle = edge.connect();
    idle.send("GET /x HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(idle.response().status, 200);
    edge.process.signal("TERM");
    let (status, took) = edge.process.wait(PATIENCE);
    println!("idle stop: {took:?}");
    assert_eq!(status.code(), Some(0), "{}", edge.output());
    assert!(took < Duration::from_secs(2), "{took:?} with nothing in flight");
    idle.closed();
}

#[test]
fn a_stop_lets_requests_in_flight_finish_and_then_exits_at_once() {
    let origin = Origin::start();
    let (key, gate) = gate();
    origin.on("/held", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf");
        gate.wait();
        exchange.send("done");
        After::Keep
    });
    let edge = Config::routes(ROUTES).origin(&origin).server("drain_timeout: 60s").start();
    let mut wire = edge.connect();
    wire.send("GET /held HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.head().status, 200);
    edge.process.signal("TERM");
    eventually("readiness is off while draining", || {
        edge.try_admin("GET", "/readyz").and_then(|response| (response.status == 503).then_some(()))
    });
    assert_eq!(edge.try_admin("GET", "/livez").map(|response| response.status), Some(200), "alive while draining");
    eventually("no new connections while draining", || refuses(&edge).then_some(()));
    assert!(edge.process.ended().is_none(), "a request is in flight");
    key.open();
    assert_eq!(wire.exactly(8), b"halfdone");
    let (status, took) = edge.process.wait(PATIENCE);
    println!("exit after the last request: {took:?}");
    assert_eq!(status.code(), Some(0), "{}", edge.output());
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Whether a new request gets no answer.
fn refuses(edge: &Edge) -> bool {
    let Ok(mut wire) = Wire::try_connect(edge.data) else { return true };
    wire.patience = Duration::from_millis(500);
    wire.send(Request::get("/new").bytes());
    wire.try_response_to("GET").is_err()
}

#[test]
fn a_keep_alive_client_is_told_to_go_while_draining() {
    let origin = Origin::start();
    let (key, gate) = gate();
    origin.on("/held", move |exchange| {
        gate.wait();
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        After::Keep
    });
    let edge = Config::routes(ROUTES).origin(&origin).server("drain_timeout: 60s").start();
    let mut wire = edge.connect();
    wire.send("GET /held HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    origin.request_for("/held");
    edge.process.signal("TERM");
    eventually("draining", || edge.try_admin("GET", "/readyz").filter(|response| response.status == 503));
    key.open();
    let response = wire.response();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    wire.closed();
    assert_eq!(edge.process.wait(PATIENCE).0.code(), Some(0));
}

#[test]
fn a_drain_ends_at_its_timeout_and_cuts_what_is_left() {
    let origin = Origin::start();
    origin.on("/endless", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        let _ = exchange.wait_end();
        After::Close
    });
    let edge = Config::routes(ROUTES).origin(&origin).server("drain_timeout: 700ms").start();
    let mut wire = edge.connect();
    wire.send("GET /endless HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    let head = wire.head();
    assert_eq!(head.status, 200);
    edge.process.signal("TERM");
    let (status, took) = edge.process.wait(PATIENCE);
    println!("drain of 700ms: {took:?}");
    assert_eq!(status.code(), Some(0), "{}", edge.output());
    assert!(took > Duration::from_millis(500) && took < Duration::from_secs(3), "{took:?}");
    let end = wire.end().0;
    assert!(matches!(end, Stop::Closed | Stop::Reset), "{end:?}");
    assert!(!wire.received().ends_with("0\r\n\r\n"), "a stream that was cut must not end cleanly");
    assert_eq!(edge.logged("/endless")["end"], "drained");
}

#[test]
fn an_answer_that_only_the_close_would_end_is_reset_at_the_drains_deadline() {
    let origin = Origin::start();
    origin.on("/close-delimited", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n");
        let _ = exchange.wait_end();
        After::Close
    });
    let edge = Config::routes(ROUTES).origin(&origin).server("drain_timeout: 700ms").start();
    let mut wire = edge.connect();
    wire.send("GET /close-delimited HTTP/1.0\r\nhost: demo.test\r\nconnection: keep-alive\r\n\r\n");
    let head = wire.head();
    assert_eq!((head.status, head.header("connection")), (200, Some("close")), "the close is to end it");
    assert_eq!(wire.exactly(9), b"only this");
    edge.process.signal("TERM");
    assert_eq!(wire.end().0, Stop::Reset, "half an answer must not look like a whole one");
    assert_eq!(edge.process.wait(PATIENCE).0.code(), Some(0), "{}", edge.output());
    let record = edge.logged("/close-delimited");
    assert_eq!((&record["end"], &record["status"]), (&"drained".into(), &200.into()), "{record}");
    assert!(record["bytes_out"].as_u64() > Some(0), "{record}");
}

#[test]
fn int_and_a_second_term_exit_now() {
    for signals in [&["INT"][..], &["TERM", "TERM"], &["TERM", "INT"]] {
        let origin = Origin::start();
        origin.on("/endless", |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            let _ = exchange.wait_end();
            After::Close
        });
        let edge = Config::routes(ROUTES).origin(&origin).server("drain_timeout: 60s").start();
        let mut wire = edge.connect();
        wire.send("GET /endless HTTP/1.1\r\nhost: demo.test\r\n\r\n");
        assert_eq!(wire.head().status, 200);
        for (index, signal) in signals.iter().enumerate() {
            if index > 0 {
                eventually("draining", || edge.try_admin("GET", "/readyz").filter(|r| r.status == 503));
            }
            edge.process.signal(signal);
        }
        let (_, took) = edge.process.wait(PATIENCE);
        println!("{signals:?}: {took:?}");
        assert!(took < Duration::from_secs(1), "{signals:?} took {took:?}");
        wire.closed();
    }
}

#[test]
fn a_busy_port_is_exit_1_and_names_the_address() {
    let origin = Origin::start();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a taken port");
    let taken = taken.local_addr().map(|address| (taken, address)).expect("an address");
    for (data, admin) in [(taken.1, free_address()), (free_address(), taken.1)] {
        let edge = Config::routes(ROUTES).origin(&origin).launch_at(data, admin);
        let (status, _) = edge.process.wait(PATIENCE);
        assert_eq!(status.code(), Some(1), "{}", edge.output());
        eventually("the message", || edge.output().contains(&taken.1.to_string()).then_some(()));
        assert!(!edge.output().contains("panicked"), "{}", edge.output());
    }
}

#[test]
fn a_bad_configuration_is_exit_78_with_its_place_and_binds_nothing() {
    let origin = Origin::start();
    let edge = Config::routes(r#"- { prefx: /, upstream: "http://{origin}", auth: none }"#).origin(&origin).launch();
    let (status, _) = edge.process.wait(PATIENCE);
    assert_eq!(status.code(), Some(78), "{}", edge.output());
    let line = edge.text().lines().position(|line| line.contains("prefx")).expect("the line") + 1;
    let output = eventually("the message", || Some(edge.output()).filter(|out| out.contains("prefx")));
    assert!(output.contains(&format!("countersign.yaml:{line}:")), "{output}");
    assert!(output.contains("did you mean") && output.contains("prefix"), "{output}");
    assert!(!edge.directory().join("run/countersign.pid").exists());
}

#[test]
fn a_missing_configuration_is_78_and_a_wrong_option_is_2() {
    let missing = countersign(&["run", "-c", "/nonexistent/countersign.yaml"]);
    assert_eq!(missing.code, Some(78), "{missing:?}");
    assert!((missing.stdout + &missing.stderr).contains("/nonexistent/countersign.yaml"));
    assert_eq!(countersign(&["run", "--no-such-option"]).code, Some(2));
    assert_eq!(countersign(&["no-such-command"]).code, Some(2));
}

#[test]
fn check_holds_the_same_file_without_binding() {
    let origin = Origin::start();
    let edge = Edge::routes(ROUTES, &origin);
    let good = edge.command(&["check"], &[]);
    assert_eq!(good.code, Some(0), "{good:?}");
    edge.write(&edge.text().replace("auth: none", "auth: nobody"));
    let bad = edge.command(&["check"], &["--format", "json"]);
    assert_eq!(bad.code, Some(1), "{bad:?}");
    let found: serde_json::Value = serde_json::from_str(&bad.stdout).expect("JSON on standard output");
    assert_eq!(found["errors"], 1, "{found}");
    assert!(found["diagnostics"][0]["line"].as_u64() > Some(5), "{found}");
}

#[test]
fn plain_minus_c_serves_too() {
    let origin = Origin::start();
    let edge = Edge::routes(ROUTES, &origin);
    edge.stop();
    let process = Process::spawn(Command::new(BINARY).arg("-c").arg(edge.file()));
    eventually("serving", || Wire::try_connect(edge.data).ok());
    let mut wire = Wire::connect(edge.data);
    wire.send(Request::get("/plain").bytes());
    assert_eq!(wire.response().status, 200);
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE).0.code(), Some(0));
}

#[test]
fn it_prints_one_line_per_listener_and_the_admin_address() {
    let origin = Origin::start();
    let edge = Edge::routes(ROUTES, &origin);
    eventually("both addresses are printed", || {
        let output = edge.output();
        let line = |address: &str| output.lines().any(|line| line.contains(address));
        (line(&edge.data.to_string()) && line(&edge.admin.to_string())).then_some(())
    });
}

#[test]
fn the_pid_file_names_the_process_that_accepts() {
    let origin = Origin::start();
    let edge = Edge::routes(ROUTES, &origin);
    let path = edge.directory().join("run/countersign.pid");
    let written = std::fs::read_to_string(&path).expect("the pid file");
    assert_eq!(written.trim(), edge.process.id().to_string());
    let mode = std::fs::metadata(edge.directory().join("run")).expect("runtime_dir").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    edge.stop();
    assert!(!path.exists(), "a clean stop removes it");
}

#[test]
fn usr1_opens_the_log_files_again() {
    let origin = Origin::start();
    let edge = Edge::routes(ROUTES, &origin);
    edge.get("/first");
    edge.logged("/first");
    let (log, rotated) = (edge.directory().join("access.log"), edge.directory().join("access.log.1"));
    std::fs::rename(&log, &rotated).expect("rotate");
    edge.process.signal("USR1");
    eventually("a new file", || log.exists().then_some(()));
    edge.get("/second");
    edge.logged("/second");
    let old = std::fs::read_to_string(&rotated).expect("the rotated file");
    assert!(old.contains("/first") && !old.contains("/second"), "{old}");
}

#[test]
fn run_to_fronts_a_server_without_a_file() {
    let origin = Origin::start();
    let listen = free_address();
    let directory = tempfile::tempdir().expect("an empty directory");
    let mut command = Command::new(BINARY);
    command.args(["run", "--to", &format!("http://{}/base", origin.authority()), "--listen", &listen.to_string()]);
    let process = Process::spawn(command.current_dir(directory.path()));
    eventually("serving", || {
        assert!(process.ended().is_none(), "{}{}", process.stdout(), process.stderr());
        Wire::try_connect(listen).ok()
    });
    let mut wire = Wire::connect(listen);
    wire.send(Request::get("/quick?x=1").bytes());
    let response = wire.response();
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    origin.take("/base/quick?x=1");
    let written: Vec<_> = std::fs::read_dir(directory.path()).expect("list").flatten().collect();
    assert!(written.is_empty(), "it writes nothing: {written:?}");
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE).0.code(), Some(0), "{}", process.stderr());
}

#[test]
fn health_asks_readiness() {
    let origin = Origin::start();
    let edge = Edge::routes(ROUTES, &origin);
    assert_eq!(edge.command(&["health"], &[]).code, Some(0));
    edge.stop();
    assert_eq!(edge.command(&["health"], &[]).code, Some(1));
}

#[test]
fn a_restart_on_the_same_port_works_at_once() {
    let origin = Origin::start();
    let edge = Edge::routes(ROUTES, &origin);
    let mut wire = edge.connect();
    wire.send("GET /x HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.response().ending, Ending::Clean);
    edge.stop();
    let start = Instant::now();
    let again = edge.config.clone().launch_at(edge.data, edge.admin);
    again.wait_ready();
    println!("restart: ready after {:?}", start.elapsed());
    assert_eq!(again.get("/y").status, 200);
}
