//! Tokens that programs show: a matrix of hostile ones over the socket, keys that are rotated, and an issuer that is gone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::{SIGN_TOKEN, config, now_millis};
use crate::support::edge::project;
use crate::support::origin::After;
use crate::support::{Edge, Origin, Request, Response, eventually_within};

/// A key of an issuer.
enum Key {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// An issuer that publishes what it is told to.
struct Issuer {
    origin: Origin,
    keys: Arc<Mutex<Value>>,
}

impl Key {
    fn p256() -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).unwrap())
    }

    fn ed25519() -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    fn public(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::P256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y), "kid": kid, "use": "sig", "alg": "ES256" })
            }
            Self::Ed25519(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref()), "kid": kid, "use": "sig" })
            }
        }
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        match self {
            Self::P256(key) => key.sign(&SystemRandom::new(), text.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(text.as_bytes()).as_ref().to_vec(),
        }
    }

    fn token(&self, kid: &str, claims: &Value) -> String {
        self.token_with(&json!({ "alg": self.algorithm(), "kid": kid, "typ": "JWT" }), claims)
    }

    fn token_with(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.sign(&signed)))
    }
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

impl Issuer {
    fn start() -> Self {
        let (origin, keys) = (Origin::start(), Arc::new(Mutex::new(json!([]))));
        let url = format!("http://{}", origin.authority());
        let document = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }).to_string();
        let answer = |body: &str| {
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        origin.answer("/.well-known/openid-configuration", answer(&document));
        let published = Arc::clone(&keys);
        origin.on("/keys", move |exchange| {
            let body = json!({ "keys": *published.lock().unwrap() }).to_string();
            exchange.send(answer(&body));
            After::Keep
        });
        Self { origin, keys }
    }

    fn url(&self) -> String {
        format!("http://{}", self.origin.authority())
    }

    fn publish(&self, keys: &[Value]) {
        *self.keys.lock().unwrap() = json!(keys);
    }

    fn asked(&self) -> usize {
        self.origin.requests_for("/keys").len()
    }

    fn claims(&self) -> Value {
        let now = now_millis() / 1000;
        json!({ "iss": self.url(), "aud": "edge", "sub": "7", "iat": now, "exp": now + 300,
            "email": "Ann@Example.com", "name": "安娜" })
    }
}

fn edge(issuer: &Issuer, origin: &Origin) -> Edge {
    let identity = format!(
        "clients: {{ ci: {{ token: c0ffee-client-token-0123456789abcdef, user: ci@example.com }} }}\n\
         identity: {{ sources: [client, jwt], jwt: {{ issuer: \"{}\", audience: [edge, api] }} }}\n",
        issuer.url()
    );
    let routes = r#"
        - { prefix: /a0, upstream: "http://{origin}/api", sign: { scheme: user-stamp, token: "${SIGN_TOKEN}" } }
        - { prefix: /maybe, upstream: "http://{origin}/maybe", auth: optional }
        - { prefix: /free, upstream: "http://{origin}/free", auth: none }
    "#;
    config(&format!("{identity}{}", project("demo", routes)), origin).environment("SIGN_TOKEN", SIGN_TOKEN).start()
}

fn show(edge: &Edge, target: &str, token: &str) -> Response {
    edge.call(&Request::get(target).bearer(token))
}

fn changed(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[test]
fn a_matrix_of_tokens() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (ours, theirs, ed) = (Key::p256(), Key::p256(), Key::ed25519());
    issuer.publish(&[ours.public("k1"), ed.public("k2")]);
    let edge = edge(&issuer, &origin);
    let claims = issuer.claims();
    for (index, good) in [
        ours.token("k1", &claims),
        ed.token("k2", &claims),
        ours.token("k1", &changed(claims.clone(), "aud", json!(["other", "api"]))),
        ours.token_with(&json!({ "alg": "ES256", "kid": "k1", "typ": "at+jwt" }), &claims),
    ]
    .iter()
    .enumerate()
    {
        let target = format!("/a0/good{index}");
        assert_eq!(show(&edge, &target, good).status, 200, "{target}");
        let seen = origin.request_for(&format!("/api/good{index}"));
        assert_eq!(seen.header("x-kms-user"), Some("ann@example.com"));
        assert_eq!(seen.header("x-kms-username"), Some("%E5%AE%89%E5%A8%9C"));
        assert!(!seen.contains("authorization"), "{seen:?}");
    }
    assert_eq!(edge.logged("/a0/good0")["source"], "jwt");
    let now = now_millis() / 1000;
    let with = |name: &str, value: Value| ours.token("k1", &changed(claims.clone(), name, value));
    let head = |header: Value| ours.token_with(&header, &claims);
    let good = ours.token("k1", &claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let public = ours.public("k1").to_string();
    let hmac = {
        let signed = unsigned(&json!({ "alg": "HS256", "kid": "k1" }), &claims);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes())))
    };
    let hostile = [
        ("alg none", format!("{}.", unsigned(&json!({ "alg": "none" }), &claims))),
        ("alg None, signed", head(json!({ "alg": "None", "kid": "k1" }))),
        ("HMAC with the public key", hmac),
        ("another's key under our name", theirs.token("k1", &claims)),
        (
            "a key that the token brings",
            theirs.token_with(&json!({ "alg": "ES256", "kid": "k9", "jwk": theirs.public("k9") }), &claims),
        ),
        ("the algorithm of another key", head(json!({ "alg": "EdDSA", "kid": "k1" }))),
        ("no signature", format!("{signed}.")),
        ("half a signature", format!("{signed}.{}", &signature[..20])),
        (
            "other claims",
            format!("{}.{signature}", unsigned(&json!({ "alg": "ES256", "kid": "k1" }), &json!({ "sub": "root" }))),
        ),
        ("crit", head(json!({ "alg": "ES256", "kid": "k1", "crit": ["exp"] }))),
        ("a logout token", head(json!({ "alg": "ES256", "kid": "k1", "typ": "logout+jwt" }))),
        ("another audience", with("aud", json!("other"))),
        ("no audience", with("aud", Value::Null)),
        ("another issuer", with("iss", json!("https://evil.example"))),
        ("an issuer that begins alike", with("iss", json!(format!("{}/", issuer.url())))),
        ("expired", with("exp", json!(now - 120))),
        ("for ever", with("exp", Value::Null)),
        ("to come", with("nbf", json!(now + 600))),
        ("made in the future", with("iat", json!(now + 600))),
        ("four parts", format!("{good}.x")),
        ("huge", with("x", json!("x".repeat(20_000)))),
    ];
    for (what, token) in &hostile {
        let response = show(&edge, "/a0/hostile", token);
        assert_eq!(response.status, 401, "{what}: {}", response.text());
        assert!(response.header("www-authenticate").unwrap().contains("error=\"invalid_token\""), "{what}");
        assert_eq!(show(&edge, "/maybe/hostile", token).status, 401, "{what}: where nobody has to be anybody");
    }
    assert!(origin.requests_for("/api/hostile").is_empty() && origin.requests_for("/maybe/hostile").is_empty());
    let nameless = ours.token("k1", &changed(changed(claims.clone(), "email", Value::Null), "sub", json!("machine-7")));
    show(&edge, "/a0/nameless", &nameless).expect_error(403, "no_mail_address");
    assert_eq!(show(&edge, "/a0/client", "c0ffee-client-token-0123456789abcdef").status, 200);
    assert_eq!(show(&edge, "/maybe/x", "nobodys-token").code(), "invalid_credentials");
    assert_eq!(show(&edge, "/free/x", &hostile[0].1).status, 200, "nobody is asked there");
    assert!(origin.request_for("/free/x").contains("authorization: bearer"), "and it is the upstream's");
    assert!(issuer.asked() <= 2, "hostile tokens do not make us ask: {}", issuer.asked());
    assert!(!edge.output().contains(signature) && !edge.access_lines().concat().contains(signature));
}

#[test]
fn keys_that_are_rotated_are_learned_and_old_ones_go() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (old, new) = (Key::ed25519(), Key::ed25519());
    issuer.publish(&[old.public("old")]);
    let edge = edge(&issuer, &origin);
    assert_eq!(show(&edge, "/a0/x", &old.token("old", &issuer.claims())).status, 200);
    issuer.publish(&[new.public("new")]);
    // An unknown key is asked about, but not more often than every 30 seconds.
    eventually_within(Duration::from_secs(60), "the new key is known", || {
        (show(&edge, "/a0/y", &new.token("new", &issuer.claims())).status == 200).then_some(())
    });
    let response = show(&edge, "/a0/z", &old.token("old", &issuer.claims()));
    assert_eq!((response.status, response.code().as_str()), (401, "invalid_token"));
    assert!(issuer.asked() <= 3, "{}", issuer.asked());
}

#[test]
fn an_issuer_out_of_reach_is_503_for_what_cannot_be_judged() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let key = Key::p256();
    issuer.origin.answer("/keys", "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n");
    let edge = edge(&issuer, &origin);
    let token = key.token("k1", &issuer.claims());
    let response = show(&edge, "/a0/x", &token);
    response.expect_error(503, "identity_unavailable");
    assert_eq!(response.header("retry-after"), Some("5"));
    let others = key.token("k1", &changed(issuer.claims(), "iss", json!("https://evil.example")));
    assert_eq!(show(&edge, "/a0/x", &others).status, 401, "that can be judged");
    assert_eq!(show(&edge, "/a0/x", "c0ffee-client-token-0123456789abcdef").status, 200);
    assert!(edge.metrics().sum("countersign_issuer_keys_asked_total", &[("outcome", "failed")]) >= 1.0);
}
