//! What was obtained from a CA, by name: shared by all listeners, and kept from one table to the next.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::load::Loaded;

/// What was obtained from a CA, by host: served where a listener's own files have nothing for the name.
#[derive(Debug, Default)]
pub struct Certificates {
    obtained: ArcSwap<HashMap<String, Arc<Loaded>>>,
}

impl Certificates {
    /// From the next handshake on, `host` (lower case) is served this one.
    pub fn obtained(&self, host: &str, loaded: Arc<Loaded>) {
        self.obtained.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.insert(host.to_owned(), Arc::clone(&loaded));
            known
        });
    }

    /// `host` is not one of those any more.
    pub fn forget(&self, host: &str) {
        self.obtained.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.remove(host);
            known
        });
    }

    /// What was obtained for a host.
    pub fn obtained_for(&self, host: &str) -> Option<Arc<Loaded>> {
        self.obtained.load().get(host).cloned()
    }

    /// Everything that was obtained, by host.
    pub fn all(&self) -> Arc<HashMap<String, Arc<Loaded>>> {
        self.obtained.load_full()
    }
}
