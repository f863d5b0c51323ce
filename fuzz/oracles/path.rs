//! One path has one canonical form, which is its own, and which no reader takes for another place.

use countersign::policy::path::{canonical, join, rest};

pub fn check(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    let Ok(path) = canonical(raw) else { return };
    assert_eq!(canonical(&path).as_deref(), Ok(&*path), "the canonical form has another one");
    assert!(path.starts_with('/'));
    let plain = decoded(&path);
    assert!(!plain.contains(&0) && !plain.contains(&b'\\'), "a byte that cuts or climbs");
    for segment in plain.split(|byte| *byte == b'/') {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        assert!(name != b"." && name != b"..", "a dot segment: {raw:?}");
    }
    assert!(!plain.windows(2).any(|pair| pair == b"//"), "an empty segment: {raw:?}");
    // What is forwarded after a prefix stands for what was matched after it.
    for (at, _) in path.match_indices('/').skip(1) {
        let left = rest(raw, &path, at);
        assert!(left.starts_with('/'), "{left:?}");
        assert_eq!(canonical(left).as_deref(), Ok(&path[at..]), "the rest is of another path");
        assert!(!join("/base/", left).contains("//"));
    }
}

/// As a server that decodes once reads it.
fn decoded(path: &str) -> Vec<u8> {
    let (bytes, mut out, mut at) = (path.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}
