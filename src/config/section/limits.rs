//! A route's `limits`: how fast, how many at once, how large, and whose requests count together.

use std::time::Duration;

use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::model::{Limits, Per, Rate};
use crate::config::tree::Node;
use crate::config::value::{self, Problem, word};
use crate::diagnostic::Diagnostic;

const LIMITS: Shape = Shape { what: "`limits`", keys: &["requests", "burst", "concurrent", "body", "per"] };

const PER: &[(&str, Per)] = &[("client", Per::Client), ("address", Per::Address), ("route", Per::Route)];

/// More than any edge lets pass at once, and few enough for exact arithmetic.
const MOST: u64 = 1_000_000;

/// Decodes the mapping; `None`: it limits nothing.
pub fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<Limits> {
    let fields = decoder.fields(node, &LIMITS)?;
    check_company(decoder, &fields);
    let requests = fields.get("requests").and_then(|node| decoder.parsed(node, rate));
    let burst = fields.get("burst").and_then(|node| count(decoder, node));
    let concurrent = fields.get("concurrent").and_then(|node| count(decoder, node));
    let body = fields.get("body").and_then(|node| decoder.parsed(node, value::size));
    let per = fields.get("per").and_then(|node| decoder.parsed(node, |text| word(text, PER)));
    let limits = Limits {
        requests,
        burst: burst.unwrap_or_else(|| requests.map_or(1, a_seconds_worth)),
        concurrent,
        body: body.and_then(|bytes| u64::try_from(bytes).ok()),
        per: per.unwrap_or_default(),
        at: node.target().at,
    };
    let limits_something = limits.requests.is_some() || concurrent.is_some() || limits.body.is_some();
    limits_something.then_some(limits)
}

/// `burst` belongs to a rate, `per` to something that is counted.
fn check_company(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>) {
    let has = |key| fields.get(key).is_some() || fields.is_meant(&[key]);
    let lone = [("burst", has("requests"), "`requests`"), ("per", has("requests") || has("concurrent"), COUNTED)];
    for (key, _, company) in lone.into_iter().filter(|(_, accompanied, _)| !accompanied) {
        if let Some(entry) = fields.entry(key) {
            let message = format!("`{key}` has no effect without {company}");
            decoder.note(Diagnostic::error("useless_key", entry.at, message).hint("remove it, or say what is limited"));
        }
    }
}

const COUNTED: &str = "`requests` or `concurrent`";

fn count(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<u32> {
    decoder.parsed(node, |text| value::number(text, 1, MOST)).and_then(|count| u32::try_from(count).ok())
}

/// As many as pass in a second, at least one.
fn a_seconds_worth(rate: Rate) -> u32 {
    let a_second = u128::from(rate.count) * Duration::from_secs(1).as_nanos() / rate.period.as_nanos().max(1);
    u32::try_from(a_second.clamp(1, u128::from(MOST))).unwrap_or(1)
}

/// `20/s`, `600/m`, `1000/h`, or a period of any length: `5/250ms`.
fn rate(text: &str) -> Result<Rate, Problem> {
    let problem = || Problem::not("invalid_rate", "a rate");
    let Some((count, period)) = text.split_once('/') else {
        return Err(problem().hint("write how many in how much time: 20/s, 600/m, 1000/h or 5/250ms"));
    };
    let count = value::number(count, 1, MOST)
        .map_err(|_| problem().hint(format!("the number before the slash is a whole one from 1 to {MOST}")))?;
    let period = match period {
        "ms" | "s" | "m" | "h" => value::positive_duration(&format!("1{period}")),
        _ => value::positive_duration(period),
    };
    let period = period.map_err(|_| problem().hint("after the slash stands s, m, h, or a duration such as 250ms"))?;
    Ok(Rate { count: u32::try_from(count).unwrap_or(1), period })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: u32, millis: u64) -> Rate {
        Rate { count, period: Duration::from_millis(millis) }
    }

    #[test]
    fn rates() {
        assert_eq!(rate("20/s"), Ok(of(20, 1000)));
        assert_eq!(rate("600/m"), Ok(of(600, 60_000)));
        assert_eq!(rate("1/h"), Ok(of(1, 3_600_000)));
        assert_eq!(rate("5/250ms"), Ok(of(5, 250)));
        assert_eq!(rate("1000000/ms"), Ok(of(1_000_000, 1)));
        for wrong in ["", "20", "/s", "20/", "0/s", "-1/s", "1.5/s", "20/d", "20 / s", "20/0s", "1000001/s", "20/s/s"] {
            assert_eq!(rate(wrong).unwrap_err().code, "invalid_rate", "{wrong}");
        }
    }

    #[test]
    fn without_a_burst_a_seconds_worth_passes_at_once() {
        for (rate, burst) in [(of(20, 1000), 20), (of(600, 60_000), 10), (of(1, 3_600_000), 1), (of(5, 250), 20)] {
            assert_eq!(a_seconds_worth(rate), burst, "{rate:?}");
        }
        assert_eq!(a_seconds_worth(of(1_000_000, 1)), 1_000_000);
    }
}
