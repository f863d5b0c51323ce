//! The special ranges of the address space (RFC 6890 and the IANA registries it began), and the addresses at which
//! clouds give credentials to whoever asks.

use std::net::{Ipv4Addr, Ipv6Addr};

/// How far away an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Anywhere.
    Public,
    /// Near: for whoever the operator says. The range's name.
    Private(&'static str),
    /// Nothing that a guarded project has any business with. The range's name.
    Never(&'static str),
}

impl Reach {
    /// The stricter of two.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never(_), _) | (_, Self::Public) => self,
            (_, Self::Never(_)) | (Self::Public, _) => other,
            (Self::Private(_), Self::Private(_)) => self,
        }
    }
}

use Reach::{Never, Private, Public};

pub(super) const METADATA: Reach = Never("a cloud's metadata service");

pub(super) fn v4(address: Ipv4Addr) -> Reach {
    if METADATA_V4.contains(&address) {
        return METADATA;
    }
    match address.octets() {
        [0, ..] => Never("this network (0.0.0.0/8)"),
        [10, ..] => Private("private (10.0.0.0/8)"),
        [100, 64..=127, ..] => Private("shared by carriers (100.64.0.0/10)"),
        [127, ..] => Private("loopback (127.0.0.0/8)"),
        [169, 254, ..] => Private("link-local (169.254.0.0/16)"),
        [172, 16..=31, ..] => Private("private (172.16.0.0/12)"),
        [192, 0, 0, _] => Private("protocol assignments (192.0.0.0/24)"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Private("documentation"),
        [192, 31, 196, _] | [192, 52, 193, _] | [192, 175, 48, _] => Private("anycast services (RFC 7534, 7535, 7450)"),
        [192, 88, 99, _] => Private("6to4 relays (192.88.99.0/24)"),
        [192, 168, ..] => Private("private (192.168.0.0/16)"),
        [198, 18..=19, ..] => Private("benchmarking (198.18.0.0/15)"),
        [224..=239, ..] => Never("multicast (224.0.0.0/4)"),
        [255, 255, 255, 255] => Never("broadcast"),
        [240..=255, ..] => Never("reserved (240.0.0.0/4)"),
        _ => Public,
    }
}

pub(super) fn v6(address: Ipv6Addr) -> Reach {
    if METADATA_V6.contains(&address) {
        return METADATA;
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Never("unspecified (::)"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Private("loopback (::1)"),
        [0, 0, 0, 0, 0, 0, ..] => Private("IPv4-compatible (::/96)"),
        [0x64, 0xff9b, ..] => Private("IPv4 behind a translator (64:ff9b::/96 and 64:ff9b:1::/48)"),
        [0x100, 0, 0, 0 | 1, ..] => Never("discarded (100::/64)"),
        [0x2001, 0, ..] => Private("Teredo (2001::/32)"),
        [0x2001, 0x2, 0, ..] => Private("benchmarking (2001:2::/48)"),
        [0x2001, 0x10..=0x2f, ..] => Private("ORCHID (2001:10::/28, 2001:20::/28)"),
        [0x2001, 0..=0x1ff, ..] => Private("protocol assignments (2001::/23)"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Private("documentation"),
        [0x2002, ..] => Private("6to4 (2002::/16)"),
        [0x2000..=0x3fff, ..] => Public,
        [0xfc00..=0xfdff, ..] => Private("unique local (fc00::/7)"),
        [0xfe80..=0xfebf, ..] => Private("link-local (fe80::/10)"),
        [0xfec0..=0xfeff, ..] => Private("site-local (fec0::/10)"),
        [0xff00..=0xffff, ..] => Never("multicast (ff00::/8)"),
        _ => Private("outside of the global unicast space (2000::/3)"),
    }
}

const METADATA_V4: [Ipv4Addr; 8] = [
    // AWS, Azure, Google, OpenStack and most others; AWS's container roles and pod identities.
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    // Tencent's, and Scaleway's.
    Ipv4Addr::new(169, 254, 0, 23),
    Ipv4Addr::new(169, 254, 42, 42),
    // Alibaba, Azure's wire server, Oracle.
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

const METADATA_V6: [Ipv6Addr; 5] = [
    // AWS: instances, pod identities. Google. OpenStack. Scaleway.
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];
