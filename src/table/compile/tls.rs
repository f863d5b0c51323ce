//! `listeners.*.tls` and `admin.tls`: the files are read, judged and made into what the listener speaks TLS with.
//!
//! A process keeps the listeners that it was started with. What an edit takes away from one of them waits for a restart, so
//! that its TLS is carried on; what an edit gives to one that was started in the clear waits as well.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::UnixMillis;
use crate::config::Model;
use crate::config::model::{CertificateFiles, Listener, ListenerTls, TlsVersion};
use crate::diagnostic::{Diagnostic, Pos};
use crate::tls::files::{Held, Pair, ReadError};
use crate::tls::load::LoadError;
use crate::tls::{Authorities, Material, Termination, Terms};

use super::super::{StartedWith, Table, Terminations};

/// Reads everything that the listeners present.
pub(super) fn compile(
    model: &Model,
    started_with: &StartedWith,
    previous: Option<&Table>,
    now: UnixMillis,
    problems: &mut Vec<Diagnostic>,
) -> Terminations {
    let certificates = previous.map_or_else(Arc::default, |table| Arc::clone(&table.tls.certificates));
    let mut terminations = Terminations { certificates, listeners: Vec::new(), admin: None };
    let has_acme = model.acme.is_some();
    for listener in &model.listeners {
        check_proxy_protocol(listener, model, problems);
        let Some(tls) = &listener.tls else { continue };
        let before = previous.and_then(|table| table.tls.of(&listener.name));
        let made = terminations.made(tls, http2(listener, started_with), has_acme, before, now, problems);
        terminations.listeners.extend(made.map(|made| (Arc::from(listener.name.as_str()), made)));
    }
    if let Some(tls) = &model.admin.tls {
        let before = previous.and_then(|table| table.tls.admin());
        terminations.admin = terminations.made(tls, false, has_acme, before, now, problems);
    }
    terminations.carry_on(previous);
    terminations
}

impl Terminations {
    /// What one listener presents; `None`: it cannot be had, which has been reported.
    fn made(
        &self,
        tls: &ListenerTls,
        http2: bool,
        has_acme: bool,
        before: Option<&Arc<Termination>>,
        now: UnixMillis,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<Arc<Termination>> {
        if tls.certificates.is_empty() && !has_acme {
            problems.push(without_certificate(tls.at));
            return None;
        }
        let material = material(tls, http2, now, problems)?;
        let made = Termination::new(material, &self.certificates, before);
        made.map_err(|error| {
            problems.push(Diagnostic::error("tls_refused", tls.at, format!("TLS cannot be spoken so: {error}")));
        })
        .ok()
    }

    fn carry_on(&mut self, previous: Option<&Table>) {
        if self.admin.is_none() {
            self.admin = previous.and_then(|table| table.tls.admin.clone());
        }
        for (name, termination) in previous.into_iter().flat_map(|table| &table.tls.listeners) {
            if self.of(name).is_none() {
                self.listeners.push((Arc::clone(name), Arc::clone(termination)));
            }
        }
    }
}

/// Every file that the listeners name.
pub(super) fn files(model: &Model) -> Vec<PathBuf> {
    let sections = || model.listeners.iter().map(|listener| &listener.tls).chain([&model.admin.tls]).flatten();
    let pairs = sections().flat_map(|tls| &tls.certificates);
    let pairs = pairs.flat_map(|files| [files.cert.value.clone(), files.key.value.clone()]);
    pairs.chain(sections().filter_map(|tls| tls.client_ca.as_ref()).map(|path| path.value.clone())).collect()
}

fn without_certificate(at: Pos) -> Diagnostic {
    Diagnostic::error("tls_without_certificate", at, "`tls` names no certificate, and there is no `acme` to obtain one")
        .hint("add at least one: certificates: [{ cert: tls/example.crt, key: tls/example.key }]")
}

/// `http2` is read at start.
fn http2(listener: &Listener, started_with: &StartedWith) -> bool {
    let started = started_with.listeners.iter().find(|started| *started.name == *listener.name);
    started.map_or(listener.http2, |started| started.http2)
}

fn material(tls: &ListenerTls, http2: bool, now: UnixMillis, problems: &mut Vec<Diagnostic>) -> Option<Material> {
    let pairs: Vec<_> = tls.certificates.iter().map(|files| pair(files, now, problems)).collect();
    let clients = tls.client_ca.as_ref().map(|path| {
        let read = Authorities::read(path);
        read.map_err(|why| {
            let message = format!("`client_ca` names {}, but {why}", path.display());
            let hint = "a PEM file with CA certificates is needed";
            problems.push(Diagnostic::error("invalid_client_ca", path.at, message).hint(hint));
        })
    });
    Some(Material {
        terms: Terms { tls13_only: tls.min_version == TlsVersion::Tls13, http2 },
        pairs: pairs.into_iter().collect::<Option<_>>()?,
        clients: clients.transpose().ok()?,
    })
}

fn pair(files: &CertificateFiles, now: UnixMillis, problems: &mut Vec<Diagnostic>) -> Option<(Pair, Held)> {
    let pair = Pair { cert: files.cert.value.clone(), key: files.key.value.clone() };
    match pair.read() {
        Ok(held) => {
            problems.extend(validity(files, &held, now));
            problems.extend(held.key_open_to_others.then(|| open_to_others(files.key.at, &files.key)));
            Some((pair, held))
        }
        Err(error) => {
            problems.push(unusable(files, &error));
            None
        }
    }
}

fn unusable(files: &CertificateFiles, error: &ReadError) -> Diagnostic {
    let (path, at) = match error.is_about_the_key() {
        true => (&files.key, files.key.at),
        false => (&files.cert, files.cert.at),
    };
    let message = format!("{}: {error}", path.display());
    match error {
        ReadError::Content(LoadError::Mismatch) => Diagnostic::error("tls_key_mismatch", at, message)
            .hint("each renewal writes both files: are they from the same one?")
            .related(files.cert.at, "the certificate that it should belong to"),
        ReadError::Key(_) | ReadError::Content(LoadError::Key(_)) => Diagnostic::error("invalid_tls_key", at, message)
            .hint("a PEM file with one unencrypted private key is needed"),
        ReadError::Chain(_) | ReadError::Content(LoadError::Chain(_)) => {
            Diagnostic::error("invalid_tls_certificate", at, message)
                .hint("a PEM file is needed: the server's own certificate first, then those that vouch for it")
        }
    }
}

fn validity(files: &CertificateFiles, held: &Held, now: UnixMillis) -> Option<Diagnostic> {
    let (at, cert) = (files.cert.at, files.cert.display());
    let warning = if held.loaded.not_after <= now {
        let message = format!("the certificate in {cert} has expired: clients will refuse it");
        Diagnostic::warning("tls_certificate_expired", at, message)
    } else if held.loaded.not_before > now {
        let message = format!("the certificate in {cert} is not valid yet: clients will refuse it");
        Diagnostic::warning("tls_certificate_not_yet_valid", at, message)
    } else {
        return None;
    };
    Some(warning.hint("renew it; the new files are picked up by themselves"))
}

fn open_to_others(at: Pos, path: &Path) -> Diagnostic {
    let path = path.display();
    Diagnostic::warning("tls_key_permissions", at, format!("every user of this machine can read `{path}`"))
        .hint(format!("chmod 600 {path}"))
}

/// Nobody's header would be believed.
fn check_proxy_protocol(listener: &Listener, model: &Model, problems: &mut Vec<Diagnostic>) {
    if listener.proxy_protocol && model.server.trusted_proxies.is_empty() {
        let message =
            "`proxy_protocol` believes `server.trusted_proxies` only, and there are none: every connection ends";
        let hint = "name those in front: server: { trusted_proxies: [10.0.0.0/8] }";
        problems.push(Diagnostic::warning("proxy_protocol_without_trust", listener.name.at, message).hint(hint));
    }
}

#[cfg(test)]
mod tests;
