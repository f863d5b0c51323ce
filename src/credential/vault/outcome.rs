//! What an answer means for a token, and how one attempt may end. Pure: the table of outcomes.
//!
//! | the provider | the token |
//! | --- | --- |
//! | grants a token, with or without a refresh token | the next generation, saved |
//! | `invalid_grant` | if nobody else has saved a later generation: somebody has to log in; the record is kept |
//! | `invalid_client`, a redirect, another definite no | left alone; again in 1 to 15 minutes |
//! | 429, 503 with `retry-after` | left alone; again when it says |
//! | cannot be reached | left alone; again in 1 to 60 seconds |
//! | is silent after the request has left, 5xx, garbage | serves until it ends; then the old refresh token is tried again |
//! | is not asked, because nothing can be written | serves until it ends; again in 1 to 4 seconds |

use std::time::Duration;

use super::entry::Progress;
use super::moment::Moment;
use super::schedule::{Cause, backoff};
use crate::credential::provider::{Answer, Granted, Refusal};
use crate::credential::record::Record;
use crate::outbound::Failure;

/// Pauses after a definite no that is not the token's fault.
const REFUSED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15 * 60));
/// Pauses after the old refresh token was tried again, and nobody knows again.
const UNKNOWN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5 * 60));
/// Pauses while nothing can be written.
const UNWRITABLE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));
/// Between two attempts to save what is in memory alone.
const SAVE_AGAIN: Duration = Duration::from_secs(2);
/// What a provider may ask for, and what is assumed when it does not.
const BUSY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
const BUSY_UNSAID: Duration = Duration::from_secs(30);

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome {
    /// A new generation. `unsaved`: why it is in memory alone.
    Refreshed {
        /// As it is in use now.
        record: Record,
        /// Why the disk does not know it.
        unsaved: Option<String>,
        /// Something to tell the operator.
        note: Option<&'static str>,
    },
    /// What was in memory alone is on the disk.
    Saved(Record),
    /// Another process has been there.
    Taken(Record),
    /// Only a login helps.
    NeedsLogin {
        /// As it was, but for its state.
        record: Record,
        /// Why the disk does not know that.
        unsaved: Option<String>,
        /// In the provider's words.
        detail: String,
    },
    /// Nothing has changed.
    Failed(Trouble, String),
    /// Its file is gone: another process has removed it.
    Gone,
    /// There was nothing to do.
    Idle,
}

/// Why nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A definite no that another login would not change.
    Refused,
    /// Later, says the provider.
    Busy(Option<Duration>),
    /// It was not reached.
    Unsent,
    /// It was reached, and nobody knows what became of it.
    Unknown,
    /// It was not asked: what it answers could not be kept.
    Unwritable,
}

/// What an answer means.
#[derive(Debug)]
pub enum Meaning {
    /// A token.
    Granted(Granted),
    /// Only a login helps.
    NoGrant(String),
    /// Neither.
    Trouble(Trouble, String),
}

/// Reads an answer, or that there is none.
pub fn meaning(answer: Result<Answer, Failure>) -> Meaning {
    match answer {
        Ok(Answer::Granted(granted)) => Meaning::Granted(granted),
        Ok(Answer::Refused(refused)) if refused.kind == Refusal::Grant => Meaning::NoGrant(refused.to_string()),
        Ok(Answer::Refused(refused)) => Meaning::Trouble(Trouble::Refused, refused.to_string()),
        Ok(Answer::Busy { retry_after }) => busy(retry_after),
        // AWS throttles with the words of a device login.
        Ok(Answer::Pending { .. }) => busy(None),
        Ok(Answer::Unknown(detail)) => Meaning::Trouble(Trouble::Unknown, detail),
        Err(Failure::Unsent(detail)) => Meaning::Trouble(Trouble::Unsent, detail),
        Err(Failure::Unknown(detail)) => Meaning::Trouble(Trouble::Unknown, detail),
    }
}

fn busy(retry_after: Option<Duration>) -> Meaning {
    Meaning::Trouble(Trouble::Busy(retry_after), "the provider asks to come back later".to_owned())
}

/// How long a provider that is busy is left alone.
pub fn busy_pause(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or(BUSY_UNSAID).clamp(BUSY.0, BUSY.1)
}

impl Outcome {
    /// The metric's word; `None`: nobody was asked, and nothing is counted.
    pub fn label(&self) -> Option<&'static str> {
        match self {
            Self::Refreshed { .. } => Some("refreshed"),
            Self::Taken(_) => Some("taken"),
            Self::NeedsLogin { .. } => Some("needs_login"),
            Self::Failed(Trouble::Refused, _) => Some("refused"),
            Self::Failed(Trouble::Busy(_), _) => Some("busy"),
            Self::Failed(Trouble::Unsent, _) => Some("unreached"),
            Self::Failed(Trouble::Unknown, _) => Some("unknown"),
            Self::Failed(Trouble::Unwritable, _) => Some("unwritable"),
            Self::Saved(_) | Self::Gone | Self::Idle => None,
        }
    }

    /// For those who wait.
    pub fn ended(&self) -> Result<(), String> {
        match self {
            Self::Refreshed { .. } | Self::Saved(_) | Self::Taken(_) | Self::Idle => Ok(()),
            Self::NeedsLogin { detail, .. } => Err(format!("log in again: {detail}")),
            Self::Failed(_, detail) => Err(detail.clone()),
            Self::Gone => Err("it was removed meanwhile".to_owned()),
        }
    }
}

impl Progress {
    /// Takes note of how an attempt ended. `generation`: that it began with; `spends`: a refresh token was sent.
    pub fn note(&mut self, outcome: &Outcome, cause: Cause, generation: u64, spends: bool, now: Moment) {
        match outcome {
            Outcome::Refreshed { unsaved, .. } => self.well(unsaved.as_deref(), None, now),
            Outcome::NeedsLogin { unsaved, detail, .. } => self.well(unsaved.as_deref(), Some(detail), now),
            Outcome::Saved(_) | Outcome::Taken(_) => self.well(None, None, now),
            Outcome::Idle => self.recovered = true,
            Outcome::Gone => {}
            Outcome::Failed(trouble, detail) => {
                self.last_error = Some(detail.clone());
                self.trouble(*trouble, cause, generation, spends, now);
            }
        }
    }

    fn well(&mut self, unsaved: Option<&str>, error: Option<&String>, now: Moment) {
        self.failures = 0;
        self.unknown = None;
        self.recovered = true;
        self.said_unwritable = false;
        self.last_error = error.cloned().or_else(|| unsaved.map(|detail| format!("Failed to save token: {detail}")));
        self.not_before = if unsaved.is_some() { now.after(SAVE_AGAIN) } else { Moment::LONG_AGO };
    }

    fn trouble(&mut self, trouble: Trouble, cause: Cause, generation: u64, spends: bool, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        let pause = |(first, longest)| now.after(backoff(self.failures, first, longest));
        match trouble {
            Trouble::Refused => self.not_before = pause(REFUSED),
            Trouble::Unwritable if cause == Cause::Save => self.not_before = now.after(SAVE_AGAIN),
            Trouble::Unwritable => self.not_before = pause(UNWRITABLE),
            Trouble::Unknown => {
                self.not_before = pause(UNKNOWN);
                self.unknown = spends.then_some((now, generation));
                self.recovered = true;
            }
            // The whole provider is left alone.
            Trouble::Busy(_) | Trouble::Unsent => {}
        }
        let unasked = matches!(trouble, Trouble::Busy(_) | Trouble::Unsent | Trouble::Unwritable);
        if unasked && self.forced.is_some_and(|(_, of)| of == generation) {
            // A 401 is still unanswered.
            self.forced = None;
        }
    }
}
