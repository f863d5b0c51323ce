//! Refreshing under traffic: one call however many ask, a good token outlives a bad answer, what an upstream says of a token, what a
//! provider loses, two processes over one directory. The provider is scripted; time is real, in seconds.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::support::h2::{End, H2};
use crate::support::nginx::Nginx;
use crate::support::scripted_provider::{ScriptedProvider, Settings, Step, access_token};
use crate::support::tokens::{config, document, now, rfc3339, sections};
use crate::support::{Config, Edge, Origin, PATIENCE, Request, Wire, eventually, eventually_within, gate};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);
const JSON: &str = "content-type: application/json\r\n";

/// For what takes a token's life of a few seconds.
const SLOW: Duration = Duration::from_secs(30);

struct Scene {
    provider: ScriptedProvider,
    origin: Origin,
    edge: Edge,
}

/// An edge without tokens, its provider, and the upstream that takes the provider's tokens alone.
fn scene(settings: Settings) -> Scene {
    scene_with(settings, "")
}

fn scene_with(settings: Settings, further: &str) -> Scene {
    let provider = ScriptedProvider::start(settings);
    let origin = provider.upstream();
    let edge = config(&oauth2(&provider), further, &origin).start();
    Scene { provider, origin, edge }
}

fn oauth2(provider: &ScriptedProvider) -> String {
    format!("oauth2: {}", provider.oauth2())
}

impl Scene {
    /// A login elsewhere whose token lives that long here; its id.
    fn account(&self, lives: Duration) -> String {
        let (access, refresh) = self.provider.login();
        self.edge.import(&document(&access, &refresh, lives))
    }
}

// ---- one call ----

/// Rounds of 20 connections with 100 requests each; the first round waits while the provider is being asked.
const ROUNDS: usize = 5;
const CONNECTIONS: usize = 20;
const STREAMS: usize = 100;

#[test]
fn ten_thousand_requests_at_the_moment_of_expiry_make_one_call() {
    let provider = ScriptedProvider::start(Settings::default());
    let fresh = access_token(0, 2);
    let nginx = Nginx::start_on(
        "http2",
        &format!(
            "http2_max_concurrent_streams 256; keepalive_requests 100000; \
             location / {{ if ($http_authorization != \"Bearer {fresh}\") {{ return 401; }} return 200 ok; }}"
        ),
    );
    let text = sections(&oauth2(&provider), "").replace("upstream: \"http://{origin}\"", "upstream: clear");
    let group = format!("upstreams: {{ clear: {{ scheme: h2c, endpoints: [{{ address: \"{}\" }}] }} }}", nginx.address);
    let edge = Config::new(&format!("{group}\n{text}")).access("format: off").listener("h2c: true").start();
    let (key, gate) = gate();
    provider.then([Step::Wait(Arc::new(gate))]);
    let (access, refresh) = provider.login();
    edge.import(&document(&access, &refresh, SECOND));
    provider.wait_arrival(1);
    edge.wait_status("expired", PATIENCE);

    let mut crowd: Vec<H2> = (0..CONNECTIONS).map(|_| H2::connect(edge.data)).collect();
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for round in 0..ROUNDS {
        let asked: Vec<Vec<u32>> = crowd.iter_mut().map(ask).collect();
        if round == 0 {
            let most = (CONNECTIONS * STREAMS) as u64;
            eventually("a crowd that waits", || (edge.status()["in_flight"].as_u64() >= Some(most)).then_some(()));
            key.open();
        }
        for (client, streams) in crowd.iter_mut().zip(&asked) {
            for stream in streams {
                let answer = client.answer(*stream);
                assert_eq!(answer.end, Some(End::Clean));
                *statuses.entry(answer.status).or_default() += 1;
            }
        }
    }
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [(200, ROUNDS * CONNECTIONS * STREAMS)]);
    assert_eq!(provider.refreshes(), 1);
    assert_eq!(edge.metrics().sum("countersign_token_refreshes_total", &[]), 1.0);
}

fn ask(client: &mut H2) -> Vec<u32> {
    (0..STREAMS).map(|_| client.request("GET", "/v1/x", &[], true)).collect()
}

#[test]
fn clients_that_leave_take_no_refresh_with_them() {
    let scene = scene(Settings::default());
    let (key, gate) = gate();
    scene.provider.then([Step::Wait(Arc::new(gate))]);
    let id = scene.account(SECOND);
    scene.provider.wait_arrival(1);
    scene.edge.wait_status("expired", PATIENCE);
    let mut waiting: Vec<Wire> = (0..60).map(|_| scene.edge.connect()).collect();
    for wire in &mut waiting {
        wire.send(Request::get("/v1/x").bytes());
    }
    eventually("all wait", || (scene.edge.status()["in_flight"] == 60).then_some(()));
    let staying = waiting.split_off(30);
    waiting.into_iter().for_each(Wire::abort);
    key.open();
    for mut wire in staying {
        assert_eq!(wire.response().status, 200);
    }
    assert_eq!(scene.provider.refreshes(), 1);
    assert!(scene.provider.takes(scene.edge.token_file(&id)["refresh_token"].as_str().unwrap()));
}

#[test]
fn a_refresh_is_saved_when_everybody_has_left() {
    let scene = scene(Settings::default());
    let (key, gate) = gate();
    scene.provider.then([Step::Wait(Arc::new(gate))]);
    let id = scene.account(SECOND);
    scene.provider.wait_arrival(1);
    scene.edge.wait_status("expired", PATIENCE);
    let mut wire = scene.edge.connect();
    wire.send(Request::get("/v1/x").bytes());
    eventually("it waits", || (scene.edge.status()["in_flight"] == 1).then_some(()));
    wire.abort();
    key.open();
    scene.edge.wait_status("valid", PATIENCE);
    let file = scene.edge.token_file(&id);
    assert_eq!(file["generation"], 2);
    assert!(scene.provider.takes(file["refresh_token"].as_str().unwrap()));
}

#[test]
fn without_a_token_in_time_the_answer_is_503_and_nothing_is_sent() {
    let scene = scene(Settings::default());
    scene.provider.then([Step::Stall]);
    scene.account(SECOND);
    scene.edge.wait_status("expired", PATIENCE);
    let mut wire = scene.edge.connect();
    wire.patience = SLOW;
    wire.send(Request::get("/v1/x").bytes());
    let answer = wire.response();
    answer.expect_error(503, "credential_unavailable");
    assert!(answer.header("retry-after").is_some_and(|value| value.parse::<u32>().is_ok_and(|value| value >= 1)));
    assert_eq!(scene.origin.count(), 0);
}

// ---- what a provider may answer ----

#[test]
fn a_token_that_works_outlives_every_failed_refresh() {
    let scene = scene(Settings { grace: Some(HOUR), ..Settings::default() });
    let id = scene.account(HOUR);
    let steps: [(&str, Step); 11] = [
        ("an error of the server", Step::Say(500, "", "out of order")),
        ("busy", Step::Say(503, "retry-after: 1\r\n", "")),
        ("too many", Step::Say(429, "retry-after: 1\r\n", "")),
        ("a page", Step::Say(200, "content-type: text/html\r\n", "<!doctype html><title>Maintenance</title>")),
        ("a redirect", Step::Say(302, "location: http://127.0.0.1:1/\r\n", "")),
        ("a wrong client", Step::Say(401, JSON, r#"{"error":"invalid_client"}"#)),
        ("half of an answer", Step::CommitThenCut(30)),
        ("no answer", Step::CommitThenClose),
        ("a reset", Step::CommitThenReset),
        ("another kind of token", Step::Lie(|answer| answer["token_type"] = "mac".into())),
        ("a flood", Step::Lie(|answer| answer["more"] = "x".repeat(64 * 1024).into())),
    ];
    for (what, step) in steps {
        scene.provider.then([step]);
        let calls = scene.provider.refreshes();
        let (status, answer) = eventually_within(SLOW, "a refresh that is asked for", || {
            // One attempt a second, and not before the provider wants it.
            let answered = scene.edge.refresh(&id);
            (scene.provider.refreshes() > calls).then_some(answered)
        });
        assert_eq!(status, 502, "{what}: {answer}");
        assert_eq!(scene.edge.asks(), 200, "after {what}");
        let file = scene.edge.token_file(&id);
        assert!(!file["refresh_token"].as_str().unwrap_or_default().is_empty(), "blanked by {what}");
        assert_eq!(scene.edge.the_token()["status"], "valid", "after {what}");
        assert!(scene.edge.the_token()["last_error"].is_string(), "after {what}: {}", scene.edge.the_token());
    }
    eventually_within(SLOW, "a refresh that is granted", || (scene.edge.refresh(&id).0 == 200).then_some(()));
    assert_eq!(scene.edge.asks(), 200);
    assert_eq!(scene.edge.the_token()["last_error"], Value::Null);
    scene.edge.expect_no_leak(&[]);
}

#[test]
fn an_answer_without_an_end_counts_for_five_minutes_and_says_so() {
    let scene = scene(Settings::default());
    let id = scene.account(HOUR);
    scene.provider.then([Step::Lie(|answer| {
        answer.as_object_mut().expect("an object").remove("expires_in");
    })]);
    assert_eq!(scene.edge.refresh(&id).0, 200);
    let ends = scene.edge.the_token()["expires_at"].as_str().expect("an end").to_owned();
    assert!(ends > rfc3339(now() + 200) && ends <= rfc3339(now() + 301), "{ends}");
    assert_eq!(scene.edge.asks(), 200);
}

#[test]
fn a_provider_that_does_not_rotate_keeps_its_refresh_token() {
    let scene = scene(Settings { rotates: false, ..Settings::default() });
    let id = scene.account(HOUR);
    let before = scene.edge.token_file(&id)["refresh_token"].clone();
    assert_eq!(scene.edge.refresh(&id).0, 200);
    let after = scene.edge.token_file(&id);
    assert_eq!((&after["refresh_token"], &after["generation"]), (&before, &Value::from(2)));
}

#[test]
fn a_login_that_was_ended_asks_for_another_and_keeps_its_record() {
    let scene = scene(Settings::default());
    let id = scene.account(Duration::from_secs(4));
    let refresh = scene.edge.token_file(&id)["refresh_token"].clone();
    scene.provider.revoke_all();
    let (status, answer) = scene.edge.refresh(&id);
    assert_eq!(status, 502, "{answer}");
    let token = scene.edge.wait_status("needs_login", PATIENCE);
    assert!(token.to_string().contains("invalid_grant"), "{token}");
    let file = scene.edge.token_file(&id);
    assert_eq!(
        (&file["refresh_token"], file["reason"].as_str()),
        (&refresh, Some("invalid_grant")),
        "{}",
        file["state"]
    );
    let calls = scene.provider.refreshes();
    eventually_within(SLOW, "no token", || (scene.edge.asks() == 503).then_some(()));
    assert_eq!(scene.provider.refreshes(), calls, "nobody asks again");
    assert_eq!(scene.edge.metrics().sum("countersign_token_state", &[("state", "needs_login")]), 1.0);
}

// ---- lost between commit and answer ----

#[test]
fn a_lost_answer_of_a_strict_provider_is_reported_as_such() {
    let scene = scene(Settings { access: Duration::from_secs(4), ..Settings::default() });
    let id = scene.account(Duration::from_secs(4));
    scene.provider.then([Step::CommitThenClose]);
    assert_eq!(scene.edge.refresh(&id).0, 502);
    assert_eq!(scene.edge.asks(), 200, "what works is used");
    assert_eq!(scene.provider.reuses(), 0, "while it works, nothing is tried");
    let token = scene.edge.wait_status("needs_login", SLOW);
    assert!(token.to_string().contains("rotation_outcome_unknown"), "{token}");
    let file = scene.edge.token_file(&id);
    assert_eq!(file["reason"], "rotation_outcome_unknown");
    assert!(file["refresh_token"].is_string() && file["access_token"].is_string(), "kept");
    assert_eq!((scene.provider.refreshes(), scene.provider.reuses()), (2, 1), "one more, and no third");
    scene.edge.get("/v1/x").expect_error(503, "credential_unavailable");
    scene.edge.wait_log("rotation_outcome_unknown");
}

#[test]
fn a_lost_answer_is_had_again_from_a_provider_with_grace() {
    let scene = scene(Settings { grace: Some(HOUR), ..Settings::default() });
    let id = scene.account(Duration::from_secs(3));
    scene.provider.then([Step::CommitThenReset]);
    assert_eq!(scene.edge.refresh(&id).0, 502);
    eventually_within(SLOW, "the second call", || (scene.provider.refreshes() >= 2).then_some(()));
    scene.edge.wait_status("valid", PATIENCE);
    assert_eq!((scene.edge.asks(), scene.provider.reuses()), (200, 0));
    assert_eq!(scene.edge.token_file(&id)["generation"], 2);
}

// ---- what an upstream says of a token ----

#[test]
fn a_token_that_an_upstream_rejects_is_refreshed_once_and_the_request_goes_out_again() {
    let scene = scene(Settings::default());
    scene.account(HOUR);
    assert_eq!(scene.edge.asks(), 200);
    scene.provider.revoke_access();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(|| scene.edge.asks())).collect();
        asking.into_iter().map(|one| one.join().expect("a status")).collect()
    });
    assert_eq!(statuses, [200; 20]);
    assert_eq!(scene.provider.refreshes(), 1);
}

#[test]
fn an_upstream_that_rejects_everything_costs_one_refresh() {
    let scene = scene(Settings::default());
    scene.origin.answer("/", "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nwww-authenticate: Bearer\r\n\r\n");
    scene.account(HOUR);
    for _ in 0..10 {
        let answer = scene.edge.get("/v1/x");
        assert!(answer.status == 401 || answer.status == 503, "{}", answer.status);
    }
    assert_eq!(scene.provider.refreshes(), 1);
}

#[test]
fn a_token_that_is_limited_rests_and_the_next_one_serves() {
    let scene = scene(Settings::default());
    let first = scene.account(HOUR);
    scene.account(HOUR);
    let limited = scene.edge.token_file(&first)["access_token"].as_str().unwrap().to_owned();
    scene.origin.on("/", move |exchange| {
        exchange.read_body();
        let rests = exchange.head.fields.get("authorization").is_some_and(|value| value.ends_with(&limited));
        let head = if rests { "429 Too Many Requests\r\nretry-after: 40" } else { "200 OK" };
        exchange.send(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n"));
        crate::support::origin::After::Keep
    });
    let posted = scene.edge.call(&Request::new("POST", "/v1/x").body("once more, please"));
    assert_eq!(posted.status, 200);
    assert_eq!(scene.origin.count(), 2, "turned down, and sent again");
    assert!(scene.origin.requests().iter().all(|request| request.body == b"once more, please"));
    for _ in 0..5 {
        assert_eq!(scene.edge.asks(), 200);
    }
    assert_eq!(scene.origin.count(), 7, "nobody asks with the one that rests");
    let resting = scene.edge.wait_status("resting", PATIENCE);
    assert_eq!(resting["id"], first.as_str());
    assert_eq!(scene.provider.refreshes(), 0);
}

// ---- two processes ----

#[test]
fn two_processes_over_one_directory_make_one_call_a_generation() {
    let provider = ScriptedProvider::start(Settings { access: Duration::from_secs(2), ..Settings::default() });
    let origin = provider.upstream();
    let one = config(&oauth2(&provider), "", &origin).start();
    let two = config(&oauth2(&provider), "", &origin).tokens_dir(&one.tokens_dir()).start();
    let (access, refresh) = provider.login();
    let id = one.import(&document(&access, &refresh, Duration::from_secs(2)));
    eventually("the other knows it", || (two.tokens().len() == 1).then_some(()));
    eventually_within(SLOW, "five generations", || {
        assert_eq!((one.asks(), two.asks()), (200, 200));
        (provider.refreshes() >= 5).then_some(())
    });
    one.wait_status("valid", PATIENCE);
    assert_eq!(provider.reuses(), 0);
    let generation = one.token_file(&id)["generation"].as_u64().expect("a number");
    let granted = provider.calls_of("refresh_token").iter().filter(|call| call.outcome.is_ok()).count() as u64;
    assert!(granted == generation - 1 || granted == generation, "{granted} calls for {generation} generations");
    assert!(one.token_file(&id)["refresh_token"].as_str().is_some_and(|token| !token.is_empty()));
}

#[test]
fn what_one_process_changes_the_other_serves() {
    let Scene { provider, origin, edge: one } = scene(Settings::default());
    let two = config(&oauth2(&provider), "", &origin).tokens_dir(&one.tokens_dir()).start();
    let (access, refresh) = provider.login();
    let id = one.import(&document(&access, &refresh, HOUR));
    eventually("the other serves it", || (two.asks() == 200).then_some(()));
    assert_eq!(two.refresh(&id).0, 200);
    let fresh = two.token_file(&id)["access_token"].as_str().expect("a token").to_owned();
    eventually("the first carries the fresh one", || {
        origin.forget();
        assert_eq!(one.asks(), 200);
        origin.request_for("/").contains(&fresh).then_some(())
    });
    assert_eq!(one.admin("DELETE", &format!("/api/v1/tokens/{id}")).status, 204);
    eventually("the other lends it no more", || (two.asks() == 503).then_some(()));
    assert_eq!(provider.refreshes(), 1);
}

// ---- restarts and clocks ----

#[test]
fn a_restart_asks_nobody_for_what_it_has() {
    let mut scene = scene(Settings::default());
    scene.account(HOUR);
    for _ in 0..3 {
        scene.edge.stop();
        scene.edge.relaunch();
        assert_eq!(scene.edge.asks(), 200);
    }
    assert_eq!(scene.provider.refreshes(), 0);
}

#[test]
fn a_stop_waits_for_the_answer_that_is_under_way() {
    let mut scene = scene(Settings::default());
    let (key, gate) = gate();
    scene.provider.then([Step::Wait(Arc::new(gate))]);
    let id = scene.account(SECOND);
    scene.provider.wait_arrival(1);
    scene.edge.process.signal("TERM");
    eventually("it drains", || scene.edge.try_admin("GET", "/readyz").is_none_or(|it| it.status == 503).then_some(()));
    assert!(scene.edge.process.ended().is_none(), "it waits");
    key.open();
    assert_eq!(scene.edge.process.wait(PATIENCE).0.code(), Some(0), "{}", scene.edge.output());
    assert!(scene.provider.takes(scene.edge.token_file(&id)["refresh_token"].as_str().unwrap()));
    scene.edge.relaunch();
    assert_eq!((scene.edge.asks(), scene.provider.refreshes()), (200, 1));
}

#[test]
fn a_clock_that_was_wrong_makes_one_call_and_no_storm() {
    for (obtained, ends) in [(now() + 7200, now() + 10_800), (now() - 10_800, now() - 7200), (now() - 40, now() - 10)] {
        let mut scene = scene(Settings::default());
        let id = scene.account(HOUR);
        scene.edge.stop();
        let path = scene.edge.tokens_dir().join(format!("{id}.json"));
        let file = scene.edge.token_file(&id);
        let foreign = serde_json::json!({ "provider": "sso", "access_token": file["access_token"],
            "refresh_token": file["refresh_token"], "obtained_at": rfc3339(obtained), "expires_at": rfc3339(ends) });
        std::fs::write(&path, foreign.to_string()).expect("write the file");
        scene.edge.relaunch();
        eventually("a request that is served", || (scene.edge.asks() == 200).then_some(()));
        for _ in 0..20 {
            assert_eq!(scene.edge.asks(), 200);
        }
        assert!(scene.provider.refreshes() <= 1, "{} calls", scene.provider.refreshes());
        assert_eq!(scene.provider.reuses(), 0);
    }
}
