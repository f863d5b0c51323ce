//! Verifies passwords on a few threads of its own, so that no event loop ever waits for a hash.
//!
//! Flow: [`Verifier::check`] joins whoever asks the very same (one verification for a browser's six connections), begins an
//! [`Attempt`] at the address' allowance, queues a job, and says how it went. At most so many jobs wait; beyond that the
//! answer is [`Outcome::Overloaded`], at once.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot, watch};

use crate::clock::UnixMillis;
use crate::secret::Secret;

use super::digest::Tag;
use super::guesses::{Attempt, Beginning, Guesses, Network};
use super::store::UsersFile;

/// So many verifications wait for a thread.
const QUEUE: usize = 512;

/// A credential to verify.
#[derive(Clone, Debug)]
pub struct Login {
    /// Among whom.
    pub users: Arc<UsersFile>,
    /// Who counts failures.
    pub guesses: Arc<Guesses>,
    /// Whence it came.
    pub from: Network,
    /// The name.
    pub user: Box<str>,
    /// The password.
    pub password: Secret,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The password is the user's.
    Right,
    /// It is not, or there is no such user.
    Wrong,
    /// Nobody looked: too many from that address were wrong. When to come back.
    TooMany(Duration),
    /// Nobody looked: too many wait already.
    Overloaded,
}

/// The threads, and who waits for what.
#[derive(Debug)]
pub struct Verifier {
    queue: Arc<Queue>,
    flights: Mutex<HashMap<Tag, watch::Receiver<Option<Outcome>>>>,
    /// Told whenever an attempt has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    stop: bool,
}

#[derive(Debug)]
struct Job {
    login: Login,
    now: UnixMillis,
    tell: oneshot::Sender<bool>,
}

impl Verifier {
    /// Starts `threads` of them.
    ///
    /// # Errors
    /// What the system says when it has no thread left.
    pub fn start(threads: usize) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Queue::default());
        let verifier = Arc::new(Self { queue, flights: Mutex::default(), ended: Notify::new() });
        for number in 0..threads.max(1) {
            let queue = Arc::clone(&verifier.queue);
            std::thread::Builder::new().name(format!("passwords-{number}")).spawn(move || queue.work())?;
        }
        Ok(verifier)
    }

    /// Verifies. `now`: the clock.
    pub async fn check(&self, login: &Login, now: impl Fn() -> UnixMillis) -> Outcome {
        let tag = login.users.tag(login.from, &login.user, &login.password);
        loop {
            match self.join(tag) {
                Role::First(flight) => {
                    let outcome = self.lead(login, &now).await;
                    flight.land(outcome);
                    return outcome;
                }
                Role::Other(mut outcome) => {
                    if let Ok(Some(outcome)) = outcome.wait_for(Option::is_some).await.map(|outcome| *outcome) {
                        return outcome;
                    }
                    // The first has left without an answer: somebody else is the first now.
                }
            }
        }
    }

    fn join(&self, tag: Tag) -> Role<'_> {
        let mut flights = self.flights.lock();
        if let Some(outcome) = flights.get(&tag) {
            return Role::Other(outcome.clone());
        }
        let (tell, outcome) = watch::channel(None);
        flights.insert(tag, outcome);
        Role::First(Flight { verifier: self, tag, tell })
    }

    async fn lead(&self, login: &Login, now: impl Fn() -> UnixMillis) -> Outcome {
        let attempt = match self.begin(login, &now).await {
            Ok(attempt) => Ending { attempt: Some(attempt), verifier: self },
            Err(wait) => return Outcome::TooMany(wait),
        };
        let Some(told) = self.queue.push(login, now()) else {
            attempt.end(Attempt::succeeded);
            return Outcome::Overloaded;
        };
        match told.await {
            Ok(true) => {
                attempt.end(Attempt::succeeded);
                Outcome::Right
            }
            Ok(false) => {
                attempt.end(|attempt| attempt.failed(now()));
                Outcome::Wrong
            }
            // The threads have ended.
            Err(_) => {
                attempt.end(Attempt::succeeded);
                Outcome::Overloaded
            }
        }
    }

    /// Waits while attempts of the same address that are under way fill its allowance.
    async fn begin(&self, login: &Login, now: impl Fn() -> UnixMillis) -> Result<Attempt, Duration> {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            match login.guesses.begin(login.from, now()) {
                Beginning::Begun(attempt) => return Ok(attempt),
                Beginning::Closed(wait) => return Err(wait),
                Beginning::Later => ended.await,
            }
        }
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.queue.jobs.lock().stop = true;
        self.queue.wake.notify_all();
    }
}

/// Whether somebody asks the same already.
enum Role<'v> {
    First(Flight<'v>),
    Other(watch::Receiver<Option<Outcome>>),
}

/// The first who asks; gone, however it went, it is no longer joined.
struct Flight<'v> {
    verifier: &'v Verifier,
    tag: Tag,
    tell: watch::Sender<Option<Outcome>>,
}

impl Flight<'_> {
    fn land(self, outcome: Outcome) {
        self.tell.send_replace(Some(outcome));
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.verifier.flights.lock().remove(&self.tag);
    }
}

/// An attempt whose end, however it comes, wakes those who wait for one.
struct Ending<'v> {
    attempt: Option<Attempt>,
    verifier: &'v Verifier,
}

impl Ending<'_> {
    fn end(mut self, how: impl FnOnce(Attempt)) {
        if let Some(attempt) = self.attempt.take() {
            how(attempt);
        }
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        drop(self.attempt.take());
        self.verifier.ended.notify_waiters();
    }
}

impl Queue {
    /// `None`: too many wait already.
    fn push(&self, login: &Login, now: UnixMillis) -> Option<oneshot::Receiver<bool>> {
        let (tell, told) = oneshot::channel();
        let mut jobs = self.jobs.lock();
        if jobs.waiting.len() >= QUEUE {
            return None;
        }
        jobs.waiting.push_back(Job { login: login.clone(), now, tell });
        self.wake.notify_one();
        Some(told)
    }

    fn work(&self) {
        while let Some(Job { login, now, tell }) = self.next() {
            // Whoever asked may have left: then nothing is worth the work.
            if tell.is_closed() {
                continue;
            }
            let verify = || login.users.verify_from(login.from, &login.user, &login.password, now);
            let right = catch_unwind(AssertUnwindSafe(verify)).unwrap_or(false);
            let _ = tell.send(right);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs.lock();
        loop {
            if jobs.stop {
                return None;
            }
            if let Some(job) = jobs.waiting.pop_front() {
                return Some(job);
            }
            self.wake.wait(&mut jobs);
        }
    }
}

#[cfg(test)]
mod tests;
