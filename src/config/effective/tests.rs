//! What is shown of a configuration, and where it says that it came from.

use std::path::{Path, PathBuf};

use crate::config::tree::{Kind, Node as Written};
use crate::config::{Loading, load, load_text, parse, render};
use crate::diagnostic::FileId;

use super::{Effective, Line};

const GOOD_SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn env(name: &str) -> Option<String> {
    match name {
        "EMPTY" => Some(String::new()),
        "KEY" => Some(GOOD_SECRET.to_owned()),
        "STRONG" | "KIRO_CLIENT_TOKEN" | "A0_SIGN_TOKEN" => Some("a-planted-secret-0123456789-abcdef".into()),
        _ => None,
    }
}

fn effective(text: &str) -> Effective {
    let Loading { sources, diagnostics, model, .. } = load_text("edge.yaml", text, Path::new("conf"), &env);
    Effective::of(&model.unwrap_or_else(|| panic!("{diagnostics:#?}")), &sources)
}

fn line(effective: &Effective, key: &str) -> Line {
    effective.lines().into_iter().find(|line| line.key == key).unwrap_or_else(|| panic!("no {key}"))
}

const LEAST: &str = "\
listeners: { http: { address: \"127.0.0.1:8080\" } }
projects:
  demo:
    environments:
      production:
        routes:
          - { prefix: /, upstream: \"https://u.example.com/api\", headers: { request: { set: { X-App: a } } } }
";

#[test]
fn defaults_are_filled_in_and_say_that_they_are() {
    let effective = effective(LEAST);
    let shown = |key: &str| {
        let line = line(&effective, key);
        (line.value, line.origin.map(|origin| origin.to_string()))
    };
    assert_eq!(shown("listeners.http.address"), ("127.0.0.1:8080".into(), Some("edge.yaml:1:31".into())));
    assert_eq!(shown("listeners.http.headers_timeout"), ("10s".into(), None));
    assert_eq!(shown("admin.allow"), ("[127.0.0.0/8, ::1/128]".into(), None));
    let route = "projects.demo.environments.production.routes[0]";
    let upstream = shown(&format!("{route}.upstream"));
    assert_eq!(upstream, ("https://u.example.com/api".into(), Some("edge.yaml:7:36".into())));
    // Header names are compared as HTTP does.
    assert!(shown(&format!("{route}.headers.request.set.x-app")).1.is_some());
    assert_eq!(shown("tokens_dir"), ("conf/../tokens".into(), None));
}

/// Every configuration that holds.
fn good_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for directory in ["tests/golden/config", "conf"] {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")));
    }
    files.retain(|file| load(file, &env).model.is_some());
    files
}

/// The keys of every value that was written, and was not nothing.
fn written(node: &Written<'_>, key: String, keys: &mut Vec<String>) {
    match node.kind() {
        Kind::Mapping(entries) if !entries.is_empty() => {
            for entry in entries {
                written(&entry.value, super::below(&key, &entry.key), keys);
            }
        }
        Kind::Sequence(nodes) if nodes.iter().any(|node| node.scalar().is_none()) => {
            for (place, node) in nodes.iter().enumerate() {
                written(node, format!("{key}[{place}]"), keys);
            }
        }
        Kind::Scalar(text) if !text.is_empty() && text != "${EMPTY}" => keys.push(key),
        Kind::Sequence(nodes) if !nodes.is_empty() => keys.push(key),
        _ => {}
    }
}

/// What is no value: which files there are, and switches whose only position is off.
fn is_elsewhere(key: &str) -> bool {
    const ELSEWHERE: &[&str] = &["include", "mode", "allow_direct", "browser_client"];
    ELSEWHERE.iter().any(|word| key == *word || key.ends_with(&format!(".{word}")))
}

#[test]
fn everything_that_was_written_is_there() {
    let files = good_files();
    assert!(files.contains(&PathBuf::from(EVERYTHING)), "{files:?}");
    let mut seen = 0;
    for file in files {
        let Loading { sources, model, .. } = load(&file, &env);
        let lines = Effective::of(&model.unwrap(), &sources).lines();
        let mut keys = Vec::new();
        for (source, id) in sources.files.iter().zip(0u16..) {
            let parsed = parse::parse(&source.text, FileId(id));
            parsed.root.iter().for_each(|root| written(root, String::new(), &mut keys));
        }
        for key in keys.into_iter().filter(|key| !is_elsewhere(key)) {
            let found = lines.iter().find(|line| line.key.eq_ignore_ascii_case(&key));
            let found = found.unwrap_or_else(|| panic!("{}: `{key}` is not shown", file.display()));
            assert!(found.origin.is_some(), "{}: `{key}` = {} has no place", file.display(), found.value);
            seen += 1;
        }
    }
    assert!(seen > 200, "only {seen} keys were looked at");
}

/// Holds every key that there is.
const EVERYTHING: &str = "tests/golden/config/everything.yaml";

/// The words between quotes in every list of keys that a decoder knows.
fn known_keys() -> Vec<String> {
    let mut files = vec![PathBuf::from("src/config/document.rs")];
    for directory in ["src/config/section", "src/config/section/identity"] {
        let sections = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        files.extend(sections.filter(|path| path.is_file()));
    }
    let mut keys = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for list in text.split(" keys: &[").skip(1).chain(text.split("\nkeys: &[").skip(1)) {
            let list = list.split(']').next().unwrap();
            keys.extend(list.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    keys
}

#[test]
fn the_file_with_every_key_has_every_key() {
    let text = std::fs::read_to_string(EVERYTHING).unwrap();
    let parsed = parse::parse(&text, FileId(0));
    let mut keys = Vec::new();
    written(parsed.root.as_ref().unwrap(), String::new(), &mut keys);
    let has = |key: &str| keys.iter().any(|path| path.split(['.', '[']).any(|part| part == key)) || key == "include";
    let known = known_keys();
    assert!(known.len() > 120, "{known:?}");
    let missing: Vec<_> = known.iter().filter(|key| !has(key)).collect();
    assert!(missing.is_empty(), "{EVERYTHING} lacks {missing:?}");
}

#[test]
fn no_secret_is_shown() {
    for file in good_files() {
        let Loading { sources, model, .. } = load(&file, &env);
        let effective = Effective::of(&model.unwrap(), &sources);
        let all = format!("{}{}{effective:?}", effective.yaml(), effective.json());
        for secret in ["planted-secret", "0001020304", "literal"] {
            assert!(!all.contains(secret), "{} shows {secret}", file.display());
        }
    }
}

/// Secrets are hidden: some that are good enough take their places.
fn with_secrets(yaml: &str) -> String {
    let parts = yaml.split("'***'").enumerate();
    let parts = parts.map(|(place, part)| match place {
        0 => part.to_owned(),
        _ => format!("'{:064x}'{part}", 0xabcdef + place),
    });
    parts.collect()
}

#[test]
fn what_is_shown_can_be_read_again() {
    for file in good_files() {
        let Loading { sources, model, .. } = load(&file, &env);
        let shown = Effective::of(&model.unwrap(), &sources).yaml();
        let Loading { sources, model, diagnostics, .. } =
            load_text("again.yaml", &with_secrets(&shown), Path::new(""), &env);
        let why = || format!("{}: {}\n{shown}", file.display(), render::human(&sources, &diagnostics, false));
        let again = Effective::of(&model.unwrap_or_else(|| panic!("{}", why())), &sources);
        assert_eq!(again.yaml(), shown, "{}", file.display());
        let left = again.lines().into_iter().filter(|line| line.origin.is_none()).map(|line| line.key);
        assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new(), "{}: left to defaults", file.display());
    }
}

#[test]
fn two_files_are_one_configuration_and_each_value_knows_its_own() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("edge.yaml"), format!("include: [b.yaml]\n{LEAST}")).unwrap();
    std::fs::write(dir.path().join("b.yaml"), "listeners:\n  spare: { address: \"127.0.0.1:9999\" }\n").unwrap();
    let Loading { sources, model, .. } = load(&dir.path().join("edge.yaml"), &env);
    let effective = Effective::of(&model.unwrap(), &sources);
    let origin = |key: &str| line(&effective, key).origin.unwrap();
    assert_eq!(origin("listeners.http.address").line, 2);
    let spare = origin("listeners.spare.address");
    assert!(spare.file.ends_with("b.yaml") && spare.line == 2, "{spare}");
}

#[test]
fn names_that_would_read_as_two_keys_are_quoted() {
    let effective = effective(&LEAST.replace("http: {", "a.b: {"));
    assert_eq!(line(&effective, "listeners.\"a.b\".address").value, "127.0.0.1:8080");
}
