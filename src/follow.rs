//! Files that are live by themselves (certificates, htpasswd files): whoever reads them is told when they may have changed.

use std::path::PathBuf;
use std::sync::Arc;

/// Something that is made from files and can be made again.
pub trait Followed: Send + Sync {
    /// The files that it is made from.
    fn paths(&self) -> Vec<PathBuf>;
    /// They may have changed: read them again. What is broken leaves the old state in place, and says so in the log.
    fn refresh(&self);
}

/// What is to be followed at the moment; asked again after every change of the configuration.
pub type Everything = Arc<dyn Fn() -> Vec<Arc<dyn Followed>> + Send + Sync>;
