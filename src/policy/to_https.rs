//! Where a plain listener with `redirect_to_https` sends its requests: the same host and URI, by https.

use super::access::Networks;
use super::forward;
use super::request_gate::{Canonical, RequestView};

/// The port that goes without saying.
pub const HTTPS: u16 = 443;

/// Whether the client spoke https already, to a trusted proxy that ends TLS in front: sending it there again would never end.
pub fn is_done(request: &RequestView<'_>, trusted: &Networks) -> bool {
    forward::x_forwarded_proto(request.tls, request.peer, request.headers, trusted) == "https"
}

/// Host and target as they came; the port only when it is not the one that everybody knows.
pub fn location(canonical: &Canonical<'_>, port: u16) -> String {
    let Canonical { host, raw_path, query, .. } = canonical;
    let port = if port == HTTPS { String::new() } else { format!(":{port}") };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("https://{host}{port}{raw_path}{query}")
}
