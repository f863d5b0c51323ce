use serde_json::json;

use super::*;

fn of(status: u16, body: &Value) -> Result<Granted, No> {
    granted(StatusCode::from_u16(status).unwrap(), body.to_string().as_bytes())
}

#[test]
fn a_yes_is_a_bearer_token() {
    let full =
        json!({"access_token": "a", "token_type": "bearer", "id_token": "i", "refresh_token": "r", "expires_in": 600});
    let granted = of(200, &full).unwrap();
    assert_eq!(granted.access_token, Secret::new("a"));
    assert_eq!((granted.id_token, granted.refresh_token), (Some(Secret::new("i")), Some(Secret::new("r"))));
    assert_eq!(granted.check_after, Duration::from_secs(600));
    let least = of(200, &json!({"access_token": "a"})).unwrap();
    assert!(least.id_token.is_none() && least.refresh_token.is_none());
    let check =
        |lives: Value| of(200, &json!({"access_token": "a", "expires_in": lives})).unwrap().check_after.as_secs();
    assert_eq!([0, 61, 1_000_000].map(|lives| check(json!(lives))), [60, 61, 3600]);
    assert_eq!([json!(null), json!("600"), json!(-1), json!(1e300)].map(check), [300; 4]);
    let large = |length: usize| of(200, &json!({"access_token": "a", "refresh_token": "r".repeat(length)})).unwrap();
    assert!(large(8192).refresh_token.is_some() && large(8193).refresh_token.is_none());
}

#[test]
fn what_is_no_yes_is_none() {
    for body in [
        json!({}),
        json!([]),
        json!({"access_token": ""}),
        json!({"access_token": 1}),
        json!({"access_token": "a b"}),
        json!({"access_token": "a\r\nb: c"}),
        json!({"access_token": "a", "token_type": "mac"}),
        json!({"access_token": "a", "token_type": 1}),
    ] {
        assert!(matches!(of(200, &body), Err(No::Else(_))), "{body}");
    }
    for status in [302, 400, 401, 404, 500, 503] {
        let no = of(status, &json!({"access_token": "a"})).unwrap_err();
        assert!(no.to_string().contains(&status.to_string()), "{no}");
    }
    assert!(matches!(granted(StatusCode::OK, b"<html>"), Err(No::Else(_))));
    assert!(matches!(granted(StatusCode::OK, br#"{"access_token":"a","access_token":"b"}"#), Err(No::Else(_))));
}

#[test]
fn a_no_ends_a_grant_only_if_it_says_so() {
    for code in OVER {
        for status in [200, 400, 401] {
            assert_eq!(of(status, &json!({"error": code})).unwrap_err(), No::Over(code));
        }
        assert!(matches!(of(500, &json!({"error": code})), Err(No::Else(_))));
    }
    for code in ["invalid_client", "invalid_request", "temporarily_unavailable", "server_error"] {
        assert_eq!(of(400, &json!({"error": code})).unwrap_err().to_string(), format!("it says {code}"));
    }
    // What it may quote is not shown.
    for error in [json!("secret-code-0123"), json!(1), json!(null), json!({"a": "secret"}), json!("invalid_grant\nx")] {
        let no = of(400, &json!({"error": error, "error_description": "secret"})).unwrap_err();
        assert_eq!(no, No::Else("it gives a reason of its own".to_owned()), "{error}");
    }
}

#[test]
fn id_and_secret_are_escaped_before_they_are_joined() {
    let value = basic("edge:1", &Secret::new("a b:ü%")).unwrap();
    assert_eq!(value, format!("Basic {}", STANDARD.encode("edge%3A1:a+b%3A%C3%BC%25")));
}
