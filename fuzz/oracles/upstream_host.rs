//! No spelling of an address passes for a name: what the guard lets through is no literal to anybody's resolver.

use std::net::{IpAddr, Ipv4Addr};

use countersign::policy::access::Networks;
use countersign::policy::upstream_guard::{check_address, check_host};

pub fn check(data: &[u8]) {
    let Ok(host) = std::str::from_utf8(data) else { return };
    if check_host(host, &|_| false).is_ok() {
        assert!(host.parse::<IpAddr>().is_err(), "{host} is an address");
        assert!(!host.trim_end_matches('.').eq_ignore_ascii_case("localhost"));
        let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
        // As the URL standard's “ends in a number” has it.
        let digits = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        let hex = digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(!last.is_empty() && !numeric && !hex, "{host} reads as a number");
    }
    if let Some(bytes) = data.first_chunk::<4>() {
        let address = Ipv4Addr::from(*bytes);
        if check_address(address.into(), &Networks::default()).is_ok() {
            assert!(!address.is_loopback() && !address.is_private() && !address.is_link_local(), "{address}");
            assert!(!address.is_unspecified() && !address.is_broadcast() && !address.is_multicast(), "{address}");
            let mapped = address.to_ipv6_mapped();
            assert!(check_address(mapped.into(), &Networks::default()).is_ok(), "{address} depends on its spelling");
        }
    }
}
