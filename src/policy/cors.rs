//! Whose pages may call, and what a browser is told about it (Fetch standard, “CORS protocol”).
//!
//! Two kinds of request: a *preflight* (OPTIONS with `origin` and `access-control-request-method`) is answered by the edge
//! before it asks for a token, since browsers send none with it; any other request that names an origin is served as usual, and its
//! answer says whether the page may read it. The decision to keep an answer from a page is the browser's: a request from a
//! page that may not read the answer still reaches the upstream, as the standard has it.
//!
//! Invariants: an origin is echoed only if it is allowed (`origins_are_matched_whole`); credentials are never allowed to just
//! anybody; what an upstream says about CORS never passes beside ours.

#[cfg(test)]
mod tests;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// Fields of an answer.
pub type Fields = Vec<(HeaderName, HeaderValue)>;

/// What every answer's `vary` names on a route with CORS: a cache must not give one page's answer to another.
pub const VARIES: HeaderValue = HeaderValue::from_static("origin");
/// Of a preflight: more than that is no list of header names.
const MAX_REQUESTED: usize = 4096;

/// The policy of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages.
    pub origins: Origins,
    /// Seconds for which a preflight's answer holds.
    pub max_age: HeaderValue,
    /// Whether cookies and HTTP authentication may come along.
    pub credentials: bool,
    /// What a page may read beside the safe fields.
    pub expose: Option<HeaderValue>,
    /// What the route serves; `None`: whatever is asked for.
    pub methods: Option<HeaderValue>,
}

/// Whose pages may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Anybody's.
    Any,
    /// These.
    These(Vec<Origin>),
}

/// One entry of the list, in the spelling of browsers: lower case, no default port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `https://app.example.com`
    Exact(Box<str>),
    /// Every name below: `https://` and `.example.com`, or `.example.com:8443`.
    Below {
        /// With `://`.
        scheme: Box<str>,
        /// From the dot on.
        suffix: Box<str>,
    },
}

impl Origin {
    fn is(&self, origin: &[u8]) -> bool {
        match self {
            Self::Exact(own) => own.as_bytes() == origin,
            Self::Below { scheme, suffix } => {
                let names = origin.strip_prefix(scheme.as_bytes()).and_then(|it| it.strip_suffix(suffix.as_bytes()));
                // Labels alone: no port, no user, no path may stand in for a name.
                let label = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
                names.is_some_and(|names| !names.is_empty() && !names.starts_with(b".") && names.iter().all(label))
            }
        }
    }
}

/// What a preflight is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preflight {
    /// It is none.
    No,
    /// 204 with these fields.
    Answer(Fields),
    /// 403 without any.
    Stranger,
    /// 400: what it asks for cannot be read.
    Malformed,
}

impl Cors {
    /// The origin that a request names, if its pages may call.
    pub fn allowed<'r>(&self, headers: &'r HeaderMap) -> Option<&'r HeaderValue> {
        let mut named = headers.get_all(ORIGIN).iter();
        let origin = named.next()?;
        let one = named.next().is_none() && self.allows(origin.as_bytes());
        one.then_some(origin)
    }

    fn allows(&self, origin: &[u8]) -> bool {
        match &self.origins {
            Origins::Any => is_origin(origin),
            Origins::These(these) => these.iter().any(|one| one.is(origin)),
        }
    }

    /// What a request is answered if it is a preflight.
    pub fn preflight(&self, method: &Method, headers: &HeaderMap) -> Preflight {
        let (Some(_), Some(wanted)) = (headers.get(ORIGIN), headers.get(ACCESS_CONTROL_REQUEST_METHOD)) else {
            return Preflight::No;
        };
        if *method != Method::OPTIONS {
            return Preflight::No;
        }
        let Some(origin) = self.allowed(headers) else { return Preflight::Stranger };
        let (Some(methods), Some(requested)) = (self.methods_for(wanted), requested_headers(headers)) else {
            return Preflight::Malformed;
        };
        let mut fields = vec![(VARY, VARIES_PREFLIGHT)];
        self.allow_origin(origin, &mut fields);
        fields.push((ACCESS_CONTROL_ALLOW_METHODS, methods));
        fields.extend(requested.map(|names| (ACCESS_CONTROL_ALLOW_HEADERS, names)));
        fields.push((ACCESS_CONTROL_MAX_AGE, self.max_age.clone()));
        Preflight::Answer(fields)
    }

    /// The fields of an answer to any other request, beside `vary`; none when the page may not read it.
    pub fn answer(&self, headers: &HeaderMap) -> Fields {
        let mut fields = Vec::new();
        if let Some(origin) = self.allowed(headers) {
            self.allow_origin(origin, &mut fields);
            fields.extend(self.expose.clone().map(|names| (ACCESS_CONTROL_EXPOSE_HEADERS, names)));
        }
        fields
    }

    fn allow_origin(&self, origin: &HeaderValue, fields: &mut Fields) {
        fields.push((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
        if self.credentials && self.origins != Origins::Any {
            fields.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
    }

    fn methods_for(&self, wanted: &HeaderValue) -> Option<HeaderValue> {
        let method = Method::from_bytes(wanted.as_bytes()).ok()?;
        // Browsers never send these, and the edge never serves them.
        let served = method != Method::CONNECT && method != Method::TRACE;
        let methods = self.methods.as_ref().unwrap_or(wanted);
        served.then(|| methods.clone())
    }
}

const VARIES_PREFLIGHT: HeaderValue =
    HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers");

/// What a preflight asks to send along; `Some(None)`: nothing; `None`: no list of names.
fn requested_headers(headers: &HeaderMap) -> Option<Option<HeaderValue>> {
    let mut values = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let Some(value) = values.next() else { return Some(None) };
    if values.next().is_some() || value.len() > MAX_REQUESTED {
        return None;
    }
    if value.is_empty() {
        return Some(None);
    }
    let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    names.all(|name| HeaderName::from_bytes(name).is_ok()).then(|| Some(value.clone()))
}

/// Whether it looks like what a browser sends: `null`, or scheme, host and perhaps a port.
fn is_origin(origin: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'"' | b'<' | b'>' | b'\\' | b'@');
    let Ok(text) = std::str::from_utf8(origin) else { return false };
    let host = text.split_once("://").map(|(_, host)| host);
    text == "null" || (origin.iter().all(plain) && host.is_some_and(|host| !host.is_empty() && !host.contains('/')))
}

/// Whether a field of an upstream's answer speaks of CORS: ours replace it.
pub fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with("access-control-")
}

/// What goes into a `vary` field so that it names the origin; `None`: it does already.
pub fn vary(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut names = headers.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let named =
        names.any(|name| matches!(name.trim_ascii(), b"*") || name.trim_ascii().eq_ignore_ascii_case(b"origin"));
    if named { None } else { Some(VARIES) }
}
