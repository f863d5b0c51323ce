//! Certificates that are obtained, compiled: what [`crate::acme`] works by.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// `acme`. Live: hosts come and go, and the directory may change, by a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The CA's directory, as a URL.
    pub directory: String,
    /// `mailto:` addresses.
    pub contact: Vec<String>,
    /// Lower case, each once; one certificate each.
    pub hosts: Vec<Arc<str>>,
    /// Where account and certificates are kept.
    pub storage: PathBuf,
    /// Further CA certificates for the directory's own TLS, DER.
    pub ca: Vec<Vec<u8>>,
    /// Before a certificate's end; `None`: a third of its life.
    pub renew_before: Option<Duration>,
}
