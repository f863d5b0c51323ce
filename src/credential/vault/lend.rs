//! What a request gets: a token at once; a moment later, if one is about to come; or the time when it should ask again.
//!
//! Invariants: a request that finds a token takes no lock and waits for nobody; one that gives up waiting stops nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout_at;

use super::dispatch::Prospect;
use super::entry::Entry;
use super::holdings::Holdings;
use super::moment::Moment;
use super::pool::Pool;
use super::{Choice, Lease, Report, Spec, Status, Unavailable};
use crate::credential::record::TokenId;

/// How long a request waits.
const TOKEN_WAIT: Duration = Duration::from_secs(10);
/// What an upstream may ask for.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
/// When nothing is known to change by itself.
const LATER: Duration = Duration::from_secs(60);
const SOONEST: Duration = Duration::from_secs(1);

/// What there is for a request.
enum Found {
    Lease(Lease),
    /// Something is under way that may end in one.
    Soon,
    Nothing(Unavailable),
}

/// What the tokens of a pool that cannot be lent may come to.
#[derive(Default)]
struct Hope {
    under_way: bool,
    earliest: Option<Moment>,
}

impl Holdings {
    /// See [`super::Vault::lease`].
    pub async fn lease(self: &Arc<Self>, spec: &Spec, avoid: &[(TokenId, u64)]) -> Result<Lease, Unavailable> {
        if let Some(lease) = self.at_once(spec, avoid) {
            return Ok(lease);
        }
        let deadline = tokio::time::Instant::now() + TOKEN_WAIT;
        let Some(line) = self.pools().get(&spec.provider).map(|pool| Arc::clone(&pool.line)) else {
            return Err(no_provider(spec));
        };
        let mut changed = line.changed.subscribe();
        loop {
            // What changes from here on wakes the waiting below.
            changed.borrow_and_update();
            match self.look(spec, avoid) {
                Found::Lease(lease) => return Ok(lease),
                Found::Nothing(unavailable) => return Err(unavailable),
                Found::Soon if timeout_at(deadline, changed.changed()).await.is_err() => return Err(too_long(spec)),
                Found::Soon => {}
            }
        }
    }

    fn at_once(&self, spec: &Spec, avoid: &[(TokenId, u64)]) -> Option<Lease> {
        let pools = self.pools();
        let entry = pools.get(&spec.provider)?.choose(spec.choice, self.now(), avoid)?;
        Some(entry.lend(self.clock.wall()))
    }

    fn look(self: &Arc<Self>, spec: &Spec, avoid: &[(TokenId, u64)]) -> Found {
        if let Some(lease) = self.at_once(spec, avoid) {
            return Found::Lease(lease);
        }
        let pools = self.pools();
        let Some(pool) = pools.get(&spec.provider) else { return Found::Nothing(no_provider(spec)) };
        let now = self.now();
        let hope = self.hope(pool, now, |entry| self.begin_due(pool, entry, now));
        if hope.under_way {
            return Found::Soon;
        }
        // What ended between the first look and the second is in use now.
        let found = self.at_once(spec, avoid).or_else(|| {
            let entry = pool.last_resort(spec.choice, now, avoid)?;
            Some(entry.lend(self.clock.wall()))
        });
        match found {
            Some(lease) => Found::Lease(lease),
            None => Found::Nothing(self.nothing(pool, &hope, now)),
        }
    }

    /// See [`super::Vault::has_another`].
    pub fn has_another(&self, spec: &Spec, avoid: &[(TokenId, u64)]) -> bool {
        let (pools, now) = (self.pools(), self.now());
        let Some(pool) = pools.get(&spec.provider) else { return false };
        pool.choose(Choice::InOrder, now, avoid).is_some() || {
            let hope = self.hope(pool, now, |entry| match self.prospect(pool, entry, now) {
                Prospect::Due(_) => Prospect::UnderWay,
                prospect => prospect,
            });
            hope.under_way
        }
    }

    /// What may become of tokens that no request can have now.
    fn hope(&self, pool: &Pool, now: Moment, expect: impl Fn(&Arc<Entry>) -> Prospect) -> Hope {
        let mut hope = Hope::default();
        for entry in &pool.tokens {
            if let Some(until) = entry.rests_until(now) {
                hope.not_before(until);
                continue;
            }
            // One that is well, and that this request has tried, is not refreshed for it.
            let is_well = entry.held().is_good(now) && !entry.is_rejected(now);
            let prospect = if is_well { self.prospect(pool, entry, now) } else { expect(entry) };
            match prospect {
                Prospect::UnderWay => hope.under_way = true,
                Prospect::At(at) if !is_well => hope.not_before(at),
                Prospect::At(_) | Prospect::Due(_) | Prospect::Never => {}
            }
        }
        hope
    }

    fn nothing(&self, pool: &Pool, hope: &Hope, now: Moment) -> Unavailable {
        let retry_after = hope.earliest.map_or(LATER, |earliest| earliest.since(now)).max(SOONEST);
        Unavailable { retry_after, why: self.why(pool) }
    }

    /// Such as `no token of provider kiro can be used: 1 needs_login (…), 2 resting`.
    fn why(&self, pool: &Pool) -> String {
        let name = &pool.line.name;
        let mut standing: BTreeMap<&'static str, (usize, Option<String>)> = BTreeMap::new();
        for entry in pool.tokens.iter().filter(|entry| !entry.is_removed()) {
            let token = entry.view(pool, &self.clock);
            let known = standing.entry(described(&token)).or_default();
            known.0 += 1;
            known.1 = known.1.take().or(token.last_error);
        }
        if standing.is_empty() {
            return format!("there is no token of provider {name}: log in");
        }
        let told = standing.into_iter().map(|(status, (count, error))| match error {
            Some(error) => format!("{count} {status} ({error})"),
            None => format!("{count} {status}"),
        });
        format!("no token of provider {name} can be used: {}", told.collect::<Vec<_>>().join(", "))
    }

    /// See [`super::Vault::report`].
    pub fn report(self: &Arc<Self>, spec: &Spec, lease: &Lease, report: Report) {
        let (entry, now) = (lease.lent.entry(), self.now());
        match report {
            Report::Rejected if entry.reject(lease.generation, now) => self.rejected(entry, lease.generation, now),
            Report::Rejected => {}
            Report::Limited { retry_after } => self.limited(entry, retry_after.unwrap_or(spec.rest_after_429), now),
        }
    }

    fn rejected(self: &Arc<Self>, entry: &Arc<Entry>, generation: u64, now: Moment) {
        self.observer.token_rejected(&entry.provider, entry.id.as_str(), generation);
        entry.progress().last_error = Some("an upstream answered 401".to_owned());
        let pools = self.pools();
        if let Some(pool) = pools.get(&entry.provider) {
            self.begin_due(pool, entry, now);
        }
        self.wake.notify_one();
    }

    fn limited(&self, entry: &Arc<Entry>, rest: Duration, now: Moment) {
        let rest = rest.clamp(REST.0, REST.1);
        if entry.rests_until(now).is_none() {
            self.observer.token_rests(&entry.provider, entry.id.as_str(), rest);
        }
        entry.progress().last_error = Some("an upstream answered 429".to_owned());
        entry.rest(now.after(rest));
    }
}

impl Hope {
    fn not_before(&mut self, moment: Moment) {
        self.earliest = Some(self.earliest.map_or(moment, |earliest| earliest.min(moment)));
    }
}

/// A token that looks well and is not lent has been tried by this request.
fn described(token: &super::Token) -> &'static str {
    match token.status {
        Status::Valid | Status::Expiring => "tried already",
        status => status.as_str(),
    }
}

fn no_provider(spec: &Spec) -> Unavailable {
    Unavailable { retry_after: LATER, why: format!("there is no token of provider {}: log in", spec.provider) }
}

fn too_long(spec: &Spec) -> Unavailable {
    let seconds = TOKEN_WAIT.as_secs();
    let why = format!("provider {} has not given a new token within {seconds} s", spec.provider);
    Unavailable { retry_after: SOONEST, why }
}
