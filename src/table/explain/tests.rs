//! What `explain` says is what would happen: by example, and for generated tables and requests.

use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::config::model::{self, Auth, Scheme, SignScheme};
use crate::diagnostic::Spanned;
use crate::secret::Secret;

use super::super::credential::Destination;
use super::super::route::Action;
use super::super::testing::*;
use super::super::{Decision, NoTrace, Table, rewrite};
use super::{Question, explain};

fn secret(name: &'static str, value: &str) -> (Spanned<HeaderName>, Secret) {
    (Spanned::new(HeaderName::from_static(name), at(6)), Secret::new(value))
}

fn edge() -> Table {
    let mut signed = route("/a0", "https://test.example.com/api");
    signed.auth = Auth::Required;
    signed.sign = sign(SignScheme::UserStamp);
    signed.payload = vec![secret("x-api-token", "payload-secret")];
    signed.request_headers.set = vec![field("cookie", "session=hidden"), field("x-app", "demo")];
    signed.response_headers.set = vec![field("strict-transport-security", "max-age=1")];
    let redirect = model::Action::Redirect { to: text("https://n.test{rest}"), status: http::StatusCode::FOUND };
    let routes =
        vec![signed, route("/", "users"), route("/a0/deep", "users"), with_action("/old", redirect), respond("/ping")];
    let mut demo = project("demo", &["demo.test"], routes);
    demo.environments.push(environment("dev", vec![respond("/a0")]));
    let mut model = model(vec![demo]);
    model.upstreams = vec![group("users", Scheme::Https, &[("u1.example.com", 8443, 1), ("u2.example.com", 8443, 1)])];
    model.clients = vec![client("dev", Some("dev@example.com"))];
    table(model)
}

fn question(url: &str) -> Question {
    Question {
        method: Method::GET,
        url: url.to_owned(),
        headers: Vec::new(),
        environment: None,
        client: None,
        from: "127.0.0.1".parse().unwrap(),
    }
}

fn as_json(table: &Table, question: &Question) -> Value {
    serde_json::to_value(explain(table, question, NOW).unwrap()).unwrap()
}

fn by_dev(url: &str) -> Question {
    Question { client: Some("dev".into()), ..question(url) }
}

#[test]
fn a_listener_that_sends_everything_to_https_has_the_first_word() {
    let table = |redirect_to_https: bool| {
        let mut model = model(vec![project("demo", &["demo.test"], vec![respond("/ping")])]);
        let mut other = model.listeners[0].clone();
        model.listeners[0].redirect_to_https = redirect_to_https;
        (other.name, other.address.value) = (text("other"), "192.0.2.1:8081".parse().unwrap());
        model.listeners.push(other);
        super::super::testing::table(model)
    };
    let asked = |redirect, url: &str| {
        let answer = as_json(&table(redirect), &question(url));
        (answer["status"].as_u64(), answer["location"].as_str().map(str::to_owned))
    };
    let sent = (Some(308), Some("https://demo.test/ping?x=1".to_owned()));
    assert_eq!(asked(true, "http://demo.test:8080/ping?x=1"), sent, "the listener with that port");
    for url in ["http://demo.test:8081/ping", "https://demo.test/ping", "/ping", "http://demo.test/ping"] {
        assert_eq!(asked(true, url), (Some(200), None), "{url}");
    }
    assert_eq!(asked(false, "http://demo.test:8080/ping"), (Some(200), None));
    assert_eq!(asked(true, "http://strange.test:8080/ping").0, Some(421), "nobody is sent to a host that is not ours");
}

#[test]
fn a_routed_request_says_where_it_goes_and_why() {
    let answer = as_json(&edge(), &by_dev("http://demo.test/a0/userlist?x=1"));
    assert_eq!(answer["outcome"], "routed");
    assert_eq!((&answer["status"], &answer["code"]), (&Value::Null, &Value::Null));
    assert_eq!((&answer["project"], &answer["environment"]), (&json!("demo"), &json!("production")));
    assert_eq!(answer["environment_rule"], "default of the project");
    assert_eq!(answer["route"], json!({"prefix": "/a0", "file": "edge.yaml", "line": 3}));
    assert_eq!(answer["upstream_url"], "https://test.example.com/api/userlist?x=1");
    assert_eq!(answer["host"], "test.example.com");
    assert_eq!(answer["sign"], json!({"scheme": "user-stamp", "base": format!("dev@example.com{NOW}***")}));
    assert_eq!(answer["headers"]["set"]["x-kms-user"], "dev@example.com");
    assert_eq!(answer["headers"]["set"]["x-app"], "demo");
    assert_eq!(answer["response_headers"]["set"]["strict-transport-security"], "max-age=1");
    assert_eq!(answer["generation"], 1);
}

#[test]
fn every_other_route_says_why_it_lost() {
    let answer = as_json(&edge(), &by_dev("/a0/x"));
    let lost = |prefix: &str, environment: &str| {
        let candidates = answer["candidates"].as_array().unwrap();
        let one = candidates.iter().find(|it| it["prefix"] == prefix && it["environment"] == environment);
        one.map(|it| it["lost"].as_str().unwrap().to_owned())
    };
    assert_eq!(lost("/", "production").as_deref(), Some("a longer prefix matches"));
    assert_eq!(lost("/a0/deep", "production").as_deref(), Some("the path is not below it"));
    assert_eq!(lost("/a0", "dev").as_deref(), Some("belongs to another environment"));
    assert_eq!(lost("/a0", "production"), None);
}

#[test]
fn no_secret_is_shown() {
    let table = edge();
    let question = by_dev("/a0/x");
    for shown in [as_json(&table, &question).to_string(), explain(&table, &question, NOW).unwrap().to_string()] {
        for secret in [SIGN_TOKEN, "payload-secret", "session=hidden", "dev-token"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        assert!(shown.contains("***"));
    }
    assert_eq!(as_json(&table, &question)["headers"]["set"]["x-kms-sign"], "***");
}

#[test]
fn what_goes_is_named() {
    let mut question = by_dev("/a0");
    let fields = [("x_kms_user", "root"), ("connection", "close, x-priv"), ("x-priv", "1"), ("x-stays", "1")];
    question.headers =
        fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).to_vec();
    assert_eq!(as_json(&edge(), &question)["headers"]["removed"], json!(["connection", "x-priv", "x_kms_user"]));
}

#[test]
fn a_refusal_says_by_what() {
    let answer = as_json(&edge(), &question("/a0"));
    assert_eq!((&answer["outcome"], &answer["status"]), (&json!("refused"), &json!(401)));
    assert_eq!(answer["code"], "authentication_required");
    assert_eq!(answer["route"]["prefix"], "/a0");
    let last = answer["verdicts"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["policy"], &last["verdict"]), (&json!("auth"), &json!("refuse")));
    assert_eq!(answer["upstream_url"], Value::Null);
    assert!(explain(&edge(), &question("/a0/../x"), NOW).unwrap().is_refused());
    assert_eq!(as_json(&edge(), &question("http://other.test/"))["status"], 421);
}

#[test]
fn answers_of_the_edge_itself_are_routed_too() {
    let redirected = as_json(&edge(), &question("/old/7"));
    assert_eq!((&redirected["outcome"], &redirected["status"]), (&json!("routed"), &json!(302)));
    assert_eq!(redirected["location"], "https://n.test/7");
    assert_eq!(as_json(&edge(), &question("/ping"))["status"], 200);
    let options = Question { method: Method::OPTIONS, ..question("*") };
    assert_eq!(as_json(&edge(), &options)["status"], 204);
}

#[test]
fn the_environment_and_the_client_can_be_given() {
    let dev = Question { environment: Some("dev".into()), ..question("/a0") };
    let answer = as_json(&edge(), &dev);
    assert_eq!((&answer["environment"], &answer["status"]), (&json!("dev"), &json!(200)));
    let nowhere = Question { environment: Some("nowhere".into()), ..question("/a0") };
    assert_eq!(as_json(&edge(), &nowhere)["code"], "environment_unavailable");
    let nobody = Question { client: Some("nobody".into()), ..question("/a0") };
    assert_eq!(explain(&edge(), &nobody, NOW).unwrap_err(), "there is no client `nobody`");
}

#[test]
fn questions_that_are_none_are_usage_errors() {
    for url in ["a0", "ftp://demo.test/", "http://", "http:///a0", ""] {
        assert!(explain(&edge(), &question(url), NOW).is_err(), "{url}");
    }
    let https = as_json(&edge(), &question("HTTPS://demo.test?x=1#fragment"));
    assert_eq!(https["upstream_url"], "https://u1.example.com:8443/?x=1");
    assert_eq!(https["headers"]["set"]["x-forwarded-proto"], "https");
}

#[test]
fn people_read_the_answer_first_in_aligned_columns() {
    let text = explain(&edge(), &by_dev("/a0/x"), NOW).unwrap().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "GET /a0/x from 127.0.0.1");
    assert_eq!(lines[1], "  routed to https://test.example.com/api/x");
    assert!(lines.contains(&"  route         /a0 at edge.yaml:3"), "{text}");
    assert!(lines.contains(&"    = x-kms-sign: ***"), "{text}");
    assert!(lines.contains(&&*format!("  signature     user-stamp over dev@example.com{NOW}***")), "{text}");
    let refused = explain(&edge(), &question("/a0"), NOW).unwrap().to_string();
    assert!(refused.contains("refused: 401 authentication_required"), "{refused}");
}

#[test]
fn many_unrelated_routes_are_counted_not_listed() {
    let routes = (0..100).map(|it| respond(&format!("/r{it}"))).chain([respond("/"), respond("/a"), respond("/a/b")]);
    let table = table(model(vec![project("demo", &[], routes.collect())]));
    let explanation = explain(&table, &question("/a/b/c"), NOW).unwrap();
    assert_eq!(
        (explanation.candidates.len(), explanation.candidates_omitted),
        (super::UNRELATED_SHOWN + 2, 100 - super::UNRELATED_SHOWN)
    );
}

/// A small world in which everything can collide.
fn world() -> impl Strategy<Value = model::Model> {
    let segment = prop::sample::select(vec!["a", "b", "a0"]);
    let prefix = prop::collection::vec(segment, 0..3).prop_map(|segments| format!("/{}", segments.join("/")));
    let auth = prop::sample::select(vec![Auth::Required, Auth::Optional, Auth::None]);
    let one = (auth, any::<bool>(), any::<bool>(), any::<bool>(), 0..5u8);
    let routes = || prop::collection::btree_map(prefix.clone(), one.clone(), 0..6);
    (routes(), routes(), any::<bool>()).prop_map(|(production, dev, any_host)| {
        let built = |routes: std::collections::BTreeMap<_, _>| routes.into_iter().map(generated).collect::<Vec<_>>();
        let mut demo = project("demo", if any_host { &[] } else { &["a.test", "*.b.test"] }, built(production));
        demo.environments.push(environment("dev", built(dev)));
        demo.choose_environment = vec![
            rule(by_header("x-environment"), Some(&["dev"]), Some(&["10.0.0.0/8"])),
            rule(by_host("dev.a.test", "dev"), None, None),
        ];
        let mut model = model(vec![demo]);
        model.clients = vec![client("dev", Some("dev@example.com")), client("robot", None)];
        model
    })
}

fn generated(
    (prefix, (auth, signed, get_only, denied, action)): (String, (Auth, bool, bool, bool, u8)),
) -> model::Route {
    let mut route = match action {
        0 => respond(&prefix),
        1 => route(&prefix, "https://u.example.com/"),
        2 => route(&prefix, "https://u.example.com/api"),
        _ => route(&prefix, "http://127.0.0.1:3000"),
    };
    route.auth = auth;
    route.sign = if signed && action > 0 { sign(SignScheme::UserStamp) } else { None };
    route.methods = get_only.then(|| vec![Method::GET]);
    if action == 4 {
        route.cors = Some(cors(&["https://app.test"]));
        route.limits = Some(limits());
        route.request_headers.set = vec![field("x-told", "{client_ip} {{{path}}}")];
        route.response_headers.add = vec![field("x-told", "{upstream_status}")];
    }
    route.access_deny = if denied { vec!["192.0.2.0/24".parse().unwrap()] } else { Vec::new() };
    route
}

fn request() -> impl Strategy<Value = Request> {
    let host = prop::sample::select(vec!["a.test", "A.TEST:80", "x.b.test", "dev.a.test", "c.test", "a b"]);
    let segment = prop::sample::select(vec!["a", "b", "a0", "%61", "..", "%2f", "", "c"]);
    let target = (prop::collection::vec(segment, 1..5), prop::option::of("[a-z=&%]{0,6}")).prop_map(|(path, query)| {
        format!("/{}{}", path.join("/"), query.map(|it| format!("?{it}")).unwrap_or_default())
    });
    let method = prop::sample::select(vec![Method::GET, Method::HEAD, Method::POST, Method::OPTIONS, Method::TRACE]);
    let field = prop::sample::select(vec![
        ("authorization", "Bearer dev-token"),
        ("authorization", "Bearer nobody"),
        ("x-api-key", "robot-token"),
        ("x-environment", "dev"),
        ("x-environment", "production"),
        ("x-forwarded-for", "203.0.113.1"),
        ("x_kms_user", "root"),
        ("max-forwards", "0"),
        ("connection", "close, x-kms-sign"),
        ("cookie", "a=b"),
        ("origin", "https://app.test"),
        ("origin", "https://evil.test"),
        ("access-control-request-method", "PUT"),
        ("content-length", "5000"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("via", "1.0 fred"),
        ("forwarded", "for=203.0.113.5"),
    ]);
    let peer = prop::sample::select(vec!["192.0.2.9", "10.9.0.1", "10.1.1.1", "2001:db8::1"]);
    (host, target, method, prop::collection::vec(field, 0..4), peer).prop_map(|(host, target, method, fields, peer)| {
        let request = Request::get(host, &target).method(method).from(peer);
        fields.into_iter().fold(request, |request, (name, value)| request.with(name, value))
    })
}

/// Stands for what the data plane draws.
const ID: &str = "0123456789abcdef0123456789abcdef";

fn asked(request: &Request) -> Question {
    Question {
        method: request.method.clone(),
        url: request.target.clone(),
        headers: request.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        environment: None,
        client: None,
        from: request.peer,
    }
}

/// Listens to everything.
struct Ears(usize);

impl super::Trace for Ears {
    fn verdict(&mut self, _: &'static str, _: &'static str, detail: std::fmt::Arguments<'_>) {
        self.0 += detail.to_string().len();
    }
}

proptest! {
    #[test]
    fn tracing_changes_nothing(world in world(), request in request()) {
        let table = table(world);
        let (silent, _) = table.decide(&request.view(), NOW, &mut NoTrace);
        let (heard, _) = table.decide(&request.view(), NOW, &mut Ears(0));
        prop_assert_eq!(format!("{silent:?}"), format!("{heard:?}"));
    }

    #[test]
    fn what_explain_says_is_what_happens(world in world(), request in request()) {
        let table = table(world);
        let explanation = explain(&table, &asked(&request), NOW).unwrap();
        let (decision, canonical) = table.decide(&request.view(), NOW, &mut NoTrace);
        match decision {
            Decision::Refuse(refusal, place) => {
                prop_assert_eq!(explanation.outcome, "refused");
                prop_assert_eq!((explanation.status, explanation.code), (Some(refusal.status), Some(refusal.code)));
                prop_assert_eq!(explanation.route.map(|it| it.prefix), place.route.map(|it| it.prefix.to_string()));
                prop_assert_eq!(explanation.project.as_deref(), place.project.as_deref());
                prop_assert_eq!(explanation.environment.as_deref(), place.environment.as_deref());
            }
            Decision::Preflight(headers, _) => {
                prop_assert_eq!((explanation.outcome, explanation.status), ("routed", Some(204)));
                prop_assert_eq!(explanation.response_headers.set.0.len(), headers.len());
            }
            Decision::Verify(_) | Decision::Ask(_) | Decision::LogIn(..) => {
                prop_assert!(false, "nobody has a password or a session here");
            }
            Decision::Own(..) => prop_assert_eq!((explanation.outcome, explanation.status), ("routed", Some(200))),
            Decision::ServerOptions => prop_assert_eq!((explanation.outcome, explanation.status), ("routed", Some(204))),
            Decision::Admit(admitted) if admitted.check_length(&request.headers).is_err() => {
                prop_assert_eq!((explanation.outcome, explanation.status), ("refused", Some(413)));
            }
            Decision::Admit(admitted) => {
                prop_assert_eq!(explanation.outcome, "routed");
                prop_assert_eq!(explanation.route.map(|it| it.prefix), Some(admitted.route.prefix.to_string()));
                let Action::Forward(forward) = &admitted.route.action else {
                    prop_assert_eq!(explanation.status, Some(200));
                    return Ok(());
                };
                let to = Destination::of(forward, &forward.upstream.endpoints[0], None).unwrap();
                let plan = rewrite::plan(&table, &admitted, &request.view(), &canonical.unwrap(), to, NOW, ID);
                prop_assert!(explanation.upstream_url.unwrap().ends_with(&plan.target));
                prop_assert_eq!(explanation.host.as_deref(), plan.host.as_ref().map(|it| it.to_str().unwrap()));
                let planned: Vec<String> = plan.set.iter().map(|(name, _)| name.to_string()).collect();
                let said: Vec<String> = explanation.headers.set.0.into_iter().map(|(name, _)| name).collect();
                prop_assert_eq!(said, planned);
                for name in &plan.remove {
                    prop_assert!(explanation.headers.removed.contains(&name.to_string()));
                }
            }
        }
    }
}

#[test]
fn a_group_says_how_its_requests_are_shared_and_a_hash_whom_it_chooses() {
    let mut model = model(vec![project("demo", &[], vec![route("/a", "users")])]);
    let endpoints = [("u1.example.com", 80, 2), ("u2.example.com", 80, 1)];
    let balance = model::Balance::Hash(model::HashOn::Path);
    model.upstreams = vec![model::Group { balance, ..group("users", Scheme::Http, &endpoints) }];
    let table = table(model);
    let ask = |path: &str| {
        let answer =
            explain(&table, &question(&format!("http://demo.example.com{path}")), NOW).expect("a good question");
        let verdict = answer.verdicts.last().cloned().expect("a verdict");
        (answer.upstream_url.unwrap_or_default(), verdict.policy, verdict.detail)
    };
    let mut chosen = std::collections::BTreeSet::new();
    for path in ["/a/1", "/a/2", "/a/3", "/a/4", "/a/5", "/a/6"] {
        let (url, policy, detail) = ask(path);
        let host = url.split('/').nth(2).unwrap_or_default().to_owned();
        let expected =
            format!("hash over u1.example.com:80 (weight 2), u2.example.com:80; this request goes to {host}:80");
        assert_eq!((policy, detail), ("upstream", expected));
        chosen.insert(host);
    }
    assert_eq!(chosen.len(), 2, "six paths at one of two endpoints");
}

#[test]
fn a_direct_prefix_says_who_calls_it() {
    let mut demo = project(
        "demo",
        &["demo.test"],
        vec![respond("/a"), direct("/a", "http://p.lan/api"), direct("/b", "http://p.lan")],
    );
    demo.allow_direct = true;
    demo.browser_client = true;
    let table = table(model(vec![demo]));
    let both = as_json(&table, &question("http://demo.test/a/x"));
    assert_eq!((&both["outcome"], &both["route"]["prefix"]), (&json!("routed"), &json!("/a")));
    let lost: Vec<&str> =
        both["candidates"].as_array().unwrap().iter().map(|it| it["lost"].as_str().unwrap()).collect();
    assert_eq!(lost, ["it is direct: browsers call its upstream themselves", "the path is not below it"]);
    let only = as_json(&table, &question("http://demo.test/b/x"));
    assert_eq!(
        (&only["outcome"], &only["status"], &only["code"]),
        (&json!("refused"), &json!(404), &json!("route_is_direct"))
    );
    let verdicts = only["verdicts"].as_array().unwrap();
    let verdict = verdicts.iter().find(|it| it["policy"] == "route").unwrap();
    assert_eq!(verdict["detail"], "/b is direct: browsers call http://p.lan themselves");
    let page = as_json(&table, &question("http://demo.test/.countersign/routes.json"));
    assert_eq!((&page["outcome"], &page["status"]), (&json!("routed"), &json!(200)));
}
