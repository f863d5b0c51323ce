//! HMAC-SHA256 (RFC 2104): what a credential is remembered by. The key is random and never leaves the process, so that
//! what lies in memory cannot be tried against a list of passwords without it.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// SHA-256 reads so many bytes at a time.
const BLOCK: usize = 64;

/// A digest that nobody can make without the key; compared in constant time.
#[derive(Clone, Copy)]
pub struct Tag([u8; 32]);

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Tag {}

impl std::hash::Hash for Tag {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A random key.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Key {
    /// A fresh one.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn fresh() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(key))
    }

    /// Over several texts, each with its length in front, so that no two lists of texts read the same.
    pub fn tag(&self, parts: &[&[u8]]) -> Tag {
        let mut message = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part);
        }
        let tag = hmac(&self.0, &message);
        zeroize::Zeroize::zeroize(&mut message);
        Tag(tag)
    }
}

/// For keys of at most one block.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; BLOCK];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 §4.2, §4.3.
    #[test]
    fn it_is_hmac() {
        let hex = |key: &[u8], message: &[u8]| hex::encode(hmac(key, message));
        let first = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(hex(&[0x0b; 20], b"Hi There"), first);
        let second = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(b"Jefe", b"what do ya want for nothing?"), second);
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        let key = Key::fresh().unwrap();
        assert!(key.tag(&[b"ab", b"c"]) != key.tag(&[b"a", b"bc"]));
        assert!(key.tag(&[b"ab", b"c"]) == key.tag(&[b"ab", b"c"]));
        assert!(key.tag(&[b"a"]) != Key::fresh().unwrap().tag(&[b"a"]));
    }
}
