//! `server`: threads, limits, networks, DNS.

use std::time::Duration;

use ipnet::IpNet;

use crate::config::address;
use crate::config::decoder::Decoder;
use crate::config::fields::Shape;
use crate::config::model::{Dns, Server};
use crate::config::tree::Node;
use crate::config::value::{self, number, printable};
use crate::diagnostic::Diagnostic;

const SERVER: Shape = Shape {
    what: "`server`",
    keys: &[
        "threads",
        "drain_timeout",
        "max_connections",
        "trusted_proxies",
        "internal_networks",
        "dns",
        "runtime_dir",
    ],
};

const DNS: Shape = Shape { what: "`dns`", keys: &["servers", "refresh", "timeout"] };

/// What holds without the section.
pub fn default() -> Server {
    Server {
        threads: None,
        drain_timeout: Duration::from_secs(300),
        max_connections: 20_000,
        trusted_proxies: Vec::new(),
        internal_networks: Vec::new(),
        dns: Dns { servers: Vec::new(), refresh: None, timeout: Duration::from_secs(2) },
        runtime_dir: None,
    }
}

/// Decodes the section.
pub fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Server {
    let mut server = default();
    let Some(fields) = decoder.fields(node, &SERVER) else { return server };
    if let Some(node) = fields.get("threads") {
        server.threads = decoder.count(node, 1, 1024);
    }
    if let Some(timeout) = fields.get("drain_timeout").and_then(|node| decoder.parsed(node, value::duration)) {
        server.drain_timeout = timeout;
    }
    if let Some(most) = fields.get("max_connections").and_then(|node| decoder.count(node, 1, 10_000_000)) {
        server.max_connections = most;
    }
    if let Some(networks) = fields.get("trusted_proxies").and_then(|node| decoder.networks(node)) {
        server.trusted_proxies = networks;
    }
    if let Some(networks) = fields.get("internal_networks").and_then(|node| decoder.networks(node)) {
        server.internal_networks = networks;
    }
    if let Some(node) = fields.get("dns") {
        dns(decoder, node, &mut server.dns);
    }
    server.runtime_dir = fields.get("runtime_dir").and_then(|node| decoder.path(node)).flatten().map(|path| path.value);
    server
}

fn dns(decoder: &mut Decoder<'_, '_>, node: &Node<'_>, dns: &mut Dns) {
    let Some(fields) = decoder.fields(node, &DNS) else { return };
    let server = |text: &str| address::socket_or(text, 53);
    if let Some(servers) = fields.get("servers").and_then(|node| decoder.values(node, server)) {
        dns.servers = servers;
    }
    if let Some(refresh) = fields.get("refresh").and_then(|node| decoder.parsed(node, refresh)) {
        dns.refresh = refresh;
    }
    if let Some(timeout) = fields.get("timeout").and_then(|node| decoder.parsed(node, value::positive_duration)) {
        dns.timeout = timeout;
    }
}

fn refresh(text: &str) -> Result<Option<Duration>, value::Problem> {
    match text {
        "auto" => Ok(None),
        _ => value::positive_duration(text).map(Some).map_err(|problem| match problem.code {
            "invalid_duration" => value::Problem::not("invalid_duration", "`auto` or a duration").hint(problem.hint),
            _ => problem,
        }),
    }
}

impl Decoder<'_, '_> {
    /// A list of CIDRs and addresses.
    pub fn networks(&mut self, node: &Node<'_>) -> Option<Vec<IpNet>> {
        self.list(node, |decoder, node| {
            let (network, ignored) = decoder.parsed(node, address::network)?;
            if ignored {
                let message = format!("bits beyond the prefix are ignored: this is `{network}`");
                let at = node.target().at;
                decoder.note(
                    Diagnostic::warning("network_host_bits", at, message)
                        .hint(format!("write `{}`", printable(&network.to_string()))),
                );
            }
            Some(network)
        })
    }

    /// A whole number of things.
    pub fn count(&mut self, node: &Node<'_>, least: u64, most: u64) -> Option<usize> {
        let count = self.parsed(node, |text| number(text, least, most))?;
        usize::try_from(count).ok()
    }
}
