//! Under which name, and from which page: what keeps other sites' pages out, whatever credential a browser adds.
//!
//! A page whose own name resolves to this address (DNS rebinding) still sends that name as `host`; a page that posts here says so in
//! `origin` and `sec-fetch-site`, which no page can forge. Behind a proxy both may be those of `admin.public_url`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, Method, StatusCode, header};
use url::Url;

use super::answer::Problem;

/// What the listener is called.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// Where it listens.
    pub own: SocketAddr,
    /// Whether it speaks TLS there.
    pub tls: bool,
    /// `admin.hosts`
    pub further: &'a [String],
    /// `admin.public_url`
    pub public: Option<&'a Url>,
}

impl Names<'_> {
    /// Whether that `host` is one of them.
    fn has(&self, host: &str) -> bool {
        let (name, port) = split_port(host);
        let Some(port) = port else { return false };
        let named = self.further.iter().any(|known| name_matches(name, known) || host.eq_ignore_ascii_case(known));
        let local = name.eq_ignore_ascii_case("localhost")
            || literal(name).is_some_and(|address| address == self.own.ip() || is_usual_loopback(address));
        let own_port = port.unwrap_or(if self.tls { 443 } else { 80 });
        named || (local && own_port == self.own.port()) || self.public.is_some_and(|public| is_at(public, name, port))
    }
}

fn is_at(public: &Url, name: &str, port: Option<u16>) -> bool {
    let same_name = public.host_str().is_some_and(|known| name_matches(name, known));
    same_name && port.or(default_port(public)) == public.port_or_known_default()
}

fn default_port(url: &Url) -> Option<u16> {
    match url.scheme() {
        "https" => Some(443),
        _ => Some(80),
    }
}

/// Refuses names that are not ours.
pub fn check_host(headers: &HeaderMap, names: &Names<'_>) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
    let known = hosts.next().is_none() && names.has(host);
    if known { Ok(()) } else { Err(unknown_host()) }
}

fn unknown_host() -> Problem {
    let message = "the admin listener does not answer to this host; see admin.hosts and admin.public_url";
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", message)
}

fn is_usual_loopback(address: IpAddr) -> bool {
    address == IpAddr::from([127, 0, 0, 1]) || address == IpAddr::V6(Ipv6Addr::LOCALHOST)
}

/// Name (or bracketed literal) and port; a port that is none is `None`.
fn split_port(host: &str) -> (&str, Option<Option<u16>>) {
    let after_literal = host.rfind(']').map_or(0, |end| end + 1);
    match host.get(after_literal..).and_then(|rest| rest.find(':')) {
        None => (host, Some(None)),
        Some(colon) => {
            let (name, port) = host.split_at(after_literal + colon);
            (name, port.get(1..).and_then(|digits| digits.parse().ok()).map(Some))
        }
    }
}

fn name_matches(name: &str, known: &str) -> bool {
    name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case(known)
}

fn literal(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => name.parse().ok().map(IpAddr::V4),
    }
}

/// A change that another site's page causes is refused, whatever it carries (Fetch Metadata, and `Origin` for the rest).
pub fn check_origin(method: &Method, headers: &HeaderMap, names: &Names<'_>) -> Result<(), Problem> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text(header::HeaderName::from_static("sec-fetch-site"));
    let host = text(header::HOST).unwrap_or_default();
    let allowed = match (site, text(header::ORIGIN)) {
        (None | Some("same-origin" | "none"), None) => true,
        // A page that sends no referrer sends no origin either when it posts a form (Fetch, "append a request Origin header").
        (Some("same-origin"), Some("null")) => true,
        (None | Some("same-origin" | "none"), Some(origin)) => is_own(origin, host, names.public),
        (Some(_), _) => false,
    };
    if allowed {
        return Ok(());
    }
    let message = format!("{method} from a page of another site is refused");
    Err(Problem::new(StatusCode::FORBIDDEN, "cross_site", message))
}

fn is_own(origin: &str, host: &str, public: Option<&Url>) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let by_host = authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host));
    by_host || public.is_some_and(|public| public.origin().ascii_serialization().eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(host: &str) -> bool {
        let further = ["edge.internal".to_owned(), "ops.test:8443".to_owned()];
        let public = Url::parse("https://your-domain.test").unwrap();
        let own = "127.0.0.1:9090".parse().unwrap();
        Names { own, tls: false, further: &further, public: Some(&public) }.has(host)
    }

    #[test]
    fn our_names_are_known_in_every_spelling() {
        for host in [
            "127.0.0.1:9090",
            "localhost:9090",
            "LOCALHOST:9090",
            "[::1]:9090",
            "edge.internal",
            "Edge.Internal.:1234",
            "ops.test:8443",
            "your-domain.test",
            "Your-Domain.test:443",
        ] {
            assert!(ours(host), "{host}");
        }
    }

    #[test]
    fn every_other_name_is_somebody_elses() {
        for host in [
            "",
            "evil.test",
            "evil.test:9090",
            "127.0.0.1",
            "127.0.0.1:9091",
            "localhost",
            "127.0.0.1.evil.test:9090",
            "localhost:9090:9090",
            "localhost:9090@evil.test",
            "127.0.0.2:9090",
            "[::2]:9090",
            "[::1:9090",
            "ops.test",
            "0x7f.1:9090",
            "2130706433:9090",
            "edge.internal:x",
            "xedge.internal",
            "your-domain.test:80",
            "your-domain.test.evil.test",
        ] {
            assert!(!ours(host), "{host}");
        }
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (header::HeaderName::from_static(name), header::HeaderValue::from_static(value))
        };
        lines.iter().map(pair).collect()
    }

    #[test]
    fn with_tls_the_usual_port_is_another() {
        let own = "127.0.0.1:443".parse().unwrap();
        let names = |tls| Names { own, tls, further: &[], public: None };
        assert!(names(true).has("localhost") && !names(false).has("localhost"));
    }

    #[test]
    fn changes_from_other_sites_are_refused() {
        let public = Url::parse("https://your-domain.test").unwrap();
        let own = "127.0.0.1:9090".parse().unwrap();
        let allowed = |lines: &[_]| {
            let mut headers = headers(lines);
            headers.insert(header::HOST, header::HeaderValue::from_static("localhost:9090"));
            let names = Names { own, tls: false, further: &[], public: Some(&public) };
            check_origin(&Method::POST, &headers, &names).is_ok()
        };
        for lines in [
            &[][..],
            &[("origin", "http://localhost:9090"), ("sec-fetch-site", "same-origin")],
            &[("origin", "null"), ("sec-fetch-site", "same-origin")],
            &[("origin", "https://your-domain.test"), ("sec-fetch-site", "same-origin")],
            &[("origin", "https://your-domain.test")],
            &[("origin", "http://localhost:9090")],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ] {
            assert!(allowed(lines), "{lines:?}");
        }
        for lines in [
            &[("origin", "http://evil.test")][..],
            &[("origin", "null")],
            &[("origin", "null"), ("sec-fetch-site", "none")],
            &[("origin", "http://localhost:9091")],
            &[("origin", "http://your-domain.test")],
            &[("origin", "https://your-domain.test:8443")],
            &[("origin", "https://your-domain.test.evil.test")],
            &[("origin", "")],
            &[("origin", "file://")],
            &[("origin", "http://evil.test"), ("sec-fetch-site", "same-origin")],
            &[("origin", "http://localhost:9090"), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "")],
            &[("sec-fetch-site", "SAME-ORIGIN")],
        ] {
            assert!(!allowed(lines), "{lines:?}");
        }
    }
}
