//! Whether an endpoint is fit: what the checks found (`health`), and what its failures brought upon it (`eject`).
//!
//! Reading it costs two atomic loads; only a failure takes a lock. A window holds at most as many moments as `errors`
//! says, so that counting is exact and its memory bounded. Moments are wall time: a clock that is set back ends an
//! ejection early rather than never.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::UnixMillis;
use crate::config::model::Eject;

use super::{Endpoint, Upstream};

/// Health and ejection of one endpoint.
#[derive(Debug, Default)]
pub struct Fitness {
    verdict: AtomicU8,
    /// When it was last ejected; 0: never.
    ejected_at: AtomicU64,
    /// When it failed lately.
    failures: Mutex<VecDeque<UnixMillis>>,
}

/// Not checked yet, which counts as healthy.
const UNKNOWN: u8 = 0;
const HEALTHY: u8 = 1;
const UNHEALTHY: u8 = 2;

/// Whether an endpoint may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Yes.
    Up,
    /// Only when nobody else is left: it failed too often lately.
    Ejected,
    /// No: the checks found it unhealthy.
    Unhealthy,
}

impl Fitness {
    /// The checks have found it healthy, or not.
    pub fn judge(&self, healthy: bool) {
        self.verdict.store(if healthy { HEALTHY } else { UNHEALTHY }, Ordering::Release);
    }

    /// Nobody checks it any more.
    pub fn forget_verdict(&self) {
        self.verdict.store(UNKNOWN, Ordering::Release);
    }

    /// What the checks found; `None` before their first verdict.
    pub fn verdict(&self) -> Option<bool> {
        match self.verdict.load(Ordering::Acquire) {
            UNKNOWN => None,
            verdict => Some(verdict == HEALTHY),
        }
    }

    /// Since when it rests, if it does.
    pub(super) fn ejected_since(&self, eject: &Eject, now: UnixMillis) -> Option<UnixMillis> {
        let at = self.ejected_at.load(Ordering::Acquire);
        (at != 0 && at <= now && now - at < millis(eject.rest)).then_some(at)
    }

    /// One more failure, of an attempt that began then; answers whether it is ejected because of it.
    fn fail(&self, eject: &Eject, began: UnixMillis, now: UnixMillis) -> bool {
        let mut failures = self.failures.lock();
        // What was under way when it was ejected has been paid for.
        let ejected_at = self.ejected_at.load(Ordering::Acquire);
        if began <= ejected_at && ejected_at <= now {
            return false;
        }
        let tried_while_ejected = self.ejected_since(eject, now).is_some();
        let window = millis(eject.within);
        failures.retain(|at| *at <= now && now - *at < window);
        failures.push_back(now);
        let enough = failures.len() >= usize::try_from(eject.errors).unwrap_or(usize::MAX);
        if enough || tried_while_ejected {
            failures.clear();
            self.ejected_at.store(now, Ordering::Release);
        }
        enough && !tried_while_ejected
    }
}

impl Upstream {
    /// Whether this endpoint of the group may be chosen now.
    pub fn standing(&self, endpoint: &Endpoint, now: UnixMillis) -> Standing {
        let fitness = &endpoint.state.fitness;
        if self.health.is_some() && fitness.verdict() == Some(false) {
            return Standing::Unhealthy;
        }
        match self.ejected_since(endpoint, now) {
            Some(_) => Standing::Ejected,
            None => Standing::Up,
        }
    }

    /// Whether checks or failures decide who may be chosen.
    pub fn is_judged(&self) -> bool {
        self.health.is_some() || self.eject.is_some()
    }

    /// Until when an ejected endpoint rests.
    pub fn rests_until(&self, endpoint: &Endpoint, now: UnixMillis) -> Option<UnixMillis> {
        let since = self.ejected_since(endpoint, now)?;
        Some(since.saturating_add(millis(self.eject?.rest)))
    }

    /// Notes that an attempt at this endpoint, begun then, failed; answers whether it is ejected because of it.
    ///
    /// An ejected endpoint that is tried, since nobody else is left, and fails again rests from then on: so the others get
    /// their turn.
    pub fn note_failure(&self, endpoint: &Endpoint, began: UnixMillis, now: UnixMillis) -> bool {
        self.eject.as_ref().is_some_and(|eject| endpoint.state.fitness.fail(eject, began, now))
    }

    pub(super) fn ejected_since(&self, endpoint: &Endpoint, now: UnixMillis) -> Option<UnixMillis> {
        endpoint.state.fitness.ejected_since(self.eject.as_ref()?, now)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
