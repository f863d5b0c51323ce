//! The things that happen, one struct each.

use std::net::IpAddr;
use std::time::Duration;

/// One request, at its end.
#[derive(Clone, Debug)]
pub struct RequestEnd<'a> {
    /// When its head had arrived, Unix microseconds.
    pub started: u64,
    /// From then to the end of the response.
    pub duration: Duration,
    /// From then to the first byte of the response head written to the client.
    pub first_byte: Option<Duration>,
    /// Its id.
    pub request_id: &'a str,
    /// The listener's name.
    pub listener: &'a str,
    /// The true client address; `None` never happens in the data plane.
    pub client_ip: IpAddr,
    /// As received (metrics map unknown ones to `OTHER`); empty when the head could not be read.
    pub method: &'a str,
    /// Canonical host, or what was sent.
    pub host: &'a str,
    /// Raw path, without query.
    pub path: &'a str,
    /// Raw query.
    pub query: Option<&'a str>,
    /// `HTTP/1.1`.
    pub protocol: &'static str,
    /// What the client got; 0 when nothing was sent; 499 is never invented.
    pub status: u16,
    /// Request body bytes.
    pub bytes_in: u64,
    /// Response body bytes.
    pub bytes_out: u64,
    /// Empty when none was found.
    pub project: &'a str,
    /// Empty when none was found.
    pub environment: &'a str,
    /// Whether the request said itself which environment serves it, by a field or a cookie.
    pub environment_named: bool,
    /// The prefix; empty when none matched.
    pub route: &'a str,
    /// Of the table that decided.
    pub generation: u64,
    /// The client's name.
    pub client: &'a str,
    /// The identity's user.
    pub user: &'a str,
    /// The source of `identity.sources` that said so; empty: nobody did.
    pub source: &'a str,
    /// The upstream's name.
    pub upstream: &'a str,
    /// The endpoint's label.
    pub endpoint: &'a str,
    /// What the upstream answered.
    pub upstream_status: Option<u16>,
    /// Upstream attempts.
    pub attempts: u32,
    /// Whether the upstream connection was a pooled one.
    pub reused: Option<bool>,
    /// The credential's token id; empty so far.
    pub token: &'a str,
    /// How it ended.
    pub end: End,
    /// The error code, or empty.
    pub code: &'a str,
    /// What went wrong, for the error log; never a secret, never client bytes beyond the path.
    pub detail: &'a str,
    /// As received; `None`: not sent.
    pub referer: Option<&'a str>,
    /// As received; `None`: not sent.
    pub user_agent: Option<&'a str>,
    /// The W3C trace that it belongs to; empty: none.
    pub trace_id: &'a str,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The whole response reached the client's socket.
    Ok,
    /// The client left.
    ClientAbort,
    /// The upstream failed, or cut its response short.
    UpstreamAbort,
    /// A deadline passed.
    Timeout,
    /// The edge answered instead of the upstream.
    Refused,
    /// Cut at the end of the drain.
    Drained,
}

impl End {
    /// The access log's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientAbort => "client_abort",
            Self::UpstreamAbort => "upstream_abort",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Drained => "drained",
        }
    }
}
