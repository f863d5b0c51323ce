//! The vault's own thread: it begins what is due, listens to the directory, and outlives every request.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::holdings::Holdings;
use super::watch::{GATHER, POLL, POLL_BLIND, listen};

/// Attempts under way have that long to end: no call takes longer.
pub const LAST_CALLS: Duration = Duration::from_secs(35);
/// Without anything due.
const NAP: Duration = Duration::from_secs(60);

/// Runs until told to end, and then until nothing is under way.
pub async fn run(holdings: Arc<Holdings>, directory: Option<PathBuf>, end: CancellationToken) {
    let work = async {
        tokio::join!(keep_fresh(&holdings), keep_up(&holdings, directory));
    };
    tokio::select! {
        () = end.cancelled() => {}
        () = work => {}
    }
    holdings.set_stopping();
    at_rest(&holdings).await;
}

/// Until nothing is under way, at most as long as a call may take.
pub async fn at_rest(holdings: &Holdings) {
    let mut flights = holdings.flights.subscribe();
    let _ = tokio::time::timeout(LAST_CALLS, flights.wait_for(|flights| *flights == 0)).await;
}

/// Begins what is due, when it is.
async fn keep_fresh(holdings: &Arc<Holdings>) {
    loop {
        let next = holdings.begin_all();
        let at = holdings.now().after(NAP).min(next.unwrap_or(holdings.now().after(NAP)));
        tokio::select! {
            () = tokio::time::sleep_until(holdings.clock.instant_of(at)) => {}
            () = holdings.wake.notified() => {}
        }
    }
}

/// Follows the directory.
async fn keep_up(holdings: &Arc<Holdings>, directory: Option<PathBuf>) {
    let Some(directory) = directory else { return };
    let changed = Arc::new(Notify::new());
    let watcher = listen(&directory, Arc::clone(&changed));
    let poll = if watcher.is_some() { POLL } else { POLL_BLIND };
    loop {
        let looking = Arc::clone(holdings);
        // A look that panics is made up for by the next.
        let _ = tokio::task::spawn_blocking(move || looking.look_at_directory()).await;
        if tokio::time::timeout(poll, changed.notified()).await.is_ok() {
            tokio::time::sleep(GATHER).await;
        }
    }
}
