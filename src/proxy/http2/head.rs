//! One request head out of a HEADERS block: the limits that HTTP/1 heads have as well, and the two notations that only
//! HTTP/2 has (RFC 9113 §8.2.3 and §8.3.1) turned into what everything behind expects.
//!
//! What a request means is judged by `policy::request_gate`, for every version alike. What no codec lets through (pseudo-headers
//! missing or doubled, upper-case names) never comes here.

use bytes::BytesMut;
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use pingora_http::RequestHeader;

use super::stream::Asked;
use crate::policy::head::{HeadRejection, Limits};

/// A head that is fit for the phases, or an answer.
pub type Made = Result<RequestHeader, HeadRejection>;

/// Takes a head apart. `is_whole`: no body follows.
pub fn make(mut parts: Parts, limits: &Limits, is_whole: bool) -> (Asked, Made) {
    let uri = std::mem::take(&mut parts.uri).into_parts();
    let asked = Asked { method: parts.method.clone(), target: uri.path_and_query, authority: uri.authority };
    let made = check_size(&asked, &parts.headers, limits).and_then(|()| check_scheme(uri.scheme.as_ref()));
    let made = made.and_then(|()| {
        join_cookies(&mut parts.headers);
        check_count(&parts.headers, limits)?;
        name_host(&asked, &mut parts.headers);
        frame(&parts.method, &mut parts.headers, is_whole);
        // CONNECT has no path; the gate refuses the method before it asks for one.
        let target = asked.target.clone().unwrap_or_else(|| PathAndQuery::from_static("/"));
        parts.uri = Uri::from(target);
        Ok(RequestHeader::from(parts))
    });
    (asked, made)
}

/// Counts what the head would have over HTTP/1, so that one limit means one thing.
fn check_size(asked: &Asked, headers: &HeaderMap, limits: &Limits) -> Result<(), HeadRejection> {
    let target = asked.target.as_ref().map_or(0, |target| target.as_str().len());
    if target > limits.max_target {
        return Err(URI_TOO_LONG);
    }
    let authority = asked.authority.as_ref().map_or(0, |authority| authority.as_str().len());
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE).sum();
    if target + authority + fields > limits.max_head { Err(HEADER_TOO_LARGE) } else { Ok(()) }
}

/// `: ` and the line's end.
const LINE: usize = 4;

fn check_count(headers: &HeaderMap, limits: &Limits) -> Result<(), HeadRejection> {
    if headers.len() > limits.max_fields { Err(TOO_MANY_HEADERS) } else { Ok(()) }
}

/// RFC 9113 §8.3.1; CONNECT has none.
fn check_scheme(scheme: Option<&Scheme>) -> Result<(), HeadRejection> {
    match scheme {
        Some(scheme) if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS => Err(FOREIGN_SCHEME),
        _ => Ok(()),
    }
}

/// RFC 9113 §8.2.3: a cookie may come in crumbs, and must be whole for HTTP/1 and for applications.
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut whole = BytesMut::from(first.as_bytes());
    for crumb in std::iter::once(second).chain(crumbs) {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(cookie) = HeaderValue::from_maybe_shared(whole.freeze()) {
        headers.insert(header::COOKIE, cookie);
    }
}

/// RFC 9113 §8.3.1: `:authority` is what `Host` is over HTTP/1. A `Host` beside it stays, and must say the same.
fn name_host(asked: &Asked, headers: &mut HeaderMap) {
    if let Some(authority) = &asked.authority
        && !headers.contains_key(header::HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(header::HOST, host);
    }
}

/// RFC 9110 §8.6: methods that are expected to have a body say when there is none; over HTTP/2 the frame has said it.
fn frame(method: &Method, headers: &mut HeaderMap, is_whole: bool) {
    let expects_body = [Method::POST, Method::PUT, Method::PATCH].contains(method);
    if is_whole && expects_body && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

const URI_TOO_LONG: HeadRejection =
    HeadRejection { status: 414, code: "uri_too_long", message: "the request target is too long" };
const HEADER_TOO_LARGE: HeadRejection =
    HeadRejection { status: 431, code: "header_too_large", message: "the request head is too large" };
const TOO_MANY_HEADERS: HeadRejection =
    HeadRejection { status: 431, code: "too_many_headers", message: "the request has too many header fields" };
const FOREIGN_SCHEME: HeadRejection =
    HeadRejection { status: 400, code: "invalid_target", message: "the request's scheme is neither http nor https" };

#[cfg(test)]
mod tests {
    use http::{Request, header};

    use super::{Limits, make};

    const LIMITS: Limits = Limits { max_head: 1000, max_target: 100, max_fields: 5 };

    fn made(uri: &str, fields: &[(&str, &str)], is_whole: bool) -> Result<pingora_http::RequestHeader, u16> {
        let mut request = Request::builder().method("POST").uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        make(parts, &LIMITS, is_whole).1.map_err(|rejection| rejection.status)
    }

    #[test]
    fn the_target_is_the_path_and_the_authority_is_the_host() {
        let head = made("https://a.test:8/x?y", &[], false).unwrap();
        assert_eq!(head.raw_path(), b"/x?y");
        assert_eq!(head.headers[header::HOST], "a.test:8");
        assert!(head.uri.authority().is_none());
    }

    #[test]
    fn a_host_beside_the_authority_stays_for_the_gate_to_compare() {
        let head = made("https://a.test/", &[("host", "b.test")], false).unwrap();
        assert_eq!(head.headers.get_all(header::HOST).iter().collect::<Vec<_>>(), ["b.test"]);
    }

    #[test]
    fn crumbs_become_one_cookie() {
        let fields = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")];
        let head = made("https://a.test/", &fields, false).unwrap();
        assert_eq!(head.headers.get_all(header::COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
        let many: Vec<_> = (0..50).map(|_| ("cookie", "a=1")).collect();
        assert!(made("https://a.test/", &many, false).is_ok(), "crumbs are one field");
    }

    #[test]
    fn limits_are_those_of_http_1() {
        assert_eq!(made(&format!("https://a.test/{}", "x".repeat(100)), &[], false).unwrap_err(), 414);
        assert_eq!(made("https://a.test/", &[("x", &"y".repeat(1000))], false).unwrap_err(), 431);
        let fields = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1"), ("f", "1")];
        assert_eq!(made("https://a.test/", &fields, false).unwrap_err(), 431);
        assert!(made("https://a.test/", &fields[..5], false).is_ok());
    }

    #[test]
    fn only_http_is_served() {
        assert_eq!(made("ftp://a.test/", &[], false).unwrap_err(), 400);
        assert!(made("http://a.test/", &[], false).is_ok());
    }

    #[test]
    fn a_post_without_a_body_says_so() {
        assert_eq!(made("https://a.test/", &[], true).unwrap().headers[header::CONTENT_LENGTH], "0");
        assert!(!made("https://a.test/", &[], false).unwrap().headers.contains_key(header::CONTENT_LENGTH));
    }
}
