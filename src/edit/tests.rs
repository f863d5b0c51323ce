//! Changes over a real directory and a real reloader.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::dashboard::{Dashboard, Key, Place};
use super::routes::{Edit, Fault, Plan, Routes};
use super::*;
use crate::config::data::Data;

struct Bench {
    dir: tempfile::TempDir,
    editor: Editor,
}

const EDGE: &str = "listeners: { http: { address: \"127.0.0.1:0\" } }\nadmin: { state_dir: state }\nprojects:\n  demo:\n    \
    environment: production\n    environments:\n      production:\n        routes:\n          - { prefix: /own, respond: {} }\n      \
    dev: { routes: [] }\n";

fn start(edge: &std::path::Path) -> Arc<Reloader> {
    Reloader::start(edge, Arc::new(|_: &str| None)).unwrap_or_else(|failure| panic!("{:?}", failure.diagnostics))
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let edge = dir.path().join("edge.yaml");
        std::fs::write(&edge, EDGE).unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        let editor = Editor::new(start(&edge));
        Self { dir, editor }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The process has ended, and another one begins.
    fn restarted(mut self) -> Self {
        self.editor = Editor::new(start(&self.path("edge.yaml")));
        self
    }

    fn plan(&self, edit: Edit) -> Result<Plan, Fault> {
        Routes::open(self.editor.reloader().current())?.plan(&place(), edit)
    }

    fn make(&self, edit: Edit) -> Report {
        let plan = self.plan(edit).unwrap();
        let note = Note { who: "somebody".to_owned(), what: plan.what.clone() };
        self.editor.apply_as(&note, &plan.changes).unwrap()
    }

    fn add(&self, prefix: &str) {
        assert_eq!(self.make(Edit::Add(route(prefix))).outcome, Outcome::Applied);
    }

    fn file(&self) -> String {
        std::fs::read_to_string(self.path("state/dashboard.yaml")).unwrap_or_default()
    }

    fn whats(&self) -> Vec<String> {
        self.editor.past().into_iter().map(|past| past.note.what).collect()
    }

    fn undo(&self) -> Result<Past, NotUndone> {
        self.editor.alone().undo(None).map(|(past, _)| past)
    }

    fn serves(&self) -> Vec<String> {
        self.editor.reloader().current().routes.iter().map(|route| route.prefix.to_string()).collect()
    }
}

fn place() -> Place {
    Place { project: "demo".to_owned(), environment: "production".to_owned() }
}

fn route(prefix: &str) -> Data {
    serde_json::from_value(serde_json::json!({ "prefix": prefix, "respond": { "status": 204 } })).unwrap()
}

#[test]
fn a_change_is_remembered_and_taken_back_over_a_restart() {
    let bench = Bench::new();
    bench.add("/a");
    let first = bench.file();
    bench.add("/b");
    bench.make(Edit::Remove(Key::api("/a")));
    assert_eq!(bench.serves(), ["/own", "/b"]);
    let bench = bench.restarted();
    assert_eq!(
        bench.whats(),
        ["demo/production: route /a removed", "demo/production: route /b added", "demo/production: route /a added"]
    );
    assert_eq!(bench.undo().unwrap().note.who, "somebody");
    assert_eq!(bench.serves(), ["/own", "/a", "/b"]);
    bench.undo().unwrap();
    assert_eq!(bench.file(), first);
    bench.undo().unwrap();
    assert!(!bench.path("state/dashboard.yaml").exists());
    assert!(matches!(bench.undo(), Err(NotUndone::Unknown)));
}

#[test]
fn a_file_that_was_edited_meanwhile_is_left_alone() {
    let bench = Bench::new();
    bench.add("/a");
    let by_hand = bench.file() + "# by hand\n";
    std::fs::write(bench.path("state/dashboard.yaml"), &by_hand).unwrap();
    assert!(!bench.editor.past()[0].undoable);
    assert!(matches!(bench.undo(), Err(NotUndone::Changed(_))));
    assert_eq!(bench.file(), by_hand);
}

#[test]
fn what_was_cut_short_is_no_change() {
    let bench = Bench::new();
    bench.add("/a");
    // Written down, and then the process was killed before the file was.
    let plan = bench.plan(Edit::Add(route("/b"))).unwrap();
    let note = Note { who: "x".to_owned(), what: plan.what.clone() };
    let was = [Some(bench.file().into_bytes())];
    Undo::of(&bench.path("state")).remember(&note, &plan.changes, &was, 1).unwrap();
    let bench = bench.restarted();
    assert_eq!(bench.whats(), ["demo/production: route /a added"]);
    bench.undo().unwrap();
    assert_eq!(bench.serves(), ["/own"]);
}

#[test]
fn a_refused_change_is_not_remembered_and_changes_nothing() {
    let bench = Bench::new();
    bench.add("/a");
    let (before, generation) = (bench.file(), bench.editor.reloader().current().generation);
    let plan =
        bench.plan(Edit::Add(serde_json::from_str(r#"{"prefix":"/b","respond":{"status":"x"}}"#).unwrap())).unwrap();
    let note = Note { who: "x".to_owned(), what: plan.what.clone() };
    let Err(Refused::Invalid(report)) = bench.editor.apply_as(&note, &plan.changes) else { panic!("applied") };
    let remarks = plan.explain(&report.diagnostics);
    assert_eq!(remarks[0].key.as_deref(), Some("respond.status"), "{remarks:?}");
    assert_eq!((bench.file(), bench.editor.reloader().current().generation), (before, generation));
    assert_eq!(bench.whats().len(), 1);
}

#[test]
fn only_the_last_fifty_are_kept_and_nobody_else_reads_them() {
    let bench = Bench::new();
    for number in 0..55 {
        bench.add(&format!("/r{number}"));
    }
    let past = bench.editor.past();
    assert_eq!((past.len(), past[0].note.what.as_str()), (50, "demo/production: route /r54 added"));
    assert_eq!(past.iter().filter(|past| past.undoable).count(), 1);
    for entry in std::fs::read_dir(bench.path("state/undo")).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600);
    }
}

#[test]
fn what_a_killed_process_left_is_swept_and_what_is_fresh_is_not() {
    let bench = Bench::new();
    let id = "0123456789abcdef0123456789abcdef";
    let (old, fresh) = (format!(".dashboard.yaml.{id}"), format!(".dashboard.yaml.{}", id.replace('0', "1")));
    for name in [&*old, &*fresh, ".dashboard.yaml.swp", ".other.0123456789abcdef0123456789abcdef"] {
        std::fs::write(bench.path("state").join(name), "x").unwrap();
        if name != fresh {
            let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
            let file = std::fs::File::options().write(true).open(bench.path("state").join(name)).unwrap();
            file.set_modified(long_ago).unwrap();
        }
    }
    let bench = bench.restarted();
    let left = |name: &str| bench.path("state").join(name).exists();
    assert!(!left(&old) && left(&fresh) && left(".dashboard.yaml.swp") && left(&format!(".other.{id}")));
}

#[test]
fn stars_keep_what_is_stored() {
    let bench = Bench::new();
    let sent = |key: &str| -> Data {
        let body = format!(r#"{{"prefix":"/s","upstream":"https://s.test","payload":{{"{key}":"***"}}}}"#);
        serde_json::from_str(&body).unwrap()
    };
    assert!(matches!(bench.plan(Edit::Add(sent("x-key"))), Err(Fault::NotStored(_))));
    let with = r#"{"prefix":"/s","upstream":"https://s.test","payload":{"x-key":"c4n4ry"}}"#;
    bench.make(Edit::Add(serde_json::from_str(with).unwrap()));
    let report = bench.make(Edit::Replace(Key::api("/s"), sent("x-key")));
    assert_eq!(report.outcome, Outcome::Unchanged);
    assert!(bench.file().contains("c4n4ry"));
    assert!(matches!(bench.plan(Edit::Replace(Key::api("/s"), sent("x-other"))), Err(Fault::NotStored(_))));
    let standing = Routes::open(bench.editor.reloader().current()).unwrap().one(&place(), &Key::api("/s/")).unwrap();
    assert!(!serde_json::to_string(&standing).unwrap().contains("c4n4ry"));
}

#[test]
fn a_route_of_the_operators_is_shown_and_never_touched() {
    let bench = Bench::new();
    bench.add("/a");
    let routes = Routes::open(bench.editor.reloader().current()).unwrap();
    let all = routes.list(&place()).unwrap();
    let shown: Vec<_> = all.iter().map(|it| (it.prefix.as_str(), it.editable, it.route.is_some(), it.line)).collect();
    assert_eq!(shown, [("/a", true, true, 9), ("/own", false, true, 9)]);
    for edit in
        [Edit::Add(route("/own/")), Edit::Replace(Key::api("/own"), route("/own")), Edit::Remove(Key::api("/own"))]
    {
        assert!(matches!(routes.plan(&place(), edit), Err(Fault::Operators { line: 9, .. })));
    }
    assert_eq!(std::fs::read_to_string(bench.path("edge.yaml")).unwrap(), EDGE);
    assert_eq!(Dashboard::path(&bench.path("state")), bench.path("state/dashboard.yaml"));
}

/// Somebody may still look at a change that is gone: its number must not mean another.
#[test]
fn a_number_is_given_once() {
    let bench = Bench::new();
    bench.add("/a");
    let first = bench.undo().unwrap().id;
    bench.add("/b");
    assert!(matches!(bench.editor.alone().undo(Some(first)), Err(NotUndone::Unknown)));
    assert_eq!(bench.serves(), ["/own", "/b"]);
}
