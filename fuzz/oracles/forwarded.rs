//! Who is not trusted is not believed, and what is told upstream is always one chain of what is known.

use std::net::IpAddr;

use countersign::policy::access::Networks;
use countersign::policy::forward::{client_address, x_forwarded_for, x_forwarded_proto};
use http::{HeaderMap, HeaderName, HeaderValue};

const NAMES: [&str; 3] = ["x-forwarded-for", "x-forwarded-proto", "forwarded"];

pub fn check(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for (index, line) in data.split(|byte| *byte == b'\n').take(12).enumerate() {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(HeaderName::from_static(NAMES[index % NAMES.len()]), value);
        }
    }
    let peer = IpAddr::from([10, 0, 0, 1]);
    let nobody = Networks::default();
    assert_eq!(client_address(peer, &headers, &nobody), peer, "a stranger chose its address");
    assert_eq!(x_forwarded_for(peer, &headers, &nobody), "10.0.0.1");
    assert_eq!(x_forwarded_proto(true, peer, &headers, &nobody), "https");
    let trusted = Networks::new(&["10.0.0.0/8".parse().expect("a network")]);
    let client = client_address(peer, &headers, &trusted);
    assert_eq!(client, client.to_canonical());
    assert!(x_forwarded_for(peer, &headers, &trusted).ends_with("10.0.0.1"));
}
