//! Names, labels, help texts and buckets of every family that requests move.

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Seconds of whole requests, up to ten minutes: streams of language models last.
const DURATIONS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// Seconds to the first byte.
const FIRST_BYTES: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

/// Seconds to a connection (with TLS).
const CONNECTS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Seconds of a call to an OAuth server, which is cut after thirty.
pub const CALLS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

const ROUTE: [&str; 3] = ["project", "environment", "route"];

/// The families.
#[derive(Debug)]
pub struct Families {
    pub requests: IntCounterVec,
    pub durations: HistogramVec,
    pub first_bytes: HistogramVec,
    pub bytes_in: IntCounter,
    pub bytes_out: IntCounter,
    pub http2_floods: IntCounterVec,
    pub signed: IntCounterVec,
    pub refused: IntCounterVec,
    pub upstream_requests: IntCounterVec,
    pub upstream_retries: IntCounterVec,
    pub upstream_retries_suppressed: IntCounterVec,
    pub upstream_connects: HistogramVec,
    pub upstream_connections: IntCounterVec,
    pub upstream_up: IntGaugeVec,
}

impl Families {
    /// Makes and registers them.
    ///
    /// # Errors
    /// A name or label is malformed or taken: a mistake in this file, found by every test.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let r = registry;
        Ok(Self {
            requests: counters(
                r,
                "http_requests_total",
                "Requests answered.",
                &["listener", "project", "environment", "route", "method", "code"],
            )?,
            durations: histograms(
                r,
                "http_request_duration_seconds",
                "From the request head to the end of the response.",
                &ROUTE,
                DURATIONS,
            )?,
            first_bytes: histograms(
                r,
                "http_response_first_byte_seconds",
                "From the request head to the first byte of the response.",
                &ROUTE,
                FIRST_BYTES,
            )?,
            bytes_in: counter(r, "http_request_bytes_total", "Bytes of request bodies.")?,
            bytes_out: counter(r, "http_response_bytes_total", "Bytes of response bodies.")?,
            http2_floods: counters(
                r,
                "http2_floods_total",
                "HTTP/2 connections ended because their client only cost: frames that move nothing, resets.",
                &["kind"],
            )?,
            signed: counters(r, "requests_signed_total", "Signatures made.", &["route", "scheme"])?,
            refused: counters(
                r,
                "requests_refused_total",
                "Requests answered with an error by the edge.",
                &["route", "reason"],
            )?,
            upstream_retries: counters(
                registry,
                "upstream_retries_total",
                "Attempts that were followed by another, by reason.",
                &["upstream", "reason"],
            )?,
            upstream_retries_suppressed: counters(
                registry,
                "upstream_retries_suppressed_total",
                "Requests that were not sent again because the upstream's retry budget was used up.",
                &["upstream"],
            )?,
            upstream_requests: counters(
                r,
                "upstream_requests_total",
                "Attempts by their outcome: 1xx to 5xx, or error.",
                &["upstream", "endpoint", "code_class"],
            )?,
            upstream_connects: histograms(
                r,
                "upstream_connect_seconds",
                "To a new upstream connection, TLS included.",
                &["upstream"],
                CONNECTS,
            )?,
            upstream_connections: counters(
                r,
                "upstream_connections_total",
                "Upstream connections used, new or reused.",
                &["upstream", "state"],
            )?,
            upstream_up: gauges(
                r,
                "upstream_up",
                "Whether an endpoint may be chosen; without checks and ejection: whether the last attempt at it got an answer.",
                &["upstream", "endpoint"],
            )?,
        })
    }
}

/// A family without labels that is counted up.
pub fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    registered(registry, IntCounter::with_opts(options(name, help))?)
}

/// A family of counters.
pub fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    registered(registry, IntCounterVec::new(options(name, help), labels)?)
}

/// A family without labels that is set.
pub fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    registered(registry, IntGauge::with_opts(options(name, help))?)
}

/// A family of gauges.
pub fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    registered(registry, IntGaugeVec::new(options(name, help), labels)?)
}

/// A family of histograms.
pub fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> prometheus::Result<HistogramVec> {
    let options = HistogramOpts::from(options(name, help)).buckets(buckets.to_vec());
    registered(registry, HistogramVec::new(options, labels)?)
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("countersign")
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
