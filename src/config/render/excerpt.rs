//! One line of a file as it may be shown: secrets as `***`, a long line shortened around the caret.

use std::ops::Range;

use crate::config::Sources;
use crate::diagnostic::Pos;

/// How many characters of a long line are shown before the caret, and how many after its beginning.
const BEFORE: usize = 60;
const AFTER: usize = 100;

/// A line and where the caret goes in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, masked.
    pub text: String,
    /// Bytes of `text` to underline.
    pub caret: Range<usize>,
}

impl Excerpt {
    /// The column of the caret in the text that is shown.
    pub fn column(&self) -> usize {
        self.text.get(..self.caret.start).map_or(0, |before| before.chars().count()) + 1
    }
}

/// Where each line of each file is, found once for all diagnostics.
pub struct Lines<'s> {
    sources: &'s Sources,
    /// By file: the bytes of each line, without its end.
    lines: Vec<Vec<Range<usize>>>,
    /// By file: whether a character is a byte, so that columns need no counting.
    ascii: Vec<bool>,
}

impl<'s> Lines<'s> {
    /// Finds the lines.
    pub fn new(sources: &'s Sources) -> Self {
        let lines = sources.files.iter().map(|source| lines(&source.text)).collect();
        let ascii = sources.files.iter().map(|source| source.text.is_ascii()).collect();
        Self { sources, lines, ascii }
    }

    /// The line of a place; `None` when there is no such line.
    pub fn excerpt(&self, at: Pos) -> Option<Excerpt> {
        let file = usize::from(at.file.0);
        let source = self.sources.files.get(file)?;
        let number = usize::try_from(at.line).ok()?.checked_sub(1)?;
        let line = self.lines.get(file)?.get(number)?.clone();
        let text = source.text.get(line.clone())?;
        let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
        let ascii = self.ascii.get(file).copied().unwrap_or_default();
        let start = if ascii { column.min(text.len()) } else { byte_of(text, 0, column) };
        let end = byte_of(text, start, usize::try_from(at.len).ok()?.max(1));
        let window = window(text, start);
        let shown = line.start + window.start..line.start + window.end;
        let masks = masks_within(&source.masked, &shown, line.start);
        Some(masked(text, &masks, start..end, window))
    }
}

fn lines(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        if !matches!(byte, b'\n' | b'\r') {
            continue;
        }
        found.push(start..at);
        let pair = byte == b'\r' && bytes.next_if(|(_, next)| *next == b'\n').is_some();
        start = at + 1 + usize::from(pair);
    }
    found.push(start..text.len());
    found
}

/// The byte that lies `count` characters behind byte `from`.
fn byte_of(text: &str, from: usize, count: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    rest.char_indices().nth(count).map_or(text.len(), |(at, _)| from + at)
}

/// The bytes of a line that are shown: all of a short one.
fn window(text: &str, caret: usize) -> Range<usize> {
    let before = text.get(..caret).unwrap_or_default();
    let start = before.char_indices().rev().nth(BEFORE).map_or(0, |(at, _)| at);
    let end = byte_of(text, caret, AFTER);
    if start == 0 && text.len() <= BEFORE + AFTER { 0..text.len() } else { start..end }
}

/// The masked parts of what is shown, counted from `line`. `masked` is sorted and without overlaps.
fn masks_within(masked: &[Range<usize>], shown: &Range<usize>, line: usize) -> Vec<Range<usize>> {
    let first = masked.partition_point(|range| range.end <= shown.start);
    let rest = masked.get(first..).unwrap_or_default();
    rest.iter()
        .take_while(|range| range.start < shown.end)
        .map(|range| range.start.max(shown.start) - line..range.end.min(shown.end) - line)
        .collect()
}

/// The window of a line with its masks as `***`; a caret inside of a mask underlines the mask.
fn masked(text: &str, masks: &[Range<usize>], caret: Range<usize>, window: Range<usize>) -> Excerpt {
    let mut out = Shortened { text: String::new(), caret: None, end: 0 };
    if window.start > 0 {
        out.text.push('…');
    }
    let mut at = window.start;
    for mask in masks.iter().filter(|mask| mask.end > window.start && mask.start < window.end) {
        out.copy(text, at..mask.start.max(at), &caret);
        out.mask(mask, &caret);
        at = mask.end.max(at);
    }
    out.copy(text, at..window.end.max(at), &caret);
    if window.end < text.len() {
        out.text.push('…');
    }
    let start = out.caret.unwrap_or(out.text.len());
    Excerpt { caret: start..out.end.max(start), text: out.text }
}

struct Shortened {
    text: String,
    caret: Option<usize>,
    end: usize,
}

impl Shortened {
    fn copy(&mut self, text: &str, range: Range<usize>, caret: &Range<usize>) {
        let Some(part) = text.get(range.clone()) else { return };
        if (range.start..range.end).contains(&caret.start) {
            self.caret = Some(self.text.len() + caret.start - range.start);
        }
        if range.start < caret.end && caret.start < range.end {
            self.end = self.text.len() + caret.end.min(range.end) - range.start;
        }
        self.text.push_str(part);
    }

    fn mask(&mut self, mask: &Range<usize>, caret: &Range<usize>) {
        if mask.contains(&caret.start) {
            self.caret = Some(self.text.len());
        }
        self.text.push_str("***");
        if mask.start < caret.end && caret.start < mask.end {
            self.end = self.text.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SourceFile;
    use crate::diagnostic::FileId;

    fn excerpt(text: &str, masked: Vec<Range<usize>>, line: u32, column: u32, len: u32) -> (String, String) {
        let source = SourceFile { path: "x".into(), text: text.into(), masked };
        let sources = Sources { files: vec![source] };
        let excerpt = Lines::new(&sources).excerpt(Pos { file: FileId(0), line, column, len }).unwrap();
        let under = excerpt.text[excerpt.caret.clone()].to_owned();
        (excerpt.text, under)
    }

    #[test]
    fn the_caret_is_found_behind_masks_and_wide_characters() {
        let text = "a: 1\r\nt: \"gehéim\", ü: x\n";
        let start = text.find('"').unwrap();
        let mask = start..start + "\"gehéim\"".len();
        assert_eq!(excerpt(text, vec![mask.clone()], 2, 14, 1), ("t: ***, ü: x".into(), "ü".into()));
        assert_eq!(excerpt(text, vec![mask.clone()], 2, 4, 8), ("t: ***, ü: x".into(), "***".into()));
        assert_eq!(excerpt(text, vec![mask], 2, 6, 1), ("t: ***, ü: x".into(), "***".into()));
        assert_eq!(excerpt(text, vec![], 1, 5, 1), ("a: 1".into(), "".into()));
    }

    #[test]
    fn a_secret_over_several_lines_is_masked_on_each() {
        let text = "t: |\n  one\n  two\nu: x\n";
        let mask = text.find("one").unwrap()..text.find("u:").unwrap();
        assert_eq!(excerpt(text, vec![mask.clone()], 3, 1, 1).0, "***");
        assert_eq!(excerpt(text, vec![mask], 4, 1, 1).0, "u: x");
    }

    #[test]
    fn a_long_line_is_shortened_around_the_caret() {
        let text = format!("{}HERE{}", "x".repeat(5000), "y".repeat(5000));
        let (shown, under) = excerpt(&text, vec![], 1, 5001, 4);
        assert!(shown.chars().count() < 200);
        assert_eq!(under, "HERE");
        let (shown, _) = excerpt(&text, std::iter::once(0..9000).collect(), 1, 5001, 4);
        assert_eq!(shown, "…***…");
    }

    #[test]
    fn lines_end_as_yaml_ends_them() {
        assert_eq!(lines("a\rb\r\nc\n\nd"), [0..1, 2..3, 5..6, 7..7, 8..9]);
    }
}
