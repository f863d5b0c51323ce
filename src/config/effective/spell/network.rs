//! `listeners`, `acme`, `upstreams`.

use std::path::Path;

use crate::config::model::{
    Acme, Balance, CertificateFiles, Eject, Endpoint, Group, HashOn, Health, Http2, Listener, ListenerTls, Scheme,
    UpstreamTls,
};

use super::super::Node;
use super::{Fields, duration, flag, list, path, path_or_empty, size, text, texts, whole, words};

pub(super) fn listener(listener: &Listener) -> (String, Node) {
    let Listener {
        name,
        address,
        headers_timeout,
        idle_timeout,
        max_header_size,
        tls,
        http2,
        h2c,
        redirect_to_https,
        proxy_protocol,
    } = listener;
    let node = Fields::default()
        .with("address", text(address.value))
        .maybe("tls", tls.as_ref().map(listener_tls))
        .with("http2", flag(*http2))
        .with("h2c", flag(*h2c))
        .with("redirect_to_https", flag(*redirect_to_https))
        .with("proxy_protocol", flag(*proxy_protocol))
        .with("headers_timeout", duration(*headers_timeout))
        .with("idle_timeout", duration(*idle_timeout))
        .with("max_header_size", size(u64::try_from(*max_header_size).unwrap_or(u64::MAX)))
        .end();
    (name.value.clone(), node)
}

pub(super) fn listener_tls(tls: &ListenerTls) -> Node {
    let ListenerTls { min_version, certificates, client_ca, at: _ } = tls;
    let certificate = |CertificateFiles { cert, key }: &CertificateFiles| {
        Fields::default().with("cert", path(&cert.value)).with("key", path(&key.value)).end()
    };
    Fields::default()
        .with("min_version", text(words::tls_version(*min_version)))
        .with("certificates", list(certificates.iter().map(certificate)))
        .with("client_ca", path_or_empty(client_ca.as_ref().map(|path| path.value.as_path())))
        .end()
}

pub(super) fn acme(acme: &Acme, state_dir: &Path) -> Node {
    let Acme { directory, contact, hosts, storage, ca, renew_before, at: _ } = acme;
    let storage = storage.clone().unwrap_or_else(|| state_dir.join("acme"));
    Fields::default()
        .with("directory", text(&directory.value))
        .with("contact", texts(contact))
        .with("hosts", texts(hosts.iter().map(|host| &host.value)))
        .with("storage", path(&storage))
        .with("challenge", text("http-01"))
        .with("ca", path_or_empty(ca.as_ref().map(|path| path.value.as_path())))
        .maybe("renew_before", renew_before.map(duration))
        .end()
}

pub(super) fn group(group: &Group) -> (String, Node) {
    let Group { name, scheme, endpoints, tls, keepalive_idle, max_idle, balance, health, eject, http2 } = group;
    let keepalive = Fields::default().with("idle", duration(*keepalive_idle)).maybe("max_idle", max_idle.map(whole));
    let node = Fields::default()
        .with("scheme", text(protocol(*scheme, *http2)))
        .with("endpoints", list(endpoints.iter().map(endpoint)))
        .with("balance", text(balance.name()))
        .maybe("hash_on", hash_on(balance))
        .with("tls", upstream_tls(tls))
        .maybe("health", health.as_ref().map(health_check))
        .maybe("eject", eject.as_ref().map(ejection))
        .with("keepalive", keepalive.end())
        .with("http2", text(words::http2(*http2)))
        .end();
    (name.value.clone(), node)
}

/// `h2c` is http that speaks HTTP/2 and nothing else.
fn protocol(scheme: Scheme, http2: Http2) -> &'static str {
    match (scheme, http2) {
        (Scheme::Http, Http2::Only) => "h2c",
        (scheme, _) => words::scheme_name(scheme),
    }
}

fn endpoint(endpoint: &Endpoint) -> Node {
    let Endpoint { host, port, weight } = endpoint;
    let address = if host.contains(':') { format!("[{}]:{port}", **host) } else { format!("{}:{port}", **host) };
    Fields::default().with("address", text(address)).with("weight", whole(*weight)).end()
}

fn hash_on(balance: &Balance) -> Option<Node> {
    let Balance::Hash(on) = balance else { return None };
    Some(match on {
        HashOn::Address => text("address"),
        HashOn::Path => text("path"),
        HashOn::Client => text("client"),
        HashOn::Header(name) => Fields::default().with("header", text(name)).end(),
        HashOn::Cookie(name) => Fields::default().with("cookie", text(name)).end(),
    })
}

fn upstream_tls(tls: &UpstreamTls) -> Node {
    let UpstreamTls { server_name, ca, verify, client_certificate } = tls;
    let file = |pick: fn(&CertificateFiles) -> &Path| path_or_empty(client_certificate.as_ref().map(pick));
    Fields::default()
        .with("server_name", text(server_name.as_deref().unwrap_or_default()))
        .with("ca", path_or_empty(ca.as_ref().map(|path| path.value.as_path())))
        .with("verify", flag(*verify))
        .with("client_cert", file(|files| &files.cert.value))
        .with("client_key", file(|files| &files.key.value))
        .end()
}

fn health_check(health: &Health) -> Node {
    let Health { path, interval, timeout, healthy_after, unhealthy_after, host, status } = health;
    Fields::default()
        .with("path", text(path))
        .with("interval", duration(*interval))
        .with("timeout", duration(*timeout))
        .with("healthy_after", whole(*healthy_after))
        .with("unhealthy_after", whole(*unhealthy_after))
        .maybe("host", host.as_ref().map(text))
        .maybe("status", status.map(|status| whole(status.as_u16())))
        .end()
}

fn ejection(eject: &Eject) -> Node {
    let Eject { errors, within, rest } = eject;
    let fields = Fields::default().with("errors", whole(*errors)).with("within", duration(*within));
    fields.with("for", duration(*rest)).end()
}
