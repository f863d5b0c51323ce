//! How a group of endpoints shares its requests, and which of them are fit to get any.

use std::time::Duration;

use http::{HeaderName, StatusCode};

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight for its weight.
    LeastRequests,
    /// The less busy of two drawn at random, by weight.
    RandomTwo,
    /// The same for the same key, and mostly the same when endpoints come and go.
    Hash(HashOn),
}

impl Balance {
    /// As it is written.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastRequests => "least_requests",
            Self::RandomTwo => "random_two",
            Self::Hash(_) => "hash",
        }
    }
}

/// What a consistent hash is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address.
    Address,
    /// The path as it is sent upstream, without the query.
    Path,
    /// The authenticated client, else the address.
    Client,
    /// This header of the client's; requests without it are spread at random.
    Header(HeaderName),
    /// This cookie; requests without it are spread at random.
    Cookie(String),
}

/// Active health checks: `GET path`, 2xx and 3xx are healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Path and query.
    pub path: String,
    /// Between the checks of one endpoint; 5 seconds.
    pub interval: Duration,
    /// Of one check, connecting included; 1 second.
    pub timeout: Duration,
    /// Good answers in a row until an unhealthy endpoint counts as healthy; 2.
    pub healthy_after: u32,
    /// Bad ones in a row until a healthy one does not; 3.
    pub unhealthy_after: u32,
    /// The `Host` that is sent; `None`: as for requests.
    pub host: Option<String>,
    /// The only status that is healthy; `None`: any 2xx or 3xx.
    pub status: Option<StatusCode>,
}

/// Passive ejection: an endpoint that fails too often rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eject {
    /// How many failures; 5.
    pub errors: u32,
    /// Within which time; 10 seconds.
    pub within: Duration,
    /// For how long it rests; 30 seconds.
    pub rest: Duration,
}

/// Whether HTTP/2 is spoken to an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Http2 {
    /// Over TLS, if ALPN agrees on it.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Nothing else.
    Only,
}
