//! The data plane: connections of our own, driven into Pingora's HTTP engine.
//!
//! Flow of one request: `listener` accepts -> `driver` waits for a whole head under a deadline and puts it through the
//! byte-level gate -> `gateway` (Pingora's phases, a few lines each) pins the table, asks [`crate::table::Table::decide`],
//! and either answers (`respond`) or picks a peer (`peer`, `resolve`), rewrites the fresh head by
//! [`crate::table::rewrite`], and lets Pingora stream -> `context` writes one record when the request is gone, however it went.
//!
//! `connection` is the stream that Pingora gets. It holds small writes and hands them to the kernel at the moment the
//! connection goes idle, so that a small response is one system call and yet no byte waits.
//!
//! Not here: what decides (`policy`, `table`), what the operator sees (`observe`, `admin`). TLS, HTTP/2 and PROXY protocol
//! enter at `transport` and `driver`: the transport is an enum and the driver is chosen per connection.

mod accept;
mod attempt;
mod clocks;
mod complaints;
mod compress;
pub mod connection;
mod context;
mod credential;
mod deadline;
mod decorate;
mod dial;
mod downstream;
mod driver;
mod encoder;
mod engine;
mod failure;
mod files;
mod gateway;
mod heads;
mod health;
mod http2;
mod http2_upstream;
mod io;
mod listener;
mod own;
mod peer;
mod plain;
mod probe;
mod reach;
mod resolve;
mod respond;
mod sso;
mod transport;
mod workers;

pub use engine::{Engine, Parts, Tables};
pub use health::start as check_upstreams;
pub use listener::{BindError, Bound, Listening, bind};
pub use resolve::Resolver;
pub use workers::Workers;
