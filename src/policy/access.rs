//! Allow and deny lists of networks: deny beats allow, IPv4-mapped IPv6 counts as IPv4.
//!
//! A list is a handful of sorted, merged ranges; a look-up is one binary search, with ten entries or ten thousand.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// A set of networks with look-up by containment, cheap for thousands of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    /// Builds the set.
    pub fn new(networks: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match unmapped(network) {
                IpNet::V4(network) => v4.push((network.network().to_bits(), network.broadcast().to_bits())),
                IpNet::V6(network) => v6.push((network.network().to_bits(), network.broadcast().to_bits())),
            }
        }
        Self { v4: merged(v4), v6: merged(v6) }
    }

    /// Whether the address lies in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => in_ranges(&self.v4, address.to_bits()),
            IpAddr::V6(address) => in_ranges(&self.v6, address.to_bits()),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`: addresses are looked up in their IPv4 form.
fn unmapped(network: &IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return *network };
    let mapped = v6.network().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    let v4 = mapped.and_then(|(address, prefix_len)| Ipv4Net::new(address, prefix_len).ok());
    v4.map_or(*network, IpNet::V4)
}

/// Sorted, overlapping ones joined.
fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged.shrink_to_fit();
    merged
}

fn in_ranges<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| address <= *last)
}

/// `access` of a route: `deny` beats `allow`; with `allow` given everyone else is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    allow: Option<Networks>,
    deny: Networks,
}

impl Access {
    /// Builds the policy; `None`: no allow list.
    pub fn new(allow: Option<&[IpNet]>, deny: &[IpNet]) -> Self {
        Self { allow: allow.map(Networks::new), deny: Networks::new(deny) }
    }

    /// Whether the address may pass.
    pub fn admits(&self, address: IpAddr) -> bool {
        let is_allowed = self.allow.as_ref().is_none_or(|allow| allow.contains(address));
        is_allowed && !self.deny.contains(address)
    }

    /// Whether it refuses nobody.
    pub fn is_open(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Networks};
    use ipnet::IpNet;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_contain_their_edges_and_no_more() {
        let set = Networks::new(&nets(&["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "fd00::/8", "2001:db8::1/128"]));
        for inside in
            ["10.0.0.0", "10.255.255.255", "10.1.2.3", "192.0.2.7", "::ffff:10.0.0.1", "fd12::1", "2001:db8::1"]
        {
            assert!(set.contains(ip(inside)), "{inside}");
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "192.0.2.6",
            "192.0.2.8",
            "::ffff:11.0.0.1",
            "fe00::",
            "2001:db8::2",
            "::10.0.0.1",
        ] {
            assert!(!set.contains(ip(outside)), "{outside}");
        }
    }

    #[test]
    fn mapped_networks_are_ipv4_networks() {
        let set = Networks::new(&nets(&["::ffff:10.0.0.0/104"]));
        assert!(set.contains(ip("10.2.3.4")) && set.contains(ip("::ffff:10.2.3.4")) && !set.contains(ip("11.0.0.1")));
    }

    #[test]
    fn everything_and_nothing() {
        let all = Networks::new(&nets(&["0.0.0.0/0", "::/0"]));
        assert!(all.contains(ip("255.255.255.255")) && all.contains(ip("ffff::")) && all.contains(ip("0.0.0.0")));
        assert!(
            !Networks::new(&nets(&["::/0"])).contains(ip("::ffff:1.2.3.4")),
            "an IPv4 client is not an IPv6 client"
        );
        assert!(Networks::default().is_empty() && !Networks::default().contains(ip("::1")));
    }

    #[test]
    fn deny_beats_allow_and_an_allow_list_is_exhaustive() {
        let access = Access::new(Some(&nets(&["10.0.0.0/8", "172.16.0.0/12"])), &nets(&["10.9.0.0/16", "172.0.0.0/8"]));
        assert!(access.admits(ip("10.1.1.1")));
        assert!(!access.admits(ip("10.9.1.1")));
        assert!(!access.admits(ip("172.16.0.1")), "the narrower allow does not win");
        assert!(!access.admits(ip("8.8.8.8")));
        let deny_only = Access::new(None, &nets(&["10.9.0.0/16"]));
        assert!(deny_only.admits(ip("8.8.8.8")) && !deny_only.admits(ip("::ffff:10.9.0.1")));
        assert!(!Access::new(Some(&[]), &[]).admits(ip("8.8.8.8")), "an empty allow list allows nobody");
    }

    #[test]
    fn openness_is_having_no_list() {
        assert!(Access::default().is_open() && Access::default().admits(ip("::1")));
        assert!(!Access::new(Some(&[]), &[]).is_open());
        assert!(!Access::new(None, &nets(&["10.0.0.0/8"])).is_open());
    }

    proptest! {
        #[test]
        fn it_agrees_with_asking_each_network(
            v4 in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..50),
            v6 in proptest::collection::vec((any::<u128>(), 0u8..=128), 0..50),
            addresses in proptest::collection::vec(any::<u32>(), 1..20),
        ) {
            let networks: Vec<IpNet> = v4.iter().map(|(a, len)| IpNet::new(Ipv4Addr::from_bits(*a).into(), *len).unwrap())
                .chain(v6.iter().map(|(a, len)| IpNet::new(Ipv6Addr::from_bits(*a).into(), *len).unwrap())).collect();
            let set = Networks::new(&networks);
            let edges = networks.iter().flat_map(|net| [net.network(), net.broadcast(), net.addr()]);
            for address in addresses.iter().map(|a| Ipv4Addr::from_bits(*a).into()).chain(edges) {
                if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) { continue }
                prop_assert_eq!(set.contains(address), networks.iter().any(|net| net.contains(&address)), "{}", address);
            }
        }
    }
}
