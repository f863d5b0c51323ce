//! A file of the configuration as plain data, for programs that change it: read by the configuration's own parser, written so
//! that the same parser reads the same, and as JSON for the API.
//!
//! Scalars are texts, as everywhere in the configuration: what they mean is the decoders' business. Whether one was written as a
//! number or as `true` is kept, so that JSON that comes in goes out the same. Comments are not part of the data.
//!
//! Invariant: what was written is read back as the same data (`what_is_written_is_read_back`).

mod json;
mod masked;
mod write;

#[cfg(test)]
mod tests;

use super::parse;
use super::tree::{Kind, Node};
use crate::diagnostic::{Diagnostic, FileId};

pub use masked::{NotStored, STARS};

/// A value of a file.
#[derive(Clone, PartialEq, Eq)]
pub enum Data {
    /// Nothing, `~`, `null`.
    Null,
    /// A number, `true` or `false`, written without quotes.
    Plain(String),
    /// Any other scalar.
    Text(String),
    /// A list.
    List(Vec<Data>),
    /// A mapping in the order written.
    Map(Vec<(String, Data)>),
}

/// May hold secrets.
impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Plain(_) | Self::Text(_) => "***",
            Self::List(_) => "[***]",
            Self::Map(_) => "{***}",
        })
    }
}

/// One step into a value: a key, or an index in digits.
pub type Step = String;

/// Where a part of a text stands, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// From the root.
    pub path: Vec<Step>,
}

impl Data {
    /// Of a file's text; an empty one is [`Data::Null`].
    ///
    /// # Errors
    /// The first mistake of its YAML.
    pub fn read(text: &str) -> Result<Self, Box<Diagnostic>> {
        let parsed = parse::parse(text, FileId(0));
        if let Some(first) = parsed.diagnostics.into_iter().next() {
            return Err(Box::new(first));
        }
        Ok(parsed.root.as_ref().map_or(Self::Null, |root| Self::of(root, text)))
    }

    fn of(node: &Node<'_>, source: &str) -> Self {
        match node.kind() {
            Kind::Null | Kind::Shared(_) => Self::Null,
            Kind::Scalar(text) if is_plain(text) && node.spelled_after(source) == Some(0) => {
                Self::Plain(text.clone().into_owned())
            }
            Kind::Scalar(text) => Self::Text(text.clone().into_owned()),
            Kind::Sequence(nodes) => Self::List(nodes.iter().map(|node| Self::of(node, source)).collect()),
            Kind::Mapping(entries) => {
                let entry =
                    |entry: &super::tree::Entry<'_>| (entry.key.clone().into_owned(), Self::of(&entry.value, source));
                Self::Map(entries.iter().map(entry).collect())
            }
        }
    }

    /// As the text of a file, without a comment.
    pub fn write(&self) -> String {
        write::document(self)
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Plain(text) | Self::Text(text) => Some(text),
            Self::Null | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(known, _)| known == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The value at the end of several keys.
    pub fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |value, key| value.get(key))
    }

    /// The elements of a list; none of anything else.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The entries of a mapping; none of anything else.
    pub fn entries(&self) -> &[(String, Self)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key of a mapping, which is made if it is not there. Nothing becomes an empty mapping.
    pub fn entry(&mut self, key: &str) -> Option<&mut Self> {
        if *self == Self::Null {
            *self = Self::Map(Vec::new());
        }
        let Self::Map(entries) = self else { return None };
        let index = entries.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
            entries.push((key.to_owned(), Self::Null));
            entries.len() - 1
        });
        entries.get_mut(index).map(|(_, value)| value)
    }

    /// Takes a key out of a mapping.
    pub fn take(&mut self, key: &str) -> Option<Self> {
        let Self::Map(entries) = self else { return None };
        let index = entries.iter().position(|(known, _)| known == key)?;
        Some(entries.remove(index).1)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::List(items) => items.is_empty(),
            Self::Map(entries) => entries.is_empty(),
            Self::Plain(_) | Self::Text(_) => false,
        }
    }
}

/// Whether a text, written without quotes, is a number or a truth value in JSON too, spelt the same.
fn is_plain(text: &str) -> bool {
    matches!(text, "true" | "false")
        || serde_json::from_str::<serde_json::Number>(text).is_ok_and(|number| number.to_string() == text)
}

/// Every key and value of a text and where it stands, in the order of the text.
pub fn places(text: &str) -> Vec<Place> {
    let parsed = parse::parse(text, FileId(0));
    let mut found = Vec::new();
    if let Some(root) = &parsed.root {
        walk(root, &mut Vec::new(), &mut found);
    }
    found
}

fn walk(node: &Node<'_>, path: &mut Vec<Step>, found: &mut Vec<Place>) {
    let at = node.at;
    found.push(Place { line: at.line, column: at.column, path: path.clone() });
    match node.kind() {
        Kind::Sequence(nodes) => {
            for (index, node) in nodes.iter().enumerate() {
                path.push(index.to_string());
                walk(node, path, found);
                path.pop();
            }
        }
        Kind::Mapping(entries) => {
            for entry in entries {
                path.push(entry.key.clone().into_owned());
                found.push(Place { line: entry.at.line, column: entry.at.column, path: path.clone() });
                walk(&entry.value, path, found);
                path.pop();
            }
        }
        Kind::Null | Kind::Scalar(_) | Kind::Shared(_) => {}
    }
}
