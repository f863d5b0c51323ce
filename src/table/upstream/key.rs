//! What `balance: hash` hashes of a request.
//!
//! The function is fixed (FNV-1a, finished by SplitMix64): the same key goes to the same endpoint in every process, so
//! that several edges side by side agree.

use std::net::IpAddr;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName};

use crate::policy::request_gate::{Canonical, RequestView};

use super::super::decide::Admitted;
use super::super::rewrite;
use super::{Balance, HashOn, Upstream};

impl Upstream {
    /// What is hashed of this request; `None`: nothing is, or the request lacks it.
    pub fn key(&self, admitted: &Admitted, request: &RequestView<'_>, canonical: &Canonical<'_>) -> Option<u64> {
        let Balance::Hash(on) = &self.balance else { return None };
        match on {
            HashOn::Address => Some(of_address(admitted.client_ip)),
            HashOn::Path => Some(of_path(&rewrite::target(&admitted.route, canonical))),
            HashOn::Client => Some(match &admitted.client {
                Some(client) => Key::of(b'c').with(client.name.as_bytes()).0,
                None => of_address(admitted.client_ip),
            }),
            HashOn::Header(name) => of_header(request.headers, name),
            HashOn::Cookie(name) => of_cookie(request.headers, name),
        }
    }

    /// Whether [`Self::key`] may have an answer.
    pub fn hashes(&self) -> bool {
        self.endpoints.len() > 1 && matches!(self.balance, Balance::Hash(_))
    }
}

/// An endpoint's own number.
pub(in super::super) fn seed(label: &str) -> u64 {
    mix(Key::of(b'e').with(label.as_bytes()).0)
}

fn of_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => Key::of(b'4').with(&address.octets()).0,
        IpAddr::V6(address) => Key::of(b'6').with(&address.octets()).0,
    }
}

fn of_path(target: &str) -> u64 {
    Key::of(b'p').with(target.split('?').next().unwrap_or_default().as_bytes()).0
}

/// All values of the header, in order.
fn of_header(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let values = headers.get_all(name);
    values.iter().next()?;
    Some(values.iter().fold(Key::of(b'h'), |key, value| key.with(value.as_bytes()).with(b"\n")).0)
}

/// The first cookie of that name (RFC 6265 §5.4), quotes and all.
fn of_cookie(headers: &HeaderMap, name: &str) -> Option<u64> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let value =
        pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    Some(Key::of(b'k').with(value).0)
}

/// FNV-1a, 64 bits.
struct Key(u64);

impl Key {
    /// A key of that kind: what kind it is counts, so that an address never equals a client's name.
    fn of(kind: u8) -> Self {
        Self(0xcbf2_9ce4_8422_2325).with(&[kind])
    }

    fn with(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
    }
}

/// SplitMix64's output function: every bit of the input moves half of the output's.
pub(super) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
