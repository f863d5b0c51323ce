//! Look-up against the plain rule, and the edges of it.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::testing::*;
use super::{Routes, covers};

fn routes(prefixes: &[&str]) -> Routes {
    let table = table(model(vec![project("demo", &[], prefixes.iter().map(|prefix| respond(prefix)).collect())]));
    let mut routes = Routes::with_capacity(prefixes.len());
    table.routes.iter().for_each(|route| routes.insert(Arc::clone(route)).unwrap());
    routes
}

fn found(prefixes: &[&str], path: &str) -> Option<String> {
    routes(prefixes).find(path).map(|route| route.prefix.to_string())
}

#[test]
fn whole_segments_match_and_the_longest_prefix_wins() {
    let prefixes = ["/a0", "/a0/admin", "/b"];
    assert_eq!(found(&prefixes, "/a0").as_deref(), Some("/a0"));
    assert_eq!(found(&prefixes, "/a0/").as_deref(), Some("/a0"));
    assert_eq!(found(&prefixes, "/a0/adminx").as_deref(), Some("/a0"));
    assert_eq!(found(&prefixes, "/a0/admin").as_deref(), Some("/a0/admin"));
    assert_eq!(found(&prefixes, "/a0/admin/x/y/z").as_deref(), Some("/a0/admin"));
    assert_eq!(found(&prefixes, "/a0x"), None);
    assert_eq!(found(&prefixes, "/"), None);
}

#[test]
fn the_root_takes_what_is_left() {
    assert_eq!(found(&["/", "/a"], "/").as_deref(), Some("/"));
    assert_eq!(found(&["/", "/a"], "/b/c").as_deref(), Some("/"));
    assert_eq!(found(&["/", "/a"], "/ab").as_deref(), Some("/"));
    assert_eq!(found(&["/"], "/x/").as_deref(), Some("/"));
    assert_eq!(found(&[], "/"), None);
}

#[test]
fn a_taken_prefix_gives_the_route_back() {
    let table = table(model(vec![project("demo", &[], vec![respond("/"), respond("/a")])]));
    let mut routes = Routes::default();
    for route in &table.routes {
        assert!(routes.insert(Arc::clone(route)).is_ok());
        assert!(Arc::ptr_eq(&routes.insert(Arc::clone(route)).unwrap_err(), route));
    }
}

#[test]
fn hosts_are_found_exact_then_by_the_longest_wildcard_then_by_default() {
    let table = table(model(vec![
        project("exact", &["a.example.com", "*.deep.example.com"], vec![]),
        project("wide", &["*.example.com"], vec![]),
        project("rest", &[], vec![]),
    ]));
    let owner = |host: &str| table.matcher.project(host).map(|(project, _)| project.name.to_string());
    assert_eq!(owner("a.example.com").as_deref(), Some("exact"));
    assert_eq!(owner("b.example.com").as_deref(), Some("wide"));
    assert_eq!(owner("x.y.example.com").as_deref(), Some("wide"));
    assert_eq!(owner("x.deep.example.com").as_deref(), Some("exact"));
    assert_eq!(owner("deep.example.com").as_deref(), Some("wide"));
    assert_eq!(owner("example.com").as_deref(), Some("rest"));
    assert_eq!(owner("xexample.com").as_deref(), Some("rest"));
}

#[test]
fn without_a_default_project_an_unknown_host_has_no_owner() {
    let table = table(model(vec![project("demo", &["a.test"], vec![])]));
    assert!(table.matcher.project("b.test").is_none());
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "c"]), 0..6)
        .prop_map(|segments| format!("/{}", segments.join("/")))
}

proptest! {
    #[test]
    fn matches_the_brute_force_oracle(
        prefixes in prop::collection::btree_set(path(), 0..20),
        path in path(),
        slash in any::<bool>(),
    ) {
        let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
        let path = if slash && path != "/" { format!("{path}/") } else { path };
        let oracle = prefixes.iter().filter(|prefix| covers(prefix, &path)).max_by_key(|prefix| prefix.len());
        prop_assert_eq!(found(&prefixes, &path), oracle.map(ToString::to_string));
    }
}
