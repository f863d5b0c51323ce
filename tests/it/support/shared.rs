//! One edge for the tests of a module: started by the first that needs it, ended when the last that uses it is done.
//! (A plain `static` would never be dropped and would leave its process behind.)

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A lazily started fixture.
pub struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    /// Nothing started yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The running one, or a new one.
    pub fn get(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = slot.upgrade() {
            return running;
        }
        let fresh = Arc::new(make());
        *slot = Arc::downgrade(&fresh);
        fresh
    }
}
