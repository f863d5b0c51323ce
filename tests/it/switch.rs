//! Which environment serves by default, switched from outside: the file is edited in one place, every request is of one environment, and
//! nobody's edit is lost. And browsers that are put on an environment by a link.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use url::Url;

use crate::support::browser::{Browser, Device};
use crate::support::client::Response;
use crate::support::visitor::{Visitor, Walk};
use crate::support::{Config, Edge, Origin, Request, eventually};

/// Odd on purpose: comments, blanks, quotes, wide characters, a value that looks like the key.
const PROJECTS: &str = r#"
    # environment: nowhere
    projects:
      demo:   # 示例
        hosts: [demo.test, other.test]
        upstream_policy: open

        environment:   'production'   # who serves: 生产
        choose_environment: [{ header: x-environment, of: [dev, local], from: [127.0.0.0/8] }]
        environments:
          production: { routes: [{ prefix: /, respond: { body: "production" }, auth: none }] }
          dev: { routes: [{ prefix: /, respond: { body: "dev" }, auth: none }] }
          local: { routes: [{ prefix: /, respond: { body: "local" }, auth: none }] }
      plain:
        hosts: [plain.test]
        upstream_policy: open
        environments:
          production: { routes: [{ prefix: /, respond: { body: "plain" }, auth: none }] }
          test: { routes: [{ prefix: /, respond: { body: "test" }, auth: none }] }
"#;

const PATH: &str = "/api/v1/projects/demo/environment";

fn edge() -> Edge {
    Config::new(PROJECTS).start()
}

fn on_disk(edge: &Edge) -> String {
    std::fs::read_to_string(edge.file()).unwrap()
}

fn put(edge: &Edge, project: &str, environment: &str, headers: &[(&str, &str)]) -> Response {
    let target = format!("/api/v1/projects/{project}/environment");
    let request = edge.admin_request("PUT", &target).header("content-type", "application/json");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    edge.admin_call(&request.body(json!({ "environment": environment }).to_string()))
}

#[test]
fn a_switch_is_in_effect_at_once_and_changes_one_value_of_the_file() {
    let edge = edge();
    let before = on_disk(&edge);
    let seen = edge.admin("GET", PATH);
    assert_eq!((seen.status, &seen.json()["environment"]), (200, &json!("production")), "{}", seen.text());
    assert_eq!(seen.json()["environments"], json!(["production", "dev", "local"]));
    let tag = seen.header("etag").unwrap().to_owned();
    assert_eq!(tag, format!("\"{}\"", seen.json()["sha256"].as_str().unwrap()));

    let switched = put(&edge, "demo", "dev", &[("if-match", &tag)]);
    let verdict = switched.json();
    assert_eq!((switched.status, &verdict["outcome"]), (200, &json!("applied")), "{verdict}");
    assert_eq!((&verdict["environment"], &verdict["generation"]), (&json!("dev"), &json!(2)));
    assert_eq!(edge.get("/x").text(), "dev");
    assert_eq!(on_disk(&edge), before.replace("'production'", "'dev'"));
    assert_ne!(switched.header("etag"), Some(tag.as_str()));
    assert_eq!(switched.header("etag"), edge.admin("GET", PATH).header("etag"));

    assert_eq!(put(&edge, "demo", "production", &[]).status, 200);
    assert_eq!((edge.get("/x").text().as_str(), on_disk(&edge)), ("production", before));
    assert_eq!(put(&edge, "demo", "production", &[]).json()["outcome"], "unchanged");
    edge.wait_log("demo: environment \\\"dev\\\"");
}

#[test]
fn a_project_without_the_key_gets_one_line() {
    let edge = edge();
    let before = on_disk(&edge);
    assert_eq!(put(&edge, "plain", "test", &[]).status, 200);
    assert_eq!(on_disk(&edge), before.replace("  plain:\n", "  plain:\n    environment: test\n"));
    assert_eq!(edge.call(&Request::get("/").host("plain.test")).text(), "test");
}

#[test]
fn a_project_in_an_included_file_is_edited_there() {
    let included = "projects: {far: {hosts: [far.test], upstream_policy: open, environments: {production: {routes: [{prefix: /, \
                    respond: {body: a}, auth: none}]}, dev: {routes: [{prefix: /, respond: {body: b}, auth: none}]}}}}\r\n";
    let edge = Config::new(&format!("include: [more.yaml]\n{}", crate::support::edge::unindent(PROJECTS)))
        .file("more.yaml", included)
        .start();
    let root = on_disk(&edge);
    let seen = edge.admin("GET", "/api/v1/projects/far/environment").json();
    assert!(seen["file"].as_str().unwrap().ends_with("/more.yaml"), "{seen}");
    assert_eq!(put(&edge, "far", "dev", &[]).status, 200);
    let file = std::fs::read_to_string(edge.directory().join("more.yaml")).unwrap();
    assert_eq!(file, included.replace("{far: {", "{far: {environment: dev, "));
    assert_eq!((edge.call(&Request::get("/").host("far.test")).text(), on_disk(&edge)), ("b".to_owned(), root));
}

#[test]
fn what_cannot_be_is_refused_and_nothing_is_written() {
    let edge = edge();
    let before = on_disk(&edge);
    put(&edge, "nobody", "dev", &[]).expect_error(404, "unknown_project");
    put(&edge, "demo", "nowhere", &[]).expect_error(404, "unknown_environment");
    put(&edge, "demo", "local", &[]).expect_error(422, "local_by_default");
    put(&edge, "demo", "dev", &[("if-match", "\"0000\"")]).expect_error(412, "precondition_failed");
    put(&edge, "demo", "dev", &[("if-match", "nonsense")]).expect_error(400, "bad_precondition");
    let nonsense = edge.admin_request("PUT", PATH).header("content-type", "application/json").body("{\"env\":1}");
    edge.admin_call(&nonsense).expect_error(400, "bad_request");
    let stranger = Request::new("PUT", PATH).host(&edge.admin.to_string()).body("{\"environment\":\"dev\"}");
    edge.admin_call(&stranger).expect_error(401, "authentication_required");
    assert_eq!((on_disk(&edge), edge.generation()), (before, 1));
}

#[test]
fn an_edit_by_hand_is_neither_lost_nor_overruled() {
    let edge = edge();
    let tag = edge.admin("GET", PATH).header("etag").unwrap().to_owned();
    let by_hand = on_disk(&edge).replace("body: \"dev\"", "body: \"dev by hand\"");
    edge.write(&by_hand);
    put(&edge, "demo", "dev", &[("if-match", &tag)]).expect_error(412, "precondition_failed");
    assert_eq!(on_disk(&edge), by_hand);
    // Who does not say what was seen edits what is there, and both edits are in force.
    assert_eq!(put(&edge, "demo", "dev", &[]).status, 200);
    assert_eq!(edge.get("/").text(), "dev by hand");

    let broken = on_disk(&edge).replace("hosts: [plain.test]", "hosts: [plain.test");
    edge.write(&broken);
    let refused = put(&edge, "demo", "production", &[]);
    assert_eq!((refused.status, &refused.json()["outcome"]), (422, &json!("rejected")), "{}", refused.text());
    assert_eq!((on_disk(&edge), edge.get("/").text()), (broken, "dev by hand".to_owned()));
}

#[test]
fn what_only_a_person_can_edit_says_which_line() {
    let text = PROJECTS.replace("'production'   #", "\"${SERVES:-production}\"   #");
    let edge = Config::new(&text).start();
    let before = on_disk(&edge);
    let refused = put(&edge, "demo", "dev", &[]);
    refused.expect_error(409, "not_editable");
    let line = before.lines().position(|line| line.contains("${SERVES")).unwrap() + 1;
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("countersign.yaml:{line}: ")) && message.contains("by hand"), "{message}");
    assert_eq!(on_disk(&edge), before);
}

#[test]
fn what_cannot_be_written_says_so_and_changes_nothing() {
    // A directory that is closed to others is open to root, which may run this: a name beside which no longer one fits is closed to all.
    let name = format!("{}.yaml", "x".repeat(245));
    let included = "projects: {far: {hosts: [far.test], upstream_policy: open, environments: {production: {routes: [{prefix: /, \
                    respond: {body: a}, auth: none}]}, dev: {routes: [{prefix: /, respond: {body: b}, auth: none}]}}}}\n";
    let text = format!("include: [{name}]\n{}", crate::support::edge::unindent(PROJECTS));
    let edge = Config::new(&text).file(&name, included).start();
    let refused = put(&edge, "far", "dev", &[]);
    refused.expect_error(500, "write_failed");
    assert!(refused.text().contains(".yaml cannot be written: "), "{}", refused.text());
    let file = std::fs::read_to_string(edge.directory().join(&name)).unwrap();
    assert_eq!((file.as_str(), edge.call(&Request::get("/").host("far.test")).text()), (included, "a".to_owned()));
    assert_eq!(edge.generation(), 1);
}

#[test]
fn every_request_is_of_one_environment_while_it_is_switched() {
    let origin = Origin::start();
    for environment in ["production", "dev"] {
        origin.answer(
            &format!("/{environment}"),
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{environment}", environment.len()),
        );
    }
    let route = |name: &str| {
        format!(
            "{name}: {{ routes: [{{ prefix: /, upstream: \"http://{{origin}}/{name}\", auth: none, headers: {{ \
             request: {{ set: {{ x-of: {name} }} }}, response: {{ set: {{ x-of: {name} }} }} }} }}] }}"
        )
    };
    let text = format!(
        "projects:\n  demo:\n    upstream_policy: open\n    environment: production\n    environments:\n      {}\n      {}\n",
        route("production"),
        route("dev")
    );
    let edge = Config::new(&text).origin(&origin).start();
    let over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let ask = || {
            let mut seen = std::collections::BTreeMap::<String, u32>::new();
            while !over.load(Ordering::Acquire) {
                let answer = edge.get("/");
                assert_eq!(answer.status, 200);
                assert_eq!(answer.header("x-of"), Some(answer.text().as_str()), "an answer of two environments");
                *seen.entry(answer.text()).or_default() += 1;
            }
            seen
        };
        let askers: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
        for round in 0..20 {
            let to = if round % 2 == 0 { "dev" } else { "production" };
            let switched = put(&edge, "demo", to, &[]);
            assert_eq!(switched.status, 200, "{}", switched.text());
            assert_eq!(edge.get("/").text(), to, "in effect when the answer comes");
        }
        over.store(true, Ordering::Release);
        askers.into_iter().map(|asker| asker.join().unwrap()).collect::<Vec<_>>()
    });
    for environment in ["production", "dev"] {
        assert!(seen.iter().any(|counts| counts.contains_key(environment)), "{seen:?}");
        for request in origin.requests_for(&format!("/{environment}")) {
            assert_eq!(request.header("x-of"), Some(environment), "a request of two environments");
        }
    }
}

fn grant(edge: &Edge, body: &Value) -> Response {
    let target = format!("{PATH}/grant");
    let request = edge.admin_request("POST", &target).header("content-type", "application/json");
    edge.admin_call(&request.body(body.to_string()))
}

/// Opens a link as a browser would and keeps the cookie that it gets, as it would send it.
fn cookie(edge: &Edge, link: &str) -> String {
    let link = Url::parse(link).unwrap();
    let target = format!("{}?{}", link.path(), link.query().unwrap());
    let answer = edge.get(&target);
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/.countersign/environment")),
        "{}",
        answer.text()
    );
    let set = answer.header("set-cookie").unwrap().to_owned();
    assert!(set.contains("; Path=/; Max-Age=") && set.ends_with("HttpOnly; SameSite=Lax"), "{set}");
    set.split(';').next().unwrap().to_owned()
}

fn as_browser(cookie: &str, target: &str) -> Request {
    Request::get(target).host("demo.test").header("cookie", cookie)
}

#[test]
fn a_browser_is_put_on_an_environment_and_leaves_it() {
    let origin = Origin::start();
    origin.answer("/up", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let text = PROJECTS.replace(
        "dev: { routes: [{ prefix: /,",
        "dev: { routes: [{ prefix: /up, upstream: \"http://{origin}/up\", auth: none }, { prefix: /,",
    );
    let edge = Config::new(&text).origin(&origin).start();
    let minted = grant(&edge, &json!({ "environment": "dev", "for": "2h" }));
    assert_eq!(minted.status, 200, "{}", minted.text());
    let url = minted.json()["url"].as_str().unwrap().to_owned();
    assert!(
        url.starts_with(&format!("http://demo.test:{}/.countersign/environment?grant=", edge.data.port())),
        "{url}"
    );
    let cookie = cookie(&edge, &url);
    assert!(cookie.starts_with("countersign-environment="), "{cookie}");
    assert_eq!(edge.call(&as_browser(&cookie, "/")).text(), "dev");
    assert_eq!(edge.call(&as_browser(&cookie, "/").header("x-environment", "local")).text(), "dev");
    assert_eq!(edge.get("/").text(), "production", "nobody else notices");

    assert_eq!(edge.call(&as_browser(&format!("a=b; {cookie}"), "/up")).status, 200);
    let sent = origin.requests().pop().unwrap();
    assert_eq!(sent.header("cookie"), Some("a=b"), "the cookie is for the edge alone");

    let page = edge.call(&as_browser(&cookie, "/.countersign/environment").header("accept", "text/html"));
    assert!(
        page.text().contains("<p class=\"name put\">dev</p>") && page.text().contains(" UTC</time>"),
        "{}",
        page.text()
    );
    let chinese = as_browser(&cookie, "/.countersign/environment").header("accept", "text/html");
    assert!(edge.call(&chinese.header("accept-language", "zh-CN")).text().contains("离开此环境"));
    let state = edge.call(&as_browser(&cookie, "/.countersign/environment")).json();
    assert_eq!((&state["environment"], &state["default"]), (&json!("dev"), &json!("production")));
    assert_eq!(state["until"].as_str().unwrap().get(..16), minted.json()["until"].as_str().unwrap().get(..16));

    let leave = |origin: &str| {
        let request = Request::new("POST", "/.countersign/environment").host("demo.test").header("cookie", &cookie);
        edge.call(&request.header("origin", origin).body(""))
    };
    let left = leave("http://demo.test");
    assert_eq!((left.status, left.header("location")), (303, Some("/.countersign/environment")));
    assert!(left.header("set-cookie").unwrap().starts_with("countersign-environment=; Path=/; Max-Age=0;"));
    leave("http://evil.test").expect_error(403, "cross_site");
    edge.call(&Request::new("DELETE", "/.countersign/environment")).expect_error(405, "method_not_allowed");

    let logged = std::fs::read_to_string(edge.directory().join("access.log")).unwrap() + &edge.output();
    let sealed = cookie.split('=').nth(1).unwrap();
    let granted = Url::parse(&url).unwrap().query().unwrap().split('=').nth(1).unwrap().to_owned();
    assert!(!logged.contains(sealed) && !logged.contains(&granted), "a log holds what a browser brings");
    edge.wait_log("a browser may be put on");
}

#[test]
fn a_cookie_that_does_not_hold_is_answered_with_404_and_never_by_the_default() {
    let edge = edge();
    let link = |body: Value| grant(&edge, &body).json()["url"].as_str().unwrap().to_owned();
    let good = cookie(&edge, &link(json!({ "environment": "dev" })));
    let value = good.split('=').nth(1).unwrap();
    for wrong in
        [String::new(), "dev".into(), value[1..].to_owned(), format!("{value}A"), value.replace(&value[5..6], "_")]
    {
        if wrong != value {
            edge.call(&as_browser(&format!("countersign-environment={wrong}"), "/"))
                .expect_error(404, "environment_unavailable");
        }
    }
    edge.call(&as_browser(&format!("{good}; countersign-environment=x"), "/"))
        .expect_error(404, "environment_unavailable");
    edge.call(&as_browser(&good, "/").host("plain.test")).expect_error(404, "environment_unavailable");
    let state = edge.call(&as_browser(&good, "/.countersign/environment").host("plain.test")).json();
    assert_eq!((&state["environment"], &state["problem"]), (&Value::Null, &json!("it is for another project")));

    let question = json!({ "url": "http://demo.test/", "headers": { "cookie": good } });
    let explain = edge.admin_request("POST", "/api/v1/explain").header("content-type", "application/json");
    let told = edge.admin_call(&explain.body(question.to_string())).json();
    assert_eq!((&told["environment"], &told["environment_rule"]), (&json!("dev"), &json!("signed cookie")), "{told}");
    assert!(!told.to_string().contains(value), "explain shows the cookie");

    // The environment goes: who is on it gets nothing.
    let without = PROJECTS.replace("dev: { routes", "stage: { routes").replace("of: [dev, local]", "of: [local]");
    edge.apply(&without);
    edge.call(&as_browser(&good, "/")).expect_error(404, "environment_unavailable");
    assert_eq!(edge.call(&Request::get("/").host("demo.test")).text(), "production");
}

#[test]
fn a_link_is_for_its_project_and_says_what_is_wrong_with_it() {
    let edge = edge();
    let refused = |body: Value, status: u16, code: &str| grant(&edge, &body).expect_error(status, code);
    refused(json!({ "environment": "nowhere" }), 404, "unknown_environment");
    refused(json!({ "environment": "dev", "for": "25h" }), 422, "bad_duration");
    refused(json!({ "environment": "dev", "host": "plain.test" }), 422, "foreign_host");
    refused(json!({ "environment": "dev", "host": "javascript://demo.test" }), 422, "foreign_host");
    refused(json!({ "to": "dev" }), 400, "bad_request");
    let url = grant(&edge, &json!({ "environment": "dev", "host": "https://other.test" })).json()["url"].clone();
    let url = Url::parse(url.as_str().unwrap()).unwrap();
    assert_eq!(url.origin().ascii_serialization(), "https://other.test");
    let target = format!("{}?{}", url.path(), url.query().unwrap());
    edge.call(&Request::get(&target).host("plain.test")).expect_error(400, "unusable_grant");
    edge.call(&Request::get("/.countersign/environment?grant=x").host("demo.test")).expect_error(400, "unusable_grant");
    assert_eq!(edge.call(&Request::get(&target).host("demo.test")).status, 303);
    // `local` is for whom a rule lists.
    let local = cookie(&edge, grant(&edge, &json!({ "environment": "local" })).json()["url"].as_str().unwrap());
    assert_eq!(edge.call(&as_browser(&local, "/")).text(), "local");
    let plain = edge.admin_request("POST", "/api/v1/projects/plain/environment/grant");
    let plain = plain.header("content-type", "application/json").body("{\"environment\":\"local\"}");
    edge.admin_call(&plain).expect_error(404, "unknown_environment");
}

#[test]
fn over_https_the_cookie_is_this_hosts_alone() {
    let edge = Config::new(PROJECTS).secured().start();
    let minted = grant(&edge, &json!({ "environment": "dev" })).json();
    let url = Url::parse(minted["url"].as_str().unwrap()).unwrap();
    assert_eq!((url.scheme(), url.port()), ("https", edge.secured.map(|it| it.port())));
    let ask = |request: Request| {
        let mut wire = edge.connect_secured();
        wire.send(request.bytes());
        wire.response_to("GET")
    };
    let opened = ask(Request::get(&format!("{}?{}", url.path(), url.query().unwrap())).host("demo.test"));
    let set = opened.header("set-cookie").unwrap().to_owned();
    assert!(set.starts_with("__Host-countersign-environment=") && set.contains("; Secure;"), "{set}");
    let cookie = set.split(';').next().unwrap();
    assert_eq!(ask(as_browser(cookie, "/")).text(), "dev");
    let plain = cookie.replace("__Host-", "");
    assert_eq!(ask(as_browser(&plain, "/")).text(), "production", "what a neighbour could set is not looked at");
    edge.call(&as_browser(&plain, "/")).expect_clean();
}

fn dashboard(edge: &Edge, path: &str) -> String {
    format!("http://{}{path}", edge.admin)
}

/// Signed in, without JavaScript.
fn visitor(edge: &Edge) -> Visitor {
    let mut visitor = Visitor::default();
    let page = visitor.page(&dashboard(edge, "/dashboard"));
    visitor.submit(&page.form_with("Sign in"), &[("token", &edge.token())]).page();
    visitor
}

#[test]
fn the_dashboard_switches_and_mints_without_javascript() {
    let edge = edge();
    let mut visitor = visitor(&edge);
    let overview = visitor.page(&dashboard(&edge, "/dashboard"));
    let asked = visitor.submit(&overview.form_with("dev"), &[]).page();
    assert!(asked.html().contains("Switch the environment") && edge.get("/").text() == "production", "it asks first");
    let done = visitor.submit(&asked.form_with("Switch"), &[]).page();
    assert!(done.html().contains("The environment has been switched."), "{}", done.html());
    assert_eq!(edge.get("/").text(), "dev");

    // Somebody edits the file while the question stands.
    let asked = visitor.submit(&done.form_with("production"), &[]).page();
    let by_hand = format!("{}# mine\n", on_disk(&edge));
    edge.write(&by_hand);
    let lost = visitor.submit(&asked.form_with("Switch"), &[]).page();
    assert_eq!(lost.status, 412);
    assert!(lost.html().contains("The environment was not switched."), "{}", lost.html());
    assert_eq!(on_disk(&edge), by_hand);

    let form = lost.form_with("Make the link");
    let made = visitor.submit(&form, &[("environment", "production"), ("for", "1h")]).page();
    let link = made.html().split("id=\"grant\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert_eq!(edge.call(&as_browser(&cookie(&edge, &link), "/")).text(), "production");
    let wrong = visitor.submit(&form, &[("host", "evil.test")]).page();
    assert_eq!(wrong.status, 422);
    assert!(wrong.html().contains("No link was made."));
    let lost = visitor.open(&dashboard(&edge, "/dashboard/projects/nobody"));
    assert!(matches!(lost, Walk::Page(page) if page.status == 404));
}

#[test]
fn a_person_puts_a_browser_on_an_environment_and_takes_it_off() {
    let edge =
        Config::new(&PROJECTS.replace("hosts: [demo.test, other.test]", "hosts: [127.0.0.1, demo.test]")).start();
    let browser = Browser::start();
    browser.open(&dashboard(&edge, "/dashboard"));
    browser.fill(&browser.field("Admin token"), &edge.token());
    browser.press("Sign in").sees("Environments");
    browser.press("demo").sees("Put a browser on");
    browser.press("Make the link").sees("The link is ready");
    let link = browser.text_of(&browser.find("#grant"));
    browser.open(&link).sees("This browser was put on this environment");
    assert!(!browser.url().contains("grant="), "{}", browser.url());
    browser.open(&edge.url());
    eventually("the browser is on dev", || (browser.text() == "dev").then_some(()));
    for (name, language, dark, device) in [
        ("environment-en", "en-US", false, Device::Desktop),
        ("environment-zh-dark-phone", "zh-CN", true, Device::Phone),
    ] {
        browser.device(device).language(language).dark(dark);
        browser.open(&format!("{}/.countersign/environment", edge.url()));
        browser.screenshot(name);
        for (page, path) in [("project", "/dashboard/projects/demo"), ("overview-environments", "/dashboard")] {
            browser.open(&dashboard(&edge, path));
            browser.screenshot(&format!("{page}-{name}"));
        }
    }
    browser.device(Device::Desktop).language("en-US").dark(false);
    browser.open(&format!("{}/.countersign/environment", edge.url()));
    browser.press("Leave this environment").sees("serves by default");
    browser.open(&edge.url());
    eventually("the browser is off it", || (browser.text() == "production").then_some(()));
    assert_eq!(browser.console(), Vec::<String>::new());
}

/// A route's life in the dashboard.
const ROUTES: &str = r#"
    projects:
      demo:
        upstream_policy: open
        environments:
          production:
            routes:
              - { prefix: /own, respond: { body: "own" }, auth: none }
"#;

#[test]
fn a_route_is_made_previewed_saved_and_undone_without_javascript() {
    let origin = Origin::start();
    origin.answer("/api/x", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    let edge = Config::new(ROUTES).start();
    let before = on_disk(&edge);
    edge.get("/a1/x").expect_error(404, "route_not_found");
    let mut visitor = visitor(&edge);
    let blank = visitor.page(&dashboard(&edge, "/dashboard/projects/demo/production/add"));
    let form = blank.form_with("Preview");
    let upstream = format!("http://{}/api", origin.authority());
    let values = [
        ("prefix", "/a1"),
        ("upstream", upstream.as_str()),
        ("auth", "none"),
        ("scheme", "user-stamp"),
        ("payload", "x-api-token: c4n4ry-payload"),
        ("do", "write"),
    ];
    let wrong = visitor.submit(&form, &[&values[..4], &[("payload", "no colon"), ("do", "write")]].concat()).page();
    assert_eq!(wrong.status, 422);
    assert!(wrong.html().contains("Line 1 of the payload has no colon."), "{}", wrong.html());
    let taken = visitor.submit(&form, &[("prefix", "/own"), ("upstream", upstream.as_str()), ("do", "write")]).page();
    assert_eq!(taken.status, 409);
    let looked = visitor.submit(&form, &values).page();
    let html = looked.html();
    assert!(html.contains("What this would change") && html.contains("/a1") && !html.contains("c4n4ry"), "{html}");
    edge.get("/a1/x").expect_error(404, "route_not_found");
    let save = looked.form_with("Save");
    let saved = visitor.submit(&save, &[]).page();
    assert!(saved.html().contains("The change is saved and in effect."), "{}", saved.html());
    assert_eq!((edge.get("/a1/x").text().as_str(), on_disk(&edge)), ("hi", before));
    assert_eq!(origin.take("/api/x").header("x-api-token"), Some("c4n4ry-payload"));
    assert_eq!(visitor.submit(&save, &[]).page().status, 410, "a preview is saved once");

    let at = dashboard(&edge, "/dashboard/projects/demo/production/route?prefix=%2Fa1");
    let page = visitor.page(&at);
    assert!(page.html().contains("x-api-token: ***"), "{}", page.html());
    let made = visitor.submit(&page.form_with("Generate"), &[("do", "generate")]).page();
    let token =
        made.html().split("id=\"generated\" class=\"secret\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert!(token.len() >= 31, "{token}");
    assert!(!visitor.page(&at).html().contains(&token), "a token is shown once");
    let looked = {
        let form = visitor.page(&at).form_with("Preview");
        visitor.submit(&form, &[("do", "remove")]).page()
    };
    assert!(looked.html().contains("no route any more (404)"), "{}", looked.html());
    visitor.submit(&looked.form_with("Save"), &[]).page();
    edge.get("/a1/x").expect_error(404, "route_not_found");
    let undo = visitor.page(&dashboard(&edge, "/dashboard/undo")).form_with("Undo");
    let undone = visitor.submit(&undo, &[]).page();
    assert!(undone.html().contains("The change has been undone."), "{}", undone.html());
    assert_eq!(edge.get("/a1/x").status, 200);
    let own = visitor.page(&dashboard(&edge, "/dashboard/projects/demo/production/route?prefix=%2Fown")).html();
    assert!(own.contains("countersign.yaml:") && !own.contains("name=\"upstream\""), "{own}");
    assert!(!edge.output().contains(&token));
}

#[test]
fn a_person_adds_a_route_looks_saves_uses_and_undoes_it() {
    let origin = Origin::start();
    origin.answer("/api/x", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    let edge = Config::new(ROUTES).start();
    for _ in 0..3 {
        edge.get("/a1/x");
    }
    let browser = Browser::start();
    browser.open(&dashboard(&edge, "/dashboard"));
    browser.fill(&browser.field("Admin token"), &edge.token());
    browser.press("Sign in").sees("Overview");
    browser.press("Routes").press("Add a route").sees("Preview");
    browser.fill(&browser.find("#prefix"), "/a1");
    browser.fill(&browser.find("#upstream"), &format!("http://{}/api", origin.authority()));
    browser.script(
        "document.getElementById('auth').value = 'none'; document.getElementById('scheme').value = 'user-stamp'",
    );
    browser.press("Preview").sees("served, was refused");
    browser.screenshot("route-preview-en");
    browser.press("Save").sees("The change is saved and in effect.");
    assert_eq!(edge.get("/a1/x").text(), "hi");
    for (name, language, dark, device) in [
        ("en", "en", false, Device::Desktop),
        ("zh-dark-phone", "zh-CN", true, Device::Phone),
        ("zh", "zh-CN", false, Device::Desktop),
        ("en-phone", "en", false, Device::Phone),
    ] {
        browser.device(device).language(language).dark(dark);
        for (page, path) in [
            ("route-form", "/dashboard/projects/demo/production/add"),
            ("route-edit", "/dashboard/projects/demo/production/route?prefix=%2Fa1"),
            ("route-own", "/dashboard/projects/demo/production/route?prefix=%2Fown"),
            ("routes", "/dashboard/routes"),
            ("undo", "/dashboard/undo"),
        ] {
            browser.open(&dashboard(&edge, path));
            let wide = browser.script("return document.documentElement.scrollWidth - innerWidth");
            assert!(
                wide.as_i64().is_some_and(|beyond| beyond <= 0),
                "{page} in {name}: wider than the window by {wide}"
            );
            browser.screenshot(&format!("{page}-{name}"));
        }
    }
    browser.device(Device::Desktop).language("en").dark(false);
    browser.open(&dashboard(&edge, "/dashboard/undo"));
    browser.press("Undo").sees("The change has been undone.");
    edge.get("/a1/x").expect_error(404, "route_not_found");
    assert_eq!(browser.console(), Vec::<String>::new());
}
