use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::reload::Reloader;

const A: &str = "a-c4n4ry-0123456789abcdef0123456789abc";
const B: &str = "b-c4n4ry-0123456789abcdef0123456789abc";
const NAME: RouteName<'_> = RouteName { project: "demo", environment: "production", prefix: "/kept" };
const FILED: RouteName<'_> = RouteName { prefix: "/filed", ..NAME };

/// A running configuration, and who changes it.
struct Rig {
    dir: tempfile::TempDir,
    editor: Editor,
}

impl Rig {
    fn new(further: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "listeners: {{ http: {{ address: \"127.0.0.1:8080\" }} }}\nadmin: {{ state_dir: state }}\n{further}\nprojects:\n  \
             demo:\n    environments:\n      production:\n        routes:\n          \
             - {{ prefix: /kept/, upstream: \"http://o.example\", sign: {{ scheme: user-stamp }} }}\n          \
             - {{ prefix: /filed, upstream: \"http://o.example\", sign: {{ scheme: user-stamp, token: \"file:a.token\" }} }}\n          \
             - {{ prefix: /literal, upstream: \"http://o.example\", sign: {{ scheme: user-stamp, token: \"{A}\" }} }}\n          \
             - {{ prefix: /bare, upstream: \"http://o.example\" }}\n          \
             - {{ prefix: \"/%7Euser\", upstream: \"http://o.example\", sign: {{ scheme: user-stamp }} }}\n"
        );
        std::fs::write(dir.path().join("c.yaml"), text).unwrap();
        std::fs::write(dir.path().join("a.token"), format!("{A}\n")).unwrap();
        std::fs::set_permissions(dir.path().join("a.token"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let editor = Editor::new(Reloader::start(&dir.path().join("c.yaml"), Arc::new(|_| None)).unwrap());
        Self { dir, editor }
    }

    fn wish(&self, name: RouteName<'_>, wish: &Wish) -> Result<(), Fault> {
        apply(&self.editor, name, wish, 1000).map(|_| ())
    }

    fn set(&self, name: RouteName<'_>, token: &str) {
        self.wish(name, &Wish::Set(Secret::new(token))).unwrap();
    }

    fn stage(&self, name: RouteName<'_>, token: &str) {
        self.wish(name, &Wish::Stage(Secret::new(token))).unwrap();
    }

    /// The token that signs, the next, the previous.
    fn tokens(&self, name: RouteName<'_>) -> [Option<String>; 3] {
        let table = self.editor.reloader().current();
        let sign = find(&table, name).unwrap().sign.as_ref().unwrap();
        let beside = sign.tokens.as_deref().cloned().unwrap_or_default();
        let text = |token: &Secret| token.expose().to_owned();
        let held = |held: Option<Held>| held.map(|held| text(&held.token));
        [sign.token.as_ref().map(text), held(beside.next), held(beside.previous)]
    }

    fn file(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("a.token")).unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("state").join(sign_token::DIRECTORY)
    }
}

fn some(tokens: [&str; 3]) -> [Option<String>; 3] {
    tokens.map(|token| (!token.is_empty()).then(|| token.to_owned()))
}

#[test]
fn a_token_is_set_staged_activated_and_taken_back() {
    for (name, further) in [
        (NAME, String::new()),
        (FILED, String::new()),
        (NAME, format!("tokens: {{ encryption_key: {} }}", "a".repeat(64))),
    ] {
        let rig = Rig::new(&further);
        rig.set(name, A);
        assert_eq!(rig.tokens(name), some([A, "", ""]));
        rig.stage(name, B);
        assert_eq!(rig.tokens(name), some([A, B, ""]), "{name:?}");
        rig.wish(name, &Wish::Activate).unwrap();
        assert_eq!(rig.tokens(name), some([B, "", A]), "{name:?}");
        rig.wish(name, &Wish::RollBack).unwrap();
        assert_eq!(rig.tokens(name), some([A, B, ""]), "{name:?}");
        assert!(matches!(rig.wish(name, &Wish::RollBack), Err(Fault::Staged)));
        rig.wish(name, &Wish::Activate).unwrap();
        rig.wish(name, &Wish::DropPrevious).unwrap();
        assert_eq!(rig.tokens(name), some([B, "", ""]), "{name:?}");
        for wish in [Wish::Activate, Wish::DropNext] {
            assert!(matches!(rig.wish(name, &wish), Err(Fault::NoNext)), "{wish:?}");
        }
        for wish in [Wish::RollBack, Wish::DropPrevious] {
            assert!(matches!(rig.wish(name, &wish), Err(Fault::NoPrevious)), "{wish:?}");
        }
        rig.stage(name, A);
        rig.wish(name, &Wish::DropNext).unwrap();
        assert_eq!(rig.tokens(name), some([B, "", ""]), "{name:?}");
        let texts = std::fs::read_dir(rig.folder()).unwrap().map(|entry| entry.unwrap().path());
        let texts: Vec<String> = texts.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert_eq!(texts.iter().any(|text| text.contains(B)), name == NAME && further.is_empty(), "{texts:?}");
    }
}

#[test]
fn a_file_that_is_named_is_replaced_with_its_mode() {
    let rig = Rig::new("");
    rig.set(FILED, B);
    assert_eq!(rig.file(), format!("{B}\n"));
    let mode = std::fs::metadata(rig.dir.path().join("a.token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert!(matches!(rig.wish(FILED, &Wish::LetGo), Err(Fault::ByHand(_))));
    assert_eq!(rig.file(), format!("{B}\n"));
}

#[test]
fn what_is_kept_is_private() {
    let rig = Rig::new("");
    rig.set(NAME, A);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&rig.folder()), 0o700);
    let files: Vec<PathBuf> = std::fs::read_dir(rig.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "a record and the index: {files:?}");
    assert!(files.iter().all(|path| mode(path) == 0o600));
}

#[test]
fn what_stands_in_the_configuration_is_refused() {
    let rig = Rig::new("");
    let before = std::fs::read_to_string(rig.dir.path().join("c.yaml")).unwrap();
    let set = Wish::Set(Secret::new(B));
    let at = |prefix| RouteName { prefix, ..NAME };
    assert!(matches!(rig.wish(at("/literal"), &set), Err(Fault::ByHand(place)) if place.contains("c.yaml:")));
    assert!(matches!(rig.wish(at("/bare"), &set), Err(Fault::NotSigned)));
    for name in [at("/none"), at("/"), RouteName { project: "x", ..NAME }, RouteName { environment: "dev", ..NAME }] {
        assert!(matches!(rig.wish(name, &set), Err(Fault::UnknownRoute)), "{name:?}");
    }
    for text in ["short".to_owned(), format!("{A} "), "é".repeat(40)] {
        assert!(matches!(rig.wish(NAME, &Wish::Set(Secret::new(text))), Err(Fault::Unfit(_))));
    }
    assert!(matches!(rig.wish(NAME, &Wish::Stage(Secret::new(A))), Err(Fault::NoCurrent)));
    assert!(matches!(rig.wish(NAME, &Wish::LetGo), Err(Fault::NoCurrent)));
    assert_eq!(std::fs::read_to_string(rig.dir.path().join("c.yaml")).unwrap(), before);
    assert!(!rig.folder().exists() || std::fs::read_dir(rig.folder()).unwrap().count() == 0);
}

#[test]
fn a_prefix_counts_in_every_spelling() {
    let rig = Rig::new("");
    rig.set(RouteName { prefix: "/kept/", ..NAME }, A);
    assert_eq!(rig.tokens(NAME), some([A, "", ""]));
    // As it is written, and as the table has it.
    rig.set(RouteName { prefix: "/%7Euser", ..NAME }, A);
    rig.set(RouteName { prefix: "/~user", ..NAME }, B);
    assert_eq!(rig.tokens(RouteName { prefix: "/%7Euser", ..NAME }), some([B, "", ""]));
}

#[test]
fn a_token_that_was_removed_stays_away_and_one_that_vanished_is_missed() {
    let rig = Rig::new("");
    rig.set(NAME, A);
    rig.wish(NAME, &Wish::LetGo).unwrap();
    assert_eq!(rig.tokens(NAME), some(["", "", ""]));
    rig.set(NAME, A);
    std::fs::remove_dir_all(rig.folder()).unwrap();
    let report = rig.editor.reloader().reload(crate::reload::Trigger::Api);
    assert_eq!(report.outcome, crate::reload::Outcome::Rejected);
    assert!(report.lines.iter().any(|line| line.contains("gone from the state directory")), "{:?}", report.lines);
    assert_eq!(rig.tokens(NAME), some([A, "", ""]), "what was in force still is");
    rig.set(NAME, B);
    assert_eq!(rig.tokens(NAME), some([B, "", ""]));
    std::fs::remove_dir_all(rig.folder()).unwrap();
    rig.wish(NAME, &Wish::LetGo).unwrap();
    assert_eq!(rig.tokens(NAME), some(["", "", ""]));
}

#[test]
fn what_does_not_hold_changes_nothing() {
    let rig = Rig::new("");
    rig.set(NAME, A);
    let path = rig.dir.path().join("c.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.clone() + "nonsense: 1\n").unwrap();
    let refused = rig.wish(NAME, &Wish::Set(Secret::new(B))).unwrap_err();
    assert!(matches!(refused, Fault::Refused(Refused::Invalid(_))), "{refused}");
    std::fs::write(&path, text).unwrap();
    rig.editor.reloader().reload(crate::reload::Trigger::Api);
    assert_eq!(rig.tokens(NAME), some([A, "", ""]));
}

#[test]
fn of_two_at_once_one_is_whole() {
    for name in [NAME, FILED] {
        let rig = Rig::new("");
        std::thread::scope(|scope| {
            for token in [A, B, A, B] {
                let rig = &rig;
                scope.spawn(move || rig.set(name, token));
            }
        });
        let tokens = rig.tokens(name);
        assert!(tokens == some([A, "", ""]) || tokens == some([B, "", ""]), "{tokens:?}");
    }
}

/// Whatever a change that was cut short has left, a token signs, and the other one is next or previous.
#[test]
fn a_change_that_was_cut_short_is_read_as_what_was_or_what_should_be() {
    let rig = Rig::new("");
    rig.stage(FILED, B);
    let table = rig.editor.reloader().current();
    let changes = plan(&table, FILED, &Wish::Activate, 1000).unwrap();
    assert_eq!(changes.len(), 2);
    rig.editor.apply(&changes[..1]).unwrap();
    assert_eq!(rig.tokens(FILED), some([A, B, ""]));
    rig.editor.apply(&changes[1..]).unwrap();
    assert_eq!(rig.tokens(FILED), some([B, "", A]));
}

/// An index that nobody can read knows of tokens that a new one would forget.
#[test]
fn a_damaged_index_is_not_begun_anew() {
    let rig = Rig::new("");
    rig.set(NAME, A);
    let index = rig.folder().join("index.json");
    std::fs::write(&index, "{").unwrap();
    let refused = rig.wish(RouteName { prefix: "/%7Euser", ..NAME }, &Wish::Set(Secret::new(B)));
    assert!(refused.is_err());
    assert_eq!(std::fs::read_to_string(index).unwrap(), "{");
}
