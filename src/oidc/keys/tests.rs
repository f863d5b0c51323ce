use serde_json::json;

use super::super::testing::Signer;
use super::*;

fn read(keys: &Value) -> Result<usize, BadKeys> {
    Keys::read(json!({ "keys": keys }).to_string().as_bytes()).map(|keys| keys.len())
}

/// A key with a member changed; `null` takes it away.
fn but(signer: &Signer, name: &str, value: Value) -> Value {
    let mut jwk = signer.jwk();
    if value.is_null() {
        jwk.as_object_mut().unwrap().remove(name);
    } else {
        jwk[name] = value;
    }
    jwk
}

#[test]
fn each_algorithm_is_verified_by_its_key_alone() {
    let mut signers: Vec<_> =
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map(|name| Signer::rsa("rsa", name)).into();
    signers.extend(["ES256", "ES384"].map(|name| Signer::ec(name, name)));
    signers.push(Signer::ed("ed"));
    let (ec, ed) = (Signer::ec("other", "ES256"), Signer::ed("other"));
    let document = json!({"keys": [signers[0].jwk(), signers[6].jwk(), signers[7].jwk(), signers[8].jwk()]});
    let keys = Keys::read(document.to_string().as_bytes()).unwrap();
    let others = Keys::read(json!({"keys": [ec.jwk(), ed.jwk()]}).to_string().as_bytes()).unwrap();
    for signer in &signers {
        let algorithm = Algorithm::named(signer.algorithm).unwrap();
        let proof = signer.sign(b"message");
        let found = |keys: &Keys, kid, message: &[u8]| keys.verify(kid, algorithm, message, &proof);
        let name = signer.algorithm;
        assert_eq!(found(&keys, Some(&signer.kid), b"message"), Found::Right, "{name}");
        assert_eq!(found(&keys, None, b"message"), Found::Right, "{name} without a name");
        assert_eq!(found(&keys, Some(&signer.kid), b"Message"), Found::Wrong, "{name}");
        assert_eq!(found(&keys, Some("else"), b"message"), Found::Nothing, "{name}");
        let by_others = if matches!(name, "ES256" | "EdDSA") { Found::Wrong } else { Found::Nothing };
        assert_eq!(found(&others, None, b"message"), by_others, "{name} by keys of others");
    }
}

#[test]
fn a_key_is_for_what_it_says() {
    let rsa = Signer::rsa("r", "RS256");
    for sound in [
        but(&rsa, "use", Value::Null),
        but(&rsa, "alg", json!("RS256")),
        but(&rsa, "key_ops", json!(["verify"])),
        but(&rsa, "key_ops", json!(["sign", "verify"])),
        but(&rsa, "kid", Value::Null),
        but(&rsa, "x5c", json!(["not looked at"])),
        but(&rsa, "d", json!("a private key that should not be here")),
    ] {
        assert_eq!(read(&json!([sound])), Ok(1), "{sound}");
    }
    for unfit in [
        but(&rsa, "use", json!("enc")),
        but(&rsa, "use", json!(["sig"])),
        but(&rsa, "use", json!("")),
        but(&rsa, "alg", json!("RSA-OAEP")),
        but(&rsa, "alg", json!("HS256")),
        but(&rsa, "alg", json!("none")),
        but(&rsa, "alg", json!("ES256")),
        but(&rsa, "alg", json!(1)),
        but(&rsa, "key_ops", json!(["encrypt"])),
        but(&rsa, "key_ops", json!([])),
        but(&rsa, "key_ops", json!("verify")),
        but(&rsa, "kid", json!(1)),
        but(&rsa, "kid", json!("x".repeat(1025))),
        but(&rsa, "kty", json!("rsa")),
        but(&rsa, "kty", json!("EC")),
        but(&rsa, "kty", Value::Null),
        json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0", "alg": "HS256"}),
        json!({"kty": "AKP", "kid": "q", "alg": "ML-DSA-44", "pub": "AA"}),
        json!("a text"),
        json!(null),
    ] {
        assert_eq!(read(&json!([unfit])), Err(BadKeys::None), "{unfit}");
        assert_eq!(read(&json!([unfit, Signer::ed("d").jwk()])), Ok(1), "{unfit} does no harm to others");
    }
    let narrowed = json!({"keys": [but(&rsa, "alg", json!("PS256"))]}).to_string();
    let keys = Keys::read(narrowed.as_bytes()).unwrap();
    let proof = rsa.sign(b"message");
    assert_eq!(keys.verify(Some("r"), Algorithm::Rs(Hash::Sha256), b"message", &proof), Found::Nothing);
}

#[test]
fn weak_and_broken_keys_are_none() {
    let rsa = Signer::rsa("r", "RS256");
    let text = |bytes: &[u8]| json!(URL_SAFE_NO_PAD.encode(bytes));
    let modulus = |bytes: usize, first: u8, last: u8| {
        let mut n = vec![0x5a; bytes];
        (n[0], n[bytes - 1]) = (first, last);
        text(&n)
    };
    for (n, count) in [
        (modulus(256, 0x80, 1), Ok(1)),
        (modulus(1024, 0xff, 1), Ok(1)),
        (modulus(256, 0x7f, 1), Err(BadKeys::None)),
        (modulus(128, 0x80, 1), Err(BadKeys::None)),
        (modulus(1025, 0x80, 1), Err(BadKeys::None)),
        (modulus(256, 0x80, 2), Err(BadKeys::None)),
        (modulus(257, 0, 1), Err(BadKeys::None)),
        (text(&[0; 256]), Err(BadKeys::None)),
        (text(&[]), Err(BadKeys::None)),
        (json!("not base64!"), Err(BadKeys::None)),
        (json!(65537), Err(BadKeys::None)),
    ] {
        assert_eq!(read(&json!([but(&rsa, "n", n.clone())])), count, "{n}");
    }
    for e in [text(&[]), text(&[0]), text(&[1]), text(&[2]), text(&[0, 1]), text(&[1, 0, 0]), text(&[1, 0, 0, 0, 1])] {
        assert_eq!(read(&json!([but(&rsa, "e", e.clone())])), Err(BadKeys::None), "{e}");
    }
    let zeroed = [&[0][..], &URL_SAFE_NO_PAD.decode(rsa.jwk()["n"].as_str().unwrap()).unwrap()].concat();
    let keys = Keys::read(json!({"keys": [but(&rsa, "n", text(&zeroed))]}).to_string().as_bytes()).unwrap();
    let proof = rsa.sign(b"message");
    assert_eq!(keys.verify(None, Algorithm::Rs(Hash::Sha256), b"message", &proof), Found::Right, "as some write it");
    let ec = Signer::ec("e", "ES256");
    for (name, value) in
        [("x", text(&[1; 31])), ("y", text(&[1; 33])), ("crv", json!("P-384")), ("crv", json!("P-521"))]
    {
        assert_eq!(read(&json!([but(&ec, name, value)])), Err(BadKeys::None), "{name}");
    }
    for (name, value) in [("x", text(&[1; 31])), ("crv", json!("Ed448")), ("crv", json!("X25519"))] {
        assert_eq!(read(&json!([but(&Signer::ed("d"), name, value)])), Err(BadKeys::None), "{name}");
    }
}

#[test]
fn a_point_that_is_on_no_curve_verifies_nothing() {
    let ec = Signer::ec("e", "ES256");
    let moved = but(&ec, "x", json!(URL_SAFE_NO_PAD.encode([7; 32])));
    let keys = Keys::read(json!({ "keys": [moved] }).to_string().as_bytes()).unwrap();
    let proof = ec.sign(b"message");
    assert_eq!(keys.verify(Some("e"), Algorithm::Es(Curve::P256), b"message", &proof), Found::Wrong);
}

#[test]
fn one_name_is_one_key() {
    let (one, two) = (Signer::ec("same", "ES256"), Signer::ec("same", "ES256"));
    assert_eq!(read(&json!([one.jwk(), two.jwk()])), Err(BadKeys::Twice));
    assert_eq!(read(&json!([one.jwk(), one.jwk()])), Err(BadKeys::Twice));
    // One name for two kinds leaves no doubt, nor do two algorithms.
    assert_eq!(read(&json!([one.jwk(), Signer::ed("same").jwk(), Signer::ec("same", "ES384").jwk()])), Ok(3));
    let rsa = Signer::rsa("same", "RS256");
    assert_eq!(read(&json!([but(&rsa, "alg", json!("RS256")), but(&rsa, "alg", json!("PS256"))])), Ok(2));
    assert_eq!(read(&json!([but(&rsa, "alg", json!("RS256")), rsa.jwk()])), Err(BadKeys::Twice));
    let nameless = |signer: &Signer| but(signer, "kid", Value::Null);
    assert_eq!(read(&json!([nameless(&one), nameless(&two)])), Ok(2));
}

#[test]
fn a_hostile_document_is_refused() {
    for document in
        ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":null}", "<html>", "{\"keys\":[],\"keys\":[]}", "\u{feff}{}"]
    {
        assert_eq!(Keys::read(document.as_bytes()).unwrap_err(), BadKeys::Malformed, "{document}");
    }
    assert_eq!(read(&json!([])), Err(BadKeys::None));
    let many = |count: usize| json!((0..count).map(|at| Signer::ed(&at.to_string()).jwk()).collect::<Vec<_>>());
    assert_eq!(read(&many(64)), Ok(64));
    assert_eq!(read(&many(65)), Err(BadKeys::TooMany));
}
