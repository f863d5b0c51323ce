//! The keys that an issuer publishes (RFC 7517), and what a signature is by them (RFC 7518 §3, RFC 8037).
//!
//! A key is for what it says, and for no more: its type admits algorithms (RFC 8725 §3.1), `alg` narrows them to one, `use`
//! and `key_ops` must allow verification. What is not understood is passed over: a document may hold keys of tomorrow.
//! Symmetric keys are never taken: no token that is signed with `HS…` is looked at.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Map, Value};

use super::claims::{Claims, Expected, Why};
use super::json;
use super::jwt::Token;
use crate::clock::UnixMillis;

/// Keys of one document.
const MOST: usize = 64;
/// Bits of a modulus: RFC 7518 §3.3, and what ring computes with.
const MODULUS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Bytes of a key's name.
const LONGEST_NAME: usize = 1024;

/// How a token may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5.
    Rs(Hash),
    /// RSASSA-PSS.
    Ps(Hash),
    /// ECDSA on P-256 with SHA-256, on P-384 with SHA-384.
    Es(Curve),
    /// Ed25519.
    EdDsa,
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// A curve for ECDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
}

impl Algorithm {
    /// By its name in a header or a key; `None`: it is not one of ours.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs(Hash::Sha256),
            "RS384" => Self::Rs(Hash::Sha384),
            "RS512" => Self::Rs(Hash::Sha512),
            "PS256" => Self::Ps(Hash::Sha256),
            "PS384" => Self::Ps(Hash::Sha384),
            "PS512" => Self::Ps(Hash::Sha512),
            "ES256" => Self::Es(Curve::P256),
            "ES384" => Self::Es(Curve::P384),
            // RFC 9864 names it anew.
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    /// The hash that `at_hash` is made with (OpenID Connect Core 1.0 §3.1.3.6); Ed25519 hashes with SHA-512.
    pub fn hash(self) -> Hash {
        match self {
            Self::Rs(hash) | Self::Ps(hash) => hash,
            Self::Es(Curve::P256) => Hash::Sha256,
            Self::Es(Curve::P384) => Hash::Sha384,
            Self::EdDsa => Hash::Sha512,
        }
    }
}

/// The keys of one document.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

/// Why a document holds no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// No JSON, or no list of keys.
    #[error("it is no list of keys (RFC 7517)")]
    Malformed,
    /// More than 64.
    #[error("it holds more than 64 keys")]
    TooMany,
    /// One name for two keys that fit one algorithm.
    #[error("two of its keys have one name")]
    Twice,
    /// None of them can be used.
    #[error("none of its keys can be used here")]
    None,
}

/// What looking for a signature's key comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The signature is right.
    Right,
    /// There is such a key; the signature is not by it.
    Wrong,
    /// There is no such key, or a token without a name could be of several.
    Nothing,
}

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    /// What it says it is for; `None`: whatever its type admits.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The uncompressed point.
    Ec(Curve, Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Keys {
    /// Reads a document.
    ///
    /// # Errors
    /// See [`BadKeys`].
    pub fn read(document: &[u8]) -> Result<Self, BadKeys> {
        let members = json::object(document).ok_or(BadKeys::Malformed)?;
        let list = members.get("keys").and_then(Value::as_array).ok_or(BadKeys::Malformed)?;
        if list.len() > MOST {
            return Err(BadKeys::TooMany);
        }
        let keys = Self(list.iter().filter_map(|key| Key::read(key.as_object()?)).collect());
        if keys.0.is_empty() {
            return Err(BadKeys::None);
        }
        if keys.has_twins() {
            return Err(BadKeys::Twice);
        }
        Ok(keys)
    }

    /// Whether two keys of one name could be meant by one token: then nobody knows which.
    fn has_twins(&self) -> bool {
        let pairs =
            self.0.iter().enumerate().flat_map(|(at, one)| self.0.iter().skip(at + 1).map(move |two| (one, two)));
        let mut named = pairs.filter(|(one, two)| one.kid.is_some() && one.kid == two.kid);
        named.any(|(one, two)| one.overlaps(two))
    }

    /// Looks at a signature. A token without a name must leave no choice (OpenID Connect Core 1.0 §10.1).
    pub(super) fn verify(&self, kid: Option<&str>, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> Found {
        let mut fitting = self.0.iter().filter(|key| {
            let is_named = kid.is_none_or(|kid| key.kid.as_deref() == Some(kid));
            is_named && key.fits(algorithm)
        });
        match (fitting.next(), fitting.next()) {
            (Some(key), None) if key.verifies(algorithm, signed, signature) => Found::Right,
            (Some(_), None) => Found::Wrong,
            _ => Found::Nothing,
        }
    }

    /// What a token says, if it is signed by one of these keys, is of this issuer, and is what is expected.
    ///
    /// # Errors
    /// See [`Why`].
    pub fn judge(&self, token: &str, issuer: &str, expected: &Expected, now: UnixMillis) -> Result<Claims, Why> {
        Token::read(token, expected.kind)?.judge(self, issuer, expected, now)
    }

    /// Whether none can be used: there are no such keys ([`BadKeys::None`]).
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many can be used.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Key {
    /// `None`: not for us.
    fn read(members: &Map<String, Value>) -> Option<Self> {
        let kid = match members.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str().filter(|kid| kid.len() <= LONGEST_NAME)?.to_owned()),
        };
        let algorithm = match members.get("alg") {
            None => None,
            Some(name) => Some(Algorithm::named(name.as_str()?)?),
        };
        let key = Self { kid, algorithm, material: Material::read(members)? };
        let agrees = algorithm.is_none_or(|algorithm| key.material.admits(algorithm));
        (agrees && is_for_signatures(members)).then_some(key)
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.material.admits(algorithm) && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Whether one algorithm fits both.
    fn overlaps(&self, other: &Self) -> bool {
        let is_one_type = match (&self.material, &other.material) {
            (Material::Ec(one, _), Material::Ec(two, _)) => one == two,
            (one, two) => std::mem::discriminant(one) == std::mem::discriminant(two),
        };
        is_one_type && self.algorithm.zip(other.algorithm).is_none_or(|(one, two)| one == two)
    }

    fn verifies(&self, algorithm: Algorithm, signed: &[u8], proof: &[u8]) -> bool {
        let verified = match (&self.material, algorithm) {
            (Material::Rsa { n, e }, Algorithm::Rs(hash)) => {
                RsaPublicKeyComponents { n, e }.verify(pkcs1(hash), signed, proof)
            }
            (Material::Rsa { n, e }, Algorithm::Ps(hash)) => {
                RsaPublicKeyComponents { n, e }.verify(pss(hash), signed, proof)
            }
            (Material::Ec(own, point), Algorithm::Es(curve)) if *own == curve => {
                UnparsedPublicKey::new(ecdsa(curve), point).verify(signed, proof)
            }
            (Material::Ed25519(point), Algorithm::EdDsa) => {
                UnparsedPublicKey::new(&signature::ED25519, point).verify(signed, proof)
            }
            _ => return false,
        };
        verified.is_ok()
    }
}

fn is_for_signatures(members: &Map<String, Value>) -> bool {
    let used = members.get("use").is_none_or(|used| used.as_str() == Some("sig"));
    let verifies = |list: &Vec<Value>| list.iter().any(|one| one.as_str() == Some("verify"));
    used && members.get("key_ops").is_none_or(|list| list.as_array().is_some_and(verifies))
}

impl Material {
    fn read(members: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| members.get(name)?.as_str();
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        match (text("kty")?, text("crv")) {
            ("RSA", _) => Self::rsa(&bytes("n")?, &bytes("e")?),
            ("EC", Some("P-256")) => Self::ec(Curve::P256, 32, &bytes("x")?, &bytes("y")?),
            ("EC", Some("P-384")) => Self::ec(Curve::P384, 48, &bytes("x")?, &bytes("y")?),
            ("OKP", Some("Ed25519")) => bytes("x").filter(|x| x.len() == 32).map(Self::Ed25519),
            _ => None,
        }
    }

    /// Some write a zero in front, as DER has it: RFC 7518 §6.3.1.1 forbids it, and it changes nothing.
    fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        let trimmed = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
        let (n, e) = (trimmed(n), trimmed(e));
        let is_odd = |bytes: &[u8]| bytes.last().is_some_and(|byte| byte % 2 == 1);
        let bits = (n.len() * 8).checked_sub(usize::try_from(n.first()?.leading_zeros()).ok()?)?;
        let is_sound = MODULUS.contains(&bits) && is_odd(&n) && is_odd(&e) && e.len() <= 4 && e != [1];
        is_sound.then_some(Self::Rsa { n, e })
    }

    fn ec(curve: Curve, length: usize, x: &[u8], y: &[u8]) -> Option<Self> {
        let is_sound = x.len() == length && y.len() == length;
        is_sound.then(|| Self::Ec(curve, [&[4], x, y].concat()))
    }

    fn admits(&self, algorithm: Algorithm) -> bool {
        match (self, algorithm) {
            (Self::Rsa { .. }, Algorithm::Rs(_) | Algorithm::Ps(_)) | (Self::Ed25519(_), Algorithm::EdDsa) => true,
            (Self::Ec(own, _), Algorithm::Es(curve)) => *own == curve,
            _ => false,
        }
    }
}

fn pkcs1(hash: Hash) -> &'static signature::RsaParameters {
    match hash {
        Hash::Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Hash::Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Hash::Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
    }
}

fn pss(hash: Hash) -> &'static signature::RsaParameters {
    match hash {
        Hash::Sha256 => &signature::RSA_PSS_2048_8192_SHA256,
        Hash::Sha384 => &signature::RSA_PSS_2048_8192_SHA384,
        Hash::Sha512 => &signature::RSA_PSS_2048_8192_SHA512,
    }
}

fn ecdsa(curve: Curve) -> &'static signature::EcdsaVerificationAlgorithm {
    match curve {
        Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED,
        Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED,
    }
}

#[cfg(test)]
mod tests;
