//! Mappings with known keys: unknown keys are errors.

use super::decoder::Decoder;
use super::tree::{Entry, Kind, Node};
use super::value::{nearest, shown};
use crate::diagnostic::{Diagnostic, Pos};

/// The keys of one kind of mapping.
pub struct Shape {
    /// What it is, with its article, for messages.
    pub what: &'static str,
    /// What exists.
    pub keys: &'static [&'static str],
}

/// The entries of one mapping, all of them with a known key.
pub struct Fields<'n, 't> {
    /// Where the mapping starts.
    pub at: Pos,
    /// Keys that an unknown one was probably meant to be: their absence is no second error.
    meant: Vec<&'static str>,
    entries: &'n [Entry<'t>],
}

impl<'n, 't> Fields<'n, 't> {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'n Node<'t>> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Whether one of these keys was probably meant by an unknown one.
    pub fn is_meant(&self, keys: &[&str]) -> bool {
        self.meant.iter().any(|key| keys.contains(key))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A key and its value.
    pub fn entry(&self, key: &str) -> Option<&'n Entry<'t>> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Decoder<'_, '_> {
    /// The fields of a mapping (none for nothing), each key checked.
    pub fn fields<'n, 't>(&mut self, node: &'n Node<'t>, shape: &'static Shape) -> Option<Fields<'n, 't>> {
        let entries: &[Entry<'t>] = match node.kind() {
            Kind::Mapping(entries) => entries,
            Kind::Null => &[],
            _ => {
                let what = format!("{} (a mapping of keys and values)", shape.what);
                self.wrong_kind(node, &what);
                return None;
            }
        };
        let meant: Vec<_> = entries.iter().filter_map(|entry| self.check_key(entry, shape)).collect();
        self.gathered.meant.extend(&meant);
        Some(Fields { at: node.target().at, meant, entries })
    }

    /// The value of a key without which the mapping means nothing; its absence is noted at `at`.
    pub fn required<'n, 't>(&mut self, fields: &Fields<'n, 't>, key: &str, at: Pos) -> Option<&'n Node<'t>> {
        let node = fields.get(key);
        if node.is_none() && !fields.is_meant(&[key]) {
            self.note(Diagnostic::error("missing_key", at, format!("`{key}` is missing")));
        }
        node
    }

    /// Answers what an unknown key was probably meant to be.
    fn check_key(&mut self, entry: &Entry<'_>, shape: &'static Shape) -> Option<&'static str> {
        if shape.keys.contains(&&*entry.key) {
            return None;
        }
        self.unknown_key(entry, shape)
    }

    fn unknown_key(&mut self, entry: &Entry<'_>, shape: &'static Shape) -> Option<&'static str> {
        let names = shape.keys;
        let message = format!("{} is not a key of {}", shown(&entry.key), shape.what);
        let meant = if self.gathered.is_flooded() { None } else { nearest(&entry.key, names) };
        let hint = match (&*entry.key, meant) {
            ("<<", _) => {
                "merge keys are not part of YAML 1.2; repeat the keys, or use an alias as a whole value".into()
            }
            (_, Some(name)) => format!("did you mean `{name}`?"),
            (_, None) => format!("its keys are {}", shape.keys.join(", ")),
        };
        self.note(Diagnostic::error("unknown_key", entry.at, message).hint(hint));
        meant
    }
}
