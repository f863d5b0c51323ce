//! One route: what it matches, what it does, and under which conditions.

use std::time::Duration;

use crate::config::address;
use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::header;
use crate::config::model::{Action, Auth, HeaderEdits, HostHeader, Proxy, Route, Target, Timeouts};
use crate::config::section::environments::Prefixes;
use crate::config::section::{compress, cors, direct, files, headers, limits, retry, sign};
use crate::config::tree::{Entry, Node};
use crate::config::value::{self, Problem, shown, word};
use crate::diagnostic::{Diagnostic, Spanned};

/// Every key that a route may have.
pub const ROUTE: Shape = Shape {
    what: "a route",
    keys: &[
        "prefix",
        "upstream",
        "rewrite",
        "host",
        "redirect",
        "respond",
        "auth",
        "methods",
        "access",
        "sign",
        "payload",
        "headers",
        "timeouts",
        "retry",
        "limits",
        "cors",
        "compress",
        "files",
        "credential",
        "mode",
    ],
};

/// Who goes to the upstream: the edge, or the browser by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Requests come here.
    Api,
    /// Browsers learn of the upstream and call it themselves.
    Direct,
}

const MODES: &[(&str, Mode)] = &[("api", Mode::Api), ("direct", Mode::Direct)];

const ACCESS: Shape = Shape { what: "`access`", keys: &["allow", "deny"] };
const TIMEOUTS: Shape = Shape { what: "`timeouts`", keys: &["connect", "first_byte", "idle", "send"] };
const REDIRECT: Shape = Shape { what: "`redirect`", keys: &["to", "status"] };
const RESPOND: Shape = Shape { what: "`respond`", keys: &["status", "body"] };

/// Each says what happens to a request, so a route has exactly one of them.
const ACTIONS: &[&str] = &["upstream", "redirect", "respond", "files"];

/// Keys that only mean something where a request is forwarded.
const FORWARDING: &[&str] = &["rewrite", "host", "sign", "payload", "retry", "credential"];

const AUTH: &[(&str, Auth)] = &[("required", Auth::Required), ("optional", Auth::Optional), ("none", Auth::None)];

/// Decodes one element of `routes`.
pub fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>, family: &str, prefixes: &mut Prefixes) -> Option<Route> {
    decoder.gathered.routes += 1;
    let fields = decoder.fields(node, &ROUTE)?;
    let at = fields.at;
    let prefix = decoder.required(&fields, "prefix", at).and_then(|node| decoder.spanned(node, address::prefix));
    // A word that is neither has been noted, and nothing more is said about what it may have meant.
    let mode = fields.get("mode").map_or(Some(Mode::Api), |node| decoder.parsed(node, |text| word(text, MODES)));
    if let (Some(prefix), Some(mode)) = (&prefix, mode) {
        prefixes.claim(decoder, mode, prefix);
    }
    if mode == Some(Mode::Direct) {
        return direct::decode(decoder, &fields, prefix);
    }
    let auth = fields.get("auth").and_then(|node| decoder.parsed(node, |text| word(text, AUTH)));
    let methods = fields.get("methods").and_then(|node| methods(decoder, node));
    let (access_allow, access_deny) = access(decoder, fields.get("access"));
    let credential =
        fields.get("credential").and_then(|node| decoder.optional(node, value::name).map(|name| (node, name)));
    let sign = fields.entry("sign").and_then(|entry| sign::decode(decoder, entry));
    let payload = fields.get("payload").map(|node| headers::payload(decoder, node)).unwrap_or_default();
    let (request_headers, response_headers) =
        fields.get("headers").map(|node| headers::decode(decoder, node)).unwrap_or_default();
    headers::check_owners(decoder, family, &payload, &request_headers);
    let timeouts = fields.get("timeouts").map(|node| timeouts(decoder, node)).unwrap_or_default();
    let limits = fields.get("limits").and_then(|node| limits::decode(decoder, node));
    let cors = fields.get("cors").and_then(|node| cors::decode(decoder, node));
    let compress = fields.get("compress").map(|node| compress::decode(decoder, node)).unwrap_or_default();
    let retry = fields.get("retry").map(|node| retry::decode(decoder, node)).unwrap_or_default();
    let action = action(decoder, &fields, methods.as_deref(), &request_headers)?;
    Some(Route {
        prefix: prefix?,
        action,
        auth: auth.unwrap_or(Auth::Required),
        methods,
        access_allow,
        access_deny,
        credential: credential.map(|(node, name)| Spanned::new(name, node.target().at)),
        sign,
        payload,
        request_headers,
        response_headers,
        timeouts,
        limits,
        retry,
        cors,
        compress,
        at,
    })
}

fn action(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_, '_>,
    methods: Option<&[http::Method]>,
    edits: &HeaderEdits,
) -> Option<Action> {
    let entry = sole_action(decoder, fields)?;
    match &*entry.key {
        "redirect" => check_forwarding_keys(decoder, fields, entry, edits, &["timeouts", "compress"]),
        "respond" => check_forwarding_keys(decoder, fields, entry, edits, &["timeouts"]),
        "files" => {
            check_forwarding_keys(decoder, fields, entry, edits, &[]);
            files::check(decoder, fields, methods);
        }
        _ => {}
    }
    match &*entry.key {
        "files" => files::decode(decoder, entry).map(Action::Files),
        "upstream" => proxy(decoder, fields, entry).map(Action::Proxy),
        "redirect" => redirect(decoder, entry),
        "respond" => respond(decoder, entry),
        _ => None,
    }
}

fn sole_action<'n, 't>(decoder: &mut Decoder<'_, '_>, fields: &Fields<'n, 't>) -> Option<&'n Entry<'t>> {
    let given: Vec<&'n Entry<'t>> = ACTIONS.iter().filter_map(|key| fields.entry(key)).collect();
    match given.as_slice() {
        [entry] => Some(*entry),
        [] if fields.is_meant(ACTIONS) => None,
        [] => {
            let message = "the route does nothing";
            let hint = "give it `upstream`, `files`, `redirect` or `respond`";
            decoder.note(Diagnostic::error("missing_action", fields.at, message).hint(hint));
            None
        }
        [first, second, ..] => {
            let message = format!("{} and {} in one route", shown(&first.key), shown(&second.key));
            decoder.note(
                Diagnostic::error("conflicting_keys", second.at, message)
                    .hint("a route does one thing; keep one of the two")
                    .related(first.at, "the other is here"),
            );
            None
        }
    }
}

fn check_forwarding_keys(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_, '_>,
    action: &Entry<'_>,
    edits: &HeaderEdits,
    further: &[&str],
) {
    let keys = FORWARDING.iter().chain(further);
    let mut useless: Vec<(&str, crate::diagnostic::Pos)> =
        keys.filter_map(|key| fields.entry(key)).map(|entry| (&*entry.key, entry.at)).collect();
    let edited = edits.set.iter().chain(&edits.add).map(|(name, _)| name).chain(&edits.remove).next();
    useless.extend(edited.map(|name| ("headers.request", name.at)));
    for (key, at) in useless {
        let message = format!("`{key}` has no effect beside {}", shown(&action.key));
        let hint = "nothing is forwarded on this route; remove it";
        decoder.note(Diagnostic::error("useless_key", at, message).hint(hint));
    }
}

fn proxy(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>, entry: &Entry<'_>) -> Option<Proxy> {
    let target = target(decoder, &entry.value);
    let rewrite = fields.entry("rewrite").map(|entry| (entry.at, decoder.spanned(&entry.value, rewrite)));
    if let (Some(Target::Url(_)), Some((at, _))) = (&target, &rewrite) {
        let message = "`rewrite` beside a URL: the URL's path replaces the prefix already";
        decoder.note(Diagnostic::error("conflicting_keys", *at, message).hint("put the path into the URL"));
    }
    let host = fields.get("host").and_then(|node| decoder.parsed(node, host_header));
    Some(Proxy {
        target: target?,
        rewrite: rewrite.and_then(|(_, rewrite)| rewrite),
        host: host.unwrap_or(HostHeader::Upstream),
    })
}

fn target(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<Target> {
    let text = decoder.text(node)?;
    let at = node.target().at;
    let target = if text.value.contains("://") {
        address::upstream_url(&text.value).map(|url| Target::Url(Spanned::new(url, at)))
    } else {
        group_name(&text.value).map(|name| Target::Group(Spanned::new(name, at)))
    };
    match target {
        Ok(target) => Some(target),
        Err(problem) => {
            decoder.problem(node, &text, problem);
            None
        }
    }
}

fn group_name(text: &str) -> Result<String, Problem> {
    value::name(text).map_err(|problem| {
        let problem = Problem::not(problem.code, "a URL or the name of a group");
        if address::upstream_url(&format!("http://{text}")).is_ok() {
            return problem.hint(format!("write `http://{0}` or `https://{0}`", value::printable(text)));
        }
        problem.hint("write a URL such as https://test.example.com/api, or a name of `upstreams`")
    })
}

fn rewrite(text: &str) -> Result<String, Problem> {
    address::path_text(text).map(|()| text.to_owned())
}

fn host_header(text: &str) -> Result<HostHeader, Problem> {
    match text {
        "upstream" => Ok(HostHeader::Upstream),
        "client" => Ok(HostHeader::Client),
        _ => address::authority(text)
            .map(HostHeader::Literal)
            .map_err(|problem| problem.hint("`upstream`, `client`, or the name to send")),
    }
}

fn redirect(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<Action> {
    let fields = decoder.fields(&entry.value, &REDIRECT)?;
    let status = fields.get("status").and_then(|node| decoder.parsed(node, header::redirect_status));
    let to = decoder.required(&fields, "to", entry.at)?;
    let to = decoder.spanned(to, location)?;
    Some(Action::Redirect { to, status: status.unwrap_or(http::StatusCode::FOUND) })
}

/// An absolute URL or a path, in which `{rest}` and `{query}` stand for parts of the request.
fn location(text: &str) -> Result<String, Problem> {
    let problem = |clause: &str| Problem::says("invalid_url", clause);
    let plain = text.replace("{rest}", "").replace("{query}", "");
    if plain.contains(['{', '}']) {
        return Err(problem("has a placeholder that does not exist").hint("there are {rest} and {query}"));
    }
    if plain.bytes().any(|b| !b.is_ascii_graphic() || matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'|')) {
        return Err(problem("has a character that no URL has").hint("percent-encode it"));
    }
    if text.starts_with('/') && !text.starts_with("//") {
        return Ok(text.to_owned());
    }
    // The host must be written out: `https://example.com{rest}` could lead anywhere.
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = host.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    match host {
        Some("") => Err(problem("has no host")),
        Some(host) if host.split('{').next().is_some_and(|host| address::authority(host).is_ok()) => {
            Ok(text.to_owned())
        }
        _ => Err(problem("is neither a URL nor a path").hint("begin it with https://, http:// or /")),
    }
}

fn respond(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<Action> {
    let fields = decoder.fields(&entry.value, &RESPOND)?;
    let status = fields.get("status").and_then(|node| decoder.spanned(node, header::status));
    let body = fields.get("body").and_then(|node| decoder.string(node)).unwrap_or_default();
    let bodiless = |status: &&Spanned<http::StatusCode>| matches!(status.as_u16(), 204 | 205 | 304);
    if let Some(status) = status.as_ref().filter(bodiless).filter(|_| !body.is_empty()) {
        let message = format!("a response with status {} has no body", status.as_u16());
        decoder.note(Diagnostic::error("conflicting_keys", status.at, message).hint("remove `body`"));
    }
    Some(Action::Respond { status: status.map_or(http::StatusCode::OK, |status| status.value), body })
}

fn methods(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<Vec<http::Method>> {
    if node.is_empty() {
        let message = "no method at all";
        let hint = "leave `methods` out for any, or name some: [GET, POST]";
        decoder.note(Diagnostic::error("invalid_method", node.target().at, message).hint(hint));
        return None;
    }
    decoder.values(node, header::method)
}

type Networks = Vec<ipnet::IpNet>;

fn access(decoder: &mut Decoder<'_, '_>, node: Option<&Node<'_>>) -> (Option<Networks>, Networks) {
    let Some(fields) = node.and_then(|node| decoder.fields(node, &ACCESS)) else { return (None, Vec::new()) };
    let allow = fields.get("allow").and_then(|node| decoder.networks(node));
    let deny = fields.get("deny").and_then(|node| decoder.networks(node));
    (allow, deny.unwrap_or_default())
}

fn timeouts(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let Some(fields) = decoder.fields(node, &TIMEOUTS) else { return timeouts };
    let mut take = |key: &str, place: &mut Duration| {
        if let Some(timeout) = fields.get(key).and_then(|node| decoder.parsed(node, value::positive_duration)) {
            *place = timeout;
        }
    };
    take("connect", &mut timeouts.connect);
    take("first_byte", &mut timeouts.first_byte);
    take("idle", &mut timeouts.idle);
    take("send", &mut timeouts.send);
    timeouts
}
