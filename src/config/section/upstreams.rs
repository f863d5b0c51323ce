//! `upstreams`: named groups of endpoints.

use std::time::Duration;

use crate::config::address;
use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::model::{CertificateFiles, Endpoint, Group, Http2, Scheme, UpstreamTls};
use crate::config::section::{balance, health};
use crate::config::tree::{Entry, Node};
use crate::config::value;
use crate::diagnostic::{Diagnostic, Spanned};

const GROUP: Shape = Shape {
    what: "an upstream group",
    keys: &["scheme", "endpoints", "balance", "hash_on", "tls", "health", "eject", "keepalive", "http2"],
};

const ENDPOINT: Shape = Shape { what: "an endpoint", keys: &["address", "weight"] };

const TLS: Shape =
    Shape { what: "an upstream's `tls`", keys: &["server_name", "ca", "verify", "client_cert", "client_key"] };

const KEEPALIVE: Shape = Shape { what: "`keepalive`", keys: &["idle", "max_idle"] };

/// How long an idle connection is kept when nobody says.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(55);

/// `h2c` is http that speaks HTTP/2 and nothing else.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Http,
    Https,
    H2c,
}

const SCHEMES: &[(&str, Written)] = &[("http", Written::Http), ("https", Written::Https), ("h2c", Written::H2c)];
const HTTP2: &[(&str, Http2)] = &[("auto", Http2::Auto), ("off", Http2::Off), ("only", Http2::Only)];

/// Decodes one entry of the section.
pub fn decode(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<Group> {
    let name = decoder.key(entry, value::name);
    let fields = decoder.fields(&entry.value, &GROUP)?;
    let protocol = protocol(decoder, &fields);
    let tls = tls(decoder, fields.get("tls"));
    check_tls(decoder, &fields, &tls, protocol);
    let (keepalive_idle, max_idle) = keepalive(decoder, fields.get("keepalive"));
    let balance = balance::decode(decoder, &fields);
    let health = fields.entry("health").and_then(|entry| health::decode(decoder, entry));
    let eject = fields.get("eject").and_then(|node| health::eject(decoder, node));
    let listed = decoder.required(&fields, "endpoints", entry.at)?;
    let endpoints = decoder.list(listed, endpoint)?;
    if listed.is_empty() {
        decoder.note(no_endpoint(entry));
    }
    let (scheme, http2) = protocol?;
    let name = name?;
    Some(Group { name, scheme, endpoints, tls, keepalive_idle, max_idle, balance, health, eject, http2 })
}

fn no_endpoint(entry: &Entry<'_>) -> Diagnostic {
    Diagnostic::error("missing_key", entry.at, "the group has no endpoint")
        .hint("add at least one: endpoints: [{ address: \"users-1.internal.example:8443\" }]")
}

/// `scheme` and `http2`, which must not contradict each other.
fn protocol(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>) -> Option<(Scheme, Http2)> {
    let scheme = match fields.get("scheme") {
        Some(node) => decoder.parsed(node, |text| value::word(text, SCHEMES)),
        None => Some(Written::Http),
    };
    let Some(entry) = fields.entry("http2") else { return scheme.map(|scheme| agreed(scheme, Http2::Auto)) };
    let http2 = decoder.parsed(&entry.value, |text| value::word(text, HTTP2))?;
    let (scheme, at) = (scheme?, entry.value.target().at);
    let contradiction = match (scheme, http2) {
        (Written::Http, Http2::Only) => {
            Some("plain http never speaks HTTP/2; write `scheme: h2c` for HTTP/2 without TLS")
        }
        (Written::H2c, Http2::Off) => Some("h2c is HTTP/2 without TLS; write `scheme: http` for HTTP/1.1"),
        _ => None,
    };
    if let Some(hint) = contradiction {
        let message = "`scheme` and `http2` contradict each other";
        decoder.note(Diagnostic::error("conflicting_keys", at, message).hint(hint));
    }
    Some(agreed(scheme, http2))
}

fn agreed(scheme: Written, http2: Http2) -> (Scheme, Http2) {
    match scheme {
        Written::Http => (Scheme::Http, http2),
        Written::Https => (Scheme::Https, http2),
        Written::H2c => (Scheme::Http, Http2::Only),
    }
}

fn endpoint(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<Endpoint> {
    if node.scalar().is_some() {
        let message = "an endpoint (a mapping of keys and values) is expected here, not a single value";
        let hint = "write { address: \"users-1.internal.example:8443\" }";
        decoder.note(Diagnostic::error("wrong_type", node.target().at, message).hint(hint));
        return None;
    }
    let fields = decoder.fields(node, &ENDPOINT)?;
    let weight = fields.get("weight").and_then(|node| decoder.count(node, 1, 1000)).unwrap_or(1);
    let address = decoder.required(&fields, "address", fields.at)?;
    let Spanned { value: (host, port), at } = decoder.spanned(address, address::endpoint)?;
    Some(Endpoint { host: Spanned::new(host, at), port, weight: u32::try_from(weight).unwrap_or(1) })
}

fn tls(decoder: &mut Decoder<'_, '_>, node: Option<&Node<'_>>) -> UpstreamTls {
    let mut tls = UpstreamTls { server_name: None, ca: None, verify: true, client_certificate: None };
    let Some(fields) = node.and_then(|node| decoder.fields(node, &TLS)) else { return tls };
    tls.server_name = fields.get("server_name").and_then(|node| decoder.optional(node, address::host));
    tls.ca = fields.get("ca").and_then(|node| decoder.path(node)).flatten();
    if let Some(ca) = &tls.ca {
        decoder.depends_on_file(&ca.value);
    }
    if let Some(verify) = fields.get("verify").and_then(|node| decoder.parsed(node, value::boolean)) {
        tls.verify = verify;
    }
    tls.client_certificate = client_certificate(decoder, &fields);
    tls
}

/// What is said about trust means nothing without TLS: the operator believes in a protection that is not there.
/// (`server_name` is the Host as well, and stays.)
fn check_tls(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_, '_>,
    tls: &UpstreamTls,
    protocol: Option<(Scheme, Http2)>,
) {
    let trusts = tls.ca.is_some() || !tls.verify || tls.client_certificate.is_some();
    if let (Some((Scheme::Http, _)), Some(entry), true) = (protocol, fields.entry("tls"), trusts) {
        let message = "`tls` has no effect: this group is spoken to without TLS";
        decoder.note(Diagnostic::error("useless_key", entry.at, message).hint("add `scheme: https`, or remove `tls`"));
    }
}

/// Certificate and key come together or not at all.
fn client_certificate(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>) -> Option<CertificateFiles> {
    let cert = fields.get("client_cert").and_then(|node| decoder.path(node)).flatten();
    let key = fields.get("client_key").and_then(|node| decoder.path(node)).flatten();
    for path in [&cert, &key].into_iter().flatten() {
        decoder.depends_on_file(&path.value);
    }
    let (missing, at) = match (cert, key) {
        (Some(cert), Some(key)) => return Some(CertificateFiles { cert, key }),
        (Some(cert), None) => ("client_key", cert.at),
        (None, Some(key)) => ("client_cert", key.at),
        (None, None) => return None,
    };
    if !fields.is_meant(&["client_cert", "client_key"]) {
        let message = format!("`{missing}` is missing: a certificate is of no use without its key");
        let hint = "give both `client_cert` and `client_key`, PEM files, or neither";
        decoder.note(Diagnostic::error("missing_key", at, message).hint(hint));
    }
    None
}

/// How long an idle connection is kept, and how many are.
fn keepalive(decoder: &mut Decoder<'_, '_>, node: Option<&Node<'_>>) -> (Duration, Option<usize>) {
    let Some(fields) = node.and_then(|node| decoder.fields(node, &KEEPALIVE)) else { return (KEEPALIVE_IDLE, None) };
    let idle = fields.get("idle").and_then(|node| decoder.parsed(node, value::duration)).unwrap_or(KEEPALIVE_IDLE);
    (idle, fields.get("max_idle").and_then(|node| decoder.count(node, 1, 1_000_000)))
}
