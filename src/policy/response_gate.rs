//! The response gate: what an upstream answered, before it goes on to the client.
//!
//! Framing that two parsers could read differently is refused here as in requests: an answer that ends in another place
//! than we think becomes someone else's answer on a connection that is used again. The framing that stands is left to the
//! HTTP engine, which writes its own towards the client.

use http::header::{CONNECTION, CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Method, StatusCode};

/// What to do with an upstream's response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on, after [`strip`].
    Pass,
    /// 502 with this code and reason.
    Refuse {
        /// The error code.
        code: &'static str,
        /// For the log.
        reason: &'static str,
    },
}

/// Judges framing and status of a final (not 1xx) response (RFC 9112 §6).
///
/// `method`: HEAD's answer has no body whatever its framing says, so only what could not be repeated to the client is
/// refused; 204 and 304 have none either.
pub fn judge(method: &Method, status: StatusCode, headers: &HeaderMap) -> Verdict {
    // 999 and the like exist in the wild; no client and no metric has a meaning for them (RFC 9110 §15).
    if status.as_u16() > 599 {
        return Verdict::Refuse { code: "bad_upstream_status", reason: "the status is not between 100 and 599" };
    }
    if has_no_body(status) || status.is_informational() {
        return Verdict::Pass;
    }
    let coding = if *method == Method::HEAD { Ok(()) } else { check_coding(headers) };
    match coding.and_then(|()| check_length(headers)) {
        Ok(()) => Verdict::Pass,
        Err(reason) => Verdict::Refuse { code: "bad_upstream_framing", reason },
    }
}

/// RFC 9110 §8.6, §15.4.5.
fn has_no_body(status: StatusCode) -> bool {
    status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

fn check_coding(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(_), None) => Err("transfer-encoding is something other than `chunked`"),
        _ => Err("there is more than one transfer-encoding field"),
    }
}

fn check_length(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(()),
        (Some(length), None) if is_number(length.as_bytes()) => Ok(()),
        (Some(_), None) => Err("content-length is not one decimal number"),
        _ => Err("there is more than one content-length field"),
    }
}

fn is_number(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(u8::is_ascii_digit)
}

/// The names to remove before the client sees the response: hop-by-hop fields, `Trailer`, what `Connection` nominates, and
/// for 204 (RFC 9110 §8.6) the body's framing. `upgrade`: a 101 keeps `connection` and `upgrade`.
///
/// `transfer-encoding` stays elsewhere: the engine reads from it that the answer towards the client is chunked. A 304
/// keeps `content-length`, which tells of the 200 that it stands for. What frames or means the body cannot be nominated away.
pub fn strip(status: StatusCode, headers: &HeaderMap, upgrade: bool) -> Vec<HeaderName> {
    let is_switching = upgrade && status == StatusCode::SWITCHING_PROTOCOLS;
    let is_kept = |name: &HeaderName| is_switching && (*name == CONNECTION || *name == UPGRADE);
    let mut names: Vec<HeaderName> = hop_by_hop().filter(|name| headers.contains_key(name) && !is_kept(name)).collect();
    names.extend(nominated(headers).filter(|name| headers.contains_key(name) && !is_kept(name) && !is_framing(name)));
    if has_no_body(status) && headers.contains_key(TRANSFER_ENCODING) {
        names.push(TRANSFER_ENCODING);
    }
    if status == StatusCode::NO_CONTENT && headers.contains_key(CONTENT_LENGTH) {
        names.push(CONTENT_LENGTH);
    }
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names
}

/// Beside `transfer-encoding`.
fn hop_by_hop() -> impl Iterator<Item = HeaderName> {
    const FURTHER: [&str; 5] =
        ["keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authentication-info", "proxy-authorization"];
    [CONNECTION, UPGRADE, TRAILER, http::header::TE].into_iter().chain(FURTHER.map(HeaderName::from_static))
}

fn nominated(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let options = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
}

fn is_framing(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, TRANSFER_ENCODING, http::header::CONTENT_TYPE, http::header::CONTENT_ENCODING].contains(name)
}

#[cfg(test)]
mod tests {
    use super::{Verdict, judge, strip};
    use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

    fn fields(list: &[(&str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| {
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect()
    }

    fn code(method: &str, status: u16, list: &[(&str, &str)]) -> &'static str {
        match judge(&method.parse::<Method>().unwrap(), StatusCode::from_u16(status).unwrap(), &fields(list)) {
            Verdict::Pass => "pass",
            Verdict::Refuse { code, reason } => {
                assert!(!reason.is_empty());
                code
            }
        }
    }

    fn stripped(status: u16, list: &[(&str, &str)], upgrade: bool) -> Vec<String> {
        let names = strip(StatusCode::from_u16(status).unwrap(), &fields(list), upgrade);
        names.iter().map(|name| name.as_str().to_owned()).collect()
    }

    #[test]
    fn framing_and_status() {
        const FRAMING: &str = "bad_upstream_framing";
        for (method, status, list, expected) in [
            ("GET", 200, &[][..], "pass"),
            ("GET", 200, &[("content-length", "2")], "pass"),
            ("GET", 200, &[("transfer-encoding", "chunked")], "pass"),
            ("GET", 200, &[("transfer-encoding", "Chunked")], "pass"),
            ("GET", 200, &[("transfer-encoding", "chunked"), ("content-length", "2")], "pass"),
            ("GET", 200, &[("transfer-encoding", "gzip")], FRAMING),
            ("GET", 200, &[("transfer-encoding", "")], FRAMING),
            ("GET", 200, &[("transfer-encoding", "gzip, chunked")], FRAMING),
            ("GET", 200, &[("transfer-encoding", "chunked, chunked")], FRAMING),
            ("GET", 200, &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], FRAMING),
            ("GET", 200, &[("transfer-encoding", "xchunked")], FRAMING),
            ("GET", 500, &[("transfer-encoding", "identity")], FRAMING),
            ("GET", 200, &[("content-length", "2"), ("content-length", "3")], FRAMING),
            ("GET", 200, &[("content-length", "2"), ("content-length", "2")], FRAMING),
            ("GET", 200, &[("content-length", "2, 2")], FRAMING),
            ("GET", 200, &[("content-length", "foo")], FRAMING),
            ("GET", 200, &[("content-length", "")], FRAMING),
            ("GET", 200, &[("content-length", "-1")], FRAMING),
            ("GET", 200, &[("content-length", "+1")], FRAMING),
            ("HEAD", 200, &[("transfer-encoding", "gzip")], "pass"),
            ("HEAD", 200, &[("content-length", "2, 3")], FRAMING),
            ("GET", 204, &[("content-length", "5")], "pass"),
            ("GET", 204, &[("transfer-encoding", "gzip")], "pass"),
            ("GET", 304, &[("content-length", "5")], "pass"),
            ("GET", 101, &[("upgrade", "websocket")], "pass"),
            ("GET", 418, &[], "pass"),
            ("GET", 599, &[], "pass"),
            ("GET", 600, &[], "bad_upstream_status"),
            ("GET", 999, &[], "bad_upstream_status"),
        ] {
            assert_eq!(code(method, status, list), expected, "{method} {status} {list:?}");
        }
    }

    #[test]
    fn hop_by_hop_fields_go() {
        let all = [
            ("connection", "close, X-Priv,keep-alive, not there, \u{e4}"),
            ("connection", "x-second"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("proxy-connection", "close"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("trailer", "X-Sum"),
            ("x-priv", "1"),
            ("x-second", "1"),
            ("x-third", "1"),
            ("transfer-encoding", "chunked"),
            ("content-type", "text/plain"),
        ];
        let expected = [
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "proxy-connection",
            "te",
            "trailer",
            "upgrade",
            "x-priv",
            "x-second",
        ];
        assert_eq!(stripped(200, &all, false), expected);
        assert_eq!(stripped(200, &all, true), expected, "only a 101 upgrades");
        assert_eq!(stripped(200, &[("content-type", "text/plain"), ("content-length", "3")], false), [""; 0]);
    }

    #[test]
    fn a_101_keeps_its_upgrade() {
        let fields =
            [("connection", "Upgrade, X-Priv"), ("upgrade", "websocket"), ("x-priv", "1"), ("keep-alive", "x")];
        assert_eq!(stripped(101, &fields, true), ["keep-alive", "x-priv"]);
        assert_eq!(stripped(101, &fields, false), ["connection", "keep-alive", "upgrade", "x-priv"]);
    }

    #[test]
    fn answers_without_a_body_do_not_frame_one() {
        let framed = [("content-length", "5"), ("transfer-encoding", "chunked")];
        assert_eq!(stripped(204, &framed, false), ["content-length", "transfer-encoding"]);
        assert_eq!(stripped(304, &framed, false), ["transfer-encoding"]);
        assert_eq!(stripped(200, &framed, false), [""; 0]);
    }

    #[test]
    fn framing_cannot_be_nominated_away() {
        let fields = [
            ("connection", "content-length, transfer-encoding, content-type"),
            ("content-length", "5"),
            ("content-type", "x/y"),
        ];
        assert_eq!(stripped(200, &fields, false), ["connection"]);
    }
}
