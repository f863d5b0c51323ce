//! The PROXY protocol's header, versions 1 and 2: who the connection that a proxy passes on comes from.
//!
//! Specification: “The PROXY protocol”, versions 1 & 2, of HAProxy. A header that says nothing of an address (`UNKNOWN`,
//! `LOCAL`, an unspecified family, a Unix socket) leaves the connection's own.

use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult as _, v1, v2};

/// The longest header: what comes beside the addresses (version 2's TLVs) is skipped, and is short.
pub const LONGEST: usize = 4096;
/// Of version 1, its line end included.
const LONGEST_LINE: usize = 107;
const MALFORMED: &str = "the header is malformed";
/// Of version 2: signature, version, family, length.
const FIXED: usize = 16;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The beginning of a header: more has to come.
    Partial,
    /// A header of that many bytes.
    Whole {
        /// Its length; what follows belongs to the connection.
        length: usize,
        /// Who connected to the proxy; `None`: the proxy speaks for itself.
        source: Option<SocketAddr>,
    },
    /// No header, or none that can be used.
    Malformed(&'static str),
}

/// Reads the first bytes of a connection.
pub fn parse(bytes: &[u8]) -> ProxyHeader {
    if is_too_long(bytes) {
        return ProxyHeader::Malformed("the header is too long");
    }
    // The library takes some cuts inside a version 1 header for mistakes: it gets to see whole lines.
    if begins(bytes, b"PROXY ") && !has_line_end(bytes) {
        return if bytes.len() < LONGEST_LINE { ProxyHeader::Partial } else { ProxyHeader::Malformed(MALFORMED) };
    }
    match HeaderResult::parse(bytes) {
        HeaderResult::V1(Ok(header)) => version1(&header),
        HeaderResult::V2(Ok(header)) => version2(&header),
        HeaderResult::V2(result) if result.is_incomplete() => ProxyHeader::Partial,
        HeaderResult::V1(_) if !bytes.starts_with(b"PROXY ") => ProxyHeader::Malformed("there is no header"),
        HeaderResult::V1(_) | HeaderResult::V2(_) => ProxyHeader::Malformed(MALFORMED),
    }
}

/// Whether they agree as far as both go.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(one, other)| one == other) && !bytes.is_empty()
}

fn is_too_long(bytes: &[u8]) -> bool {
    let announced = || match bytes.get(FIXED - 2..FIXED) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
        _ => 0,
    };
    bytes.starts_with(v2::PROTOCOL_PREFIX) && announced() > LONGEST - FIXED
}

fn has_line_end(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\r\n")
}

fn version1(header: &v1::Header<'_>) -> ProxyHeader {
    let source = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(addresses) => Some((addresses.source_address, addresses.source_port).into()),
        v1::Addresses::Tcp6(addresses) => Some((addresses.source_address, addresses.source_port).into()),
    };
    ProxyHeader::Whole { length: header.header.len(), source }
}

fn version2(header: &v2::Header<'_>) -> ProxyHeader {
    let length = header.len();
    let source: Option<SocketAddr> = match (header.command, header.addresses) {
        (v2::Command::Local, _) => None,
        (v2::Command::Proxy, _) if header.protocol == v2::Protocol::Datagram => {
            return ProxyHeader::Malformed("the header is of a datagram");
        }
        (v2::Command::Proxy, v2::Addresses::IPv4(it)) => Some((it.source_address, it.source_port).into()),
        (v2::Command::Proxy, v2::Addresses::IPv6(it)) => Some((it.source_address, it.source_port).into()),
        (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
    };
    ProxyHeader::Whole { length, source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ProxyHeader::{Malformed, Partial, Whole};
    use super::*;

    fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = v2::PROTOCOL_PREFIX.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    const V4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb];

    fn source(bytes: &[u8]) -> Option<String> {
        match parse(bytes) {
            Whole { length, source } => {
                assert_eq!(length, bytes.len());
                source.map(|source| source.to_string())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_versions_tell_the_source() {
        let v6: Vec<u8> = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]; 2].concat();
        let v6 = [v6.as_slice(), &[0x30, 0x39, 1, 0xbb]].concat();
        for (bytes, expected) in [
            (b"PROXY TCP4 203.0.113.9 10.0.0.1 12345 443\r\n".to_vec(), Some("203.0.113.9:12345")),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 12345 443\r\n".to_vec(), Some("[2001:db8::1]:12345")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (binary(0x21, 0x11, &V4), Some("203.0.113.9:12345")),
            (binary(0x21, 0x11, &[&V4[..], &[4, 0, 1, 42]].concat()), Some("203.0.113.9:12345")),
            (binary(0x21, 0x21, &v6), Some("[2001:db8::1]:12345")),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x20, 0x11, &V4), None),
            (binary(0x21, 0x00, &[]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ] {
            assert_eq!(source(&bytes).as_deref(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_follows_is_not_part_of_it() {
        let bytes = b"PROXY TCP4 203.0.113.9 10.0.0.1 12345 443\r\nGET / HTTP/1.1\r\n";
        assert!(matches!(parse(bytes), Whole { length: 43, source: Some(_) }));
        let bytes = [binary(0x21, 0x11, &V4), b"\x16\x03\x01".to_vec()].concat();
        assert!(matches!(parse(&bytes), Whole { length: 28, source: Some(_) }));
    }

    #[test]
    fn every_beginning_of_a_header_waits_for_the_rest() {
        for whole in [
            b"PROXY TCP4 203.0.113.9 10.0.0.1 12345 443\r\n".to_vec(),
            b"PROXY TCP6 2001:db8::1 2001:db8::2 1 443\r\n".to_vec(),
            b"PROXY UNKNOWN\r\n".to_vec(),
            binary(0x21, 0x11, &V4),
            binary(0x20, 0x00, &[]),
        ] {
            for length in 0..whole.len() {
                assert_eq!(parse(&whole[..length]), Partial, "{length} bytes of {whole:?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_known_at_once() {
        for bytes in [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00".to_vec(),
            b"proxy tcp4 ".to_vec(),
            b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n".to_vec(),
            b"PROXY TCP4\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rX\r\n".to_vec(),
            [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 120]].concat(),
            binary(0x31, 0x11, &V4),
            binary(0x2f, 0x11, &V4),
            binary(0x21, 0x11, &V4[..8]),
            binary(0x21, 0x12, &V4),
            binary(0x21, 0x11, &vec![0; LONGEST]),
        ] {
            assert!(
                matches!(parse(&bytes), Malformed(_)),
                "{:?}: {:?}",
                String::from_utf8_lossy(&bytes),
                parse(&bytes)
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_wait_for_ever(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let filled = [bytes, vec![0; LONGEST]].concat();
            prop_assert!(parse(&filled) != Partial);
        }
    }
}
