//! Prometheus metrics, as the interface page names them. Label values come from the configuration only.
//!
//! Every proxy has a registry of its own. What requests move is resolved to handles once ([`RouteSeries`],
//! [`UpstreamSeries`]); what [`Live`] counts is read when somebody asks. Series of removed routes stay until the end
//! of the process, as counters that disappear read as resets.

mod acme;
mod chain;
mod families;
mod identity;
mod series;
mod tls;
mod tokens;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder};

use super::event::RequestEnd;
use super::live::Live;
use families::{Families, counter, counters, gauge, gauges};
use identity::IdentityFamilies;
use tls::TlsFamilies;
use tokens::TokenFamilies;

pub use series::{RouteSeries, UpstreamSeries};
pub use tls::CertificateEnd;
pub use tokens::{TokenState, TokenStates};

/// What `build_info` says of Pingora; a test holds it to `Cargo.toml`.
const PINGORA: &str = "0.9.1";

/// Every endpoint there is: its upstream, its label, and whether it may be chosen (`None`: nobody judges that).
pub type Judge = Box<dyn Fn() -> Vec<(Arc<str>, Arc<str>, Option<bool>)> + Send + Sync>;

struct Judging(Judge);

impl std::fmt::Debug for Judging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Judging")
    }
}

/// The registry of one running proxy.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Arc<Families>,
    upstreams: RwLock<HashMap<Box<str>, Arc<UpstreamSeries>, ahash::RandomState>>,
    unmatched: Arc<RouteSeries>,
    config: ConfigFamilies,
    acme: acme::Families,
    live: Arc<Live>,
    gauges: LiveFamilies,
    tls: TlsFamilies,
    tokens: TokenFamilies,
    identity: IdentityFamilies,
    judge: OnceLock<Judging>,
    /// Held while families change that only make sense together, and while they are read.
    consistent: Mutex<()>,
}

impl Metrics {
    /// Registers everything.
    pub fn new(live: Arc<Live>) -> Self {
        match Self::register(live) {
            Ok(metrics) => metrics,
            // Names and labels are constants: a mistake in them stops every test here, and nothing else can fail.
            Err(error) => unreachable!("metrics: {error}"),
        }
    }

    fn register(live: Arc<Live>) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let families = Arc::new(Families::register(&registry)?);
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        register_build_info(&registry)?;
        Ok(Self {
            unmatched: Arc::new(RouteSeries::new(Arc::clone(&families), "", "", "")),
            upstreams: RwLock::default(),
            config: ConfigFamilies::register(&registry)?,
            acme: acme::Families::register(&registry)?,
            gauges: LiveFamilies::register(&registry)?,
            tls: TlsFamilies::register(&registry)?,
            tokens: TokenFamilies::register(&registry)?,
            identity: IdentityFamilies::register(&registry)?,
            judge: OnceLock::new(),
            consistent: Mutex::new(()),
            live,
            families,
            registry,
        })
    }

    /// The handles for a route (empty strings: no route).
    pub fn route_series(&self, project: &str, environment: &str, route: &str) -> Arc<RouteSeries> {
        if project.is_empty() && environment.is_empty() && route.is_empty() {
            return Arc::clone(&self.unmatched);
        }
        Arc::new(RouteSeries::new(Arc::clone(&self.families), project, environment, route))
    }

    /// The handles for requests that no project served.
    pub fn unmatched(&self) -> &Arc<RouteSeries> {
        &self.unmatched
    }

    /// The handles for an upstream; the same ones each time.
    pub fn upstream_series(&self, upstream: &str) -> Arc<UpstreamSeries> {
        if let Some(series) = self.upstreams.read().get(upstream) {
            return Arc::clone(series);
        }
        let make = || Arc::new(UpstreamSeries::new(Arc::clone(&self.families), upstream));
        Arc::clone(self.upstreams.write().entry(upstream.into()).or_insert_with(make))
    }

    /// Counts a finished request: requests, duration, first byte, bytes, and `requests_refused_total` when it was refused.
    pub fn request(&self, series: &RouteSeries, event: &RequestEnd<'_>) {
        series.record(event);
    }

    /// A signature was made. [`RouteSeries::signed`] does the same without a look-up.
    pub fn signed(&self, route: &str, scheme: &'static str) {
        self.families.signed.with_label_values(&[route, scheme]).inc();
    }

    /// An HTTP/2 connection was ended for flooding.
    pub fn http2_flood(&self, kind: &'static str) {
        self.families.http2_floods.with_label_values(&[kind]).inc();
    }

    /// An upstream connection was made (`took`: how long) or reused (`None`).
    pub fn upstream_connection(&self, upstream: &str, took: Option<Duration>) {
        self.with_upstream(upstream, |series| series.connection(took));
    }

    /// An upstream answered (or failed: `None`).
    pub fn upstream_request(&self, upstream: &str, endpoint: &str, status: Option<u16>) {
        self.with_upstream(upstream, |series| series.request(endpoint, status));
    }

    /// Whether the last attempt at an endpoint got an answer; `None` before the first.
    pub fn endpoint_up(&self, upstream: &str, endpoint: &str) -> Option<bool> {
        self.upstreams.read().get(upstream)?.endpoint_up(endpoint)
    }

    fn with_upstream(&self, upstream: &str, act: impl Fn(&UpstreamSeries)) {
        let known = self.upstreams.read().get(upstream).map(|series| act(series)).is_some();
        if !known {
            act(&self.upstream_series(upstream));
        }
    }

    /// A reload ended: `applied`, `unchanged` or `rejected`. Generation and digest are those of the table in force.
    pub fn reload(&self, outcome: &'static str, generation: u64, sha256: &str) {
        let _consistent = self.consistent.lock();
        self.config.reload(outcome, generation, sha256);
    }

    /// An order for a certificate ended: `obtained` or `failed`.
    pub fn acme_order(&self, host: &str, outcome: &'static str) {
        self.acme.order(host, outcome);
    }

    /// When the next certificate for a host is asked for, in seconds since the epoch.
    pub fn acme_next_renewal(&self, host: &str, seconds: u64) {
        self.acme.next_renewal(host, seconds);
    }

    /// No certificates are asked for any more.
    pub fn acme_forget(&self, host: &str) {
        self.acme.forget(host);
    }

    /// A TLS handshake with a client ended: `full`, `resumed` or `failed`.
    pub fn tls_handshake(&self, listener: &str, outcome: &'static str) {
        self.tls.handshake(listener, outcome);
    }

    /// A connection was ended because of its PROXY header.
    pub fn proxy_header_refused(&self, listener: &str) {
        self.tls.proxy_header_refused(listener);
    }

    /// Who knows which certificates there are; asked when somebody reads the metrics.
    pub fn certificates(&self, source: impl Fn() -> Vec<CertificateEnd> + Send + Sync + 'static) {
        self.tls.ask(Box::new(source));
    }

    /// A log-in ended: `ok`, `state_invalid`, `refused`, `unavailable`, `failed` or `no_mail_address`.
    pub fn log_in(&self, project: &str, outcome: &'static str) {
        self.identity.log_in(project, outcome);
    }

    /// A session was shown to its issuer again: `renewed`, `ended` or `later`.
    pub fn session_renewal(&self, project: &str, outcome: &'static str) {
        self.identity.renewal(project, outcome);
    }

    /// An issuer was asked for its keys: `ok` or `failed`.
    pub fn issuer_asked(&self, issuer: &str, outcome: &'static str) {
        self.identity.asked(issuer, outcome);
    }

    /// An attempt to refresh a token ended.
    pub fn token_refresh(&self, provider: &str, outcome: &str, took: Duration) {
        self.tokens.refresh(provider, outcome, took);
    }

    /// Who knows which tokens there are; asked when somebody reads the metrics.
    pub fn tokens(&self, source: impl Fn() -> TokenStates + Send + Sync + 'static) {
        self.tokens.ask(Box::new(source));
    }

    /// Who knows which endpoints there are, and which may be chosen; asked at every reading.
    pub fn judge_by(&self, judge: Judge) {
        // A second one would have nothing else to say.
        let _ = self.judge.set(Judging(judge));
    }

    /// What is up, as of now: endpoints that are gone are not shown.
    fn read_endpoints(&self) {
        let up = &self.families.upstream_up;
        up.reset();
        let Some(Judging(judge)) = self.judge.get() else {
            for (name, series) in &*self.upstreams.read() {
                series.each_endpoint(|endpoint, answered| {
                    up.with_label_values(&[name, endpoint]).set(i64::from(answered));
                });
            }
            return;
        };
        for (upstream, endpoint, judged) in judge() {
            if let Some(is_up) = judged.or_else(|| self.endpoint_up(&upstream, &endpoint)) {
                up.with_label_values(&[&*upstream, &*endpoint]).set(i64::from(is_up));
            }
        }
    }

    /// The text format, version 0.0.4.
    pub fn render(&self) -> String {
        let _consistent = self.consistent.lock();
        self.gauges.read(&self.live);
        self.tls.read();
        self.tokens.read();
        self.read_endpoints();
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            log::error!("metrics cannot be rendered: {error}");
        }
        text
    }
}

/// One series, 1, with what was built as its labels.
fn register_build_info(registry: &Registry) -> prometheus::Result<()> {
    let labels = ["version", "revision", "rustc", "pingora"];
    let revision = option_env!("COUNTERSIGN_REVISION").unwrap_or("unknown");
    let rustc = option_env!("COUNTERSIGN_RUSTC").unwrap_or("unknown");
    let info = gauges(registry, "build_info", "What runs here.", &labels)?;
    info.with_label_values(&[env!("CARGO_PKG_VERSION"), revision, rustc, PINGORA]).set(1);
    Ok(())
}

/// What is known of the configuration.
#[derive(Debug)]
struct ConfigFamilies {
    generation: IntGauge,
    successful: IntGauge,
    success_time: IntGauge,
    reloads: IntCounterVec,
    info: IntGaugeVec,
}

impl ConfigFamilies {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let r = registry;
        let families = Self {
            generation: gauge(r, "config_generation", "Number of the table in force.")?,
            successful: gauge(r, "config_last_reload_successful", "0 while the last reload was rejected.")?,
            success_time: gauge(
                r,
                "config_last_reload_success_timestamp_seconds",
                "When the configuration was last read without an error.",
            )?,
            reloads: counters(r, "config_reloads_total", "Reloads by outcome, the first load included.", &["outcome"])?,
            info: gauges(r, "config_info", "Digest of the configuration in force.", &["sha256"])?,
        };
        // Present from the start, so that a rate over them never begins with the first failure.
        for outcome in ["applied", "unchanged", "rejected"] {
            families.reloads.with_label_values(&[outcome]);
        }
        Ok(families)
    }

    fn reload(&self, outcome: &'static str, generation: u64, sha256: &str) {
        self.reloads.with_label_values(&[outcome]).inc();
        let successful = outcome != "rejected";
        self.successful.set(i64::from(successful));
        if !successful {
            return;
        }
        self.success_time.set(i64::try_from(crate::clock::unix_millis() / 1000).unwrap_or(i64::MAX));
        self.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.info.reset();
        self.info.with_label_values(&[sha256]).set(1);
    }
}

/// What [`Live`] counts, copied when somebody asks.
#[derive(Debug)]
struct LiveFamilies {
    in_flight: IntGauge,
    streams: IntGauge,
    connections: IntGauge,
    draining: IntGauge,
    connections_refused: IntCounter,
    dropped: IntCounter,
}

impl LiveFamilies {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let r = registry;
        Ok(Self {
            in_flight: gauge(r, "http_requests_in_flight", "Requests under way.")?,
            streams: gauge(r, "http_streams_open", "Event streams and upgraded connections under way.")?,
            connections: gauge(r, "http_connections_open", "Accepted connections.")?,
            draining: gauge(r, "draining", "1 while a stop or an upgrade drains.")?,
            connections_refused: counter(r, "http_connections_refused_total", "Connections refused because of a cap.")?,
            dropped: counter(r, "log_records_dropped_total", "Log lines that found their buffer full.")?,
        })
    }

    fn read(&self, live: &Live) {
        self.in_flight.set(live.in_flight.load(Ordering::Relaxed));
        self.streams.set(live.streams_open.load(Ordering::Relaxed));
        self.connections.set(live.connections.load(Ordering::Relaxed));
        self.draining.set(i64::from(live.is_draining()));
        catch_up(&self.connections_refused, live.connections_refused.load(Ordering::Relaxed));
        catch_up(&self.dropped, live.log_records_dropped.load(Ordering::Relaxed));
    }
}

/// Only ever called under the `consistent` lock.
fn catch_up(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use super::super::event::End;
    use super::super::tests::event;
    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(Arc::new(Live::default()))
    }

    /// The value of one series, as rendered.
    fn value(metrics: &Metrics, series: &str) -> Option<f64> {
        let text = metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))?;
        line.parse().ok()
    }

    #[test]
    fn a_request_moves_its_routes_series() {
        let metrics = metrics();
        let series = metrics.route_series("demo", "production", "/a0");
        metrics.request(&series, &event());
        metrics.request(&series, &RequestEnd { bytes_in: 7, ..event() });
        let route = r#"environment="production",project="demo",route="/a0""#;
        let labels = r#"code="200",environment="production",listener="http",method="GET",project="demo",route="/a0""#;
        assert_eq!(value(&metrics, &format!("countersign_http_requests_total{{{labels}}}")), Some(2.0));
        let buckets = "countersign_http_request_duration_seconds";
        assert_eq!(value(&metrics, &format!("{buckets}_bucket{{{route},le=\"0.01\"}}")), Some(0.0));
        assert_eq!(value(&metrics, &format!("{buckets}_bucket{{{route},le=\"0.025\"}}")), Some(2.0));
        assert_eq!(value(&metrics, &format!("{buckets}_bucket{{{route},le=\"600\"}}")), Some(2.0));
        assert_eq!(value(&metrics, &format!("{buckets}_sum{{{route}}}")), Some(0.02469));
        let first_byte = format!("countersign_http_response_first_byte_seconds_count{{{route}}}");
        assert_eq!(value(&metrics, &first_byte), Some(2.0));
        assert_eq!(value(&metrics, "countersign_http_request_bytes_total"), Some(7.0));
        assert_eq!(value(&metrics, "countersign_http_response_bytes_total"), Some(1024.0));
    }

    #[test]
    fn series_of_a_new_table_go_on_where_the_old_ones_were() {
        let metrics = metrics();
        for _ in 0..2 {
            metrics.request(&metrics.route_series("demo", "production", "/a0"), &event());
        }
        let text = metrics.render();
        let count = text.lines().filter(|line| line.starts_with("countersign_http_requests_total{")).count();
        assert_eq!((count, text.contains("method=\"GET\",project=\"demo\",route=\"/a0\"} 2")), (1, true), "{text}");
    }

    #[test]
    fn a_clients_words_never_become_labels() {
        let metrics = metrics();
        for method in ["BREW", "get", "", "G\"ET\n"] {
            let unread = RequestEnd { method, status: 400, end: End::Refused, code: "bad_request", ..event() };
            metrics.request(metrics.unmatched(), &unread);
        }
        let labels = r#"code="400",environment="",listener="http",method="OTHER",project="",route="""#;
        assert_eq!(value(&metrics, &format!("countersign_http_requests_total{{{labels}}}")), Some(4.0));
        let refused = r#"countersign_requests_refused_total{reason="bad_request",route=""}"#;
        assert_eq!(value(&metrics, refused), Some(4.0));
    }

    #[test]
    fn routes_that_nobody_calls_have_no_series() {
        let metrics = metrics();
        let before = metrics.render();
        let kept: Vec<_> = (0..1000).map(|n| metrics.route_series("demo", "production", &format!("/{n}"))).collect();
        let names = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!((names(&metrics.render()), kept.len()), (names(&before), 1000));
    }

    #[test]
    fn upstreams_count_connections_answers_and_their_last_state() {
        let metrics = metrics();
        metrics.upstream_connection("users", Some(Duration::from_millis(3)));
        metrics.upstream_connection("users", None);
        metrics.upstream_connection("users", None);
        metrics.upstream_request("users", "a:1", Some(204));
        metrics.upstream_request("users", "a:1", Some(503));
        metrics.upstream_request("users", "b:1", None);
        let series = [
            (r#"connections_total{state="new",upstream="users"}"#, 1.0),
            (r#"connections_total{state="reused",upstream="users"}"#, 2.0),
            (r#"connect_seconds_count{upstream="users"}"#, 1.0),
            (r#"requests_total{code_class="2xx",endpoint="a:1",upstream="users"}"#, 1.0),
            (r#"requests_total{code_class="5xx",endpoint="a:1",upstream="users"}"#, 1.0),
            (r#"requests_total{code_class="error",endpoint="b:1",upstream="users"}"#, 1.0),
            (r#"up{endpoint="a:1",upstream="users"}"#, 1.0),
            (r#"up{endpoint="b:1",upstream="users"}"#, 0.0),
        ];
        for (name, expected) in series {
            assert_eq!(value(&metrics, &format!("countersign_upstream_{name}")), Some(expected), "{name}");
        }
        let states = ["a:1", "b:1", "c:1"].map(|endpoint| metrics.endpoint_up("users", endpoint));
        assert_eq!(states, [Some(true), Some(false), None]);
    }

    #[test]
    fn a_rejected_reload_keeps_what_is_in_force() {
        let metrics = metrics();
        metrics.reload("applied", 1, "aa");
        metrics.reload("applied", 2, "bb");
        metrics.reload("rejected", 2, "bb");
        let of = |name: &str| value(&metrics, &format!("countersign_config_{name}"));
        assert_eq!((of("generation"), of("last_reload_successful")), (Some(2.0), Some(0.0)));
        assert_eq!((of(r#"info{sha256="aa"}"#), of(r#"info{sha256="bb"}"#)), (None, Some(1.0)));
        let outcomes = ["applied", "unchanged", "rejected"];
        let counts = outcomes.map(|outcome| of(&format!("reloads_total{{outcome=\"{outcome}\"}}")));
        assert_eq!(counts, [Some(2.0), Some(0.0), Some(1.0)]);
        assert!(of("last_reload_success_timestamp_seconds").unwrap() > 1.7e9);
    }

    #[test]
    fn live_numbers_are_read_when_asked_for() {
        let live = Arc::new(Live::default());
        let metrics = Metrics::new(Arc::clone(&live));
        live.in_flight.store(3, Ordering::Relaxed);
        live.log_records_dropped.store(5, Ordering::Relaxed);
        assert_eq!(value(&metrics, "countersign_http_requests_in_flight"), Some(3.0));
        assert_eq!(value(&metrics, "countersign_log_records_dropped_total"), Some(5.0));
        live.log_records_dropped.store(6, Ordering::Relaxed);
        assert_eq!(value(&metrics, "countersign_log_records_dropped_total"), Some(6.0));
    }

    #[test]
    fn signatures_are_counted_by_both_ways() {
        let metrics = metrics();
        metrics.signed("/a0", "user-stamp");
        metrics.route_series("demo", "production", "/a0").signed("user-stamp");
        let name = r#"countersign_requests_signed_total{route="/a0",scheme="user-stamp"}"#;
        assert_eq!(value(&metrics, name), Some(2.0));
    }

    #[test]
    fn build_and_process_are_described() {
        let text = metrics().render();
        assert!(text.contains("countersign_build_info{pingora=\"0.9.1\""), "{text}");
        assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
        let manifest = include_str!("../../../Cargo.toml");
        assert!(manifest.contains(&format!("pingora-core = {{ version = \"={PINGORA}\"")), "another Pingora");
    }
}
