//! What a request carries for its upstream: leased before anything is connected, put on the head of each attempt, and
//! exchanged for another when the upstream turns it down.
//!
//! Flow: [`lease`] when the limits have let the request pass; [`destination`] when an attempt's head is written;
//! [`takes_another`] when an answer's head has come. The lease lives in the request's context and ends with it, so that a
//! token counts as used for as long as its answer streams.
//!
//! Invariants: nothing goes out without what its route says it carries ([`crate::table::credential::Destination`]); an answer
//! is dropped only when another token is in hand; a request tries each token, in each generation, once, and goes out at
//! most [`MOST_SENDS`] times on account of tokens.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, StatusCode, header};
use pingora_core::{Error, ErrorType};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::attempt;
use super::context::Context;
use super::engine::Shared;
use super::failure::Failure;
use crate::clock;
use crate::credential::record::TokenId;
use crate::credential::vault::{Lease, Report, Spec, Unavailable};
use crate::observe::event::End;
use crate::outbound;
use crate::table::credential::{Destination, Source, Withheld};
use crate::table::{Admitted, Endpoint, Refusal};

/// How often a request goes out because of what was said of its tokens, the first time included.
const MOST_SENDS: u32 = 4;

/// What the client is told of a request that would have to go without.
const WITHHELD: Failure = Failure {
    status: 503,
    code: "credential_unavailable",
    message: "there is no credential for the upstream at the moment",
    end: End::Refused,
};

/// What one request has of the vault; nothing on a route without tokens.
#[derive(Debug, Default)]
pub struct Carried {
    /// The token of the attempt under way, or of the last one.
    lease: Option<Lease>,
    /// What was turned down.
    tried: Vec<(TokenId, u64)>,
    /// How often the request has gone out.
    sends: u32,
}

impl Carried {
    /// The token's name, for the record; empty: none.
    pub fn token(&self) -> &str {
        self.lease.as_ref().map_or("", |lease| lease.id.as_str())
    }

    /// It goes out.
    pub fn sent(&mut self) {
        self.sends += 1;
    }

    /// The token of the attempt under way was turned down.
    fn turned_down(&mut self) {
        if let Some(lease) = &self.lease {
            note(&mut self.tried, &lease.id, lease.generation);
        }
    }
}

fn note(tried: &mut Vec<(TokenId, u64)>, id: &TokenId, generation: u64) {
    if !tried.iter().any(|(known, earlier)| known == id && *earlier == generation) {
        tried.push((id.clone(), generation));
    }
}

/// Takes a token for a request that everything else has let pass. A route without tokens waits for nothing.
///
/// # Errors
/// There is none, nor will there be one soon: 503.
pub async fn lease(shared: &Shared, ctx: &mut Context) -> Result<(), Refusal> {
    if pool_of(ctx).is_none() {
        return Ok(());
    }
    borrow(shared, ctx).await.map_err(|unavailable| refusal(unavailable, ctx))
}

/// Where the attempt under way goes, with what it carries.
///
/// # Errors
/// It would have to go without.
pub fn destination<'c>(
    admitted: &Admitted,
    endpoint: &'c Arc<Endpoint>,
    carried: &Carried,
) -> Result<Destination<'c>, Withheld> {
    let forward = admitted.route.forward().ok_or(Withheld::Elsewhere)?;
    Destination::of(forward, endpoint, carried.lease.as_ref().map(|lease| &lease.token))
}

/// The request does not go out: 503.
pub fn withhold(ctx: &mut Context, why: Withheld) -> Box<Error> {
    ctx.detail = why.to_string();
    ctx.failure = Some(WITHHELD);
    Error::explain(ErrorType::HTTPStatus(WITHHELD.status), WITHHELD.code)
}

/// Tells the vault what the answer says of the token. Whether the request goes out again with another, which it then has.
pub async fn takes_another(shared: &Shared, session: &mut Session, answer: &ResponseHeader, ctx: &mut Context) -> bool {
    let Some(report) = report_of(answer.status, &answer.headers) else { return false };
    let (Some(spec), Some(lease)) = (pool_of(ctx), &ctx.carried.lease) else { return false };
    shared.vault.report(spec, lease, report);
    ctx.carried.turned_down();
    if ctx.carried.sends >= MOST_SENDS || !attempt::can_follow(session, ctx) {
        return false;
    }
    let another = pool_of(ctx).is_some_and(|spec| shared.vault.has_another(spec, &ctx.carried.tried));
    another && borrow(shared, ctx).await.is_ok()
}

/// Borrows a token that was not turned down yet. Until there is one, the token before is kept.
async fn borrow(shared: &Shared, ctx: &mut Context) -> Result<(), Unavailable> {
    let Some(spec) = pool_of(ctx) else { return Ok(()) };
    if let Some(downstream) = &ctx.downstream {
        downstream.clocks().pause();
    }
    let lease = shared.vault.lease(spec, &ctx.carried.tried).await?;
    ctx.carried.lease = Some(lease);
    Ok(())
}

fn pool_of(ctx: &Context) -> Option<&Spec> {
    match &ctx.forward()?.credential.as_deref()?.source {
        Source::Pool { spec, .. } => Some(spec),
        Source::Secret(_) => None,
    }
}

fn refusal(unavailable: Unavailable, ctx: &mut Context) -> Refusal {
    let Unavailable { retry_after, why } = unavailable;
    ctx.detail = why;
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    Refusal {
        status: WITHHELD.status,
        code: WITHHELD.code,
        message: Cow::Borrowed(WITHHELD.message),
        headers: vec![(header::RETRY_AFTER, seconds.max(1).into())],
        close: false,
        wrong_token_from: None,
    }
}

/// What an answer says of the token that its request carried.
fn report_of(status: StatusCode, headers: &HeaderMap) -> Option<Report> {
    match status {
        StatusCode::UNAUTHORIZED => Some(Report::Rejected),
        StatusCode::TOO_MANY_REQUESTS => {
            let retry_after = outbound::retry_after(headers, clock::unix_millis());
            Some(Report::Limited { retry_after })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::{Carried, note, report_of};
    use crate::credential::record::TokenId;
    use crate::credential::vault::Report;

    #[test]
    fn only_401_and_429_say_something_of_a_token() {
        let none = HeaderMap::new();
        for status in 100..600 {
            let report = report_of(StatusCode::from_u16(status).unwrap(), &none);
            let expected = match status {
                401 => Some(Report::Rejected),
                429 => Some(Report::Limited { retry_after: None }),
                _ => None,
            };
            assert_eq!(report, expected, "{status}");
        }
        let busy = HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static("7"))]);
        let limited = Some(Report::Limited { retry_after: Some(Duration::from_secs(7)) });
        assert_eq!(report_of(StatusCode::TOO_MANY_REQUESTS, &busy), limited);
    }

    #[test]
    fn a_token_is_turned_down_once_in_each_generation() {
        let mut tried = Vec::new();
        for (id, generation, count) in [("a", 1, 1), ("a", 1, 1), ("a", 2, 2), ("b", 1, 3), ("a", 1, 3)] {
            note(&mut tried, &TokenId::parse(id).unwrap(), generation);
            assert_eq!(tried.len(), count, "{id} {generation}");
        }
        let mut carried = Carried::default();
        carried.turned_down();
        assert_eq!((carried.token(), carried.tried.len()), ("", 0), "who has no token loses none");
    }
}
