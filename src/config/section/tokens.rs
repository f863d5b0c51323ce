//! `tokens`: how token files are kept.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::config::decoder::Decoder;
use crate::config::fields::Shape;
use crate::config::model::Tokens;
use crate::config::tree::Node;
use crate::config::value;
use crate::diagnostic::{Diagnostic, Spanned};
use crate::sealed::Sealer;
use crate::secret::Secret;

const TOKENS: Shape = Shape { what: "`tokens`", keys: &["encryption_key", "allow_network_filesystem"] };

/// Of XChaCha20-Poly1305.
const KEY_BYTES: usize = 32;

const MAKE_ONE: &str = "make one with `openssl rand -hex 32`";

/// Decodes the section.
pub fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Tokens {
    let Some(fields) = decoder.fields(node, &TOKENS) else { return Tokens::default() };
    let network = fields.get("allow_network_filesystem").and_then(|node| decoder.parsed(node, value::boolean));
    let encryption_key = fields.get("encryption_key").and_then(|node| key(decoder, node));
    Tokens { encryption_key, allow_network_filesystem: network.unwrap_or_default() }
}

/// An empty key is a mistake, and not "no encryption": a variable that is missing must not open the files.
fn key(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<Spanned<Secret>> {
    let key = decoder.secret(node)?;
    if is_key(key.expose()) {
        return Some(key);
    }
    let message = match key.is_empty() {
        true => "the encryption key is empty",
        false => "the encryption key is not 32 bytes, as 64 hex digits or base64",
    };
    decoder.note(Diagnostic::error("invalid_encryption_key", key.at, message).hint(MAKE_ONE));
    None
}

fn is_key(text: &str) -> bool {
    key_bytes(text).is_some()
}

fn key_bytes(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = if text.len() == 2 * KEY_BYTES {
        hex::decode(text).ok()
    } else {
        let bare = text.trim_end_matches('=');
        STANDARD_NO_PAD.decode(bare).or_else(|_| URL_SAFE_NO_PAD.decode(bare)).ok()
    };
    bytes.map(Zeroizing::new).filter(|bytes| bytes.len() == KEY_BYTES)
}

/// What sign tokens are sealed with in the state directory, the same however the key is spelt; `None`: they are not.
pub fn sealing_key(tokens: &Tokens) -> Option<Sealer> {
    let bytes = key_bytes(tokens.encryption_key.as_ref()?.expose())?;
    Some(Sealer::of(&Secret::new(hex::encode(bytes))))
}

#[cfg(test)]
mod tests {
    use super::is_key;

    #[test]
    fn a_key_is_32_bytes() {
        for good in [
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
            "-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_8",
        ] {
            assert!(is_key(good), "{good}");
        }
        for wrong in ["", "short", "zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "AAEC"] {
            assert!(!is_key(wrong), "{wrong}");
        }
    }
}
