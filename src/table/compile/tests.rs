//! Every problem that the compiler finds, and what it makes of a configuration that holds.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderName, Method};

use crate::config::Model;
use crate::config::model::{
    Action, Auth, Cors, HeaderEdits, HostHeader, Origins, Proxy, Route, Scheme, SignScheme, Target, UpstreamPolicy,
};
use crate::diagnostic::{Diagnostic, Spanned};
use crate::secret::Secret;

use super::super::route;
use super::super::testing::{self, *};

fn only(routes: Vec<Route>) -> Model {
    let mut model = model(vec![project("demo", &["demo.test"], routes)]);
    model.clients = vec![client("dev", Some("dev@example.com"))];
    model
}

fn edited(edit: impl FnOnce(&mut Route)) -> Model {
    let mut route = testing::route("/a0", "https://u.example.com");
    edit(&mut route);
    only(vec![route])
}

fn one(model: Model) -> Diagnostic {
    let mut problems = problems(model);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

fn secret(name: &'static str, value: &str) -> (Spanned<HeaderName>, Secret) {
    (Spanned::new(HeaderName::from_static(name), at(6)), Secret::new(value))
}

#[test]
fn a_plain_configuration_holds_without_a_word() {
    assert_eq!(problems(edited(|_| {})), []);
}

#[test]
fn an_unknown_upstream_is_named_with_the_nearest_one() {
    let mut model = only(vec![route("/a", "user")]);
    model.upstreams = vec![group("users", Scheme::Https, &[("u.example.com", 443, 1)])];
    let problem = problems(model).into_iter().find(|problem| problem.is_error()).unwrap();
    assert_eq!((problem.code, problem.hint.as_str()), ("unknown_upstream", "did you mean `users`?"));
}

#[test]
fn an_upstream_that_no_route_uses_is_mentioned() {
    let mut model = edited(|_| {});
    model.upstreams = vec![group("users", Scheme::Https, &[("u.example.com", 443, 1)])];
    assert_eq!(warning_codes(model), ["unused_upstream"]);
}

#[test]
fn environments_must_exist_where_they_are_named() {
    let mut model = edited(|_| {});
    let demo = &mut model.projects[0];
    demo.environment = text("prod");
    demo.choose_environment = vec![
        rule(by_header("x-environment"), Some(&["productoin"]), None),
        rule(by_host("dev.demo.test", "dev"), None, None),
    ];
    let problems = problems(model);
    assert_eq!(problems.iter().map(|it| it.code).collect::<Vec<_>>(), ["unknown_environment"; 3]);
    assert!(problems.iter().any(|it| it.hint == "did you mean `production`?"), "{problems:#?}");
}

#[test]
fn local_cannot_serve_by_default() {
    let mut model = edited(|_| {});
    model.projects[0].environments.push(environment("local", vec![]));
    model.projects[0].environment = text("local");
    assert_eq!(error_codes(model), ["local_by_default"]);
}

#[test]
fn a_host_leads_to_one_project_even_when_only_a_rule_names_it() {
    let mut first = project("first", &["a.test", "*.b.test"], vec![]);
    first.choose_environment = vec![rule(by_host("dev.a.test", "production"), None, None)];
    let conflicts = |hosts: &[&str]| problems(model(vec![first.clone(), project("second", hosts, vec![])]));
    assert_eq!(conflicts(&["c.test", "x.b.test"]), []);
    for host in ["a.test", "*.b.test", "dev.a.test"] {
        let [problem] = &conflicts(&[host])[..] else { panic!("{host} has two owners") };
        assert_eq!(problem.code, "host_conflict");
        assert!(problem.message.contains("`first`") && problem.message.contains("`second`"), "{}", problem.message);
        assert!(problem.related.is_some());
    }
}

#[test]
fn one_project_at_most_serves_any_host() {
    assert_eq!(error_codes(model(vec![project("a", &[], vec![]), project("b", &[], vec![])])), ["host_conflict"]);
}

#[test]
fn a_host_may_be_listed_and_named_by_a_rule() {
    let mut demo = project("demo", &["a.test", "dev.a.test"], vec![]);
    demo.choose_environment = vec![rule(by_host("dev.a.test", "production"), None, None)];
    assert_eq!(problems(model(vec![demo])), []);
}

#[test]
fn prefixes_are_unique_in_their_canonical_spelling() {
    let problem = one(only(vec![respond("/a%c3%a4"), respond("/%61%C3%A4")]));
    assert_eq!(problem.code, "duplicate_prefix");
    let twice = one(only(vec![respond("/a"), respond("/a/")]));
    assert_eq!(twice.code, "duplicate_prefix");
}

#[test]
fn prefixes_that_can_match_nothing_are_refused() {
    for prefix in ["/a/../b", "/a//b", "/%2f", "/a?b", "/a b", "a"] {
        assert_eq!(error_codes(only(vec![respond(prefix)])), ["invalid_path"], "{prefix}");
    }
    assert_eq!(error_codes(only(vec![respond("/.countersign/x")])), ["reserved_prefix"]);
}

#[test]
fn a_prefix_matches_however_it_was_spelt() {
    let table = table(only(vec![respond("/%61%c3%a4/")]));
    assert_eq!(&*table.routes[0].prefix, "/a%C3%A4");
}

#[test]
fn a_guarded_project_reaches_public_names_only() {
    let guarded = |environment_name: &str, host: &str| {
        let mut model = only(vec![]);
        let demo = &mut model.projects[0];
        demo.upstream_policy = UpstreamPolicy::Guarded;
        let routes = vec![route("/a0", &format!("https://{host}/api"))];
        demo.environments.push(environment(environment_name, routes));
        error_codes(model)
    };
    for host in ["127.0.0.1", "localhost", "192.0.2.1", "demo.test"] {
        assert_eq!(guarded("dev", host), ["upstream_not_allowed"], "{host}");
        assert_eq!(guarded("local", host), [] as [&str; 0], "{host}");
    }
    assert_eq!(guarded("dev", "public.example.com"), [] as [&str; 0]);
}

#[test]
fn a_guarded_project_does_not_reach_another_projects_wildcard_host() {
    let mut guarded = project("guarded", &["a.test"], vec![route("/x", "https://deep.down.b.example.com")]);
    guarded.upstream_policy = UpstreamPolicy::Guarded;
    let other = project("other", &["*.b.example.com"], vec![]);
    assert_eq!(error_codes(model(vec![guarded, other])), ["upstream_not_allowed"]);
}

#[test]
fn endpoints_of_a_group_are_judged_where_they_stand_and_once() {
    let mut model = only(vec![route("/a", "inner"), route("/b", "inner")]);
    model.projects[0].upstream_policy = UpstreamPolicy::Guarded;
    model.upstreams = vec![group("inner", Scheme::Https, &[("10.0.0.1", 443, 1), ("ok.example.com", 443, 1)])];
    let problem = one(model);
    assert_eq!((problem.code, problem.at, problem.related.is_some()), ("upstream_not_allowed", Some(at(1)), true));
}

#[test]
fn secrets_do_not_go_over_plain_http_into_the_open() {
    let signed = |url: &str| {
        let mut route = route("/a", url);
        route.sign = sign(SignScheme::UserStamp);
        let problems = problems(only(vec![route]));
        problems.iter().map(|problem| (problem.is_error(), problem.code)).collect::<Vec<_>>()
    };
    assert_eq!(signed("http://192.0.2.1/"), [(true, "sensitive_over_http")]);
    assert_eq!(signed("http://127.0.0.1:3000/"), []);
    assert_eq!(signed("http://localhost:3000/"), []);
    assert_eq!(signed("http://10.1.2.3/"), []);
    assert_eq!(signed("http://users.example.com/"), [(false, "sensitive_over_http")]);
    assert_eq!(signed("https://192.0.2.1/"), []);
}

#[test]
fn http_is_for_the_inside_of_the_cluster_and_https_for_the_outside() {
    let told = |policy: UpstreamPolicy, environment_name: &str, url: &str, signed: bool| {
        let mut model = only(vec![]);
        let demo = &mut model.projects[0];
        demo.upstream_policy = policy;
        let mut route = route("/a0", url);
        route.sign = sign(SignScheme::UserStamp).filter(|_| signed);
        demo.environments.push(environment(environment_name, vec![route]));
        problems(model).into_iter().map(|problem| problem.code).filter(|code| code.contains("http")).collect::<Vec<_>>()
    };
    let guarded = |url: &str| told(UpstreamPolicy::Guarded, "dev", url, false);
    let outside = "http://users.example.com/api";
    assert_eq!(guarded(outside), ["plain_http_outside"]);
    assert_eq!(guarded("https://users.example.com/api"), [] as [&str; 0]);
    for inside in [
        "http://users",
        "http://users.default.svc:8080/api",
        "http://users.internal",
        "http://users.default.svc.cluster.local",
    ] {
        assert_eq!(guarded(inside), [] as [&str; 0], "{inside}");
        assert_eq!(
            told(UpstreamPolicy::Guarded, "dev", inside, true),
            [] as [&str; 0],
            "{inside}: checked when connecting"
        );
    }
    assert_eq!(told(UpstreamPolicy::Guarded, "dev", outside, true), ["sensitive_over_http"], "said once, and stronger");
    assert_eq!(told(UpstreamPolicy::Guarded, "local", outside, false), [] as [&str; 0]);
    assert_eq!(told(UpstreamPolicy::Open, "dev", outside, false), [] as [&str; 0]);
}

#[test]
fn http_to_the_outside_is_said_once_for_each_group_at_its_endpoint() {
    let mut model = only(vec![route("/a", "pool"), route("/b", "pool")]);
    model.projects[0].upstream_policy = UpstreamPolicy::Guarded;
    model.upstreams = vec![group("pool", Scheme::Http, &[("users", 80, 1), ("ok.example.com", 80, 1)])];
    let problem = one(model);
    assert_eq!((problem.code, problem.is_error(), !problem.hint.is_empty()), ("plain_http_outside", false, true));
    assert!(problem.message.contains("ok.example.com"), "{}", problem.message);
}

#[test]
fn payload_and_credentials_are_secrets_too() {
    let over_http = |edit: fn(&mut Route)| {
        let mut route = route("/a", "http://192.0.2.1/");
        edit(&mut route);
        error_codes(only(vec![route]))
    };
    assert_eq!(over_http(|_| {}), [] as [&str; 0]);
    assert_eq!(over_http(|route| route.payload = vec![secret("x-api-token", "s")]), ["sensitive_over_http"]);
    assert_eq!(over_http(|route| route.payload = vec![secret("x-api-token", "")]), [] as [&str; 0]);
    let with_authorization = |route: &mut Route| route.request_headers.set = vec![field("authorization", "Basic eA==")];
    assert_eq!(over_http(with_authorization), ["sensitive_over_http"]);
}

#[test]
fn a_header_that_says_who_calls_is_a_secret_too() {
    let told = |auth: Auth, value: &'static str| {
        let mut route = route("/a", "http://192.0.2.1/");
        route.auth = auth;
        route.request_headers.add = vec![field("x-who", value)];
        error_codes(only(vec![route]))
    };
    for value in ["{user}", "id={client}"] {
        assert_eq!(told(Auth::Optional, value), ["sensitive_over_http"], "{value}");
        assert_eq!(told(Auth::None, value), [] as [&str; 0], "it says nothing: {value}");
    }
    for value in ["{client_ip}", "{{user}}", "user"] {
        assert_eq!(told(Auth::Optional, value), [] as [&str; 0], "{value}");
    }
}

#[test]
fn sensitive_routes_are_marked_for_the_check_at_connect_time() {
    let marks = |edit: fn(&mut Route)| {
        let table = table(edited(edit));
        let route::Action::Forward(forward) = &table.routes[0].action else { panic!() };
        forward.sensitive
    };
    assert!(!marks(|_| {}));
    assert!(marks(|route| route.sign = sign(SignScheme::None)));
    assert!(marks(|route| route.payload = vec![secret("x-api-token", "s")]));
}

#[test]
fn a_signature_without_a_token_is_mentioned() {
    let without_token = |scheme| {
        edited(|route| {
            route.sign = sign(scheme);
            route.sign.as_mut().unwrap().token = None;
        })
    };
    assert_eq!(one(without_token(SignScheme::UserStamp)).code, "no_sign_token");
    assert_eq!(problems(without_token(SignScheme::None)), []);
    assert_eq!(problems(edited(|route| route.sign = sign(SignScheme::UserStamp))), []);
    for scheme in [SignScheme::HmacSha256, SignScheme::Rfc9421] {
        assert_eq!(error_codes(without_token(scheme)), ["no_sign_token"], "{scheme:?}: nothing could be made");
    }
    assert_eq!(problems(edited(|route| route.sign = sign(SignScheme::Rfc9421))), []);
    assert_eq!(problems(edited(|route| route.sign = sign(SignScheme::HmacSha256))), [], "names are never ambiguous");
}

#[test]
fn schemes_that_two_identities_could_share_are_mentioned_once() {
    let signed =
        |prefix: &str| Route { sign: sign(SignScheme::UserProjectStamp), ..route(prefix, "https://u.example.com") };
    let mut model = only(vec![signed("/a"), signed("/b")]);
    model.projects[0].name = text("mproj");
    assert_eq!(warning_codes(model), ["ambiguous_signature"]);
}

#[test]
fn edits_may_not_touch_what_the_edge_owns() {
    let reserved = ["x-forwarded-for", "x_forwarded_for", "x-forwarded-proto", "x-real-ip", "x-request-id", "te"];
    for name in reserved {
        let edits = HeaderEdits { set: vec![field(name, "1")], ..HeaderEdits::default() };
        assert_eq!(error_codes(edited(|route| route.request_headers = edits)), ["reserved_header"], "set {name}");
        let edits = HeaderEdits { remove: vec![field(name, "").0], ..HeaderEdits::default() };
        assert_eq!(error_codes(edited(|route| route.request_headers = edits)), ["reserved_header"], "remove {name}");
        assert_eq!(error_codes(edited(|route| route.payload = vec![secret(name, "s")])), ["reserved_header"], "{name}");
    }
    let harmless = HeaderEdits { set: vec![field("x-forwarded-app", "demo")], ..HeaderEdits::default() };
    assert_eq!(problems(edited(|route| route.request_headers = harmless)), []);
}

#[test]
fn a_name_has_one_owner() {
    let payload = |name: &'static str| edited(|route| route.payload = vec![secret(name, "s")]);
    assert_eq!(error_codes(payload("x-kms-user")), ["reserved_header"]);
    assert_eq!(error_codes(payload("x-kms_sign")), ["reserved_header"]);
    assert_eq!(problems(payload("x-kms-tenant")), []);
    let twice = edited(|route| {
        route.payload = vec![secret("x-api-token", "s")];
        route.request_headers.set = vec![field("x_api_token", "1")];
    });
    assert_eq!(error_codes(twice), ["duplicate_header"]);
    let same = edited(|route| route.payload = vec![secret("x-api-token", "s"), secret("x_api_token", "t")]);
    assert_eq!(error_codes(same), ["duplicate_header"]);
}

#[test]
fn a_payload_value_that_no_header_may_carry_is_refused_unseen() {
    let problem = one(edited(|route| route.payload = vec![secret("x-api-token", "sec\nret")]));
    assert_eq!(problem.code, "invalid_header");
    assert!(!format!("{problem:?}").contains("ret\""), "{problem:?}");
}

#[test]
fn header_prefixes_leave_common_names_alone() {
    for prefix in ["x-", "x-kms", "x kms-", "-", "x-f"] {
        let mut model = edited(|_| {});
        model.projects[0].sign_defaults.header_prefix = text(prefix);
        assert_eq!(error_codes(model), ["invalid_header"], "{prefix}");
    }
    let mut model = edited(|_| {});
    model.projects[0].sign_defaults.header_prefix = text("X_Corp-");
    assert_eq!(&*table(model).routes[0].family, "x-corp-");
}

#[test]
fn names_and_app_ids_fit_into_headers() {
    let mut model = edited(|_| {});
    model.projects[0].app_id = "10 01".to_owned();
    assert_eq!(error_codes(model), ["invalid_header"]);
}

#[test]
fn clients_are_whole() {
    let with_client = |edit: fn(&mut crate::config::model::Client)| {
        let mut model = edited(|_| {});
        edit(&mut model.clients[0]);
        error_codes(model)
    };
    assert_eq!(with_client(|it| it.user = Some(text("K\u{212a}@example.com"))), ["invalid_user"]);
    assert_eq!(with_client(|it| it.display_name = Some(text("a\r\nb"))), ["invalid_value"]);
    assert_eq!(with_client(|it| it.projects = Some(vec![text("dmeo")])), ["unknown_project"]);
}

#[test]
fn a_project_that_nobody_can_call_is_mentioned_once() {
    let mut model =
        only(vec![Route { auth: Auth::Required, ..respond("/a") }, Route { auth: Auth::Required, ..respond("/b") }]);
    model.clients.clear();
    assert_eq!(warning_codes(model), ["no_client"]);
}

fn proxied(target: Target, rewrite: Option<&str>, host: HostHeader) -> Model {
    let rewrite = rewrite.map(text);
    let mut model = only(vec![with_action("/a", Action::Proxy(Proxy { target, rewrite, host }))]);
    model.upstreams = vec![group("users", Scheme::Https, &[("u.example.com", 443, 1)])];
    model
}

#[test]
fn rewrites_are_paths_for_groups() {
    let group = |rewrite| error_codes(proxied(Target::Group(text("users")), Some(rewrite), HostHeader::Upstream));
    assert_eq!(group("/internal"), [] as [&str; 0]);
    assert_eq!(group("/a/../b"), ["invalid_path"]);
    assert_eq!(group("internal"), ["invalid_path"]);
}

#[test]
fn literal_hosts_are_hosts() {
    let literal =
        |host: &str| error_codes(proxied(Target::Group(text("users")), None, HostHeader::Literal(host.to_owned())));
    assert_eq!(literal("inner.test:8080"), [] as [&str; 0]);
    assert_eq!(literal("inner test"), ["invalid_host"]);
}

#[test]
fn urls_share_one_upstream_for_each_origin_after_the_groups() {
    let mut model = only(vec![
        route("/a", "https://u.example.com/a"),
        route("/b", "https://u.example.com/b"),
        route("/c", "http://u.example.com/c"),
        route("/d", "users"),
    ]);
    model.upstreams = vec![group("users", Scheme::Https, &[("u.example.com", 8443, 1)])];
    let names: Vec<String> = table(model).upstreams.iter().map(|upstream| upstream.name.to_string()).collect();
    assert_eq!(names, ["users", "u.example.com:443", "u.example.com:80"]);
}

#[test]
fn weights_are_smooth_and_bounded() {
    let scheduled = |weights: &[u32]| super::upstreams::schedule(weights);
    assert_eq!(scheduled(&[5, 1, 1]), Some(vec![0, 0, 1, 0, 2, 0, 0]));
    assert_eq!(scheduled(&[2, 4]), Some(vec![1, 0, 1]));
    assert_eq!(scheduled(&[7, 7, 7]), Some(vec![0, 1, 2]));
    assert_eq!(scheduled(&[1, 20_000]), None);
    let mut model = only(vec![route("/a", "users")]);
    model.upstreams = vec![group("users", Scheme::Https, &[("a.example.com", 1, 1), ("b.example.com", 1, 20_000)])];
    assert_eq!(error_codes(model), ["invalid_weights"]);
}

#[test]
fn an_endpoint_is_listed_once() {
    let mut model = only(vec![route("/a", "users")]);
    model.upstreams = vec![group("users", Scheme::Https, &[("u.example.com", 1, 1), ("u.example.com", 1, 1)])];
    assert_eq!(error_codes(model), ["duplicate_endpoint"]);
}

#[test]
fn trust_stores_are_read_and_checked() {
    let directory = tempfile::tempdir().unwrap();
    let with_ca = |contents: Option<&str>| {
        let path = directory.path().join("ca.pem");
        if let Some(contents) = contents {
            std::fs::write(&path, contents).unwrap();
        }
        let mut model = only(vec![route("/a", "users")]);
        model.upstreams = vec![group("users", Scheme::Https, &[("u.example.com", 443, 1)])];
        model.upstreams[0].tls.ca = Some(Spanned::new(path, at(9)));
        model
    };
    let problem = one(with_ca(None));
    assert_eq!((problem.code, problem.at), ("invalid_ca", Some(at(9))));
    for contents in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert_eq!(one(with_ca(Some(contents))).code, "invalid_ca", "{contents}");
    }
    let table = table(with_ca(Some(include_str!("ca.pem"))));
    assert_eq!(table.upstreams[0].ca.as_ref().unwrap().certificates.len(), 1);
}

#[test]
fn tls_settings_decide_who_shares_connections() {
    let pool = |edit: fn(&mut crate::config::model::Group)| {
        let mut model = only(vec![route("/a", "users")]);
        model.upstreams = vec![group("users", Scheme::Https, &[("u.example.com", 443, 1)])];
        edit(&mut model.upstreams[0]);
        table(model).upstreams[0].pool_group
    };
    let plain = pool(|_| {});
    assert_eq!(plain, pool(|group| group.keepalive_idle = std::time::Duration::from_secs(1)));
    assert_ne!(plain, pool(|group| group.tls.server_name = Some("v.example.com".into())));
    assert_ne!(plain, pool(|group| group.tls.verify = false));
}

#[test]
fn the_previous_table_lends_counters_and_the_place_in_the_round() {
    let with_users = |endpoints: &[(&str, u16, u32)]| {
        let mut model = only(vec![route("/a", "users"), route("/b", "https://u.example.com/")]);
        model.upstreams = vec![group("users", Scheme::Https, endpoints)];
        model
    };
    let two: [(&str, u16, u32); 2] = [("a.example.com", 1, 1), ("b.example.com", 1, 1)];
    let first = table(with_users(&two));
    first.upstreams[0].choose(&ANY);
    let second = compiled(with_users(&two), Some(&first)).table.unwrap();
    assert_eq!(second.upstreams[0].cursor.load(Ordering::Relaxed), 1);
    for (old, new) in first.upstreams.iter().zip(&second.upstreams) {
        for (old, new) in old.endpoints.iter().zip(&new.endpoints) {
            assert!(Arc::ptr_eq(&old.state, &new.state), "{}", new.label);
        }
    }
    let third = compiled(with_users(&[("b.example.com", 1, 1)]), Some(&second)).table.unwrap();
    assert_eq!(third.upstreams[0].cursor.load(Ordering::Relaxed), 0);
    assert!(Arc::ptr_eq(&third.upstreams[0].endpoints[0].state, &first.upstreams[0].endpoints[1].state));
}

#[test]
fn a_hundred_thousand_routes_stay_small() {
    assert!(size_of::<route::Route>() <= 552, "{}", size_of::<route::Route>());
    let many = (0..1000).map(|it| route(&format!("/r{it}"), "https://u.example.com/api")).collect();
    let table = table(only(many));
    let [first, .., last] = &table.routes[..] else { panic!() };
    assert!(Arc::ptr_eq(&first.project, &last.project) && Arc::ptr_eq(&first.environment, &last.environment));
    assert!(Arc::ptr_eq(&first.family, &last.family) && Arc::ptr_eq(&first.injected, &last.injected));
    assert!(Arc::ptr_eq(&first.request_edits, &last.response_edits));
    let (route::Action::Forward(first), route::Action::Forward(last)) = (&first.action, &last.action) else { panic!() };
    assert!(Arc::ptr_eq(&first.upstream, &last.upstream));
    assert_eq!(first.base_path.as_ref().map(Arc::as_ptr), last.base_path.as_ref().map(Arc::as_ptr));
}

#[test]
fn every_problem_comes_in_one_run_in_file_order() {
    let mut model = only(vec![
        Route { payload: vec![secret("x-real-ip", "x")], ..respond("/a") },
        route("/b", "nowhere"),
        Route { methods: Some(vec![Method::GET]), ..respond("/c/../d") },
    ]);
    model.clients.push(client("ci", Some("bad user")));
    let found = problems(model);
    assert!(found.is_sorted_by_key(|problem| problem.at));
    let mut codes: Vec<_> = found.iter().map(|problem| problem.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["invalid_path", "invalid_user", "reserved_header", "unknown_upstream"]);
}

#[test]
fn anybodys_pages_are_for_environments_that_are_not_production() {
    let any = || {
        let mut any = testing::route("/a0", "https://u.example.com");
        any.cors = Some(Cors { origins: Origins::Any, ..cors(&[]) });
        any
    };
    assert_eq!(error_codes(model(vec![project("demo", &[], vec![any()])])), ["any_origin_in_production"]);
    let mut demo = project("demo", &[], vec![respond("/")]);
    demo.environments.push(environment("local", vec![any()]));
    demo.environments.push(environment("dev", vec![any()]));
    assert_eq!(error_codes(model(vec![demo])), Vec::<&str>::new());
}

#[test]
fn a_value_with_a_brace_that_means_nothing_is_refused() {
    for (value, says) in [
        ("{remote_addr}", "there is no variable `{remote_addr}`"),
        ("{\"a\": 1}", "a single brace that is not part of a variable"),
        ("{upstream_status}", "nobody has answered yet"),
    ] {
        let mut odd = respond("/");
        odd.request_headers.set = vec![field("x-odd", value)];
        let found = problems(model(vec![project("demo", &[], vec![odd])]));
        let found = found.iter().find(|it| it.code == "unknown_variable").unwrap();
        assert!(found.message.contains(says) && !found.hint.is_empty(), "{found:?}");
    }
    let mut secret = respond("/");
    let (name, mut value) = field("x-api-token", "{hunter2");
    value.set_sensitive(true);
    secret.request_headers.set = vec![(name, value)];
    let found = problems(model(vec![project("demo", &[], vec![secret])]));
    assert!(!format!("{found:?}").contains("hunter2"));
}

#[test]
fn limits_remember_over_a_reload() {
    let world = || {
        let mut limited = testing::route("/a0", "https://u.example.com");
        limited.limits = Some(limits());
        model(vec![project("demo", &[], vec![limited])])
    };
    let caller = crate::policy::limit::Caller { client: None, user: "", address: "192.0.2.1".parse().unwrap() };
    let first = table(world());
    let take = |table: &crate::table::Table| table.routes[0].limits.as_ref().unwrap().take(caller, 1);
    drop(take(&first).unwrap());
    let second = compiled(world(), Some(&first)).table.unwrap();
    assert!(take(&second).is_err());
    assert!(take(&table(world())).is_ok(), "a table of its own remembers nothing");
}

#[test]
fn pages_are_read_from_their_files() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Spanned::new(path, at(8))
    };
    let with = |file: Spanned<std::path::PathBuf>| {
        let mut demo = project("demo", &[], vec![respond("/")]);
        demo.pages.by_status = vec![((404, 404), file)];
        model(vec![demo])
    };
    let good = table(with(file("good.html", b"<h1>{status}</h1>")));
    let facts = crate::policy::page::Facts { status: 404, code: "", message: "", request_id: "" };
    assert_eq!(good.routes[0].pages.as_ref().unwrap().fill(&facts).as_deref(), Some("<h1>404</h1>"));
    let missing = Spanned::new(directory.path().join("missing.html"), at(8));
    for bad in [missing, file("latin1.html", b"\xe4"), file("large.html", &vec![b'x'; (256 << 10) + 1])] {
        assert_eq!(error_codes(with(bad)), ["unusable_page"]);
    }
}

mod identity {
    use std::path::Path;

    use super::*;
    use crate::config::model::{IdentitySource, Sign};
    use crate::table::Table;
    use crate::users::Network;

    const ANN: &str = "ann@example.com:$2y$04$HYMlDH/Teo.fYE6EruU8.OVuA9OYdTd.atmQkWz/XkWTLcrIJpkKa\n";

    fn of_file(path: &Path, routes: Vec<Route>) -> Model {
        let mut model = model(vec![project("demo", &["a.test"], routes)]);
        model.identity.sources = vec![IdentitySource::Basic];
        model.identity.basic_users = Some(Spanned::new(path.to_owned(), at(9)));
        model
    }

    fn required(sign: Option<Sign>) -> Route {
        Route { auth: Auth::Required, sign, ..route("/a", "https://up.example.com") }
    }

    fn written(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn a_file_that_cannot_be_used_is_an_error() {
        let (_dir, path) = written("ann");
        assert_eq!(error_codes(of_file(&path, vec![])), ["invalid_users_file"]);
        assert_eq!(error_codes(of_file(Path::new("/nowhere/users"), vec![])), ["invalid_users_file"]);
        let mut admin = model(vec![]);
        admin.admin.users_file = Some(Spanned::new(path, at(9)));
        assert_eq!(error_codes(admin), ["invalid_users_file"]);
    }

    #[test]
    fn what_will_not_work_is_said() {
        let (_dir, path) = written(&format!("{ANN}old:plain\n"));
        assert_eq!(warning_codes(of_file(&path, vec![required(None)])), ["unusable_user"]);
        let (_dir, path) = written("# nobody\n");
        assert_eq!(warning_codes(of_file(&path, vec![required(None)])), ["no_users"]);
        let (_dir, path) = written(&ANN.replace("@", "-at-"));
        assert!(warning_codes(of_file(&path, vec![required(None)])).is_empty());
        assert_eq!(warning_codes(of_file(&path, vec![required(sign(SignScheme::UserStamp))])), ["user_not_address"]);
        let mut certificates = model(vec![project("demo", &["a.test"], vec![required(None)])]);
        certificates.identity.sources = vec![IdentitySource::Certificate];
        certificates.clients = vec![client("dev", None)];
        assert_eq!(warning_codes(certificates), ["unused_source", "unused_source"], "no client CA, tokens unread");
    }

    #[test]
    fn a_table_after_an_edit_knows_who_is_logged_in_and_who_guessed() {
        let (_dir, path) = written(ANN);
        let first = table(of_file(&path, vec![]));
        let from = Network::from(std::net::IpAddr::from([192, 0, 2, 1]));
        (0..5).for_each(|_| first.guessing.passwords.failed(from, NOW));
        let second = compiled(of_file(&path, vec![required(None)]), Some(&first)).table.unwrap();
        let users = |table: &Table| table.identification.users().map(std::sync::Arc::as_ptr);
        assert_eq!(users(&first), users(&second));
        assert!(second.guessing.passwords.wait(from, NOW).is_some());
        assert_eq!(second.followed().len(), 1);
    }
}

fn direct_model(allow: bool, client: bool, routes: Vec<Route>) -> Model {
    let mut model = only(routes);
    model.projects[0].allow_direct = allow;
    model.projects[0].browser_client = client;
    model
}

#[test]
fn direct_is_off_until_a_project_allows_it() {
    let routes = || vec![direct("/a", "http://10.0.0.7")];
    let problem = one(direct_model(false, true, routes()));
    assert_eq!((problem.code, problem.is_error(), problem.at), ("direct_not_allowed", true, Some(at(3))));
    let problem = one(direct_model(true, false, routes()));
    assert_eq!((problem.code, problem.is_error()), ("direct_without_client", false));
    assert_eq!(problems(direct_model(true, true, routes())), []);
}

#[test]
fn a_direct_prefix_is_spelt_as_the_router_spells_it_and_stands_once_in_its_mode() {
    let routes = vec![respond("/a"), direct("/%61/", "https://u.example.com/x"), direct("/b", "http://localhost:8000")];
    let table = table(direct_model(true, true, routes));
    let listed: Vec<_> = table.direct.iter().map(|it| (&*it.prefix, &*it.target)).collect();
    assert_eq!(listed, [("/a", "https://u.example.com/x"), ("/b", "http://localhost:8000")]);
    assert_eq!(table.routes.len(), 1);
    let twins = vec![direct("/a", "http://u.example.com"), direct("/%61", "http://v.example.com")];
    assert_eq!(one(direct_model(true, true, twins)).code, "duplicate_prefix");
    let reserved = vec![direct("/.countersign/x", "http://u.example.com")];
    assert_eq!(one(direct_model(true, true, reserved)).code, "reserved_prefix");
}

#[test]
fn a_guarded_project_may_send_browsers_anywhere() {
    let mut model =
        direct_model(true, true, vec![direct("/a", "http://127.0.0.1:3000"), direct("/b", "http://localhost")]);
    model.projects[0].upstream_policy = UpstreamPolicy::Guarded;
    assert_eq!(problems(model), []);
}
