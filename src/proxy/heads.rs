//! Heads on their way through: the plan carried out towards the upstream, the edits towards the client, and what a head
//! says about the bytes behind it.

use bytes::Bytes;
use http::{HeaderMap, Method, Version, header};
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};

use crate::table::rewrite::Plan;
use crate::table::route::Edits;

/// Carries the plan out on the copy of the head that goes upstream.
pub fn apply(plan: Plan, upstream: &mut RequestHeader) -> Result<()> {
    upstream.set_raw_path(plan.target.as_bytes())?;
    for name in &plan.remove {
        upstream.remove_header(name);
    }
    if let Some(host) = plan.host {
        upstream.insert_header(header::HOST, host)?;
    }
    for (name, value) in plan.add {
        upstream.append_header(name, value)?;
    }
    for (name, value) in plan.set {
        upstream.insert_header(name, value)?;
    }
    Ok(())
}

/// Applies a route's edits to an answer.
pub fn edit(response: &mut ResponseHeader, edits: &Edits) -> Result<()> {
    for name in &edits.remove {
        response.remove_header(name);
    }
    for (name, value) in &edits.set {
        response.insert_header(name.clone(), value.clone())?;
    }
    for (name, value) in &edits.add {
        response.append_header(name.clone(), value.clone())?;
    }
    Ok(())
}

/// Whether a request asks for a WebSocket as RFC 6455 §4.1 has it: a GET without a body whose `Connection` names the
/// upgrade (RFC 9110 §7.8: otherwise it is to be ignored).
pub fn may_switch_protocols(request: &RequestHeader) -> bool {
    let headers = &request.headers;
    let mut options =
        headers.get_all(header::CONNECTION).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    request.version == Version::HTTP_11
        && request.method == Method::GET
        && !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING)
        && is_websocket(headers)
        && options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// Whether `Upgrade` names a WebSocket.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|kind| kind.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Bytes of a piece of body.
pub fn length(body: Option<&Bytes>) -> u64 {
    body.and_then(|body| u64::try_from(body.len()).ok()).unwrap_or(0)
}

/// Whether an answer is a stream of server-sent events.
pub fn is_event_stream(response: &ResponseHeader) -> bool {
    const KIND: &[u8] = b"text/event-stream";
    let kind = response.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.as_bytes().get(..KIND.len()));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(KIND))
}
