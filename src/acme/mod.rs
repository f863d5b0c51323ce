//! Certificates from a CA by ACME (RFC 8555, http-01), renewed before they end and when the CA suggests it (RFC 9773).
//!
//! Flow: [`prepare`] serves what the storage has, before any network; [`Prepared::start`] gives the `worker` a thread and
//! a runtime of its own, far from the data plane's. The worker asks each `host` what is due, and does it: `account`,
//! `order` and `suggestion` are the conversations, `https` what they are held over, `failure` how they go wrong, and
//! `schedule` when they happen. The data plane answers challenges out of [`Challenges`] and presents what is in
//! [`Certificates`].
//!
//! Invariants: a certificate is on the disk before it is served, and the old one is served until then
//! (`a_certificate_that_cannot_be_kept_is_not_served`); a host that fails holds up no other; no certificate is asked for
//! that could not be kept.

mod account;
mod failure;
mod host;
mod https;
mod order;
mod schedule;
mod status;
mod storage;
mod suggestion;
mod worker;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{Notify, watch};

use crate::observe::Observer;
use crate::tls::{Certificates, Challenges};

pub use status::{HostStatus, Status};
pub use worker::Tables;
use worker::Worker;

/// Where this module's lines in the process log come from.
const LOG: &str = "countersign::acme";

/// What it needs of the rest.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The configuration in force.
    pub tables: Tables,
    /// What is presented.
    pub certificates: Arc<Certificates>,
    /// What is answered.
    pub challenges: Arc<Challenges>,
    /// What is seen.
    pub observer: Arc<Observer>,
}

/// Ready to work; what was kept is served already.
pub struct Prepared {
    worker: Worker,
    status: Arc<Status>,
    changed: Arc<Notify>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

/// Serves what was obtained earlier.
pub fn prepare(parts: Parts) -> Prepared {
    let status = Arc::new(Status::default());
    let worker = Worker::new(parts, Arc::clone(&status));
    Prepared { worker, status, changed: Arc::default() }
}

impl Prepared {
    /// How the hosts stand, from now on.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// To be told that there is another table.
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Works on a thread of its own.
    ///
    /// # Errors
    /// No thread or runtime can be started.
    pub fn start(self) -> io::Result<Running> {
        let Self { worker, changed, .. } = self;
        let (stop, stopped) = watch::channel(false);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().thread_name("acme-blocking").build()?;
        let thread = std::thread::Builder::new().name("acme".to_owned()).spawn(move || {
            runtime.block_on(worker.run(changed, stopped));
            // A name that does not resolve must not hold up the end of the process.
            runtime.shutdown_background();
        })?;
        Ok(Running { stop, thread: Some(thread) })
    }
}

/// At work. It ends when this is dropped; what is under way is given up, and begun anew by the next process.
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when the thread is gone already.
        let _ = self.stop.send(true);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::error!(target: LOG, "the thread for certificates had panicked");
        }
    }
}
