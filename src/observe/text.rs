//! Escaping, so that one event stays one line and no byte of a client reaches a terminal or a parser as anything but text.
//!
//! Three forms: JSON strings (RFC 8259 §7, and everything that some reader takes for a line end or a terminal command),
//! nginx's `log_format` default (`\xXX`), and plain text for the process log.
//! Invariants: no output holds a byte below 0x20; JSON output is valid UTF-8 that parses back to the same text.

use std::io::Write;
use std::net::IpAddr;

const DIGITS: &[u8; 16] = b"0123456789abcdef";
const DIGITS_UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// What a byte needs in a JSON string: nothing, an escape, or a closer look (it begins a character that may need one).
const PLAIN: u8 = 0;
const ESCAPE: u8 = 1;
const LOOK: u8 = 2;

static JSON: [u8; 256] = json_classes();

const fn json_classes() -> [u8; 256] {
    let mut classes = [PLAIN; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::indexing_slicing, reason = "evaluated at compile time, bounded by the loop")]
        {
            classes[byte] = match byte {
                0..=0x1f | 0x22 | 0x5c | 0x7f => ESCAPE,
                0xc2 | 0xe2 => LOOK,
                _ => PLAIN,
            };
        }
        byte += 1;
    }
    classes
}

/// Appends `text` as the inside of a JSON string.
pub fn push_json(out: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        out.extend_from_slice(text.as_bytes());
    } else {
        push_json_slowly(out, text.as_bytes());
    }
}

/// Whether all bytes are printable ASCII without `"` and `\`: stands as it is in every form. Looks at all of them
/// without a branch, so that the compiler does so many at a time; nearly every value is plain.
fn is_plain(bytes: &[u8]) -> bool {
    !bytes
        .iter()
        .fold(false, |special, &byte| special | !(0x20..=0x7e).contains(&byte) | (byte == b'"') | (byte == b'\\'))
}

fn push_json_slowly(out: &mut Vec<u8>, bytes: &[u8]) {
    let (mut from, mut at) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        let taken = match JSON.get(usize::from(byte)).copied().unwrap_or(ESCAPE) {
            PLAIN => 0,
            ESCAPE => 1,
            _ => separator_length(bytes.get(at..).unwrap_or_default()),
        };
        if taken == 0 {
            at += 1;
            continue;
        }
        out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        push_json_escape(out, bytes.get(at..at + taken).unwrap_or_default());
        at += taken;
        from = at;
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
}

/// The length of a C1 control (U+0080..=U+009F) or of U+2028, U+2029 that the bytes begin with; 0 otherwise.
fn separator_length(bytes: &[u8]) -> usize {
    match bytes {
        [0xc2, 0x80..=0x9f, ..] => 2,
        [0xe2, 0x80, 0xa8 | 0xa9, ..] => 3,
        _ => 0,
    }
}

fn push_json_escape(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes {
        [b'"'] => out.extend_from_slice(b"\\\""),
        [b'\\'] => out.extend_from_slice(b"\\\\"),
        [b'\n'] => out.extend_from_slice(b"\\n"),
        [b'\r'] => out.extend_from_slice(b"\\r"),
        [b'\t'] => out.extend_from_slice(b"\\t"),
        [0xe2, 0x80, 0xa8] => out.extend_from_slice(b"\\u2028"),
        [0xe2, 0x80, 0xa9] => out.extend_from_slice(b"\\u2029"),
        // Below U+0100 the last byte of the UTF-8 form is the low byte of the code point for both cases that come here.
        [.., low] => {
            out.extend_from_slice(b"\\u00");
            push_hex(out, *low, DIGITS);
        }
        [] => {}
    }
}

/// Appends `text` as nginx's access log does by default: `"`, `\`, controls and everything above `~` as `\xXX`.
pub fn push_nginx(out: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        return out.extend_from_slice(text.as_bytes());
    }
    for &byte in text.as_bytes() {
        if matches!(byte, b'"' | b'\\' | 0..=0x1f | 0x7f..) {
            out.extend_from_slice(b"\\x");
            push_hex(out, byte, DIGITS_UPPER);
        } else {
            out.push(byte);
        }
    }
}

/// Appends an address; the usual ones without the formatting machinery.
pub fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(v4) = address else {
        // Writing to memory does not fail.
        let _ = write!(out, "{address}");
        return;
    };
    for (place, octet) in v4.octets().into_iter().enumerate() {
        if place > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
}

/// Makes a message safe for a terminal and for one line: controls become `\u{..}` escapes, the rest stays.
pub fn one_line(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.chars().any(breaks_a_line) {
        return std::borrow::Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if breaks_a_line(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    std::borrow::Cow::Owned(safe)
}

fn breaks_a_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

fn push_hex(out: &mut Vec<u8>, byte: u8, digits: &[u8; 16]) {
    for nibble in [byte >> 4, byte & 0xf] {
        out.push(digits.get(usize::from(nibble)).copied().unwrap_or(b'?'));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> String {
        let mut out = vec![b'"'];
        push_json(&mut out, text);
        out.push(b'"');
        String::from_utf8(out).unwrap()
    }

    fn nginx(text: &str) -> String {
        let mut out = Vec::new();
        push_nginx(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_escapes_whatever_could_end_a_line_or_move_a_cursor() {
        assert_eq!(json("a\"b\\c\r\n\t\0\x1b[2J\x7f"), r#""a\"b\\c\r\n\t\u0000\u001b[2J\u007f""#);
        assert_eq!(json("\u{85}\u{9b}31m\u{2028}\u{2029}"), r#""\u0085\u009b31m\u2028\u2029""#);
        assert_eq!(json("grün £ €\u{2030} 中文 😀"), "\"grün £ €\u{2030} 中文 😀\"");
    }

    #[test]
    fn nginx_escapes_like_nginx() {
        assert_eq!(nginx("/a?b=\"c\\d\"\n\u{fc} ~\x7f"), r"/a?b=\x22c\x5Cd\x22\x0A\xC3\xBC ~\x7F");
    }

    #[test]
    fn a_message_stays_on_its_line() {
        assert_eq!(one_line("plain, grün"), "plain, grün");
        assert_eq!(one_line("a\nb\x1b[0m\u{2028}"), "a\\nb\\u{1b}[0m\\u{2028}");
    }

    proptest! {
        #[test]
        fn json_round_trips_and_holds_no_control(text in proptest::collection::vec(any::<char>(), 0..64)) {
            let text: String = text.into_iter().collect();
            let line = json(&text);
            prop_assert!(!line.chars().any(breaks_a_line));
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }
}
