//! Makes the hashes that we recommend.

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

/// Which hash is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Making {
    /// 19 MiB, two passes, one lane: OWASP's first choice (Password Storage Cheat Sheet).
    Argon2id,
    /// For files that Apache or nginx read as well.
    Bcrypt,
}

/// 2^12 rounds: about a quarter of a second.
const BCRYPT_COST: u32 = 12;

/// A fresh hash of a password; `None`: the system has no randomness to give.
pub fn make(making: Making, password: &[u8]) -> Option<String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).ok()?;
    match making {
        Making::Argon2id => {
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(19 * 1024, 2, 1, None).ok()?);
            let salt = SaltString::encode_b64(&salt).ok()?;
            argon2.hash_password(password, &salt).ok().map(|hash| hash.to_string())
        }
        Making::Bcrypt => {
            let hash = bcrypt::hash_with_salt(password, BCRYPT_COST, salt).ok()?;
            Some(hash.format_for_version(bcrypt::Version::TwoY))
        }
    }
}
