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

/// The line of one request: written with its answer, or, when nobody waits for that any more, without.
#[derive(Debug)]
pub struct Line {
    method: Method,
    path: String,
    from: String,
    caller: Option<Caller>,
    /// Whether it still has to be written.
    open: bool,
}

impl Line {
    /// Of a request that has just come.
    pub fn of(method: &Method, path: &str, from: &str) -> Self {
        let (method, path, from) = (method.clone(), path.to_owned(), from.to_owned());
        Self { open: !method.is_safe(), method, path, from, caller: None }
    }

    /// Who asks.
    pub fn is_of(&mut self, caller: &Caller) {
        self.caller = Some(caller.clone());
    }

    /// There is an answer.
    pub fn answered(mut self, response: &Response) {
        let is_change = std::mem::take(&mut self.open) && response.extensions().get::<NoChange>().is_none();
        if is_change {
            let status = response.status();
            let outcome = if status.is_client_error() || status.is_server_error() { "refused" } else { "done" };
            let note = response.extensions().get::<Note>().map(|Note(note)| format!(": {note}")).unwrap_or_default();
            self.write(&format!("status={} outcome={outcome}{note}", status.as_u16()));
        }
    }

    fn write(&self, outcome: &str) {
        let (who, how) = match &self.caller {
            Some(caller) => (format!("{:?}", caller.who.to_string()), caller.how.as_str()),
            None => ("-".to_owned(), "-"),
        };
        // Quoted with its own quotes escaped: what stands in a path must not pass for the rest of the line.
        let what = format!("{} {}", self.method, self.path);
        log::info!(target: AUDIT, "who={who} how={how} from={} what={what:?} {outcome}", self.from);
    }
}

impl Drop for Line {
    /// Its caller has hung up: what had begun may have been done all the same. One who never said who he is began nothing.
    fn drop(&mut self) {
        if self.open && self.caller.is_some() {
            self.write("status=- outcome=unknown: the caller hung up");
        }
    }
}
