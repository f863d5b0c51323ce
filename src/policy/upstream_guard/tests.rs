use super::{check_address, check_host, is_cluster_name, plain_http_allowed};
use crate::policy::access::Networks;
use proptest::prelude::*;
use std::net::IpAddr;

const PASS: &[&str] = &[
    "example.com",
    "EXAMPLE.com",
    "example.com.",
    "test.example.com",
    "users-1.internal.example",
    "a.b.c.d.e.f.example",
    "xn--fiq228c.example",
    "xn--nxasmq6b.example",
    "my_service",
    "users",
    "db.internal",
    "1.example.com",
    "127.example.com",
    "127.0.0.1.nip.io",
    "0x7f.example.com",
    "localhost.example.com",
    "notlocalhost",
    "mylocalhost",
    "localhostx",
    "local",
    "0x7g",
    "1e3.example",
    "a1",
];

const THIS_MACHINE: &[&str] = &[
    "localhost",
    "LOCALHOST",
    "LocalHost",
    "localhost.",
    "a.localhost",
    "a.b.localhost",
    "A.LOCALHOST.",
    "localhost.localhost",
    "localhost.localdomain",
    "localhost4.localdomain4.localhost",
    "a.localdomain",
    "localhost4",
    "localhost6",
    "localhost6.",
    "ip6-localhost",
    "ip6-loopback",
    "loopback",
    "broadcasthost",
];

const LITERALS: &[&str] = &[
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127",
    "0",
    "0.0.0.0",
    "00.00.00.00",
    "2130706433",
    "2130706433.",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "0177.0.1",
    "0177.1",
    "127.0.0.01",
    "0x7f000001",
    "0X7F000001",
    "0x7f.0.0.1",
    "0x7f.0x0.0x0.0x1",
    "0x7f.1",
    "0x7f.0.1",
    "0x",
    "0x.0x.0x.0x",
    "0x0",
    "[127.0.0.1",
    "[::1",
    "1.2.3.0x",
    "0xa9fea9fe",
    "169.254.169.254",
    "169.254.169.254.",
    "2852039166",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.16689662",
    "0xa9.254.0251.254",
    "10.0.0.1",
    "10.1",
    "192.168.1.1",
    "192.168.257",
    "3232235777",
    "8.8.8.8",
    "134744072",
    "255.255.255.255",
    "4294967295",
    "::1",
    "[::1]",
    "::",
    "[::]",
    "0:0:0:0:0:0:0:1",
    "0000:0000:0000:0000:0000:0000:0000:0001",
    "[0:0::1]",
    "::ffff:127.0.0.1",
    "[::ffff:127.0.0.1]",
    "::ffff:7f00:1",
    "[::ffff:7f00:0001]",
    "[::ffff:a9fe:a9fe]",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::127.0.0.1",
    "2002:7f00:1::",
    "2001:0:a:b:c:d:80ff:fffe",
    "fe80::1%eth0",
    "fe80::1%25eth0",
    "[fe80::1%25eth0]",
    "fe80::1",
    "fd00:ec2::254",
    "FD00:EC2::254",
    "2606:4700::1111",
    "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    "\u{ff11}27.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "127\u{ff0e}0\u{ff0e}0\u{ff0e}1",
    "127\u{ff61}1",
    "\u{2460}\u{2461}\u{2466}.0.0.1",
    "\u{b9}27.0.0.1",
    "\u{1d7cf}27.1",
    "0\u{ff58}7f.1",
    "127%2e0%2e0%2e1",
    "127.0.0.%31",
    "%31%32%37.0.0.1",
    "%30x7f.1",
    "12\u{ad}7.0.0.1",
    "127.0.0.1\u{200b}",
];

const NO_NAMES: &[&str] = &[
    "",
    ".",
    "..",
    "a..b",
    ".example.com",
    "example..com",
    "example.com..",
    "localhost..",
    "127.0.0.1..",
    "1.2.3.4.5",
    "256.256.256.256",
    "127.0.0.256",
    "4294967296",
    "0x100000000",
    "08",
    "127.0.0.08",
    "foo.1",
    "foo.0x7f",
    "example.com:80",
    "u@example.com",
    "example.com/x",
    "example.com?x",
    "example.com#x",
    "example.com\\x",
    "a b",
    " example.com",
    "example.com ",
    "example.com\n",
    "exa\tmple.com",
    "a\0b",
    "-a.example",
    "a-.example",
    "a!b.example",
    "a*b.example",
    "*.example.com",
    "a,b",
    "[example.com]",
    "::1]",
    "[::g]",
    ":::",
    "12345::",
    "1::2::3",
    "xn--",
    "xn--a",
    "xn--127-0-0-1-.example\u{0}",
    "%",
    "%00",
    "a%2fb",
    "a%00b",
    "a%40b",
];

const OTHER_SPELLINGS: &[&str] = &[
    "\u{24db}ocalhost",
    "lo\u{ad}calhost",
    "\u{ff4c}ocalhost",
    "localhos%74",
    "%6cocalhost",
    "local\u{200b}host",
    "localhost\u{3002}",
    "ex\u{e4}mple.com",
    "\u{4e2d}\u{6587}.example",
    "exam%70le.com",
    "example\u{3002}com",
    "\u{ff45}xample.com",
    "\u{212a}.example",
];

const METADATA: &[&str] = &[
    "metadata.google.internal",
    "METADATA.google.internal.",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.tencentyun.com",
];

fn reason(host: &str) -> Option<String> {
    check_host(host, &|name| name == "edge.example" || name.ends_with(".edge.example")).err()
}

fn each(hosts: &[&str], expected: &[&str]) {
    for host in hosts {
        let reason = reason(host).unwrap_or_else(|| panic!("{host:?} passes"));
        assert!(expected.iter().any(|words| reason.contains(words)), "{host:?}: {reason}");
        assert!(!reason.contains(|c: char| c.is_control()), "{reason:?}");
    }
}

#[test]
fn names_pass_and_everything_else_is_named() {
    for host in PASS {
        assert_eq!(reason(host), None, "{host:?}");
    }
    each(THIS_MACHINE, &["means this machine"]);
    each(LITERALS, &["is an IP address"]);
    each(NO_NAMES, &["is not a host name", "must be written"]);
    each(OTHER_SPELLINGS, &["must be written as DNS has it"]);
    each(METADATA, &["metadata service"]);
    each(&["edge.example", "EDGE.example", "edge.example.", "a.edge.example"], &["own hosts"]);
    let all = [THIS_MACHINE, LITERALS, NO_NAMES, OTHER_SPELLINGS, METADATA];
    assert!(all.iter().map(|list| list.len()).sum::<usize>() >= 120);
}

#[test]
fn long_names_are_none() {
    assert!(reason(&format!("{}.example", "a".repeat(63))).is_none());
    assert!(reason(&format!("{}.example", "a".repeat(64))).is_some());
    assert!(reason(&["a"; 127].join(".")).is_none());
    assert!(reason(&["a"; 128].join(".")).is_some());
}

fn networks(list: &[&str]) -> Networks {
    Networks::new(&list.iter().map(|net| net.parse().unwrap()).collect::<Vec<_>>())
}

fn judge(address: &str, internal: &Networks) -> Result<(), &'static str> {
    check_address(address.parse().unwrap(), internal)
}

/// Forbidden, unless the operator allows the range.
const PRIVATE: &[&str] = &[
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.1",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "::1",
    "::2",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:192.168.1.1",
    "64:ff9b::808:808",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:1ff::1",
    "2001:db8::1",
    "3fff::1",
    "3fff:fff::1",
    "2002:808:808::1",
    "2002:7f00:1::",
    "fc00::1",
    "fdff::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "feff::1",
    "4000::1",
    "5f00::1",
    "fbff::1",
    "1::1",
    "::ffff:0:808:808",
];

/// Forbidden, whatever the operator allows.
const NEVER: &[&str] = &[
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.254",
    "255.255.255.255",
    "::",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "::ffff:0.0.0.0",
    "::ffff:224.0.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.0.23",
    "169.254.42.42",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "fe80::a9fe:a9fe",
    "::ffff:169.254.169.254",
    "::a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:0:1:2:3:4:5601:5601",
    "::ffff:0:a9fe:a9fe",
    "::ffff:100.100.100.200",
    "64:ff9b::a83f:8110",
    "fe80::5efe:a9fe:a9fe",
    "2620::200:5efe:a9fe:a9fe",
];

const PUBLIC: &[&str] = &[
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "168.63.129.17",
    "::ffff:8.8.8.8",
    "2606:4700::1111",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2003::1",
    "3ffe::1",
    "2a00::1",
];

#[test]
fn addresses_are_judged_by_their_range() {
    let nothing = Networks::default();
    let everything = networks(&["0.0.0.0/0", "::/0"]);
    for address in PUBLIC {
        assert_eq!(judge(address, &nothing), Ok(()), "{address}");
    }
    for address in PRIVATE {
        assert!(judge(address, &nothing).is_err(), "{address}");
        assert_eq!(judge(address, &everything), Ok(()), "{address}");
    }
    for address in NEVER {
        assert!(judge(address, &nothing).is_err(), "{address}");
        assert!(judge(address, &everything).is_err(), "{address} although allowed");
    }
}

#[test]
fn internal_networks_allow_only_themselves() {
    let internal = networks(&["10.1.0.0/16", "fd12::/16", "127.0.0.0/8"]);
    for (address, allowed) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("10.2.0.1", false),
        ("fd12::5", true),
        ("fd13::5", false),
        ("127.0.0.1", true),
        ("192.168.0.1", false),
        ("::10.1.2.3", false),
        ("64:ff9b::a01:203", false),
        ("1.1.1.1", true),
    ] {
        assert_eq!(judge(address, &internal).is_ok(), allowed, "{address}");
    }
}

#[test]
fn the_message_names_the_range() {
    let nothing = Networks::default();
    assert_eq!(judge("10.0.0.1", &nothing), Err("private (10.0.0.0/8)"));
    assert_eq!(judge("64:ff9b::a9fe:a9fe", &nothing), Err("a cloud's metadata service"));
}

#[test]
fn names_of_a_cluster_are_told_by_their_look() {
    for inside in [
        "users",
        "users.",
        "USERS",
        "a.default.svc",
        "a.b.svc.cluster.local",
        "x.INTERNAL",
        "nas.home.arpa.",
        "users-1.internal.example",
        "a.b.svc.corp.example",
    ] {
        assert!(is_cluster_name(inside), "{inside}");
    }
    for outside in
        ["users.example", "svc.example.com", "local.example", "xsvc.example", "internal.example.com", "a.b", "arpa.x"]
    {
        assert!(!is_cluster_name(outside), "{outside}");
    }
}

#[test]
fn plain_http_stays_near() {
    let internal = networks(&["10.1.0.0/16"]);
    for (address, allowed) in [
        ("127.0.0.1", true),
        ("127.9.9.9", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("10.1.0.1", true),
        ("::ffff:10.1.0.1", true),
        ("10.2.0.1", false),
        ("192.168.0.1", false),
        ("1.1.1.1", false),
        ("fe80::1", false),
        ("0.0.0.0", false),
    ] {
        assert_eq!(plain_http_allowed(address.parse().unwrap(), &internal), allowed, "{address}");
    }
}

proptest! {
    /// A second opinion from the standard library on what it has names for.
    #[test]
    fn public_is_not_special(bits in prop_oneof![any::<u128>(), any::<u32>().prop_map(|low| 0xffff_0000_0000 | u128::from(low))]) {
        let address = IpAddr::V6(bits.into()).to_canonical();
        if check_address(address, &Networks::default()).is_ok() {
            prop_assert!(!address.is_loopback() && !address.is_multicast() && !address.is_unspecified());
            match address {
                IpAddr::V4(v4) => prop_assert!(!v4.is_private() && !v4.is_link_local() && !v4.is_documentation() && !v4.is_broadcast()),
                IpAddr::V6(v6) => prop_assert!(!v6.is_unique_local() && !v6.is_unicast_link_local()),
            }
        }
    }

    #[test]
    fn no_spelling_of_an_address_passes(bits in any::<u32>(), forms in proptest::collection::vec(0u8..3, 4), parts in 1usize..=4) {
        let octets = bits.to_be_bytes();
        let tail = octets[parts - 1..].iter().fold(0u64, |sum, octet| (sum << 8) | u64::from(*octet));
        let numbers = octets[..parts - 1].iter().map(|octet| u64::from(*octet)).chain([tail]);
        let spelt: Vec<String> = numbers.zip(&forms).map(|(number, form)| match form {
            0 => format!("{number}"),
            1 => format!("0{number:o}"),
            _ => format!("0x{number:x}"),
        }).collect();
        prop_assert!(check_host(&spelt.join("."), &|_| false).is_err());
    }
}
