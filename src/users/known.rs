//! Which credentials were right a moment ago, so that a browser's fifty requests cost one verification.
//!
//! What is kept is a keyed digest for each address and user, never a password. An entry counts for its address only: from
//! elsewhere a guess is verified, and so is counted. A wrong guess against an entry costs the entry a life, so that a
//! neighbour behind the same address cannot try a whole dictionary on somebody who is logged in.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::UnixMillis;

use super::digest::{Key, Tag};
use super::guesses::Network;

/// An entry is believed for so long.
const LIFE: Duration = Duration::from_secs(5 * 60);

/// So many entries are kept.
const ENTRIES: usize = 10_000;

/// So many wrong guesses an entry survives.
const MISSES: u32 = 20;

/// The credentials that were right.
#[derive(Debug, Default)]
pub struct Known(Mutex<HashMap<Tag, Entry>>);

#[derive(Clone, Copy, Debug)]
struct Entry {
    credential: Tag,
    since: UnixMillis,
    misses: u32,
}

impl Entry {
    /// A clock that was set back ends it.
    fn is_alive(&self, now: UnixMillis) -> bool {
        now.checked_sub(self.since).is_some_and(|age| Duration::from_millis(age) < LIFE)
    }
}

impl Known {
    /// Whether this credential was right from there.
    pub fn has(&self, key: &Key, from: Network, user: &str, password: &[u8], now: UnixMillis) -> bool {
        let (place, credential) = (place(key, from, user), credential(key, user, password));
        let mut known = self.0.lock();
        let Some(entry) = known.get_mut(&place).filter(|entry| entry.is_alive(now)) else { return false };
        if entry.credential == credential {
            return true;
        }
        entry.misses += 1;
        if entry.misses >= MISSES {
            known.remove(&place);
        }
        false
    }

    /// It was right.
    pub fn remember(&self, key: &Key, from: Network, user: &str, password: &[u8], now: UnixMillis) {
        let entry = Entry { credential: credential(key, user, password), since: now, misses: 0 };
        let mut known = self.0.lock();
        if known.len() >= ENTRIES {
            known.retain(|_, entry| entry.is_alive(now));
        }
        if known.len() >= ENTRIES {
            // All of them are good: whoever loses theirs is verified once more.
            known.clear();
        }
        known.insert(place(key, from, user), entry);
    }
}

fn place(key: &Key, from: Network, user: &str) -> Tag {
    key.tag(&[b"place", &from.octets(), user.as_bytes()])
}

fn credential(key: &Key, user: &str, password: &[u8]) -> Tag {
    key.tag(&[b"credential", user.as_bytes(), password])
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const NOW: UnixMillis = 1_700_000_000_000;

    fn from(text: &str) -> Network {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn what_was_right_is_right_from_there_for_a_while() {
        let (key, known, here) = (Key::fresh().unwrap(), Known::default(), from("192.0.2.1"));
        assert!(!known.has(&key, here, "ann", b"one", NOW));
        known.remember(&key, here, "ann", b"one", NOW);
        assert!(known.has(&key, here, "ann", b"one", NOW));
        for (whence, user, password) in
            [("192.0.2.2", "ann", "one"), ("192.0.2.1", "bob", "one"), ("192.0.2.1", "ann", "two")]
        {
            assert!(!known.has(&key, from(whence), user, password.as_bytes(), NOW), "{whence} {user} {password}");
        }
        let end = NOW + LIFE.as_millis() as u64;
        assert!(known.has(&key, here, "ann", b"one", end - 1) && !known.has(&key, here, "ann", b"one", end));
        assert!(!known.has(&key, here, "ann", b"one", NOW - 1), "a clock that was set back");
    }

    #[test]
    fn a_dictionary_ends_the_entry() {
        let (key, known, here) = (Key::fresh().unwrap(), Known::default(), from("192.0.2.1"));
        known.remember(&key, here, "ann", b"one", NOW);
        (1..MISSES).for_each(|guess| assert!(!known.has(&key, here, "ann", &guess.to_be_bytes(), NOW)));
        assert!(known.has(&key, here, "ann", b"one", NOW));
        assert!(!known.has(&key, here, "ann", b"wrong", NOW));
        assert!(!known.has(&key, here, "ann", b"one", NOW), "guessed at too often");
    }

    #[test]
    fn memory_is_bounded() {
        let (key, known) = (Key::fresh().unwrap(), Known::default());
        (0..ENTRIES + 10).for_each(|number| known.remember(&key, from("::1"), &number.to_string(), b"x", NOW));
        assert!(known.0.lock().len() <= ENTRIES);
    }
}
