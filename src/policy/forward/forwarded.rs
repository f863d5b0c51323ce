//! The field `Forwarded` (RFC 7239): read from a trusted peer, and written on for the upstream.
//!
//! What cannot be read is worth nothing as a whole: half a chain could be anybody's.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use http::{HeaderMap, header::FORWARDED};

/// What one proxy of the chain said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element<'a> {
    /// Whom it got the request from: an address, perhaps with a port, or a word that hides it.
    pub by_whom: Option<Cow<'a, str>>,
    /// How it was spoken to.
    pub proto: Option<Cow<'a, str>>,
}

/// The whole chain, the farthest first; empty: there is none, or it cannot be read.
pub fn chain(headers: &HeaderMap) -> Vec<Element<'_>> {
    let mut chain = Vec::new();
    for value in headers.get_all(FORWARDED) {
        let read = value.to_str().ok().and_then(|value| elements(value, &mut chain));
        if read.is_none() {
            return Vec::new();
        }
    }
    chain
}

/// `forwarded-element *( "," forwarded-element )`.
fn elements<'a>(value: &'a str, chain: &mut Vec<Element<'a>>) -> Option<()> {
    for element in split(value, b',')? {
        let mut read = Element::default();
        for pair in split(element, b';')?.into_iter().filter(|pair| !pair.trim().is_empty()) {
            let (name, value) = pair.trim().split_once('=')?;
            let value = unquoted(value)?;
            let place = match name {
                _ if name.eq_ignore_ascii_case("for") => &mut read.by_whom,
                _ if name.eq_ignore_ascii_case("proto") => &mut read.proto,
                _ if is_token(name) => continue,
                _ => return None,
            };
            // RFC 7239 §4: each parameter at most once.
            if place.replace(value).is_some() {
                return None;
            }
        }
        if !element.trim().is_empty() {
            chain.push(read);
        }
    }
    Some(())
}

/// Splits where the separator stands outside of quotes; `None`: a quote has no end.
fn split(text: &str, separator: u8) -> Option<Vec<&str>> {
    let (mut parts, mut from, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => {
                parts.push(text.get(from..at)?);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(from..)?);
    (!quoted).then_some(parts)
}

/// A token, or what a quoted string stands for.
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(inside) = value.strip_prefix('"') else { return is_token(value).then_some(Cow::Borrowed(value)) };
    let inside = inside.strip_suffix('"')?;
    if !inside.contains(['\\', '"']) {
        return Some(Cow::Borrowed(inside));
    }
    let (mut text, mut escaped) = (String::with_capacity(inside.len()), false);
    for character in inside.chars() {
        match character {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return None,
            _ => {
                text.push(character);
                escaped = false;
            }
        }
    }
    (!escaped).then_some(Cow::Owned(text))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// The value for the upstream: what the trusted peer sent, if it can be read, with what we know of that peer behind it.
pub fn rebuilt(headers: &HeaderMap, peer: IpAddr, proto: &str, host: Option<&str>) -> String {
    let mut value = String::new();
    if !chain(headers).is_empty() {
        for own in headers.get_all(FORWARDED).iter().filter_map(|value| value.to_str().ok()) {
            let _ = write!(value, "{own}, ");
        }
    }
    let _ = match peer.to_canonical() {
        IpAddr::V4(peer) => write!(value, "for={peer}"),
        IpAddr::V6(peer) => write!(value, "for=\"[{peer}]\""),
    };
    let _ = write!(value, ";proto={proto}");
    if let Some(host) = host.filter(|host| !host.contains(['"', '\\'])) {
        let _ = write!(value, ";host=\"{host}\"");
    }
    value
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (FORWARDED, HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect()
    }

    fn read(values: &[&str]) -> Vec<(String, String)> {
        let text = |part: &Option<Cow<'_, str>>| part.as_deref().unwrap_or("-").to_owned();
        chain(&headers(values)).iter().map(|it| (text(&it.by_whom), text(&it.proto))).collect()
    }

    #[test]
    fn elements_are_read_as_the_standard_writes_them() {
        type Row<'r> = (&'r [&'r str], &'r [(&'r str, &'r str)]);
        let rows: [Row<'_>; 9] = [
            (&["for=192.0.2.60;proto=http;by=203.0.113.43"], &[("192.0.2.60", "http")]),
            (&["for=192.0.2.43, for=198.51.100.17"], &[("192.0.2.43", "-"), ("198.51.100.17", "-")]),
            (&["For=\"[2001:db8:cafe::17]:4711\""], &[("[2001:db8:cafe::17]:4711", "-")]),
            (&["for=192.0.2.43", "FOR=unknown;Proto=HTTPS"], &[("192.0.2.43", "-"), ("unknown", "HTTPS")]),
            (&["for=\"_a,b;c\\\"d\""], &[("_a,b;c\"d", "-")]),
            (&["host=a.test;for=_hidden"], &[("_hidden", "-")]),
            (&["for=1.2.3.4;"], &[("1.2.3.4", "-")]),
            (&[" , for=1.2.3.4 ,"], &[("1.2.3.4", "-")]),
            (&["proto=https"], &[("-", "https")]),
        ];
        for (values, expected) in rows {
            let expected: Vec<_> = expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            assert_eq!(read(values), expected, "{values:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_worth_nothing() {
        for wrong in [
            "for",
            "for=",
            "for=\"1.2.3.4",
            "for=1.2.3.4\"",
            "for=1.2.3.4;for=5.6.7.8",
            "for=a b",
            "for=[::1]",
            "=1.2.3.4",
            "a b=c",
            "for=\"a\"b\"",
            "\u{e4}=1",
        ] {
            assert!(read(&[wrong]).is_empty(), "{wrong}");
            assert!(read(&["for=1.2.3.4", wrong]).is_empty(), "{wrong}");
        }
    }

    #[test]
    fn the_chain_is_continued_with_the_peer() {
        let of = |values: &[&str], peer: &str| {
            rebuilt(&headers(values), peer.parse().unwrap(), "https", Some("a.test:8443"))
        };
        assert_eq!(of(&["for=192.0.2.1"], "10.0.0.1"), "for=192.0.2.1, for=10.0.0.1;proto=https;host=\"a.test:8443\"");
        assert_eq!(of(&["broken"], "10.0.0.1"), "for=10.0.0.1;proto=https;host=\"a.test:8443\"");
        assert_eq!(
            of(&["for=a, for=b", "for=c"], "fd00::1"),
            "for=a, for=b, for=c, for=\"[fd00::1]\";proto=https;host=\"a.test:8443\""
        );
        let written = of(&["for=192.0.2.1"], "fd00::1");
        assert_eq!(read(&[&written]).len(), 2, "it can be read again");
    }
}
