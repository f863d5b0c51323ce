//! What is different when an upstream speaks HTTP/2 (RFC 9113), beyond what Pingora translates.
//!
//! Pingora shows a request without a body to no body filter on its way to HTTP/2, so that the wait for the answer begins
//! here; and the h2 crate swallows interim answers, so that a client that waits for a `100` gets it from the edge.

use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderValue, Version, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::context::Context;
use super::failure::Failure;
use crate::observe::event::End;
use crate::table::upstream::Http2;

const NOT_HTTP2: Failure = Failure {
    status: 502,
    code: "upstream_not_http2",
    message: "the upstream does not speak HTTP/2",
    end: End::UpstreamAbort,
};
const TOO_OLD: Failure = Failure {
    status: 505,
    code: "unsupported_version",
    message: "this is served to clients of HTTP/1.1 and HTTP/2 only",
    end: End::Refused,
};

/// Fits the head that goes upstream, and the edge, to what the connection turned out to speak.
pub async fn adapt(session: &mut Session, head: &mut RequestHeader, ctx: &mut Context) -> Result<()> {
    let speaks_http2 = head.version == Version::HTTP_2;
    if let Some(leased) = &ctx.leased
        && leased.0.state.speaks_http2.load(Ordering::Relaxed) != speaks_http2
    {
        leased.0.state.speaks_http2.store(speaks_http2, Ordering::Relaxed);
    }
    if !speaks_http2 {
        let only = ctx.forward().is_some_and(|forward| forward.upstream.http2 == Http2::Only);
        return if only { Err(refuse(ctx, NOT_HTTP2)) } else { Ok(()) };
    }
    if session.req_header().version == Version::HTTP_10 {
        // Pingora would send it chunks.
        return Err(refuse(ctx, TOO_OLD));
    }
    if session.req_header().version == Version::HTTP_2 && accepts_trailers(&session.req_header().headers) {
        // RFC 9110 §10.1.4: of one hop, and gRPC servers insist on it.
        head.insert_header(header::TE, "trailers")?;
    }
    if head.remove_header(&header::EXPECT).is_some() && session.response_written().is_none() {
        session.as_mut().write_continue_response().await?;
    }
    if session.as_mut().is_body_done()
        && let Some(downstream) = &ctx.downstream
    {
        downstream.clocks().await_first_byte();
    }
    Ok(())
}

fn refuse(ctx: &mut Context, failure: Failure) -> Box<Error> {
    let error = Error::explain(ErrorType::HTTPStatus(failure.status), failure.code);
    failure.message.clone_into(&mut ctx.detail);
    ctx.failure = Some(failure);
    error
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TE).iter().filter_map(|line: &HeaderValue| line.to_str().ok());
    codings.any(|line| line.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers")))
}
