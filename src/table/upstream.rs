//! Where requests go: groups of endpoints, who of them gets the next request, and the state that outlives one table.
//!
//! [`Upstream::choose`] (`choose`) shares requests as `balance` says, among those that are fit (`fitness`): not found
//! unhealthy by a check, not ejected after failures. What is hashed of a request is read by `key`. Neither has a clock or
//! a source of chance: both come in as arguments.
//!
//! Invariants: an unhealthy endpoint is never chosen; an ejected one only when nobody else is left; whoever was tried for
//! this request before only when nobody else is fit.

mod choose;
mod fitness;
mod key;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls_pki_types::PrivateKeyDer;

use crate::clock::UnixMillis;
use crate::policy::budget::Budget;

pub use crate::config::model::{Balance, Eject, HashOn, Health, Http2, Scheme};
pub use choose::Wish;
pub use fitness::{Fitness, Standing};
pub(super) use key::seed;

/// A named group, or the one endpoint of a URL.
#[derive(Debug)]
pub struct Upstream {
    /// The group's name; for a URL its `host:port`.
    pub name: Arc<str>,
    /// http or https.
    pub scheme: Scheme,
    /// Which HTTP is spoken; `Only` without TLS is h2c.
    pub http2: Http2,
    /// Never empty.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// How one of several is chosen.
    pub balance: Balance,
    /// The order of weighted round robin: indices into `endpoints`, smooth (nginx's algorithm, unrolled). Drawing from it
    /// at random draws by weight.
    pub schedule: Vec<u16>,
    /// The next place in `schedule`; carried over by name when the schedule is unchanged.
    pub cursor: AtomicUsize,
    /// How the endpoints are checked; `None`: they are taken for healthy.
    pub health: Option<Health>,
    /// When failures put an endpoint to rest; `None`: never.
    pub eject: Option<Eject>,
    /// The name that TLS verifies; `None`: the endpoint's host.
    pub server_name: Option<Arc<str>>,
    /// CA certificates, PEM, already read; `None`: the system's.
    pub ca: Option<Arc<Ca>>,
    /// Whether the certificate is verified.
    pub verify: bool,
    /// How long an idle connection is kept.
    pub keepalive_idle: Duration,
    /// How many of them; `None`: as many as were needed.
    pub max_idle: Option<usize>,
    /// What is shown to those who ask for a certificate.
    pub client_certificate: Option<Arc<ClientCertificate>>,
    /// How many requests may be sent again; carried over by name.
    pub budget: Arc<Budget>,
    /// Different TLS settings must not share pooled connections: part of the pool's key.
    pub pool_group: u64,
}

/// A private trust store.
#[derive(Debug, PartialEq, Eq)]
pub struct Ca {
    /// Where it came from.
    pub path: PathBuf,
    /// The certificates, DER.
    pub certificates: Vec<Vec<u8>>,
}

/// A certificate with its key, to be shown to an upstream.
pub struct ClientCertificate {
    /// Its own first, DER.
    pub chain: Vec<Vec<u8>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificate").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

/// One address, as configured.
#[derive(Debug)]
pub struct Endpoint {
    /// Host name or literal, without brackets.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// `host:port`, the metric label (IPv6 in brackets).
    pub label: Arc<str>,
    /// The Host header for it: as `label`, without the scheme's own port.
    pub authority: http::HeaderValue,
    /// When the host is a literal.
    pub literal: Option<SocketAddr>,
    /// Its share, 1 to 1000.
    pub weight: u32,
    /// Its place among the hashes: of the label alone, so that it is the same in every process and table.
    pub seed: u64,
    /// What is known of it; shared with the same endpoint of earlier tables.
    pub state: Arc<EndpointState>,
}

/// How one health check went.
#[derive(Debug)]
pub struct Check {
    /// When it ended.
    pub at: UnixMillis,
    /// What it found.
    pub healthy: bool,
    /// The status, or why there was none; never a secret.
    pub detail: String,
}

/// What is known of one endpoint; lives longer than one table.
#[derive(Debug, Default)]
pub struct EndpointState {
    /// Requests on it now.
    pub in_flight: AtomicU64,
    /// The last failure, for the status page; never a secret.
    pub last_error: ArcSwapOption<String>,
    /// The last health check; `None`: there was none.
    pub last_check: ArcSwapOption<Check>,
    /// Whether it is fit for requests.
    pub fitness: Fitness,
    /// Whether the last connection spoke HTTP/2.
    pub speaks_http2: AtomicBool,
    /// For how many seconds it keeps idle connections, plus one; 0: it never said.
    pub keep_alive: AtomicU32,
    /// Open connections, in use or idle; counted where the number of idle ones is limited.
    pub open: AtomicU64,
}
