//! How much passes: a rate of requests, a number in flight, the size of a body. Exact, and in bounded memory.
//!
//! The rate is GCRA (ITU-T I.371, annex A): of each caller one moment is kept, the *theoretical arrival time* at which its
//! bucket would be full again. A request costs one `interval`; it passes while that moment is less than `burst` intervals
//! away. That is a bucket of `burst` requests refilled at the rate, without a timer and without counting anything twice.
//!
//! Flow: `table::compile` builds one [`Limits`] a route, all of them on one [`Ledger`], which outlives the table; the data plane
//! calls [`Limits::take`] for an admitted request, and keeps the [`Permit`] until the request has ended.
//!
//! Invariants:
//! - In any span of time `t` no more than `burst + t / interval` requests of one caller pass
//!   (`no_window_lets_more_pass_than_burst_and_rate`).
//! - A refused request costs nothing, and the wait that it is told is exact: at its end the next request passes, a
//!   nanosecond earlier it does not (`the_wait_is_exact`).
//! - The memory for rates is fixed, whoever calls (`a_million_callers_fit`); when a place is needed, the record goes whose
//!   bucket is the fullest. A full bucket and no record at all mean the same.

mod flights;
mod records;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use flights::Flights;
use records::Records;

/// Nanoseconds on a clock that never goes back; where it begins does not matter.
pub type Nanos = u64;

/// What all limits remember. It is handed from one table to the next.
#[derive(Debug)]
pub struct Ledger {
    /// Keyed, so that nobody can choose callers that fall together.
    hash: RandomState,
    records: Records,
    flights: Arc<Flights>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { hash: RandomState::new(), records: Records::default(), flights: Arc::default() }
    }
}

/// A bucket: how many requests it holds, and how long one takes to flow in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// For one request to flow in, in nanoseconds; at least 1.
    interval: Nanos,
    /// How far the bucket may be from being full when a request still passes: `burst - 1` intervals.
    tolerance: Nanos,
}

impl Quota {
    /// `count` requests in each `period`, `burst` at once. An interval that is no whole number of nanoseconds is rounded up, so that
    /// never more passes than was written.
    pub fn new(count: u32, period: Duration, burst: u32) -> Self {
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let interval = period.div_ceil(u64::from(count.max(1))).max(1);
        Self { interval, tolerance: interval.saturating_mul(u64::from(burst.max(1) - 1)) }
    }

    /// How many requests flow in within a second.
    #[allow(clippy::cast_precision_loss, reason = "a number for people")]
    pub fn per_second(&self) -> f64 {
        1e9 / self.interval as f64
    }

    /// Whether a request passes when the bucket will be full at `full_at`: then when it will be full after it, else how long to
    /// wait for the next one that passes.
    fn judge(&self, full_at: Nanos, now: Nanos) -> Result<Nanos, Nanos> {
        let begins = full_at.saturating_sub(self.tolerance);
        if now < begins {
            return Err(begins - now);
        }
        Ok(full_at.max(now).saturating_add(self.interval))
    }
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The authenticated client's, else the address'.
    Client,
    /// The address'.
    Address,
    /// Everybody's.
    Route,
}

/// The limits of one route.
#[derive(Clone, Debug)]
pub struct Limits {
    ledger: Arc<Ledger>,
    /// Tells the route's rate from every other. Another rate is another bucket.
    rate_id: u64,
    /// Tells the route from every other. Those in flight stay in flight when an edit changes their number.
    flight_id: u64,
    scope: Scope,
    rules: Rules,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How fast requests may follow each other.
    pub quota: Option<Quota>,
    /// How many may be in flight.
    pub concurrent: Option<u32>,
    /// How many bytes a body may have.
    pub body: Option<u64>,
}

/// Who calls, as the limits tell callers apart.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The authenticated client's name.
    pub client: Option<&'a str>,
    /// The person, where one authenticated otherwise; empty: nobody did.
    pub user: &'a str,
    /// Where the request came from.
    pub address: IpAddr,
}

/// Leave to be in flight, given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    flights: Arc<Flights>,
    key: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.flights.leave(self.key);
    }
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// Too many requests; after that many nanoseconds the next one passes.
    Requests(Nanos),
    /// Too many at the same time.
    Concurrent,
}

impl Exceeded {
    /// Whole seconds that a caller is told to wait (RFC 9110 §10.2.3), never too few.
    pub fn retry_after(self) -> u64 {
        match self {
            Self::Requests(wait) => wait.div_ceil(1_000_000_000).max(1),
            // Nobody knows when one of them ends.
            Self::Concurrent => 1,
        }
    }
}

impl Limits {
    /// The limits of the route that `name` tells from all others, whatever table it is in.
    pub fn new(ledger: &Arc<Ledger>, name: (&str, &str, &str), scope: Scope, rules: Rules) -> Self {
        let quota = rules.quota.map(|quota| (quota.interval, quota.tolerance));
        Self {
            rate_id: ledger.hash.hash_one(("rate", name, scope as u8, quota)),
            flight_id: ledger.hash.hash_one(("flights", name, scope as u8)),
            ledger: Arc::clone(ledger),
            scope,
            rules,
        }
    }

    /// What is limited.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Lets one request pass, or not. What is taken from the rate stays taken; the place in flight goes with the permit.
    ///
    /// # Errors
    /// The limit that was reached; then nothing was taken.
    pub fn take(&self, caller: Caller<'_>, now: Nanos) -> Result<Option<Permit>, Exceeded> {
        let permit = match self.rules.concurrent {
            Some(most) => Some(self.enter(caller, most).ok_or(Exceeded::Concurrent)?),
            None => None,
        };
        if let Some(quota) = &self.rules.quota {
            let key = self.key(self.rate_id, caller);
            self.ledger.records.update(key, now, |full_at| quota.judge(full_at, now)).map_err(Exceeded::Requests)?;
        }
        Ok(permit)
    }

    fn enter(&self, caller: Caller<'_>, most: u32) -> Option<Permit> {
        let key = self.key(self.flight_id, caller);
        let entered = self.ledger.flights.enter(key, most);
        entered.then(|| Permit { flights: Arc::clone(&self.ledger.flights), key })
    }

    fn key(&self, id: u64, caller: Caller<'_>) -> u64 {
        let hash = &self.ledger.hash;
        match (self.scope, caller.client) {
            (Scope::Route, _) => id,
            (Scope::Client, Some(client)) => hash.hash_one((id, "client", client)),
            (Scope::Client, None) if !caller.user.is_empty() => hash.hash_one((id, "user", caller.user)),
            (Scope::Client | Scope::Address, _) => hash.hash_one((id, holder(caller.address))),
        }
    }
}

impl std::fmt::Display for Limits {
    /// For people, as `explain` shows it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let per = match self.scope {
            Scope::Client => "client",
            Scope::Address => "address",
            Scope::Route => "route",
        };
        let mut comma = "";
        if let Some(quota) = &self.rules.quota {
            let (burst, interval) = (quota.tolerance / quota.interval + 1, Duration::from_nanos(quota.interval));
            write!(f, "{burst} requests at once, then one each {interval:?}, per {per}")?;
            comma = "; ";
        }
        if let Some(most) = self.rules.concurrent {
            write!(f, "{comma}{most} in flight, per {per}")?;
            comma = "; ";
        }
        match self.rules.body {
            Some(most) => write!(f, "{comma}bodies of up to {most} bytes"),
            None => Ok(()),
        }
    }
}

impl PartialEq for Limits {
    fn eq(&self, other: &Self) -> bool {
        self.scope == other.scope && self.rules == other.rules
    }
}

/// The address as its holder has it: whoever is given an IPv6 address is given 2^64 of them (RFC 6177), so they count as one.
fn holder(address: IpAddr) -> (bool, u64) {
    match address.to_canonical() {
        IpAddr::V4(address) => (false, u64::from(address.to_bits())),
        IpAddr::V6(address) => (true, u64::try_from(address.to_bits() >> 64).unwrap_or_default()),
    }
}
