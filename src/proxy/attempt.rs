//! The attempts of one request at its upstream: which comes next, and whether there is one.
//!
//! Flow: the gateway asks [`next`] before it chooses a peer; [`refuse_old`] when a connection came out of the pool;
//! [`repeat_after`] when an answer's head has come; [`unconnected`] and [`failed`] when an attempt came to nothing. Whether a
//! request may be sent again is decided in [`crate::policy::retry`]; here it is found out what happened. What an upstream
//! says of a token is looked at before, in [`super::credential`].
//!
//! Three ways not to turn the end of an idle connection into a 502: what is idle is let go before the upstream does (its
//! `Keep-Alive` header is believed); a request that could not be repeated does not go on a connection that has been idle
//! for long; one that can be is repeated when its pooled connection ends without a byte.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use pingora_core::protocols::Digest;
use pingora_core::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;

use super::context::Context;
use super::dial::{Dial, Left};
use super::engine::Shared;
use super::heads::may_switch_protocols;
use super::reach::Wants;
use crate::policy::retry::{self, Cause, Retry, Sent, Verdict};
use crate::table::Endpoint;

/// A request that cannot be repeated goes on no pooled connection that has been idle for longer than that: upstreams close
/// theirs after a second at the earliest.
const YOUNG: Duration = Duration::from_millis(750);
/// So many pooled connections in a row may turn out too old; then a new one is made.
const TOO_OLD: u32 = 2;
/// Bodies up to that size are kept while they are sent (Pingora's `BODY_BUF_LIMIT`).
const KEPT: u64 = 64 * 1024;

/// The attempts of one request.
#[derive(Debug, Default)]
pub struct Attempts {
    /// All that were made.
    pub made: u32,
    /// Of these, what counts against `retry.attempts`.
    counted: u32,
    /// Repeats that were free.
    free: u32,
    /// Pooled connections that were too old.
    old: u32,
    /// What is hashed of the request, where that says which endpoint it goes to.
    pub key: Option<u64>,
    /// Who connects the attempt under way, when its endpoint has several addresses.
    pub dial: Option<Arc<Dial>>,
    /// Who goes on with the next one: the endpoint has addresses left.
    again: Option<Arc<Dial>>,
    /// Endpoints that are not to be tried again while there are others.
    pub tried: Vec<Arc<Endpoint>>,
    /// Why the attempt under way is given up by the edge itself.
    given_up: Option<GivenUp>,
    /// When the attempt began to connect.
    pub connecting: Option<Instant>,
}

/// Why the edge itself gives an attempt up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GivenUp {
    /// Nothing was sent on that connection: it has been idle for too long.
    Old,
    /// This answer is not for the client.
    Status(StatusCode),
    /// Nor is this: it was said of a token, and there is another.
    Token(StatusCode),
}

/// One more attempt begins: nothing is known of it.
pub fn next(shared: &Shared, ctx: &mut Context) {
    let first = ctx.attempts.made == 0;
    if first {
        ctx.attempts.counted = 1;
        if let Some(forward) =
            ctx.route.as_ref().filter(|route| route.retry.is_some()).and_then(|route| route.forward())
        {
            forward.upstream.budget.sent(shared.millis());
        }
    }
    ctx.attempts.made += 1;
    ctx.attempts.connecting = Some(Instant::now());
    ctx.attempts.given_up = None;
    ctx.attempts.again = None;
    ctx.reused = None;
    ctx.upstream_status = None;
    ctx.interim = 0;
}

/// What the next attempt asks of whoever chooses its peer.
#[derive(Debug)]
pub struct Plan<'c> {
    /// Goes on with the endpoint of the attempt before, which has addresses left.
    pub again: Option<Arc<Dial>>,
    /// What is hashed of the request.
    pub key: Option<u64>,
    /// Endpoints that were tried: others are better.
    pub avoid: &'c [Arc<Endpoint>],
    /// How the connection has to be.
    pub wants: Wants,
}

/// Plans the next attempt.
pub fn plan<'c>(session: &Session, ctx: &'c Context) -> Plan<'c> {
    let request = session.req_header();
    let attempts = &ctx.attempts;
    let http1 = request.version == Version::HTTP_10 || may_switch_protocols(request);
    let new = attempts.old >= TOO_OLD || attempts.free >= retry::FREE - 1;
    let wants = Wants { http1, new };
    Plan { again: attempts.again.clone(), key: attempts.key, avoid: &attempts.tried, wants }
}

/// Refuses a pooled connection for a request that could not be repeated if the connection ends under it: the upstream may
/// be about to close it. Nothing has been sent.
pub fn refuse_old(session: &Session, digest: Option<&Digest>, ctx: &mut Context) -> Option<Box<Error>> {
    if can_be_repeated(session) {
        return None;
    }
    let state = ctx.leased.as_ref().map(|leased| &leased.0.state)?;
    // A connection of HTTP/2 says which requests it did not get to when it ends.
    if state.speaks_http2.load(Ordering::Relaxed) {
        return None;
    }
    let young = young_for(announced(state.keep_alive.load(Ordering::Relaxed)));
    let info = digest?.socket_digest.as_ref()?.tcp_info()?;
    if Duration::from_millis(info.tcpi_last_data_recv.into()) <= young {
        return None;
    }
    ctx.attempts.given_up = Some(GivenUp::Old);
    let mut error = Error::explain(ErrorType::ConnectionClosed, "the pooled connection has been idle for too long");
    error.as_up();
    Some(error)
}

/// Whether a pooled connection that ends would not matter: the method is idempotent, the body small and known to be.
fn can_be_repeated(session: &Session) -> bool {
    let request = session.req_header();
    if !request.method.is_idempotent() || request.headers.contains_key(header::TRANSFER_ENCODING) {
        return false;
    }
    let length = request.headers.get(header::CONTENT_LENGTH).map(HeaderValue::to_str);
    length.is_none_or(|length| length.is_ok_and(|length| length.parse::<u64>().is_ok_and(|length| length <= KEPT)))
}

/// How long a connection may have been idle to count as young.
fn young_for(announced: Option<Duration>) -> Duration {
    match announced {
        Some(announced) if announced <= YOUNG * 2 => announced / 2,
        Some(announced) => YOUNG.max(announced / 2),
        None => YOUNG,
    }
}

/// How long to keep an idle connection: as configured, but not as long as the upstream does.
pub fn keep_idle_for(configured: Duration, endpoint: &Endpoint) -> Duration {
    let Some(announced) = announced(endpoint.state.keep_alive.load(Ordering::Relaxed)) else { return configured };
    let margin = Duration::from_secs(1).min(announced / 2);
    configured.min(announced - margin)
}

/// Seconds as they are stored: one more than was said, so that 0 is “nothing was said”.
fn announced(stored: u32) -> Option<Duration> {
    stored.checked_sub(1).map(|seconds| Duration::from_secs(seconds.into()))
}

/// Remembers how long the endpoint keeps idle connections, if it says so (`Keep-Alive: timeout=5`).
pub fn learn_keep_alive(headers: &HeaderMap, ctx: &Context) {
    let Some(value) = headers.get("keep-alive") else { return };
    if let (Some(seconds), Some(leased)) = (keep_alive_timeout(value), &ctx.leased) {
        let keep_alive = &leased.0.state.keep_alive;
        let stored = seconds.saturating_add(1);
        if keep_alive.load(Ordering::Relaxed) != stored {
            keep_alive.store(stored, Ordering::Relaxed);
        }
    }
}

fn keep_alive_timeout(value: &HeaderValue) -> Option<u32> {
    let mut parameters = value.to_str().ok()?.split(',').filter_map(|parameter| parameter.split_once('='));
    let (_, seconds) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    seconds.trim().parse().ok()
}

/// Whether the answer whose head has just come is to be dropped and the request sent again.
pub fn repeat_after(
    shared: &Shared,
    session: &mut Session,
    status: StatusCode,
    ctx: &mut Context,
) -> Option<Box<Error>> {
    let cause = Cause::Status(status);
    let retry = policy(ctx).filter(|retry| retry.lists(cause))?;
    let means_not_here = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS);
    if means_not_here && !has_another_endpoint(ctx) {
        return None;
    }
    let sent = sent(session, ctx);
    if retry::judge(Some(retry), cause, sent) != Verdict::Again || !afford(shared, ctx) {
        return None;
    }
    Some(drop_answer(ctx, GivenUp::Status(status), status))
}

/// Drops an answer that was said of a token: the request goes out again with the one that it has been given since. That is no
/// attempt of `retry`: it counts against neither that nor the endpoint.
pub fn with_another_token(status: StatusCode, ctx: &mut Context) -> Box<Error> {
    drop_answer(ctx, GivenUp::Token(status), status)
}

fn drop_answer(ctx: &mut Context, why: GivenUp, status: StatusCode) -> Box<Error> {
    ctx.attempts.given_up = Some(why);
    let mut error = Error::explain(ErrorType::HTTPStatus(status.as_u16()), "the answer is followed by another attempt");
    error.as_up();
    error
}

/// Whether a request that was not executed can be sent again: the client has heard nothing, and the body is there.
pub fn can_follow(session: &mut Session, ctx: &Context) -> bool {
    let Sent { kept, answered, .. } = sent(session, ctx);
    kept && !answered
}

/// What follows from a connection that could not be made. Nothing was sent: the name's next address may always be tried.
pub fn unconnected(shared: &Shared, session: &mut Session, ctx: &mut Context, error: &mut Error) {
    if *error.etype() == ErrorType::H2Error {
        // A connection of HTTP/2 that was there did not take one more request.
        let verdict = retry::judge(policy(ctx), Cause::NotExecuted, sent(session, ctx));
        return go_on(shared, ctx, error, verdict, "refused");
    }
    if let Some(dial) = ctx.attempts.dial.take() {
        match dial.left(error) {
            // It is the same attempt, on a connection that is there.
            Left::Made => ctx.attempts.made = ctx.attempts.made.saturating_sub(1),
            Left::Others => shared.count_retry(ctx, "connect"),
            Left::Nothing => return unreachable(shared, session, ctx, error),
        }
        ctx.attempts.again = Some(dial);
        return error.set_retry(true);
    }
    unreachable(shared, session, ctx, error);
}

/// What follows from an endpoint that could not be connected to.
fn unreachable(shared: &Shared, session: &mut Session, ctx: &mut Context, error: &mut Error) {
    let verdict = retry::judge(policy(ctx), Cause::Connect, sent(session, ctx));
    go_on(shared, ctx, error, verdict, "connect");
}

/// What follows from an attempt that failed after it was connected.
pub fn failed(shared: &Shared, session: &mut Session, ctx: &mut Context, error: &mut Error, reused: bool) {
    // Pingora panics about an error whose retry is not decided.
    error.retry.decide_reuse(reused);
    match ctx.attempts.given_up {
        Some(GivenUp::Old) => {
            ctx.attempts.old += 1;
            ctx.attempts.made = ctx.attempts.made.saturating_sub(1);
            error.set_retry(true);
        }
        Some(GivenUp::Status(status)) => go_on(shared, ctx, error, Verdict::Again, reason_of(status)),
        Some(GivenUp::Token(status)) => {
            shared.count_retry(ctx, reason_of(status));
            error.set_retry(true);
        }
        None => {
            let Some(cause) = cause_of(error, reused, ctx) else { return error.set_retry(false) };
            let mut verdict = retry::judge(policy(ctx), cause, sent(session, ctx));
            if verdict == Verdict::Again && !afford(shared, ctx) {
                verdict = Verdict::Stop;
            }
            let reason = if cause == Cause::NotExecuted { "refused" } else { "reset" };
            go_on(shared, ctx, error, verdict, reason);
        }
    }
}

/// Carries a verdict out.
fn go_on(shared: &Shared, ctx: &mut Context, error: &mut Error, verdict: Verdict, reason: &'static str) {
    match verdict {
        Verdict::Stop => return error.set_retry(false),
        Verdict::Free => ctx.attempts.free += 1,
        Verdict::Again => {
            ctx.attempts.counted += 1;
            shared.note_failed(ctx);
            if let Some(leased) = &ctx.leased {
                ctx.attempts.tried.push(Arc::clone(&leased.0));
            }
        }
    }
    shared.count_retry(ctx, reason);
    error.set_retry(true);
}

/// What ended an attempt, if that is something after which a request may be sent again.
fn cause_of(error: &Error, reused: bool, ctx: &Context) -> Option<Cause> {
    let at_the_upstream = *error.esource() == ErrorSource::Upstream;
    if !at_the_upstream || ctx.upstream_status.is_some() || ctx.fault().is_some() {
        return None;
    }
    let ended = if reused { Cause::Stale } else { Cause::Reset };
    if let Some(error) = error.root_cause().downcast_ref::<h2::Error>() {
        return of_http2(error, ended);
    }
    match error.etype() {
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => Some(ended),
        _ => None,
    }
}

/// RFC 9113 §6.8 and §8.7: what a peer refuses, or did not get to before its `GOAWAY`, was not processed. (The h2 crate
/// reports a remote `GOAWAY` only to streams above its last one.)
fn of_http2(error: &h2::Error, ended: Cause) -> Option<Cause> {
    let refused = matches!(error.reason(), Some(h2::Reason::REFUSED_STREAM | h2::Reason::HTTP_1_1_REQUIRED));
    if error.is_remote() && (error.is_go_away() || (error.is_reset() && refused)) {
        return Some(Cause::NotExecuted);
    }
    if error.is_remote() && error.is_reset() {
        return Some(Cause::Reset);
    }
    error.is_io().then_some(ended)
}

fn policy(ctx: &Context) -> Option<Retry> {
    ctx.route.as_ref()?.retry
}

fn sent(session: &mut Session, ctx: &Context) -> Sent {
    let answered = session
        .response_written()
        .is_some_and(|head| !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS);
    Sent {
        idempotent: session.req_header().method.is_idempotent(),
        kept: is_kept(session),
        answered: answered || ctx.interim > 0,
        attempts: ctx.attempts.counted,
        free: ctx.attempts.free,
    }
}

/// Whether all that was read of the body is still there. (A body that was empty is; Pingora would forget to end one that
/// turned out to be.)
fn is_kept(session: &mut Session) -> bool {
    let session = session.as_mut();
    !session.retry_buffer_truncated()
        && (!session.is_body_done() || session.is_body_empty() || session.get_retry_buffer().is_some())
}

fn has_another_endpoint(ctx: &Context) -> bool {
    let is_new = |endpoint: &Arc<Endpoint>| {
        let now = ctx.leased.as_ref().is_some_and(|leased| Arc::ptr_eq(&leased.0, endpoint));
        !now && !ctx.attempts.tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint))
    };
    ctx.forward().is_some_and(|forward| forward.upstream.endpoints.iter().any(is_new))
}

/// Takes one repeat out of the upstream's budget.
fn afford(shared: &Shared, ctx: &Context) -> bool {
    let Some(forward) = ctx.forward() else { return false };
    let affordable = forward.upstream.budget.take(shared.millis());
    if !affordable {
        shared.observer().metrics.upstream_series(&forward.upstream.name).retry_suppressed();
    }
    affordable
}

fn reason_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "401",
        429 => "429",
        502 => "502",
        503 => "503",
        _ => "504",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::{YOUNG, keep_alive_timeout, young_for};

    #[test]
    fn what_an_upstream_says_about_its_idle_connections() {
        for (value, seconds) in [
            ("timeout=5", Some(5)),
            ("timeout=5, max=100", Some(5)),
            ("max=100, Timeout = 15", Some(15)),
            ("max=100", None),
            ("timeout=soon", None),
            ("timeout=-1", None),
            ("", None),
        ] {
            assert_eq!(keep_alive_timeout(&HeaderValue::from_static(value)), seconds, "{value}");
        }
    }

    #[test]
    fn a_connection_is_young_for_half_of_what_was_announced() {
        assert_eq!(young_for(None), YOUNG);
        for (announced, young) in [(0, 0), (1, 500), (2, 1000), (60, 30_000)] {
            assert_eq!(young_for(Some(Duration::from_secs(announced))), Duration::from_millis(young), "{announced}");
        }
    }
}
