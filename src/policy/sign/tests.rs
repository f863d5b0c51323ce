use super::{
    Claims, Message, Presented, Scheme, Signature, canonical_user, in_family, key_id, masked_base, percent_encode,
    signature, verify,
};
use crate::secret::Secret;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const CLAIMS: Claims<'_> =
    Claims { user: "dev@example.com", project: "demo", app_id: "1001", stamp: 1_700_000_000_000 };

const GET: Message<'_> = Message {
    method: "GET",
    authority: "users.example.com",
    path: "/api/userlist",
    query: "x=1",
    username: "Dev",
    prefix: "x-kms-",
    nonce: "0123456789abcdef",
};

/// `x-kms-sign`
fn text(signature: Option<Signature>) -> String {
    match signature {
        Some(Signature::Sign(sign)) => String::from_utf8(sign.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn sign(scheme: Scheme, claims: &Claims<'_>, token: Option<&Secret>) -> String {
    text(signature(scheme, claims, &GET, token))
}

fn holds(scheme: Scheme, claims: &Claims<'_>, token: Option<&Secret>, sign: &str) -> bool {
    verify(scheme, claims, &GET, token, &Presented::Sign(sign))
}

#[test]
fn every_vector_holds() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/sign.json");
    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 1000, "{}", vectors.len());
    for vector in vectors {
        let field = |name: &str| vector[name].as_str().unwrap_or_default();
        let claims = Claims {
            user: field("user"),
            project: field("project"),
            app_id: field("app_id"),
            stamp: vector["stamp"].as_u64().unwrap(),
        };
        let message = Message {
            method: field("method"),
            authority: field("authority"),
            path: field("path"),
            query: field("query"),
            username: field("username_encoded"),
            prefix: "x-kms-",
            nonce: field("nonce"),
        };
        let scheme = Scheme::parse(field("scheme")).unwrap();
        let token = vector["token"].as_str().map(Secret::new);
        let presented = match signature(scheme, &claims, &message, token.as_ref()).unwrap() {
            Signature::Sign(sign) => {
                assert_eq!(std::str::from_utf8(&sign), Ok(field("sign")), "{vector}");
                Presented::Sign(field("sign"))
            }
            Signature::Message(made) => {
                assert_eq!(
                    (&*made.input, &*made.signature),
                    (field("signature_input"), field("signature")),
                    "{vector}"
                );
                Presented::Message { input: field("signature_input"), signature: field("signature") }
            }
        };
        assert!(verify(scheme, &claims, &message, token.as_ref(), &presented), "{vector}");
        assert_eq!(percent_encode(field("username")), field("username_encoded"), "{vector}");
        assert_eq!(canonical_user(field("user")).as_deref(), Ok(field("user")), "{vector}");
    }
}

#[test]
fn schemes_that_bind_the_request_bind_all_of_it() {
    let token = Secret::new("0123456789abcdef0123456789abcdef");
    let others = [
        Message { method: "POST", ..GET },
        Message { path: "/api/userlist/", ..GET },
        Message { path: "/api/userlist\n3:x=1", ..GET },
        Message { query: "", ..GET },
        Message { query: "x=2", ..GET },
        Message { username: "Eve", ..GET },
    ];
    for scheme in [Scheme::HmacSha256, Scheme::Rfc9421] {
        assert!(scheme.binds_request());
        assert_eq!(signature(scheme, &CLAIMS, &GET, None), None, "it needs a token");
        let made = signature(scheme, &CLAIMS, &GET, Some(&token));
        assert_eq!(made, signature(scheme, &CLAIMS, &GET, Some(&token)));
        for other in &others {
            assert_ne!(made, signature(scheme, &CLAIMS, other, Some(&token)), "{other:?}");
        }
        for claims in [
            Claims { user: "eve@example.com", ..CLAIMS },
            Claims { project: "demo1", app_id: "001", ..CLAIMS },
            Claims { stamp: 1_700_000_000_001, ..CLAIMS },
        ] {
            assert_ne!(made, signature(scheme, &claims, &GET, Some(&token)), "{claims:?}");
        }
        assert_ne!(made, signature(scheme, &CLAIMS, &GET, Some(&Secret::new("0123456789abcdef0123456789abcdeg"))));
    }
    let with_host = |authority| signature(Scheme::Rfc9421, &CLAIMS, &Message { authority, ..GET }, Some(&token));
    assert_ne!(with_host("users.example.com"), with_host("admin.example.com"));
}

#[test]
fn message_signatures_are_those_of_the_rfc() {
    let token = Secret::new("0123456789abcdef0123456789abcdef");
    let key = key_id(&token);
    assert_eq!(key.len(), 16);
    let base = masked_base(Scheme::Rfc9421, &CLAIMS, &GET, Some(&token));
    let lines: Vec<&str> = base.lines().collect();
    assert_eq!(
        lines[..4],
        ["\"@method\": GET", "\"@authority\": users.example.com", "\"@path\": /api/userlist", "\"@query\": ?x=1"]
    );
    assert_eq!(lines[4], "\"x-kms-user\": dev@example.com");
    let parameters = lines[9].strip_prefix("\"@signature-params\": ").unwrap();
    let end = format!(
        ";created=1700000000;expires=1700000300;nonce=\"0123456789abcdef\";keyid=\"{key}\";alg=\"hmac-sha256\";tag=\"countersign\""
    );
    assert!(parameters.ends_with(&end), "{parameters}");
    let Some(Signature::Message(made)) = signature(Scheme::Rfc9421, &CLAIMS, &GET, Some(&token)) else { panic!() };
    assert_eq!(made.input, format!("countersign={parameters}"));
    let none = masked_base(Scheme::Rfc9421, &CLAIMS, &Message { query: "", ..GET }, Some(&token));
    assert!(none.contains("\"@query\": ?\n"), "{none}");
    assert!(!base.contains(token.expose()) && !made.input.contains(token.expose()));
}

#[test]
fn schemes_have_one_word_each() {
    for scheme in Scheme::ALL {
        assert_eq!(Scheme::parse(scheme.name()), Some(scheme));
    }
    for word in ["", "user_stamp", "USER-STAMP", "none", "user-stamp "] {
        assert_eq!(Scheme::parse(word), None, "{word:?}");
    }
}

#[test]
fn base_strings_are_plain_concatenations() {
    for (scheme, base) in [
        (Scheme::UserStamp, "dev@example.com1700000000000"),
        (Scheme::UserProjectStamp, "dev@example.comdemo1700000000000"),
        (Scheme::UserProjectAppidStamp, "dev@example.comdemo10011700000000000"),
    ] {
        let token = Secret::new("0123456789abcdef0123456789abcdef");
        assert_eq!(masked_base(scheme, &CLAIMS, &GET, None), base);
        assert_eq!(masked_base(scheme, &CLAIMS, &GET, Some(&token)), format!("{base}***"));
        let signed = |base: String| hex::encode(Sha256::digest(base));
        assert_eq!(sign(scheme, &CLAIMS, Some(&token)), signed(format!("{base}{}", token.expose())));
        assert_eq!(sign(scheme, &CLAIMS, None), signed(base.to_owned()));
        assert_eq!(sign(scheme, &CLAIMS, None), sign(scheme, &CLAIMS, Some(&Secret::new(""))));
    }
}

#[test]
fn only_the_signature_verifies() {
    let token = Secret::new("0123456789abcdef0123456789abcdef");
    let sign = sign(Scheme::UserStamp, &CLAIMS, Some(&token));
    assert!(holds(Scheme::UserStamp, &CLAIMS, Some(&token), &sign));
    for wrong in
        [sign.to_uppercase(), sign[..63].to_owned(), format!("{sign}0"), String::new(), "demo".into(), "0".repeat(64)]
    {
        assert!(!holds(Scheme::UserStamp, &CLAIMS, Some(&token), &wrong), "{wrong}");
    }
    assert!(!holds(Scheme::UserProjectStamp, &CLAIMS, Some(&token), &sign));
    assert!(!holds(Scheme::UserStamp, &CLAIMS, None, &sign));
    assert!(!holds(Scheme::UserStamp, &Claims { user: "dev@example.co", ..CLAIMS }, Some(&token), &sign));
    assert!(!holds(Scheme::UserStamp, &Claims { stamp: 1_700_000_000_001, ..CLAIMS }, Some(&token), &sign));
}

#[test]
fn users_are_lower_case_ascii() {
    for (given, user) in
        [("Dev@Example.COM", "dev@example.com"), ("", ""), ("bot-7", "bot-7"), ("a+b@x.io", "a+b@x.io")]
    {
        assert_eq!(canonical_user(given).as_deref(), Ok(user));
    }
    for bad in [
        "\u{212a}im@x.com",
        "\u{130}@x.com",
        "\u{4e2d}@x.com",
        "a b@x.com",
        " a@x.com",
        "a@x.com\n",
        "a\r@x",
        "a\0",
        "a\tb",
        "a\u{7f}",
        "a\u{a0}b",
    ] {
        assert!(canonical_user(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn names_are_percent_encoded() {
    for (name, encoded) in [
        ("", ""),
        ("Dev", "Dev"),
        ("-._~", "-._~"),
        ("Dev Eloper", "Dev%20Eloper"),
        ("\u{5f20}\u{4e09}", "%E5%BC%A0%E4%B8%89"),
        ("a/b+c&d=e%f", "a%2Fb%2Bc%26d%3De%25f"),
        ("\u{1f600}", "%F0%9F%98%80"),
        ("a\r\nb\0", "a%0D%0Ab%00"),
    ] {
        assert_eq!(percent_encode(name), encoded);
    }
}

#[test]
fn the_family_is_every_spelling_of_the_prefix() {
    for name in [
        "x-kms-user",
        "X-Kms-User",
        "x_kms_user",
        "x.kms.user",
        "X_KMS-sign",
        "x-kms-",
        "x_kms_anything",
        "x-kms-user-agent",
        "x~kms~user",
        "x-kms_Sign",
    ] {
        assert!(in_family(name, "x-kms-"), "{name}");
    }
    for name in ["", "x", "x-kms", "xkms-user", "x-kmsuser", "x-km", "user", "ax-kms-user", "x-api-key", "x--kms-user"]
    {
        assert!(!in_family(name, "x-kms-"), "{name}");
    }
    assert!(in_family("X_Sso-User", "x-sso-") && !in_family("x-kms-user", "x-sso-"));
}

proptest! {
    #[test]
    fn names_decode_back(name in "\\PC{0,20}") {
        let encoded = percent_encode(&name);
        let mut bytes = encoded.bytes();
        let mut decoded = Vec::new();
        while let Some(byte) = bytes.next() {
            let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap() as u8;
            decoded.push(if byte == b'%' { digit() * 16 + digit() } else { byte });
        }
        prop_assert_eq!(decoded, name.into_bytes());
        prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
    }

    #[test]
    fn users_are_idempotent(user in "\\PC{0,20}") {
        if let Ok(canonical) = canonical_user(&user) {
            prop_assert_eq!(canonical_user(&canonical), Ok(canonical.clone()));
            prop_assert!(http::HeaderValue::from_str(&canonical).is_ok());
        }
    }
}
