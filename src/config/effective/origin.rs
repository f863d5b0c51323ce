//! Which of the values were written, and where: the effective tree and those of the files, side by side.

use crate::config::Sources;
use crate::config::parse;
use crate::config::tree::{self, Kind};
use crate::diagnostic::{FileId, Pos};

use super::{Node, Origin, Value};

/// Notes at each node where it stands in the texts.
pub(super) fn find(root: &mut Node, sources: &Sources) {
    let parsed = sources.files.iter().zip(0u16..).map(|(file, id)| parse::parse(&file.text, FileId(id)));
    let parsed: Vec<_> = parsed.collect();
    let roots: Vec<&tree::Node<'_>> = parsed.iter().filter_map(|parsed| parsed.root.as_ref()).collect();
    visit(root, &roots, sources);
}

/// `written`: the nodes of that key, of every file that has it.
fn visit(node: &mut Node, written: &[&tree::Node<'_>], sources: &Sources) {
    let Some(first) = written.first() else { return };
    node.origin = place(first.at, sources);
    match &mut node.value {
        Value::Map(entries) => {
            for (key, node) in entries {
                let below: Vec<_> = written.iter().filter_map(|written| value_of(written, key)).collect();
                visit(node, &below, sources);
            }
        }
        Value::List(nodes) => elements(nodes, written, sources),
        Value::Text(_) | Value::Whole(_) | Value::Fraction(_) | Value::Flag(_) | Value::Secret => {}
    }
}

/// Lists keep their order, and those of several files follow each other. What was left out of one (a repeated word) leaves the
/// others without a place of their own.
fn elements(nodes: &mut [Node], written: &[&tree::Node<'_>], sources: &Sources) {
    let lists = written.iter().map(|list| match list.kind() {
        Kind::Sequence(elements) => elements.as_slice(),
        // One that was written without the list around it.
        _ => std::slice::from_ref(*list),
    });
    let elements: Vec<&tree::Node<'_>> = lists.flatten().collect();
    if elements.len() == nodes.len() {
        nodes.iter_mut().zip(elements).for_each(|(node, element)| visit(node, &[element], sources));
    } else {
        nodes.iter_mut().for_each(|node| visit(node, written.get(..1).unwrap_or_default(), sources));
    }
}

/// Header names are written in any case.
fn value_of<'n, 't>(node: &'n tree::Node<'t>, key: &str) -> Option<&'n tree::Node<'t>> {
    let Kind::Mapping(entries) = node.kind() else { return None };
    let exactly = entries.iter().find(|entry| entry.key == key);
    let found = exactly.or_else(|| entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(key)));
    found.map(|entry| &entry.value)
}

fn place(at: Pos, sources: &Sources) -> Option<Origin> {
    let file = sources.files.get(usize::from(at.file.0))?.path.display().to_string();
    Some(Origin { file, line: at.line, column: at.column })
}
