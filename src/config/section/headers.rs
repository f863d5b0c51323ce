//! A route's `headers` and `payload`: static edits, and who owns which name.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue};

use crate::config::decoder::Decoder;
use crate::config::fields::Shape;
use crate::config::header;
use crate::config::mask;
use crate::config::model::HeaderEdits;
use crate::config::tree::{Entry, Kind, Node};
use crate::config::value::{Problem, shown};
use crate::diagnostic::{Diagnostic, Pos, Spanned};
use crate::secret::Secret;

const HEADERS: Shape = Shape { what: "`headers`", keys: &["request", "response"] };
const EDITS: Shape = Shape { what: "header edits", keys: &["set", "add", "remove"] };

type Named = (Spanned<HeaderName>, HeaderValue);

/// Decodes `headers`: towards the upstream, towards the client.
pub fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> (HeaderEdits, HeaderEdits) {
    let Some(fields) = decoder.fields(node, &HEADERS) else { return Default::default() };
    let request = fields.get("request").map(|node| edits(decoder, node)).unwrap_or_default();
    let response = fields.get("response").map(|node| edits(decoder, node)).unwrap_or_default();
    (request, response)
}

fn edits(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> HeaderEdits {
    let Some(fields) = decoder.fields(node, &EDITS) else { return HeaderEdits::default() };
    let set = fields.get("set").map(|node| values(decoder, node, Repeat::Never)).unwrap_or_default();
    let add = fields.get("add").map(|node| values(decoder, node, Repeat::Allowed)).unwrap_or_default();
    let remove = fields.get("remove").and_then(|node| decoder.spanned_values(node, header::editable));
    HeaderEdits { set, add, remove: remove.unwrap_or_default() }
}

/// Whether one name may have several values.
#[derive(Clone, Copy)]
enum Repeat {
    Never,
    Allowed,
}

fn values(decoder: &mut Decoder<'_, '_>, node: &Node<'_>, repeat: Repeat) -> Vec<Named> {
    let mut names = Names::default();
    let mut found = Vec::new();
    for entry in decoder.named(node) {
        let Some(name) = decoder.key(entry, header::editable) else { continue };
        names.claim(decoder, &name);
        match (repeat, entry.value.kind()) {
            (Repeat::Allowed, Kind::Sequence(nodes)) => {
                found.extend(nodes.iter().filter_map(|node| Some((name.clone(), value(decoder, entry, node)?))));
            }
            _ => found.extend(value(decoder, entry, &entry.value).map(|value| (name, value))),
        }
    }
    found
}

/// A value; one whose name sounds like a secret is treated as one wherever it could be shown.
fn value(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>, node: &Node<'_>) -> Option<HeaderValue> {
    if !mask::sounds_secret(&entry.key) {
        return decoder.parsed(node, header::value);
    }
    decoder.mask_value(node);
    let text = decoder.text(node)?;
    match header::value(&text.value) {
        Ok(mut value) => {
            value.set_sensitive(true);
            Some(value)
        }
        Err(problem) => {
            decoder.note(hidden(node, "the value", &problem));
            None
        }
    }
}

fn hidden(node: &Node<'_>, what: &str, problem: &Problem) -> Diagnostic {
    Diagnostic::error(problem.code, node.target().at, format!("{what} {}", problem.clause))
}

/// Decodes `payload`: header names and secret values.
pub fn payload(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Vec<(Spanned<HeaderName>, Secret)> {
    decoder.mask_value(node);
    let mut names = Names::default();
    let mut found = Vec::new();
    for entry in decoder.named(node) {
        let name = decoder.key(entry, header::editable);
        let Some(secret) = decoder.secret(&entry.value) else { continue };
        if let Err(problem) = header::value(secret.expose()) {
            decoder.note(hidden(&entry.value, "the payload value", &problem));
        }
        let Some(name) = name else { continue };
        names.claim(decoder, &name);
        found.push((name, secret.value));
    }
    found
}

/// Names that one mapping has given already: YAML tells `X-A` and `x-a` apart, HTTP does not.
#[derive(Default)]
struct Names(HashMap<HeaderName, Pos>);

impl Names {
    fn claim(&mut self, decoder: &mut Decoder<'_, '_>, name: &Spanned<HeaderName>) {
        if let Some(first) = self.0.get(&name.value) {
            decoder.note(twice(name, *first));
        } else {
            self.0.insert(name.value.clone(), name.at);
        }
    }
}

fn twice(name: &Spanned<HeaderName>, first: Pos) -> Diagnostic {
    let message = format!("the header `{}` is given twice", name.value);
    Diagnostic::error("duplicate_header", name.at, message)
        .hint("header names do not tell upper and lower case apart; keep one of the two")
        .related(first, "first given here")
}

/// Checks that what a route injects has one owner: not the signature's family, not both payload and `set`.
pub fn check_owners(
    decoder: &mut Decoder<'_, '_>,
    family: &str,
    payload: &[(Spanned<HeaderName>, Secret)],
    request: &HeaderEdits,
) {
    let edited = request.set.iter().chain(&request.add).map(|(name, _)| name);
    let injected = payload.iter().map(|(name, _)| name).chain(edited.clone());
    for name in injected.chain(&request.remove) {
        if header::family(name.as_str()).starts_with(family) {
            let message = format!("{} belongs to the signature's headers", shown(name.as_str()));
            let hint = "they are removed from what clients send, and set by `sign` alone; choose another name";
            decoder.note(Diagnostic::error("reserved_header", name.at, message).hint(hint));
        }
    }
    for name in edited {
        if let Some((first, _)) = payload.iter().find(|(other, _)| other.value == name.value) {
            decoder.note(twice(name, first.at));
        }
    }
}
