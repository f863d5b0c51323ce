use std::collections::BTreeSet;

use url::Url;

use super::*;

const HOME: &str = "https://edge.example.com";

/// Ways to write a host that is not ours, in the manner of the lists that are tried against log-ins.
fn hostile() -> BTreeSet<String> {
    let hosts = [
        "evil.example",
        "evil.example/",
        "evil.example/%2e%2e",
        "evil.example?x",
        "evil.example#x",
        "user@evil.example",
        "edge.example.com@evil.example",
        "edge.example.com.evil.example",
        "evil%E3%80%82example",
        "evil。example",
        "192.0.2.1",
        "3221225985",
        "0xC0000201",
        "[::ffff:192.0.2.1]",
        "evil.example:443",
        "xn--evil-.example",
    ];
    let leads = [
        "//",
        "///",
        "////",
        "/////",
        "/\\",
        "\\/",
        "\\\\",
        "\\",
        "/\\/",
        "/\\\\",
        "//\\",
        "\\//",
        "/%5c",
        "/%5C",
        "/%2f",
        "/%2F",
        "/%2f%2f",
        "/%5c%5c",
        "%2f%2f",
        "%5c%5c",
        "/%09/",
        "/%0a/",
        "/%0d/",
        "/\t/",
        "/\n/",
        "/\r/",
        "\t//",
        "\n//",
        "\r\n//",
        " //",
        "//\t",
        "/\t\\",
        "/\u{0}/",
        "/%00/",
        "/\u{b}/",
        "https://",
        "http://",
        "HTTPS://",
        "https:",
        "https:/",
        "https:///",
        "https:\\\\",
        "ht\ntps://",
        " https://",
        "\u{1}https://",
        "ftp://",
        "javascript://",
        "javascript:",
        "data:text/html,",
        "//;@",
        "//%2f",
        "/\u{7f}/",
        ".",
        "..//",
        "./\\",
        "",
        "?//",
        "#//",
        ":",
        "://",
        "///\\;@",
        "/%2f\\",
        "/\\%2f",
        "/%5c%2f",
        "/%2f%5c",
        "/ /",
        "/%20/",
        "/%25%32%66/\\",
    ];
    let mut all: BTreeSet<String> =
        leads.iter().flat_map(|lead| hosts.iter().map(move |host| format!("{lead}{host}"))).collect();
    all.extend(
        [
            "",
            "a",
            "a/b",
            "*",
            "/\r\nset-cookie: a=b",
            "/%0d%0aset-cookie:%20a=b",
            "/a\u{0}",
            "/a%00",
            "/a\\b",
            "/a%5cb",
            "/a\u{1f}",
            "/a\u{7f}",
            "/%7f",
        ]
        .map(str::to_owned),
    );
    all
}

#[test]
fn nobody_is_sent_elsewhere() {
    let spellings = hostile();
    assert!(spellings.len() >= 500, "{}", spellings.len());
    for spelled in &spellings {
        assert_eq!(safe_back(spelled), "/", "{spelled:?}");
    }
}

#[test]
fn whoever_was_somewhere_comes_back_there() {
    for path in [
        "/",
        "/a",
        "/a/b?c=d&e=%2F%2Ff",
        "/a0/userlist?x=1",
        "/%E7%8E%8B?q=%E8%8A%B3",
        "/王芳",
        "/a//b",
        "/a?text=one%0D%0Atwo&path=c%3A%5Cx",
        "/?next=//evil.example",
        "/?u=https://other.example/",
        "/.well-known/x",
        "/~user",
        "/@user",
        "/:a",
        "/;a",
        "/a%20b",
        "/%61",
        "/%",
        "/%zz",
        "/a%",
    ] {
        assert_eq!(safe_back(path), path);
    }
    let longest = format!("/{}", "a".repeat(LONGEST - 1));
    assert_eq!(safe_back(&longest), longest);
    assert_eq!(safe_back(&format!("{longest}a")), "/");
}

#[test]
fn what_is_kept_stays_on_our_host_for_a_browser_too() {
    // However pieces of hostile spellings are put together: as browsers read addresses (the WHATWG URL standard).
    let pieces = [
        "/",
        "\\",
        "//",
        "%2f",
        "%5c",
        "\t",
        "\n",
        "a",
        ".",
        "..",
        "@",
        ":",
        "https:",
        "evil.example",
        "?",
        "#",
        "%",
        " ",
    ];
    let home = Url::parse(HOME).unwrap();
    let mut kept = 0;
    for first in pieces {
        for second in pieces {
            for third in pieces {
                for fourth in ["", "evil.example", "//evil.example"] {
                    let spelled = format!("{first}{second}{third}{fourth}");
                    let path = safe_back(&spelled);
                    kept += usize::from(path == spelled && path != "/");
                    let place = home.join(path).unwrap();
                    assert_eq!(place.origin(), home.origin(), "{spelled:?}");
                    let decoded = String::from_utf8_lossy(&decoded(path)).into_owned();
                    assert_eq!(home.join(&decoded).unwrap().origin(), home.origin(), "{spelled:?}, decoded");
                }
            }
        }
    }
    assert!(kept > 100, "{kept}: what is harmless is kept");
}
