use serde_json::{Value, json};

use super::*;

const ISSUER: &str = "https://sso.example.com/realms/one";

fn document(changes: Value) -> String {
    let mut document = json!({"issuer": ISSUER, "jwks_uri": "https://sso.example.com/keys",
        "authorization_endpoint": "https://sso.example.com/authorize", "token_endpoint": "https://sso.example.com/token"});
    document.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    document.to_string()
}

fn read(changes: Value) -> Result<Metadata, BadMetadata> {
    Metadata::read(document(changes).as_bytes(), ISSUER)
}

#[test]
fn a_document_says_where_things_are() {
    let plain = read(json!({})).unwrap();
    assert_eq!(plain.jwks_uri.as_str(), "https://sso.example.com/keys");
    assert_eq!(plain.token_endpoint.unwrap().as_str(), "https://sso.example.com/token");
    assert!(plain.end_session_endpoint.is_none() && plain.userinfo_endpoint.is_none() && !plain.names_itself);
    let more = read(json!({"end_session_endpoint": "https://a.example/out?x=y", "userinfo_endpoint": null,
        "authorization_response_iss_parameter_supported": true, "something": {"else": [1]}}))
    .unwrap();
    assert_eq!(more.end_session_endpoint.unwrap().as_str(), "https://a.example/out?x=y");
    assert!(more.names_itself);
}

#[test]
fn a_document_is_of_its_issuer_to_the_character() {
    for issuer in [
        json!("https://sso.example.com/realms/one/"),
        json!("https://sso.example.com/realms/two"),
        json!("https://SSO.example.com/realms/one"),
        json!("https://sso.example.com/realms/one?x"),
        json!("https://evil.example"),
        json!([ISSUER]),
        json!(null),
    ] {
        assert_eq!(read(json!({"issuer": issuer})).unwrap_err(), BadMetadata::Issuer, "{issuer}");
    }
    for none in ["", "[]", "<html>", "{\"issuer\":1,\"issuer\":2}"] {
        assert_eq!(Metadata::read(none.as_bytes(), ISSUER).unwrap_err(), BadMetadata::Malformed, "{none}");
    }
}

#[test]
fn an_endpoint_is_secure_or_on_loopback() {
    let names = [
        "jwks_uri",
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "end_session_endpoint",
        "revocation_endpoint",
    ];
    for name in names {
        for sound in ["https://a.example/x", "http://127.0.0.1:1/x", "http://[::1]/x", "http://localhost:3/x"] {
            assert!(read(json!({name: sound})).is_ok(), "{name} {sound}");
        }
        for wrong in [
            json!("http://a.example/x"),
            json!("http://169.254.169.254/x"),
            json!("http://127.0.0.1.evil.example/x"),
            json!("https://user@a.example/x"),
            json!("https://:p@a.example/x"),
            json!("https://a.example/x#y"),
            json!("javascript:alert(1)"),
            json!("data:text/html,x"),
            json!("file:///etc/passwd"),
            json!("/x"),
            json!(""),
            json!(1),
            json!(["https://a.example/x"]),
        ] {
            assert_eq!(read(json!({name: wrong})).unwrap_err(), BadMetadata::Endpoint(name), "{wrong}");
        }
    }
    assert_eq!(read(json!({"jwks_uri": null})).unwrap_err(), BadMetadata::Endpoint("jwks_uri"));
}

#[test]
fn a_secret_is_shown_as_the_issuer_wants_it() {
    let proof = |methods: Value| read(json!({"token_endpoint_auth_methods_supported": methods})).unwrap().proof;
    assert_eq!(read(json!({})).unwrap().proof, Some(Proof::Basic));
    assert_eq!(proof(json!(["client_secret_post", "client_secret_basic"])), Some(Proof::Basic));
    assert_eq!(proof(json!(["private_key_jwt", "client_secret_post"])), Some(Proof::Post));
    for none in [json!(["private_key_jwt"]), json!([]), json!("client_secret_basic"), json!([1])] {
        assert_eq!(proof(none), None);
    }
}

#[test]
fn a_document_may_be_in_two_places() {
    let of = |issuer: &str| places(issuer).iter().map(Url::to_string).collect::<Vec<_>>();
    let both = [
        "https://a.example/t/one/.well-known/openid-configuration",
        "https://a.example/.well-known/oauth-authorization-server/t/one",
    ];
    assert_eq!(of("https://a.example/t/one"), both);
    assert_eq!(of("https://a.example/t/one/"), both);
    let root = [
        "https://a.example/.well-known/openid-configuration",
        "https://a.example/.well-known/oauth-authorization-server",
    ];
    assert_eq!(of("https://a.example"), root);
    assert_eq!(of("https://a.example/"), root);
}
