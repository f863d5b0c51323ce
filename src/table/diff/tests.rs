//! What counts as a change, and what an edit of the start-up sections does.

use std::time::{Duration, Instant};

use http::HeaderName;

use crate::config::Model;
use crate::config::model::{self, Auth, Scheme, SignScheme};
use crate::diagnostic::Spanned;
use crate::secret::Secret;

use super::super::testing::{self, *};
use super::{Diff, diff};

fn base() -> Model {
    let mut model = model(vec![project(
        "demo",
        &["a.test"],
        vec![route("/a", "https://u.example.com/api"), route("/b", "users"), respond("/c")],
    )]);
    model.projects[0].environments.push(environment("dev", vec![]));
    model.projects[0].choose_environment = vec![rule(by_header("x-environment"), None, None)];
    model.upstreams = vec![group("users", Scheme::Https, &[("u.example.com", 8443, 1)])];
    model.clients = vec![client("dev", Some("d@example.com"))];
    model
}

fn edited(edit: impl FnOnce(&mut Model)) -> Diff {
    let mut model = base();
    edit(&mut model);
    diff(&table(base()), &table(model))
}

fn routes(model: &mut Model) -> &mut Vec<model::Route> {
    &mut model.projects[0].environments[0].routes
}

#[test]
fn the_same_configuration_differs_in_nothing_wherever_it_is_written() {
    assert!(edited(|_| {}).is_empty());
    assert!(edited(|model| routes(model)[0].at = at(99)).is_empty());
    assert!(edited(|model| routes(model).reverse()).is_empty());
}

#[test]
fn routes_are_named_by_project_environment_and_prefix() {
    let diff = edited(|model| {
        routes(model).remove(0);
        routes(model)[1] = respond("/d");
        routes(model)[0].auth = Auth::Optional;
    });
    assert_eq!(diff.added, ["demo/production/d"]);
    assert_eq!(diff.removed, ["demo/production/a", "demo/production/c"]);
    assert_eq!(diff.changed, ["demo/production/b"]);
}

fn changes(edit: impl FnOnce(&mut model::Route)) -> bool {
    let diff = edited(|model| edit(&mut routes(model)[0]));
    assert!(diff.added.is_empty() && diff.removed.is_empty() && diff.needs_restart.is_empty(), "{diff:?}");
    diff.changed == ["demo/production/a"]
}

#[test]
fn every_key_of_a_route_counts() {
    assert!(changes(|route| route.methods = Some(vec![http::Method::GET])));
    assert!(changes(|route| route.access_deny = vec!["10.0.0.0/8".parse().unwrap()]));
    assert!(changes(|route| route.access_allow = Some(vec![])));
    assert!(changes(|route| route.timeouts.idle = Duration::from_secs(1)));
    assert!(changes(|route| route.request_headers.set = vec![field("x-a", "1")]));
    assert!(changes(|route| route.response_headers.add = vec![field("x-a", "1")]));
    assert!(changes(|route| route.action = testing::route("/a", "https://u.example.com/v2").action));
    assert!(changes(|route| route.action = testing::route("/a", "https://v.example.com/api").action));
    assert!(changes(|route| route.action = respond("/a").action));
    assert!(changes(|route| route.sign = sign(SignScheme::UserStamp)));
}

#[test]
fn a_changed_secret_is_a_change_that_shows_nothing() {
    let with = |token: &str, value: &str| {
        let mut model = base();
        routes(&mut model)[0].sign = sign(SignScheme::UserStamp);
        routes(&mut model)[0].sign.as_mut().unwrap().token = Some(Spanned::new(Secret::new(token.repeat(31)), at(1)));
        let name = Spanned::new(HeaderName::from_static("x-api-token"), at(1));
        routes(&mut model)[0].payload = vec![(name, Secret::new(value))];
        table(model)
    };
    assert!(diff(&with("a", "one"), &with("a", "one")).is_empty());
    assert_eq!(diff(&with("a", "one"), &with("b", "one")).changed, ["demo/production/a"]);
    let payload = diff(&with("a", "one"), &with("a", "two"));
    assert_eq!(payload.changed, ["demo/production/a"]);
    assert!(!format!("{payload:?}").contains("two"));
}

#[test]
fn live_settings_are_named() {
    let settings = |edit: fn(&mut Model)| {
        let diff = edited(edit);
        assert!(diff.changed.is_empty() && diff.needs_restart.is_empty(), "{diff:?}");
        diff.settings
    };
    assert_eq!(settings(|model| model.projects[0].environment = text("dev")), ["projects.demo.environment"]);
    assert_eq!(settings(|model| model.projects[0].hosts.push(pattern("b.test"))), ["projects.*.hosts"]);
    let rules = settings(|model| model.projects[0].choose_environment[0].of = Some(vec![text("dev")]));
    assert_eq!(rules, ["projects.demo.choose_environment"]);
    assert_eq!(settings(|model| model.clients[0].user = None), ["clients"]);
    let token = |model: &mut Model| model.clients[0].token = model::ClientToken::Clear(Secret::new("another"));
    assert_eq!(settings(token), ["clients"]);
    assert_eq!(settings(|model| model.logging.level = log::LevelFilter::Debug), ["logging"]);
    assert_eq!(settings(|model| model.upstreams[0].endpoints[0].port = 1), ["upstreams.users"]);
    assert_eq!(settings(|model| model.admin.hosts.push("edge.test".into())), ["admin.hosts"]);
}

#[test]
fn what_is_read_at_start_is_named_until_the_restart() {
    let mut next = base();
    next.server.threads = Some(4);
    next.server.trusted_proxies.clear();
    next.listeners[0].address.value.set_port(8081);
    next.listeners[0].idle_timeout = Duration::from_secs(1);
    next.listeners[0].h2c = true;
    next.admin.address.value.set_port(9091);
    next.admin.state_dir = "elsewhere".into();
    next.tokens_dir = "elsewhere".into();
    let expected = [
        "server.threads",
        "server.trusted_proxies",
        "listeners.http.address",
        "listeners.http.idle_timeout",
        "listeners.http.h2c",
        "admin.address",
        "admin.state_dir",
        "tokens_dir",
    ];
    let running = table(base());
    let reloaded = compiled(next.clone(), Some(&running)).table.unwrap();
    assert_eq!(diff(&running, &reloaded).needs_restart, expected);
    let again = compiled(next.clone(), Some(&reloaded)).table.unwrap();
    assert_eq!(diff(&reloaded, &again).needs_restart, expected, "still, after a second reload");
    assert!(again.trusted_proxies.contains("10.9.0.1".parse().unwrap()), "as the process was started");
    let restarted = table(next);
    assert!(diff(&restarted, &restarted).is_empty());
}

#[test]
fn listeners_that_come_and_go_are_named() {
    let diff = edited(|model| model.listeners[0].name = text("web"));
    assert_eq!(diff.needs_restart, ["listeners.web", "listeners.http"]);
}

#[test]
fn many_routes_are_compared_quickly() {
    let many = || table(model(vec![project("demo", &[], (0..20_000).map(|it| respond(&format!("/r{it}"))).collect())]));
    let (old, new) = (many(), many());
    let start = Instant::now();
    assert!(diff(&old, &new).is_empty());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn credentials_are_live_and_how_tokens_are_kept_is_not() {
    let key = |byte: &str| Some(Spanned::new(Secret::new(byte.repeat(64)), at(9)));
    let diff = edited(|model| {
        model.tokens.encryption_key = key("0");
        model.tokens.allow_network_filesystem = true;
        model.tokens_dir = "elsewhere".into();
        model.admin.public_url = Some(Spanned::new(url::Url::parse("https://edge.test").unwrap(), at(9)));
        model.credentials.push(model::Credential {
            name: text("vendor"),
            source: model::CredentialSource::Secret(Spanned::new(Secret::new("a"), at(9))),
            header: Spanned::new(HeaderName::from_static("x-api-key"), at(9)),
            value: text("{token}"),
            hosts: Vec::new(),
            at: at(9),
        });
    });
    assert_eq!(diff.needs_restart, ["tokens_dir", "tokens.encryption_key", "tokens.allow_network_filesystem"]);
    assert_eq!(diff.settings, ["admin.public_url", "credentials.vendor"]);
}

#[test]
fn direct_prefixes_are_named_with_their_mode() {
    let with = |routes_of: &[model::Route]| {
        let mut model = base();
        model.projects[0].allow_direct = true;
        model.projects[0].browser_client = true;
        routes(&mut model).extend(routes_of.iter().cloned());
        table(model)
    };
    let old = with(&[direct("/a", "http://x.example.com"), direct("/b", "http://x.example.com")]);
    let new = with(&[direct("/d", "http://x.example.com"), direct("/a", "http://y.example.com")]);
    let diff = diff(&old, &new);
    assert_eq!(diff.added, ["demo/production/d (direct)"]);
    assert_eq!(diff.removed, ["demo/production/b (direct)"]);
    assert_eq!(diff.changed, ["demo/production/a (direct)"]);
    assert!(diff.settings.is_empty());
    let switched = edited(|model| model.projects[0].browser_client = true);
    assert_eq!(switched.settings, ["projects.demo.browser_client"]);
}
