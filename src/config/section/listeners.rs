//! `listeners`: where requests come in.

use std::time::Duration;

use crate::config::address;
use crate::config::decoder::Decoder;
use crate::config::fields::Shape;
use crate::config::model::Listener;
use crate::config::tree::Entry;
use crate::config::value::{self, Problem};
use crate::diagnostic::Diagnostic;

use super::tls;

const LISTENER: Shape = Shape {
    what: "a listener",
    keys: &[
        "address",
        "tls",
        "http2",
        "h2c",
        "redirect_to_https",
        "proxy_protocol",
        "headers_timeout",
        "idle_timeout",
        "max_header_size",
    ],
};

/// Decodes one entry of the section.
pub fn decode(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<Listener> {
    let name = decoder.key(entry, value::name);
    let fields = decoder.fields(&entry.value, &LISTENER)?;
    let mut timeout = |key: &str, default: u64| {
        let timeout = fields.get(key).and_then(|node| decoder.parsed(node, value::positive_duration));
        timeout.unwrap_or(Duration::from_secs(default))
    };
    let headers_timeout = timeout("headers_timeout", 10);
    let idle_timeout = timeout("idle_timeout", 60);
    let max_header_size = fields.get("max_header_size").and_then(|node| decoder.parsed(node, header_size));
    let mut switch = |key: &str, default: bool| {
        fields.get(key).and_then(|node| decoder.parsed(node, value::boolean)).unwrap_or(default)
    };
    let (http2, proxy_protocol) = (switch("http2", true), switch("proxy_protocol", false));
    let h2c = switch("h2c", false);
    let redirect_to_https = switch("redirect_to_https", false);
    let tls = fields.entry("tls").map(|entry| tls::decode(decoder, entry));
    if let (Some(entry), true, true) = (fields.entry("redirect_to_https"), redirect_to_https, tls.is_some()) {
        let message = "`redirect_to_https` sends a client of a TLS listener back to where it is";
        let hint = "it belongs to the plain listener beside this one";
        decoder.note(Diagnostic::error("redirect_on_tls_listener", entry.at, message).hint(hint));
    }
    if let (Some(entry), true, true) = (fields.entry("h2c"), h2c, tls.is_some()) {
        let message = "`h2c` is HTTP/2 without TLS, and this listener has `tls`";
        decoder.note(
            Diagnostic::error("useless_key", entry.at, message).hint("over TLS it is `http2`, which is on by itself"),
        );
    }
    let address = decoder.required(&fields, "address", entry.at)?;
    Some(Listener {
        name: name?,
        address: decoder.spanned(address, address::socket)?,
        headers_timeout,
        idle_timeout,
        max_header_size: max_header_size.unwrap_or(32 << 10),
        // What could not be decoded is an error: the clear is never what is left of it.
        tls: tls.flatten(),
        http2,
        h2c,
        redirect_to_https,
        proxy_protocol,
    })
}

fn header_size(text: &str) -> Result<usize, Problem> {
    match value::size(text)? {
        size if (1 << 10..=1 << 20).contains(&size) => Ok(size),
        _ => Err(Problem::not("out_of_range", "between 1KiB and 1MiB")),
    }
}
