use super::{Framing, Head, Limits, Scan, scan};
use proptest::prelude::*;

const LIMITS: Limits = Limits { max_head: 32 * 1024, max_target: 8 * 1024, max_fields: 100 };

fn one(text: &[u8]) -> Scan {
    scan(text, 0, &LIMITS)
}

/// As it comes from a slow client: one byte a call.
fn drip(text: &[u8], limits: &Limits) -> Scan {
    for len in 1..=text.len() {
        match scan(&text[..len], len - 1, limits) {
            Scan::Partial => {}
            done => return done,
        }
    }
    Scan::Partial
}

fn complete(text: &str, body: Framing) {
    let expected = Scan::Complete(Head { skip: 0, len: text.len(), body });
    assert_eq!(one(text.as_bytes()), expected, "{text:?}");
    assert_eq!(drip(text.as_bytes(), &LIMITS), expected, "dripped {text:?}");
    let followed = format!("{text}body\nbody\r\n\r\n");
    assert_eq!(one(followed.as_bytes()), expected, "followed {text:?}");
}

fn refused(text: &[u8], status: u16, code: &str) {
    for (how, scan) in [("at once", one(text)), ("dripped", drip(text, &LIMITS))] {
        match scan {
            Scan::Reject(r) => {
                assert_eq!((r.status, r.code), (status, code), "{how}: {:?}", text.escape_ascii().to_string())
            }
            other => panic!("{how}: {other:?} for {:?}", text.escape_ascii().to_string()),
        }
    }
}

fn with(fields: &str) -> String {
    format!("POST /a0 HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n")
}

#[test]
fn plain_heads_pass_with_their_framing() {
    complete("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None);
    complete("GET / HTTP/1.0\r\n\r\n", Framing::None);
    complete("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None);
    complete("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", Framing::None);
    complete("GET http://a.test/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n", Framing::None);
    complete("get / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None);
    complete("M!#$%&'*+-.^_`|~9 / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None);
    complete(&with("Content-Length: 3"), Framing::Length(3));
    complete(&with("Content-Length:3"), Framing::Length(3));
    complete(&with("content-length: \t 0003 \t"), Framing::Length(3));
    complete(&with("Content-Length: 9223372036854775807"), Framing::Length(i64::MAX as u64));
    complete(&with("Transfer-Encoding: chunked"), Framing::Chunked);
    complete(&with("TRANSFER-ENCODING:ChUnKeD\t"), Framing::Chunked);
    complete(&with("X-Empty:\r\nX-Tab: a\tb\r\nX_Under.score: 1"), Framing::None);
    complete(&with("Connection: keep-alive, X-Priv, Upgrade, cookie, te"), Framing::None);
    complete(&with("X-Kms-User: a: b, \"c\" (d)"), Framing::None);
}

#[test]
fn obs_text_in_a_value_passes() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe4\xb8\xad\xff\r\n\r\n";
    assert_eq!(one(text), Scan::Complete(Head { skip: 0, len: text.len(), body: Framing::None }));
}

#[test]
fn one_leading_crlf_is_skipped_and_no_more() {
    let text = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let expected = Scan::Complete(Head { skip: 2, len: text.len() - 2, body: Framing::None });
    assert_eq!(one(text), expected);
    assert_eq!(drip(text, &LIMITS), expected);
    refused(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request_line");
    refused(&b"\r\n".repeat(20), 400, "malformed_request_line");
}

#[test]
fn request_lines_that_are_none() {
    for line in [
        "GE(T / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET /\tHTTP/1.1",
        " GET / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.10",
        "GET / HTTP/11",
        "GET / HTTP/1,1",
        "GET / XTTP/1.1",
        "GET /",
        "GET",
        "GET ",
        "GET  HTTP/1.1",
        "/ HTTP/1.1",
        "G\u{e9}T / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET / HTTP/x.1",
        "GET / Http/1.1",
        "[GET] / HTTP/1.1",
        "GET: / HTTP/1.1",
    ] {
        refused(format!("{line}\r\nHost: a\r\n\r\n").as_bytes(), 400, "malformed_request_line");
    }
    for target in ["/\u{4e2d}", "/a#b", "/a<b>", "/a?q=\"", "/a`b"] {
        refused(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), 400, "invalid_target");
    }
    for line in
        ["GET / HTTP/2.0", "PRI * HTTP/2.0", "GET / HTTP/1.2", "GET / HTTP/0.9", "GET / HTTP/3.0", "GET / HTTP/9.9"]
    {
        refused(format!("{line}\r\nHost: a\r\n\r\n").as_bytes(), 505, "unsupported_version");
    }
    let long = "M".repeat(65);
    refused(format!("{long} / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), 501, "unsupported_method");
}

#[test]
fn control_bytes_in_the_target_are_refused() {
    for byte in (0u8..=0x20).chain([0x7f]).filter(|byte| !matches!(byte, b'\n' | b' ')) {
        let text = [b"GET /a".as_slice(), &[byte], b"b HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        assert!(matches!(one(&text), Scan::Reject(r) if r.status == 400), "{byte:#x}");
        assert!(matches!(drip(&text, &LIMITS), Scan::Reject(r) if r.status == 400), "{byte:#x}");
    }
}

#[test]
fn control_bytes_in_fields_are_refused_but_tab() {
    for byte in (0u8..0x20).chain([0x7f]).filter(|byte| *byte != b'\t') {
        for (before, after) in [("X: a", "b"), ("X: a", ""), ("X:", ""), ("X", ": a"), ("", "X: a")] {
            let text =
                [with(before).as_bytes().strip_suffix(b"\r\n\r\n").unwrap(), &[byte], after.as_bytes(), b"\r\n\r\n"]
                    .concat();
            // A CR before the CRLF, or a lone LF, is a line end gone wrong; everything else a bad field.
            assert!(matches!(one(&text), Scan::Reject(r) if r.status == 400), "{byte:#x} in {before:?}{after:?}");
            assert!(
                matches!(drip(&text, &LIMITS), Scan::Reject(r) if r.status == 400),
                "{byte:#x} in {before:?}{after:?}"
            );
        }
    }
}

#[test]
fn line_ends_are_crlf() {
    refused(b"GET / HTTP/1.1\nHost: a\n\n", 400, "malformed_line_end");
    refused(b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400, "malformed_line_end");
    refused(b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "malformed_line_end");
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\n\r\n\r\n", 400, "malformed_line_end");
    refused(b"GET / HTTP/1.1\rHost: a\r\r", 400, "malformed_request_line");
    assert!(matches!(one(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Scan::Reject(r) if r.status == 400));
}

#[test]
fn fields_that_are_none() {
    for field in [
        " folded",
        "\tfolded",
        "X: a\r\n folded",
        "X: a\r\n\tfolded",
        "X : a",
        "X\t: a",
        "no colon",
        ": a",
        "X Y: a",
        "X\"Y: a",
        "X(: a",
        "X[]: a",
        "X@: a",
        "X\u{e4}: a",
        "Transfer-Encoding : chunked",
        "Content-Length : 3",
        "Host : b",
        "X",
    ] {
        refused(with(field).as_bytes(), 400, "malformed_header");
    }
    refused(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "malformed_header");
}

#[test]
fn hosts_are_counted() {
    refused(b"GET / HTTP/1.1\r\n\r\n", 400, "missing_host");
    refused(b"GET / HTTP/1.1\r\nX: y\r\n\r\n", 400, "missing_host");
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "duplicate_host");
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", 400, "duplicate_host");
    refused(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400, "duplicate_host");
}

#[test]
fn lengths_that_are_none() {
    for value in
        ["", "-1", "+3", "0x3", "3 3", "3,3", "3, 3", "3;3", "3.0", "abc", "18446744073709551616", "\"3\"", "\u{ff13}"]
    {
        refused(with(&format!("Content-Length: {value}")).as_bytes(), 400, "invalid_content_length");
    }
    for value in ["9223372036854775808", "18446744073709551615"] {
        refused(with(&format!("Content-Length: {value}")).as_bytes(), 413, "body_too_large");
    }
    refused(with("Content-Length: 3\r\nContent-Length: 3").as_bytes(), 400, "ambiguous_framing");
    refused(with("Content-Length: 3\r\nContent-Length: 4").as_bytes(), 400, "ambiguous_framing");
    refused(with("Content_Length: 3").as_bytes(), 400, "ambiguous_framing");
}

#[test]
fn transfer_codings_that_are_not_chunked() {
    for value in ["gzip, chunked", "gzip,chunked", "deflate , gzip, chunked", "br,\tCHUNKED"] {
        refused(with(&format!("Transfer-Encoding: {value}")).as_bytes(), 501, "unsupported_transfer_coding");
    }
    for value in [
        "gzip",
        "xchunked",
        "identity, chunked",
        "identity",
        ", chunked",
        "chunked,",
        "chunked, chunked",
        "chunked, gzip",
        "",
        "chunked;q=1",
        "\"chunked\"",
        "chunked chunked",
        "chunked\u{a0}",
        "g(zip, chunked",
    ] {
        refused(with(&format!("Transfer-Encoding: {value}")).as_bytes(), 400, "ambiguous_framing");
    }
    refused(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked").as_bytes(), 400, "ambiguous_framing");
    refused(with("Transfer-Encoding: \x0bchunked").as_bytes(), 400, "malformed_header");
    refused(with("Transfer-Encoding: chunked\r").as_bytes(), 400, "malformed_header");
    refused(with("Transfer_Encoding: chunked").as_bytes(), 400, "ambiguous_framing");
    refused(with("Transfer-Encoding: chunked\r\nContent-Length: 3").as_bytes(), 400, "ambiguous_framing");
    refused(with("Content-Length: 3\r\nTransfer-Encoding: chunked").as_bytes(), 400, "ambiguous_framing");
    refused(b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "ambiguous_framing");
}

#[test]
fn connection_cannot_name_what_frames_or_routes() {
    for value in ["Content-Length", "close, host", "x,TRANSFER-ENCODING", "keep-alive,\tContent-length ,x"] {
        refused(with(&format!("Connection: {value}")).as_bytes(), 400, "invalid_connection");
    }
}

#[test]
fn sizes_are_bounded() {
    let limits = Limits { max_head: 200, max_target: 50, max_fields: 3 };
    let status = |text: &str| match (scan(text.as_bytes(), 0, &limits), drip(text.as_bytes(), &limits)) {
        (Scan::Reject(a), Scan::Reject(b)) => {
            assert_eq!(a.status, b.status, "{text:?}");
            a.status
        }
        (a, b) => {
            assert_eq!(a, b, "{text:?}");
            200
        }
    };
    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len - 1));
    assert_eq!(status(&target(50)), 200);
    assert_eq!(status(&target(51)), 414);
    assert_eq!(status(&target(1000)), 414);
    assert_eq!(status(&format!("GET /{}", "x".repeat(1000))), 414, "no end in sight");
    let field = |len: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(len));
    let overhead = field(0).len();
    assert_eq!(status(&field(200 - overhead)), 200);
    assert_eq!(status(&field(201 - overhead)), 431);
    assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(500))), 431, "no end in sight");
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert_eq!(status(&fields(3)), 200);
    assert_eq!(status(&fields(4)), 431);
    assert_eq!(status(fields(5).trim_end()), 431, "no end in sight");
    let small = Limits { max_target: 500, ..limits };
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(300));
    assert!(matches!(scan(long.as_bytes(), 0, &small), Scan::Reject(r) if r.status == 414));
    assert!(matches!(drip(long.as_bytes(), &small), Scan::Reject(r) if r.status == 414));
}

#[test]
fn what_is_hopeless_is_refused_before_its_end() {
    for text in [
        "\x16\x03\x01",
        "GET /\0",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x01",
        "GET / HTTP/1.1\r\nX : y\r\n",
        "SSH-2.0-x\r\n",
    ] {
        assert!(matches!(one(text.as_bytes()), Scan::Reject(_)), "{text:?}");
        assert!(matches!(drip(text.as_bytes(), &LIMITS), Scan::Reject(_)), "{text:?}");
    }
    for text in ["", "\r", "\r\n", "G", "GET / HTTP/1.1", "GET / HTTP/1.1\r", "GET / HTTP/1.1\r\nHost: a\r\n\r"] {
        assert_eq!(one(text.as_bytes()), Scan::Partial, "{text:?}");
    }
}

#[test]
fn the_cost_of_a_dripping_head_is_linear() {
    // A mebibyte in one line, a byte at a time: quadratic work would be half a terabyte of bytes read.
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let limits = Limits { max_head: usize::MAX, ..LIMITS };
    let before = std::time::Instant::now();
    assert!(matches!(drip(head.as_bytes(), &limits), Scan::Complete(_)));
    assert!(before.elapsed() < std::time::Duration::from_secs(20), "{:?}", before.elapsed());
}

proptest! {
    /// However the bytes are cut, the verdict is the same kind; a complete head has the same length and framing.
    #[test]
    fn cuts_do_not_matter(cuts in proptest::collection::vec(1usize..40, 1..20), which in 0usize..6, garbage in "[ -~\\r\\n\\t]{0,60}") {
        let text = match which {
            0 => with("Content-Length: 3"),
            1 => with("Transfer-Encoding: chunked"),
            2 => format!("GET /{garbage} HTTP/1.1\r\nHost: a\r\n\r\n"),
            3 => with(&garbage),
            4 => garbage,
            _ => format!("\r\n{}", with(&format!("X: {garbage}"))),
        };
        let bytes = text.as_bytes();
        let at_once = one(bytes);
        let (mut seen, mut in_pieces) = (0, Scan::Partial);
        for cut in cuts.iter().cycle() {
            if seen >= bytes.len() || in_pieces != Scan::Partial { break }
            let len = (seen + cut).min(bytes.len());
            in_pieces = scan(&bytes[..len], seen, &LIMITS);
            seen = len;
        }
        match (at_once, in_pieces) {
            (Scan::Reject(_), Scan::Reject(_)) => {}
            (a, b) => prop_assert_eq!(a, b),
        }
    }

    /// What passes is read by the parser behind as the same head, with the same fields.
    #[test]
    fn what_passes_parses(head in proptest::collection::vec(any::<u8>(), 0..80)) {
        let text = [b"GET / HTTP/1.1\r\nHost: a\r\n".as_slice(), &head, b"\r\n\r\n"].concat();
        if let Scan::Complete(head) = one(&text) {
            let mut fields = [httparse::EMPTY_HEADER; 101];
            let mut request = httparse::Request::new(&mut fields);
            prop_assert_eq!(request.parse(&text).unwrap(), httparse::Status::Complete(head.len));
        }
    }

    /// Where the body ends is what a second reading of the parsed fields says, and there is only one such reading.
    #[test]
    fn framing_is_what_the_fields_say(picks in proptest::collection::vec(0usize..FRAMING_LINES.len(), 0..4)) {
        let lines: String = picks.iter().map(|pick| format!("{}\r\n", FRAMING_LINES[*pick])).collect();
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        if let Scan::Complete(head) = one(text.as_bytes()) {
            let mut fields = [httparse::EMPTY_HEADER; 10];
            let mut request = httparse::Request::new(&mut fields);
            request.parse(text.as_bytes()).unwrap();
            let values = |name: &str| -> Vec<String> {
                let same = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
                request.headers.iter().filter(same).map(|field| String::from_utf8(field.value.to_vec()).unwrap()).collect()
            };
            let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
            let expected = match (&lengths[..], &codings[..]) {
                ([], []) => Framing::None,
                ([length], []) => Framing::Length(length.parse().unwrap()),
                ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
                _ => panic!("{text:?} passes"),
            };
            prop_assert_eq!(head.body, expected);
        }
    }
}

const FRAMING_LINES: &[&str] = &[
    "X: y",
    "Content-Length: 3",
    "content-length:0",
    "CONTENT-LENGTH: 4\t",
    "Content-Length: +3",
    "Content-Length: 3, 3",
    "Content-Length:",
    "Content_Length: 3",
    "Content-Length : 3",
    "Transfer-Encoding: chunked",
    "transfer-encoding:\tCHUNKED ",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding:",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding: \x0bchunked",
    "Connection: close",
    "Connection: content-length",
    " Content-Length: 3",
];
