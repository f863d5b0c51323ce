//! Private trust stores: a PEM file of CA certificates.

use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::diagnostic::{Diagnostic, Spanned};

use super::super::upstream::Ca;

/// Why a file cannot be a trust store.
#[derive(Debug, thiserror::Error)]
enum CaError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is not PEM.
    #[error("it is not valid PEM")]
    NotPem,
    /// There is none in it.
    #[error("it holds no certificate")]
    Empty,
    /// One of them is not X.509, or cannot issue.
    #[error("certificate {0} in it cannot be a trust anchor")]
    NotAnAnchor(usize),
}

/// The trust store that a key `ca` names; `None`: it is none, which has been reported.
pub(super) fn named(path: &Spanned<PathBuf>, problems: &mut Vec<Diagnostic>) -> Option<Ca> {
    let report = |why: CaError| {
        let message = format!("`ca` names {}, but {why}", path.display());
        let hint = "a PEM file with CA certificates is needed";
        problems.push(Diagnostic::error("invalid_ca", path.at, message).hint(hint));
    };
    read(path).map_err(report).ok()
}

fn read(path: &Path) -> Result<Ca, CaError> {
    let pem = std::fs::read(path)?;
    let certificates = certificates(&pem)?;
    Ok(Ca { path: path.to_owned(), certificates })
}

fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, CaError> {
    let mut certificates = Vec::new();
    for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let certificate = certificate.map_err(|_| CaError::NotPem)?;
        webpki::anchor_from_trusted_cert(&certificate).map_err(|_| CaError::NotAnAnchor(index + 1))?;
        certificates.push(certificate.to_vec());
    }
    if certificates.is_empty() { Err(CaError::Empty) } else { Ok(certificates) }
}
