//! Moments as token files have them: RFC 3339 with milliseconds, in UTC, so that people can read them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::UnixMillis;

/// The last moment that RFC 3339 can say; also what a token that never ends has.
pub const LAST: UnixMillis = 253_402_300_799_999;

/// As text; later moments than [`LAST`] are that.
pub fn text(moment: UnixMillis) -> String {
    let nanos = i128::from(moment.min(LAST)) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Of a text; any offset. What was before 1970 is 1970.
pub fn parse(text: &str) -> Option<UnixMillis> {
    let nanos = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
    Some(UnixMillis::try_from(nanos / 1_000_000).unwrap_or(0).min(LAST))
}

/// Of a number, as other programs write it: seconds, or milliseconds where seconds would be beyond the year 5000.
pub fn of_number(number: f64) -> Option<UnixMillis> {
    const SECONDS_END: f64 = 1e11;
    if !number.is_finite() || number < 0.0 {
        return None;
    }
    let millis = if number < SECONDS_END { number * 1000.0 } else { number };
    // Saturates; a moment beyond the last is the last.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be positive; saturating")]
    Some((millis as u64).min(LAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_back() {
        for moment in [0, 1, 999, 1_000, 1_795_313_758_123, LAST] {
            assert_eq!(parse(&text(moment)), Some(moment), "{}", text(moment));
        }
        assert_eq!(text(1_795_313_758_120), "2026-11-22T02:15:58.12Z");
        assert_eq!(text(u64::MAX), text(LAST));
    }

    #[test]
    fn what_others_write_is_understood() {
        assert_eq!(parse("1970-01-01T01:00:01+01:00"), Some(1_000));
        assert_eq!(parse("1969-12-31T23:59:59Z"), Some(0));
        assert_eq!(parse("2026-11-22 02:15"), None);
        assert_eq!(of_number(1_795_313_758.0), Some(1_795_313_758_000));
        assert_eq!(of_number(1_795_313_758_120.0), Some(1_795_313_758_120));
        assert_eq!(of_number(-1.0), None);
        assert_eq!(of_number(f64::NAN), None);
        assert_eq!(of_number(1e300), Some(LAST));
    }
}
