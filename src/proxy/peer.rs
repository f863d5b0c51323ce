//! Which address a request goes to, and how: the one place that makes a peer, and only for an [`Admitted`] request.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora::upstreams::peer::HttpPeer;

use super::attempt::Plan;
use super::dial::Dial;
use super::reach::{Reach, Wants};
use super::resolve::Resolver;
use crate::clock;
use crate::policy::access::Networks;
use crate::policy::upstream_guard;
use crate::table::route::{Forward, Timeouts};
use crate::table::upstream::{Scheme, Upstream, Wish};
use crate::table::{Admitted, Endpoint, Table};

/// Why there is no peer: 503, with this for client and log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPeer {
    /// The error code.
    pub code: &'static str,
    /// For the log: which name or address, and why.
    pub detail: String,
}

/// Where one attempt goes.
#[derive(Debug)]
pub struct Choice {
    /// For Pingora.
    pub peer: Box<HttpPeer>,
    /// For the books.
    pub leased: Leased,
    /// Who connects, when the endpoint has several addresses.
    pub dial: Option<Arc<Dial>>,
}

/// A chosen endpoint; counts as in flight on it until dropped.
#[derive(Debug)]
pub struct Leased(pub Arc<Endpoint>);

impl Leased {
    fn new(endpoint: &Arc<Endpoint>) -> Self {
        endpoint.state.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(endpoint))
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        self.0.state.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes peers.
#[derive(Debug)]
pub struct Peers {
    resolver: Arc<Resolver>,
    reach: Reach,
    chance: Chance,
}

impl Peers {
    /// With this resolver.
    pub fn new(resolver: Arc<Resolver>) -> Self {
        Self { resolver, reach: Reach::default(), chance: Chance::seeded() }
    }

    /// Chooses for one attempt of an admitted request.
    ///
    /// # Errors
    /// Nobody is healthy; unresolvable, or resolved to where this route may not go.
    pub async fn choose(
        &self,
        table: &Table,
        admitted: &Admitted,
        forward: &Forward,
        attempt: Plan<'_>,
    ) -> Result<Choice, NoPeer> {
        let timeouts = &admitted.route.timeouts;
        let (leased, place) = match &attempt.again {
            // While a name has addresses left it is that name's turn.
            Some(dial) => (Leased::new(&dial.endpoint), Place::of(dial)?),
            None => self.resolvable(&Bounds::of(table, forward), &forward.upstream, &attempt, timeouts.connect).await?,
        };
        let mut peer = self.reach.peer(&forward.upstream, &leased.0, place.address, timeouts, attempt.wants);
        peer.options.custom_l4 = place.dial.clone().map(|dial| dial as _);
        Ok(Choice { peer, leased, dial: place.dial })
    }

    /// An endpoint whose name has an address. Nothing has been sent, so one without is passed over while there are others.
    async fn resolvable(
        &self,
        bounds: &Bounds<'_>,
        upstream: &Upstream,
        attempt: &Plan<'_>,
        wait: Duration,
    ) -> Result<(Leased, Place), NoPeer> {
        let begun = Instant::now();
        let mut avoid = Cow::Borrowed(attempt.avoid);
        loop {
            let leased = Leased::new(self.endpoint(upstream, attempt.key, &avoid)?);
            let left = wait.saturating_sub(begun.elapsed());
            let none = match self.place(bounds, &leased.0, left).await {
                Ok(place) => return Ok((leased, place)),
                Err(none) => none,
            };
            leased.0.state.last_error.store(Some(Arc::new(format!("{}: {}", none.code, none.detail))));
            let asked_before = avoid.iter().any(|endpoint| Arc::ptr_eq(endpoint, &leased.0));
            if asked_before || none.code != "upstream_unresolved" || upstream.endpoints.len() == 1 {
                return Err(none);
            }
            avoid.to_mut().push(Arc::clone(&leased.0));
        }
    }

    /// A peer for a check of this endpoint, as requests would reach it.
    ///
    /// # Errors
    /// As [`Self::choose`].
    pub async fn probe(
        &self,
        probe: &Probe<'_>,
        again: Option<&Arc<Dial>>,
    ) -> Result<(Box<HttpPeer>, Option<Arc<Dial>>), NoPeer> {
        let place = match again {
            Some(dial) => Place::of(dial)?,
            None => self.place(&probe.bounds, probe.endpoint, probe.timeouts.connect).await?,
        };
        let wants = Wants { http1: false, new: true };
        let mut peer = self.reach.peer(probe.upstream, probe.endpoint, place.address, &probe.timeouts, wants);
        peer.options.custom_l4 = place.dial.clone().map(|dial| dial as _);
        // Its connection is of no use to anybody else, and must not be counted as theirs.
        peer.options.max_h2_streams = 1;
        peer.options.tracer = None;
        Ok((peer, place.dial))
    }

    /// Any number, another each time.
    pub fn chance(&self) -> u64 {
        self.chance.next()
    }

    fn endpoint<'u>(
        &self,
        upstream: &'u Upstream,
        key: Option<u64>,
        avoid: &[Arc<Endpoint>],
    ) -> Result<&'u Arc<Endpoint>, NoPeer> {
        let random = if upstream.needs_random() { self.chance.next() } else { 0 };
        let wish = Wish { key, avoid, random, now: clock::unix_millis() };
        upstream.choose(&wish).ok_or_else(|| NoPeer {
            code: "upstream_unhealthy",
            detail: format!("upstream {}: the checks found every endpoint unhealthy", upstream.name),
        })
    }

    /// Where the endpoint is, checked.
    async fn place(&self, bounds: &Bounds<'_>, endpoint: &Arc<Endpoint>, wait: Duration) -> Result<Place, NoPeer> {
        if let Some(literal) = endpoint.literal {
            return bounds.permit(literal.ip()).map(|()| Place { address: literal, dial: None });
        }
        let unresolved = |why: &dyn std::fmt::Display| NoPeer {
            code: "upstream_unresolved",
            detail: format!("{}: {why}", endpoint.host),
        };
        let looked_up = tokio::time::timeout(wait, self.resolver.resolve(&endpoint.host)).await;
        let found = looked_up
            .map_err(|_| unresolved(&"no name server answered within timeouts.connect"))?
            .map_err(|error| unresolved(&error))?;
        // A guarded name must be wholly clean: one forbidden address among its records is a rebinding in the making.
        for address in found.addresses.iter() {
            bounds.permit(*address)?;
        }
        if let [only] = *found.addresses {
            return Ok(Place { address: SocketAddr::new(only, endpoint.port), dial: None });
        }
        let addresses = found.in_order().into_iter().map(|address| SocketAddr::new(address, endpoint.port)).collect();
        Place::of(&Dial::new(endpoint, found.name, addresses, wait))
    }
}

/// One address of an endpoint.
struct Place {
    address: SocketAddr,
    /// When it has several.
    dial: Option<Arc<Dial>>,
}

impl Place {
    fn of(dial: &Arc<Dial>) -> Result<Self, NoPeer> {
        let none = || NoPeer { code: "upstream_unresolved", detail: format!("{}: no address", dial.endpoint.host) };
        Ok(Self { address: dial.address().ok_or_else(none)?, dial: Some(Arc::clone(dial)) })
    }
}

/// A check of one endpoint.
#[derive(Debug)]
pub struct Probe<'a> {
    /// The group.
    pub upstream: &'a Upstream,
    /// The endpoint.
    pub endpoint: &'a Arc<Endpoint>,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// Where it may go.
    pub bounds: Bounds<'a>,
}

/// Which addresses may be connected to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    /// `server.internal_networks`.
    pub internal: &'a Networks,
    /// Only public ones, and internal networks.
    pub guarded: bool,
    /// Only where something secret may go in the clear.
    pub private: bool,
}

impl<'a> Bounds<'a> {
    fn of(table: &'a Table, forward: &Forward) -> Self {
        let private = forward.sensitive && forward.upstream.scheme == Scheme::Http;
        Self { internal: &table.internal_networks, guarded: forward.guarded, private }
    }

    /// Checks the very address that is going to be connected to.
    fn permit(&self, address: IpAddr) -> Result<(), NoPeer> {
        if self.guarded
            && let Err(range) = upstream_guard::check_address(address, self.internal)
        {
            return Err(NoPeer { code: "upstream_forbidden", detail: format!("{address} is {range}") });
        }
        if self.private && !upstream_guard::plain_http_allowed(address, self.internal) {
            let detail =
                format!("{address} is outside of server.internal_networks; use https for an identity or a credential");
            return Err(NoPeer { code: "upstream_not_private", detail });
        }
        Ok(())
    }
}

/// Numbers from a start that nobody knows (SplitMix64).
#[derive(Debug)]
struct Chance(AtomicU64);

impl Chance {
    fn seeded() -> Self {
        Self(AtomicU64::new(getrandom::u64().unwrap_or_default()))
    }

    fn next(&self) -> u64 {
        let number = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }
}
