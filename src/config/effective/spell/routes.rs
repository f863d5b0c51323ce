//! Routes.

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::config::model::{
    Action, Cors, Files, HeaderEdits, HostHeader, Limits, Origins, Proxy, Retry, Route, Sign, Target, Timeouts,
};
use crate::diagnostic::Spanned;

use super::super::{Node, Value};
use super::{Fields, duration, flag, map, path, plain, secret, size, text, texts, whole, words};

pub(super) fn route(route: &Route) -> Node {
    let Route {
        prefix,
        action,
        auth,
        methods,
        access_allow,
        access_deny,
        credential,
        sign,
        payload,
        request_headers,
        response_headers,
        timeouts,
        limits,
        retry,
        cors,
        compress,
        at: _,
    } = route;
    let is_direct = matches!(action, Action::Direct(_));
    let mode = text(if is_direct { "direct" } else { "api" });
    let named = acting(Fields::default().with("prefix", text(&prefix.value)).with("mode", mode), action);
    if is_direct {
        return named.end();
    }
    let hidden = payload.iter().map(|(name, _)| (name.to_string(), secret()));
    let forwards = matches!(action, Action::Proxy(_));
    named
        .with("auth", text(words::auth(*auth)))
        .maybe("methods", methods.as_ref().map(texts))
        .maybe("access", access(access_allow.as_deref(), access_deny))
        .maybe("credential", credential.as_ref().map(|name| text(&name.value)))
        .maybe("sign", sign.as_ref().map(signature))
        .maybe("payload", (!payload.is_empty()).then(|| map(hidden)))
        .maybe("headers", headers(request_headers, response_headers))
        .maybe("timeouts", times(timeouts, action))
        .maybe("limits", limits.as_ref().map(limited))
        .maybe("retry", forwards.then(|| retried(retry)))
        .maybe("cors", cors.as_ref().map(shared))
        .maybe("compress", (!compress.is_empty()).then(|| texts(compress.iter().map(|it| words::coding(*it)))))
        .end()
}

fn acting(fields: Fields, action: &Action) -> Fields {
    match action {
        Action::Proxy(proxy) => proxying(fields, proxy),
        Action::Files(Files { root, index, fallback }) => {
            let fallback = text(fallback.as_deref().unwrap_or_default());
            let files = Fields::default().with("root", path(&root.value)).with("index", text(index));
            fields.with("files", files.with("fallback", fallback).end())
        }
        Action::Respond { status, body } => {
            let answer = Fields::default().with("status", whole(status.as_u16())).with("body", text(body));
            fields.with("respond", answer.end())
        }
        Action::Redirect { to, status } => {
            let away = Fields::default().with("to", text(&to.value)).with("status", whole(status.as_u16()));
            fields.with("redirect", away.end())
        }
        Action::Direct(target) => fields.with("upstream", text(words::url(target))),
    }
}

fn proxying(fields: Fields, proxy: &Proxy) -> Fields {
    let Proxy { target, rewrite, host } = proxy;
    let target = match target {
        Target::Url(url) => words::url(url),
        Target::Group(name) => name.value.clone(),
    };
    let host = match host {
        HostHeader::Upstream => "upstream",
        HostHeader::Client => "client",
        HostHeader::Literal(name) => name,
    };
    let rewrite = rewrite.as_ref().map(|path| text(&path.value));
    fields.with("upstream", text(target)).maybe("rewrite", rewrite).with("host", text(host))
}

fn access(allow: Option<&[IpNet]>, deny: &[IpNet]) -> Option<Node> {
    let fields = Fields::default().maybe("allow", allow.map(texts)).with("deny", texts(deny));
    (allow.is_some() || !deny.is_empty()).then(|| fields.end())
}

fn signature(sign: &Sign) -> Node {
    let Sign { scheme, token, tokens: _, at: _ } = sign;
    let token = token.as_ref().map(|_| secret());
    Fields::default().with("scheme", text(words::sign_scheme(*scheme))).maybe("token", token).end()
}

fn headers(request: &HeaderEdits, response: &HeaderEdits) -> Option<Node> {
    let (request, response) = (edits(request), edits(response));
    let some = request.is_some() || response.is_some();
    some.then(|| Fields::default().maybe("request", request).maybe("response", response).end())
}

fn edits(edits: &HeaderEdits) -> Option<Node> {
    let HeaderEdits { set, add, remove } = edits;
    if set.is_empty() && add.is_empty() && remove.is_empty() {
        return None;
    }
    let removed = texts(remove.iter().map(|name| &name.value));
    let set = map(set.iter().map(|(name, value)| (name.to_string(), header_value(value))));
    Some(Fields::default().with("set", set).with("add", added(add)).with("remove", removed).end())
}

/// A name may be given several values.
fn added(add: &[(Spanned<HeaderName>, HeaderValue)]) -> Node {
    let mut entries: Vec<(String, Vec<Node>)> = Vec::new();
    for (name, value) in add {
        match entries.iter_mut().find(|(known, _)| known == name.as_str()) {
            Some((_, values)) => values.push(header_value(value)),
            None => entries.push((name.to_string(), vec![header_value(value)])),
        }
    }
    let one = |mut values: Vec<Node>| match values.len() {
        1 => values.remove(0),
        _ => plain(Value::List(values)),
    };
    map(entries.into_iter().map(|(name, values)| (name, one(values))))
}

/// One whose name sounds like a secret is marked as such.
fn header_value(value: &HeaderValue) -> Node {
    if value.is_sensitive() { secret() } else { text(String::from_utf8_lossy(value.as_bytes())) }
}

/// Those that mean something for what the route does.
fn times(timeouts: &Timeouts, action: &Action) -> Option<Node> {
    let Timeouts { connect, first_byte, idle, send } = timeouts;
    let fields = match action {
        Action::Proxy(_) => Fields::default()
            .with("connect", duration(*connect))
            .with("first_byte", duration(*first_byte))
            .with("idle", duration(*idle)),
        Action::Files(_) => Fields::default(),
        Action::Respond { .. } | Action::Redirect { .. } | Action::Direct(_) => return None,
    };
    Some(fields.with("send", duration(*send)).end())
}

fn limited(limits: &Limits) -> Node {
    let Limits { requests, burst, concurrent, body, per, at: _ } = limits;
    let counted = requests.is_some() || concurrent.is_some();
    Fields::default()
        .maybe("requests", requests.map(|rate| text(words::rate(rate))))
        .maybe("burst", requests.map(|_| whole(*burst)))
        .maybe("concurrent", concurrent.map(whole))
        .maybe("body", body.map(size))
        .maybe("per", counted.then(|| text(words::per(*per))))
        .end()
}

fn retried(retry: &Retry) -> Node {
    let Retry { attempts, on } = retry;
    let on = texts(on.iter().map(|on| words::retry_on(*on)));
    Fields::default().with("attempts", whole(*attempts)).with("on", on).end()
}

fn shared(cors: &Cors) -> Node {
    let Cors { origins, max_age, credentials, expose, at: _ } = cors;
    let origins = match origins {
        Origins::Any => text("any"),
        Origins::These(these) => texts(these.iter().map(|origin| &origin.value)),
    };
    Fields::default()
        .with("origins", origins)
        .with("max_age", duration(*max_age))
        .with("credentials", flag(*credentials))
        .with("expose", texts(expose))
        .end()
}
