//! Text -> typed value, for the types that many keys share. Pure: no positions, no files, no variables.
//!
//! Each parser answers a [`Problem`] that says what was expected; the value itself is quoted by the caller, who knows
//! whether it may be shown.

use std::time::Duration;

use time::Date;
use time::macros::format_description;

/// Why a text is not a value of some type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The diagnostic's code.
    pub code: &'static str,
    /// What completes “`x` …”.
    pub clause: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl Problem {
    /// “`x` is not …”.
    pub fn not(code: &'static str, what: impl AsRef<str>) -> Self {
        Self { code, clause: format!("is not {}", what.as_ref()), hint: String::new() }
    }

    /// “`x` …”.
    pub fn says(code: &'static str, clause: impl Into<String>) -> Self {
        Self { code, clause: clause.into(), hint: String::new() }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// Text of a file as a message shows it: in backticks, one line, no control characters, not endless.
pub fn shown(text: &str) -> String {
    format!("`{}`", printable(text))
}

/// The same without backticks.
pub fn printable(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut out = String::new();
    for (place, c) in text.chars().enumerate() {
        if place == LONGEST {
            out.push('…');
            break;
        }
        if c.is_control() || invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that could make a message read as something else (zero width, direction).
pub fn invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// `250ms`, `5s`, `10m`, `1h`.
///
/// # Errors
/// Anything else, and what is longer than 10,000 hours.
pub fn duration(text: &str) -> Result<Duration, Problem> {
    const LONGEST: Duration = Duration::from_secs(36_000_000);
    let problem = || Problem::not("invalid_duration", "a duration");
    let (digits, unit) = split_number(text);
    let Ok(count) = digits.parse::<u64>() else {
        return Err(problem().hint("write a whole number and a unit: 250ms, 5s, 10m or 1h"));
    };
    let per = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => return Err(problem().hint(format!("add the unit: {digits}s for seconds, {digits}ms for milliseconds"))),
        _ => return Err(problem().hint("the units are ms, s, m and h")),
    };
    let duration = count.checked_mul(per).map(Duration::from_millis).filter(|duration| *duration <= LONGEST);
    duration.ok_or_else(|| Problem::says("out_of_range", "is longer than 10000h"))
}

/// A duration that is not zero.
///
/// # Errors
/// As [`duration`], and zero.
pub fn positive_duration(text: &str) -> Result<Duration, Problem> {
    match duration(text)? {
        Duration::ZERO => Err(Problem::says("out_of_range", "is no time at all").hint("give at least 1ms")),
        duration => Ok(duration),
    }
}

/// `64KiB`, `10MiB`, `1GiB`, or plain bytes.
///
/// # Errors
/// Anything else.
pub fn size(text: &str) -> Result<usize, Problem> {
    let problem = || Problem::not("invalid_size", "a size");
    let (digits, unit) = split_number(text);
    let Ok(count) = digits.parse::<usize>() else {
        return Err(problem().hint("write a whole number of bytes, or one with KiB, MiB or GiB, such as 64KiB"));
    };
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        other => return Err(problem().hint(unit_hint(digits, other))),
    };
    count.checked_mul(1 << shift).ok_or_else(|| Problem::says("out_of_range", "is too large"))
}

fn unit_hint(digits: &str, unit: &str) -> String {
    let meant = match unit.to_ascii_lowercase().chars().next() {
        Some('k') => "KiB",
        Some('m') => "MiB",
        Some('g') => "GiB",
        _ => return "the units are KiB, MiB and GiB".into(),
    };
    format!("did you mean `{digits}{meant}`?")
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// `true` or `false`.
///
/// # Errors
/// Anything else, with the meaning of YAML 1.1's words as a hint.
pub fn boolean(text: &str) -> Result<bool, Problem> {
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => Err(Problem::not("wrong_type", "true or false").hint(match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "1" => "write true",
            "no" | "off" | "0" => "write false",
            _ => "",
        })),
    }
}

/// A whole number between two bounds.
///
/// # Errors
/// Anything else.
pub fn number(text: &str, least: u64, most: u64) -> Result<u64, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let value = if digits { text.parse::<u64>().ok() } else { None };
    match value {
        Some(value) if (least..=most).contains(&value) => Ok(value),
        None if !digits && text.parse::<f64>().is_err() => {
            Err(Problem::not("wrong_type", "a whole number").hint(format!("give one from {least} to {most}")))
        }
        _ => Err(Problem::not("out_of_range", format!("a whole number from {least} to {most}"))),
    }
}

/// A number from 0.0 to 1.0.
///
/// # Errors
/// Anything else.
pub fn fraction(text: &str) -> Result<f64, Problem> {
    let Ok(value) = text.parse::<f64>() else {
        return Err(Problem::not("wrong_type", "a number").hint("give one from 0.0 (none) to 1.0 (all)"));
    };
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(Problem::not("out_of_range", "between 0.0 and 1.0"))
}

/// One of a few words.
///
/// # Errors
/// Another word, with the nearest one as a hint.
pub fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Problem> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    Err(Problem::says("invalid_value", "is not a possible value").hint(suggestion(text, &names)))
}

/// “did you mean `x`?” if one is near, else all of them.
pub fn suggestion(text: &str, names: &[&str]) -> String {
    match nearest(text, names) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("possible: {}", names.join(", ")),
    }
}

/// The name that a slip of the fingers would turn into `text`.
pub fn nearest<'a>(text: &str, names: &[&'a str]) -> Option<&'a str> {
    let lower = text.to_lowercase().replace('-', "_");
    if lower.len() > 64 {
        return None;
    }
    let slips = |name: &str| strsim::damerau_levenshtein(&lower, &name.replace('-', "_"));
    let scored = names.iter().map(|name| (slips(name), *name));
    let (slips, name) = scored.min_by_key(|(slips, _)| *slips)?;
    let allowed = if name.len() <= 3 { 1 } else { (name.len() / 3).clamp(1, 3) };
    (slips <= allowed).then_some(name)
}

/// `2027-06-30` as the first millisecond that is too late: midnight UTC after that day.
///
/// # Errors
/// What is no date of the calendar.
pub fn day_end(text: &str) -> Result<u64, Problem> {
    let problem = || {
        Problem::not("invalid_value", "a date")
            .hint("write year-month-day, such as 2027-06-30; it is valid to the end of that day, UTC")
    };
    let date = Date::parse(text, format_description!("[year]-[month]-[day]")).map_err(|_| problem())?;
    let after = date.next_day().ok_or_else(problem)?.midnight().assume_utc();
    u64::try_from(after.unix_timestamp_nanos() / 1_000_000).map_err(|_| problem())
}

/// The name of a listener, project, upstream or client.
///
/// # Errors
/// What could not stand in a header, metric label or log line.
pub fn name(text: &str) -> Result<String, Problem> {
    const LONGEST: usize = 100;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    let good = !text.is_empty() && text.len() <= LONGEST && text.chars().all(fits);
    if good {
        return Ok(text.to_owned());
    }
    Err(Problem::not("invalid_name", "a name").hint("use letters, digits, `.`, `_`, `-` and `@`, at most 100 of them"))
}

/// The name of an environment.
///
/// # Errors
/// Anything but lower-case letters, digits and hyphens.
pub fn environment_name(text: &str) -> Result<String, Problem> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty() && text.len() <= 63 && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(Problem::not("invalid_name", "the name of an environment")
        .hint("use lower-case letters, digits and hyphens, at most 63 of them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert!(positive_duration("0s").is_err());
        for wrong in ["", "5", "s", "-1s", "1.5s", "1h30m", "5 s", "5S", "99999999999999999999s", "10001h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(duration("5").unwrap_err().hint.contains("5s"));
    }

    #[test]
    fn sizes() {
        assert_eq!(size("32KiB"), Ok(32 << 10));
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("10KB").unwrap_err().hint, "did you mean `10KiB`?");
        assert_eq!(size("18446744073709551615GiB").unwrap_err().code, "out_of_range");
    }

    #[test]
    fn numbers_words_and_booleans() {
        assert_eq!(number("7", 1, 9), Ok(7));
        assert_eq!(number("x", 1, 9).unwrap_err().code, "wrong_type");
        assert_eq!(number("-1", 1, 9).unwrap_err().code, "out_of_range");
        assert_eq!(number("10", 1, 9).unwrap_err().code, "out_of_range");
        assert_eq!(boolean("yes").unwrap_err().hint, "write true");
        assert_eq!(fraction("0.5"), Ok(0.5));
        assert!(fraction("NaN").is_err());
        let words = [("required", 1), ("optional", 2)];
        assert_eq!(word("optional", &words), Ok(2));
        assert_eq!(word("requierd", &words).unwrap_err().hint, "did you mean `required`?");
        assert_eq!(word("x", &words).unwrap_err().hint, "possible: required, optional");
    }

    #[test]
    fn a_day_ends_at_midnight_utc() {
        assert_eq!(day_end("1970-01-01"), Ok(86_400_000));
        assert_eq!(day_end("2027-06-30"), Ok(1_814_400_000_000));
        assert!(day_end("2027-02-29").is_err());
        assert!(day_end("30.6.2027").is_err());
    }

    #[test]
    fn what_is_shown_has_no_control_characters_and_an_end() {
        assert_eq!(shown("a\u{1b}[31m\u{202e}"), "`a\\u{1b}[31m\\u{202e}`");
        assert!(shown(&"x".repeat(1000)).chars().count() < 90);
    }
}
