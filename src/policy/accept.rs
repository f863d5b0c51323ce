//! Whether a client would rather read HTML than JSON (RFC 9110 §12.5.1).
//!
//! The edge's errors are JSON unless the client says that it likes HTML better: by a higher weight, or, with equal weights, by
//! naming HTML where JSON is only covered by `*/*`. A client that says nothing gets JSON.

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

/// How well one media type is liked: its weight in thousandths, by the most specific range that covers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Liking {
    /// 0: not acceptable.
    weight: u16,
    /// 0: nothing covers it; 1: `*/*`; 2: `type/*`; 3: its own name.
    specificity: u8,
}

/// Whether HTML is liked better than JSON.
pub fn prefers_html(headers: &HeaderMap) -> bool {
    let values = || headers.get_all(ACCEPT).iter();
    let html = liking(values(), "text", "html");
    html.weight > 0 && html > liking(values(), "application", "json")
}

fn liking<'a>(values: impl Iterator<Item = &'a HeaderValue>, kind: &str, subtype: &str) -> Liking {
    let ranges = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut best = Liking::default();
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let specificity = specificity(parts.next().unwrap_or_default(), kind, subtype);
        // The more specific range has the word, whatever its weight.
        if specificity > best.specificity {
            best = Liking { weight: weight(parts), specificity };
        }
    }
    best
}

fn specificity(range: &str, kind: &str, subtype: &str) -> u8 {
    match range.split_once('/') {
        Some(("*", "*")) => 1,
        Some((own, "*")) if own.eq_ignore_ascii_case(kind) => 2,
        Some((own, under)) if own.eq_ignore_ascii_case(kind) && under.eq_ignore_ascii_case(subtype) => 3,
        _ => 0,
    }
}

/// `q=0.8` in thousandths; 1 when there is none; 0 for one that cannot be read (RFC 9110 §12.4.2).
fn weight<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u16 {
    let given = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    given.map_or(1000, |value| thousandths(value).unwrap_or(0))
}

fn thousandths(value: &str) -> Option<u16> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match (whole, fraction) {
        ("0", _) => Some(fraction),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefers(values: &[&'static str]) -> bool {
        prefers_html(&values.iter().map(|value| (ACCEPT, HeaderValue::from_static(value))).collect())
    }

    #[test]
    fn browsers_get_html_and_programs_json() {
        let browsers = [
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
            "text/html, */*",
            "text/html",
            "TEXT/HTML",
            "text/*, application/json;q=0.5",
            "application/json;q=0.5, text/html;q=0.6",
            "text/html;level=1;q=0.3, application/json;q=0",
        ];
        for accept in browsers {
            assert!(prefers(&[accept]), "{accept}");
        }
        let programs = [
            "*/*",
            "application/json",
            "application/json, text/html",
            "text/html, application/json",
            "text/html;q=0.5, application/json",
            "text/html;q=0, */*",
            "text/html;q=0.5, */*",
            "text/html;q=nonsense",
            "text/html;q=1.5",
            "text/*;q=0.9, */*",
            "image/png",
            "",
            "text/htmlx",
            "*/html",
        ];
        for accept in programs {
            assert!(!prefers(&[accept]), "{accept}");
        }
        assert!(!prefers(&[]));
    }

    #[test]
    fn several_fields_are_one_list_and_the_specific_range_has_the_word() {
        assert!(prefers(&["application/json;q=0.1", "text/html;q=0.2"]));
        assert!(!prefers(&["text/*;q=1", "text/html;q=0.1", "*/*;q=0.5"]));
    }
}
