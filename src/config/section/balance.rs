//! `balance` and `hash_on` of an upstream group: how its requests are shared.

use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::header;
use crate::config::model::{Balance, HashOn};
use crate::config::tree::{Entry, Kind, Node};
use crate::config::value::{Problem, shown, word};
use crate::diagnostic::Diagnostic;

const HASH_ON: Shape = Shape { what: "`hash_on`", keys: &["header", "cookie"] };

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    RoundRobin,
    LeastRequests,
    RandomTwo,
    Hash,
}

const METHODS: &[(&str, Method)] = &[
    ("round_robin", Method::RoundRobin),
    ("least_requests", Method::LeastRequests),
    ("random_two", Method::RandomTwo),
    ("hash", Method::Hash),
];

/// Decodes the two keys of a group; what cannot be read is noted.
pub fn decode(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>) -> Balance {
    let method = match fields.get("balance") {
        Some(node) => decoder.parsed(node, |text| word(text, METHODS)),
        None => Some(Method::RoundRobin),
    };
    let written = fields.entry("hash_on");
    let hash_on = written.map(|entry| (entry, hash_on(decoder, &entry.value)));
    match (method, hash_on) {
        (Some(Method::LeastRequests), None) => Balance::LeastRequests,
        (Some(Method::RandomTwo), None) => Balance::RandomTwo,
        (Some(Method::Hash), Some((_, Some(on)))) => Balance::Hash(on),
        (Some(Method::Hash), None) => {
            report_missing(decoder, fields);
            Balance::default()
        }
        (Some(method), Some((entry, _))) if method != Method::Hash => {
            report_useless(decoder, entry);
            Balance::default()
        }
        _ => Balance::default(),
    }
}

fn report_missing(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>) {
    if let Some(node) = fields.get("balance")
        && !fields.is_meant(&["hash_on"])
    {
        let hint = "say what to hash, such as `hash_on: address`, `hash_on: { cookie: session }`";
        let message = "`hash_on` is missing";
        decoder.note(Diagnostic::error("missing_key", node.target().at, message).hint(hint));
    }
}

fn report_useless(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) {
    let message = "`hash_on` has no meaning without `balance: hash`";
    decoder.note(Diagnostic::error("conflicting_keys", entry.at, message).hint("write `balance: hash`, or remove it"));
}

/// `address`, `path`, `client`, or a mapping with `header` or `cookie`.
fn hash_on(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<HashOn> {
    if !matches!(node.kind(), Kind::Mapping(_)) {
        return decoder.parsed(node, of_request);
    }
    let fields = decoder.fields(node, &HASH_ON)?;
    match (fields.entry("header"), fields.entry("cookie")) {
        (Some(header), None) => decoder.parsed(&header.value, header::name).map(HashOn::Header),
        (None, Some(cookie)) => decoder.parsed(&cookie.value, header::cookie_name).map(HashOn::Cookie),
        (Some(first), Some(second)) => {
            let message = format!("{} and {} in one `hash_on`", shown(&first.key), shown(&second.key));
            decoder.note(
                Diagnostic::error("conflicting_keys", second.at, message)
                    .hint("a request is hashed over one of them")
                    .related(first.at, "the other is here"),
            );
            None
        }
        (None, None) => {
            if !fields.is_meant(&["header", "cookie"]) {
                let message = "`hash_on` names nothing to hash";
                decoder.note(Diagnostic::error("missing_key", fields.at, message).hint("give `header` or `cookie`"));
            }
            None
        }
    }
}

fn of_request(text: &str) -> Result<HashOn, Problem> {
    let words = [("address", 0), ("path", 1), ("client", 2)];
    match word(text, &words) {
        Ok(0) => Ok(HashOn::Address),
        Ok(1) => Ok(HashOn::Path),
        Ok(_) => Ok(HashOn::Client),
        Err(problem) => Err(match text.split(':').next() {
            Some(kind @ ("header" | "cookie")) => problem.hint(format!("write hash_on: {{ {kind}: NAME }}")),
            _ => problem.hint("possible: address, path, client, { header: NAME }, { cookie: NAME }"),
        }),
    }
}
