//! The life of one HTTP/1 connection: wait for a head, judge it, let Pingora serve it, flush, again; then close well.
//!
//! The task of an idle connection holds no buffer and no Pingora session: those exist only while a request is served.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use tokio::time::{Instant, Sleep, sleep_until};

use super::clocks::Fault;
use super::connection::{Connection, Wire};
use super::deadline::poll_expired;
use super::engine::Engine;
use super::http2::{self, Spoken};
use super::io::Io;
use super::respond;
use crate::policy::head::{self, Head, HeadRejection, Scan};

/// After our FIN, how long a client that still sends is listened to, so that it gets to read the answer (a reset would
/// take the answer away from it).
const LINGER: Duration = Duration::from_secs(2);
/// And at most that much of what it sends.
const LINGER_BYTES: usize = 1024 * 1024;

/// What the wait for a head ended with.
enum Next {
    Head(Head),
    Reject(HeadRejection, BytesMut),
    /// The client left, or the connection was idle for too long, or the proxy drains.
    Close,
}

/// How often a client that sends far ahead of its answers is looked after: its leaving can't wake anybody.
const LOOK: Duration = Duration::from_secs(1);
/// How long a request that was told of its fault may take to go away.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves one connection to its end.
pub async fn serve(connection: Arc<Connection>, engine: Arc<Engine>) {
    if connection.listener.h2c {
        match http2::detect(&connection, &engine).await {
            Spoken::Http1 => {}
            Spoken::Http2 => return http2::serve(connection, engine).await,
            Spoken::Nothing => return,
        }
    }
    let mut timer = pin!(sleep_until(Instant::now() + connection.listener.headers_timeout));
    let mut first = true;
    let unread = loop {
        match next_head(&connection, &engine, timer.as_mut(), first).await {
            Next::Close => break false,
            Next::Reject(rejection, bytes) => {
                respond::under_the_parser(&connection, &engine, &rejection, &bytes);
                break true;
            }
            Next::Head(head) => {
                let taken = connection.wire().begin(head.body, head.skip, head.len);
                match serve_request(&connection, &engine, timer.as_mut(), taken).await {
                    After::GoOn => {}
                    After::Close { unread } => break unread,
                }
            }
        }
        first = false;
    };
    close(&connection, timer, unread).await;
}

/// What becomes of the connection after a request.
enum After {
    /// The next one.
    GoOn,
    /// The end; `unread`: the client may still be sending, and must not be met with a reset.
    Close { unread: bool },
}

/// Waits for a whole head: `idle_timeout` for its first byte, `headers_timeout` from there to its end.
async fn next_head(connection: &Connection, engine: &Engine, mut timer: Pin<&mut Sleep>, first: bool) -> Next {
    let listener = &connection.listener;
    let since = Instant::now();
    let patience = if first { listener.headers_timeout } else { listener.idle_timeout };
    let mut began = None;
    let mut scanned = 0;
    poll_fn(|cx| {
        let mut wire = connection.wire();
        wire.remember(cx);
        loop {
            if wire.input.len() > scanned {
                began.get_or_insert_with(Instant::now);
                match head::scan(&wire.input, scanned, &listener.head_limits) {
                    Scan::Complete(head) => return Poll::Ready(Next::Head(head)),
                    Scan::Reject(rejection) => {
                        let bytes = std::mem::take(&mut wire.input);
                        return Poll::Ready(Next::Reject(rejection, bytes));
                    }
                    Scan::Partial => scanned = wire.input.len(),
                }
            }
            if wire.input.is_empty() && engine.live().is_draining() {
                return Poll::Ready(Next::Close);
            }
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(read)) if read > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Next::Close),
                Poll::Pending => break,
            }
        }
        if connection.is_cut() {
            return Poll::Ready(Next::Close);
        }
        // The last response's end may still be on its way out: until then its own clock counts.
        if wire.holds_output() {
            match wire.poll_flush(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(Next::Close),
                Poll::Ready(Ok(())) => wire.release(),
                Poll::Pending => {}
            }
        }
        let stalled = wire.clocks.next_due().map(|(due, _)| due);
        let deadline =
            stalled.unwrap_or_else(|| began.map_or(since + patience, |began| began + listener.headers_timeout));
        if !poll_expired(timer.as_mut(), deadline, cx) {
            return Poll::Pending;
        }
        if stalled.is_some() {
            wire.clocks.fail(Fault::ClientStalled);
            return Poll::Ready(Next::Close);
        }
        Poll::Ready(if began.is_some() {
            Next::Reject(respond::HEAD_TIMEOUT, std::mem::take(&mut wire.input))
        } else {
            Next::Close
        })
    })
    .await
}

/// Lets Pingora serve the request whose bytes are `taken`.
async fn serve_request(
    connection: &Arc<Connection>,
    engine: &Arc<Engine>,
    timer: Pin<&mut Sleep>,
    taken: BytesMut,
) -> After {
    let mut session = ServerSession::new_http1(Box::new(Io(Arc::clone(connection))));
    session.set_pipelined_prefix(taken);
    session.set_read_timeout(None);
    let serving = engine.http().process_new_http(session, engine.never_stops());
    let reusable = watch(connection, serving, timer).await;
    if !connection.wire().arrived() {
        // Pingora refused it before any phase of ours: the gate let something through that the parser did not like.
        respond::under_the_parser(connection, engine, &respond::UNREADABLE, &[]);
    }
    let mut wire = connection.wire();
    let unread = !wire.body_done() || !wire.input.is_empty();
    let reusable = reusable || wire.goes_on();
    wire.finish();
    if reusable && wire.clocks.fault().is_none() && !wire.ended() && !connection.is_cut() {
        After::GoOn
    } else {
        After::Close { unread }
    }
}

/// Drives a request: whenever it has nothing to do, held bytes go out; whoever lets it wait too long is found out.
/// Returns whether the request ended in a way that lets the connection go on.
async fn watch<T>(
    connection: &Connection,
    mut serving: Pin<Box<dyn Future<Output = Option<T>> + Send + '_>>,
    mut timer: Pin<&mut Sleep>,
) -> bool {
    let mut told = None;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(reusable) = serving.as_mut().poll(cx) {
                return Poll::Ready(reusable.is_some());
            }
            let idle =
                if connection.is_cut() { Idle::Abandon } else { gone_idle(connection, timer.as_mut(), told, cx) };
            match idle {
                Idle::Wait => return Poll::Pending,
                Idle::Again => told = Some(Instant::now()),
                Idle::Abandon => {
                    // Whatever was sent is not all of it, and must not end as if it were.
                    connection.wire().reset_if_begun();
                    return Poll::Ready(false);
                }
            }
        }
    })
    .await
}

/// What follows from a request having nothing to do.
enum Idle {
    /// It waits.
    Wait,
    /// It is to be told of a fault.
    Again,
    /// It was told and did not go away, or is cut by the drain.
    Abandon,
}

/// A request that was told of a fault has a clock whatever it does: not every state of Pingora's looks at the client.
fn gone_idle(connection: &Connection, mut timer: Pin<&mut Sleep>, told: Option<Instant>, cx: &mut Context<'_>) -> Idle {
    let mut wire = connection.wire();
    wire.remember(cx);
    if wire.holds_output() && matches!(wire.poll_flush(cx), Poll::Ready(Err(_))) {
        return tell(&mut wire, Fault::Broken);
    }
    if wire.is_full() {
        if wire.has_left(cx) {
            return tell(&mut wire, Fault::Broken);
        }
        poll_expired(timer.as_mut(), Instant::now() + LOOK, cx);
    }
    let last_words = told.map(|told| told + LAST_WORDS);
    match (wire.clocks.next_due(), last_words) {
        (Some((due, fault)), _) if poll_expired(timer.as_mut(), due, cx) => tell(&mut wire, fault),
        // A client that is being told takes its time by its own clock.
        (None, Some(end)) if poll_expired(timer, end, cx) => Idle::Abandon,
        _ => Idle::Wait,
    }
}

/// The first fault is told; a second one, or the same again, ends it.
fn tell(wire: &mut Wire, fault: Fault) -> Idle {
    let first = wire.clocks.fault().is_none();
    wire.clocks.fail(fault);
    if first { Idle::Again } else { Idle::Abandon }
}

/// Ends the connection so that the client gets to read all that was sent: flush, FIN, listen a little; or, where a clean
/// end would be a lie, a reset.
pub async fn close(connection: &Connection, mut timer: Pin<&mut Sleep>, unread: bool) {
    if connection.wire().wants_reset() || connection.wire().clocks.fault() == Some(Fault::ClientStalled) {
        // What was already said may still arrive; that it is not all will be seen.
        let _ = poll_fn(|cx| Poll::Ready(connection.wire().poll_flush(cx))).await;
        connection.wire().set_reset();
        return;
    }
    let flushed = in_time(connection, timer.as_mut(), Wire::poll_flush).await;
    if !flushed {
        connection.wire().set_reset();
    }
    let closed = flushed && in_time(connection, timer.as_mut(), Wire::poll_shutdown).await;
    if closed && unread && !connection.wire().ended() {
        linger(connection, timer).await;
    }
}

/// Whether a step succeeds before the client has taken nothing for too long, and before the connection is cut.
async fn in_time(
    connection: &Connection,
    mut timer: Pin<&mut Sleep>,
    step: impl Fn(&mut Wire, &mut Context<'_>) -> Poll<std::io::Result<()>>,
) -> bool {
    poll_fn(|cx| {
        let mut wire = connection.wire();
        wire.remember(cx);
        match (step(&mut wire, cx), wire.clocks.next_due()) {
            (Poll::Ready(done), _) => Poll::Ready(done.is_ok()),
            (Poll::Pending, _) if connection.is_cut() => Poll::Ready(false),
            (Poll::Pending, Some((due, _))) if poll_expired(timer.as_mut(), due, cx) => Poll::Ready(false),
            (Poll::Pending, _) => Poll::Pending,
        }
    })
    .await
}

/// Listens to what the client still sends, up to its end, without using it.
async fn linger(connection: &Connection, mut timer: Pin<&mut Sleep>) {
    let deadline = Instant::now() + LINGER;
    let mut over = |cx: &mut Context<'_>| poll_expired(timer.as_mut(), deadline, cx) || connection.is_cut();
    let mut discarded = 0;
    poll_fn(|cx| {
        loop {
            match connection.wire().poll_discard(cx) {
                Poll::Ready(Ok(read)) if read > 0 && discarded < LINGER_BYTES => discarded += read,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if over(cx) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}
