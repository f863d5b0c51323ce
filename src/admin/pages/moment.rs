//! Moments, spans and amounts as people read them.

use std::time::Duration;

use crate::clock::UnixMillis;
use crate::observe::timestamp::rfc3339_millis;

use super::words::{Words, fill};

/// A moment, in three ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For machines: `2026-11-21T19:45:58Z`.
    pub iso: String,
    /// `2026-11-21 19:45:58 UTC`
    pub exact: String,
    /// `in 5 min`, `3 h ago`.
    pub relative: String,
}

impl Moment {
    /// That moment, seen from now.
    pub fn new(w: &Words, at: UnixMillis, now: UnixMillis) -> Self {
        let text = rfc3339_millis(at);
        let second = text.get(..19).unwrap_or_default();
        let relative = if at > now {
            fill(w.in_time, &[&span(w, Duration::from_millis(at - now))])
        } else if now - at < 1000 {
            w.just_now.to_owned()
        } else {
            fill(w.ago, &[&span(w, Duration::from_millis(now - at))])
        };
        Self { iso: format!("{second}Z"), exact: format!("{} UTC", second.replace('T', " ")), relative }
    }
}

/// One unit, two where the smaller one still matters: `1 h 20 min`, `3 d`.
pub fn span(w: &Words, span: Duration) -> String {
    let seconds = span.as_secs();
    let one = |unit: &str, count: u64| fill(unit, &[&count.to_string()]);
    let two = |unit: &str, count: u64, smaller: &str, rest: u64| {
        if rest == 0 { one(unit, count) } else { format!("{} {}", one(unit, count), one(smaller, rest)) }
    };
    match seconds {
        0..60 => one(w.unit_second, seconds),
        60..3600 => one(w.unit_minute, seconds / 60),
        3600..36_000 => two(w.unit_hour, seconds / 3600, w.unit_minute, seconds / 60 % 60),
        36_000..172_800 => one(w.unit_hour, seconds / 3600),
        172_800..864_000 => two(w.unit_day, seconds / 86_400, w.unit_hour, seconds / 3600 % 24),
        _ => one(w.unit_day, seconds / 86_400),
    }
}

/// How long something took: `0.4 ms`, `12 ms`, `1.3 s`, `2.5 min`.
pub fn latency(span: Duration) -> String {
    let millis = span.as_secs_f64() * 1000.0;
    match millis {
        ..9.95 => format!("{millis:.1} ms"),
        ..999.5 => format!("{millis:.0} ms"),
        ..59_950.0 => format!("{:.1} s", millis / 1000.0),
        _ => format!("{:.1} min", millis / 60_000.0),
    }
}

/// A rate or a level: three digits that matter, thousands set apart.
pub fn amount(value: f64) -> String {
    match value {
        ..0.005 => "0".to_owned(),
        ..9.95 => trimmed(format!("{value:.1}")),
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and not negative here")]
        _ => count(value.round() as u64),
    }
}

fn trimmed(text: String) -> String {
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// Thousands set apart: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `512 B`, `64 KiB`, `1.5 MiB`.
pub fn bytes(value: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.iter().find(|(_, size)| value >= *size);
    #[allow(clippy::cast_precision_loss, reason = "a few digits are shown")]
    unit.map_or_else(
        || format!("{value} B"),
        |(name, size)| format!("{} {name}", trimmed(format!("{:.1}", value as f64 / *size as f64))),
    )
}

#[cfg(test)]
mod tests {
    use super::super::words::{EN, ZH};
    use super::*;

    #[test]
    fn moments_are_exact_and_relative() {
        let now = 1_795_290_358_123;
        let relative = |at| Moment::new(&EN, at, now).relative;
        assert_eq!(Moment::new(&EN, now, now).exact, "2026-11-21 19:45:58 UTC");
        assert_eq!(Moment::new(&EN, now, now).iso, "2026-11-21T19:45:58Z");
        assert_eq!(relative(now), "just now");
        assert_eq!(relative(now + 300_000), "in 5 min");
        assert_eq!(relative(now - 30_000), "30 s ago");
        assert_eq!(relative(now - 4_800_000), "1 h 20 min ago");
        assert_eq!(relative(now + 86_400_000 * 30), "in 30 d");
        assert_eq!(Moment::new(&ZH, now + 300_000, now).relative, "5 分钟后");
        assert_eq!(Moment::new(&ZH, now - 300_000, now).relative, "5 分钟前");
        assert_eq!(Moment::new(&EN, u64::MAX, now).exact, "9999-12-31 23:59:59 UTC");
    }

    #[test]
    fn amounts_have_as_many_digits_as_matter() {
        assert_eq!([0.0, 0.25, 3.0, 9.96, 12.4, 1234.6].map(amount), ["0", "0.2", "3", "10", "12", "1,235"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([10, 1 << 10, 3 << 19, 5 << 30].map(bytes), ["10 B", "1 KiB", "1.5 MiB", "5 GiB"]);
        let micros = [250, 9_990, 12_400, 1_300_000, 150_000_000];
        assert_eq!(
            micros.map(|it| latency(Duration::from_micros(it))),
            ["0.2 ms", "10 ms", "12 ms", "1.3 s", "2.5 min"]
        );
    }
}
