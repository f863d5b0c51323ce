//! A request to a provider, as data: made by a kind of provider, sent by whoever has the network.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::LARGEST;
use crate::outbound::Limits;
use crate::secret::Secret;

/// What a call may take: nothing holds up a token's lock, or a login, for longer.
pub const LIMITS: Limits = Limits { connect: Duration::from_secs(5), total: Duration::from_secs(30), body: LARGEST };

/// One request to a provider.
#[derive(Debug)]
pub struct Call {
    /// POST, but for nothing that exists today.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// `content-type`, `accept`, `authorization`; the client that sends it adds `host` and `user-agent`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Form or JSON. Holds secrets: never shown.
    pub body: Body,
}

/// Bytes that hold secrets.
#[derive(Clone)]
pub struct Body(pub Bytes);

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Call {
    /// As a client sends it.
    ///
    /// # Errors
    /// The URL holds what no request line can carry.
    pub fn request(self) -> Result<Request<Bytes>, http::Error> {
        let mut request = Request::builder().method(self.method).uri(self.url.as_str()).body(self.body.0)?;
        request.headers_mut().extend(self.headers);
        Ok(request)
    }

    /// A form (RFC 6749, appendix B).
    pub(super) fn form(url: &Url, fields: &[(&str, &str)]) -> Self {
        let mut form = Serializer::new(String::new());
        form.extend_pairs(fields);
        Self::post(url.clone(), "application/x-www-form-urlencoded", form.finish().into())
    }

    /// A JSON document.
    pub(super) fn json(url: Url, document: &serde_json::Value) -> Self {
        Self::post(url, "application/json", document.to_string().into())
    }

    fn post(url: Url, content_type: &'static str, body: Bytes) -> Self {
        let headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (ACCEPT, HeaderValue::from_static("application/json")),
        ];
        Self { method: Method::POST, url, headers, body: Body(body) }
    }

    /// Says who we are (RFC 6749 §2.3.1): id and secret are escaped before they are joined.
    pub(super) fn by_basic(mut self, id: &str, secret: &Secret) -> Self {
        let pair = format!("{}:{}", escaped(id), escaped(secret.expose()));
        // Base64 always is a header's value.
        if let Ok(mut value) = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))) {
            value.set_sensitive(true);
            self.headers.push((AUTHORIZATION, value));
        }
        self
    }
}

fn escaped(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// A URL with further parameters. A space is `%20`, which every reader of queries takes for one; what the URL had stays
/// (RFC 6749 §3.1).
pub(super) fn with_query(url: &Url, parameters: &[(&str, &str)]) -> Url {
    let mut url = url.clone();
    let mut query = url.query().unwrap_or_default().to_owned();
    for (name, value) in parameters {
        let separator = if query.is_empty() || query.ends_with('&') { "" } else { "&" };
        let (name, value) = (escaped(name).replace('+', "%20"), escaped(value).replace('+', "%20"));
        query.push_str(&format!("{separator}{name}={value}"));
    }
    url.set_query(Some(&query));
    url
}
