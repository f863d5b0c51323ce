//! [`Data`] as YAML: block style, two spaces, quotes where another reader could take a text for something else. The same data
//! is always the same text.

use std::fmt::Write as _;

use super::{Data, is_plain};

/// A whole document.
pub fn document(data: &Data) -> String {
    let mut text = String::new();
    if block(data) {
        value(data, 0, Start::Line, &mut text);
    } else {
        text.push_str(&inline(data));
        text.push('\n');
    }
    text
}

/// Where a collection begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// On a line of its own.
    Line,
    /// Behind the hyphen of a list.
    Hyphen,
}

/// Whether it is written in lines of its own.
fn block(data: &Data) -> bool {
    matches!(data, Data::List(_) | Data::Map(_)) && !data.is_empty()
}

fn inline(data: &Data) -> String {
    match data {
        Data::Null => "null".to_owned(),
        Data::Plain(text) if is_plain(text) => text.clone(),
        Data::Plain(text) | Data::Text(text) => scalar(text),
        Data::List(_) => "[]".to_owned(),
        Data::Map(_) => "{}".to_owned(),
    }
}

fn value(data: &Data, depth: usize, start: Start, text: &mut String) {
    let mut start = start;
    for item in data.items() {
        indent(&mut start, depth, text);
        text.push('-');
        nested(item, depth + 1, Start::Hyphen, text);
    }
    for (key, item) in data.entries() {
        indent(&mut start, depth, text);
        text.push_str(&scalar(key));
        text.push(':');
        nested(item, depth + 1, Start::Line, text);
    }
}

fn indent(start: &mut Start, depth: usize, text: &mut String) {
    if *start == Start::Line {
        text.extend(std::iter::repeat_n("  ", depth));
    }
    *start = Start::Line;
}

fn nested(data: &Data, depth: usize, start: Start, text: &mut String) {
    if !block(data) {
        text.push(' ');
        text.push_str(&inline(data));
        text.push('\n');
        return;
    }
    text.push(if start == Start::Hyphen { ' ' } else { '\n' });
    value(data, depth, start, text);
}

/// A text, quoted unless it can only be that text.
fn scalar(text: &str) -> String {
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '_');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.' | '@' | '%' | '+');
    let means_more = text.starts_with(|c: char| c.is_ascii_digit())
        || ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if begins && text.chars().all(plain) && !means_more { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' ' => out.push(c),
            _ if c.is_ascii_graphic() || (!c.is_ascii() && c.is_alphanumeric()) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // Writing to a String cannot fail.
            _ if c <= '\u{ffff}' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            _ => drop(write!(out, "\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}
