//! PEM -> a certified key that rustls can present, with what people need to know about it.

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
    let (names, not_before, not_after) = facts(leaf)?;
    let certified = CertifiedKey::new(certificates, signing_key(key)?);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(_) => return Err(LoadError::Mismatch),
    }
    Ok(Loaded { key: Arc::new(certified), names, not_before, not_after })
}

fn signing_key(pem: &[u8]) -> Result<Arc<dyn rustls::sign::SigningKey>, LoadError> {
    let key = match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) if !is_encrypted(pem) => key,
        _ if is_encrypted(pem) => {
            return Err(LoadError::Key("is encrypted: write it without a passphrase (`openssl pkey`)".to_owned()));
        }
        Err(rustls::pki_types::pem::Error::NoItemsFound) => {
            return Err(LoadError::Key("has no private key in it".to_owned()));
        }
        _ => return Err(LoadError::Key("is no PEM".to_owned())),
    };
    rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| {
        LoadError::Key("has a kind of key that is not supported (RSA from 2048 bits, P-256, P-384, Ed25519 are)".into())
    })
}

/// Either PKCS #8 (RFC 5958 §3) or the older encapsulated header (RFC 1421 §4.6.1.1).
fn is_encrypted(pem: &[u8]) -> bool {
    let has = |needle: &str| memchr::memmem::find(pem, needle.as_bytes()).is_some();
    has("BEGIN ENCRYPTED PRIVATE KEY") || has("Proc-Type: 4,ENCRYPTED")
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

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{Kind, authority, issue_pem, rsa_key};
    use super::*;

    fn error(chain: &str, key: &str) -> String {
        certified_key(chain.as_bytes(), key.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn names_and_times_are_told() {
        for kind in [Kind::Rsa, Kind::Ecdsa] {
            let pem = issue_pem(&["A.test", "*.b.test"], kind);
            let loaded = certified_key(pem.chain.as_bytes(), pem.key.as_bytes()).unwrap();
            assert_eq!(loaded.names, ["a.test", "*.b.test"]);
            assert!(loaded.not_before < loaded.not_after && loaded.not_after > 1_700_000_000_000);
        }
    }

    #[test]
    fn a_chain_keeps_its_order() {
        let pem = issue_pem(&["a.test"], Kind::Ecdsa);
        let chain = format!("{}{}", pem.chain, authority().0.pem());
        let loaded = certified_key(chain.as_bytes(), pem.key.as_bytes()).unwrap();
        assert_eq!((loaded.key.cert.len(), loaded.names), (2, vec!["a.test".to_owned()]));
    }

    #[test]
    fn whatever_is_wrong_is_named_and_no_key_is_shown() {
        let (one, other) = (issue_pem(&["a.test"], Kind::Ecdsa), issue_pem(&["a.test"], Kind::Ecdsa));
        let cut = |pem: &str| pem.replace("-----END", "");
        let encrypted = one.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (chain, key, expected) in [
            ("", &*one.key, "the certificate file has no certificate in it"),
            ("hello", &*one.key, "the certificate file has no certificate in it"),
            (&*cut(&one.chain), &*one.key, "the certificate file is no PEM"),
            (nonsense, &*one.key, "the certificate file holds something that is no X.509 certificate"),
            (&*one.key, &*one.key, "the certificate file has no certificate in it"),
            (&*one.chain, "", "the key file has no private key in it"),
            (&*one.chain, &*one.chain, "the key file has no private key in it"),
            (&*one.chain, &*encrypted, "the key file is encrypted: write it without a passphrase (`openssl pkey`)"),
            (&*one.chain, &*other.key, "the private key does not belong to the certificate"),
            (&*one.chain, &*rsa_key(), "the private key does not belong to the certificate"),
        ] {
            let error = error(chain, key);
            assert!(error.starts_with(expected), "{error}");
            assert!(!one.key.lines().filter(|line| line.len() > 20).any(|line| error.contains(line)), "{error}");
        }
    }
}
