//! `$apr1$`: Apache's MD5 hash of a password, what Debian's `htpasswd` makes unless told otherwise.
//!
//! Specification: `apr_md5_encode` of the Apache Portable Runtime, which is Poul-Henning Kamp's `crypt_md5` with its own
//! magic. It is old and quick (1,000 rounds of MD5); we verify it and never make it.

use md5::{Digest, Md5};

const MAGIC: &[u8] = b"$apr1$";

/// The alphabet of `crypt`, in its own order.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The 22 characters that follow the salt.
pub fn encoded(password: &[u8], salt: &[u8]) -> String {
    encode(&digest(password, salt))
}

fn digest(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner: [u8; 16] = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize().into();
    let mut first = Md5::new().chain_update(password).chain_update(MAGIC).chain_update(salt);
    for part in password.chunks(16) {
        first.update(inner.get(..part.len()).unwrap_or_default());
    }
    let mut length = password.len();
    while length > 0 {
        first.update(if length & 1 == 1 { &[0] } else { password.get(..1).unwrap_or_default() });
        length >>= 1;
    }
    (0..1000).fold(first.finalize().into(), |before, number| round(number, before, password, salt))
}

fn round(number: u32, before: [u8; 16], password: &[u8], salt: &[u8]) -> [u8; 16] {
    let odd = number % 2 == 1;
    let mut context = Md5::new().chain_update(if odd { password } else { &before });
    if !number.is_multiple_of(3) {
        context.update(salt);
    }
    if !number.is_multiple_of(7) {
        context.update(password);
    }
    context.chain_update(if odd { &before } else { password }).finalize().into()
}

/// Which bytes of the digest make each group of characters, most significant first.
const GROUPS: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

fn encode(digest: &[u8; 16]) -> String {
    let byte = |index: usize| digest.get(index).copied().map_or(0, u32::from);
    let mut text = String::with_capacity(22);
    for [high, middle, low] in GROUPS {
        characters(byte(high) << 16 | byte(middle) << 8 | byte(low), 4, &mut text);
    }
    characters(byte(11), 2, &mut text);
    text
}

/// Six bits a character, the lowest first.
fn characters(mut bits: u32, count: usize, text: &mut String) {
    for _ in 0..count {
        text.extend(ALPHABET.get(bits as usize & 0x3f).copied().map(char::from));
        bits >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::encoded;

    /// Made by `openssl passwd -apr1 -salt SALT PASSWORD`.
    #[test]
    fn openssl_says_the_same() {
        for (password, salt, expected) in VECTORS {
            assert_eq!(encoded(password.as_bytes(), salt.as_bytes()), *expected, "{password:?}");
        }
    }

    const VECTORS: &[(&str, &str, &str)] = &[
        ("", "abcdefgh", "L.PT565ESX4Tp2bqNs7Ie."),
        ("a", "x", "16j9.5e7KiXmuYFAYpPJM/"),
        ("secret", "lZL6V/ci", "PR6QJXkRFUzdUuaYcwrI//"),
        ("sixteen_bytes_ok", "12345678", "ETtvgYsq1kMsbJjm89VaU0"),
        ("a longer password than one block of the digest", "./AZaz09", "Zp.2nIo5Jazdud/pOnopO0"),
        ("pässwörd ☂", "r31.....", "ny6mlN0jbY0lTHwNy1kRz/"),
    ];
}
