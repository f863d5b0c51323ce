//! Pingora's phases, a few lines each. What they decide is decided in `table` and `policy`; here it is carried out.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version, header};
use pingora::upstreams::peer::HttpPeer;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use super::attempt;
use super::compress;
use super::context::Context;
use super::credential;
use super::decorate;
use super::downstream::Downstream;
use super::engine::Shared;
use super::failure::{self, Failure};
use super::files;
use super::heads::{apply, edit, is_event_stream, is_websocket, length, may_switch_protocols};
use super::http2_upstream;
use super::own;
use super::peer::Choice;
use super::plain;
use super::respond::{Answer, Problem};
use super::sso::{self, Heard};
use crate::clock;
use crate::observe::event::End;
use crate::policy::request_gate::{self, Canonical, Gate, RequestView};
use crate::policy::response_gate::{self, Verdict};
use crate::policy::trace;
use crate::table::decide::Step as LogInStep;
use crate::table::own::Page;
use crate::table::{Action, Admitted, Decision, NoTrace, Place, Refusal, Route, rewrite};

/// How long the rest of a request's body is read and forgotten so that its connection can go on.
const DRAIN_BODY: Duration = Duration::from_secs(5);
/// Upstream interim answers (1xx) that are passed on; one more is a failure.
const MAX_INTERIM: u32 = 16;
/// The phases.
#[derive(Debug)]
pub struct Gateway(pub Arc<Shared>);

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Self::CTX {
        Box::new(Context::new(&self.0))
    }

    /// None: Pingora's default would build a compression module for every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        let downstream = arrive(session, ctx)?;
        decorate::adopt_id(ctx, &session.req_header().headers, &downstream);
        session.set_total_drain_timeout(Some(DRAIN_BODY));
        if session.req_header().version == Version::HTTP_10 {
            // RFC 9110 §15.2: a 1.0 client would take an interim answer for the answer.
            session.set_ignore_info_resp(true);
        }
        if self.0.live().is_draining() {
            session.set_keepalive(None);
        }
        let step = {
            let view = view(session.req_header(), &downstream)?;
            let own = plain::answer(&view, &downstream.connection().listener, &ctx.table, &self.0.challenges);
            if let Some(own) = own {
                ctx.answering();
                return Answer::of_plain(own)?.send(session).await.map(|()| true);
            }
            let (mut decision, mut canonical) = ctx.table.decide(&view, clock::unix_millis(), &mut NoTrace);
            if matches!(decision, Decision::Verify(_) | Decision::Ask(_)) {
                (decision, canonical) = Box::pin(self.find_out(decision, &view, ctx)).await;
            }
            if ctx.cookies.is_empty() {
                ctx.cookies = sso::stale(&ctx.table, &view, &decision);
            }
            match (decision, canonical) {
                (Decision::Refuse(refusal, place), _) => Step::Refuse(refusal, place),
                (Decision::Own(asked, place), Some(canonical)) => {
                    // Whoever reads a link has what it grants.
                    ctx.secret_query = asked.page == Page::Environment;
                    match own::answer(&self.0, &ctx.table, &view, &canonical, &asked).await? {
                        own::Reply::Answer(answer) => {
                            ctx.place = place;
                            Step::Answer(answer)
                        }
                        own::Reply::Refuse(refusal) => Step::Refuse(refusal, place),
                    }
                }
                (Decision::LogIn(asked, place), Some(canonical)) => {
                    // The issuer's answer has a code in it.
                    ctx.secret_query = asked.step == LogInStep::End;
                    let answered = sso::answer(&self.0, &ctx.table, &ctx.id, &view, &canonical, &asked);
                    let answered = Box::pin(answered).await;
                    ctx.refused = answered.code;
                    ctx.detail = answered.detail;
                    ctx.route.clone_from(&place.route);
                    ctx.place = place;
                    Step::Answer(answered.answer)
                }
                (Decision::ServerOptions, _) => Step::Answer(Answer::server_options()),
                (Decision::Preflight(headers, route), _) => {
                    ctx.route = Some(route);
                    Step::Answer(Answer { status: 204, headers, body: Bytes::new() })
                }
                (Decision::Admit(admitted), Some(canonical)) => match &admitted.route.action {
                    Action::Forward(forward) => {
                        let upstream = &forward.upstream;
                        ctx.attempts.key =
                            if upstream.hashes() { upstream.key(&admitted, &view, &canonical) } else { None };
                        Step::Go(admitted, How::Forward)
                    }
                    Action::Files(_) => {
                        let asked = files::asked(&admitted, &canonical, session.req_header());
                        Step::Go(admitted, How::Files(asked))
                    }
                    Action::Respond { status, body } => {
                        let mut answer = Answer::fixed(*status, body, &admitted.route.response_edits);
                        if let Some(offered) = &admitted.route.compress {
                            answer = answer.compressed(session.req_header(), offered)?;
                        }
                        Step::Go(admitted, How::Local(answer))
                    }
                    Action::Redirect { to, status } => {
                        let location = rewrite::redirect_location(to, &admitted, &canonical);
                        let answer = Answer::redirect(*status, &location, &admitted.route.response_edits)?;
                        Step::Go(admitted, How::Local(answer))
                    }
                },
                (Decision::Admit(_) | Decision::Own(..) | Decision::LogIn(..), None)
                | (Decision::Verify(_) | Decision::Ask(_), _) => return Err(internal()),
            }
        };
        match step {
            Step::Go(admitted, how) => {
                if !matches!(how, How::Local(_)) {
                    downstream.clocks().wait_by(admitted.route.timeouts);
                }
                if let Err(refusal) = self.admit(admitted, session.req_header(), ctx).await {
                    return refuse(session, ctx, refusal).await.map(|()| true);
                }
                match how {
                    How::Forward => Ok(false),
                    How::Files(asked) => files::answer(session, ctx, asked).await.map(|()| true),
                    How::Local(answer) => answer_by_route(session, ctx, answer).await.map(|()| true),
                }
            }
            Step::Answer(mut answer) => {
                decorate::session(&mut answer, ctx);
                ctx.answering();
                answer.send(session).await.map(|()| true)
            }
            Step::Refuse(refusal, place) => {
                if let Some(from) = refusal.wrong_token_from {
                    ctx.table.guessing.tokens.failed(from, clock::unix_millis());
                }
                ctx.route.clone_from(&place.route);
                ctx.place = place;
                refuse(session, ctx, refusal).await.map(|()| true)
            }
        }
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        let (Some(admitted), Some(downstream)) = (&ctx.admitted, &ctx.downstream) else {
            return Err(internal());
        };
        let Action::Forward(forward) = &admitted.route.action else {
            return Err(internal());
        };
        // Until the request is sent the upstream's clocks stand still; connecting has its own.
        downstream.clocks().expect_nothing();
        let attempt = attempt::plan(session, ctx);
        let chosen = self.0.peers.choose(&ctx.table, admitted, forward, attempt).await;
        attempt::next(&self.0, ctx);
        match chosen {
            Ok(Choice { peer, leased, dial }) => {
                ctx.leased = Some(leased);
                ctx.attempts.dial = dial;
                Ok(peer)
            }
            Err(no_peer) => {
                // What befell the attempt before has been counted.
                ctx.leased = None;
                ctx.detail = no_peer.detail;
                ctx.failure = Some(Failure {
                    status: 503,
                    code: no_peer.code,
                    message: "the upstream is not available",
                    end: End::UpstreamAbort,
                });
                Err(Error::explain(ErrorType::HTTPStatus(503), no_peer.code))
            }
        }
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        digest: Option<&Digest>,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        if reused && let Some(too_old) = attempt::refuse_old(session, digest, ctx) {
            return Err(too_old);
        }
        ctx.reused = Some(reused);
        // A body that is sent again is counted again.
        ctx.bytes_in = 0;
        if let Some(forward) = ctx.forward() {
            let took = if reused { None } else { ctx.attempts.connecting.map(|since| since.elapsed()) };
            self.0.observer().metrics.upstream_connection(&forward.upstream.name, took);
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        let (Some(admitted), Some(downstream), Some(leased)) = (&ctx.admitted, &ctx.downstream, &ctx.leased) else {
            return Err(internal());
        };
        let view = view(session.req_header(), downstream)?;
        let Gate::Pass(canonical) = request_gate::judge(&view) else {
            return Err(internal());
        };
        let destination = match credential::destination(admitted, &leased.0, &ctx.carried) {
            Ok(destination) => destination,
            Err(why) => return Err(credential::withhold(ctx, why)),
        };
        let now = clock::unix_millis();
        let plan = rewrite::plan(&ctx.table, admitted, &view, &canonical, destination, now, decorate::ids(ctx));
        ctx.begins_trace = plan.set.iter().any(|(name, _)| *name == trace::TRACEPARENT);
        apply(plan, upstream)?;
        if !may_switch_protocols(session.req_header()) {
            upstream.remove_header(&header::UPGRADE);
            upstream.remove_header(&header::CONNECTION);
        }
        if session.req_header().version == Version::HTTP_10 {
            // RFC 9110 §10.1.1: ignored from a 1.0 client.
            upstream.remove_header(&header::EXPECT);
        }
        if let Some(scheme) = admitted.route.sign.as_ref().and_then(|sign| sign.scheme) {
            self.0.series(&admitted.route).signed(scheme.name());
        }
        ctx.carried.sent();
        http2_upstream::adapt(session, upstream, ctx).await
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        ctx.bytes_in += length(body.as_ref());
        if ctx.is_too_large() {
            ctx.failure = Some(failure::BODY_TOO_LARGE);
            // As the client's fault: any other error here Pingora keeps to itself when the upstream speaks HTTP/2.
            return Err(Error::explain(ErrorType::HTTPStatus(413), "the request's body is too large").into_down());
        }
        if end && let Some(downstream) = &ctx.downstream {
            downstream.body_read();
            if ctx.upstream_status.is_none() {
                downstream.clocks().await_first_byte();
            }
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        upstream: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        let upgrade = upstream.status == StatusCode::SWITCHING_PROTOCOLS;
        if upgrade && !(may_switch_protocols(session.req_header()) && is_websocket(&upstream.headers)) {
            return Err(bad_response(ctx, "unexpected_upgrade", "101 to a protocol that nobody asked for"));
        }
        if upstream.status.is_informational() && !upgrade {
            ctx.interim += 1;
            if ctx.interim > MAX_INTERIM {
                return Err(bad_response(ctx, "too_many_interim_responses", "more than 16 interim answers (1xx)"));
            }
        } else {
            ctx.upstream_status = Some(upstream.status);
            attempt::learn_keep_alive(&upstream.headers, ctx);
            if credential::takes_another(&self.0, session, upstream, ctx).await {
                return Err(attempt::with_another_token(upstream.status, ctx));
            }
            if let Some(repeat) = attempt::repeat_after(&self.0, session, upstream.status, ctx) {
                return Err(repeat);
            }
            if let Some(downstream) = &ctx.downstream {
                downstream.clocks().heard_upstream();
            }
        }
        if let Verdict::Refuse { code, reason } =
            response_gate::judge(&session.req_header().method, upstream.status, &upstream.headers)
        {
            return Err(bad_response(ctx, code, reason));
        }
        for name in response_gate::strip(upstream.status, &upstream.headers, upgrade) {
            upstream.remove_header(&name);
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        ctx.answering();
        ctx.status = Some(response.status);
        if response.status != StatusCode::SWITCHING_PROTOCOLS {
            response.append_header(header::VIA, rewrite::via_received(response.version))?;
        }
        // RFC 9110 §6.2: the version is ours, whatever the upstream's is.
        response.set_version(Version::HTTP_11);
        if let Some(route) = &ctx.route {
            decorate::cors(response, route, &session.req_header().headers)?;
            edit(response, &route.response_edits)?;
            decorate::fill(response, &route.response_edits, session.req_header(), ctx)?;
        }
        decorate::session_of(response, ctx)?;
        if let Some(offered) = ctx.route.as_ref().and_then(|route| route.compress.clone()) {
            let offered: &[_] = if ctx.may_compress() { &offered } else { &[] };
            ctx.encoder = compress::begin(session.req_header(), response, offered)?;
            if ctx.encoder.is_none() {
                ctx.goes_as_it_is();
            }
        }
        // RFC 9112 §6.1: no transfer coding for a client that doesn't know it; the close ends the body.
        let ends_by_close = session.req_header().version == Version::HTTP_10
            && response.remove_header(&header::TRANSFER_ENCODING).is_some();
        if ends_by_close || self.0.live().is_draining() {
            session.set_keepalive(None);
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            ctx.open_stream();
            if let Some(downstream) = &ctx.downstream {
                downstream.clocks().upgrade();
            }
        } else if is_event_stream(response) {
            ctx.open_stream();
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        if ctx.encoder.is_some() {
            compress::pass(&mut ctx.encoder, body, end)?;
        }
        ctx.bytes_out += length(body.as_ref());
        if let Some(downstream) = &ctx.downstream {
            let mut clocks = downstream.clocks();
            if end { clocks.expect_nothing() } else { clocks.heard_upstream() }
        }
        Ok(None)
    }

    /// Trailers stand where the end of a compressed body should; it ends here instead, without them.
    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        _trailers: &mut HeaderMap,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Bytes>> {
        let mut body = None;
        compress::pass(&mut ctx.encoder, &mut body, true)?;
        Ok(body)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Self::CTX,
        mut error: Box<Error>,
    ) -> Box<Error> {
        attempt::unconnected(&self.0, session, ctx, &mut error);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Self::CTX,
        client_reused: bool,
    ) -> Box<Error> {
        attempt::failed(&self.0, session, ctx, &mut error, client_reused);
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Self::CTX) -> FailToProxy {
        let fault = ctx.fault();
        let failure = ctx.failure.get_or_insert_with(|| failure::of(error, fault)).clone();
        if ctx.detail.is_empty() {
            // What our own clocks found out, Pingora only hears as an error of the connection.
            ctx.detail = if fault.is_some() { failure.message.to_owned() } else { failure::describe(error) };
        }
        note_endpoint(ctx, &failure);
        let begun = session
            .response_written()
            .is_some_and(|head| !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS);
        if begun {
            cut_short(session, ctx);
        } else if failure.status > 0 {
            let unanswered = ctx.upstream_status.is_none() && failure::is_out_of_reach(failure.code);
            let goes_on = fault.is_none() && unanswered && has_all_arrived(session);
            let problem = Problem { status: failure.status, code: failure.code, message: failure.message };
            let request = &session.req_header().headers;
            let mut answer = Answer::problem(&problem, &ctx.id, request, ctx.pages());
            decorate::own_answer(&mut answer, ctx.route.as_deref(), request);
            decorate::session(&mut answer, ctx);
            answer.headers.extend(problem.retry_after().map(|seconds| (header::RETRY_AFTER, seconds.into())));
            ctx.answering();
            if !goes_on {
                session.set_keepalive(None);
            }
            if answer.send(session).await.is_ok()
                && goes_on
                && let Some(downstream) = &ctx.downstream
            {
                downstream.go_on();
            }
        }
        FailToProxy { error_code: failure.status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Self::CTX) {
        if let Some(error) = error
            && ctx.failure.is_none()
        {
            let fault = ctx.fault();
            ctx.failure = Some(failure::of(error, fault));
        }
        self.0.count_attempt(ctx);
        ctx.record(session);
    }

    /// Ours is written with the request's record.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Self::CTX, _error: &Error) -> bool {
        true
    }

    /// Ours counts attempts in the record.
    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Self::CTX,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    /// Never the target: it may hold secrets.
    fn request_summary(&self, _session: &Session, ctx: &Self::CTX) -> String {
        format!("request {}", ctx.id)
    }
}

/// What `request_filter` does next.
enum Step {
    Go(Admitted, How),
    Answer(Answer),
    Refuse(Refusal, Place),
}

/// How an admitted request is answered.
enum How {
    Forward,
    Files(files::FileRequest),
    Local(Answer),
}

impl Gateway {
    /// Finds out what a decision depends on, and decides again.
    async fn find_out<'a>(
        &self,
        mut decision: Decision,
        view: &RequestView<'a>,
        ctx: &mut Context,
    ) -> (Decision, Option<Canonical<'a>>) {
        let mut heard = Heard::default();
        let mut canonical = None;
        while heard.may_go_on() {
            match decision {
                Decision::Verify(login) => heard.password(self.0.verifier.check(&login, clock::unix_millis).await),
                Decision::Ask(question) => heard.ask(&self.0, *question).await,
                _ => break,
            }
            (decision, canonical) = ctx.table.decide_after(heard.learned(), view, clock::unix_millis(), &mut NoTrace);
        }
        ctx.detail = std::mem::take(&mut heard.detail);
        ctx.cookies = heard.cookies(&ctx.table, view);
        (decision, canonical)
    }

    /// The policies have admitted a request; now it takes its part of what the limits let pass, and then a token.
    async fn admit(
        &self,
        admitted: Admitted,
        request: &RequestHeader,
        ctx: &mut Context,
    ) -> std::result::Result<(), Refusal> {
        ctx.admit(admitted);
        if let Some(admitted) = ctx.admitted.as_ref().filter(|admitted| admitted.route.limits.is_some()) {
            ctx.permit = admitted.take(self.0.nanos())?;
            admitted.check_length(&request.headers)?;
        }
        credential::lease(&self.0, ctx).await
    }
}

/// Finds the client under the session and ties the request to it.
fn arrive(session: &Session, ctx: &mut Context) -> Result<Downstream> {
    let downstream = Downstream::of(session).ok_or_else(internal)?;
    ctx.arrive(downstream.clone());
    Ok(downstream)
}

/// The head as the decision reads it.
pub fn view<'a>(request: &'a RequestHeader, downstream: &'a Downstream) -> Result<RequestView<'a>> {
    let target = std::str::from_utf8(request.raw_path())
        .map_err(|_| Error::explain(ErrorType::HTTPStatus(400), "target is not text"))?;
    Ok(RequestView {
        method: &request.method,
        target,
        authority: downstream.authority(),
        headers: &request.headers,
        version: request.version,
        peer: downstream.connection().peer().ip().to_canonical(),
        tls: downstream.connection().is_tls(),
        certificate: downstream.connection().certificate(),
    })
}

/// Answers with what the route itself says.
async fn answer_by_route(session: &mut Session, ctx: &mut Context, mut answer: Answer) -> Result<()> {
    if let Some(route) = &ctx.route {
        decorate::own_answer(&mut answer, Some(route), &session.req_header().headers);
        decorate::fill_own(&mut answer, &route.response_edits, session.req_header(), ctx)?;
    }
    decorate::session(&mut answer, ctx);
    ctx.answering();
    answer.send(session).await
}

/// Answers with an error instead.
pub async fn refuse(session: &mut Session, ctx: &mut Context, refusal: Refusal) -> Result<()> {
    ctx.refused = Some(refusal.code);
    let problem = Problem { status: refusal.status, code: refusal.code, message: &refusal.message };
    let request = &session.req_header().headers;
    let mut answer = Answer::problem(&problem, &ctx.id, request, ctx.pages());
    answer.headers.extend(refusal.headers);
    decorate::own_answer(&mut answer, cors_of(ctx, refusal.code), request);
    decorate::session(&mut answer, ctx);
    if refusal.close {
        session.set_keepalive(None);
    }
    ctx.answering();
    answer.send(session).await
}

/// The route whose CORS policy speaks on a refusal: a preflight that is refused is told nothing.
fn cors_of<'c>(ctx: &'c Context, code: &str) -> Option<&'c Route> {
    ctx.route.as_deref().filter(|_| !matches!(code, "origin_not_allowed" | "malformed_preflight"))
}

fn bad_response(ctx: &mut Context, code: &'static str, reason: &'static str) -> Box<Error> {
    reason.clone_into(&mut ctx.detail);
    ctx.failure = Some(Failure {
        status: 502,
        code,
        message: "the upstream's answer is not acceptable",
        end: End::UpstreamAbort,
    });
    Error::explain(ErrorType::HTTPStatus(502), code)
}

/// A response that can't be completed must not look complete: where only the close would end it, the close is a reset.
fn cut_short(session: &Session, ctx: &Context) {
    let delimited_by_close = session.response_written().is_some_and(|head| {
        // A tunnel has an end of its own to tell.
        head.status != StatusCode::SWITCHING_PROTOCOLS
            && !head.headers.contains_key(header::CONTENT_LENGTH)
            && !head.headers.contains_key(header::TRANSFER_ENCODING)
    });
    if let Some(downstream) = &ctx.downstream {
        downstream.cut_short(delimited_by_close);
    }
}

/// Whether nothing of a request is left that could be taken for the next one: an outage behind the edge must not cost every
/// client a new connection for each request. (HTTP/2 ends its streams by itself.)
fn has_all_arrived(session: &mut Session) -> bool {
    let request = session.req_header();
    let is_plain = request.version == Version::HTTP_11 && !request.headers.contains_key(header::UPGRADE);
    let session = session.as_mut();
    is_plain && session.is_body_done() && session.get_keepalive().is_some()
}

fn note_endpoint(ctx: &Context, failure: &Failure) {
    if failure.code.starts_with("upstream_")
        && let Some(leased) = &ctx.leased
    {
        let note = format!("{}: {}", failure.code, ctx.detail);
        leased.0.state.last_error.store(Some(Arc::new(note)));
    }
}

pub fn internal() -> Box<Error> {
    Error::explain(ErrorType::HTTPStatus(500), "a phase was called out of order")
}
