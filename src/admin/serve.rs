//! Connections of the admin listener: few at a time, none for long, none that keeps silent.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

use super::gate::{self, Peer, REQUEST_TIMEOUT};
use super::{LOG, Shared, Wire, api};

/// Connections at a time.
const CONNECTIONS: usize = 128;

/// Of them, those that may be of addresses which `admin.allow` does not name: they must not keep out the others.
const STRANGERS: usize = 32;

/// Of one head.
const HEAD_SIZE: usize = 16 * 1024;

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To send a whole head; also how long a kept connection may idle.
    pub head: Duration,
    /// To leave what was written unread.
    pub stall: Duration,
    /// For a connection: it closes after its request then, and the client opens another.
    pub lifetime: Duration,
    /// For requests under way at the end of a connection's life, or of the listener's.
    pub grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { head: seconds(10), stall: seconds(10), lifetime: seconds(120), grace: seconds(5) }
    }
}

/// Serves until stopped.
pub async fn run(listener: TcpListener, shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return log::error!(target: LOG, "the admin listener cannot serve: {error}"),
    };
    let terms = Terms { patience: shared.patience, shared: Arc::clone(&shared), router: api::router(shared), stopped };
    let (patience, mut stopped) = (terms.patience, terms.stopped.clone());
    let (places, of_strangers) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Semaphore::new(STRANGERS)));
    let mut connections = JoinSet::new();
    loop {
        // Waiting clients wait in the kernel's queue.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let accepted = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let among_strangers = match gate::is_allowed(&terms.shared, peer.ip()) {
                    true => None,
                    false => match Arc::clone(&of_strangers).try_acquire_owned() {
                        Ok(place) => Some(place),
                        Err(_) => continue,
                    },
                };
                let connection = enter(stream, peer, terms.clone());
                connections.spawn(async move {
                    connection.await;
                    drop((place, among_strangers));
                });
            }
            // Out of descriptors, or a client that left at once: neither gets better by asking faster.
            Err(error) => {
                log::debug!(target: LOG, "accept: {error}");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let all_done = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(patience.grace, all_done).await;
}

/// What every connection is served by.
#[derive(Clone)]
struct Terms {
    patience: Patience,
    shared: Arc<Shared>,
    router: Router,
    stopped: watch::Receiver<bool>,
}

async fn enter(stream: TcpStream, peer: SocketAddr, terms: Terms) {
    // Without it the answer is only a little later.
    let _ = stream.set_nodelay(true);
    let guarded = Guarded { stream, patience: terms.patience.stall, stall: None };
    match terms.shared.wire {
        Wire::Clear => serve(guarded, peer, terms).await,
        Wire::Tls => match handshake(guarded, &terms).await {
            Ok(secured) => serve(secured, peer, terms).await,
            Err(why) => log::debug!(target: LOG, "TLS handshake with {} failed: {why}", peer.ip()),
        },
    }
}

/// With the certificates of the table in force; one that lost them serves nobody.
async fn handshake(stream: Guarded, terms: &Terms) -> io::Result<TlsStream<Guarded>> {
    let table = terms.shared.parts.reloader.current();
    let termination = table.tls.admin().map(|termination| termination.config());
    let config = termination.ok_or_else(|| io::Error::other("the listener has no certificate"))?;
    tokio::time::timeout(terms.patience.head, TlsAcceptor::from(config).accept(stream)).await?
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr, terms: Terms) {
    let Terms { patience, router, mut stopped, .. } = terms;
    let service = service_fn(move |request: hyper::Request<Incoming>| handle(request, peer, router.clone()));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience.head)
            .max_buf_size(HEAD_SIZE)
            .serve_connection(TokioIo::new(stream), service)
    );
    let grace = tokio::select! {
        // What goes wrong with one connection is its client's business.
        _ = connection.as_mut() => return,
        // A request that has just begun may take as long as any.
        () = sleep(patience.lifetime) => patience.grace.max(REQUEST_TIMEOUT),
        _ = stopped.wait_for(|stopped| *stopped) => patience.grace,
    };
    connection.as_mut().graceful_shutdown();
    let all = tokio::time::timeout(grace, connection);
    tokio::select! {
        _ = all => {}
        // The end of the listener does not wait for the end of a connection's life.
        () = async { let _ = stopped.wait_for(|stopped| *stopped).await; sleep(patience.grace).await; } => {}
    }
}

async fn handle(
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
    router: Router,
) -> Result<axum::response::Response, Infallible> {
    let mut request: Request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    router.oneshot(request).await
}

/// A stream that ends when its client leaves what was written unread for too long.
struct Guarded {
    stream: TcpStream,
    patience: Duration,
    /// Armed while a write waits.
    stall: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    fn watch<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stall = None;
            return outcome;
        }
        let patience = self.patience;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(patience)));
        match stall.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
