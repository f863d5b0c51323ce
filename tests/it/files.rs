//! Files as answers: the same requests to real nginx over the same tree ([`against_nginx`]), ways out of the root
//! ([`hostile`]), how the bytes travel ([`transfer`]), and, here, what is particular to us.

mod against_nginx;
mod hostile;
mod http2;
mod transfer;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{Config, Edge, Request, Response};

/// When every file of a tree was written, unless a test says otherwise.
const WRITTEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn written() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(784_111_777)
}

/// A directory `public` to serve, with whatever lies beside it.
struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::Builder::new().prefix("countersign-files-").tempdir().expect("a directory");
        let tree = Self { directory };
        fs::create_dir(tree.root()).expect("public");
        for (name, text) in files {
            tree.write(name, text.as_bytes());
        }
        tree
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("public")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("make its directory");
        fs::write(&path, content).expect("write a file");
        touch(&path, written());
        path
    }

    /// An edge that serves it below `/s`; `keys`: more of the route.
    fn edge(&self, files: &str, keys: &str) -> Edge {
        let routes = format!(r#"- {{ prefix: /s, auth: none, files: {{ root: "{{root}}"{files} }}{keys} }}"#);
        Config::routes(&routes).value("root", &self.root().display().to_string()).start()
    }
}

fn touch(path: &Path, when: SystemTime) {
    File::options().write(true).open(path).and_then(|file| file.set_modified(when)).expect("set its time");
}

fn get(edge: &Edge, target: &str, fields: &[(&str, &str)]) -> Response {
    ask(edge, "GET", target, fields)
}

fn ask(edge: &Edge, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
    let request =
        fields.iter().fold(Request::new(method, target), |request, (name, value)| request.header(name, value));
    edge.call(&request)
}

#[test]
fn a_single_page_application_gets_its_page_where_nothing_else_is() {
    let tree = Tree::new(&[("index.html", "the page"), ("app.js", "code"), ("assets/x.txt", "x"), (".env", "hidden")]);
    let edge = tree.edge(", fallback: /index.html", "");
    for target in ["/s/", "/s/users/7", "/s/users/7/", "/s/app.js/", "/s/assets/", "/s/assets/none.txt"] {
        let page = edge.get(target);
        assert_eq!((page.status, page.text().as_str()), (200, "the page"), "{target}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{target}");
    }
    assert_eq!(edge.get("/s/app.js").text(), "code");
    assert_eq!(edge.get("/s/assets/x.txt").text(), "x");
    edge.get("/s/.env").expect_error(404, "file_not_found");
    edge.get("/s/.nothing").expect_error(404, "file_not_found");
    let etag = edge.get("/s/users/7").header("etag").expect("an etag").to_owned();
    assert_eq!(get(&edge, "/s/users/8", &[("if-none-match", &etag)]).status, 304);
}

#[test]
fn a_route_says_which_file_a_directory_is() {
    let tree = Tree::new(&[("home.txt", "home"), ("index.html", "not this"), ("deep/home.txt", "deep home")]);
    let named = tree.edge(", index: home.txt", "");
    assert_eq!(named.get("/s/").text(), "home");
    assert_eq!(named.get("/s/deep/").text(), "deep home");
    let none = tree.edge(", index: \"\"", "");
    none.get("/s/").expect_error(404, "file_not_found");
    assert_eq!(none.get("/s/index.html").text(), "not this");
}

#[test]
fn the_slash_is_added_below_any_prefix_and_never_names_a_host() {
    let tree = Tree::new(&[("deep/index.html", "x")]);
    let routes = r#"
        - { prefix: /, auth: none, files: { root: "{root}" } }
        - { prefix: /a/b, auth: none, files: { root: "{root}" } }
    "#;
    let edge = Config::routes(routes).value("root", &tree.root().display().to_string()).start();
    for (target, location) in [
        ("/deep", "/deep/"),
        ("/deep?x=1&y=/..", "/deep/?x=1&y=/.."),
        ("/deep?", "/deep/?"),
        ("/a/b", "/a/b/"),
        ("/a/b/deep", "/a/b/deep/"),
        ("/a/b/%64eep?q", "/a/b/%64eep/?q"),
        ("http://demo.test/deep?z", "/deep/?z"),
    ] {
        let moved = edge.get(target);
        assert_eq!((moved.status, moved.header("location")), (308, Some(location)), "{target}");
    }
    for target in ["//deep", "//demo.test/deep", "/%2Fdeep", "/%5Cdemo.test/deep"] {
        assert_eq!(edge.get(target).status, 400, "{target}");
    }
}

#[test]
fn only_reading_is_served_and_the_routes_edits_apply() {
    let tree = Tree::new(&[("a.txt", "abc")]);
    let headers =
        ", headers: { response: { set: { cache-control: max-age=60, content-type: text/x-own }, remove: [etag] } }";
    let edge = tree.edge("", headers);
    let answer = edge.get("/s/a.txt");
    assert_eq!(answer.header("cache-control"), Some("max-age=60"));
    assert_eq!(answer.header("content-type"), Some("text/x-own"));
    assert_eq!((answer.header("etag"), answer.header("x-content-type-options")), (None, Some("nosniff")));
    let known = get(&edge, "/s/a.txt", &[("if-modified-since", WRITTEN)]);
    assert_eq!((known.status, known.header("cache-control")), (304, Some("max-age=60")));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        let refused = ask(&edge, method, "/s/a.txt", &[]);
        refused.expect_error(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), Some("GET, HEAD"), "{method}");
    }
}

#[test]
fn what_is_refused_is_recorded_with_its_reason() {
    let tree = Tree::new(&[("a.txt", "abc")]);
    std::os::unix::fs::symlink("/etc/hostname", tree.root().join("out")).expect("a link");
    let edge = tree.edge("", "");
    get(&edge, "/s/a.txt", &[("if-match", "\"other\"")]).expect_error(412, "precondition_failed");
    let beyond = get(&edge, "/s/a.txt", &[("range", "bytes=3-")]);
    beyond.expect_error(416, "range_not_satisfiable");
    assert_eq!(beyond.header("content-range"), Some("bytes */3"));
    edge.get("/s/out").expect_error(404, "file_not_found");
    let record = edge.logged("/s/out");
    assert_eq!((&record["code"], &record["end"]), (&"file_not_found".into(), &"refused".into()));
    edge.wait_log(&format!(
        "request {} of route /s: not served: a link leads out of the root",
        record["request_id"].as_str().expect("an id")
    ));
    assert_eq!(edge.get("/s/a.txt").text(), "abc");
    let served = edge.logged("/s/a.txt");
    assert_eq!(served["route"], "/s", "{served}");
}

#[test]
fn a_root_may_be_replaced_and_may_vanish_under_a_running_edge() {
    let tree = Tree::new(&[]);
    for release in ["one", "two"] {
        fs::create_dir(tree.beside(release)).expect("a release");
        fs::write(tree.beside(release).join("v.txt"), release).expect("its file");
    }
    fs::remove_dir(tree.root()).expect("public");
    std::os::unix::fs::symlink("one", tree.root()).expect("a link");
    let edge = tree.edge("", "");
    assert_eq!(edge.get("/s/v.txt").text(), "one");
    std::os::unix::fs::symlink("two", tree.beside("next")).expect("a link");
    fs::rename(tree.beside("next"), tree.root()).expect("turn the link");
    assert_eq!(edge.get("/s/v.txt").text(), "two");
    fs::remove_file(tree.root()).expect("remove the link");
    edge.get("/s/v.txt").expect_error(404, "file_not_found");
}

#[test]
fn a_root_that_is_none_is_a_mistake_of_the_configuration() {
    let tree = Tree::new(&[("a.txt", "abc")]);
    let edge = tree.edge("", "");
    for wrong in ["missing", "a.txt"] {
        let text = edge.text().replace("public", &format!("public/{wrong}"));
        fs::write(edge.file(), &text).expect("write the configuration");
        let checked = edge.command(&["check"], &[]);
        assert_eq!(checked.code, Some(1), "{checked:?}");
        assert!(checked.stdout.contains("unusable_root") && checked.stdout.contains(wrong), "{}", checked.stdout);
    }
    assert_eq!(edge.get("/s/a.txt").text(), "abc", "the table in force stays");
}

#[test]
fn explain_names_the_file() {
    let tree = Tree::new(&[("a.txt", "abc")]);
    let edge = tree.edge("", ", compress: [br, gzip]");
    let said = |url: &str| edge.command(&["explain"], &["GET", url, "-H", "accept-encoding: gzip"]);
    let file = said("http://demo.test/s/docs/a%20b.txt");
    assert_eq!(file.code, Some(0), "{file:?}");
    assert!(file.stdout.contains("docs/a b.txt, if it is there"), "{}", file.stdout);
    assert!(file.stdout.contains("gzip, if the answer is text"), "{}", file.stdout);
    assert!(said("http://demo.test/s/docs/").stdout.contains("index.html of the directory docs"));
    let hidden = said("http://demo.test/s/.git/config");
    assert_eq!(hidden.code, Some(4), "{hidden:?}");
    assert!(hidden.stdout.contains("file_not_found"), "{}", hidden.stdout);
}
