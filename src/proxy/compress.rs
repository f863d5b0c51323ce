//! Answers compressed on their way to the client: the head relabelled, the encoder begun.
//!
//! Which answers suit is [`crate::policy::compression`]'s word, what the client takes [`crate::policy::coding`]'s. A piece
//! that arrives leaves at once, compressed; nothing waits for more.

use bytes::Bytes;
use http::{Method, Version, header};
use pingora_core::{Error, ErrorType, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};

use super::encoder::Encoder;
use super::respond::Answer;
use crate::policy::coding::{self, Coding};
use crate::policy::compression;

/// Relabels an upstream's answer, if it suits and the client takes one of the codings, and begins to compress it.
pub fn begin(request: &RequestHeader, head: &mut ResponseHeader, offered: &[Coding]) -> Result<Option<Encoder>> {
    let Some(coding) = relabel(head, &coding::accepted(&request.headers, offered))? else { return Ok(None) };
    if request.method == Method::HEAD {
        return Ok(None);
    }
    // Its length is no longer known: from HTTP/1.1 on the end is told by chunks; before, by the close.
    if request.version == Version::HTTP_11 || request.version == Version::HTTP_10 {
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    encoder(coding).map(Some)
}

/// Says in the head what it is compressed by, if it suits. Caches are told of the choice in any case.
pub fn relabel(head: &mut ResponseHeader, accepted: &[Coding]) -> Result<Option<Coding>> {
    if !compression::suits(head.status, &head.headers) {
        return Ok(None);
    }
    let Some(coding) = accepted.first().copied() else {
        vary(head)?;
        return Ok(None);
    };
    for (name, value) in compression::relabelled(&head.headers, coding) {
        head.insert_header(name, value)?;
    }
    for name in &compression::LOST {
        head.remove_header(name);
    }
    Ok(Some(coding))
}

/// Tells caches that the answer depends on `accept-encoding`.
pub fn vary(head: &mut ResponseHeader) -> Result<()> {
    compression::vary(&head.headers).map_or(Ok(()), |value| head.insert_header(header::VARY, value))
}

/// Begins.
pub fn encoder(coding: Coding) -> Result<Encoder> {
    Encoder::new(coding).or_err(ErrorType::InternalError, "cannot begin to compress")
}

/// A piece of an upstream's body, and whether it is the last, becomes what the client gets of it.
pub fn pass(encoder: &mut Option<Encoder>, body: &mut Option<Bytes>, end: bool) -> Result<()> {
    let Some(mut running) = encoder.take() else { return Ok(()) };
    let piece = body.take().unwrap_or_default();
    let failed = |error: std::io::Error| Error::because(ErrorType::InternalError, "cannot compress", error);
    let out = if end {
        let begun = running.absorb(&piece).map_err(failed)?;
        joined(begun, running.finish().map_err(failed)?)
    } else {
        let out = running.pass(&piece).map_err(failed)?;
        *encoder = Some(running);
        out
    };
    *body = (!out.is_empty()).then_some(out);
    Ok(())
}

fn joined(first: Bytes, second: Bytes) -> Bytes {
    if first.is_empty() { second } else { Bytes::from([first, second].concat()) }
}

impl Answer {
    /// Compressed as a whole, if it suits and the client takes one of the codings.
    ///
    /// # Errors
    /// When the coding's library fails.
    pub fn compressed(mut self, request: &RequestHeader, offered: &[Coding]) -> Result<Self> {
        let mut head = ResponseHeader::build_no_case(self.status, Some(self.headers.len() + 4))?;
        for (name, value) in self.headers.drain(..) {
            head.append_header(name, value)?;
        }
        head.insert_header(header::CONTENT_LENGTH, self.body.len())?;
        if let Some(coding) = relabel(&mut head, &coding::accepted(&request.headers, offered))? {
            let (mut encoder, mut body) = (Some(encoder(coding)?), Some(self.body));
            pass(&mut encoder, &mut body, true)?;
            self.body = body.unwrap_or_default();
        }
        head.remove_header(&header::CONTENT_LENGTH);
        self.headers.extend(head.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        Ok(self)
    }
}
