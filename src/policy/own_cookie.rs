//! Cookies of the edge's own: what they are called, how they are read and written. They are for the edge alone; none of them
//! travels to an upstream.
//!
//! Over https a name begins with `__Host-`, which browsers accept from this very host and over https only (RFC 6265bis
//! §4.1.3.2): neither another host of the same site nor somebody on the wire can put one there. Over plain http, which is
//! for development on one machine, the name has no such beginning, and is read over plain http only.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// What all of them begin with, in the clear and over https.
const OURS: &[&[u8]] = &[b"countersign", b"__Host-countersign"];

/// As many as one session may be spread over.
const MOST_PIECES: usize = 4;

/// As many log-ins may be under way in one browser: beyond that, those before are given up.
const MOST_LOG_INS: usize = 8;

/// Whether the browser speaks https with us (or with the proxy in front).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// It does.
    Https,
    /// It does not.
    Plain,
}

impl Wire {
    /// Of a scheme.
    pub fn of(scheme: &str) -> Self {
        if scheme == "https" { Self::Https } else { Self::Plain }
    }

    /// Who somebody is. It may be too large for one cookie: a second piece is named `.1`, and so on.
    fn session(self) -> &'static str {
        match self {
            Self::Https => "__Host-countersign-session",
            Self::Plain => "countersign-session",
        }
    }

    /// A log-in that is under way; its mark follows.
    fn log_in(self) -> &'static str {
        match self {
            Self::Https => "__Host-countersign-login.",
            Self::Plain => "countersign-login.",
        }
    }
}

/// The pieces of a session, as the browser brings them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pieces<'a>([&'a str; MOST_PIECES]);

impl<'a> Pieces<'a> {
    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|piece| piece.is_empty())
    }

    /// From the first on; empty where one is missing.
    pub fn as_slice(&self) -> &[&'a str] {
        &self.0
    }
}

/// The session that a browser brings. Of a name that comes twice the first counts.
pub fn session(headers: &HeaderMap, wire: Wire) -> Pieces<'_> {
    let mut pieces = Pieces::default();
    for (name, value) in pairs(headers).filter_map(split) {
        let piece = name.strip_prefix(wire.session().as_bytes()).and_then(piece);
        if let Some(slot) = piece.and_then(|piece| pieces.0.get_mut(piece))
            && slot.is_empty()
        {
            *slot = std::str::from_utf8(value).unwrap_or_default();
        }
    }
    pieces
}

fn piece(rest: &[u8]) -> Option<usize> {
    match rest {
        [] => Some(0),
        [b'.', digit @ b'1'..=b'9'] => Some(usize::from(digit - b'0')),
        _ => None,
    }
}

/// `set-cookie` for each piece of a session; pieces that the browser has beyond these are taken back. Without any: all are.
pub fn set_session(headers: &HeaderMap, wire: Wire, pieces: &[String], seconds: u64) -> Vec<HeaderValue> {
    let name = |piece: usize| match piece {
        0 => wire.session().to_owned(),
        piece => format!("{}.{piece}", wire.session()),
    };
    let written = pieces.iter().enumerate().map(|(piece, value)| field(wire, &name(piece), value, seconds));
    let had = session(headers, wire).0.into_iter().enumerate().skip(pieces.len());
    let gone = had.filter(|(_, value)| !value.is_empty()).map(|(piece, _)| field(wire, &name(piece), "", 0));
    written.chain(gone).flatten().collect()
}

/// What a browser has kept for the log-in of that mark.
pub fn log_in<'a>(headers: &'a HeaderMap, wire: Wire, mark: &str) -> Option<&'a str> {
    log_ins(headers, wire)
        .find(|(known, _)| *known == mark.as_bytes())
        .and_then(|(_, value)| std::str::from_utf8(value).ok())
}

fn log_ins(headers: &HeaderMap, wire: Wire) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = pairs(headers).filter_map(split);
    pairs.filter_map(move |(name, value)| Some((name.strip_prefix(wire.log_in().as_bytes())?, value)))
}

/// `set-cookie` for a log-in that begins; too many that were never ended are taken back.
pub fn begin_log_in(headers: &HeaderMap, wire: Wire, mark: &str, value: &str, seconds: u64) -> Vec<HeaderValue> {
    let mut fields: Vec<HeaderValue> =
        field(wire, &format!("{}{mark}", wire.log_in()), value, seconds).into_iter().collect();
    if log_ins(headers, wire).count() >= MOST_LOG_INS {
        let marks = log_ins(headers, wire).filter_map(|(mark, _)| std::str::from_utf8(mark).ok());
        fields.extend(marks.filter_map(|mark| end_log_in(wire, mark)));
    }
    fields
}

/// `set-cookie` for a log-in that has ended.
pub fn end_log_in(wire: Wire, mark: &str) -> Option<HeaderValue> {
    field(wire, &format!("{}{mark}", wire.log_in()), "", 0)
}

fn field(wire: Wire, name: &str, value: &str, seconds: u64) -> Option<HeaderValue> {
    let secure = if wire == Wire::Https { " Secure;" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds};{secure} HttpOnly; SameSite=Lax");
    let mut field = HeaderValue::try_from(text).ok()?;
    field.set_sensitive(true);
    Some(field)
}

/// Whether a cookie (`name=value`) is the edge's own.
pub fn is_ours(pair: &[u8]) -> bool {
    OURS.iter().any(|beginning| pair.starts_with(beginning))
}

/// Every cookie of a request, as `name=value`.
pub fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(COOKIE).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii)
}

fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    Some((pair.get(..equals)?.trim_ascii(), pair.get(equals + 1..)?.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTRIBUTES: &str = "Secure; HttpOnly; SameSite=Lax";

    fn head(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_str(line).unwrap())).collect()
    }

    fn text(fields: Vec<HeaderValue>) -> Vec<String> {
        fields.iter().map(|field| field.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn pieces_are_found_in_any_order_and_over_their_own_wire_only() {
        let sent = head(&[
            "a=1; __Host-countersign-session.1=two; countersign-session=plain",
            "__Host-countersign-session=one; __Host-countersign-session=again; __Host-countersign-session.9=x",
        ]);
        assert_eq!(session(&sent, Wire::Https).as_slice(), ["one", "two", "", ""]);
        assert_eq!(session(&sent, Wire::Plain).as_slice(), ["plain", "", "", ""]);
        assert!(session(&head(&["__Host-countersign-sessions=1; __Host-countersign=2"]), Wire::Https).is_empty());
    }

    #[test]
    fn what_is_written_is_for_this_host_alone_and_takes_back_what_is_left_over() {
        let sent =
            head(&["__Host-countersign-session=a; __Host-countersign-session.1=b; __Host-countersign-session.2=c"]);
        let written = text(set_session(&sent, Wire::Https, &["x".to_owned(), "y".to_owned()], 60));
        assert_eq!(
            written,
            [
                format!("__Host-countersign-session=x; Path=/; Max-Age=60; {ATTRIBUTES}"),
                format!("__Host-countersign-session.1=y; Path=/; Max-Age=60; {ATTRIBUTES}"),
                format!("__Host-countersign-session.2=; Path=/; Max-Age=0; {ATTRIBUTES}"),
            ]
        );
        let gone = text(set_session(&head(&["countersign-session=a"]), Wire::Plain, &[], 0));
        assert_eq!(gone, ["countersign-session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"]);
        assert!(set_session(&HeaderMap::new(), Wire::Plain, &[], 0).is_empty());
    }

    #[test]
    fn several_log_ins_may_be_under_way_but_not_any_number() {
        let sent = head(&["__Host-countersign-login.aa=1; __Host-countersign-login.bb=2"]);
        assert_eq!(log_in(&sent, Wire::Https, "bb"), Some("2"));
        assert_eq!(log_in(&sent, Wire::Https, "cc"), None);
        assert_eq!(log_in(&sent, Wire::Plain, "bb"), None);
        let begun = text(begin_log_in(&sent, Wire::Https, "cc", "3", 600));
        assert_eq!(begun, [format!("__Host-countersign-login.cc=3; Path=/; Max-Age=600; {ATTRIBUTES}")]);
        let many: Vec<String> = (0..8).map(|mark| format!("countersign-login.{mark}=x")).collect();
        let begun = text(begin_log_in(&head(&[&many.join("; ")]), Wire::Plain, "cc", "3", 600));
        assert_eq!(begun.len(), 9);
        assert!(begun[8].starts_with("countersign-login.7=; Path=/; Max-Age=0"), "{begun:?}");
    }

    #[test]
    fn all_that_begin_with_our_name_are_ours() {
        for pair in ["countersign=1", "countersign-session.2=x", "countersign_env=dev", "__Host-countersign-login=x"] {
            assert!(is_ours(pair.as_bytes()), "{pair}");
        }
        for pair in ["Countersign=1", "a=countersign", "__Host-a=1", "x-countersign=1", ""] {
            assert!(!is_ours(pair.as_bytes()), "{pair}");
        }
    }
}
