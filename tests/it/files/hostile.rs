//! Ways out of the root, and what lies in it that is no file. The secret beside the root has the canary in it, which no
//! response of any test may contain; here every answer is looked at besides.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Tree;
use crate::support::leak::CANARY;
use crate::support::{Edge, Request, Wire};

const INSIDE: &str = "inside";

fn tree() -> Tree {
    let tree = Tree::new(&[
        ("in.txt", INSIDE),
        ("sub/deep.txt", INSIDE),
        ("sub/index.html", INSIDE),
        ("a..b", INSIDE),
        (".env", CANARY),
        (".git/config", CANARY),
        ("sub/.htpasswd", CANARY),
    ]);
    fs::write(tree.beside("secret.txt"), CANARY).expect("a secret");
    fs::create_dir(tree.beside("public-not")).expect("a neighbour");
    fs::write(tree.beside("public-not/secret.txt"), CANARY).expect("a secret");
    fs::write(tree.beside("deep.txt"), CANARY).expect("a secret");
    let root = tree.root();
    let absolute = |name: &str| tree.beside(name).display().to_string();
    for (target, link) in [
        ("in.txt".to_owned(), "link"),
        ("link".to_owned(), "link-to-link"),
        ("sub".to_owned(), "link-to-dir"),
        ("../in.txt".to_owned(), "sub/up"),
        (absolute("public/in.txt"), "absolute-in"),
        ("../secret.txt".to_owned(), "out"),
        ("out".to_owned(), "link-to-out"),
        (absolute("secret.txt"), "absolute-out"),
        ("..".to_owned(), "parent"),
        (absolute("public-not"), "neighbour"),
        ("/".to_owned(), "slash"),
        ("/proc/self/root".to_owned(), "proc-root"),
        ("/proc/self/cwd".to_owned(), "proc-cwd"),
        ("/proc/self/environ".to_owned(), "environ"),
        ("/dev/zero".to_owned(), "zero"),
        ("loop-b".to_owned(), "loop-a"),
        ("loop-a".to_owned(), "loop-b"),
        ("nothing".to_owned(), "broken"),
    ] {
        symlink(target, root.join(link)).expect("a link");
    }
    fs::hard_link(root.join("in.txt"), root.join("hard")).expect("a hard link");
    let fifo = std::process::Command::new("mkfifo").arg(root.join("fifo")).status().expect("mkfifo");
    assert!(fifo.success());
    drop(UnixListener::bind(root.join("socket")).expect("a socket"));
    tree
}

/// Nothing of these is served: 400 by the request gate, or 404.
const REFUSED: &[&str] = &[
    // Links.
    "/s/out",
    "/s/link-to-out",
    "/s/absolute-out",
    "/s/parent",
    "/s/parent/",
    "/s/parent/secret.txt",
    "/s/neighbour/secret.txt",
    "/s/parent/public/in.txt/../../secret.txt",
    "/s/slash/etc/passwd",
    "/s/slash/",
    "/s/proc-root/etc/passwd",
    "/s/proc-cwd/",
    "/s/environ",
    "/s/zero",
    "/s/loop-a",
    "/s/broken",
    "/s/sub/up/secret.txt",
    "/s/link-to-dir/../../secret.txt",
    // What is no file.
    "/s/fifo",
    "/s/socket",
    "/s/fifo/",
    "/s/sub/none",
    // Hidden names.
    "/s/.env",
    "/s/.git/config",
    "/s/.git/",
    "/s/.git",
    "/s/sub/.htpasswd",
    "/s/%2Eenv",
    "/s/%2eenv",
    "/s/link-to-dir/.htpasswd",
    "/s/.well-known/x",
    "/s/...",
    "/s/.../x",
    // Dot segments in every dress.
    "/s/..",
    "/s/../",
    "/s/../secret.txt",
    "/s/./../secret.txt",
    "/s/sub/../../secret.txt",
    "/s/%2e%2e/secret.txt",
    "/s/%2E%2E/secret.txt",
    "/s/.%2e/secret.txt",
    "/s/%2e./secret.txt",
    "/s/%252e%252e/secret.txt",
    "/s/%25252e%25252e/secret.txt",
    "/s/..%2fsecret.txt",
    "/s/..%2Fsecret.txt",
    "/s/%2e%2e%2fsecret.txt",
    "/s/..%252fsecret.txt",
    "/s/%252e%252e%252fsecret.txt",
    "/s/..;/secret.txt",
    "/s/..;x=1/secret.txt",
    "/s/;/../secret.txt",
    "/s/..%3b/secret.txt",
    "/s/..%00/secret.txt",
    "/s/..\\secret.txt",
    "/s/..%5csecret.txt",
    "/s/..%5Csecret.txt",
    "/s/..%255csecret.txt",
    "/s/sub\\..\\..\\secret.txt",
    "/s/..%c0%afsecret.txt",
    "/s/%c0%ae%c0%ae/secret.txt",
    "/s/%c0%ae%c0%ae%c0%afsecret.txt",
    "/s/%e0%80%ae%e0%80%ae/secret.txt",
    "/s/..%c1%9csecret.txt",
    "/s/%uff0e%uff0e/secret.txt",
    "/s/%ef%bc%8e%ef%bc%8e/secret.txt",
    "/s/%u002e%u002e/secret.txt",
    "/s/..//secret.txt",
    "/s//../secret.txt",
    "/s/sub//../../secret.txt",
    "/s/.../secret.txt",
    "/s/....//secret.txt",
    "/s/..%0d%0a/secret.txt",
    "/s/..%20/secret.txt",
    "/s/.. /secret.txt",
    "/s/..?/secret.txt/..",
    "/s/..#/secret.txt",
    "/..",
    "/../secret.txt",
    "/s../secret.txt",
    "/s/../s/in.txt",
    // Absolute and odd.
    "/s//etc/passwd",
    "/s/%2fetc/passwd",
    "/s/%2Fetc%2Fpasswd",
    "/s/file:///etc/passwd",
    "/s/C:/secret.txt",
    "/s/~root/x",
    "/s/in.txt%00",
    "/s/in.txt%00.html",
    "/s/secret.txt%00/../in.txt",
    "/s/in.txt%0a",
    "/s/in.txt%20",
    "/s/in.txt.",
    "/s/in.txt/",
    "/s/in.txt/.",
    "/s/in.txt/..",
    "/s/in.txt;x",
    "/s/in.txt::$DATA",
    "/s/in.txt%5c",
    "/s/IN.TXT",
    "/s/in.txt~",
    "/s/in%",
    "/s/in%2",
    "/s/in%zz",
    "/s/in%2gtxt",
    "http://demo.test/s/../secret.txt",
    "http://demo.test/s/out",
    "file:///etc/passwd",
];

/// These are served.
const SERVED: &[&str] = &[
    "/s/in.txt",
    "/s/hard",
    "/s/link",
    "/s/link-to-link",
    "/s/link-to-dir/deep.txt",
    "/s/link-to-dir/",
    "/s/sub/up",
    "/s/absolute-in",
    "/s/sub/",
    "/s/a..b",
    "/s/%69n.txt",
    "/s/in.txt?../../secret.txt",
    "/s/in.txt?%00",
    "http://demo.test/s/in.txt",
];

#[test]
fn nothing_from_outside_the_root_is_ever_served() {
    let tree = tree();
    let edge = tree.edge("", ", compress: [br, gzip]");
    for target in SERVED {
        let answer = edge.get(target);
        assert_eq!((answer.status, answer.text().as_str()), (200, INSIDE), "{target}");
    }
    for target in REFUSED {
        // The raw request line: spaces and the like make it no request at all, which is 400 too.
        let answer = edge.get(target);
        assert!(matches!(answer.status, 400 | 404), "{target}: {} {}", answer.status, answer.text());
        assert!(!answer.text().contains("root:"), "{target}");
    }
    assert!(REFUSED.len() > 100);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let tree = tree();
    let edge = tree.edge("", "");
    let targets: [&[u8]; 6] = [
        b"/s/in.txt\0",
        b"/s/\0../secret.txt",
        b"/s/..\xc0\xafsecret.txt",
        b"/s/\xff",
        b"/s/in.txt\x7f",
        b"/s/..\x0bsecret.txt",
    ];
    for target in targets {
        let mut wire = edge.connect();
        wire.send([b"GET ", target, b" HTTP/1.1\r\nhost: demo.test\r\nconnection: close\r\n\r\n"].concat());
        assert_eq!(wire.response().status, 400, "{target:?}");
    }
}

#[test]
fn a_name_of_any_bytes_is_served_and_one_that_is_too_long_is_not_found() {
    use std::os::unix::ffi::OsStrExt;
    let tree = tree();
    fs::write(tree.root().join(std::ffi::OsStr::from_bytes(b"latin-\xe9.txt")), INSIDE).expect("a file");
    let edge = tree.edge("", "");
    assert_eq!(edge.get("/s/latin-%E9.txt").text(), INSIDE);
    edge.get(&format!("/s/{}", "x".repeat(300))).expect_error(404, "file_not_found");
    edge.get(&format!("/s/{}x", "sub/".repeat(1500))).expect_error(404, "file_not_found");
}

#[test]
fn siblings_are_bound_by_the_same_rules() {
    let tree = tree();
    let content = "plain and long enough to be worth it ".repeat(100);
    tree.write("page.txt", content.as_bytes());
    symlink(tree.beside("secret.txt"), tree.root().join("page.txt.gz")).expect("a link");
    fs::create_dir(tree.root().join("page.txt.br")).expect("a directory");
    let edge = tree.edge("", ", compress: [br, gzip]");
    let plain = edge.get("/s/page.txt");
    assert_eq!(plain.text(), content);
    for coding in ["gzip", "br", "br, gzip"] {
        let answer = edge.call(&Request::get("/s/page.txt").header("accept-encoding", coding));
        assert_eq!(answer.status, 200, "{coding}");
        assert!(answer.header("content-encoding").is_some(), "compressed on the way: {coding}");
    }
}

#[test]
fn what_may_not_be_read_is_not_found() {
    let tree = tree();
    let path = tree.write("closed.txt", b"closed");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("close it");
    let edge = tree.edge("", "");
    let answer = edge.get("/s/closed.txt");
    // Root reads everything.
    let expected = if fs::read(&path).is_ok() { 200 } else { 404 };
    assert_eq!(answer.status, expected);
}

/// A link and a directory change their meaning all the time; ten thousand requests later nothing of the outside was seen.
#[test]
fn a_tree_that_changes_under_the_requests_gives_nothing_away() {
    let tree = tree();
    let edge = tree.edge("", "");
    let root = tree.root();
    fs::create_dir(root.join("real")).expect("a directory");
    fs::write(root.join("real/deep.txt"), INSIDE).expect("its file");
    let (done, turns) = (AtomicBool::new(false), std::sync::atomic::AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for target in ["sub", "..", "real", "../public-not/..", "/", "sub"] {
                    symlink(target, root.join("turn")).expect("a link");
                    fs::rename(root.join("turn"), root.join("turning")).expect("turn it");
                }
                // A directory that becomes a link.
                fs::rename(root.join("real"), root.join("real.away")).expect("move it away");
                symlink("..", root.join("real")).expect("a link");
                fs::remove_file(root.join("real")).expect("remove the link");
                fs::rename(root.join("real.away"), root.join("real")).expect("move it back");
                turns.fetch_add(1, Ordering::Relaxed);
            }
        });
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| bombard(&edge, 2500))).collect();
        let served: usize = clients.into_iter().map(|client| client.join().expect("a client")).sum();
        done.store(true, Ordering::Relaxed);
        assert!(served > 100, "only {served} were served");
    });
    assert!(turns.load(Ordering::Relaxed) > 10, "the tree hardly changed");
}

fn bombard(edge: &Edge, count: usize) -> usize {
    let mut wire: Wire = edge.connect();
    let mut served = 0;
    for round in 0..count {
        let target =
            ["/s/turning/deep.txt", "/s/real/deep.txt", "/s/turning/secret.txt", "/s/real/secret.txt"][round % 4];
        wire.send(Request::get(target).keep_alive().bytes());
        let answer = wire.response();
        match answer.status {
            200 => assert_eq!(answer.text(), INSIDE, "{target}"),
            status => assert_eq!(status, 404, "{target}"),
        }
        served += usize::from(answer.status == 200);
    }
    served
}
