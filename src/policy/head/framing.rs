//! What the fields of one head say together: where the body ends, whom it is for (RFC 9112 §3.2, §6).
//!
//! Every way to say it twice, or in a way that another parser may read otherwise, is refused. That is stricter than the
//! RFC asks, on purpose: request smuggling lives on the cases that the RFC lets a recipient repair.

use super::{Framing, HeadRejection, TOO_MANY_HEADERS, Version, check_value, rejection, trim};

/// The fields that frame or route, gathered while walking.
#[derive(Default)]
pub(super) struct Fields {
    count: usize,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
}

impl Fields {
    /// How many fields there were.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Takes one field.
    #[inline]
    pub(super) fn add(&mut self, name: &[u8], value: &[u8], max: usize) -> Result<(), HeadRejection> {
        self.count += 1;
        if self.count > max {
            return Err(TOO_MANY_HEADERS);
        }
        match name.len() {
            4 | 10 | 14 | 17 => self.look_at(name, value),
            _ => Ok(()),
        }
    }

    /// A name as long as one that matters.
    fn look_at(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadRejection> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        let verdict = match name.len() {
            4 if is(b"host") => self.host(),
            10 if is(b"connection") => connection(value),
            14 if is(b"content-length") => self.content_length(trim(value)),
            17 if is(b"transfer-encoding") => self.transfer_encoding(trim(value)),
            // Upstreams behind CGI-like interfaces read `_` as `-`: to them these frame the body.
            14 if is(b"content_length") => Err(LOOKALIKE),
            17 if is(b"transfer_encoding") => Err(LOOKALIKE),
            _ => Ok(()),
        };
        // A control byte is the plainer reason; without another one it is found with all others at the end.
        verdict.or_else(|rejection| check_value(value).and(Err(rejection)))
    }

    fn host(&mut self) -> Result<(), HeadRejection> {
        self.hosts += 1;
        if self.hosts > 1 { Err(DUPLICATE_HOST) } else { Ok(()) }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), HeadRejection> {
        let length = parse_length(value)?;
        if self.length.replace(length).is_some() { Err(DUPLICATE_LENGTH) } else { Ok(()) }
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadRejection> {
        if self.chunked {
            return Err(DUPLICATE_CODING);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(other_coding(value));
        }
        self.chunked = true;
        Ok(())
    }

    /// What it all means.
    pub(super) fn conclude(self, version: Version) -> Result<Framing, HeadRejection> {
        if self.hosts == 0 && version == Version::Http11 {
            return Err(MISSING_HOST);
        }
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(TWO_FRAMINGS),
            (true, None) if version == Version::Http10 => Err(CODING_IN_HTTP10),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::None),
        }
    }
}

/// Digits only. Beyond 2^63-1 no body can be meant (413); beyond 2^64-1 it is not even a number (400).
fn parse_length(value: &[u8]) -> Result<u64, HeadRejection> {
    if value.is_empty() {
        return Err(BAD_LENGTH);
    }
    let length = value.iter().try_fold(0u64, |sum, byte| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    });
    match length {
        Some(length) if i64::try_from(length).is_ok() => Ok(length),
        Some(_) => Err(LENGTH_TOO_LARGE),
        None => Err(BAD_LENGTH),
    }
}

/// A proper list of codings that ends in `chunked` is understood but not served; anything else is nonsense.
#[cold]
fn other_coding(value: &[u8]) -> HeadRejection {
    let mut codings: Vec<&[u8]> = value.split(|byte| *byte == b',').map(trim).collect();
    let last = codings.pop().unwrap_or_default();
    let proper = |coding: &&[u8]| {
        !coding.is_empty()
            && coding.iter().all(|byte| super::is_token(*byte))
            && !coding.eq_ignore_ascii_case(b"chunked")
            && !coding.eq_ignore_ascii_case(b"identity")
    };
    if last.eq_ignore_ascii_case(b"chunked") && !codings.is_empty() && codings.iter().all(proper) {
        UNSUPPORTED_CODING
    } else {
        BAD_CODING
    }
}

/// Options that one `Connection` field may name: nobody means more, and every one is looked for in the whole head.
const MAX_OPTIONS: usize = 8;

/// `Connection` names what ends at this hop; what frames or routes the message cannot (RFC 9110 §7.6.1).
fn connection(value: &[u8]) -> Result<(), HeadRejection> {
    if matches!(value, b" keep-alive" | b" close") {
        return Ok(());
    }
    let forbidden = |option: &[u8]| {
        [b"host".as_slice(), b"content-length", b"transfer-encoding"]
            .iter()
            .any(|name| option.eq_ignore_ascii_case(name))
    };
    let mut options = value.split(|byte| *byte == b',').map(trim);
    if options.clone().count() > MAX_OPTIONS || options.any(forbidden) { Err(BAD_NOMINATION) } else { Ok(()) }
}

const MISSING_HOST: HeadRejection = rejection(400, "missing_host", "an HTTP/1.1 request needs a Host field");
const DUPLICATE_HOST: HeadRejection = rejection(400, "duplicate_host", "there is more than one Host field");
const BAD_LENGTH: HeadRejection = rejection(400, "invalid_content_length", "Content-Length is not one decimal number");
const DUPLICATE_LENGTH: HeadRejection =
    rejection(400, "ambiguous_framing", "there is more than one Content-Length field");
const LENGTH_TOO_LARGE: HeadRejection = rejection(413, "body_too_large", "the announced body is too large");
const BAD_CODING: HeadRejection =
    rejection(400, "ambiguous_framing", "Transfer-Encoding is something other than `chunked`");
const DUPLICATE_CODING: HeadRejection =
    rejection(400, "ambiguous_framing", "there is more than one Transfer-Encoding field");
const UNSUPPORTED_CODING: HeadRejection =
    rejection(501, "unsupported_transfer_coding", "the only transfer coding that is served is `chunked`");
const TWO_FRAMINGS: HeadRejection =
    rejection(400, "ambiguous_framing", "there are both Content-Length and Transfer-Encoding");
const CODING_IN_HTTP10: HeadRejection = rejection(400, "ambiguous_framing", "HTTP/1.0 has no Transfer-Encoding");
const LOOKALIKE: HeadRejection =
    rejection(400, "ambiguous_framing", "a field that frames the body is spelt with an underscore");
const BAD_NOMINATION: HeadRejection = rejection(
    400,
    "invalid_connection",
    "Connection names a field that frames or routes the message, or too many fields",
);
