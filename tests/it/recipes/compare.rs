//! What two fronts did, side by side. Some things are never compared, as they are each server's own: dates and server
//! names, `via`, how a body is framed, `nosniff`, the version spoken upstream, and the words of an error page that the front itself wrote.
//! Towards upstreams Countersign always says who called (`x-forwarded-*`, `x-real-ip`, `x-request-id`): where nginx was not
//! told to, that is no difference worth repeating in sixty files.

use std::collections::{BTreeMap, BTreeSet};

use super::file::{Difference, Recipe};
use super::peers::{Answer, Seen, Sent};

/// Of answers.
const OWN: &[&str] = &[
    "date",
    "server",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "x-request-id",
    "etag",
    "last-modified",
    "via",
    "x-content-type-options",
];
/// Of answers that the front itself made up because something went wrong, or somewhere else.
const OWN_WORDS: &[&str] = &["content-type", "cache-control", "vary"];
/// Of requests.
const HOPS: &[&str] = &["connection", "x-request-id", "content-length", "transfer-encoding", "te"];
/// What Countersign says to upstreams in any case.
const SAID_ANYWAY: &[&str] = &[
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "via",
    "traceparent",
    "forwarded",
];

struct Found {
    request: usize,
    field: String,
    nginx: String,
    countersign: String,
}

/// Differences that are not explained, and explanations of what is no difference.
pub fn unexplained(recipe: &Recipe, nginx: &[Seen], countersign: &[Seen]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, (nginx, countersign)) in nginx.iter().zip(countersign).enumerate() {
        let mut fields = BTreeMap::new();
        fields_of(nginx, countersign, &mut fields);
        if recipe.steps.get(index).is_some_and(|step| step.whichever) {
            fields.retain(|field, _| !matches!(field.as_str(), "header x-upstream" | "body"));
        }
        let differing = fields.into_iter().filter(|(_, (nginx, countersign))| nginx != countersign);
        found.extend(differing.map(|(field, (nginx, countersign))| Found {
            request: index + 1,
            field,
            nginx,
            countersign,
        }));
    }
    let mut used = BTreeSet::new();
    let mut wrong: Vec<String> = Vec::new();
    for found in &found {
        match recipe.explained.iter().position(|explained| explains(explained, found)) {
            Some(place) => drop(used.insert(place)),
            None => wrong.push(format!(
                "{} | {} | {} | {} | not explained",
                found.request, found.field, found.nginx, found.countersign
            )),
        }
    }
    let idle = recipe.explained.iter().enumerate().filter(|(place, _)| !used.contains(place));
    wrong.extend(idle.map(|(_, it)| format!("explained, but there is no such difference: {it:?}")));
    wrong
}

fn explains(explained: &Difference, found: &Found) -> bool {
    let is = |pattern: &str, value: &str| pattern == "*" || pattern == value;
    explained.request.is_none_or(|request| request == found.request)
        && explained.field == found.field
        && is(&explained.nginx, &found.nginx)
        && is(&explained.countersign, &found.countersign)
}

type Fields = BTreeMap<String, (String, String)>;

fn fields_of(nginx: &Seen, countersign: &Seen, fields: &mut Fields) {
    let statuses = |seen: &Seen| seen.statuses();
    fields.insert("status".into(), (statuses(nginx), statuses(countersign)));
    let (ours, theirs) = (nginx.answers.first(), countersign.answers.first());
    if let (Some(nginx), Some(countersign)) = (ours, theirs) {
        answers(nginx, countersign, fields);
    }
    let spread = |seen: &Seen| seen.spread();
    fields.insert("upstream".into(), (spread(nginx), spread(countersign)));
    if let (Some(nginx), Some(countersign)) = (nginx.sent.first(), countersign.sent.first()) {
        requests(nginx, countersign, fields);
    }
}

fn answers(nginx: &Answer, countersign: &Answer, fields: &mut Fields) {
    let own = nginx.is_fronts_own() && countersign.is_fronts_own();
    for name in nginx.headers.keys().chain(countersign.headers.keys()) {
        if OWN.contains(&name.as_str()) || own && OWN_WORDS.contains(&name.as_str()) {
            continue;
        }
        fields.insert(format!("header {name}"), (value(&nginx.headers, name), value(&countersign.headers, name)));
    }
    if !own {
        fields.insert("body".into(), (text(&nginx.body), text(&countersign.body)));
    }
}

fn requests(nginx: &Sent, countersign: &Sent, fields: &mut Fields) {
    fields.insert("upstream line".into(), (nginx.line.clone(), countersign.line.clone()));
    fields.insert("upstream body".into(), (text(&nginx.body), text(&countersign.body)));
    for name in nginx.headers.keys().chain(countersign.headers.keys()) {
        let unasked = SAID_ANYWAY.contains(&name.as_str()) && !nginx.headers.contains_key(name);
        if HOPS.contains(&name.as_str()) || unasked {
            continue;
        }
        let both = (value(&nginx.headers, name), value(&countersign.headers, name));
        fields.insert(format!("upstream header {name}"), both);
    }
}

fn value(headers: &BTreeMap<String, Vec<String>>, name: &str) -> String {
    let value = headers.get(name).map_or_else(|| "none".to_owned(), |values| values.join(", "));
    // Names of fields, whose case means nothing.
    if name == "vary" { value.to_ascii_lowercase() } else { value }
}

fn text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body).trim_end().replace('\n', "\\n");
    match text.len() {
        0 => "none".to_owned(),
        1..=200 => text,
        length => format!("{length} bytes"),
    }
}
