//! A mapping while it is being parsed: its keys are text, and none comes twice.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use crate::config::tree::{Entry, Kind, Node};
use crate::config::value::shown;
use crate::diagnostic::{Diagnostic, Pos};

/// A key.
pub struct Key<'t> {
    /// Its text.
    pub text: Cow<'t, str>,
    /// Where it stands.
    pub at: Pos,
    /// Its bytes in the file's text, quotes included.
    pub bytes: Range<usize>,
}

/// A mapping that is being filled.
#[derive(Default)]
pub struct Open<'t> {
    /// Those that are complete.
    pub entries: Vec<Entry<'t>>,
    /// The key whose value comes next.
    pub key: Option<Key<'t>>,
    /// Only for large mappings: where each key is, so that looking for a duplicate stays cheap.
    index: Option<HashMap<Cow<'t, str>, usize>>,
}

impl<'t> Open<'t> {
    /// Adds an entry, or gives it back with the place of the one that has its key already.
    pub fn insert(&mut self, entry: Entry<'t>) -> Option<(Entry<'t>, Pos)> {
        const SMALL: usize = 24;
        let before = match &self.index {
            Some(index) => index.get(&entry.key).and_then(|place| self.entries.get(*place)),
            None => self.entries.iter().find(|other| other.key == entry.key),
        };
        if let Some(before) = before {
            return Some((entry, before.at));
        }
        if let Some(index) = &mut self.index {
            index.insert(entry.key.clone(), self.entries.len());
        } else if self.entries.len() == SMALL {
            let mut index: HashMap<_, _> =
                self.entries.iter().enumerate().map(|(place, entry)| (entry.key.clone(), place)).collect();
            index.insert(entry.key.clone(), self.entries.len());
            self.index = Some(index);
        }
        self.entries.push(entry);
        None
    }
}

/// The text and place of a key.
///
/// # Errors
/// What is no text.
pub fn key<'t>(node: &Node<'t>) -> Result<Key<'t>, Box<Diagnostic>> {
    match node.kind() {
        Kind::Scalar(text) => Ok(Key { text: text.clone(), at: node.at, bytes: node.bytes.clone() }),
        Kind::Null => Err(Diagnostic::error("invalid_key", node.at, "a key is missing before the `:`").into()),
        _ => Err(Diagnostic::error("invalid_key", node.at, format!("a key must be text, not {}", node.kind_name()))
            .hint("a value that begins with `{` or `[` and was meant as text needs quotes")
            .into()),
    }
}

/// What is wrong with a key that stood there before, at `first`.
pub fn duplicate(entry: &Entry<'_>, first: Pos) -> Diagnostic {
    let key = shown(&entry.key);
    Diagnostic::error("duplicate_key", entry.at, format!("{key} is given twice"))
        .hint("remove one of the two, or give it another name")
        .related(first, "first given here")
}
