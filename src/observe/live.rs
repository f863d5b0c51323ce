//! What is going on right now: counted where it happens, read by metrics, status, readiness and the drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Gauges of one running proxy.
#[derive(Debug, Default)]
pub struct Live {
    /// Requests whose head has been received and whose record has not been written.
    pub in_flight: AtomicI64,
    /// Of these, responses under way whose end is not known in advance (event streams, upgraded connections).
    pub streams_open: AtomicI64,
    /// Accepted connections.
    pub connections: AtomicI64,
    /// Connections ever refused because of a cap.
    pub connections_refused: AtomicU64,
    /// A stop or upgrade has begun: readiness is off, connections close after their response.
    pub draining: AtomicBool,
    /// The first table is in force and the listeners accept.
    pub ready: AtomicBool,
    /// Log lines that found their buffer full, or that no disk ever took.
    pub log_records_dropped: Arc<AtomicU64>,
    /// Told whenever another table is in force.
    pub published: Notify,
    /// Told whenever a request or connection ends.
    pub ended: Notify,
}

impl Live {
    /// Whether the proxy takes requests: started and not draining.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_draining()
    }

    /// Whether a stop has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
