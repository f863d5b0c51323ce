//! One scalar of a file replaced, or one line inserted, and every other byte left as it is.
//!
//! Where the scalar stands is known from the parser that reads configurations; what comes out is parsed again, and must
//! say the same as before but for that one value (`an_edit_changes_only_the_bytes_of_its_scalar`). What is not certain is refused.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::config::place::{self, NoPlace, Place, Style};

/// A byte-order mark, which stands before the text.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The bytes of a file in which the value at the end of `path` is `value`, a word of letters, digits and hyphens.
///
/// # Errors
/// It cannot be written without touching more.
pub fn set(bytes: &[u8], path: &[&str], value: &str) -> Result<Vec<u8>, NoPlace> {
    let (mark, rest) = match bytes.strip_prefix(MARK) {
        Some(rest) => (MARK, rest),
        None => (&[][..], bytes),
    };
    let text = std::str::from_utf8(rest).map_err(|_| refuse("the file is not UTF-8"))?;
    let key = path.last().copied().unwrap_or_default();
    let (from, to, new) = match place::find(text, path)? {
        Place::Written(range, style) => (range.start, range.end, written(value, style).into_owned()),
        Place::Absent { at, before, after, colon, keys } => {
            let (key, value) = (written(key, keys), written(value, keys));
            (at, at, format!("{before}{key}{colon}{value}{after}"))
        }
    };
    let (head, tail) = (text.get(..from).unwrap_or_default(), text.get(to..).unwrap_or_default());
    let edited = [head, &new, tail].concat();
    if !place::differs_only_at(text, &edited, path, value) {
        return Err(refuse("other values of the file depend on how it is written"));
    }
    Ok([mark, edited.as_bytes()].concat())
}

fn refuse(clause: &'static str) -> NoPlace {
    NoPlace { line: 0, clause: clause.into() }
}

/// A word in a style; quoted where it would be something else without.
fn written(word: &str, style: Style) -> Cow<'_, str> {
    match style {
        Style::Plain if is_plain(word) => Cow::Borrowed(word),
        Style::Plain | Style::Double => Cow::Owned(format!("\"{word}\"")),
        Style::Single => Cow::Owned(format!("'{word}'")),
    }
}

/// Whether every reader of YAML takes it for text.
fn is_plain(word: &str) -> bool {
    const OTHER: &[&str] = &["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    word.starts_with(|first: char| first.is_ascii_lowercase()) && !OTHER.contains(&word)
}
