//! `upstreams`: named groups of endpoints.

use std::time::Duration;

use crate::config::address;
use crate::config::decoder::Decoder;
use crate::config::fields::{Later, Off, Shape};
use crate::config::model::{Balance, Endpoint, Group, Http2, Scheme, UpstreamTls};
use crate::config::tree::{Entry, Node};
use crate::config::value;
use crate::diagnostic::{Diagnostic, Spanned};

const GROUP: Shape = Shape {
    what: "an upstream group",
    keys: &["scheme", "endpoints", "tls", "keepalive"],
    later: &[
        Later { key: "balance", off: Off::Words(&["round_robin"], &["least_requests", "random_two", "hash"]) },
        Later { key: "hash_on", off: Off::Empty },
        Later { key: "health", off: Off::Empty },
        Later { key: "eject", off: Off::Empty },
        Later { key: "http2", off: Off::Words(&["auto", "off"], &["only"]) },
    ],
};

const ENDPOINT: Shape = Shape { what: "an endpoint", keys: &["address", "weight"], later: &[] };

const TLS: Shape = Shape {
    what: "an upstream's `tls`",
    keys: &["server_name", "ca", "verify"],
    later: &[Later { key: "client_cert", off: Off::Empty }, Later { key: "client_key", off: Off::Empty }],
};

const KEEPALIVE: Shape =
    Shape { what: "`keepalive`", keys: &["idle"], later: &[Later { key: "max_idle", off: Off::Empty }] };

/// How long an idle connection is kept when nobody says.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(55);

/// Decodes one entry of the section.
pub fn decode(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<Group> {
    let name = decoder.key(entry, value::name);
    let fields = decoder.fields(&entry.value, &GROUP)?;
    let scheme = fields.get("scheme").map_or(Some(Scheme::Http), |node| scheme(decoder, node));
    let tls = tls(decoder, fields.get("tls"));
    let keepalive_idle = keepalive(decoder, fields.get("keepalive"));
    let listed = decoder.required(&fields, "endpoints", entry.at)?;
    let endpoints = decoder.list(listed, endpoint)?;
    if listed.is_empty() {
        decoder.note(no_endpoint(entry));
    }
    Some(Group {
        name: name?,
        scheme: scheme?,
        endpoints,
        tls,
        keepalive_idle,
        max_idle: None,
        balance: Balance::default(),
        health: None,
        eject: None,
        http2: Http2::default(),
    })
}

fn no_endpoint(entry: &Entry<'_>) -> Diagnostic {
    Diagnostic::error("missing_key", entry.at, "the group has no endpoint")
        .hint("add at least one: endpoints: [{ address: \"users-1.internal.example:8443\" }]")
}

/// `None` when it is noted; a scheme of later passes for http, so that one error is one error.
fn scheme(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<Scheme> {
    const SCHEMES: &[(&str, Option<Scheme>)] =
        &[("http", Some(Scheme::Http)), ("https", Some(Scheme::Https)), ("h2c", None)];
    let scheme = decoder.parsed(node, |text| value::word(text, SCHEMES))?;
    if scheme.is_none() {
        decoder.not_available(node.target().at, "`scheme: h2c`");
    }
    scheme
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
    tls
}

fn keepalive(decoder: &mut Decoder<'_, '_>, node: Option<&Node<'_>>) -> Duration {
    let fields = node.and_then(|node| decoder.fields(node, &KEEPALIVE));
    let idle = fields.and_then(|fields| fields.get("idle"));
    idle.and_then(|node| decoder.parsed(node, value::duration)).unwrap_or(KEEPALIVE_IDLE)
}
