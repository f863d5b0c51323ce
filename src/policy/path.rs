//! One canonical path: it decides, and what it stands for is forwarded byte for byte.
//!
//! Ambiguity is refused, not repaired: dot segments (encoded, twice encoded, or with parameters too), empty segments
//! (`//`, and `/;x/`, which servers that cut parameters read as one), encoded slash, backslash or NUL, raw bytes outside
//! of visible ASCII, `#`, broken percent-encoding.
//!
//! What is not ambiguous passes. Characters that RFC 3986 lets stand for themselves in a path (`pchar`) are the same
//! encoded or not (`%61` is `a`, `%40` is `@`), so that no spelling escapes a longer prefix. The few visible characters
//! that it does not allow but that browsers and clients send (`| { } ^`) count as their escapes; so would `" < >` and the
//! backtick, which the gate refuses beforehand ([`is_sendable`]).
//! Escapes compare in upper case. All this is for matching only; [`rest`] gives the raw bytes for forwarding.
//!
//! Prefixes in a configuration go through [`canonical`] as well, or they would never match.

use std::borrow::Cow;

/// Whether a request target holds only what may stand there as it is: visible ASCII but `< > "`, and no backtick before
/// the query. RFC 3986 lets nobody send those, and every browser encodes them. (`#` is another matter: it begins a fragment.)
pub fn is_sendable(target: &[u8]) -> bool {
    let visible = target.iter().all(|byte| (0x21..=0x7e).contains(byte) && !matches!(byte, b'<' | b'>' | b'"'));
    visible && memchr::memchr2(b'`', b'?', target).is_none_or(|at| target.get(at) == Some(&b'?'))
}

/// Why a path is refused: one lower-case clause for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathError(pub &'static str);

/// The canonical form of a raw path (without query), for matching. Borrowed when the raw path already is canonical.
///
/// # Errors
/// The first ambiguity.
pub fn canonical(raw: &str) -> Result<Cow<'_, str>, PathError> {
    if is_plain(raw.as_bytes()) { Ok(raw.into()) } else { examine(raw) }
}

/// Whether a path has nothing that needs a closer look; most have not.
fn is_plain(raw: &[u8]) -> bool {
    let mut after_slash = false;
    for byte in raw {
        let is_suspect = after_slash && matches!(byte, b'/' | b'.' | b';');
        if is_suspect || !stands_for_itself(*byte) {
            return false;
        }
        after_slash = *byte == b'/';
    }
    raw.starts_with(b"/")
}

fn examine(raw: &str) -> Result<Cow<'_, str>, PathError> {
    let below_root = raw.strip_prefix('/').ok_or(NOT_ABSOLUTE)?;
    let mut is_canonical = true;
    let mut segments = below_root.split('/').peekable();
    while let Some(segment) = segments.next() {
        let segment_is_canonical = check(segment)?;
        is_canonical &= segment_is_canonical;
        // What the spelling hides is looked for in the one canonical spelling.
        let segment = if segment_is_canonical { Cow::Borrowed(segment) } else { respell(segment).into() };
        if is_dot_segment(&segment) {
            return Err(DOT_SEGMENT);
        }
        if segments.peek().is_some() && is_nothing(&segment) {
            return Err(EMPTY_SEGMENT);
        }
    }
    Ok(if is_canonical { raw.into() } else { respell(raw).into() })
}

/// The part of the *raw* path after a prefix of `prefix_len` bytes of its *canonical* form (so that it can be forwarded
/// byte for byte). Empty, or begins with `/`.
pub fn rest<'a>(raw: &'a str, canonical: &str, prefix_len: usize) -> &'a str {
    // The slash at the end of a prefix (that is `/` itself) belongs to what follows.
    let ends_in_slash = canonical.get(..prefix_len).is_some_and(|prefix| prefix.ends_with('/'));
    let prefix_len = if ends_in_slash { prefix_len - 1 } else { prefix_len };
    if raw == canonical {
        return raw.get(prefix_len..).unwrap_or_default();
    }
    let mut units = Units(raw);
    let mut matched = 0;
    while matched < prefix_len {
        let Some(Ok(unit)) = units.next() else { break };
        matched += if stands_for_itself(unit.byte) { 1 } else { 3 };
    }
    units.0
}

/// The upstream path: `base` + `rest`, where an empty result is `/` and no `//` arises at the seam.
pub fn join(base: &str, rest: &str) -> String {
    let base = if rest.starts_with('/') { base.strip_suffix('/').unwrap_or(base) } else { base };
    match (base, rest) {
        ("", "") => "/".to_owned(),
        _ => [base, rest].concat(),
    }
}

/// Refuses what is ambiguous inside of one segment; says whether it is spelt canonically.
fn check(segment: &str) -> Result<bool, PathError> {
    let mut is_canonical = true;
    for unit in Units(segment) {
        let unit = unit?;
        match unit.byte {
            b'\\' => return Err(BACKSLASH),
            b'/' => return Err(ENCODED_SLASH),
            0 if unit.escape.is_some() => return Err(ENCODED_NUL),
            b'#' | b'?' if unit.escape.is_none() => return Err(MISPLACED),
            0..=0x20 | 0x7f.. if unit.escape.is_none() => return Err(NOT_VISIBLE),
            _ => is_canonical &= unit.is_canonical(),
        }
    }
    Ok(is_canonical)
}

/// Whether a server that cuts parameters (`;x`) sees nothing in a segment (canonically spelt).
fn is_nothing(segment: &str) -> bool {
    segment.is_empty() || after_semicolon(segment).is_some()
}

/// Whether a segment (canonically spelt) is `.` or `..` to some server: decoded again, or without its parameters.
/// A slash that is encoded more than once (`..%252f`) separates segments for those servers too.
fn is_dot_segment(segment: &str) -> bool {
    let mut left = Some(segment);
    while let Some(text) = left {
        let (piece, after) = cut_at_hidden_slash(text);
        if is_dots(piece) {
            return true;
        }
        left = after;
    }
    false
}

fn is_dots(segment: &str) -> bool {
    let Some(rest) = after_dot(segment) else { return false };
    let rest = after_dot(rest).unwrap_or(rest);
    is_nothing(rest)
}

/// What stands before the first slash or backslash that only a second decoding shows, and what stands behind it.
fn cut_at_hidden_slash(text: &str) -> (&str, Option<&str>) {
    const SLASHES: [&str; 5] = ["2f", "5c", "c0%af", "c1%9c", "e0%80%af"];
    let cut = text.match_indices('%').find_map(|(at, _)| {
        let (piece, tail) = text.split_at_checked(at)?;
        let after = SLASHES.iter().find_map(|code| after_escape(tail, code))?;
        Some((piece, after))
    });
    cut.map_or((text, None), |(piece, after)| (piece, Some(after)))
}

/// `.`, encoded more than once (`%252e`), and the overlong forms that old decoders let through.
fn after_dot(text: &str) -> Option<&str> {
    let encoded = || ["2e", "c0%ae", "e0%80%ae"].iter().find_map(|code| after_escape(text, code));
    text.strip_prefix('.').or_else(encoded)
}

fn after_semicolon(text: &str) -> Option<&str> {
    text.strip_prefix(';').or_else(|| after_escape(text, "3b"))
}

/// `%` + `code`, where the `%` may itself be encoded any number of times.
fn after_escape<'a>(text: &'a str, code: &str) -> Option<&'a str> {
    let mut text = text.strip_prefix('%')?;
    while let Some(rest) = text.strip_prefix("25") {
        text = rest;
    }
    let (head, rest) = text.split_at_checked(code.len())?;
    head.eq_ignore_ascii_case(code).then_some(rest)
}

fn respell(raw: &str) -> String {
    let mut path = String::with_capacity(raw.len());
    for unit in Units(raw).flatten() {
        if stands_for_itself(unit.byte) {
            path.push(char::from(unit.byte));
        } else {
            push_escape(&mut path, unit.byte);
        }
    }
    path
}

fn push_escape(path: &mut String, byte: u8) {
    path.push('%');
    for nibble in [byte >> 4, byte & 0xf] {
        path.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase());
    }
}

/// `pchar` without escapes (RFC 3986 §3.3), and the slash.
fn stands_for_itself(byte: u8) -> bool {
    ITSELF.get(usize::from(byte)).copied().unwrap_or(false)
}

static ITSELF: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 0x7f {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler; a u8 cannot leave 256 places")]
        let place = &mut table[byte as usize];
        *place = byte.is_ascii_alphanumeric() || is_one_of(byte, b"-._~!$&'()*+,;=:@/");
        byte += 1;
    }
    table
};

const fn is_one_of(byte: u8, set: &[u8]) -> bool {
    match set {
        [first, rest @ ..] => *first == byte || is_one_of(byte, rest),
        [] => false,
    }
}

/// One byte that a path means: written as itself, or escaped.
#[derive(Clone, Copy)]
struct Unit<'a> {
    byte: u8,
    /// The two digits, if it is escaped.
    escape: Option<&'a str>,
}

impl Unit<'_> {
    fn is_canonical(&self) -> bool {
        match self.escape {
            None => stands_for_itself(self.byte),
            Some(digits) => !stands_for_itself(self.byte) && !digits.bytes().any(|digit| digit.is_ascii_lowercase()),
        }
    }
}

/// The units of what is left of a path. Raw bytes beyond ASCII come as they are, one unit a byte.
struct Units<'a>(&'a str);

impl<'a> Iterator for Units<'a> {
    type Item = Result<Unit<'a>, PathError>;

    fn next(&mut self) -> Option<Self::Item> {
        let byte = *self.0.as_bytes().first()?;
        if byte == b'%' {
            return Some(self.escape());
        }
        // Beyond ASCII only the first byte matters: it is refused.
        self.0 = self.0.get(1..).unwrap_or_default();
        Some(Ok(Unit { byte, escape: None }))
    }
}

impl<'a> Units<'a> {
    fn escape(&mut self) -> Result<Unit<'a>, PathError> {
        let digits = self.0.get(1..3).ok_or(BROKEN_ESCAPE)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(BROKEN_ESCAPE);
        }
        let byte = u8::from_str_radix(digits, 16).map_err(|_| BROKEN_ESCAPE)?;
        self.0 = self.0.get(3..).unwrap_or_default();
        Ok(Unit { byte, escape: Some(digits) })
    }
}

const NOT_ABSOLUTE: PathError = PathError("the path does not begin with a slash");
const EMPTY_SEGMENT: PathError = PathError("the path has an empty segment");
const DOT_SEGMENT: PathError = PathError("the path has a dot segment");
const BACKSLASH: PathError = PathError("the path has a backslash");
const ENCODED_SLASH: PathError = PathError("the path has an encoded slash");
const ENCODED_NUL: PathError = PathError("the path has an encoded NUL");
const BROKEN_ESCAPE: PathError = PathError("the path has a % that is not followed by two hexadecimal digits");
const NOT_VISIBLE: PathError = PathError("the path has a character that must be percent-encoded");
const MISPLACED: PathError = PathError("the path has a # or ? that must be percent-encoded");

#[cfg(test)]
mod tests;
