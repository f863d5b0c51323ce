//! Who changed what: one line for every request that could have changed something, done or refused, whatever
//! `logging.level` says.
//!
//! Invariant: a line holds no secret. It is made from the method, the path and what a handler put into [`Note`] on purpose; queries,
//! bodies and the names that wrong passwords came with are never in it.

use axum::http::Method;
use axum::response::Response;

use crate::observe::AUDIT;

use super::caller::Caller;

/// What a handler has to say about a change, beyond its path: an extension of the response.
#[derive(Clone, Debug)]
pub struct Note(pub String);

/// An extension of a response to a request that changes nothing in spite of its method: no line.
#[derive(Clone, Copy, Debug)]
pub struct NoChange;

/// One line.
pub fn change(caller: Option<&Caller>, from: &str, method: &Method, path: &str, response: &Response) {
    if response.extensions().get::<NoChange>().is_some() {
        return;
    }
    let (who, how) = match caller {
        Some(caller) => (format!("{:?}", caller.who.to_string()), caller.how.as_str()),
        None => ("-".to_owned(), "-"),
    };
    let status = response.status();
    let outcome = if status.is_client_error() || status.is_server_error() { "refused" } else { "done" };
    let note = response.extensions().get::<Note>().map(|Note(note)| format!(": {note}")).unwrap_or_default();
    // Quoted with its own quotes escaped: what stands in a path must not pass for the rest of the line.
    let what = format!("{method} {path}");
    log::info!(
        target: AUDIT,
        "who={who} how={how} from={from} what={what:?} status={} outcome={outcome}{note}", status.as_u16()
    );
}
