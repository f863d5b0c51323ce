//! Two spellings of a host have one canonical form, and nothing but a host has any.

use countersign::policy::host::{canonical, split};

pub fn check(data: &[u8]) {
    let Ok(authority) = std::str::from_utf8(data) else { return };
    let Ok((host, port)) = split(authority) else { return };
    assert_eq!(canonical(authority).as_deref(), Ok(&*host));
    assert_eq!(canonical(&host).as_deref(), Ok(&*host), "the canonical form has another one");
    assert!(!host.is_empty() && !host.ends_with('.'));
    assert!(host.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
    assert!(!host.contains(['/', '@', ',', '?', '#', '\\', '%']));
    let shouted = authority.to_ascii_uppercase();
    assert_eq!(canonical(&shouted).as_deref(), Ok(&*host), "case makes another host");
    if let Some(port) = port {
        assert_eq!(split(&format!("{host}:{port}")).map(|(_, port)| port), Ok(Some(port)));
    }
}
