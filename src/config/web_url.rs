//! URLs that the process itself, or an operator's browser, asks: https, except where nobody can listen in.

use url::{Host, Url};

use super::value::Problem;

/// A URL that secrets travel to: https, or http on this very machine; no user, no fragment.
///
/// # Errors
/// Anything else.
pub fn https(text: &str) -> Result<Url, Problem> {
    let problem = |clause: &str| Problem::says("invalid_url", clause);
    let url = Url::parse(text).map_err(|_| problem("is not a URL").hint("write https://, a host and a path"))?;
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Err(problem("is not an https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(problem("has a user name in it").hint("credentials do not belong into a URL"));
    }
    if url.fragment().is_some() {
        return Err(problem("has a fragment").hint("leave `#` and what follows out"));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(Problem::says("url_not_https", "would be asked in the clear")
            .hint("write https; plain http is accepted on this very machine only (localhost, 127.0.0.1, [::1])"));
    }
    Ok(url)
}

/// Scheme, host and port alone.
///
/// # Errors
/// As [`https`]; a path or a query.
pub fn origin(text: &str) -> Result<Url, Problem> {
    let url = https(text)?;
    if url.path() != "/" || url.query().is_some() {
        return Err(Problem::says("invalid_url", "is more than scheme, host and port")
            .hint(format!("write {}", super::value::printable(&url.origin().ascii_serialization()))));
    }
    Ok(url)
}

/// Whether a URL names this very machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_travel_by_https_or_stay_on_this_machine() {
        for good in
            ["https://sso.example.com/token?tenant=a", "http://127.0.0.9:1/t", "http://[::1]/", "http://localhost:3"]
        {
            assert!(https(good).is_ok(), "{good}");
        }
        for (wrong, code) in [
            ("http://sso.example.com/token", "url_not_https"),
            ("http://localhost.example.com/", "url_not_https"),
            ("http://10.0.0.1/", "url_not_https"),
            ("ftp://sso.example.com/", "invalid_url"),
            ("https://me:pass@sso.example.com/", "invalid_url"),
            ("https://sso.example.com/#x", "invalid_url"),
            ("sso.example.com/token", "invalid_url"),
            ("mailto:ops@example.com", "invalid_url"),
            ("", "invalid_url"),
        ] {
            assert_eq!(https(wrong).unwrap_err().code, code, "{wrong}");
        }
    }

    #[test]
    fn an_origin_has_no_path() {
        assert!(origin("https://edge.example.com").is_ok());
        assert!(origin("https://edge.example.com:8443/").is_ok());
        assert_eq!(origin("https://edge.example.com/dashboard").unwrap_err().hint, "write https://edge.example.com");
    }
}
