//! What is seen of certificates that are obtained. Hosts are those of the configuration.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::families::{counters, gauges};

#[derive(Debug)]
pub struct Families {
    orders: IntCounterVec,
    next_renewal: IntGaugeVec,
}

impl Families {
    /// Makes and registers them.
    ///
    /// # Errors
    /// A name or label is malformed or taken: a mistake in this file, found by every test.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            orders: counters(
                registry,
                "acme_orders_total",
                "Orders for certificates, by outcome.",
                &["host", "outcome"],
            )?,
            next_renewal: gauges(
                registry,
                "acme_next_renewal_timestamp_seconds",
                "When the next certificate is asked for.",
                &["host"],
            )?,
        })
    }

    pub fn order(&self, host: &str, outcome: &'static str) {
        self.orders.with_label_values(&[host, outcome]).inc();
    }

    pub fn next_renewal(&self, host: &str, seconds: u64) {
        // Both outcomes are there from the start, so that a rate over them never begins with the first failure.
        for outcome in ["obtained", "failed"] {
            self.orders.with_label_values(&[host, outcome]);
        }
        self.next_renewal.with_label_values(&[host]).set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// Counters stay: those that disappear read as resets.
    pub fn forget(&self, host: &str) {
        // Fails when there was none.
        let _ = self.next_renewal.remove_label_values(&[host]);
    }
}
