//! `acme`: its files, and whether the listeners can do their part.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Model;
use crate::config::model;
use crate::diagnostic::Diagnostic;

use super::super::acme::Acme;
use super::ca;

/// The port that a CA asks on (RFC 8555 §8.3).
const HTTP: u16 = 80;

/// Compiles the section. `state_dir`: the one in force.
pub(super) fn compile(model: &Model, state_dir: &Path, problems: &mut Vec<Diagnostic>) -> Option<Arc<Acme>> {
    let acme = model.acme.as_ref()?;
    listeners(model, acme, problems);
    let ca = match &acme.ca {
        None => Vec::new(),
        Some(path) => ca::named(path, problems)?.certificates,
    };
    Some(Arc::new(Acme {
        directory: acme.directory.as_str().to_owned(),
        contact: acme.contact.clone(),
        hosts: acme.hosts.iter().map(|host| Arc::from(host.as_str())).collect(),
        storage: storage(acme, state_dir),
        ca,
        renew_before: acme.renew_before,
    }))
}

fn storage(acme: &model::Acme, state_dir: &Path) -> PathBuf {
    acme.storage.clone().unwrap_or_else(|| state_dir.join("acme"))
}

/// A CA asks in the clear, on port 80; what it issues is of use with TLS only. Ports may be forwarded: warnings, no errors.
fn listeners(model: &Model, acme: &model::Acme, problems: &mut Vec<Diagnostic>) {
    let plain: Vec<_> = model.listeners.iter().filter(|listener| listener.tls.is_none()).collect();
    if plain.is_empty() {
        let message = "no listener can answer the CA, which asks over plain http";
        let hint = format!("add one: listeners: {{ http: {{ address: \"0.0.0.0:{HTTP}\" }} }}");
        problems.push(Diagnostic::warning("acme_no_http_listener", acme.at, message).hint(hint));
    } else if plain.iter().all(|listener| listener.address.port() != HTTP) {
        let message = format!("no plain listener is on port {HTTP}, where the CA asks");
        let names: Vec<_> = plain.iter().map(|listener| format!("`{}`", *listener.name)).collect();
        let hint = format!("see to it that port {HTTP} of these hosts leads to listener {}", names.join(" or "));
        problems.push(Diagnostic::warning("acme_port_80", acme.at, message).hint(hint));
    }
    if plain.len() == model.listeners.len() {
        let message = "no listener has `tls`, so that the certificates would be of no use";
        let hint = "add one: listeners: { https: { address: \"0.0.0.0:443\", tls: {} } }";
        problems.push(Diagnostic::warning("acme_no_tls_listener", acme.at, message).hint(hint));
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use url::Url;

    use super::super::super::testing::{self, *};
    use crate::config::Model;
    use crate::config::model::{Acme, ListenerTls, TlsVersion};
    use crate::diagnostic::Spanned;

    fn with(listeners: &[(&str, bool)]) -> Model {
        let mut model =
            model(vec![project("demo", &["demo.test"], vec![testing::route("/a", "https://u.example.com")])]);
        model.clients = vec![client("dev", Some("dev@example.com"))];
        let pattern = model.listeners.remove(0);
        for (address, tls) in listeners {
            let tls = tls.then(|| ListenerTls {
                min_version: TlsVersion::Tls12,
                certificates: Vec::new(),
                client_ca: None,
                at: at(2),
            });
            let address = Spanned::new(address.parse().unwrap(), at(2));
            model.listeners.push(crate::config::model::Listener {
                name: text(&format!("l{}", model.listeners.len())),
                address,
                tls,
                ..pattern.clone()
            });
        }
        model.acme = Some(Acme {
            directory: Spanned::new(Url::parse("https://ca.test/directory").unwrap(), at(3)),
            contact: vec!["mailto:ops@example.com".to_owned()],
            hosts: vec![text("demo.test")],
            storage: None,
            ca: None,
            renew_before: None,
            at: at(3),
        });
        model
    }

    #[test]
    fn listeners_that_cannot_do_their_part_are_mentioned() {
        for (listeners, codes) in [
            (&[("0.0.0.0:80", false), ("0.0.0.0:443", true)][..], &[][..]),
            (&[("0.0.0.0:8080", false), ("0.0.0.0:443", true)], &["acme_port_80"]),
            (&[("0.0.0.0:80", false)], &["acme_no_tls_listener"]),
            (&[("0.0.0.0:80", true)], &["acme_no_http_listener"]),
        ] {
            assert_eq!(warning_codes(with(listeners)), codes, "{listeners:?}");
        }
    }

    #[test]
    fn certificates_are_kept_below_the_state_directory_unless_written() {
        let mut model = with(&[("0.0.0.0:80", false), ("0.0.0.0:443", true)]);
        let storage = |model: Model| table(model).acme.as_ref().unwrap().storage.clone();
        assert_eq!(storage(model.clone()), PathBuf::from("state/acme"));
        model.acme.as_mut().unwrap().storage = Some("elsewhere".into());
        assert_eq!(storage(model), PathBuf::from("elsewhere"));
    }

    #[test]
    fn a_ca_file_that_is_none_is_an_error() {
        let mut model = with(&[("0.0.0.0:80", false), ("0.0.0.0:443", true)]);
        model.acme.as_mut().unwrap().ca = Some(Spanned::new("nowhere.pem".into(), at(4)));
        assert_eq!(error_codes(model), ["invalid_ca"]);
    }
}
