//! What a route puts on its upstream requests, as far as it may be told: nothing is leased, and no secret is looked at.

use std::sync::Arc;

use crate::credential::vault::Choice;
use crate::secret::Secret;

use super::super::credential::{Credential, Destination, Source};
use super::super::route::Forward;
use super::super::upstream::Endpoint;
use super::Verdict;

/// What stands for a token.
const MASKED: &str = "***";

/// Which credential a request carries, and how; nothing about a route without one.
pub(super) fn verdict(forward: &Forward) -> Option<Verdict> {
    let credential = forward.credential.as_deref()?;
    let Credential { name, header, before, after, .. } = credential;
    let what = match &credential.source {
        Source::Secret(_) => "the same secret for every request".to_owned(),
        Source::Pool { spec, .. } => format!("a token of provider {}, {}", spec.provider, order(spec.choice)),
    };
    let detail = format!("{name}: {what}; goes out as `{header}: {before}{MASKED}{after}`");
    Some(Verdict { policy: "credential", verdict: "pass", detail })
}

/// Where the plan goes that is shown; `None`: the running process would not send it either.
pub(super) fn destination<'e>(forward: &Forward, endpoint: &'e Arc<Endpoint>) -> Option<Destination<'e>> {
    Destination::of(forward, endpoint, Some(&Secret::new(MASKED))).ok()
}

fn order(choice: Choice) -> &'static str {
    match choice {
        Choice::InOrder => "the oldest that can be used",
        Choice::RoundRobin => "each in turn",
        Choice::LeastUsed => "the one with the fewest requests in flight",
    }
}
