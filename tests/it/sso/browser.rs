//! The same in headless Chromium, over https.

use serde_json::json;

use super::{ROUTES, config, oidc, provider};
use crate::support::Origin;
use crate::support::browser::Browser;
use crate::support::edge::project;

/// What a page's script gets for a path: status and code.
fn fetched(browser: &Browser, path: &str) -> serde_json::Value {
    browser.script(&format!(
        "const answer = await fetch({path}); const text = await answer.text(); \
         return [answer.status, answer.redirected, text.slice(0, 200)]",
        path = json!(path)
    ))
}

#[test]
fn a_person_logs_in_and_out() {
    let (provider, origin) = (provider(), Origin::start());
    let identity = format!("identity: {{ sources: [oidc], {} }}\n", oidc(&provider.url(), "edge"));
    let routes = format!("{ROUTES}    - {{ prefix: /open, respond: {{ body: open }}, auth: none }}\n");
    let edge = config(&format!("{identity}{}", project("demo", &routes)), &origin).secured().start();
    let port = edge.secured.unwrap().port();
    let url = |path: &str| format!("https://a.test:{port}{path}");
    let browser = Browser::start();
    browser.open(&url("/open"));
    let refused = fetched(&browser, "/a0/data");
    assert_eq!((&refused[0], &refused[1]), (&json!(401), &json!(false)), "{refused}");
    assert!(refused[2].as_str().unwrap().contains("authentication_required"), "{refused}");
    browser.open(&url("/a0/x?y=1"));
    assert!(browser.url().starts_with(&provider.url()), "{}", browser.url());
    browser.fill(&browser.find("input[name=login]"), "ann");
    browser.fill(&browser.find("input[name=password]"), "x");
    browser.click(&browser.find("button[type=submit]"));
    browser.press("Continue");
    browser.sees("ok");
    assert_eq!(browser.url(), url("/a0/x?y=1"));
    assert_eq!(origin.request_for("/api/x?y=1").header("x-kms-user"), Some("ann@example.com"));
    let names: Vec<String> =
        browser.cookies().iter().map(|cookie| cookie["name"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(names, ["__Host-countersign-session"], "the log-in's own cookie is gone");
    let session = &browser.cookies()[0];
    assert_eq!(
        (&session["httpOnly"], &session["secure"], &session["sameSite"]),
        (&json!(true), &json!(true), &json!("Lax"))
    );
    assert_eq!(fetched(&browser, "/a0/data")[0], json!(200));
    assert!(!origin.request_for("/api/data").contains("countersign-session"));
    browser.open(&url("/pong"));
    browser.sees("pong");
    let back = browser.script("history.length; return document.cookie");
    assert_eq!(back, json!(""), "no script reads the session");
    browser.try_open(&url("/.countersign/oidc/logout"));
    assert!(browser.url().starts_with(&provider.url()), "the issuer asks whether to log out there: {}", browser.url());
    browser.open(&url("/open"));
    assert_eq!(fetched(&browser, "/a0/data")[0], json!(401));
    browser.open(&url("/.countersign/oidc/callback?code=x&state=y"));
    browser.sees("This log-in was not begun in this browser");
    browser.press("Try again");
    assert!(browser.url().starts_with(&provider.url()), "{}", browser.url());
}
