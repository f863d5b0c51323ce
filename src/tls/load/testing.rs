//! Certificates made on the spot, for unit tests.

use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256};

use super::{Loaded, certified_key};

/// Which kind of key.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Rsa,
    Ecdsa,
}

/// A pair of files' contents.
#[derive(Clone, Debug)]
pub struct Pem {
    pub chain: String,
    pub key: String,
}

/// ring makes no RSA keys: there is one for all tests.
pub fn rsa_key() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/rsa.key")).unwrap()
}

/// A CA's own certificate, and what it issues with.
pub fn authority() -> (Certificate, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap(), Issuer::new(params, key))
}

/// A certificate for these names, as files hold it.
pub fn issue_pem(names: &[&str], kind: Kind) -> Pem {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    sign(CertificateParams::new(names).unwrap(), kind)
}

/// A self-signed certificate as files hold it.
pub fn sign(params: CertificateParams, kind: Kind) -> Pem {
    let key = match kind {
        Kind::Ecdsa => KeyPair::generate().unwrap(),
        Kind::Rsa => KeyPair::from_pem_and_sign_algo(&rsa_key(), &PKCS_RSA_SHA256).unwrap(),
    };
    Pem { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// The same, loaded.
pub fn issue(names: &[&str], kind: Kind) -> Arc<Loaded> {
    let pem = issue_pem(names, kind);
    Arc::new(certified_key(pem.chain.as_bytes(), pem.key.as_bytes()).unwrap())
}
