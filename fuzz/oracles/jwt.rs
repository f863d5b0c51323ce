//! Of what the issuer itself has signed, only that is taken which another reader finds to be for us and of now; of what nobody
//! has signed, nothing; and whoever is named by it can be written into a header.
//!
//! Of the input, the first line is the header, the rest the payload; both are signed as they are.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::oidc::{ClaimNames, Expected, Keys, Kind, Person, claimed_issuer, looks_like_jwt};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

const ISSUER: &str = "https://sso.example.com";
const NOW: u64 = 1_750_000_000;
const LEEWAY: f64 = 60.0;

pub fn check(data: &[u8]) {
    let (header, payload) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let payload = payload.get(1..).unwrap_or_default();
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
    let jwk =
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "d", "x": URL_SAFE_NO_PAD.encode(pair.public_key().as_ref())});
    let keys = Keys::read(json!({ "keys": [jwk] }).to_string().as_bytes()).expect("a key");
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let proof = pair.sign(signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(proof.as_ref()));
    for kind in [Kind::IdToken, Kind::AccessToken, Kind::Any] {
        let expected = Expected { kind, ..Expected::bearer(vec!["edge".to_owned()]) };
        let judged = keys.judge(&token, ISSUER, &expected, NOW * 1000);
        if let Ok(claims) = &judged {
            let document: Value = serde_json::from_slice(payload).expect("JSON");
            assert_eq!(Value::Object(claims.values().clone()), document, "another reader reads something else");
            check_header(&serde_json::from_slice(header).expect("JSON"), kind);
            check_claims(&document, kind);
            check_person(&claims.values().clone());
            assert!(looks_like_jwt(&token) && claimed_issuer(&token).as_deref() == Some(ISSUER));
        }
        for unsigned in [format!("{signed}."), format!("{signed}.{}", "A".repeat(86)), signed.clone()] {
            assert!(keys.judge(&unsigned, ISSUER, &expected, NOW * 1000).is_err(), "nobody has signed it");
        }
        let text = String::from_utf8_lossy(data);
        assert!(keys.judge(&text, ISSUER, &expected, NOW * 1000).is_err(), "it is no token");
    }
}

fn check_header(header: &Value, kind: Kind) {
    assert!(matches!(header["alg"].as_str(), Some("EdDSA" | "Ed25519")));
    assert!(header.get("crit").is_none() && header.get("b64").is_none());
    assert!(header.get("kid").is_none_or(|kid| kid == "d"));
    let typ = header["typ"].as_str().map(str::to_ascii_lowercase);
    let is_access = typ.as_deref().is_some_and(|typ| typ.ends_with("at+jwt"));
    assert!(if is_access { kind != Kind::IdToken } else { kind != Kind::AccessToken });
}

fn check_claims(claims: &Value, kind: Kind) {
    let now = NOW as f64;
    assert_eq!(claims["iss"], ISSUER);
    let audiences = claims["aud"].as_array().cloned().unwrap_or_else(|| vec![claims["aud"].clone()]);
    assert!(audiences.contains(&"edge".into()) && audiences.iter().all(Value::is_string));
    assert!(claims["exp"].as_f64().expect("a number") > now - LEEWAY);
    for begins in ["nbf", "iat"] {
        if let Some(begins) = claims.get(begins) {
            assert!(begins.as_f64().expect("a number") < now + LEEWAY + 1.0);
        }
    }
    assert!(claims.get("events").is_none());
    if kind == Kind::IdToken {
        assert!(claims["sub"].as_str().is_some_and(|subject| !subject.is_empty()) && claims["iat"].is_number());
        let party = claims.get("azp").filter(|party| !party.is_null());
        assert!(party.map_or(audiences.len() == 1, |party| party == "edge"));
    }
}

fn check_person(claims: &serde_json::Map<String, Value>) {
    let Ok(person) = Person::of(claims, &ClaimNames::default()) else { return };
    assert!(claims.get("email_verified") != Some(&Value::Bool(false)));
    assert_eq!(person.user.matches('@').count(), 1);
    assert_eq!(*person.user, person.user.to_lowercase());
    assert!(!person.user.contains(char::is_whitespace) && !person.name.trim().is_empty());
    for text in [&person.user, &person.name] {
        assert!(!text.chars().any(char::is_control) && text.len() <= 512, "{text:?}");
    }
}
