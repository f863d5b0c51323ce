//! Tokens with the right signature and the wrong claims.

use super::*;

#[test]
fn an_issuer_is_named_to_the_character() {
    let case = Case::new();
    for issuer in [
        "https://sso.example.com/",
        "https://sso.example.com.evil.example",
        "https://evil.example/https://sso.example.com",
        "https://sso.example.co",
        "HTTPS://sso.example.com",
        "https://SSO.example.com",
        "https://sso.example.com:443",
        "http://sso.example.com",
        " https://sso.example.com",
        "",
    ] {
        assert_eq!(case.id_token(&case.rsa.token(&with(json!({"iss": issuer})))), Err(Why::Issuer), "{issuer}");
    }
    for issuer in
        [json!(null), json!(1), json!([ISSUER]), json!([ISSUER, "https://evil.example"]), json!({"a": ISSUER})]
    {
        assert_eq!(case.id_token(&case.rsa.token(&with(json!({"iss": issuer})))), Err(Why::Claim("iss")), "{issuer}");
    }
}

#[test]
fn a_token_is_for_us_or_not() {
    let case = Case::new();
    for (changes, judged) in [
        (json!({"aud": "edge"}), Ok(())),
        (json!({"aud": ["edge"]}), Ok(())),
        (json!({"aud": ["edge", "other"], "azp": "edge"}), Ok(())),
        (json!({"aud": "edge", "azp": "edge"}), Ok(())),
        (json!({"aud": ["edge", "other"]}), Err(Why::Party)),
        (json!({"aud": ["edge", "other"], "azp": "other"}), Err(Why::Party)),
        (json!({"aud": ["edge", "edge"]}), Err(Why::Party)),
        (json!({"aud": "edge", "azp": "other"}), Err(Why::Party)),
        (json!({"aud": "edge", "azp": ""}), Err(Why::Party)),
        (json!({"aud": "edge", "azp": ["edge"]}), Err(Why::Claim("azp"))),
        (json!({"aud": "other"}), Err(Why::Audience)),
        (json!({"aud": "edge "}), Err(Why::Audience)),
        (json!({"aud": "Edge"}), Err(Why::Audience)),
        (json!({"aud": "edge2"}), Err(Why::Audience)),
        (json!({"aud": ""}), Err(Why::Audience)),
        (json!({"aud": []}), Err(Why::Audience)),
        (json!({"aud": ["other", "edge.example"]}), Err(Why::Audience)),
        (json!({"aud": ["edge", 1]}), Err(Why::Claim("aud"))),
        (json!({"aud": [["edge"]]}), Err(Why::Claim("aud"))),
        (json!({"aud": {"edge": true}}), Err(Why::Claim("aud"))),
        (json!({"aud": true}), Err(Why::Claim("aud"))),
        (json!({"aud": null}), Err(Why::Claim("aud"))),
    ] {
        assert_eq!(case.id_token(&case.rsa.token(&with(changes.clone()))).map(drop), judged, "{changes}");
    }
    let nobody = Expected::bearer(Vec::new());
    assert_eq!(case.judged(&case.rsa.token(&claims(ISSUER)), &nobody), Err(Why::Audience));
}

#[test]
fn who_asked_for_an_access_token_does_not_matter() {
    let case = Case::new();
    let token = case.rsa.token(&with(json!({"aud": ["account", "api"], "azp": "a-web-page", "nonce": null})));
    case.bearer(&token).unwrap();
    assert_eq!(case.bearer(&case.rsa.token(&with(json!({"aud": "account", "azp": "api"})))), Err(Why::Audience));
}

#[test]
fn a_token_has_its_time() {
    let case = Case::new();
    for (changes, judged) in [
        (json!({"exp": SECONDS + 1}), Ok(())),
        (json!({"exp": SECONDS - 59}), Ok(())),
        (json!({"exp": SECONDS - 60}), Err(Why::Expired)),
        (json!({"exp": SECONDS - 3600}), Err(Why::Expired)),
        (json!({"exp": 0}), Err(Why::Expired)),
        (json!({"exp": 1.5}), Err(Why::Expired)),
        (json!({"exp": (SECONDS as f64) + 0.5}), Ok(())),
        (json!({"exp": null}), Err(Why::Claim("exp"))),
        (json!({"exp": (SECONDS + 3600).to_string()}), Err(Why::Claim("exp"))),
        (json!({"exp": -1}), Err(Why::Claim("exp"))),
        (json!({"exp": -0.5}), Err(Why::Claim("exp"))),
        (json!({"exp": 1e300}), Err(Why::Claim("exp"))),
        (json!({"exp": u64::MAX}), Err(Why::Claim("exp"))),
        (json!({"exp": i64::MAX}), Err(Why::Claim("exp"))),
        (json!({"exp": i64::MIN}), Err(Why::Claim("exp"))),
        (json!({"exp": (SECONDS + 3600) * 1000}), Err(Why::Claim("exp"))),
        (json!({"exp": true}), Err(Why::Claim("exp"))),
        (json!({"exp": [SECONDS + 3600]}), Err(Why::Claim("exp"))),
        (json!({"exp": {"$gt": 0}}), Err(Why::Claim("exp"))),
        (json!({"nbf": SECONDS - 1}), Ok(())),
        (json!({"nbf": SECONDS + 60}), Ok(())),
        (json!({"nbf": SECONDS + 61}), Err(Why::NotYet)),
        (json!({"nbf": "0"}), Err(Why::Claim("nbf"))),
        (json!({"nbf": -1}), Err(Why::Claim("nbf"))),
        (json!({"iat": SECONDS + 60}), Ok(())),
        (json!({"iat": SECONDS + 3600}), Err(Why::NotYet)),
        (json!({"iat": SECONDS * 1000}), Err(Why::Claim("iat"))),
        (json!({"iat": "now"}), Err(Why::Claim("iat"))),
        (json!({"iat": null}), Err(Why::Claim("iat"))),
    ] {
        assert_eq!(case.id_token(&case.rsa.token(&with(changes.clone()))).map(drop), judged, "{changes}");
    }
    case.bearer(&case.rsa.token(&with(json!({"iat": null, "sub": null})))).expect("a program's token may lack both");
}

#[test]
fn null_is_no_number_and_no_text() {
    let case = Case::new();
    for name in ["exp", "nbf", "iat", "aud", "iss", "sub"] {
        let mut claims = claims(ISSUER);
        claims[name] = Value::Null;
        assert_eq!(case.bearer(&case.rsa.token(&claims)).unwrap_err().to_string(), Why::Claim(name).to_string());
    }
}

#[test]
fn a_token_is_of_one_log_in() {
    let case = Case::new();
    for nonce in [json!(null), json!(""), json!("n-0S"), json!("n-0S6 "), json!("N-0S6"), json!(0), json!(["n-0S6"])] {
        assert_eq!(case.id_token(&case.rsa.token(&with(json!({"nonce": nonce})))), Err(Why::Nonce), "{nonce}");
    }
    case.judged(&case.rsa.token(&with(json!({"nonce": null}))), &Expected::id_token(CLIENT, None)).unwrap();
}

#[test]
fn an_id_token_means_somebody() {
    let case = Case::new();
    for subject in [json!(null), json!(""), json!(1), json!(["a"]), json!("x".repeat(256))] {
        assert_eq!(case.id_token(&case.rsa.token(&with(json!({"sub": subject})))), Err(Why::Claim("sub")), "{subject}");
    }
}
