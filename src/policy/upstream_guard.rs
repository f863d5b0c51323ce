//! What a guarded project may connect to: public names, resolved to addresses that are checked at connect time.
//!
//! Two gates, because each alone has a hole. The name's gate runs when a configuration is read and gives early, clear
//! answers; a name says nothing about its addresses, so the address's gate runs on every address that is connected to.
//!
//! Names are read as the WHATWG URL standard reads hosts, the most generous reader there is: what it takes for an address
//! (`0x7f.1`, `2130706433`, full-width digits, percent-encoded dots) is refused as one, whatever a resolver would do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::access::Networks;

mod ranges;

use ranges::Reach;

/// Judges a host as written in the configuration.
///
/// # Errors
/// What is wrong with it: `localhost`, an IP literal in any spelling (decimal, octal, hex, short, mapped, full-width digits),
/// a name without a public form, one of `own_hosts`.
pub fn check_host(host: &str, is_own: &dyn Fn(&str) -> bool) -> Result<(), String> {
    let name = public_name(host)?;
    if is_this_machine(&name) {
        return Err(format!("`{name}` means this machine"));
    }
    if METADATA_NAMES.contains(&name.as_str()) {
        return Err(format!("`{name}` is a cloud's metadata service"));
    }
    if is_own(&name) {
        return Err(format!("`{name}` is one of this proxy's own hosts"));
    }
    Ok(())
}

/// The name in canonical form: lower case, without a trailing dot.
fn public_name(host: &str) -> Result<String, String> {
    if is_ip_literal(host) {
        return Err(literal(host));
    }
    let name = match url::Host::parse(host) {
        Ok(url::Host::Domain(name)) => name,
        Ok(url::Host::Ipv4(_) | url::Host::Ipv6(_)) => return Err(literal(host)),
        // Its last label is a number, but it is no address: nothing that DNS has (RFC 3696 §2).
        Err(_) => return Err(format!("`{}` is not a host name", shown(host))),
    };
    if !host.is_ascii() || host.contains('%') {
        return Err(format!("`{}` must be written as DNS has it: `{name}`", shown(host)));
    }
    let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
    if is_dns_name(&name) { Ok(name) } else { Err(format!("`{}` is not a host name", shown(host))) }
}

/// With or without brackets, with a zone or not.
fn is_ip_literal(host: &str) -> bool {
    let bare = host.strip_prefix('[').map_or(host, |inner| inner.strip_suffix(']').unwrap_or(inner));
    let address = bare.split_once('%').map_or(bare, |(address, _zone)| address);
    address.parse::<IpAddr>().is_ok()
}

fn literal(host: &str) -> String {
    format!("`{}` is an IP address; a guarded upstream needs a name", shown(host))
}

/// Without what could confuse a terminal.
fn shown(host: &str) -> String {
    host.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// RFC 1035 §2.3.4 lengths; letters, digits and hyphens, and the underscore that container networks use.
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// RFC 6761 §6.3, and what hosts files commonly say.
fn is_this_machine(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let in_family = ["localhost", "localdomain", "localhost4", "localhost6"].contains(&last);
    in_family || ["ip6-localhost", "ip6-loopback", "loopback", "broadcasthost"].contains(&name)
}

/// Whether a name looks like one that only the inside of a cluster knows: a single label; below a domain that is never public
/// (RFC 6762 §3, RFC 8375); or with a label behind the first that says so (Kubernetes' services, `.internal` of ICANN's and
/// of a company's own). What it resolves to is checked when connecting.
pub fn is_cluster_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let Some((_, domain)) = name.split_once('.') else { return true };
    domain.split('.').any(|label| matches!(label, "svc" | "internal"))
        || domain == "local"
        || domain.ends_with(".local")
        || domain == "home.arpa"
        || domain.ends_with(".home.arpa")
}

const METADATA_NAMES: [&str; 5] = [
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.tencentyun.com",
];

/// Judges a resolved address; `internal`: private ranges that the operator allows. Cloud metadata is never allowed.
///
/// # Errors
/// Which forbidden range it lies in.
pub fn check_address(address: IpAddr, internal: &Networks) -> Result<(), &'static str> {
    let address = address.to_canonical();
    let reach = match address {
        IpAddr::V4(address) => ranges::v4(address),
        IpAddr::V6(address) => ranges::v6(address).and(embedded(address)),
    };
    match reach {
        Reach::Public => Ok(()),
        Reach::Private(_) if internal.contains(address) => Ok(()),
        Reach::Private(range) | Reach::Never(range) => Err(range),
    }
}

/// The reach of the IPv4 address that an IPv6 address carries to a translator or tunnel: that the operator allows the
/// range which does that does not allow metadata through it.
fn embedded(address: Ipv6Addr) -> Reach {
    match carried(address).map(ranges::v4) {
        Some(ranges::METADATA) => ranges::METADATA,
        _ => Reach::Public,
    }
}

fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)));
    match (a, b) {
        // NAT64 (RFC 6052, RFC 8215), IPv4-compatible (RFC 4291 §2.5.5.1), IPv4-translated (RFC 2765).
        (0x64, 0xff9b) => v4(g, h),
        (0, 0) if (c, d) == (0, 0) && (e == 0 || e == 0xffff) && (f == 0 || f == 0xffff) => v4(g, h),
        // 6to4 (RFC 3056), Teredo with its bits turned over (RFC 4380).
        (0x2002, _) => v4(b, c),
        (0x2001, 0) => v4(!g, !h),
        // ISATAP (RFC 5214 §6.1): ::0:5efe:a.b.c.d and ::200:5efe:a.b.c.d as interface identifier.
        _ if matches!(e, 0 | 0x200) && f == 0x5efe => v4(g, h),
        _ => None,
    }
}

/// Whether an identity or credential may travel there over plain http: loopback, or one of `internal`.
pub fn plain_http_allowed(address: IpAddr, internal: &Networks) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || internal.contains(address)
}

#[cfg(test)]
mod tests;
