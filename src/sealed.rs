//! What a browser keeps for us and brings back: cookies and links that nobody else can make, change or read.
//!
//! XChaCha20-Poly1305 with a random nonce of 192 bits, under a key that is derived for each purpose (HMAC-SHA256 over the
//! purpose's name): what is sealed for one purpose opens for no other. When something ends belongs into what is sealed; a
//! browser's `Max-Age` is a courtesy.

use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::private::line::{self, LineError};
use crate::secret::Secret;

/// Of the nonce, which stands before what is sealed.
const NONCE: usize = 24;

/// The file's name in the state directory.
const NAME: &str = "cookie.key";

/// Seals and opens under one secret.
#[derive(Clone)]
pub struct Sealer(Zeroizing<[u8; 32]>);

impl Sealer {
    /// Under a secret of the operator's own, or of [`mod@line`].
    pub fn of(secret: &Secret) -> Self {
        Self(Zeroizing::new(Sha256::digest(secret.expose()).into()))
    }

    /// Text for a cookie or a link (base64url). `None`: the system has no randomness.
    pub fn seal(&self, purpose: &str, clear: &[u8]) -> Option<String> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).ok()?;
        let sealed = self.cipher(purpose).encrypt(XNonce::from_slice(&nonce), clear).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// What was sealed. `None`: with another key, for another purpose, or damaged.
    pub fn open(&self, purpose: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE)?;
        self.cipher(purpose).decrypt(XNonce::from_slice(nonce), sealed).ok().map(Zeroizing::new)
    }

    /// Eight hex digits that tell secrets of one purpose apart: keyed, so that nobody without the key can try guesses.
    pub fn fingerprint(&self, purpose: &str, secret: &Secret) -> String {
        // HMAC takes keys of any length, so this cannot fail.
        let digest = <Hmac<Sha256> as Mac>::new_from_slice(&*self.0).map(|mac| {
            let mac = mac.chain_update("fingerprint\0").chain_update((purpose.len() as u64).to_be_bytes());
            mac.chain_update(purpose).chain_update(secret.expose()).finalize().into_bytes()
        });
        let mut digits = digest.map(hex::encode).unwrap_or_default();
        digits.truncate(8);
        digits
    }

    fn cipher(&self, purpose: &str) -> XChaCha20Poly1305 {
        // HMAC takes keys of any length, so this cannot fail; a key of zeros would still be no key of anybody's.
        let derived = <Hmac<Sha256> as Mac>::new_from_slice(&*self.0)
            .map(|mac| mac.chain_update(purpose).finalize().into_bytes());
        XChaCha20Poly1305::new(&derived.unwrap_or_default())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The process's own sealer: there from the start on, where there is a state directory to keep its key in.
#[derive(Debug, Default)]
pub struct CookieKey(OnceLock<Sealer>);

impl CookieKey {
    /// Reads the key of a state directory, or makes one.
    ///
    /// # Errors
    /// See [`LineError`].
    pub fn open(&self, state_dir: &Path) -> Result<(), LineError> {
        let sealer = Sealer::of(&line::open(state_dir, NAME)?);
        // It is opened once, at the start.
        let _ = self.0.set(sealer);
        Ok(())
    }

    /// One for this run alone.
    ///
    /// # Errors
    /// See [`LineError`].
    pub fn make(&self) -> Result<(), LineError> {
        let _ = self.0.set(Sealer::of(&line::fresh()?));
        Ok(())
    }

    /// `None`: this process has none (a command that only looks at the configuration).
    pub fn sealer(&self) -> Option<&Sealer> {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(secret: &str) -> Sealer {
        Sealer::of(&Secret::new(secret))
    }

    #[test]
    fn what_is_sealed_opens_for_its_purpose_and_under_its_key_alone() {
        let sealed = sealer("one").seal("session", b"who").unwrap();
        assert_eq!(sealer("one").open("session", &sealed).as_deref().map(Vec::as_slice), Some(&b"who"[..]));
        assert!(sealer("one").open("environment", &sealed).is_none());
        assert!(sealer("two").open("session", &sealed).is_none());
        assert_ne!(sealer("one").seal("session", b"who").unwrap(), sealed, "a nonce comes once");
        assert!(sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let sealed = sealer("one").seal("p", b"abc").unwrap();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            assert!(sealer("one").open("p", std::str::from_utf8(&changed).unwrap()).is_none(), "{place}");
        }
        for text in ["", "A", "====", &"A".repeat(31), &sealed[1..]] {
            assert!(sealer("one").open("p", text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_key_outlives_the_process() {
        let state = tempfile::tempdir().unwrap();
        let (first, second) = (CookieKey::default(), CookieKey::default());
        assert!(first.sealer().is_none());
        first.open(&state.path().join("state")).unwrap();
        second.open(&state.path().join("state")).unwrap();
        let sealed = first.sealer().unwrap().seal("p", b"x").unwrap();
        assert!(second.sealer().unwrap().open("p", &sealed).is_some());
        assert_eq!(format!("{first:?}"), "CookieKey(OnceLock(***))");
    }
}
