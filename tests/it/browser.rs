//! Front ends: the client, its pages, and the three modes behind one prefix, in node and in headless Chromium.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::browser::{Browser, Device};
use crate::support::edge::{free_address, project};
use crate::support::node::modules;
use crate::support::origin::{After, Exchange};
use crate::support::process::{Process, run_within};
use crate::support::python::scripts;
use crate::support::{Config, Edge, Origin, Recorded, Request, eventually, eventually_within};

/// Node and the TypeScript compiler, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proxy/own/assets").join(name)
}

// ---- the module by itself ----

/// Paths that hide something, and those that don't.
fn paths() -> Vec<String> {
    let pieces = [
        "a",
        "%61",
        "A",
        "%7e",
        "~",
        "%2E",
        ".",
        "..",
        "%2e%2e",
        ";",
        "%3b",
        ";x",
        "..;",
        "..;x",
        ".%3Bx",
        "%252e",
        "%252e%252e;",
        "%c0%ae",
        "%25c0%ae.",
        "%e0%80%ae%2e",
        "x%252f",
        "..%252f..",
        "..%255c",
        "%2f",
        "%5c",
        "%00",
        "%zz",
        "%",
        "%4",
        "",
        "\\",
        "x|y",
        "x^y",
        "{z}",
        "@",
        "%40",
        "%c3%bc",
        "%C3%BC",
        "a.b",
        "...",
        ".a",
        "a;v=1",
        "%26",
        "&",
        "x%25y",
        "%252",
        ".%252f",
        "..%c1%9c",
        "%e0%80%af..",
        "!$&'()*+,;=:",
        "-_",
    ];
    let mut paths: Vec<String> = pieces.iter().map(|piece| format!("/{piece}")).collect();
    for first in pieces {
        paths.extend(pieces.iter().map(|second| format!("/{first}/{second}")));
        paths.push(format!("/x/{first}/y"));
    }
    paths
}

/// What the router makes of a path that is meant as a prefix.
fn as_prefix(path: &str) -> Option<String> {
    let trimmed = path.trim_end_matches('/');
    let canonical = countersign::policy::path::canonical(if trimmed.is_empty() { "/" } else { trimmed }).ok()?;
    Some(canonical.into_owned())
}

#[test]
fn the_client_finds_its_way_as_the_router_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let list: Vec<(String, Option<String>)> =
        paths().into_iter().map(|path| (path.clone(), as_prefix(&path))).collect();
    let (refused, passed) =
        (list.iter().filter(|(_, it)| it.is_none()).count(), list.iter().filter(|(_, it)| it.is_some()).count());
    assert!(refused > 500 && passed > 500, "{refused} refused, {passed} not");
    let file = directory.path().join("paths.json");
    std::fs::write(&file, serde_json::to_vec(&list).expect("JSON")).expect("write the paths");
    let mut node = Command::new("node");
    node.arg("--test").arg(scripts("browser").join("client.test.mjs"));
    node.env("CLIENT", asset("client.js")).env("TYPES", asset("client.d.ts")).env("PATHS", &file);
    let done = run_within(PATIENCE, &mut node);
    assert_eq!(done.code, Some(0), "node (apt-get install nodejs):\n{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("# skipped 0"), "{}", done.stdout);
}

#[test]
fn the_types_are_precise() {
    let tsc = modules("browser").join("typescript/bin/tsc");
    let mut node = Command::new("node");
    let done = run_within(PATIENCE, node.arg(tsc).arg("-p").arg(scripts("browser")));
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
}

#[test]
fn the_client_is_small_and_evaluates_nothing() {
    let client = std::fs::read_to_string(asset("client.js")).expect("client.js");
    assert!(client.len() < 11 * 1024 + 512, "{} bytes", client.len());
    for script in ["client.js", "local.js"] {
        let text = std::fs::read_to_string(asset(script)).expect("a script");
        for word in ["eval(", "new Function", "innerHTML", "document.write", "insertAdjacentHTML"] {
            assert!(!text.contains(word), "{script} has {word}");
        }
    }
}

// ---- over HTTP ----

const PLAIN: &str = r#"
projects:
  demo:
    hosts: [demo.test]
    app_id: "1001"
    upstream_policy: open
    browser_client: true
    allow_direct: true
    choose_environment:
      - { header: x-environment, of: [dev] }
    environments:
      production:
        routes:
          - { prefix: /b, respond: { body: b }, auth: none }
          - { prefix: /a0, upstream: "http://{origin}/api", auth: none, sign: { scheme: user-stamp, token: "0123456789abcdef0123456789abcdef" } }
          - { prefix: /a0, mode: direct, upstream: "http://10.0.0.7:8000/d" }
          - { prefix: /print, mode: direct, upstream: "http://printer.test" }
      dev:
        routes:
          - { prefix: /only, respond: { body: dev }, auth: none }
  plain:
    hosts: [plain.test]
    environments: { production: { routes: [{ prefix: /x, respond: {}, auth: none }] } }
  other:
    hosts: [other.test]
    browser_client: true
    sign_defaults: { header_prefix: x-our- }
    environments: { production: { routes: [{ prefix: /x, respond: {}, auth: none }] } }
"#;

fn plain() -> (Origin, Edge) {
    let origin = Origin::start();
    let edge = Config::new(PLAIN).origin(&origin).start();
    (origin, edge)
}

#[test]
fn routes_json_tells_of_the_environment_that_serves_the_request() {
    let (_origin, edge) = plain();
    let answer = edge.get("/.countersign/routes.json");
    assert_eq!(
        answer.json(),
        json!({ "project": "demo", "app_id": "1001", "environment": "production", "routes": [
            { "prefix": "/a0", "mode": "api" },
            { "prefix": "/a0", "mode": "direct", "target": "http://10.0.0.7:8000/d" },
            { "prefix": "/b", "mode": "api" },
            { "prefix": "/print", "mode": "direct", "target": "http://printer.test" },
        ] })
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let by =
        |environment: &str| edge.call(&Request::get("/.countersign/routes.json").header("x-environment", environment));
    assert_eq!(by("dev").json()["environment"], "dev");
    assert_eq!(by("dev").json()["routes"], json!([{ "prefix": "/only", "mode": "api" }]));
    by("local").expect_error(404, "environment_unavailable");
    let other = edge.call(&Request::get("/.countersign/routes.json").host("other.test"));
    assert_eq!((&other.json()["app_id"], &other.json()["header_prefix"]), (&json!(""), &json!("x-our-")));
    let foreign = Request::get("/.countersign/routes.json").header("origin", "https://evil.test");
    assert_eq!(edge.call(&foreign).header("access-control-allow-origin"), None);
    let line = edge.logged("/.countersign/routes.json");
    assert_eq!((&line["project"], &line["status"]), (&json!("demo"), &json!(200)));
}

#[test]
fn the_pages_are_there_where_a_project_asks_for_them() {
    let (_origin, edge) = plain();
    let script = "text/javascript; charset=utf-8";
    for (page, kind) in [
        ("client.js", script),
        ("client.d.ts", "text/plain; charset=utf-8"),
        ("local", "text/html; charset=utf-8"),
        ("local.js", script),
        ("local.css", "text/css; charset=utf-8"),
    ] {
        let path = format!("/.countersign/{page}");
        let answer = edge.get(&path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{page}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{page}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{page}");
        let policy = answer.header("content-security-policy").expect("a policy").to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{page}: {policy}");
        let tag = answer.header("etag").expect("a tag").to_owned();
        let again = edge.call(&Request::get(&path).header("if-none-match", &format!("\"x\", W/{tag}")));
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(&*tag)), "{page}");
        assert_eq!(edge.call(&Request::get(&path).header("if-none-match", "\"x\"")).status, 200, "{page}");
        let head = edge.call(&Request::new("HEAD", &path));
        assert_eq!((head.status, head.body.len()), (200, 0), "{page}");
        assert_eq!(head.header("content-length"), Some(&*answer.body.len().to_string()), "{page}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let refused = edge.call(&Request::new(method, &path).body(""));
            refused.expect_error(405, "method_not_allowed");
            assert_eq!(refused.header("allow"), Some("GET, HEAD"));
        }
        edge.call(&Request::get(&path).host("plain.test")).expect_error(404, "route_not_found");
    }
    assert_eq!(edge.get("/.countersign/client.js").body, std::fs::read(asset("client.js")).expect("client.js"));
    let page = |language: &str| edge.call(&Request::get("/.countersign/local").header("accept-language", language));
    assert!(
        page("en").text().contains("<html lang=\"en\">")
            && page("zh-CN,zh;q=0.9").text().contains("<html lang=\"zh-CN\">")
    );
    assert_eq!(page("zh").header("vary"), Some("accept-language"));
    assert_ne!(page("zh").header("etag"), page("en").header("etag"));
}

#[test]
fn what_is_only_direct_is_never_forwarded() {
    let (origin, edge) = plain();
    edge.get("/print/x").expect_error(404, "route_is_direct");
    assert_eq!(edge.logged("/print/x")["code"], "route_is_direct");
    assert_eq!(edge.get("/a0/x").status, 200);
    assert_eq!(origin.take("/api/x").method(), "GET");
    let listed = edge.admin("GET", "/api/v1/routes").json();
    let direct: Vec<&Value> =
        listed["routes"].as_array().expect("routes").iter().filter(|route| route["mode"] == "direct").collect();
    assert_eq!(direct.len(), 2);
    assert_eq!((&direct[0]["prefix"], &direct[0]["upstream"]), (&json!("/a0"), &json!("http://10.0.0.7:8000/d")));
    let effective = edge.admin("GET", "/api/v1/config").json();
    let routes = effective.pointer("/effective/projects/demo/environments/production/routes").expect("routes");
    assert_eq!(routes[3], json!({ "prefix": "/print", "mode": "direct", "upstream": "http://printer.test" }));
    let explained = edge.command(&["explain"], &["GET", "http://demo.test/print/x"]);
    assert_eq!(explained.code, Some(4), "{}", explained.stdout);
    assert!(explained.stdout.contains("route_is_direct"), "{}", explained.stdout);
    edge.apply(&PLAIN.replace("http://printer.test", "http://printer-2.test"));
    assert!(edge.get("/.countersign/routes.json").text().contains("http://printer-2.test"), "a reload is told at once");
}

#[test]
fn the_demonstration_signature_is_taken_off_by_the_edge() {
    let (origin, edge) = plain();
    let forged = Request::get("/a0/forged")
        .header("x-kms-user", "demo@example.com")
        .header("x-kms-username", "demo")
        .header("x-kms-stamp", "0")
        .header("x-kms-appid", "1001")
        .header("x-kms-project", "demo")
        .header("X_KMS_SIGN", "demo");
    assert_eq!(edge.call(&forged).status, 200);
    let arrived = origin.take("/api/forged");
    assert!(!arrived.contains("demo@example.com") && !arrived.contains(": demo\r\n\r\n"));
    assert_eq!(arrived.header("x-kms-user"), Some(""));
    assert_eq!(arrived.header("x-kms-sign").map(str::len), Some(64), "the edge's own");
    assert_ne!(arrived.header("x-kms-stamp"), Some("0"));
}

// ---- in Chromium ----

/// An upstream with something for every function of the client, and with CORS for that origin if it is called from a browser.
fn upstream(who: &'static str, allowed: Option<&str>) -> Origin {
    let origin = Origin::start();
    let cors = allowed.map(|allowed| {
        format!(
            "access-control-allow-origin: {allowed}\r\naccess-control-allow-methods: GET, POST, PUT, PATCH, DELETE\r\n\
             access-control-allow-headers: content-type, x-own, x-kms-user, x-kms-username, x-kms-stamp, x-kms-appid, x-kms-project, \
             x-kms-sign\r\nvary: origin\r\n"
        )
    });
    let cors = cors.unwrap_or_default();
    origin.on("/", move |exchange| {
        exchange.read_body();
        let (status, kind, body) = answer(who, exchange);
        let extra = if kind == "text/csv" { "content-disposition: attachment; filename=file.csv\r\n" } else { "" };
        let length = body.len();
        exchange.send(format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{cors}{extra}content-length: {length}\r\n\r\n{body}"
        ));
        After::Keep
    });
    origin
}

fn answer(who: &str, exchange: &Exchange<'_>) -> (&'static str, &'static str, String) {
    let target = exchange.target();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    if exchange.head.start.starts_with("OPTIONS") {
        return ("204 No Content", "text/plain", String::new());
    }
    let named = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    match path.rsplit('/').next() {
        Some("jsonp") => {
            ("200 OK", "text/javascript", format!("{}({{\"who\":\"{who}\"}})", named("cb").unwrap_or("nobody")))
        }
        Some("lib.js") => ("200 OK", "text/javascript", format!("window.loaded = \"{who}\";")),
        Some("file") => ("200 OK", "text/csv", format!("who\n{who}\n")),
        _ => ("200 OK", "application/json", format!("{{\"who\":\"{who}\"}}")),
    }
}

/// A page, and one module of its own that takes the client in.
fn page_with(policy: &str) -> Origin {
    let origin = Origin::start();
    let html =
        "<!doctype html><title>app</title><script type=\"module\" src=\"/app/app.js\"></script><p id=\"app\">app</p>";
    let script = "import { countersign } from \"/.countersign/client.js\"; window.countersign = countersign; window.ready = true;";
    let send = |kind: &str, body: &str, policy: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-security-policy: {policy}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    origin.answer("/", send("text/html", html, policy));
    origin.answer("/app.js", send("text/javascript", script, policy));
    origin
}

/// Three upstreams behind `/a0`, and a page.
struct Scene {
    api: Origin,
    direct: Origin,
    local: Origin,
    edge: Edge,
    /// Where nothing listens.
    nobody: SocketAddr,
    _page: Origin,
}

const THREE: &str = r#"
projects:
  demo:
    hosts: [demo.test]
    app_id: "1001"
    upstream_policy: open
    browser_client: true
    allow_direct: true
    environments:
      production:
        routes:
          - { prefix: /app, upstream: "http://{page}", auth: none }
          - { prefix: /a0, upstream: "http://{api}/api", auth: none, sign: { scheme: user-project-stamp, token: "0123456789abcdef0123456789abcdef" }, payload: { x-api-token: c4n4ry-payload } }
          - { prefix: /b0, mode: direct, upstream: "http://{direct}/direct" }
"#;

/// The same prefix in direct mode too.
const BOTH: &str = "          - { prefix: /a0, mode: direct, upstream: \"http://{direct}/direct\" }\n";

impl Scene {
    fn start() -> Self {
        // The upstreams have to know the edge's port, which is known when it is started.
        let (address, nobody) = (free_address(), free_address());
        let site = format!("http://demo.test:{}", address.port());
        let (api, direct, local) =
            (upstream("api", None), upstream("direct", Some(&site)), upstream("local", Some(&site)));
        let policy = format!(
            "default-src 'none'; script-src 'self' http://{0} http://{1} http://{2}; connect-src 'self' http://{0} http://{1} http://{2}",
            direct.authority(),
            local.authority(),
            nobody
        );
        let page = page_with(&policy);
        let config = Config::new(THREE).value("page", &page.authority()).value("api", &api.authority());
        let config = config.value("direct", &direct.authority());
        let edge = config.launch_at(address, free_address());
        edge.wait_ready();
        Self { api, direct, local, edge, nobody, _page: page }
    }

    fn site(&self) -> String {
        format!("http://demo.test:{}", self.edge.data.port())
    }

    fn visit(&self, browser: &Browser) {
        browser.open(&format!("{}/app/", self.site()));
        wait_for(browser, "return window.ready === true");
    }

    fn target(&self) -> String {
        format!("http://{}/mine", self.local.authority())
    }

    /// Everything that is in no log of the other two, and what arrived at the one.
    fn only_at<'o>(&'o self, here: &'o Origin, target: &str) -> Recorded {
        let arrived = here.take(target);
        for other in [&self.api, &self.direct, &self.local] {
            assert!(std::ptr::eq(other, here) || other.requests_for(target).is_empty(), "{target} went elsewhere too");
        }
        arrived
    }
}

fn wait_for(browser: &Browser, script: &str) {
    eventually_within(Duration::from_secs(30), script, || (browser.script(script) == true).then_some(()));
}

/// What each function of the client says, as one object.
const ALL_FUNCTIONS: &str = r#"
  const seen = [];
  const c = window.countersign;
  const body = new FormData();
  body.set("file", new Blob(["x".repeat(200000)]), "x.txt");
  delete window.loaded;
  return (async () => ({
    url: c.url("/a0/list?x=1"),
    fetch: await (await c.fetch("/a0/list?x=1", { headers: { "x-own": "1" } })).json(),
    posted: await (await c.fetch(new Request("/a0/post", { method: "POST", body: "hello" }))).json(),
    upload: await (await c.upload("/a0/upload", body, { onprogress: (event) => seen.push(event.loaded) })).json(),
    progress: seen.at(-1) > 200000,
    jsonp: await c.jsonp("/a0/jsonp?y=%20", { callback: "cb" }),
    script: await c.script("/a0/lib.js").then(() => window.loaded),
    download: await c.download("/a0/file").then(() => "started"),
    left: document.querySelectorAll("script").length + document.querySelectorAll("a").length,
    globals: Object.keys(window).filter((name) => name.startsWith("countersign_")).length,
    page: location.pathname,
  }))();
"#;

fn expect_all(seen: &Value, who: &str) {
    for function in ["fetch", "posted", "upload", "jsonp"] {
        assert_eq!(seen[function], json!({ "who": who }), "{function}: {seen:#}");
    }
    assert_eq!(
        (&seen["script"], &seen["progress"], &seen["download"]),
        (&json!(who), &json!(true), &json!("started")),
        "{seen:#}"
    );
    assert_eq!(seen["page"], "/app/", "a download leaves the page where it is");
}

const SIGNATURE: [(&str, &str); 6] = [
    ("x-kms-user", "demo@example.com"),
    ("x-kms-username", "demo"),
    ("x-kms-stamp", "0"),
    ("x-kms-appid", "1001"),
    ("x-kms-project", "demo"),
    ("x-kms-sign", "demo"),
];

#[test]
fn three_upstreams_behind_one_prefix() {
    let scene = Scene::start();
    let (first, second) = (Browser::start(), Browser::start());
    scene.visit(&first);

    // API: through the edge, signed by it.
    let seen = first.script(ALL_FUNCTIONS);
    expect_all(&seen, "api");
    assert_eq!(seen["url"], json!(format!("{}/a0/list?x=1", scene.site())));
    for target in ["/api/list?x=1", "/api/post", "/api/upload", "/api/lib.js", "/api/file"] {
        let arrived = scene.only_at(&scene.api, target);
        assert_eq!(arrived.header("x-kms-sign").map(str::len), Some(64), "{target}");
        assert!(!arrived.contains("demo@example.com"), "{target}");
        assert!(target != "/api/upload" || arrived.body.len() > 200_000, "{} bytes", arrived.body.len());
    }

    // Direct: the browser by itself, never signed.
    scene.edge.apply(&format!("{THREE}{BOTH}"));
    first.script("return countersign.refresh().then(() => true)");
    let seen = first.script(ALL_FUNCTIONS);
    expect_all(&seen, "direct");
    assert_eq!(seen["url"], json!(format!("http://{}/direct/list?x=1", scene.direct.authority())));
    for target in ["/direct/list?x=1", "/direct/post", "/direct/upload", "/direct/lib.js", "/direct/file"] {
        let arrived = scene.only_at(&scene.direct, target);
        assert!(!arrived.contains("x-kms-") && !arrived.contains("x-api-token"), "{}", arrived.head.start);
    }
    let through_the_edge = scene.edge.get("/a0/list?x=1");
    assert_eq!(through_the_edge.json(), json!({ "who": "api" }), "what comes to the edge is served by it");

    // Local: this browser alone, with the demonstration signature on fetch and upload.
    first.script(&format!("countersign.local.set('/a0', '{}'); countersign.local.enable();", scene.target()));
    let seen = first.script(ALL_FUNCTIONS);
    expect_all(&seen, "local");
    assert_eq!(seen["url"], json!(format!("{}/list?x=1", scene.target())));
    for (target, signed) in [
        ("/mine/list?x=1", true),
        ("/mine/post", true),
        ("/mine/upload", true),
        ("/mine/lib.js", false),
        ("/mine/file", false),
    ] {
        let arrived = by_the_function(&scene.local, target);
        for (name, value) in SIGNATURE {
            assert_eq!(arrived.header(name), signed.then_some(value), "{target}: {name}");
        }
    }
    let jsonp =
        scene.local.requests().into_iter().find(|it| it.target().starts_with("/mine/jsonp")).expect("the script");
    assert!(
        !jsonp.contains("x-kms-") && jsonp.target().starts_with("/mine/jsonp?y=%20&cb=countersign_"),
        "{}",
        jsonp.target()
    );
    assert_eq!(by_the_function(&scene.local, "/mine/post").body, b"hello");

    // It outlives the page, and reaches no other browser.
    scene.visit(&first);
    assert_eq!(first.script("return countersign.local.enabled"), true);
    scene.visit(&second);
    assert_eq!(
        second.script("return [countersign.local.enabled, countersign.local.routes().length]"),
        json!([false, 0])
    );
    assert_eq!(
        second.script("return countersign.fetch('/a0/second').then((it) => it.json())"),
        json!({ "who": "direct" })
    );
    first.script("countersign.local.disable()");
    assert_eq!(
        first.script("return countersign.fetch('/a0/first').then((it) => it.json())"),
        json!({ "who": "direct" })
    );

    // Nothing of the signature ever came where it does not belong.
    for request in scene.direct.requests() {
        assert!(!request.contains("x-kms-") && !request.contains("x-api-token"), "{}", request.head.start);
    }
    for request in scene.api.requests() {
        assert!(!request.contains("demo@example.com"), "{}", request.head.start);
    }
    assert!(scene.local.requests().iter().all(|it| !it.contains("x-api-token")), "no payload from the edge");
}

/// The request itself, not the preflight in front of it.
fn by_the_function(origin: &Origin, target: &str) -> Recorded {
    eventually(target, || origin.requests_for(target).into_iter().find(|it| it.method() != "OPTIONS" && it.complete))
}

#[test]
fn failures_are_those_of_fetch() {
    let scene = Scene::start();
    let browser = Browser::start();
    scene.visit(&browser);
    let nobody = format!("http://{}", scene.nobody);
    browser.script(&format!("countersign.local.set('/down', '{nobody}'); countersign.local.enable();"));
    let fault = "return countersign.FUNCTION.then(() => 'it did not fail', (error) => [error.name, error instanceof TypeError])";
    for function in ["fetch('/down/x')", "upload('/down/x', 'body')", "jsonp('/down/x')", "script('/down/x')"] {
        assert_eq!(browser.script(&fault.replace("FUNCTION", function)), json!(["TypeError", true]), "{function}");
    }
    let own = "return Promise.all(['/down/x', 'NOBODY/x'].map((it, i) => (i ? fetch(it) : countersign.fetch(it))\
               .catch((error) => error.message)))";
    let messages = browser.script(&own.replace("NOBODY", &nobody));
    assert_eq!(messages[0], messages[1], "fetch's own error");
    for function in ["fetch('/b0/x', { signal })", "upload('/b0/x', 'body', { signal })", "jsonp('/b0/x', { signal })"]
    {
        let call = format!("const signal = AbortSignal.abort(); {}", fault.replace("FUNCTION", function));
        assert_eq!(browser.script(&call)[0], "AbortError", "{function}");
    }
    let timed = "return countersign.jsonp('/a0/lib.js', { callback: 'nobody', timeout: 20000 }).catch((error) => error.message)";
    assert!(
        browser.script(timed).as_str().is_some_and(|it| it.contains("did not call")),
        "an answer that calls nobody"
    );
}

#[test]
fn a_page_with_a_strict_policy_uses_the_client() {
    let page = page_with(
        "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'",
    );
    let routes = "- { prefix: /app, upstream: \"http://{page}\", auth: none }\n- { prefix: /a0, respond: { body: pong }, auth: none }";
    let text = project("demo", routes).replace("    app_id:", "    browser_client: true\n    app_id:");
    let edge = Config::new(&text).value("page", &page.authority()).start();
    let browser = Browser::start();
    browser.open(&format!("http://demo.test:{}/app/", edge.data.port()));
    wait_for(&browser, "return window.ready === true");
    let said = "return Promise.all([countersign.fetch('/a0/x').then((it) => it.text()), \
                countersign.upload('/a0/y', new Blob(['z'])).then((it) => it.text()), countersign.url('/a0/z')])";
    let expected = json!(["pong", "pong", format!("http://demo.test:{}/a0/z", edge.data.port())]);
    assert_eq!(browser.script(said), expected);
    assert_eq!(browser.console(), Vec::<String>::new());
}

/// What the page offers for a developer's server is what `docs/browser.md` has.
#[test]
fn the_documented_server_answers_the_local_mode() {
    let address = free_address();
    let guide =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/browser.md")).expect("the guide");
    let code = guide
        .split("```js server.mjs\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a server in the guide");
    assert!(code.contains("https://demo.example.com") && code.contains("3000"), "{code}");
    let page = page_with("default-src 'none'; script-src 'self'; connect-src 'self' http:");
    let text = project(
        "demo",
        "- { prefix: /app, upstream: \"http://{page}\", auth: none }\n- { prefix: /a0, respond: {}, auth: none }",
    );
    let edge = Config::new(&text.replace("    app_id:", "    browser_client: true\n    app_id:"));
    let edge = edge.value("page", &page.authority()).start();
    let site = format!("http://demo.test:{}", edge.data.port());
    let file = edge.directory().join("server.mjs");
    let code = code.replace("https://demo.example.com", &site).replace("3000", &address.port().to_string());
    std::fs::write(&file, code).expect("write the server");
    let server = Process::spawn(Command::new("node").arg(&file));
    eventually_within(PATIENCE, "the server listens", || {
        assert!(server.ended().is_none(), "{}", server.stderr());
        std::net::TcpStream::connect(address).ok()
    });
    let browser = Browser::start();
    browser.open(&format!("{site}/app/"));
    wait_for(&browser, "return window.ready === true");
    let seen = browser.script(&format!(
        "countersign.local.set('/a0', 'http://localhost:{}/api'); countersign.local.enable(); \
         return Promise.all([countersign.fetch('/a0/list', {{ method: 'PUT', headers: {{ 'content-type': 'application/json' }}, body: '{{}}' }}), \
         countersign.upload('/a0/file', new Blob(['x']), {{ onprogress() {{}} }})]).then((all) => Promise.all(all.map((it) => it.json())))",
        address.port()
    ));
    let expected =
        |method: &str, url: &str| json!({ "method": method, "url": url, "user": "demo@example.com", "name": "demo" });
    assert_eq!(seen, json!([expected("PUT", "/api/list"), expected("POST", "/api/file")]));
    // The page's own test says the same.
    browser.open(&format!("{site}/.countersign/local")).sees("ON in this browser");
    browser.press("Test /a0").sees("It answers (200), and this page may read the answer.");
}

// ---- the page ----

fn add(browser: &Browser, prefix: &str, target: &str) {
    browser.fill(&browser.field("Prefix"), prefix);
    browser.fill(&browser.field("Your server"), target);
    browser.press("Save");
}

/// Nothing was refused by the page's own policy, and no script failed.
fn expect_calm(browser: &Browser) {
    // A server that is not there, or does not allow the page, is remarked on; and the client says that it is on.
    let meant = ["net::ERR_", "CORS policy", "Countersign: local debugging is on in this browser"];
    let own = |line: &String| !meant.iter().any(|words| line.contains(words));
    assert_eq!(browser.console().into_iter().filter(own).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_developer_switches_local_debugging_in_one_browser() {
    let scene = Scene::start();
    let closed = upstream("closed", None);
    let (browser, other) = (Browser::start(), Browser::start());
    let page = format!("{}/.countersign/local", scene.site());
    browser.open(&page).sees("Local debugging is off");
    browser.sees("Project demo · Environment production");
    browser.sees("Direct: the browser goes there itself, never signed");
    assert_eq!(browser.title(), "Local debugging · Countersign");

    add(&browser, "a0", &scene.target());
    browser.sees("This is no prefix.");
    add(&browser, "/a0", "localhost:3000");
    browser.sees("This is no URL");
    add(&browser, "/a0/", &scene.target());
    browser.sees(&format!("Saved: /a0/ → {}", scene.target()));
    browser.press("Switch on").sees("Local debugging is ON in this browser");
    assert!(browser.title().starts_with("● ON"), "{}", browser.title());

    scene.visit(&browser);
    assert_eq!(browser.script("return countersign.fetch('/a0/x').then((it) => it.json())"), json!({ "who": "local" }));
    other.open(&page).sees("Local debugging is off");
    scene.visit(&other);
    assert_eq!(other.script("return countersign.fetch('/a0/x').then((it) => it.json())"), json!({ "who": "api" }));

    // What is wrong with a server is said.
    browser.open(&page).sees("ON in this browser");
    browser.press("Test /a0").sees("It answers (200), and this page may read the answer.");
    add(&browser, "/a0", &format!("http://{}", closed.authority()));
    browser.press("Test /a0").sees("its CORS set-up does not let this page read the answer");
    let nobody = format!("http://{}", scene.nobody);
    add(&browser, "/a0", &nobody);
    browser.press("Test /a0").sees("No answer");

    // A known prefix is at hand; what is there can be edited and removed.
    browser.press("Use /app locally");
    assert_eq!(browser.value(&browser.field("Prefix")), "/app");
    browser.press("Edit /a0");
    assert_eq!(browser.value(&browser.field("Your server")), nobody);
    browser.press("Remove /a0").sees("Removed: /a0");
    browser.sees("It is on, but there is no prefix yet");
    browser.press("Switch off").sees("Local debugging is off");
    let told = browser.script("return JSON.parse(localStorage.getItem('countersign.local'))");
    assert_eq!(told, json!({ "on": false, "routes": {} }));
    expect_calm(&browser);
}

#[test]
fn a_keyboard_is_enough_for_the_page() {
    const TAB: &str = "\u{e004}";
    const ENTER: &str = "\u{e007}";
    let scene = Scene::start();
    let browser = Browser::start();
    browser.open(&format!("{}/.countersign/local", scene.site())).sees("Local debugging is off");
    browser.keys(&browser.focused(), TAB);
    assert_eq!(browser.text_of(&browser.focused()), "Skip to content", "the first that Tab reaches");
    browser.keys(&browser.focused(), TAB);
    assert_eq!(browser.text_of(&browser.focused()), "Switch on");
    let outline =
        browser.script("const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.boxShadow");
    assert_ne!(outline, json!("nonenone"), "nobody sees what has the focus");
    browser.keys(&browser.focused(), ENTER).sees("Local debugging is ON in this browser");
    browser.keys(&browser.focused(), TAB);
    browser.keys(&browser.focused(), "/a0");
    browser.keys(&browser.focused(), TAB);
    browser.keys(&browser.focused(), "http://localhost:3000/api");
    browser.keys(&browser.focused(), ENTER).sees("Saved: /a0 → http://localhost:3000/api");
}

#[test]
fn the_page_holds_in_both_languages_themes_and_sizes() {
    let scene = Scene::start();
    scene.edge.apply(&format!("{THREE}{BOTH}"));
    let browser = Browser::start();
    let page = format!("{}/.countersign/local", scene.site());
    browser.open(&page);
    for (on, language, dark, device, words) in [
        (false, "en", false, Device::Desktop, "Local debugging is off"),
        (true, "en", false, Device::Desktop, "Local debugging is ON in this browser"),
        (true, "zh-CN", true, Device::Desktop, "本浏览器的本地调试已开启"),
        (true, "en", true, Device::Phone, "Local debugging is ON in this browser"),
        (false, "zh-CN", false, Device::Phone, "本地调试已关闭"),
        (true, "zh-CN", false, Device::Phone, "本浏览器的本地调试已开启"),
    ] {
        let state = json!({ "on": on, "routes": { "/a0": "http://localhost:3000/api", "/a0/with/a-longer-prefix": "https://dev-7.example.com:8443/some/longer/path" } });
        browser.script(&format!("localStorage.setItem('countersign.local', {})", json!(state.to_string())));
        browser.language(language).dark(dark).device(device);
        browser.open(&page).sees(words);
        browser.sees("production");
        assert_eq!(
            browser.script("return document.documentElement.scrollWidth <= innerWidth"),
            true,
            "{language} {device:?} is too wide"
        );
        assert_eq!(browser.script("return document.documentElement.lang"), language);
        let (theme, state) = (if dark { "dark" } else { "light" }, if on { "on" } else { "off" });
        browser.screenshot(&format!("local-{state}-{language}-{theme}-{device:?}").to_lowercase());
    }
    expect_calm(&browser);
}
