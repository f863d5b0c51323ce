//! Signals, and the way out: readiness off, listeners closed, requests finished, and gone as soon as the last one is.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout_at};

use crate::credential::vault::Vault;
use crate::observe::live::Live;
use crate::proxy::Listening;

/// After the drain's deadline, how long cut requests have to write their records.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// HUP
    Reload,
    /// USR1
    ReopenLogs,
    /// TERM
    Drain,
    /// INT
    Exit,
}

/// The signals of this process.
#[derive(Debug)]
pub struct Signals {
    hup: Signal,
    usr1: Signal,
    term: Signal,
    int: Signal,
}

impl Signals {
    /// Starts to listen; from here on none of them kills the process by default.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.int.recv() => Asked::Exit,
            _ = self.term.recv() => Asked::Drain,
            _ = self.hup.recv() => Asked::Reload,
            _ = self.usr1.recv() => Asked::ReopenLogs,
        }
    }

    /// A second TERM, or INT: the operator does not want to wait.
    async fn impatience(&mut self) {
        while !matches!(self.next().await, Asked::Drain | Asked::Exit) {}
    }
}

/// Lets requests finish for at most `patience`, then cuts what is left. Ends as soon as nothing is in flight. Returns
/// whether the operator wants to wait for what else there may be.
pub async fn drain(listening: &Listening, live: &Arc<Live>, signals: &mut Signals, patience: Duration) -> bool {
    listening.stop_accepting();
    let deadline = Instant::now() + patience;
    let (idle, is_patient) = tokio::select! {
        idle = timeout_at(deadline, until_idle(live)) => (idle.is_ok(), true),
        () = signals.impatience() => (false, false),
    };
    if !idle {
        cut(listening, live).await;
    }
    is_patient
}

/// Lets refreshes of tokens that are under way end: what a provider answers to them is said once.
pub async fn last_calls(vault: &Vault, signals: &mut Signals) {
    tokio::select! {
        () = vault.stop() => {}
        () = signals.impatience() => {}
    }
}

/// Cuts every connection and gives their records a moment.
pub async fn cut(listening: &Listening, live: &Arc<Live>) {
    listening.cut_all();
    let _ = timeout_at(Instant::now() + LAST_WORDS, until_idle(live)).await;
}

/// Until no request is in flight and every connection has got its last byte.
async fn until_idle(live: &Live) {
    use std::sync::atomic::Ordering::Acquire;
    loop {
        let ended = live.ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        if live.in_flight.load(Acquire) <= 0 && live.connections.load(Acquire) <= 0 {
            return;
        }
        ended.await;
    }
}
