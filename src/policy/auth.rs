//! Who calls: a client token as `authorization: Bearer …` or `x-api-key`, compared by SHA-256 in constant time.
//!
//! A caller who may send both headers (SDKs do) must send one token. What is presented more than once in one header, or
//! differently in two, is wrong rather than a choice for us to make.

use std::collections::HashMap;

use ahash::RandomState;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// All clients' token digests. Look-up hashes the presented token once and compares digests, so its time
/// does not depend on any stored token.
///
/// The digests are spread over buckets by a hash with a key that is random and never leaves the process: which bucket is
/// looked into says nothing about a digest, and inside of one every digest is compared whole.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    key: RandomState,
    buckets: HashMap<u64, Vec<(ClientIndex, StoredDigest)>, RandomState>,
}

/// Of a token; not shown, since a weak token can be guessed from it.
#[derive(Clone, Copy)]
struct StoredDigest([u8; 32]);

impl std::fmt::Debug for StoredDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// The index of a client in the list that [`Clients::new`] was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientIndex(pub usize);

/// What a request presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// Neither header, or one of another scheme than Bearer.
    Nothing,
    /// A token that no client has, two different tokens, or an empty one.
    Wrong,
    /// This client's.
    Client(ClientIndex),
}

impl Clients {
    /// From `(digest)` of each client, in order.
    pub fn new(digests: Vec<[u8; 32]>) -> Self {
        let key = RandomState::new();
        let mut buckets: HashMap<_, Vec<_>, _> = HashMap::with_hasher(RandomState::new());
        for (index, digest) in digests.into_iter().enumerate() {
            buckets.entry(key.hash_one(digest)).or_default().push((ClientIndex(index), StoredDigest(digest)));
        }
        Self { key, buckets }
    }

    /// Reads `authorization` and `x-api-key`.
    pub fn present(&self, headers: &HeaderMap) -> Presented {
        match (bearer(headers), api_key(headers)) {
            (Carried::Nothing, Carried::Nothing) => Presented::Nothing,
            (Carried::Token(token), Carried::Nothing) | (Carried::Nothing, Carried::Token(token)) => self.find(token),
            (Carried::Token(token), Carried::Token(other)) if is_same(token, other) => self.find(token),
            _ => Presented::Wrong,
        }
    }

    fn find(&self, token: &[u8]) -> Presented {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let bucket = self.buckets.get(&self.key.hash_one(digest)).map(Vec::as_slice).unwrap_or_default();
        let (mut found, mut index) = (Choice::from(0), 0u64);
        for (candidate, stored) in bucket {
            let is_equal = stored.0.ct_eq(&digest) & !found;
            index.conditional_assign(&(candidate.0 as u64), is_equal);
            found |= is_equal;
        }
        match usize::try_from(index) {
            Ok(index) if found.into() => Presented::Client(ClientIndex(index)),
            _ => Presented::Wrong,
        }
    }
}

/// The one bearer token of a request, if that is what its `authorization` is; `Err`: there are two, or an empty one.
///
/// # Errors
/// See above.
pub fn bearer_text(headers: &HeaderMap) -> Result<Option<&str>, NotOne> {
    match bearer(headers) {
        Carried::Nothing => Ok(None),
        Carried::Token(token) => std::str::from_utf8(token).map(Some).map_err(|_| NotOne),
        Carried::Unusable => Err(NotOne),
    }
}

/// What is presented cannot be one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not one token")]
pub struct NotOne;

/// What one of the two headers has.
enum Carried<'a> {
    Nothing,
    Token(&'a [u8]),
    /// Twice, or empty.
    Unusable,
}

fn bearer(headers: &HeaderMap) -> Carried<'_> {
    match single(headers, &AUTHORIZATION) {
        Carried::Token(value) => bearer_token(value),
        other => other,
    }
}

/// RFC 9110 §11.4: the scheme's case does not matter; another scheme than ours is not ours to judge.
fn bearer_token(value: &[u8]) -> Carried<'_> {
    let (scheme, token) = match value.iter().position(|byte| *byte == b' ') {
        Some(space) => value.split_at_checked(space).unwrap_or((value, &[])),
        None => (value, [].as_slice()),
    };
    match token.trim_ascii() {
        _ if !scheme.eq_ignore_ascii_case(b"bearer") => Carried::Nothing,
        [] => Carried::Unusable,
        token => Carried::Token(token),
    }
}

fn api_key(headers: &HeaderMap) -> Carried<'_> {
    match single(headers, &X_API_KEY) {
        Carried::Token([]) => Carried::Unusable,
        other => other,
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Carried<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Carried::Nothing,
        (Some(value), None) => Carried::Token(value.as_bytes().trim_ascii()),
        _ => Carried::Unusable,
    }
}

fn is_same(token: &[u8], other: &[u8]) -> bool {
    token.ct_eq(other).into()
}

/// SHA-256 of a token, as `token_sha256` in the configuration has it.
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests;
