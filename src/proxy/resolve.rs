//! Upstream names -> addresses: asynchronous, again at the record's TTL, with the last good answer kept when that fails.
//!
//! A name is looked up at its first request, never at start, so that an unresolvable one stops nothing but its own routes.
//! While an answer is being renewed the old one serves.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use parking_lot::Mutex;

use crate::table::Server;

/// How long a failed look-up is remembered, so that a broken name does not cost a query per request.
const NEGATIVE: Duration = Duration::from_secs(1);
/// An answer is never thought fresh for less than that, whatever its TTL says.
const SHORTEST: Duration = Duration::from_secs(1);
/// Nor, by its TTL alone, for longer than that.
const LONGEST: Duration = Duration::from_secs(300);

/// Resolves the names of upstreams.
pub struct Resolver {
    inner: Option<TokioResolver>,
    refresh: Option<Duration>,
    names: Mutex<HashMap<Arc<str>, Arc<Name>, ahash::RandomState>>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

/// Why a name has no address: one lower-case clause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unresolved(String);

#[derive(Default)]
struct Name {
    answer: ArcSwapOption<Answer>,
    looking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Answer {
    addresses: Result<Arc<[IpAddr]>, Unresolved>,
    until: Instant,
}

impl Resolver {
    /// By `server.dns`: the servers named there, else the system's; the hosts file always counts.
    pub fn new(server: &Server) -> Self {
        let inner = build(server).map_err(|error| log::error!("dns: no resolver: {error}")).ok();
        Self { inner, refresh: server.dns.refresh, names: Mutex::default() }
    }

    /// The addresses of a name; never empty.
    ///
    /// # Errors
    /// When it has none, and none is remembered.
    pub async fn resolve(self: &Arc<Self>, host: &Arc<str>) -> Result<Arc<[IpAddr]>, Unresolved> {
        let name = self.name(host);
        let known = name.answer.load_full();
        match known {
            Some(answer) if answer.until > Instant::now() => answer.addresses.clone(),
            Some(answer) if answer.addresses.is_ok() => {
                self.renew_aside(host, name);
                answer.addresses.clone()
            }
            _ => self.look_together(host, name).await,
        }
    }

    /// Waits for an answer, with everybody else who does. A waiter that gives up does not end the look-up, so that its
    /// outcome, a failure too, is there for the next one.
    async fn look_together(self: &Arc<Self>, host: &Arc<str>, name: Arc<Name>) -> Result<Arc<[IpAddr]>, Unresolved> {
        let (this, host) = (Arc::clone(self), Arc::clone(host));
        let looking = tokio::spawn(async move {
            let _looking = name.looking.lock().await;
            // Whoever held the lock before may have found it.
            match name.answer.load_full() {
                Some(answer) if answer.until > Instant::now() => answer.addresses.clone(),
                _ => this.renew(&host, &name).await,
            }
        });
        looking.await.unwrap_or_else(|_| Err(Unresolved("the look-up was given up".to_owned())))
    }

    fn name(&self, host: &Arc<str>) -> Arc<Name> {
        Arc::clone(self.names.lock().entry(Arc::clone(host)).or_default())
    }

    /// Renews without anybody waiting; one look-up at a time.
    fn renew_aside(self: &Arc<Self>, host: &Arc<str>, name: Arc<Name>) {
        let (this, host) = (Arc::clone(self), Arc::clone(host));
        drop(tokio::spawn(async move {
            if let Ok(_looking) = name.looking.try_lock() {
                let _ = this.renew(&host, &name).await;
            }
        }));
    }

    async fn renew(&self, host: &str, name: &Name) -> Result<Arc<[IpAddr]>, Unresolved> {
        let (found, lifetime) = self.look_up(host).await;
        let now = Instant::now();
        let last_good = name.answer.load_full().filter(|answer| answer.addresses.is_ok());
        let answer = match (found, last_good) {
            (Err(error), Some(last)) => {
                log::warn!("dns: {host}: {error}; the last good answer stays in use");
                Answer { addresses: last.addresses.clone(), until: now + NEGATIVE }
            }
            (Err(error), None) => Answer { addresses: Err(error), until: now + NEGATIVE },
            (Ok(addresses), _) => Answer { addresses: Ok(addresses), until: now + lifetime },
        };
        let addresses = answer.addresses.clone();
        name.answer.store(Some(Arc::new(answer)));
        addresses
    }

    async fn look_up(&self, host: &str) -> (Result<Arc<[IpAddr]>, Unresolved>, Duration) {
        let Some(resolver) = &self.inner else {
            return (Err(Unresolved("no name server is configured".to_owned())), NEGATIVE);
        };
        match resolver.lookup_ip(host).await {
            Ok(found) => {
                let left = found.valid_until().saturating_duration_since(Instant::now());
                let lifetime = self.refresh.unwrap_or(left.min(LONGEST)).max(SHORTEST);
                let addresses: Arc<[IpAddr]> = found.iter().collect();
                if addresses.is_empty() {
                    return (Err(Unresolved("the name has no address".to_owned())), NEGATIVE);
                }
                (Ok(addresses), lifetime)
            }
            Err(error) => (Err(Unresolved(error.to_string())), NEGATIVE),
        }
    }
}

fn build(server: &Server) -> Result<TokioResolver, hickory_resolver::net::NetError> {
    let mut builder = if server.dns.servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = server.dns.servers.iter().copied().map(name_server).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options: &mut ResolverOpts = builder.options_mut();
    options.timeout = server.dns.timeout;
    options.attempts = 2;
    builder.build()
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}
