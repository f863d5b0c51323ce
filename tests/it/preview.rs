//! What an edit would do to the requests that came, before it is in force.

use serde_json::{Value, json};

use crate::support::{Config, Edge, Origin, Request, Response};

const CLIENT: &str = "c4n4ry-client-laptop-0123456789abcdef";

const SECTIONS: &str = r#"
clients:
  laptop: { token: "${CLIENT}", user: dev@example.com }
projects:
  demo:
    hosts: [demo.test]
    upstream_policy: open
    choose_environment: [{ header: x-environment }]
    environments:
      production:
        routes:
          - { prefix: /a, upstream: "http://{origin}/one" }
          - { prefix: /b, upstream: "http://{origin}/b", auth: none }
          - { prefix: /gone, respond: {}, auth: none }
      dev:
        routes:
          - { prefix: /b, upstream: "http://{origin}/dev", auth: none }
"#;

fn edge(origin: &Origin) -> Edge {
    Config::new(SECTIONS).origin(origin).environment("CLIENT", CLIENT).start()
}

fn preview(edge: &Edge) -> Response {
    edge.admin("POST", "/api/v1/preview")
}

fn kinds(preview: &Value) -> Vec<(String, u64)> {
    let kinds = preview["changes"].as_array().expect("changes").iter();
    kinds.map(|kind| (kind["change"].as_str().unwrap().to_owned(), kind["requests"].as_u64().unwrap())).collect()
}

#[test]
fn an_edit_is_tried_on_the_requests_that_came() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for (target, bearer, environment, status) in [
        ("/a/x?secret=c4n4ry-query", true, "", 200),
        ("/a/x?secret=another", true, "", 200),
        ("/a/x", false, "", 401),
        ("/b/x", false, "", 200),
        ("/b/x", false, "dev", 200),
        ("/b/x", false, "production", 200),
        ("/gone", false, "", 200),
        ("/nowhere", false, "", 404),
    ] {
        let mut request = Request::get(target);
        if bearer {
            request = request.bearer(CLIENT);
        }
        if !environment.is_empty() {
            request = request.header("x-environment", environment);
        }
        assert_eq!(edge.call(&request).status, status, "{target}");
    }
    edge.wait_idle();
    let same = preview(&edge);
    assert_eq!(same.status, 200, "{}", same.text());
    assert_eq!(same.json()["report"]["outcome"], "unchanged");
    assert_eq!(
        (kinds(&same.json()["preview"]), same.json()["preview"]["requests"]["unchanged"].as_u64()),
        (vec![], Some(8))
    );
    let rendered = |text: &str| edge.render(text);
    let elsewhere =
        SECTIONS.replace("{ prefix: /gone, respond: {}, auth: none }", "{ prefix: /new, respond: {}, auth: none }");
    let elsewhere = elsewhere.replace("/one\" }", "/two\", auth: none }");
    let json = asked(&edge, &rendered(&elsewhere));
    assert_eq!(json["report"]["outcome"], "applied");
    let expected = [
        ("loses_authentication", 3),
        ("becomes_404", 1),
        ("becomes_served", 1),
        ("goes_elsewhere", 2),
        ("other_identity", 2),
    ];
    assert_eq!(kinds(&json["preview"]), expected.map(|(kind, count)| (kind.to_owned(), count)), "{json}");
    assert_eq!(json["preview"]["routes"].as_array().unwrap().len(), 3);
    let switched =
        asked(&edge, &rendered(&SECTIONS.replace("hosts: [demo.test]", "hosts: [demo.test]\n    environment: dev")));
    // Those that named an environment go on to it; the plain one changes.
    assert_eq!(
        kinds(&switched["preview"]).iter().find(|(kind, _)| kind == "goes_elsewhere").unwrap().1,
        1,
        "{switched}"
    );
    for text in [&json, &switched] {
        let text = text.to_string();
        assert!(!text.contains("c4n4ry") && !text.contains("secret"), "{text}");
    }
    assert_eq!(edge.generation(), 1, "nothing is in force of it");
    assert_eq!(edge.call(&Request::get("/gone")).status, 200);
}

#[test]
fn what_would_not_hold_or_is_no_file_of_the_configuration_has_no_preview() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let (status, json) = ask(&edge, &edge.text().replace("upstream:", "upstrem:"));
    assert_eq!((status, &json["preview"], json["report"]["outcome"].as_str()), (422, &Value::Null, Some("rejected")));
    for body in [
        json!({ "files": { "other.yaml": "c4n4ry" } }).to_string(),
        json!({ "files": { "/etc/hosts": "c4n4ry" } }).to_string(),
        json!({ "files": "c4n4ry" }).to_string(),
        "c4n4ry".to_owned(),
    ] {
        let answer = edge.admin_call(&edge.admin_request("POST", "/api/v1/preview").body(&body));
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (400, Some("bad_body")), "{body}");
        assert!(!answer.text().contains("c4n4ry"), "{}", answer.text());
    }
    let stranger = Request::new("POST", "/api/v1/preview").host(&edge.admin.to_string());
    assert_eq!(edge.admin_call(&stranger).status, 401);
    edge.wait_log("status=401");
    assert_eq!(edge.output().matches("what=").count(), 1, "only the stranger's line: {}", edge.output());
}

fn ask(edge: &Edge, text: &str) -> (u16, Value) {
    let body = json!({ "files": { "countersign.yaml": text } }).to_string();
    let answer = edge.admin_call(&edge.admin_request("POST", "/api/v1/preview").body(body));
    (answer.status, answer.json())
}

fn asked(edge: &Edge, text: &str) -> Value {
    let (status, json) = ask(edge, text);
    assert_eq!(status, 200, "{json}");
    json
}
