//! What a browser carries for somebody who has logged in: sealed, in pieces that fit into cookies.
//!
//! A session is of one client of one issuer; another project's client refuses it ([`super::Client::session`]). It ends when
//! it was said to end, however often it is renewed. It lives in the browser alone: nothing here can end it before, but for
//! the issuer, who is asked again whenever [`Session::is_due`].

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Person;
use crate::clock::UnixMillis;
use crate::sealed::Sealer;
use crate::secret::Secret;

/// What it is sealed for.
const PURPOSE: &str = "oidc session";
/// Of a cookie's value, in bytes: browsers take 4096 with name and attributes (RFC 6265 §6.1).
const PIECE: usize = 3800;
/// Cookies of one session.
const MOST: usize = 4;
/// Of an ID token that is kept to be shown when somebody logs out.
const LONGEST_HINT: usize = 2048;

/// Somebody who has logged in.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// Who.
    pub person: Person,
    /// `sub`: whom the issuer means, whatever he is called.
    pub(super) subject: String,
    /// Which client of which issuer this is of.
    pub(super) of: String,
    /// Of the log-in, which later ID tokens may repeat.
    pub(super) nonce: String,
    /// When he logged in.
    pub signed_in_at: UnixMillis,
    /// When it ends.
    pub ends_at: UnixMillis,
    /// When the issuer is to be asked again.
    pub check_at: UnixMillis,
    pub(super) refresh_token: Option<Secret>,
    /// Shown to the issuer when he logs out.
    pub(super) id_token: Option<Secret>,
}

impl Session {
    /// Whether the issuer is to be asked again: see [`super::Client::renew`].
    pub fn is_due(&self, now: UnixMillis) -> bool {
        self.refresh_token.is_some() && now >= self.check_at
    }

    /// The values of cookies, at most four of less than 3.8 KiB each. `None`: there is no randomness, or too much to carry.
    pub fn seal(&self, sealer: &Sealer) -> Option<Vec<String>> {
        let text = sealer.seal(PURPOSE, &self.written()?)?;
        let room = PIECE - 2;
        let count = text.len().div_ceil(room);
        // The first says how many there are: what an earlier, longer session has left behind is passed over.
        let pieces = text.as_bytes().chunks(room).enumerate().map(|(at, piece)| {
            let piece = String::from_utf8_lossy(piece);
            if at == 0 { format!("{count}.{piece}") } else { piece.into_owned() }
        });
        (count <= MOST).then(|| pieces.collect())
    }

    /// From the values of cookies, in their order. `None`: one is missing or another's, or was changed.
    pub fn open(sealer: &Sealer, pieces: &[&str]) -> Option<Self> {
        let (first, others) = pieces.split_first()?;
        let (count, first) = first.split_once('.')?;
        let further = count.parse::<usize>().ok().filter(|count| (1..=MOST).contains(count))? - 1;
        let text = std::iter::once(&first).chain(others.get(..further)?).copied().collect::<String>();
        Self::read(&sealer.open(PURPOSE, &text)?)
    }

    fn written(&self) -> Option<Zeroizing<Vec<u8>>> {
        let hint = self.id_token.as_ref().filter(|token| token.len() <= LONGEST_HINT);
        let carried = Carried {
            user: &self.person.user,
            name: &self.person.name,
            subject: &self.subject,
            of: &self.of,
            nonce: &self.nonce,
            signed_in_at: self.signed_in_at,
            ends_at: self.ends_at,
            check_at: self.check_at,
            refresh_token: self.refresh_token.as_ref().map(Secret::expose),
            id_token: hint.map(Secret::expose),
        };
        serde_json::to_vec(&carried).ok().map(Zeroizing::new)
    }

    fn read(clear: &[u8]) -> Option<Self> {
        let kept: Kept = serde_json::from_slice(clear).ok()?;
        Some(Self {
            person: Person { user: Arc::from(kept.user), name: Arc::from(kept.name) },
            subject: kept.subject,
            of: kept.of,
            nonce: kept.nonce,
            signed_in_at: kept.signed_in_at,
            ends_at: kept.ends_at,
            check_at: kept.check_at,
            refresh_token: kept.refresh_token.map(Secret::new),
            id_token: kept.id_token.map(Secret::new),
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = (self.signed_in_at, self.check_at, self.ends_at);
        f.debug_struct("Session").field("person", &self.person).field("ends", &ends).finish_non_exhaustive()
    }
}

/// As it is written.
#[derive(Serialize)]
struct Carried<'a> {
    #[serde(rename = "u")]
    user: &'a str,
    #[serde(rename = "n")]
    name: &'a str,
    #[serde(rename = "s")]
    subject: &'a str,
    #[serde(rename = "of")]
    of: &'a str,
    #[serde(rename = "o")]
    nonce: &'a str,
    #[serde(rename = "b")]
    signed_in_at: UnixMillis,
    #[serde(rename = "e")]
    ends_at: UnixMillis,
    #[serde(rename = "c")]
    check_at: UnixMillis,
    #[serde(rename = "r")]
    refresh_token: Option<&'a str>,
    #[serde(rename = "i")]
    id_token: Option<&'a str>,
}

/// As it is read.
#[derive(Deserialize)]
struct Kept {
    #[serde(rename = "u")]
    user: String,
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "s")]
    subject: String,
    #[serde(rename = "of")]
    of: String,
    #[serde(rename = "o")]
    nonce: String,
    #[serde(rename = "b")]
    signed_in_at: UnixMillis,
    #[serde(rename = "e")]
    ends_at: UnixMillis,
    #[serde(rename = "c")]
    check_at: UnixMillis,
    #[serde(rename = "r")]
    refresh_token: Option<String>,
    #[serde(rename = "i")]
    id_token: Option<String>,
}

#[cfg(test)]
mod tests;
