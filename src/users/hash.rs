//! One stored password: which hash it is, whether we take it, and whether a password is the one.
//!
//! Taken: bcrypt (`$2a$`, `$2b$`, `$2y$`), argon2 (PHC strings), SHA-crypt (`$5$`, `$6$`: Drepper's specification) and
//! `$apr1$`. Not taken: plain text, DES crypt, `{SHA}` and other unsalted or home-made kinds. Neither is a hash whose cost
//! would keep a login waiting for many seconds: every attempt costs as much.

use argon2::password_hash::{PasswordHash, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use sha_crypt::{Sha256Params, Sha512Params};
use subtle::ConstantTimeEq;

use super::apr1;

/// Costs beyond these are a mistake, or an attack on ourselves.
const MOST_BCRYPT_COST: u32 = 17;
const MOST_SHA_ROUNDS: usize = 10_000_000;
const MOST_ARGON2_KIB: u32 = 1024 * 1024;
const MOST_ARGON2_PASSES: u32 = 64;

/// What a line without `rounds=` means, and the least that counts (Drepper's specification, step 21).
const SHA_ROUNDS: usize = 5_000;
const LEAST_SHA_ROUNDS: usize = 1_000;

/// SHA-crypt and apr1 read no more of a salt.
const SHA_SALT: usize = 16;
const APR1_SALT: usize = 8;

/// A stored password.
#[derive(Clone)]
pub enum Hash {
    /// `$2y$COST$…`
    Bcrypt(Box<str>),
    /// `$argon2id$v=19$m=…,t=…,p=…$…$…`
    Argon2(Box<str>),
    /// `$5$…`
    Sha256 {
        /// How often.
        rounds: usize,
        /// At most 16 characters.
        salt: Box<str>,
        /// 43 characters.
        digest: Box<str>,
    },
    /// `$6$…`
    Sha512 {
        /// How often.
        rounds: usize,
        /// At most 16 characters.
        salt: Box<str>,
        /// 86 characters.
        digest: Box<str>,
    },
    /// `$apr1$…`
    Apr1 {
        /// At most 8 characters.
        salt: Box<str>,
        /// 22 characters.
        digest: Box<str>,
    },
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:***", self.kind())
    }
}

/// Why a text is no hash that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A kind that we know and cannot read: a file that is half written, perhaps.
    #[error("the {0} hash is malformed")]
    Malformed(&'static str),
    /// A kind that is not safe to keep passwords in.
    #[error("{0} is not accepted: make a new hash with `countersign password --htpasswd USER` or `htpasswd -B`")]
    Unsafe(&'static str),
    /// A cost beyond reason.
    #[error("the {0} hash would take far too long to verify")]
    TooCostly(&'static str),
}

impl Hash {
    /// Reads what follows `user:`.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let Some(tagged) = text.strip_prefix('$') else { return Err(untagged(text)) };
        match tagged.split_once('$') {
            Some(("2a" | "2b" | "2y", _)) => bcrypt(text),
            Some(("argon2i" | "argon2d" | "argon2id", _)) => argon2(text),
            Some(("5", rest)) => {
                let (rounds, salt, digest) = sha_crypt("SHA-256 crypt", rest, 43)?;
                Ok(Self::Sha256 { rounds, salt, digest })
            }
            Some(("6", rest)) => {
                let (rounds, salt, digest) = sha_crypt("SHA-512 crypt", rest, 86)?;
                Ok(Self::Sha512 { rounds, salt, digest })
            }
            Some(("apr1", rest)) => {
                let (salt, digest) = salted("apr1", rest, 22, APR1_SALT)?;
                Ok(Self::Apr1 { salt, digest })
            }
            Some(("1", _)) => Err(Refused::Unsafe("an MD5 crypt hash (`$1$`)")),
            Some(("2x" | "2", _)) => Err(Refused::Unsafe("a bcrypt hash of a broken kind")),
            Some(("y" | "gy" | "7", _)) => Err(Refused::Unsafe("a yescrypt or scrypt hash")),
            _ if is_cut_short(tagged) => Err(Refused::Malformed("password")),
            _ => Err(Refused::Unsafe("an unknown kind of hash")),
        }
    }

    /// Whether this is the password. Slow by design.
    pub fn is(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Argon2(hash) => {
                PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
            }
            Self::Sha256 { rounds, salt, digest } => {
                let made = Sha256Params::new(*rounds)
                    .and_then(|params| sha_crypt::sha256_crypt_b64(password, salt.as_bytes(), &params));
                made.is_ok_and(|made| is_same(&made, digest))
            }
            Self::Sha512 { rounds, salt, digest } => {
                let made = Sha512Params::new(*rounds)
                    .and_then(|params| sha_crypt::sha512_crypt_b64(password, salt.as_bytes(), &params));
                made.is_ok_and(|made| is_same(&made, digest))
            }
            Self::Apr1 { salt, digest } => is_same(&apr1::encoded(password, salt.as_bytes()), digest),
        }
    }

    /// Kind and cost: hashes of one class take the same time.
    pub fn class(&self) -> (&'static str, u64) {
        let cost = match self {
            Self::Bcrypt(hash) => hash.get(4..6).and_then(|cost| cost.parse().ok()).unwrap_or(0),
            Self::Argon2(hash) => PasswordHash::new(hash).ok().and_then(|hash| argon2_cost(&hash)).unwrap_or(0),
            Self::Sha256 { rounds, .. } | Self::Sha512 { rounds, .. } => *rounds as u64,
            Self::Apr1 { .. } => 1000,
        };
        (self.kind(), cost)
    }

    /// The word for people.
    fn kind(&self) -> &'static str {
        match self {
            Self::Bcrypt(_) => "bcrypt",
            Self::Argon2(_) => "argon2",
            Self::Sha256 { .. } => "SHA-256 crypt",
            Self::Sha512 { .. } => "SHA-512 crypt",
            Self::Apr1 { .. } => "apr1",
        }
    }
}

/// Everything in front of a second `$` is the beginning of a kind that we know.
fn is_cut_short(tagged: &str) -> bool {
    !tagged.contains('$')
        && ["2a", "2b", "2y", "argon2id", "argon2i", "argon2d", "5", "6", "apr1"]
            .iter()
            .any(|kind| kind.starts_with(tagged))
}

fn untagged(text: &str) -> Refused {
    match text {
        "" => Refused::Malformed("password"),
        _ if text.starts_with("{SHA}") => Refused::Unsafe("an unsalted SHA-1 hash (`{SHA}`)"),
        _ if text.starts_with('{') => Refused::Unsafe("an LDAP scheme (`{…}`)"),
        _ if text.starts_with("sha1$") || text.starts_with("pbkdf2") => Refused::Unsafe("an unknown kind of hash"),
        _ => Refused::Unsafe("a password in plain text or DES crypt"),
    }
}

/// `$2y$10$` and 53 characters of bcrypt's alphabet.
fn bcrypt(text: &str) -> Result<Hash, Refused> {
    let malformed = Refused::Malformed("bcrypt");
    let rest = text.get(4..).ok_or(malformed)?;
    let (cost, encoded) = rest.split_once('$').ok_or(malformed)?;
    let cost: u32 = cost.parse().ok().filter(|_| cost.len() == 2).ok_or(malformed)?;
    if encoded.len() != 53 || !encoded.bytes().all(is_crypt_character) || cost < 4 {
        return Err(malformed);
    }
    if cost > MOST_BCRYPT_COST {
        return Err(Refused::TooCostly("bcrypt"));
    }
    text.parse::<bcrypt::HashParts>().map_err(|_| malformed)?;
    Ok(Hash::Bcrypt(text.into()))
}

fn argon2(text: &str) -> Result<Hash, Refused> {
    let malformed = Refused::Malformed("argon2");
    let hash = PasswordHash::new(text).map_err(|_| malformed)?;
    let params = Params::try_from(&hash).map_err(|_| malformed)?;
    Algorithm::try_from(hash.algorithm).map_err(|_| malformed)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(malformed);
    }
    if let Some(version) = hash.version {
        Version::try_from(version).map_err(|_| malformed)?;
    }
    if params.m_cost() > MOST_ARGON2_KIB || params.t_cost() > MOST_ARGON2_PASSES {
        return Err(Refused::TooCostly("argon2"));
    }
    Ok(Hash::Argon2(text.into()))
}

fn argon2_cost(hash: &PasswordHash<'_>) -> Option<u64> {
    let params = Params::try_from(hash).ok()?;
    Some(u64::from(params.m_cost()) * u64::from(params.t_cost()))
}

/// `[rounds=N$]SALT$DIGEST`
fn sha_crypt(kind: &'static str, rest: &str, length: usize) -> Result<(usize, Box<str>, Box<str>), Refused> {
    let malformed = Refused::Malformed(kind);
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        Some(given) => {
            let (rounds, rest) = given.split_once('$').ok_or(malformed)?;
            (rounds.parse::<usize>().map_err(|_| malformed)?.max(LEAST_SHA_ROUNDS), rest)
        }
        None => (SHA_ROUNDS, rest),
    };
    let (salt, digest) = salted(kind, rest, length, SHA_SALT)?;
    if rounds > MOST_SHA_ROUNDS {
        return Err(Refused::TooCostly(kind));
    }
    Ok((rounds, salt, digest))
}

/// `SALT$DIGEST`, the digest of this length.
fn salted(kind: &'static str, rest: &str, length: usize, longest: usize) -> Result<(Box<str>, Box<str>), Refused> {
    let malformed = Refused::Malformed(kind);
    let (salt, digest) = rest.split_once('$').ok_or(malformed)?;
    let is_digest = digest.len() == length && digest.bytes().all(is_crypt_character);
    if !is_digest || !salt.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed);
    }
    Ok((salt.get(..longest).unwrap_or(salt).into(), digest.into()))
}

fn is_crypt_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/')
}

fn is_same(made: &str, stored: &str) -> bool {
    made.as_bytes().ct_eq(stored.as_bytes()).into()
}

#[cfg(test)]
mod tests;
