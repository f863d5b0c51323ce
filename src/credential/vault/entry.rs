//! One token in use: what is lent of it, how often, and what keeps it from being lent.
//!
//! Invariants: requests read, and move atomics, and wait for nobody; a generation is never followed by an earlier one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::moment::{Clock, Moment};
use super::pool::Pool;
use super::schedule::{Cause, Facts, Life, REJECTION_LASTS, jitter};
use super::{Lease, Token};
use crate::clock::UnixMillis;
use crate::credential::record::{Record, State, TokenId};
use crate::credential::store::STALE_RESTORE;

/// How a refresh ended, for those who wait for it.
pub type Ended = Result<(), String>;

/// A refresh that is under way.
#[derive(Clone, Debug)]
pub struct Flight {
    /// What it is for.
    pub cause: Cause,
    /// How it will have ended.
    pub ended: watch::Receiver<Option<Ended>>,
}

/// A record in use.
#[derive(Debug)]
pub struct Held {
    /// What is known of it.
    pub record: Record,
    /// Whether the disk knows it too.
    pub durable: bool,
    /// Of the access token.
    pub life: Life,
}

impl Held {
    fn new(record: Record, durable: bool, clock: &Clock) -> Self {
        let life = Life { obtained: clock.moment_of(record.obtained_at), ends: clock.moment_of(record.expires_at) };
        Self { record, durable, life }
    }

    /// Whether there is an access token, and it has not ended.
    fn is_alive(&self, now: Moment) -> bool {
        !self.record.access_token.is_empty() && !self.life.is_over(now)
    }

    /// Whether it is as it should be, as far as time and logins go.
    pub fn is_good(&self, now: Moment) -> bool {
        self.record.state == State::Valid && self.is_alive(now)
    }
}

/// What requests can do with a token, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// Take it.
    Good,
    /// It cannot be refreshed any more, and has not ended yet.
    Doomed,
    /// An upstream has rejected it, and there is no other generation yet: better than none.
    Rejected,
    /// Nothing.
    Unfit,
}

/// What was tried, and how that went.
#[derive(Debug)]
pub struct Progress {
    /// The refresh that is under way.
    pub flight: Option<Flight>,
    /// In a row.
    pub failures: u32,
    /// Backing off until then.
    pub not_before: Moment,
    /// When the last attempt began.
    pub last_attempt: Moment,
    /// When a refresh was sent last because of a 401, and for which generation.
    pub forced: Option<(Moment, u64)>,
    /// When a refresh was sent whose outcome nobody knows, and of which generation.
    pub unknown: Option<(Moment, u64)>,
    /// What an earlier process may have left has been looked at.
    pub recovered: bool,
    /// It has been said that nothing can be written: once is enough.
    pub said_unwritable: bool,
    /// How the last refresh, or request, failed.
    pub last_error: Option<String>,
}

/// One token.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub id: TokenId,
    /// The provider's.
    pub provider: Arc<str>,
    held: ArcSwap<Held>,
    in_flight: AtomicU64,
    requests: AtomicU64,
    /// Unix milliseconds; 0: never.
    last_used: AtomicU64,
    /// A [`Moment`].
    rests_until: AtomicI64,
    /// A generation, 0: none; and when, a [`Moment`].
    rejected: AtomicU64,
    rejected_at: AtomicI64,
    /// Somebody is removing it.
    removed: AtomicBool,
    progress: Mutex<Progress>,
}

impl Entry {
    /// Takes a record into use. `recovered`: no earlier process can have left anything.
    pub fn new(record: Record, durable: bool, recovered: bool, clock: &Clock) -> Arc<Self> {
        let progress = Progress {
            flight: None,
            failures: 0,
            not_before: Moment::LONG_AGO,
            last_attempt: Moment::LONG_AGO,
            forced: None,
            unknown: None,
            recovered,
            said_unwritable: false,
            last_error: None,
        };
        Arc::new(Self {
            id: record.id.clone(),
            provider: Arc::clone(&record.provider),
            held: ArcSwap::from_pointee(Held::new(record, durable, clock)),
            in_flight: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            last_used: AtomicU64::new(0),
            rests_until: AtomicI64::new(Moment::LONG_AGO.0),
            rejected: AtomicU64::new(0),
            rejected_at: AtomicI64::new(Moment::LONG_AGO.0),
            removed: AtomicBool::new(false),
            progress: Mutex::new(progress),
        })
    }

    /// What is in use now.
    pub fn held(&self) -> arc_swap::Guard<Arc<Held>> {
        self.held.load()
    }

    /// What was tried. Held for a moment only.
    pub fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock()
    }

    /// Takes a later generation, or another state of the same one. Returns whether it was one.
    pub fn put(&self, record: Record, durable: bool, clock: &Clock) -> bool {
        let mut progress = self.progress.lock();
        let held = self.held.load();
        if record.generation < held.record.generation {
            return false;
        }
        if record.generation > held.record.generation {
            progress.unknown = None;
            progress.failures = 0;
            progress.not_before = Moment::LONG_AGO;
        }
        self.held.store(Arc::new(Held::new(record, durable, clock)));
        true
    }

    /// What requests can do with it; `avoid`: what this one has tried.
    pub fn fitness(&self, now: Moment, avoid: &[(TokenId, u64)]) -> Fitness {
        let held = self.held.load();
        let generation = held.record.generation;
        let is_avoided = avoid.iter().any(|(id, tried)| *tried == generation && *id == self.id);
        if is_avoided || !held.is_alive(now) || self.is_resting(now) || self.is_removed() {
            return Fitness::Unfit;
        }
        match (held.record.state, self.is_rejected(now)) {
            (State::Valid, false) => Fitness::Good,
            (State::Valid, true) => Fitness::Rejected,
            (State::NeedsLogin, false) => Fitness::Doomed,
            (State::NeedsLogin, true) | (State::Disabled, _) => Fitness::Unfit,
        }
    }

    /// Lends it.
    pub fn lend(self: &Arc<Self>, now: UnixMillis) -> Lease {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.last_used.store(now, Ordering::Relaxed);
        let held = self.held.load();
        Lease {
            id: self.id.clone(),
            generation: held.record.generation,
            token: held.record.access_token.clone(),
            lent: Lent(Arc::clone(self)),
        }
    }

    /// Requests that have it now, and that ever had it.
    pub fn load(&self) -> (u64, u64) {
        (self.in_flight.load(Ordering::Relaxed), self.requests.load(Ordering::Relaxed))
    }

    /// No request gets it until then.
    pub fn rest(&self, until: Moment) {
        self.rests_until.fetch_max(until.0, Ordering::AcqRel);
    }

    /// Until when it rests, if it does.
    pub fn rests_until(&self, now: Moment) -> Option<Moment> {
        Some(Moment(self.rests_until.load(Ordering::Acquire))).filter(|until| *until > now)
    }

    fn is_resting(&self, now: Moment) -> bool {
        self.rests_until.load(Ordering::Acquire) > now.0
    }

    /// An upstream rejected that generation. Returns whether it is the one in use, and that is news.
    pub fn reject(&self, generation: u64, now: Moment) -> bool {
        if self.held.load().record.generation != generation {
            return false;
        }
        let news = self.rejected_since(now).is_none();
        if news {
            self.rejected_at.store(now.0, Ordering::Release);
            self.rejected.store(generation, Ordering::Release);
        }
        news
    }

    /// Whether an upstream has rejected the generation in use, not long ago.
    pub fn is_rejected(&self, now: Moment) -> bool {
        self.rejected.load(Ordering::Relaxed) != 0 && self.rejected_since(now).is_some()
    }

    fn rejected_since(&self, now: Moment) -> Option<Moment> {
        let generation = self.rejected.load(Ordering::Acquire);
        let at = Moment(self.rejected_at.load(Ordering::Acquire));
        let held = self.held.load();
        // One that cannot be refreshed any more does not become better by waiting.
        let lasts = now.since(at) < REJECTION_LASTS || held.record.state != State::Valid;
        (generation != 0 && generation == held.record.generation && lasts).then_some(at)
    }

    /// From now on nobody gets it; or, after all, everybody does again.
    pub fn set_removed(&self, removed: bool) {
        self.removed.store(removed, Ordering::Release);
    }

    /// Somebody is removing it.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Whether there is anything to lend: not before the first grant to ourselves.
    pub fn is_placeholder(&self) -> bool {
        self.held.load().record.generation == 0
    }

    /// Whether it can be refreshed at all.
    pub fn is_refreshable(&self, pool: &Pool) -> bool {
        pool.grants_itself() || self.held.load().record.refresh_token.is_some()
    }

    /// What its next attempt depends on. `keeps`: there is a disk.
    pub fn facts(&self, progress: &Progress, pool: &Pool, keeps: bool, now: Moment) -> Facts {
        let held = self.held.load();
        let record = &held.record;
        let generation = record.generation;
        let waits_for_a_grant = generation == 0;
        Facts {
            refreshable: record.state == State::Valid && self.is_refreshable(pool),
            kept: !keeps || held.durable || waits_for_a_grant,
            recovered: !keeps || progress.recovered,
            stale: record.reason.as_deref() == Some(STALE_RESTORE),
            life: held.life,
            refresh_before: pool.refresh_before,
            jitter: jitter(self.id.as_str(), generation),
            rejected: self.rejected_since(now),
            forced: progress.forced.map(|(at, of)| (at, of == generation)),
            unknown: progress.unknown.filter(|(_, of)| *of == generation).map(|(at, _)| at),
            not_before: progress.not_before,
            last_attempt: progress.last_attempt,
        }
    }

    /// As people see it.
    pub fn view(&self, pool: &Pool, clock: &Clock) -> Token {
        let now = clock.now();
        let held = self.held.load_full();
        let progress = self.progress.lock();
        let record = &held.record;
        let rests_until = self.rests_until(now);
        let refresh_at = held.life.refresh_at(pool.refresh_before, jitter(self.id.as_str(), record.generation));
        let status = super::status::status(record.state, rests_until.is_some(), held.life, refresh_at, now);
        let last_used = self.last_used.load(Ordering::Relaxed);
        Token {
            id: self.id.clone(),
            provider: Arc::clone(&self.provider),
            status,
            reason: super::status::reason(record, status, pool.grants_itself()),
            generation: record.generation,
            expires_at: record.expires_at,
            created_at: record.created_at,
            last_refresh: (record.generation > 1).then_some(record.obtained_at),
            last_used: (last_used > 0).then_some(last_used),
            requests: self.requests.load(Ordering::Relaxed),
            last_error: progress.last_error.clone().or_else(|| record.last_error.clone()),
            rests_until: rests_until.map(|until| clock.wall_of(until)),
            fingerprint: record.fingerprint(),
            refreshable: self.is_refreshable(pool),
            durable: held.durable,
        }
    }
}

/// That one request has it.
#[derive(Debug)]
pub struct Lent(Arc<Entry>);

impl Lent {
    /// Which.
    pub fn entry(&self) -> &Arc<Entry> {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
