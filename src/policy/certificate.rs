//! Who a verified client certificate says it is.

/// The subject of a client certificate whose chain the listener has verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The whole subject (RFC 4514), for logs and headers.
    pub subject: String,
    /// The mail address: the first `rfc822Name` among the alternative names, else the subject's `emailAddress`; may be empty.
    pub email: String,
    /// The subject's common name; may be empty.
    pub common_name: String,
    /// Lower-case hex of the certificate's SHA-256.
    pub fingerprint: String,
}
