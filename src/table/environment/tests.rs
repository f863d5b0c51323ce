//! Which environment a request gets, rule by rule.

use http::{HeaderMap, HeaderValue};

use super::super::Table;
use super::super::testing::*;
use super::{Choice, Sent};
use crate::config::model::{ChooseEnvironment, EnvironmentSource};

fn edge(rules: Vec<ChooseEnvironment>) -> Table {
    let mut demo = project("demo", &["demo.test"], vec![respond("/")]);
    demo.environments.extend([environment("dev", vec![]), environment("stage", vec![]), environment("local", vec![])]);
    demo.choose_environment = rules;
    table(model(vec![demo]))
}

fn chosen(table: &Table, request: &Request) -> Result<String, &'static str> {
    let host = request.headers.get("host").unwrap().to_str().unwrap();
    let (project, _) = table.matcher.project(host).expect("the host is the project's");
    let sent = Sent { https: false, address: request.peer, now: NOW, key: &table.cookies };
    match project.choose(host, &request.headers, sent).unwrap() {
        Choice::Default(environment) | Choice::Chosen(environment, _) => Ok(environment.name.to_string()),
        Choice::Unavailable(_, why) => Err(why),
    }
}

fn ok(name: &str) -> Result<String, &'static str> {
    Ok(name.to_owned())
}

const UNKNOWN: Result<String, &str> = Err("the project has no such environment");
const NOT_LISTED: Result<String, &str> = Err("the rule may not name it");
const NOT_FROM_THERE: Result<String, &str> = Err("the rule is not for this address");
const UNCLEAR: Result<String, &str> = Err("it names several, or what it names is not text");

fn demo() -> Request {
    Request::get("demo.test", "/")
}

#[test]
fn a_request_that_names_none_gets_the_default() {
    let edge = edge(vec![rule(by_header("x-environment"), None, None)]);
    assert_eq!(chosen(&edge, &demo()), ok("production"));
}

#[test]
fn a_header_names_one_and_never_falls_to_the_default() {
    let edge = edge(vec![rule(by_header("x-environment"), Some(&["dev"]), Some(&["10.0.0.0/8"]))]);
    let named = |name: &str, from: &str| chosen(&edge, &demo().with("x-environment", name).from(from));
    assert_eq!(named("dev", "10.1.1.1"), ok("dev"));
    assert_eq!(named("dev", "192.0.2.1"), NOT_FROM_THERE);
    assert_eq!(named("stage", "10.1.1.1"), NOT_LISTED);
    assert_eq!(named("production", "10.1.1.1"), NOT_LISTED);
    assert_eq!(named("nowhere", "10.1.1.1"), UNKNOWN);
    assert_eq!(named("", "10.1.1.1"), UNKNOWN);
    assert_eq!(named("Dev", "10.1.1.1"), UNKNOWN);
    assert_eq!(named("dev, stage", "10.1.1.1"), UNKNOWN);
}

#[test]
fn without_of_all_but_local_may_be_named() {
    let edge = edge(vec![rule(by_header("x-environment"), None, None)]);
    assert_eq!(chosen(&edge, &demo().with("x-environment", "stage")), ok("stage"));
    assert_eq!(chosen(&edge, &demo().with("x-environment", "local")), NOT_LISTED);
}

#[test]
fn local_may_be_named_where_a_rule_lists_it() {
    let edge = edge(vec![rule(by_header("x-environment"), Some(&["local"]), None)]);
    assert_eq!(chosen(&edge, &demo().with("x-environment", "local")), ok("local"));
}

#[test]
fn two_names_are_none_that_can_be_had() {
    let edge = edge(vec![rule(by_header("x-environment"), None, None)]);
    let twice = |second: &str| chosen(&edge, &demo().with("x-environment", "dev").with("x-environment", second));
    assert_eq!(twice("dev"), ok("dev"));
    assert_eq!(twice("stage"), UNCLEAR);
    let mut unreadable = demo();
    unreadable.headers.insert("x-environment", HeaderValue::from_bytes(b"d\xe4v").unwrap());
    assert_eq!(chosen(&edge, &unreadable), UNCLEAR);
}

#[test]
fn a_cookie_names_one_among_others() {
    let edge = edge(vec![rule(EnvironmentSource::Cookie("cs_env".into()), Some(&["dev"]), None)]);
    let cookie = |value: &str| chosen(&edge, &demo().with("cookie", value));
    assert_eq!(cookie("a=b; cs_env=dev;c=d"), ok("dev"));
    assert_eq!(cookie("cs_env=\"dev\""), ok("dev"));
    assert_eq!(cookie("xcs_env=dev; cs_envx=stage"), ok("production"));
    assert_eq!(cookie("cs_env=dev; cs_env=stage"), UNCLEAR);
    assert_eq!(cookie("cs_env=stage"), NOT_LISTED);
    assert_eq!(cookie("cs_env="), UNKNOWN);
}

#[test]
fn a_host_that_only_a_rule_names_leads_to_the_project_and_its_environment() {
    let edge = edge(vec![
        rule(by_host("dev.demo.test", "dev"), None, None),
        rule(by_host("*.stage.test", "stage"), None, Some(&["10.0.0.0/8"])),
    ]);
    assert_eq!(chosen(&edge, &Request::get("dev.demo.test", "/")), ok("dev"));
    assert_eq!(chosen(&edge, &Request::get("x.stage.test", "/").from("10.0.0.1")), ok("stage"));
    assert_eq!(chosen(&edge, &Request::get("x.stage.test", "/")), NOT_FROM_THERE);
}

#[test]
fn the_first_rule_that_finds_something_decides() {
    let edge = edge(vec![
        rule(by_header("x-environment"), Some(&["dev"]), None),
        rule(EnvironmentSource::Cookie("cs_env".into()), Some(&["stage"]), None),
        rule(by_host("dev.demo.test", "dev"), None, None),
    ]);
    let both = demo().with("x-environment", "dev").with("cookie", "cs_env=stage");
    assert_eq!(chosen(&edge, &both), ok("dev"));
    assert_eq!(chosen(&edge, &demo().with("cookie", "cs_env=stage")), ok("stage"));
    let forbidden = demo().with("x-environment", "production").with("cookie", "cs_env=stage");
    assert_eq!(chosen(&edge, &forbidden), NOT_LISTED);
    assert_eq!(chosen(&edge, &Request::get("dev.demo.test", "/").with("cookie", "cs_env=dev")), NOT_LISTED);
}

#[test]
fn rules_about_the_same_header_add_up() {
    let edge = edge(vec![
        rule(by_header("x-environment"), Some(&["dev"]), Some(&["10.0.0.0/8"])),
        rule(by_header("x-environment"), Some(&["stage"]), None),
    ]);
    assert_eq!(chosen(&edge, &demo().with("x-environment", "stage")), ok("stage"));
    assert_eq!(chosen(&edge, &demo().with("x-environment", "dev")), NOT_FROM_THERE);
}

#[test]
fn cookies_without_a_value_are_no_cookies() {
    let mut headers = HeaderMap::new();
    headers.insert("cookie", HeaderValue::from_static("cs_env; a=b"));
    assert_eq!(super::cookies(&headers, "cs_env").count(), 0);
}
