//! What a route adds to answers beside its fixed edits: CORS, and headers whose values are made for each request.
//!
//! CORS comes first, so that a route's own edits have the last word; it is on the edge's own answers too, since a page that may
//! call must be able to read why it was refused.

use http::{HeaderMap, HeaderValue, header};
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};

use super::context::Context;
use super::downstream::Downstream;
use super::gateway::view;
use super::respond::Answer;
use crate::policy::cors;
use crate::policy::request_gate::{self, Gate};
use crate::table::Route;
use crate::table::rewrite;
use crate::table::route::{Edits, Mode};
use crate::table::variables::{Facts, Ids};

/// An answer of the edge's own: what its page may read.
pub fn own_answer(answer: &mut Answer, route: Option<&Route>, request: &HeaderMap) {
    let Some(cors) = route.and_then(|route| route.cors.as_deref()) else { return };
    answer.headers.push((header::VARY, cors::VARIES));
    for (name, value) in cors.answer(request) {
        if !answer.headers.iter().any(|(own, _)| *own == name) {
            answer.headers.push((name, value));
        }
    }
}

/// An upstream's answer: what it says about CORS itself goes.
pub fn cors(response: &mut ResponseHeader, route: &Route, request: &HeaderMap) -> Result<()> {
    let Some(cors) = route.cors.as_deref() else { return Ok(()) };
    let theirs: Vec<_> = response.headers.keys().filter(|name| cors::is_ours(name)).cloned().collect();
    for name in theirs {
        response.remove_header(&name);
    }
    if let Some(varies) = cors::vary(&response.headers) {
        response.append_header(header::VARY, varies)?;
    }
    for (name, value) in cors.answer(request) {
        response.insert_header(name, value)?;
    }
    Ok(())
}

/// Headers of an upstream's answer whose values are made for this request.
pub fn fill(response: &mut ResponseHeader, edits: &Edits, request: &RequestHeader, ctx: &Context) -> Result<()> {
    each_filled(edits, request, ctx, |mode, name, value| match mode {
        Mode::Set => response.insert_header(name, value),
        Mode::Add => response.append_header(name, value).map(|_| ()),
    })
}

/// The same of an answer of the edge's own.
pub fn fill_own(answer: &mut Answer, edits: &Edits, request: &RequestHeader, ctx: &Context) -> Result<()> {
    each_filled(edits, request, ctx, |mode, name, value| {
        if mode == Mode::Set {
            answer.headers.retain(|(known, _)| *known != name);
        }
        answer.headers.push((name, value));
        Ok(())
    })
}

fn each_filled(
    edits: &Edits,
    request: &RequestHeader,
    ctx: &Context,
    mut put: impl FnMut(Mode, http::HeaderName, http::HeaderValue) -> Result<()>,
) -> Result<()> {
    let (Some(admitted), Some(downstream)) = (&ctx.admitted, &ctx.downstream) else { return Ok(()) };
    if edits.filled.is_empty() {
        return Ok(());
    }
    let view = view(request, downstream)?;
    let Gate::Pass(canonical) = request_gate::judge(&view) else { return Ok(()) };
    let facts = Facts {
        table: &ctx.table,
        admitted,
        request: &view,
        canonical: &canonical,
        ids: ids(ctx),
        now: ctx.arrived(),
        upstream_status: ctx.upstream_status.map(|status| status.as_u16()),
    };
    for (mode, name, value) in rewrite::filled(edits, &facts) {
        put(mode, name, value)?;
    }
    Ok(())
}

/// What a browser keeps is nobody else's: a cache in between does not store it with the answer (RFC 9111 §5.2.2.4).
const NOT_FOR_CACHES: HeaderValue = HeaderValue::from_static("no-cache=\"set-cookie\"");

/// For one person: RFC 9111 §3.5 keeps shared caches from answers to `authorization`, but a cookie says nothing to them.
const PERSONAL: HeaderValue = HeaderValue::from_static("private");

/// Whether a session has made the answer what it is.
fn is_personal(ctx: &Context) -> bool {
    ctx.admitted.as_ref().is_some_and(|admitted| admitted.source == "oidc")
}

/// Whether an answer says itself which caches may keep it.
fn tells_caches<'v>(mut values: impl Iterator<Item = &'v HeaderValue>) -> bool {
    values.any(|value| {
        let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
        ["public", "s-maxage", "private", "no-store"].iter().any(|word| text.contains(word))
    })
}

/// What the browser is to keep of its session, with an answer of the edge's own.
pub fn session(answer: &mut Answer, ctx: &mut Context) {
    let said = |answer: &Answer| {
        tells_caches(answer.headers.iter().filter(|(name, _)| *name == header::CACHE_CONTROL).map(|(_, value)| value))
    };
    if is_personal(ctx) && !said(answer) {
        answer.headers.push((header::CACHE_CONTROL, PERSONAL));
    }
    if ctx.cookies.is_empty() {
        return;
    }
    if !answer.headers.iter().any(|(name, value)| *name == header::CACHE_CONTROL && value == "no-store") {
        answer.headers.push((header::CACHE_CONTROL, NOT_FOR_CACHES));
    }
    answer.headers.extend(std::mem::take(&mut ctx.cookies).into_iter().map(|value| (header::SET_COOKIE, value)));
}

/// The same with an upstream's, or a file.
pub fn session_of(response: &mut ResponseHeader, ctx: &mut Context) -> Result<()> {
    if is_personal(ctx) && !tells_caches(response.headers.get_all(header::CACHE_CONTROL).iter()) {
        response.append_header(header::CACHE_CONTROL, PERSONAL)?;
    }
    if ctx.cookies.is_empty() {
        return Ok(());
    }
    response.append_header(header::CACHE_CONTROL, NOT_FOR_CACHES)?;
    for value in std::mem::take(&mut ctx.cookies) {
        response.append_header(header::SET_COOKIE, value)?;
    }
    Ok(())
}

/// The ids of a request.
pub fn ids(ctx: &Context) -> Ids<'_> {
    Ids { request: ctx.id.as_str(), new_trace: ctx.new_trace.as_str() }
}

/// Takes over the id that a trusted peer has given the request.
pub fn adopt_id(ctx: &mut Context, request: &HeaderMap, downstream: &Downstream) {
    let Some(given) = request.get("x-request-id") else { return };
    let trusted = ctx.table.trusted_proxies.contains(downstream.connection().peer().ip());
    let only = request.get_all("x-request-id").iter().nth(1).is_none();
    if trusted
        && only
        && let Some(id) = given.to_str().ok().and_then(crate::id::RequestId::given)
    {
        ctx.id = id;
    }
}
