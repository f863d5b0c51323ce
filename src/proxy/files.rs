//! Files of this machine as answers (RFC 9110 §8, §13, §14).
//!
//! Flow: `gateway` has an admitted request of a route with `files` -> [`asked`] takes from it what matters -> a thread that may
//! block finds the file (`find`, below the root only: `beneath`) and judges conditions and ranges (`prepare`) -> the head goes
//! out, and the body follows piece by piece (`source`), in the same 64 KiB from the first to the last, however slow the
//! client is. What is in memory is read here and now, what is on the disk by a thread that may block.
//!
//! Invariant: nothing outside of the root is ever read, whatever the request and the tree look like (`tests/it/files.rs`).

mod beneath;
mod find;
mod prepare;
mod source;

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora_core::{Error, ErrorType, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use self::find::Missing;
use self::prepare::{Asked, Prepared};
use self::source::{Next, Patience, Source};
use super::context::Context;
use super::decorate;
use super::failure::Failure;
use super::gateway::{internal, refuse};
use super::respond::Answer;
use crate::observe::event::End;
use crate::policy::coding;
use crate::policy::conditional::Conditions;
use crate::policy::request_gate::Canonical;
use crate::table::{Action, Admitted, Refusal, rewrite};

/// A request for a file, as far as it can be told from its head.
#[derive(Debug)]
pub struct FileRequest {
    /// `None`: a name that is never served.
    asked: Option<Asked>,
    /// The same address with a slash behind the path.
    with_slash: String,
}

/// Takes from a request what matters to a file.
pub fn asked(admitted: &Admitted, canonical: &Canonical<'_>, request: &RequestHeader) -> FileRequest {
    let is_head = request.method == Method::HEAD;
    let asked = rewrite::file(admitted, canonical).map(|wanted| Asked {
        wanted,
        is_head,
        conditions: Conditions::of(&request.headers),
        // RFC 9110 §14.2: it means something to GET alone.
        range: if is_head { None } else { only(&request.headers, &header::RANGE) },
        accepted: admitted
            .route
            .compress
            .as_deref()
            .map(|offered| coding::accepted(&request.headers, offered))
            .unwrap_or_default(),
        route: std::sync::Arc::clone(&admitted.route),
        now: SystemTime::now(),
    });
    let query = canonical.query.map(|query| format!("?{query}")).unwrap_or_default();
    FileRequest { asked, with_slash: format!("{}/{query}", canonical.raw_path) }
}

/// A field that stands there once.
fn only(headers: &http::HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { Some(value.clone()) }
}

/// Answers it.
pub async fn answer(session: &mut Session, ctx: &mut Context, request: FileRequest) -> Result<()> {
    let Some(mut asked) = request.asked else { return refuse(session, ctx, not_found()).await };
    if !asked.accepted.is_empty() && !ctx.may_compress() {
        asked.accepted = Default::default();
    }
    let prepared = tokio::task::spawn_blocking(move || match &asked.route.action {
        Action::Files(files) => asked.prepare(files),
        _ => Err(internal()),
    });
    match prepared.await.or_err(ErrorType::InternalError, "looking for a file")?? {
        Prepared::Answer(head, body) => send(session, ctx, *head, body).await,
        Prepared::AddSlash => add_slash(session, ctx, &request.with_slash).await,
        Prepared::PreconditionFailed => {
            refuse(session, ctx, refusal(412, "precondition_failed", "the file is not the one that is meant")).await
        }
        Prepared::NotInRange(length) => refuse(session, ctx, not_in_range(length)).await,
        Prepared::Missing(missing) => {
            note(ctx, &missing);
            let refusal = if missing.is_failure() { unreadable() } else { not_found() };
            refuse(session, ctx, refusal).await
        }
    }
}

/// An operator looks for a 404 of a file that is there: the client is not told, the log is. (Its path is in the access log.)
fn note(ctx: &mut Context, missing: &Missing) {
    let Some(detail) = missing.detail() else { return };
    if !missing.is_failure() {
        let prefix = ctx.route.as_ref().map_or("", |route| &route.prefix);
        log::info!("files: request {} of route {prefix}: {detail}", ctx.id);
    }
    ctx.detail = detail;
}

async fn add_slash(session: &mut Session, ctx: &mut Context, location: &str) -> Result<()> {
    let route = ctx.route.clone().ok_or_else(internal)?;
    let mut answer = Answer::redirect(StatusCode::PERMANENT_REDIRECT, location, &route.response_edits)?;
    decorate::own_answer(&mut answer, Some(&route), &session.req_header().headers);
    decorate::fill_own(&mut answer, &route.response_edits, session.req_header(), ctx)?;
    decorate::session(&mut answer, ctx);
    ctx.answering();
    answer.send(session).await
}

async fn send(session: &mut Session, ctx: &mut Context, head: ResponseHeader, body: Option<Source>) -> Result<()> {
    let Some(source) = body else {
        begin(session, ctx, head).await?;
        return session.as_downstream_mut().finish_body().await.map_err(down);
    };
    // Before the head: a disk that fails at once can still be told.
    let (first, source) = match next(source, BytesMut::new()).await? {
        (Ok(first), source) => (first, source),
        (Err(error), _) => {
            ctx.detail = error.to_string();
            return refuse(session, ctx, unreadable()).await;
        }
    };
    let mut head = head;
    if !head.headers.contains_key(header::CONTENT_LENGTH) {
        end_by_framing(session, &mut head)?;
    }
    begin(session, ctx, head).await?;
    stream(session, ctx, first, source).await
}

async fn begin(session: &mut Session, ctx: &mut Context, mut head: ResponseHeader) -> Result<()> {
    if let Some(route) = &ctx.route {
        decorate::cors(&mut head, route, &session.req_header().headers)?;
        decorate::fill(&mut head, &route.response_edits, session.req_header(), ctx)?;
    }
    decorate::session_of(&mut head, ctx)?;
    ctx.answering();
    session.as_downstream_mut().write_response_header(Box::new(head)).await.map_err(down)
}

/// The length of the body is not known: its end is told by chunks, or, to HTTP/1.0, by the close.
fn end_by_framing(session: &mut Session, head: &mut ResponseHeader) -> Result<()> {
    match session.req_header().version {
        Version::HTTP_11 => head.insert_header(header::TRANSFER_ENCODING, "chunked"),
        Version::HTTP_10 => {
            session.set_keepalive(None);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Writes the body.
async fn stream(session: &mut Session, ctx: &mut Context, first: Bytes, source: Source) -> Result<()> {
    let (mut piece, mut source) = (first, source);
    loop {
        let is_last = source.is_done();
        write(session, piece.clone(), is_last).await?;
        if is_last {
            return Ok(());
        }
        // The room of a piece that nobody holds any more takes the next one.
        let room = piece.try_into_mut().unwrap_or_default();
        let (read, rest) = next(source, room).await?;
        (piece, source) = (read.map_err(|error| cut(ctx, &error))?, rest);
    }
}

/// The next piece: from memory at once, else by a thread that may wait.
async fn next(mut source: Source, room: BytesMut) -> Result<(std::io::Result<Bytes>, Source)> {
    let room = match source.next(room, Patience::AtHand) {
        Ok(Next::Piece(piece)) => return Ok((Ok(piece), source)),
        Ok(Next::NotAtHand(room)) => room,
        Err(error) => return Ok((Err(error), source)),
    };
    let reading = tokio::task::spawn_blocking(move || {
        let read = source.next(room, Patience::Blocking).map(|next| match next {
            Next::Piece(piece) => piece,
            Next::NotAtHand(_) => Bytes::new(),
        });
        (read, source)
    });
    reading.await.or_err(ErrorType::InternalError, "reading a file")
}

async fn write(session: &mut Session, piece: Bytes, is_last: bool) -> Result<()> {
    let downstream = session.as_downstream_mut();
    let written = match (piece.is_empty(), is_last) {
        (true, true) => downstream.finish_body().await,
        (true, false) => Ok(()),
        (false, _) => downstream.write_response_body(piece, is_last).await,
    };
    written.map_err(down)
}

/// It is the client's side that failed.
fn down(error: Box<Error>) -> Box<Error> {
    error.into_down()
}

/// The file can't be read on: what was announced can't be kept, so the answer is broken off.
fn cut(ctx: &mut Context, error: &std::io::Error) -> Box<Error> {
    ctx.detail = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the file became shorter while it was sent".to_owned(),
        _ => error.to_string(),
    };
    ctx.failure =
        Some(Failure { status: 500, code: "file_cut", message: "the file cannot be read on", end: End::UpstreamAbort });
    Error::explain(ErrorType::InternalError, "a file was cut")
}

fn not_found() -> Refusal {
    refusal(404, "file_not_found", "there is no such file")
}

fn unreadable() -> Refusal {
    refusal(500, "file_unreadable", "the file cannot be read")
}

fn not_in_range(length: u64) -> Refusal {
    let mut refusal = refusal(416, "range_not_satisfiable", "the file has none of these bytes");
    let value = HeaderValue::from_str(&format!("bytes */{length}"));
    refusal.headers.extend(value.ok().map(|value| (header::CONTENT_RANGE, value)));
    refusal
}

fn refusal(status: u16, code: &'static str, message: &'static str) -> Refusal {
    Refusal { status, code, message: Cow::Borrowed(message), headers: Vec::new(), close: false, wrong_token_from: None }
}
