//! One file per section of the configuration: nodes in, parts of the [`super::model`] out.

pub mod acme;
pub mod admin;
pub mod balance;
pub mod clients;
pub mod compress;
pub mod cors;
pub mod credentials;
pub mod direct;
pub mod environments;
pub mod files;
pub mod headers;
pub mod health;
pub mod identity;
pub mod limits;
pub mod listeners;
pub mod logging;
pub mod pages;
pub mod projects;
pub mod providers;
pub mod retry;
pub mod routes;
pub mod server;
pub mod sign;
pub mod tls;
pub mod tokens;
pub mod upstreams;
