//! Reloads and the watcher against real files, read by a loader of a few lines instead of the YAML reader.
//!
//! A configuration here is text: `route /a` makes a route that answers `/a`, `threads 4` and `log FILE` set that,
//! `allow NETWORK` and `metrics-allow NETWORK` are the admin's, `include FILE` reads another, `wrong …` is an error, `panic` panics.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::watch::Watch;
use super::*;
use crate::config::model::{Access, Action, Route};
use crate::config::{Model, SourceFile};
use crate::diagnostic::{Pos, Spanned};
use crate::table::testing;

const PATIENCE: Duration = Duration::from_secs(10);

/// The loader for a file of the little language.
pub(crate) fn loader(path: &Path) -> Load {
    let path = path.to_owned();
    Box::new(move |_| read(&path))
}

/// Starts on such a file.
pub(crate) fn start(path: &Path) -> Arc<Reloader> {
    Reloader::first(Some(path.to_owned()), loader(path)).unwrap()
}

fn read(path: &Path) -> Loading {
    let mut loading = Loading {
        sources: Sources::default(),
        diagnostics: Vec::new(),
        model: None,
        watched: Vec::new(),
        sha256: [0; 32],
    };
    let mut model = model();
    read_into(path, &mut model, &mut loading);
    let texts: Vec<&str> = loading.sources.files.iter().map(|file| file.text.as_str()).collect();
    loading.sha256 = Sha256::digest(texts.join("\0")).into();
    loading.model = loading.diagnostics.is_empty().then_some(model);
    loading
}

fn read_into(path: &Path, model: &mut Model, loading: &mut Loading) {
    loading.watched.push(path.to_owned());
    let text = fs::read_to_string(path);
    if text.is_err() {
        loading.diagnostics.push(Diagnostic::error("unreadable_file", Pos::default(), "it is not there"));
    }
    let text = text.unwrap_or_default();
    loading.sources.files.push(SourceFile { path: path.to_owned(), text: text.clone(), masked: Vec::new() });
    for (number, line) in text.lines().enumerate() {
        let at = Pos { line: u32::try_from(number + 1).unwrap(), column: 1, ..Pos::default() };
        match line.split_once(' ').unwrap_or((line, "")) {
            ("route", prefix) => model.projects[0].environments[0].routes.push(route(prefix, at)),
            ("threads", count) => model.server.threads = count.parse().ok(),
            ("log", file) => model.logging.access = Access { file: Some(file.into()), ..model.logging.access.clone() },
            ("allow", network) => model.admin.allow = vec![network.parse().unwrap()],
            ("metrics-allow", network) => model.admin.metrics_allow = vec![network.parse().unwrap()],
            ("metrics-auth", _) => model.admin.metrics_auth = crate::config::model::MetricsAuth::Required,
            ("users", file) => model.admin.users_file = Some(Spanned::new(file.into(), at)),
            ("include", file) => read_into(&path.with_file_name(file), model, loading),
            ("panic", _) => panic!("on purpose"),
            ("wrong", what) => loading.diagnostics.push(Diagnostic::error("wrong", at, what)),
            _ => {}
        }
    }
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Pos::default())
}

fn model() -> Model {
    let any_port: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let loopback = vec!["127.0.0.0/8".parse().unwrap()];
    let mut model = testing::model(vec![testing::project("demo", &[], Vec::new())]);
    model.listeners.iter_mut().for_each(|listener| listener.address = spanned(any_port));
    model.admin.address = spanned(any_port);
    model.admin.allow.clone_from(&loopback);
    model.admin.hosts = vec!["edge.internal".to_owned()];
    model.admin.metrics_allow = loopback;
    model
}

fn route(prefix: &str, at: Pos) -> Route {
    let action = Action::Respond { status: http::StatusCode::OK, body: prefix.to_owned() };
    Route { prefix: Spanned::new(prefix.to_owned(), at), at, ..testing::with_action(prefix, action) }
}

fn prefixes(reloader: &Reloader) -> Vec<String> {
    reloader.current().routes.iter().map(|route| route.prefix.to_string()).collect()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    begun.elapsed()
}

/// A directory with `edge.yaml`, and a reloader on it.
struct Bench {
    dir: tempfile::TempDir,
    reloader: Arc<Reloader>,
}

impl Bench {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge.yaml");
        fs::write(&path, text).unwrap();
        Self { reloader: start(&path), dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, text: &str) {
        fs::write(self.path("edge.yaml"), text).unwrap();
    }
}

#[test]
fn a_first_load_that_fails_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.yaml");
    fs::write(&path, "route /a\nwrong idea").unwrap();
    let failure = Reloader::first(Some(path.clone()), loader(&path)).unwrap_err();
    assert_eq!(failure.diagnostics.iter().map(|it| it.message.as_str()).collect::<Vec<_>>(), ["idea"]);
}

#[test]
fn an_edit_is_one_new_table() {
    let bench = Bench::new("route /a");
    let before = bench.reloader.current();
    bench.write("route /a\nroute /b");
    let report = bench.reloader.reload(Trigger::Api);
    assert_eq!((report.outcome, report.generation), (Outcome::Applied, 2));
    assert_eq!(report.changes, Changes { added: 1, ..Changes::default() });
    assert_eq!(prefixes(&bench.reloader), ["/a", "/b"]);
    assert_eq!((before.generation, before.routes.len()), (1, 1), "who holds the old table keeps it");
}

#[test]
fn the_same_files_are_unchanged() {
    let bench = Bench::new("route /a");
    let before = bench.reloader.current();
    let report = bench.reloader.reload(Trigger::Signal);
    assert_eq!((report.outcome, report.generation), (Outcome::Unchanged, 1));
    assert!(Arc::ptr_eq(&before, &bench.reloader.current()));
}

#[test]
fn a_rejected_edit_changes_nothing() {
    let bench = Bench::new("route /a");
    let before = bench.reloader.current();
    bench.write("route /b\nwrong prefix");
    let report = bench.reloader.reload(Trigger::Signal);
    assert_eq!((report.outcome, report.generation), (Outcome::Rejected, 1));
    assert_eq!((&report.diagnostics[0]["line"], &report.diagnostics[0]["message"]), (&2.into(), &"prefix".into()));
    assert!(Arc::ptr_eq(&before, &bench.reloader.current()));
    assert_eq!(bench.reloader.last().outcome, Outcome::Rejected);
    bench.write("route /a");
    assert_eq!(bench.reloader.reload(Trigger::Signal).outcome, Outcome::Unchanged);
    assert!(bench.reloader.last().diagnostics.is_empty());
}

#[test]
fn what_waits_for_a_restart_is_named_and_the_rest_applies() {
    let bench = Bench::new("route /a");
    bench.write("threads 4\nroute /b");
    let report = bench.reloader.reload(Trigger::Signal);
    assert_eq!((report.outcome, report.needs_restart), (Outcome::Applied, vec!["server.threads".to_owned()]));
    assert_eq!(prefixes(&bench.reloader), ["/b"]);
    bench.write("threads 4\nroute /c");
    let still = bench.reloader.reload(Trigger::Signal).needs_restart;
    assert_eq!(still, ["server.threads"], "a later edit does not make it forgotten");
}

#[test]
fn a_panic_while_reading_is_a_rejected_edit() {
    let bench = Bench::new("route /a");
    bench.write("panic");
    let report = bench.reloader.reload(Trigger::File);
    assert_eq!((report.outcome, &report.diagnostics[0]["code"]), (Outcome::Rejected, &"internal_error".into()));
    bench.write("route /b");
    assert_eq!(bench.reloader.reload(Trigger::File).outcome, Outcome::Applied);
}

#[test]
fn who_asks_together_is_answered_together() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.yaml");
    fs::write(&path, "route /a").unwrap();
    let (reads, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(())));
    let load: Load = {
        let (reads, gate, path) = (Arc::clone(&reads), Arc::clone(&gate), path.clone());
        Box::new(move |_| {
            reads.fetch_add(1, Ordering::SeqCst);
            drop(gate.lock());
            read(&path)
        })
    };
    let reloader = Reloader::first(Some(path.clone()), load).unwrap();
    let closed = gate.lock();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| reloader.reload(Trigger::Api));
        wait_until("the first load to begin", || reads.load(Ordering::SeqCst) == 2);
        let others: Vec<_> = (0..5).map(|_| scope.spawn(|| reloader.reload(Trigger::Api))).collect();
        wait_until("all to ask", || reloader.asked.load(Ordering::SeqCst) == 6);
        fs::write(&path, "route /a\nroute /b").unwrap();
        drop(closed);
        first.join().unwrap();
        for other in others {
            assert_eq!(other.join().unwrap().generation, 2);
        }
    });
    let reads = reads.load(Ordering::SeqCst);
    assert!((3..=5).contains(&reads), "six questions, {reads} readings");
    assert_eq!(prefixes(&reloader), ["/a", "/b"]);
}

#[test]
fn old_tables_are_freed_when_their_last_request_is_done() {
    let bench = Bench::new("route /a");
    let stream = bench.reloader.current();
    let weak = Arc::downgrade(&stream);
    bench.write("route /b");
    bench.reloader.reload(Trigger::File);
    bench.reloader.sweep();
    assert!(weak.upgrade().is_some(), "a stream still has it");
    drop(stream);
    bench.reloader.sweep();
    assert!(weak.upgrade().is_none(), "nobody has it any more");
}

#[test]
fn outcomes_reach_metrics_and_log_settings() {
    let bench = Bench::new("route /a");
    let observer = Arc::new(Observer::for_tests().unwrap());
    bench.reloader.observe(Arc::clone(&observer));
    let access = bench.path("access.log");
    bench.write(&format!("route /a\nlog {}", access.display()));
    bench.reloader.reload(Trigger::Api);
    assert!(access.exists(), "the new access log was not opened");
    bench.write("wrong");
    bench.reloader.reload(Trigger::Api);
    let text = observer.metrics.render();
    for line in [
        "countersign_config_generation 2",
        "countersign_config_last_reload_successful 0",
        "countersign_config_reloads_total{outcome=\"applied\"} 2",
        "countersign_config_reloads_total{outcome=\"rejected\"} 1",
        &format!("countersign_config_info{{sha256=\"{}\"}} 1", bench.reloader.current().sha256),
    ] {
        assert!(text.contains(line), "no {line} in:\n{text}");
    }
}

/// From the last write until its table is in force.
fn live_after(bench: &Bench, prefix: &str) -> Duration {
    wait_until(prefix, || prefixes(&bench.reloader).iter().any(|known| known == prefix))
}

/// Half a second is promised; a machine shared by many gets some more before a test fails.
const SOON: Duration = Duration::from_millis(1500);

#[test]
fn every_way_to_save_is_noticed() {
    let bench = Bench::new("route /a");
    let _watch = Watch::start(Arc::clone(&bench.reloader)).unwrap();
    let generation = |number| wait_until("a generation", || bench.reloader.current().generation == number);
    bench.write("route /in-place");
    assert!(live_after(&bench, "/in-place") < SOON);
    for (number, name) in ["/renamed-over", "/once-more"].into_iter().enumerate() {
        fs::write(bench.path(".edge.swp"), format!("route {name}")).unwrap();
        fs::rename(bench.path(".edge.swp"), bench.path("edge.yaml")).unwrap();
        assert!(live_after(&bench, name) < SOON);
        generation(3 + number as u64);
    }
    fs::rename(bench.path("edge.yaml"), bench.path("edge.yaml~")).unwrap();
    wait_until("the missing file to be noticed", || bench.reloader.last().outcome == Outcome::Rejected);
    assert_eq!(prefixes(&bench.reloader), ["/once-more"]);
    bench.write("route /back-again");
    assert!(live_after(&bench, "/back-again") < SOON);
}

#[test]
fn several_quick_saves_end_with_the_last() {
    let bench = Bench::new("route /a");
    let _watch = Watch::start(Arc::clone(&bench.reloader)).unwrap();
    for number in 0..20 {
        bench.write("");
        bench.write(&format!("route /{number}"));
    }
    assert!(live_after(&bench, "/19") < SOON);
    assert!(bench.reloader.current().generation < 20, "each save was a reload");
}

#[test]
fn a_config_map_flip_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for (name, text) in [("..1", "route /one\ninclude more.yaml"), ("..2", "route /two")] {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("edge.yaml"), text).unwrap();
        fs::write(root.join(name).join("more.yaml"), "route /more").unwrap();
    }
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/edge.yaml", root.join("edge.yaml")).unwrap();
    symlink("..data/more.yaml", root.join("more.yaml")).unwrap();
    let reloader = start(&root.join("edge.yaml"));
    let _watch = Watch::start(Arc::clone(&reloader)).unwrap();
    for (number, expected) in [("2", vec!["/two"]), ("1", vec!["/one", "/more"]), ("2", vec!["/two"])] {
        symlink(format!("..{number}"), root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        let took = wait_until("the flip", || prefixes(&reloader) == expected);
        assert!(took < SOON, "{took:?}");
    }
}

#[test]
fn what_an_edit_includes_is_watched_too() {
    let bench = Bench::new("route /a");
    let _watch = Watch::start(Arc::clone(&bench.reloader)).unwrap();
    bench.write("route /a\ninclude more.yaml");
    wait_until("the dangling include", || bench.reloader.last().outcome == Outcome::Rejected);
    fs::write(bench.path("more.yaml"), "route /b").unwrap();
    assert!(live_after(&bench, "/b") < SOON);
    fs::write(bench.path("more.yaml"), "route /c").unwrap();
    assert!(live_after(&bench, "/c") < SOON);
}

#[test]
fn a_replaced_directory_is_found_by_looking() {
    let dir = tempfile::tempdir().unwrap();
    let (conf, aside) = (dir.path().join("conf"), dir.path().join("aside"));
    for (path, text) in [(&conf, "route /a"), (&aside, "route /b")] {
        fs::create_dir(path).unwrap();
        fs::write(path.join("edge.yaml"), text).unwrap();
    }
    let reloader = start(&conf.join("edge.yaml"));
    let _watch = Watch::start(Arc::clone(&reloader)).unwrap();
    fs::rename(&conf, dir.path().join("old")).unwrap();
    fs::rename(&aside, &conf).unwrap();
    wait_until("the other directory", || prefixes(&reloader) == ["/b"]);
    fs::write(conf.join("edge.yaml"), "route /c").unwrap();
    assert!(wait_until("an edit in it", || prefixes(&reloader) == ["/c"]) < SOON);
}

#[test]
fn a_log_beside_the_configuration_is_not_an_edit() {
    let bench = Bench::new("route /a");
    let _watch = Watch::start(Arc::clone(&bench.reloader)).unwrap();
    let asked = || bench.reloader.asked.load(Ordering::SeqCst);
    for number in 0..200 {
        fs::write(bench.path("access.log"), format!("{number}\n")).unwrap();
        fs::write(bench.path(&format!("other-{number}")), "").unwrap();
    }
    bench.write("route /marker");
    live_after(&bench, "/marker");
    assert_eq!(asked(), 1);
}

#[test]
fn an_edit_that_somebody_announced_is_read_once() {
    let bench = Bench::new("route /a");
    let watch = Watch::start(Arc::clone(&bench.reloader)).unwrap();
    let asked = || bench.reloader.asked.load(Ordering::SeqCst);
    bench.write("route /noticed");
    live_after(&bench, "/noticed");
    wait_until("the watcher to rest", || watch.is_at_rest());
    let before = asked();
    bench.write("wrong");
    wait_until("the watcher to hear of it", || watch.has_heard_all());
    assert_eq!(bench.reloader.reload(Trigger::Api).outcome, Outcome::Rejected);
    wait_until("the watcher to rest", || watch.is_at_rest());
    bench.write("route /marker");
    live_after(&bench, "/marker");
    assert_eq!(asked() - before, 2, "the file change was a reload of its own");
}
