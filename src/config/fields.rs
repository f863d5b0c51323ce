//! Mappings with known keys: unknown keys are errors, keys that this version cannot honour are refused.

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
    /// What is agreed upon and does not exist yet.
    pub later: &'static [Later],
}

/// A key whose behaviour does not exist yet.
pub struct Later {
    /// Its name.
    pub key: &'static str,
    /// The values that ask for nothing, and so are accepted.
    pub off: Off,
}

/// Which values of such a key ask for nothing.
#[derive(Clone, Copy)]
pub enum Off {
    /// `false`.
    False,
    /// The first words do; the others exist as names; any further one is a mistake.
    Words(&'static [&'static str], &'static [&'static str]),
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
        match shape.later.iter().find(|later| later.key == entry.key) {
            Some(later) => {
                self.check_later(entry, later);
                None
            }
            None => self.unknown_key(entry, shape),
        }
    }

    fn unknown_key(&mut self, entry: &Entry<'_>, shape: &'static Shape) -> Option<&'static str> {
        let names: Vec<&'static str> =
            shape.keys.iter().copied().chain(shape.later.iter().map(|later| later.key)).collect();
        let message = format!("{} is not a key of {}", shown(&entry.key), shape.what);
        let meant = if self.gathered.is_flooded() { None } else { nearest(&entry.key, &names) };
        let hint = match (&*entry.key, meant) {
            ("<<", _) => {
                "merge keys are not part of YAML 1.2; repeat the keys, or use an alias as a whole value".into()
            }
            (_, Some(name)) => format!("did you mean `{name}`?"),
            (_, None) => format!("its keys are {}", names.join(", ")),
        };
        self.note(Diagnostic::error("unknown_key", entry.at, message).hint(hint));
        meant
    }

    fn check_later(&mut self, entry: &Entry<'_>, later: &Later) {
        match later.off {
            Off::False => self.check_switch(entry),
            Off::Words(off, names) => self.check_word(entry, off, names),
        }
    }

    fn check_switch(&mut self, entry: &Entry<'_>) {
        if self.parsed(&entry.value, super::value::boolean) == Some(true) {
            self.not_available(entry.at, &format!("`{}: true`", entry.key));
        }
    }

    fn check_word(&mut self, entry: &Entry<'_>, off: &[&str], names: &[&str]) {
        let all: Vec<(&str, bool)> =
            off.iter().map(|name| (*name, true)).chain(names.iter().map(|name| (*name, false))).collect();
        if entry.value.scalar().is_none() {
            return self.not_available(entry.at, &shown(&entry.key));
        }
        if self.parsed(&entry.value, |text| super::value::word(text, &all)) == Some(false) {
            let value = entry.value.scalar().unwrap_or_default();
            self.not_available(entry.value.target().at, &shown(&format!("{}: {value}", entry.key)));
        }
    }

    /// Notes that something agreed upon does not exist yet.
    pub fn not_available(&mut self, at: Pos, what: &str) {
        let message = format!("{what} is not available in this version");
        self.note(
            Diagnostic::error("not_available_yet", at, message).hint("remove it; a later version will accept it"),
        );
    }
}
