//! The vectors, and requests that are not what they should be.

use std::sync::Arc;
use std::time::Duration;

use countersign_verify::{local_cors, signature, Claims, Options, ReplayMemory, Scheme, Verifier};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use serde_json::Value;

const TOKEN: &str = "0123456789abcdef0123456789abcde";
const NOW: u64 = 1_763_740_800_000;

fn vectors() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/sign.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let vectors = file["vectors"].as_array().unwrap().clone();
    assert!(vectors.len() >= 1000);
    vectors
}

fn text<'v>(vector: &'v Value, name: &str) -> &'v str {
    vector[name].as_str().unwrap_or_default()
}

fn scheme(vector: &Value) -> Scheme {
    match text(vector, "scheme") {
        "user-stamp" => Scheme::UserStamp,
        "user-project-stamp" => Scheme::UserProjectStamp,
        "user-project-appid-stamp" => Scheme::UserProjectAppidStamp,
        "hmac-sha256" => Scheme::HmacSha256,
        "rfc9421" => Scheme::Rfc9421,
        other => panic!("{other}"),
    }
}

fn usable(vector: &Value) -> bool {
    text(vector, "token").chars().count() >= 31 && vector["stamp"].as_u64().unwrap().to_string().len() == 13
}

fn request(vector: &Value) -> Parts {
    let stamp = vector["stamp"].to_string();
    let path = if text(vector, "path").is_empty() { "/" } else { text(vector, "path") };
    let query = text(vector, "query");
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let method = if text(vector, "method").is_empty() { "GET" } else { text(vector, "method") };
    let mut builder = http::Request::builder().method(method).uri(target);
    let mut fields = vec![
        ("x-kms-user", text(vector, "user")),
        ("x-kms-username", text(vector, "username_encoded")),
        ("x-kms-stamp", &stamp),
        ("x-kms-appid", text(vector, "app_id")),
        ("x-kms-project", text(vector, "project")),
    ];
    if text(vector, "scheme") == "rfc9421" {
        fields.push(("signature-input", text(vector, "signature_input")));
        fields.push(("signature", text(vector, "signature")));
        fields.push(("host", text(vector, "authority")));
    } else {
        fields.push(("x-kms-sign", text(vector, "sign")));
    }
    for (name, value) in fields {
        builder = builder.header(name, value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn options(vector: &Value) -> Options {
    Options::new(scheme(vector), vec![text(vector, "token").to_owned()])
}

#[test]
fn every_vector_has_this_signature() {
    for vector in vectors() {
        let stamp = vector["stamp"].to_string();
        let claims = Claims {
            user: text(&vector, "user"),
            username: text(&vector, "username_encoded"),
            project: text(&vector, "project"),
            app_id: text(&vector, "app_id"),
            stamp: &stamp,
            method: text(&vector, "method"),
            authority: text(&vector, "authority"),
            path: text(&vector, "path"),
            query: text(&vector, "query"),
            prefix: "x-kms-",
            parameters: text(&vector, "signature_input").trim_start_matches("countersign="),
        };
        let expected = match text(&vector, "scheme") {
            "rfc9421" => text(&vector, "signature").trim_start_matches("countersign=:").trim_end_matches(':'),
            _ => text(&vector, "sign"),
        };
        assert_eq!(signature(scheme(&vector), text(&vector, "token"), &claims), expected, "{vector}");
    }
}

/// A project of non-ASCII text cannot travel in a header that is read as text.
fn travels(vector: &Value) -> bool {
    usable(vector) && text(vector, "project").is_ascii()
}

#[test]
fn every_usable_vector_is_accepted_as_a_request() {
    let mut accepted = 0;
    for vector in vectors().iter().filter(|vector| travels(vector)) {
        let expected = |name: &str| Some(text(vector, name).to_owned());
        let options = Options { project: expected("project"), app_id: expected("app_id"), ..options(vector) };
        let verifier = Verifier::new(options).unwrap();
        let identity = verifier.verify_at(&request(vector), vector["stamp"].as_u64().unwrap());
        let identity = identity.unwrap_or_else(|why| panic!("{why}: {vector}"));
        assert_eq!((&*identity.user, &*identity.name), (text(vector, "user"), text(vector, "username")));
        accepted += 1;
    }
    assert!(accepted > 700, "{accepted}");
}

#[test]
fn each_flipped_bit_is_refused() {
    for vector in vectors().iter().step_by(25).filter(|vector| travels(vector)) {
        let unsigned: &[&str] = match scheme(vector) {
            Scheme::UserStamp => &["x-kms-username", "x-kms-appid", "x-kms-project"],
            Scheme::UserProjectStamp => &["x-kms-username", "x-kms-appid"],
            Scheme::UserProjectAppidStamp => &["x-kms-username"],
            Scheme::HmacSha256 | Scheme::Rfc9421 => &[],
        };
        let (verifier, now) = (Verifier::new(options(vector)).unwrap(), vector["stamp"].as_u64().unwrap());
        let original = request(vector);
        for (name, value) in original.headers.iter().filter(|(name, _)| !unsigned.contains(&name.as_str())) {
            for bit in 0..value.len() * 8 {
                let mut bytes = value.as_bytes().to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let Ok(changed) = HeaderValue::from_bytes(&bytes) else { continue };
                if name == "host" && bytes.eq_ignore_ascii_case(value.as_bytes()) {
                    continue;
                }
                let mut wrong = original.clone();
                wrong.headers.insert(name, changed);
                assert!(verifier.verify_at(&wrong, now).is_err(), "{name}: {bytes:?}: {vector}");
            }
        }
        if matches!(scheme(vector), Scheme::HmacSha256 | Scheme::Rfc9421) {
            let (mut other, mut longer) = (original.clone(), original.clone());
            other.method = http::Method::TRACE;
            longer.uri = format!("{}x", original.uri).parse().unwrap();
            assert!(verifier.verify_at(&other, now).is_err() && verifier.verify_at(&longer, now).is_err());
        }
    }
}

fn plain() -> Value {
    let claims = Claims { user: "dev@example.com", project: "demo", stamp: "1763740800000", ..Claims::default() };
    serde_json::json!({
        "scheme": "user-project-stamp", "user": "dev@example.com", "project": "demo", "app_id": "1001", "stamp": NOW,
        "token": TOKEN, "username_encoded": "Dev", "sign": signature(Scheme::UserProjectStamp, TOKEN, &claims),
    })
}

fn with(name: &'static str, value: &str) -> Parts {
    let mut request = request(&plain());
    request.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    request
}

#[test]
fn what_is_not_expected_is_refused() {
    let verifier = Verifier::new(options(&plain())).unwrap();
    let good = request(&plain());
    for now in [NOW - 300_000, NOW, NOW + 300_000] {
        assert!(verifier.verify_at(&good, now).is_ok());
    }
    for now in [0, NOW - 300_001, NOW + 300_001, u64::MAX] {
        assert!(verifier.verify_at(&good, now).is_err(), "{now}");
    }
    let sign = text(&plain(), "sign").to_uppercase();
    for (name, value) in [
        ("x-kms-sign", "demo"),
        ("x-kms-sign", ""),
        ("x-kms-sign", &*sign),
        ("x-kms-stamp", ""),
        ("x-kms-stamp", "0"),
        ("x-kms-stamp", "176374080000"),
        ("x-kms-stamp", "01763740800000"),
        ("x-kms-stamp", "+763740800000"),
        ("x-kms-user", "Dev@example.com"),
    ] {
        assert!(verifier.verify_at(&with(name, value), NOW).is_err(), "{name}: {value}");
    }
    for name in good.headers.keys() {
        let (mut missing, mut twice) = (good.clone(), good.clone());
        missing.headers.remove(name);
        twice.headers.append(name, HeaderValue::from_static("x"));
        assert!(verifier.verify_at(&missing, NOW).is_err() && verifier.verify_at(&twice, NOW).is_err(), "{name}");
    }
    for other in [
        Options { project: Some("other".into()), ..options(&plain()) },
        Options { app_id: Some("1002".into()), ..options(&plain()) },
        Options { tokens: vec!["another-token-0123456789abcdef0123".into()], ..options(&plain()) },
        Options { window: Duration::ZERO, ..options(&plain()) },
    ] {
        assert!(Verifier::new(other).unwrap().verify_at(&good, NOW + 1).is_err());
    }
}

#[test]
fn tokens_replays_and_the_demonstration_signature() {
    let two = vec!["another-token-0123456789abcdef0123".to_owned(), TOKEN.to_owned()];
    let both = Verifier::new(Options { tokens: two, ..options(&plain()) }).unwrap();
    assert!(both.verify_at(&request(&plain()), NOW).is_ok());
    for tokens in [vec![], vec!["short".to_owned()]] {
        assert!(Verifier::new(Options { tokens, ..options(&plain()) }).is_err());
    }
    let memory = Arc::new(ReplayMemory::new(2));
    let once = Verifier::new(Options { replay: Some(Arc::clone(&memory)), ..options(&plain()) }).unwrap();
    assert!(once.verify_at(&request(&plain()), NOW).is_ok());
    assert!(once.verify_at(&request(&plain()), NOW).is_err());
    assert!(memory.is_new("b", NOW, NOW) && !memory.is_new("c", NOW, NOW) && memory.is_new("c", NOW, NOW + 400_000));
    let demo = Verifier::new(Options { demo: true, ..options(&plain()) }).unwrap();
    assert!(demo.verify_at(&with("x-kms-sign", "demo"), NOW).is_ok());
}

#[test]
fn cors_is_off_unless_it_is_switched_on() {
    let ask = http::Request::options("/").header("origin", "https://demo.example.com");
    let ask = ask.header("access-control-request-method", "GET").body(()).unwrap().into_parts().0;
    assert!(local_cors(&ask, &["https://demo.example.com"], false).is_empty());
    assert!(local_cors(&ask, &["https://other.example.com"], true).is_empty());
    let added = local_cors(&ask, &["https://demo.example.com"], true);
    assert!(added
        .iter()
        .any(|(name, value)| name == "access-control-allow-origin" && value == "https://demo.example.com"));
    assert!(added.iter().any(|(name, _)| name == "access-control-allow-headers"));
}
