//! Every refusal, the order in which refusals come, and what an admission says.

use http::{HeaderMap, Method};

use crate::config::model::{Auth, Route, SignScheme};

use super::super::testing::*;
use super::super::{Decision, NoTrace, Table};
use super::{Admitted, Refusal};

fn ask(table: &Table, request: &Request) -> Decision {
    table.decide(&request.view(), NOW, &mut NoTrace).0
}

fn refused(table: &Table, request: &Request) -> Refusal {
    match ask(table, request) {
        Decision::Refuse(refusal, _) => refusal,
        other => panic!("it should be refused: {other:?}"),
    }
}

fn admitted(table: &Table, request: &Request) -> Admitted {
    match ask(table, request) {
        Decision::Admit(admitted) => admitted,
        other => panic!("it should be admitted: {other:?}"),
    }
}

fn code(table: &Table, request: &Request) -> (u16, &'static str) {
    let refusal = refused(table, request);
    (refusal.status, refusal.code)
}

fn with(auth: Auth, edit: impl FnOnce(&mut Route)) -> Table {
    let mut only = route("/a0", "https://up.example.com/api");
    only.auth = auth;
    edit(&mut only);
    let mut model = model(vec![project("demo", &["a.test"], vec![only]), project("other", &["b.test"], vec![])]);
    let mut elsewhere = client("elsewhere", Some("e@example.com"));
    elsewhere.projects = Some(vec![text("other")]);
    let mut late = client("late", Some("l@example.com"));
    late.expires_before = Some(NOW);
    let mut robot_elsewhere = client("robot-elsewhere", None);
    robot_elsewhere.projects = Some(vec![text("other")]);
    let mut dev = client("dev", Some("Dev@Example.com"));
    dev.display_name = Some(text("Dév"));
    model.clients = vec![dev, client("robot", None), elsewhere, late, robot_elsewhere];
    table(model)
}

fn get(target: &str) -> Request {
    Request::get("a.test", target)
}

fn bearer(token: &str) -> Request {
    get("/a0/x").with("authorization", &format!("Bearer {token}"))
}

fn header<'r>(refusal: &'r Refusal, name: &str) -> &'r str {
    refusal.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.to_str().unwrap()).unwrap()
}

#[test]
fn an_unknown_host_is_misdirected() {
    assert_eq!(code(&with(Auth::None, |_| {}), &Request::get("c.test", "/a0")), (421, "unknown_host"));
}

#[test]
fn hosts_match_in_any_case_with_any_port() {
    admitted(&with(Auth::None, |_| {}), &Request::get("A.Test.:8080", "/a0"));
}

#[test]
fn a_path_without_a_route_is_not_found() {
    let edge = with(Auth::None, |_| {});
    assert_eq!(code(&edge, &get("/a0x")), (404, "route_not_found"));
    assert_eq!(code(&edge, &get("/")), (404, "route_not_found"));
}

#[test]
fn paths_of_the_edge_itself_never_reach_an_upstream() {
    let edge = table(model(vec![project("demo", &[], vec![respond("/")])]));
    assert_eq!(code(&edge, &get("/.countersign/client.js")), (404, "route_not_found"));
    assert_eq!(code(&edge, &get("/%2Ecountersign/client.js")), (404, "route_not_found"));
    admitted(&edge, &get("/.countersignx"));
}

#[test]
fn a_malformed_request_is_refused_first_and_closes() {
    let refusal = refused(&with(Auth::None, |_| {}), &Request::get("c.test", "/a0/../b"));
    assert_eq!((refusal.status, refusal.close), (400, true));
}

#[test]
fn a_method_that_is_not_listed_is_answered_with_those_that_are() {
    let edge = with(Auth::None, |route| route.methods = Some(vec![Method::GET, Method::POST]));
    let refusal = refused(&edge, &get("/a0").method(Method::PUT));
    assert_eq!((refusal.status, refusal.code), (405, "method_not_allowed"));
    assert_eq!(header(&refusal, "allow"), "GET, HEAD, POST");
    admitted(&edge, &get("/a0").method(Method::HEAD));
    assert_eq!(refused(&edge, &get("/a0").method(Method::OPTIONS)).status, 405);
}

#[test]
fn methods_that_no_edge_serves_are_answered_with_allow() {
    let refusal = refused(&with(Auth::None, |_| {}), &get("/a0").method(Method::TRACE));
    assert_eq!(refusal.status, 405);
    assert!(header(&refusal, "allow").contains("OPTIONS"));
}

#[test]
fn an_address_outside_is_denied_and_a_trusted_proxy_speaks_for_its_client() {
    let edge = with(Auth::None, |route| route.access_allow = Some(vec!["203.0.113.0/24".parse().unwrap()]));
    let forwarded = |from: &str| get("/a0").from(from).with("x-forwarded-for", "203.0.113.7");
    assert_eq!(code(&edge, &get("/a0")), (403, "access_denied"));
    assert_eq!(code(&edge, &forwarded("192.0.2.1")), (403, "access_denied"));
    assert_eq!(admitted(&edge, &forwarded("10.9.0.1")).client_ip.to_string(), "203.0.113.7");
}

#[test]
fn a_required_token_must_be_there_and_right() {
    let edge = with(Auth::Required, |_| {});
    let none = refused(&edge, &get("/a0"));
    assert_eq!((none.status, none.code), (401, "authentication_required"));
    assert_eq!(header(&none, "www-authenticate"), "Bearer realm=\"countersign\"");
    let wrong = refused(&edge, &bearer("nobody"));
    assert_eq!((wrong.status, wrong.code), (401, "invalid_credentials"));
    assert_eq!(header(&wrong, "www-authenticate"), "Bearer realm=\"countersign\", error=\"invalid_token\"");
    assert_eq!(code(&edge, &bearer("late-token")), (401, "client_expired"));
    assert_eq!(code(&edge, &bearer("elsewhere-token")), (403, "client_not_allowed"));
}

#[test]
fn a_client_is_valid_until_the_first_moment_that_is_too_late() {
    let edge = with(Auth::Required, |_| {});
    let request = bearer("late-token");
    assert!(matches!(edge.decide(&request.view(), NOW - 1, &mut NoTrace).0, Decision::Admit(_)));
}

#[test]
fn a_client_brings_its_identity_and_its_token_is_consumed() {
    let edge = with(Auth::Required, |_| {});
    let by_bearer = admitted(&edge, &bearer("dev-token"));
    assert_eq!((&*by_bearer.identity.user, &*by_bearer.identity.name), ("dev@example.com", "Dév"));
    assert_eq!(by_bearer.client.map(|client| client.name.to_string()).as_deref(), Some("dev"));
    assert_eq!((by_bearer.consumed.authorization, by_bearer.consumed.api_key), (true, false));
    let by_key = admitted(&edge, &get("/a0").with("x-api-key", "dev-token"));
    assert_eq!((by_key.consumed.authorization, by_key.consumed.api_key), (false, true));
}

#[test]
fn optional_admits_nobody_in_particular_but_no_wrong_token() {
    let edge = with(Auth::Optional, |route| route.sign = sign(SignScheme::UserStamp));
    let anonymous = admitted(&edge, &get("/a0"));
    assert_eq!((&*anonymous.identity.user, &*anonymous.identity.name), ("", ""));
    assert!(anonymous.client.is_none());
    assert_eq!(code(&edge, &bearer("nobody")), (401, "invalid_credentials"));
    assert_eq!(&*admitted(&edge, &bearer("dev-token")).identity.user, "dev@example.com");
}

#[test]
fn none_ignores_every_credential() {
    let edge = with(Auth::None, |_| {});
    for token in ["dev-token", "nobody", "late-token"] {
        let admitted = admitted(&edge, &bearer(token));
        assert!(admitted.client.is_none() && !admitted.consumed.authorization, "{token}");
    }
}

#[test]
fn a_signed_route_that_requires_a_caller_requires_an_identity() {
    let signed = with(Auth::Required, |route| route.sign = sign(SignScheme::UserStamp));
    assert_eq!(code(&signed, &bearer("robot-token")), (401, "identity_required"));
    admitted(&with(Auth::Required, |_| {}), &bearer("robot-token"));
    let optional = with(Auth::Optional, |route| route.sign = sign(SignScheme::UserStamp));
    assert_eq!(&*admitted(&optional, &bearer("robot-token")).identity.user, "");
}

#[test]
fn refusals_come_in_the_documented_order() {
    let edge = with(Auth::Required, |route| {
        route.sign = sign(SignScheme::UserStamp);
        route.methods = Some(vec![Method::POST]);
        route.access_deny = vec!["192.0.2.0/24".parse().unwrap()];
    });
    let everything_wrong =
        |host: &str, target: &str| Request::get(host, target).with("x-api-key", "robot-elsewhere-token");
    let right_method = everything_wrong("a.test", "/a0").method(Method::POST);
    let steps = [
        (everything_wrong("c.test", "/a0/%00"), 400),
        (everything_wrong("c.test", "/a0"), 421),
        (everything_wrong("a.test", "/none"), 404),
        (everything_wrong("a.test", "/a0"), 405),
        (right_method.clone(), 403),
        (right_method.from("198.51.100.1"), 401),
        (get("/a0").method(Method::POST).from("198.51.100.1").with("x-api-key", "elsewhere-token"), 403),
    ];
    for (request, status) in steps {
        assert_eq!(refused(&edge, &request).status, status, "{request:?}");
    }
}

#[test]
fn options_is_answered_here_where_it_may_go_no_further() {
    let edge = with(Auth::None, |_| {});
    let options = |hops: &str| get("/a0").method(Method::OPTIONS).with("max-forwards", hops);
    assert!(matches!(ask(&edge, &options("0")), Decision::ServerOptions));
    assert!(matches!(ask(&edge, &options("1")), Decision::Admit(_)));
    assert!(matches!(ask(&edge, &options("zero")), Decision::Admit(_)));
    assert!(matches!(ask(&edge, &get("/a0").with("max-forwards", "0")), Decision::Admit(_)));
    assert!(matches!(ask(&edge, &get("*").method(Method::OPTIONS)), Decision::ServerOptions));
}

#[test]
fn the_environment_in_force_is_the_only_one_that_is_searched() {
    let mut demo = project("demo", &["a.test"], vec![respond("/only-in-production")]);
    demo.environments.push(environment("dev", vec![respond("/only-in-dev")]));
    demo.choose_environment = vec![rule(by_header("x-environment"), Some(&["dev"]), None)];
    let edge = table(model(vec![demo]));
    let dev = |target: &str| get(target).with("x-environment", "dev");
    assert_eq!(&*admitted(&edge, &dev("/only-in-dev")).route.environment, "dev");
    assert_eq!(code(&edge, &dev("/only-in-production")), (404, "route_not_found"));
    assert_eq!(code(&edge, &get("/only-in-dev")), (404, "route_not_found"));
    assert_eq!(code(&edge, &get("/x").with("x-environment", "local")), (404, "environment_unavailable"));
}

fn preflight(target: &str, origin: &str) -> Request {
    get(target).method(Method::OPTIONS).with("origin", origin).with("access-control-request-method", "PUT")
}

#[test]
fn a_preflight_is_answered_before_anybody_is_asked_who_he_is() {
    let edge = with(Auth::Required, |route| {
        route.cors = Some(cors(&["https://app.test"]));
        route.methods = Some(vec![Method::GET]);
        route.access_deny = vec!["192.0.2.0/24".parse().unwrap()];
        route.limits = Some(limits());
    });
    for _ in 0..3 {
        let Decision::Preflight(headers, route) = ask(&edge, &preflight("/a0/x", "https://app.test")) else { panic!() };
        assert_eq!(&*route.prefix, "/a0");
        let of = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.to_str().unwrap());
        assert_eq!(of("access-control-allow-origin"), Some("https://app.test"));
        assert_eq!(of("access-control-allow-methods"), Some("GET, HEAD"));
        assert_eq!(of("access-control-max-age"), Some("60"));
    }
    assert_eq!(code(&edge, &preflight("/a0", "https://evil.test")), (403, "origin_not_allowed"));
    let odd = preflight("/a0", "https://app.test").with("access-control-request-headers", "a b");
    assert_eq!(code(&edge, &odd), (400, "malformed_preflight"));
    assert_eq!(code(&edge, &preflight("/none", "https://app.test")), (404, "route_not_found"));
    assert_eq!(code(&edge, &get("/a0").method(Method::OPTIONS).with("origin", "https://app.test")).0, 405);
}

#[test]
fn a_preflight_to_a_route_without_cors_is_the_upstreams() {
    let edge = with(Auth::None, |_| {});
    assert!(matches!(ask(&edge, &preflight("/a0", "https://app.test")), Decision::Admit(_)));
}

#[test]
fn a_request_from_a_strange_page_goes_on() {
    let edge = with(Auth::None, |route| route.cors = Some(cors(&["https://app.test"])));
    admitted(&edge, &get("/a0").with("origin", "https://evil.test"));
}

#[test]
fn deciding_takes_nothing_from_a_limit_and_taking_does() {
    let edge = with(Auth::None, |route| route.limits = Some(limits()));
    let mut last = admitted(&edge, &get("/a0"));
    for _ in 0..5 {
        last = admitted(&edge, &get("/a0"));
    }
    let permit = last.take(1).unwrap();
    let busy = last.take(1).unwrap_err();
    assert_eq!((busy.status, busy.code, header(&busy, "retry-after")), (429, "too_many_at_once", "1"));
    drop(permit);
    let fast = last.take(1).unwrap_err();
    assert_eq!((fast.status, fast.code, header(&fast, "retry-after")), (429, "too_many_requests", "60"));
    assert_eq!(header(&last.take(59_000_000_001).unwrap_err(), "retry-after"), "1");
    assert!(last.take(60_000_000_001).is_ok());
}

#[test]
fn an_announced_length_is_held_against_the_route() {
    let edge = with(Auth::None, |route| route.limits = Some(limits()));
    let length = |length: &str| {
        let request = get("/a0").with("content-length", length);
        admitted(&edge, &request).check_length(&request.headers).map_err(|refusal| (refusal.status, refusal.close))
    };
    assert_eq!(length("1000"), Ok(()));
    assert_eq!(length("1001"), Err((413, true)));
    assert_eq!(admitted(&edge, &get("/a0")).largest_body(), Some(1000));
}

#[test]
fn a_refusal_says_how_far_the_request_had_come() {
    let edge = with(Auth::Required, |_| {});
    let place = |request: Request| match ask(&edge, &request) {
        Decision::Refuse(_, place) => {
            let text = |part: Option<std::sync::Arc<str>>| part.map(|it| it.to_string()).unwrap_or_default();
            (text(place.project), text(place.environment), text(place.route.map(|it| it.prefix.clone())))
        }
        other => panic!("{other:?}"),
    };
    let of = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(place(Request::get("c.test", "/a0")), of("", "", ""));
    assert_eq!(place(get("/none")), of("demo", "production", ""));
    assert_eq!(place(get("/a0")), of("demo", "production", "/a0"));
}

#[test]
fn max_forwards_is_read_only_when_it_is_one_number() {
    let read = |values: &[&'static str]| {
        let values = values.iter().map(|value| (http::header::MAX_FORWARDS, http::HeaderValue::from_static(value)));
        super::max_forwards(&values.collect::<HeaderMap>())
    };
    assert_eq!(read(&["5"]), Some(5));
    assert_eq!(read(&["+5"]), None);
    assert_eq!(read(&["5", "6"]), None);
    assert_eq!(read(&[]), None);
}

#[test]
fn a_prefix_that_is_only_direct_is_never_forwarded() {
    let mut demo = project(
        "demo",
        &["a.test"],
        vec![
            respond("/both"),
            direct("/both", "http://10.0.0.7/api"),
            respond("/both/deep"),
            respond("/above"),
            direct("/above/printer", "http://10.0.0.7"),
            direct("/only", "http://10.0.0.7"),
        ],
    );
    demo.allow_direct = true;
    demo.browser_client = true;
    let mut dev = environment("dev", vec![respond("/only")]);
    dev.routes.push(direct("/", "http://10.0.0.7"));
    demo.environments.push(dev);
    demo.choose_environment = vec![rule(by_header("x-environment"), None, None)];
    let table = table(model(vec![demo]));
    for path in ["/only", "/only/", "/only/x?y", "/%6fnly", "/above/printer", "/above/printer/x"] {
        assert_eq!(code(&table, &get(path)), (404, "route_is_direct"), "{path}");
    }
    for path in ["/onlyx", "/", "/above/printer/../x"] {
        assert_ne!(code(&table, &get(path)).1, "route_is_direct", "{path}");
    }
    for path in ["/both", "/both/x", "/both/deep/x", "/above", "/above/printers"] {
        admitted(&table, &get(path));
    }
    let in_dev = |path: &str| get(path).with("x-environment", "dev");
    admitted(&table, &in_dev("/only/x"));
    assert_eq!(code(&table, &in_dev("/elsewhere")), (404, "route_is_direct"));
    assert_eq!(code(&table, &in_dev("/.countersign/nothing")), (404, "route_not_found"), "the edge's own");
}
