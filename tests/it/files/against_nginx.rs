//! The same requests to nginx and to the edge, over the same tree: what a client sees is the same, but where we mean to
//! differ; those rows say how.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{WRITTEN, touch, written};
use crate::support::nginx::Nginx;
use crate::support::{Config, Edge, Ending, Request, Response, Wire};

const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

const SERVER: &str = "
    root {dir}/www;
    charset utf-8;
    charset_types text/plain text/css text/javascript;
    absolute_redirect off;
    default_type application/octet-stream;
    types { text/plain txt; text/html html; text/css css; text/javascript js; application/json json; image/svg+xml svg; }
    error_page 404 = /none;
";

struct Both {
    nginx: Nginx,
    edge: Edge,
}

fn both() -> Both {
    let nginx = Nginx::start(SERVER);
    let root: PathBuf = nginx.directory.path().join("www/s");
    for (name, text) in [
        ("a.txt", ALPHABET),
        ("empty.txt", ""),
        ("index.html", "<p>index</p>"),
        ("style.css", "p{}"),
        ("app.js", "1"),
        ("data.json", "{}"),
        ("pic.svg", "<svg/>"),
        ("noext", "?"),
        ("with space.txt", "space"),
        ("plus+and~.txt", "plus"),
        ("中文.txt", "utf8"),
        ("100%.txt", "percent"),
        ("a..b", "dots"),
        (".hidden", "hidden"),
        ("sub/index.html", "<p>sub</p>"),
        ("sub/page.html", "<p>page</p>"),
        ("bare/x.txt", "x"),
        ("index.html.d/x", "x"),
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("make its directory");
        fs::write(&path, text).expect("write a file");
        touch(&path, written());
    }
    let edge = Config::routes(r#"- { prefix: /s, auth: none, files: { root: "{root}" } }"#)
        .value("root", &root.display().to_string())
        .start();
    Both { nginx, edge }
}

fn ask(address: SocketAddr, method: &str, target: &str, fields: &[(&str, String)]) -> Response {
    let request =
        fields.iter().fold(Request::new(method, target), |request, (name, value)| request.header(name, value));
    let mut wire = Wire::connect(address);
    wire.send(request.bytes());
    let response = wire.response_to(method);
    assert_eq!(response.ending, Ending::Clean, "{method} {target} {fields:?}");
    response
}

/// With the server's own tag for `{etag}`.
fn ask_with_tag(address: SocketAddr, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
    let mut own = Vec::new();
    for (name, value) in fields {
        let value = if value.contains("{etag}") {
            let known = ask(address, "GET", target, &[]);
            value.replace("{etag}", known.header("etag").expect("an etag"))
        } else {
            (*value).to_owned()
        };
        own.push((*name, value));
    }
    ask(address, method, target, &own)
}

/// What both must agree on, as text.
fn seen(response: &Response) -> String {
    let mut body = response.text();
    let mut kind = response.header("content-type").unwrap_or("-").to_owned();
    if let Some(boundary) = kind.clone().strip_prefix("multipart/byteranges; boundary=") {
        let declared: usize = response.header("content-length").expect("a length").parse().expect("a number");
        assert_eq!(declared, response.body.len());
        body = body.replace(boundary, "BOUNDARY");
        kind = kind.replace(boundary, "BOUNDARY");
    }
    let is_error = response.status >= 400;
    let is_multipart = kind.starts_with("multipart");
    let length = response.header("content-length").filter(|_| !is_error && !is_multipart && response.status < 300);
    let mut lines = vec![response.status.to_string()];
    for name in ["content-range", "last-modified", "location"] {
        lines.push(format!("{name}: {}", response.header(name).unwrap_or("-")));
    }
    lines.push(format!("length: {length:?}"));
    if !is_error && response.status != 301 {
        lines.push(format!("type: {kind}"));
        lines.push(format!("etag: {}", response.header("etag").is_some()));
        lines.push(format!(
            "accept-ranges: {}",
            response.header("accept-ranges").filter(|_| response.status == 200).unwrap_or("-")
        ));
        lines.push(format!("body: {body}"));
    }
    lines.join("\n")
}

type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Where both agree.
const ALIKE: &[Row] = &[
    ("GET", "/s/a.txt", &[]),
    ("HEAD", "/s/a.txt", &[]),
    ("GET", "/s/a.txt?query=1", &[]),
    ("GET", "/s/empty.txt", &[]),
    ("HEAD", "/s/empty.txt", &[]),
    ("GET", "/s/", &[]),
    ("HEAD", "/s/", &[]),
    ("GET", "/s/?x", &[]),
    ("GET", "/s/index.html", &[]),
    ("GET", "/s/sub/", &[]),
    ("GET", "/s/sub/page.html", &[]),
    ("GET", "/s/style.css", &[]),
    ("GET", "/s/app.js", &[]),
    ("GET", "/s/data.json", &[]),
    ("GET", "/s/pic.svg", &[]),
    ("GET", "/s/noext", &[]),
    ("GET", "/s/with%20space.txt", &[]),
    ("GET", "/s/plus+and~.txt", &[]),
    ("GET", "/s/%E4%B8%AD%E6%96%87.txt", &[]),
    ("GET", "/s/100%25.txt", &[]),
    ("GET", "/s/a..b", &[]),
    ("GET", "/s/%61.txt", &[]),
    ("GET", "/s/A.TXT", &[]),
    ("GET", "/s/none.txt", &[]),
    ("HEAD", "/s/none.txt", &[]),
    ("GET", "/s/a.txt/", &[]),
    ("GET", "/s/a.txt/x", &[]),
    ("GET", "/s/a.txt.", &[]),
    ("GET", "/s/sub/none/", &[]),
    ("GET", "/s/none/x", &[]),
    ("POST", "/s/a.txt", &[("content-length", "0")]),
    ("DELETE", "/s/a.txt", &[]),
    // Ranges.
    ("GET", "/s/a.txt", &[("range", "bytes=0-0")]),
    ("GET", "/s/a.txt", &[("range", "bytes=3-7")]),
    ("GET", "/s/a.txt", &[("range", "bytes=3-")]),
    ("GET", "/s/a.txt", &[("range", "bytes=-4")]),
    ("GET", "/s/a.txt", &[("range", "bytes=-400")]),
    ("GET", "/s/a.txt", &[("range", "bytes=20-400")]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-25")]),
    ("GET", "/s/a.txt", &[("range", "bytes=26-")]),
    ("GET", "/s/a.txt", &[("range", "bytes=400-500")]),
    ("GET", "/s/a.txt", &[("range", "bytes=5-2")]),
    ("GET", "/s/a.txt", &[("range", "bytes=-0")]),
    ("GET", "/s/a.txt", &[("range", "bytes=a-b")]),
    ("GET", "/s/a.txt", &[("range", "bytes=1")]),
    ("GET", "/s/a.txt", &[("range", "bytes=")]),
    ("GET", "/s/a.txt", &[("range", "lines=1-2")]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-1,4-5")]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-1, -3, 10-11")]),
    ("GET", "/s/a.txt", &[("range", "bytes=4-5,0-1")]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-1,400-")]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-,0-")]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-20,5-25")]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-5,3-8")]),
    ("GET", "/s/empty.txt", &[("range", "bytes=0-")]),
    ("GET", "/s/empty.txt", &[("range", "bytes=0-0")]),
    ("GET", "/s/empty.txt", &[("range", "bytes=1-")]),
    ("GET", "/s/empty.txt", &[("range", "bytes=-1")]),
    ("GET", "/s/sub/", &[("range", "bytes=1-2")]),
    ("GET", "/s/none.txt", &[("range", "bytes=1-2")]),
    // Conditions.
    ("GET", "/s/a.txt", &[("if-none-match", "{etag}")]),
    ("HEAD", "/s/a.txt", &[("if-none-match", "{etag}")]),
    ("GET", "/s/a.txt", &[("if-none-match", "W/{etag}")]),
    ("GET", "/s/a.txt", &[("if-none-match", "\"x\", {etag}")]),
    ("GET", "/s/a.txt", &[("if-none-match", "*")]),
    ("GET", "/s/a.txt", &[("if-none-match", "\"x\"")]),
    ("GET", "/s/a.txt", &[("if-modified-since", WRITTEN)]),
    ("GET", "/s/a.txt", &[("if-modified-since", EARLIER)]),
    ("GET", "/s/a.txt", &[("if-modified-since", "yesterday")]),
    ("GET", "/s/a.txt", &[("if-none-match", "\"x\""), ("if-modified-since", WRITTEN)]),
    ("GET", "/s/a.txt", &[("if-none-match", "{etag}"), ("if-modified-since", WRITTEN)]),
    ("GET", "/s/a.txt", &[("if-match", "{etag}")]),
    ("GET", "/s/a.txt", &[("if-match", "*")]),
    ("GET", "/s/a.txt", &[("if-match", "\"x\"")]),
    ("GET", "/s/a.txt", &[("if-match", "W/{etag}")]),
    ("GET", "/s/a.txt", &[("if-unmodified-since", WRITTEN)]),
    ("GET", "/s/a.txt", &[("if-unmodified-since", LATER)]),
    ("GET", "/s/a.txt", &[("if-unmodified-since", EARLIER)]),
    ("GET", "/s/a.txt", &[("if-match", "\"x\""), ("if-none-match", "{etag}")]),
    ("GET", "/s/none.txt", &[("if-match", "*")]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-1"), ("if-range", "{etag}")]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-1"), ("if-range", "W/{etag}")]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-1"), ("if-range", "\"x\"")]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-1"), ("if-range", WRITTEN)]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-1"), ("if-range", EARLIER)]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-1"), ("if-range", LATER)]),
    ("GET", "/s/a.txt", &[("range", "bytes=400-"), ("if-range", "\"x\"")]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-1"), ("if-none-match", "{etag}")]),
    ("GET", "/s/a.txt", &[("range", "bytes=0-1"), ("if-match", "\"x\"")]),
];

/// Where we differ on purpose: what nginx answers, what we answer, and why.
const DIFFERENT: &[(Row, u16, u16, &str)] = &[
    (("GET", "/s", &[]), 301, 308, "the method stays"),
    (("GET", "/s/sub?x=1", &[]), 301, 308, "the method stays"),
    (("GET", "/s/bare/", &[]), 403, 404, "there is no listing, so there is nothing"),
    (("GET", "/s/.hidden", &[]), 200, 404, "hidden names are never served"),
    (("GET", "/s/sub/../a.txt", &[]), 200, 400, "the request gate refuses dot segments"),
    (("GET", "/s//a.txt", &[]), 200, 400, "the request gate refuses empty segments"),
    (("GET", "/s/sub%2Fpage.html", &[]), 200, 400, "the request gate refuses encoded slashes"),
    (("HEAD", "/s/a.txt", &[("range", "bytes=0-1")]), 206, 200, "RFC 9110 §14.2: Range is for GET"),
    (("GET", "/s/a.txt", &[("if-modified-since", LATER)]), 200, 304, "RFC 9110 §13.1.3: not modified since is enough"),
    (
        ("GET", "/s/a.txt", &[("if-none-match", "{etag}"), ("if-modified-since", EARLIER)]),
        200,
        304,
        "RFC 9110 §13.2.2: If-None-Match decides alone",
    ),
    (
        ("GET", "/s/a.txt", &[("if-match", "{etag}"), ("if-unmodified-since", EARLIER)]),
        412,
        200,
        "RFC 9110 §13.2.2: If-Match decides alone",
    ),
    (
        (
            "GET",
            "/s/a.txt",
            &[("range", "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,10-10,11-11,12-12,13-13,14-14,15-15,16-16")],
        ),
        206,
        200,
        "at most 16 parts",
    ),
];

#[test]
fn a_client_sees_what_nginx_would_show() {
    let both = both();
    let mut wrong = Vec::new();
    for (method, target, fields) in ALIKE {
        let theirs = seen(&ask_with_tag(both.nginx.address, method, target, fields));
        let ours = seen(&ask_with_tag(both.edge.data, method, target, fields));
        // nginx says what a 304 would hold in fewer fields; a tag and a date are what matters.
        if theirs != ours && !same_not_modified(&theirs, &ours) {
            wrong.push(format!("{method} {target} {fields:?}\n--- nginx\n{theirs}\n--- edge\n{ours}\n"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), ALIKE.len(), wrong.join("\n"));
}

fn same_not_modified(theirs: &str, ours: &str) -> bool {
    let relevant = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("type:") && !line.starts_with("length:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    theirs.starts_with("304") && ours.starts_with("304") && relevant(theirs) == relevant(ours)
}

#[test]
fn where_we_differ_from_nginx_we_mean_to() {
    let both = both();
    for ((method, target, fields), theirs, ours, why) in DIFFERENT {
        let nginx = ask_with_tag(both.nginx.address, method, target, fields);
        let edge = ask_with_tag(both.edge.data, method, target, fields);
        assert_eq!((nginx.status, edge.status), (*theirs, *ours), "{method} {target} {fields:?}: {why}");
        if *ours == 308 {
            assert_eq!(nginx.header("location"), edge.header("location"), "{target}");
        }
    }
}
