//! The request gate never fails, and what it passes has one host and one path, each its own canonical form.

use std::net::IpAddr;

use countersign::policy::request_gate::{Gate, RequestView, judge};
use countersign::policy::{host, path};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

pub fn check(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Some(first) = lines.next().and_then(|line| std::str::from_utf8(line).ok()) else { return };
    let (method, target) = first.split_once(' ').unwrap_or(("GET", first));
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let mut headers = HeaderMap::new();
    for line in lines.take(20) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or_default();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    for (version, authority) in [(Version::HTTP_11, None), (Version::HTTP_2, Some("a.test")), (Version::HTTP_2, None)] {
        let peer = IpAddr::from([127, 0, 0, 1]);
        let view = RequestView {
            method: &method,
            target,
            authority,
            headers: &headers,
            version,
            peer,
            tls: false,
            certificate: None,
        };
        if let Gate::Pass(canonical) = judge(&view) {
            assert_eq!(host::canonical(&canonical.host).as_deref(), Ok(&*canonical.host));
            assert_eq!(path::canonical(canonical.raw_path).as_deref(), Ok(&*canonical.path));
            assert!(method != Method::CONNECT && method != Method::TRACE);
            assert!(target.contains(canonical.raw_path) || canonical.raw_path == "/");
        }
    }
}
