//! Who changed what: a line for every request to the admin listener that could have changed something, however it ended.

use std::sync::Arc;
use std::time::Duration;

use crate::support::scripted_provider::{ScriptedProvider, Settings, Step};
use crate::support::tokens::{config, document};
use crate::support::{Config, Edge, Request, Wire, eventually, gate};

const ROUTES: &str = "- { prefix: /, respond: {}, auth: none }";

fn edge() -> Edge {
    Config::routes(ROUTES).logging("level: error").start()
}

/// The process log is JSON here, in which quotes are escaped.
fn wait_line(edge: &Edge, text: &str) {
    edge.wait_log(&text.replace('"', "\\\""));
}

#[test]
fn a_change_is_told_whatever_the_level_and_whatever_came_of_it() {
    let edge = edge();
    assert_eq!(edge.admin("POST", "/api/v1/reload").status, 200);
    wait_line(&edge, "how=bearer from=127.0.0.1 what=\"POST /api/v1/reload\" status=200 outcome=done");
    let stranger = Request::new("POST", "/api/v1/reload").host(&edge.admin.to_string());
    assert_eq!(edge.admin_call(&stranger).status, 401);
    wait_line(&edge, "who=- how=- from=127.0.0.1 what=\"POST /api/v1/reload\" status=401 outcome=refused");
}

#[test]
fn what_changes_nothing_is_not_told() {
    let edge = edge();
    assert_eq!(edge.admin("GET", "/api/v1/status").status, 200);
    let question = edge.admin_request("POST", "/api/v1/explain").body(r#"{"url":"http://demo.test/"}"#);
    assert_eq!(edge.admin_call(&question).status, 200);
    assert_eq!(edge.admin("POST", "/api/v1/reload").status, 200);
    edge.wait_log("POST /api/v1/reload");
    assert_eq!(edge.output().matches("what=").count(), 1, "{}", edge.output());
}

/// Whatever had begun may have been done: that nobody waited for the answer makes it no secret.
#[test]
fn a_caller_who_hangs_up_is_told_too() {
    let provider = ScriptedProvider::start(Settings::default());
    let origin = provider.upstream();
    let edge = config(&format!("oauth2: {}", provider.oauth2()), "", &origin).start();
    let (access, refresh) = provider.login();
    let id = edge.import(&document(&access, &refresh, Duration::from_secs(3600)));
    let (key, gate) = gate();
    provider.then([Step::Wait(Arc::new(gate))]);
    let mut wire = Wire::connect(edge.admin);
    wire.send(edge.admin_request("POST", &format!("/api/v1/tokens/{id}/refresh")).bytes());
    provider.wait_arrival(1);
    drop(wire);
    wait_line(
        &edge,
        &format!("what=\"POST /api/v1/tokens/{id}/refresh\" status=- outcome=unknown: the caller hung up"),
    );
    key.open();
}

/// `admin.allow` names nobody here but one address; those that it does not name have a part of the listener's places only.
#[test]
fn strangers_cannot_take_every_place() {
    let edge = Config::routes(ROUTES).admin("allow: [127.0.0.7]").launch();
    let mut strangers = vec![eventually("the admin listener", || Wire::try_connect(edge.admin).ok())];
    strangers.extend((1..128).map(|_| Wire::connect(edge.admin)));
    let mut wire = Wire::connect_from([127, 0, 0, 7], edge.admin);
    wire.send(Request::new("GET", "/livez").host(&edge.admin.to_string()).bytes());
    assert_eq!(wire.response().status, 200);
    drop(strangers);
}
