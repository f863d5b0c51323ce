//! Names, generations, fingerprints.

use super::*;

fn granted(refresh: Option<&str>) -> Granted {
    Granted {
        access_token: Secret::new("access"),
        refresh_token: refresh.map(Secret::new),
        token_type: "Bearer".to_owned(),
        scope: None,
        expires_in: Duration::from_secs(60),
        refresh_expires_in: None,
        note: None,
    }
}

fn first() -> Record {
    let granted = Granted {
        scope: Some("openid".to_owned()),
        refresh_expires_in: Some(Duration::from_secs(600)),
        ..granted(Some("refresh-1"))
    };
    let registration =
        Registration { client_id: "client".to_owned(), client_secret: Secret::new("client secret"), expires_at: None };
    Record::first(&"idp".into(), &granted, Some(registration), 1_000)
}

#[test]
fn fresh_names_say_whose_and_are_nobody_elses() {
    for (provider, begins) in [
        ("kiro", "kiro-"),
        ("Kiro Cloud", "kiro-cloud-"),
        ("--a__b--", "a-b-"),
        ("\u{e4}", "token-"),
        ("", "token-"),
        (&"x".repeat(200), "xxxx"),
        (&"ab-".repeat(50), "ab-ab-"),
    ] {
        let (one, other) = (TokenId::fresh(provider), TokenId::fresh(provider));
        assert_ne!(one, other);
        assert_eq!(TokenId::parse(one.as_str()).as_ref(), Some(&one), "{one}");
        assert!(one.as_str().starts_with(begins), "{one}");
        let tail = one.as_str().rsplit('-').next().unwrap();
        assert!(tail.len() == 8 && tail.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')), "{one}");
    }
    assert_eq!(TokenId::fresh(&"x".repeat(200)).as_str().len(), 64);
}

#[test]
fn names_that_are_none() {
    for wrong in ["", "A", "a.b", "a/b", "..", "a b", "\u{e4}", &"a".repeat(65)] {
        assert_eq!(TokenId::parse(wrong), None, "{wrong:?}");
    }
}

#[test]
fn the_next_generation_keeps_what_was_not_said_again() {
    let mut first = first();
    first.reason = Some("stale_restore".to_owned());
    first.last_error = Some("timeout".to_owned());
    first.state = State::NeedsLogin;
    first.further.insert("x".to_owned(), 1.into());
    let second = first.next(&granted(None), 5_000);
    let expected = Record {
        generation: 2,
        obtained_at: 5_000,
        expires_at: 65_000,
        previous: Some((1, hex::encode(Sha256::digest("refresh-1")))),
        access_token: Secret::new("access"),
        state: State::Valid,
        reason: None,
        last_error: None,
        ..first.clone()
    };
    assert!(second == expected, "{second:?}");
    assert_eq!(second.refresh_expires_at, Some(601_000));
}

#[test]
fn a_new_refresh_token_has_an_end_of_its_own() {
    let second = first().next(&granted(Some("refresh-2")), 5_000);
    assert_eq!(second.refresh_token, Some(Secret::new("refresh-2")));
    assert_eq!(second.refresh_expires_at, None, "the old token's end is not the new one's");
    let endless = Granted { expires_in: Duration::MAX, ..granted(None) };
    assert_eq!(first().next(&endless, 5_000).expires_at, moment::LAST);
}

#[test]
fn without_a_refresh_token_nothing_was_spent() {
    let alone = Record { refresh_token: None, ..first() };
    assert_eq!((alone.next(&granted(None), 1).previous, alone.refresh_sha256()), (None, None));
    assert_eq!(alone.fingerprint(), hex::encode(Sha256::digest("access"))[..8]);
    assert_eq!(first().fingerprint(), hex::encode(Sha256::digest("refresh-1"))[..8]);
}

#[test]
fn logins_are_told_apart() {
    assert_ne!(first().lineage, first().lineage);
}

#[test]
fn debug_output_shows_no_secret() {
    let mut record = first();
    record.further.insert("id_token".to_owned(), "secret too".into());
    let shown = format!("{record:?}");
    for secret in ["access", "refresh-1", "client secret", "secret too"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
