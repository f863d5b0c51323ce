use std::fs;

use super::super::load::testing::{Kind, Pem, issue_pem};
use super::*;

/// A directory with one pair of files.
struct Bench {
    dir: tempfile::TempDir,
    pair: Pair,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pair = Pair { cert: dir.path().join("edge.crt"), key: dir.path().join("edge.key") };
        let bench = Self { dir, pair };
        bench.write(&issue_pem(&["a.test"], Kind::Ecdsa));
        bench
    }

    fn write(&self, pem: &Pem) {
        fs::write(&self.pair.cert, &pem.chain).unwrap();
        fs::write(&self.pair.key, &pem.key).unwrap();
    }

    fn material(&self) -> Material {
        let terms = Terms { tls13_only: false, http2: true };
        Material { terms, pairs: vec![(self.pair.clone(), self.pair.read().unwrap())], clients: None }
    }

    fn start(&self) -> Arc<Termination> {
        Termination::new(self.material(), &Arc::default(), None).unwrap()
    }

    fn authorities(&self) -> Authorities {
        let path = self.dir.path().join("ca.pem");
        fs::write(&path, super::super::load::testing::authority().0.pem()).unwrap();
        Authorities::read(&path).unwrap()
    }
}

fn served(termination: &Termination) -> Digest {
    termination.files.lock().slots[0].digest
}

fn is_broken(termination: &Termination) -> bool {
    termination.expiries()[0].broken
}

fn same_tickets(one: &ServerConfig, other: &ServerConfig) -> bool {
    Arc::ptr_eq(&one.ticketer, &other.ticketer) && Arc::ptr_eq(&one.session_storage, &other.session_storage)
}

#[test]
fn a_changed_pair_is_served() {
    let bench = Bench::new();
    let termination = bench.start();
    let before = served(&termination);
    bench.write(&issue_pem(&["b.test"], Kind::Ecdsa));
    termination.refresh();
    assert_ne!(served(&termination), before);
    assert_eq!(termination.expiries()[0].name, "b.test");
}

#[test]
fn a_broken_file_leaves_the_old_certificate() {
    let bench = Bench::new();
    let termination = bench.start();
    let (before, good) = (served(&termination), fs::read(&bench.pair.cert).unwrap());
    for broken in [Some("nonsense"), None] {
        match broken {
            Some(text) => fs::write(&bench.pair.cert, text).unwrap(),
            None => fs::remove_file(&bench.pair.cert).unwrap(),
        }
        termination.refresh();
        assert_eq!((served(&termination), is_broken(&termination)), (before, true), "{broken:?}");
    }
    fs::write(&bench.pair.cert, good).unwrap();
    termination.refresh();
    assert_eq!((served(&termination), is_broken(&termination)), (before, false));
}

#[test]
fn a_pair_that_is_replaced_one_file_after_the_other() {
    let bench = Bench::new();
    let termination = bench.start();
    let before = served(&termination);
    let new = issue_pem(&["b.test"], Kind::Ecdsa);
    fs::write(&bench.pair.key, &new.key).unwrap();
    termination.refresh();
    assert_eq!((served(&termination), is_broken(&termination)), (before, true), "half of a pair is no pair");
    fs::write(&bench.pair.cert, &new.chain).unwrap();
    termination.refresh();
    assert_eq!((termination.expiries()[0].name.as_str(), is_broken(&termination)), ("b.test", false));
}

#[test]
fn the_second_file_may_come_while_the_first_is_looked_at() {
    let bench = Bench::new();
    let termination = bench.start();
    let new = issue_pem(&["b.test"], Kind::Ecdsa);
    fs::write(&bench.pair.cert, &new.chain).unwrap();
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| termination.refresh());
        fs::write(&bench.pair.key, &new.key).unwrap();
        looking.join().unwrap();
    });
    assert_eq!(termination.expiries()[0].name, "b.test");
}

#[test]
fn nothing_new_is_the_very_same() {
    let bench = Bench::new();
    let termination = bench.start();
    let again = Termination::new(bench.material(), &Arc::default(), Some(&termination)).unwrap();
    assert!(Arc::ptr_eq(&termination, &again));
}

#[test]
fn another_certificate_keeps_sessions() {
    let bench = Bench::new();
    let termination = bench.start();
    bench.write(&issue_pem(&["b.test"], Kind::Ecdsa));
    let again = Termination::new(bench.material(), &Arc::default(), Some(&termination)).unwrap();
    assert!(!Arc::ptr_eq(&termination, &again));
    assert!(same_tickets(&termination.config(), &again.config()));
}

#[test]
fn new_terms_forget_old_sessions() {
    let bench = Bench::new();
    let termination = bench.start();
    let terms = Terms { tls13_only: true, http2: true };
    for material in
        [Material { terms, ..bench.material() }, Material { clients: Some(bench.authorities()), ..bench.material() }]
    {
        let again = Termination::new(material, &Arc::default(), Some(&termination)).unwrap();
        assert!(!same_tickets(&termination.config(), &again.config()));
    }
}

#[test]
fn other_authorities_are_believed_at_once_and_forget_old_sessions() {
    let bench = Bench::new();
    let material = Material { clients: Some(bench.authorities()), ..bench.material() };
    let path = material.clients.as_ref().map(|clients| clients.path.clone()).unwrap();
    let termination = Termination::new(material, &Arc::default(), None).unwrap();
    assert!(termination.paths().contains(&path));
    let before = termination.config();
    fs::write(&path, "nonsense").unwrap();
    termination.refresh();
    assert!(Arc::ptr_eq(&before, &termination.config()), "the last good content stays");
    bench.authorities();
    termination.refresh();
    assert!(!same_tickets(&before, &termination.config()));
    let settled = termination.config();
    termination.refresh();
    assert!(Arc::ptr_eq(&settled, &termination.config()), "the same again is no change");
}

#[test]
fn the_posture_is_mozillas_intermediate() {
    let bench = Bench::new();
    let config = bench.start().config();
    assert_eq!(config.alpn_protocols, [&b"h2"[..], b"http/1.1"]);
    assert_eq!((config.max_early_data_size, config.ticketer.enabled()), (0, true));
    let first = config.crypto_provider().cipher_suites[0].suite();
    assert!(config.ignore_client_order && first == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256, "{first:?}");
    for suite in &config.crypto_provider().cipher_suites {
        let name = format!("{:?}", suite.suite());
        let forward = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
        assert!(forward && (name.contains("_GCM_") || name.contains("_POLY1305_")), "{name}");
    }
}
