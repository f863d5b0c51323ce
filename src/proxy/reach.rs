//! How an address is spoken to: everything that Pingora has to know to connect, and to keep apart what must not be shared.
//!
//! Pingora's pool knows connections by address, scheme, name, client certificate and [`Upstream::pool_group`]; the group
//! holds what it leaves out (trust, ALPN, the certificate's chain).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pingora::upstreams::peer::{HttpPeer, Tracer, Tracing};
use pingora_core::protocols::TcpKeepalive;
use pingora_core::protocols::tls::{ALPN, CaType};
use pingora_core::utils::tls::{CertKey, WrappedX509};

use super::attempt;
use crate::table::route::Timeouts;
use crate::table::upstream::{Ca, ClientCertificate, Endpoint, Http2, Scheme, Upstream};

/// Requests at the same time on one HTTP/2 connection, if its SETTINGS allow that many.
const STREAMS: usize = 100;
/// What an HTTP/2 upstream may send ahead of a client that does not read, per request.
const STREAM_WINDOW: u32 = 512 * 1024;
/// For a whole connection: as much as all its requests, so that no client that does not read stops another.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 100;
/// For connections beyond `keepalive.max_idle`: long enough to be of use to the next request of a burst.
const SURPLUS: Duration = Duration::from_secs(1);
/// When an HTTP/2 connection, which many requests hang on, is found dead by TCP.
const PROBES: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(30),
    interval: Duration::from_secs(10),
    count: 3,
    user_timeout: Duration::from_secs(30),
};

/// What one attempt asks of its connection.
#[derive(Clone, Copy, Debug)]
pub struct Wants {
    /// HTTP/2 would not do: a WebSocket, or a client of HTTP/1.0.
    pub http1: bool,
    /// None from the pool.
    pub new: bool,
}

/// Makes peers.
#[derive(Debug, Default)]
pub struct Reach {
    trust: Mutex<Vec<(u64, Arc<CaType>)>>,
    certificates: Mutex<Vec<(u64, Arc<CertKey>)>>,
    /// Groups of one connection each.
    singles: AtomicU64,
}

impl Reach {
    /// The peer for one attempt.
    pub fn peer(
        &self,
        upstream: &Upstream,
        endpoint: &Arc<Endpoint>,
        address: SocketAddr,
        timeouts: &Timeouts,
        wants: Wants,
    ) -> Box<HttpPeer> {
        let mut peer = HttpPeer::new(address, upstream.scheme == Scheme::Https, server_name(upstream, endpoint));
        peer.group_key = upstream.pool_group;
        if let Some(certificate) = &upstream.client_certificate {
            peer.client_cert_key = Some(self.certificate(upstream.pool_group, certificate));
        }
        let options = &mut peer.options;
        options.connection_timeout = Some(timeouts.connect);
        options.total_connection_timeout = Some(timeouts.connect);
        options.write_timeout = Some(timeouts.idle);
        options.idle_timeout = Some(idle_for(upstream, endpoint));
        options.verify_cert = upstream.verify;
        options.verify_hostname = upstream.verify;
        options.alpn = alpn(upstream, wants.http1);
        if options.alpn != ALPN::H1 {
            options.max_h2_streams = STREAMS;
            options.h2_stream_window_size = Some(STREAM_WINDOW);
            options.h2_connection_window_size = Some(CONNECTION_WINDOW);
            options.tcp_keepalive = Some(PROBES);
        }
        if upstream.max_idle.is_some() {
            options.tracer = Some(Tracer(Box::new(Counted(Arc::clone(endpoint)))));
        }
        if let Some(ca) = &upstream.ca {
            options.ca = Some(self.trust(upstream.pool_group, ca));
        }
        // `keepalive.idle: 0s` asks for a connection of its own for each request.
        if wants.new || upstream.keepalive_idle.is_zero() {
            // Nobody looks there again, so it is not kept either.
            options.idle_timeout = Some(Duration::ZERO);
            peer.group_key ^= self.singles.fetch_add(1, Ordering::Relaxed).wrapping_add(1).rotate_left(32);
        }
        Box::new(peer)
    }

    fn trust(&self, group: u64, ca: &Ca) -> Arc<CaType> {
        known(&self.trust, group, || {
            let certificate = |der: &Vec<u8>| WrappedX509::new(der.clone(), pingora_core::utils::tls::parse_x509);
            Arc::from(ca.certificates.iter().map(certificate).collect::<Vec<_>>())
        })
    }

    fn certificate(&self, group: u64, certificate: &ClientCertificate) -> Arc<CertKey> {
        known(&self.certificates, group, || {
            Arc::new(CertKey::new(certificate.chain.clone(), certificate.key.secret_der().to_vec()))
        })
    }
}

/// What is known by that number, made when it is not.
fn known<T: Clone>(all: &Mutex<Vec<(u64, T)>>, number: u64, make: impl FnOnce() -> T) -> T {
    let mut all = all.lock();
    if let Some((_, one)) = all.iter().find(|(key, _)| *key == number) {
        return one.clone();
    }
    let one = make();
    all.push((number, one.clone()));
    one
}

/// The name that TLS verifies. Never empty: Pingora takes an empty one for “don't verify”.
fn server_name(upstream: &Upstream, endpoint: &Endpoint) -> String {
    match upstream.scheme {
        Scheme::Http => String::new(),
        Scheme::Https => upstream.server_name.as_deref().unwrap_or(&endpoint.host).to_owned(),
    }
}

fn alpn(upstream: &Upstream, http1: bool) -> ALPN {
    match (upstream.http2, upstream.scheme) {
        (Http2::Only, _) => ALPN::H2,
        (Http2::Auto, Scheme::Https) if !http1 => ALPN::H2H1,
        _ => ALPN::H1,
    }
}

/// How long the attempt's connection is kept afterwards. Decided beforehand, for Pingora asks no later: whoever begins while
/// there are more connections than may stay idle keeps his for a moment only.
fn idle_for(upstream: &Upstream, endpoint: &Endpoint) -> Duration {
    let state = &endpoint.state;
    let idle = attempt::keep_idle_for(upstream.keepalive_idle, endpoint);
    let Some(most) = upstream.max_idle else { return idle };
    let open = state.open.load(Ordering::Relaxed);
    // Requests that have no connection yet count as if they had, this one included; those of HTTP/2 share theirs.
    let busy = if state.speaks_http2.load(Ordering::Relaxed) { 0 } else { state.in_flight.load(Ordering::Relaxed) };
    let surplus = usize::try_from(open.max(busy)).map_or(true, |count| count > most);
    if surplus { idle.min(SURPLUS) } else { idle }
}

/// Counts the open connections of an endpoint.
#[derive(Debug)]
struct Counted(Arc<Endpoint>);

impl Tracing for Counted {
    fn on_connected(&self) {
        self.0.state.open.fetch_add(1, Ordering::Relaxed);
    }

    fn on_disconnected(&self) {
        self.0.state.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}
