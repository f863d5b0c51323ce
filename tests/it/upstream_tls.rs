//! https upstreams: the certificate is verified, for the name and by the authority that the configuration says.

use std::path::Path;

use crate::support::nginx::Nginx;
use crate::support::{Config, Edge};

const GROUPS: &str = r#"
upstreams:
  good: { scheme: https, endpoints: [{ address: "{nginx}" }], tls: { server_name: users.internal.example, ca: ca.pem } }
  other-name: { scheme: https, endpoints: [{ address: "{nginx}" }], tls: { server_name: other.internal.example, ca: ca.pem } }
  no-ca: { scheme: https, endpoints: [{ address: "{nginx}" }], tls: { server_name: users.internal.example } }
  unverified: { scheme: https, endpoints: [{ address: "{nginx}" }], tls: { server_name: users.internal.example, verify: false } }
  plain: { scheme: http, endpoints: [{ address: "{nginx}" }] }
  not-tls: { scheme: https, endpoints: [{ address: "{origin}" }], tls: { server_name: users.internal.example, ca: ca.pem } }
projects:
  demo:
    upstream_policy: open
    environments:
      production:
        routes:
          - { prefix: /good, upstream: good, auth: none }
          - { prefix: /other-name, upstream: other-name, auth: none }
          - { prefix: /no-ca, upstream: no-ca, auth: none }
          - { prefix: /unverified, upstream: unverified, auth: none }
          - { prefix: /plain, upstream: plain, auth: none }
          - { prefix: /not-tls, upstream: not-tls, auth: none, timeouts: { connect: 400ms } }
"#;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name);
    std::fs::read_to_string(path).expect("a certificate file")
}

fn start() -> (Nginx, crate::support::Origin, Edge) {
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").display().to_string();
    let nginx = Nginx::start_on(
        "ssl",
        &format!(
            "ssl_certificate {tls}/server.pem; ssl_certificate_key {tls}/server.key; \
             location / {{ return 200 \"$ssl_server_name $host $request_uri\"; }}"
        ),
    );
    let origin = crate::support::Origin::start();
    let edge = Config::new(GROUPS)
        .value("nginx", &nginx.address.to_string())
        .origin(&origin)
        .file("ca.pem", &file("ca.pem"))
        .start();
    (nginx, origin, edge)
}

#[test]
fn a_certificate_is_verified_for_its_name_by_its_authority() {
    let (_nginx, origin, edge) = start();
    let good = edge.get("/good/x?y=1");
    assert_eq!((good.status, good.text().as_str()), (200, "users.internal.example users.internal.example /good/x?y=1"));
    for (path, status) in [("/other-name", 502), ("/no-ca", 502), ("/not-tls", 504)] {
        let refused = edge.get(path);
        assert_eq!(refused.status, status, "{path}: {}", refused.text());
        refused.expect_error_shape();
        assert_eq!(edge.logged(path)["end"], "upstream_abort", "{path}");
    }
    assert_eq!(edge.get("/unverified").status, 200, "`verify: false` is the operator's word");
    assert_eq!(edge.get("/plain").status, 400, "nginx's own answer to plain http on a TLS port");
    assert!(origin.requests().is_empty());
}

/// The groups differ in their trust alone: a connection made under one must not serve another.
#[test]
fn a_pooled_connection_is_not_shared_between_different_trust() {
    let (_nginx, _origin, edge) = start();
    for round in 0..5 {
        assert_eq!(edge.get("/unverified").status, 200, "round {round}");
        assert_eq!(edge.get("/good").status, 200, "round {round}");
        for path in ["/other-name", "/no-ca"] {
            assert_eq!(edge.get(path).status, 502, "{path} in round {round}");
        }
    }
}
