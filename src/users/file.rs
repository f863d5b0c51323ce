//! The text of an htpasswd file -> users.
//!
//! One user a line, `name:hash`; what follows another `:` is not ours. Empty lines and lines that begin with `#` say
//! nothing. Of a name that stands twice the first line counts, as in Apache and nginx. A line that cannot be read makes the
//! whole file broken, as it may be half written; a line whose hash we do not take only keeps that user out.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::hash::{Hash, Refused};

/// The largest file that is read.
pub const LARGEST: u64 = 16 * 1024 * 1024;

/// So many lines are spoken of one by one.
const NOTES: usize = 10;

/// Everybody in one file.
#[derive(Clone, Debug, Default)]
pub struct Users {
    by_name: HashMap<Box<str>, User>,
    /// Of the most common kind and cost: what a name that nobody has is verified against.
    usual: Option<Hash>,
    /// What the operator should know, by line.
    pub notes: Vec<String>,
}

/// One of them.
#[derive(Clone, Debug)]
struct User {
    identity: Arc<str>,
    hash: Hash,
    /// SHA-256 of the hash as it is written: another one means another password.
    mark: [u8; 32],
}

/// Why a text is no such file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsersError {
    /// Without a colon.
    #[error("line {0} is not `user:hash`")]
    NoColon(usize),
    /// With nothing in front of it.
    #[error("line {0} has no user name")]
    NoName(usize),
    /// A hash of a kind that we know, which cannot be read.
    #[error("line {line}, user `{user}`: {refused}")]
    Malformed {
        /// From 1.
        line: usize,
        /// Whose.
        user: String,
        /// Why.
        refused: Refused,
    },
}

impl Users {
    /// Reads a file.
    ///
    /// # Errors
    /// See [`UsersError`].
    pub fn parse(text: &str) -> Result<Self, UsersError> {
        let mut reading = Reading::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            reading.line(index + 1, line.trim())?;
        }
        Ok(reading.finish())
    }

    /// How many can log in.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether nobody can.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Who they are, in no order.
    pub fn identities(&self) -> impl Iterator<Item = &str> {
        self.by_name.values().map(|user| &*user.identity)
    }

    /// Who a user is: the name in lower case.
    pub fn identity(&self, name: &str) -> Option<&Arc<str>> {
        self.by_name.get(name).map(|user| &user.identity)
    }

    /// What tells this user's password from the next one, and nothing of either.
    pub fn mark(&self, name: &str) -> Option<[u8; 32]> {
        self.by_name.get(name).map(|user| user.mark)
    }

    /// Whether this is the user's password; slow, and as slow when nobody has that name.
    pub fn verify(&self, name: &str, password: &[u8]) -> bool {
        if password.len() > super::LONGEST_PASSWORD {
            return false;
        }
        let user = self.by_name.get(name);
        let hash = user.map(|user| &user.hash).or(self.usual.as_ref());
        let matches = hash.is_some_and(|hash| hash.is(password));
        matches && user.is_some()
    }
}

/// A file on its way.
#[derive(Default)]
struct Reading {
    users: Users,
    /// Identities so far: names that differ in case only are one person.
    taken: HashMap<Arc<str>, usize>,
    classes: HashMap<(&'static str, u64), usize>,
    unspoken: usize,
}

impl Reading {
    fn line(&mut self, number: usize, line: &str) -> Result<(), UsersError> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let (name, rest) = line.split_once(':').ok_or(UsersError::NoColon(number))?;
        if name.is_empty() {
            return Err(UsersError::NoName(number));
        }
        let written = rest.split(':').next().unwrap_or_default();
        let hash = match Hash::parse(written) {
            Ok(hash) => hash,
            Err(refused @ Refused::Malformed(_)) => {
                return Err(UsersError::Malformed { line: number, user: shown(name), refused });
            }
            Err(refused) => {
                self.note(number, name, &format!("cannot log in: {refused}"));
                return Ok(());
            }
        };
        self.add(number, name, hash, Sha256::digest(written).into());
        Ok(())
    }

    fn add(&mut self, number: usize, name: &str, hash: Hash, mark: [u8; 32]) {
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            let why = "cannot log in: a name may only have visible ASCII characters, as it is sent to upstreams";
            return self.note(number, name, why);
        }
        let identity: Arc<str> = name.to_ascii_lowercase().into();
        if let Some(first) = self.taken.get(&identity) {
            let why = format!("is in line {first} already, which counts");
            return self.note(number, name, &why);
        }
        self.taken.insert(Arc::clone(&identity), number);
        let class = self.classes.entry(hash.class()).or_default();
        *class += 1;
        self.users.by_name.insert(name.into(), User { identity, hash, mark });
    }

    fn note(&mut self, line: usize, name: &str, what: &str) {
        if self.users.notes.len() < NOTES {
            self.users.notes.push(format!("line {line}: user `{}` {what}", shown(name)));
        } else {
            self.unspoken += 1;
        }
    }

    fn finish(mut self) -> Users {
        if self.unspoken > 0 {
            self.users.notes.push(format!("{} more lines of the same kinds", self.unspoken));
        }
        let usual =
            self.classes.iter().max_by_key(|((kind, cost), count)| (**count, *cost, *kind)).map(|(class, _)| *class);
        self.users.usual = usual
            .and_then(|class| self.users.by_name.values().find(|user| user.hash.class() == class))
            .map(|user| user.hash.clone());
        self.users
    }
}

/// A name for people: short, and without anything that a terminal would act upon.
fn shown(name: &str) -> String {
    name.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
