use super::*;
use crate::config::Overlay;
use crate::observe::event::RequestEnd;
use crate::observe::tests::event;
use crate::reload::Reloader;

const NOW: UnixMillis = 1_795_290_358_123;

/// A configuration on the disk, and what it becomes with another text.
struct Rig {
    dir: tempfile::TempDir,
    reloader: std::sync::Arc<Reloader>,
    recent: Requests,
}

const BEFORE: &str = r#"
          - { prefix: /a, upstream: "https://a.example.com", auth: none }
          - { prefix: /b, upstream: "https://b.example.com/v1", auth: none }
          - { prefix: /quiet, respond: {}, auth: none }
"#;

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("c.yaml"), whole(BEFORE)).unwrap();
        let reloader = Reloader::start(&dir.path().join("c.yaml"), std::sync::Arc::new(|_| None)).unwrap();
        Self { dir, reloader, recent: Requests::default() }
    }

    fn seen(&self, path: &str, times: usize) {
        let event = RequestEnd { host: "demo.test", path, client: "", user: "", source: "", ..event() };
        (0..times).for_each(|_| self.recent.record(&event));
    }

    fn preview(&self, routes: &str) -> Preview {
        let mut overlay = Overlay::default();
        overlay.set(&self.dir.path().join("c.yaml"), Some(whole(routes).into_bytes()));
        of(&self.reloader.current(), &self.reloader.judge(&overlay), &self.recent, NOW)
    }
}

fn whole(routes: &str) -> String {
    format!(
        "listeners: {{ http: {{ address: \"127.0.0.1:8080\" }} }}\nprojects:\n  demo:\n    hosts: [demo.test]\n    environments:\n      \
         production:\n        routes:\n{routes}"
    )
}

#[test]
fn what_differs_is_counted_with_examples_and_the_rest_is_unchanged() {
    let rig = Rig::new();
    rig.seen("/a/1", 3);
    rig.seen("/a/2", 1);
    rig.seen("/b/x", 2);
    rig.seen("/nowhere", 4);
    let preview = rig.preview(
        r#"
          - { prefix: /b, upstream: "https://b.example.com/v2", auth: none }
          - { prefix: /quiet, respond: { body: louder }, auth: none }
          - { prefix: /new, respond: {}, auth: none }
"#,
    );
    let counts =
        (preview.requests.total, preview.requests.distinct, preview.requests.unchanged, preview.requests.changed);
    assert_eq!(counts, (10, 4, 4, 6));
    let kinds: Vec<_> = preview.changes.iter().map(|kind| (kind.change, kind.requests, kind.distinct)).collect();
    assert_eq!(kinds, [(Change::Becomes404, 4, 2), (Change::GoesElsewhere, 2, 1)]);
    let example = &preview.changes[0].examples[0];
    assert_eq!((example.path.as_str(), example.requests), ("/a/1", 3), "the most frequent first");
    assert_eq!((example.before.outcome, example.before.route.as_deref()), ("served", Some("demo/production/a")));
    assert_eq!(
        (example.after.outcome, example.after.status, example.after.code),
        ("refused", Some(404), Some("route_not_found"))
    );
    let moved = &preview.changes[1].examples[0];
    assert_eq!(moved.before.to.as_deref(), Some("https://b.example.com:443/v1/x"));
    assert_eq!(moved.after.to.as_deref(), Some("https://b.example.com:443/v2/x"));
    let touched: Vec<_> = preview.routes.iter().map(|it| (it.change, it.route.as_str(), it.requests)).collect();
    assert_eq!(
        touched,
        [
            ("removed", "demo/production/a", 4),
            ("changed", "demo/production/b", 2),
            ("changed", "demo/production/quiet", 0),
            ("added", "demo/production/new", 0)
        ]
    );
    assert_eq!(serde_json::to_value(&preview).unwrap()["changes"][0]["change"], "becomes_404");
}

#[test]
fn a_change_that_says_nothing_new_does_nothing() {
    let rig = Rig::new();
    rig.seen("/a/1", 3);
    let preview = rig.preview(BEFORE);
    assert_eq!((preview.requests.unchanged, preview.requests.changed), (3, 0));
    assert!(preview.changes.is_empty() && preview.routes.is_empty());
    assert_eq!(preview.requests.since.as_deref(), Some("2026-11-21T19:45:58.123456Z"));
    assert_eq!(rig.reloader.current().generation, 1);
}

#[test]
fn a_preview_is_bounded() {
    let rig = Rig::new();
    for number in 0..2000 {
        rig.seen(&format!("/a/{number}{}", "x".repeat(300)), 1);
    }
    let routes: String =
        (0..500).map(|it| format!("          - {{ prefix: /r{it}, respond: {{}}, auth: none }}\n")).collect();
    let preview = rig.preview(&routes);
    assert_eq!((preview.requests.total, preview.changes[0].requests), (1000, 1000));
    assert_eq!(preview.changes[0].examples.len(), EXAMPLES);
    assert_eq!((preview.routes.len(), preview.routes_omitted), (ROUTES, 303));
    assert!(serde_json::to_string(&preview).unwrap().len() < 64 * 1024);
}
