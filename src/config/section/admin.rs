//! `admin`: the second listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use ipnet::IpNet;

use crate::config::address;
use crate::config::decoder::Decoder;
use crate::config::fields::{Later, Off, Shape};
use crate::config::model::{Admin, MetricsAuth};
use crate::config::tree::Node;
use crate::config::value::word;
use crate::diagnostic::{Diagnostic, Pos, Spanned};

const ADMIN: Shape = Shape {
    what: "`admin`",
    keys: &["address", "allow", "hosts", "metrics", "state_dir", "users_file"],
    later: &[Later { key: "public_url", off: Off::Empty }, Later { key: "tls", off: Off::Empty }],
};

const METRICS: Shape = Shape { what: "`admin.metrics`", keys: &["allow", "auth"], later: &[] };

const METRICS_AUTH: &[(&str, MetricsAuth)] = &[("none", MetricsAuth::None), ("required", MetricsAuth::Required)];

/// What holds without the section, relative to the first file's directory.
pub fn default(dir: &Path, at: Pos) -> Admin {
    Admin {
        address: Spanned::new(SocketAddr::from(([127, 0, 0, 1], 9090)), at),
        allow: loopback(),
        hosts: Vec::new(),
        metrics_allow: loopback(),
        metrics_auth: MetricsAuth::None,
        state_dir: dir.join("../state"),
        users_file: None,
        public_url: None,
        tls: None,
    }
}

fn loopback() -> Vec<IpNet> {
    let v4 = ipnet::Ipv4Net::new(Ipv4Addr::new(127, 0, 0, 0), 8).map(IpNet::V4);
    let v6 = IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST));
    v4.into_iter().chain([v6]).collect()
}

/// Decodes the section, whose key stands at `at`.
pub fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>, at: Pos) -> Admin {
    let mut admin = default(decoder.dir, at);
    let Some(fields) = decoder.fields(node, &ADMIN) else { return admin };
    if let Some(address) = fields.get("address").and_then(|node| decoder.spanned(node, address::socket)) {
        check_loopback(decoder, &address);
        admin.address = address;
    }
    if let Some(networks) = fields.get("allow").and_then(|node| decoder.networks(node)) {
        admin.allow = networks;
    }
    if let Some(hosts) = fields.get("hosts").and_then(|node| decoder.values(node, address::host)) {
        admin.hosts = hosts;
    }
    let metrics = fields.get("metrics").and_then(|node| decoder.fields(node, &METRICS));
    if let Some(metrics) = metrics {
        if let Some(networks) = metrics.get("allow").and_then(|node| decoder.networks(node)) {
            admin.metrics_allow = networks;
        }
        let auth = metrics.get("auth").and_then(|node| decoder.parsed(node, |text| word(text, METRICS_AUTH)));
        admin.metrics_auth = auth.unwrap_or_default();
    }
    admin.users_file = fields.get("users_file").and_then(|node| decoder.path(node)).flatten();
    if let Some(Some(path)) = fields.get("state_dir").and_then(|node| decoder.path(node)) {
        admin.state_dir = path.value;
    }
    admin
}

/// Beyond loopback the admin listener needs TLS, which does not exist yet.
fn check_loopback(decoder: &mut Decoder<'_, '_>, address: &Spanned<SocketAddr>) {
    if address.ip().to_canonical().is_loopback() {
        return;
    }
    let message = "the admin listener may leave loopback only with TLS, which is not available in this version";
    let hint = format!("use 127.0.0.1:{} and reach it through an SSH tunnel", address.port());
    decoder.note(Diagnostic::error("admin_not_loopback", address.at, message).hint(hint));
}
