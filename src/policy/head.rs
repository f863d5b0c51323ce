//! The byte-level gate for HTTP/1 heads, in front of the parser: size, line ends, characters, framing.
//!
//! What passes here is one unambiguous request head by RFC 9112, and Pingora's parser reads it as it was meant. What
//! does not pass is answered by the connection driver; nothing of it reaches an upstream. Called again as bytes arrive,
//! from `scanned` on; linear in the head's length.
//!
//! How: a first call walks the lines from the start, so that a head that came in one piece is read once. A later call
//! looks at the new bytes only; when they end a line, that line is checked, and when they end the head, it is walked
//! once more as a whole, because framing is a matter of all its fields. So no byte is looked at more than three times.
//!
//! Not here: what a target or a Host means (`request_gate`), what the fields of one request have to do with routes.

use memchr::{memchr, memrchr};

mod framing;

use framing::Fields;

use super::path::is_sendable;

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scan {
    /// No end of head yet. Pass `scanned` back in with more bytes.
    Partial,
    /// A whole head.
    Complete(Head),
    /// Not a request that may be answered otherwise.
    Reject(HeadRejection),
}

/// A whole head, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of leading empty lines to skip (RFC 9112 §2.2: at most one CRLF is forgiven).
    pub skip: usize,
    /// Bytes of the head including the empty line, after `skip`.
    pub len: usize,
    /// How the body that follows is framed.
    pub body: Framing,
}

/// Body framing (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// Exactly that many bytes.
    Length(u64),
    /// Chunked.
    Chunked,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadRejection {
    /// 400, 405, 413, 414, 417, 431, 501 or 505.
    pub status: u16,
    /// The error code of the answer, the log and the metric.
    pub code: &'static str,
    /// For people; never repeats bytes of the request.
    pub message: &'static str,
}

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the whole head (431, or 414 when the request line alone exceeds it).
    pub max_head: usize,
    /// Bytes of the request target (414).
    pub max_target: usize,
    /// Header fields (431).
    pub max_fields: usize,
}

/// The version of a request line; the two that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// RFC 9112 §3: longer than any that is known by far; a request line is not a place to store things.
const MAX_METHOD: usize = 64;

/// Checks the bytes received so far. `scanned`: how many of them an earlier call already searched for the head's end.
pub fn scan(bytes: &[u8], scanned: usize, limits: &Limits) -> Scan {
    let skip = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let head = bytes.get(skip..).unwrap_or_default();
    let scanned = scanned.saturating_sub(skip).min(head.len());
    let verdict = if scanned == 0 { whole(head, limits) } else { more(head, scanned, limits) };
    match verdict {
        Ok(Some((len, body))) => Scan::Complete(Head { skip, len, body }),
        Ok(None) => Scan::Partial,
        Err(rejection) => Scan::Reject(rejection),
    }
}

type Verdict = Result<Option<(usize, Framing)>, HeadRejection>;

/// Walks all lines that are there.
fn whole(head: &[u8], limits: &Limits) -> Verdict {
    let mut lines = Lines { rest: head, at: 0 };
    let Some(line) = lines.next()? else { return unfinished(head, 0, limits) };
    let version = request_line(line, limits)?;
    if lines.at > limits.max_head {
        return Err(URI_TOO_LONG);
    }
    let mut fields = Fields::default();
    while let Some(line) = lines.next()? {
        if lines.at > limits.max_head {
            return Err(HEADER_TOO_LARGE);
        }
        if line.is_empty() {
            check_controls(head, lines.at, fields.count() + 2)?;
            return Ok(Some((lines.at, fields.conclude(version)?)));
        }
        let (name, value) = field(line)?;
        fields.add(name, value, limits.max_fields)?;
    }
    check_controls(head, lines.at, fields.count() + 1)?;
    unfinished(head, lines.at, limits)
}

/// Whether the only control bytes in the first `len` are HTAB and the CRLFs at the ends of that many lines. One look at
/// all of them costs less than one at each value.
fn check_controls(head: &[u8], len: usize, lines: usize) -> Result<(), HeadRejection> {
    // A counter of one byte per block is what makes the compiler use vector registers.
    let count = |block: &[u8]| block.iter().fold(0u8, |sum, byte| sum + u8::from(is_control(*byte)));
    let controls: usize = head.get(..len).unwrap_or_default().chunks(128).map(|block| usize::from(count(block))).sum();
    if controls == 2 * lines { Ok(()) } else { Err(MALFORMED_HEADER) }
}

/// Goes on where an earlier call found no end of the head.
fn more(head: &[u8], scanned: usize, limits: &Limits) -> Verdict {
    let (old, new) = head.split_at_checked(scanned).unwrap_or((head, &[]));
    if memchr(b'\n', new).is_none() {
        // A CR that came last time may have been the first half of a line end; now it is known not to be.
        return unfinished(head, if old.ends_with(b"\r") { scanned - 1 } else { scanned }, limits);
    }
    match memrchr(b'\n', old) {
        Some(end) => new_lines(head, end + 1, limits),
        None => whole(head, limits),
    }
}

/// Checks the field lines from `at` on by themselves; the whole head when it turns out to be complete.
fn new_lines(head: &[u8], at: usize, limits: &Limits) -> Verdict {
    let mut lines = Lines { rest: head.get(at..).unwrap_or_default(), at };
    while let Some(line) = lines.next()? {
        if lines.at > limits.max_head {
            return Err(HEADER_TOO_LARGE);
        }
        if line.is_empty() {
            return whole(head, limits);
        }
        let (_, value) = field(line)?;
        check_value(value)?;
    }
    // One line end belongs to the request line.
    if memchr::memchr_iter(b'\n', head).count() > limits.max_fields.saturating_add(1) {
        return Err(TOO_MANY_HEADERS);
    }
    unfinished(head, lines.at, limits)
}

/// The last line has no end yet; `from`: the bytes of it that nobody has looked at. Is there any hope?
fn unfinished(head: &[u8], from: usize, limits: &Limits) -> Verdict {
    let longest_request_line = limits.max_target.saturating_add(MAX_METHOD + "  HTTP/1.1\r\n".len());
    if head.len() > longest_request_line.min(limits.max_head) && in_request_line(head) {
        return Err(URI_TOO_LONG);
    }
    if head.len() > limits.max_head {
        return Err(HEADER_TOO_LARGE);
    }
    let fresh = head.get(from..).unwrap_or_default();
    // A CR may be the first half of a line end, but only at the very end.
    match has_control(fresh.strip_suffix(b"\r").unwrap_or(fresh)) {
        true if in_request_line(head) => Err(MALFORMED_REQUEST_LINE),
        true => Err(MALFORMED_HEADER),
        false => Ok(None),
    }
}

fn in_request_line(head: &[u8]) -> bool {
    memchr(b'\n', head).is_none()
}

/// Lines by strict CRLF (RFC 9112 §2.2 allows to forgive a bare LF; two parsers that disagree about it are a hole).
struct Lines<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    /// The next line without its end; `None` when none is complete.
    #[inline]
    fn next(&mut self) -> Result<Option<&'a [u8]>, HeadRejection> {
        let Some(end) = memchr(b'\n', self.rest) else { return Ok(None) };
        let (line, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest.get(1..).unwrap_or_default();
        self.at += end + 1;
        line.strip_suffix(b"\r").map(Some).ok_or(BARE_LF)
    }
}

/// `method SP target SP HTTP/1.x`, single spaces, nothing else (RFC 9112 §3).
fn request_line(line: &[u8], limits: &Limits) -> Result<Version, HeadRejection> {
    let (method, rest) = split_token(line);
    if method.len() > MAX_METHOD {
        return Err(METHOD_TOO_LONG);
    }
    let rest = rest.strip_prefix(b" ").filter(|_| !method.is_empty()).ok_or(MALFORMED_REQUEST_LINE)?;
    let space = memchr(b' ', rest).ok_or(MALFORMED_REQUEST_LINE)?;
    let (target, version) = rest.split_at_checked(space).unwrap_or((rest, &[]));
    if target.len() > limits.max_target {
        return Err(URI_TOO_LONG);
    }
    if target.is_empty() || version.is_empty() {
        return Err(MALFORMED_REQUEST_LINE);
    }
    // A fragment is the client's own business (RFC 9112 §3.2); the parser would drop it silently.
    if !is_sendable(target) || memchr(b'#', target).is_some() {
        return Err(INVALID_TARGET);
    }
    match version {
        b" HTTP/1.1" => Ok(Version::Http11),
        b" HTTP/1.0" => Ok(Version::Http10),
        [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(UNSUPPORTED_VERSION)
        }
        _ => Err(MALFORMED_REQUEST_LINE),
    }
}

/// `name: value` (RFC 9112 §5), the value with the white space around it.
#[inline]
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), HeadRejection> {
    let (name, rest) = split_token(line);
    match rest.strip_prefix(b":") {
        Some(value) if !name.is_empty() => Ok((name, value)),
        _ => Err(not_a_field(line)),
    }
}

fn check_value(value: &[u8]) -> Result<(), HeadRejection> {
    if has_control(value) { Err(MALFORMED_HEADER) } else { Ok(()) }
}

/// Says what is the matter with a line that is not `token ":"`.
#[cold]
fn not_a_field(line: &[u8]) -> HeadRejection {
    match line.first() {
        Some(b' ' | b'\t') => FOLDED_HEADER,
        _ => MALFORMED_HEADER,
    }
}

/// The longest token at the beginning (RFC 9110 §5.6.2), and the rest.
#[inline]
fn split_token(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|byte| !is_token(*byte)).unwrap_or(line.len());
    line.split_at_checked(end).unwrap_or((line, &[]))
}

#[inline]
fn is_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

/// Optional white space is SP and HTAB, nothing else: a vertical tab before `chunked` must stay visible.
#[inline]
fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let from = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let to = value.iter().rposition(|byte| !is_space(byte)).map_or(from, |at| at + 1);
    value.get(from..to).unwrap_or_default()
}

/// Whether there is a control byte other than HTAB. Without early exit, so that it is vectorised.
fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |bad, byte| bad | is_control(*byte))
}

#[inline]
fn is_control(byte: u8) -> bool {
    ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f)
}

static TOKEN: [bool; 256] = token_table();

const fn token_table() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte: u8 = 0x21;
    while byte < 0x7f {
        let separator = matches!(
            byte,
            b'(' | b')'
                | b'<'
                | b'>'
                | b'@'
                | b','
                | b';'
                | b':'
                | b'\\'
                | b'"'
                | b'/'
                | b'['
                | b']'
                | b'?'
                | b'='
                | b'{'
                | b'}'
        );
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler; a u8 cannot leave 256 places")]
        let place = &mut table[byte as usize];
        *place = !separator;
        byte += 1;
    }
    table
}

const fn rejection(status: u16, code: &'static str, message: &'static str) -> HeadRejection {
    HeadRejection { status, code, message }
}

const MALFORMED_REQUEST_LINE: HeadRejection =
    rejection(400, "malformed_request_line", "the request line is not `METHOD target HTTP/1.x` with single spaces");
const INVALID_TARGET: HeadRejection =
    rejection(400, "invalid_target", "the request target has a character that must be percent-encoded");
const BARE_LF: HeadRejection = rejection(400, "malformed_line_end", "a line does not end in CR LF");
const MALFORMED_HEADER: HeadRejection =
    rejection(400, "malformed_header", "a header field is not `name: value` or holds a character that none may hold");
const FOLDED_HEADER: HeadRejection =
    rejection(400, "malformed_header", "a header field begins with white space (folding is obsolete)");
const METHOD_TOO_LONG: HeadRejection = rejection(501, "unsupported_method", "the method is too long");
const URI_TOO_LONG: HeadRejection = rejection(414, "uri_too_long", "the request target is too long");
const HEADER_TOO_LARGE: HeadRejection = rejection(431, "header_too_large", "the request head is too large");
const TOO_MANY_HEADERS: HeadRejection = rejection(431, "too_many_headers", "the request has too many header fields");
const UNSUPPORTED_VERSION: HeadRejection =
    rejection(505, "unsupported_version", "only HTTP/1.1 and HTTP/1.0 are served on this connection");

#[cfg(test)]
mod tests;
