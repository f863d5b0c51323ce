//! From a request's path to the name of a file below a root.
//!
//! The request gate has refused dot segments, empty segments, encoded slashes, backslashes and NUL before; here they are
//! looked for once more, in the decoded bytes, because a file system reads bytes.

/// A file or directory below a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Relative, without a slash at either end; empty: the root itself. Any bytes but NUL.
    pub path: Vec<u8>,
    /// The path ended in a slash: only a directory is meant.
    pub as_directory: bool,
}

/// What the part of a canonical path behind a route's prefix (empty, or beginning with `/`) names. `None`: nothing that
/// is ever served.
pub fn wanted(rest: &str) -> Option<Wanted> {
    let as_directory = rest.ends_with('/');
    if rest.is_empty() || rest == "/" {
        return Some(Wanted { path: Vec::new(), as_directory });
    }
    let below = rest.strip_prefix('/')?;
    let below = below.strip_suffix('/').unwrap_or(below);
    let mut path = Vec::with_capacity(below.len());
    for segment in below.split('/') {
        if !path.is_empty() {
            path.push(b'/');
        }
        let begins = path.len();
        decode(segment, &mut path)?;
        if !is_served(path.get(begins..).unwrap_or_default()) {
            return None;
        }
    }
    Some(Wanted { path, as_directory })
}

/// Whether a name may be asked for: no hidden one, none that is no name.
pub fn is_served(name: &[u8]) -> bool {
    !name.is_empty() && !name.starts_with(b".") && !name.contains(&b'/') && !name.contains(&0)
}

fn decode(segment: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut left = segment.as_bytes();
    while let Some((byte, rest)) = left.split_first() {
        if *byte == b'%' {
            let (digits, rest) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
            left = rest;
        } else {
            out.push(*byte);
            left = rest;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{Wanted, wanted};
    use crate::policy::path;
    use proptest::prelude::*;

    fn found(rest: &str) -> Option<(String, bool)> {
        wanted(rest).map(|Wanted { path, as_directory }| (String::from_utf8_lossy(&path).into_owned(), as_directory))
    }

    #[test]
    fn names() {
        for (rest, path, as_directory) in [
            ("", "", false),
            ("/", "", true),
            ("/a", "a", false),
            ("/a/", "a", true),
            ("/a/b.html", "a/b.html", false),
            ("/a%20b", "a b", false),
            ("/%E4%BD%A0", "你", false),
            ("/100%25", "100%", false),
            ("/a.", "a.", false),
            ("/a..b", "a..b", false),
            ("/a;b", "a;b", false),
            ("/~a", "~a", false),
        ] {
            assert_eq!(found(rest), Some((path.to_owned(), as_directory)), "{rest}");
        }
    }

    #[test]
    fn what_is_never_served() {
        for rest in [
            "/.git",
            "/.git/config",
            "/a/.env",
            "/%2Egit",
            "/%2e%2e/a",
            "/..",
            "/.",
            "/a/../b",
            "//a",
            "/a//b",
            "//",
            "/a%2Fb",
            "/a%2f..%2fb",
            "/a%00",
            "/a%",
            "/a%4",
            "/a%zz",
            "/a%+1",
        ] {
            assert_eq!(found(rest), None, "{rest}");
        }
    }

    proptest! {
        /// Whatever passes: every name of the path is one that a file can have, and none leads upwards or is hidden.
        #[test]
        fn nothing_leads_out(rest in "(/([a-c.%]|%2[ef5]|%00|;){0,5}){0,5}") {
            if let Some(Wanted { path, .. }) = wanted(&rest) {
                prop_assert!(!path.starts_with(b"/") && !path.contains(&0));
                let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
                prop_assert!(path.is_empty() || names.iter().all(|name| !name.is_empty() && !name.starts_with(b".")));
            }
        }

        /// What the gate lets through and has no hidden name is found under exactly its decoded bytes.
        #[test]
        fn names_survive(names in prop::collection::vec("[^/\\x00.\\\\][^/\\x00\\\\]{0,5}", 1..4)) {
            let encoded: String = names.iter().map(|name| {
                name.bytes().fold(String::from("/"), |text, byte| format!("{text}%{byte:02X}"))
            }).collect();
            if let Ok(canonical) = path::canonical(&encoded) {
                let path = wanted(&canonical).unwrap().path;
                prop_assert_eq!(path, names.join("/").into_bytes());
            }
        }
    }
}
