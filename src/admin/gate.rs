//! Who may knock, under which name, from which page, and with which token: in that order, before any handler.
//!
//! The lists are those of the table in force, so an edit of `admin.allow`, `admin.hosts` or `admin.metrics` works at once.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;

use crate::table::{Admin, MetricsAuth};

use super::answer::{Problem, harden};
use super::login::{self, Shown};
use super::{LOG, Shared};

/// The longest that a request may take, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Of a request.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The middleware around everything.
pub async fn pass(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let peer = request.extensions().get::<Peer>().copied();
    let shown = Shown::of(request.headers());
    let admitted = match admit(&shared, &request, peer) {
        Ok(Some(peer)) => login::check(&shared, shown, peer).await,
        Ok(None) => Ok(()),
        Err(problem) => Err(problem),
    };
    let mut response = match admitted {
        Err(problem) => problem.into_response(),
        Ok(()) => match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => timed_out().into_response(),
        },
    };
    harden(&mut response);
    let level = if method.is_safe() { log::Level::Debug } else { log::Level::Info };
    let peer = peer.map(|Peer(address)| address.ip().to_string()).unwrap_or_default();
    log::log!(target: LOG, level, "{method} {path} {} from {peer}", response.status().as_u16());
    response
}

fn timed_out() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "the request took too long; what it began may go on")
        .with(header::RETRY_AFTER, 5u64)
}

/// `Some`: whoever it is at that address still has to log in.
fn admit(shared: &Shared, request: &Request, peer: Option<Peer>) -> Result<Option<IpAddr>, Problem> {
    let table = shared.parts.reloader.current();
    // Without an address there is nobody to trust; every connection has one.
    let Some(Peer(peer)) = peer else { return Err(not_allowed()) };
    let needs = Needs::of(request.uri().path(), peer.ip(), &table.admin);
    if needs.address && !contains(&table.admin.allow, peer.ip()) {
        return Err(not_allowed());
    }
    check_host(request.headers(), shared.address, &table.admin.hosts)?;
    if !request.method().is_safe() {
        check_origin(request.method(), request.headers())?;
    }
    check_length(request.headers())?;
    Ok(needs.login.then_some(peer.ip()))
}

/// A body that announces its size need not be waited for.
fn check_length(headers: &HeaderMap) -> Result<(), Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_LIMIT) { Err(too_large()) } else { Ok(()) }
}

/// The answer to a body beyond [`BODY_LIMIT`].
pub fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is larger than 1 MiB")
}

/// What a request must have beside a name that is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needs {
    /// An address in `allow`.
    address: bool,
    /// The token, or a user's password.
    login: bool,
}

impl Needs {
    fn of(path: &str, peer: IpAddr, admin: &Admin) -> Self {
        match path {
            "/livez" | "/readyz" => Self { address: true, login: false },
            "/metrics" if contains(&admin.metrics_allow, peer) => {
                Self { address: false, login: admin.metrics_auth == MetricsAuth::Required }
            }
            _ => Self { address: true, login: true },
        }
    }
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

fn not_allowed() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "address_not_allowed", "this address is not in admin.allow")
}

/// A page that had its own name resolve to this address (DNS rebinding) still sends its own name.
fn check_host(headers: &HeaderMap, own: SocketAddr, further: &[String]) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
    let known = hosts.next().is_none() && is_ours(host, own, further);
    if known { Ok(()) } else { Err(unknown_host()) }
}

fn unknown_host() -> Problem {
    let message = "the admin listener does not answer to this host; see admin.hosts";
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", message)
}

fn is_ours(host: &str, own: SocketAddr, further: &[String]) -> bool {
    let (name, port) = split_port(host);
    let Some(port) = port else { return false };
    let named = further.iter().any(|known| name_matches(name, known) || host.eq_ignore_ascii_case(known));
    let local = name.eq_ignore_ascii_case("localhost")
        || literal(name).is_some_and(|address| address == own.ip() || is_usual_loopback(address));
    named || (local && port.unwrap_or(80) == own.port())
}

fn is_usual_loopback(address: IpAddr) -> bool {
    address == IpAddr::from([127, 0, 0, 1]) || address == IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)
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
fn check_origin(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text(header::HeaderName::from_static("sec-fetch-site"));
    let host = text(header::HOST).unwrap_or_default();
    let same_origin = |origin: &str| {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    let allowed =
        site.is_none_or(|site| matches!(site, "same-origin" | "none")) && text(header::ORIGIN).is_none_or(same_origin);
    if allowed {
        return Ok(());
    }
    let message = format!("{method} from a page of another site is refused");
    Err(Problem::new(StatusCode::FORBIDDEN, "cross_site", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(host: &str) -> bool {
        is_ours(host, "127.0.0.1:9090".parse().unwrap(), &["edge.internal".to_owned(), "ops.test:8443".to_owned()])
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
    fn changes_from_other_sites_are_refused() {
        let allowed = |lines: &[_]| {
            let mut headers = headers(lines);
            headers.insert(header::HOST, header::HeaderValue::from_static("localhost:9090"));
            check_origin(&Method::POST, &headers).is_ok()
        };
        assert!(allowed(&[]));
        assert!(allowed(&[("origin", "http://localhost:9090"), ("sec-fetch-site", "same-origin")]));
        assert!(allowed(&[("sec-fetch-site", "none")]));
        for (name, value) in [
            ("origin", "http://evil.test"),
            ("origin", "null"),
            ("origin", "http://localhost:9091"),
            ("origin", ""),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!allowed(&[(name, value)]), "{name}: {value}");
        }
    }
}
