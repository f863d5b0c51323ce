//! Pure rules: functions of their arguments, without Pingora, clock, log or file.

pub mod accept;
pub mod access;
pub mod auth;
pub mod certificate;
pub mod chunked;
pub mod coding;
pub mod compression;
pub mod conditional;
pub mod content_type;
pub mod cors;
pub mod file_path;
pub mod forward;
pub mod head;
pub mod host;
pub mod http2;
pub mod limit;
pub mod page;
pub mod path;
pub mod range;
pub mod request_gate;
pub mod response_gate;
pub mod sign;
pub mod template;
pub mod trace;
pub mod upstream_guard;
