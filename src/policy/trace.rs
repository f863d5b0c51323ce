//! The W3C trace context of a request: handed on as it came, or begun here (Trace Context level 2, §3.2 and §4).
//!
//! The edge records no spans, so a context that came in goes on unchanged: it is still the caller's span that the upstream's is a
//! child of. One that is missing or cannot be read is replaced by a new one, and with it `tracestate`, which belongs to a
//! trace that nobody knows then.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The field that carries it.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What vendors add to it.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The trace that a request belongs to: 32 lower-case hex digits, not all of them zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId<'a>(&'a str);

impl<'a> TraceId<'a> {
    /// The digits.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// The trace that the request's head names, if it names one properly.
pub fn named(headers: &HeaderMap) -> Option<TraceId<'_>> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() { None } else { parse(value) }
}

/// `version-traceid-parentid-flags`. A later version may have more behind that; `ff` is none.
fn parse(value: &str) -> Option<TraceId<'_>> {
    let mut parts = value.splitn(5, '-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let has_more = parts.next().is_some();
    let shaped = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    let known = version != "ff" && !(version == "00" && has_more);
    (shaped && known && !is_zero(trace) && !is_zero(parent)).then_some(TraceId(trace))
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_zero(digits: &str) -> bool {
    digits.bytes().all(|byte| byte == b'0')
}

/// A new trace from 32 random hex digits: they are its id, and a part of them the span's.
///
/// Its flags say *sampled* and *random*. The edge can't know what its upstreams would choose; without the first flag the usual sampler
/// of theirs, which follows its parent, would record nothing any more.
pub fn begun(random: &str) -> Option<HeaderValue> {
    let span = random.get(8..24)?;
    if !is_hex(random, 32) || is_zero(span) {
        return None;
    }
    let mut value = [b'-'; 55];
    for (at, part) in [(0, "00"), (3, random), (36, span), (53, "03")] {
        value.get_mut(at..at + part.len())?.copy_from_slice(part.as_bytes());
    }
    HeaderValue::from_bytes(&value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(values: &[&str]) -> Option<String> {
        let fields = values.iter().map(|value| (TRACEPARENT, HeaderValue::from_str(value).unwrap()));
        named(&fields.collect()).map(|id| id.as_str().to_owned())
    }

    #[test]
    fn a_proper_context_is_read() {
        for good in [
            GOOD.to_owned(),
            GOOD.replace("-01", "-00"),
            GOOD.replace("-01", "-ff"),
            GOOD.replacen("00-", "01-", 1),
            GOOD.replacen("00-", "fe-", 1) + "-what-later-versions-add",
        ] {
            assert_eq!(of(&[&good]).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"), "{good}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        let wrong = [
            String::new(),
            "00".into(),
            GOOD.to_uppercase(),
            GOOD.replacen("00-", "ff-", 1),
            GOOD.replacen("00-", "0-", 1),
            format!("{GOOD}-more"),
            format!("{GOOD}-"),
            format!(" {GOOD}"),
            format!("{GOOD} "),
            GOOD.replace("-01", "-1"),
            GOOD.replace("-01", ""),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace("4bf92f", "4bf92g"),
            GOOD.replace('-', "_"),
        ];
        for wrong in wrong {
            assert_eq!(of(&[&wrong]), None, "{wrong:?}");
        }
        assert_eq!(of(&[GOOD, GOOD]), None, "two fields are none");
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_new_context_is_a_proper_one() {
        let random = "0123456789abcdef0123456789abcdef";
        let value = begun(random).unwrap();
        assert_eq!(value, "00-0123456789abcdef0123456789abcdef-89abcdef01234567-03");
        assert_eq!(of(&[value.to_str().unwrap()]).as_deref(), Some(random));
        assert_eq!(begun("short"), None);
        assert_eq!(begun(&"0".repeat(32)), None);
    }
}
