//! The headers of a signed request as the upstream receives them, verified from the wire alone; who may call; and that
//! nothing a client sends can pass for either.

use std::sync::Arc;

use crate::support::edge::Reported;
use crate::support::leak::CANARY;
use crate::support::{Config, Edge, Origin, Recorded, Request, Shared, signature};

struct Rig {
    edge: Edge,
    origin: Origin,
}

static RIG: Shared<Rig> = Shared::new();

/// At least 31 characters, and never to be seen anywhere but in the signature.
const SIGN_TOKEN: &str = "c4n4ry-sign-token-0123456789-abcdefghij";
const LAPTOP: &str = "c4n4ry-client-laptop-0123456789abcdef";
const HASHED: &str = "c4n4ry-client-hashed-0123456789abcdef";
const EXPIRED: &str = "c4n4ry-client-expired-0123456789abcd";
const LIMITED: &str = "c4n4ry-client-limited-0123456789abcd";
const CHINESE: &str = "c4n4ry-client-chinese-0123456789abcd";
const NAMELESS: &str = "c4n4ry-client-nameless-0123456789ab";

fn rig() -> Arc<Rig> {
    RIG.get(|| {
        let origin = Origin::start();
        let edge = Config::new(CONFIGURATION)
            .origin(&origin)
            .value("sha256", &signature::digest(&[HASHED]))
            .environment("SIGN_TOKEN", SIGN_TOKEN)
            .environment("LAPTOP", LAPTOP)
            .environment("EXPIRED", EXPIRED)
            .environment("LIMITED", LIMITED)
            .environment("CHINESE", CHINESE)
            .environment("NAMELESS", NAMELESS)
            .environment("PAYLOAD", "payload-value-of-the-route")
            .start();
        Rig { edge, origin }
    })
}

const CONFIGURATION: &str = r#"
clients:
  laptop: { token: "${LAPTOP}", user: Dev@Example.COM, name: Dev }
  hashed: { token_sha256: "{sha256}", user: hashed@example.com, name: Hashed }
  expired: { token: "${EXPIRED}", user: old@example.com, expires: 2020-01-31 }
  limited: { token: "${LIMITED}", user: limited@example.com, projects: [other] }
  chinese: { token: "${CHINESE}", user: wang@example.com, name: "王小明 A~b" }
  nameless: { token: "${NAMELESS}", user: nameless@example.com }
projects:
  demo:
    hosts: [demo.test]
    app_id: "1001"
    upstream_policy: open
    environments:
      production:
        routes:
          - { prefix: /us, upstream: "http://{origin}/us", sign: { scheme: user-stamp, token: "${SIGN_TOKEN}" }, payload: { x-api-token: "${PAYLOAD}", x-empty: "${NOTHING:-}" } }
          - { prefix: /ups, upstream: "http://{origin}/ups", sign: { scheme: user-project-stamp, token: "${SIGN_TOKEN}" } }
          - { prefix: /upas, upstream: "http://{origin}/upas", sign: { scheme: user-project-appid-stamp, token: "${SIGN_TOKEN}" } }
          - { prefix: /tokenless, upstream: "http://{origin}/tokenless", sign: { scheme: user-stamp } }
          - { prefix: /identity, upstream: "http://{origin}/identity", sign: { scheme: none } }
          - { prefix: /unsigned, upstream: "http://{origin}/unsigned" }
          - { prefix: /optional, upstream: "http://{origin}/optional", auth: optional, sign: { scheme: user-stamp, token: "${SIGN_TOKEN}" } }
          - { prefix: /open-signed, upstream: "http://{origin}/open-signed", auth: none, sign: { scheme: user-stamp, token: "${SIGN_TOKEN}" } }
          - { prefix: /open, upstream: "http://{origin}/open", auth: none }
          - { prefix: /injected, upstream: "http://{origin}/injected", auth: none, payload: { authorization: "Bearer ${PAYLOAD}" } }
  other:
    hosts: [other.test]
    app_id: ""
    upstream_policy: open
    environments:
      production:
        routes:
          - { prefix: /upas, upstream: "http://{origin}/other-upas", sign: { scheme: user-project-appid-stamp, token: "${SIGN_TOKEN}" } }
"#;

/// Calls with these fields, expects 200, and returns what the origin received for that target.
fn seen(rig: &Rig, request: &Request, upstream: &str) -> Recorded {
    let response = rig.edge.call(request);
    assert_eq!(response.status, 200, "{}: {}", request.target, response.text());
    rig.origin.take(upstream)
}

#[test]
fn the_three_schemes_verify_from_the_wire_alone() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    for (prefix, scheme) in
        [("/us", "user-stamp"), ("/ups", "user-project-stamp"), ("/upas", "user-project-appid-stamp")]
    {
        let target = format!("{prefix}/schemes?x=1");
        let request = seen(&rig, &Request::get(&target).bearer(LAPTOP), &target);
        assert_eq!(signature::verify(&request.head.fields, scheme, SIGN_TOKEN), "dev@example.com");
        assert_eq!(request.header("x-kms-username"), Some("Dev"));
        assert_eq!(request.header("x-kms-project"), Some("demo"));
        assert_eq!(request.header("x-kms-appid"), Some("1001"));
    }
}

#[test]
fn an_empty_app_id_is_sent_empty_and_signed_empty() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let request = seen(&rig, &Request::get("/upas/empty").host("other.test").bearer(LIMITED), "/other-upas/empty");
    signature::verify(&request.head.fields, "user-project-appid-stamp", SIGN_TOKEN);
    assert_eq!(request.head.fields.all("x-kms-appid"), [""]);
    assert_eq!(request.header("x-kms-project"), Some("other"));
}

#[test]
fn a_scheme_without_a_token_signs_with_an_empty_one() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let request = seen(&rig, &Request::get("/tokenless/x").bearer(LAPTOP), "/tokenless/x");
    signature::verify(&request.head.fields, "user-stamp", "");
}

#[test]
fn chinese_names_travel_percent_encoded_and_a_missing_name_is_the_user() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let request = seen(&rig, &Request::get("/us/chinese").bearer(CHINESE), "/us/chinese");
    assert_eq!(request.header("x-kms-username"), Some("%E7%8E%8B%E5%B0%8F%E6%98%8E%20A~b"));
    signature::verify(&request.head.fields, "user-stamp", SIGN_TOKEN);
    let request = seen(&rig, &Request::get("/us/nameless").bearer(NAMELESS), "/us/nameless");
    assert_eq!(request.header("x-kms-username"), Some("nameless%40example.com"));
}

#[test]
fn scheme_none_sends_the_identity_without_a_signature_and_no_sign_sends_nothing() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let request = seen(&rig, &Request::get("/identity/x").bearer(LAPTOP), "/identity/x");
    assert_eq!(request.header("x-kms-user"), Some("dev@example.com"));
    assert!(!request.head.fields.has("x-kms-sign"), "{:?}", request.head.fields.names());
    let request = seen(&rig, &Request::get("/unsigned/x").bearer(LAPTOP), "/unsigned/x");
    assert!(!request.contains("x-kms-"), "{:?}", request.head.fields.names());
}

#[test]
fn the_payload_comes_after_the_signature_and_an_empty_value_is_left_out() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let forged = Request::get("/us/payload").bearer(LAPTOP).header("x-api-token", "forged").header("X_Api_Token", "f");
    let request = seen(&rig, &forged, "/us/payload");
    assert_eq!(request.head.fields.all("x-api-token"), ["payload-value-of-the-route"]);
    assert!(!request.contains("x-empty") && !request.contains("x_api_token"), "{:?}", request.head.fields.names());
    let names = request.head.fields.names();
    let place = |name: &str| names.iter().position(|own| own == name);
    assert!(place("x-kms-sign") < place("x-api-token"), "{names:?}");
}

#[test]
fn an_anonymous_caller_is_signed_as_nobody() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    for target in ["/optional/anonymous", "/open-signed/anonymous"] {
        let request = seen(&rig, &Request::get(target), target);
        assert_eq!(signature::verify(&request.head.fields, "user-stamp", SIGN_TOKEN), "");
        assert_eq!(request.head.fields.all("x-kms-username"), [""]);
    }
}

#[test]
fn a_client_authenticates_by_bearer_or_api_key_in_clear_or_by_digest() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let user = |request: Request, target: &str| signature_user(&seen(&rig, &request, target));
    assert_eq!(user(Request::get("/us/c1").bearer(LAPTOP), "/us/c1"), "dev@example.com");
    assert_eq!(user(Request::get("/us/c2").header("x-api-key", LAPTOP), "/us/c2"), "dev@example.com");
    assert_eq!(user(Request::get("/us/c3").bearer(HASHED), "/us/c3"), "hashed@example.com");
    let lower = Request::get("/us/c4").header("authorization", &format!("bearer {LAPTOP}"));
    assert_eq!(user(lower, "/us/c4"), "dev@example.com");
    assert_eq!(user(Request::get("/optional/c5").bearer(LAPTOP), "/optional/c5"), "dev@example.com");
}

fn signature_user(request: &Recorded) -> String {
    signature::verify(&request.head.fields, "user-stamp", SIGN_TOKEN)
}

#[test]
fn a_wrong_missing_or_expired_token_is_401_with_a_challenge() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let rows = [
        ("none", Request::get("/us/refused")),
        ("wrong", Request::get("/us/refused").bearer("wrong")),
        ("wrong key", Request::get("/us/refused").header("x-api-key", "wrong")),
        ("expired", Request::get("/us/refused").bearer(EXPIRED)),
        ("the digest itself", Request::get("/us/refused").bearer(&signature::digest(&[HASHED]))),
        ("two that differ", Request::get("/us/refused").bearer(LAPTOP).header("x-api-key", "wrong")),
        ("another scheme", Request::get("/us/refused").header("authorization", "Basic ZGV2OmRldg==")),
        ("an empty one", Request::get("/us/refused").header("authorization", "Bearer ")),
        ("wrong on optional", Request::get("/optional/refused").bearer("wrong")),
        ("unsigned route", Request::get("/unsigned/refused")),
    ];
    for (name, request) in rows {
        let response = rig.edge.call(&request);
        assert_eq!(response.status, 401, "{name}: {}", response.text());
        assert!(response.header("www-authenticate").is_some(), "{name}: {:?}", response.head);
        response.expect_error_shape();
    }
    assert!(rig.origin.requests().iter().all(|request| !request.target().contains("refused")));
}

#[test]
fn a_client_limited_to_other_projects_is_403() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let response = rig.edge.call(&Request::get("/us/limited").bearer(LIMITED));
    assert_eq!(response.status, 403, "{}", response.text());
    response.expect_error_shape();
}

#[test]
fn the_callers_credential_never_reaches_an_upstream() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    for (target, request) in [
        ("/us/credential", Request::get("/us/credential").bearer(LAPTOP)),
        ("/unsigned/credential", Request::get("/unsigned/credential").header("x-api-key", LAPTOP)),
        ("/optional/credential", Request::get("/optional/credential").bearer(LAPTOP).header("x-api-key", LAPTOP)),
    ] {
        let request = seen(&rig, &request, target);
        assert!(!request.contains(CANARY), "{}", String::from_utf8_lossy(&request.head.raw));
        assert!(!request.head.fields.has("authorization"), "{:?}", request.head.fields.names());
    }
}

#[test]
fn authorization_passes_untouched_where_nobody_authenticates_unless_the_route_injects_it() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let request = Request::get("/open/own").header("authorization", "Custom of-the-caller");
    assert_eq!(seen(&rig, &request, "/open/own").header("authorization"), Some("Custom of-the-caller"));
    let request = Request::get("/injected/own").header("authorization", "Custom of-the-caller");
    let values = seen(&rig, &request, "/injected/own");
    assert_eq!(values.head.fields.all("authorization"), ["Bearer payload-value-of-the-route"]);
}

/// Spellings of names under the signature prefix, as a client may send them.
const SPOOFED: [&str; 16] = [
    "x-kms-user",
    "X-Kms-User",
    "X-KMS-USER",
    "x_kms_user",
    "X_KMS_User",
    "x-kms_user",
    "x_kms-user",
    "x.kms.user",
    "X.Kms-User",
    "x-kms-username",
    "x-kms-sign",
    "x-kms-stamp",
    "x-kms-appid",
    "x-kms-project",
    "x-kms-admin",
    "x_kms_anything",
];

#[test]
fn nothing_a_client_sends_under_the_signature_prefix_reaches_an_upstream() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    for (index, name) in SPOOFED.into_iter().enumerate() {
        for route in ["us", "unsigned"] {
            let target = format!("/{route}/spoof-{index}");
            let forged = Request::get(&target).bearer(LAPTOP).header(name, "forged-1").header(name, "forged-2");
            let request = seen(&rig, &forged, &target);
            assert!(!request.contains("forged"), "{name}: {}", String::from_utf8_lossy(&request.head.raw));
            if route == "us" {
                assert_eq!(signature_user(&request), "dev@example.com", "{name}");
            }
        }
    }
}

#[test]
fn connection_cannot_nominate_our_fields_away() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let mut wire = rig.edge.connect();
    wire.send(format!(
        "GET /us/nominated HTTP/1.1\r\nhost: demo.test\r\nauthorization: Bearer {LAPTOP}\r\n\
         connection: close, x-kms-sign, x-kms-user, X-Api-Token\r\nx-priv: 1\r\n\r\n"
    ));
    let response = wire.response();
    assert_eq!(response.status, 200, "{}", response.text());
    let request = rig.origin.take("/us/nominated");
    assert_eq!(signature_user(&request), "dev@example.com");
    assert_eq!(request.header("x-api-token"), Some("payload-value-of-the-route"));
}

#[test]
fn trailers_cannot_carry_an_identity() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let mut wire = rig.edge.connect();
    wire.send(format!(
        "POST /us/trailers HTTP/1.1\r\nhost: demo.test\r\nauthorization: Bearer {LAPTOP}\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\ntrailer: x-kms-user\r\n\r\n3\r\nabc\r\n0\r\nX-Kms-User: forged\r\nx-kms-sign: forged\r\n\r\n"
    ));
    let response = wire.response_to("POST");
    assert_eq!(response.status, 200, "{}", response.text());
    let request = rig.origin.take("/us/trailers");
    assert_eq!(request.body, b"abc");
    assert!(request.trailers.names().iter().all(|name| !name.starts_with("x-kms")), "{:?}", request.trailers);
    assert!(!request.contains("forged"));
    assert_eq!(signature_user(&request), "dev@example.com");
}

#[test]
fn each_request_is_stamped_anew() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let stamp = |target: &str| -> u64 {
        let request = seen(&rig, &Request::get(target).bearer(LAPTOP), target);
        request.header("x-kms-stamp").unwrap_or_default().parse().expect("milliseconds")
    };
    let (first, second) = (stamp("/us/stamp1"), stamp("/us/stamp2"));
    assert!(second >= first, "{first} then {second}");
}
