//! What the admin listener answers: JSON, errors in the data plane's shape, never cached.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::id::RequestId;

/// An error answer.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    /// Its stable name.
    pub code: &'static str,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What is wrong with what was sent.
    diagnostics: Option<serde_json::Value>,
}

impl Problem {
    /// With a message for people.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new(), diagnostics: None }
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What it says to people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What is wrong with what was sent, one by one, in words.
    pub fn remarks(&self) -> Vec<String> {
        let all = self.diagnostics.as_ref().and_then(serde_json::Value::as_array);
        let text = |it: &serde_json::Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
        let words = |it: &serde_json::Value| [text(it, "key"), text(it, "message"), text(it, "hint")];
        let lines = all.into_iter().flatten().map(words);
        lines.map(|words| words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(": ")).collect()
    }

    /// Does not offer Basic: a browser would ask for a password in a window of its own, and never forget it.
    pub fn without_basic(mut self) -> Self {
        self.headers.retain(|(_, value)| !value.as_bytes().starts_with(b"Basic "));
        self
    }

    /// Adds what is wrong with what was sent, one by one.
    pub fn with_diagnostics(mut self, diagnostics: &impl Serialize) -> Self {
        self.diagnostics = serde_json::to_value(diagnostics).ok();
        self
    }

    /// Adds a header (`retry-after`, `www-authenticate`).
    pub fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let id = RequestId::fresh();
        let error = json!({ "code": self.code, "message": self.message, "request_id": id.as_str() });
        let mut whole = serde_json::Map::from_iter([("error".to_owned(), error)]);
        whole.extend(self.diagnostics.map(|diagnostics| ("diagnostics".to_owned(), diagnostics)));
        let mut response = document(self.status, &whole);
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}

/// A JSON document, with a line end for those who read it in a terminal.
pub fn document(status: StatusCode, value: &impl Serialize) -> Response {
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    typed(status, "application/json", body)
}

/// Plain text.
pub fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    typed(status, "text/plain; charset=utf-8", text)
}

/// A body of some type.
pub fn typed(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A page of the dashboard: HTML that loads what is ours and nothing else, and that tells nobody where it was.
pub fn page(html: impl Into<Body>) -> Response {
    let mut response = typed(StatusCode::OK, "text/html; charset=utf-8", html);
    let policy = HeaderValue::from_static(
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    );
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    // To nobody else, but with `origin` on our own forms.
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// 303: what a form was good for is done, and the browser gets a page with `GET`. `to` is one of our own paths.
pub fn see_other(to: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/dashboard"));
    response.headers_mut().insert(header::LOCATION, to);
    response
}

/// What every answer says, unless it says something else.
pub fn harden(response: &mut Response) {
    let defaults = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in defaults {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
}
