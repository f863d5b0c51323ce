//! Errors of YAML syntax in words that help: the library's clause, and a guess at what was meant.

use saphyr_parser::ScanError;

use super::tree::narrow;
use crate::diagnostic::{Diagnostic, FileId, Pos};

/// The diagnostic for an error of the YAML library.
pub fn explain(text: &str, file: FileId, error: &ScanError) -> Diagnostic {
    let mark = error.marker();
    let at = Pos { file, line: narrow(mark.line()), column: narrow(mark.col() + 1), len: 1 };
    if error.info().contains("recursion limit") {
        return Diagnostic::error("yaml_depth", at, "nested too deeply");
    }
    let line = text.lines().nth(mark.line().saturating_sub(1)).unwrap_or_default();
    let (message, hint) = words(error.info(), line, mark.col());
    Diagnostic::error("yaml_syntax", at, message).hint(hint)
}

/// The first control character, which YAML forbids, and which could play tricks on a terminal.
pub fn forbidden_character(text: &str, file: FileId) -> Option<Diagnostic> {
    let forbidden = |b: u8| (b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r')) || b == 0x7f;
    let byte = text.bytes().position(forbidden)?;
    let before = text.get(..byte)?;
    let line = before.replace("\r\n", "\n").matches(['\n', '\r']).count() + 1;
    let column = before.rsplit(['\n', '\r']).next()?.chars().count() + 1;
    let at = Pos { file, line: narrow(line), column: narrow(column), len: 1 };
    let hint = "remove it, or write it as an escape in double quotes, such as \"\\x01\"";
    Some(Diagnostic::error("yaml_syntax", at, "a control character, which YAML does not allow").hint(hint))
}

/// Message and hint.
fn words(info: &str, line: &str, column: usize) -> (String, &'static str) {
    let indentation: &str = line.get(..line.len() - line.trim_start().len()).unwrap_or_default();
    if info.contains("tab") || indentation.contains('\t') {
        return ("a tab in the indentation".into(), "YAML indents with spaces only; replace the tab by spaces");
    }
    if info.contains("unknown anchor") {
        return (
            "an alias without an anchor of that name before it".into(),
            "a value that begins with `*` needs quotes, such as \"*.example.com\"",
        );
    }
    if let Some(quoted) = unclosed_quote(info) {
        return quoted;
    }
    if info.contains("unexpected character") {
        let sign = line.chars().nth(column).unwrap_or(' ');
        return (format!("a value cannot begin with {}", super::value::shown(&sign.to_string())), "put it into quotes");
    }
    if unquoted_variable(line, column) {
        return (
            "a variable inside of { } or [ ] without quotes".into(),
            "put it into quotes: \"${VAR}\"; its braces otherwise belong to YAML",
        );
    }
    collection(info)
}

fn unclosed_quote(info: &str) -> Option<(String, &'static str)> {
    if info.contains("unknown escape") || info.contains("hexadecimal") || info.contains("escape code") {
        return Some((
            "an escape that YAML does not know in a double-quoted value".into(),
            "use single quotes, in which a backslash is only itself, or double the backslash",
        ));
    }
    if !info.contains("quoted scalar") {
        return None;
    }
    let message = if info.contains("trailing content") {
        "something follows the closing quote"
    } else {
        "a quote that is never closed, or a quoted value that continues without indentation"
    };
    Some((message.into(), "a value has one opening and one closing quote; a quote inside is doubled ('') or \\\""))
}

/// `{ a: ${X} }` reads as `$` followed by a mapping; the error stands at the brace.
fn unquoted_variable(line: &str, column: usize) -> bool {
    let before: String = line.chars().take(column).collect();
    before.ends_with('$') && line.chars().nth(column) == Some('{')
}

fn collection(info: &str) -> (String, &'static str) {
    if info.contains("mapping values are not allowed") {
        let hint = "quote a value that contains `: `; otherwise check the indentation of this line and the one before";
        return ("a `:` where no key can be".into(), hint);
    }
    if info.contains("flow mapping")
        || info.contains("flow sequence")
        || info.contains("flow construct")
        || info.contains("illegal placement")
    {
        return (
            "a list [ ] or mapping { } that is not closed, or a `,` that is missing".into(),
            "check the brackets, here and on the lines before",
        );
    }
    if info.contains("block collection") || info.contains("block mapping") || info.contains("indentation") {
        let hint = "entries of one mapping or list begin in the same column; check this line and the ones before";
        return ("this line does not fit the indentation of what is around it".into(), hint);
    }
    if info.contains("node content") {
        return ("a value is missing here".into(), "check commas, brackets and quotes, here and on the lines before");
    }
    (super::value::printable(info), "")
}
