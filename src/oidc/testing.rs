//! For tests: keys, tokens made by them, an issuer on loopback, and sessions out of nothing.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use serde_json::{Value, json};

use super::client::{Client, Settings};
use super::issuer::Issuer;
use super::person::{ClaimNames, Person};
use super::session::Session;
use crate::clock::UnixMillis;

pub(crate) mod issuer;

/// The moment of tests, in seconds.
pub(crate) const SECONDS: u64 = 1_750_000_000;
/// The same.
pub(crate) const NOW: UnixMillis = SECONDS * 1000;
/// Who we are to an issuer.
pub(crate) const CLIENT: &str = "edge";

/// Something to sign with.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pub(crate) algorithm: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// The RSA key of the tests' TLS: ring makes none.
    pub(crate) fn rsa(kid: &str, algorithm: &'static str) -> Self {
        let pem = include_str!("../../tests/it/tls/rsa.key");
        let der = STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
        let pair = Pair::Rsa(Box::new(RsaKeyPair::from_pkcs8(&der).unwrap()));
        Self { kid: kid.to_owned(), algorithm, pair }
    }

    /// A new one for ES256 or ES384.
    pub(crate) fn ec(kid: &str, algorithm: &'static str) -> Self {
        let curve = match algorithm {
            "ES256" => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            _ => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        };
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
        let pair = Pair::Ec(Box::new(EcdsaKeyPair::from_pkcs8(curve, der.as_ref(), &random).unwrap()));
        Self { kid: kid.to_owned(), algorithm, pair }
    }

    /// A new one for EdDSA.
    pub(crate) fn ed(kid: &str) -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Pair::Ed(Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap());
        Self { kid: kid.to_owned(), algorithm: "EdDSA", pair }
    }

    /// As an issuer publishes it.
    pub(crate) fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.pair {
            Pair::Rsa(pair) => {
                let key = signature::RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "use": "sig", "kid": self.kid, "n": text(&key.n), "e": text(&key.e)})
            }
            Pair::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": curve, "use": "sig", "kid": self.kid, "x": text(x), "y": text(y)})
            }
            Pair::Ed(pair) => {
                let x = text(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.kid, "x": x})
            }
        }
    }

    /// A signature of any bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut proof = vec![0; pair.public().modulus_len()];
                pair.sign(padding(self.algorithm), &random, message, &mut proof).unwrap();
                proof
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token of these claims, with the plain header.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm, "kid": self.kid, "typ": "JWT"}).to_string(), claims.to_string())
    }

    /// A token of any two texts.
    pub(crate) fn token_with(&self, header: &str, payload: impl AsRef<[u8]>) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let proof = URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes()));
        format!("{signed}.{proof}")
    }
}

fn padding(algorithm: &str) -> &'static dyn signature::RsaEncoding {
    match algorithm {
        "RS256" => &signature::RSA_PKCS1_SHA256,
        "RS384" => &signature::RSA_PKCS1_SHA384,
        "RS512" => &signature::RSA_PKCS1_SHA512,
        "PS256" => &signature::RSA_PSS_SHA256,
        "PS384" => &signature::RSA_PSS_SHA384,
        _ => &signature::RSA_PSS_SHA512,
    }
}

/// A document of keys.
pub(crate) fn jwks(signers: &[&Signer]) -> String {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string()
}

/// Claims of an ID token for [`CLIENT`] that lives for an hour.
pub(crate) fn claims(issuer: &str) -> Value {
    json!({"iss": issuer, "sub": "248289761001", "aud": CLIENT, "exp": SECONDS + 3600, "iat": SECONDS, "nonce": "n-0S6",
        "email": "Wang.Fang@Example.com", "email_verified": true, "name": "王芳"})
}

/// A client of an issuer, with a secret.
pub(crate) fn settings(issuer: Arc<Issuer>) -> Settings {
    Settings {
        issuer,
        client_id: CLIENT.to_owned(),
        client_secret: Some(crate::secret::Secret::new("client secret: 100% & more")),
        scopes: vec!["email".to_owned(), "profile".to_owned()],
        claims: ClaimNames::default(),
        session: Duration::from_secs(8 * 3600),
        sealer: None,
    }
}

/// A session of a client that nobody logged in for, without a refresh token.
pub(crate) fn session(client: &Client, user: &str, name: &str, now: UnixMillis) -> Session {
    Session {
        person: Person { user: user.into(), name: name.into() },
        subject: user.to_owned(),
        of: client.mark.clone(),
        nonce: "nonce".to_owned(),
        signed_in_at: now,
        ends_at: now + client.length(),
        check_at: now + 300_000,
        refresh_token: None,
        id_token: None,
    }
}
