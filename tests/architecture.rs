//! The floors of `src/lib.rs`: imports only ever go down, and some crates live on one floor only.
//!
//! Reads the sources as text: every `crate::<module>` (and `super::super::…` is not used to climb) counts as an import.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Words: the ground floor, and whom each may know there.
const WORDS: [(&str, &[&str]); 11] = [
    ("clock", &[]),
    ("diagnostic", &[]),
    ("exit", &[]),
    ("follow", &[]),
    ("id", &["clock"]),
    ("private", &["id", "secret"]),
    ("sealed", &["private", "secret"]),
    ("secret", &[]),
    ("sign_token", &["clock", "sealed", "secret"]),
    ("observe", &["clock", "diagnostic", "id", "secret"]),
    ("outbound", &["clock"]),
];

/// The other floors: what each may import beside itself and the words.
const FLOORS: [(&str, &[&str]); 15] = [
    ("config", &[]),
    ("credential", &[]),
    ("oidc", &[]),
    ("policy", &[]),
    ("tls", &[]),
    ("users", &[]),
    ("demo", &[]),
    ("table", &["config", "credential", "oidc", "policy", "tls", "users"]),
    ("reload", &["table", "config", "policy"]),
    ("proxy", &["table", "credential", "oidc", "policy", "tls", "users"]),
    ("acme", &["table", "tls"]),
    ("edit", &["reload", "table", "config", "policy"]),
    ("admin", &["edit", "reload", "acme", "table", "config", "credential", "oidc", "policy", "tls", "users"]),
    (
        "server",
        &[
            "admin",
            "edit",
            "acme",
            "reload",
            "proxy",
            "table",
            "config",
            "credential",
            "oidc",
            "policy",
            "tls",
            "demo",
            "users",
        ],
    ),
    (
        "cli",
        &[
            "server",
            "admin",
            "edit",
            "acme",
            "reload",
            "proxy",
            "table",
            "config",
            "credential",
            "oidc",
            "policy",
            "tls",
            "demo",
            "users",
        ],
    ),
];

/// Whether `module` stands where it may import `import`; `None`: it has no floor yet.
fn may_import(module: &str, import: &str) -> Option<bool> {
    let is_word = WORDS.iter().any(|(word, _)| *word == import);
    if let Some((_, known)) = WORDS.iter().find(|(word, _)| *word == module) {
        return Some(known.contains(&import));
    }
    let (_, below) = FLOORS.iter().find(|(floor, _)| *floor == module)?;
    Some(is_word || below.contains(&import))
}

/// Crates that may be named in these modules only.
const CONFINED: [(&str, &[&str]); 2] = [("pingora", &["server", "proxy"]), ("prometheus", &["observe"])];

/// What a pure floor must never name.
const FORBIDDEN: [(&str, &[&str]); 2] = [
    ("policy", &["std::fs", "tokio", "SystemTime::now", "Instant::now", "log::"]),
    ("table", &["tokio::net", "SystemTime::now", "Instant::now"]),
];

#[test]
fn imports_only_go_down_the_floors() {
    let mut wrong = Vec::new();
    for source in sources() {
        for import in source.imports().into_iter().filter(|import| *import != source.module) {
            let allowed = may_import(&source.module, &import);
            if !allowed.unwrap_or_else(|| panic!("module {:?} has no floor yet", source.module)) {
                wrong.push(format!("{}: {} imports {import}", source.path.display(), source.module));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that go up:\n{}", wrong.join("\n"));
}

#[test]
fn pingora_and_prometheus_stay_on_their_floors() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, homes) in CONFINED {
            if !homes.contains(&source.module.as_str()) && source.names_crate(name) {
                wrong.push(format!("{} names {name}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_pure_floors_have_no_clock_no_files_and_no_log() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (module, words) in FORBIDDEN {
            let named = words.iter().filter(|word| source.module == module && source.code.contains(**word));
            wrong.extend(named.map(|word| format!("{} names {word}", source.path.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_test_itself_sees_an_import_that_goes_up() {
    let upwards = Source::new(PathBuf::from("src/policy/x.rs"), "policy", "use crate::{config::Model, secret};\n");
    assert_eq!(upwards.imports(), BTreeSet::from(["config".to_owned(), "secret".to_owned()]));
    let inline = Source::new(PathBuf::from("src/policy/x.rs"), "policy", "fn f(m: &crate::table::Table) {}\n");
    assert_eq!(inline.imports(), BTreeSet::from(["table".to_owned()]));
    let comment = Source::new(PathBuf::from("src/policy/x.rs"), "policy", "//! see [`crate::admin`]\n");
    assert!(comment.imports().is_empty());
    assert!(Source::new(PathBuf::new(), "x", "use pingora_core::x;\n").names_crate("pingora"));
}

/// One file of `src`.
struct Source {
    path: PathBuf,
    module: String,
    /// Without comments and without its unit tests.
    code: String,
}

impl Source {
    fn new(path: PathBuf, module: &str, text: &str) -> Self {
        let production = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines = production.lines().filter(|line| !line.trim_start().starts_with("//"));
        Self { path, module: module.to_owned(), code: lines.collect::<Vec<_>>().join("\n") }
    }

    /// The top-level modules of this crate that the file names.
    fn imports(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for after in self.code.split("crate::").skip(1) {
            match after.strip_prefix('{') {
                Some(list) => found.extend(group(list)),
                None => found.extend(identifier(after)),
            }
        }
        found
    }

    /// Whether a path of that crate (or of one of its family: `pingora_core`) occurs.
    fn names_crate(&self, name: &str) -> bool {
        let ends_before = |at: usize| !self.code[..at].ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let path_follows = |at: usize| {
            let word: String = self.code[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let family = word == name || word.starts_with(&format!("{name}_"));
            family && self.code[at + word.len()..].starts_with("::")
        };
        self.code.match_indices(name).any(|(at, _)| ends_before(at) && path_follows(at))
    }
}

/// The first identifiers of the entries of `{a::x, b, c::{d, e}}`.
fn group(list: &str) -> BTreeSet<String> {
    let (mut depth, mut entry_begins, mut found) = (0usize, true, BTreeSet::new());
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => entry_begins = true,
            _ if character.is_alphanumeric() && entry_begins && depth == 0 => {
                found.extend(identifier(&list[at..]));
                entry_begins = false;
            }
            _ => {}
        }
    }
    found
}

fn identifier(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut |path| {
        let relative = path.strip_prefix(&root).expect("below src");
        let first = relative.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
        let module = first.trim_end_matches(".rs").to_owned();
        if module != "lib" && module != "main" && !is_for_unit_tests(relative) {
            let text = std::fs::read_to_string(path).expect("read a source");
            found.push(Source::new(path.to_owned(), &module, &text));
        }
    });
    assert!(found.len() > 20, "only {} sources below {}", found.len(), root.display());
    found
}

/// `tests.rs`, `tests/…` and `testing.rs` are compiled for unit tests only.
fn is_for_unit_tests(path: &Path) -> bool {
    let names = |name: &str| matches!(name, "tests" | "tests.rs" | "testing.rs");
    path.components().any(|part| part.as_os_str().to_str().is_some_and(names))
}

fn walk(directory: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(directory).expect("read src") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&path);
        }
    }
}
