//! Variables in values, by the rules of Docker Compose: `${VAR}`, `$VAR`, `${VAR:-default}`, `${VAR-default}`,
//! `${VAR:?message}`, `${VAR?message}`, `${VAR:+instead}`, `${VAR+instead}`, nested in each other, and `$$` for `$`.
//!
//! Works on the text of one scalar, after YAML: what a variable holds can never become structure.
//! Flow: [`parse`] to pieces (errors of spelling), then [`evaluate`] (errors of unset variables). Only the branch that
//! is used is evaluated, as in a shell.

use std::borrow::Cow;
use std::ops::Range;

/// How deep defaults may nest.
const MAX_NESTING: usize = 16;
/// The longest text that one value may become.
const MAX_LENGTH: usize = 1 << 20;

/// One part of a value. Ranges are byte offsets into the scalar's text.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text that stands for itself.
    Literal(Range<usize>),
    /// `$$`.
    Dollar,
    /// A variable.
    Variable {
        /// Its name.
        name: Range<usize>,
        /// The whole `${…}`.
        whole: Range<usize>,
        /// What follows the name.
        otherwise: Otherwise,
    },
}

/// What to do about a variable that is not there, or is.
#[derive(Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// `${VAR}`: an error.
    Nothing,
    /// `-`: this instead.
    Default(Unset, Vec<Piece>),
    /// `+`: this if it is there.
    Instead(Unset, Vec<Piece>),
    /// `?`: an error with these words.
    Message(Unset, Range<usize>),
}

/// What counts as not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    /// Without colon: not set.
    Absent,
    /// With colon: not set, or empty.
    Empty,
}

/// Something wrong in a value, at a byte range of its text.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// `invalid_variable`, `unset_variable` or `value_too_long`.
    pub code: &'static str,
    /// Where in the text.
    pub range: Range<usize>,
    /// What.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// A value with its variables filled in.
#[derive(Debug, PartialEq, Eq)]
pub struct Filled {
    /// The text.
    pub text: String,
    /// Whether a variable's content is part of it.
    pub from_variable: bool,
}

/// Whether there is anything to fill in.
pub fn is_plain(text: &str) -> bool {
    !text.contains('$')
}

/// The pieces of a value.
///
/// # Errors
/// The first `$` that begins nothing known.
pub fn parse(text: &str) -> Result<Vec<Piece>, Fault> {
    let mut reader = Reader { text, at: 0 };
    reader.pieces(0)
}

/// Fills the variables in.
///
/// # Errors
/// The first variable that is needed and not there.
pub fn evaluate(text: &str, pieces: &[Piece], lookup: &mut dyn FnMut(&str) -> Option<String>) -> Result<Filled, Fault> {
    let mut filled = Filled { text: String::new(), from_variable: false };
    fill(text, pieces, lookup, &mut filled)?;
    Ok(filled)
}

/// The ranges whose text stands in the file itself: literals and defaults, but not names and messages.
pub fn literals(pieces: &[Piece], found: &mut Vec<Range<usize>>) {
    for piece in pieces {
        match piece {
            Piece::Literal(range) => found.push(range.clone()),
            Piece::Variable { otherwise: Otherwise::Default(_, inner) | Otherwise::Instead(_, inner), .. } => {
                literals(inner, found);
            }
            Piece::Dollar | Piece::Variable { .. } => {}
        }
    }
}

/// The ranges of variables without braces: in a secret, a `$` is more likely a part of it.
pub fn bare_variables(text: &str, pieces: &[Piece], found: &mut Vec<Range<usize>>) {
    for piece in pieces {
        let Piece::Variable { whole, otherwise, .. } = piece else { continue };
        if is_bare(text, whole) {
            found.push(whole.clone());
        }
        if let Otherwise::Default(_, inner) | Otherwise::Instead(_, inner) = otherwise {
            bare_variables(text, inner, found);
        }
    }
}

/// Whether a range holds a `$` without braces.
pub fn is_bare(text: &str, range: &Range<usize>) -> bool {
    !part(text, range).starts_with("${")
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Pieces up to the end, or, inside of braces, up to the closing one (which is left).
    fn pieces(&mut self, depth: usize) -> Result<Vec<Piece>, Fault> {
        let mut pieces = Vec::new();
        loop {
            let rest = self.rest();
            let stop = rest.find(|c| c == '$' || (depth > 0 && c == '}')).unwrap_or(rest.len());
            if stop > 0 {
                pieces.push(Piece::Literal(self.at..self.at + stop));
                self.at += stop;
            }
            if !self.rest().starts_with('$') {
                return Ok(pieces);
            }
            pieces.push(self.dollar(depth)?);
        }
    }

    fn dollar(&mut self, depth: usize) -> Result<Piece, Fault> {
        let start = self.at;
        self.at += 1;
        let rest = self.rest();
        if rest.starts_with('$') {
            self.at += 1;
            return Ok(Piece::Dollar);
        }
        if rest.starts_with('{') {
            self.at += 1;
            return self.braced(start, depth);
        }
        let name = self.name();
        if name.is_empty() {
            return Err(misspelled(start..start + 1, "a `$` that begins no variable"));
        }
        Ok(Piece::Variable { name, whole: start..self.at, otherwise: Otherwise::Nothing })
    }

    fn braced(&mut self, start: usize, depth: usize) -> Result<Piece, Fault> {
        if depth >= MAX_NESTING {
            return Err(misspelled(start..self.at, "variables nested too deeply"));
        }
        let name = self.name();
        if name.is_empty() {
            return Err(misspelled(start..self.at, "a variable without a name"));
        }
        let otherwise = self.otherwise(start, depth)?;
        if !self.rest().starts_with('}') {
            return Err(misspelled(start..self.at, "a `${` that is never closed"));
        }
        self.at += 1;
        Ok(Piece::Variable { name, whole: start..self.at, otherwise })
    }

    fn otherwise(&mut self, start: usize, depth: usize) -> Result<Otherwise, Fault> {
        let mut rest = self.rest().chars();
        let (unset, operator, width) = match rest.next() {
            Some(':') => (Unset::Empty, rest.next(), 2),
            first => (Unset::Absent, first, 1),
        };
        match operator {
            Some('}') if width == 1 => return Ok(Otherwise::Nothing),
            None if width == 1 => return Ok(Otherwise::Nothing),
            Some('-' | '+' | '?') => self.at += width,
            _ => return Err(misspelled(start..self.at, "a variable followed by a sign that means nothing")),
        }
        let from = self.at;
        let word = self.pieces(depth + 1)?;
        Ok(match operator {
            Some('-') => Otherwise::Default(unset, word),
            Some('+') => Otherwise::Instead(unset, word),
            _ => Otherwise::Message(unset, from..self.at),
        })
    }

    fn name(&mut self) -> Range<usize> {
        let rest = self.rest();
        let first = rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let start = self.at;
        self.at += if first { word } else { 0 };
        start..self.at
    }
}

fn misspelled(range: Range<usize>, message: &str) -> Fault {
    Fault {
        code: "invalid_variable",
        range,
        message: message.into(),
        hint: "write ${NAME}, ${NAME:-default} or ${NAME:?message}; for a plain dollar sign write `$$`".into(),
    }
}

fn fill(
    text: &str,
    pieces: &[Piece],
    lookup: &mut dyn FnMut(&str) -> Option<String>,
    filled: &mut Filled,
) -> Result<(), Fault> {
    for piece in pieces {
        match piece {
            Piece::Literal(range) => filled.text.push_str(part(text, range)),
            Piece::Dollar => filled.text.push('$'),
            Piece::Variable { name, whole, otherwise } => {
                let value = lookup(part(text, name));
                variable(text, (name, whole), otherwise, value, lookup, filled)?;
            }
        }
        if filled.text.len() > MAX_LENGTH {
            return Err(Fault {
                code: "value_too_long",
                range: 0..text.len(),
                message: "a value of more than 1 MiB".into(),
                hint: String::new(),
            });
        }
    }
    Ok(())
}

fn variable(
    text: &str,
    (name, whole): (&Range<usize>, &Range<usize>),
    otherwise: &Otherwise,
    value: Option<String>,
    lookup: &mut dyn FnMut(&str) -> Option<String>,
    filled: &mut Filled,
) -> Result<(), Fault> {
    let present = |unset: &Unset| match unset {
        Unset::Absent => value.is_some(),
        Unset::Empty => value.as_ref().is_some_and(|value| !value.is_empty()),
    };
    match otherwise {
        Otherwise::Default(unset, word) if !present(unset) => return fill(text, word, lookup, filled),
        Otherwise::Instead(unset, word) if present(unset) => return fill(text, word, lookup, filled),
        Otherwise::Instead(..) => return Ok(()),
        Otherwise::Message(unset, message) if !present(unset) => {
            let state = if value.is_some() { "empty" } else { "not set" };
            return Err(missing(part(text, name), state, whole, part(text, message)));
        }
        Otherwise::Nothing if value.is_none() => return Err(missing(part(text, name), "not set", whole, "")),
        _ => {}
    }
    filled.text.push_str(&value.unwrap_or_default());
    filled.from_variable = true;
    Ok(())
}

fn missing(name: &str, state: &str, whole: &Range<usize>, message: &str) -> Fault {
    let message = match Cow::from(message.trim()) {
        empty if empty.is_empty() => format!("the variable `{name}` is {state}"),
        words => format!("the variable `{name}` is {state}: {}", super::value::printable(&words)),
    };
    Fault {
        code: "unset_variable",
        range: whole.clone(),
        message,
        hint: format!("set `{name}` in the environment, or give a default: ${{{name}:-default}}"),
    }
}

fn part<'t>(text: &'t str, range: &Range<usize>) -> &'t str {
    text.get(range.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<Filled, Fault> {
        let mut lookup = |name: &str| match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${SET} $$ }".to_owned()),
            _ => None,
        };
        evaluate(text, &parse(text)?, &mut lookup)
    }

    #[test]
    fn every_form_of_compose() {
        for (text, expected) in [
            ("plain", "plain"),
            ("$$SET $${SET}", "$SET ${SET}"),
            ("a${SET}b$SET", "avaluebvalue"),
            ("$SET-x", "value-x"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${NONE-d}", "d"),
            ("${NONE:-}", ""),
            ("${SET:?no}", "value"),
            ("${EMPTY?no}", ""),
            ("${SET:+alt}", "alt"),
            ("${EMPTY:+alt}", ""),
            ("${EMPTY+alt}", "alt"),
            ("${NONE+alt}", ""),
            ("${NONE:-${OTHER:-deep $$}}!", "deep $!"),
            ("${SET:-${NONE}}", "value"),
            ("${NONE:-http://x/y:z}", "http://x/y:z"),
            ("${TRICKY}", "${SET} $$ }"),
        ] {
            assert_eq!(filled(text).map(|filled| filled.text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_placed() {
        for (text, code, range) in [
            ("ab ${NONE} c", "unset_variable", 3..10),
            ("$NONE", "unset_variable", 0..5),
            ("${EMPTY:?say}", "unset_variable", 0..13),
            ("x${SET:-${NONE}", "invalid_variable", 1..15),
            ("${EMPTY:-${NONE}}", "unset_variable", 9..16),
            ("a $", "invalid_variable", 2..3),
            ("$1", "invalid_variable", 0..1),
            ("${}", "invalid_variable", 0..2),
            ("${1}", "invalid_variable", 0..2),
            ("${SET", "invalid_variable", 0..5),
        ] {
            let fault = filled(text).expect_err(text);
            assert_eq!((fault.code, fault.range), (code, range), "{text}");
        }
        for text in ["${SET!x}", "${SET:x}", "${SET:", "${SET:}", "${A é}"] {
            assert_eq!(filled(text).expect_err(text).code, "invalid_variable", "{text}");
        }
    }

    #[test]
    fn the_message_of_a_required_variable_is_shown() {
        let fault = filled("${NONE:?set NONE to the key}").expect_err("unset");
        assert_eq!(fault.message, "the variable `NONE` is not set: set NONE to the key");
    }

    #[test]
    fn a_default_is_no_variable() {
        assert!(!filled("${NONE:-d}").unwrap().from_variable);
        assert!(!filled("${SET:+d}").unwrap().from_variable);
        assert!(filled("x${SET}").unwrap().from_variable);
        let mut found = Vec::new();
        literals(&parse("a${B:-c${D:?e}}f").unwrap(), &mut found);
        assert_eq!(found, [0..1, 6..7, 15..16]);
    }

    #[test]
    fn nesting_is_bounded() {
        let text = format!("{}x{}", "${A:-".repeat(1000), "}".repeat(1000));
        assert_eq!(filled(&text).expect_err("deep").code, "invalid_variable");
    }
}
