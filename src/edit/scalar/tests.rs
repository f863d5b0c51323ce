//! Edits of hand-written and of generated files.

use proptest::prelude::*;

use super::set;
use crate::config::place::find;

const PATH: &[&str] = &["projects", "demo", "environment"];

fn edited(text: &str, to: &str) -> Result<String, String> {
    let bytes = set(text.as_bytes(), PATH, to).map_err(|no| no.to_string())?;
    Ok(String::from_utf8(bytes).unwrap())
}

#[test]
fn every_style_keeps_its_own() {
    for (before, after) in [
        ("projects:\n  demo:\n    environment: production # now\n", "projects:\n  demo:\n    environment: dev # now\n"),
        ("projects:\n  demo:\n    environment:   'production'\n", "projects:\n  demo:\n    environment:   'dev'\n"),
        ("projects: {demo: {environment: production, x: 1}}", "projects: {demo: {environment: dev, x: 1}}"),
        ("projects: {demo: {environment: \"production\"}}", "projects: {demo: {environment: \"dev\"}}"),
        (
            "{\"projects\":{\"demo\":{\"environment\":\"production\"}}}",
            "{\"projects\":{\"demo\":{\"environment\":\"dev\"}}}",
        ),
        (
            "projects:\r\n  demo:\r\n    environment: a\r\n    y: é漢\r\n",
            "projects:\r\n  demo:\r\n    environment: dev\r\n    y: é漢\r\n",
        ),
        ("\u{feff}# é\nprojects:\n demo:\n  environment: a", "\u{feff}# é\nprojects:\n demo:\n  environment: dev"),
        ("projects:\n  demo: &d\n    environment: &e a\n", "projects:\n  demo: &d\n    environment: &e dev\n"),
        ("projects:\n  demo:\n    environment:\n      a\n", "projects:\n  demo:\n    environment:\n      dev\n"),
        ("projects:\n  demo:\n    ? environment\n    : a\n", "projects:\n  demo:\n    ? environment\n    : dev\n"),
        ("projects:\n  demo:\n    environment: !!str a\n", "projects:\n  demo:\n    environment: !!str dev\n"),
    ] {
        assert_eq!(edited(before, "dev").as_deref(), Ok(after), "{before}");
    }
}

#[test]
fn an_absent_key_becomes_one_line_or_one_entry() {
    for (before, after) in [
        (
            "projects:\n  demo: # x\n    # of all\n    hosts: [a]\n",
            "projects:\n  demo: # x\n    environment: dev\n    # of all\n    hosts: [a]\n",
        ),
        (
            "projects:\r\n demo:\r\n\r\n  hosts: [a]\r\n",
            "projects:\r\n demo:\r\n  environment: dev\r\n\r\n  hosts: [a]\r\n",
        ),
        ("projects:\n  demo:\n    'hosts': [a]\n", "projects:\n  demo:\n    'environment': 'dev'\n    'hosts': [a]\n"),
        ("projects: {demo: &d {hosts: [a]}}\n", "projects: {demo: &d {environment: dev, hosts: [a]}}\n"),
        ("projects: { demo: { hosts: [a] } }\n", "projects: { demo: { environment: dev, hosts: [a] } }\n"),
        (
            "projects:\n  demo: {\n      hosts: [a],\n    }\n",
            "projects:\n  demo: {\n      environment: dev,\n      hosts: [a],\n    }\n",
        ),
        (
            "{\"projects\":{\"demo\":{\"hosts\":[]}}}",
            "{\"projects\":{\"demo\":{\"environment\":\"dev\",\"hosts\":[]}}}",
        ),
        ("projects:\n  demo: &d\n    hosts: [a]\n", "projects:\n  demo: &d\n    environment: dev\n    hosts: [a]\n"),
    ] {
        assert_eq!(edited(before, "dev").as_deref(), Ok(after), "{before}");
    }
}

#[test]
fn what_is_not_certain_is_refused_and_says_why() {
    for (text, why) in [
        ("projects:\n  demo:\n    environment: ${ENV:-dev}\n", "made from variables, `${ENV:-dev}`"),
        ("x: &e dev\nprojects:\n  demo:\n    environment: *e\n", "an alias"),
        ("x: &d {environment: dev}\nprojects:\n  demo: *d\n", "an alias"),
        ("x: &d {hosts: [a]}\nprojects:\n  demo: *d\n", "an alias"),
        ("projects:\n  demo: &d\n    environment: a\n  other: *d\n", "other values"),
        ("projects:\n  demo:\n    environment: &e a\n  other: {x: *e}\n", "other values"),
        ("projects:\n  demo:\n    environment: >-\n      a\n", "one line"),
        ("projects:\n  demo:\n    environment: \"\\x61\"\n", "one line"),
        ("projects:\n  demo:\n    environment: [a]\n", "single value"),
        ("projects:\n  other:\n    environment: a\n", "no `demo`"),
        ("projects: [a]\n", "no mapping"),
        ("projects: {demo: {environment: a}}\n---\nx: 1\n", "cannot be read"),
        ("projects: {demo: {environment: a, environment: b}}\n", "cannot be read"),
        ("projects:\n  demo:\n    &x\n    hosts: [a]\n", "other values"),
        ("projects:\n  ? demo\n  : hosts: [a]\n", "not certain"),
    ] {
        let refused = edited(text, "dev").expect_err(text);
        assert!(refused.contains(why), "{text}: {refused}");
    }
    assert!(set(b"projects: {demo: {environment: \xff}}", PATH, "dev").is_err());
}

#[test]
fn a_name_that_other_readers_take_for_something_else_is_quoted() {
    let text = "projects: {demo: {environment: a}}";
    for name in ["null", "on", "1e3", "-", "7"] {
        let edited = edited(text, name).unwrap();
        assert_eq!(edited, format!("projects: {{demo: {{environment: \"{name}\"}}}}"));
    }
}

/// Lines that may stand around anything: comments, blanks, with wide characters.
fn noise(indentation: usize) -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just(String::new()),
        "[ ]{0,3}# [a-zé漢😀:{}'\"&*]{0,12}",
        Just(format!("{}# environment: fake", " ".repeat(indentation))),
    ];
    prop::collection::vec(line, 0..3).prop_map(|lines| lines.into_iter().map(|line| line + "\n").collect())
}

/// A value of a key beside it.
fn value(indentation: usize) -> impl Strategy<Value = String> {
    let deeper = " ".repeat(indentation + 1);
    prop_oneof![
        Just(" [a, 'b', \"c # d\"]".to_owned()),
        Just(" {environment: x, y: é}".to_owned()),
        Just(" \"projects: {demo: {environment: no}}\"".to_owned()),
        Just(" ${X:-environment}".to_owned()),
        Just(format!(" |\n{deeper}environment: text\n{deeper}# text")),
        Just(format!("\n{deeper}environment: deeper")),
        Just(format!("\n{deeper}- environment: listed\n{deeper}- 漢")),
        "[ ]{1,3}[a-zé漢]{1,8}( # [a-z]{0,4})?",
    ]
}

/// A project of that name in block style; what its environment is written as, if it is.
fn project(name: &'static str, written: Option<String>) -> impl Strategy<Value = String> {
    (1..4usize, 1..5usize).prop_flat_map(move |(outer, inner)| {
        let (indentation, written) = (outer + inner, written.clone());
        let beside = prop::collection::vec((noise(indentation), value(indentation)), 1..4);
        (noise(outer), beside, noise(indentation), any::<prop::sample::Index>(), " {1,3}").prop_map(
            move |(before, beside, last, place, gap)| {
                let pad = " ".repeat(indentation);
                let mut lines: Vec<String> = beside
                    .into_iter()
                    .enumerate()
                    .map(|(number, (noise, value))| format!("{noise}{pad}k{number}:{value}\n"))
                    .collect();
                if let Some(written) = &written {
                    lines.insert(place.index(lines.len() + 1), format!("{pad}environment:{gap}{written}\n"));
                }
                format!("{before}{}{name}: # of {name}\n{}{last}", " ".repeat(outer), lines.concat())
            },
        )
    })
}

/// How `production` may be written.
fn spelling() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["production", "'production'", "\"production\"", "&anchor production"])
        .prop_flat_map(|spelled| " {0,2}( # [a-z漢]{0,5})?".prop_map(move |rest| format!("{spelled}{rest}")))
}

/// A file: one indentation for its projects is chosen by the first, so each stands in a file of its own.
fn file(with: bool) -> impl Strategy<Value = String> {
    let spelled = spelling().prop_map(move |spelled| with.then_some(spelled));
    (noise(0), spelled.prop_flat_map(|spelled| project("demo", spelled)), noise(0), any::<bool>(), any::<bool>())
        .prop_map(|(head, demo, tail, mark, windows)| {
            let text = format!("{head}server: {{environment: x}}\nprojects:\n{demo}logging:\n  level: info\n{tail}");
            let text = if windows { text.replace('\n', "\r\n") } else { text };
            if mark { format!("\u{feff}{text}") } else { text }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_changes_only_the_bytes_of_its_scalar(text in file(true), name in "[a-m][a-z0-9-]{1,12}") {
        let there = edited(&text, &name).unwrap();
        let start = text.bytes().zip(there.bytes()).take_while(|(old, new)| old == new).count();
        let end = text.bytes().rev().zip(there.bytes().rev()).take_while(|(old, new)| old == new).count();
        let start = start.min(text.len() - end);
        prop_assert!("production".contains(&text[start..text.len() - end]) || name == "production", "{}", there);
        prop_assert_eq!(there.matches(&name.to_string()).count() >= 1, true);
        let back = edited(&there, "production").unwrap();
        prop_assert_eq!(back, text);
    }

    #[test]
    fn an_insertion_is_one_line(text in file(false), name in "[a-m][a-z0-9]{1,12}") {
        let name = format!("{name}x");
        let there = edited(&text, &name).unwrap();
        let end = if text.contains('\r') { "\r\n" } else { "\n" };
        let (old, new): (Vec<_>, Vec<_>) = (text.split(end).collect(), there.split(end).collect());
        prop_assert_eq!(new.len(), old.len() + 1);
        let place = new.iter().position(|line| line.trim() == format!("environment: {name}")).unwrap();
        let without: Vec<_> = new.iter().enumerate().filter(|(at, _)| *at != place).map(|(_, line)| *line).collect();
        prop_assert_eq!(without, old);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(projects|demo|environment|[:{}\\[\\]&*$'\"#|> \n\r\t-]|[a-zé漢]){0,30}") {
        if let Ok(there) = edited(&text, "dev") {
            let found = find(&there, PATH);
            prop_assert!(found.is_ok(), "{:?}", found);
        }
    }
}
