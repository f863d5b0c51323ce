//! Where one value stands in a file, byte by byte, or would stand: for whoever changes that value and nothing else.
//!
//! The positions are those of the parser that reads configurations. What an edit could not touch without touching more
//! (an alias, a variable, a value on several lines) has no place; [`differs_only_at`] shows afterwards that an edit did what it meant.

use std::borrow::Cow;
use std::ops::Range;

use super::parse::parse;
use super::tree::{Entry, Kind, Node};
use crate::diagnostic::FileId;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `value`
    Plain,
    /// `'value'`
    Single,
    /// `"value"`
    Double,
}

/// A place for a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It stands here, quotes included, in that style.
    Written(Range<usize>, Style),
    /// The key is not given: it goes here, with this before the key and that behind the value.
    Absent {
        /// The byte before which it goes.
        at: usize,
        /// Its indentation.
        before: String,
        /// A line end, or a comma.
        after: String,
        /// Between key and value.
        colon: &'static str,
        /// How the keys beside it are written.
        keys: Style,
    },
}

/// Why there is none. The line counts from 1; 0: nowhere in particular.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{clause}")]
pub struct NoPlace {
    /// Where to look.
    pub line: u32,
    /// What stands in the way.
    pub clause: Cow<'static, str>,
}

/// The place of the value at the end of a path of keys, in a text without byte-order mark.
///
/// # Errors
/// See [`NoPlace`].
pub fn find(text: &str, path: &[&str]) -> Result<Place, NoPlace> {
    let parsed = parse(text, FileId(0));
    let root = parsed.root.as_ref().filter(|_| parsed.diagnostics.is_empty());
    let root = root.ok_or(NoPlace { line: 0, clause: "the file cannot be read as YAML".into() })?;
    let (last, parents) = path.split_last().ok_or(no_mapping(0))?;
    let (mut node, mut named) = (root, None);
    for key in parents {
        let entry = entries(node)?.iter().find(|entry| entry.key == *key);
        let entry =
            entry.ok_or_else(|| NoPlace { line: node.at.line, clause: format!("there is no `{key}`").into() })?;
        (node, named) = (&entry.value, Some(entry));
    }
    let entries = entries(node)?;
    match entries.iter().find(|entry| entry.key == *last) {
        Some(entry) => written(text, &entry.value),
        None => absent(text, node, named, entries),
    }
}

/// Of a mapping that stands where it is used.
fn entries<'n, 't>(node: &'n Node<'t>) -> Result<&'n [Entry<'t>], NoPlace> {
    if node.is_alias() {
        return Err(aliased(node));
    }
    match node.kind() {
        Kind::Mapping(entries) => Ok(entries),
        _ => Err(no_mapping(node.at.line)),
    }
}

fn no_mapping(line: u32) -> NoPlace {
    NoPlace { line, clause: "this is no mapping of keys and values".into() }
}

fn aliased(node: &Node<'_>) -> NoPlace {
    NoPlace { line: node.at.line, clause: "it is an alias of something that is written elsewhere".into() }
}

fn written(text: &str, node: &Node<'_>) -> Result<Place, NoPlace> {
    let line = node.at.line;
    if node.is_alias() {
        return Err(aliased(node));
    }
    let Some(raw) = node.scalar() else {
        return Err(NoPlace { line, clause: "it is not a single value".into() });
    };
    if raw.contains('$') {
        return Err(NoPlace { line, clause: format!("it is made from variables, `{raw}`").into() });
    }
    let bytes = spelled(text, node).ok_or(NoPlace { line, clause: "it is not spelled out on one line".into() })?;
    let style = style(text, &bytes);
    Ok(Place::Written(bytes, style))
}

/// The scalar's own bytes, without its anchor and tag, if its text stands there as it is.
fn spelled(text: &str, node: &Node<'_>) -> Option<Range<usize>> {
    let (node, raw) = (node.target(), node.scalar()?);
    let written = behind_properties(text.get(node.bytes.clone())?);
    let quoted = |quote| written.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    let is_it = written == raw || quoted('"') == Some(raw) || quoted('\'') == Some(raw);
    is_it.then(|| node.bytes.end - written.len()..node.bytes.end)
}

/// What follows an anchor and a tag.
fn behind_properties(text: &str) -> &str {
    let mut rest = text;
    while rest.starts_with(['&', '!']) {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        rest = rest.get(end..).unwrap_or_default().trim_start();
    }
    rest
}

fn style(text: &str, bytes: &Range<usize>) -> Style {
    match text.as_bytes().get(bytes.start) {
        Some(b'"') => Style::Double,
        Some(b'\'') => Style::Single,
        _ => Style::Plain,
    }
}

/// In front of the first of its neighbours: on a line of its own, or as an entry between braces.
fn absent(text: &str, node: &Node<'_>, named: Option<&Entry<'_>>, beside: &[Entry<'_>]) -> Result<Place, NoPlace> {
    let not_certain =
        || NoPlace { line: node.at.line, clause: "it is not given, and where it belongs is not certain".into() };
    let first = beside.first().ok_or_else(not_certain)?;
    let keys = style(text, &first.bytes);
    let colon = if is_tight(text, &first.bytes) { ":" } else { ": " };
    let begins = line_start(text, first.bytes.start);
    let indentation = text.get(begins..first.bytes.start).ok_or_else(not_certain)?;
    let own_line = indentation.bytes().all(|byte| byte == b' ');
    if is_flow(text, node) {
        let comma = if colon == ":" { "," } else { ", " };
        let break_before = text.get(..begins).map(line_end).filter(|_| own_line).unwrap_or_default();
        let after = if break_before.is_empty() { comma.to_owned() } else { format!(",{break_before}{indentation}") };
        return Ok(Place::Absent { at: first.bytes.start, before: String::new(), after, colon, keys });
    }
    // Right below the name of what it belongs to, so that a comment above its first key stays with that.
    let after_name = named.map_or(0, |entry| entry.bytes.end);
    let between = text.get(after_name..begins).filter(|_| own_line).ok_or_else(not_certain)?;
    let name_line = between.find(['\n', '\r']).ok_or_else(not_certain)?;
    let rest = between.get(name_line..).unwrap_or_default();
    let break_ = if rest.starts_with("\r\n") { "\r\n" } else { rest.get(..1).unwrap_or_default() };
    let at = after_name + name_line + break_.len();
    Ok(Place::Absent { at, before: indentation.to_owned(), after: break_.to_owned(), colon, keys })
}

fn is_flow(text: &str, node: &Node<'_>) -> bool {
    text.get(node.target().bytes.start..).is_some_and(|rest| behind_properties(rest).starts_with('{'))
}

/// Whether a value follows its key's colon without a space, as in compact JSON.
fn is_tight(text: &str, key: &Range<usize>) -> bool {
    let behind = text.get(key.end..).and_then(|rest| rest.strip_prefix(':'));
    behind.is_some_and(|rest| !rest.starts_with([' ', '\n', '\r', '\t']))
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind(['\n', '\r'])).map_or(0, |found| found + 1)
}

/// The line end at the end of a text.
fn line_end(text: &str) -> &str {
    let kept = text.strip_suffix("\r\n").or_else(|| text.strip_suffix(['\n', '\r'])).unwrap_or(text);
    text.get(kept.len()..).unwrap_or_default()
}

/// Whether two texts say the same, but for the value at the end of a path, which is `value` in the second.
pub fn differs_only_at(before: &str, after: &str, path: &[&str], value: &str) -> bool {
    let (before, after) = (parse(before, FileId(0)), parse(after, FileId(0)));
    let clean = before.diagnostics.is_empty() && after.diagnostics.is_empty();
    match (&before.root, &after.root) {
        (Some(before), Some(after)) => clean && differs_below(before, after, path, value),
        _ => false,
    }
}

fn differs_below(before: &Node<'_>, after: &Node<'_>, path: &[&str], value: &str) -> bool {
    let (Kind::Mapping(before), Kind::Mapping(after)) = (before.kind(), after.kind()) else { return false };
    let Some((key, rest)) = path.split_first() else { return false };
    let others = |entries: &'_ [Entry<'_>]| entries.iter().filter(|entry| entry.key != *key).count();
    let find = |entries: &[Entry<'_>]| entries.iter().position(|entry| entry.key == *key);
    let alike = others(before) == others(after)
        && before
            .iter()
            .filter(|entry| entry.key != *key)
            .zip(after.iter().filter(|entry| entry.key != *key))
            .all(|(old, new)| old.key == new.key && same(&old.value, &new.value));
    let changed = find(after).and_then(|place| after.get(place));
    let was = find(before).and_then(|place| before.get(place));
    alike
        && match (was, changed) {
            (_, Some(new)) if rest.is_empty() => new.value.scalar() == Some(value),
            (Some(old), Some(new)) => differs_below(&old.value, &new.value, rest, value),
            _ => false,
        }
}

/// Whether two nodes say the same, wherever they stand. Aliases are seen through: an anchor that an edit touches shows at each.
fn same(before: &Node<'_>, after: &Node<'_>) -> bool {
    match (before.kind(), after.kind()) {
        (Kind::Null, Kind::Null) => true,
        (Kind::Scalar(old), Kind::Scalar(new)) => old == new,
        (Kind::Sequence(old), Kind::Sequence(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same(old, new))
        }
        (Kind::Mapping(old), Kind::Mapping(new)) => {
            let alike = |(old, new): (&Entry<'_>, &Entry<'_>)| old.key == new.key && same(&old.value, &new.value);
            old.len() == new.len() && old.iter().zip(new).all(alike)
        }
        _ => false,
    }
}
