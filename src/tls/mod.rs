//! TLS towards clients: the certificates that listeners present, and the answers to ACME challenges.
//!
//! Flow: `table::compile` loads what the configuration names ([`load`]), so that a bad file is a diagnostic with a place;
//! `acme` hands over what it obtained; `proxy` asks [`Certificates`] at every handshake. Files are followed by themselves: a
//! changed one is served from the next handshake on, and a broken one leaves the old certificate in place.
//!
//! Not here: sockets and handshakes (`proxy`), the conversation with a CA (`acme`).

mod certificates;
mod challenges;
pub mod load;

pub use certificates::Certificates;
pub use challenges::Challenges;
