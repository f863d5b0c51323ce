//! Files that are live by themselves (certificates, htpasswd files): whoever reads them is told when they may have changed.
//!
//! Flow: the [`Follower`] asks for everything that is to be followed, watches the directories that lead to those files
//! ([`Ears`], [`Places`]), lets an edit rest, and tells whom it concerns. A look now and then ([`Fingerprint`]) catches
//! what no event told of (network file systems, bind mounts, a replaced directory). The configuration's own files are
//! watched with the same ears by `reload`.

mod ears;
mod fingerprint;
mod follower;
mod places;

use std::path::PathBuf;
use std::sync::Arc;

pub use ears::{Ears, Handle, Heard, Woken};
pub use fingerprint::Fingerprint;
pub use follower::Follower;
pub use places::Places;

/// Where this module's lines in the process log come from.
const LOG: &str = "countersign::follow";

/// Something that is made from files and can be made again.
pub trait Followed: Send + Sync {
    /// The files that it is made from.
    fn paths(&self) -> Vec<PathBuf>;

    /// They may have changed: read them again. What is broken leaves the old state in place, and says so in the log.
    fn refresh(&self);

    /// How the files looked just before they were read last, so that what changed between that and the beginning of the
    /// following is noticed. `None`: nobody knows, and so [`Self::refresh`] is called once at the beginning.
    fn seen(&self) -> Option<Fingerprint> {
        None
    }
}

/// What is to be followed at the moment; asked again after every change of the configuration.
pub type Everything = Arc<dyn Fn() -> Vec<Arc<dyn Followed>> + Send + Sync>;
