//! Which endpoint of a group a request goes to, as far as that can be told without taking a turn: of a hash exactly, else
//! who shares the requests. What checks and failures have found is known in the running process alone.

use std::sync::Arc;

use crate::clock::UnixMillis;

use super::super::upstream::{Endpoint, Standing, Upstream, Wish};
use super::Verdict;

/// The choice for one request.
pub(super) struct Choice<'u> {
    /// Whom the plan is shown for; `None`: nobody is healthy.
    pub(super) endpoint: Option<&'u Arc<Endpoint>>,
    /// What there is to say; nothing about a single endpoint that nobody judges.
    pub(super) verdict: Option<Verdict>,
}

/// Chooses. `key`: what is hashed of the request.
pub(super) fn choose(upstream: &Upstream, key: Option<u64>, now: UnixMillis) -> Choice<'_> {
    let is_up = |endpoint: &&Arc<Endpoint>| upstream.standing(endpoint, now) == Standing::Up;
    let first = upstream.endpoints.iter().find(is_up);
    let endpoint = match (upstream.hashes(), first) {
        (false, Some(first)) => Some(first),
        // Neither of these moves the turn of a round robin.
        (true, Some(_)) | (_, None) => upstream.choose(&Wish { key, avoid: &[], random: 0, now }),
    };
    let plain = upstream.endpoints.len() == 1 && !upstream.is_judged();
    let verdict = if plain { None } else { Some(verdict(upstream, key, endpoint, now)) };
    Choice { endpoint, verdict }
}

fn verdict(upstream: &Upstream, key: Option<u64>, chosen: Option<&Arc<Endpoint>>, now: UnixMillis) -> Verdict {
    let endpoints: Vec<String> = upstream.endpoints.iter().map(|endpoint| shown(upstream, endpoint, now)).collect();
    let mut detail = format!("{} over {}", upstream.balance.name(), endpoints.join(", "));
    match (chosen, key) {
        (Some(chosen), Some(_)) => detail.push_str(&format!("; this request goes to {}", chosen.label)),
        (Some(_), None) if upstream.hashes() => {
            detail.push_str("; the request lacks what is hashed: one of them at random");
        }
        _ => {}
    }
    Verdict { policy: "upstream", verdict: if chosen.is_some() { "pass" } else { "refuse" }, detail }
}

fn shown(upstream: &Upstream, endpoint: &Endpoint, now: UnixMillis) -> String {
    let weight = (endpoint.weight != 1).then(|| format!("weight {}", endpoint.weight));
    let state = match upstream.standing(endpoint, now) {
        Standing::Up => None,
        Standing::Ejected => Some("ejected".to_owned()),
        Standing::Unhealthy => Some("unhealthy".to_owned()),
    };
    let notes: Vec<String> = weight.into_iter().chain(state).collect();
    if notes.is_empty() { endpoint.label.to_string() } else { format!("{} ({})", endpoint.label, notes.join(", ")) }
}
