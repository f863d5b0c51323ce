//! Golden files: each `tests/golden/config/NAME.yaml` with what `check` prints about it in `NAME.txt`, and, where these
//! exist, in `NAME.json` and `NAME.github`. `UPDATE_GOLDEN=1` writes them anew; review the difference.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::{Loading, load, render};

/// The environment of every golden file.
fn env(name: &str) -> Option<String> {
    match name {
        "SET" => Some("value-of-set".into()),
        "EMPTY" => Some(String::new()),
        "HOSTILE" => Some("x }, injected: { y: z".into()),
        "STRONG" => Some("a-strong-token-from-the-environment-0123456789".into()),
        "KEY" => Some("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f".into()),
        "BROKEN" => Some("first line\nsecond line".into()),
        "FOREIGN" => Some("schlüssel".into()),
        "WEAK" => Some("weak-secret".into()),
        _ => None,
    }
}

/// Relative to the package, so that the paths in the output are the same everywhere.
fn directory() -> &'static Path {
    Path::new("tests/golden/config")
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    cases.sort();
    cases
}

fn compare(path: &Path, actual: &str, failures: &mut Vec<String>) {
    let actual = if actual.is_empty() { String::new() } else { format!("{actual}\n") };
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &actual).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected != actual || !path.exists() {
        failures.push(format!("{}\n--- expected\n{expected}--- actual\n{actual}", path.display()));
    }
}

fn json(loading: &Loading) -> String {
    let all: Vec<_> = loading.diagnostics.iter().map(|diagnostic| render::json(&loading.sources, diagnostic)).collect();
    format!("{:#}", serde_json::Value::from(all))
}

#[test]
fn every_golden_file_reads_as_it_says() {
    let mut failures = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    for case in &cases {
        let loading = load(case, &env);
        assert_eq!(loading.model.is_none(), loading.diagnostics.iter().any(|one| one.is_error()), "{case:?}");
        compare(
            &case.with_extension("txt"),
            &render::human(&loading.sources, &loading.diagnostics, false),
            &mut failures,
        );
        if case.with_extension("json").exists() {
            compare(&case.with_extension("json"), &json(&loading), &mut failures);
        }
        if case.with_extension("github").exists() {
            let text = render::github(&loading.sources, &loading.diagnostics);
            compare(&case.with_extension("github"), &text, &mut failures);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Codes that a file in a repository cannot show; each has a test in `tests.rs`, here or of the dashboard's file.
const ELSEWHERE: &[&str] = &[
    "unreadable_file",
    "secret_permissions",
    "file_too_large",
    "too_many_files",
    "value_too_long",
    "too_many_problems",
    "unusable_root",
];

#[test]
fn every_code_has_a_golden_file() {
    let mut shown: BTreeSet<&'static str> = ELSEWHERE.iter().copied().collect();
    for case in cases() {
        shown.extend(load(&case, &env).diagnostics.iter().map(|diagnostic| diagnostic.code));
    }
    let codes = codes_in(Path::new("src/config"));
    assert!(codes.len() > 40, "only {} codes were found in the sources", codes.len());
    let missing: Vec<String> = codes.into_iter().filter(|code| !shown.contains(&**code)).collect();
    assert!(missing.is_empty(), "no golden file shows {missing:?}");
}

/// Every code that the sources can emit: the first argument of what makes a diagnostic.
fn codes_in(directory: &Path) -> BTreeSet<String> {
    const MAKERS: &[&str] =
        &["Diagnostic::error(", "Diagnostic::warning(", "Problem::not(", "Problem::says(", "code: ", "note("];
    let mut codes = BTreeSet::new();
    for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            codes.extend(codes_in(&entry));
            continue;
        }
        let source = std::fs::read_to_string(&entry).unwrap();
        let production = source.split("#[cfg(test)]").next().unwrap_or_default();
        for part in MAKERS.iter().flat_map(|maker| production.split(maker).skip(1)) {
            let code = part.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()).unwrap_or_default();
            if !code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
                codes.insert(code.to_owned());
            }
        }
    }
    codes
}
