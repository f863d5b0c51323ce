use serde_json::json;

use super::*;

fn of(claims: Value) -> Result<(String, String), NoPerson> {
    by(claims, &ClaimNames::default())
}

fn by(claims: Value, names: &ClaimNames) -> Result<(String, String), NoPerson> {
    let Value::Object(claims) = claims else { panic!("an object") };
    Person::of(&claims, names).map(|person| (person.user.to_string(), person.name.to_string()))
}

fn said(user: &str, name: &str) -> Result<(String, String), NoPerson> {
    Ok((user.to_owned(), name.to_owned()))
}

#[test]
fn the_user_is_a_mail_address_in_lower_case() {
    assert_eq!(of(json!({"email": "Wang.Fang@Example.COM"})), said("wang.fang@example.com", "wang.fang@example.com"));
    for mail in ["a@b", "a+b@c.d", "o'neil@example.com", "x=y/z@example.com", "王芳@例子.中国", "a@[::1]"] {
        let judged = of(json!({"email": mail}));
        assert_eq!(judged.is_ok(), !mail.contains('['), "{mail}");
    }
    for none in [
        "",
        "wangfang",
        "@example.com",
        "a@",
        "a b@c.d",
        "a@b c",
        "a@b@c",
        "a@b\r\nx-kms-user: root",
        "a@b\0",
        "\"a b\"@c",
        "a@b,c@d",
        "Wang <a@b>",
        "a@b;",
        "a@b\u{200b}",
        "a\u{202e}@b",
        " a@b",
        "a@b ",
        "a\\@b",
        "a:b@c",
    ] {
        assert_eq!(of(json!({"email": none})), Err(NoPerson::NoMail), "{none:?}");
    }
    let long = format!("{}@example.com", "a".repeat(243));
    assert_eq!(of(json!({"email": long})), Err(NoPerson::NoMail));
    for none in [json!(1), json!(["a@b.c"]), json!({"value": "a@b.c"}), json!(true)] {
        assert_eq!(of(json!({"email": none})), Err(NoPerson::NoMail), "{none}");
    }
}

#[test]
fn other_claims_stand_in_if_they_hold_a_mail_address() {
    assert_eq!(of(json!({"upn": "A@b.c", "name": "x"})), said("a@b.c", "x"));
    assert_eq!(of(json!({"preferred_username": "wf", "upn": "A@b.c"})), said("a@b.c", "wf"));
    assert_eq!(of(json!({"sub": "A@b.c", "email": null})), said("a@b.c", "a@b.c"));
    assert_eq!(of(json!({"sub": "248289761001", "preferred_username": "wf"})), Err(NoPerson::NoMail));
    assert_eq!(of(json!({})), Err(NoPerson::NoMail));
    // What the operator has named is not passed over when it holds something else.
    assert_eq!(of(json!({"email": "none", "sub": "A@b.c"})), Err(NoPerson::NoMail));
    let names = ClaimNames { user: "mail".to_owned(), name: "displayName".to_owned() };
    let claims = json!({"mail": "A@b.c", "email": "x@y.z", "displayName": "甲", "name": "乙"});
    assert_eq!(by(claims, &names), said("a@b.c", "甲"));
}

#[test]
fn an_address_that_is_not_verified_is_nobodys() {
    for verified in [json!(true), json!("true"), json!("True"), json!(null)] {
        assert!(of(json!({"email": "a@b.c", "email_verified": verified})).is_ok(), "{verified}");
    }
    for not in [json!(false), json!("false"), json!(""), json!(0), json!(1), json!([]), json!("yes")] {
        let claims = json!({"email": "a@b.c", "sub": "a@b.c", "email_verified": not});
        assert_eq!(of(claims), Err(NoPerson::NotVerified), "{not}");
    }
}

#[test]
fn the_name_is_as_the_sso_gives_it() {
    let named = |name: &str| of(json!({"email": "a@b.c", "name": name, "preferred_username": "p"})).unwrap().1;
    for name in [
        "王芳",
        "Wang Fang",
        "欧阳 娜娜（市场部）",
        "Ångström, Åsa",
        "a@b.c",
        "عبد الله",
        "👩\u{200d}💻",
        "می\u{200c}خواهم",
    ] {
        assert_eq!(named(name), name);
    }
    assert_eq!(named("  王芳\u{3000}"), "王芳");
    for none in
        ["", "   ", "a\nb", "a\r\nx-kms-user: root", "a\0", "\u{7f}", "\u{85}", "a\u{202e}b", "\u{feff}", "a\u{2028}b"]
    {
        assert_eq!(named(none), "p", "{none:?}");
    }
    assert_eq!(named(&"王".repeat(171)), "p", "513 bytes");
    assert_eq!(named(&"王".repeat(170)), "王".repeat(170));
    assert_eq!(of(json!({"email": "a@b.c", "name": 1, "preferred_username": "\n"})), said("a@b.c", "a@b.c"));
}
