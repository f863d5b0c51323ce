//! Everything with a socket, in one binary: the real `countersign` as a process against scripted origins, real nginx,
//! real curl and real SDKs. `support` holds the fixtures; each further module is one subject, and reads as prose.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on should fail there and then, and print what it saw"
)]
#![allow(dead_code, reason = "fixtures offer a little more than today's tests use")]

mod support;

mod acme;
mod admin;
#[path = "../architecture.rs"]
mod architecture;
mod audit;
mod browser;
mod callers;
mod canary;
mod compression;
mod cors;
mod crash;
mod credentials;
mod dashboard;
mod dashboard_routes;
mod documents;
mod explain;
mod files;
mod fixtures;
mod forwarding;
mod grpc;
mod guard;
mod http2;
mod http_cases;
mod kiro;
mod kms;
mod lifecycle;
mod limits;
mod login;
mod logs;
mod oracles;
mod pages;
mod phases;
mod pool;
mod preview;
mod proxy_protocol;
mod real;
mod real_parts;
mod recipes;
mod refresh;
mod reload;
mod retries;
mod routing;
mod sign_tokens;
mod signing;
mod sso;
mod streaming;
mod switch;
mod tls;
mod to_https;
mod upstream_http2;
mod upstream_tls;
mod upstreams;
mod verifiers;
