//! Names of endpoints: several addresses, records that change, name servers that stop.

use super::*;

/// Whatever `pool` names, asked of that name server.
fn named(dns: &Dns, endpoints: &str, keys: &str) -> Edge {
    Config::new(
        r#"
        upstreams:
          pool: { endpoints: [{endpoints}], {keys} }
        projects:
          demo:
            upstream_policy: open
            environments:
              production:
                routes:
                  - { prefix: /, upstream: pool, auth: none, timeouts: { connect: 10s } }
        "#,
    )
    .server("dns: { servers: [\"{dns}\"], timeout: 300ms }")
    .value("dns", &dns.address.to_string())
    .value("endpoints", endpoints)
    .value("keys", keys)
    .start()
}

const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const THIRD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A listener at that address whose queue is full: connection attempts hear nothing.
struct Deaf {
    _listener: socket2::Socket,
    _queue: Vec<socket2::Socket>,
}

impl Deaf {
    fn at(address: SocketAddr) -> Self {
        use socket2::{Domain, Socket, Type};
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let listener = socket();
        listener.bind(&address.into()).expect("bind");
        listener.listen(0).expect("listen");
        let mut queue = Vec::new();
        for _ in 0..16 {
            let waiting = socket();
            let connected = waiting.connect_timeout(&address.into(), Duration::from_millis(150)).is_ok();
            queue.push(waiting);
            if !connected {
                break;
            }
        }
        Self { _listener: listener, _queue: queue }
    }
}

#[test]
fn a_silent_address_is_passed_over_within_one_attempt() {
    let origin = Origin::start();
    let _deaf = Deaf::at(SocketAddr::from((SECOND, origin.port())));
    let dns = Dns::start(&[("two.example", SECOND), ("two.example", Ipv4Addr::LOCALHOST)]);
    let edge = named(&dns, &format!("{{ address: \"two.example:{}\" }}", origin.port()), "keepalive: { idle: 0s }");
    for method in ["POST", "POST"] {
        let response = edge.call(&Request::new(method, "/x").body("body"));
        assert_eq!(response.status, 200, "{}", response.text());
    }
    assert_eq!(edge.logged("/x")["attempts"], 1);
    assert_eq!(origin.connections(), 2, "no connection is made in vain");
}

#[test]
fn when_no_address_answers_the_endpoint_has_failed_once() {
    let origin = Origin::start();
    let port = origin.port();
    drop(origin);
    let dns = Dns::start(&[("two.example", SECOND), ("two.example", THIRD)]);
    let edge = named(&dns, &format!("{{ address: \"two.example:{port}\" }}"), "keepalive: { idle: 1s }");
    edge.get("/x").expect_error(502, "upstream_connect_failed");
    let record = edge.logged("/x");
    assert_eq!(record["attempts"], 1, "{record}");
    assert_eq!(record["end"], "upstream_abort", "{record}");
}

#[test]
fn a_name_that_moves_is_followed_and_nobody_waits_for_it() {
    let before = Origin::start();
    let after = Origin::start_at(&format!("127.0.0.2:{}", before.port()));
    let dns = Dns::start(&[("moving.example", Ipv4Addr::LOCALHOST)]);
    let endpoints = format!("{{ address: \"moving.example:{}\" }}", before.port());
    let edge = named(&dns, &endpoints, "keepalive: { idle: 55s }");
    ask(&edge, 2, "/x");
    assert_eq!((before.count(), after.count()), (2, 0));
    dns.set(&[("moving.example", SECOND)]);
    // Its records live for a second.
    eventually("requests go to the new address", || {
        ask(&edge, 1, "/y");
        (after.count() > 0).then_some(())
    });
    let at = before.count();
    ask(&edge, 5, "/z");
    assert_eq!(before.count(), at, "a pooled connection to the old address is not used any more");
}

#[test]
fn a_name_server_that_is_gone_leaves_the_last_good_answer() {
    let origin = Origin::start();
    let dns = Dns::start(&[("kept.example", Ipv4Addr::LOCALHOST)]);
    let edge = named(&dns, &format!("{{ address: \"kept.example:{}\" }}", origin.port()), "keepalive: { idle: 1s }");
    ask(&edge, 1, "/x");
    dns.silence();
    let heard = dns.heard();
    eventually("the renewal has failed", || {
        let begun = Instant::now();
        ask(&edge, 1, "/y");
        assert!(begun.elapsed() < Duration::from_secs(1), "a request waited for the renewal: {:?}", begun.elapsed());
        (dns.heard() >= heard + 3 && edge.output().contains("the last good answer stays in use")).then_some(())
    });
    ask(&edge, 3, "/z");
    assert_eq!(edge.output().matches("the last good answer stays in use").count(), 1, "said once");
}

#[test]
fn an_unresolvable_neighbour_is_passed_over() {
    let origin = Origin::start();
    let dns = Dns::start(&[("good.example", Ipv4Addr::LOCALHOST)]);
    let port = origin.port();
    let endpoints = format!("{{ address: \"bad.example:{port}\" }}, {{ address: \"good.example:{port}\" }}");
    let edge = named(&dns, &endpoints, "keepalive: { idle: 1s }");
    ask(&edge, 6, "/x");
    let error = endpoint(&edge, &format!("bad.example:{port}"))["last_error"].clone();
    assert!(error.as_str().is_some_and(|error| error.starts_with("upstream_unresolved")), "{error}");
}

#[test]
fn checks_obey_the_guard_of_the_routes() {
    let origin = Origin::start();
    let dns = Dns::start(&[("inside.example", Ipv4Addr::LOCALHOST)]);
    let text = r#"
        upstreams:
          pool:
            endpoints: [{ address: "inside.example:{port}" }]
            health: { path: /healthz, interval: 50ms, unhealthy_after: 1 }
        projects:
          demo:
            upstream_policy: {policy}
            environments:
              production:
                routes:
                  - { prefix: /, upstream: pool, auth: none }
        "#;
    let edge = Config::new(text)
        .server("dns: { servers: [\"{dns}\"], timeout: 1s }")
        .value("dns", &dns.address.to_string())
        .value("port", &origin.port().to_string())
        .value("policy", "guarded")
        .start();
    let label = format!("inside.example:{}", origin.port());
    wait_state(&edge, &label, "unhealthy");
    let error = endpoint(&edge, &label)["last_error"].clone();
    assert!(error.as_str().is_some_and(|error| error.contains("127.0.0.1 is")), "{error}");
    edge.get("/x").expect_error(503, "upstream_unhealthy");
    assert_eq!(origin.connections(), 0);
    edge.apply(&text.replace("{policy}", "open"));
    wait_state(&edge, &label, "up");
    ask(&edge, 1, "/x");
}

#[test]
fn a_name_of_nobodys_stops_nothing_but_its_own_requests() {
    let (origin, dns) = (Origin::start(), Dns::start(&[]));
    let edge =
        named(&dns, "{ address: \"nowhere.example:80\" }", "health: { path: /, interval: 50ms, unhealthy_after: 2 }");
    eventually_within(Duration::from_secs(10), "it is known to be unhealthy", || {
        (endpoint(&edge, "nowhere.example:80")["state"] == "unhealthy").then_some(())
    });
    edge.get("/x").expect_error(503, "upstream_unhealthy");
    dns.set(&[("nowhere.example", Ipv4Addr::LOCALHOST)]);
    assert!(edge.ready() && origin.count() == 0);
}
