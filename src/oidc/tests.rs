//! Tokens that must not pass, each made with the issuer's own key unless it says otherwise.

use serde_json::{Value, json};

use super::testing::{CLIENT, NOW, SECONDS, Signer, claims, jwks};
use super::*;

const ISSUER: &str = "https://sso.example.com";

mod bits;
mod claims_matrix;
mod headers;

/// An issuer with one key of each kind.
struct Case {
    issuer: Issuer,
    rsa: Signer,
    ec: Signer,
}

impl Case {
    fn new() -> Self {
        let (rsa, ec, ed) = (Signer::rsa("r", "RS256"), Signer::ec("e", "ES256"), Signer::ed("d"));
        Self { issuer: Issuer::knowing(ISSUER, &jwks(&[&rsa, &ec, &ed]), NOW), rsa, ec }
    }

    /// As the ID token of a log-in.
    fn id_token(&self, token: &str) -> Result<Claims, Why> {
        self.judged(token, &Expected::id_token(CLIENT, Some("n-0S6")))
    }

    /// As what a program shows.
    fn bearer(&self, token: &str) -> Result<Claims, Why> {
        self.judged(token, &Expected::bearer(vec!["api".to_owned(), CLIENT.to_owned()]))
    }

    fn judged(&self, token: &str, expected: &Expected) -> Result<Claims, Why> {
        match self.issuer.verify(token, expected, NOW) {
            Verdict::Valid(claims) => Ok(claims),
            Verdict::Refused(why) => Err(why),
            Verdict::Unknown => panic!("it was asked just now"),
        }
    }
}

/// The claims with some changed; `null` takes one away.
fn with(changes: Value) -> Value {
    let mut claims = claims(ISSUER);
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

#[test]
fn a_token_of_the_issuer_for_us_is_valid() {
    let case = Case::new();
    for signer in [&case.rsa, &case.ec] {
        let said = case.id_token(&signer.token(&claims(ISSUER))).unwrap();
        assert_eq!((said.subject(), said.expires_at()), (Some("248289761001"), NOW + 3_600_000));
        let person = Person::of(said.values(), &ClaimNames::default()).unwrap();
        assert_eq!((&*person.user, &*person.name), ("wang.fang@example.com", "王芳"));
        case.bearer(&signer.token(&claims(ISSUER))).unwrap();
    }
}

#[test]
fn without_keys_nothing_is_said_about_a_token() {
    let issuer = Issuer::new(ISSUER, Vec::new(), None).unwrap();
    let signer = Signer::ec("e", "ES256");
    let expected = Expected::bearer(vec![CLIENT.to_owned()]);
    assert_eq!(issuer.verify(&signer.token(&claims(ISSUER)), &expected, NOW), Verdict::Unknown);
    assert_eq!(issuer.verify("no.token.at all", &expected, NOW), Verdict::Refused(Why::Malformed));
}

#[test]
fn an_issuer_is_an_address_that_can_be_trusted() {
    let new = |url: &str| Issuer::new(url, Vec::new(), None).map(|issuer| issuer.url().to_owned());
    for url in
        ["https://a.example", "https://a.example/t/", "http://127.0.0.1:8080", "http://[::1]/", "http://localhost:1"]
    {
        assert_eq!(new(url).as_deref(), Ok(url));
    }
    for url in
        ["", "a.example", "https://", "https://u@a.example", "https://:p@a.example", "https://a?x", "https://a#x"]
    {
        assert_eq!(new(url), Err(BadIssuer::NoUrl), "{url}");
    }
    for url in ["http://a.example", "ftp://a.example", "http://127.0.0.1.nip.io", "http://localhost.example"] {
        assert_eq!(new(url), Err(BadIssuer::Insecure), "{url}");
    }
    let keys = Some(url::Url::parse("http://keys.example").unwrap());
    assert_eq!(Issuer::new(ISSUER, Vec::new(), keys).err(), Some(BadIssuer::Insecure));
}

#[test]
fn a_new_configuration_knows_its_issuer_again() {
    let keys = url::Url::parse("https://sso.example.com/keys").unwrap();
    let issuer = Issuer::new(ISSUER, vec![vec![1]], Some(keys.clone())).unwrap();
    assert!(issuer.is(ISSUER, &[vec![1]], Some(&keys)));
    assert!(!issuer.is("https://sso.example.com/", &[vec![1]], Some(&keys)));
    assert!(!issuer.is(ISSUER, &[vec![2]], Some(&keys)) && !issuer.is(ISSUER, &[vec![1]], None));
}

#[test]
fn what_may_be_a_token_is_told_from_what_is_not() {
    let case = Case::new();
    let token = case.rsa.token(&claims(ISSUER));
    assert!(looks_like_jwt(&token));
    assert_eq!(claimed_issuer(&token).as_deref(), Some(ISSUER));
    for other in ["", "a.b.c", "sk-0123.456.789", "..", "e30.e30.", &token[1..], &format!("{token}.{token}")] {
        assert!(!looks_like_jwt(other), "{other}");
    }
    for other in ["", "a.b.c", "e30.e30.", "e30.eyJpc3MiOjF9.", "e30.W10."] {
        assert_eq!(claimed_issuer(other), None, "{other}");
    }
    assert!(looks_like_jwt(&case.rsa.token_with(r#"{"alg":"none"}"#, "{}")), "it is for the issuer to refuse");
}
