//! What routes may do with credentials, and what is said otherwise.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use url::Url;

use crate::config::Model;
use crate::config::model::{
    Auth, ClientCredentials, Credential, CredentialSource, Provider, ProviderKind, Route, Scheme, SignScheme, UseTokens,
};
use crate::credential::vault::Choice;
use crate::diagnostic::{Diagnostic, Spanned};
use crate::secret::Secret;

use super::super::super::credential::Source;
use super::super::super::testing::*;

const UPSTREAM: &str = "https://llm.example.net/v1";

fn provider(name: &str) -> Provider {
    let kind = ProviderKind::ClientCredentials(ClientCredentials {
        token_url: Spanned::new(Url::parse("https://sso.example.com/token").unwrap(), at(10)),
        client_id: "edge".to_owned(),
        client_secret: Secret::new("a secret"),
        scopes: vec!["api".to_owned()],
    });
    Provider { name: text(name), kind, ca: None, at: at(10) }
}

fn credential(name: &str, provider: &str) -> Credential {
    let source = CredentialSource::Provider {
        provider: text(provider),
        choice: UseTokens::RoundRobin,
        refresh_before: Duration::from_secs(600),
        rest_after_429: Duration::from_secs(30),
    };
    let header = Spanned::new(HeaderName::from_static("authorization"), at(11));
    Credential { name: text(name), source, header, value: text("Bearer {token}!"), hosts: Vec::new(), at: at(11) }
}

fn carrying(upstream: &str, credential: &str) -> Route {
    Route { auth: Auth::Required, credential: Some(text(credential)), ..route("/v1", upstream) }
}

fn model_of(routes: Vec<Route>) -> Model {
    let mut model = model(vec![project("demo", &["demo.test"], routes)]);
    model.clients = vec![client("dev", Some("dev@example.com"))];
    model.providers = vec![provider("sso")];
    model.credentials = vec![credential("kiro", "sso")];
    model
}

fn one(model: Model) -> Diagnostic {
    let mut problems = problems(model);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

#[test]
fn a_route_and_the_table_share_one_credential() {
    let table = table(model_of(vec![carrying(UPSTREAM, "kiro")]));
    let forward = table.routes[0].forward().unwrap();
    let credential = forward.credential.as_ref().unwrap();
    assert!(Arc::ptr_eq(credential, &table.credentials[0]) && forward.sensitive);
    assert_eq!((credential.before.as_str(), credential.after.as_str()), ("Bearer ", "!"));
    let Source::Pool { spec, refresh_before } = &credential.source else { panic!("{credential:?}") };
    assert_eq!((&*spec.provider, spec.choice, *refresh_before), ("sso", Choice::RoundRobin, Duration::from_secs(600)));
    assert_eq!(table.token_settings().providers[0].1, Duration::from_secs(600));
    assert!(table.routes[0].injected.iter().any(|name| &**name == "authorization"), "clients' own must go");
}

#[test]
fn names_that_do_not_exist_are_named_with_the_nearest_that_does() {
    let problem =
        one(model_of(vec![carrying(UPSTREAM, "kiro"), Route { prefix: text("/w"), ..carrying(UPSTREAM, "kyro") }]));
    assert_eq!((problem.code, problem.hint.as_str()), ("unknown_credential", "did you mean `kiro`?"));
    let mut model = model_of(vec![carrying(UPSTREAM, "kiro")]);
    model.credentials = vec![credential("kiro", "ssp")];
    assert_eq!((error_codes(model.clone()), warning_codes(model)), (vec!["unknown_provider"], vec!["unused_provider"]));
}

#[test]
fn what_nobody_uses_is_mentioned() {
    assert_eq!(warning_codes(model_of(vec![route("/a", UPSTREAM)])), ["unused_credential"]);
    let mut model = model_of(vec![carrying(UPSTREAM, "kiro")]);
    model.providers.push(provider("spare"));
    assert_eq!(warning_codes(model), ["unused_provider"]);
}

#[test]
fn a_credential_stays_where_it_belongs() {
    let with_hosts = |hosts: &[&str], upstream: &str| {
        let mut model = model_of(vec![carrying(upstream, "kiro")]);
        model.credentials[0].hosts = hosts.iter().map(|host| text(host)).collect();
        model.upstreams = vec![group("llm", Scheme::Https, &[("a.example.net", 443, 1), ("b.example.net", 443, 1)])];
        error_codes(model)
    };
    assert_eq!(with_hosts(&["llm.example.net"], UPSTREAM), Vec::<&str>::new());
    assert_eq!(with_hosts(&["other.example.net"], UPSTREAM), ["credential_host"]);
    assert_eq!(with_hosts(&["a.example.net"], "llm"), ["credential_host"], "every endpoint counts");
    assert_eq!(with_hosts(&["a.example.net", "b.example.net"], "llm"), Vec::<&str>::new());
}

#[test]
fn more_than_one_destination_without_a_word_is_mentioned() {
    let second = Route { prefix: text("/w"), ..carrying("https://other.example.net", "kiro") };
    let problem = one(model_of(vec![carrying(UPSTREAM, "kiro"), second]));
    assert_eq!(problem.code, "credential_many_hosts");
    assert!(problem.message.contains("llm.example.net, other.example.net"), "{}", problem.message);
}

#[test]
fn a_credential_is_not_sent_in_the_clear() {
    assert_eq!(error_codes(model_of(vec![carrying("http://192.0.2.7", "kiro")])), ["sensitive_over_http"]);
    for inside in ["http://127.0.0.1:3000", "http://10.1.2.3", "http://localhost:3000"] {
        assert_eq!(error_codes(model_of(vec![carrying(inside, "kiro")])), Vec::<&str>::new(), "{inside}");
    }
}

#[test]
fn its_header_is_nobody_elses() {
    let clash = |edit: fn(&mut Route)| {
        let mut route = carrying(UPSTREAM, "kiro");
        edit(&mut route);
        let mut model = model_of(vec![route]);
        model.credentials[0].header = Spanned::new(HeaderName::from_static("x_token"), at(11));
        error_codes(model)
    };
    let payload = (Spanned::new(HeaderName::from_static("x-token"), at(5)), Secret::new("a"));
    assert_eq!(clash(|route| route.request_headers.set.push(field("x-token", "a"))), ["duplicate_header"]);
    assert_eq!(clash(|route| route.request_headers.remove.push(field("x.token", "a").0)), ["duplicate_header"]);
    let mut route = carrying(UPSTREAM, "kiro");
    route.payload.push(payload);
    let mut model = model_of(vec![route]);
    model.credentials[0].header = Spanned::new(HeaderName::from_static("x-token"), at(11));
    assert_eq!(error_codes(model), ["duplicate_header"]);
    let named = |header: &'static str| {
        let mut route = carrying(UPSTREAM, "kiro");
        route.sign = sign(SignScheme::UserStamp);
        let mut model = model_of(vec![route]);
        model.credentials[0].header = Spanned::new(HeaderName::from_static(header), at(11));
        error_codes(model)
    };
    assert_eq!((named("x-kms-user"), named("x-real-ip")), (vec!["reserved_header"], vec!["reserved_header"]));
}

#[test]
fn an_account_that_anybody_may_use_is_mentioned() {
    let open = |allow: Option<&str>| {
        let access_allow = allow.map(|network| vec![network.parse().unwrap()]);
        warning_codes(model_of(vec![Route { auth: Auth::None, access_allow, ..carrying(UPSTREAM, "kiro") }]))
    };
    assert_eq!(open(None), ["credential_without_auth"]);
    assert_eq!(open(Some("10.0.0.0/8")), Vec::<&str>::new());
}

#[test]
fn a_providers_ca_has_to_be_one() {
    let mut model = model_of(vec![carrying(UPSTREAM, "kiro")]);
    model.providers[0].ca = Some(Spanned::new("nowhere.pem".into(), at(12)));
    assert_eq!(error_codes(model), ["invalid_ca"]);
}
