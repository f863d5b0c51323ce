//! Byte ranges (RFC 9110 §14): which parts of a representation a client asks for.
//!
//! The answers to odd requests are nginx's: a list that adds up to more than the whole is answered with the whole, a list
//! without one part that exists with 416. Beyond that, more than [`MOST`] parts are answered with the whole.

use std::ops::Range;

use http::HeaderValue;

/// The most parts of one answer.
pub const MOST: usize = 16;

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Everything, with 200.
    Whole,
    /// These parts, in the order asked for; never empty, none of them empty.
    Parts(Vec<Range<u64>>),
    /// 416.
    Unsatisfiable,
}

/// What `value` asks for of a representation of that length.
pub fn resolve(value: &HeaderValue, length: u64) -> Ranges {
    let Some(list) = value.to_str().ok().and_then(in_bytes) else { return Ranges::Whole };
    let mut parts = Vec::new();
    let mut specs = 0;
    for spec in list.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        specs += 1;
        match part(spec, length) {
            Some(part) if !part.is_empty() => parts.push(part),
            // The whole of nothing.
            Some(part) if part.start == 0 && length == 0 => return Ranges::Whole,
            Some(_) => {}
            None => return Ranges::Unsatisfiable,
        }
    }
    let sum = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.end - part.start));
    match parts.len() {
        _ if specs > MOST => Ranges::Whole,
        0 if specs == 0 => Ranges::Whole,
        0 => Ranges::Unsatisfiable,
        _ if sum > length => Ranges::Whole,
        _ => Ranges::Parts(parts),
    }
}

/// The list behind `bytes=`; another unit is as if nobody had asked.
fn in_bytes(value: &str) -> Option<&str> {
    let (unit, list) = value.trim().split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(list)
}

/// `a-b`, `a-`, `-b`: the part, empty where there is none. `None`: it is none of them.
fn part(spec: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(length.saturating_sub(number(last)?)..length),
        (false, true) => Some(number(first)?..length),
        (false, false) => Some(number(first)?..number(last)?.saturating_add(1).min(length)),
    }
}

/// Decimal digits; what is beyond counting is the largest number there is.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(value: &str, length: u64) -> Ranges {
        resolve(&HeaderValue::from_str(value).unwrap(), length)
    }

    #[test]
    fn one_part() {
        for (value, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-9", 0..10),
            ("bytes=3-5", 3..6),
            ("bytes=3-", 3..10),
            ("bytes=-3", 7..10),
            ("bytes=-99", 0..10),
            ("bytes=5-99", 5..10),
            ("bytes=9-99999999999999999999999", 9..10),
            ("Bytes = 1 - 2 ", 1..3),
            ("bytes=99-100, 1-2", 1..3),
            ("bytes=5-2,1-1", 1..2),
        ] {
            assert_eq!(of(value, 10), Ranges::Parts(vec![expected]), "{value}");
        }
    }

    #[test]
    fn the_whole_and_nothing() {
        for value in ["lines=0-1", "bytes", "bytes=", "bytes= ,", "", "0-1", "bytes=0-9,0-9", "bytes=0-,1-"] {
            assert_eq!(of(value, 10), Ranges::Whole, "{value}");
        }
        for value in [
            "bytes=10-",
            "bytes=10-20",
            "bytes=-0",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=1-2,x",
            "bytes=-",
            "bytes=1",
            "bytes=+1-2",
            "bytes=--1",
            "bytes=99999999999999999999999-",
        ] {
            assert_eq!(of(value, 10), Ranges::Unsatisfiable, "{value}");
        }
        assert_eq!(of("bytes=0-", 0), Ranges::Whole);
        assert_eq!(of("bytes=-1", 0), Ranges::Whole);
        assert_eq!(of("bytes=1-", 0), Ranges::Unsatisfiable);
    }

    #[test]
    fn several_parts_and_too_many() {
        assert_eq!(of("bytes=0-1,4-5, -1", 10), Ranges::Parts(vec![0..2, 4..6, 9..10]));
        assert_eq!(of("bytes=4-5,0-1", 10), Ranges::Parts(vec![4..6, 0..2]));
        let list = |count: usize| format!("bytes={}", vec!["0-0"; count].join(","));
        assert_eq!(of(&list(MOST), 100), Ranges::Parts(vec![0..1; MOST]));
        assert_eq!(of(&list(MOST + 1), 100), Ranges::Whole);
        let past = format!("bytes={}", vec!["200-"; MOST + 1].join(","));
        assert_eq!(of(&past, 100), Ranges::Whole);
    }

    proptest! {
        #[test]
        fn parts_lie_inside_and_never_add_up_to_more_than_the_whole(
            specs in prop::collection::vec((prop::option::of(0..40u64), prop::option::of(0..40u64)), 1..20),
            length in 0..30u64,
        ) {
            let text = |number: &Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
            let list: Vec<String> = specs.iter().map(|(first, last)| format!("{}-{}", text(first), text(last))).collect();
            if let Ranges::Parts(parts) = of(&format!("bytes={}", list.join(",")), length) {
                prop_assert!(!parts.is_empty() && parts.len() <= MOST);
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
                prop_assert!(parts.iter().map(|part| part.end - part.start).sum::<u64>() <= length);
            }
        }

        #[test]
        fn anything_can_be_asked_for(value in "[ -~]{0,40}", length in any::<u64>()) {
            let _ = of(&value, length);
            let _ = of(&format!("bytes={value}"), length);
        }
    }
}
