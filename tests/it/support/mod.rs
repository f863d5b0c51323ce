//! What the integration tests stand on: the real binary as a process ([`edge`]), scripted origins that speak raw TCP
//! ([`origin`]), a raw client ([`client`]), and one leak guard that every response passes ([`leak`]).
//!
//! Threads and blocking sockets throughout, so that a test reads from top to bottom. Nothing sleeps for a fixed time:
//! everything waits for a condition, with a patience. Everything is on 127.0.0.1.

pub mod authority;
pub mod aws;
pub mod browser;
pub mod client;
pub mod dns;
pub mod edge;
pub mod frames;
pub mod h2;
pub mod hpack;
pub mod leak;
pub mod link;
pub mod message;
pub mod metrics;
pub mod nginx;
pub mod node;
pub mod oidc_provider;
pub mod origin;
pub mod pebble;
pub mod process;
pub mod python;
pub mod scripted_provider;
pub mod shared;
pub mod signature;
pub mod tls;
pub mod tokens;
pub mod visitor;
pub mod wait;

pub use client::{Request, Response, Wire};
pub use edge::{Config, Edge};
pub use message::{Ending, Stop};
pub use origin::{Exchange, Origin, Recorded};
pub use shared::Shared;
pub use wait::{Gate, PATIENCE, eventually, eventually_within, gate};
