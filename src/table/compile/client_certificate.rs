//! What an upstream is shown when it asks for a certificate: two PEM files.

use std::path::Path;

use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use crate::config::model::CertificateFiles;
use crate::diagnostic::{Diagnostic, Pos};
use crate::tls::load::{self, LoadError};

use super::super::upstream::ClientCertificate;

/// Reads and checks the pair; what is wrong with it is noted.
pub(super) fn read(files: &CertificateFiles, problems: &mut Vec<Diagnostic>) -> Option<ClientCertificate> {
    let chain = bytes(&files.cert.value, "client_cert", files.cert.at, problems);
    let key = bytes(&files.key.value, "client_key", files.key.at, problems);
    let (chain, key) = (chain?, key?);
    match load::certified_key(&chain, &key) {
        Ok(loaded) => {
            let chain = loaded.key.cert.iter().map(|certificate| certificate.to_vec()).collect();
            let key = PrivateKeyDer::from_pem_slice(&key).ok()?;
            Some(ClientCertificate { chain, key })
        }
        Err(why) => {
            let at = if matches!(why, LoadError::Chain(_)) { files.cert.at } else { files.key.at };
            problems.push(invalid(at, format!("it cannot be shown to an upstream: {why}")));
            None
        }
    }
}

fn bytes(path: &Path, key: &str, at: Pos, problems: &mut Vec<Diagnostic>) -> Option<Vec<u8>> {
    let read = std::fs::read(path);
    read.map_err(|why| {
        let message = format!("`{key}` names {}, but it cannot be read: {why}", path.display());
        problems.push(invalid(at, message));
    })
    .ok()
}

fn invalid(at: Pos, message: String) -> Diagnostic {
    let hint = "`client_cert` is a PEM file with the certificate and its chain, `client_key` one with its private key";
    Diagnostic::error("invalid_client_certificate", at, message).hint(hint)
}
