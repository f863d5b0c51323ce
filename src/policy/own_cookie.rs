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

/// As many as one value may be spread over.
pub const MOST_PIECES: usize = 4;

/// Whether the browser speaks https with us (or with the proxy in front).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// It does.
    Https,
    /// It does not.
    Plain,
}

/// One of the edge's cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// Who somebody is. It may be too large for one cookie: a second piece is named `.1`, and so on.
    Session,
    /// The log-ins that are under way.
    LogIn,
}

impl Wire {
    /// Of a scheme.
    pub fn of(scheme: &str) -> Self {
        if scheme == "https" { Self::Https } else { Self::Plain }
    }
}

impl Cookie {
    fn name(self, wire: Wire) -> &'static str {
        match (self, wire) {
            (Self::Session, Wire::Https) => "__Host-countersign-session",
            (Self::Session, Wire::Plain) => "countersign-session",
            (Self::LogIn, Wire::Https) => "__Host-countersign-login",
            (Self::LogIn, Wire::Plain) => "countersign-login",
        }
    }

    /// Its pieces as the browser brings them: the first `None` ends them. Of a name that comes twice the first counts.
    pub fn read(self, headers: &HeaderMap, wire: Wire) -> [Option<&str>; MOST_PIECES] {
        let mut pieces = [None; MOST_PIECES];
        for (name, value) in pairs(headers).filter_map(|pair| split(pair)) {
            if let Some(slot) = self.piece_of(wire, name).and_then(|piece| pieces.get_mut(piece))
                && slot.is_none()
            {
                *slot = std::str::from_utf8(value).ok();
            }
        }
        pieces
    }

    /// Which piece of it a name is.
    fn piece_of(self, wire: Wire, name: &[u8]) -> Option<usize> {
        match name.strip_prefix(self.name(wire).as_bytes())? {
            [] => Some(0),
            [b'.', digit @ b'1'..=b'9'] => Some(usize::from(digit - b'0')),
            _ => None,
        }
    }

    /// `set-cookie` for each piece; those that the browser has beyond these are taken back.
    pub fn write(
        self,
        headers: &HeaderMap,
        wire: Wire,
        pieces: &[String],
        seconds: u64,
    ) -> impl Iterator<Item = HeaderValue> {
        let had = self.read(headers, wire);
        let written = pieces.iter().enumerate().map(move |(piece, value)| self.field(wire, piece, value, seconds));
        let left = had.into_iter().enumerate().skip(pieces.len()).filter(|(_, value)| value.is_some());
        let gone = left.map(move |(piece, _)| self.field(wire, piece, "", 0));
        // They are taken together before anything is sent.
        let fields: Vec<HeaderValue> = written.chain(gone).flatten().collect();
        fields.into_iter()
    }

    fn field(self, wire: Wire, piece: usize, value: &str, seconds: u64) -> Option<HeaderValue> {
        let name = self.name(wire);
        let number = if piece == 0 { String::new() } else { format!(".{piece}") };
        let secure = if wire == Wire::Https { " Secure;" } else { "" };
        let text = format!("{name}{number}={value}; Path=/; Max-Age={seconds};{secure} HttpOnly; SameSite=Lax");
        let mut field = HeaderValue::try_from(text).ok()?;
        field.set_sensitive(true);
        Some(field)
    }
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

    fn head(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_str(line).unwrap())).collect()
    }

    fn text(fields: impl Iterator<Item = HeaderValue>) -> Vec<String> {
        fields.map(|field| field.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn pieces_are_found_in_any_order_and_over_their_own_wire_only() {
        let sent = head(&[
            "a=1; __Host-countersign-session.1=two; countersign-session=plain",
            "__Host-countersign-session=one; __Host-countersign-session=again; __Host-countersign-session.9=x",
        ]);
        assert_eq!(Cookie::Session.read(&sent, Wire::Https), [Some("one"), Some("two"), None, None]);
        assert_eq!(Cookie::Session.read(&sent, Wire::Plain), [Some("plain"), None, None, None]);
        assert_eq!(Cookie::LogIn.read(&sent, Wire::Https), [None; 4]);
        assert_eq!(Cookie::Session.read(&head(&["__Host-countersign-sessions=1"]), Wire::Https), [None; 4]);
    }

    #[test]
    fn what_is_written_is_for_this_host_alone_and_takes_back_what_is_left_over() {
        let sent = head(&["__Host-countersign-session=a; __Host-countersign-session.1=b; __Host-countersign-session.2=c"]);
        let written = text(Cookie::Session.write(&sent, Wire::Https, &["x".to_owned(), "y".to_owned()], 60));
        let attributes = "Secure; HttpOnly; SameSite=Lax";
        assert_eq!(
            written,
            [
                format!("__Host-countersign-session=x; Path=/; Max-Age=60; {attributes}"),
                format!("__Host-countersign-session.1=y; Path=/; Max-Age=60; {attributes}"),
                format!("__Host-countersign-session.2=; Path=/; Max-Age=0; {attributes}"),
            ]
        );
        let gone = text(Cookie::Session.write(&head(&["countersign-session=a"]), Wire::Plain, &[], 0));
        assert_eq!(gone, ["countersign-session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"]);
        assert_eq!(Cookie::Session.write(&HeaderMap::new(), Wire::Plain, &[], 0).count(), 0);
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
