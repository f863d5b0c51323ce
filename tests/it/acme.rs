//! Certificates from a CA, shown against pebble: issued, kept, served, renewed, and what happens when something is in the
//! way. Pebble is strict and refuses three nonces in ten.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign::tls::load::certified_key;
use serde_json::Value;

use crate::support::edge::free_address;
use crate::support::pebble::{Pebble, RunningPebble};
use crate::support::tls::TlsClient;
use crate::support::{Config, Edge, Request, eventually_within};

mod suggestions;

/// Pebble, three nonces in ten refused, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

const ROUTES: &str = "
projects:
  demo:
    environments:
      production:
        routes: [{ prefix: /, auth: none, respond: { body: hello } }]
";

/// The sections of an edge that gets certificates for these hosts.
fn sections(hosts: &str, more: &str) -> String {
    format!("acme: {{ directory: \"{{directory}}\", ca: ca.pem, hosts: [{hosts}]{more} }}\n{ROUTES}")
}

struct Pair {
    edge: Edge,
    pebble: RunningPebble,
}

/// An edge and the CA that asks it.
fn start(hosts: &str, validity: Duration) -> Pair {
    let data = free_address();
    let pebble = Pebble::asking(data).validity(validity).start();
    let edge = at(&pebble.settings, &sections(hosts, "")).launch_at(data, free_address());
    edge.wait_ready();
    Pair { edge, pebble }
}

fn at(pebble: &Pebble, text: &str) -> Config {
    let config = Config::new(text).value("directory", &pebble.url()).file("ca.pem", &pebble.certificate);
    config.secured_by("tls: {}", TlsClient::curious())
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3600)
}

/// What the status says about a host; null while it does not know it.
fn host(edge: &Edge, host: &str) -> Value {
    let status = edge.status();
    let found = status["acme"].as_array().expect("acme").iter().find(|one| one["host"] == host).cloned();
    found.unwrap_or_default()
}

/// Waits until there is a certificate for a host; when it ends.
fn wait_certificate(edge: &Edge, name: &str) -> String {
    eventually_within(PATIENCE, &format!("a certificate for {name}"), || {
        host(edge, name)["not_after"].as_str().map(str::to_owned)
    })
}

fn wait_error(edge: &Edge, name: &str) -> String {
    eventually_within(PATIENCE, &format!("an error for {name}"), || {
        host(edge, name)["last_error"].as_str().map(str::to_owned)
    })
}

fn storage(edge: &Edge) -> PathBuf {
    edge.directory().join("state/acme")
}

fn kept(edge: &Edge, host: &str) -> PathBuf {
    storage(edge).join("certificates").join(format!("{host}.pem"))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

/// Everything below a directory.
fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn certificates_are_obtained_and_kept_closed_to_others() {
    let Pair { edge, pebble } = start("one.test, two.test", days(90));
    for name in ["one.test", "two.test"] {
        wait_certificate(&edge, name);
        let pem = std::fs::read(kept(&edge, name)).expect("a kept certificate");
        let loaded = certified_key(&pem, &pem).expect("a key with its certificate");
        assert_eq!(loaded.names, [name]);
        edge.wait_log(&format!("{name}: certificate obtained"));
        assert_eq!(
            edge.metrics().sum("countersign_acme_orders_total", &[("host", name), ("outcome", "obtained")]),
            1.0
        );
        assert!(edge.metrics().sum("countersign_acme_next_renewal_timestamp_seconds", &[("host", name)]) > 1e9);
        assert_eq!(host(&edge, name)["last_error"], Value::Null);
    }
    assert_eq!((pebble.orders(), pebble.accounts()), (2, 1), "one account for all hosts");
    for path in walk(&storage(&edge)) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    let gone = edge.get("/.well-known/acme-challenge/anything");
    assert_eq!(gone.text(), "hello", "without an order under way the path is a route's like any other");
}

#[test]
fn a_restart_keeps_account_and_certificates() {
    let Pair { mut edge, pebble } = start("one.test", days(90));
    let until = wait_certificate(&edge, "one.test");
    let before = walk(&storage(&edge)).iter().filter(|path| path.is_file()).count();
    edge.stop();
    edge.relaunch();
    assert_eq!(host(&edge, "one.test")["not_after"], until.as_str());
    edge.wait_log("one.test: serving the kept certificate");
    // Another host makes it talk to the CA again: with the account that it has.
    edge.apply(&sections("one.test, two.test", ""));
    wait_certificate(&edge, "two.test");
    assert_eq!((pebble.orders(), pebble.accounts()), (2, 1));
    assert_eq!(walk(&storage(&edge)).iter().filter(|path| path.is_file()).count(), before + 1);
}

#[test]
fn an_account_that_the_ca_has_forgotten_is_made_anew() {
    let Pair { edge, pebble } = start("one.test", days(90));
    wait_certificate(&edge, "one.test");
    let settings = pebble.settings.clone();
    drop(pebble);
    // It keeps everything in memory.
    let other = settings.start();
    edge.apply(&sections("one.test, two.test", ""));
    wait_certificate(&edge, "two.test");
    edge.wait_log("the account is not valid any more");
    assert_eq!((other.orders(), other.accounts()), (1, 1));
}

#[test]
fn hosts_and_contacts_follow_the_configuration() {
    let Pair { edge, pebble } = start("one.test", days(90));
    wait_certificate(&edge, "one.test");
    edge.apply(&sections("two.test", ", contact: [\"mailto:ops@example.com\"]"));
    wait_certificate(&edge, "two.test");
    edge.wait_log("the account's contacts are up to date");
    edge.wait_log("one.test: not in `acme.hosts` any more");
    let hosts: Vec<Value> = edge.status()["acme"].as_array().unwrap().iter().map(|one| one["host"].clone()).collect();
    assert_eq!(hosts, ["two.test"]);
    assert_eq!((pebble.orders(), pebble.accounts()), (2, 1));
    assert!(kept(&edge, "one.test").exists(), "it may come back");
    let ended = TlsClient::curious().connect(edge.secured.expect("a TLS listener"), "one.test");
    assert!(ended.is_err(), "and is not served until then");
}

#[test]
fn a_ca_that_is_away_holds_nothing_up_and_is_asked_again() {
    let data = free_address();
    let settings = Pebble::asking(data);
    let edge = at(&settings, &sections("one.test", "")).launch_at(data, free_address());
    edge.wait_ready();
    assert_eq!(edge.get("/").text(), "hello");
    let error = wait_error(&edge, "one.test");
    assert!(error.contains(&settings.address.to_string()), "{error}");
    edge.wait_log("one.test: no certificate");
    edge.wait_log("next try at");
    assert!(edge.metrics().sum("countersign_acme_orders_total", &[("outcome", "failed")]) >= 1.0);
    let _pebble = settings.start();
    wait_certificate(&edge, "one.test");
    assert_eq!(host(&edge, "one.test")["last_error"], Value::Null);
}

#[test]
fn what_the_ca_says_about_a_host_reaches_the_operator_and_other_hosts_go_on() {
    let Pair { edge, pebble: _pebble } = start("nowhere.test, two.test", days(90));
    wait_certificate(&edge, "two.test");
    let error = wait_error(&edge, "nowhere.test");
    assert!(error.starts_with("not authorized: ") && error.contains("nowhere.test"), "{error}");
    edge.wait_log("nowhere.test: no certificate: not authorized: ");
    edge.wait_log("none is in use");
}

#[test]
fn a_storage_that_cannot_be_written_to_costs_the_ca_no_order() {
    let data = free_address();
    let pebble = Pebble::asking(data).start();
    let text = sections("one.test", ", storage: taken");
    let edge = at(&pebble.settings, &text).file("taken", "a file").launch_at(data, free_address());
    edge.wait_ready();
    let error = wait_error(&edge, "one.test");
    assert!(error.starts_with("acme.storage: ") && error.contains("taken"), "{error}");
    assert_eq!((pebble.orders(), pebble.accounts()), (0, 0));
    assert_eq!(edge.get("/").text(), "hello");
}

#[test]
fn a_certificate_that_cannot_be_kept_is_not_served() {
    let Pair { edge, pebble } = start("one.test", Duration::from_secs(30));
    let first = wait_certificate(&edge, "one.test");
    // From now on nothing can take the name.
    let path = kept(&edge, "one.test");
    std::fs::remove_file(&path).expect("remove it");
    std::fs::create_dir_all(path.join("x")).expect("a directory in its place");
    let error = wait_error(&edge, "one.test");
    assert!(error.starts_with("acme.storage: ") && error.contains("one.test.pem"), "{error}");
    assert_eq!(host(&edge, "one.test")["not_after"], first.as_str(), "the old one is served on");
    assert!(pebble.orders() >= 2, "it was obtained, and not used");
    std::fs::remove_dir_all(&path).expect("out of the way");
    eventually_within(PATIENCE, "the next one", || {
        (host(&edge, "one.test")["not_after"] != first.as_str()).then_some(())
    });
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn what_was_obtained_is_served_by_name() {
    let Pair { edge, pebble } = start("one.test, two.test", days(90));
    for name in ["one.test", "two.test"] {
        wait_certificate(&edge, name);
        let client = TlsClient::believing(&pebble.root());
        let mut wire = client.connect(edge.secured.expect("a TLS listener"), name).expect("a handshake");
        wire.send(Request::get("/").host(name).bytes());
        assert_eq!(wire.response().text(), "hello", "{name}");
        let ends = edge.metrics().sum("countersign_tls_certificate_not_after_timestamp_seconds", &[("name", name)]);
        assert!(ends > 1e9, "{name}: {ends}");
    }
    let stranger = TlsClient::curious().connect(edge.secured.expect("a TLS listener"), "three.test");
    assert!(stranger.is_err(), "there is nothing that could be shown for it");
}

#[test]
fn short_lived_certificates_are_renewed_again_and_again_and_no_handshake_fails() {
    let Pair { edge, pebble } = start("one.test", Duration::from_secs(20));
    let mut seen = vec![wait_certificate(&edge, "one.test")];
    let (root, address) = (pebble.root(), edge.secured.expect("a TLS listener"));
    let done = std::sync::atomic::AtomicBool::new(false);
    let shown = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut shown = std::collections::BTreeSet::new();
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                // A client of its own each time: no session is resumed, and names, issuer and times are verified.
                let wire = TlsClient::believing(&root).connect(address, "one.test").expect("a handshake");
                shown.insert(wire.seen().fingerprint);
            }
            shown
        });
        while seen.len() < 4 {
            let last = seen.last().cloned();
            seen.push(eventually_within(PATIENCE, "a renewal", || {
                let until = host(&edge, "one.test")["not_after"].as_str().map(str::to_owned);
                until.filter(|until| Some(until) != last.as_ref())
            }));
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        client.join().expect("every handshake")
    });
    assert!(shown.len() >= 3, "the client was shown {} certificates", shown.len());
    edge.wait_log("one.test: certificate renewed");
    assert_eq!(pebble.accounts(), 1);
    assert!(pebble.refused_nonces() > 0, "pebble refuses nonces");
    assert_eq!(host(&edge, "one.test")["last_error"], Value::Null);
}
