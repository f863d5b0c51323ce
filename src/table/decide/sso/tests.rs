//! Sessions, tokens of issuers, and browsers that are sent to log in: by what is known, and by what was learned.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use sha2::{Digest as _, Sha256};

use super::super::super::decide::{Decision, Learned, LogInRequest, Question, Step};
use super::super::super::diff::diff;
use super::super::super::testing::*;
use super::super::super::{NoTrace, Place, Table};
use super::*;
use crate::config::model::{self, Auth, IdentitySource, Jwt, Oidc};
use crate::diagnostic::Spanned;
use crate::sealed::Sealer;
use crate::secret::Secret;
use crate::table::Refusal;

const ISSUER: &str = "https://sso.example.com";
const COOKIE_SECRET: &str = "0123456789abcdef0123456789abcdef-cookies";
const BROWSER: &str = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";

fn claims() -> model::ClaimNames {
    model::ClaimNames { user: "email".to_owned(), name: "name".to_owned() }
}

fn oidc_of(client_id: &str) -> Oidc {
    Oidc {
        issuer: text(ISSUER),
        client_id: client_id.to_owned(),
        client_secret: None,
        cookie_secret: Some(Secret::new(COOKIE_SECRET)),
        session: std::time::Duration::from_secs(8 * 3600),
        scopes: vec!["openid".to_owned()],
        claims: claims(),
        redirect_url: None,
        logout_redirect_url: None,
        ca: None,
        at: at(9),
    }
}

fn jwt() -> Jwt {
    Jwt { issuer: text(ISSUER), audiences: vec!["edge".to_owned()], jwks_url: None, claims: claims(), ca: None }
}

fn identity(sources: &[IdentitySource], client_id: &str) -> model::Identity {
    let mut identity = model::Identity { sources: sources.to_vec(), ..model::Identity::default() };
    identity.oidc = sources.contains(&IdentitySource::Oidc).then(|| oidc_of(client_id));
    identity.jwt = if sources.contains(&IdentitySource::Jwt) { vec![jwt()] } else { Vec::new() };
    identity
}

fn world(auth: Auth, sources: &[IdentitySource]) -> model::Model {
    let mut only = route("/a0", "https://up.example.com/api");
    only.auth = auth;
    let mut model = model(vec![project("demo", &["a.test"], vec![only])]);
    model.clients = vec![client("dev", Some("dev@example.com"))];
    model.identity = identity(sources, "edge");
    model
}

fn edge(auth: Auth, sources: &[IdentitySource]) -> Table {
    table(world(auth, sources))
}

/// What a browser has after a log-in at the client of that id.
fn cookie(client_id: &str, ends_at: u64, check_at: u64, refresh: Option<&str>) -> String {
    let of = URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{ISSUER}\n{client_id}")));
    let session = serde_json::json!({
        "u": "ann@example.com", "n": "安娜", "s": "1", "of": of, "o": "nonce",
        "b": NOW - 1000, "e": ends_at, "c": check_at, "r": refresh, "i": null,
    });
    let sealer = Sealer::of(&Secret::new(COOKIE_SECRET));
    format!("1.{}", sealer.seal("oidc session", session.to_string().as_bytes()).unwrap())
}

fn fresh() -> String {
    cookie("edge", NOW + 60_000, NOW + 30_000, Some("refresh"))
}

fn due() -> String {
    cookie("edge", NOW + 60_000, NOW, Some("refresh"))
}

fn with_session(value: &str) -> Request {
    Request::get("a.test", "/a0/x").with("cookie", &format!("a=1; countersign-session={value}"))
}

fn bearer(token: &str) -> Request {
    Request::get("a.test", "/a0/x").with("authorization", &format!("Bearer {token}"))
}

fn token_of(issuer: &str) -> String {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(serde_json::json!({ "alg": "RS256", "kid": "k1" }));
    let body =
        part(serde_json::json!({ "iss": issuer, "aud": "edge", "exp": NOW / 1000 + 60, "email": "ann@example.com" }));
    format!("{header}.{body}.{}", URL_SAFE_NO_PAD.encode([7; 256]))
}

fn decide(table: &Table, request: &Request) -> Decision {
    table.decide(&request.view(), NOW, &mut NoTrace).0
}

fn refused(decision: Decision) -> (Refusal, Place) {
    match decision {
        Decision::Refuse(refusal, place) => (refusal, place),
        other => panic!("it should be refused: {other:?}"),
    }
}

fn sent_to_log_in(decision: Decision) -> (LogInRequest, Place) {
    match decision {
        Decision::LogIn(asked, place) => (asked, place),
        other => panic!("it should be sent to log in: {other:?}"),
    }
}

#[test]
fn a_session_says_who_it_is_and_its_browser_is_left_alone() {
    let table = edge(Auth::Required, &[IdentitySource::Oidc]);
    let Decision::Admit(admitted) = decide(&table, &with_session(&fresh())) else { panic!("admitted") };
    assert_eq!((&*admitted.identity.user, &*admitted.identity.name), ("ann@example.com", "安娜"));
    assert_eq!((admitted.source, admitted.session), ("oidc", SessionCookie::Stays));
}

#[test]
fn what_is_no_session_is_as_none_and_is_taken_back() {
    let optional = edge(Auth::Optional, &[IdentitySource::Oidc]);
    let required = edge(Auth::Required, &[IdentitySource::Oidc]);
    let ended = cookie("edge", NOW, NOW, None);
    let of_another = cookie("other", NOW + 60_000, NOW + 30_000, None);
    let mut forged = fresh();
    forged.pop();
    for value in [ended.as_str(), &of_another, &forged, "1.x", "x", "9.9"] {
        let Decision::Admit(admitted) = decide(&optional, &with_session(value)) else { panic!("anonymous: {value}") };
        assert_eq!((&*admitted.identity.user, admitted.session), ("", SessionCookie::Goes), "{value}");
        let (refusal, place) = refused(decide(&required, &with_session(value)));
        assert_eq!(
            (refusal.status, refusal.code, place.session),
            (401, "authentication_required", SessionCookie::Goes)
        );
        let (asked, place) = sent_to_log_in(decide(&required, &with_session(value).with("accept", BROWSER)));
        assert_eq!((asked.step, place.session), (Step::Needed, SessionCookie::Goes));
    }
    // Over https it is not even looked at: somebody on the wire may have put it there.
    let planted = with_session(&fresh()).from("10.9.0.1").with("x-forwarded-proto", "https");
    assert_eq!(refused(decide(&required, &planted)).1.session, SessionCookie::Stays);
}

#[test]
fn a_session_that_is_due_is_asked_about_and_goes_on_as_the_issuer_says() {
    let table = edge(Auth::Required, &[IdentitySource::Oidc]);
    let request = with_session(&due());
    let Decision::Ask(question) = decide(&table, &request) else { panic!("a question") };
    let Question::Session { session, project, .. } = *question else { panic!("about a session") };
    assert_eq!((&*session.person.user, &*project), ("ann@example.com", "demo"));
    let after = |renewed: &Renewed| {
        let learned = Learned { session: Some(renewed), ..Learned::default() };
        table.decide_after(learned, &request.view(), NOW, &mut NoTrace).0
    };
    for renewed in [Renewed::Fresh(*session), Renewed::Later] {
        let Decision::Admit(admitted) = after(&renewed) else { panic!("{renewed:?}") };
        assert_eq!((&*admitted.identity.user, admitted.session), ("ann@example.com", SessionCookie::Stays));
    }
    let (refusal, place) = refused(after(&Renewed::Ended));
    assert_eq!((refusal.status, place.session), (401, SessionCookie::Goes));
}

#[test]
fn a_browser_that_goes_to_a_page_is_sent_to_log_in_and_nobody_else() {
    let table = edge(Auth::Required, &[IdentitySource::Client, IdentitySource::Oidc]);
    let page = || Request::get("a.test", "/a0/x").with("accept", BROWSER);
    let (asked, place) = sent_to_log_in(decide(&table, &page()));
    assert_eq!((asked.step, &*asked.project), (Step::Needed, "demo"));
    assert!(place.route.is_some());
    for other in [
        page().method(Method::POST),
        page().with("sec-fetch-mode", "cors"),
        page().with("sec-fetch-mode", "navigate").with("sec-fetch-dest", "iframe"),
        Request::get("a.test", "/a0/x"),
    ] {
        let (refusal, _) = refused(decide(&table, &other));
        assert_eq!((refusal.status, refusal.code), (401, "authentication_required"));
    }
    // Whoever shows something that is wrong has not come by chance.
    let (refusal, _) = refused(decide(&table, &page().with("authorization", "Bearer nobody")));
    assert_eq!((refusal.status, refusal.code), (401, "invalid_credentials"));
    let without = edge(Auth::Required, &[IdentitySource::Client]);
    assert_eq!(refused(decide(&without, &page())).0.status, 401);
}

#[test]
fn the_pages_of_a_log_in_are_there_where_people_log_in() {
    let table = edge(Auth::None, &[IdentitySource::Oidc]);
    for (page, step) in [("login", Step::Begin), ("callback", Step::End), ("logout", Step::Leave)] {
        let path = format!("/.countersign/oidc/{page}");
        assert_eq!(sent_to_log_in(decide(&table, &Request::get("a.test", &path))).0.step, step);
        let without = edge(Auth::None, &[IdentitySource::Client]);
        assert_eq!(refused(decide(&without, &Request::get("a.test", &path))).0.code, "route_not_found");
    }
}

#[test]
fn a_token_whose_key_is_not_known_is_asked_about() {
    let table = edge(Auth::Optional, &[IdentitySource::Client, IdentitySource::Jwt]);
    let request = bearer(&token_of(ISSUER));
    let Decision::Ask(question) = decide(&table, &request) else { panic!("a question") };
    assert!(matches!(*question, Question::Keys(issuer) if issuer.url() == ISSUER));
    let after = |keys: bool| {
        let learned = Learned { keys: Some(keys), ..Learned::default() };
        refused(table.decide_after(learned, &request.view(), NOW, &mut NoTrace).0).0
    };
    let unreachable = after(false);
    assert_eq!((unreachable.status, unreachable.code), (503, "identity_unavailable"));
    assert!(unreachable.headers.iter().any(|(name, _)| *name == RETRY_AFTER));
    let unknown = after(true);
    assert_eq!((unknown.status, unknown.code), (401, "invalid_token"));
    let challenge = &unknown.headers.iter().find(|(name, _)| *name == http::header::WWW_AUTHENTICATE).unwrap().1;
    assert!(challenge.to_str().unwrap().contains("error=\"invalid_token\""), "{challenge:?}");
}

#[test]
fn tokens_and_client_tokens_do_not_get_in_each_others_way() {
    for sources in [[IdentitySource::Client, IdentitySource::Jwt], [IdentitySource::Jwt, IdentitySource::Client]] {
        let table = edge(Auth::Required, &sources);
        // Nobody has guessed a client's token here.
        let (refusal, _) = refused(decide(&table, &bearer(&token_of("https://evil.example"))));
        assert_eq!((refusal.status, refusal.code), (401, "invalid_token"), "{sources:?}");
        assert!(refusal.wrong_token_from.is_none());
        let (refusal, _) = refused(decide(&table, &bearer("nobodys-token")));
        assert_eq!(refusal.code, "invalid_credentials", "{sources:?}");
        assert!(refusal.wrong_token_from.is_some());
        let twice = bearer(&token_of(ISSUER)).with("authorization", "Bearer x");
        assert_eq!(refused(decide(&table, &twice)).0.status, 401);
        let key_beside = bearer(&token_of(ISSUER)).with("x-api-key", "nobodys-key");
        assert_eq!(refused(decide(&table, &key_beside)).0.status, 401, "two callers in one request");
    }
    let alone = edge(Auth::Required, &[IdentitySource::Jwt]);
    assert_eq!(refused(decide(&alone, &bearer("opaque"))).0.code, "invalid_token");
    assert_eq!(refused(decide(&alone, &Request::get("a.test", "/a0/x"))).0.code, "authentication_required");
}

#[test]
fn a_project_of_its_own_identity_knows_nobody_elses_sessions() {
    let mut model = world(Auth::Required, &[IdentitySource::Oidc]);
    let mut only = route("/a0", "https://up.example.com/api");
    only.auth = Auth::Required;
    let mut other = project("other", &["b.test"], vec![only]);
    other.identity = Some(identity(&[IdentitySource::Oidc], "other"));
    model.projects.push(other);
    let table = table(model);
    let at_other =
        |value: &str| Request::get("b.test", "/a0/x").with("cookie", &format!("countersign-session={value}"));
    assert!(matches!(decide(&table, &with_session(&fresh())), Decision::Admit(_)));
    assert_eq!(refused(decide(&table, &at_other(&fresh()))).1.session, SessionCookie::Goes);
    let theirs = cookie("other", NOW + 60_000, NOW + 30_000, None);
    assert!(matches!(decide(&table, &at_other(&theirs)), Decision::Admit(_)));
    assert_eq!(refused(decide(&table, &with_session(&theirs))).0.status, 401);
}

#[test]
fn what_an_issuer_has_published_outlives_a_table_and_an_edit_is_seen() {
    let sources = [IdentitySource::Oidc, IdentitySource::Jwt];
    let issuer = |table: &Table| Arc::clone(table.identification.log_in().unwrap().client.issuer());
    let first = edge(Auth::Required, &sources);
    let again = compiled(world(Auth::Required, &sources), Some(&first)).table.unwrap();
    assert!(Arc::ptr_eq(&issuer(&first), &issuer(&again)));
    assert!(diff(&first, &again).is_empty());
    let mut edited = world(Auth::Required, &sources);
    edited.identity.oidc.as_mut().unwrap().client_secret = Some(Secret::new("new"));
    let edited = compiled(edited, Some(&first)).table.unwrap();
    assert!(Arc::ptr_eq(&issuer(&first), &issuer(&edited)));
    assert_eq!(diff(&first, &edited).settings, ["identity"]);
    let mut own = world(Auth::Required, &sources);
    own.projects[0].identity = Some(identity(&sources, "another"));
    let own = compiled(own, Some(&first)).table.unwrap();
    assert_eq!(diff(&first, &own).settings, ["projects.demo.identity"]);
    let mut elsewhere = world(Auth::Required, &sources);
    elsewhere.identity.oidc.as_mut().unwrap().issuer = text("https://other.example.com");
    let elsewhere = compiled(elsewhere, Some(&first)).table.unwrap();
    assert!(!Arc::ptr_eq(&issuer(&first), &issuer(&elsewhere)));
}

#[test]
fn a_log_in_that_cannot_work_is_told() {
    assert_eq!(warning_codes(world(Auth::Required, &[IdentitySource::Client, IdentitySource::Oidc])), [""; 0]);
    let mut clear = world(Auth::Required, &[IdentitySource::Client, IdentitySource::Oidc]);
    clear.server.trusted_proxies = Vec::new();
    assert_eq!(warning_codes(clear), ["session_in_the_clear"]);
    let mut elsewhere = world(Auth::Required, &[IdentitySource::Client, IdentitySource::Oidc]);
    let redirect = url::Url::parse("https://b.test/.countersign/oidc/callback").unwrap();
    elsewhere.identity.oidc.as_mut().unwrap().redirect_url = Some(Spanned::new(redirect, at(9)));
    assert_eq!(warning_codes(elsewhere), ["redirect_elsewhere"]);
}
