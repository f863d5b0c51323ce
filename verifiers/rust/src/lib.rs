//! Verifies the requests that Countersign signs. One file; needs `http`, `hmac`, `sha2`, `subtle`, `base64`: copy it.
//!
//! ```
//! use countersign_verify::{Options, Scheme, Verifier};
//! let token = "0123456789abcdef0123456789abcde".to_owned();
//! let options = Options { project: Some("demo".to_owned()), ..Options::new(Scheme::UserProjectStamp, vec![token]) };
//! let verifier = Verifier::new(options)?;
//! let request = http::Request::get("/api/userlist").body(())?;
//! let (parts, _) = request.into_parts();
//! assert!(verifier.verify(&parts).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is checked, in this order: each header exactly once; the demonstration signature is refused; the user in lower-case
//! ASCII; a stamp of 13 digits within the window; project and app id as expected; the signature, in constant time, under
//! each token; and, with a [`ReplayMemory`], that it has not been seen before. For tower, hyper, axum and others alike: a middleware
//! calls [`Verifier::verify`] with the head and answers 401 to an error.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use hmac::{Hmac, Mac as _};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// What is signed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `user-stamp`
    UserStamp,
    /// `user-project-stamp`
    UserProjectStamp,
    /// `user-project-appid-stamp`
    UserProjectAppidStamp,
    /// `hmac-sha256`
    HmacSha256,
    /// `rfc9421`
    Rfc9421,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Lower-case mail address; empty: anonymous.
    pub user: String,
    /// Display name, decoded.
    pub name: String,
    /// The project.
    pub project: String,
    /// The app id; may be empty.
    pub app_id: String,
    /// Milliseconds since 1970.
    pub stamp: u64,
}

/// Why a request is not accepted. For the log, not for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

fn refuse<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(why.into()))
}

/// What is signed. `username` as it travels; `query` without `?`; `parameters` of rfc9421 alone.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Claims<'a> {
    pub user: &'a str,
    pub username: &'a str,
    pub project: &'a str,
    pub app_id: &'a str,
    pub stamp: &'a str,
    pub method: &'a str,
    pub authority: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub prefix: &'a str,
    pub parameters: &'a str,
}

/// What the signer computes, as text.
pub fn signature(scheme: Scheme, token: &str, claims: &Claims<'_>) -> String {
    let Claims { user, username, project, app_id, stamp, method, authority, path, query, prefix, parameters } = *claims;
    match scheme {
        Scheme::UserStamp => digest(&[user, stamp, token]),
        Scheme::UserProjectStamp => digest(&[user, project, stamp, token]),
        Scheme::UserProjectAppidStamp => digest(&[user, project, app_id, stamp, token]),
        Scheme::HmacSha256 => {
            let values = [method, path, query, user, username, project, app_id, stamp];
            let lines: String = values.iter().map(|value| format!("{}:{value}\n", value.len())).collect();
            lower_hex(&mac(token, &format!("countersign-hmac-sha256-1\n{lines}")))
        }
        Scheme::Rfc9421 => STANDARD.encode(mac(
            token,
            &format!(
                "\"@method\": {method}\n\"@authority\": {authority}\n\"@path\": {path}\n\"@query\": ?{query}\n\
                 \"{prefix}user\": {user}\n\"{prefix}username\": {username}\n\"{prefix}stamp\": {stamp}\n\
                 \"{prefix}appid\": {app_id}\n\"{prefix}project\": {project}\n\"@signature-params\": {parameters}"
            ),
        )),
    }
}

/// Names a token in `keyid` of rfc9421, and tells nothing of it.
pub fn key_id(token: &str) -> String {
    let mut id = digest(&["countersign-key:", token]);
    id.truncate(16);
    id
}

fn digest(pieces: &[&str]) -> String {
    let mut hash = Sha256::new();
    pieces.iter().for_each(|piece| hash.update(piece));
    lower_hex(&hash.finalize())
}

fn mac(token: &str, text: &str) -> Vec<u8> {
    // A key of any length is one (RFC 2104).
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn lower_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Remembers signatures for as long as they could be accepted again. For one process.
#[derive(Debug)]
pub struct ReplayMemory {
    most: usize,
    seen: Mutex<HashMap<String, u64>>,
}

impl ReplayMemory {
    /// Remembers so many at the most.
    pub fn new(most: usize) -> Self {
        Self { most, seen: Mutex::default() }
    }

    /// Whether `sign` has not been seen; times in milliseconds. Full: nothing is new, so that nothing is let through
    /// unremembered.
    pub fn is_new(&self, sign: &str, until: u64, now: u64) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= self.most {
            seen.retain(|_, end| *end >= now);
        }
        if seen.contains_key(sign) || seen.len() >= self.most {
            return false;
        }
        seen.insert(sign.to_owned(), until);
        true
    }
}

/// What an upstream expects.
#[derive(Clone, Debug)]
pub struct Options {
    /// How requests are signed.
    pub scheme: Scheme,
    /// The sign token; two while it is being replaced.
    pub tokens: Vec<String>,
    /// `None` accepts any.
    pub project: Option<String>,
    /// `None` accepts any.
    pub app_id: Option<String>,
    /// How old or how far ahead a stamp may be; 300 s.
    pub window: Duration,
    /// What the headers' names begin with; `x-kms-`.
    pub prefix: String,
    /// `None`: replays are not noticed.
    pub replay: Option<Arc<ReplayMemory>>,
    /// Accepts the demonstration signature of local debugging: only on a developer's own machine.
    pub demo: bool,
}

impl Options {
    /// With everything else as it is by default.
    pub fn new(scheme: Scheme, tokens: Vec<String>) -> Self {
        Self {
            scheme,
            tokens,
            project: None,
            app_id: None,
            window: Duration::from_secs(300),
            prefix: "x-kms-".to_owned(),
            replay: None,
            demo: false,
        }
    }
}

/// Verifies.
#[derive(Clone, Debug)]
pub struct Verifier(Options);

/// The signature's headers.
#[derive(Default)]
struct Fields<'a> {
    user: &'a str,
    username: &'a str,
    stamp: &'a str,
    app_id: &'a str,
    project: &'a str,
    sign: &'a str,
    input: &'a str,
    signature: &'a str,
}

impl Verifier {
    /// # Errors
    /// Options that would protect nothing.
    pub fn new(mut options: Options) -> Result<Self, Refused> {
        if options.tokens.is_empty() || options.tokens.iter().any(|token| token.chars().count() < 31) {
            return refuse("a sign token has at least 31 characters");
        }
        options.prefix.make_ascii_lowercase();
        Ok(Self(options))
    }

    /// Who calls, now.
    ///
    /// # Errors
    /// The request is not accepted.
    pub fn verify(&self, request: &Parts) -> Result<Identity, Refused> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.verify_at(request, u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }

    /// Who calls, at a moment in milliseconds since 1970.
    ///
    /// # Errors
    /// The request is not accepted.
    pub fn verify_at(&self, request: &Parts, now: u64) -> Result<Identity, Refused> {
        let options = &self.0;
        let fields = self.fields(&request.headers)?;
        let identity = |stamp| Identity {
            user: fields.user.to_owned(),
            name: unquote(fields.username),
            project: fields.project.to_owned(),
            app_id: fields.app_id.to_owned(),
            stamp,
        };
        if fields.sign == "demo" {
            return if options.demo { Ok(identity(0)) } else { refuse("the demonstration signature proves nothing") };
        }
        if !fields.user.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()) {
            return refuse("the user is not in lower-case ASCII");
        }
        let digits = fields.stamp.len() == 13 && fields.stamp.bytes().all(|byte| byte.is_ascii_digit());
        let stamp: u64 = match fields.stamp.parse() {
            Ok(stamp) if digits && !fields.stamp.starts_with('0') => stamp,
            _ => return refuse("the stamp is not 13 digits"),
        };
        let window = u64::try_from(options.window.as_millis()).unwrap_or(u64::MAX);
        if now.abs_diff(stamp) > window {
            return refuse("the stamp is outside the window");
        }
        if options.project.as_ref().is_some_and(|project| project != fields.project) {
            return refuse("the request is for another project");
        }
        if options.app_id.as_ref().is_some_and(|app_id| app_id != fields.app_id) {
            return refuse("the request is for another app id");
        }
        let authority = authority(request).to_ascii_lowercase();
        let claims = Claims {
            user: fields.user,
            username: fields.username,
            project: fields.project,
            app_id: fields.app_id,
            stamp: fields.stamp,
            method: request.method.as_str(),
            authority: &authority,
            path: request.uri.path(),
            query: request.uri.query().unwrap_or_default(),
            prefix: &options.prefix,
            parameters: "",
        };
        let sign = match options.scheme {
            Scheme::Rfc9421 => self.message(&fields, claims, stamp, now / 1000)?,
            _ if self.holds(fields.sign, &claims) => fields.sign,
            _ => return refuse("the signature is wrong"),
        };
        if options.replay.as_ref().is_some_and(|memory| !memory.is_new(sign, stamp.saturating_add(window), now)) {
            return refuse("the signature has been seen before");
        }
        Ok(identity(stamp))
    }

    /// The headers of the signature, each exactly once.
    fn fields<'a>(&self, headers: &'a HeaderMap) -> Result<Fields<'a>, Refused> {
        let rfc9421 = self.0.scheme == Scheme::Rfc9421;
        let named = |name: &str| single(headers, &format!("{}{name}", self.0.prefix));
        let sign = named("sign");
        let demo = self.0.demo && matches!(sign, Ok("demo"));
        let message = |name: &str| if rfc9421 && !demo { single(headers, name) } else { Ok("") };
        Ok(Fields {
            user: named("user")?,
            username: named("username")?,
            stamp: named("stamp")?,
            app_id: named("appid")?,
            project: named("project")?,
            sign: if rfc9421 { sign.unwrap_or_default() } else { sign? },
            input: message("signature-input")?,
            signature: message("signature")?,
        })
    }

    /// Every token is tried, whatever the first one says.
    fn holds(&self, sign: &str, claims: &Claims<'_>) -> bool {
        let equal = |token: &String| signature(self.0.scheme, token, claims).as_bytes().ct_eq(sign.as_bytes());
        self.0.tokens.iter().map(equal).fold(Choice::from(0), |found, equal| found | equal).into()
    }

    fn message<'a>(&self, fields: &Fields<'a>, claims: Claims<'_>, stamp: u64, now: u64) -> Result<&'a str, Refused> {
        let sign = fields.signature.strip_prefix("countersign=:").and_then(|rest| rest.strip_suffix(':'));
        let input = fields.input.strip_prefix("countersign=").and_then(|text| Some((text, self.parameters(text)?)));
        let (Some(sign), Some((parameters, (created, expires, key)))) = (sign, input) else {
            return refuse("signature-input is not the signer's");
        };
        if created != stamp / 1000 || now > expires.saturating_add(self.0.window.as_secs()) {
            return refuse("created and stamp differ, or the signature has expired");
        }
        if !self.0.tokens.iter().any(|token| key_id(token).as_bytes().ct_eq(key.as_bytes()).into()) {
            return refuse("the key is not known");
        }
        if !self.holds(sign, &Claims { parameters, ..claims }) {
            return refuse("the signature is wrong");
        }
        Ok(sign)
    }

    /// The only form that the signer gives to `signature-input`: `created`, `expires` and `keyid` of it.
    fn parameters<'t>(&self, text: &'t str) -> Option<(u64, u64, &'t str)> {
        let prefix = &self.0.prefix;
        let listed = format!(
            "(\"@method\" \"@authority\" \"@path\" \"@query\" \"{prefix}user\" \"{prefix}username\" \"{prefix}stamp\" \
             \"{prefix}appid\" \"{prefix}project\");created="
        );
        let (created, rest) = text.strip_prefix(&listed)?.split_once(";expires=")?;
        let (expires, rest) = rest.split_once(";nonce=\"")?;
        let (nonce, rest) = rest.split_once("\";keyid=\"")?;
        let key = rest.strip_suffix("\";alg=\"hmac-sha256\";tag=\"countersign\"")?;
        let number = |text: &str| {
            let digits = (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits)
        };
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (plain(nonce) && plain(key)).then_some((number(created)?, number(expires)?, key))
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Refused> {
    let name = HeaderName::try_from(name).map_err(|_| Refused(format!("{name} is no header name")))?;
    let mut values = headers.get_all(&name).iter();
    match (values.next().map(|value| std::str::from_utf8(value.as_bytes())), values.next()) {
        (Some(Ok(value)), None) => Ok(value.trim_matches([' ', '\t'])),
        (Some(Err(_)), None) => refuse(format!("{name} is not UTF-8")),
        (Some(_), Some(_)) => refuse(format!("{name} comes twice")),
        (None, _) => refuse(format!("there is no {name}")),
    }
}

/// Of HTTP/2 it stands in the URI.
fn authority(request: &Parts) -> &str {
    let host = || request.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    request.uri.authority().map(|authority| authority.as_str()).or_else(host).unwrap_or_default()
}

fn unquote(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let pair = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// For local debugging: the headers that are added to the answer to a page of `origins`, so that it may call this server from a
/// browser with the demonstration signature. None unless `enabled`; never enable it on a server that others reach. A
/// preflight (`OPTIONS` with `access-control-request-method`) is answered with 204 and these.
pub fn local_cors(request: &Parts, origins: &[&str], enabled: bool) -> Vec<(HeaderName, HeaderValue)> {
    use http::header::*;
    let Some(origin) = request.headers.get(ORIGIN).filter(|_| enabled) else { return Vec::new() };
    if !origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes()) {
        return Vec::new();
    }
    let fixed = HeaderValue::from_static;
    let mut added = vec![(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()), (VARY, fixed("origin"))];
    if request.method == http::Method::OPTIONS && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        let names = "content-type, x-kms-user, x-kms-username, x-kms-stamp, x-kms-appid, x-kms-project, x-kms-sign";
        added.push((ACCESS_CONTROL_ALLOW_METHODS, fixed("GET, HEAD, POST, PUT, PATCH, DELETE")));
        added.push((ACCESS_CONTROL_ALLOW_HEADERS, fixed(names)));
        added.push((ACCESS_CONTROL_MAX_AGE, fixed("600")));
        added.push((HeaderName::from_static("access-control-allow-private-network"), fixed("true")));
    }
    added
}
