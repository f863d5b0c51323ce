//! The life of one stream's request: Pingora serves it, and whoever lets it wait too long is found out.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_http::RequestHeader;
use tokio::time::{Instant, Sleep, sleep_until};

use super::session::Session;
use super::stream::Stream;
use crate::proxy::clocks::Fault;
use crate::proxy::deadline::poll_expired;
use crate::proxy::engine::Engine;

/// How long a request that was told of its fault may take to go away.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Never, for a timer that is not armed yet.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// Serves one request to its end.
pub async fn drive(stream: Arc<Stream>, engine: Arc<Engine>, request: RequestHeader) {
    if let Ok(session) = Session::new(Arc::clone(&stream), request) {
        let session = ServerSession::new_custom(Box::new(session));
        let serving = engine.http().process_new_http(session, engine.never_stops());
        watch(&stream, serving).await;
    }
    // Whatever was sent, if it was not all, must not end as if it were.
    stream.reset();
}

async fn watch<T>(stream: &Stream, mut serving: Pin<Box<dyn Future<Output = T> + Send + '_>>) {
    let mut timer = pin!(sleep_until(Instant::now() + FAR));
    let mut told = None;
    poll_fn(|cx| {
        loop {
            if serving.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            stream.remember(cx);
            if stream.connection().is_cut() {
                return Poll::Ready(());
            }
            match gone_idle(stream, timer.as_mut(), told, cx) {
                Idle::Wait => return Poll::Pending,
                Idle::Again => told = Some(Instant::now()),
                Idle::Abandon => return Poll::Ready(()),
            }
        }
    })
    .await;
}

/// What follows from a request having nothing to do.
enum Idle {
    /// It waits.
    Wait,
    /// It is to be told of a fault.
    Again,
    /// It was told and did not go away.
    Abandon,
}

/// A request that was told of a fault has a clock whatever it does: not every state of Pingora's looks at the client.
fn gone_idle(stream: &Stream, mut timer: Pin<&mut Sleep>, told: Option<Instant>, cx: &mut Context<'_>) -> Idle {
    let known = stream.clocks().fault();
    if known.is_none() && stream.poll_reset(cx).is_ready() {
        return tell(stream, Fault::Broken);
    }
    let due = stream.clocks().next_due();
    match (due, told.map(|told| told + LAST_WORDS)) {
        (Some((due, fault)), _) if poll_expired(timer.as_mut(), due, cx) => tell(stream, fault),
        // A client that is being told takes its time by its own clock.
        (None, Some(end)) if poll_expired(timer, end, cx) => Idle::Abandon,
        _ => Idle::Wait,
    }
}

/// The first fault is told; a second one, or the same again, ends it.
fn tell(stream: &Stream, fault: Fault) -> Idle {
    let mut clocks = stream.clocks();
    let first = clocks.fault().is_none();
    clocks.fail(fault);
    if first { Idle::Again } else { Idle::Abandon }
}
