//! YAML text -> [`Node`] tree, within budgets: no text, however hostile, costs more than a small multiple of its size.
//!
//! The YAML library gives events with positions; this file keeps the stack of open collections, shares aliases, refuses
//! duplicate keys, and stops at the first error of syntax (what follows one would only mislead).
//! Invariants: depth <= [`MAX_DEPTH`], aliases <= [`MAX_ALIASES`], nodes seen through aliases <= [`MAX_SHARED_NODES`].

mod mapping;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::syntax;
use super::tree::{Entry, Kind, Node, narrow};
use crate::diagnostic::{Diagnostic, FileId, Pos};
use mapping::{Key, Open, duplicate, key};

/// How deep collections may nest.
pub const MAX_DEPTH: usize = 64;
/// How many anchors and how many aliases one file may have.
pub const MAX_ALIASES: usize = 1000;
/// How many nodes all aliases of one file may stand for together.
pub const MAX_SHARED_NODES: usize = 100_000;
/// How many nodes one file may have.
pub const MAX_NODES: usize = 4_000_000;

/// What became of one text.
pub struct Parsed<'t> {
    /// The document; `None` when it is empty or broken.
    pub root: Option<Node<'t>>,
    /// Whether the text is broken, so that what it lacks must not be reported.
    pub broken: bool,
    /// Values that were dropped because their key stood there before.
    pub dropped: Vec<Entry<'t>>,
    /// Errors of syntax, budget, duplicate keys.
    pub diagnostics: Vec<Diagnostic>,
}

/// Parses one file's text (without byte-order mark).
pub fn parse(text: &str, file: FileId) -> Parsed<'_> {
    let mut builder = Builder::new(text, file);
    if let Some(diagnostic) = syntax::forbidden_character(text, file) {
        return Parsed { root: None, broken: true, dropped: Vec::new(), diagnostics: vec![diagnostic] };
    }
    let mut parser = Parser::new_from_str(text);
    let mut broken = false;
    while let Some(event) = parser.next_event() {
        let step = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => Err(Box::new(syntax::explain(text, file, &error))),
        };
        match step {
            Ok(Step::Continue) => {}
            Ok(Step::Done) => break,
            Err(diagnostic) => {
                builder.diagnostics.push(*diagnostic);
                broken = true;
                break;
            }
        }
    }
    Parsed {
        root: if broken { None } else { builder.root },
        broken,
        dropped: builder.dropped,
        diagnostics: builder.diagnostics,
    }
}

/// What ends the parsing of a file; boxed, because it is rare and large.
type Failure = Box<Diagnostic>;

enum Step {
    Continue,
    Done,
}

/// An open sequence or mapping.
struct Frame<'t> {
    at: Pos,
    start: usize,
    anchor: usize,
    /// Nodes counted when it was opened, so that an anchor knows its weight.
    nodes_before: usize,
    /// How deep the deepest collection below it nests.
    height: usize,
    content: Content<'t>,
}

enum Content<'t> {
    Sequence(Vec<Node<'t>>),
    Mapping(Open<'t>),
}

/// A finished node that has an anchor.
struct Anchored<'t> {
    node: Rc<Node<'t>>,
    weight: usize,
    height: usize,
}

struct Builder<'t> {
    text: &'t str,
    file: FileId,
    stack: Vec<Frame<'t>>,
    root: Option<Node<'t>>,
    anchors: HashMap<usize, Anchored<'t>>,
    aliases: usize,
    shared: usize,
    nodes: usize,
    documents: usize,
    /// The character and byte where the last position was: positions come almost in order, so a walk is short.
    cursor: (usize, usize),
    ascii: bool,
    dropped: Vec<Entry<'t>>,
    diagnostics: Vec<Diagnostic>,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str, file: FileId) -> Self {
        Self {
            text,
            file,
            stack: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            aliases: 0,
            shared: 0,
            nodes: 0,
            documents: 0,
            cursor: (0, 0),
            ascii: text.is_ascii(),
            dropped: Vec::new(),
            diagnostics: Vec::new(),
        }
    }

    fn event(&mut self, event: Event<'t>, span: Span) -> Result<Step, Failure> {
        match event {
            Event::DocumentStart(_) => self.document(span)?,
            Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag.as_deref(), span)?,
            Event::Alias(anchor) => self.alias(anchor, span)?,
            Event::SequenceStart(anchor, tag) => {
                self.open(anchor, tag.as_deref(), span, Content::Sequence(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.open(anchor, tag.as_deref(), span, Content::Mapping(Open::default()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            Event::StreamEnd => return Ok(Step::Done),
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
        }
        Ok(Step::Continue)
    }

    fn document(&mut self, span: Span) -> Result<(), Failure> {
        self.documents += 1;
        if self.documents < 2 {
            return Ok(());
        }
        Err(Diagnostic::error("several_documents", self.pos(span), "a second YAML document begins here")
            .hint("a configuration file holds one document; move the other into a file of its own and `include` it")
            .into())
    }

    fn scalar(
        &mut self,
        text: Cow<'t, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), Failure> {
        let bytes = self.scalar_bytes(style, span);
        let at = Pos { len: self.first_line(&bytes), ..self.pos(span) };
        self.check_tag(tag, at)?;
        let null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
        let kind = if null { Kind::Null } else { Kind::Scalar(self.borrowed(text, style, &bytes)) };
        self.count(1, at)?;
        self.finish(Node::new(at, bytes, kind), anchor, 1, 0)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Failure> {
        let at = self.pos(span);
        self.aliases += 1;
        let Some(target) = self.anchors.get(&anchor) else {
            return Err(Diagnostic::error("yaml_alias", at, "an alias inside of what its own anchor marks")
                .hint("an alias can only repeat what is complete before it")
                .into());
        };
        let (weight, height, node) = (target.weight, target.height, Rc::clone(&target.node));
        self.shared = self.shared.saturating_add(weight);
        if self.aliases > MAX_ALIASES || self.shared > MAX_SHARED_NODES {
            return Err(Diagnostic::error("yaml_alias", at, "too much is repeated by aliases")
                .hint(format!(
                    "at most {MAX_ALIASES} aliases that stand for at most {MAX_SHARED_NODES} values together"
                ))
                .into());
        }
        if self.stack.len() + height > MAX_DEPTH {
            return Err(too_deep(at).into());
        }
        self.count(weight, at)?;
        let bytes = self.byte(span.start.index())..self.byte(span.end.index());
        self.finish(Node::new(at, bytes, Kind::Shared(node)), 0, weight, height)
    }

    fn open(&mut self, anchor: usize, tag: Option<&Tag>, span: Span, content: Content<'t>) -> Result<(), Failure> {
        let at = Pos { len: 1, ..self.pos(span) };
        self.check_tag(tag, at)?;
        self.count(1, at)?;
        if self.stack.len() >= MAX_DEPTH {
            return Err(too_deep(at).into());
        }
        let start = self.byte(span.start.index());
        let nodes_before = self.nodes.saturating_sub(1);
        self.stack.push(Frame { at, start, anchor, nodes_before, height: 0, content });
        Ok(())
    }

    fn close(&mut self, _span: Span) -> Result<(), Failure> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let kind = match frame.content {
            Content::Sequence(nodes) => Kind::Sequence(nodes),
            Content::Mapping(open) => Kind::Mapping(open.entries),
        };
        let weight = self.nodes.saturating_sub(frame.nodes_before);
        let node = Node::new(frame.at, frame.start..frame.start, kind);
        self.finish(node, frame.anchor, weight, frame.height + 1)
    }

    /// Puts a complete node where it belongs.
    fn finish(&mut self, node: Node<'t>, anchor: usize, weight: usize, height: usize) -> Result<(), Failure> {
        let node = if anchor == 0 { node } else { self.remember(node, anchor, weight, height)? };
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.height = frame.height.max(height);
        match &mut frame.content {
            Content::Sequence(nodes) => nodes.push(node),
            Content::Mapping(open) => match open.key.take() {
                None => open.key = Some(key(&node)?),
                Some(Key { text, at, bytes }) => {
                    if let Some((entry, first)) = open.insert(Entry { key: text, at, bytes, value: node }) {
                        self.diagnostics.push(duplicate(&entry, first));
                        self.dropped.push(entry);
                    }
                }
            },
        }
        Ok(())
    }

    fn remember(&mut self, node: Node<'t>, anchor: usize, weight: usize, height: usize) -> Result<Node<'t>, Failure> {
        let (at, bytes) = (node.at, node.bytes.clone());
        if self.anchors.len() >= MAX_ALIASES {
            return Err(Diagnostic::error("yaml_alias", at, format!("more than {MAX_ALIASES} anchors")).into());
        }
        let node = Rc::new(node);
        self.anchors.insert(anchor, Anchored { node: Rc::clone(&node), weight, height });
        Ok(Node::new(at, bytes, Kind::Shared(node)))
    }

    fn count(&mut self, nodes: usize, at: Pos) -> Result<(), Failure> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(Diagnostic::error("file_too_large", at, format!("more than {MAX_NODES} values in one file"))
            .hint("split it with `include`")
            .into())
    }

    fn check_tag(&self, tag: Option<&Tag>, at: Pos) -> Result<(), Failure> {
        match tag {
            Some(tag) if !tag.is_yaml_core_schema() => {
                Err(Diagnostic::error("yaml_tag", at, "a YAML tag of one's own has no meaning here")
                    .hint("remove the word that begins with `!`, or quote the value if the sign belongs to it")
                    .into())
            }
            _ => Ok(()),
        }
    }

    fn pos(&self, span: Span) -> Pos {
        let (line, column) = (narrow(span.start.line()), narrow(span.start.col() + 1));
        Pos { file: self.file, line, column, len: narrow(span.len().max(1)) }
    }

    /// The library counts the space behind a quoted scalar as part of it; it is not.
    fn scalar_bytes(&mut self, style: ScalarStyle, span: Span) -> Range<usize> {
        let bytes = self.byte(span.start.index())..self.byte(span.end.index());
        let quote = match style {
            ScalarStyle::SingleQuoted => '\'',
            ScalarStyle::DoubleQuoted => '"',
            _ => return bytes,
        };
        let closing = self.text.get(bytes.clone()).and_then(|written| written.rfind(quote));
        closing.map_or(bytes.clone(), |closing| bytes.start..bytes.start + closing + 1)
    }

    /// The text out of the file instead of a copy, where it is spelled out there: most of a large file is.
    fn borrowed(&self, text: Cow<'t, str>, style: ScalarStyle, bytes: &Range<usize>) -> Cow<'t, str> {
        let quote = usize::from(matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted));
        let written = self.text.get(bytes.start + quote..bytes.end.saturating_sub(quote));
        written.filter(|written| *written == text).map(Cow::Borrowed).unwrap_or(text)
    }

    /// Characters up to the end of the value or of its first line.
    fn first_line(&self, bytes: &Range<usize>) -> u32 {
        let written = self.text.get(bytes.clone()).unwrap_or_default();
        narrow(written.chars().take_while(|c| !matches!(c, '\n' | '\r')).count().max(1))
    }

    fn byte(&mut self, index: usize) -> usize {
        walk(self.text, self.ascii, &mut self.cursor, index)
    }
}

fn too_deep(at: Pos) -> Diagnostic {
    Diagnostic::error("yaml_depth", at, format!("nested deeper than {MAX_DEPTH} levels"))
}

/// The byte of a character index, walking from the last one asked for.
fn walk(text: &str, ascii: bool, cursor: &mut (usize, usize), index: usize) -> usize {
    if ascii {
        return index.min(text.len());
    }
    let (mut at, mut byte) = *cursor;
    while at < index {
        let Some(c) = text.get(byte..).and_then(|rest| rest.chars().next()) else { break };
        byte += c.len_utf8();
        at += 1;
    }
    while at > index {
        let Some(c) = text.get(..byte).and_then(|rest| rest.chars().next_back()) else { break };
        byte -= c.len_utf8();
        at -= 1;
    }
    *cursor = (at, byte);
    byte
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        parse(text, FileId(0)).diagnostics.first().map_or("", |diagnostic| diagnostic.code)
    }

    #[test]
    fn positions_count_characters_and_bytes_are_found_behind_wide_ones() {
        let text = "é: { ü: \"ä${X}\", t: 漢字 }\n";
        let parsed = parse(text, FileId(0));
        let root = parsed.root.unwrap();
        let Kind::Mapping(entries) = root.kind() else { panic!() };
        let Kind::Mapping(inner) = entries[0].value.kind() else { panic!() };
        assert_eq!(&text[inner[0].value.bytes.clone()], "\"ä${X}\"");
        assert_eq!(&text[inner[1].value.bytes.clone()], "漢字");
        assert_eq!((inner[0].value.at.column, inner[0].value.at.len), (9, 7));
        let place = inner[0].value.place_of(text, "ä".len().."ä${X}".len());
        assert_eq!((place.column, place.len), (11, 4));
    }

    #[test]
    fn budgets_hold() {
        assert_eq!(code(&"[".repeat(200_000)), "yaml_depth");
        let mut block = String::new();
        for depth in 0..100 {
            block.push_str(&format!("{}a:\n", " ".repeat(depth)));
        }
        assert_eq!(code(&block), "yaml_depth");
        assert_eq!(code("a: &x [*x]\n"), "yaml_alias");
        assert_eq!(code("a: 1\n---\nb: 1\n"), "several_documents");
        assert_eq!(code("a: !mine 1\n"), "yaml_tag");
        assert_eq!(code("a: !!str 1\n"), "");
    }

    #[test]
    fn a_laughing_text_is_refused_before_it_grows() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for step in 1..30 {
            let list = vec![format!("*a{}", step - 1); 10].join(", ");
            text.push_str(&format!("a{step}: &a{step} [{list}]\n"));
        }
        assert_eq!(code(&text), "yaml_alias");
    }

    #[test]
    fn duplicates_are_found_in_small_and_large_mappings() {
        assert_eq!(code("a: 1\nb: 2\na: 3\n"), "duplicate_key");
        let mut text: String = (0..1000).map(|n| format!("k{n}: 1\n")).collect();
        assert_eq!(code(&text), "");
        text.push_str("k500: 2\n");
        assert_eq!(code(&text), "duplicate_key");
    }
}
