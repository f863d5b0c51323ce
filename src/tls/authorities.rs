//! Whose client certificates are believed: a PEM file of CA certificates.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest as _, Sha256};

use super::files::{self, Digest};

/// The CAs of one file.
#[derive(Clone, Debug)]
pub struct Authorities {
    /// The file.
    pub path: PathBuf,
    /// What it held.
    pub digest: Digest,
    pub(super) roots: Arc<RootCertStore>,
}

/// Why a file holds no CAs.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is not PEM.
    #[error("it is no PEM")]
    NotPem,
    /// There is none in it.
    #[error("it holds no certificate")]
    Empty,
    /// One of them can issue nothing.
    #[error("certificate {0} in it cannot be a trust anchor")]
    NotAnAnchor(usize),
}

impl Authorities {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> Result<Self, AuthoritiesError> {
        let pem = files::read(path)?;
        let mut roots = RootCertStore::empty();
        for (index, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
            let certificate = certificate.map_err(|_| AuthoritiesError::NotPem)?;
            roots.add(certificate).map_err(|_| AuthoritiesError::NotAnAnchor(index + 1))?;
        }
        if roots.is_empty() {
            return Err(AuthoritiesError::Empty);
        }
        Ok(Self { path: path.to_owned(), digest: Sha256::digest(&pem).into(), roots: Arc::new(roots) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::testing::authority;
    use super::*;

    #[test]
    fn a_file_of_authorities_is_read_whole_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        assert!(matches!(Authorities::read(&path), Err(AuthoritiesError::Unreadable(_))));
        let (one, other) = (authority().0.pem(), authority().0.pem());
        std::fs::write(&path, format!("{one}{other}")).unwrap();
        assert_eq!(Authorities::read(&path).unwrap().roots.len(), 2);
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, expected) in [
            ("", "it holds no certificate"),
            (&format!("{one}{nonsense}"), "certificate 2 in it cannot be a trust anchor"),
            (&one.replace("-----END", ""), "it is no PEM"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Authorities::read(&path).unwrap_err().to_string(), expected);
        }
    }
}
