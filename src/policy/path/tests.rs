use super::{canonical, join, rest};
use proptest::prelude::*;

/// Raw path, what it matches as.
const PASS: &[(&str, &str)] = &[
    ("/", "/"),
    ("/a0", "/a0"),
    ("/a0/", "/a0/"),
    ("/a0/userlist", "/a0/userlist"),
    ("/a0x", "/a0x"),
    ("/A0", "/A0"),
    ("/%610", "/a0"),
    ("/a%30", "/a0"),
    ("/%61%30/x", "/a0/x"),
    ("/a0/%2d%2D", "/a0/--"),
    ("/a0/%5f%5F", "/a0/__"),
    ("/a0/%7e%7E", "/a0/~~"),
    ("/a0/%41%5A%7A", "/a0/AZz"),
    ("/a%2eb", "/a.b"),
    ("/a%2E", "/a."),
    ("/a%2e%2e", "/a.."),
    ("/%2ea", "/.a"),
    ("/%2e%2ea", "/..a"),
    ("/...", "/..."),
    ("/....", "/...."),
    ("/%2e%2e%2e", "/..."),
    ("/.well-known/x", "/.well-known/x"),
    ("/..a", "/..a"),
    ("/a..", "/a.."),
    ("/a.", "/a."),
    ("/.a.", "/.a."),
    ("/a;x", "/a;x"),
    ("/a;x=1/b", "/a;x=1/b"),
    ("/a;..", "/a;.."),
    ("/a;/b", "/a;/b"),
    ("/;jsessionid=1", "/;jsessionid=1"),
    ("/a/;x", "/a/;x"),
    ("/a%3Bx", "/a;x"),
    ("/a%3bx", "/a;x"),
    ("/a%40b", "/a@b"),
    ("/a@b", "/a@b"),
    ("/a%3Ab", "/a:b"),
    ("/a%21%24%26%27%28%29%2A%2B%2C%3D", "/a!$&'()*+,="),
    ("/!$&'()*+,=:@-._~", "/!$&'()*+,=:@-._~"),
    ("/a%20b", "/a%20b"),
    ("/a%2520b", "/a%2520b"),
    ("/a%25", "/a%25"),
    ("/100%25", "/100%25"),
    ("/a%23b", "/a%23b"),
    ("/a%3Fb", "/a%3Fb"),
    ("/a%3fb", "/a%3Fb"),
    ("/a%0ab", "/a%0Ab"),
    ("/a%0D%0Ab", "/a%0D%0Ab"),
    ("/a%7fb", "/a%7Fb"),
    ("/%e4%b8%ad", "/%E4%B8%AD"),
    ("/%E4%B8%AD", "/%E4%B8%AD"),
    ("/%E4%b8%aD", "/%E4%B8%AD"),
    ("/%ff", "/%FF"),
    ("/%d6%d0", "/%D6%D0"),
    ("/%C0%AEx", "/%C0%AEx"),
    ("/a|b", "/a%7Cb"),
    ("/a%7cb", "/a%7Cb"),
    ("/a{b}", "/a%7Bb%7D"),
    ("/a%7bb%7d", "/a%7Bb%7D"),
    ("/a^b", "/a%5Eb"),
    ("/a\"b", "/a%22b"),
    ("/a<b>", "/a%3Cb%3E"),
    ("/a`b", "/a%60b"),
    ("/a[b]", "/a%5Bb%5D"),
    ("/a%5bb%5D", "/a%5Bb%5D"),
    ("/v1/projects/p/locations/l:predict", "/v1/projects/p/locations/l:predict"),
    ("/http:", "/http:"),
    ("/a/b/c/d/e/f/g/", "/a/b/c/d/e/f/g/"),
    ("/*", "/*"),
    ("/%2A", "/*"),
    ("/~user", "/~user"),
    ("/a%252fb", "/a%252fb"),
    ("/a/%C0%AF", "/a/%C0%AF"),
    ("/%2525", "/%2525"),
    ("/a0/%252ex", "/a0/%252ex"),
    ("/a0/http:%252f%252fb.test%252f...", "/a0/http:%252f%252fb.test%252f..."),
    ("/a0/%252e%252e%252e", "/a0/%252e%252e%252e"),
    ("/sso/callback=1&x", "/sso/callback=1&x"),
    ("/-/-", "/-/-"),
];

const REFUSED: &[&str] = &[
    "",
    "a0",
    "*",
    "http://a/b",
    "?",
    "//",
    "//a",
    "///",
    "//evil.test/x",
    "/a//b",
    "/a0//",
    "/a0//..",
    "/a0///x",
    "/;/a",
    "/;x/a",
    "/%3b/a",
    "/%3Bx=1/a",
    "/a/;/b",
    "/a/;x;y/b",
    "/%253b/a",
    "/.",
    "/..",
    "/./",
    "/../",
    "/a0/.",
    "/a0/..",
    "/a0/./b",
    "/a0/../b",
    "/a0/../admin",
    "/a0/..;/admin",
    "/a0/..;x/admin",
    "/a0/..;x=1/admin",
    "/a0/.;/admin",
    "/a0/.;x",
    "/a0/..;",
    "/a0/..%3b/admin",
    "/a0/..%3B/admin",
    "/a0/..%3bx",
    "/a0/%2e%2e;/admin",
    "/a0/%2e%2e%3b/admin",
    "/a0/..%253b/admin",
    "/a0/%2e",
    "/a0/%2E",
    "/a0/%2e%2e",
    "/a0/%2E%2E/x",
    "/a0/%2e./x",
    "/a0/.%2e/x",
    "/a0/.%2E/x",
    "/a0/%252e",
    "/a0/..%252fadmin",
    "/a0/..%255cadmin",
    "/a0/..%25252fadmin",
    "/a0/..%c0%afadmin",
    "/a0/.%252e%252fx",
    "/a0/x%252f..%252fy",
    "/a0/%252e%252e/x",
    "/a0/%25%32e",
    "/%25%32%65",
    "/a0/%25%32%65%25%32%65/x",
    "/a0/..%25%33b/x",
    "/a0/%252e./x",
    "/a0/.%252E/x",
    "/a0/%25252e%25252e/x",
    "/a0/%2525252e%2e/x",
    "/a0/%c0%ae%c0%ae/x",
    "/a0/%C0%AE./x",
    "/a0/%c0%ae",
    "/a0/%e0%80%ae%e0%80%ae/x",
    "/a0/.%e0%80%ae/x",
    "/a0/%25c0%ae",
    "/%2e%2e/etc/passwd",
    "/a0/..%2fadmin",
    "/a0%2fx",
    "/a0%2Fx",
    "/%2f",
    "/%2F%2F",
    "/%2fa0",
    "/a0/%2f..",
    "/a0%5cx",
    "/a0%5Cx",
    "/%5c",
    "/a0/..%5cadmin",
    "/a\\..\\echo",
    "/\\",
    "/a0\\",
    "/\\evil.test",
    "/a0/%00x",
    "/%00",
    "/a0%00",
    "/a0/x%00.html",
    "/a0/..%00/x",
    "/%",
    "/%2",
    "/%g0",
    "/%0g",
    "/%%",
    "/%%30%30",
    "/%u002e",
    "/% 1",
    "/%+1",
    "/%-1",
    "/a0/%",
    "/a0/100%",
    "/a0/%/x",
    "/a0/%2/x",
    "/%2\u{ff11}",
    "/%\u{4e2d}",
    "/a b",
    "/ ",
    "/a\tb",
    "/a\nb",
    "/a\r\nb",
    "/a\0b",
    "/a\u{1}b",
    "/a\u{7f}b",
    "/\u{80}",
    "/\u{4e2d}\u{6587}",
    "/caf\u{e9}",
    "/a0/\u{2024}\u{2024}/x",
    "/a0/\u{ff0e}\u{ff0e}/x",
    "/a#b",
    "/#",
    "/a?b",
];

#[test]
fn what_is_clear_passes_with_one_spelling() {
    for (raw, expected) in PASS {
        assert_eq!(canonical(raw).as_deref(), Ok(*expected), "{raw:?}");
        assert_eq!(canonical(expected).as_deref(), Ok(*expected), "{raw:?} again");
    }
}

#[test]
fn what_is_ambiguous_is_refused() {
    for raw in REFUSED {
        assert!(canonical(raw).is_err(), "{raw:?} passes as {:?}", canonical(raw));
    }
}

#[test]
fn the_corpus_is_large() {
    assert!(PASS.len() + REFUSED.len() >= 150, "{}", PASS.len() + REFUSED.len());
}

#[test]
fn canonical_paths_are_not_copied() {
    assert!(matches!(canonical("/a0/b.c;x=1/%E4%B8%AD"), Ok(std::borrow::Cow::Borrowed(_))));
}

#[test]
fn the_rest_is_raw() {
    for (raw, prefix, expected) in [
        ("/a0", "/a0", ""),
        ("/a0/", "/a0", "/"),
        ("/a0/x", "/a0", "/x"),
        ("/a0/%78/%e4", "/a0", "/%78/%e4"),
        ("/%610/%78", "/a0", "/%78"),
        ("/%61%30", "/a0", ""),
        ("/%61%30/", "/a0", "/"),
        ("/%e4%b8%ad/%61", "/%E4%B8%AD", "/%61"),
        ("/{a}/b|c", "/%7Ba%7D", "/b|c"),
        ("/{%61/b", "/%7Ba", "/b"),
        ("/", "/", "/"),
        ("/x", "/", "/x"),
        ("/%78/y", "/", "/%78/y"),
        ("/x", "", "/x"),
        ("/a/b", "/a/b", ""),
    ] {
        let path = canonical(raw).unwrap();
        assert!(path.starts_with(prefix), "{raw:?}");
        assert_eq!(rest(raw, &path, prefix.len()), expected, "{raw:?} below {prefix:?}");
    }
}

#[test]
fn seams_have_one_slash() {
    for (base, rest, expected) in [
        ("", "", "/"),
        ("/", "", "/"),
        ("", "/", "/"),
        ("/", "/", "/"),
        ("", "/x", "/x"),
        ("/", "/x", "/x"),
        ("/api", "", "/api"),
        ("/api/", "", "/api/"),
        ("/api", "/", "/api/"),
        ("/api/", "/", "/api/"),
        ("/api", "/x", "/api/x"),
        ("/api/", "/x/", "/api/x/"),
        ("/a//b", "/x", "/a//b/x"),
    ] {
        assert_eq!(join(base, rest), expected, "{base:?} + {rest:?}");
    }
}

/// What a server sees that decodes every escape once.
fn decode(path: &str) -> Vec<u8> {
    let (mut bytes, mut out) = (path.bytes(), Vec::new());
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap() as u8;
        out.push(if byte == b'%' { digit() * 16 + digit() } else { byte });
    }
    out
}

/// Paths made of the pieces that attacks are made of.
fn paths() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just("/"),
        Just("a0"),
        Just("%61"),
        Just("."),
        Just("%2e"),
        Just("%2E"),
        Just("%252e"),
        Just("%25"),
        Just(";"),
        Just("%3b"),
        Just("%2f"),
        Just("%5C"),
        Just("\\"),
        Just("%c0%ae"),
        Just("%00"),
        Just("|"),
        Just("%7c"),
        Just("x"),
        Just("2e"),
        Just("%"),
        Just("32"),
        Just("%32"),
        Just("%65"),
        Just("%e4%b8%ad"),
        Just("{"),
        Just("#"),
        Just("\u{e9}"),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn canonical_is_idempotent(raw in prop_oneof![paths(), "/\\PC{0,20}"]) {
        if let Ok(path) = canonical(&raw) {
            prop_assert_eq!(canonical(&path).unwrap(), path.clone());
        }
    }

    #[test]
    fn no_dot_or_empty_segment_survives_decoding(raw in paths()) {
        if let Ok(path) = canonical(&raw) {
            let mut seen = raw.clone().into_bytes();
            for _ in 0..4 {
                let text = String::from_utf8_lossy(&seen).into_owned();
                let segments: Vec<&str> = text.strip_prefix('/').unwrap().split('/').collect();
                for (at, segment) in segments.iter().enumerate() {
                    let name = segment.split(';').next().unwrap();
                    prop_assert!(name != "." && name != "..", "{raw:?} -> {path:?} -> {text:?}");
                    prop_assert!(!name.is_empty() || at + 1 == segments.len(), "{raw:?} -> {text:?}");
                }
                prop_assert!(!text.contains('\\') && !text.contains('\0'));
                // Further rounds only while they are well formed and cannot be about an encoded slash.
                if canonical(&text).is_err() { break }
                seen = decode(&text);
            }
        }
    }

    #[test]
    fn it_means_what_the_raw_path_means(raw in paths()) {
        if let Ok(path) = canonical(&raw) {
            prop_assert_eq!(decode(&raw), decode(&path));
        }
    }

    #[test]
    fn every_spelling_of_plain_characters_is_one(name in "[a-z0-9~@:!,]{1,8}", escaped in proptest::collection::vec(any::<bool>(), 8)) {
        let spelt: String = name.bytes().zip(&escaped)
            .map(|(byte, escape)| if *escape { format!("%{byte:02x}") } else { char::from(byte).to_string() }).collect();
        let raw = format!("/{spelt}/x");
        prop_assert_eq!(canonical(&raw).unwrap(), format!("/{name}/x"));
    }

    #[test]
    fn a_prefix_ends_at_a_segment(tail in "[a-z0-9%._;~-]{1,6}") {
        let raw = format!("/a0{tail}");
        if let Ok(path) = canonical(&raw) {
            prop_assert!(path != "/a0" && !path.starts_with("/a0/"), "{raw:?} -> {path:?}");
        }
    }

    #[test]
    fn rest_and_prefix_are_the_whole(raw in paths()) {
        if let Ok(path) = canonical(&raw) {
            for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
                let rest = rest(&raw, &path, at);
                prop_assert!(raw.ends_with(rest));
                prop_assert!(rest.is_empty() || rest.starts_with('/'));
                if at > 0 && path.as_bytes()[at - 1] != b'/' && !rest.is_empty() {
                    prop_assert_eq!(&*canonical(rest).unwrap(), &path[at..]);
                }
            }
        }
    }

    #[test]
    fn joining_makes_no_empty_segment(raw in paths(), base in "(/[a-z]{1,3}){0,3}/?") {
        if let Ok(path) = canonical(&raw) {
            for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
                let joined = join(&base, rest(&raw, &path, at));
                prop_assert!(joined.starts_with('/') && !joined.contains("//"), "{base:?} + {raw:?} at {at}: {joined:?}");
            }
        }
    }
}
