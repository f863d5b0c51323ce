//! Which bytes of a text are secret, so that no excerpt shows them.
//!
//! Three nets, each catching what the one before cannot: the decoder of a secret key masks what it decodes
//! ([`parts`]); in a file with problems everything below a key whose name sounds like a secret is masked
//! ([`ByName`]), also where no decoder came; and a text that is no YAML is masked by its lines ([`broken_text`]).

use std::collections::HashMap;
use std::ops::Range;

use super::interpolate;
use super::tree::{Entry, Kind, Node};
use super::value::nearest;

/// The secret bytes of a scalar below a secret key: all of a literal, the literal parts of a value with variables,
/// nothing of a reference.
pub fn parts(text: &str, node: &Node<'_>) -> Vec<Range<usize>> {
    let node = node.target();
    let Some(raw) = node.scalar() else { return Vec::new() };
    if is_reference(raw) {
        return Vec::new();
    }
    if interpolate::is_plain(raw) {
        return vec![node.bytes.clone()];
    }
    let (Some(skipped), Ok(pieces)) = (node.spelled_after(text), interpolate::parse(raw)) else {
        return vec![node.bytes.clone()];
    };
    let mut found = Vec::new();
    interpolate::literals(&pieces, &mut found);
    interpolate::bare_variables(raw, &pieces, &mut found);
    let start = node.bytes.start + skipped;
    found.into_iter().map(|range| start + range.start..start + range.end).collect()
}

/// Whether the text says where the secret is, instead of being it.
pub fn is_reference(raw: &str) -> bool {
    raw.starts_with("file:") || raw.starts_with("credential:")
}

/// Masks what stands below keys that sound like secrets, wherever they are.
pub struct ByName<'a> {
    text: &'a str,
    /// What is masked so far.
    pub masked: Vec<Range<usize>>,
    names: Names,
}

impl<'a> ByName<'a> {
    /// Nothing is masked yet.
    pub fn new(text: &'a str) -> Self {
        Self { text, masked: Vec::new(), names: Names::default() }
    }

    /// Looks through a value.
    pub fn node(&mut self, node: &Node<'_>) {
        match node.kind() {
            Kind::Sequence(nodes) => nodes.iter().for_each(|node| self.node(node)),
            Kind::Mapping(entries) => entries.iter().for_each(|entry| self.entry(entry)),
            Kind::Null | Kind::Scalar(_) | Kind::Shared(_) => {}
        }
    }

    /// Looks at a key and through its value.
    pub fn entry(&mut self, entry: &Entry<'_>) {
        if self.names.sound_secret(&entry.key) {
            everything(self.text, &entry.value, &mut self.masked);
        } else {
            self.node(&entry.value);
        }
    }
}

/// What is known of keys: they come again and again, and comparing each with words is the expensive part.
#[derive(Default)]
struct Names(HashMap<String, bool>);

impl Names {
    fn sound_secret(&mut self, key: &str) -> bool {
        if let Some(known) = self.0.get(key) {
            return *known;
        }
        let sounds = sounds_secret(key);
        self.0.insert(key.to_owned(), sounds);
        sounds
    }
}

/// Masks every scalar of a value that should have been a secret.
pub fn everything(text: &str, node: &Node<'_>, masked: &mut Vec<Range<usize>>) {
    match node.kind() {
        Kind::Sequence(nodes) => nodes.iter().for_each(|node| everything(text, node, masked)),
        Kind::Mapping(entries) => entries.iter().for_each(|entry| everything(text, &entry.value, masked)),
        Kind::Null | Kind::Scalar(_) | Kind::Shared(_) => masked.extend(parts(text, node)),
    }
}

/// Whether a key, or what it was probably meant to be, holds a secret.
pub fn sounds_secret(key: &str) -> bool {
    const HARMLESS: &[&str] = &[
        "token_sha256",
        "tokens",
        "tokens_dir",
        "token_url",
        "authorization_url",
        "device_authorization_url",
        "client_cert",
        "client_key",
        "client_id",
        "secure",
    ];
    const SECRET: &[&str] =
        &["token", "payload", "secret", "client_secret", "cookie_secret", "password", "encryption_key"];
    const PARTS: &[&str] = &["secret", "token", "passw", "api_key", "apikey", "authorization", "private", "payload"];
    let name = key.to_lowercase().replace('-', "_");
    if HARMLESS.contains(&name.as_str()) {
        return false;
    }
    PARTS.iter().any(|part| name.contains(part)) || nearest(&name, SECRET).is_some()
}

/// The same for a text that cannot be parsed: from the colon of such a key to the end of what may belong to it.
pub fn broken_text(text: &str) -> Vec<Range<usize>> {
    let mut masked = Vec::new();
    let mut names = Names::default();
    let mut at = 0;
    let mut open: Option<Open> = None;
    for line in text.split_inclusive('\n') {
        open.take_if(|value| !value.holds(line));
        let from = match (&mut open, secret_value(&mut names, line)) {
            (Some(value), _) => {
                value.read(line);
                Some(0)
            }
            (None, Some(from)) => {
                open = Some(Open::new(line, from));
                Some(from)
            }
            (None, None) => None,
        };
        if let Some(from) = from {
            masked.push(at + from..at + line.trim_end().len().max(from));
        }
        at += line.len();
    }
    masked
}

/// A secret value that may go on over several lines of a broken text.
struct Open {
    indentation: usize,
    /// The quote that is still open.
    quote: Option<char>,
}

impl Open {
    fn new(line: &str, from: usize) -> Self {
        let mut value = Self { indentation: indentation(line), quote: None };
        value.read(line.get(from..).unwrap_or_default());
        value
    }

    fn holds(&self, line: &str) -> bool {
        self.quote.is_some() || line.trim().is_empty() || indentation(line) > self.indentation
    }

    fn read(&mut self, text: &str) {
        for c in text.chars() {
            match self.quote {
                Some(quote) if quote == c => self.quote = None,
                None if matches!(c, '"' | '\'') => self.quote = Some(c),
                _ => {}
            }
        }
    }
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t', '-']).len()
}

/// Where, in a line, the value of its first secret key begins.
fn secret_value(names: &mut Names, line: &str) -> Option<usize> {
    let colons = line.match_indices([':', '=']).map(|(at, _)| at);
    let mut keys = colons.filter(|at| {
        let before = line.get(..*at).unwrap_or_default().trim_end_matches(['"', '\'', ' ']);
        let key = before.rsplit(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').next().unwrap_or_default();
        !key.is_empty() && names.sound_secret(key)
    });
    keys.next().map(|at| at + 1)
}

/// Sorted, without overlaps and empty ranges.
pub fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::diagnostic::FileId;

    fn shown(text: &str) -> String {
        let parsed = parse::parse(text, FileId(0));
        let masked = match &parsed.root {
            Some(root) => {
                let mut names = ByName::new(text);
                names.node(root);
                names.masked
            }
            None => broken_text(text),
        };
        let mut out = text.to_owned();
        for range in merged(masked).into_iter().rev() {
            out.replace_range(range, "***");
        }
        out
    }

    #[test]
    fn literals_and_defaults_go_and_references_stay() {
        for (text, expected) in [
            ("token: abc\n", "token: ***\n"),
            ("token: \"abc\"\n", "token: ***\n"),
            ("token: ${A}\n", "token: ${A}\n"),
            ("token: ${A:-abc}\n", "token: ${A:-***}\n"),
            ("token: \"x${A:-abc}y\"\n", "token: \"***${A:-***}***\"\n"),
            ("token: pa$word\n", "token: ***\n"),
            ("token: file:secrets/a\n", "token: file:secrets/a\n"),
            ("token: &x abc\nother: *x\n", "token: ***\nother: *x\n"),
            ("tokne: abc\nuser: x\n", "tokne: ***\nuser: x\n"),
            ("payload: { x-a: abc, x-b: [d] }\n", "payload: { x-a: ***, x-b: [***] }\n"),
            ("token_sha256: abc\n", "token_sha256: abc\n"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn a_broken_text_hides_everything_that_may_belong_to_a_secret() {
        let text = "a: { token: \"abc, b: 1\n  c\nd: e\" }\nf: [\n";
        assert_eq!(shown(text), "a: { token:***\n***\n***\nf: [\n");
        let text = "payload:\n  x-a: abc\n  x-b: |\n    def\nother: [\n";
        assert_eq!(shown(text), "payload:\n***\n***\n***\nother: [\n");
    }
}
