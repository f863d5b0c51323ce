//! Limits of an admitted request: what is taken when it really comes, and how it is refused.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, RETRY_AFTER};

use crate::policy::limit::{Caller, Exceeded, Nanos, Permit};

use super::asking::refusal;
use super::{Admitted, Refusal};

impl Admitted {
    /// Lets the request pass its route's rate and number in flight, or refuses it. The permit, if there is one, is kept until the
    /// request has ended.
    ///
    /// # Errors
    /// 429 with the time to wait.
    pub fn take(&self, now: Nanos) -> Result<Option<Permit>, Refusal> {
        let Some(limits) = &self.route.limits else { return Ok(None) };
        let client = self.client.as_ref().map(|client| &*client.name);
        limits.take(Caller { client, user: &self.identity.user, address: self.client_ip }, now).map_err(too_many)
    }

    /// How many bytes its body may have; `None`: any number.
    pub fn largest_body(&self) -> Option<u64> {
        self.route.limits.as_ref().and_then(|limits| limits.rules().body)
    }

    /// Whether the length that the head announces is too large for the route.
    ///
    /// # Errors
    /// 413.
    pub fn check_length(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(most) = self.largest_body() else { return Ok(()) };
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > most) { Err(body_too_large()) } else { Ok(()) }
    }
}

fn too_many(exceeded: Exceeded) -> Refusal {
    let refusal = match exceeded {
        Exceeded::Requests(_) => refusal(429, "too_many_requests", "too many requests; wait, then try again"),
        Exceeded::Concurrent => refusal(429, "too_many_at_once", "too many requests at the same time"),
    };
    refusal.with(RETRY_AFTER, exceeded.retry_after().into())
}

/// The body is not read, so the connection cannot go on behind it.
fn body_too_large() -> Refusal {
    Refusal { close: true, ..refusal(413, "body_too_large", "the request's body is larger than this route takes") }
}
