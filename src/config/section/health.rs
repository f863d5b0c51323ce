//! `health` and `eject` of an upstream group: which endpoints are fit to get requests.

use std::time::Duration;

use crate::config::address;
use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::header;
use crate::config::model::{Eject, Health};
use crate::config::tree::{Entry, Kind, Node};
use crate::config::value::{self, Problem};

const HEALTH: Shape = Shape {
    what: "`health`",
    keys: &["path", "interval", "timeout", "healthy_after", "unhealthy_after", "host", "status"],
};

const EJECT: Shape = Shape { what: "`eject`", keys: &["errors", "within", "for"] };

/// How many failures the window of an endpoint may hold.
const MOST_ERRORS: u64 = 1000;

/// Decodes `health`; nothing for nothing.
pub fn decode(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<Health> {
    if matches!(entry.value.kind(), Kind::Null) {
        return None;
    }
    let fields = decoder.fields(&entry.value, &HEALTH)?;
    let path = decoder.required(&fields, "path", entry.at).and_then(|node| decoder.parsed(node, path));
    let host = fields.get("host").and_then(|node| decoder.optional(node, address::authority));
    let status = fields.get("status").and_then(|node| decoder.parsed(node, header::status));
    Some(Health {
        path: path?,
        interval: period(decoder, &fields, "interval", Duration::from_secs(5)),
        timeout: period(decoder, &fields, "timeout", Duration::from_secs(1)),
        healthy_after: times(decoder, &fields, "healthy_after", 2),
        unhealthy_after: times(decoder, &fields, "unhealthy_after", 3),
        host,
        status,
    })
}

/// Decodes `eject`; nothing for nothing, the defaults for `{}`.
pub fn eject(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<Eject> {
    if matches!(node.kind(), Kind::Null) {
        return None;
    }
    let fields = decoder.fields(node, &EJECT)?;
    let errors = fields.get("errors").and_then(|node| decoder.parsed(node, |text| value::number(text, 1, MOST_ERRORS)));
    Some(Eject {
        errors: errors.and_then(|errors| u32::try_from(errors).ok()).unwrap_or(5),
        within: period(decoder, &fields, "within", Duration::from_secs(10)),
        rest: period(decoder, &fields, "for", Duration::from_secs(30)),
    })
}

fn period(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>, key: &str, otherwise: Duration) -> Duration {
    let given = fields.get(key).and_then(|node| decoder.parsed(node, value::positive_duration));
    given.unwrap_or(otherwise)
}

fn times(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>, key: &str, otherwise: u32) -> u32 {
    let given = fields.get(key).and_then(|node| decoder.parsed(node, |text| value::number(text, 1, 1000)));
    given.and_then(|given| u32::try_from(given).ok()).unwrap_or(otherwise)
}

/// A path, and a query if the check needs one.
fn path(text: &str) -> Result<String, Problem> {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    address::path_text(path)?;
    if query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Ok(text.to_owned());
    }
    Err(Problem::says("invalid_path", "has a query with a character that no query has").hint("percent-encode it"))
}
