//! Where a request really came from, and what the upstream is told about it (RFC 7239 §8: never believed from strangers).
//!
//! A chain of proxies is read from its near end: the peer is known, and each trusted hop vouches for the one it names.
//! The first address that is not a trusted proxy is the client; what lies beyond it is hearsay. A name that is no address
//! ends the walk as well, with the last hop that was known.
//!
//! Two fields can tell the chain. `X-Forwarded-For` has the word; `Forwarded` is read where a trusted peer sends it alone. A
//! trusted proxy that writes one of the two must remove the other from what its own clients send.

pub mod forwarded;

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::access::Networks;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client's address: the peer's, or, when the peer is trusted, the right-most address of X-Forwarded-For that is not (of
/// Forwarded, when there is no X-Forwarded-For).
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    let mut known = peer.to_canonical();
    if !trusted.contains(known) {
        return known;
    }
    if !headers.contains_key(X_FORWARDED_FOR) {
        return forwarded_for(known, headers, trusted);
    }
    for value in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for hop in value.as_bytes().rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()) {
            let Some(address) = parse_hop(hop) else { return known };
            known = address;
            if !trusted.contains(known) {
                return known;
            }
        }
    }
    known
}

fn forwarded_for(mut known: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    for element in forwarded::chain(headers).iter().rev() {
        let Some(address) = element.by_whom.as_ref().and_then(|hop| parse_hop(hop.as_bytes())) else { return known };
        known = address;
        if !trusted.contains(known) {
            return known;
        }
    }
    known
}

/// An address, with brackets or a port as some proxies write it.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?;
    let bare = || hop.parse::<IpAddr>().ok();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    bare().or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

/// The value of X-Forwarded-For for the upstream: what a trusted peer sent with the peer appended, else the peer alone.
pub fn x_forwarded_for(peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> String {
    let peer = peer.to_canonical();
    let mut chain = String::new();
    if trusted.contains(peer) && !headers.contains_key(X_FORWARDED_FOR) {
        // An upstream that knows only this field must not lose what the other one told.
        let hops = forwarded::chain(headers);
        let addresses = hops.iter().map(|hop| hop.by_whom.as_ref().and_then(|hop| parse_hop(hop.as_bytes())));
        for address in addresses {
            let hop = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
            chain.push_str(&hop);
            chain.push_str(", ");
        }
    } else if trusted.contains(peer) {
        for value in headers.get_all(X_FORWARDED_FOR).iter().filter_map(trimmed).filter(|value| !value.is_empty()) {
            chain.push_str(value);
            chain.push_str(", ");
        }
    }
    chain.push_str(&peer.to_string());
    chain
}

/// `https` or `http`: the listener's, or what a trusted peer says.
pub fn x_forwarded_proto(tls: bool, peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> &'static str {
    let told = trusted.contains(peer).then(|| told_proto(headers)).flatten();
    told.unwrap_or(if tls { "https" } else { "http" })
}

/// The last word of it: what the trusted peer itself added.
fn told_proto(headers: &HeaderMap) -> Option<&'static str> {
    let Some(last) = headers.get_all(X_FORWARDED_PROTO).iter().next_back() else {
        return known_proto(forwarded::chain(headers).last()?.proto.as_deref()?);
    };
    known_proto(trimmed(last)?.rsplit(',').next()?.trim_ascii())
}

fn known_proto(word: &str) -> Option<&'static str> {
    ["https", "http"].into_iter().find(|proto| word.eq_ignore_ascii_case(proto))
}

fn trimmed(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim_ascii)
}

/// Names that never travel from one hop to the next, beside what `Connection` nominates (RFC 9110 §7.6.1), and the
/// forwarding names that are rebuilt. Lower case.
///
/// `_` counts as `-`: upstreams behind CGI-like interfaces cannot tell them apart. All of `x-forwarded-*` is a forwarding
/// name, since upstreams read identities from it too.
pub fn is_hop_by_hop(name: &str) -> bool {
    const FORWARDING: &str = "x-forwarded-";
    name.get(..FORWARDING.len()).is_some_and(|start| same(start, FORWARDING))
        || HOP_BY_HOP.iter().any(|hop| same(name, hop))
}

/// Whether `name` is `lower`, reading `_` as `-`.
fn same(name: &str, lower: &str) -> bool {
    name.len() == lower.len() && name.bytes().zip(lower.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
}

const HOP_BY_HOP: [&str; 13] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "forwarded",
    "x-real-ip",
];

#[cfg(test)]
mod tests;
