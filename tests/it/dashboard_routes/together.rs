//! Many at once, and a process that is killed in the middle.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{PRODUCTION, add, call, config, file, request, route};
use crate::support::{Edge, PATIENCE, Wire};

/// The prefixes in the file; panics where it is no YAML.
fn prefixes(edge: &Edge) -> BTreeSet<String> {
    let text = file(edge);
    let whole: serde_yaml::Value = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    let routes = &whole["projects"]["demo"]["environments"]["production"]["routes"];
    let routes = routes.as_sequence().cloned().unwrap_or_default();
    routes.iter().map(|route| route["prefix"].as_str().expect("a prefix").to_owned()).collect()
}

#[test]
fn of_two_hundred_that_are_added_at_once_none_is_lost() {
    const THREADS: usize = 20;
    const EACH: usize = 10;
    let edge = config().start();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let edge = &edge;
            scope.spawn(move || {
                for number in 0..EACH {
                    add(edge, &format!("/t{thread}-{number}"), "x");
                }
            });
        }
    });
    let expected: BTreeSet<String> =
        (0..THREADS).flat_map(|thread| (0..EACH).map(move |number| format!("/t{thread}-{number}"))).collect();
    assert_eq!(prefixes(&edge), expected);
    for prefix in &expected {
        assert_eq!(edge.get(prefix).status, 200, "{prefix}");
    }
}

#[test]
fn of_those_who_have_seen_the_same_one_wins() {
    let edge = config().start();
    let seen = call(&edge, "GET", PRODUCTION, &serde_json::Value::Null).header("etag").expect("a tag").to_owned();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let adding: Vec<_> = (0..10)
            .map(|number| {
                let (edge, seen) = (&edge, &seen);
                scope.spawn(move || {
                    let request = request(edge, "POST", PRODUCTION, &route(&format!("/r{number}"), "x"));
                    edge.admin_call(&request.header("if-match", seen)).status
                })
            })
            .collect();
        adding.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    let count = |status: u16| statuses.iter().filter(|it| **it == status).count();
    assert_eq!((count(201), count(412)), (1, 9), "{statuses:?}");
    assert_eq!(prefixes(&edge).len(), 1);
}

/// Adds routes until nobody answers; those that were answered, and the one that was not.
fn add_until_it_ends(edge: &Edge, round: usize) -> (Vec<String>, String) {
    let mut done = Vec::new();
    loop {
        let prefix = format!("/k{round}-{}", done.len());
        let asked = request(edge, "POST", PRODUCTION, &route(&prefix, "kept"));
        let answered = Wire::try_connect(edge.admin).ok().and_then(|mut wire| {
            wire.try_send(asked.bytes()).ok()?;
            wire.try_response_to("POST").ok()
        });
        match answered {
            Some(response) if response.status == 201 => done.push(prefix),
            Some(response) => panic!("{}: {}", response.status, response.text()),
            None => return (done, prefix),
        }
    }
}

#[test]
fn kill_9_leaves_the_file_old_or_new_and_never_torn() {
    let mut edge = config().start();
    let mut known = BTreeSet::new();
    let mut spread = 0x9e37_79b9u64;
    for round in 0..12 {
        spread = spread.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pause = Duration::from_micros(spread >> 33 & 0x1_ffff);
        let (done, last) = std::thread::scope(|scope| {
            let adding = scope.spawn(|| add_until_it_ends(&edge, round));
            let killed_at = Instant::now() + Duration::from_millis(30) + pause;
            while Instant::now() < killed_at {
                std::thread::yield_now();
            }
            edge.process.signal("KILL");
            adding.join().expect("what was added")
        });
        edge.process.wait(PATIENCE);
        known.extend(done);
        let found = prefixes(&edge);
        let new: Vec<_> = found.difference(&known).collect();
        assert!(known.is_subset(&found) && new.iter().all(|prefix| **prefix == last), "{known:?} {last} {found:?}");
        known = found;
        edge.relaunch();
        for prefix in &known {
            assert_eq!(edge.get(prefix).text(), "kept", "{prefix}");
        }
        let past = call(&edge, "GET", "/api/v1/undo", &serde_json::Value::Null).json()["changes"].clone();
        assert!(past.as_array().expect("changes").is_empty() || past[0]["undoable"] == true, "{past}");
    }
    assert!(!known.is_empty(), "no route was ever added");
}
