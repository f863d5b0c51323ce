//! Cookies that hold, and every way in which one does not.

use http::{HeaderMap, HeaderValue};

use super::super::super::Table;
use super::super::super::testing::*;
use super::super::{Choice, Source};
use super::*;
use crate::config::model::EnvironmentSource;
use crate::sealed::CookieKey;

fn edge(local: bool) -> Table {
    let mut demo = project("demo", &["demo.test"], vec![respond("/")]);
    demo.environments.extend([environment("dev", vec![]), environment("local", vec![])]);
    let listed: &[&str] = if local { &["dev", "local"] } else { &["dev"] };
    demo.choose_environment =
        vec![rule(EnvironmentSource::Header("x-environment".parse().unwrap()), Some(listed), Some(&["192.0.2.0/24"]))];
    let table = table(model(vec![demo, project("other", &["other.test"], vec![respond("/")])]));
    table.cookies.make().unwrap();
    table
}

fn stay(environment: &str) -> Stay {
    Stay { project: "demo".into(), environment: environment.into(), until: NOW + 1 }
}

fn sealed(table: &Table, stay: &Stay) -> String {
    stay.seal(table.cookies.sealer().unwrap()).unwrap()
}

fn asked(table: &Table, headers: &[(&'static str, String)], https: bool, from: &str) -> Result<String, &'static str> {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    let (project, _) = table.matcher.project("demo.test").unwrap();
    let sent = Sent { https, address: from.parse().unwrap(), now: NOW, key: &table.cookies };
    match project.choose("demo.test", &headers, sent).unwrap() {
        Choice::Default(environment) => Ok(format!("{} by default", environment.name)),
        Choice::Chosen(environment, by) => Ok(format!("{} by {by}", environment.name)),
        Choice::Unavailable(_, why) => Err(why),
    }
}

fn with(table: &Table, value: &str) -> Result<String, &'static str> {
    asked(table, &[("cookie", format!("a=b; {PLAIN}={value}; c=d"))], false, "192.0.2.9")
}

#[test]
fn a_browser_that_was_put_on_an_environment_gets_it_before_every_rule() {
    let table = edge(false);
    let value = sealed(&table, &stay("dev"));
    let dev = Ok("dev by signed cookie".to_owned());
    assert_eq!(with(&table, &value), dev);
    let both = [("cookie", format!("{PLAIN}={value}")), ("x-environment", "production".to_owned())];
    assert_eq!(asked(&table, &both, false, "198.51.100.1"), dev, "whatever else the request says");
    assert_eq!(with(&table, &sealed(&table, &stay("production"))), Ok("production by signed cookie".to_owned()));
    assert_eq!(with(&table, "").unwrap_err(), "it is not one that this edge has made");
    assert_eq!(asked(&table, &[("cookie", "a=b".into())], false, "192.0.2.9"), Ok("production by default".into()));
}

#[test]
fn each_scheme_has_its_own_cookie() {
    let table = edge(false);
    let value = sealed(&table, &stay("dev"));
    let under = |name: &str, https| asked(&table, &[("cookie", format!("{name}={value}"))], https, "192.0.2.9");
    assert_eq!(under(SECURE, true), Ok("dev by signed cookie".into()));
    assert_eq!(under(PLAIN, true), Ok("production by default".into()), "a neighbour can set that");
    assert_eq!(under(SECURE, false), Ok("production by default".into()));
}

#[test]
fn a_cookie_that_does_not_hold_serves_nothing() {
    let table = edge(false);
    let good = sealed(&table, &stay("dev"));
    let cases = [
        (good[1..].to_owned(), "it is not one that this edge has made"),
        (sealed(&edge(false), &stay("dev")), "it is not one that this edge has made"),
        ("dev".to_owned(), "it is not one that this edge has made"),
        (sealed(&table, &Stay { until: NOW, ..stay("dev") }), "it is over"),
        (sealed(&table, &Stay { project: "other".into(), ..stay("dev") }), "it is for another project"),
        (sealed(&table, &stay("gone")), NO_SUCH),
        (sealed(&table, &stay("local")), "no rule lists `local` for this address"),
        (format!("{good}; {PLAIN}={}", sealed(&table, &stay("production"))), "it comes more than once"),
    ];
    for (value, why) in cases {
        assert_eq!(with(&table, &value), Err(why), "{value}");
    }
    let grant = Grant { stay: stay("dev"), opens_until: NOW + 1 }.seal(table.cookies.sealer().unwrap()).unwrap();
    assert!(with(&table, &grant).is_err(), "a link is no cookie");
    assert!(Grant::open(table.cookies.sealer().unwrap(), &good).is_none(), "a cookie is no link");
}

#[test]
fn a_command_that_has_no_key_refuses_what_it_cannot_open() {
    let table = edge(false);
    let value = sealed(&table, &stay("dev"));
    let (project, _) = table.matcher.project("demo.test").unwrap();
    let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&format!("{PLAIN}={value}")).unwrap())]);
    let key = CookieKey::default();
    let sent = Sent { https: false, address: "192.0.2.9".parse().unwrap(), now: NOW, key: &key };
    assert!(matches!(project.choose("demo.test", &headers, sent), Some(Choice::Unavailable(By::Browser(None), _))));
}

#[test]
fn local_is_granted_where_a_rule_lists_it_and_to_whom_it_lists() {
    let table = edge(true);
    let project = &table.matcher.projects()[0];
    assert!(project.may_grant("local") && project.may_grant("dev") && !project.may_grant("gone"));
    assert!(!edge(false).matcher.projects()[0].may_grant("local"));
    assert!(matches!(project.rules[0].source, Source::Header(_)));
    let cookie = [("cookie", format!("{PLAIN}={}", sealed(&table, &stay("local"))))];
    assert_eq!(asked(&table, &cookie, false, "192.0.2.9"), Ok("local by signed cookie".into()));
    assert_eq!(asked(&table, &cookie, false, "198.51.100.1"), Err("no rule lists `local` for this address"));
}

#[test]
fn a_link_opens_for_what_was_sealed_into_it() {
    let table = edge(false);
    let sealer = table.cookies.sealer().unwrap();
    let grant = Grant { stay: stay("dev"), opens_until: NOW + 7 };
    assert_eq!(Grant::open(sealer, &grant.seal(sealer).unwrap()), Some(grant));
    assert_eq!(Stay::open(sealer, &stay("dev").seal(sealer).unwrap()), Some(stay("dev")));
}
