//! Routes that are made through the admin API: in force within the call, kept over restarts and kills, undone, and never at
//! the cost of what the operator has written.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{Config, Edge, Origin, Request, Response, eventually};

mod together;

const PRODUCTION: &str = "/api/v1/projects/demo/environments/production/routes";

fn edge() -> Edge {
    config().start()
}

fn config() -> Config {
    Config::new(
        r#"
        projects:
          demo:
            upstream_policy: open
            app_id: "1001"
            choose_environment: [{ header: x-environment }]
            environments:
              production:
                routes:
                  - { prefix: /own, respond: { body: own }, auth: none }
              dev:
                routes: []
        "#,
    )
}

fn call(edge: &Edge, method: &str, target: &str, body: &Value) -> Response {
    edge.admin_call(&request(edge, method, target, body))
}

fn request(edge: &Edge, method: &str, target: &str, body: &Value) -> Request {
    let request = edge.admin_request(method, target);
    if body.is_null() { request } else { request.header("content-type", "application/json").body(body.to_string()) }
}

fn says(text: &str) -> Value {
    json!({ "respond": { "body": text }, "auth": "none" })
}

fn route(prefix: &str, text: &str) -> Value {
    json!({ "prefix": prefix, "respond": { "body": text }, "auth": "none" })
}

fn add(edge: &Edge, prefix: &str, text: &str) -> Response {
    let response = call(edge, "POST", PRODUCTION, &route(prefix, text));
    assert_eq!(response.status, 201, "{}", response.text());
    response
}

fn file(edge: &Edge) -> String {
    std::fs::read_to_string(edge.directory().join("state/dashboard.yaml")).unwrap_or_default()
}

fn code(response: &Response) -> (u16, String) {
    let code = response.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
    (response.status, code)
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response.header(name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn a_route_is_added_served_replaced_and_removed_within_each_call() {
    let edge = edge();
    let operators = edge.text();
    assert_eq!(edge.get("/a1/x").status, 404);
    let added = add(&edge, "/a1", "one");
    assert_eq!(edge.get("/a1/x").text(), "one");
    let place = format!("{PRODUCTION}/%2Fa1");
    assert_eq!(header(&added, "location"), place);
    let shown = added.json();
    assert_eq!((&shown["prefix"], &shown["editable"]), (&"/a1".into(), &true.into()));
    assert_eq!(shown["generation"], edge.generation());
    let line = file(&edge).lines().position(|line| line.contains("- auth: none")).expect("its line") + 1;
    assert_eq!(shown["line"], line);
    assert!(shown["file"].as_str().unwrap().ends_with("state/dashboard.yaml"), "{shown}");

    let replaced = call(&edge, "PUT", &place, &says("two"));
    assert_eq!((replaced.status, edge.get("/a1/x").text().as_str()), (200, "two"), "{}", replaced.text());
    let read = call(&edge, "GET", &place, &Value::Null);
    assert_eq!(read.json()["route"]["respond"]["body"], "two");
    assert_eq!(header(&read, "etag"), header(&replaced, "etag"));

    assert_eq!(call(&edge, "DELETE", &place, &Value::Null).status, 204);
    assert_eq!(edge.get("/a1/x").status, 404);
    assert_eq!(code(&call(&edge, "DELETE", &place, &Value::Null)), (404, "unknown_route".into()));
    assert_eq!(code(&call(&edge, "PUT", &place, &says("x"))), (404, "unknown_route".into()));
    assert_eq!(std::fs::read_to_string(edge.file()).unwrap(), operators);
    assert_eq!(edge.get("/own").text(), "own");
}

#[test]
fn the_file_is_private_says_what_it_is_and_is_read_at_the_next_start() {
    let mut edge = edge();
    add(&edge, "/a1", "one");
    let path = edge.directory().join("state/dashboard.yaml");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(file(&edge).starts_with("# Routes that were made in the dashboard"), "{}", file(&edge));
    for (command, expected) in [("check", "2 routes"), ("explain", "dashboard.yaml")] {
        let after: &[&str] = if command == "explain" { &["GET", "http://demo.test/a1/x"] } else { &[] };
        let said = edge.command(&[command], after);
        assert!(said.stdout.contains(expected), "{command}: {}", said.stdout);
    }
    let origins = edge.command(&["config", "show", "--origin"], &[]);
    assert!(origins.stdout.contains("dashboard.yaml"), "{}", origins.stdout);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    edge.stop();
    edge.relaunch();
    assert_eq!(edge.get("/a1").text(), "one");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn what_is_not_there_or_taken_is_refused() {
    let edge = edge();
    let to = |project: &str, environment: &str| format!("/api/v1/projects/{project}/environments/{environment}/routes");
    for (target, expected) in [
        (to("none", "production"), "unknown_project"),
        (to("demo", "prod"), "unknown_environment"),
        (to("demo", "%2e%2e"), "unknown_environment"),
    ] {
        assert_eq!(code(&call(&edge, "POST", &target, &route("/a", "a"))), (404, expected.into()), "{target}");
        assert_eq!(code(&call(&edge, "GET", &target, &Value::Null)), (404, expected.into()), "{target}");
    }
    assert_eq!(call(&edge, "GET", &to("demo", "%ff"), &Value::Null).status, 400);
    for prefix in ["/own", "/own/"] {
        let taken = call(&edge, "POST", PRODUCTION, &route(prefix, "mine"));
        assert_eq!(code(&taken), (409, "prefix_taken".into()));
        assert!(taken.text().contains("countersign.yaml:"), "{}", taken.text());
    }
    let own = format!("{PRODUCTION}/%2Fown");
    assert_eq!(code(&call(&edge, "PUT", &own, &says("mine"))), (409, "prefix_taken".into()));
    assert_eq!(code(&call(&edge, "DELETE", &own, &Value::Null)), (409, "prefix_taken".into()));
    assert_eq!(edge.get("/own").text(), "own");
    add(&edge, "/a", "a");
    assert_eq!(code(&call(&edge, "POST", PRODUCTION, &route("/a/", "b"))), (409, "prefix_taken".into()));
    // Environments are independent; local is always there, dev is the operator's.
    assert_eq!(call(&edge, "POST", &to("demo", "dev"), &route("/a", "dev's")).status, 201);
    assert_eq!(call(&edge, "POST", &to("demo", "local"), &route("/a", "local's")).status, 201);
    assert_eq!(edge.call(&Request::get("/a").header("x-environment", "dev")).text(), "dev's");
    assert_eq!(edge.get("/a").text(), "a");
    for body in ["", "[", "{\"prefix\":\"/x\",\"prefix\":\"/y\"}", "\u{1}"] {
        let request = edge.admin_request("POST", PRODUCTION).header("content-type", "application/json").body(body);
        assert_eq!(code(&edge.admin_call(&request)), (400, "bad_body".into()), "{body:?}");
    }
    for query in ["?dryrun=true", "?dry_run=maybe", "?dry_run=true&dry_run=false"] {
        let refused = call(&edge, "POST", &format!("{PRODUCTION}{query}"), &route("/q", "q"));
        assert_eq!(code(&refused), (400, "bad_query".into()), "{query}");
    }
}

#[test]
fn what_does_not_hold_is_not_written_and_the_key_is_named() {
    let edge = edge();
    add(&edge, "/a", "a");
    let (before, generation) = (file(&edge), edge.generation());
    for (body, key, expected) in [
        (json!({ "prefix": "/x", "respond": { "status": "abc" }, "auth": "none" }), "respond.status", ""),
        (json!({ "prefix": "/x", "respond": {}, "auht": "none" }), "auht", "unknown_key"),
        (json!({ "prefix": "/x", "upstream": "https://x.test", "timeouts": { "idle": "5" } }), "timeouts.idle", ""),
        (
            json!({ "prefix": "/x", "upstream": "https://x.test", "payload": { "x-ok": "1", "x bad": "2" } }),
            "payload.x bad",
            "",
        ),
        (json!({ "prefix": "/x" }), "", "missing_action"),
        (json!({ "prefix": "x", "respond": {} }), "prefix", "invalid_prefix"),
        (json!({ "prefix": "/x", "upstream": "nobody" }), "upstream", ""),
        (
            json!({ "prefix": "/x", "upstream": "https://x.test", "sign": { "scheme": "user-stamp", "token": "c4n4ry-short" } }),
            "sign.token",
            "weak_sign_token",
        ),
    ] {
        let refused = call(&edge, "POST", PRODUCTION, &body);
        assert_eq!(code(&refused), (422, "route_invalid".into()), "{body}: {}", refused.text());
        let all = refused.json()["diagnostics"].as_array().expect("diagnostics").clone();
        let found = all.iter().find(|it| it["key"] == key).unwrap_or_else(|| panic!("{body}: {}", refused.text()));
        assert!(expected.is_empty() || found["code"] == expected, "{found}");
        assert!(found["message"].as_str().is_some_and(|it| !it.is_empty()) && found["file"].is_null(), "{found}");
        assert!(!refused.text().contains("c4n4ry"), "{}", refused.text());
    }
    for body in
        [json!([]), json!("x"), json!({}), json!({ "prefix": "/$x", "respond": {} }), json!({ "prefix": ["/x"] })]
    {
        assert_eq!(code(&call(&edge, "POST", PRODUCTION, &body)), (422, "route_invalid".into()), "{body}");
    }
    let nested = (0..200).fold(json!(1), |inner, _| json!([inner]));
    assert!(matches!(call(&edge, "POST", PRODUCTION, &json!({ "prefix": "/x", "respond": nested })).status, 400 | 422));
    assert_eq!((file(&edge), edge.generation()), (before, generation));
    assert_eq!(edge.get("/a").text(), "a");
}

#[test]
fn secrets_go_in_and_never_come_out() {
    let origin = Origin::start();
    let edge = config().origin(&origin).start();
    let secret = "c4n4ry-payload-0123456789";
    let body = json!({
        "prefix": "/s", "upstream": format!("http://{}/s", origin.authority()), "auth": "none",
        "payload": { "x-api-token": secret, "x-named": "${HOME}" },
        "headers": { "request": { "set": { "x-plain": "plain" } } },
    });
    let added = call(&edge, "POST", PRODUCTION, &body);
    assert_eq!(added.status, 201, "{}", added.text());
    let place = format!("{PRODUCTION}/%2Fs");
    let shown = call(&edge, "GET", &place, &Value::Null).json();
    assert_eq!(shown["route"]["payload"], json!({ "x-api-token": "***", "x-named": "${HOME}" }));
    // What was shown is sent back with one thing changed: the secret stays.
    let mut sent = shown["route"].clone();
    sent["headers"]["request"]["set"]["x-plain"] = "other".into();
    let replaced = call(&edge, "PUT", &place, &sent);
    assert_eq!(replaced.status, 200, "{}", replaced.text());
    edge.get("/s");
    let got = origin.request_for("/s");
    assert_eq!(got.header("x-api-token"), Some(secret));
    assert_eq!(got.header("x-plain"), Some("other"));
    // Stars for what is not stored are no secret.
    sent["payload"]["x-new"] = "***".into();
    let refused = call(&edge, "PUT", &place, &sent);
    assert_eq!(code(&refused), (422, "route_invalid".into()));
    assert!(refused.text().contains("payload.x-new"), "{}", refused.text());
    let answers = [
        added,
        replaced,
        refused,
        call(&edge, "GET", PRODUCTION, &Value::Null),
        call(&edge, "GET", "/api/v1/undo", &Value::Null),
        edge.admin("GET", "/api/v1/config"),
        edge.admin("GET", "/api/v1/routes"),
    ];
    for answer in answers {
        assert!(!answer.text().contains("c4n4ry"), "{}", answer.text());
    }
    assert!(!edge.output().contains("c4n4ry"), "{}", edge.output());
    let said = edge.command(&["config", "show", "--effective"], &[]);
    assert!(!format!("{}{}", said.stdout, said.stderr).contains("c4n4ry"));
    assert!(!edge.command(&["check"], &[]).stdout.contains("literal_secret"));
}

#[test]
fn a_sign_token_that_comes_with_a_route_is_kept_apart() {
    const TOKEN: &str = "c4n4ry-sign-token-0123456789-abcdefghij";
    let origin = Origin::start();
    let edge = config().origin(&origin).start();
    let upstream = format!("http://{}/s", origin.authority());
    let body =
        |prefix: &str, sign: Value| json!({ "prefix": prefix, "upstream": upstream, "auth": "none", "sign": sign });
    let with_token = json!({ "scheme": "user-stamp", "token": TOKEN });
    let dry = call(&edge, "POST", &format!("{PRODUCTION}?dry_run=true"), &body("/s", with_token.clone()));
    assert_eq!(dry.json()["added"], json!(["demo/production/s"]), "{}", dry.text());
    let added = call(&edge, "POST", PRODUCTION, &body("/s", with_token.clone()));
    assert_eq!(added.status, 201, "{}", added.text());
    assert_eq!(added.json()["route"]["sign"], json!({ "scheme": "user-stamp" }));
    assert!(!file(&edge).contains("c4n4ry"), "{}", file(&edge));
    let signed = || {
        origin.forget();
        edge.get("/s");
        let got = origin.request_for("/s");
        let stamp = got.header("x-kms-stamp").expect("a stamp").to_owned();
        let expected = hex(&Sha256::digest(format!("{stamp}{TOKEN}")));
        assert_eq!(got.header("x-kms-sign"), Some(&*expected));
    };
    signed();
    // What was shown is sent back, and the token stays what it is.
    let place = format!("{PRODUCTION}/%2Fs");
    let replaced = call(&edge, "PUT", &place, &added.json()["route"]);
    assert_eq!(replaced.status, 200, "{}", replaced.text());
    signed();
    let moved = call(&edge, "PUT", &place, &body("/t", json!({ "scheme": "user-stamp" })));
    assert_eq!(code(&moved), (422, "route_invalid".into()));
    assert!(moved.text().contains("sign.token"), "{}", moved.text());
    // Undone, and made again: the token is where it was.
    assert_eq!(call(&edge, "DELETE", &place, &Value::Null).status, 204);
    assert_eq!(call(&edge, "POST", "/api/v1/undo", &Value::Null).status, 200);
    signed();
    for entry in std::fs::read_dir(edge.directory().join("state/undo")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let undo: Value = serde_json::from_str(&text).unwrap();
        assert!(!text.contains("c4n4ry") && undo["files"].as_array().is_some_and(|files| files.len() == 1), "{undo}");
    }
    assert!(!edge.output().contains("c4n4ry"));
    // Whoever makes routes chooses which file is read, and must not choose what is written.
    let filed = body("/filed", json!({ "scheme": "user-stamp", "token": "file:own.token" }));
    std::fs::write(edge.directory().join("state/own.token"), TOKEN).unwrap();
    assert_eq!(call(&edge, "POST", PRODUCTION, &filed).status, 201);
    let other = json!({ "token": "0123456789abcdef0123456789abcdef" });
    let refused = call(&edge, "PUT", &format!("{PRODUCTION}/%2Ffiled/sign-token"), &other);
    assert_eq!(code(&refused), (409, "sign_token_in_configuration".into()));
    assert_eq!(std::fs::read_to_string(edge.directory().join("state/own.token")).unwrap(), TOKEN);
    let admin = body("/admin", json!({ "scheme": "user-stamp", "token": "file:admin.token" }));
    assert_eq!(call(&edge, "POST", PRODUCTION, &admin).status, 422);
    // Where a secret comes from may stand in the route.
    std::fs::write(edge.directory().join("state/t.token"), TOKEN).unwrap();
    let named =
        call(&edge, "POST", PRODUCTION, &body("/n", json!({ "scheme": "user-stamp", "token": "file:t.token" })));
    assert_eq!(
        (named.status, &named.json()["route"]["sign"]["token"]),
        (201, &"file:t.token".into()),
        "{}",
        named.text()
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn whoever_saw_something_else_is_told() {
    let edge = edge();
    let list = call(&edge, "GET", PRODUCTION, &Value::Null);
    let nothing = header(&list, "etag").to_owned();
    let with = |method: &str, target: &str, body: &Value, tag: &str| {
        edge.admin_call(&request(&edge, method, target, body).header("if-match", tag))
    };
    let first = with("POST", PRODUCTION, &route("/a", "a"), &nothing);
    assert_eq!(first.status, 201, "{}", first.text());
    let late = with("POST", PRODUCTION, &route("/b", "b"), &nothing);
    assert_eq!(code(&late), (412, "precondition_failed".into()));
    let place = format!("{PRODUCTION}/%2Fa");
    assert_eq!(with("DELETE", &place, &Value::Null, &nothing).status, 412);
    let tag = header(&first, "etag").to_owned();
    let replaced = with("PUT", &place, &says("a2"), &tag);
    assert_eq!((replaced.status, edge.get("/a").text().as_str()), (200, "a2"));
    assert_eq!(with("PUT", &place, &says("a3"), &tag).status, 412);
    assert_eq!((edge.get("/a").text().as_str(), edge.get("/b").status), ("a2", 404));
    assert_eq!(with("DELETE", &place, &Value::Null, "nonsense").status, 400);
    assert_eq!(with("DELETE", &place, &Value::Null, header(&replaced, "etag")).status, 204);
}

#[test]
fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let edge = edge();
    add(&edge, "/a", "a");
    let (before, generation) = (file(&edge), edge.generation());
    let dry = |method: &str, target: &str, body: &Value| {
        let answer = call(&edge, method, &format!("{target}?dry_run=true"), body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    edge.get("/a");
    assert_eq!(dry("POST", PRODUCTION, &route("/b", "b"))["added"], json!(["demo/production/b"]));
    let place = format!("{PRODUCTION}/%2Fa");
    assert_eq!(dry("PUT", &place, &says("x"))["changed"], json!(["demo/production/a"]));
    assert_eq!(dry("PUT", &place, &route("/a", "a"))["outcome"], "unchanged");
    let gone = dry("DELETE", &place, &Value::Null);
    assert_eq!(gone["removed"], json!(["demo/production/a"]));
    assert!(gone["preview"].to_string().contains("becomes_404"), "{gone}");
    assert_eq!(dry("POST", "/api/v1/undo", &Value::Null)["removed"], json!(["demo/production/a"]));
    let wrong = call(&edge, "POST", &format!("{PRODUCTION}?dry_run=true"), &json!({ "prefix": "/b" }));
    assert_eq!(code(&wrong), (422, "route_invalid".into()));
    assert_eq!((file(&edge), edge.generation()), (before, generation));
    let audited = edge.output().matches("countersign::audit").count();
    assert_eq!(audited, edge.output().matches("outcome=").count());
}

#[test]
fn a_route_may_get_another_prefix() {
    let edge = edge();
    add(&edge, "/a", "a");
    add(&edge, "/b", "b");
    let place = format!("{PRODUCTION}/%2Fa");
    assert_eq!(code(&call(&edge, "PUT", &place, &route("/b", "a"))), (409, "prefix_taken".into()));
    assert_eq!(code(&call(&edge, "PUT", &place, &route("/own", "a"))), (409, "prefix_taken".into()));
    let moved = call(&edge, "PUT", &place, &route("/c", "c"));
    assert_eq!((moved.status, header(&moved, "content-location")), (200, &*format!("{PRODUCTION}/%2Fc")));
    assert_eq!(
        (edge.get("/a").status, edge.get("/c").text().as_str(), edge.get("/b").text().as_str()),
        (404, "c", "b")
    );
    for prefix in ["/", "/a%20b/c-d_e~f"] {
        let added = add(&edge, prefix, "odd");
        let place = header(&added, "location").to_owned();
        assert_eq!(call(&edge, "GET", &place, &Value::Null).json()["prefix"], prefix, "{place}");
        assert_eq!(call(&edge, "DELETE", &place, &Value::Null).status, 204, "{place}");
    }
}

#[test]
fn changes_are_undone_in_order_also_after_a_restart() {
    let mut edge = edge();
    add(&edge, "/a", "a");
    call(&edge, "PUT", &format!("{PRODUCTION}/%2Fa"), &says("a2"));
    call(&edge, "DELETE", &format!("{PRODUCTION}/%2Fa"), &Value::Null);
    let undo = |edge: &Edge| call(edge, "POST", "/api/v1/undo", &Value::Null);
    let past = call(&edge, "GET", "/api/v1/undo", &Value::Null).json()["changes"].clone();
    let whats: Vec<&str> = past.as_array().unwrap().iter().map(|it| it["what"].as_str().unwrap()).collect();
    assert_eq!(
        whats,
        ["demo/production: route /a removed", "demo/production: route /a replaced", "demo/production: route /a added"]
    );
    assert_eq!(
        (&past[0]["undoable"], &past[1]["undoable"], &past[0]["who"]),
        (&true.into(), &false.into(), &"(admin token)".into())
    );
    let undone = undo(&edge);
    assert_eq!((undone.status, edge.get("/a").text().as_str()), (200, "a2"), "{}", undone.text());
    edge.stop();
    edge.relaunch();
    assert_eq!((undo(&edge).status, edge.get("/a").text().as_str()), (200, "a"));
    assert_eq!((undo(&edge).status, edge.get("/a").status), (200, 404));
    assert_eq!(code(&undo(&edge)), (404, "nothing_to_undo".into()));
    let left = std::fs::read_dir(edge.directory().join("state/undo")).unwrap().next();
    assert!(left.is_none(), "{left:?}");
    add(&edge, "/b", "b");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let directory = edge.directory().join("state/undo");
    let kept = std::fs::read_dir(&directory).unwrap().next().expect("one file").unwrap().path();
    assert_eq!((mode(&directory), mode(&kept)), (0o700, 0o600));
}

#[test]
fn what_was_edited_by_hand_meanwhile_is_not_undone() {
    let edge = edge();
    add(&edge, "/a", "a");
    let path = edge.directory().join("state/dashboard.yaml");
    std::fs::write(&path, file(&edge).replace("body: a", "body: by-hand")).unwrap();
    eventually("the edit by hand", || (edge.get("/a").text() == "by-hand").then_some(()));
    assert_eq!(code(&call(&edge, "POST", "/api/v1/undo", &Value::Null)), (409, "changed_since".into()));
    assert_eq!(edge.get("/a").text(), "by-hand");
    // What is written by hand stays when the next route is made.
    add(&edge, "/b", "b");
    assert_eq!((edge.get("/a").text().as_str(), edge.get("/b").text().as_str()), ("by-hand", "b"));
}

#[test]
fn the_operators_route_of_the_same_prefix_rejects_the_reload_and_names_both_places() {
    let edge = edge();
    add(&edge, "/a", "dashboard's");
    let line = edge.text().lines().count();
    edge.write(&edge.text().replace("  dev:", "  local: { routes: [] }\n      dev:").replace(
        "- { prefix: /own,",
        "- { prefix: /a, respond: { body: operator's }, auth: none }\n          - { prefix: /own,",
    ));
    let (status, verdict) = edge.reload();
    assert_eq!((status, &verdict["outcome"]), (422, &"rejected".into()), "{verdict} {line}");
    let found = &verdict["diagnostics"][0];
    assert_eq!(found["code"], "duplicate_prefix", "{verdict}");
    assert!(found["file"].as_str().unwrap().ends_with("countersign.yaml"), "{found}");
    assert!(found["message"].as_str().unwrap().contains("state/dashboard.yaml:"), "{found}");
    assert!(
        found["hint"].as_str().unwrap().contains("DELETE /api/v1/projects/demo/environments/production/routes/%2Fa"),
        "{found}"
    );
    assert_eq!((edge.get("/a").text().as_str(), edge.get("/own").text().as_str()), ("dashboard's", "own"));
    // The way out that the hint names.
    assert_eq!(call(&edge, "DELETE", &format!("{PRODUCTION}/%2Fa"), &Value::Null).status, 204);
    assert_eq!(edge.get("/a").text(), "operator's");
}

#[test]
fn a_broken_file_is_said_and_what_was_in_force_stays() {
    let edge = edge();
    add(&edge, "/a", "a");
    let (path, good) = (edge.directory().join("state/dashboard.yaml"), file(&edge));
    for (text, expected) in [
        ("projects: [\n", "yaml_syntax"),
        ("listeners: {}\n", "unknown_key"),
        ("projects: { demo: { app_id: x } }\n", "unknown_key"),
        ("projects: { none: { environments: {} } }\n", "unknown_project"),
        ("projects: { demo: { environments: { prod: { routes: [] } } } }\n", "unknown_environment"),
    ] {
        std::fs::write(&path, text).unwrap();
        let (status, verdict) = edge.reload();
        let found = &verdict["diagnostics"][0];
        assert_eq!((status, found["code"].as_str()), (422, Some(expected)), "{text}: {verdict}");
        assert!(
            found["file"].as_str().unwrap().ends_with("state/dashboard.yaml") && found["line"].as_u64() <= Some(2),
            "{found}"
        );
        assert_eq!(edge.get("/a").text(), "a");
        let refused = call(&edge, "POST", PRODUCTION, &route("/b", "b"));
        assert!(matches!(refused.status, 409 | 422), "{text}: {}", refused.text());
        assert_eq!(file(&edge), text, "it was written over");
    }
    std::fs::write(&path, good).unwrap();
    assert_eq!(edge.reload().0, 200);
}

#[test]
fn it_is_found_although_it_was_not_there_at_the_start() {
    let edge = edge();
    let text = "projects: { demo: { environments: { production: { routes: [{ prefix: /h, respond: { body: hand }, auth: none }] } } } }\n";
    let path = edge.directory().join("state/dashboard.yaml");
    std::fs::write(&path, text).unwrap();
    eventually("the route", || (edge.get("/h").text() == "hand").then_some(()));
    // The place was read at start: an edit of the key moves nothing until the next one.
    edge.write(&edge.text().replace("state_dir: \"", "state_dir: \"/nonexistent"));
    let (status, verdict) = edge.reload();
    assert_eq!(status, 200, "{verdict}");
    assert_eq!(verdict["needs_restart"], json!(["admin.state_dir"]));
    assert_eq!(edge.get("/h").text(), "hand");
    add(&edge, "/i", "i");
    assert_eq!(edge.get("/i").text(), "i");
}

#[test]
fn only_who_may_change_something_does() {
    let edge = edge();
    let host = edge.admin.to_string();
    for (method, target) in
        [("POST", PRODUCTION), ("GET", PRODUCTION), ("POST", "/api/v1/undo"), ("GET", "/api/v1/undo")]
    {
        let plain = Request::new(method, target).host(&host);
        assert_eq!(edge.admin_call(&plain).status, 401, "{method} {target}");
        if method == "POST" {
            let foreign = request(&edge, method, target, &route("/a", "a")).header("origin", "https://evil.test");
            assert_eq!(edge.admin_call(&foreign).status, 403, "{method} {target}");
        }
    }
    add(&edge, "/a", "a");
    let line = eventually("an audit line", || {
        edge.output().lines().find(|line| line.contains("route /a added")).map(str::to_owned)
    });
    assert!(line.contains("(admin token)") && line.contains("outcome=done"), "{line}");
    assert_eq!(call(&edge, "PATCH", PRODUCTION, &route("/a", "a")).status, 405);
}
