//! What keys are taken from is a document that another reader understands too, and no key of it takes what nobody signed.

use countersign::oidc::{BadKeys, Expected, Keys, Why};
use serde_json::Value;

/// Of an EdDSA and an RS256 token, with the signature of nobody.
const HEADERS: [&str; 3] = ["eyJhbGciOiJFZERTQSJ9", "eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJFUzI1NiJ9"];

pub fn check(data: &[u8]) {
    let document: Option<Value> = serde_json::from_slice(data).ok();
    let listed = document.as_ref().and_then(|document| document["keys"].as_array());
    match Keys::read(data) {
        Err(BadKeys::TooMany) => assert!(listed.is_some_and(|list| list.len() > 64)),
        Err(BadKeys::Malformed | BadKeys::Twice | BadKeys::None) => {}
        Ok(keys) => {
            let listed = listed.expect("a list of keys");
            assert!(!keys.is_empty() && keys.len() <= listed.len() && listed.len() <= 64);
            let usable = listed.iter().filter(|key| matches!(key["kty"].as_str(), Some("RSA" | "EC" | "OKP")));
            assert!(keys.len() <= usable.count(), "a key of a kind that is none of ours");
            nobody_signs(&keys);
        }
    }
}

fn nobody_signs(keys: &Keys) {
    let expected = Expected::bearer(vec!["edge".to_owned()]);
    for header in HEADERS {
        for signature in ["", "AA", &"A".repeat(86), &"A".repeat(342), &"_".repeat(86)] {
            let judged = keys.judge(&format!("{header}.e30.{signature}"), "https://sso.example.com", &expected, 0);
            assert!(matches!(judged, Err(Why::Signature | Why::UnknownKey | Why::Malformed)), "{judged:?}");
        }
    }
}
