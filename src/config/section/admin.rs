//! `admin`: the second listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use ipnet::IpNet;

use crate::config::address;
use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::model::{Admin, MetricsAuth};
use crate::config::tree::Node;
use crate::config::value::word;
use crate::config::web_url;
use crate::diagnostic::{Diagnostic, Pos, Spanned};

use super::tls;

const ADMIN: Shape = Shape {
    what: "`admin`",
    keys: &["address", "allow", "hosts", "metrics", "public_url", "state_dir", "tls", "users_file"],
};

const METRICS: Shape = Shape { what: "`admin.metrics`", keys: &["allow", "auth"] };

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
    if let Some(node) = fields.get("public_url") {
        let url = decoder.optional(node, web_url::origin);
        admin.public_url = url.map(|url| Spanned::new(url, node.target().at));
    }
    let tls = fields.entry("tls").filter(|entry| !entry.value.is_empty());
    admin.tls = tls.and_then(|entry| tls::decode(decoder, entry));
    if tls.is_none() {
        check_loopback(decoder, &admin.address);
    }
    check_allow(decoder, &admin, &fields);
    admin
}

/// Beyond loopback the admin listener needs TLS. (It always asks who comes: its token exists from the first start.)
fn check_loopback(decoder: &mut Decoder<'_, '_>, address: &Spanned<SocketAddr>) {
    if address.ip().to_canonical().is_loopback() {
        return;
    }
    let message = "the admin listener may leave loopback only with TLS";
    let hint = format!(
        "give `admin.tls` a certificate, or use 127.0.0.1:{} and reach it through an SSH tunnel",
        address.port()
    );
    decoder.note(Diagnostic::error("admin_not_loopback", address.at, message).hint(hint));
}

/// An address beyond loopback is of no use where only loopback may connect.
fn check_allow(decoder: &mut Decoder<'_, '_>, admin: &Admin, fields: &Fields<'_, '_>) {
    let beyond = !admin.address.ip().to_canonical().is_loopback();
    let all_loopback = admin.allow.iter().all(|network| network.addr().to_canonical().is_loopback());
    if beyond && all_loopback && admin.tls.is_some() {
        let at = fields.entry("allow").map_or(admin.address.at, |entry| entry.at);
        let message = "`admin.allow` has loopback alone, so that nobody else may connect to this address";
        let hint = "name those who may: allow: [127.0.0.0/8, 192.0.2.0/24]";
        decoder.note(Diagnostic::warning("admin_allows_loopback_only", at, message).hint(hint));
    }
}
