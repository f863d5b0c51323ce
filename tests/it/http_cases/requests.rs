//! Request heads: host and authority, path confusion, the request line, header syntax and size.

use super::Then::{Answer, Nothing, Seen, Unseen, UnseenAndClosed};
use super::rig;
use crate::support::eventually;

#[test]
fn host_and_authority() {
    rig().run(&[
        ("HTTP/1.1 without Host", "GET /echo HTTP/1.1\r\n\r\n", &[400], UnseenAndClosed),
        ("two identical Host lines", "GET /echo HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("two different Host lines", "GET /echo HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", &[400], Unseen),
        ("empty Host", "GET /echo HTTP/1.1\r\nHost:\r\n\r\n", &[400], Unseen),
        ("a list in Host", "GET /echo HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", &[400], Unseen),
        ("a path in Host", "GET /echo HTTP/1.1\r\nHost: a.test/evil\r\n\r\n", &[400], Unseen),
        ("two ports in Host", "GET /echo HTTP/1.1\r\nHost: a.test:80:80\r\n\r\n", &[400], Unseen),
        ("user info in Host", "GET /echo HTTP/1.1\r\nHost: u@a.test\r\n\r\n", &[400], Unseen),
        ("a port that is none", "GET /echo HTTP/1.1\r\nHost: a.test:8o\r\n\r\n", &[400], Unseen),
        ("upper case and a trailing dot", "GET /echo HTTP/1.1\r\nHost: A.TEST.\r\n\r\n", &[200], Nothing),
        (
            "absolute form",
            "GET http://a.test/abs?x HTTP/1.1\r\nHost: a.test\r\n\r\n",
            &[200],
            Seen(|r| r.target() == "/abs?x"),
        ),
        ("absolute form with another Host", "GET http://a.test/echo HTTP/1.1\r\nHost: b.test\r\n\r\n", &[400], Unseen),
        ("absolute form without Host", "GET http://a.test/echo HTTP/1.1\r\n\r\n", &[400], Unseen),
        ("another scheme", "GET ftp://a.test/echo HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("a target without a slash", "GET echo HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        (
            "OPTIONS *",
            "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
            &[204],
            Answer(|r| r.header("allow").is_some_and(|allow| allow.contains("GET"))),
        ),
        ("OPTIONS * is not forwarded", "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", &[204], Unseen),
        ("GET *", "GET * HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        (
            "CONNECT",
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
            &[405],
            Answer(|r| r.header("allow").is_some_and(|allow| !allow.contains("CONNECT"))),
        ),
        ("CONNECT closes", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", &[405], UnseenAndClosed),
    ]);
}

#[test]
fn path_confusion() {
    rig().run(&[
        ("backslashes", "GET /a\\..\\echo HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("dot segments", "GET /a0/../admin HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("a single dot", "GET /a0/./x HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("dots at the end", "GET /a0/.. HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("encoded dots", "GET /a0/%2e%2E/admin HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("half-encoded dots", "GET /a0/.%2e/admin HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("an empty first segment", "GET //evil.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("an empty segment", "GET /a0//x HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("dots before a twice-encoded slash", "GET /a0/..%252fadmin HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        (
            "dots before a twice-encoded backslash",
            "GET /a0/..%255Cadmin HTTP/1.1\r\nHost: a.test\r\n\r\n",
            &[400],
            Unseen,
        ),
        ("dots before an overlong slash", "GET /a0/..%c0%afadmin HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        (
            "half-encoded dots before such a slash",
            "GET /a0/.%252e%252fadmin HTTP/1.1\r\nHost: a.test\r\n\r\n",
            &[400],
            Unseen,
        ),
        ("twice-encoded dots", "GET /a0/%252e%252e/admin HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        (
            "a twice-encoded slash without dots is a name like others",
            "GET /echo/a%252fb HTTP/1.1\r\nHost: a.test\r\n\r\n",
            &[200],
            Seen(|r| r.target() == "/echo/a%252fb"),
        ),
        ("dots with a parameter", "GET /a0/..;/admin HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("an encoded NUL", "GET /a0/%00x HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("an encoded slash", "GET /a0%2fx HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("an encoded backslash", "GET /a0/%5Cx HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("broken percent-encoding", "GET /a0/%zz HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("percent at the end", "GET /a0/%4 HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("raw UTF-8", "GET /a0/ä HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("a raw 0x01", "GET /a0/\u{1}x HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("a raw NUL", "GET /a0/\0x HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("a space in the target", "GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("a fragment", "GET /a#b HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("70,000 bytes of target", "GET /{long:70000} HTTP/1.1\r\nHost: a.test\r\n\r\n", &[414], UnseenAndClosed),
        ("1.2 MB of target", "GET /{long:1200000} HTTP/1.1\r\nHost: a.test\r\n\r\n", &[414], UnseenAndClosed),
    ]);
}

/// Bytes that no target may hold as they are (RFC 3986 §2) although some clients send them. (Browsers do send the
/// backtick of a query.)
const RAW: [&str; 9] = ["/a<b", "/a>b", "/a`b", "/a\"b", "/r?q=<", "/r?q=>", "/r?q=\"", "/<", "/a?\"q\""];

#[test]
fn raw_delimiters_in_the_target_are_refused_by_name_and_explain_agrees() {
    let rig = rig();
    for target in RAW {
        let before = rig.edge.access_log().len();
        let mut wire = rig.edge.connect();
        wire.send(format!("DELETE {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"));
        wire.response_to("DELETE").expect_error(400, "invalid_target");
        let record = eventually("its record", || rig.edge.access_log().get(before).cloned());
        let logged = (&record["code"], &record["method"], &record["status"]);
        assert_eq!(logged, (&"invalid_target".into(), &"DELETE".into(), &400.into()), "{target}: {record}");
        let explained = rig.edge.command(&["explain", "--json"], &["DELETE", &format!("http://a.test{target}")]);
        assert_eq!(explained.code, Some(4), "{target}: {explained:?}");
        let said: serde_json::Value = serde_json::from_str(&explained.stdout).expect("JSON on standard output");
        assert_eq!((&said["outcome"], &said["status"]), (&"refused".into(), &400.into()), "{target}: {said}");
    }
    assert_eq!(rig.origin.count(), 0);
}

#[test]
fn request_line() {
    rig().run(&[
        ("HTTP/2.0 over HTTP/1", "GET /echo HTTP/2.0\r\nHost: a.test\r\n\r\n", &[505], UnseenAndClosed),
        ("HTTP/1.2", "GET /echo HTTP/1.2\r\nHost: a.test\r\n\r\n", &[200, 400, 505], Nothing),
        ("a protocol in lower case", "GET /echo http/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("no version", "GET /echo\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("get in lower case", "get /echo HTTP/1.1\r\nHost: a.test\r\n\r\n", &[200, 501], Nothing),
        ("a delimiter in the method", "GE(T /echo HTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("an unknown method", "PURGE /echo HTTP/1.1\r\nHost: a.test\r\n\r\n", &[200], Seen(|r| r.method() == "PURGE")),
        ("one empty line in front", "\r\nGET /echo HTTP/1.1\r\nHost: a.test\r\n\r\n", &[200], Nothing),
        (
            "twenty empty lines in front",
            "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET /echo HTTP/1.1\r\nHost: a.test\r\n\r\n",
            &[200, 400],
            Nothing,
        ),
        ("tabs", "GET\t/echo\tHTTP/1.1\r\nHost: a.test\r\n\r\n", &[400], Unseen),
        ("bare CR line ends", "GET /echo HTTP/1.1\rHost: a.test\r\r", &[400, 408, 0], Unseen),
        ("bare LF line ends", "GET /echo HTTP/1.1\nHost: a.test\n\n", &[200, 400], Nothing),
        ("TRACE", "TRACE /echo HTTP/1.1\r\nHost: a.test\r\nX-Secret: 1\r\n\r\n", &[405], Unseen),
        (
            "Max-Forwards counts down",
            "OPTIONS /echo HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 5\r\n\r\n",
            &[200],
            Seen(|r| r.header("max-forwards") == Some("4")),
        ),
        ("TLS on a plain port", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\r\n\r\n", &[400, 0], Unseen),
        ("not HTTP at all", "hello\r\n\r\n", &[400, 0], Unseen),
        ("an HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 405, 505, 0], Unseen),
    ]);
}

#[test]
fn header_syntax_and_size() {
    rig().run(&[
        ("space before the colon", "GET /echo HTTP/1.1\r\nHost: a.test\r\nX-A : 1\r\n\r\n", &[400], Unseen),
        (
            "space before the colon of Transfer-Encoding",
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            &[400],
            Unseen,
        ),
        ("a folded line", "GET /echo HTTP/1.1\r\nHost: a.test\r\nX-A: 1\r\n 2\r\n\r\n", &[400], Unseen),
        ("a folded first line", "GET /echo HTTP/1.1\r\n Host: a.test\r\n\r\n", &[400], Unseen),
        ("no colon", "GET /echo HTTP/1.1\r\nHost: a.test\r\nX-A\r\n\r\n", &[400], Unseen),
        ("an empty name", "GET /echo HTTP/1.1\r\nHost: a.test\r\n: 1\r\n\r\n", &[400], Unseen),
        ("a bare CR in a value", "GET /echo HTTP/1.1\r\nHost: a.test\r\nX-A: 1\r2\r\n\r\n", &[400], Unseen),
        ("a NUL in a value", "GET /echo HTTP/1.1\r\nHost: a.test\r\nX-A: 1\u{0}2\r\n\r\n", &[400], Unseen),
        (
            "obs-text passes unchanged",
            "GET /echo HTTP/1.1\r\nHost: a.test\r\nX-A: \u{e0e4}b\r\n\r\n",
            &[200],
            Seen(|r| r.head.fields.bytes("x-a") == Some(b"\xe4b")),
        ),
        (
            "two spellings of our fields",
            "GET /a0/x HTTP/1.1\r\nHost: a.test\r\nx_kms_user: forged\r\nX-Kms-User: forged\r\n\r\n",
            &[200],
            Seen(|r| !r.contains("forged") && r.head.fields.all("x-kms-user") == [""]),
        ),
        ("100 fields", "GET /echo HTTP/1.1\r\nHost: a.test\r\n{fields:99}\r\n", &[200], Nothing),
        ("101 fields", "GET /echo HTTP/1.1\r\nHost: a.test\r\n{fields:100}\r\n", &[431], UnseenAndClosed),
        ("256 fields", "GET /echo HTTP/1.1\r\nHost: a.test\r\n{fields:255}\r\n", &[431], UnseenAndClosed),
        ("a field of 16 KB", "GET /echo HTTP/1.1\r\nHost: a.test\r\nX-A: {long:16000}\r\n\r\n", &[200], Nothing),
        (
            "a field of 100 KB",
            "GET /echo HTTP/1.1\r\nHost: a.test\r\nX-A: {long:100000}\r\n\r\n",
            &[431],
            UnseenAndClosed,
        ),
    ]);
}
