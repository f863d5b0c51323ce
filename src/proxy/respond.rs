//! The answers that the edge gives itself: one shape, for people and programs, never cached, never telling of the inside.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::connection::Connection;
use super::engine::Engine;
use super::http2::Stream;
use super::plain::Plain;
use crate::clock;
use crate::id::RequestId;
use crate::observe::event::{End, RequestEnd};
use crate::policy::accept;
use crate::policy::head::HeadRejection;
use crate::policy::page::{self, Pages};
use crate::table::route::Edits;

/// The head did not arrive in `headers_timeout` (RFC 9110 §15.5.9).
pub const HEAD_TIMEOUT: HeadRejection =
    HeadRejection { status: 408, code: "head_timeout", message: "the request head did not arrive in time" };

/// A head that the gate passed and the parser behind it did not.
pub const UNREADABLE: HeadRejection =
    HeadRejection { status: 400, code: "malformed_request", message: "the request head is malformed" };

/// HTTP in the clear on a TLS listener: a client that can read the answer is better served by one.
pub const IN_THE_CLEAR: HeadRejection =
    HeadRejection { status: 400, code: "tls_required", message: "this port speaks https, not http" };

/// One error, as the client reads it.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// Status.
    pub status: u16,
    /// The error code.
    pub code: &'a str,
    /// One clause for people.
    pub message: &'a str,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Beside `content-length`, `date`, `connection`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

/// Bodies up to that size are read and forgotten so that their connection can go on.
const SMALL_BODY: u64 = 64 * 1024;

/// For whoever is answered 503, when nothing tells how long it will last.
pub const COME_BACK: u64 = 5;

impl Problem<'_> {
    /// The seconds after which it is worth another try; `None`: time alone mends nothing.
    pub fn retry_after(&self) -> Option<u64> {
        (self.status == 503).then_some(COME_BACK)
    }
}

impl Answer {
    /// An error: HTML for a browser that asks for it, the project's page if it has one; JSON for everybody else.
    pub fn problem(problem: &Problem<'_>, id: &RequestId, request: &HeaderMap, pages: Option<&Pages>) -> Self {
        let (kind, body) = if accept::prefers_html(request) {
            let page = pages.and_then(|pages| pages.fill(&facts(problem, id)));
            (HeaderValue::from_static("text/html; charset=utf-8"), page.unwrap_or_else(|| html(problem, id)))
        } else {
            (HeaderValue::from_static("application/json"), json(problem, id))
        };
        let headers = vec![
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        Self { status: problem.status, headers, body: Bytes::from(body) }
    }

    /// To `OPTIONS *`.
    pub fn server_options() -> Self {
        let allow = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        Self { status: 204, headers: vec![(header::ALLOW, allow)], body: Bytes::new() }
    }

    /// Of a plain listener itself.
    ///
    /// # Errors
    /// When the location can't stand in a header.
    pub fn of_plain(plain: Plain) -> Result<Self> {
        let (status, field, body) = match plain {
            Plain::Challenge(answer) => {
                let kind = HeaderValue::from_static("application/octet-stream");
                (200, (header::CONTENT_TYPE, kind), Bytes::copy_from_slice(answer.as_bytes()))
            }
            Plain::ToHttps(location) => {
                let location = HeaderValue::from_str(&location).map_err(|_| super::gateway::internal())?;
                (308, (header::LOCATION, location), Bytes::new())
            }
        };
        Ok(Self { status, headers: vec![field], body })
    }

    /// A route's own answer.
    pub fn fixed(status: StatusCode, body: &Arc<str>, edits: &Edits) -> Self {
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        let headers = edited(vec![(header::CONTENT_TYPE, kind)], edits);
        Self { status: status.as_u16(), headers, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    /// Elsewhere.
    ///
    /// # Errors
    /// When the location can't stand in a header.
    pub fn redirect(status: StatusCode, location: &str, edits: &Edits) -> Result<Self> {
        let location = HeaderValue::from_str(location).map_err(|_| super::gateway::internal())?;
        let headers = edited(vec![(header::LOCATION, location)], edits);
        Ok(Self { status: status.as_u16(), headers, body: Bytes::new() })
    }

    /// Sends it as the response of this session; the body stays away from HEAD, 204 and 304.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn send(self, session: &mut Session) -> Result<()> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut head = ResponseHeader::build_no_case(status, Some(self.headers.len() + 4))?;
        for (name, value) in self.headers {
            head.append_header(name, value)?;
        }
        let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !bodiless {
            head.insert_header(header::CONTENT_LENGTH, self.body.len())?;
        }
        let silent = bodiless || self.body.is_empty() || session.req_header().method == http::Method::HEAD;
        // What is small and on its way is read to its end behind the answer: a refusal need not cost a new connection.
        let gives_up = !has_small_body(&session.req_header().headers);
        session.as_downstream_mut().set_close_on_response_before_downstream_finish(gives_up);
        session.as_downstream_mut().write_response_header(Box::new(head)).await?;
        if silent {
            return session.as_downstream_mut().finish_body().await;
        }
        session.as_downstream_mut().write_response_body(self.body, true).await
    }
}

/// Whether the body of a request is known to be small, and is sent whatever the answer.
fn has_small_body(request: &HeaderMap) -> bool {
    let length = request.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|length| length <= SMALL_BODY) && !request.contains_key(header::EXPECT)
}

fn edited(mut headers: Vec<(HeaderName, HeaderValue)>, edits: &Edits) -> Vec<(HeaderName, HeaderValue)> {
    headers.retain(|(name, _)| !edits.remove.contains(name) && !edits.set.iter().any(|(set, _)| set == name));
    headers.extend(edits.set.iter().chain(&edits.add).cloned());
    headers
}

fn json(problem: &Problem<'_>, id: &RequestId) -> String {
    let error = serde_json::json!({
        "error": { "code": problem.code, "message": problem.message, "request_id": id.as_str() }
    });
    let mut text = error.to_string();
    text.push('\n');
    text
}

fn facts<'a>(problem: &Problem<'a>, id: &'a RequestId) -> page::Facts<'a> {
    page::Facts { status: problem.status, code: problem.code, message: problem.message, request_id: id.as_str() }
}

fn html(problem: &Problem<'_>, id: &RequestId) -> String {
    let facts = facts(problem, id);
    let escaped = |text: &str| {
        let mut escaped = String::with_capacity(text.len());
        page::escape(text, &mut escaped);
        escaped
    };
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{status} {reason}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:15vh auto;padding:0 1em}}\
         small{{color:#777}}</style></head>\n<body><h1>{status} {reason}</h1><p>{message}</p>\
         <p><small>{code} · request {id}</small></p></body></html>\n",
        status = problem.status,
        reason = facts.reason(),
        message = escaped(problem.message),
        code = escaped(problem.code),
        id = escaped(id.as_str()),
    );
    page
}

/// Answers a head that the parser never gets to see, and records it like any other request.
pub fn under_the_parser(connection: &Connection, engine: &Engine, rejection: &HeadRejection, bytes: &[u8]) {
    let began = Instant::now();
    let id = RequestId::fresh();
    let problem = Problem { status: rejection.status, code: rejection.code, message: rejection.message };
    let length = past_the_engine(connection, &problem, &id, bytes);
    let seen = Seen { line: RequestLine::of(bytes), protocol: "HTTP/1.1", host: "" };
    record(connection, engine, rejection, &id, &seen, length, began.elapsed());
}

/// Answers a stream whose head the phases never get to see, and records it like any other request.
pub fn before_the_engine(stream: &Stream, engine: &Engine, rejection: &HeadRejection) {
    let began = Instant::now();
    let id = RequestId::fresh();
    let problem = Problem { status: rejection.status, code: rejection.code, message: rejection.message };
    let length = on_stream(stream, &problem, &id);
    let line = stream.request_line();
    let seen = Seen { line, protocol: "HTTP/2.0", host: stream.authority().unwrap_or_default() };
    record(stream.connection(), engine, rejection, &id, &seen, length, began.elapsed());
}

/// Answers a stream without Pingora. Returns how many bytes of body were sent.
pub fn on_stream(stream: &Stream, problem: &Problem<'_>, id: &RequestId) -> usize {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    stream.answer(status, "application/json", problem.retry_after(), json(problem, id))
}

/// Answers without Pingora, and for the last time on this connection. `request`: as much of its head as there is, so that
/// a HEAD gets no body. Returns how many bytes of body were sent.
pub fn past_the_engine(connection: &Connection, problem: &Problem<'_>, id: &RequestId, request: &[u8]) -> usize {
    let body = json(problem, id);
    let reason = StatusCode::from_u16(problem.status).ok().and_then(|status| status.canonical_reason()).unwrap_or("");
    let again = problem.retry_after().map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\n{again}content-length: {length}\r\ndate: {date}\r\nconnection: close\r\n\r\n",
        status = problem.status,
        length = body.len(),
        date = httpdate::fmt_http_date(SystemTime::now()),
    );
    let mut wire = connection.wire();
    wire.push(head.as_bytes());
    if request.starts_with(b"HEAD ") {
        return 0;
    }
    wire.push(body.as_bytes());
    body.len()
}

/// What is known of a request that no phase has seen.
struct Seen<'a> {
    line: RequestLine<'a>,
    protocol: &'static str,
    host: &'a str,
}

fn record(
    connection: &Connection,
    engine: &Engine,
    rejection: &HeadRejection,
    id: &RequestId,
    seen: &Seen<'_>,
    length: usize,
    duration: Duration,
) {
    let line = &seen.line;
    engine.observer().request_end(
        engine.observer().metrics.unmatched(),
        &RequestEnd {
            started: clock::unix_micros(),
            duration,
            first_byte: Some(duration),
            request_id: id.as_str(),
            listener: &connection.listener.name,
            client_ip: connection.peer().ip().to_canonical(),
            method: line.method,
            host: seen.host,
            path: line.path,
            query: line.query,
            protocol: seen.protocol,
            status: rejection.status,
            bytes_in: 0,
            bytes_out: u64::try_from(length).unwrap_or(0),
            project: "",
            environment: "",
            environment_named: false,
            route: "",
            generation: engine.generation(),
            client: "",
            user: "",
            source: "",
            upstream: "",
            endpoint: "",
            upstream_status: None,
            attempts: 0,
            reused: None,
            token: "",
            end: if rejection.status == 408 { End::Timeout } else { End::Refused },
            code: rejection.code,
            detail: rejection.message,
            referer: None,
            user_agent: None,
            trace_id: "",
        },
    );
}

/// What can be told of a request line that may be anything: only its printable part, and only if it looks like one.
pub struct RequestLine<'a> {
    /// The method, or nothing.
    pub method: &'a str,
    /// The path without query, or nothing.
    pub path: &'a str,
    /// The query.
    pub query: Option<&'a str>,
}

impl<'a> RequestLine<'a> {
    /// Reads the first line.
    pub fn of(bytes: &'a [u8]) -> Self {
        let line =
            bytes.split(|byte| *byte == b'\r' || *byte == b'\n').find(|line| !line.is_empty()).unwrap_or_default();
        let line = line.get(..line.len().min(2048)).unwrap_or_default();
        let mut words = std::str::from_utf8(line).unwrap_or_default().split(' ');
        let method =
            words.next().filter(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic())).unwrap_or_default();
        let target = if method.is_empty() { "" } else { words.next().unwrap_or_default() };
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Self { method, path, query }
    }
}
