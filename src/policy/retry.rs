//! When a request may be sent again: what happened, what the route allows, what is known of the request -> yes or no.
//!
//! Two kinds of repeats. *Free* ones cost the upstream nothing, because nothing was executed, or nothing that a second time
//! would change (RFC 9110 §9.2.2): they need no permission and are bounded by a small number. The others are what a route's
//! `retry` allows, within its `attempts`.
//!
//! Invariants: nothing is sent again once a byte has gone to the client, nor when the body cannot be sent again, and a
//! request that is not idempotent only when the upstream says, by its protocol or its status, that it was not executed.

use http::StatusCode;

/// Free repeats of one request: connections of the pool that turn out dead, streams that are refused.
pub const FREE: u32 = 3;

/// What a route allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often a request is sent at most, the first time included; 1 or more.
    pub attempts: u32,
    /// Bits of [`bit`].
    on: u8,
}

/// Why an attempt came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection: nothing was sent.
    Connect,
    /// The upstream's protocol says that the request was not processed (RFC 9113 §8.7: `REFUSED_STREAM`, a `GOAWAY` below it).
    NotExecuted,
    /// A connection from the pool ended before the first byte of an answer.
    Stale,
    /// A new connection ended before the first byte of an answer.
    Reset,
    /// This answer. 401 and 429 mean “not executed”.
    Status(StatusCode),
}

/// What is known of the request at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// By its method.
    pub idempotent: bool,
    /// Its body, as far as it was read, can be sent again.
    pub kept: bool,
    /// Something has gone to the client.
    pub answered: bool,
    /// Attempts that counted against `attempts`.
    pub attempts: u32,
    /// Free repeats so far.
    pub free: u32,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was the last attempt.
    Stop,
    /// Once more, at no cost.
    Free,
    /// Once more, as the route's `retry` has it.
    Again,
}

impl Retry {
    /// With the causes that are given.
    pub fn new(attempts: u32, causes: impl IntoIterator<Item = Cause>) -> Self {
        Self { attempts, on: causes.into_iter().map(bit).fold(0, |on, bit| on | bit) }
    }

    /// Whether the route lists it.
    pub fn lists(self, cause: Cause) -> bool {
        self.on & bit(cause) != 0
    }
}

/// What follows from an attempt that came to nothing.
pub fn judge(retry: Option<Retry>, cause: Cause, sent: Sent) -> Verdict {
    if sent.answered || !sent.kept {
        return Verdict::Stop;
    }
    let safe = match cause {
        Cause::Connect | Cause::NotExecuted => true,
        Cause::Stale | Cause::Reset => sent.idempotent,
        Cause::Status(status) => is_refusal(status) || sent.idempotent,
    };
    if !safe {
        return Verdict::Stop;
    }
    if matches!(cause, Cause::Stale | Cause::NotExecuted) && sent.free < FREE {
        return Verdict::Free;
    }
    match retry {
        Some(retry) if retry.lists(cause) && sent.attempts < retry.attempts => Verdict::Again,
        _ => Verdict::Stop,
    }
}

/// Whether a status says that the request was not executed.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS)
}

/// A bit for each cause that a route can list; none for what it cannot.
fn bit(cause: Cause) -> u8 {
    match cause {
        Cause::Connect => 1,
        Cause::Reset | Cause::Stale | Cause::NotExecuted => 2,
        Cause::Status(StatusCode::UNAUTHORIZED) => 4,
        Cause::Status(StatusCode::TOO_MANY_REQUESTS) => 8,
        Cause::Status(StatusCode::BAD_GATEWAY) => 16,
        Cause::Status(StatusCode::SERVICE_UNAVAILABLE) => 32,
        Cause::Status(StatusCode::GATEWAY_TIMEOUT) => 64,
        Cause::Status(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::{Cause, FREE, Retry, Sent, Verdict, judge};

    const GET: Sent = Sent { idempotent: true, kept: true, answered: false, attempts: 1, free: 0 };
    const POST: Sent = Sent { idempotent: false, ..GET };

    fn status(code: u16) -> Cause {
        Cause::Status(StatusCode::from_u16(code).unwrap())
    }

    fn all() -> Vec<Cause> {
        let statuses = [401, 429, 502, 503, 504].map(status);
        [Cause::Connect, Cause::Reset].into_iter().chain(statuses).collect()
    }

    #[test]
    fn what_a_post_survives_is_only_what_was_not_executed() {
        let retry = Some(Retry::new(3, all()));
        for (cause, verdict) in [
            (Cause::Connect, Verdict::Again),
            (Cause::NotExecuted, Verdict::Free),
            (Cause::Stale, Verdict::Stop),
            (Cause::Reset, Verdict::Stop),
            (status(401), Verdict::Again),
            (status(429), Verdict::Again),
            (status(502), Verdict::Stop),
            (status(503), Verdict::Stop),
            (status(504), Verdict::Stop),
        ] {
            assert_eq!(judge(retry, cause, POST), verdict, "{cause:?}");
        }
    }

    #[test]
    fn a_get_is_sent_again_after_what_is_listed_and_nothing_else() {
        for one in all() {
            for cause in all() {
                let expected = if one == cause { Verdict::Again } else { Verdict::Stop };
                assert_eq!(judge(Some(Retry::new(2, [one])), cause, GET), expected, "{one:?}: {cause:?}");
            }
        }
        assert_eq!(judge(Some(Retry::new(2, all())), status(500), GET), Verdict::Stop);
    }

    #[test]
    fn attempts_and_free_repeats_have_an_end() {
        let retry = Some(Retry::new(2, all()));
        assert_eq!(judge(retry, Cause::Reset, Sent { attempts: 2, ..GET }), Verdict::Stop);
        assert_eq!(judge(None, Cause::Stale, Sent { free: FREE, ..GET }), Verdict::Stop);
        assert_eq!(judge(None, Cause::Stale, GET), Verdict::Free);
        assert_eq!(judge(None, Cause::Reset, GET), Verdict::Stop);
    }

    #[test]
    fn never_after_the_first_byte_nor_without_the_body() {
        let retry = Some(Retry::new(9, all()));
        for cause in all().into_iter().chain([Cause::Stale, Cause::NotExecuted]) {
            assert_eq!(judge(retry, cause, Sent { answered: true, ..GET }), Verdict::Stop, "{cause:?}");
            assert_eq!(judge(retry, cause, Sent { kept: false, ..GET }), Verdict::Stop, "{cause:?}");
        }
    }
}
