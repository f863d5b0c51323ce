//! Encryption at rest: XChaCha20-Poly1305 under one key, with a random nonce of 192 bits for each file, so that none has to be
//! counted. What is sealed is bound to what it is for: the provider, the token's name and its generation for a token's file; the
//! intent for a journal's answer. No file can be put in another's place.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// Of the nonce, which stands before what is sealed.
const NONCE: usize = 24;

/// 32 bytes that nobody else has.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

/// What sealed bytes are for: they open for nothing else.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// A token's file.
    Record {
        /// The provider's name.
        provider: &'a str,
        /// The token's.
        id: &'a str,
        /// The token's generation.
        generation: u64,
    },
    /// A journal's answer.
    Answer {
        /// The token's name.
        id: &'a str,
        /// The generation that was spent.
        generation: u64,
        /// The intent's random bytes.
        nonce: &'a [u8],
    },
}

/// Reads a key: 64 hex digits, or base64 (either alphabet, with or without padding) of 32 bytes.
///
/// # Errors
/// It is neither; the message says what is wanted and how to get one.
pub fn parse_key(text: &str) -> Result<Key, String> {
    let hex = || hex::decode(text).ok();
    let base64 =
        || [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].iter().find_map(|form| form.decode(text).ok());
    let bytes = if text.len() == 64 { hex() } else { base64() }.map(Zeroizing::new);
    let key = bytes.as_ref().and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
    key.map(|key| Key(Zeroizing::new(key))).ok_or_else(|| {
        "an encryption key is 32 bytes, as 64 hex digits or as base64 (`openssl rand -hex 32` makes one)".to_owned()
    })
}

impl Key {
    /// Encrypts. `None`: the system has no randomness.
    pub fn seal(&self, plain: &[u8], purpose: Purpose<'_>) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).ok()?;
        let payload = Payload { msg: plain, aad: &purpose.bytes() };
        let sealed = self.cipher().encrypt(XNonce::from_slice(&nonce), payload).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    /// Decrypts. `None`: with another key, for another purpose, or damaged.
    pub fn open(&self, sealed: &[u8], purpose: Purpose<'_>) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let payload = Payload { msg: sealed, aad: &purpose.bytes() };
        self.cipher().decrypt(XNonce::from_slice(nonce), payload).ok().map(Zeroizing::new)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Purpose<'_> {
    /// No two purposes have the same bytes: neither names nor numbers hold `|`, providers begin with no NUL.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Record { provider, id, generation } => format!("{provider}|{id}|{generation}").into_bytes(),
            Self::Answer { id, generation, nonce } => {
                [format!("\0answer|{id}|{generation}|").as_bytes(), *nonce].concat()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Purpose<'_> = Purpose::Record { provider: "idp", id: "idp-a", generation: 3 };

    fn key(byte: u8) -> Key {
        parse_key(&hex::encode([byte; 32])).unwrap()
    }

    #[test]
    fn keys_are_read_in_every_form() {
        let bytes = [0xfb; 32];
        for text in [
            hex::encode(bytes),
            hex::encode(bytes).to_uppercase(),
            STANDARD.encode(bytes),
            STANDARD_NO_PAD.encode(bytes),
            URL_SAFE.encode(bytes),
            URL_SAFE_NO_PAD.encode(bytes),
        ] {
            assert_eq!(*parse_key(&text).unwrap().0, bytes, "{text}");
        }
        for wrong in ["", "secret", &"ab".repeat(31), &"xy".repeat(32), &STANDARD.encode([1; 33])] {
            let message = parse_key(wrong).unwrap_err();
            assert!(message.contains("64 hex digits") && (wrong.is_empty() || !message.contains(wrong)), "{message}");
        }
        assert_eq!(format!("{:?}", key(1)), "***");
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_for_the_same_purpose_only() {
        let sealed = key(1).seal(b"plain", RECORD).unwrap();
        assert_eq!(key(1).open(&sealed, RECORD).unwrap().as_slice(), b"plain");
        assert_ne!(sealed, key(1).seal(b"plain", RECORD).unwrap(), "the same nonce twice");
        assert!(key(2).open(&sealed, RECORD).is_none());
        for other in [
            Purpose::Record { provider: "idq", id: "idp-a", generation: 3 },
            Purpose::Record { provider: "idp", id: "idp-b", generation: 3 },
            Purpose::Record { provider: "idp", id: "idp-a", generation: 4 },
            Purpose::Answer { id: "idp-a", generation: 3, nonce: b"" },
        ] {
            assert!(key(1).open(&sealed, other).is_none(), "{other:?}");
        }
        for place in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[place] ^= 1;
            assert!(key(1).open(&damaged, RECORD).is_none(), "byte {place}");
            assert!(key(1).open(&sealed[..place], RECORD).is_none(), "the first {place}");
        }
    }
}
