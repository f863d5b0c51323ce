//! Which source answers, what is refused, what is stripped, and who has to wait.

use base64::Engine as _;
use http::HeaderName;

use super::super::super::testing::*;
use super::super::super::{Decision, NoTrace, Table};
use super::super::{Admitted, Refusal};
use crate::config::model::{HeaderIdentity, IdentitySource, SignScheme};
use crate::diagnostic::Spanned;
use crate::policy::certificate::ClientCertificate;
use crate::users::Outcome;

use IdentitySource::{Basic, Certificate, Client, Header};

use super::*;

/// `Ann@Example.com:secret` and `bob:other`, bcrypt of cost 4.
const USERS: &str = "Ann@Example.com:$2y$04$mboEKNqEk77O6r9qPISCGeVhSyYsnr71IYGZ.DN71j0x/G9Q5FoyG\nbob:$2y$04$MbnHDIyDExlgG7C1iLiy5OOp4H..2v6nBd27Ppce7jhWCq5GZ12qG\n";

/// A proxy that is trusted.
const PROXY: &str = "10.9.0.1";

struct Edge {
    table: Table,
    dir: tempfile::TempDir,
}

fn edge(auth: Auth, sources: &[IdentitySource]) -> Edge {
    edge_with(auth, sources, |_| {})
}

fn edge_with(auth: Auth, sources: &[IdentitySource], edit: impl FnOnce(&mut crate::config::model::Route)) -> Edge {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    std::fs::write(&path, USERS).unwrap();
    let mut only = route("/a0", "https://up.example.com/api");
    only.auth = auth;
    edit(&mut only);
    let mut model = model(vec![project("demo", &["a.test"], vec![only])]);
    let mut strong = client("strong", Some("strong@example.com"));
    strong.token = crate::config::model::ClientToken::Clear(Secret::new("a-token-of-more-than-22-characters"));
    model.clients = vec![client("dev", Some("dev@example.com")), strong];
    model.identity.sources = sources.to_vec();
    model.identity.basic_users = Some(Spanned::new(path, at(1)));
    model.identity.header = Some(HeaderIdentity {
        user: HeaderName::from_static("x-auth-user"),
        name: Some(HeaderName::from_static("x-auth-name")),
    });
    Edge { table: table(model), dir }
}

impl Edge {
    /// Decides as the data plane does, with what the file says about a password.
    fn decide(&self, request: &Request) -> Decision {
        let (decision, _) = self.table.decide(&request.view(), NOW, &mut NoTrace);
        match decision {
            Decision::Verify(login) => {
                let right = login.users.verify(&login.user, &login.password);
                self.after(if right { Outcome::Right } else { Outcome::Wrong }, request)
            }
            other => other,
        }
    }

    fn after(&self, outcome: Outcome, request: &Request) -> Decision {
        self.table.decide_after(outcome, &request.view(), NOW, &mut NoTrace).0
    }

    fn admitted(&self, request: &Request) -> Admitted {
        match self.decide(request) {
            Decision::Admit(admitted) => admitted,
            other => panic!("it should be admitted: {other:?}"),
        }
    }

    fn user(&self, request: &Request) -> (String, &'static str) {
        let admitted = self.admitted(request);
        (admitted.identity.user.to_string(), admitted.source)
    }

    fn refused(&self, request: &Request) -> Refusal {
        refused(self.decide(request))
    }

    fn code(&self, request: &Request) -> (u16, &'static str) {
        let refusal = self.refused(request);
        (refusal.status, refusal.code)
    }
}

fn refused(decision: Decision) -> Refusal {
    match decision {
        Decision::Refuse(refusal, _) => refusal,
        other => panic!("it should be refused: {other:?}"),
    }
}

fn challenges(refusal: &Refusal) -> Vec<&str> {
    let of_401 = refusal.headers.iter().filter(|(name, _)| *name == WWW_AUTHENTICATE);
    of_401.map(|(_, value)| value.to_str().unwrap()).collect()
}

fn get() -> Request {
    Request::get("a.test", "/a0/x")
}

fn basic(user: &str, password: &str) -> Request {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    get().with("authorization", &format!("Basic {encoded}"))
}

#[test]
fn a_password_is_verified_once_asked_for() {
    let edge = edge(Auth::Required, &[Client, Basic]);
    let (decision, _) = edge.table.decide(&basic("bob", "other").view(), NOW, &mut NoTrace);
    assert!(matches!(decision, Decision::Verify(_)), "{decision:?}");
    let admitted = edge.admitted(&basic("Ann@Example.com", "secret"));
    assert_eq!((&*admitted.identity.user, &*admitted.identity.name), ("ann@example.com", "ann@example.com"));
    assert!(admitted.consumed.authorization && admitted.client.is_none());
    assert_eq!(edge.user(&basic("bob", "other")), ("bob".to_owned(), "basic"));
    for wrong in [basic("bob", "secret"), basic("BOB", "other"), basic("", ""), basic("nobody", "other")] {
        assert_eq!(edge.code(&wrong), (401, "invalid_credentials"));
    }
    let broken = get().with("authorization", "Basic !");
    assert_eq!(edge.code(&broken), (401, "invalid_credentials"));
}

#[test]
fn optional_admits_nobody_in_particular_but_no_wrong_password() {
    let edge = edge(Auth::Optional, &[Client, Basic]);
    assert_eq!(edge.user(&get()), (String::new(), ""));
    assert_eq!(edge.code(&basic("bob", "wrong")), (401, "invalid_credentials"));
    assert_eq!(edge.user(&basic("bob", "other")).0, "bob");
}

#[test]
fn a_401_asks_for_what_the_sources_read() {
    let basic_charset = "Basic realm=\"countersign\", charset=\"UTF-8\"";
    let bearer = "Bearer realm=\"countersign\"";
    for (sources, expected) in [
        (&[Client][..], vec![bearer]),
        (&[Client, Basic], vec![bearer, basic_charset]),
        (&[Basic], vec![basic_charset]),
        (&[Header], vec![bearer]),
    ] {
        let edge = edge(Auth::Required, sources);
        let refusal = edge.refused(&get());
        assert_eq!((refusal.status, refusal.code), (401, "authentication_required"));
        assert_eq!(challenges(&refusal), expected, "{sources:?}");
    }
}

#[test]
fn the_first_source_that_answers_wins() {
    let everything = |edge: &Edge| {
        let request = basic("bob", "other").with("x-api-key", "dev-token").with("x-auth-user", "h@example.com");
        edge.user(&request.from(PROXY))
    };
    assert_eq!(everything(&edge(Auth::Required, &[Client, Basic, Header])).1, "client");
    assert_eq!(everything(&edge(Auth::Required, &[Basic, Client, Header])).1, "basic");
    assert_eq!(everything(&edge(Auth::Required, &[Header, Basic, Client])), ("h@example.com".to_owned(), "header"));
}

#[test]
fn what_a_source_reads_is_consumed_whoever_answered() {
    let request = basic("bob", "other").with("x-api-key", "dev-token").with("x-auth-user", "h@example.com").from(PROXY);
    let consumed = |sources: &[IdentitySource]| {
        let consumed = edge(Auth::Required, sources).admitted(&request).consumed;
        (consumed.authorization, consumed.api_key)
    };
    assert_eq!(consumed(&[Header, Basic, Client]), (true, true));
    assert_eq!(consumed(&[Header, Client]), (false, true));
    assert_eq!(consumed(&[Header]), (false, false), "none of ours");
}

#[test]
fn headers_are_believed_from_trusted_proxies_only() {
    let edge = edge(Auth::Required, &[Header]);
    let said = |user: &str| get().with("x-auth-user", user);
    assert_eq!(edge.code(&said("ann@example.com")), (401, "authentication_required"));
    let admitted = edge.admitted(&said("Ann@Example.com").with("x-auth-name", "Ánn").from(PROXY));
    assert_eq!((&*admitted.identity.user, &*admitted.identity.name), ("ann@example.com", "Ánn"));
    assert_eq!(edge.code(&get().with("x_auth_user", "ann@example.com").from(PROXY)).0, 401, "another spelling");
    assert_eq!(edge.code(&said("").from(PROXY)), (401, "authentication_required"));
    for wrong in [said("a b").from(PROXY), said("a").with("x-auth-user", "b").from(PROXY), said("\u{e9}").from(PROXY)] {
        assert_eq!(edge.code(&wrong), (401, "invalid_credentials"), "{wrong:?}");
    }
}

#[test]
fn what_only_the_proxy_may_say_is_stripped_from_everybody() {
    for auth in [Auth::None, Auth::Optional] {
        let edge = edge(auth, &[Header]);
        let admitted = edge.admitted(&get());
        let names: Vec<&str> = admitted.route.injected.iter().map(|name| &**name).collect();
        assert_eq!(names, ["x-auth-user", "x-auth-name"], "{auth:?}");
    }
}

#[test]
fn a_certificate_names_its_owner() {
    let edge = edge(Auth::Required, &[Certificate]);
    let certificate = |email: &str, common_name: &str| ClientCertificate {
        email: email.to_owned(),
        common_name: common_name.to_owned(),
        ..ClientCertificate::default()
    };
    let ask = |certificate: &ClientCertificate| {
        let request = get();
        let view = crate::policy::request_gate::RequestView { certificate: Some(certificate), ..request.view() };
        edge.table.decide(&view, NOW, &mut NoTrace).0
    };
    let identity = |certificate| match ask(&certificate) {
        Decision::Admit(admitted) => (admitted.identity.user.to_string(), admitted.identity.name.to_string()),
        other => panic!("{other:?}"),
    };
    let pair = |user: &str, name: &str| (user.to_owned(), name.to_owned());
    assert_eq!(identity(certificate("Ann@Example.com", "Ánn B")), pair("ann@example.com", "Ánn B"));
    assert_eq!(identity(certificate("", "Robot-7")), pair("robot-7", "Robot-7"));
    for nobody in [certificate("", ""), certificate("", "two words"), certificate("a\nb", "x")] {
        assert_eq!(refused(ask(&nobody)).code, "invalid_credentials", "{nobody:?}");
    }
    assert_eq!(edge.code(&get()), (401, "authentication_required"));
}

#[test]
fn wrong_passwords_close_the_door_before_any_hash() {
    let edge = edge(Auth::Required, &[Client, Basic]);
    let from = Network::from(get().peer);
    (0..5).for_each(|_| edge.table.guessing.passwords.failed(from, NOW - 1500));
    let refusal = edge.refused(&basic("bob", "other"));
    assert_eq!((refusal.status, refusal.code), (429, "too_many_attempts"));
    assert_eq!(refusal.headers, [(RETRY_AFTER, HeaderValue::from_static("59"))], "58.5 seconds, rounded up");
    assert_eq!(edge.user(&basic("bob", "other").from("192.0.2.77")).0, "bob", "somebody else");
    assert_eq!(edge.user(&get().with("x-api-key", "dev-token")).0, "dev@example.com", "a token is no password");
    let closed = edge.after(Outcome::TooMany(Duration::from_millis(1)), &basic("bob", "other"));
    assert_eq!(refused(closed).headers, [(RETRY_AFTER, HeaderValue::from_static("1"))]);
    let busy = refused(edge.after(Outcome::Overloaded, &basic("bob", "other")));
    assert_eq!((busy.status, busy.code), (503, "authentication_busy"));
}

#[test]
fn wrong_tokens_are_counted_and_strong_ones_never_wait() {
    let edge = edge(Auth::Required, &[Client]);
    let key = |token: &str| get().with("x-api-key", token);
    let from = edge.refused(&key("wrong")).wrong_token_from.expect("to be counted");
    (0..10).for_each(|_| edge.table.guessing.tokens.failed(from, NOW));
    assert_eq!(edge.code(&key("wrong")), (429, "too_many_attempts"));
    assert!(edge.refused(&key("wrong")).wrong_token_from.is_none(), "nobody looked");
    assert_eq!(edge.code(&key("dev-token")), (429, "too_many_attempts"), "a word that can be guessed waits");
    assert_eq!(edge.user(&key("a-token-of-more-than-22-characters")).0, "strong@example.com");
    assert_eq!(edge.user(&key("dev-token").from("192.0.2.77")).0, "dev@example.com");
}

#[test]
fn a_user_who_leaves_the_file_is_out_at_once() {
    let edge = edge_with(Auth::Required, &[Basic], |route| route.sign = sign(SignScheme::UserStamp));
    assert_eq!(edge.user(&basic("bob", "other")).0, "bob");
    std::fs::write(edge.dir.path().join("users"), USERS.lines().next().unwrap()).unwrap();
    edge.table.followed().iter().for_each(|followed| followed.refresh());
    assert_eq!(edge.code(&basic("bob", "other")), (401, "invalid_credentials"));
    assert_eq!(refused(edge.after(Outcome::Right, &basic("bob", "other"))).status, 401, "verified by the old file");
}
