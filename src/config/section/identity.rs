//! `identity`: who the person behind a call is. Only the source `client` exists so far.

use crate::config::decoder::Decoder;
use crate::config::fields::{Later, Off, Shape};
use crate::config::model::Identity;
use crate::config::tree::Node;
use crate::config::value::word;
use crate::diagnostic::Diagnostic;

const IDENTITY: Shape = Shape {
    what: "`identity`",
    keys: &["sources"],
    later: &[
        Later { key: "header", off: Off::Empty },
        Later { key: "basic", off: Off::Empty },
        Later { key: "oidc", off: Off::Empty },
    ],
};

const SOURCES: &[(&str, bool)] = &[("client", true), ("basic", false), ("header", false), ("oidc", false)];

/// Decodes the section.
pub fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Identity {
    let Some(fields) = decoder.fields(node, &IDENTITY) else { return Identity::default() };
    let Some(sources) = fields.get("sources") else { return Identity::default() };
    let decoded = decoder.list(sources, |decoder, node| {
        let available = decoder.parsed(node, |text| word(text, SOURCES))?;
        Some((available, node.scalar().unwrap_or_default().to_owned()))
    });
    let at = sources.target().at;
    let missing: Vec<&str> =
        decoded.iter().flatten().filter(|(available, _)| !available).map(|(_, name)| name.as_str()).collect();
    if !missing.is_empty() {
        decoder.not_available(at, &format!("`sources: [{}]`", missing.join(", ")));
    } else if sources.is_empty() {
        let message = "without a source nobody can be identified";
        decoder.note(Diagnostic::error("invalid_value", at, message).hint("write sources: [client]"));
    }
    Identity::default()
}
