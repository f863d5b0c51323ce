//! From an accepted socket to the driver of its protocol: PROXY header, TLS handshake, then HTTP/1 or HTTP/2.
//!
//! Each step has `headers_timeout`, and ends with the connection's cut; what has not said a word goes home with the drain.
//!
//! Invariants: a PROXY header is read from trusted addresses only, and nothing else is accepted where one is required; where
//! TLS is configured no byte is served in the clear. Failures are counted, and told in the log now and then, not each time:
//! anybody can cause them.

use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::{HandshakeKind, ServerConnection};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{Connection, Entry};
use super::driver;
use super::engine::Engine;
use super::http2;
use super::respond;
use super::transport::{Socket, Transport};
use crate::clock;
use crate::policy::certificate::ClientCertificate;
use crate::policy::proxy_header::{self, ProxyHeader};
use crate::tls::subject::Subject;

/// What TLS holds of an answer that the kernel does not take.
const TLS_BUFFER: usize = 32 * 1024;

/// Serves one connection, from its first byte to its end.
pub async fn serve(connection: Arc<Connection>, engine: Arc<Engine>) {
    if connection.listener.has_entry()
        // Boxed: what waits for requests must not carry the space of a handshake along.
        && let Err(refused) = Box::pin(enter(&connection, &engine)).await
    {
        return refuse(&connection, &engine, refused).await;
    }
    if connection.speaks_http2() {
        return http2::serve(connection, engine).await;
    }
    driver::serve(connection, engine).await;
}

/// Why a connection ends before its first request.
#[derive(Debug)]
enum Refused {
    /// It left, or is sent home by the drain: nothing to tell.
    Gone,
    /// The PROXY header is not as it must be.
    ProxyHeader(&'static str),
    /// The client does not speak TLS.
    InTheClear,
    /// The handshake failed; the socket, when the client is to read why.
    Handshake(io::Error, Option<TcpStream>),
}

async fn enter(connection: &Connection, engine: &Engine) -> Result<(), Refused> {
    let source = match connection.listener.proxy_protocol {
        true => proxy_header(connection, engine).await?,
        false => None,
    };
    let mut entry = Entry { source, ..Entry::default() };
    if connection.is_tls() {
        let deadline = Instant::now() + connection.listener.headers_timeout;
        first_bytes(connection, engine, deadline).await?;
        let stream = handshake(connection, engine, deadline).await?;
        entry.http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        entry.certificate = client(stream.get_ref().1)?.map(Box::new);
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let outcome = if resumed { "resumed" } else { "full" };
        engine.observer().metrics.tls_handshake(&connection.listener.name, outcome);
        connection.wire().give_back(Transport::Tls(Box::new(stream)));
    }
    connection.enter(entry);
    Ok(())
}

/// Polls a step until it is done, its time is up (`refused`), or the connection is to end.
async fn in_time<T>(
    connection: &Connection,
    engine: &Engine,
    deadline: Instant,
    refused: impl Fn(&'static str) -> Refused,
    mut step: impl FnMut(&mut Context<'_>) -> Step<T>,
) -> Result<T, Refused> {
    let mut timer = pin!(sleep_until(deadline));
    poll_fn(|cx| {
        connection.wire().remember(cx);
        let silent = match step(cx) {
            Step::Done(done) => return Poll::Ready(done),
            Step::Waits { silent } => silent,
        };
        if connection.is_cut() || (silent && engine.live().is_draining()) {
            return Poll::Ready(Err(Refused::Gone));
        }
        timer.as_mut().poll(cx).map(|()| Err(refused("it took too long")))
    })
    .await
}

/// How far a step has come.
enum Step<T> {
    Done(Result<T, Refused>),
    /// `silent`: the client has not said anything yet.
    Waits {
        silent: bool,
    },
}

/// Takes the PROXY header from what the client sends: whom it speaks for.
async fn proxy_header(connection: &Connection, engine: &Engine) -> Result<Option<SocketAddr>, Refused> {
    if !engine.table().trusted_proxies.contains(connection.peer().ip().to_canonical()) {
        return Err(Refused::ProxyHeader("the peer is not in server.trusted_proxies"));
    }
    let deadline = Instant::now() + connection.listener.headers_timeout;
    in_time(connection, engine, deadline, Refused::ProxyHeader, |cx| {
        let mut wire = connection.wire();
        loop {
            match proxy_header::parse(&wire.input) {
                ProxyHeader::Whole { length, source } => {
                    let _ = wire.input.split_to(length);
                    wire.release();
                    return Step::Done(Ok(source));
                }
                ProxyHeader::Malformed(why) => return Step::Done(Err(Refused::ProxyHeader(why))),
                ProxyHeader::Partial => {}
            }
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) if wire.input.is_empty() => return Step::Done(Err(Refused::Gone)),
                Poll::Ready(_) => return Step::Done(Err(Refused::ProxyHeader("the header has no end"))),
                Poll::Pending => return Step::Waits { silent: wire.input.is_empty() },
            }
        }
    })
    .await
}

async fn handshake(connection: &Connection, engine: &Engine, deadline: Instant) -> Result<TlsStream<Socket>, Refused> {
    // Fails closed: a listener that lost its TLS serves nobody.
    let termination = engine.table().tls.of(&connection.listener.name).map(|termination| termination.config());
    let config = termination.ok_or_else(|| failed("the listener has no certificate"))?;
    let socket = connection.wire().take_socket().ok_or(Refused::Gone)?;
    let prepare = |session: &mut ServerConnection| session.set_buffer_limit(Some(TLS_BUFFER));
    let mut accept = pin!(TlsAcceptor::from(config).accept_with(socket, prepare).into_fallible());
    in_time(connection, engine, deadline, failed, |cx| match accept.as_mut().poll(cx) {
        Poll::Ready(Ok(stream)) => Step::Done(Ok(stream)),
        Poll::Ready(Err((error, socket))) => Step::Done(Err(Refused::Handshake(error, Some(socket.into_inner())))),
        Poll::Pending => Step::Waits { silent: false },
    })
    .await
}

/// Reads the client's first bytes, which TLS gets to see next. Speaking HTTP to it in the clear is a mistake that is told.
async fn first_bytes(connection: &Connection, engine: &Engine, deadline: Instant) -> Result<(), Refused> {
    in_time(
        connection,
        engine,
        deadline,
        |_| Refused::Gone,
        |cx| {
            let mut wire = connection.wire();
            loop {
                match wire.input.first() {
                    Some(first) if first.is_ascii_alphabetic() => return Step::Done(Err(Refused::InTheClear)),
                    Some(_) => return Step::Done(Ok(())),
                    None => {}
                }
                match wire.poll_fill(cx) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => return Step::Done(Err(Refused::Gone)),
                    Poll::Pending => return Step::Waits { silent: true },
                }
            }
        },
    )
    .await
}

fn failed(why: &'static str) -> Refused {
    Refused::Handshake(io::Error::other(why), None)
}

/// Who the client is. A resumed session is not verified anew: its certificate may have expired meanwhile.
fn client(session: &ServerConnection) -> Result<Option<ClientCertificate>, Refused> {
    let Some(certificate) = session.peer_certificates().and_then(|chain| chain.first()) else { return Ok(None) };
    let subject = Subject::of(certificate).ok_or_else(|| failed("the client's certificate can't be read"))?;
    if subject.not_after <= clock::unix_millis() {
        return Err(failed("the client's certificate has expired"));
    }
    let Subject { name, email, common_name, fingerprint, .. } = subject;
    Ok(Some(ClientCertificate { subject: name, email, common_name, fingerprint }))
}

/// Tells what went wrong to whom it concerns, and ends the connection.
async fn refuse(connection: &Connection, engine: &Engine, refused: Refused) {
    let metrics = &engine.observer().metrics;
    let (listener, peer) = (&connection.listener, connection.peer().ip());
    match refused {
        Refused::Gone => {}
        Refused::ProxyHeader(why) => {
            metrics.proxy_header_refused(&listener.name);
            listener.complaints.complain(|more| {
                log::info!("listener {}: connection from {peer} ended, PROXY protocol: {why}{more}", listener.name);
            });
        }
        Refused::InTheClear => {
            metrics.tls_handshake(&listener.name, "failed");
            let bytes = std::mem::take(&mut connection.wire().input);
            respond::under_the_parser(connection, engine, &respond::IN_THE_CLEAR, &bytes);
            say_goodbye(connection).await;
        }
        Refused::Handshake(error, socket) => {
            metrics.tls_handshake(&listener.name, "failed");
            listener.complaints.complain(|more| {
                log::info!("listener {}: TLS handshake with {peer} failed: {error}{more}", listener.name);
            });
            if let Some(socket) = socket {
                connection.wire().give_back(Transport::Plain(socket));
                say_goodbye(connection).await;
            }
        }
    }
}

/// What the client still sends must not turn the last words into a reset.
async fn say_goodbye(connection: &Connection) {
    let timer = pin!(sleep_until(Instant::now() + connection.listener.headers_timeout));
    driver::close(connection, timer, true).await;
}
