//! Text -> networks, hosts, URLs, socket addresses, paths: strict, because a typing error here sends traffic elsewhere.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::model::{HostPattern, Scheme, UpstreamUrl};
use super::value::Problem;

/// A CIDR or a single address. The flag: whether bits beyond the prefix were set (and are ignored).
///
/// # Errors
/// Anything else.
pub fn network(text: &str) -> Result<(IpNet, bool), Problem> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((IpNet::from(address), false));
    }
    let net: IpNet = text.parse().map_err(|_| {
        Problem::not("invalid_network", "a network or an address")
            .hint("write 10.0.0.0/8, 192.0.2.7, \"2001:db8::/32\" or \"::1\"")
    })?;
    Ok((net.trunc(), net.addr() != net.network()))
}

/// `127.0.0.1:8080`, `[::1]:8080`.
///
/// # Errors
/// Anything else.
pub fn socket(text: &str) -> Result<SocketAddr, Problem> {
    text.parse().map_err(|_| {
        let problem = Problem::not("invalid_address", "an address with a port");
        let port = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")).unwrap_or(text);
        if port.parse::<u16>().is_ok() {
            return problem.hint(format!("for every interface write \"0.0.0.0:{port}\", or \"[::]:{port}\""));
        }
        problem.hint("write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"")
    })
}

/// A socket address, or an IP address alone with a port that goes without saying.
///
/// # Errors
/// Anything else.
pub fn socket_or(text: &str, port: u16) -> Result<SocketAddr, Problem> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, port));
    }
    socket(text)
}

/// A host name or literal in the one canonical spelling: lower case, no trailing dot, IPv6 in brackets, no port.
///
/// # Errors
/// Ports, schemes, user info, characters that no host has.
pub fn host(text: &str) -> Result<String, Problem> {
    let problem = || Problem::not("invalid_host", "a host name");
    if let Some(literal) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let no_address = |_| problem().hint("in brackets stands an IPv6 address, without a zone: \"[2001:db8::7]\"");
        let address: Ipv6Addr = literal.parse().map_err(no_address)?;
        return Ok(format!("[{address}]"));
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok(format!("[{address}]"));
    }
    if text.contains("://") || text.contains('/') {
        return Err(problem().hint("give the host alone, without scheme and path"));
    }
    if let Some((host, port)) = text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) {
        return Err(problem().hint(format!("leave the port out: `{}` (`{port}` is the listener's)", shown_host(host))));
    }
    if !text.is_ascii() {
        return Err(problem().hint(punycode_hint(text)));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if is_reg_name(&name) { Ok(name) } else { Err(problem().hint("letters, digits, `-`, `_` and dots between them")) }
}

fn shown_host(host: &str) -> String {
    super::value::printable(host)
}

fn punycode_hint(text: &str) -> String {
    match url::Host::parse(text) {
        Ok(url::Host::Domain(ascii)) => format!("write its ASCII form, as it travels on the wire: {ascii}"),
        _ => "write its ASCII form, as it travels on the wire".into(),
    }
}

fn is_reg_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    !name.is_empty() && name.len() <= 253 && name.split('.').all(label)
}

/// `demo.example.com` or `*.demo.example.com`.
///
/// # Errors
/// As [`host`]; a star elsewhere.
pub fn host_pattern(text: &str) -> Result<HostPattern, Problem> {
    if text == "*" {
        return Err(Problem::says("invalid_host", "stands for no domain")
            .hint("leave `hosts` out for any host, or write \"*.example.com\""));
    }
    match text.strip_prefix("*.") {
        Some(domain) if domain.parse::<IpAddr>().is_err() => host(domain).map(HostPattern::Wildcard),
        Some(_) => Err(Problem::not("invalid_host", "a host name")),
        None if text.contains('*') => Err(Problem::says("invalid_host", "has a star inside")
            .hint("a star may only be the first label: \"*.example.com\" stands for every name below example.com")),
        None => host(text).map(HostPattern::Exact),
    }
}

/// `host:port`: name, IPv4 or `[IPv6]`; the host comes back lower-cased and without brackets.
///
/// # Errors
/// A missing part.
pub fn endpoint(text: &str) -> Result<(String, u16), Problem> {
    let problem = || {
        Problem::not("invalid_address", "a host and a port")
            .hint("write \"users-1.internal.example:8443\", \"192.0.2.7:80\" or \"[2001:db8::7]:80\"")
    };
    if text.contains("://") {
        return Err(problem().hint("give host and port alone; http or https is the group's `scheme`"));
    }
    let (name, port) = text.rsplit_once(':').ok_or_else(problem)?;
    if name.contains(':') && !name.starts_with('[') {
        return Err(problem());
    }
    let port = port_number(port).ok_or_else(problem)?;
    let host = host(name)?;
    Ok((without_brackets(&host).to_owned(), port))
}

/// A port that something can listen on. Digits only: `+80` is none.
fn port_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse::<u16>().ok().filter(|port| digits && *port != 0)
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

/// `host[:port]` as a Host header carries it.
///
/// # Errors
/// As [`host`].
pub fn authority(text: &str) -> Result<String, Problem> {
    let wrong = || Problem::not("invalid_host", "a host, with or without port");
    let after_literal = text.rfind(']').map_or(0, |bracket| bracket + 1);
    let colon = text.get(after_literal..).and_then(|rest| rest.find(':')).map(|at| at + after_literal);
    let (name, port) = match colon.and_then(|at| text.split_at_checked(at)) {
        Some((name, port)) => (name, Some(port.get(1..).and_then(port_number).ok_or_else(wrong)?)),
        None => (text, None),
    };
    let host = host(name)?;
    Ok(port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
}

/// `http(s)://host[:port][/path]`.
///
/// # Errors
/// Another scheme, user info, query, fragment, an ambiguous path.
pub fn upstream_url(text: &str) -> Result<UpstreamUrl, Problem> {
    let problem = |clause: &str| Problem::says("invalid_url", clause);
    let (scheme, rest) = text.split_once("://").ok_or_else(|| problem("is not a URL"))?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        "ws" => return Err(problem("has a scheme of its own").hint("write http://; WebSockets pass by themselves")),
        "wss" => return Err(problem("has a scheme of its own").hint("write https://; WebSockets pass by themselves")),
        _ => return Err(problem("has a scheme that is neither http nor https")),
    };
    if rest.contains('?') {
        return Err(problem("has a query").hint("the request's own query is forwarded; leave `?` and what follows out"));
    }
    if rest.contains('#') {
        return Err(problem("has a fragment").hint("leave `#` and what follows out"));
    }
    let (place, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).unwrap_or((rest, ""));
    if place.contains('@') {
        return Err(problem("has a user name in it").hint("credentials do not belong into a URL"));
    }
    url_at(scheme, place, path)
}

fn url_at(scheme: Scheme, place: &str, path: &str) -> Result<UpstreamUrl, Problem> {
    if place.is_empty() {
        return Err(Problem::says("invalid_url", "has no host"));
    }
    let as_url =
        |problem: Problem| Problem::says("invalid_url", "has a host or port that cannot be right").hint(problem.hint);
    let authority = authority(place).map_err(as_url)?;
    if !path.is_empty() {
        path_text(path).map_err(|problem| Problem { code: "invalid_url", ..problem })?;
    }
    let default = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let (host, port) = split_port(&authority);
    let port = port.unwrap_or(default);
    let authority = if port == default { host.to_owned() } else { authority.clone() };
    Ok(UpstreamUrl { scheme, host: without_brackets(host).to_owned(), port, authority, path: path.to_owned() })
}

fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

/// A path that has one meaning: begins with `/`, no dot segments, no `//`, no query, only what RFC 3986 allows.
///
/// # Errors
/// The first ambiguity.
pub fn path_text(text: &str) -> Result<(), Problem> {
    let problem = |clause: &str| Problem::says("invalid_path", clause);
    if !text.starts_with('/') {
        return Err(problem("does not begin with `/`"));
    }
    if text.contains(['?', '#']) {
        return Err(problem("is more than a path").hint("leave query and fragment out"));
    }
    if text.contains('*') && text.ends_with('*') {
        return Err(problem("ends in a star").hint("a prefix covers everything below it; leave the star out"));
    }
    if text.contains("//") {
        return Err(problem("has an empty segment (`//`)"));
    }
    if !text.bytes().all(is_path_byte) {
        return Err(problem("has a character that no path has").hint("percent-encode it as UTF-8, such as %20"));
    }
    if let Some(problem) = bad_escape(text) {
        return Err(Problem::says("invalid_path", problem));
    }
    if text.contains(['.', '%']) && text.split('/').any(is_dot_segment) {
        return Err(problem("has a `.` or `..` segment"));
    }
    Ok(())
}

/// RFC 3986 `pchar`, `/` and `%`.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte)
}

fn bad_escape(text: &str) -> Option<&'static str> {
    let mut parts = text.split('%');
    parts.next();
    for part in parts {
        let Some(byte) = part.get(..2).and_then(|digits| hex::decode(digits).ok()) else {
            return Some("has a `%` that begins no escape");
        };
        if matches!(byte.first(), Some(0 | b'/' | b'\\')) {
            return Some("has an escaped slash, backslash or NUL");
        }
    }
    None
}

fn is_dot_segment(segment: &str) -> bool {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    let name = plain.split(';').next().unwrap_or_default();
    name == "." || name == ".."
}

/// A route's prefix: a path of whole segments, without trailing slash (but `/` itself).
///
/// # Errors
/// It is no such path.
pub fn prefix(text: &str) -> Result<String, Problem> {
    path_text(text).map_err(|problem| {
        let slash = !text.starts_with('/') && path_text(&format!("/{text}")).is_ok();
        let problem = Problem { code: "invalid_prefix", ..problem };
        if slash { problem.hint(format!("write `/{}`", super::value::printable(text))) } else { problem }
    })?;
    let trimmed = text.strip_suffix('/').unwrap_or(text);
    Ok(if trimmed.is_empty() { "/" } else { trimmed }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_single_addresses() {
        assert_eq!(network("10.0.0.0/8").unwrap(), ("10.0.0.0/8".parse().unwrap(), false));
        assert_eq!(network("::1").unwrap(), ("::1/128".parse().unwrap(), false));
        assert_eq!(network("10.1.2.3/8").unwrap(), ("10.0.0.0/8".parse().unwrap(), true));
        for wrong in ["", "10.0.0.0/33", "10.0.0", "10.0.0.0/8/8", "localhost", "fe80::1%eth0", "010.0.0.1"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_have_one_spelling() {
        assert_eq!(host("Demo.Example.COM.").unwrap(), "demo.example.com");
        assert_eq!(host("::1").unwrap(), "[::1]");
        assert_eq!(host("[2001:DB8:0::1]").unwrap(), "[2001:db8::1]");
        for wrong in ["", ".", "a..b", "a:80", "http://a", "a/b", "a b", "bücher.example", "a@b", "[::1"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
        assert!(host("bücher.example").unwrap_err().hint.contains("xn--bcher-kva.example"));
    }

    #[test]
    fn host_patterns() {
        assert_eq!(host_pattern("*.A.example").unwrap(), HostPattern::Wildcard("a.example".into()));
        for wrong in ["*", "*a.example", "a.*.example", "*.", "*.*.a", "*.10.0.0.1"] {
            assert!(host_pattern(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn urls() {
        let url = upstream_url("https://Test.example.com:443/api").unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.authority.as_str()),
            ("test.example.com", 443, "test.example.com")
        );
        assert_eq!(url.path, "/api");
        let url = upstream_url("http://[::1]:8080").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.authority.as_str()), ("::1", 8080, "[::1]:8080"));
        assert_eq!(upstream_url("http://a/").unwrap().path, "/");
        for wrong in [
            "a",
            "ftp://a",
            "http://",
            "http:///x",
            "http://a:0",
            "http://a:x",
            "http://a:99999",
            "http://u:p@a",
            "http://a?x",
            "http://a/#x",
            "http://a/../b",
            "http://a/%2e%2E/b",
            "http://a//b",
            "http://a/%2f",
            "http://a/ b",
            "http://a b/",
            "http://::1/",
            "http://a:+80",
            "http://a:",
        ] {
            assert!(upstream_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn endpoints_and_sockets() {
        assert_eq!(endpoint("A.example:8443").unwrap(), ("a.example".into(), 8443));
        assert_eq!(endpoint("[::1]:80").unwrap(), ("::1".into(), 80));
        for wrong in ["a", "a:", "::1:80", "http://a:80", "a:0", "a:+8"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
        assert!(socket(":8080").unwrap_err().hint.contains("0.0.0.0:8080"));
        assert_eq!(socket_or("10.0.0.1", 53).unwrap(), "10.0.0.1:53".parse().unwrap());
    }

    #[test]
    fn prefixes() {
        for (text, expected) in
            [("/", "/"), ("/a0", "/a0"), ("/a0/", "/a0"), ("/a/b~c/", "/a/b~c"), ("/%E6%BC%A2", "/%E6%BC%A2")]
        {
            assert_eq!(prefix(text).unwrap(), expected);
        }
        for wrong in [
            "", "a0", "/a//b", "/a/../b", "/a/.", "/a?b", "/a#b", "/a b", "/漢", "/a%", "/a%zz", "/%2F", "/a/*",
            "/..;x/a",
        ] {
            assert!(prefix(wrong).is_err(), "{wrong}");
        }
        assert_eq!(prefix("a0").unwrap_err().hint, "write `/a0`");
    }
}
