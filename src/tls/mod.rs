//! TLS towards clients: the certificates that listeners present, and the answers to ACME challenges.
//!
//! Flow: `table::compile` loads what the configuration names ([`load`]), so that a bad file is a diagnostic with a place, and
//! makes one [`Termination`] for each listener; `acme` hands over what it obtained ([`Certificates`]); `proxy` asks the
//! termination for its rustls configuration at every handshake, and that one asks the chooser for the certificate. Files are
//! followed by themselves: a changed one is served from the next handshake on, and a broken one leaves the old one in place.
//!
//! Not here: sockets and handshakes (`proxy`), the conversation with a CA (`acme`).

mod authorities;
mod certificates;
mod challenges;
mod chooser;
pub mod files;
pub mod load;
pub mod subject;
mod termination;

pub use authorities::{Authorities, AuthoritiesError};
pub use certificates::Certificates;
pub use challenges::Challenges;
pub use termination::{Expiry, Material, Termination, TerminationError, Terms};
