//! Active health checks: who is asked when, and what follows from the answers.
//!
//! One task for each endpoint of each group that has `health` and that a route uses: it asks at once, then every
//! `interval` (a tenth more or less, so that many proxies do not ask in step), over a new connection with the addresses,
//! guard and TLS of requests ([`super::peer::Peers::probe`]). A verdict changes after `unhealthy_after` bad or
//! `healthy_after` good answers in a row, and is kept in the endpoint's state, where choosing reads it.
//!
//! [`supervise`] follows the table: what a reload leaves as it was goes on undisturbed, what is gone is no longer asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::engine::{Engine, Shared};
use super::probe::Prober;
use crate::clock;
use crate::policy::access::Networks;
use crate::table::upstream::{Check, Health};
use crate::table::{Endpoint, Table, Upstream};

/// Checks the endpoints of every table to come, until the runtime ends.
pub fn start(engine: &Engine, runtime: &Handle) {
    let shared = Arc::clone(engine.shared());
    drop(runtime.spawn(supervise(shared)));
}

/// What is checked, and how.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) upstream: Arc<Upstream>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) health: Health,
    /// Every route that uses it may only reach public addresses, so the check may not either.
    pub(super) guarded: bool,
    pub(super) internal: Networks,
}

/// Upstream and endpoint.
type Key = (Arc<str>, Arc<str>);

struct Running {
    subject: Subject,
    task: AbortHandle,
}

async fn supervise(shared: Arc<Shared>) {
    let prober = Arc::new(Prober::default());
    let mut running: HashMap<Key, Running, ahash::RandomState> = HashMap::default();
    loop {
        let wanted = subjects(&shared.table());
        running.retain(|key, one| {
            let goes_on = wanted.get(key).is_some_and(|subject| subject.same_check(&one.subject));
            if !goes_on {
                one.task.abort();
            }
            if !wanted.contains_key(key) {
                one.subject.endpoint.state.fitness.forget_verdict();
            }
            goes_on
        });
        for (key, subject) in wanted {
            running.entry(key).or_insert_with(|| {
                let task = tokio::spawn(check(Arc::clone(&shared), Arc::clone(&prober), subject.clone()));
                Running { task: task.abort_handle(), subject }
            });
        }
        shared.live().published.notified().await;
    }
}

/// Everything in a table that is to be checked.
fn subjects(table: &Table) -> HashMap<Key, Subject, ahash::RandomState> {
    let mut subjects = HashMap::default();
    if table.upstreams.iter().all(|upstream| upstream.health.is_none()) {
        return subjects;
    }
    let guarded = guarded(table);
    for upstream in &table.upstreams {
        let (Some(health), Some(guarded)) = (&upstream.health, guarded.get(&Arc::as_ptr(upstream))) else { continue };
        for endpoint in &upstream.endpoints {
            let subject = Subject {
                upstream: Arc::clone(upstream),
                endpoint: Arc::clone(endpoint),
                health: health.clone(),
                guarded: *guarded,
                internal: table.internal_networks.clone(),
            };
            subjects.insert((Arc::clone(&upstream.name), Arc::clone(&endpoint.label)), subject);
        }
    }
    subjects
}

/// The upstreams that routes use, and whether all of these are guarded: a check goes where some request may go.
fn guarded(table: &Table) -> HashMap<*const Upstream, bool, ahash::RandomState> {
    let mut guarded = HashMap::default();
    for forward in table.routes.iter().filter_map(|route| route.forward()) {
        *guarded.entry(Arc::as_ptr(&forward.upstream)).or_insert(true) &= forward.guarded;
    }
    guarded
}

impl Subject {
    /// Whether the other one asks the same in the same way. (The pool's group stands for scheme, protocol and TLS.)
    fn same_check(&self, other: &Self) -> bool {
        self.health == other.health
            && self.guarded == other.guarded
            && self.upstream.pool_group == other.upstream.pool_group
            && Arc::ptr_eq(&self.endpoint.state, &other.endpoint.state)
    }
}

/// Checks one endpoint for ever.
async fn check(shared: Arc<Shared>, prober: Arc<Prober>, subject: Subject) {
    let mut row = Row::default();
    loop {
        let begun = Instant::now();
        let asking = prober.ask(&shared.peers, &subject);
        let outcome = match tokio::time::timeout(subject.health.timeout, asking).await {
            Ok(outcome) => outcome,
            Err(_) => Err("no answer in time".to_owned()),
        };
        row.note(&subject, outcome);
        let next = jittered(subject.health.interval, shared.peers.chance());
        tokio::time::sleep(next.saturating_sub(begun.elapsed())).await;
    }
}

/// A tenth more or less.
fn jittered(interval: Duration, random: u64) -> Duration {
    let part = f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    interval.mul_f64(0.9 + 0.2 * part)
}

/// Equal outcomes in a row.
#[derive(Debug, Default)]
struct Row {
    healthy: bool,
    count: u32,
}

impl Row {
    /// Takes note of one check, and changes the verdict if that is enough.
    fn note(&mut self, subject: &Subject, outcome: Result<String, String>) {
        let healthy = outcome.is_ok();
        let detail = outcome.unwrap_or_else(|why| why);
        self.count = if self.healthy == healthy { self.count.saturating_add(1) } else { 1 };
        self.healthy = healthy;
        let state = &subject.endpoint.state;
        if !healthy {
            state.last_error.store(Some(Arc::new(format!("health check: {detail}"))));
        }
        let needed = if healthy { subject.health.healthy_after } else { subject.health.unhealthy_after };
        if self.count >= needed || (healthy && state.fitness.verdict().is_none()) {
            self.decide(subject, &detail);
        }
        state.last_check.store(Some(Arc::new(Check { at: clock::unix_millis(), healthy, detail })));
    }

    fn decide(&self, subject: &Subject, detail: &str) {
        let fitness = &subject.endpoint.state.fitness;
        let before = fitness.verdict();
        fitness.judge(self.healthy);
        let (upstream, endpoint, times) = (&subject.upstream.name, &subject.endpoint.label, self.count);
        match (before, self.healthy) {
            (Some(false), true) => log::info!("upstream {upstream}: {endpoint} is healthy again: {detail}"),
            (None | Some(true), false) => {
                log::warn!("upstream {upstream}: {endpoint} is unhealthy: {detail} ({times} check(s) in a row)");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_differ_by_a_tenth_at_most() {
        let second = Duration::from_secs(1);
        assert_eq!(jittered(second, 0), second.mul_f64(0.9));
        assert!(jittered(second, u64::MAX) <= second.mul_f64(1.1 + 1e-9));
        assert!(jittered(second, 1 << 63).abs_diff(second) < Duration::from_millis(1));
    }
}
