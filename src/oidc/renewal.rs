//! A session that is due is shown to the issuer again (OpenID Connect Core 1.0 §12).
//!
//! Most issuers give a new refresh token each time, and take a spent one for stolen: then they revoke everything that came
//! of it. A browser sends many requests with one old cookie. So, by refresh token:
//! - One call is made, in a task of its own, however many wait for it, and whether they stay or not.
//! - Its answer is everybody's for a minute, or ten where the token is spent: whoever comes late with the old cookie gets the
//!   same new session.
//! - A token that was spent is never sent again, until its session would have ended; only its digest is kept for that.
//!
//! Where nobody can tell whether a call arrived, the session goes on and is shown again later: at the worst, the issuer takes
//! that for a second use, and somebody logs in again.

use std::collections::HashMap;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::TARGET;
use super::claims::Why;
use super::client::{Client, Unread};
use super::exchange::{Granted, No};
use super::person::{NoPerson, Person};
use super::session::Session;
use crate::clock::UnixMillis;
use crate::secret::Secret;

/// How long an answer is everybody's, in milliseconds.
const KEPT: UnixMillis = 60 * 1000;
/// The same where the old refresh token is worth nothing any more: the new session travels with an answer that may be slow,
/// or may never arrive.
const KEPT_SPENT: UnixMillis = 10 * 60 * 1000;
/// How long an issuer is left alone that could not be asked.
const PAUSE: UnixMillis = 2 * 60 * 1000;
/// How often what is old is thrown away.
const SWEEP: UnixMillis = 10 * 1000;
/// Digests of spent tokens that are kept; beyond that, the issuer's own memory has to do.
const MOST: usize = 200_000;

/// What becomes of a session that was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// It goes on; its cookies are to be set anew.
    Fresh(Session),
    /// The issuer says no: somebody who wants more logs in again.
    Ended,
    /// The issuer cannot be asked just now: the session goes on as it is.
    Later,
}

/// Sessions that are being renewed or were, by the digest of client and refresh token.
#[derive(Debug, Default)]
pub(super) struct Renewals(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    renewals: HashMap<Digest, Renewal>,
    /// Log-ins that were left before their end, and when that would have been.
    left: HashMap<Digest, UnixMillis>,
    /// When what is old was last thrown away.
    swept_at: UnixMillis,
}

type Digest = [u8; 32];
type Waiting = watch::Receiver<Option<Answered>>;

/// One refresh token's.
#[derive(Debug)]
struct Renewal {
    begun_at: UnixMillis,
    /// When its session ends.
    ends_at: UnixMillis,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Asked, and perhaps answered.
    Asked(Waiting),
    /// Spent, longer ago than answers are kept.
    Spent,
}

/// What an issuer has said.
#[derive(Clone, Debug)]
struct Answered {
    renewed: Renewed,
    /// The refresh token must not be sent again.
    is_spent: bool,
}

/// What to do about a session.
enum Turn {
    /// Somebody has asked: wait for his answer.
    Wait(Waiting),
    /// It is this.
    Done(Renewed),
    /// Ask, and tell those who wait.
    Ask(watch::Sender<Option<Answered>>, Waiting),
}

impl Client {
    /// Asks, once for however many come with one refresh token.
    pub async fn renew(&self, session: &Session, now: UnixMillis) -> Renewed {
        if !self.holds(session, now) || self.has_left(session) {
            return Renewed::Ended;
        }
        let Some(token) = &session.refresh_token else { return Renewed::Later };
        let mut waiting = match self.issuer().renewals.turn(self.digest(token), session.ends_at, now) {
            Turn::Done(renewed) => return renewed,
            Turn::Wait(waiting) => waiting,
            Turn::Ask(tell, waiting) => {
                let (client, session, token) = (self.clone(), session.clone(), token.clone());
                tokio::spawn(async move { tell.send_replace(Some(client.answered(&session, &token, now).await)) });
                waiting
            }
        };
        let answer = waiting.wait_for(Option::is_some).await;
        // Whoever asked is gone without an answer: nobody knows.
        answer.ok().and_then(|answer| answer.clone()).map_or(Renewed::Later, |answer| answer.renewed)
    }

    /// Somebody logs out: an answer that is still on its way may bring his browser a renewed session of this log-in, which
    /// must not let him in again.
    pub fn leave(&self, session: &Session, now: UnixMillis) {
        let mut kept = self.issuer().renewals.0.lock();
        kept.sweep(now);
        if kept.left.len() < MOST {
            kept.left.insert(self.log_in_of(session), session.ends_at);
        }
    }

    /// Whether somebody has logged out of the log-in that a session is of, as far as this process knows.
    pub fn has_left(&self, session: &Session) -> bool {
        let kept = self.issuer().renewals.0.lock();
        !kept.left.is_empty() && kept.left.contains_key(&self.log_in_of(session))
    }

    fn log_in_of(&self, session: &Session) -> Digest {
        Sha256::new().chain_update(&self.mark).chain_update([1]).chain_update(&session.nonce).finalize().into()
    }

    fn digest(&self, token: &Secret) -> Digest {
        Sha256::new().chain_update(&self.mark).chain_update([0]).chain_update(token.expose()).finalize().into()
    }

    async fn answered(&self, session: &Session, token: &Secret, now: UnixMillis) -> Answered {
        let renewed = self.ask_again(session, token, now).await;
        let is_spent = match &renewed {
            Renewed::Fresh(session) => session.refresh_token.as_ref() != Some(token),
            Renewed::Ended => true,
            Renewed::Later => false,
        };
        Answered { renewed, is_spent }
    }

    async fn ask_again(&self, session: &Session, token: &Secret, now: UnixMillis) -> Renewed {
        let metadata = match self.issuer().metadata(now).await {
            Ok(metadata) => metadata,
            Err(why) => return self.later(&why),
        };
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.expose())];
        match self.exchange(&metadata, &fields).await {
            Ok(granted) => self.renewed(session, granted, now).await,
            Err(no @ No::Over(_)) => self.ended(session, &no),
            Err(no @ No::Else(_)) => self.later(&no),
        }
    }

    fn later(&self, why: &dyn std::fmt::Display) -> Renewed {
        log::warn!(target: TARGET, "a session of {} cannot be renewed now: {why}", self.issuer().url());
        Renewed::Later
    }

    fn ended(&self, session: &Session, why: &dyn std::fmt::Display) -> Renewed {
        let (user, issuer) = (&session.person.user, self.issuer().url());
        log::info!(target: TARGET, "a session of {user} by {issuer} has ended: {why}");
        Renewed::Ended
    }

    async fn renewed(&self, session: &Session, granted: Granted, now: UnixMillis) -> Renewed {
        let person = match self.still(session, &granted, now).await {
            Ok(person) => person,
            Err(why) => return self.ended(session, &why),
        };
        Renewed::Fresh(Session {
            person,
            check_at: now.saturating_add(granted.check_after_millis()),
            refresh_token: granted.refresh_token.or_else(|| session.refresh_token.clone()),
            id_token: granted.id_token.or_else(|| session.id_token.clone()),
            ..session.clone()
        })
    }

    /// Who it is by now. A new ID token must be of the same person and log-in (§12.2); it need not be there, nor name
    /// anybody. It came from the issuer itself: where its key cannot be had, the grant alone counts (§3.1.3.7, 6).
    async fn still(&self, session: &Session, granted: &Granted, now: UnixMillis) -> Result<Person, String> {
        let Some(token) = &granted.id_token else { return Ok(session.person.clone()) };
        let claims = match self.read_id_token(token, None, now).await {
            Ok(claims) => claims,
            // Its key is newer than what may be asked for just now, or nobody can be asked.
            Err(Unread::Refused(Why::UnknownKey) | Unread::Unreachable(_)) => return Ok(session.person.clone()),
            Err(Unread::Refused(why)) => return Err(why.to_string()),
        };
        let is_same_login = claims.values().get("nonce").is_none_or(|nonce| nonce.as_str() == Some(&session.nonce));
        if claims.subject() != Some(&session.subject) || !is_same_login {
            return Err("the new ID token is of somebody else".to_owned());
        }
        match Person::of(claims.values(), &self.settings.claims) {
            // What it does not say was learned elsewhere when he logged in, and stays.
            Ok(mut person) if self.settings.claims.has_user(claims.values()) => {
                if !self.settings.claims.has_name(claims.values()) {
                    person.name.clone_from(&session.person.name);
                }
                Ok(person)
            }
            Ok(_) | Err(NoPerson::NoMail) => Ok(session.person.clone()),
            Err(why @ NoPerson::NotVerified) => Err(why.to_string()),
        }
    }
}

impl Renewals {
    /// Whose turn it is.
    fn turn(&self, digest: Digest, ends_at: UnixMillis, now: UnixMillis) -> Turn {
        let mut kept = self.0.lock();
        kept.sweep(now);
        if let Some(turn) = kept.renewals.get(&digest).and_then(|renewal| renewal.turn(now)) {
            return turn;
        }
        let (tell, waiting) = watch::channel(None);
        let renewal = Renewal { begun_at: now, ends_at, state: State::Asked(waiting.clone()) };
        kept.renewals.insert(digest, renewal);
        Turn::Ask(tell, waiting)
    }
}

impl Kept {
    fn sweep(&mut self, now: UnixMillis) {
        if now.abs_diff(self.swept_at) < SWEEP {
            return;
        }
        self.swept_at = now;
        self.renewals.retain(|_, renewal| renewal.age(now));
        self.left.retain(|_, ends_at| now < *ends_at);
        if self.renewals.len() > MOST {
            self.renewals.retain(|_, renewal| matches!(renewal.state, State::Asked(_)));
        }
    }
}

impl Answered {
    /// How long it is everybody's.
    fn kept(&self) -> UnixMillis {
        match self.renewed {
            Renewed::Later => PAUSE,
            _ if self.is_spent => KEPT_SPENT,
            _ => KEPT,
        }
    }
}

impl Renewal {
    /// `None`: it may be asked, perhaps once more.
    fn turn(&self, now: UnixMillis) -> Option<Turn> {
        let State::Asked(waiting) = &self.state else { return Some(Turn::Done(Renewed::Ended)) };
        // In this order: whoever asks answers before he goes.
        let is_asking = waiting.has_changed().is_ok();
        let answer = waiting.borrow().clone();
        let age = now.abs_diff(self.begun_at);
        match answer {
            None => is_asking.then(|| Turn::Wait(waiting.clone())),
            Some(Answered { renewed: Renewed::Later, .. }) => (age < PAUSE).then_some(Turn::Done(Renewed::Later)),
            Some(answer) if age < answer.kept() => Some(Turn::Done(answer.renewed)),
            Some(answer) => answer.is_spent.then_some(Turn::Done(Renewed::Ended)),
        }
    }

    /// Forgets what is no longer anybody's. Whether anything is left to know.
    fn age(&mut self, now: UnixMillis) -> bool {
        if let State::Asked(waiting) = &self.state {
            let is_asking = waiting.has_changed().is_ok();
            let kept = waiting.borrow().as_ref().map_or(KEPT, Answered::kept);
            if is_asking || now.abs_diff(self.begun_at) < kept {
                return true;
            }
            if !waiting.borrow().as_ref().is_some_and(|answer| answer.is_spent) {
                return false;
            }
            self.state = State::Spent;
        }
        now < self.ends_at
    }
}

#[cfg(test)]
mod tests;
