//! Wherever somebody wants to come back to after a log-in, he stays on our host: as browsers read addresses, and when a server
//! has decoded the path first.

use countersign::oidc::safe_back;
use url::Url;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = safe_back(text);
    assert!(path == text || path == "/", "{path} is another path");
    assert!(path.starts_with('/') && !path.chars().any(|c| c.is_ascii_control()));
    let home = Url::parse("https://edge.example.com/a/b?c").expect("a URL");
    let decoded = String::from_utf8_lossy(&decoded(path.as_bytes())).into_owned();
    for spelled in [path, &decoded] {
        let place = home.join(spelled).expect("a place on our host");
        assert_eq!(place.origin(), home.origin(), "{text:?} leads elsewhere");
    }
    assert_eq!(safe_back(path), path);
}

fn decoded(path: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let digits = path.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let is_hex = |digits: &&str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        match digits.filter(|digits| path[at] == b'%' && is_hex(digits)) {
            Some(digits) => {
                bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
                at += 3;
            }
            None => {
                bytes.push(path[at]);
                at += 1;
            }
        }
    }
    bytes
}
