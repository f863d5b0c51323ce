//! `mode: direct`: a prefix that browsers call at its upstream themselves. Nothing passes through here, so nothing else can be
//! said of it.

use crate::config::address;
use crate::config::decoder::Decoder;
use crate::config::fields::Fields;
use crate::config::model::{Action, Auth, HeaderEdits, Retry, Route, Timeouts, UpstreamUrl};
use crate::config::section::routes::ROUTE;
use crate::config::value::{Problem, shown};
use crate::diagnostic::{Diagnostic, Spanned};

/// What such a route consists of.
const OWN: &[&str] = &["prefix", "mode", "upstream"];

/// Decodes the rest of a route whose prefix has been read.
pub fn decode(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_, '_>,
    prefix: Option<Spanned<String>>,
) -> Option<Route> {
    refuse_others(decoder, fields);
    let node = decoder.required(fields, "upstream", fields.at)?;
    let target = decoder.spanned(node, target)?;
    Some(Route {
        prefix: prefix?,
        action: Action::Direct(target),
        auth: Auth::None,
        methods: None,
        access_allow: None,
        access_deny: Vec::new(),
        credential: None,
        sign: None,
        payload: Vec::new(),
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        timeouts: Timeouts::default(),
        limits: None,
        retry: Retry::default(),
        cors: None,
        compress: Vec::new(),
        at: fields.at,
    })
}

fn refuse_others(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>) {
    let others = ROUTE.keys.iter().filter(|key| !OWN.contains(key));
    for entry in others.filter_map(|key| fields.entry(key)) {
        let message = format!("{} has no effect beside `mode: direct`", shown(&entry.key));
        let hint = "browsers call the upstream themselves; nothing of it passes here. Remove it";
        decoder.note(Diagnostic::error("useless_key", entry.at, message).hint(hint));
    }
}

/// Browsers know no named groups.
fn target(text: &str) -> Result<UpstreamUrl, Problem> {
    if text.contains("://") {
        return address::upstream_url(text);
    }
    Err(Problem::not("invalid_url", "a URL")
        .hint("browsers call it themselves: write it whole, such as https://printer.example.com/api"))
}
