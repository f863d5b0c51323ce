//! The handles of one route and of one upstream: label values resolved once, atomics afterwards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use super::super::event::{End, RequestEnd};
use super::chain::Chain;
use super::families::Families;

/// The methods that have a label value of their own (RFC 9110 §9.3, RFC 5789).
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The handles of one route, resolved once so that a request touches only atomics.
///
/// Nothing is registered before the first request: a route that is never called costs no series.
#[derive(Debug)]
pub struct RouteSeries {
    families: Arc<Families>,
    labels: Box<[Box<str>; 3]>,
    /// By listener and method (its place in [`METHODS`]), then by status.
    requests: Chain<(Box<str>, usize), Chain<u16, IntCounter>>,
    duration: OnceLock<Histogram>,
    first_byte: OnceLock<Histogram>,
    /// By reason.
    refused: Chain<Box<str>, IntCounter>,
    /// By scheme.
    signed: Chain<&'static str, IntCounter>,
}

impl RouteSeries {
    pub(super) fn new(families: Arc<Families>, project: &str, environment: &str, route: &str) -> Self {
        Self {
            families,
            labels: Box::new([project.into(), environment.into(), route.into()]),
            requests: Chain::default(),
            duration: OnceLock::new(),
            first_byte: OnceLock::new(),
            refused: Chain::default(),
            signed: Chain::default(),
        }
    }

    /// A signature was made for this route.
    pub fn signed(&self, scheme: &'static str) {
        let make = || (scheme, self.families.signed.with_label_values(&[self.route(), scheme]));
        self.signed.entry(|known| *known == scheme, make).inc();
    }

    pub(super) fn record(&self, event: &RequestEnd<'_>) {
        self.counter(event.listener, method_index(event.method), event.status).inc();
        self.duration.get_or_init(|| self.histogram(&self.families.durations)).observe(event.duration.as_secs_f64());
        if let Some(first_byte) = event.first_byte {
            let histogram = self.first_byte.get_or_init(|| self.histogram(&self.families.first_bytes));
            histogram.observe(first_byte.as_secs_f64());
        }
        add(&self.families.bytes_in, event.bytes_in);
        add(&self.families.bytes_out, event.bytes_out);
        if event.end == End::Refused && !event.code.is_empty() {
            self.refuse(event.code);
        }
    }

    fn counter(&self, listener: &str, method: usize, status: u16) -> &IntCounter {
        let codes = self.requests.entry(
            |(known, verb)| *verb == method && **known == *listener,
            || ((listener.into(), method), Chain::default()),
        );
        codes.entry(|known| *known == status, || (status, self.resolve(listener, method, status)))
    }

    fn resolve(&self, listener: &str, method: usize, status: u16) -> IntCounter {
        let [project, environment, route] = &*self.labels;
        let method = METHODS.get(method).copied().unwrap_or("OTHER");
        let mut code = itoa::Buffer::new();
        let labels = [listener, project, environment, route, method, code.format(status)];
        self.families.requests.with_label_values(&labels)
    }

    fn histogram(&self, family: &prometheus::HistogramVec) -> Histogram {
        family.with_label_values(&self.labels.each_ref().map(|label| &**label))
    }

    fn refuse(&self, reason: &str) {
        let make = || (reason.into(), self.families.refused.with_label_values(&[self.route(), reason]));
        self.refused.entry(|known| **known == *reason, make).inc();
    }

    fn route(&self) -> &str {
        let [_, _, route] = &*self.labels;
        route
    }
}

/// The place of a method in [`METHODS`]; one beyond it for every other, whatever a client sends.
fn method_index(method: &str) -> usize {
    METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len())
}

/// Most requests have no body: that needs no atomic.
fn add(counter: &IntCounter, bytes: u64) {
    if bytes > 0 {
        counter.inc_by(bytes);
    }
}

/// The handles of one upstream.
#[derive(Debug)]
pub struct UpstreamSeries {
    families: Arc<Families>,
    name: Box<str>,
    connect: OnceLock<Histogram>,
    new: OnceLock<IntCounter>,
    reused: OnceLock<IntCounter>,
    endpoints: Chain<Box<str>, EndpointSeries>,
}

#[derive(Debug, Default)]
struct EndpointSeries {
    /// By class: `1xx` … `5xx`, `error`.
    classes: Chain<&'static str, IntCounter>,
    /// Whether the last attempt got an answer.
    answered: AtomicBool,
}

impl UpstreamSeries {
    pub(super) fn new(families: Arc<Families>, name: &str) -> Self {
        Self {
            families,
            name: name.into(),
            connect: OnceLock::new(),
            new: OnceLock::new(),
            reused: OnceLock::new(),
            endpoints: Chain::default(),
        }
    }

    /// A connection was made (`took`: how long) or reused (`None`).
    pub fn connection(&self, took: Option<Duration>) {
        let connections = |state| self.families.upstream_connections.with_label_values(&[&*self.name, state]);
        let Some(took) = took else { return self.reused.get_or_init(|| connections("reused")).inc() };
        self.new.get_or_init(|| connections("new")).inc();
        let histogram = || self.families.upstream_connects.with_label_values(&[&*self.name]);
        self.connect.get_or_init(histogram).observe(took.as_secs_f64());
    }

    /// An attempt failed and is followed by another. Rare: looked up each time.
    pub fn retried(&self, reason: &'static str) {
        self.families.upstream_retries.with_label_values(&[&*self.name, reason]).inc();
    }

    /// An attempt would have been followed by another, had the budget allowed it. Rare: looked up each time.
    pub fn retry_suppressed(&self) {
        self.families.upstream_retries_suppressed.with_label_values(&[&*self.name]).inc();
    }

    /// An endpoint answered, or failed to (`None`).
    pub fn request(&self, endpoint: &str, status: Option<u16>) {
        let series =
            self.endpoints.entry(|known| **known == *endpoint, || (endpoint.into(), EndpointSeries::default()));
        let class = class_label(status);
        let labels = [&*self.name, endpoint, class];
        let make = || (class, self.families.upstream_requests.with_label_values(&labels));
        series.classes.entry(|known| *known == class, make).inc();
        // Written only when it changes: otherwise every request of every thread would fight for the cache line.
        let answered = status.is_some();
        if series.answered.load(Ordering::Relaxed) != answered {
            series.answered.store(answered, Ordering::Relaxed);
        }
    }

    /// Whether the last attempt at an endpoint got an answer; `None` before the first.
    pub fn endpoint_up(&self, endpoint: &str) -> Option<bool> {
        self.endpoints.get(|known| **known == *endpoint).map(|series| series.answered.load(Ordering::Relaxed))
    }

    /// The same for all endpoints that were tried.
    pub(super) fn each_endpoint(&self, mut see: impl FnMut(&str, bool)) {
        self.endpoints.each(|endpoint, series| see(endpoint, series.answered.load(Ordering::Relaxed)));
    }
}

fn class_label(status: Option<u16>) -> &'static str {
    match status {
        Some(100..=199) => "1xx",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(400..=499) => "4xx",
        Some(500..=599) => "5xx",
        Some(_) => "other",
        None => "error",
    }
}
