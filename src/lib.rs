//! Countersign: a reverse proxy on Pingora that signs and credentials requests.
//!
//! The floors, from the ground up; imports only ever go down this list (`tests/architecture.rs` holds them to it):
//!
//! | floor | modules | what it may know |
//! | --- | --- | --- |
//! | words | [`id`], [`clock`], [`secret`], [`private`], [`sealed`], [`sign_token`], [`diagnostic`], [`mod@exit`], [`follow`], [`outbound`], [`observe`] | nothing above |
//! | mechanisms | [`config`], [`credential`], [`oidc`], [`policy`], [`tls`], [`users`] | words; never each other |
//! | snapshot | [`table`] | config, credential, oidc, policy, tls, users |
//! | services | [`reload`], [`proxy`], [`acme`] | table; never each other, and only `reload` knows `config` |
//! | changes | [`edit`] | `reload` and what it knows: changes to the files of the configuration |
//! | control plane | [`admin`] | everything below but `proxy` |
//! | composition | [`server`] | everything: the only place that sees every module |
//! | commands | [`cli`] | server |
//!
//! Two lives run through them. *A request*: `proxy` accepts and guards it, pins one [`table::Table`], asks
//! [`table::Table::decide`], rewrites the head by [`table::rewrite`], streams, records. *An edit*: `reload`
//! notices it, [`config`] reads it, [`table`] compiles it, one atomic store publishes it.

pub mod acme;
pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod demo;
pub mod diagnostic;
pub mod edit;
pub mod exit;
pub mod follow;
pub mod id;
pub mod observe;
pub mod oidc;
pub mod outbound;
pub mod policy;
pub mod private;
pub mod proxy;
pub mod reload;
pub mod sealed;
pub mod secret;
pub mod server;
pub mod sign_token;
pub mod table;
pub mod tls;
pub mod users;
