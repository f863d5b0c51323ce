//! Which address a request goes to, and how: the one place that makes a peer, and only for an [`Admitted`] request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;

use super::attempt::Plan;
use super::reach::Reach;
use super::resolve::Resolver;
use crate::clock;
use crate::policy::upstream_guard;
use crate::table::route::Forward;
use crate::table::upstream::{Scheme, Wish};
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
    /// How many addresses the endpoint has.
    pub alternatives: usize,
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
}

impl Peers {
    /// With this resolver.
    pub fn new(resolver: Arc<Resolver>) -> Self {
        Self { resolver, reach: Reach::default() }
    }

    /// Chooses for one attempt of an admitted request.
    ///
    /// # Errors
    /// Unresolvable, or resolved to where this route may not go.
    pub async fn choose(
        &self,
        table: &Table,
        admitted: &Admitted,
        forward: &Forward,
        attempt: Plan<'_>,
    ) -> Result<Choice, NoPeer> {
        let upstream = &forward.upstream;
        // While a name has addresses left it is that name's turn.
        let wish = Wish { key: None, avoid: attempt.avoid, random: 0, now: clock::unix_millis() };
        let endpoint = attempt.same.or_else(|| upstream.choose(&wish).cloned()).ok_or_else(|| NoPeer {
            code: "upstream_unhealthy",
            detail: format!("the checks found every endpoint of upstream {} unhealthy", upstream.name),
        })?;
        let timeouts = &admitted.route.timeouts;
        let (address, alternatives) =
            self.address(table, forward, &endpoint, attempt.unreachable, timeouts.connect).await?;
        let leased = Leased::new(&endpoint);
        let peer = self.reach.peer(forward, &endpoint, address, timeouts, attempt.wants);
        Ok(Choice { peer, leased, alternatives })
    }

    /// The endpoint's address for this attempt, and how many it has.
    async fn address(
        &self,
        table: &Table,
        forward: &Forward,
        endpoint: &Endpoint,
        tried: usize,
        wait: Duration,
    ) -> Result<(SocketAddr, usize), NoPeer> {
        if let Some(literal) = endpoint.literal {
            return permitted(table, forward, literal.ip()).map(|()| (literal, 1));
        }
        let unresolved = |why: &dyn std::fmt::Display| NoPeer {
            code: "upstream_unresolved",
            detail: format!("{}: {why}", endpoint.host),
        };
        let looked_up = tokio::time::timeout(wait, self.resolver.resolve(&endpoint.host)).await;
        let addresses = looked_up
            .map_err(|_| unresolved(&"no name server answered within timeouts.connect"))?
            .map_err(|error| unresolved(&error))?;
        // A guarded name must be wholly clean: one forbidden address among its records is a rebinding in the making.
        for address in addresses.iter() {
            permitted(table, forward, *address)?;
        }
        let count = addresses.len();
        let address = addresses.get(tried % count.max(1)).ok_or_else(|| unresolved(&"no address"))?;
        Ok((SocketAddr::new(*address, endpoint.port), count))
    }
}

/// Checks the very address that is going to be connected to.
fn permitted(table: &Table, forward: &Forward, address: IpAddr) -> Result<(), NoPeer> {
    let internal = &table.internal_networks;
    if forward.guarded
        && let Err(range) = upstream_guard::check_address(address, internal)
    {
        return Err(NoPeer { code: "upstream_forbidden", detail: format!("{address} is {range}") });
    }
    let plain = forward.upstream.scheme == Scheme::Http;
    if forward.sensitive && plain && !upstream_guard::plain_http_allowed(address, internal) {
        let detail =
            format!("{address} is outside of server.internal_networks; use https for what carries an identity");
        return Err(NoPeer { code: "upstream_not_private", detail });
    }
    Ok(())
}
