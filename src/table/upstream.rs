//! Where requests go: groups of endpoints, with the counters that outlive one table.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;

pub use crate::config::model::Scheme;

/// A named group, or the one endpoint of a URL.
#[derive(Debug)]
pub struct Upstream {
    /// The group's name; for a URL its `host:port`.
    pub name: Arc<str>,
    /// http or https.
    pub scheme: Scheme,
    /// Never empty.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// The order of weighted round robin: indices into `endpoints`, smooth (nginx's algorithm, unrolled).
    pub schedule: Vec<u16>,
    /// The next place in `schedule`; carried over by name when the schedule is unchanged.
    pub cursor: AtomicUsize,
    /// The name that TLS verifies; `None`: the endpoint's host.
    pub server_name: Option<Arc<str>>,
    /// CA certificates, PEM, already read; `None`: the system's.
    pub ca: Option<Arc<Ca>>,
    /// Whether the certificate is verified.
    pub verify: bool,
    /// How long an idle connection is kept.
    pub keepalive_idle: Duration,
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
    /// What is known of it; shared with the same endpoint of earlier tables.
    pub state: Arc<EndpointState>,
}

/// Counters of one endpoint; live longer than one table.
#[derive(Debug, Default)]
pub struct EndpointState {
    /// Requests on it now.
    pub in_flight: AtomicU64,
    /// The last failure, for the status page; never a secret.
    pub last_error: ArcSwapOption<String>,
}

impl Upstream {
    /// The next endpoint in weighted round robin.
    pub fn next(&self) -> Option<&Arc<Endpoint>> {
        let turn = self.cursor.fetch_add(1, Ordering::Relaxed);
        let index = self.schedule.get(turn % self.schedule.len().max(1))?;
        self.endpoints.get(usize::from(*index))
    }
}
