//! How each host stands: what the admin API shows, and what tests look at.

use parking_lot::Mutex;

use crate::clock::UnixMillis;

/// One host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostStatus {
    /// Its name.
    pub host: String,
    /// When what is served for it ends; `None`: nothing is.
    pub not_after: Option<UnixMillis>,
    /// When the CA is asked for the next one.
    pub next_renewal: UnixMillis,
    /// Why the last attempt came to nothing; `None` after one that did not.
    pub last_error: Option<String>,
}

/// All hosts, in the order of their names.
#[derive(Debug, Default)]
pub struct Status(Mutex<Vec<HostStatus>>);

impl Status {
    /// As of now.
    pub fn hosts(&self) -> Vec<HostStatus> {
        self.0.lock().clone()
    }

    pub(super) fn show(&self, hosts: Vec<HostStatus>) {
        *self.0.lock() = hosts;
    }
}
