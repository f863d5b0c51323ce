//! The leak guard: what no response may ever contain. Every response that a test reads passes here.

use super::message::Fields;

/// Every secret that tests plant contains this word; no output of the edge may.
pub const CANARY: &str = "c4n4ry";

/// Fields that belong to one hop (RFC 9110 §7.6.1) and must not come through.
const HOP_BY_HOP: [&str; 7] = [
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "te",
    "trailer",
];

/// Fails the test when a response head leaks.
pub fn check_head(status: u16, fields: &Fields) {
    for (name, value) in &fields.0 {
        let lower = name.to_ascii_lowercase();
        let text = String::from_utf8_lossy(value).to_ascii_lowercase();
        assert!(!lower.starts_with("x-kms-"), "leak: a signature field reached the client: {name}");
        assert!(!HOP_BY_HOP.contains(&lower.as_str()), "leak: a hop-by-hop field reached the client: {name}: {text}");
        assert!(lower != "server" || !text.contains("pingora"), "leak: server: {text}");
        if lower == "connection" {
            check_connection(status, &text);
        }
        assert!(lower != "upgrade" || matches!(status, 101 | 426), "leak: upgrade on a {status}");
        assert!(lower != "transfer-encoding" || text == "chunked", "leak: transfer-encoding: {text}");
        check_bytes("a response field", value);
    }
}

fn check_connection(status: u16, value: &str) {
    for option in value.split(',').map(str::trim) {
        let own = matches!(option, "close" | "keep-alive") || (option == "upgrade" && status == 101);
        assert!(own, "leak: connection option {option:?} on a {status}");
    }
}

/// Fails the test when bytes contain a planted secret.
pub fn check_bytes(place: &str, bytes: &[u8]) {
    let found = super::message::find(bytes, CANARY.as_bytes());
    assert!(found.is_none(), "leak: a planted secret in {place}: {:?}", String::from_utf8_lossy(bytes));
}
