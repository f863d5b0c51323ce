//! What a listener and the certificates behind it say.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::diagnostic::{Pos, Spanned};

/// `tls` of a listener, or of the admin listener: read at start; the files behind it are live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// The oldest version that is spoken; 1.2.
    pub min_version: TlsVersion,
    /// Chosen by SNI; the first is the default. Empty: only what `acme` obtains.
    pub certificates: Vec<CertificateFiles>,
    /// Clients must show a certificate of one of these CAs; `None`: nobody is asked for one.
    pub client_ca: Option<Spanned<PathBuf>>,
    /// Where the key stands.
    pub at: Pos,
}

/// The oldest TLS version that a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// A certificate chain and its private key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the server's own certificate first.
    pub cert: Spanned<PathBuf>,
    /// The private key.
    pub key: Spanned<PathBuf>,
}

/// `acme`: certificates that are obtained and renewed (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The CA's directory.
    pub directory: Spanned<Url>,
    /// `mailto:` addresses, for the CA.
    pub contact: Vec<String>,
    /// For which names, lower case; one certificate each; never empty.
    pub hosts: Vec<Spanned<String>>,
    /// Where account and certificates are kept; `acme` in the admin's `state_dir` unless written.
    pub storage: Option<PathBuf>,
    /// A PEM file with further CA certificates for the directory's own TLS.
    pub ca: Option<Spanned<PathBuf>>,
    /// How long before its end a certificate is renewed when the CA says nothing (RFC 9773); `None`: a third of its life.
    pub renew_before: Option<Duration>,
    /// Where the key stands.
    pub at: Pos,
}
