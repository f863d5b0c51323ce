//! Request ids: 128 random bits as 32 lower-case hex digits, unguessable enough to name a request, cheap enough for each.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

/// The id of one request: in the error answer, the access log and `x-request-id`.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(Text);

#[derive(Clone, PartialEq, Eq)]
enum Text {
    Fresh([u8; 32]),
    Given(Arc<str>),
}

/// The longest id that is taken over from a proxy in front.
const LONGEST_GIVEN: usize = 128;

impl RequestId {
    /// A fresh one. Each thread walks its own randomly seeded sequence, so no lock and no system call is needed.
    pub fn fresh() -> Self {
        let (high, low) = (next(), next());
        let mut text = [0u8; 32];
        write_hex(&mut text, 0, high);
        write_hex(&mut text, 16, low);
        Self(Text::Fresh(text))
    }

    /// One that somebody else has given; `None`: it is empty, too long, or not visible ASCII alone.
    pub fn given(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= LONGEST_GIVEN && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(Text::Given(text.into())))
    }

    /// A fresh one's 32 digits, or what was given.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Fresh(digits) => std::str::from_utf8(digits).unwrap_or_default(),
            Text::Given(text) => text,
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn write_hex(text: &mut [u8; 32], from: usize, value: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (place, nibble) in text.iter_mut().skip(from).take(16).zip((0..16).rev()) {
        let digit = (value >> (nibble * 4)) & 0xf;
        *place = DIGITS.get(usize::try_from(digit).unwrap_or(0)).copied().unwrap_or(b'0');
    }
}

thread_local! {
    static STATE: Cell<u64> = Cell::new(seed());
}

fn seed() -> u64 {
    let mut bytes = [0u8; 8];
    if getrandom::fill(&mut bytes).is_ok() { u64::from_ne_bytes(bytes) } else { crate::clock::unix_micros() }
}

/// SplitMix64 (Steele, Lea, Flood 2014): every state yields once, so one thread never repeats an id.
fn next() -> u64 {
    STATE.with(|state| {
        let seed = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(seed);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::RequestId;

    #[test]
    fn ids_are_32_hex_digits_and_differ() {
        let (first, second) = (RequestId::fresh(), RequestId::fresh());
        assert_eq!(first.as_str().len(), 32);
        assert!(first.as_str().bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        assert_ne!(first, second);
    }

    #[test]
    fn a_given_id_is_taken_over_if_it_is_sane() {
        for sane in ["a", "8c5e-1", "{\"odd\":1}", &"x".repeat(128)] {
            assert_eq!(RequestId::given(sane).unwrap().as_str(), sane);
        }
        for wrong in ["", "a b", "a\n", "\u{e4}", "\u{7f}", &"x".repeat(129)] {
            assert!(RequestId::given(wrong).is_none(), "{wrong:?}");
        }
    }
}
