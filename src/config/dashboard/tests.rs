//! The file beside the operator's: over real directories, as where it lies is half of it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::config::model::{Action, Model};
use crate::config::{DASHBOARD, Loading, Overlay, load, load_at};

struct Place(tempfile::TempDir);

const EDGE: &str = "listeners: { http: { address: \"127.0.0.1:0\" } }\nadmin: { state_dir: var }\nprojects:\n  demo:\n    \
    sign_defaults: { header_prefix: x-own- }\n    environments:\n      production:\n        routes:\n          \
    - { prefix: /a, respond: {} }\n      dev: {}\n";

impl Place {
    fn new(edge: &str, dashboard: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.0.path().join("var")).unwrap();
        std::fs::write(place.edge(), edge).unwrap();
        place.write(dashboard);
        place
    }

    fn edge(&self) -> PathBuf {
        self.0.path().join("edge.yaml")
    }

    fn dashboard(&self) -> PathBuf {
        self.0.path().join("var").join(DASHBOARD)
    }

    fn write(&self, text: &str) {
        std::fs::write(self.dashboard(), text).unwrap();
        std::fs::set_permissions(self.dashboard(), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn load(&self) -> Loading {
        load(&self.edge(), &|_| None)
    }
}

fn routes(place: &str, route: &str) -> String {
    format!("projects: {{ demo: {{ environments: {{ {place}: {{ routes: [{route}] }} }} }} }}\n")
}

fn codes(loading: &Loading) -> Vec<(&'static str, String, u32)> {
    let file = |loading: &Loading, file: crate::diagnostic::FileId| {
        loading.sources.files[usize::from(file.0)].path.file_name().unwrap().to_string_lossy().into_owned()
    };
    let one = |it: &crate::diagnostic::Diagnostic| match it.at {
        Some(at) => (it.code, file(loading, at.file), at.line),
        None => (it.code, String::new(), 0),
    };
    loading.diagnostics.iter().map(one).collect()
}

fn prefixes(model: &Model, environment: &str) -> Vec<String> {
    let found = model.projects[0].environments.iter().find(|it| *it.name == environment);
    found.map(|it| it.routes.iter().map(|route| route.prefix.value.clone()).collect()).unwrap_or_default()
}

#[test]
fn routes_are_added_to_what_the_operator_has_defined() {
    for (environment, expected) in [("production", vec!["/a", "/b"]), ("dev", vec!["/b"]), ("local", vec!["/b"])] {
        let place = Place::new(EDGE, &routes(environment, "{ prefix: /b/, respond: {} }"));
        let loading = place.load();
        assert_eq!(codes(&loading), [], "{environment}");
        assert_eq!(prefixes(&loading.model.unwrap(), environment), expected);
        assert!(loading.watched.contains(&place.dashboard()));
    }
}

#[test]
fn nothing_there_and_nothing_in_it_are_the_same() {
    for text in
        ["", "# only a comment\n", "projects: {}\n", "projects:\n  demo:\n    environments:\n      production:\n"]
    {
        let loading = Place::new(EDGE, text).load();
        assert_eq!(codes(&loading), [], "{text}");
    }
    let place = Place::new(EDGE, "");
    std::fs::remove_file(place.dashboard()).unwrap();
    let loading = place.load();
    assert!(codes(&loading).is_empty() && loading.watched.contains(&place.dashboard()));
}

#[test]
fn what_is_the_operators_to_say_is_refused() {
    for (text, code) in [
        ("listeners: { http: { address: \"127.0.0.1:1\" } }\n", "unknown_key"),
        ("include: other.yaml\n", "unknown_key"),
        ("projects: { demo: { upstream_policy: open } }\n", "unknown_key"),
        ("projects: { other: { environments: {} } }\n", "unknown_project"),
        ("projects: { demo: { environments: { prod: { routes: [] } } } }\n", "unknown_environment"),
        ("projects: { demo: { environments: { Dev: { routes: [] } } } }\n", "invalid_name"),
        ("projects: [\n", "yaml_syntax"),
    ] {
        let found = codes(&Place::new(EDGE, text).load());
        assert!(matches!(&*found, [(known, file, 1 | 2)] if *known == code && file == DASHBOARD), "{text}: {found:?}");
    }
}

#[test]
fn a_prefix_is_the_operators_first() {
    let place = Place::new(EDGE, &routes("production", "{ prefix: /b, respond: {} }, { prefix: /a/, respond: {} }"));
    let loading = place.load();
    assert_eq!(codes(&loading), [("duplicate_prefix", "edge.yaml".to_owned(), 9)]);
    let diagnostic = &loading.diagnostics[0];
    assert!(diagnostic.message.contains("dashboard.yaml:1"), "{}", diagnostic.message);
    assert!(diagnostic.hint.contains("DELETE /api/v1/projects/demo/environments/production/routes/%2Fa"));
    let twice = Place::new(EDGE, &routes("dev", "{ prefix: /b, respond: {} }, { prefix: /b/, respond: {} }")).load();
    assert_eq!(codes(&twice), [("duplicate_prefix", DASHBOARD.to_owned(), 1)]);
}

#[test]
fn secrets_may_stand_in_it_and_are_masked() {
    let route = "{ prefix: /b, upstream: \"https://b.test\", sign: { scheme: user-stamp, token: \"file:b.token\" }, \
                 payload: { x-key: c4n4ry-literal } }";
    let place = Place::new(EDGE, &routes("production", route));
    std::fs::write(place.0.path().join("var/b.token"), "a-token-of-more-than-31-characters\n").unwrap();
    std::fs::set_permissions(place.0.path().join("var/b.token"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let loading = place.load();
    assert_eq!(codes(&loading), []);
    let Action::Proxy(_) = &loading.model.as_ref().unwrap().projects[0].environments[0].routes[1].action else {
        panic!("not forwarded");
    };
    let masked = &loading.sources.files[1].masked;
    let text = &loading.sources.files[1].text;
    assert!(masked.iter().any(|range| text[range.clone()].contains("c4n4ry")), "{masked:?}");
}

#[test]
fn the_projects_own_header_family_is_reserved_in_it_too() {
    let place =
        Place::new(EDGE, &routes("dev", "{ prefix: /b, upstream: \"https://b.test\", payload: { x-own-user: x } }"));
    assert_eq!(codes(&place.load())[0].0, "reserved_header");
}

#[test]
fn it_is_closed_to_others_and_readable() {
    let place = Place::new(EDGE, "projects: {}\n");
    std::fs::set_permissions(place.dashboard(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let loading = place.load();
    assert_eq!(codes(&loading), [("secret_permissions", DASHBOARD.to_owned(), 1)]);
    assert!(loading.model.is_some());
    std::fs::remove_file(place.dashboard()).unwrap();
    std::fs::create_dir(place.dashboard()).unwrap();
    let loading = place.load();
    assert_eq!(codes(&loading), [("unreadable_file", String::new(), 0)]);
    assert!(loading.model.is_none());
}

#[test]
fn a_running_process_keeps_to_its_state_directory() {
    let place = Place::new(EDGE, &routes("dev", "{ prefix: /b, respond: {} }"));
    std::fs::write(place.edge(), EDGE.replace("state_dir: var", "state_dir: elsewhere")).unwrap();
    assert!(prefixes(&place.load().model.unwrap(), "dev").is_empty());
    let kept = place.0.path().join("var");
    let pinned = load_at(&place.edge(), &|_| None, &Overlay::default(), Some(&kept));
    assert_eq!(prefixes(&pinned.model.unwrap(), "dev"), ["/b"]);
}

#[test]
fn it_may_be_read_as_it_would_be() {
    let place = Place::new(EDGE, "projects: {}\n");
    let mut overlay = Overlay::default();
    overlay.set(&place.dashboard(), Some(routes("dev", "{ prefix: /c, respond: {} }").into_bytes()));
    let would = load_at(&place.edge(), &|_| None, &overlay, None);
    assert_ne!(would.sha256, place.load().sha256);
    assert_eq!(prefixes(&would.model.unwrap(), "dev"), ["/c"]);
}

#[test]
fn included_by_hand_it_is_one_of_the_operators() {
    let place =
        Place::new(&format!("{EDGE}include: var/dashboard.yaml\n"), &routes("dev", "{ prefix: /b, respond: {} }"));
    assert_eq!(codes(&place.load())[0].0, "duplicate_name");
}

#[test]
fn without_the_operators_files_nothing_is_said_of_it() {
    let place = Place::new("projects: [\n", &routes("dev", "{ prefix: /b, respond: {} }"));
    assert!(codes(&place.load()).iter().all(|(code, _, _)| *code == "yaml_syntax"));
}

/// Whoever may make routes must not have the process's own secrets served or sent away.
#[test]
fn what_the_process_keeps_for_itself_is_out_of_reach() {
    for (route, code) in [
        ("{ prefix: /x, files: { root: . } }", "unusable_root"),
        ("{ prefix: /x, files: { root: .. } }", "unusable_root"),
        ("{ prefix: /x, files: { root: / } }", "unusable_root"),
        ("{ prefix: /x, files: { root: undo } }", "unusable_root"),
        ("{ prefix: /x, upstream: \"http://o.example\", payload: { x-s: \"file:admin.token\" } }", "secret_file"),
        ("{ prefix: /x, upstream: \"http://o.example\", payload: { x-s: \"file:./undo/1.json\" } }", "secret_file"),
        ("{ prefix: /x, upstream: \"http://o.example\", payload: { x-s: \"file:../var/cookie.key\" } }", "secret_file"),
    ] {
        let place = Place::new(EDGE, &routes("production", route));
        std::fs::create_dir(place.0.path().join("var/undo")).unwrap();
        for name in ["admin.token", "cookie.key", "undo/1.json"] {
            std::fs::write(place.0.path().join("var").join(name), "0123456789abcdef0123456789abcdef").unwrap();
        }
        let loading = place.load();
        assert!(codes(&loading).iter().any(|(found, ..)| *found == code), "{route}: {:?}", loading.diagnostics);
        assert!(loading.model.is_none());
    }
}
