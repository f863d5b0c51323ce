//! Unix microseconds as text, in UTC, without allocation: RFC 3339 for JSON lines and the process log.
//!
//! The date part changes once a second and is kept per thread, so that a busy log only writes six digits.
//! Calendar: the proleptic Gregorian one, by Hinnant's `civil_from_days` (eras of 400 years from 1 March 0000).

use std::cell::Cell;

use crate::clock::UnixMillis;

const MICROS_PER_SECOND: u64 = 1_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// `2026-11-21T19:45:58` is as long as the cached part gets.
const PREFIX: usize = 19;

/// Years beyond 9999 do not fit RFC 3339: later moments are shown as the last second that does.
const LAST_SECOND: u64 = 253_402_300_799;

thread_local! {
    static SECOND: Cell<(u64, [u8; PREFIX])> = const { Cell::new((u64::MAX, [0; PREFIX])) };
}

/// Appends `2026-11-21T19:45:58.123456Z`.
pub fn push_rfc3339_micros(out: &mut Vec<u8>, unix_micros: u64) {
    let second = (unix_micros / MICROS_PER_SECOND).min(LAST_SECOND);
    out.extend_from_slice(&prefix(second));
    let mut fraction = *b".000000Z";
    write_digits(fraction.get_mut(1..7), unix_micros % MICROS_PER_SECOND);
    out.extend_from_slice(&fraction);
}

/// The same as a string, for JSON documents.
pub fn rfc3339_micros(unix_micros: u64) -> String {
    let mut out = Vec::with_capacity(PREFIX + 8);
    push_rfc3339_micros(&mut out, unix_micros);
    String::from_utf8(out).unwrap_or_default()
}

/// Of milliseconds, as most moments here are.
pub fn rfc3339_millis(unix_millis: UnixMillis) -> String {
    rfc3339_micros(unix_millis.saturating_mul(1000))
}

fn prefix(second: u64) -> [u8; PREFIX] {
    SECOND.with(|cached| {
        let (known, text) = cached.get();
        if known == second {
            return text;
        }
        let text = render(second);
        cached.set((second, text));
        text
    })
}

fn render(second: u64) -> [u8; PREFIX] {
    let mut text = *b"0000-00-00T00:00:00";
    let (year, month, day) = civil_from_days(second / SECONDS_PER_DAY);
    let clock = second % SECONDS_PER_DAY;
    write_digits(text.get_mut(0..4), year);
    write_digits(text.get_mut(5..7), month);
    write_digits(text.get_mut(8..10), day);
    write_digits(text.get_mut(11..13), clock / 3600);
    write_digits(text.get_mut(14..16), clock / 60 % 60);
    write_digits(text.get_mut(17..19), clock % 60);
    text
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Fills the place with the decimal digits of `value`, most significant first.
fn write_digits(place: Option<&mut [u8]>, mut value: u64) {
    for digit in place.into_iter().flatten().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    fn parsed(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn known_moments() {
        assert_eq!(rfc3339_micros(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339_micros(951_782_400_000_001), "2000-02-29T00:00:00.000001Z");
        assert_eq!(rfc3339_micros(1_795_290_358_123_456), "2026-11-21T19:45:58.123456Z");
        assert_eq!(rfc3339_micros(4_107_542_399_999_999), "2100-02-28T23:59:59.999999Z");
        assert_eq!(rfc3339_micros(u64::MAX).get(0..19), Some("9999-12-31T23:59:59"));
    }

    proptest! {
        #[test]
        fn agrees_with_the_time_crate(micros in 0u64..253_402_300_800_000_000) {
            let text = rfc3339_micros(micros);
            prop_assert_eq!(text.len(), 27);
            prop_assert_eq!(parsed(&text).unix_timestamp_nanos(), i128::from(micros) * 1000);
        }
    }
}
