//! Upstream names -> addresses: asynchronous, again at the record's TTL, with the last good answer kept when that fails.
//!
//! A name is looked up at its first request, never at start, so that an unresolvable one stops nothing but its own routes.
//! A name in use is renewed before its answer is old, and nobody waits for that; one that nobody asked for in a long time is
//! looked up again before it is used.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// After this part of an answer's life whoever uses it has it renewed.
const RENEW: f64 = 0.8;
/// How old an answer may be to be used while it is renewed.
const GRACE: Duration = Duration::from_secs(30);
/// How long an address that lost against another of its name comes last.
const SHUNNED: Duration = Duration::from_secs(30);

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

/// What is known of one name.
#[derive(Default)]
pub struct Name {
    answer: ArcSwapOption<Answer>,
    looking: tokio::sync::Mutex<()>,
    /// Addresses that lost against another of this name, and until when they come last.
    shunned: ArcSwapOption<Vec<(IpAddr, Instant)>>,
    /// Whether the last look-up failed: the log says so once.
    failing: AtomicBool,
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Name").finish_non_exhaustive()
    }
}

impl Name {
    /// These could not be connected to, or not as soon as another: for a while others are tried first.
    pub fn shun(&self, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            return;
        }
        let now = Instant::now();
        let known = self.shunned.load_full();
        let others = known.iter().flat_map(|known| known.iter().copied());
        let mut shunned: Vec<_> =
            others.filter(|(address, until)| *until > now && !addresses.contains(address)).collect();
        shunned.extend(addresses.iter().map(|address| (*address, now + SHUNNED)));
        self.shunned.store(Some(Arc::new(shunned)));
    }

    fn is_shunned(&self, address: IpAddr, now: Instant) -> bool {
        let shunned = self.shunned.load();
        shunned.iter().flat_map(|list| list.iter()).any(|(other, until)| *other == address && *until > now)
    }
}

/// The addresses of a name; at least one.
#[derive(Debug)]
pub struct Found {
    /// Families in turn (RFC 8305 §4).
    pub addresses: Arc<[IpAddr]>,
    /// Whose they are.
    pub name: Arc<Name>,
}

impl Found {
    /// Those that lost lately come last.
    pub fn in_order(&self) -> Vec<IpAddr> {
        let now = Instant::now();
        let mut ordered = self.addresses.to_vec();
        ordered.sort_by_key(|address| self.name.is_shunned(*address, now));
        ordered
    }
}

/// One look-up's outcome.
#[derive(Clone)]
struct Answer {
    addresses: Result<Arc<[IpAddr]>, Unresolved>,
    /// From then on whoever asks has it renewed, and does not wait for that.
    renew: Instant,
    /// From then on it is old.
    until: Instant,
}

impl Answer {
    fn new(addresses: Result<Arc<[IpAddr]>, Unresolved>, lifetime: Duration) -> Self {
        let now = Instant::now();
        Self { addresses, renew: now + lifetime.mul_f64(RENEW), until: now + lifetime }
    }

    /// Whether it may be used without a look-up, and whether one should be made beside.
    fn freshness(&self) -> Freshness {
        let now = Instant::now();
        match &self.addresses {
            Err(_) if now < self.until => Freshness::Fresh,
            Err(_) => Freshness::Old,
            Ok(_) if now < self.renew => Freshness::Fresh,
            Ok(_) if now < self.until + GRACE => Freshness::Ageing,
            Ok(_) => Freshness::Old,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Freshness {
    Fresh,
    /// Good enough while it is renewed.
    Ageing,
    /// Good for nothing but a name server that does not answer.
    Old,
}

impl Resolver {
    /// By `server.dns`: the servers named there, else the system's; the hosts file always counts.
    pub fn new(server: &Server) -> Self {
        let inner = build(server).map_err(|error| log::error!("dns: no resolver: {error}")).ok();
        Self { inner, refresh: server.dns.refresh, names: Mutex::default() }
    }

    /// The addresses of a name.
    ///
    /// # Errors
    /// When it has none, and none is remembered.
    pub async fn resolve(self: &Arc<Self>, host: &Arc<str>) -> Result<Found, Unresolved> {
        let name = self.name(host);
        let known = name.answer.load_full();
        let addresses = match known.as_ref().map(|answer| (answer.freshness(), answer)) {
            Some((Freshness::Fresh, answer)) => answer.addresses.clone(),
            Some((Freshness::Ageing, answer)) => {
                self.renew_aside(host, Arc::clone(&name));
                answer.addresses.clone()
            }
            _ => self.look_together(host, Arc::clone(&name)).await,
        };
        Ok(Found { addresses: addresses?, name })
    }

    /// Waits for an answer, with everybody else who does. A waiter that gives up does not end the look-up, so that its
    /// outcome, a failure too, is there for the next one.
    async fn look_together(self: &Arc<Self>, host: &Arc<str>, name: Arc<Name>) -> Result<Arc<[IpAddr]>, Unresolved> {
        let (this, host) = (Arc::clone(self), Arc::clone(host));
        let looking = tokio::spawn(async move {
            let _looking = name.looking.lock().await;
            // Whoever held the lock before may have found it.
            match name.answer.load_full() {
                Some(answer) if answer.freshness() != Freshness::Old => answer.addresses.clone(),
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
        if name.looking.try_lock().is_err() {
            return;
        }
        let (this, host) = (Arc::clone(self), Arc::clone(host));
        drop(tokio::spawn(async move {
            if let Ok(_looking) = name.looking.try_lock() {
                let _ = this.renew(&host, &name).await;
            }
        }));
    }

    async fn renew(&self, host: &str, name: &Name) -> Result<Arc<[IpAddr]>, Unresolved> {
        let (found, lifetime) = self.look_up(host).await;
        let failed_before = name.failing.swap(found.is_err(), Ordering::Relaxed);
        let last_good = name.answer.load_full().and_then(|answer| answer.addresses.clone().ok());
        let answer = match (found, last_good) {
            (Err(error), Some(last)) => {
                if !failed_before {
                    log::warn!("dns: {host}: {error}; the last good answer stays in use");
                }
                Answer::new(Ok(last), NEGATIVE)
            }
            (Err(error), None) => Answer::new(Err(error), NEGATIVE),
            (Ok(addresses), last) => {
                if failed_before && last.is_some() {
                    log::info!("dns: {host}: answered again");
                }
                Answer::new(Ok(addresses), lifetime)
            }
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
                let addresses = families_in_turn(found.iter());
                if addresses.is_empty() {
                    return (Err(Unresolved("the name has no address".to_owned())), NEGATIVE);
                }
                (Ok(addresses), lifetime)
            }
            Err(error) => (Err(Unresolved(error.to_string())), NEGATIVE),
        }
    }
}

/// The two families in turn, IPv6 first (RFC 8305 §4), each address once.
fn families_in_turn(found: impl Iterator<Item = IpAddr>) -> Arc<[IpAddr]> {
    let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = found.partition(IpAddr::is_ipv6);
    let longest = v6.len().max(v4.len());
    let in_turn = (0..longest).flat_map(|at| [v6.get(at), v4.get(at)]).flatten();
    let mut addresses: Vec<IpAddr> = Vec::with_capacity(v6.len() + v4.len());
    for address in in_turn {
        if !addresses.contains(address) {
            addresses.push(*address);
        }
    }
    addresses.into()
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
    // Ours is the only cache, or `refresh` would ask that one.
    options.cache_size = 0;
    builder.build()
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}
