//! Listening sockets: bound before anything is served, accepted from within the configured caps, closed first at a stop.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::accept;
use super::complaints::Complaints;
use super::connection::Connection;
use super::engine::Engine;
use super::workers::Workers;
use crate::observe::live::Live;
use crate::policy::head::Limits;
use crate::policy::to_https;
use crate::table::Listener;

/// How many connections may wait in the kernel to be accepted.
const BACKLOG: i32 = 4096;
/// The pause after an accept that failed for want of resources, so that the failure is not spun upon.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of a request target; longer ones are answered 414.
const MAX_TARGET: usize = 16 * 1024;
/// Header fields of one request; more are answered 431.
const MAX_FIELDS: usize = 100;

/// What connections need to know of the listener that accepted them.
#[derive(Debug)]
pub struct ListenerInfo {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// For a whole head.
    pub headers_timeout: Duration,
    /// Between requests.
    pub idle_timeout: Duration,
    /// Of a head.
    pub head_limits: Limits,
    /// Clients speak TLS.
    pub tls: bool,
    /// A PROXY header comes first.
    pub proxy_protocol: bool,
    /// Requests are sent to https, on that port.
    pub to_https: Option<u16>,
    /// Of its connections.
    pub complaints: Complaints,
    /// Whether HTTP/2 is spoken without TLS, by prior knowledge.
    pub h2c: bool,
}

impl ListenerInfo {
    /// Whether something comes before the first request.
    pub fn has_entry(&self) -> bool {
        self.tls || self.proxy_protocol
    }

    /// `https`: the port that requests may be sent to.
    fn new(listener: &Listener, https: u16) -> Self {
        Self {
            name: Arc::from(listener.name.value.as_str()),
            headers_timeout: listener.headers_timeout,
            idle_timeout: listener.idle_timeout,
            head_limits: Limits {
                max_head: listener.max_header_size,
                max_target: MAX_TARGET.min(listener.max_header_size),
                max_fields: MAX_FIELDS,
            },
            tls: listener.tls.is_some(),
            proxy_protocol: listener.proxy_protocol,
            to_https: listener.redirect_to_https.then_some(https),
            complaints: Complaints::default(),
            h2c: listener.h2c,
        }
    }
}

#[cfg(test)]
impl ListenerInfo {
    pub fn for_tests() -> Self {
        Self {
            name: Arc::from("test"),
            headers_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            head_limits: Limits { max_head: 32 * 1024, max_target: MAX_TARGET, max_fields: MAX_FIELDS },
            tls: false,
            proxy_protocol: false,
            to_https: None,
            complaints: Complaints::default(),
            h2c: false,
        }
    }
}

/// A listener that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener `{name}`: can't listen on {address}: {source}{hint}")]
pub struct BindError {
    name: String,
    address: SocketAddr,
    source: io::Error,
    hint: &'static str,
}

/// A bound socket that nobody accepts from yet.
#[derive(Debug)]
pub struct Bound {
    info: Arc<ListenerInfo>,
    socket: StdListener,
    /// Where it listens (the port that the system chose, for port 0).
    pub address: SocketAddr,
}

impl Bound {
    /// The listener's name.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// Whether clients speak TLS.
    pub fn is_tls(&self) -> bool {
        self.info.tls
    }
}

/// Binds all listeners, or none.
///
/// # Errors
/// The first that can't be bound.
pub fn bind(listeners: &[Listener]) -> Result<Vec<Bound>, BindError> {
    let sockets = listeners.iter().map(bind_one).collect::<Result<Vec<_>, _>>()?;
    // The system may have chosen the port.
    let https = listeners.iter().zip(&sockets).find(|(listener, _)| listener.tls.is_some());
    let https = https.map_or(to_https::HTTPS, |(_, (_, address))| address.port());
    let bound = listeners.iter().zip(sockets).map(|(listener, (socket, address))| Bound {
        info: Arc::new(ListenerInfo::new(listener, https)),
        socket,
        address,
    });
    Ok(bound.collect())
}

fn bind_one(listener: &Listener) -> Result<(StdListener, SocketAddr), BindError> {
    let address = listener.address.value;
    let fail =
        |source: io::Error| BindError { name: listener.name.value.clone(), address, hint: bind_hint(&source), source };
    let socket = listen(address).map_err(fail)?;
    let address = socket.local_addr().map_err(fail)?;
    Ok((socket, address))
}

fn bind_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (another program listens there; `ss -ltnp` shows which)",
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need CAP_NET_BIND_SERVICE, as the systemd unit grants it)"
        }
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has that address)",
        _ => "",
    }
}

fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // One socket per family: `[::]` and `0.0.0.0` can stand side by side, as in nginx.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The accepting side of a running data plane.
#[derive(Debug)]
pub struct Listening {
    stop: watch::Sender<bool>,
    connections: Arc<Registry>,
}

impl Listening {
    /// Accepts from all sockets, spreading connections over the workers.
    pub fn start(bound: Vec<Bound>, engine: &Arc<Engine>, workers: &Arc<Workers>, max_connections: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let connections = Arc::new(Registry::default());
        for Bound { info, socket, .. } in bound {
            let acceptor = Acceptor {
                info,
                engine: Arc::clone(engine),
                workers: Arc::clone(workers),
                connections: Arc::clone(&connections),
                max_connections: i64::try_from(max_connections).unwrap_or(i64::MAX),
            };
            workers.first().spawn(acceptor.run(socket, stopped.clone()));
        }
        Self { stop, connections }
    }

    /// Closes the listening sockets and sends idle connections home; requests in flight go on.
    pub fn stop_accepting(&self) {
        self.stop.send_replace(true);
        self.connections.each(Connection::wake);
    }

    /// Cuts every connection that is left.
    pub fn cut_all(&self) {
        self.connections.each(Connection::cut);
    }
}

/// All connections, so that a stop can reach them.
#[derive(Debug, Default)]
struct Registry {
    next: AtomicU64,
    connections: Mutex<HashMap<u64, Arc<Connection>, ahash::RandomState>>,
}

impl Registry {
    fn add(self: &Arc<Self>, connection: &Arc<Connection>, live: &Arc<Live>) -> Registered {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.connections.lock().insert(key, Arc::clone(connection));
        Registered { key, registry: Arc::clone(self), live: Arc::clone(live) }
    }

    fn each(&self, act: impl Fn(&Connection)) {
        let all: Vec<_> = self.connections.lock().values().cloned().collect();
        all.iter().for_each(|connection| act(connection));
    }
}

/// Takes the connection off the books when its task ends, however it ends.
struct Registered {
    key: u64,
    registry: Arc<Registry>,
    live: Arc<Live>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.connections.lock().remove(&self.key);
        self.live.connections.fetch_sub(1, Ordering::AcqRel);
        self.live.ended.notify_waiters();
    }
}

struct Acceptor {
    info: Arc<ListenerInfo>,
    engine: Arc<Engine>,
    workers: Arc<Workers>,
    connections: Arc<Registry>,
    max_connections: i64,
}

impl Acceptor {
    async fn run(self, socket: StdListener, mut stopped: watch::Receiver<bool>) {
        let Ok(socket) = TcpListener::from_std(socket) else {
            log::error!("listener {}: the event loop refuses the socket", self.info.name);
            return;
        };
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => self.admit(socket, peer),
                Err(error) => self.failed(&error).await,
            }
        }
    }

    /// Takes the connection on, or drops it at once when the proxy is full.
    fn admit(&self, socket: tokio::net::TcpStream, peer: SocketAddr) {
        let live = self.engine.live();
        if live.connections.fetch_add(1, Ordering::AcqRel) >= self.max_connections {
            live.connections.fetch_sub(1, Ordering::AcqRel);
            if live.connections_refused.fetch_add(1, Ordering::Relaxed).is_power_of_two() {
                log::warn!("listener {}: server.max_connections ({}) reached", self.info.name, self.max_connections);
            }
            return;
        }
        let _ = socket.set_nodelay(true);
        if self.workers.is_single() {
            self.start(socket, peer, None);
        } else {
            self.hand_over(socket, peer);
        }
    }

    /// Moves the socket to the event loop of the worker that serves it.
    fn hand_over(&self, socket: tokio::net::TcpStream, peer: SocketAddr) {
        let Ok(socket) = socket.into_std() else {
            self.engine.live().connections.fetch_sub(1, Ordering::AcqRel);
            return;
        };
        let (handle, load) = self.workers.least_loaded();
        let entered = handle.enter();
        match tokio::net::TcpStream::from_std(socket) {
            Ok(socket) => self.start(socket, peer, Some((handle.clone(), load))),
            Err(_) => {
                self.engine.live().connections.fetch_sub(1, Ordering::AcqRel);
            }
        }
        drop(entered);
    }

    fn start(
        &self,
        socket: tokio::net::TcpStream,
        peer: SocketAddr,
        worker: Option<(tokio::runtime::Handle, super::workers::Load)>,
    ) {
        let connection = Connection::new(socket, peer, Arc::clone(&self.info));
        let registered = self.connections.add(&connection, self.engine.live());
        let engine = Arc::clone(&self.engine);
        let (handle, load) = worker.unzip();
        let served = async move {
            accept::serve(connection, engine).await;
            drop((registered, load));
        };
        match handle {
            Some(handle) => drop(handle.spawn(served)),
            None => drop(tokio::spawn(served)),
        }
    }

    /// An accept failed: of this connection (the client is gone already) or for want of descriptors.
    async fn failed(&self, error: &io::Error) {
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        log::error!("listener {}: can't accept: {error}", self.info.name);
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
