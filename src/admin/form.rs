//! Bodies of forms, and how they prove that a page of ours sent them.
//!
//! A browser adds the cookie to whatever is sent here from this origin. That a form comes from one of our own pages is shown by its
//! field `csrf` (or the header `x-csrf-token`), which only those pages know. JSON needs none: no page of another site can
//! send it, as this server grants no CORS.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};

use super::answer::Problem;
use super::caller::{Caller, How};
use super::gate::{BODY_LIMIT, too_large};
use super::session::is_csrf;

/// The types that a page of any site may send without asking (Fetch, "CORS-safelisted request-header").
const FORMS: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// The header that scripts of our pages may send instead of the field.
const HEADER: &str = "x-csrf-token";

/// A whole body, or the answer to one that is too long or cut short.
#[derive(Debug)]
pub struct Sent(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                too_large()
            } else {
                Problem::new(StatusCode::BAD_REQUEST, "bad_body", "the body could not be read")
            }
        })
    }
}

/// The fields of a form.
#[derive(Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Of a body in `application/x-www-form-urlencoded`.
    pub fn parse(body: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(body).into_owned().collect())
    }

    /// The names of all fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The one field of that name. Two of them are none.
    pub fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }
}

/// The type of a body, without its parameters.
pub fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Whether the body is a form's.
pub fn is_form(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|kind| kind == FORMS[0])
}

/// Whether a browser asks for something to show.
pub fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accept.flat_map(|value| value.split(',')).any(|range| {
        let kind = range.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
    })
}

/// Hands the request on if no page of another site can have sent it.
pub async fn check_csrf(request: Request, caller: &Caller) -> Result<Request, Problem> {
    let How::Session(held) = &caller.how else { return Ok(request) };
    let kind = content_type(request.headers());
    let could_be_foreign = kind.is_some_and(|kind| FORMS.contains(&kind.as_str()));
    if request.method().is_safe() || !could_be_foreign {
        return Ok(request);
    }
    let in_header = request.headers().get(HEADER).and_then(|value| value.to_str().ok());
    if in_header.is_some_and(|token| is_csrf(held, token)) {
        return Ok(request);
    }
    if !is_form(request.headers()) {
        return Err(no_csrf());
    }
    let (parts, body) = request.into_parts();
    let body = read(body).await?;
    let holds = Fields::parse(&body).one("csrf").is_some_and(|token| is_csrf(held, token));
    if holds { Ok(Request::from_parts(parts, Body::from(body))) } else { Err(no_csrf()) }
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    to_bytes(body, BODY_LIMIT).await.map_err(|_| too_large())
}

fn no_csrf() -> Problem {
    let message = "this form does not come from a page of this session: open the page again";
    Problem::new(StatusCode::FORBIDDEN, "csrf", message)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_field_counts_when_it_is_there_once() {
        let fields = Fields::parse(b"a=1&b=%26%3d+x&c=1&c=1&d");
        assert_eq!((fields.one("a"), fields.one("b"), fields.one("d")), (Some("1"), Some("&= x"), Some("")));
        assert_eq!((fields.one("c"), fields.one("e")), (None, None));
    }

    #[test]
    fn pages_are_for_browsers() {
        let wants = |accept: &'static str| {
            wants_page(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]))
        };
        assert!(wants("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(wants("application/json, Text/HTML;q=0.5"));
        assert!(!wants("*/*") && !wants("application/json") && !wants("text/plain") && !wants(""));
    }
}
