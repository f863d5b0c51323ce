//! One attempt at a token: lock, read again, write down what will be asked, ask, write down the answer as it came, understand
//! it, save. It runs on a thread that may block, and ends whatever becomes of the requests that wait for it.
//!
//! Invariants: what is asked is on the disk before it leaves; the answer is on the disk before anybody looks at it; what
//! another process has saved is taken, never overwritten; a record is never blanked.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::call::Reply;
use super::entry::{Entry, Held};
use super::holdings::Holdings;
use super::journal::Journal;
use super::outcome::{Meaning, Outcome, Trouble, meaning};
use super::pool::Pool;
use super::schedule::Cause;
use crate::clock::UnixMillis;
use crate::credential::LOG;
use crate::credential::provider::{Grant, Granted, Provider};
use crate::credential::record::{Record, State};
use crate::credential::store::{Intent, STALE_RESTORE, SaveError, Unfinished};
use crate::outbound::Failure;
use crate::secret::Secret;

/// One attempt.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// Everything.
    pub holdings: &'a Holdings,
    /// The token's, as it was when the attempt began.
    pub pool: &'a Pool,
    /// The token.
    pub entry: &'a Arc<Entry>,
    /// What for.
    pub cause: Cause,
    /// What was in use when somebody wanted it.
    pub generation: u64,
}

/// What the provider is asked with.
struct Question<'a> {
    provider: &'a Arc<Provider>,
    grant: Grant,
    /// A refresh token is spent, where the provider rotates.
    spends: bool,
}

impl Attempt<'_> {
    /// Does it, and has what came of it in use before anybody else gets the lock.
    pub fn run(&self) -> Outcome {
        let mut journal = match Journal::open(self.holdings.store.as_ref(), &self.entry.id) {
            Ok(journal) => journal,
            Err(error) => return unwritable(format!("its lock cannot be had: {error}")),
        };
        let outcome = self.locked(&mut journal);
        self.publish(&outcome);
        outcome
    }

    fn publish(&self, outcome: &Outcome) {
        let (record, durable) = match outcome {
            Outcome::Refreshed { record, unsaved, .. } | Outcome::NeedsLogin { record, unsaved, .. } => {
                (record, unsaved.is_none())
            }
            Outcome::Saved(record) | Outcome::Taken(record) => (record, true),
            Outcome::Failed(..) | Outcome::Gone | Outcome::Idle => return,
        };
        let durable = durable && self.holdings.store.is_some();
        self.entry.put(record.clone(), durable, &self.holdings.clock);
    }

    fn locked(&self, journal: &mut Journal<'_>) -> Outcome {
        // Whoever removes it has had the lock, or is about to.
        if self.entry.is_removed() {
            return Outcome::Idle;
        }
        let held = Arc::clone(&*self.entry.held());
        let current = match journal.current(&held.record) {
            Ok(current) => current,
            Err(fault) => return unwritable(fault.message),
        };
        if self.holdings.store.is_some() && !held.durable && held.record.generation > 0 {
            return match self.save(journal, &held.record, current) {
                // A grant of its own spends nothing: the next need not wait for the disk to heal.
                Outcome::Failed(Trouble::Unwritable, _) if self.pool.grants_itself() && self.is_half_over(&held) => {
                    self.ask(journal, &held.record)
                }
                outcome => outcome,
            };
        }
        let base = match current {
            None if held.record.generation == 0 => held.record.clone(),
            None => return Outcome::Gone,
            // Somebody has put an old file there; what is in use came later.
            Some(current) if is_older(&current, &held.record) => held.record.clone(),
            Some(current) if self.is_theirs(&current, &held.record) => return Outcome::Taken(current),
            // Another process's successor was seen in the directory while this attempt waited for the lock.
            Some(current) if held.record.generation > self.generation => return Outcome::Taken(current),
            Some(current) => current,
        };
        match self.take_up(journal, &base, &held) {
            Some(outcome) => outcome,
            None if self.cause == Cause::Recovery => Outcome::Idle,
            None => self.ask(journal, &base),
        }
    }

    /// Whether half of its life is over.
    fn is_half_over(&self, held: &Held) -> bool {
        held.life.refresh_at(held.life.length(), 0) <= self.holdings.clock.now()
    }

    /// Whether what is stored is another process's work.
    fn is_theirs(&self, current: &Record, held: &Record) -> bool {
        let later = current.generation > held.generation;
        let other = current.generation == held.generation && is_other(current, held);
        later || (other && self.cause != Cause::Operator)
    }

    /// Saves what is in memory alone.
    fn save(&self, journal: &mut Journal<'_>, record: &Record, current: Option<Record>) -> Outcome {
        let saved = match current {
            Some(current) if current.generation > record.generation => return Outcome::Taken(current),
            // Another login was put there by hand: ours could never be saved over it.
            Some(current) if current.generation == record.generation && current.lineage != record.lineage => {
                return Outcome::Taken(current);
            }
            None if record.generation > 1 => return Outcome::Gone,
            Some(_) | None => journal.save(record),
        };
        match saved {
            Ok(()) => Outcome::Saved(record.clone()),
            Err(error) => unwritable(error.to_string()),
        }
    }

    /// Ends what another life of this process began. `None`: there is nothing, or it is known and its time has come.
    fn take_up(&self, journal: &mut Journal<'_>, base: &Record, held: &Held) -> Option<Outcome> {
        let unfinished = match journal.unfinished() {
            Ok(unfinished) => unfinished?,
            Err(error) => return Some(unwritable(format!("its journal cannot be read: {error}"))),
        };
        if unfinished.intent.generation != base.generation {
            self.settle(journal);
            return None;
        }
        match self.replay(base, &unfinished) {
            Some(Meaning::Trouble(Trouble::Unknown, _)) | None => self.interrupted(&unfinished, base, held),
            Some(Meaning::Trouble(..)) => {
                self.settle(journal);
                None
            }
            Some(meaning) => Some(self.conclude(journal, base, meaning, unfinished.intent.started_at)),
        }
    }

    /// What an answer says that was written down and not acted upon.
    fn replay(&self, base: &Record, unfinished: &Unfinished) -> Option<Meaning> {
        let (status, body) = unfinished.answer.as_ref()?;
        let provider = self.pool.provider.as_ref()?;
        let status = StatusCode::from_u16(*status).ok()?;
        let answer = provider.answer(status, &HeaderMap::new(), body, unfinished.intent.started_at);
        Some(meaning(Ok(answer.without(&secrets(base)))))
    }

    /// Nobody knows what became of it. The first to find out waits for the token's end.
    fn interrupted(&self, unfinished: &Unfinished, base: &Record, held: &Held) -> Option<Outcome> {
        let now = self.holdings.clock.now();
        let wanted = self.is_unknown(base) || self.cause == Cause::Operator || held.life.is_over(now);
        if wanted && self.cause != Cause::Recovery {
            self.entry.progress().unknown.get_or_insert((now, base.generation));
            return None;
        }
        let when = crate::observe::timestamp::rfc3339_millis(unfinished.intent.started_at);
        Some(Outcome::Failed(Trouble::Unknown, format!("the refresh that began at {when} was interrupted")))
    }

    fn ask(&self, journal: &mut Journal<'_>, base: &Record) -> Outcome {
        let now = self.holdings.clock.wall();
        let Some(question) = self.question(base) else { return Outcome::Idle };
        if base.registration.as_ref().and_then(|it| it.expires_at).is_some_and(|expires_at| expires_at <= now) {
            let detail = "the client that was registered for this login has expired".to_owned();
            return self.needs_login(journal, base, "registration_expired", detail);
        }
        if question.spends
            && let Err(error) = journal.intend(&intent(base, now))
        {
            return unwritable(format!("nothing is asked, because the answer could not be kept: {error}"));
        }
        let Some(call) = question.provider.token(&question.grant, base.registration.as_ref()) else {
            self.unspent(journal, base);
            return Outcome::Failed(
                Trouble::Refused,
                "it lacks the client that was registered for its login".to_owned(),
            );
        };
        self.mark_sent(base.generation);
        let reply = self.holdings.handle.block_on(self.holdings.courier.send(question.provider, call));
        let came = self.holdings.clock.wall();
        let meaning = self.understand(journal, &question, base, reply, came);
        self.conclude(journal, base, meaning, came)
    }

    /// `None`: there is nobody to ask, or nothing to ask with.
    fn question(&self, base: &Record) -> Option<Question<'_>> {
        let provider = self.pool.provider.as_ref()?;
        if self.pool.grants_itself() {
            return Some(Question { provider, grant: Grant::ClientCredentials, spends: false });
        }
        let refresh_token = base.refresh_token.clone()?;
        Some(Question { provider, grant: Grant::Refresh { refresh_token }, spends: true })
    }

    fn mark_sent(&self, generation: u64) {
        if self.cause == Cause::Rejected {
            self.entry.progress().forced = Some((self.holdings.clock.now(), generation));
        }
    }

    /// Writes down the answer as it came, then reads it.
    fn understand(
        &self,
        journal: &mut Journal<'_>,
        question: &Question<'_>,
        base: &Record,
        reply: Result<Reply, Failure>,
        came: UnixMillis,
    ) -> Meaning {
        let reply = match reply {
            Ok(reply) => reply,
            Err(failure) => return meaning(Err(failure)),
        };
        if question.spends
            && let Err(error) = journal.answered(reply.status.as_u16(), &reply.body)
        {
            // It is here, and is saved in a moment; a crash until then would lose it.
            log::error!(target: LOG, "the provider's answer for token {} is in memory alone: {error}", self.entry.id);
        }
        let answer = question.provider.answer(reply.status, &reply.headers, &reply.body, came);
        meaning(Ok(answer.without(&secrets(base))))
    }

    fn conclude(&self, journal: &mut Journal<'_>, base: &Record, meaning: Meaning, at: UnixMillis) -> Outcome {
        match meaning {
            Meaning::Granted(granted) => self.granted(journal, base, &granted, at),
            Meaning::NoGrant(detail) if self.pool.grants_itself() => Outcome::Failed(Trouble::Refused, detail),
            Meaning::NoGrant(detail) => self.no_grant(journal, base, detail),
            Meaning::Trouble(Trouble::Unknown, detail) => Outcome::Failed(Trouble::Unknown, detail),
            Meaning::Trouble(trouble, detail) => {
                self.unspent(journal, base);
                Outcome::Failed(trouble, detail)
            }
        }
    }

    /// Nothing was spent this time. If nobody knows of an earlier time, the journal goes on saying so.
    fn unspent(&self, journal: &mut Journal<'_>, base: &Record) {
        if !self.is_unknown(base) {
            return self.settle(journal);
        }
        if let Err(error) = journal.intend(&intent(base, self.holdings.clock.wall())) {
            log::warn!(target: LOG, "the journal of token {} cannot be written: {error}", self.entry.id);
        }
    }

    /// Whether nobody knows what became of an earlier refresh of that generation.
    fn is_unknown(&self, base: &Record) -> bool {
        self.entry.progress().unknown.is_some_and(|(_, generation)| generation == base.generation)
    }

    fn granted(&self, journal: &mut Journal<'_>, base: &Record, granted: &Granted, at: UnixMillis) -> Outcome {
        let mut record = base.next(granted, at);
        if base.generation == 0 {
            record.created_at = at;
        }
        match self.write(journal, &record) {
            Ok(unsaved) => Outcome::Refreshed { record, unsaved, note: granted.note },
            Err(theirs) => Outcome::Taken(*theirs),
        }
    }

    /// Nobody saves while the token is locked, but somebody may put a file there.
    fn no_grant(&self, journal: &mut Journal<'_>, base: &Record, detail: String) -> Outcome {
        if let Ok(Some(current)) = journal.current(base)
            && current.generation > base.generation
        {
            return Outcome::Taken(current);
        }
        let reason = match base.reason.as_deref() {
            Some(STALE_RESTORE) => STALE_RESTORE,
            _ if self.is_unknown(base) => "rotation_outcome_unknown",
            _ => "invalid_grant",
        };
        self.needs_login(journal, base, reason, detail)
    }

    fn needs_login(&self, journal: &mut Journal<'_>, base: &Record, reason: &str, detail: String) -> Outcome {
        let mut record = base.clone();
        record.state = State::NeedsLogin;
        record.reason = Some(reason.to_owned());
        record.last_error = Some(detail.clone());
        match self.write(journal, &record) {
            Ok(unsaved) => Outcome::NeedsLogin { record, unsaved, detail },
            Err(theirs) => Outcome::Taken(*theirs),
        }
    }

    /// Saves. `Ok(Some(_))`: why it is in memory alone.
    fn write(&self, journal: &mut Journal<'_>, record: &Record) -> Result<Option<String>, Box<Record>> {
        match journal.save(record) {
            Ok(()) => Ok(None),
            Err(SaveError::Overtaken(_)) => match journal.current(record) {
                Ok(Some(theirs)) if theirs.generation > record.generation => Err(Box::new(theirs)),
                Ok(Some(theirs)) if theirs.generation == record.generation && is_other(&theirs, record) => {
                    Err(Box::new(theirs))
                }
                _ => Ok(Some("another process has saved a later generation, which cannot be read".to_owned())),
            },
            Err(error) => Ok(Some(error.to_string())),
        }
    }

    /// A journal that stays is found again, and understood again.
    fn settle(&self, journal: &mut Journal<'_>) {
        if let Err(error) = journal.settle() {
            log::warn!(target: LOG, "the journal of token {} cannot be ended: {error}", self.entry.id);
        }
    }
}

fn unwritable(detail: String) -> Outcome {
    Outcome::Failed(Trouble::Unwritable, detail)
}

/// What a provider may quote of what it was sent.
fn secrets(base: &Record) -> Vec<&Secret> {
    let registered = base.registration.as_ref().map(|registration| &registration.client_secret);
    let all = base.refresh_token.iter().chain(registered).chain([&base.access_token]);
    all.filter(|secret| !secret.is_empty()).collect()
}

/// Whether two records of one generation are not the same.
fn is_other(one: &Record, other: &Record) -> bool {
    one.state != other.state || one.access_token != other.access_token || one.refresh_token != other.refresh_token
}

/// Whether what is stored is from before what is in use: a backup counts as the generation that was there.
pub fn is_older(current: &Record, held: &Record) -> bool {
    let is_stale = |record: &Record| record.reason.as_deref() == Some(STALE_RESTORE);
    current.generation < held.generation
        || (current.generation == held.generation && is_stale(current) && !is_stale(held))
}

/// What is written down before a refresh token is sent.
fn intent(base: &Record, now: UnixMillis) -> Intent {
    Intent { generation: base.generation, refresh_sha256: base.refresh_sha256().unwrap_or_default(), started_at: now }
}
