//! The policies of a route and of callers that are decided at the edge.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, StatusCode};

use crate::diagnostic::{Pos, Spanned};

/// `limits` of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The rate at which requests pass; `None`: any.
    pub requests: Option<Rate>,
    /// How many pass at once before the rate counts; 1 or more. Unless written: as many as `requests` lets pass in a second, at least 1.
    pub burst: u32,
    /// In flight at the same time; `None`: any number.
    pub concurrent: Option<u32>,
    /// Bytes of a request's body; `None`: any number.
    pub body: Option<u64>,
    /// Whose requests are counted together.
    pub per: Per,
    /// Where the key stands.
    pub at: Pos,
}

/// So many in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub count: u32,
    /// More than nothing.
    pub period: Duration,
}

/// Whose requests a limit counts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Per {
    /// The authenticated client's, else the address'.
    #[default]
    Client,
    /// The client address'. (IPv6: its /64.)
    Address,
    /// All of the route's.
    Route,
}

/// `retry` of a route. Never after the first byte, and only when sending again is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often a request is sent at most, the first time included; 1.
    pub attempts: u32,
    /// After what it is sent again. Unless written: `connect` and `reset`.
    pub on: Vec<RetryOn>,
}

/// After what a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryOn {
    /// The endpoint could not be connected to: nothing was sent.
    Connect,
    /// The connection ended before the first byte of an answer; idempotent requests only.
    Reset,
    /// This answer: 401 and 429 mean “not executed”; 502, 503, 504 for idempotent requests only.
    Status(StatusCode),
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, on: vec![RetryOn::Connect, RetryOn::Reset] }
    }
}

/// `cors` of a route (Fetch standard, “CORS protocol”).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages may call.
    pub origins: Origins,
    /// How long a browser may remember the answer to a preflight; 8 hours.
    pub max_age: Duration,
    /// Whether cookies and HTTP authentication may come along; false, and never with `any`.
    pub credentials: bool,
    /// Headers of answers that a page may read beside the safe ones.
    pub expose: Vec<HeaderName>,
    /// Where the key stands.
    pub at: Pos,
}

/// Whose pages may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Anybody's: only outside production.
    Any,
    /// `https://host[:port]`, as browsers write them; `https://*.host` for every name below.
    These(Vec<Spanned<String>>),
}

/// How a body is compressed, in the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Br,
    /// RFC 1952.
    Gzip,
}

/// `files` of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Nothing outside of it is ever served.
    pub root: Spanned<PathBuf>,
    /// What a directory is served as; `index.html`. Empty: nothing.
    pub index: String,
    /// Below the root: served, with status 200, where nothing else is (single-page applications); `None`: 404.
    pub fallback: Option<String>,
}

/// `pages` of a project: what replaces the edge's own error answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// The first and the last of some statuses, and the HTML file for them; the fewest statuses win.
    pub by_status: Vec<((u16, u16), Spanned<PathBuf>)>,
}
