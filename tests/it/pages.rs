//! Error answers: JSON for programs, HTML for browsers, and a project's own pages in their place.

use crate::support::wait::eventually;
use crate::support::{Config, Edge, Origin, Request, Response};

const CONFIGURATION: &str = r#"
projects:
  demo:
    hosts: [demo.test]
    upstream_policy: open
    pages: { 404: pages/404.html, 5xx: pages/5xx.html }
    environments:
      production:
        routes:
          - { prefix: /down, upstream: "http://127.0.0.1:9", auth: none }
          - { prefix: /secret, upstream: "http://{origin}", auth: required }
          - { prefix: /up, upstream: "http://{origin}", auth: none }
  bare:
    hosts: [bare.test]
    environments: { production: { routes: [] } }
clients:
  page: { token: "pages-test-token-of-a-page-0123456789" }
"#;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn edge(origin: &Origin) -> Edge {
    let config = Config::new(CONFIGURATION).origin(origin);
    config
        .file(
            "pages/404.html",
            "<style>p{}</style><h1>Ours: {status} {reason}</h1><p>{code}; {message}; {request_id}</p>",
        )
        .file("pages/5xx.html", "<h1>Down: {status}</h1>")
        .start()
}

fn browse(edge: &Edge, target: &str) -> Response {
    edge.call(&Request::get(target).header("accept", BROWSER))
}

#[test]
fn a_projects_pages_replace_the_edges_own() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let missing = browse(&edge, "/none");
    assert_eq!((missing.status, missing.header("content-type")), (404, Some("text/html; charset=utf-8")));
    assert_eq!(missing.header("cache-control"), Some("no-store"));
    let id = edge.logged("/none")["request_id"].as_str().unwrap().to_owned();
    let expected = format!(
        "<style>p{{}}</style><h1>Ours: 404 Not Found</h1><p>route_not_found; no route serves this path; {id}</p>"
    );
    assert_eq!(missing.text(), expected);
    let down = browse(&edge, "/down");
    assert_eq!((down.status, down.text().as_str()), (502, "<h1>Down: 502</h1>"));
    let secret = browse(&edge, "/secret");
    assert_eq!(secret.status, 401);
    assert!(secret.text().contains("401 Unauthorized") && !secret.text().contains("Ours"), "the edge's own page");
}

#[test]
fn programs_keep_json() {
    let origin = Origin::start();
    let edge = edge(&origin);
    edge.get("/none").expect_error(404, "route_not_found");
    for accept in ["*/*", "application/json", "application/json, text/html;q=0.9", "text/html;q=0, */*"] {
        edge.call(&Request::get("/none").header("accept", accept)).expect_error(404, "route_not_found");
    }
}

#[test]
fn another_project_and_an_unknown_host_have_the_edges_own_page() {
    let origin = Origin::start();
    let edge = edge(&origin);
    for (host, status) in [("bare.test", 404), ("unknown.test", 421)] {
        let answer = edge.call(&Request::get("/none").host(host).header("accept", BROWSER));
        assert_eq!(answer.status, status);
        assert!(answer.text().starts_with("<!doctype html>") && !answer.text().contains("Ours"), "{}", answer.text());
    }
}

#[test]
fn what_an_upstream_answers_itself_stays_as_it_is() {
    let origin = Origin::start();
    origin.answer("/gone", "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\ncontent-type: text/html\r\n\r\ngone");
    let edge = edge(&origin);
    assert_eq!(browse(&edge, "/up/gone").text(), "gone");
}

#[test]
fn a_changed_page_is_shown_without_a_restart() {
    let origin = Origin::start();
    let edge = edge(&origin);
    std::fs::write(edge.directory().join("pages/404.html"), "<h1>New</h1>").unwrap();
    eventually("the new page", || (browse(&edge, "/none").text() == "<h1>New</h1>").then_some(()));
    std::fs::write(edge.directory().join("pages/404.html"), [0xff]).unwrap();
    edge.wait_log("cannot be used: it is not UTF-8");
    assert_eq!(browse(&edge, "/none").text(), "<h1>New</h1>", "a broken one keeps the old");
}

#[test]
fn a_request_without_a_route_is_logged_with_its_project() {
    let origin = Origin::start();
    let edge = edge(&origin);
    edge.get("/none");
    let record = edge.logged("/none");
    let text = |key: &str| record[key].as_str().unwrap().to_owned();
    assert_eq!((text("project"), text("environment"), text("route")), ("demo".into(), "production".into(), "".into()));
}
