//! Begins what is due, each once at a time: an attempt runs on the vault's own threads, and everybody who wants its end
//! waits for the same one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;
use tokio::sync::watch;

use super::entry::{Ended, Entry, Flight, Progress};
use super::holdings::Holdings;
use super::moment::Moment;
use super::outcome::{Outcome, Trouble, busy_pause};
use super::pool::Pool;
use super::refresh::Attempt;
use super::schedule::{Cause, jitter, next_attempt};
use crate::observe::token::{Lack, TokenRefresh};

/// When somebody else is trying whether the provider can be reached, that is looked at again.
const PROBED: Duration = Duration::from_secs(1);

/// What a token can be expected to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// An attempt is under way.
    UnderWay,
    /// One can begin.
    Due(Cause),
    /// Not before then.
    At(Moment),
    /// Nothing.
    Never,
}

impl Cause {
    /// Whether the provider is asked.
    pub fn asks(self) -> bool {
        !matches!(self, Self::Recovery | Self::Save)
    }
}

impl Holdings {
    /// What a token can be expected to do.
    pub fn prospect(&self, pool: &Pool, entry: &Entry, now: Moment) -> Prospect {
        self.prospect_of(pool, entry, &entry.progress(), now)
    }

    fn prospect_of(&self, pool: &Pool, entry: &Entry, progress: &Progress, now: Moment) -> Prospect {
        if progress.flight.is_some() {
            return Prospect::UnderWay;
        }
        if self.is_stopping() || entry.is_removed() {
            return Prospect::Never;
        }
        let facts = entry.facts(progress, pool, self.store.is_some(), now);
        let Some((at, cause)) = next_attempt(&facts) else { return Prospect::Never };
        if cause != Cause::Save && pool.provider.is_none() {
            return Prospect::Never;
        }
        let open_at = if cause.asks() { pool.line.open_at().unwrap_or(now.after(PROBED)) } else { at };
        match at.max(open_at) {
            at if at > now => Prospect::At(at),
            _ => Prospect::Due(cause),
        }
    }

    /// Begins what is due of a token. Says what can be expected then.
    pub fn begin_due(self: &Arc<Self>, pool: &Arc<Pool>, entry: &Arc<Entry>, now: Moment) -> Prospect {
        let progress = entry.progress();
        match self.prospect_of(pool, entry, &progress, now) {
            Prospect::Due(cause) if cause.asks() && !pool.line.admit(now) => Prospect::At(now.after(PROBED)),
            Prospect::Due(cause) => {
                self.launch(pool, entry, progress, cause);
                Prospect::UnderWay
            }
            prospect => prospect,
        }
    }

    /// Begins an attempt that somebody wants now, or joins the one that is under way. `None`: the process is stopping.
    pub fn begin_now(self: &Arc<Self>, pool: &Arc<Pool>, entry: &Arc<Entry>) -> Option<Flight> {
        let progress = entry.progress();
        if let Some(flight) = &progress.flight {
            return Some(flight.clone());
        }
        if self.is_stopping() || entry.is_removed() {
            return None;
        }
        Some(self.launch(pool, entry, progress, Cause::Operator))
    }

    /// Looks again at what is on the disk, of a token that has changed there.
    pub fn look_again(self: &Arc<Self>, pool: &Arc<Pool>, entry: &Arc<Entry>) {
        let progress = entry.progress();
        if progress.flight.is_none() && !self.is_stopping() && !entry.is_removed() {
            self.launch(pool, entry, progress, Cause::Recovery);
        }
    }

    /// Everything that is due. Returns when something will be.
    pub fn begin_all(self: &Arc<Self>) -> Option<Moment> {
        let now = self.now();
        let pools = self.pools();
        let tokens = pools.values().flat_map(|pool| pool.tokens.iter().map(move |entry| (pool, entry)));
        let awaited = tokens.filter(|(_, entry)| !entry.is_placeholder());
        let next = awaited.filter_map(|(pool, entry)| match self.begin_due(pool, entry, now) {
            Prospect::At(at) => Some(at),
            Prospect::UnderWay | Prospect::Due(_) | Prospect::Never => None,
        });
        next.min()
    }

    fn launch(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        entry: &Arc<Entry>,
        mut progress: MutexGuard<'_, Progress>,
        cause: Cause,
    ) -> Flight {
        let (sender, ended) = watch::channel(None);
        let flight = Flight { cause, ended };
        progress.flight = Some(flight.clone());
        if cause.asks() {
            progress.last_attempt = self.now();
        }
        self.flights.send_modify(|flights| *flights += 1);
        let ticket = Ticket {
            holdings: Arc::clone(self),
            pool: Arc::clone(pool),
            entry: Arc::clone(entry),
            cause,
            generation: entry.held().record.generation,
            sender,
            ended: Err("the attempt was interrupted".to_owned()),
        };
        // A runtime that is going away drops the ticket at once.
        drop(progress);
        // Whoever began it may go away: nobody holds the task's handle.
        drop(self.handle.spawn(fly(ticket)));
        flight
    }
}

/// An attempt that is under way. Those who wait learn of its end whatever happens.
#[derive(Debug)]
struct Ticket {
    holdings: Arc<Holdings>,
    pool: Arc<Pool>,
    entry: Arc<Entry>,
    cause: Cause,
    /// What was in use when it began.
    generation: u64,
    sender: watch::Sender<Option<Ended>>,
    ended: Ended,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.cause.asks() {
            self.pool.line.release();
        }
        self.entry.progress().flight = None;
        let ended = std::mem::replace(&mut self.ended, Ok(()));
        self.sender.send_replace(Some(ended));
        self.pool.line.bump();
        self.holdings.flights.send_modify(|flights| *flights -= 1);
        self.holdings.wake.notify_one();
    }
}

async fn fly(ticket: Ticket) {
    // The semaphore is never closed.
    let permit = Arc::clone(&ticket.pool.line.permits).acquire_owned().await;
    let landed = tokio::task::spawn_blocking(move || ticket.land());
    // A panic has ended the ticket too.
    let _ = landed.await;
    drop(permit);
}

impl Ticket {
    /// Does it, and draws the consequences.
    fn land(mut self) {
        let began = Instant::now();
        let attempt = Attempt {
            holdings: &self.holdings,
            pool: &self.pool,
            entry: &self.entry,
            cause: self.cause,
            generation: self.generation,
        };
        let outcome = attempt.run();
        self.tell_line(&outcome);
        let news = self.note(&outcome);
        self.observe(&outcome, news, began.elapsed());
        if matches!(outcome, Outcome::Gone) {
            self.holdings.take_out(&self.entry);
        }
        self.ended = outcome.ended();
    }

    /// What it says of the provider as a whole.
    fn tell_line(&self, outcome: &Outcome) {
        let (line, now) = (&self.pool.line, self.holdings.now());
        match outcome {
            Outcome::Refreshed { .. } | Outcome::NeedsLogin { .. } | Outcome::Failed(Trouble::Refused, _) => {
                line.reached();
            }
            Outcome::Failed(Trouble::Unsent, _) => {
                line.unreached(now, jitter(self.entry.id.as_str(), now.0.unsigned_abs()));
            }
            Outcome::Failed(Trouble::Busy(retry_after), _) => line.pause(now.after(busy_pause(*retry_after))),
            _ => {}
        }
    }

    /// Returns whether that is news to people.
    fn note(&self, outcome: &Outcome) -> bool {
        let mut progress = self.entry.progress();
        let said = progress.said_unwritable;
        let spends = !self.pool.grants_itself();
        progress.note(outcome, self.cause, self.generation, spends, self.holdings.now());
        let unwritable = matches!(outcome, Outcome::Failed(Trouble::Unwritable, _));
        progress.said_unwritable |= unwritable;
        !(unwritable && said)
    }

    fn observe(&self, outcome: &Outcome, news: bool, took: Duration) {
        let observer = &self.holdings.observer;
        let (provider, token) = (&*self.entry.provider, self.entry.id.as_str());
        let unsaved = match outcome {
            Outcome::Refreshed { unsaved, .. } | Outcome::NeedsLogin { unsaved, .. } => unsaved.as_deref(),
            Outcome::Failed(Trouble::Unwritable, detail) if self.cause == Cause::Save && news => Some(detail.as_str()),
            _ => None,
        };
        if let Some(detail) = unsaved {
            observer.token_unsaved(provider, token, detail);
        }
        match outcome {
            Outcome::Saved(_) => observer.token_saved(provider, token),
            Outcome::NeedsLogin { record, detail, .. } => {
                observer.token_lacks(&Lack { provider, token, reason: record.reason.as_deref().unwrap_or(""), detail });
            }
            _ => {}
        }
        let Some(label) = outcome.label().filter(|_| news && self.cause != Cause::Save) else { return };
        let detail = match outcome {
            Outcome::Refreshed { note, .. } => note.unwrap_or_default(),
            Outcome::Failed(_, detail) | Outcome::NeedsLogin { detail, .. } => detail.as_str(),
            _ => "",
        };
        let generation = self.entry.held().record.generation;
        observer.token_refresh(&TokenRefresh { provider, token, outcome: label, generation, took, detail });
    }
}
