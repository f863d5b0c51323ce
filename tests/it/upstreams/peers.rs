//! Real servers as endpoints: nginx over plain HTTP, TLS and HTTP/2 without TLS, HAProxy.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::support::edge::free_address;
use crate::support::nginx::Nginx;
use crate::support::process::Process;

const SERVER: &str =
    "location = /healthz { return 204; } location / { return 200 \"$server_protocol $http_user_agent\"; }";

fn one(scheme: &str, address: &str, keys: &str) -> Config {
    Config::new(
        r#"
        upstreams:
          pool:
            scheme: {scheme}
            endpoints: [{ address: "{address}" }]
            health: { path: /healthz, interval: 100ms, timeout: 2s, healthy_after: 1, unhealthy_after: 2, status: 204 }
            {keys}
        projects:
          demo:
            upstream_policy: open
            environments:
              production:
                routes:
                  - { prefix: /, upstream: pool, auth: none }
        "#,
    )
    .value("scheme", scheme)
    .value("address", address)
    .value("keys", keys)
}

/// Waits for a good check, and that requests pass.
fn checked(edge: &Edge, address: &str) {
    eventually("a good check", || (endpoint(edge, address)["last_check"]["healthy"] == true).then_some(()));
    ask(edge, 2, "/x");
}

#[test]
fn nginx_goes_down_and_comes_back() {
    let nginx = Nginx::start(SERVER);
    let address = nginx.address;
    let edge = one("http", &address.to_string(), "keepalive: { idle: 55s }").start();
    checked(&edge, &address.to_string());
    let lines = nginx.access_lines();
    let check = lines.iter().find(|line| line.contains("\"GET /healthz HTTP/1.1\" 204")).expect("a check in its log");
    assert!(check.contains("countersign-health/"), "{check}");
    drop(nginx);
    wait_state(&edge, &address.to_string(), "unhealthy");
    edge.get("/x").expect_error(503, "upstream_unhealthy");
    let _nginx = Nginx::start_at(address, "", SERVER);
    wait_state(&edge, &address.to_string(), "up");
    ask(&edge, 2, "/y");
}

#[test]
fn nginx_behind_tls_is_checked_with_the_trust_of_requests() {
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls");
    let shown = tls.display();
    let nginx = Nginx::start_on(
        "ssl",
        &format!("ssl_certificate {shown}/server.pem; ssl_certificate_key {shown}/server.key; {SERVER}"),
    );
    let address = nginx.address.to_string();
    let ca = std::fs::read_to_string(tls.join("ca.pem")).expect("a certificate");
    let good = "tls: { server_name: users.internal.example, ca: ca.pem }";
    let edge = one("https", &address, good).file("ca.pem", &ca).start();
    checked(&edge, &address);
    let edge = one("https", &address, "tls: { server_name: other.example, ca: ca.pem }").file("ca.pem", &ca).start();
    wait_state(&edge, &address, "unhealthy");
}

#[test]
fn nginx_that_speaks_http2_alone_is_checked_over_http2() {
    let nginx = Nginx::start_on("http2", SERVER);
    let address = nginx.address.to_string();
    let edge = one("h2c", &address, "keepalive: { idle: 55s }").start();
    checked(&edge, &address);
    let lines = nginx.access_lines();
    assert!(lines.iter().any(|line| line.contains("\"GET /healthz HTTP/2.0\" 204")), "{lines:?}");
}

#[test]
fn haproxy_is_checked_by_its_monitor() {
    const BINARY: &str = "/usr/sbin/haproxy";
    assert!(Path::new(BINARY).exists(), "haproxy is missing: apt-get install haproxy");
    let origin = Origin::start();
    let (address, directory) = (free_address(), tempfile::tempdir().expect("a directory"));
    let file = directory.path().join("haproxy.cfg");
    let text = format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         frontend in\n  bind {address}\n  http-request return status 204 if {{ path /healthz }}\n  default_backend out\n\
         backend out\n  server one {}\n",
        origin.authority()
    );
    std::fs::write(&file, text).expect("write haproxy.cfg");
    let haproxy = Process::spawn(Command::new(BINARY).arg("-db").arg("-f").arg(&file));
    let edge = one("http", &address.to_string(), "eject: { errors: 2, within: 1m, for: 500ms }").start();
    checked(&edge, &address.to_string());
    drop(haproxy);
    wait_state(&edge, &address.to_string(), "unhealthy");
    edge.get("/x").expect_error(503, "upstream_unhealthy");
}
