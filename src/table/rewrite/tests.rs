//! What reaches the upstream: path, host, names that go, names that are set, and the signature.

use std::sync::atomic::Ordering;

use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use crate::config::model::{self, Auth, HostHeader, Scheme, SignScheme, UsernameEncoding};
use crate::diagnostic::Spanned;
use crate::policy::sign::{self as signer, Claims};
use crate::secret::Secret;

use super::super::credential::Destination;
use super::super::route::Action;
use super::super::testing::*;
use super::super::{Decision, NoTrace, Table};
use super::{Plan, of_one_hop, plan, redirect_location};

fn planned(table: &Table, request: &Request) -> Plan {
    let (decision, canonical) = table.decide(&request.view(), NOW, &mut NoTrace);
    let Decision::Admit(admitted) = decision else { panic!("it should be admitted: {decision:?}") };
    let Action::Forward(forward) = &admitted.route.action else { panic!("it should be forwarded") };
    let endpoint = forward.upstream.choose(&ANY).unwrap();
    let destination = Destination::of(forward, endpoint, None).unwrap();
    plan(table, &admitted, &request.view(), &canonical.unwrap(), destination, NOW, "request-1")
}

fn edge(route: model::Route) -> Table {
    let mut model = model(vec![project("demo", &[], vec![route])]);
    model.upstreams = vec![group("users", Scheme::Https, &[("u1.example.com", 8443, 1), ("u2.example.com", 443, 1)])];
    let mut dev = client("dev", Some("Dev@Example.com"));
    dev.display_name = Some(text("张三"));
    model.clients = vec![dev, client("nameless", Some("n@example.com"))];
    table(model)
}

fn target(prefix: &str, upstream: &str, asked: &str) -> String {
    planned(&edge(route(prefix, upstream)), &Request::get("a.test", asked)).target
}

fn value<'p>(plan: &'p Plan, name: &str) -> Option<&'p str> {
    let mut found = plan.set.iter().filter(|(known, _)| known == name).map(|(_, value)| value.to_str().unwrap());
    let value = found.next();
    assert!(found.next().is_none(), "{name} is set twice");
    value
}

fn removed(plan: &Plan) -> Vec<&str> {
    plan.remove.iter().map(HeaderName::as_str).collect()
}

#[test]
fn the_path_of_a_url_replaces_the_prefix_byte_for_byte() {
    assert_eq!(target("/a0", "https://u.example.com/api", "/a0/userlist?x=1&y=%20?"), "/api/userlist?x=1&y=%20?");
    assert_eq!(target("/a0", "https://u.example.com/api", "/a0"), "/api");
    assert_eq!(target("/a0", "https://u.example.com/api", "/a0/"), "/api/");
    assert_eq!(target("/a0", "https://u.example.com/api/", "/a0/x"), "/api/x");
    assert_eq!(target("/a0", "https://u.example.com/api", "/%610/%7e;v=1/%c3%a4"), "/api/%7e;v=1/%c3%a4");
    assert_eq!(target("/a0", "https://u.example.com/api", "/a0?"), "/api?");
}

#[test]
fn an_empty_path_and_a_slash_strip_the_prefix() {
    for upstream in ["https://u.example.com", "https://u.example.com/"] {
        assert_eq!(target("/a0", upstream, "/a0/x"), "/x");
        assert_eq!(target("/a0", upstream, "/a0"), "/");
        assert_eq!(target("/a0", upstream, "/a0?x=1"), "/?x=1");
        assert_eq!(target("/", upstream, "/x/y"), "/x/y");
        assert_eq!(target("/", upstream, "/"), "/");
    }
    assert_eq!(target("/", "https://u.example.com/api", "/x"), "/api/x");
}

#[test]
fn a_group_keeps_the_path_whole_unless_it_is_rewritten() {
    assert_eq!(target("/users", "users", "/users/%61?q"), "/users/%61?q");
    let mut rewritten = route("/users", "users");
    if let model::Action::Proxy(proxy) = &mut rewritten.action {
        proxy.rewrite = Some(text("/internal/users"));
    }
    let edge = edge(rewritten);
    assert_eq!(planned(&edge, &Request::get("a.test", "/users/7")).target, "/internal/users/7");
}

#[test]
fn the_host_is_the_upstreams_unless_the_route_says_otherwise() {
    let host = |upstream: &str, choice: HostHeader| {
        let mut route = route("/a0", upstream);
        if let model::Action::Proxy(proxy) = &mut route.action {
            proxy.host = choice;
        }
        let plan = planned(&edge(route), &Request::get("A.test:8080", "/a0"));
        plan.host.unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(host("https://u.example.com:8443/api", HostHeader::Upstream), "u.example.com:8443");
    assert_eq!(host("https://u.example.com/api", HostHeader::Upstream), "u.example.com");
    assert_eq!(host("users", HostHeader::Upstream), "u1.example.com:8443");
    assert_eq!(host("users", HostHeader::Client), "a.test:8080");
    assert_eq!(host("users", HostHeader::Literal("inner.test".into())), "inner.test");
}

#[test]
fn endpoints_take_turns_and_leave_their_schemes_port_out_of_the_host() {
    let edge = edge(route("/users", "users"));
    let hosts = [(); 3].map(|()| planned(&edge, &Request::get("a.test", "/users")).host.unwrap());
    assert_eq!(hosts, ["u1.example.com:8443", "u2.example.com", "u1.example.com:8443"]);
    assert_eq!(edge.upstreams[0].cursor.load(Ordering::Relaxed), 3);
}

#[test]
fn strangers_do_not_say_where_they_come_from() {
    let request = Request::get("a.test:8080", "/a0")
        .with("x-forwarded-for", "1.1.1.1")
        .with("x_forwarded_for", "1.1.1.1")
        .with("x-forwarded-user", "root")
        .with("forwarded", "for=1.1.1.1")
        .with("x-real-ip", "1.1.1.1")
        .with("x_request_id", "mine");
    let plan = planned(&edge(route("/a0", "https://u.example.com")), &request);
    for (name, _) in request.headers.iter().filter(|(name, _)| *name != "host") {
        assert!(plan.remove.contains(name), "{name} stays");
    }
    assert_eq!(value(&plan, "x-forwarded-for"), Some("192.0.2.9"));
    assert_eq!(value(&plan, "x-real-ip"), Some("192.0.2.9"));
    assert_eq!(value(&plan, "x-forwarded-proto"), Some("http"));
    assert_eq!(value(&plan, "x-forwarded-host"), Some("a.test:8080"));
    assert_eq!(value(&plan, "x-request-id"), Some("request-1"));
}

#[test]
fn a_trusted_proxy_is_believed_and_appended() {
    let request = Request::get("a.test", "/a0")
        .from("10.9.0.1")
        .with("x-forwarded-for", "203.0.113.7")
        .with("x-forwarded-proto", "https")
        .with("x-forwarded-host", "public.test")
        .with("x-forwarded-port", "443")
        .with("x_forwarded_for", "1.1.1.1");
    let plan = planned(&edge(route("/a0", "https://u.example.com")), &request);
    assert_eq!(value(&plan, "x-forwarded-for"), Some("203.0.113.7, 10.9.0.1"));
    assert_eq!(value(&plan, "x-real-ip"), Some("203.0.113.7"));
    assert_eq!(value(&plan, "x-forwarded-proto"), Some("https"));
    assert_eq!(value(&plan, "x-forwarded-host"), None);
    assert_eq!(removed(&plan), ["x_forwarded_for"], "a spelling that only clients use");
}

fn signed(auth: Auth, scheme: SignScheme) -> model::Route {
    model::Route { auth, sign: sign(scheme), ..route("/a0", "https://u.example.com") }
}

#[test]
fn the_six_headers_say_who_calls_and_the_signature_is_over_them() {
    let request = Request::get("a.test", "/a0").with("authorization", "Bearer dev-token");
    let plan = planned(&edge(signed(Auth::Required, SignScheme::UserProjectAppidStamp)), &request);
    assert_eq!(value(&plan, "x-kms-user"), Some("dev@example.com"));
    assert_eq!(value(&plan, "x-kms-username"), Some("%E5%BC%A0%E4%B8%89"));
    assert_eq!(value(&plan, "x-kms-stamp"), Some("1700000000000"));
    assert_eq!(value(&plan, "x-kms-appid"), Some("1001"));
    assert_eq!(value(&plan, "x-kms-project"), Some("demo"));
    let claims = Claims { user: "dev@example.com", project: "demo", app_id: "1001", stamp: NOW };
    let signature = value(&plan, "x-kms-sign").unwrap();
    assert!(signer::verify(
        signer::Scheme::UserProjectAppidStamp,
        &claims,
        &signer::Message::default(),
        Some(&Secret::new(SIGN_TOKEN)),
        &signer::Presented::Sign(signature),
    ));
    assert_eq!(removed(&plan), ["authorization"]);
}

#[test]
fn a_client_without_a_name_is_called_by_its_user() {
    let request = Request::get("a.test", "/a0").with("x-api-key", "nameless-token");
    let plan = planned(&edge(signed(Auth::Required, SignScheme::UserStamp)), &request);
    assert_eq!(value(&plan, "x-kms-username"), Some("n%40example.com"));
    assert_eq!(removed(&plan), ["x-api-key"]);
}

#[test]
fn an_anonymous_caller_has_all_six_headers_with_an_empty_user() {
    let plan = planned(&edge(signed(Auth::Optional, SignScheme::UserStamp)), &Request::get("a.test", "/a0"));
    assert_eq!((value(&plan, "x-kms-user"), value(&plan, "x-kms-username")), (Some(""), Some("")));
    let claims = Claims { user: "", project: "demo", app_id: "1001", stamp: NOW };
    let token = Secret::new(SIGN_TOKEN);
    assert!(signer::verify(
        signer::Scheme::UserStamp,
        &claims,
        &signer::Message::default(),
        Some(&token),
        &signer::Presented::Sign(value(&plan, "x-kms-sign").unwrap()),
    ));
}

#[test]
fn scheme_none_tells_the_identity_without_a_signature() {
    let mut unsigned = signed(Auth::None, SignScheme::None);
    unsigned.sign.as_mut().unwrap().token = None;
    let plan = planned(&edge(unsigned), &Request::get("a.test", "/a0"));
    assert_eq!((value(&plan, "x-kms-user"), value(&plan, "x-kms-sign")), (Some(""), None));
    let plain = planned(&edge(route("/a0", "https://u.example.com")), &Request::get("a.test", "/a0"));
    assert_eq!(value(&plain, "x-kms-user"), None);
}

#[test]
fn raw_names_travel_as_their_bytes() {
    let mut demo = project("demo", &[], vec![signed(Auth::Required, SignScheme::UserStamp)]);
    demo.sign_defaults.username_encoding = UsernameEncoding::Raw;
    let mut dev = client("dev", Some("d@example.com"));
    dev.display_name = Some(text("张三"));
    let table = table(crate::config::Model { clients: vec![dev], ..model(vec![demo]) });
    let plan = planned(&table, &Request::get("a.test", "/a0").with("x-api-key", "dev-token"));
    let (_, name) = plan.set.iter().find(|(name, _)| name == "x-kms-username").unwrap();
    assert_eq!(name.as_bytes(), "张三".as_bytes());
}

#[test]
fn the_payload_comes_after_the_signature_and_empty_values_stay_out() {
    let mut paying = signed(Auth::None, SignScheme::UserStamp);
    let secret = |name, value| (Spanned::new(HeaderName::from_static(name), at(6)), Secret::new(value));
    paying.payload = vec![secret("x-api-token", "s3cret"), secret("x-empty", "")];
    let request = Request::get("a.test", "/a0").with("x_api_token", "mine").with("x-empty", "mine");
    let plan = planned(&edge(paying), &request);
    let names: Vec<&str> = plan.set.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.ends_with(&["x-kms-sign", "x-api-token"]), "{names:?}");
    assert_eq!(value(&plan, "x-api-token"), Some("s3cret"));
    assert_eq!(removed(&plan), ["x_api_token"]);
}

#[test]
fn the_family_goes_on_every_route_in_every_spelling() {
    let request = Request::get("a.test", "/a0")
        .with("x-kms-user", "root")
        .with("x_kms_user", "root")
        .with("x.kms.sign", "0")
        .with("x-kms-anything", "1")
        .with("x-kmsx", "stays");
    let plan = planned(&edge(route("/a0", "https://u.example.com")), &request);
    let mut gone = removed(&plan);
    gone.sort_unstable();
    assert_eq!(gone, ["x-kms-anything", "x-kms-user", "x.kms.sign", "x_kms_user"]);
}

#[test]
fn edits_remove_set_and_add() {
    let mut edited = route("/a0", "https://u.example.com");
    edited.request_headers.remove = vec![Spanned::new(http::header::COOKIE, at(5))];
    edited.request_headers.set = vec![field("x-forwarded-app", "demo")];
    edited.request_headers.add = vec![field("x-more", "1")];
    let request =
        Request::get("a.test", "/a0").with("cookie", "a=b").with("x-more", "0").with("x_forwarded_app", "mine");
    let plan = planned(&edge(edited), &request);
    let mut gone = removed(&plan);
    gone.sort_unstable();
    assert_eq!(gone, ["cookie", "x_forwarded_app"]);
    assert_eq!(value(&plan, "x-forwarded-app"), Some("demo"));
    assert_eq!(plan.add, [(HeaderName::from_static("x-more"), HeaderValue::from_static("1"))]);
}

#[test]
fn authorization_passes_where_nobody_authenticated_with_it() {
    let request = Request::get("a.test", "/a0").with("authorization", "Bearer dev-token");
    let edge_of = |auth| edge(model::Route { auth, ..route("/a0", "https://u.example.com") });
    assert!(removed(&planned(&edge_of(Auth::None), &request)).is_empty());
    assert_eq!(removed(&planned(&edge_of(Auth::Optional), &request)), ["authorization"]);
    let basic = Request::get("a.test", "/a0").with("authorization", "Basic eA==").with("x-api-key", "dev-token");
    assert_eq!(removed(&planned(&edge_of(Auth::Required), &basic)), ["x-api-key"]);
}

#[test]
fn the_dashboards_session_stays_here() {
    let sent = |upstream: &str, cookie: &'static str| {
        let mut route = route("/a", upstream);
        route.auth = Auth::None;
        let table = edge(route);
        let plan = planned(&table, &Request::get("a.test", "/a").with("cookie", cookie));
        if removed(&plan).contains(&"cookie") {
            None
        } else {
            Some(value(&plan, "cookie").unwrap_or(cookie).to_owned())
        }
    };
    let session = "a=1; __Host-countersign=0123456789; b=2";
    assert_eq!(sent("http://127.0.0.1:8081", session).as_deref(), Some("a=1; b=2"));
    assert_eq!(sent("http://127.0.0.1:8081", "__Host-countersign=0123456789"), None);
    assert_eq!(sent("http://127.0.0.1:8081", "a=1; b=2").as_deref(), Some("a=1; b=2"));
    assert_eq!(sent("http://127.0.0.1:9090", session).as_deref(), Some(session), "the dashboard behind the data plane");
}

#[test]
fn max_forwards_goes_down_on_options() {
    let edge = edge(route("/a0", "https://u.example.com"));
    let request = Request::get("a.test", "/a0").with("max-forwards", "5");
    assert_eq!(value(&planned(&edge, &request.clone().method(Method::OPTIONS)), "max-forwards"), Some("4"));
    assert_eq!(value(&planned(&edge, &request), "max-forwards"), None);
}

#[test]
fn fields_of_one_hop_are_named_for_people() {
    let request =
        Request::get("a.test", "/a0").with("connection", "close, X-Priv").with("x-priv", "1").with("te", "trailers");
    let mut names: Vec<String> = of_one_hop(&request.headers).iter().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(names, ["connection", "te", "x-priv"]);
    let upgrade = Request::get("a.test", "/a0").with("connection", "upgrade").with("upgrade", "websocket");
    assert!(of_one_hop(&upgrade.headers).is_empty());
}

#[test]
fn redirects_fill_in_what_followed_the_prefix() {
    let to = "https://new.example.com/users{rest}{query}";
    let location = |to: &str, asked: &str| {
        let action = model::Action::Redirect { to: text(to), status: http::StatusCode::FOUND };
        let edge = edge(with_action("/old", action));
        let request = Request::get("a.test", asked);
        let (decision, canonical) = edge.decide(&request.view(), NOW, &mut NoTrace);
        let Decision::Admit(admitted) = decision else { panic!("{decision:?}") };
        redirect_location(to, &admitted, &canonical.unwrap())
    };
    assert_eq!(location(to, "/old/7/%7e?a={rest}"), "https://new.example.com/users/7/%7e?a={rest}");
    assert_eq!(location(to, "/old"), "https://new.example.com/users");
    assert_eq!(location("/{rest}", "/old/evil.test"), "/evil.test", "never an address on another host");
    assert_eq!(location("/{rest}", "/old"), "/");
    assert_eq!(location("https://new.example.com/fixed", "/old/7?x"), "https://new.example.com/fixed");
}

proptest! {
    #[test]
    fn nothing_that_a_client_sends_survives_under_a_name_that_the_edge_sets(
        names in prop::collection::vec("[xX]([-_.](kms|forwarded|real|api|request))?[-_.](user|sign|for|ip|key|token|id)", 1..8),
    ) {
        let mut paying = signed(Auth::None, SignScheme::UserStamp);
        paying.payload = vec![(Spanned::new(HeaderName::from_static("x-api-token"), at(6)), Secret::new("s"))];
        let mut request = Request::get("a.test", "/a0");
        for name in &names {
            request.headers.append(HeaderName::try_from(name.as_str()).unwrap(), HeaderValue::from_static("forged"));
        }
        let plan = planned(&edge(paying), &request);
        let plain = |name: &HeaderName| name.as_str().replace(['_', '.'], "-");
        let set: Vec<String> = plan.set.iter().map(|(name, _)| plain(name)).collect();
        for name in request.headers.keys().filter(|name| *name != "host" && set.contains(&plain(name))) {
            prop_assert!(plan.remove.contains(name), "{} survives", name);
        }
    }
}

const RANDOM: &str = "0123456789abcdef0123456789abcdef";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn planned_as(table: &Table, request: &Request, id: &str) -> Plan {
    let (decision, canonical) = table.decide(&request.view(), NOW, &mut NoTrace);
    let Decision::Admit(admitted) = decision else { panic!("it should be admitted: {decision:?}") };
    let forward = admitted.route.forward().unwrap();
    let destination = Destination::of(forward, forward.upstream.choose(&ANY).unwrap(), None).unwrap();
    let ids = super::Ids { request: id, new_trace: RANDOM };
    plan(table, &admitted, &request.view(), &canonical.unwrap(), destination, NOW, ids)
}

#[test]
fn a_trace_goes_on_unchanged_and_one_begins_where_there_is_none() {
    let edge = edge(route("/a0", "https://u.example.com"));
    let of = |fields: &[(&'static str, &str)]| {
        let request = fields.iter().fold(Request::get("a.test", "/a0"), |it, (name, value)| it.with(name, value));
        let plan = planned_as(&edge, &request, "id");
        (value(&plan, "traceparent").map(str::to_owned), removed(&plan).join(","))
    };
    let begun = Some("00-0123456789abcdef0123456789abcdef-89abcdef01234567-03".to_owned());
    assert_eq!(of(&[("traceparent", PARENT), ("tracestate", "a=1")]), (None, String::new()));
    assert_eq!(of(&[]), (begun.clone(), String::new()));
    assert_eq!(of(&[("tracestate", "a=1")]), (begun.clone(), "tracestate".into()));
    assert_eq!(of(&[("traceparent", "00-x-y-01"), ("tracestate", "a=1")]), (begun.clone(), "tracestate".into()));
    assert_eq!(of(&[("traceparent", PARENT), ("traceparent", PARENT)]), (begun, String::new()), "two are none");
}

#[test]
fn a_route_may_keep_traces_and_via_to_itself() {
    let mut quiet = route("/a0", "https://u.example.com");
    quiet.request_headers.remove = vec![field("traceparent", "").0, field("via", "").0];
    let plan = planned_as(&edge(quiet), &Request::get("a.test", "/a0").with("via", "1.0 fred"), "id");
    assert_eq!((value(&plan, "traceparent"), value(&plan, "via")), (None, None));
    assert_eq!(removed(&plan), ["via"]);
}

#[test]
fn via_names_the_edge_behind_those_before_it() {
    let edge = edge(route("/a0", "https://u.example.com"));
    let of = |request: Request| value(&planned_as(&edge, &request, "id"), "via").unwrap().to_owned();
    assert_eq!(of(Request::get("a.test", "/a0")), "1.1 countersign");
    let chain = Request::get("a.test", "/a0").with("via", "1.0 fred").with("via", "2.0 wilma (x)");
    assert_eq!(of(chain), "1.0 fred, 2.0 wilma (x), 1.1 countersign");
}

#[test]
fn the_port_is_the_one_that_the_client_asked() {
    let edge = edge(route("/a0", "https://u.example.com"));
    let of = |request: Request| value(&planned_as(&edge, &request, "id"), "x-forwarded-port").map(str::to_owned);
    assert_eq!(of(Request::get("a.test", "/a0")).as_deref(), Some("80"));
    assert_eq!(of(Request::get("a.test:8443", "/a0")).as_deref(), Some("8443"));
    assert_eq!(of(Request::get("[::1]:8443", "/a0")).as_deref(), Some("8443"));
    let behind = |name, value| Request::get("a.test", "/a0").from("10.9.0.1").with(name, value);
    assert_eq!(of(behind("x-forwarded-proto", "https")).as_deref(), Some("443"));
    assert_eq!(of(behind("x-forwarded-port", "9443")), None, "a trusted peer's stays");
    assert_eq!(of(Request::get("a.test", "/a0").with("x-forwarded-port", "9443")).as_deref(), Some("80"));
}

#[test]
fn forwarded_is_continued_where_a_trusted_peer_sent_it() {
    let edge = edge(route("/a0", "https://u.example.com"));
    let asked =
        |peer: &str| Request::get("a.test:8080", "/a0").from(peer).with("forwarded", "for=203.0.113.5;proto=https");
    let plan = planned_as(&edge, &asked("10.9.0.1"), "id");
    let expected = "for=203.0.113.5;proto=https, for=10.9.0.1;proto=http;host=\"a.test:8080\"";
    assert_eq!(value(&plan, "forwarded"), Some(expected));
    assert_eq!(value(&plan, "x-forwarded-for"), Some("203.0.113.5, 10.9.0.1"));
    assert_eq!(value(&plan, "x-real-ip"), Some("203.0.113.5"));
    assert_eq!(value(&plan, "x-forwarded-proto"), Some("https"));
    let stranger = planned_as(&edge, &asked("192.0.2.9"), "id");
    assert_eq!((value(&stranger, "forwarded"), removed(&stranger)), (None, vec!["forwarded"]));
}

#[test]
fn values_with_variables_are_made_for_each_request() {
    let mut told = route("/a0", "https://u.example.com");
    told.request_headers.set = vec![
        field("x-who", "{client_ip}/{client}/{user}"),
        field("x-what", "{method} {scheme}://{host}{path}?{query}"),
        field("x-where", "{project}.{environment}{route}"),
        field("x-ids", "{request_id} {trace_id} t={unix_ms}"),
        field("x-json", "{{\"a\": 1}}"),
        field("x-empty", "{query}{client}"),
    ];
    told.request_headers.add = vec![field("x-list", "one"), field("x-list", "{host}"), field("x-list", "three")];
    let request = Request::get("A.test:8080", "/a0/%61").with("x-who", "root").with("x-empty", "mine");
    let plan = planned_as(&edge(told.clone()), &request, "id-7");
    assert_eq!(value(&plan, "x-who"), Some("192.0.2.9//"));
    assert_eq!(value(&plan, "x-what"), Some("GET http://a.test/a0/%61?"));
    assert_eq!(value(&plan, "x-where"), Some("demo.production/a0"));
    assert_eq!(value(&plan, "x-ids"), Some(format!("id-7 {RANDOM} t={NOW}").as_str()));
    assert_eq!(value(&plan, "x-json"), Some("{\"a\": 1}"));
    assert_eq!(value(&plan, "x-empty"), None, "what comes out empty is left out");
    assert_eq!(removed(&plan), ["x-who", "x-empty"], "and the client's own never passes");
    let list: Vec<_> = plan.add.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(list, [("x-list", "one"), ("x-list", "a.test"), ("x-list", "three")]);
    told.auth = Auth::Required;
    let known = request.with("x-api-key", "dev-token").with("traceparent", PARENT);
    let plan = planned_as(&edge(told), &known, "id-8");
    assert_eq!(value(&plan, "x-who"), Some("192.0.2.9/dev/dev@example.com"));
    assert_eq!(value(&plan, "x-ids"), Some(format!("id-8 4bf92f3577b34da6a3ce929d0e0e4736 t={NOW}").as_str()));
}
