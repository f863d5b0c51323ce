//! The host a request is for, in one canonical spelling.
//!
//! Two spellings of one host must not reach two projects, so the canonical form is what everything compares: lower case
//! (RFC 9110 §4.2.3), no port, no trailing dot, IPv6 as RFC 5952 writes it. Stricter than `reg-name` in RFC 3986: a
//! percent-encoded or a punctuated host is refused, since no host that is configured can be meant by it.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// A Host value or authority in canonical form: lower case, without port and trailing dot; IPv6 in brackets.
///
/// # Errors
/// `Err` names what is wrong: empty, user info, a list, a path, two ports, characters outside of `reg-name`.
pub fn canonical(authority: &str) -> Result<Cow<'_, str>, &'static str> {
    split(authority).map(|(host, _)| host)
}

/// The same with the port, if one is given (an empty one, `a.test:`, counts as none: RFC 3986 §6.2.3).
///
/// # Errors
/// As [`canonical`].
pub fn split(authority: &str) -> Result<(Cow<'_, str>, Option<u16>), &'static str> {
    if let Some(reason) = misplaced(authority) {
        return Err(reason);
    }
    if let Some(inner) = authority.strip_prefix('[') {
        let (address, rest) = inner.split_once(']').ok_or(BAD_LITERAL)?;
        return Ok((literal(authority, address)?, port(rest)?));
    }
    let end = authority.find(':').unwrap_or(authority.len());
    let (host, rest) = authority.split_at_checked(end).unwrap_or((authority, ""));
    Ok((name(host)?, port(rest)?))
}

/// What an authority may not hold at all, told apart for the message.
fn misplaced(authority: &str) -> Option<&'static str> {
    let byte = authority.bytes().find(|byte| !is_host_byte(*byte) && !matches!(byte, b':' | b'[' | b']'))?;
    Some(match byte {
        b'@' => "the host has user information",
        b',' | b' ' | b'\t' => "the host is a list",
        b'/' | b'?' | b'#' | b'\\' => "the host has a path",
        _ => BAD_CHARACTER,
    })
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn name(host: &str) -> Result<Cow<'_, str>, &'static str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return Err("the host is empty");
    }
    if host.len() > 253 {
        return Err("the host is too long");
    }
    if host.starts_with('.') || host.ends_with('.') || host.contains("..") {
        return Err("the host has an empty label");
    }
    if host.contains(['[', ']']) {
        return Err(BAD_LITERAL);
    }
    Ok(lower_case(host))
}

fn lower_case(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) { host.to_ascii_lowercase().into() } else { host.into() }
}

fn literal<'a>(authority: &'a str, address: &str) -> Result<Cow<'a, str>, &'static str> {
    let address: Ipv6Addr = address.parse().map_err(|_| BAD_LITERAL)?;
    let spelling = format!("[{address}]");
    Ok(if authority == spelling { authority.into() } else { spelling.into() })
}

fn port(rest: &str) -> Result<Option<u16>, &'static str> {
    let Some(digits) = rest.strip_prefix(':') else {
        return if rest.is_empty() { Ok(None) } else { Err(BAD_LITERAL) };
    };
    if digits.contains(':') {
        return Err("the host has two ports");
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BAD_PORT);
    }
    if digits.is_empty() { Ok(None) } else { digits.parse().map(Some).map_err(|_| BAD_PORT) }
}

const BAD_CHARACTER: &str = "the host has a character that no host has";
const BAD_LITERAL: &str = "the host is not a proper IPv6 literal";
const BAD_PORT: &str = "the host's port is not a number up to 65535";

#[cfg(test)]
mod tests {
    use super::{canonical, split};
    use proptest::prelude::*;

    #[test]
    fn one_spelling() {
        for (given, host, port) in [
            ("a.test", "a.test", None),
            ("A.TEST", "a.test", None),
            ("A.TEST.", "a.test", None),
            ("a.test:80", "a.test", Some(80)),
            ("a.test.:8443", "a.test", Some(8443)),
            ("a.test:", "a.test", None),
            ("a.test:0080", "a.test", Some(80)),
            ("localhost", "localhost", None),
            ("my_service:3000", "my_service", Some(3000)),
            ("xn--fiq228c.test", "xn--fiq228c.test", None),
            ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
            ("[::1]", "[::1]", None),
            ("[::1]:80", "[::1]", Some(80)),
            ("[0:0:0:0:0:0:0:1]", "[::1]", None),
            ("[2001:DB8::A]:443", "[2001:db8::a]", Some(443)),
            ("[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]", None),
        ] {
            assert_eq!(split(given).unwrap(), (host.into(), port), "{given:?}");
        }
    }

    #[test]
    fn what_is_no_host_is_named() {
        for (given, reason) in [
            ("", "empty"),
            (".", "empty"),
            (":80", "empty"),
            ("..", "empty label"),
            ("a..test", "empty label"),
            (".a.test", "empty label"),
            ("a.test..", "empty label"),
            ("u@a.test", "user information"),
            ("u:p@a.test", "user information"),
            ("a.test, b.test", "list"),
            ("a.test,b.test", "list"),
            ("a.test b.test", "list"),
            (" a.test", "list"),
            ("a.test/evil", "path"),
            ("a.test?x", "path"),
            ("a.test#x", "path"),
            ("a.test\\x", "path"),
            ("http://a.test", "path"),
            ("a.test:80:80", "two ports"),
            ("::1", "empty"),
            ("2001:db8::1", "two ports"),
            ("a.test:http", "not a number"),
            ("a.test:65536", "not a number"),
            ("a.test:-1", "not a number"),
            ("a.test:+80", "character"),
            ("a%2etest", "character"),
            ("a\u{3002}test", "character"),
            ("a;b", "character"),
            ("a!b", "character"),
            ("a*b", "character"),
            ("*.a.test", "character"),
            ("\u{ff11}27.0.0.1", "character"),
            ("a\0", "character"),
            ("[::1", "IPv6"),
            ("[::1]x", "IPv6"),
            ("[::1]]", "IPv6"),
            ("[]", "IPv6"),
            ("[127.0.0.1]", "IPv6"),
            ("[fe80::1%eth0]", "character"),
            ("[v1.a]", "IPv6"),
            ("a[b]", "IPv6"),
        ] {
            let error = split(given).expect_err(given);
            assert!(error.contains(reason), "{given:?}: {error}");
        }
        assert!(split(&"a".repeat(254)).is_err());
    }

    proptest! {
        #[test]
        fn canonical_is_idempotent(authority in "\\PC{0,30}|[A-Za-z0-9.:\\[\\]-]{0,20}") {
            if let Ok(host) = canonical(&authority) {
                prop_assert_eq!(canonical(&host).unwrap(), host.clone());
                prop_assert!(!host.bytes().any(|b| b.is_ascii_uppercase()));
            }
        }
    }
}
