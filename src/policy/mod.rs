//! Pure rules: functions of their arguments, without Pingora, clock, log or file.

pub mod access;
pub mod auth;
pub mod basic;
pub mod certificate;
pub mod chunked;
pub mod forward;
pub mod head;
pub mod host;
pub mod path;
pub mod request_gate;
pub mod response_gate;
pub mod sign;
pub mod upstream_guard;
