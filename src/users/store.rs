//! One htpasswd file, live: whoever asks gets the users of its last good state.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::clock::UnixMillis;
use crate::follow::{Fingerprint, Followed};
use crate::secret::Secret;

use super::LOG;
use super::digest::{Key, Tag};
use super::file::{LARGEST, Users, UsersError};
use super::guesses::Network;
use super::known::Known;

/// A file of users.
#[derive(Debug)]
pub struct UsersFile {
    path: PathBuf,
    key: Key,
    state: ArcSwap<State>,
}

/// One state of the file; what was verified by it goes with it.
#[derive(Debug)]
struct State {
    users: Users,
    known: Known,
    text: Tag,
    seen: Fingerprint,
}

/// Why there are no users.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is far too large.
    #[error("it is larger than 16 MiB")]
    TooLarge,
    /// It is something else.
    #[error("it is no text in UTF-8")]
    NoText,
    /// A line is wrong.
    #[error("{0}")]
    Broken(#[from] UsersError),
    /// The system has none.
    #[error("the system has no randomness to give")]
    NoRandomness,
}

impl UsersFile {
    /// Reads a file for the first time.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let key = Key::fresh().map_err(|_| OpenError::NoRandomness)?;
        let state = State::read(path, &key)?;
        Ok(Self { path: path.to_owned(), key, state: ArcSwap::from_pointee(state) })
    }

    /// Reads it again. Returns whether it says something else than before.
    ///
    /// # Errors
    /// See [`OpenError`]; the users stay who they were.
    pub fn read_again(&self) -> Result<bool, OpenError> {
        let state = State::read(&self.path, &self.key)?;
        let changed = state.text != self.state.load().text;
        if changed {
            self.state.store(Arc::new(state));
        }
        Ok(changed)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many can log in.
    pub fn len(&self) -> usize {
        self.state.load().users.len()
    }

    /// Whether nobody can.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the operator should know, by line.
    pub fn notes(&self) -> Vec<String> {
        self.state.load().users.notes.clone()
    }

    /// A name that is no mail address, if there is one.
    pub fn without_at(&self) -> Option<String> {
        self.state.load().users.identities().filter(|identity| !identity.contains('@')).min().map(str::to_owned)
    }

    /// Who a user is: the name in lower case.
    pub fn identity(&self, name: &str) -> Option<Arc<str>> {
        self.state.load().users.identity(name).cloned()
    }

    /// What tells this user's password from the next one, and nothing of either.
    pub fn mark(&self, name: &str) -> Option<[u8; 32]> {
        self.state.load().users.mark(name)
    }

    /// Whether this credential was right from there a moment ago. Quick.
    pub fn knows(&self, from: Network, user: &str, password: &Secret, now: UnixMillis) -> bool {
        self.state.load().known.has(&self.key, from, user, password.expose().as_bytes(), now)
    }

    /// Whether this credential is right. Slow by design: never on an event loop.
    pub fn verify(&self, user: &str, password: &Secret) -> bool {
        self.state.load().users.verify(user, password.expose().as_bytes())
    }

    /// The same; what is right is remembered for that address.
    pub(super) fn verify_from(&self, from: Network, user: &str, password: &Secret, now: UnixMillis) -> bool {
        // One state from beginning to end: what the old file admits is not remembered for the new one.
        let state = self.state.load_full();
        let password = password.expose().as_bytes();
        let right = state.users.verify(user, password);
        if right {
            state.known.remember(&self.key, from, user, password, now);
        }
        right
    }

    /// What one login is, among all that are under way.
    pub(super) fn tag(&self, from: Network, user: &str, password: &Secret) -> Tag {
        self.key.tag(&[b"login", &from.octets(), user.as_bytes(), password.expose().as_bytes()])
    }
}

impl Followed for UsersFile {
    fn paths(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn refresh(&self) {
        let path = self.path.display();
        match self.read_again() {
            Ok(false) => {}
            Ok(true) => {
                log::info!(target: LOG, "{path} has changed: {} users", self.len());
                for note in self.notes() {
                    log::warn!(target: LOG, "{path}: {note}");
                }
            }
            Err(error) => log::error!(target: LOG, "{path} is broken, its last good state stays in force: {error}"),
        }
    }

    fn seen(&self) -> Option<Fingerprint> {
        Some(self.state.load().seen.clone())
    }
}

impl State {
    fn read(path: &Path, key: &Key) -> Result<Self, OpenError> {
        let seen = Fingerprint::of(&[path.to_owned()]);
        let text = zeroize::Zeroizing::new(read(path)?);
        let users = Users::parse(&text)?;
        Ok(Self { users, known: Known::default(), text: key.tag(&[b"file", text.as_bytes()]), seen })
    }
}

fn read(path: &Path) -> Result<String, OpenError> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no file").into());
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(OpenError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| OpenError::NoText)
}

#[cfg(test)]
mod tests;
