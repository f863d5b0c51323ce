//! PEM files -> a certified key that rustls can present, with what people need to know about it.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::clock::UnixMillis;

/// A certificate with its key, ready to be presented.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// For rustls.
    pub key: Arc<CertifiedKey>,
    /// The DNS names that it is for, lower case; a wildcard as `*.a`.
    pub names: Vec<String>,
    /// Before that moment it is not valid yet.
    pub not_before: UnixMillis,
    /// From that moment on it is not valid any more.
    pub not_after: UnixMillis,
}

/// Why a pair of files is no certificate that could be presented: one lower-case clause, never with key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The chain.
    #[error("the certificate file {0}")]
    Chain(String),
    /// The key.
    #[error("the key file {0}")]
    Key(String),
    /// They do not belong together.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
}

/// Reads a chain (the server's own certificate first) and its private key, both PEM.
///
/// # Errors
/// What is wrong with which of them.
pub fn certified_key(chain: &[u8], key: &[u8]) -> Result<Loaded, LoadError> {
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| LoadError::Chain(format!("is no PEM: {error}")))?;
    let leaf = certificates.first().ok_or_else(|| LoadError::Chain("has no certificate in it".to_owned()))?;
    let facts = facts(leaf)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| LoadError::Key(format!("is no PEM key: {error}")))?;
    let signing = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| {
        LoadError::Key("has a kind of key that is not supported (RSA, ECDSA and Ed25519 are)".to_owned())
    })?;
    let certified = CertifiedKey::new(certificates, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(_) => return Err(LoadError::Mismatch),
    }
    let (names, not_before, not_after) = facts;
    Ok(Loaded { key: Arc::new(certified), names, not_before, not_after })
}

fn facts(leaf: &CertificateDer<'_>) -> Result<(Vec<String>, UnixMillis, UnixMillis), LoadError> {
    let unreadable = |_| LoadError::Chain("holds something that is no X.509 certificate".to_owned());
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(unreadable)?;
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.into_iter().flat_map(|extension| &extension.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let millis = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
    let validity = certificate.validity();
    Ok((names.collect(), millis(validity.not_before.timestamp()), millis(validity.not_after.timestamp())))
}
