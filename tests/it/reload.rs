//! Edits go live without losing a request or a stream, wrong edits change nothing, and each response is of one table.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::edge::RELOAD_PATIENCE;
use crate::support::origin::After;
use crate::support::{Config, Edge, Origin, Request, Wire, eventually, eventually_within, gate};

mod under_load;

/// Routes whose every visible part carries one marker.
fn marked(marker: &str) -> String {
    crate::support::edge::project(
        "demo",
        &format!(
            r#"
            - {{ prefix: /respond, respond: {{ status: 200, body: "{marker}" }}, auth: none, headers: {{ response: {{ set: {{ x-marker: "{marker}" }} }} }} }}
            - prefix: /proxied
              upstream: "http://{{origin}}/proxied"
              auth: none
              headers:
                request: {{ set: {{ x-marker: "{marker}" }} }}
                response: {{ set: {{ x-marker: "{marker}" }} }}
            - {{ prefix: /events, upstream: "http://{{origin}}/events", auth: none, headers: {{ response: {{ set: {{ x-marker: "{marker}" }} }} }} }}
            "#
        ),
    )
}

/// An origin that says which marker it was sent.
fn echoing() -> Origin {
    let origin = Origin::start();
    origin.on("/proxied", |exchange| {
        exchange.read_body();
        let marker = exchange.head.fields.get("x-marker").unwrap_or("none").to_owned();
        exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{marker}", marker.len()));
        After::Keep
    });
    origin
}

fn edge(origin: &Origin) -> Edge {
    Config::new(&marked("one")).origin(origin).start()
}

/// The marker that the edge now answers with.
fn marker(edge: &Edge) -> String {
    edge.get("/respond").text()
}

/// Waits until the edge answers with that marker; how long it took.
fn wait_marker(edge: &Edge, expected: &str) -> Duration {
    let start = Instant::now();
    eventually_within(RELOAD_PATIENCE, &format!("marker {expected}"), || (marker(edge) == expected).then_some(()));
    start.elapsed()
}

/// Half a second after the last write by the agreement; twice that for a busy machine.
const LIVE_WITHIN: Duration = Duration::from_secs(1);

#[test]
fn a_save_in_place_is_live_soon() {
    let origin = echoing();
    let edge = edge(&origin);
    assert_eq!(marker(&edge), "one");
    let generation = edge.generation();
    edge.rewrite(&marked("two"));
    let took = wait_marker(&edge, "two");
    println!("in place: live after {took:?}");
    assert!(took < LIVE_WITHIN, "{took:?}");
    assert_eq!(edge.generation(), generation + 1, "one edit, one table");
}

#[test]
fn a_rename_over_the_file_is_live_soon() {
    let origin = echoing();
    let edge = edge(&origin);
    for name in ["two", "three"] {
        replace(&edge, &edge.render(&marked(name)));
        let took = wait_marker(&edge, name);
        println!("rename over: live after {took:?}");
        assert!(took < LIVE_WITHIN, "{took:?}");
    }
}

/// What most editors do: write beside it, rename over it.
fn replace(edge: &Edge, text: &str) {
    let beside = edge.directory().join(".countersign.yaml.swp");
    std::fs::write(&beside, text).expect("write beside");
    std::fs::rename(&beside, edge.file()).expect("rename over");
}

#[test]
fn a_config_map_flip_is_live_soon() {
    let origin = echoing();
    let edge = edge(&origin);
    let directory = edge.directory().to_owned();
    let version = |name: &str, text: &str| {
        std::fs::create_dir_all(directory.join(name)).expect("a version's directory");
        std::fs::write(directory.join(name).join("countersign.yaml"), text).expect("write a version");
    };
    version("..v1", &edge.render(&marked("one")));
    std::os::unix::fs::symlink("..v1", directory.join("..data")).expect("..data");
    std::fs::remove_file(edge.file()).expect("make room");
    std::os::unix::fs::symlink("..data/countersign.yaml", edge.file()).expect("the link");
    for name in ["two", "three"] {
        let target = format!("..{name}");
        version(&target, &edge.render(&marked(name)));
        std::os::unix::fs::symlink(&target, directory.join("..data_tmp")).expect("the new link");
        std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).expect("flip");
        let took = wait_marker(&edge, name);
        println!("..data flip: live after {took:?}");
        assert!(took < LIVE_WITHIN, "{took:?}");
    }
}

#[test]
fn several_quick_saves_end_in_the_last_one() {
    let origin = echoing();
    let edge = edge(&origin);
    for number in 0..30 {
        edge.rewrite(&marked(&format!("quick-{number}")));
    }
    wait_marker(&edge, "quick-29");
    assert!(edge.generation() < 15, "quick saves are taken together: generation {}", edge.generation());
}

#[test]
fn a_slow_save_never_shows_its_half() {
    let origin = echoing();
    let edge = edge(&origin);
    let text = edge.render(&marked("two"));
    // A writer that pauses: the first half alone is a valid file with fewer routes.
    let half =
        text.find("            - prefix: /proxied").or_else(|| text.find("- prefix: /proxied")).expect("the middle");
    let half = text[..half].rfind('\n').expect("a line") + 1;
    use std::io::Write;
    let mut file = std::fs::File::create(edge.file()).expect("truncate");
    file.write_all(&text.as_bytes()[..half]).expect("the first half");
    assert_eq!(edge.get("/proxied").status, 200, "while the writer pauses");
    file.write_all(&text.as_bytes()[half..]).expect("the second half");
    drop(file);
    wait_marker(&edge, "two");
    assert_eq!(edge.get("/proxied").text(), "two");
}

#[test]
fn a_wrong_edit_changes_nothing_and_says_so_everywhere() {
    let origin = echoing();
    let edge = edge(&origin);
    let generation = edge.generation();
    let broken = edge.render(&marked("two")).replace("prefix: /proxied", "prefx: /proxied");
    edge.write(&broken);
    let last = eventually("the rejection in the status", || {
        let status = edge.status();
        (status["last_reload"]["outcome"] == "rejected").then(|| status["last_reload"].clone())
    });
    let line = broken.lines().position(|line| line.contains("prefx")).expect("the wrong line") + 1;
    let diagnostics = last["diagnostics"].as_array().expect("diagnostics");
    let found = diagnostics.iter().any(|d| d["line"] == line && d["severity"] == "error");
    assert!(found, "line {line} in {diagnostics:?}");
    assert!(last["at"].as_str().is_some_and(|at| at.contains('T')), "{last}");
    assert_eq!((marker(&edge).as_str(), edge.generation()), ("one", generation), "the old table serves");
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("countersign_config_last_reload_successful", &[]), 0.0);
    assert!(metrics.sum("countersign_config_reloads_total", &[("outcome", "rejected")]) >= 1.0);
    assert_eq!(metrics.sum("countersign_config_generation", &[]), generation as f64);
    edge.wait_log(&format!("countersign.yaml:{line}:"));
    assert!(edge.ready(), "a rejected edit does not make the edge unready");

    edge.rewrite(&marked("three"));
    wait_marker(&edge, "three");
    eventually("the repair in metrics and status", || {
        let successful = edge.metrics().sum("countersign_config_last_reload_successful", &[]) == 1.0;
        (successful && edge.status()["last_reload"]["outcome"] == "applied").then_some(())
    });
}

#[test]
fn a_deleted_file_changes_nothing() {
    let origin = echoing();
    let edge = edge(&origin);
    std::fs::remove_file(edge.file()).expect("delete");
    let (status, verdict) = edge.reload();
    assert_eq!((status, &verdict["outcome"]), (422, &Value::from("rejected")), "{verdict}");
    assert_eq!(marker(&edge), "one");
    edge.rewrite(&marked("two"));
    wait_marker(&edge, "two");
}

#[test]
fn hup_reloads() {
    let origin = echoing();
    let edge = edge(&origin);
    edge.write(&edge.render(&marked("two")));
    edge.process.signal("HUP");
    wait_marker(&edge, "two");
}

#[test]
fn the_api_and_the_command_reload_and_give_the_verdict() {
    let origin = echoing();
    let edge = edge(&origin);
    replace(&edge, &edge.render(&marked("two")));
    let (status, verdict) = edge.reload();
    assert_eq!(status, 200, "{verdict}");
    assert!(verdict["outcome"] == "applied" || verdict["outcome"] == "unchanged", "{verdict}");
    assert_eq!(marker(&edge), "two", "when the call returns, the table is in force");
    assert_eq!(verdict["generation"].as_u64(), Some(edge.generation()));
    assert!(verdict["diagnostics"].is_array() && verdict["needs_restart"].is_array(), "{verdict}");

    let (status, verdict) = edge.reload();
    assert_eq!((status, &verdict["outcome"]), (200, &Value::from("unchanged")), "{verdict}");

    replace(&edge, "projects: 7\n");
    let (status, verdict) = edge.reload();
    assert_eq!((status, &verdict["outcome"]), (422, &Value::from("rejected")), "{verdict}");
    assert!(verdict["diagnostics"].as_array().is_some_and(|list| !list.is_empty()), "{verdict}");

    replace(&edge, &edge.render(&marked("three")));
    let done = edge.command(&["reload"], &["--wait"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(marker(&edge), "three");
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_applies() {
    let origin = echoing();
    let edge = edge(&origin);
    let other = crate::support::edge::free_address();
    let text = edge.render(&marked("two")).replace("threads: 2", "threads: 1");
    edge.write(&text.replace(&format!("\"{}\"", edge.data), &format!("\"{other}\"")));
    let (status, verdict) = edge.reload();
    assert_eq!(status, 200, "{verdict}");
    let verdict = if verdict["needs_restart"].as_array().is_some_and(|list| !list.is_empty()) {
        verdict
    } else {
        edge.status()["last_reload"].clone()
    };
    let named = verdict["needs_restart"].to_string();
    assert!(named.contains("server.threads") && named.contains("listeners.main"), "{verdict}");
    wait_marker(&edge, "two");
    assert!(Wire::try_connect(other).is_err(), "the new address is not bound before a restart");
}

#[test]
fn a_secret_file_is_read_again_at_a_reload() {
    let origin = Origin::start();
    let edge = Config::routes(
        r#"- { prefix: /, upstream: "http://{origin}", auth: none, payload: { x-api-token: "file:secret" } }"#,
    )
    .origin(&origin)
    .file("secret", "first-value-of-it\n")
    .start();
    edge.get("/before");
    assert_eq!(
        origin.take("/before").header("x-api-token"),
        Some("first-value-of-it"),
        "one line end is not part of it"
    );
    std::fs::write(edge.directory().join("secret"), "second-value-of-it\n").expect("write the secret");
    edge.reload();
    edge.get("/after");
    assert_eq!(origin.take("/after").header("x-api-token"), Some("second-value-of-it"));
}

#[test]
fn a_stream_outlives_reloads_with_the_table_it_began_with() {
    let origin = echoing();
    let (key, gate) = gate();
    origin.on("/events", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        for number in 1..=3 {
            gate.wait();
            exchange.send(format!("9\r\ndata: {number}\n\n\r\n"));
        }
        exchange.send("0\r\n\r\n");
        After::Keep
    });
    let edge = edge(&origin);
    let mut wire = edge.connect();
    wire.send("GET /events HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.head().header("x-marker"), Some("one"));
    for (number, name) in [(1, "two"), (2, "three"), (3, "four")] {
        edge.apply(&marked(name));
        key.open();
        assert_eq!(wire.chunk(), format!("data: {number}\n\n").as_bytes());
    }
    assert_eq!(wire.exactly(5), b"0\r\n\r\n");
    assert_eq!(edge.logged("/events")["generation"], 1);
    wire.send("GET /respond HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.response().text(), "four", "the next request on the same connection sees the new table");
}

#[test]
fn a_removed_route_is_gone_and_an_added_one_there() {
    let origin = echoing();
    let edge = edge(&origin);
    edge.apply(&crate::support::edge::project("demo", "- { prefix: /new, respond: { body: new }, auth: none }"));
    assert_eq!(edge.get("/new").status, 200);
    edge.get("/proxied").expect_error(404, "route_not_found");
}

#[test]
fn a_changed_upstream_gets_the_next_request_of_an_open_connection() {
    let (first, second) = (Origin::start(), Origin::start());
    second.answer("/", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond");
    let routes = |origin: &Origin| {
        let route = format!("- {{ prefix: /, upstream: \"http://{}\", auth: none }}", origin.authority());
        crate::support::edge::project("demo", &route)
    };
    let edge = Config::new(&routes(&first)).start();
    let mut wire = edge.connect();
    wire.send("GET /x HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.response().text(), "ok");
    edge.apply(&routes(&second));
    wire.send("GET /x HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    assert_eq!(wire.response().text(), "second");
}

#[test]
fn included_files_are_watched_and_new_ones_found() {
    let project = |name: &str, marker: &str| {
        format!(
            "projects:\n  {name}:\n    hosts: [{name}.test]\n    environments:\n      production:\n        routes:\n          \
             - {{ prefix: /who, respond: {{ body: {marker} }}, auth: none }}\n"
        )
    };
    let edge =
        Config::new("include: [\"projects/*.yaml\"]").file("projects/one.yaml", &project("one", "first")).start();
    let who = |host: &str| {
        let response = edge.call(&Request::get("/who").host(host));
        (response.status, response.text())
    };
    assert_eq!(who("one.test"), (200, "first".into()));
    assert_eq!(who("two.test").0, 421);
    let file = |name: &str| edge.directory().join("projects").join(name);
    std::fs::write(file("one.yaml"), project("one", "changed")).expect("change an include");
    eventually("the changed include is live", || (who("one.test").1 == "changed").then_some(()));
    std::fs::write(file("two.yaml"), project("two", "added")).expect("add an include");
    eventually("the added include is live", || (who("two.test").1 == "added").then_some(()));
    std::fs::remove_file(file("two.yaml")).expect("remove an include");
    eventually("the removed include is gone", || (who("two.test").0 == 421).then_some(()));
}

#[test]
fn ten_thousand_routes_load_and_reload() {
    let routes = |marker: &str| {
        let line = |n: usize| format!("- {{ prefix: /r{n}, respond: {{ body: \"{marker}-{n}\" }}, auth: none }}\n");
        crate::support::edge::project("demo", &(0..10_000).map(line).collect::<String>())
    };
    let start = Instant::now();
    let edge = Config::new(&routes("a")).start();
    println!("10,000 routes: ready after {:?}", start.elapsed());
    for number in [0, 5_000, 9_999] {
        assert_eq!(edge.get(&format!("/r{number}/x")).text(), format!("a-{number}"));
    }
    assert_eq!(edge.get("/r10000").status, 404);
    let start = Instant::now();
    edge.apply(&routes("b"));
    println!("10,000 routes: reloaded after {:?}", start.elapsed());
    assert_eq!(edge.get("/r9999").text(), "b-9999");
}
