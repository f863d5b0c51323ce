//! The tokens of one provider: which of them a request gets. A pool is a snapshot, replaced when a token comes or goes;
//! what lasts beyond that is in its [`Line`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::Choice;
use super::entry::{Entry, Fitness};
use super::moment::Moment;
use super::schedule::backoff;
use crate::credential::provider::Provider;
use crate::credential::record::TokenId;

/// Every pool, by its provider's name.
pub type Pools = HashMap<Arc<str>, Arc<Pool>, ahash::RandomState>;

/// Refreshes at one provider at a time.
const AT_A_TIME: usize = 8;
/// Pauses while a provider cannot be reached.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The tokens of one provider.
#[derive(Clone, Debug)]
pub struct Pool {
    /// What outlives this snapshot.
    pub line: Arc<Line>,
    /// `None`: the table in force has no such provider; nothing is refreshed.
    pub provider: Option<Arc<Provider>>,
    /// How long before its end a token is refreshed.
    pub refresh_before: Duration,
    /// By age.
    pub tokens: Vec<Arc<Entry>>,
}

impl Pool {
    /// One without tokens.
    pub fn new(name: Arc<str>) -> Self {
        Self { line: Arc::new(Line::new(name)), provider: None, refresh_before: Duration::ZERO, tokens: Vec::new() }
    }

    /// Whether its tokens are granted to ourselves: nobody logs in, and there is no refresh token to spend.
    pub fn grants_itself(&self) -> bool {
        self.provider.as_ref().is_some_and(|provider| !provider.has_login())
    }

    /// The token that a request gets; `avoid`: what it has tried. One that works is lent although it can never be
    /// refreshed again, if there is no better one.
    pub fn choose(&self, choice: Choice, now: Moment, avoid: &[(TokenId, u64)]) -> Option<&Arc<Entry>> {
        let of = |fitness| self.pick(choice, move |entry| entry.fitness(now, avoid) == fitness);
        of(Fitness::Good).or_else(|| of(Fitness::Doomed))
    }

    /// The same, of tokens that an upstream has rejected: better than none.
    pub fn last_resort(&self, choice: Choice, now: Moment, avoid: &[(TokenId, u64)]) -> Option<&Arc<Entry>> {
        self.pick(choice, |entry| entry.fitness(now, avoid) == Fitness::Rejected)
    }

    fn pick(&self, choice: Choice, is_fit: impl Fn(&Entry) -> bool) -> Option<&Arc<Entry>> {
        match choice {
            Choice::InOrder => self.tokens.iter().find(|entry| is_fit(entry)),
            Choice::RoundRobin => {
                let fit = self.tokens.iter().filter(|entry| is_fit(entry)).count();
                let turn = self.line.turn.fetch_add(1, Ordering::Relaxed).checked_rem(fit)?;
                // One may have become unfit meanwhile.
                let mut fit = self.tokens.iter().filter(|entry| is_fit(entry));
                let first = fit.next()?;
                Some(if turn == 0 { first } else { fit.nth(turn - 1).unwrap_or(first) })
            }
            Choice::LeastUsed => self.tokens.iter().filter(|entry| is_fit(entry)).min_by_key(|entry| entry.load()),
        }
    }
}

/// What lasts as long as the provider's name does.
#[derive(Debug)]
pub struct Line {
    /// The provider's name.
    pub name: Arc<str>,
    /// Told whenever a request that waits should look again.
    pub changed: watch::Sender<u64>,
    /// Refreshes that may run.
    pub permits: Arc<Semaphore>,
    turn: AtomicUsize,
    breaker: Mutex<Breaker>,
}

/// What is known of a provider that cannot be reached, or wants to be left alone.
#[derive(Debug)]
struct Breaker {
    failures: u32,
    until: Moment,
    /// While it has failed, one attempt at a time.
    probing: bool,
}

impl Line {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            changed: watch::Sender::new(0),
            permits: Arc::new(Semaphore::new(AT_A_TIME)),
            turn: AtomicUsize::new(0),
            breaker: Mutex::new(Breaker { failures: 0, until: Moment::LONG_AGO, probing: false }),
        }
    }

    /// Has everybody who waits look again.
    pub fn bump(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// When the provider may be asked; `None`: somebody is trying whether it can be reached.
    pub fn open_at(&self) -> Option<Moment> {
        let breaker = self.breaker.lock();
        if breaker.probing { None } else { Some(breaker.until) }
    }

    /// Whether the provider may be asked now. If it has failed, nobody else may until this one is done.
    pub fn admit(&self, now: Moment) -> bool {
        let mut breaker = self.breaker.lock();
        let open = !breaker.probing && breaker.until <= now;
        breaker.probing |= open && breaker.failures > 0;
        open
    }

    /// An attempt is over that never was sent or whose outcome says nothing.
    pub fn release(&self) {
        self.breaker.lock().probing = false;
    }

    /// The provider has answered.
    pub fn reached(&self) {
        let mut breaker = self.breaker.lock();
        breaker.failures = 0;
        breaker.probing = false;
    }

    /// It could not be reached. `spread`: 0 to 1000, how much of a tenth is added.
    pub fn unreached(&self, now: Moment, spread: u32) {
        let mut breaker = self.breaker.lock();
        breaker.probing = false;
        if breaker.until > now {
            // Others found the same at the same time.
            return;
        }
        breaker.failures = breaker.failures.saturating_add(1);
        let pause = backoff(breaker.failures, FIRST_PAUSE, LONGEST_PAUSE);
        breaker.until = now.after(pause + pause / 10 * spread.min(1000) / 1000);
    }

    /// It wants to be left alone.
    pub fn pause(&self, until: Moment) {
        let mut breaker = self.breaker.lock();
        breaker.probing = false;
        breaker.until = breaker.until.max(until);
    }

    /// Its settings are others now: what was learned of the old ones does not count.
    pub fn forgive(&self) {
        let mut breaker = self.breaker.lock();
        breaker.failures = 0;
        breaker.until = Moment::LONG_AGO;
    }
}
