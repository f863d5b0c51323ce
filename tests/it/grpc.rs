//! gRPC from end to end, with Google's own client and server: HTTP/2 on both sides, trailers, streams, deadlines.

use std::process::Command;
use std::time::Duration;

use crate::support::edge::Reported;
use crate::support::process::{Process, run_within};
use crate::support::python::{python, scripts};
use crate::support::{Config, eventually};

#[test]
fn every_kind_of_call_goes_through() {
    let python = python("grpc");
    let server = Process::spawn(Command::new(&python).arg(scripts("grpc").join("server.py")));
    let port = eventually("the server says its port", || server.stdout().lines().next()?.parse::<u16>().ok());
    let edge = Config::new(
        r#"
        upstreams:
          grpc: { scheme: h2c, endpoints: [{ address: "127.0.0.1:{port}" }] }
        projects:
          demo:
            upstream_policy: open
            environments: { production: { routes: [{ prefix: /, upstream: grpc, auth: none }] } }
        "#,
    )
    .value("port", &port.to_string())
    .listener("h2c: true")
    .start();
    let _report = Reported(&edge);
    let mut client = Command::new(&python);
    client.arg(scripts("grpc").join("client.py")).arg(edge.data.to_string());
    let done = run_within(Duration::from_secs(60), &mut client);
    assert_eq!((done.code, done.stdout.lines().last()), (Some(0), Some("done")), "{}{}", done.stdout, done.stderr);
    eventually("deadline and cancellation reach the server", || {
        (server.stdout().matches("slow cancelled").count() == 2).then_some(())
    });
    edge.wait_idle();
    let record = edge.logged("/test.Echo/Fail");
    assert_eq!(
        (&record["status"], &record["end"], &record["protocol"]),
        (&200.into(), &"ok".into(), &"HTTP/2.0".into())
    );
    let connections = edge.metrics().sum("countersign_upstream_connections_total", &[("state", "new")]);
    assert!(connections <= 3.0, "{connections} connections");
}
