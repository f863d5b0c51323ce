//! The request gate: one pure function from a parsed head to its one meaning, or a refusal. Version-independent;
//! HTTP/1's byte-level rules stand before it in [`super::head`].
//!
//! The order is that of certainty: the method that is never served, then whom the request is for, then its target, then
//! what the fields ask of us. Whatever is refused here is refused before any route is looked at.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{CONTENT_LENGTH, EXPECT, HOST, MAX_FORWARDS, TE};
use http::{HeaderMap, HeaderValue, Method, Version};

use super::certificate::ClientCertificate;
use super::{host, path};

/// A request head as the data plane or `explain` has it.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target as received (origin-form, absolute-form, `*`), before any change.
    pub target: &'a str,
    /// HTTP/2's `:authority`; `None` over HTTP/1.
    pub authority: Option<&'a str>,
    /// All fields.
    pub headers: &'a HeaderMap,
    /// The protocol version.
    pub version: Version,
    /// The address of the connection's other end.
    pub peer: IpAddr,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// What the client showed and the listener verified; `None` without mutual TLS.
    pub certificate: Option<&'a ClientCertificate>,
}

/// The one meaning of a request's target.
#[derive(Clone, Debug)]
pub struct Canonical<'a> {
    /// As [`super::host::canonical`] has it.
    pub host: Cow<'a, str>,
    /// The raw path.
    pub raw_path: &'a str,
    /// The path that decides.
    pub path: Cow<'a, str>,
    /// The query without `?`, as received.
    pub query: Option<&'a str>,
}

/// Why the gate refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateRefusal {
    /// 400, 405, 417, 501 …
    pub status: u16,
    /// The error code.
    pub code: &'static str,
    /// For the client; never repeats bytes of the request.
    pub message: &'static str,
}

/// What the gate says.
#[derive(Clone, Debug)]
pub enum Gate<'a> {
    /// Go on with this.
    Pass(Canonical<'a>),
    /// `OPTIONS *`: answered 204 with `allow` by the edge.
    ServerOptions,
    /// Answered with that status.
    Refuse(GateRefusal),
}

/// Judges a head (RFC 9110, RFC 9112 §3, RFC 9113 §8.3; the table is in `tests/it/http_cases.rs`).
pub fn judge<'a>(request: &RequestView<'a>) -> Gate<'a> {
    match meaning(request) {
        Ok(Some(canonical)) => Gate::Pass(canonical),
        Ok(None) => Gate::ServerOptions,
        Err(refusal) => Gate::Refuse(refusal),
    }
}

/// `None`: it is about the server as a whole.
fn meaning<'a>(request: &RequestView<'a>) -> Result<Option<Canonical<'a>>, GateRefusal> {
    check_method(request.method)?;
    if request.version >= Version::HTTP_2 {
        check_http2_fields(request.headers)?;
    }
    let target = split_target(request.target)?;
    let host = one_host(request, &target)?;
    check_expect(request.headers)?;
    if is_for_the_server(request, &target)? {
        return Ok(None);
    }
    let path = path::canonical(target.path).map_err(|error| refuse("invalid_path", error.0))?;
    Ok(Some(Canonical { host, raw_path: target.path, path, query: target.query }))
}

/// CONNECT would make a tunnel of the edge; TRACE would show a caller what the edge adds.
fn check_method(method: &Method) -> Result<(), GateRefusal> {
    if *method != Method::CONNECT && *method != Method::TRACE {
        return Ok(());
    }
    let message = "this method is not served here";
    Err(GateRefusal { status: 405, code: "method_not_allowed", message })
}

/// A target, taken apart.
#[derive(Debug)]
struct Target<'a> {
    /// Of the absolute form.
    authority: Option<Authority<'a>>,
    /// `*`, or begins with a slash.
    path: &'a str,
    query: Option<&'a str>,
}

#[derive(Debug)]
struct Authority<'a> {
    text: &'a str,
    default_port: u16,
}

fn split_target(target: &str) -> Result<Target<'_>, GateRefusal> {
    if !path::is_sendable(target.as_bytes()) {
        return Err(refuse("invalid_target", "the request target has a character that must be percent-encoded"));
    }
    if target.contains('#') {
        return Err(refuse("invalid_target", "the request target has a fragment"));
    }
    if target.starts_with('/') {
        return Ok(origin_form(target, None));
    }
    if target == "*" {
        return Ok(Target { authority: None, path: target, query: None });
    }
    absolute_form(target)
        .ok_or_else(|| refuse("invalid_target", "the request target is neither a path nor an http URL"))
}

fn origin_form<'a>(target: &'a str, authority: Option<Authority<'a>>) -> Target<'a> {
    match target.split_once('?') {
        Some((path, query)) => Target { authority, path, query: Some(query) },
        None => Target { authority, path: target, query: None },
    }
}

fn absolute_form(target: &str) -> Option<Target<'_>> {
    let (scheme, rest) = target.split_once("://")?;
    let schemes = [("http", 80), ("https", 443)];
    let (_, default_port) = schemes.into_iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name))?;
    let (text, rest) = rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len()))?;
    let target = origin_form(rest, Some(Authority { text, default_port }));
    Some(if target.path.is_empty() { Target { path: "/", ..target } } else { target })
}

/// The host, from wherever it is said; when it is said twice, it must be said alike (RFC 9112 §3.2.2 would let the target
/// win; two servers that disagree about that are a hole).
fn one_host<'a>(request: &RequestView<'a>, target: &Target<'a>) -> Result<Cow<'a, str>, GateRefusal> {
    let field = host_field(request.headers)?;
    // RFC 9112 §3.2 has HTTP/1.1 requests without Host refused, absolute form or not. HTTP/1.0 may go without, but we are
    // a gateway with named routes.
    let said = match (request.authority, field) {
        (Some(authority), _) => authority,
        (None, Some(field)) => field,
        (None, None) => return Err(refuse("missing_host", "the request does not say which host it is for")),
    };
    let default_port = match &target.authority {
        Some(authority) => authority.default_port,
        None if request.tls => 443,
        None => 80,
    };
    let host = parse_host(said, default_port)?;
    let others = [field, target.authority.as_ref().map(|authority| authority.text)];
    for other in others.into_iter().flatten().filter(|other| *other != said) {
        if parse_host(other, default_port)? != host {
            return Err(refuse("host_mismatch", "the request names two different hosts"));
        }
    }
    Ok(host.0)
}

fn host_field(headers: &HeaderMap) -> Result<Option<&str>, GateRefusal> {
    let mut fields = headers.get_all(HOST).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(refuse("duplicate_host", "there is more than one Host field"));
    }
    field.to_str().map(Some).map_err(|_| refuse("invalid_host", "the host has a character that no host has"))
}

fn parse_host(authority: &str, default_port: u16) -> Result<(Cow<'_, str>, u16), GateRefusal> {
    let (host, port) = host::split(authority).map_err(|reason| refuse("invalid_host", reason))?;
    Ok((host, port.unwrap_or(default_port)))
}

/// `OPTIONS *`, its absolute form without a path (RFC 9112 §3.2.4), and OPTIONS that may not be forwarded any further
/// (RFC 9110 §7.6.2).
fn is_for_the_server(request: &RequestView<'_>, target: &Target<'_>) -> Result<bool, GateRefusal> {
    let is_options = *request.method == Method::OPTIONS;
    if target.path == "*" {
        return if is_options { Ok(true) } else { Err(refuse("invalid_target", "only OPTIONS may ask about `*`")) };
    }
    let has_no_path = target.authority.is_some() && !request.target.ends_with('/') && target.path == "/";
    let goes_no_further = || request.headers.get(MAX_FORWARDS).is_some_and(|hops| hops.as_bytes() == b"0");
    Ok(is_options && ((has_no_path && target.query.is_none()) || goes_no_further()))
}

/// The one expectation that exists is `100-continue` (RFC 9110 §10.1.1).
fn check_expect(headers: &HeaderMap) -> Result<(), GateRefusal> {
    let is_known = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(EXPECT).iter().all(is_known) {
        return Ok(());
    }
    let message = "the only expectation that can be met is 100-continue";
    Err(GateRefusal { status: 417, code: "expectation_failed", message })
}

/// What HTTP/1's byte-level gate has checked already, and HTTP/2's own rules (RFC 9113 §8.2).
fn check_http2_fields(headers: &HeaderMap) -> Result<(), GateRefusal> {
    if CONNECTION_SPECIFIC.iter().any(|name| headers.contains_key(*name)) {
        return Err(refuse("malformed_header", "a field that HTTP/2 does not have is present"));
    }
    if headers.get_all(TE).iter().any(|value| value.as_bytes() != b"trailers") {
        return Err(refuse("malformed_header", "TE may only say `trailers` in HTTP/2"));
    }
    if headers.values().any(|value| has_space_around(value.as_bytes())) {
        return Err(refuse("malformed_header", "a field value begins or ends with white space"));
    }
    check_one_length(headers)
}

const CONNECTION_SPECIFIC: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

fn has_space_around(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_space(value.first()) || is_space(value.last())
}

fn check_one_length(headers: &HeaderMap) -> Result<(), GateRefusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    if lengths.next().is_some() {
        return Err(refuse("ambiguous_framing", "there is more than one Content-Length field"));
    }
    let is_number = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    if is_number { Ok(()) } else { Err(refuse("invalid_content_length", "Content-Length is not one decimal number")) }
}

fn refuse(code: &'static str, message: &'static str) -> GateRefusal {
    GateRefusal { status: 400, code, message }
}

#[cfg(test)]
mod tests;
