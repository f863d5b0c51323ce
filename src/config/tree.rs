//! One YAML document as a tree in which every node knows where it stands.
//!
//! Built by [`super::parse`], read by the section decoders. Aliases share their anchor's node, so that a small text
//! never becomes a large tree; a reader sees through them ([`Node::kind`]).

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use crate::diagnostic::Pos;

/// A scalar, a sequence or a mapping.
#[derive(Debug)]
pub struct Node<'t> {
    /// Where it starts; the length is that of its first line.
    pub at: Pos,
    /// Its bytes in the text, quotes included. (Of a collection: its first sign.)
    pub bytes: Range<usize>,
    kind: Kind<'t>,
}

/// What a node is.
#[derive(Debug)]
pub enum Kind<'t> {
    /// Nothing, `~` or `null`, unquoted.
    Null,
    /// Any other scalar, as text: types are the decoders' business.
    Scalar(Cow<'t, str>),
    /// A list.
    Sequence(Vec<Node<'t>>),
    /// Keys and values in the order written; no key twice.
    Mapping(Vec<Entry<'t>>),
    /// An alias: the node that its anchor marks.
    Shared(Rc<Node<'t>>),
}

/// One line of a mapping.
#[derive(Debug)]
pub struct Entry<'t> {
    /// The key's text.
    pub key: Cow<'t, str>,
    /// Where the key stands.
    pub at: Pos,
    /// The key's bytes in the text, quotes included.
    pub bytes: Range<usize>,
    /// What it is given.
    pub value: Node<'t>,
}

impl<'t> Node<'t> {
    /// A node at a place.
    pub fn new(at: Pos, bytes: Range<usize>, kind: Kind<'t>) -> Self {
        Self { at, bytes, kind }
    }

    /// The node itself, or what the alias stands for.
    pub fn target(&self) -> &Node<'t> {
        let mut node = self;
        while let Kind::Shared(shared) = &node.kind {
            node = shared;
        }
        node
    }

    /// Whether it is an alias, so that what it stands for is written elsewhere.
    pub fn is_alias(&self) -> bool {
        self.target().bytes.start != self.bytes.start
    }

    /// What it is, never [`Kind::Shared`].
    pub fn kind(&self) -> &Kind<'t> {
        &self.target().kind
    }

    /// The text of a scalar.
    pub fn scalar(&self) -> Option<&str> {
        match self.kind() {
            Kind::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is nothing, or a collection without elements.
    pub fn is_empty(&self) -> bool {
        match self.kind() {
            Kind::Null => true,
            Kind::Sequence(nodes) => nodes.is_empty(),
            Kind::Mapping(entries) => entries.is_empty(),
            Kind::Scalar(_) | Kind::Shared(_) => false,
        }
    }

    /// The kind in words, for messages.
    pub fn kind_name(&self) -> &'static str {
        match self.kind() {
            Kind::Null => "nothing",
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
            Kind::Scalar(_) | Kind::Shared(_) => "a single value",
        }
    }

    /// How many bytes of `source` precede the scalar's own text: 1 for a quoted one, 0 for a plain one; `None` when
    /// its text is not spelled out there byte by byte (escapes, several lines, an anchor in front).
    pub fn spelled_after(&self, source: &str) -> Option<usize> {
        let node = self.target();
        let raw = node.scalar()?;
        let written = source.get(node.bytes.clone())?;
        let quoted = |quote| written.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        match written {
            plain if plain == raw => Some(0),
            _ if quoted('"') == Some(raw) || quoted('\'') == Some(raw) => Some(1),
            _ => None,
        }
    }

    /// The place of a part of the scalar's text; of the whole scalar when that is not spelled out.
    pub fn place_of(&self, source: &str, part: Range<usize>) -> Pos {
        let node = self.target();
        let spelled = self.spelled_after(source).and_then(|skipped| {
            let raw = node.scalar()?;
            let before = raw.get(..part.start)?.chars().count() + skipped;
            let len = raw.get(part)?.chars().count().max(1);
            Some(Pos { column: node.at.column.saturating_add(narrow(before)), len: narrow(len), ..node.at })
        });
        spelled.unwrap_or(node.at)
    }
}

/// A count as a position holds it. Texts are far smaller than 4 GiB.
pub fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
