//! `listeners`: where requests come in.

use std::time::Duration;

use crate::config::address;
use crate::config::decoder::Decoder;
use crate::config::fields::{Later, Off, Shape};
use crate::config::model::Listener;
use crate::config::tree::Entry;
use crate::config::value::{self, Problem};

const LISTENER: Shape = Shape {
    what: "a listener",
    keys: &["address", "headers_timeout", "idle_timeout", "max_header_size", "h2c"],
    later: &[
        Later { key: "redirect_to_https", off: Off::False },
        Later { key: "http2", off: Off::False },
        Later { key: "tls", off: Off::Empty },
        Later { key: "proxy_protocol", off: Off::False },
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
    let h2c = fields.get("h2c").and_then(|node| decoder.parsed(node, value::boolean));
    let address = decoder.required(&fields, "address", entry.at)?;
    Some(Listener {
        name: name?,
        address: decoder.spanned(address, address::socket)?,
        headers_timeout,
        idle_timeout,
        max_header_size: max_header_size.unwrap_or(32 << 10),
        tls: None,
        http2: true,
        h2c: h2c.unwrap_or(false),
        redirect_to_https: false,
        proxy_protocol: false,
    })
}

fn header_size(text: &str) -> Result<usize, Problem> {
    match value::size(text)? {
        size if (1 << 10..=1 << 20).contains(&size) => Ok(size),
        _ => Err(Problem::not("out_of_range", "between 1KiB and 1MiB")),
    }
}
