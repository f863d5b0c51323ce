//! What is shown of a provider's words: one line, printable, bounded, and nothing of what we sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::secret::Secret;

/// How much of a text is shown, in characters.
const LONGEST: usize = 200;
/// How much of a secret may be seen, and less: pieces of this length are masked wherever they stand.
const PIECE: usize = 8;
/// What stands for a secret.
const MASK: &str = "***";

/// One line of at most `LONGEST` characters; `None`: there is nothing to see.
pub fn printable(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    let mut kept: String = line.chars().filter(|c| !is_invisible(*c)).take(LONGEST + 1).collect();
    if kept.chars().count() > LONGEST {
        kept = kept.chars().take(LONGEST - 1).chain(['…']).collect();
    }
    (!kept.trim().is_empty()).then_some(kept)
}

/// Whether a character is seen only by what it does to others: directions, joiners, marks of order.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with `***` for what is any of these secrets, or a piece of eight characters of one: a provider may quote
/// what it was sent, cut or split.
pub fn masked(text: &str, secrets: &[&Secret]) -> String {
    let secrets: Vec<String> = secrets.iter().flat_map(|secret| guises(secret.expose())).collect();
    let mut hidden = vec![false; text.len()];
    for secret in &secrets {
        hide(text.as_bytes(), secret.as_bytes(), &mut hidden);
    }
    let mut shown = String::with_capacity(text.len());
    let mut masking = false;
    for (at, c) in text.char_indices() {
        let hide = (at..at + c.len_utf8()).any(|byte| hidden.get(byte).copied().unwrap_or(true));
        match (hide, masking) {
            (true, false) => shown.push_str(MASK),
            (true, true) => {}
            (false, _) => shown.push(c),
        }
        masking = hide;
    }
    shown
}

/// A secret as it is, as a form has it, and within base64, wherever it begins there.
fn guises(secret: &str) -> Vec<String> {
    if secret.is_empty() {
        return Vec::new();
    }
    let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let encoded = (0..3).flat_map(|lead| [in_base64(secret, lead), in_base64(&escaped, lead)]);
    let encoded = encoded.filter(|text| text.len() >= PIECE).collect::<Vec<_>>();
    [secret.to_owned(), escaped].into_iter().chain(encoded).collect()
}

/// The part that is the same whatever stands before and behind, after so many bytes (of three).
fn in_base64(text: &str, lead: usize) -> String {
    let encoded = STANDARD_NO_PAD.encode(format!("{}{text}", "-".repeat(lead)));
    let from = if lead == 0 { 0 } else { 4 };
    encoded.get(from..encoded.len() / 4 * 4).unwrap_or_default().to_owned()
}

fn hide(text: &[u8], secret: &[u8], hidden: &mut [bool]) {
    let piece = secret.len().min(PIECE);
    let pieces: std::collections::HashSet<&[u8]> = secret.windows(piece).collect();
    for (at, window) in text.windows(piece).enumerate() {
        if pieces.contains(window) {
            hidden.iter_mut().skip(at).take(piece).for_each(|byte| *byte = true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_one_line_and_not_endless() {
        assert_eq!(printable("a\r\n b\tc\u{1b}[2J\u{0}d").unwrap(), "a b c [2J d");
        assert_eq!(printable("\u{202e}evil\u{200b} \u{feff}").unwrap().trim(), "evil");
        assert_eq!(printable(" \n\u{200b}"), None);
        assert_eq!(printable(""), None);
        let long = printable(&"ü".repeat(10_000)).unwrap();
        assert_eq!((long.chars().count(), long.ends_with("ü…")), (200, true));
        assert_eq!(printable(&"x".repeat(200)).unwrap(), "x".repeat(200));
    }

    #[test]
    fn a_secret_is_masked_whole_cut_split_and_in_other_guises() {
        let secret = Secret::new("rt-0123456789/abcdef+XYZ");
        for (text, shown) in [
            ("no rt-0123456789/abcdef+XYZ here", "no *** here"),
            ("begins rt-012345678", "begins ***"),
            ("of 6789/abcdef… and rt-01234", "of ***… and ***"),
            ("rt%2D0123456789%2Fabcdef%2BXYZ", "rt%2D***"),
            ("rt-0123456789%2Fabcdef%2BXYZ", "***"),
            ("cnQtMDEyMzQ1Njc4OS9hYmNkZWYrWFla", "***"),
            // `Basic` of `edge:` and the secret, as a form has it and as it is.
            ("ZWRnZTpydC0wMTIzNDU2Nzg5JTJGYWJjZGVmJTJCWFla", "ZWRnZTpy***"),
            ("ZWRnZTpydC0wMTIzNDU2Nzg5L2FiY2RlZitYWVo=", "ZWRnZTpy***WVo="),
            ("only rt-0123", "only rt-0123"),
            ("ünï 0123456789 ünï", "ünï *** ünï"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(masked(text, &[&secret]), shown, "{text}");
        }
        assert_eq!(masked("a pin of 1234!", &[&Secret::new("1234")]), "a pin of ***!");
        assert_eq!(masked("text", &[&Secret::new("")]), "text");
        assert_eq!(masked("aaaa bbbb", &[&Secret::new("aaaa"), &Secret::new("bbbb")]), "*** ***");
    }
}
