//! The life of one HTTP/2 connection: the codec, its streams' tasks, and when it ends.
//!
//! It ends when the client leaves, after `idle_timeout` without streams, when the client takes nothing for too long, when it
//! floods, and with the drain: its streams finish, and what has not finished by the deadline is cut.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection as Codec, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::time::{Instant, Sleep, sleep_until};

use super::carrier::Carrier;
use super::drive::drive;
use super::head;
use super::stream::Stream;
use super::streams::Streams;
use crate::policy::http2::Flood;
use crate::proxy::connection::Connection;
use crate::proxy::deadline::poll_expired;
use crate::proxy::driver::close;
use crate::proxy::engine::Engine;
use crate::proxy::respond;

/// What one stream's client may send ahead of its upstream: an upload runs at this much per round trip.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// What all streams of a connection may.
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
/// What is held of a response that the client does not take off its socket, per stream.
pub const SEND_BUFFER: usize = 64 * 1024;
/// How much more than their payload small data frames may cost us while they wait for their upstream (at 256 bytes a frame):
/// streams of small messages come in bursts.
const FRAME_OVERHEAD: usize = 4 * 1024 * 1024;
/// Requests under way at once; clients are told.
const MAX_STREAMS: u32 = 100;
/// Streams that were reset before we took them on: a client may give up all that it has under way at once.
const MAX_UNSEEN_RESETS: usize = 128;
/// Streams that the client made the codec reset, ever. The meter is stricter; this also counts what was refused for want of
/// room.
const MAX_FORCED_RESETS: usize = 1024;
/// How long a connection that is to end may take to say so.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a client without streams may take to acknowledge that the connection drains.
const ACKNOWLEDGEMENT: Duration = Duration::from_millis(300);

/// Serves one connection, whose next bytes are the client's preface, to its end.
pub async fn serve(connection: Arc<Connection>, engine: Arc<Engine>) {
    let flood = Arc::new(OnceLock::new());
    let mut timer = pin!(sleep_until(Instant::now() + connection.listener.headers_timeout));
    let carrier = Carrier::new(Arc::clone(&connection), Arc::clone(&flood));
    let Some(codec) = begin(&connection, carrier, timer.as_mut()).await else { return };
    let streams = Streams::new();
    let serving = Serving { connection: &connection, engine: &engine, streams, flood, codec, end: End::Open };
    serving.run(timer.as_mut()).await;
    // The client may be sending still: what it was told must not be lost to a reset.
    close(&connection, timer, true).await;
}

/// Settings and preface, in `headers_timeout`.
async fn begin(connection: &Connection, carrier: Carrier, mut timer: Pin<&mut Sleep>) -> Option<Codec<Carrier, Bytes>> {
    let deadline = Instant::now() + connection.listener.headers_timeout;
    let mut handshake = pin!(options(connection.listener.head_limits.max_head).handshake(carrier));
    poll_fn(|cx| {
        connection.wire().remember(cx);
        if let Poll::Ready(codec) = handshake.as_mut().poll(cx) {
            return Poll::Ready(codec.ok());
        }
        let over = connection.is_cut() || poll_expired(timer.as_mut(), deadline, cx);
        if over { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

fn options(max_head: usize) -> Builder {
    let mut options = Builder::new();
    options
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        // RFC 9113 §6.5.2 counts 32 bytes for each field. Twice the limit, so that whoever exceeds it gets our own answer;
        // beyond that the codec answers 431 by itself.
        .max_header_list_size(u32::try_from(max_head.saturating_mul(2)).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(FRAME_OVERHEAD)
        .max_pending_accept_reset_streams(MAX_UNSEEN_RESETS)
        .max_local_error_reset_streams(Some(MAX_FORCED_RESETS));
    options
}

struct Serving<'a> {
    connection: &'a Arc<Connection>,
    engine: &'a Arc<Engine>,
    streams: Arc<Streams>,
    flood: Arc<OnceLock<Flood>>,
    codec: Codec<Carrier, Bytes>,
    end: End,
}

/// How near its end a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It takes requests.
    Open,
    /// The client was told to take further requests elsewhere; since when.
    Draining(Instant),
    /// What is under way has until this moment to say that it is given up.
    Cut(Instant),
    /// It is over as soon as that is said, and at this moment anyway.
    Farewell(Instant),
}

impl Serving<'_> {
    async fn run(mut self, mut timer: Pin<&mut Sleep>) {
        poll_fn(|cx| self.poll(timer.as_mut(), cx)).await;
    }

    fn poll(&mut self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.wire().remember(cx);
        loop {
            match self.codec.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, reply)))) => self.start(request, reply),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if self.change() => {}
                Poll::Pending => break,
            }
        }
        match self.next_due() {
            Some(due) if poll_expired(timer.as_mut(), due, cx) => self.expired(cx),
            _ => Poll::Pending,
        }
    }

    /// What happened around the codec; whether it has to hear of it.
    fn change(&mut self) -> bool {
        if matches!(self.end, End::Farewell(_)) {
            return false;
        }
        if let Some(flood) = self.flood.get() {
            self.engine.observer().metrics.http2_flood(flood.name());
            self.part(Reason::ENHANCE_YOUR_CALM);
            return true;
        }
        if self.connection.is_cut() {
            return self.cut();
        }
        if self.end == End::Open && self.engine.live().is_draining() {
            self.codec.graceful_shutdown();
            self.end = End::Draining(Instant::now());
            return true;
        }
        false
    }

    /// The streams' tasks say on their streams what became of them; the codec sends it on before it ends.
    fn cut(&mut self) -> bool {
        if !matches!(self.end, End::Cut(_)) {
            self.end = End::Cut(Instant::now() + FAREWELL);
            self.streams.wake();
        }
        let is_over = self.streams.idle_since().is_some();
        if is_over {
            self.part(Reason::NO_ERROR);
        }
        is_over
    }

    fn part(&mut self, reason: Reason) {
        self.codec.abrupt_shutdown(reason);
        self.end = End::Farewell(Instant::now() + FAREWELL);
    }

    fn next_due(&self) -> Option<Instant> {
        let idle = self.streams.idle_since();
        let due = match (self.end, idle) {
            (End::Farewell(due) | End::Cut(due), _) => Some(due),
            // The client acknowledges the farewell, unless it is not there any more.
            (End::Draining(since), Some(idle)) => Some(since.max(idle) + ACKNOWLEDGEMENT),
            (End::Open, Some(idle)) => Some(idle + self.connection.listener.idle_timeout),
            (_, None) => None,
        };
        let stalled = self.connection.wire().clocks.next_due().map(|(due, _)| due);
        [due, stalled].into_iter().flatten().min()
    }

    fn expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_stalled = self.connection.wire().clocks.next_due().is_some_and(|(due, _)| due <= Instant::now());
        if is_stalled || matches!(self.end, End::Farewell(_) | End::Cut(_)) {
            self.connection.wire().reset_on_close();
            return Poll::Ready(());
        }
        self.part(Reason::NO_ERROR);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// A request has come.
    fn start(&mut self, request: Request<RecvStream>, reply: SendResponse<Bytes>) {
        let (parts, body) = request.into_parts();
        let limits = &self.connection.listener.head_limits;
        let (asked, made) = head::make(parts, limits, body.is_end_stream());
        let stream = Stream::new(Arc::clone(self.connection), asked, body, reply);
        match made {
            Ok(request) => {
                let under_way = self.streams.add(&stream);
                let engine = Arc::clone(self.engine);
                tokio::spawn(async move {
                    drive(stream, engine, request).await;
                    drop(under_way);
                });
            }
            Err(rejection) => respond::before_the_engine(&stream, self.engine, &rejection),
        }
    }
}
