//! Where a plain listener with `redirect_to_https` sends its requests: the same host and URI, by https.

use super::request_gate::Canonical;

/// The port that goes without saying.
pub const HTTPS: u16 = 443;

/// Host and target as they came; the port only when it is not the one that everybody knows.
pub fn location(canonical: &Canonical<'_>, port: u16) -> String {
    let Canonical { host, raw_path, query, .. } = canonical;
    let port = if port == HTTPS { String::new() } else { format!(":{port}") };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("https://{host}{port}{raw_path}{query}")
}
