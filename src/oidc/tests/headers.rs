//! Hostile headers, and texts that are no tokens.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use hmac::Mac as _;

use super::*;

fn unsigned(header: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", encode(header), encode(&claims(ISSUER)))
}

/// All spellings of a word in lower and upper case.
fn spellings(word: &str) -> Vec<String> {
    (0..1u32 << word.len())
        .map(|bits| {
            let spelled = word.char_indices();
            spelled.map(|(at, c)| if bits >> at & 1 == 1 { c.to_ascii_uppercase() } else { c }).collect()
        })
        .collect()
}

#[test]
fn no_spelling_of_none_needs_no_signature() {
    let case = Case::new();
    let mut words = spellings("none");
    words.extend([" none", "none ", "none\0", "nоne", "", "null", "NONE\n", "n\u{200b}one"].map(str::to_owned));
    for word in words {
        let header = json!({"alg": word, "kid": "r"});
        let bare = unsigned(&header);
        let signed = case.rsa.token_with(&header.to_string(), claims(ISSUER).to_string());
        for token in [bare, signed] {
            assert_eq!(case.id_token(&token), Err(Why::Algorithm), "{word:?}");
        }
    }
    for alg in [json!(null), json!(0), json!(["RS256"]), json!({"RS256": true}), json!(false)] {
        assert!(case.id_token(&unsigned(&json!({"alg": alg, "kid": "r"}))).is_err(), "{alg}");
    }
    assert_eq!(case.id_token(&unsigned(&json!({"kid": "r"}))), Err(Why::Algorithm));
    assert_eq!(case.id_token(&unsigned(&json!({"alg": "RS256", "kid": "r"}))), Err(Why::Signature));
}

#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    let case = Case::new();
    let pem = include_str!("../../../tests/it/tls/rsa.key");
    let jwk = case.rsa.jwk();
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let secrets = [jwk.to_string().into_bytes(), modulus, pem.as_bytes().to_vec(), jwks(&[&case.rsa]).into_bytes()];
    for name in ["HS256", "HS384", "HS512", "hs256"] {
        let signed = unsigned(&json!({"alg": name, "kid": "r"}));
        let signed = signed.trim_end_matches('.');
        for secret in &secrets {
            let mac = <hmac::Hmac<sha2::Sha256> as hmac::Mac>::new_from_slice(secret).unwrap();
            let proof = URL_SAFE_NO_PAD.encode(mac.chain_update(signed).finalize().into_bytes());
            assert_eq!(case.id_token(&format!("{signed}.{proof}")), Err(Why::Algorithm), "{name}");
        }
    }
}

#[test]
fn an_algorithm_is_its_keys_own() {
    let case = Case::new();
    let payload = claims(ISSUER).to_string();
    for name in ["ES256", "ES384", "EdDSA"] {
        let token = case.rsa.token_with(&json!({"alg": name, "kid": "r"}).to_string(), &payload);
        assert_eq!(case.id_token(&token), Err(Why::UnknownKey), "{name} by an RSA key");
    }
    for name in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        let token = case.rsa.token_with(&json!({"alg": name, "kid": "r"}).to_string(), &payload);
        assert_eq!(case.id_token(&token), Err(Why::Signature), "{name} is not RS256");
    }
    for name in ["rs256", "RS1", "ES256K", "ES512", "Ed448", "RSA-OAEP", "RS256 ", "dir", "A128KW"] {
        let token = case.rsa.token_with(&json!({"alg": name, "kid": "r"}).to_string(), &payload);
        assert_eq!(case.id_token(&token), Err(Why::Algorithm), "{name}");
    }
    // The name of a key of another kind, and of none.
    for kid in ["e", "d", "R", "r ", "", "../../dev/null", "' or 1=1", "r\0"] {
        let token = case.rsa.token_with(&json!({"alg": "RS256", "kid": kid}).to_string(), &payload);
        assert_eq!(case.id_token(&token), Err(Why::UnknownKey), "{kid:?}");
    }
    for kid in [json!(1), json!(null), json!(["r"]), json!({"r": 1})] {
        let token = case.rsa.token_with(&json!({"alg": "RS256", "kid": kid}).to_string(), &payload);
        assert_eq!(case.id_token(&token), Err(Why::Malformed), "{kid}");
    }
    // Without a name, the kind decides where it leaves no choice.
    case.id_token(&case.rsa.token_with(r#"{"alg":"RS256"}"#, &payload)).unwrap();
}

#[test]
fn without_a_name_there_must_be_no_choice() {
    let (one, two) = (Signer::ec("1", "ES256"), Signer::ec("2", "ES256"));
    let case = Case { issuer: Issuer::knowing(ISSUER, &jwks(&[&one, &two]), NOW), rsa: one, ec: two };
    let token = case.rsa.token_with(r#"{"alg":"ES256"}"#, claims(ISSUER).to_string());
    assert_eq!(case.id_token(&token), Err(Why::UnknownKey));
}

#[test]
fn a_key_that_a_token_brings_is_nobodys() {
    let case = Case::new();
    let own = Signer::ec("own", "ES256");
    let payload = claims(ISSUER).to_string();
    let brought = json!({"jwk": own.jwk(), "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x",
        "x5c": ["MIIB"], "x5t": "abc"});
    let named = |signer: &Signer, kid: &str| {
        let mut header = brought.clone();
        header["alg"] = "ES256".into();
        header["kid"] = kid.into();
        signer.token_with(&header.to_string(), &payload)
    };
    assert_eq!(case.id_token(&named(&own, "own")), Err(Why::UnknownKey));
    assert_eq!(case.id_token(&named(&own, "e")), Err(Why::Signature));
    case.id_token(&named(&case.ec, "e")).expect("what is not looked at does no harm");
}

#[test]
fn what_a_token_demands_must_be_understood() {
    let case = Case::new();
    let payload = claims(ISSUER).to_string();
    for header in [
        r#"{"alg":"RS256","kid":"r","crit":["exp"],"exp":1}"#,
        r#"{"alg":"RS256","kid":"r","crit":[]}"#,
        r#"{"alg":"RS256","kid":"r","crit":null}"#,
        r#"{"alg":"RS256","kid":"r","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"RS256","kid":"r","b64":true}"#,
    ] {
        assert_eq!(case.id_token(&case.rsa.token_with(header, &payload)), Err(Why::Critical), "{header}");
    }
}

#[test]
fn one_kind_of_token_does_not_pass_for_another() {
    let case = Case::new();
    let token = |typ: Value| {
        case.rsa.token_with(&json!({"alg": "RS256", "kid": "r", "typ": typ}).to_string(), claims(ISSUER).to_string())
    };
    let access = Expected { kind: Kind::AccessToken, ..Expected::bearer(vec![CLIENT.to_owned()]) };
    for (typ, as_id, as_access, as_any) in [
        ("JWT", true, false, true),
        ("jwt", true, false, true),
        ("application/jwt", true, false, true),
        ("at+jwt", false, true, true),
        ("application/AT+JWT", false, true, true),
        ("logout+jwt", false, false, false),
        ("dpop+jwt", false, false, false),
        ("secevent+jwt", false, false, false),
        ("JOSE", false, false, false),
        ("", false, false, false),
    ] {
        let token = token(typ.into());
        for (judged, passes) in
            [(case.id_token(&token), as_id), (case.judged(&token, &access), as_access), (case.bearer(&token), as_any)]
        {
            assert_eq!(judged.map(drop), if passes { Ok(()) } else { Err(Why::Kind) }, "{typ}");
        }
    }
    assert_eq!(case.id_token(&token(1.into())), Err(Why::Malformed));
    let logout = json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}});
    assert_eq!(case.bearer(&case.rsa.token(&with(logout))), Err(Why::Kind));
}

#[test]
fn what_says_two_things_says_nothing() {
    let case = Case::new();
    let payload = claims(ISSUER).to_string();
    for header in [
        r#"{"alg":"none","alg":"RS256","kid":"r"}"#,
        r#"{"alg":"RS256","alg":"RS256","kid":"r"}"#,
        r#"{"alg":"RS256","kid":"x","k\u0069d":"r"}"#,
        r#"{"alg":"RS256","kid":"r","x":{"a":1,"a":1}}"#,
    ] {
        assert_eq!(case.id_token(&case.rsa.token_with(header, &payload)), Err(Why::Malformed), "{header}");
    }
    let doubled = |more: &str| format!("{},{more}}}", payload.trim_end_matches('}'));
    for more in [
        r#""aud":"edge""#,
        r#""iss":"https://evil.example""#,
        r#""exp":9999999999"#,
        r#""\u0065mail":"boss@example.com""#,
        r#""x":{"a":1,"a":2}"#,
    ] {
        let token = case.rsa.token_with(r#"{"alg":"RS256","kid":"r"}"#, doubled(more));
        assert_eq!(case.id_token(&token), Err(Why::Malformed), "{more}");
    }
}

#[test]
fn a_text_that_is_no_token_is_none() {
    let case = Case::new();
    let token = case.rsa.token(&claims(ISSUER));
    let [header, payload, proof] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let standard = STANDARD.encode(URL_SAFE_NO_PAD.decode(proof).unwrap());
    let padded = URL_SAFE.encode(URL_SAFE_NO_PAD.decode(payload).unwrap());
    for text in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "....".to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{proof}."),
        format!(".{header}.{payload}.{proof}"),
        format!("{header}.{payload}.{proof}.{proof}.{proof}"),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{header}.{payload}.{standard}"),
        format!("{header}.{payload}.{proof}="),
        format!("{header}=.{payload}.{proof}"),
        format!("{header}.{payload}.{proof}\0"),
        format!("{}.{payload}.{proof}", URL_SAFE_NO_PAD.encode("[]")),
        format!("{}.{payload}.{proof}", URL_SAFE_NO_PAD.encode("\"RS256\"")),
        format!("{}.{payload}.{proof}", URL_SAFE_NO_PAD.encode("{\"alg\":\"RS256\"} x")),
        format!("{}.{payload}.{proof}", URL_SAFE_NO_PAD.encode(b"{\"alg\":\"RS256\xff\"}")),
        format!("é{token}"),
    ] {
        assert_eq!(case.id_token(&text), Err(Why::Malformed), "{text}");
    }
    assert_ne!(padded, payload, "there is padding to be refused");
    assert!(case.id_token(&format!("{header}.{padded}.{proof}")).is_err());
    for end in 0..token.len() {
        assert!(case.id_token(&token[..end]).is_err(), "truncated after {end}");
    }
}

#[test]
fn what_is_signed_must_be_an_object_too() {
    let case = Case::new();
    let header = r#"{"alg":"RS256","kid":"r"}"#;
    for payload in
        [&b"[]"[..], b"1", b"", b"null", b"\xff\xfe", b"{\"iss\":\"\xc3\x28\"}", b"{} {}", b"{\"a\":\"\x00\"}"]
    {
        assert_eq!(case.id_token(&case.rsa.token_with(header, payload)), Err(Why::Malformed), "{payload:?}");
    }
    let nested = case.rsa.token(&claims(ISSUER));
    assert_eq!(case.id_token(&case.rsa.token_with(header, &nested)), Err(Why::Malformed), "a token in a token");
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(case.id_token(&case.rsa.token_with(header, deep)), Err(Why::Malformed));
}

#[test]
fn a_token_is_of_bounded_size() {
    let case = Case::new();
    let sized = |filler: usize| case.rsa.token(&with(json!({"filler": "x".repeat(filler)})));
    let room = (16 * 1024 - sized(0).len()) / 4 * 3;
    let (largest, larger) = (sized(room - 16), sized(room + 16));
    assert!(largest.len() <= 16 * 1024 && larger.len() > 16 * 1024);
    case.id_token(&largest).unwrap();
    assert_eq!(case.id_token(&larger), Err(Why::TooLarge));
}
