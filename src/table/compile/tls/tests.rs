use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::CertificateParams;

use super::super::super::testing::{compiled, error_codes, model, problems, project, table, warning_codes};
use super::*;
use crate::config::model::Acme;
use crate::diagnostic::Spanned;
use crate::tls::load::testing::{Kind, Pem, authority, issue_pem, sign};

/// A directory with a good pair, and a model of one TLS listener with it.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        bench.write("edge", &issue_pem(&["demo.test"], Kind::Ecdsa));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn write(&self, name: &str, pem: &Pem) {
        self.put(&format!("{name}.crt"), &pem.chain);
        self.put(&format!("{name}.key"), &pem.key);
    }

    fn files(&self, cert: &str, key: &str) -> CertificateFiles {
        CertificateFiles { cert: Spanned::new(self.path(cert), at(3)), key: Spanned::new(self.path(key), at(4)) }
    }

    fn tls(&self) -> ListenerTls {
        let certificates = vec![self.files("edge.crt", "edge.key")];
        ListenerTls { min_version: TlsVersion::Tls12, certificates, client_ca: None, at: at(2) }
    }

    fn model(&self, edit: impl FnOnce(&mut ListenerTls)) -> Model {
        let mut model = model(vec![project("demo", &["demo.test"], Vec::new())]);
        let mut tls = self.tls();
        edit(&mut tls);
        model.listeners[0].tls = Some(tls);
        model
    }
}

fn at(line: u32) -> Pos {
    Pos { line, column: 1, len: 1, ..Pos::default() }
}

#[test]
fn what_holds_is_compiled_without_a_word() {
    let bench = Bench::new();
    assert_eq!(problems(bench.model(|_| {})), []);
    let table = table(bench.model(|_| {}));
    let name = table.listeners[0].name.value.clone();
    assert!(table.tls.of(&name).is_some() && table.tls.of("other").is_none());
    assert_eq!((table.followed().len(), table.tls.expiries()[0].name.as_str()), (1, "demo.test"));
}

#[test]
fn every_file_that_cannot_be_presented_is_an_error_where_it_is_named() {
    let bench = Bench::new();
    bench.write("other", &issue_pem(&["demo.test"], Kind::Ecdsa));
    bench.put("nonsense", "nonsense");
    let encrypted = fs::read_to_string(bench.path("edge.key")).unwrap().replace("PRIVATE", "ENCRYPTED PRIVATE");
    bench.put("encrypted.key", &encrypted);
    for (cert, key, code, line) in [
        ("missing.crt", "edge.key", "invalid_tls_certificate", 3),
        ("nonsense", "edge.key", "invalid_tls_certificate", 3),
        ("edge.key", "edge.key", "invalid_tls_certificate", 3),
        ("edge.crt", "missing.key", "invalid_tls_key", 4),
        ("edge.crt", "nonsense", "invalid_tls_key", 4),
        ("edge.crt", "edge.crt", "invalid_tls_key", 4),
        ("edge.crt", "encrypted.key", "invalid_tls_key", 4),
        ("edge.crt", "other.key", "tls_key_mismatch", 4),
    ] {
        let found = problems(bench.model(|tls| tls.certificates = vec![bench.files(cert, key)]));
        let told: Vec<_> = found.iter().map(|it| (it.code, it.at.map(|at| at.line))).collect();
        assert_eq!(told, [(code, Some(line))], "{cert} {key}: {found:#?}");
        assert!(found[0].is_error());
    }
}

#[test]
fn all_files_are_judged_and_those_that_may_be_mended_are_named() {
    let bench = Bench::new();
    let both = vec![bench.files("a", "b"), bench.files("c", "d")];
    let model =
        bench.model(|tls| (tls.certificates, tls.client_ca) = (both, Some(Spanned::new(bench.path("e"), at(5)))));
    let compiled = compiled(model, None);
    assert_eq!(compiled.diagnostics.iter().filter(|it| it.is_error()).count(), 3);
    assert_eq!(compiled.mendable, ["a", "b", "c", "d", "e"].map(|name| bench.path(name)));
}

#[test]
fn what_clients_will_refuse_is_a_warning() {
    let bench = Bench::new();
    let valid = |from: i32, to: i32| {
        let mut params = CertificateParams::new(vec!["demo.test".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
        sign(params, Kind::Ecdsa)
    };
    for (from, to, code) in [(2001, 2002, "tls_certificate_expired"), (2901, 2902, "tls_certificate_not_yet_valid")] {
        bench.write("edge", &valid(from, to));
        assert_eq!(warning_codes(bench.model(|_| {})), [code]);
        assert!(error_codes(bench.model(|_| {})).is_empty());
    }
}

#[test]
fn a_key_that_everybody_can_read_is_a_warning() {
    let bench = Bench::new();
    fs::set_permissions(bench.path("edge.key"), fs::Permissions::from_mode(0o604)).unwrap();
    assert_eq!(warning_codes(bench.model(|_| {})), ["tls_key_permissions"]);
}

#[test]
fn a_listener_without_any_certificate_is_refused_unless_one_is_obtained() {
    let bench = Bench::new();
    let mut model = bench.model(|tls| tls.certificates.clear());
    assert_eq!(error_codes(model.clone()), ["tls_without_certificate"]);
    model.acme = Some(Acme {
        directory: Spanned::new("https://acme.test/directory".parse().unwrap(), at(9)),
        contact: Vec::new(),
        hosts: vec![Spanned::new("demo.test".to_owned(), at(9))],
        storage: None,
        ca: None,
        renew_before: Some(Duration::from_secs(1)),
        at: at(9),
    });
    assert_eq!(error_codes(model), Vec::<&str>::new());
}

#[test]
fn authorities_for_clients_are_read() {
    let bench = Bench::new();
    bench.put("ca.pem", &authority().0.pem());
    let with = |name: &str| bench.model(|tls| tls.client_ca = Some(Spanned::new(bench.path(name), at(5))));
    assert_eq!(problems(with("ca.pem")), []);
    for name in ["missing", "edge.key"] {
        let found = problems(with(name));
        assert_eq!((found[0].code, found[0].at), ("invalid_client_ca", Some(at(5))));
    }
}

#[test]
fn an_edit_of_other_things_keeps_everything_as_it_is() {
    let bench = Bench::new();
    let first = table(bench.model(|_| {}));
    let second = compiled(bench.model(|_| {}), Some(&first)).table.unwrap();
    let name = first.listeners[0].name.value.clone();
    assert!(Arc::ptr_eq(first.tls.of(&name).unwrap(), second.tls.of(&name).unwrap()));
    assert!(Arc::ptr_eq(&first.tls.certificates, &second.tls.certificates));
}

#[test]
fn what_an_edit_takes_away_is_carried_on_until_the_restart() {
    let bench = Bench::new();
    let first = table(bench.model(|_| {}));
    let name = first.listeners[0].name.value.clone();
    let mut plain = bench.model(|_| {});
    plain.listeners[0].tls = None;
    let second = compiled(plain, Some(&first)).table.unwrap();
    assert!(Arc::ptr_eq(first.tls.of(&name).unwrap(), second.tls.of(&name).unwrap()));
}

#[test]
fn a_proxy_protocol_that_nobody_is_believed_with_is_mentioned() {
    let mut model = model(vec![project("demo", &["demo.test"], Vec::new())]);
    model.listeners[0].proxy_protocol = true;
    model.server.trusted_proxies.clear();
    assert_eq!(warning_codes(model.clone()), ["proxy_protocol_without_trust"]);
    model.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    assert_eq!(warning_codes(model), Vec::<&str>::new());
}
