//! Where somebody comes back to after a log-in: a path of our own host, or `/`.
//!
//! Browsers are generous readers of addresses: they drop tabs and line ends, take `\` for `/`, and some servers decode a
//! path before they redirect to it. What could leave our host by any of these readings is `/`.

/// Of a path that is kept, in bytes: it travels in a cookie.
const LONGEST: usize = 2000;

/// The path (with its query) if it stays on our host however it is read; `/` otherwise.
pub fn safe_back(path: &str) -> &str {
    // Nobody decodes a query before he redirects to it: a line end in what somebody searches for is his own.
    let before_query = path.split(['?', '#']).next().unwrap_or_default();
    if path.len() <= LONGEST && stays(path.as_bytes()) && stays(&decoded(before_query)) { path } else { "/" }
}

/// Begins with exactly one `/`, and holds nothing that changes where it begins.
fn stays(path: &[u8]) -> bool {
    let begins = matches!(path, [b'/'] | [b'/', b'!'..=b'.' | b'0'..=b'[' | b']'..=b'~' | 0x80.., ..]);
    begins && !path.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\')
}

/// Percent-decoded once, as a server in front or behind might do.
fn decoded(path: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, behind @ ..] = rest {
        let escaped = match behind {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        bytes.push(escaped.map_or(*first, |(high, low)| high * 16 + low));
        rest = if escaped.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
    }
    bytes
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests;
