//! Which answers are compressed on their way, and what that does to their head (RFC 9110 §8.4, §8.8.3, §12.5.5).
//!
//! Never: event streams, what is encoded already, parts of something (206), what must not be transformed
//! (`cache-control: no-transform`), what carries a digest of its bytes, and small answers of known length.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    TRAILER, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::coding::Coding;

/// The least length that is worth it.
pub const WORTH: u64 = 1024;

/// What a compressed answer no longer says: its length is another one, and its parts are of no use.
pub const LOST: [HeaderName; 2] = [CONTENT_LENGTH, ACCEPT_RANGES];

/// Fields that are about the very bytes of the body.
const DIGESTS: [&str; 4] = ["content-md5", "content-digest", "repr-digest", "digest"];

/// Whether an answer with this head may be compressed.
pub fn suits(status: StatusCode, headers: &HeaderMap) -> bool {
    let whole = !status.is_informational() && !matches!(status.as_u16(), 204 | 205 | 206 | 304);
    let plain = !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && !headers.contains_key(TRAILER)
        && !DIGESTS.iter().any(|name| headers.contains_key(*name));
    whole && plain && headers.get(CONTENT_TYPE).is_some_and(is_text) && is_worth_it(headers) && may_be_changed(headers)
}

/// What a compressed answer says instead.
pub fn relabelled(headers: &HeaderMap, coding: Coding) -> Vec<(HeaderName, HeaderValue)> {
    let mut set = vec![(CONTENT_ENCODING, coding.value())];
    set.extend(vary(headers).map(|value| (VARY, value)));
    set.extend(headers.get(ETAG).and_then(weakened).map(|value| (ETAG, value)));
    set
}

/// `vary` with `accept-encoding` in it; `None`: it says so already. Caches must know it of the plain answer too.
pub fn vary(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut merged = Vec::new();
    for line in headers.get_all(VARY) {
        let mut names = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        if names.any(|name| name == b"*" || name.eq_ignore_ascii_case(ACCEPT_ENCODING.as_str().as_bytes())) {
            return None;
        }
        merged.extend_from_slice(line.as_bytes().trim_ascii());
        merged.extend_from_slice(b", ");
    }
    merged.extend_from_slice(ACCEPT_ENCODING.as_str().as_bytes());
    HeaderValue::from_bytes(&merged).ok()
}

/// The same opaque tag, weak: the bytes are others. `None`: it is weak already.
fn weakened(tag: &HeaderValue) -> Option<HeaderValue> {
    let tag = tag.as_bytes().trim_ascii();
    if tag.starts_with(b"W/") { None } else { HeaderValue::from_bytes(&[b"W/", tag].concat()).ok() }
}

/// Text, JSON, JavaScript, XML and SVG, but no event stream.
fn is_text(kind: &HeaderValue) -> bool {
    const WHOLE: [&str; 6] = [
        "application/json",
        "application/javascript",
        "application/x-javascript",
        "application/ecmascript",
        "application/xml",
        "application/manifest+json",
    ];
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let by_suffix = kind.ends_with("+json") || kind.ends_with("+xml");
    (kind.starts_with("text/") && kind != "text/event-stream") || by_suffix || WHOLE.contains(&kind.as_str())
}

/// An answer of unknown length may be long.
fn is_worth_it(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    length.is_none_or(|length| length >= WORTH)
}

fn may_be_changed(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    let mut directives = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    !directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn suits_with(status: u16, list: &[(&str, &str)]) -> bool {
        suits(StatusCode::from_u16(status).unwrap(), &fields(list))
    }

    #[test]
    fn types_that_are_text() {
        for (kind, expected) in [
            ("text/html; charset=utf-8", true),
            ("text/plain", true),
            ("Text/CSS", true),
            ("text/event-stream", false),
            ("Text/Event-Stream; charset=utf-8", false),
            ("application/json", true),
            ("application/problem+json", true),
            ("application/javascript", true),
            ("application/xml", true),
            ("application/atom+xml", true),
            ("image/svg+xml", true),
            ("image/png", false),
            ("application/octet-stream", false),
            ("application/grpc", false),
            ("application/grpc+proto", false),
            ("application/wasm", false),
            ("font/woff2", false),
            ("", false),
        ] {
            assert_eq!(suits_with(200, &[("content-type", kind)]), expected, "{kind}");
        }
        assert!(!suits_with(200, &[]));
    }

    #[test]
    fn what_is_left_alone() {
        let with = |name, value| suits_with(200, &[("content-type", "text/plain"), (name, value)]);
        assert!(with("x-other", "1"));
        assert!(with("content-length", "1024"));
        assert!(!with("content-length", "1023"));
        assert!(!with("content-length", "0"));
        assert!(!with("content-encoding", "gzip"));
        assert!(!with("content-encoding", "identity"));
        assert!(!with("content-range", "bytes 0-1/2"));
        assert!(!with("trailer", "x-sum"));
        assert!(!with("content-digest", "sha-256=:x:"));
        assert!(with("cache-control", "public, max-age=1"));
        assert!(!with("cache-control", "public, No-Transform"));
        assert!(!suits_with(
            200,
            &[("content-type", "text/plain"), ("cache-control", "a"), ("cache-control", "no-transform")]
        ));
        for status in [204, 205, 206, 304, 101] {
            assert!(!suits_with(status, &[("content-type", "text/plain")]), "{status}");
        }
        for status in [200, 201, 302, 404, 500] {
            assert!(suits_with(status, &[("content-type", "text/plain")]), "{status}");
        }
    }

    #[test]
    fn vary_is_merged() {
        let merged = |list: &[(&str, &str)]| vary(&fields(list)).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(merged(&[]).as_deref(), Some("accept-encoding"));
        assert_eq!(merged(&[("vary", "origin")]).as_deref(), Some("origin, accept-encoding"));
        assert_eq!(merged(&[("vary", "a, b"), ("vary", "c")]).as_deref(), Some("a, b, c, accept-encoding"));
        assert_eq!(merged(&[("vary", "Accept-Encoding")]), None);
        assert_eq!(merged(&[("vary", "a"), ("vary", "x,accept-encoding")]), None);
        assert_eq!(merged(&[("vary", "*")]), None);
    }

    #[test]
    fn the_head_tells_of_the_new_bytes() {
        let set = |list: &[(&str, &str)]| {
            let set = relabelled(&fields(list), Coding::Br);
            set.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(set(&[]), "content-encoding=br vary=accept-encoding");
        assert_eq!(set(&[("etag", "\"x\"")]), "content-encoding=br vary=accept-encoding etag=W/\"x\"");
        assert_eq!(set(&[("etag", "W/\"x\""), ("vary", "*")]), "content-encoding=br");
    }
}
