//! What is kept for one route, as a file: JSON that says whose it is, and the tokens in the clear or sealed.
//!
//! Sealed under `tokens.encryption_key`, bound to the route: a file that is put in another's place does not open. What was
//! written before there was a key is still read.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Held, Kept, RouteName};
use crate::clock::UnixMillis;
use crate::sealed::Sealer;
use crate::secret::Secret;

/// Of the form.
const VERSION: u8 = 1;

/// Names have that many digits: nobody meets another's by chance.
const DIGITS: usize = 32;

/// Larger is no such file.
pub const LARGEST: usize = 64 * 1024;

/// Why a file says nothing of use. The text is the rest of a sentence about the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not our JSON.
    #[error("is damaged")]
    Damaged,
    /// It was put here by hand, or copied.
    #[error("is of another route")]
    Foreign,
    /// It is sealed, and there is no key.
    #[error("is encrypted, and there is no `tokens.encryption_key`")]
    NoKey,
    /// It is sealed under another key, or was changed.
    #[error("does not open with `tokens.encryption_key`")]
    Sealed,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    v: u8,
    project: String,
    environment: String,
    prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<Clear<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

/// The tokens.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clear<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<One<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<One<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<One<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct One<'a> {
    token: Cow<'a, str>,
    set_at: Option<UnixMillis>,
}

/// The name of a route's file.
pub fn file_name(route: RouteName<'_>) -> String {
    let digits = hex::encode(Sha256::digest(route.text()));
    format!("{}.json", digits.get(..DIGITS).unwrap_or(&digits))
}

/// The bytes of a route's file. `None`: the system has no randomness to seal with.
pub fn write(route: RouteName<'_>, kept: &Kept, key: Option<&Sealer>) -> Option<Zeroizing<Vec<u8>>> {
    let clear = Clear {
        current: kept.current.as_ref().map(One::of),
        next: kept.next.as_ref().map(One::of),
        previous: kept.previous.as_ref().map(One::of),
    };
    let (tokens, sealed) = match key {
        None => (Some(clear), None),
        Some(key) => {
            let inner = Zeroizing::new(serde_json::to_vec(&clear).ok()?);
            (None, Some(key.seal(&purpose(route), &inner)?))
        }
    };
    let [project, environment, prefix] = [route.project, route.environment, route.prefix].map(str::to_owned);
    let document = Document { v: VERSION, project, environment, prefix, tokens, sealed };
    let mut bytes = serde_json::to_vec(&document).ok()?;
    bytes.push(b'\n');
    Some(Zeroizing::new(bytes))
}

/// What a route's file says.
///
/// # Errors
/// See [`Fault`].
pub fn read(route: RouteName<'_>, bytes: &[u8], key: Option<&Sealer>) -> Result<Kept, Fault> {
    let document: Document<'_> = serde_json::from_slice(bytes).map_err(|_| Fault::Damaged)?;
    let Document { v, project, environment, prefix, tokens, sealed } = document;
    if v != VERSION {
        return Err(Fault::Damaged);
    }
    if (&*project, &*environment, &*prefix) != (route.project, route.environment, route.prefix) {
        return Err(Fault::Foreign);
    }
    let clear = match (tokens, sealed, key) {
        (Some(clear), None, _) => clear,
        (None, Some(_), None) => return Err(Fault::NoKey),
        (None, Some(sealed), Some(key)) => {
            let inner = key.open(&purpose(route), &sealed).ok_or(Fault::Sealed)?;
            serde_json::from_slice::<Clear<'_>>(&inner).map_err(|_| Fault::Damaged)?
        }
        (Some(_), Some(_), _) | (None, None, _) => return Err(Fault::Damaged),
    };
    let held = |one: Option<One<'_>>| one.map(One::held);
    Ok(Kept { current: held(clear.current), next: held(clear.next), previous: held(clear.previous) })
}

fn purpose(route: RouteName<'_>) -> String {
    format!("sign token of {}", route.text())
}

impl<'a> One<'a> {
    fn of(held: &'a Held) -> Self {
        Self { token: Cow::Borrowed(held.token.expose()), set_at: held.set_at }
    }

    fn held(self) -> Held {
        Held { token: Secret::new(self.token), set_at: self.set_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: RouteName<'_> = RouteName { project: "demo", environment: "production", prefix: "/a0" };
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn key(text: &str) -> Sealer {
        Sealer::of(&Secret::new(text))
    }

    fn kept() -> Kept {
        let held = |text: &str, set_at| Some(Held { token: Secret::new(format!("{text}{TOKEN}")), set_at });
        Kept { current: held("c", Some(1_800_000_000_000)), next: held("n", Some(2)), previous: held("p", None) }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for kept in [kept(), Kept { next: None, previous: None, ..kept() }, Kept::default()] {
            for key in [None, Some(&key("one"))] {
                let bytes = write(NAME, &kept, key).unwrap();
                assert_eq!(read(NAME, &bytes, key).unwrap(), kept);
            }
        }
        // One key more than before: what is there is still read.
        let clear = write(NAME, &kept(), None).unwrap();
        assert_eq!(read(NAME, &clear, Some(&key("one"))).unwrap(), kept());
    }

    #[test]
    fn what_is_sealed_shows_nothing_and_opens_with_its_key_alone() {
        let bytes = write(NAME, &kept(), Some(&key("one"))).unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(!text.contains(TOKEN) && !text.contains("current") && text.contains("/a0"), "{text}");
        assert_eq!(read(NAME, &bytes, None), Err(Fault::NoKey));
        assert_eq!(read(NAME, &bytes, Some(&key("two"))), Err(Fault::Sealed));
    }

    #[test]
    fn a_record_is_of_one_route() {
        let other = RouteName { prefix: "/a1", ..NAME };
        let bytes = write(NAME, &kept(), Some(&key("one"))).unwrap();
        assert_eq!(read(other, &bytes, Some(&key("one"))), Err(Fault::Foreign));
        let renamed = String::from_utf8(bytes.to_vec()).unwrap().replace("/a0", "/a1");
        assert_eq!(read(other, renamed.as_bytes(), Some(&key("one"))), Err(Fault::Sealed));
    }

    #[test]
    fn what_is_damaged_is_refused_wherever_it_was_cut() {
        let bytes = write(NAME, &kept(), None).unwrap();
        for end in 0..bytes.len() - 2 {
            assert_eq!(read(NAME, &bytes[..end], None), Err(Fault::Damaged), "{end}");
        }
        for text in
            ["{}", "[]", "null", r#"{"v":2,"project":"demo","environment":"production","prefix":"/a0","tokens":{}}"#]
        {
            assert_eq!(read(NAME, text.as_bytes(), None), Err(Fault::Damaged), "{text}");
        }
    }

    #[test]
    fn names_are_digits_whatever_the_prefix_is() {
        let mut names = std::collections::BTreeSet::new();
        for prefix in ["/", "/../../etc/passwd", "/a\0b", "/a/b", "/%2e%2e", "", "/ä"] {
            let name = file_name(RouteName { prefix, ..NAME });
            let digits = name.strip_suffix(".json").unwrap();
            assert!(digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
            names.insert(name);
        }
        assert_eq!(names.len(), 7);
        // The parts are told apart.
        let moved = RouteName { project: "dem", environment: "oproduction", prefix: "/a0" };
        assert_ne!(file_name(NAME), file_name(moved));
    }
}
