//! Requests of the process's own, to CAs and OAuth servers: one connection a request, bounded in time and size, whatever
//! the other side does. Redirects are answers like any other; no proxy of the environment is used.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

/// What a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To connect, name resolution and TLS included.
    pub connect: Duration,
    /// In all.
    pub total: Duration,
    /// Bytes of the answer's body.
    pub body: usize,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing was sent: no name, no connection, no TLS.
    #[error("{0}")]
    Unsent(String),
    /// The request, or part of it, had left: nobody knows what became of it.
    #[error("{0}")]
    Unknown(String),
}

/// There is no CA certificate to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no CA certificate can be trusted: install `ca-certificates`, or set SSL_CERT_FILE")]
pub struct NoTrust;

/// Trusts the system's CAs, and some more. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {}

impl Client {
    /// `further`: CA certificates, DER.
    ///
    /// # Errors
    /// There is none at all.
    pub fn new(further: &[Vec<u8>]) -> Result<Self, NoTrust> {
        let _ = further;
        todo!()
    }

    /// One request; `host`, `user-agent` and `connection` are set here.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn exchange(&self, request: Request<Bytes>, limits: Limits) -> Result<Response<Bytes>, Failure> {
        let _ = (request, limits);
        todo!()
    }
}
