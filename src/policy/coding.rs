//! Content codings: what exists, and which of them a client takes (RFC 9110 §12.5.3, RFC 9659 for zstd).

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Br,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// Its name in `accept-encoding` and `content-encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The same as a field's value.
    pub fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// What the name of a file that is compressed beforehand ends in.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Zstd => ".zst",
            Self::Br => ".br",
            Self::Gzip => ".gz",
        }
    }

    fn answers_to(self, name: &str) -> bool {
        // RFC 9110 §8.4.1.3: x-gzip is gzip.
        name.eq_ignore_ascii_case(self.name()) || (self == Self::Gzip && name.eq_ignore_ascii_case("x-gzip"))
    }
}

/// Which of `offered` a client takes, the most welcome first; equals stay in the order of the offer. What it likes less
/// than the plain body is left out.
pub fn accepted(headers: &HeaderMap, offered: &[Coding]) -> Vec<Coding> {
    let wishes = Wishes::of(headers);
    let plain = wishes.named(|name| name.eq_ignore_ascii_case("identity")).unwrap_or(0);
    let mut taken: Vec<(Coding, u16)> = offered
        .iter()
        .map(|coding| (*coding, wishes.weight(*coding)))
        .filter(|(_, weight)| *weight > 0 && *weight >= plain)
        .collect();
    // A stable sort: equals keep their order.
    taken.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    taken.into_iter().map(|(coding, _)| coding).collect()
}

/// What `accept-encoding` says; weights in thousandths.
struct Wishes<'h>(Vec<(&'h str, u16)>);

impl<'h> Wishes<'h> {
    fn of(headers: &'h HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        Self(lines.flat_map(|line| line.split(',')).filter_map(wish).collect())
    }

    fn weight(&self, coding: Coding) -> u16 {
        let own = self.named(|name| coding.answers_to(name));
        own.or_else(|| self.named(|name| name == "*")).unwrap_or(0)
    }

    /// The weight of the first that is called so.
    fn named(&self, is_meant: impl Fn(&str) -> bool) -> Option<u16> {
        self.0.iter().find(|(name, _)| is_meant(name)).map(|(_, weight)| *weight)
    }
}

/// `gzip`, `gzip;q=0.5`. What can't be read asks for nothing.
fn wish(item: &str) -> Option<(&str, u16)> {
    let (name, parameters) = item.split_once(';').map_or((item, None), |(name, rest)| (name, Some(rest)));
    let name = name.trim();
    let weight = parameters.map_or(Some(1000), weight)?;
    (!name.is_empty()).then_some((name, weight))
}

/// `q=0.5` in thousandths (RFC 9110 §12.4.2).
fn weight(parameter: &str) -> Option<u16> {
    let value = parameter.trim().strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('=')?.trim();
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{part:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Br, Coding::Gzip];

    fn taken(lines: &[&str], offered: &[Coding]) -> String {
        let headers: HeaderMap =
            lines.iter().map(|line| (ACCEPT_ENCODING, HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect();
        accepted(&headers, offered).iter().map(|coding| coding.name()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_most_welcome_first_and_equals_in_the_order_of_the_offer() {
        for (line, expected) in [
            ("", ""),
            ("identity", ""),
            ("gzip", "gzip"),
            ("x-gzip", "gzip"),
            ("GZip", "gzip"),
            ("gzip, deflate, br, zstd", "zstd br gzip"),
            ("gzip;q=1.0, br;q=0.9, zstd;q=0.8", "gzip br zstd"),
            ("gzip;q=0.5,br;q=0.5", "br gzip"),
            ("br;q=0.001", "br"),
            ("br;q=0", ""),
            ("br;q=0.000, gzip", "gzip"),
            ("*", "zstd br gzip"),
            ("*;q=0", ""),
            ("gzip, *;q=0", "gzip"),
            ("zstd;q=0, *", "br gzip"),
            ("*;q=0.1, gzip", "gzip zstd br"),
            ("identity;q=0", ""),
            ("identity;q=0, gzip", "gzip"),
            ("identity, gzip;q=0.5", ""),
            ("identity;q=0.5, gzip;q=0.5, br;q=0.4", "gzip"),
            ("deflate, compress", ""),
            ("gzip ; q = 0.7", "gzip"),
            ("gzip;q=2", ""),
            ("gzip;q=1.001", ""),
            ("gzip;q=0.1234", ""),
            ("gzip;q=-1", ""),
            ("gzip;q=", ""),
            ("gzip;x=1", ""),
            (",,gzip,,", "gzip"),
            ("gzip gzip", ""),
        ] {
            assert_eq!(taken(&[line], &ALL), expected, "{line:?}");
        }
    }

    #[test]
    fn several_fields_are_one_list() {
        assert_eq!(taken(&["gzip;q=0.5", "br"], &ALL), "br gzip");
        assert_eq!(taken(&["\u{e4}", "br"], &ALL), "br");
        assert_eq!(taken(&[], &ALL), "");
    }

    #[test]
    fn only_what_is_offered_in_the_order_of_the_offer() {
        assert_eq!(taken(&["gzip, br, zstd"], &[Coding::Gzip, Coding::Zstd]), "gzip zstd");
        assert_eq!(taken(&["br"], &[Coding::Gzip]), "");
        assert_eq!(taken(&["*"], &[]), "");
    }

    proptest::proptest! {
        #[test]
        fn anything_can_be_asked_for(line in "[ -~]{0,60}") {
            let _ = taken(&[&line], &ALL);
        }
    }
}
