//! Tokens, from the login to the last request that carries them.
//!
//! | module | what it is | knows |
//! | --- | --- | --- |
//! | [`provider`] | the wire formats of each kind of provider, as plain functions | nothing but its arguments |
//! | [`callback`] | what an operator pastes, parsed; never fetched | nothing but its arguments |
//! | [`import`] | token files that others made | nothing but its arguments |
//! | [`record`] | what a token file says | nothing but its arguments |
//! | [`store`] | the directory of token files: durable, locked, journalled; blocks | files |
//! | [`login`] | logins under way, from the state to the exchange | files, provider, vault |
//! | [`vault`] | the tokens in use: leases, rests, refreshes, their state | store, provider, network |
//!
//! Flow: a login ([`login`]) ends in a [`record::Record`], which the [`store`] has before the [`vault`] lends it; a request
//! leases it, reports what its upstream said, and never waits for a refresh that it could do without.

pub mod callback;
pub mod import;
pub mod login;
pub mod provider;
pub mod record;
pub mod store;
pub mod vault;

/// Where this floor's lines in the process log come from.
const LOG: &str = "countersign::credential";
