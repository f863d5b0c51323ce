//! Conditional requests: whether what a client has, or means, is what there is (RFC 9110 §13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderValue};

/// What identifies the bytes of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators<'v> {
    /// With its quotes. Strong: other bytes have another.
    pub tag: &'v str,
    /// In whole seconds, as HTTP has it.
    pub modified: SystemTime,
}

/// What becomes of a GET or HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is answered as if there were no condition.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client means.
    Failed,
}

/// The conditions of a request, kept while its file is looked for.
#[derive(Clone, Debug, Default)]
pub struct Conditions(HeaderMap);

impl Conditions {
    /// What a request says.
    pub fn of(headers: &HeaderMap) -> Self {
        const NAMES: [HeaderName; 5] = [IF_MATCH, IF_UNMODIFIED_SINCE, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE];
        let mut kept = HeaderMap::new();
        for name in NAMES {
            for value in headers.get_all(&name) {
                kept.append(name.clone(), value.clone());
            }
        }
        Self(kept)
    }

    /// What a request says about what it has, where nothing is known of when that was made: `If-None-Match`.
    pub fn of_tags(headers: &HeaderMap) -> Self {
        let kept = headers.get_all(IF_NONE_MATCH).iter().map(|value| (IF_NONE_MATCH, value.clone()));
        Self(kept.collect())
    }

    /// Judges in the order of RFC 9110 §13.2.2, up to `Range`.
    pub fn judge(&self, current: &Validators<'_>) -> Outcome {
        if !self.is_the_one_meant(current) {
            return Outcome::Failed;
        }
        if self.0.contains_key(IF_NONE_MATCH) {
            let known = self.matches(&IF_NONE_MATCH, |tag| tag.names(current));
            return if known { Outcome::NotModified } else { Outcome::Proceed };
        }
        match self.date(&IF_MODIFIED_SINCE) {
            Some(since) if current.modified <= since => Outcome::NotModified,
            _ => Outcome::Proceed,
        }
    }

    /// Whether `Range` counts: there is no `If-Range`, or it names exactly these bytes (RFC 9110 §13.1.5).
    pub fn allow_range(&self, current: &Validators<'_>) -> bool {
        let mut values = self.0.get_all(IF_RANGE).iter();
        let Some(value) = values.next() else { return true };
        if values.next().is_some() {
            return false;
        }
        match tags(value).as_slice() {
            [tag] => tag.is_exactly(current),
            _ => self.date(&IF_RANGE).is_some_and(|date| date == current.modified),
        }
    }

    fn is_the_one_meant(&self, current: &Validators<'_>) -> bool {
        if self.0.contains_key(IF_MATCH) {
            return self.matches(&IF_MATCH, |tag| tag.is_exactly(current));
        }
        self.date(&IF_UNMODIFIED_SINCE).is_none_or(|since| current.modified <= since)
    }

    /// Whether a list of tags is `*` (for what exists) or has one that fits.
    fn matches(&self, name: &HeaderName, fits: impl Fn(&Tag<'_>) -> bool) -> bool {
        let values = self.0.get_all(name);
        values.iter().any(|value| value.as_bytes().trim_ascii() == b"*" || tags(value).iter().any(&fits))
    }

    /// A date that stands there once and can be read; any other is as if it were not there.
    fn date(&self, name: &HeaderName) -> Option<SystemTime> {
        let mut values = self.0.get_all(name).iter();
        let date = httpdate::parse_http_date(values.next()?.to_str().ok()?.trim()).ok()?;
        if values.next().is_some() { None } else { Some(date) }
    }
}

/// A moment in whole seconds, as HTTP dates have it; what lies before 1970 counts as 1970.
pub fn whole_seconds(moment: SystemTime) -> SystemTime {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// One entity tag as received.
#[derive(Debug, PartialEq, Eq)]
struct Tag<'h> {
    opaque: &'h [u8],
    is_weak: bool,
}

impl Tag<'_> {
    /// Weak comparison (RFC 9110 §8.8.3.2).
    fn names(&self, current: &Validators<'_>) -> bool {
        self.opaque == current.tag.as_bytes()
    }

    /// Strong comparison.
    fn is_exactly(&self, current: &Validators<'_>) -> bool {
        !self.is_weak && self.names(current)
    }
}

/// The tags of a list; empty as soon as it is no list of tags.
fn tags(value: &HeaderValue) -> Vec<Tag<'_>> {
    let mut left = value.as_bytes();
    let mut tags = Vec::new();
    loop {
        left = left.trim_ascii_start();
        while let Some(rest) = left.strip_prefix(b",") {
            left = rest.trim_ascii_start();
        }
        if left.is_empty() {
            return tags;
        }
        let Some((tag, rest)) = tag(left) else { return Vec::new() };
        tags.push(tag);
        left = rest.trim_ascii_start();
        if !left.is_empty() && !left.starts_with(b",") {
            return Vec::new();
        }
    }
}

/// `"…"` or `W/"…"`, and what follows.
fn tag(text: &[u8]) -> Option<(Tag<'_>, &[u8])> {
    let (is_weak, quoted) = text.strip_prefix(b"W/").map_or((false, text), |quoted| (true, quoted));
    let inside = quoted.strip_prefix(b"\"")?;
    let length = memchr::memchr(b'"', inside)? + 2;
    let (opaque, rest) = quoted.split_at_checked(length)?;
    Some((Tag { opaque, is_weak }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn current() -> Validators<'static> {
        Validators { tag: "\"a\"", modified: httpdate::parse_http_date(DAY).unwrap() }
    }

    fn conditions(list: &[(&'static str, &str)]) -> Conditions {
        let fields =
            list.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        Conditions::of(&fields.collect())
    }

    #[test]
    fn the_order_is_that_of_the_rfc() {
        use Outcome::{Failed, NotModified, Proceed};
        for (list, expected) in [
            (&[][..], Proceed),
            (&[("if-none-match", "\"a\"")], NotModified),
            (&[("if-none-match", "W/\"a\"")], NotModified),
            (&[("if-none-match", "\"b\", W/\"a\"")], NotModified),
            (&[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"b\"")], Proceed),
            (&[("if-none-match", "a")], Proceed),
            (&[("if-none-match", "\"a\" \"b\"")], Proceed),
            (&[("if-none-match", "\"a,b\"")], Proceed),
            (&[("if-modified-since", DAY)], NotModified),
            (&[("if-modified-since", AFTER)], NotModified),
            (&[("if-modified-since", BEFORE)], Proceed),
            (&[("if-modified-since", "yesterday")], Proceed),
            (&[("if-modified-since", DAY), ("if-modified-since", DAY)], Proceed),
            // If-None-Match beats If-Modified-Since.
            (&[("if-none-match", "\"b\""), ("if-modified-since", DAY)], Proceed),
            (&[("if-none-match", "\"a\""), ("if-modified-since", BEFORE)], NotModified),
            (&[("if-match", "\"a\"")], Proceed),
            (&[("if-match", "*")], Proceed),
            (&[("if-match", "W/\"a\"")], Failed),
            (&[("if-match", "\"b\"")], Failed),
            (&[("if-match", "")], Failed),
            (&[("if-unmodified-since", DAY)], Proceed),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (&[("if-unmodified-since", "never")], Proceed),
            // If-Match beats If-Unmodified-Since, and both come before the others.
            (&[("if-match", "\"a\""), ("if-unmodified-since", BEFORE)], Proceed),
            (&[("if-match", "\"b\""), ("if-none-match", "\"a\"")], Failed),
            (&[("if-match", "\"a\""), ("if-none-match", "\"a\"")], NotModified),
        ] {
            assert_eq!(conditions(list).judge(&current()), expected, "{list:?}");
        }
    }

    #[test]
    fn if_range_needs_exactly_these_bytes() {
        for (value, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            ("\"a\", \"a\"", false),
            (DAY, true),
            (BEFORE, false),
            (AFTER, false),
            ("a", false),
            ("", false),
        ] {
            assert_eq!(conditions(&[("if-range", value)]).allow_range(&current()), expected, "{value}");
        }
        assert!(conditions(&[]).allow_range(&current()));
        assert!(!conditions(&[("if-range", "\"a\""), ("if-range", "\"a\"")]).allow_range(&current()));
    }

    #[test]
    fn moments_are_whole_seconds() {
        let moment = UNIX_EPOCH + Duration::new(7, 999_999_999);
        assert_eq!(whole_seconds(moment), UNIX_EPOCH + Duration::from_secs(7));
        assert_eq!(whole_seconds(UNIX_EPOCH - Duration::from_secs(1)), UNIX_EPOCH);
    }

    proptest::proptest! {
        #[test]
        fn any_list_of_tags_that_has_ours_matches(
            before in proptest::collection::vec("\"[!#-~]{0,5}\"", 0..4),
            after in proptest::collection::vec("(W/)?\"[!#-~]{0,5}\"", 0..4),
        ) {
            let list = before.iter().map(String::as_str).chain(["\"a\""]).chain(after.iter().map(String::as_str));
            let list = list.collect::<Vec<_>>().join(" , ");
            let asked = conditions(&[("if-none-match", &list)]);
            proptest::prop_assert_eq!(asked.judge(&current()), Outcome::NotModified);
        }

        #[test]
        fn anything_can_be_read(text in "[ -~]{0,40}") {
            let _ = conditions(&[("if-none-match", &text), ("if-range", &text)]).judge(&current());
        }
    }
}
