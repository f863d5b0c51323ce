//! Pingora's engine with our phases in it, and what all requests share.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use pingora_core::apps::HttpServerOptions;
use pingora_core::server::ShutdownWatch;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;

use super::context::Context;
use super::gateway::Gateway;
use super::peer::Peers;
use super::resolve::Resolver;
use crate::clock;
use crate::credential::vault::Vault;
use crate::observe::Observer;
use crate::observe::live::Live;
use crate::observe::metrics::{Judge, RouteSeries};
use crate::table::upstream::{Eject, Standing};
use crate::table::{Endpoint, Route, Table, Upstream};
use crate::tls::Challenges;
use crate::users::Verifier;

/// Where the table in force is found.
pub type Tables = Arc<ArcSwap<Table>>;
/// More than one request can need: `attempt` says when it is enough.
const TRIES: usize = 1000;
/// Idle upstream connections kept, per worker.
const POOL: usize = 512;

/// Pingora's engine with our phases in it.
pub struct Engine {
    http: Arc<HttpProxy<Gateway>>,
    shared: Arc<Shared>,
    never_stops: ShutdownWatch,
    _open: tokio::sync::watch::Sender<bool>,
}

/// What all requests share.
#[derive(Debug)]
pub struct Shared {
    tables: Tables,
    observer: Arc<Observer>,
    began: Instant,
    /// Who chooses.
    pub peers: Peers,
    /// Who looks at passwords.
    pub verifier: Arc<Verifier>,
    /// What a CA that asks is answered.
    pub challenges: Arc<Challenges>,
    /// Who lends tokens.
    pub vault: Arc<Vault>,
}

/// What the data plane needs of the rest.
#[derive(Debug)]
pub struct Parts {
    /// The configuration in force.
    pub tables: Tables,
    /// What is seen.
    pub observer: Arc<Observer>,
    /// Who knows addresses.
    pub resolver: Resolver,
    /// Who looks at passwords.
    pub verifier: Arc<Verifier>,
    /// What a CA that asks is answered.
    pub challenges: Arc<Challenges>,
    /// Who lends tokens.
    pub vault: Arc<Vault>,
    /// Threads.
    pub workers: usize,
}

impl Shared {
    /// The table in force.
    pub fn table(&self) -> Arc<Table> {
        self.tables.load_full()
    }

    /// Nanoseconds on a clock that never goes back: what the limits count by.
    pub fn nanos(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The gauges.
    pub fn live(&self) -> &Arc<Live> {
        &self.observer.live
    }

    /// Metrics and logs.
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Counts what became of an attempt. What the client broke off says nothing about the upstream.
    pub fn count_attempt(&self, ctx: &Context) {
        let (Some(forward), Some(leased)) = (ctx.forward(), &ctx.leased) else { return };
        let status = ctx.upstream_status.map(|status| status.as_u16());
        let at_fault = ctx.failure.as_ref().is_some_and(|failure| failure.code.starts_with("upstream_"));
        if status.is_some() || at_fault {
            self.observer.metrics.upstream_request(&forward.upstream.name, &leased.0.label, status);
        }
        if at_fault || status.is_some_and(|status| status >= 500) {
            self.note_failed(ctx);
        }
    }

    /// Counts an attempt that is followed by another.
    pub fn count_retry(&self, ctx: &Context, reason: &'static str) {
        let Some(forward) = ctx.forward() else { return };
        self.observer.metrics.upstream_series(&forward.upstream.name).retried(reason);
        if let Some(leased) = &ctx.leased {
            let status = ctx.upstream_status.map(|status| status.as_u16());
            self.observer.metrics.upstream_request(&forward.upstream.name, &leased.0.label, status);
        }
    }

    /// Counts an attempt against its endpoint, which has no whole answer or a 5xx to show for it. (A connection out of the
    /// pool that had ended, or a request that was refused unread, is nobody's failure.)
    pub fn note_failed(&self, ctx: &Context) {
        let (Some(forward), Some(leased)) = (ctx.forward(), &ctx.leased) else { return };
        if ctx.upstream_status.is_none_or(|status| status.is_server_error() || ctx.failure.is_some()) {
            self.note_failure(&forward.upstream, &leased.0, ctx);
        }
    }

    fn note_failure(&self, upstream: &Upstream, endpoint: &Endpoint, ctx: &Context) {
        let Some(eject) = &upstream.eject else { return };
        let now = clock::unix_millis();
        let took = ctx.attempts.connecting.map_or(0, |since| u64::try_from(since.elapsed().as_millis()).unwrap_or(0));
        if upstream.note_failure(endpoint, now.saturating_sub(took), now) {
            let (name, label) = (&upstream.name, &endpoint.label);
            let Eject { errors, within, rest } = eject;
            log::warn!("upstream {name}: {label} is ejected for {rest:?}: {errors} failure(s) within {within:?}");
        }
    }

    /// Milliseconds since the start: only ever forward.
    pub fn millis(&self) -> u64 {
        self.nanos() / 1_000_000
    }

    /// The metrics of a route, made at its first request.
    pub fn series<'r>(&self, route: &'r Route) -> &'r Arc<RouteSeries> {
        let make = || self.observer.metrics.route_series(&route.project, &route.environment, &route.prefix);
        route.series.get_or_init(make)
    }
}

impl Engine {
    /// Builds the engine for `workers` threads.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { tables, observer, resolver, verifier, challenges, vault, workers } = parts;
        let conf = ServerConf {
            threads: workers,
            upstream_keepalive_pool_size: POOL,
            max_retries: TRIES,
            ..ServerConf::default()
        };
        observer.metrics.judge_by(judge(&tables));
        let peers = Peers::new(Arc::new(resolver));
        let began = Instant::now();
        let shared = Arc::new(Shared { tables, observer, began, peers, verifier, challenges, vault });
        let mut http = HttpProxy::new(Gateway(Arc::clone(&shared)), Arc::new(conf));
        http.handle_init_modules();
        // CONNECT is refused by the request gate, in our own words; Pingora would answer before any phase of ours.
        let mut options = HttpServerOptions::default();
        options.allow_connect_method_proxying = true;
        http.server_options = Some(options);
        let (open, never_stops) = tokio::sync::watch::channel(false);
        Arc::new(Self { http: Arc::new(http), shared, never_stops, _open: open })
    }

    /// Pingora's part.
    pub fn http(&self) -> &Arc<HttpProxy<Gateway>> {
        &self.http
    }

    /// Pingora's own idea of a stop; ours is the drain.
    pub fn never_stops(&self) -> &ShutdownWatch {
        &self.never_stops
    }

    /// What all requests share.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The gauges.
    pub fn live(&self) -> &Arc<Live> {
        self.shared.live()
    }

    /// Metrics and logs.
    pub fn observer(&self) -> &Observer {
        self.shared.observer()
    }

    /// The table in force.
    pub fn table(&self) -> Arc<Table> {
        self.shared.table()
    }

    /// The number of the table in force.
    pub fn generation(&self) -> u64 {
        self.shared.tables.load().generation
    }
}

/// Says of every endpoint of the table in force whether it may be chosen, where checks or failures decide that.
fn judge(tables: &Tables) -> Judge {
    let tables = Arc::clone(tables);
    Box::new(move || {
        let (table, now) = (tables.load(), clock::unix_millis());
        let endpoints =
            table.upstreams.iter().flat_map(|upstream| upstream.endpoints.iter().map(move |it| (upstream, it)));
        let judged = endpoints.map(|(upstream, endpoint)| {
            let up = upstream.is_judged().then(|| upstream.standing(endpoint, now) == Standing::Up);
            (Arc::clone(&upstream.name), Arc::clone(&endpoint.label), up)
        });
        judged.collect()
    })
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}
