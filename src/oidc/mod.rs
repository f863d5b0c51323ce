//! OpenID Connect: who somebody is, by the word of an issuer.
//!
//! Two ways lead here. A *browser* logs in (authorization code with PKCE, OpenID Connect Core 1.0 §3.1) and carries a sealed
//! session in cookies from then on: [`Client::begin`], [`Client::finish`], then [`Client::session`] on each request and
//! [`Client::renew`] when the session says so. A *program* shows a JWT that an issuer made for us (RFC 9068, RFC 8725), as
//! `authorization: Bearer`: [`Issuer::verify`].
//!
//! An [`Issuer`] lives as long as the process wants it: it holds the issuer's documents, and what must happen once although
//! many ask. Everything else is data, and is made anew with each configuration.
//!
//! The tokens are read here, and ring looks at their signatures. The crate `jsonwebtoken` would have been the other way: it
//! reads the system's clock by itself, wants one provider of cryptography for the whole process (and panics without one),
//! and takes an issuer that is a list.

mod back;
mod claims;
mod client;
mod exchange;
mod issuer;
mod json;
mod jwt;
mod keys;
mod login;
mod metadata;
mod network;
mod person;
mod renewal;
mod session;
#[cfg(test)]
pub(crate) mod testing;

pub use back::safe_back;
pub use claims::{Claims, Expected, Kind, Why};
pub use client::{Client, Settings};
pub use issuer::{BadIssuer, Issuer, Unreachable, Verdict};
pub use jwt::{claimed_issuer, looks_like_jwt};
pub use keys::{BadKeys, Keys};
pub use login::{Begun, Fault, Finished, login_mark};
pub use person::{ClaimNames, NoPerson, Person};
pub use renewal::Renewed;
pub use session::Session;

/// What log lines begin with.
const TARGET: &str = "countersign::oidc";

#[cfg(test)]
mod tests;
