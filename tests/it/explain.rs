//! `explain` against the wire: for generated tables and requests, what it says is what the upstream receives.

use std::collections::BTreeSet;
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::{Config as Proptest, TestRunner};
use serde_json::Value;

use crate::support::edge::BINARY;
use crate::support::process::run;
use crate::support::{Config, Edge, Origin, Recorded, Request, signature};

const SIGN_TOKEN: &str = "0123456789-0123456789-0123456789-abc";
const CLIENT: &str = "explain-client-token-0123456789abcdef";

/// One generated route.
#[derive(Clone, Debug)]
struct RouteSpec {
    prefix: &'static str,
    target: &'static str,
    options: Vec<&'static str>,
}

/// One generated request.
#[derive(Clone, Debug)]
struct RequestSpec {
    method: &'static str,
    host: &'static str,
    path: String,
    query: Option<&'static str>,
    fields: Vec<(&'static str, String)>,
}

const PREFIXES: [&str; 7] = ["/", "/a0", "/a0/b", "/a0/b/c", "/b", "/b/", "/%7Eu"];
const TARGETS: [&str; 6] = [
    r#"upstream: "http://{origin}""#,
    r#"upstream: "http://{origin}/""#,
    r#"upstream: "http://{origin}/base""#,
    r#"upstream: "http://{origin}/base/""#,
    "upstream: pool",
    "upstream: pool, rewrite: /rewritten",
];
const OPTIONS: [&[&str]; 5] = [
    &["", "", "auth: none", "auth: optional", "auth: required"],
    &[
        "",
        "sign: { scheme: user-stamp, token: \"${SIGN_TOKEN}\" }",
        "sign: { scheme: user-project-appid-stamp }",
        "sign: { scheme: none }",
        "sign: { scheme: hmac-sha256, token: \"${SIGN_TOKEN}\" }",
        "sign: { scheme: rfc9421, token: \"${SIGN_TOKEN}\" }",
    ],
    &["", "", "host: client", "host: literal.test"],
    &[
        "",
        "",
        "methods: [GET, POST]",
        "access: { deny: [127.0.0.1] }",
        "payload: { x-api-token: payload-of-the-route }",
    ],
    &[
        "",
        "headers: { request: { set: { x-set: by-the-route }, remove: [cookie, x-note] } }",
        "headers: { request: { add: { x-note: added } } }",
    ],
];
const SEGMENTS: [&str; 9] = ["a0", "b", "c", "A0", "%61%30", "x%20y", "~u", "", ".."];
const FIELDS: [(&str, &str); 12] = [
    ("x-note", "1"),
    ("cookie", "a=b"),
    ("x-kms-user", "forged"),
    ("x_kms_sign", "forged"),
    ("authorization", "Bearer explain-client-token-0123456789abcdef"),
    ("authorization", "Bearer wrong"),
    ("x-api-key", "explain-client-token-0123456789abcdef"),
    ("x-environment", "dev"),
    ("x-environment", "nowhere"),
    ("x-set", "by-the-client"),
    ("connection", "x-note"),
    ("x-api-token", "by-the-client"),
];

fn route() -> impl Strategy<Value = RouteSpec> {
    let options: Vec<_> = OPTIONS.iter().map(|choices| prop::sample::select(choices.to_vec())).collect();
    (prop::sample::select(PREFIXES.to_vec()), prop::sample::select(TARGETS.to_vec()), options)
        .prop_map(|(prefix, target, options)| RouteSpec { prefix, target, options })
}

fn request() -> impl Strategy<Value = RequestSpec> {
    let path = prop::collection::vec(prop::sample::select(SEGMENTS.to_vec()), 0..4);
    let fields = prop::collection::vec(prop::sample::select(FIELDS.to_vec()), 0..4);
    (
        prop::sample::select(vec!["GET", "POST", "PUT", "HEAD", "PURGE"]),
        prop::sample::select(vec!["demo.test", "DEMO.test.", "sub.demo.test", "other.test"]),
        path,
        prop::sample::select(vec![None, Some("x=1"), Some(""), Some("a=%20&b=//")]),
        fields,
    )
        .prop_map(|(method, host, path, query, fields)| RequestSpec {
            method,
            host,
            path: format!("/{}", path.join("/")),
            query,
            fields: once_each(&fields),
        })
}

/// One value a name: `explain`'s JSON joins several.
fn once_each(fields: &[(&'static str, &'static str)]) -> Vec<(&'static str, String)> {
    let mut seen = BTreeSet::new();
    fields.iter().filter(|(name, _)| seen.insert(*name)).map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// Two environments of the same routes; unique prefixes, as the compiler demands.
fn configuration(routes: &[RouteSpec]) -> String {
    let mut prefixes = BTreeSet::new();
    let mut lines = String::new();
    for route in routes {
        if prefixes.insert(route.prefix.trim_end_matches('/').to_owned()) {
            let options: Vec<&str> = route.options.iter().copied().filter(|option| !option.is_empty()).collect();
            let rest = [vec![route.target], options].concat().join(", ");
            lines.push_str(&format!("          - {{ prefix: \"{}\", {rest} }}\n", route.prefix));
        }
    }
    format!(
        "upstreams:\n  pool: {{ scheme: http, endpoints: [{{ address: \"{{origin}}\" }}] }}\n\
         clients:\n  laptop: {{ token: \"${{CLIENT}}\", user: Dev@Example.com, name: \"王 D\" }}\n\
         projects:\n  demo:\n    hosts: [demo.test, \"*.demo.test\"]\n    app_id: \"1001\"\n    upstream_policy: open\n    \
         choose_environment: [{{ header: x-environment, of: [dev] }}]\n    environments:\n      production:\n        \
         routes:\n{lines}      dev:\n        routes:\n{lines}"
    )
}

#[test]
fn what_explain_says_is_what_the_upstream_receives() {
    let origin = Origin::start();
    let first = RouteSpec { prefix: "/", target: TARGETS[0], options: vec!["auth: none"] };
    let edge = Config::new(&configuration(&[first]))
        .origin(&origin)
        .environment("SIGN_TOKEN", SIGN_TOKEN)
        .environment("CLIENT", CLIENT)
        .start();
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(32);
    let mut runner = TestRunner::new(Proptest { cases, failure_persistence: None, ..Proptest::default() });
    let strategy = (prop::collection::vec(route(), 1..5), prop::collection::vec(request(), 2..5));
    let outcome = runner.run(&strategy, |(routes, requests)| {
        edge.rewrite(&configuration(&routes));
        let (status, verdict) = edge.reload();
        prop_assert_eq!(status, 200, "{}", verdict);
        for request in requests {
            compare(&edge, &origin, &request).map_err(TestCaseError::fail)?;
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Asks both, and says where they differ.
fn compare(edge: &Edge, origin: &Origin, request: &RequestSpec) -> Result<(), String> {
    let said = ask(edge, request)?;
    let before = origin.count();
    let target = request.query.map_or_else(|| request.path.clone(), |query| format!("{}?{query}", request.path));
    let mut sent = Request::new(request.method, &target).host(request.host);
    for (name, value) in &request.fields {
        sent = sent.header(name, value);
    }
    let mut wire = edge.connect();
    wire.send(sent.keep_alive().bytes());
    let response = wire.try_response_to(request.method).map_err(|stop| format!("{request:?}: {stop:?}"))?;
    let received = origin.requests().split_off(before);
    agree(&said, response.status, &received).map_err(|what| format!("{what}\n{request:?}\nexplain: {said:#}"))
}

fn ask(edge: &Edge, request: &RequestSpec) -> Result<Value, String> {
    let query = request.query.map_or(String::new(), |query| format!("?{query}"));
    let mut command = Command::new(BINARY);
    command.args(["explain", "--json", "-c"]).arg(edge.file()).arg(request.method);
    command.arg(format!("http://{}{}{query}", request.host, request.path));
    command.envs([("SIGN_TOKEN", SIGN_TOKEN), ("CLIENT", CLIENT)]);
    for (name, value) in &request.fields {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    let done = run(&mut command);
    if !matches!(done.code, Some(0 | 4)) {
        return Err(format!("explain ended with {done:?} for {request:?}"));
    }
    let said: Value = serde_json::from_str(&done.stdout).map_err(|error| format!("{error}: {done:?}"))?;
    let refused = said["outcome"] == "refused";
    if refused != (done.code == Some(4)) {
        return Err(format!("exit code {:?} for {said}", done.code));
    }
    Ok(said)
}

fn agree(said: &Value, status: u16, received: &[Recorded]) -> Result<(), String> {
    if said["outcome"] == "refused" {
        let same = said["status"] == status && received.is_empty();
        return if same { Ok(()) } else { Err(format!("refused, yet {status} and {} upstream", received.len())) };
    }
    let [request] = received else {
        return Err(format!("routed, yet the upstream received {} requests (status {status})", received.len()));
    };
    destination(said, request)?;
    set_fields(said, request)?;
    removed_fields(said, request)?;
    sign(said, request)
}

fn destination(said: &Value, request: &Recorded) -> Result<(), String> {
    let url = said["upstream_url"].as_str().unwrap_or_default();
    let rest = url.strip_prefix("http://").unwrap_or_default();
    let target = rest.find('/').map_or("", |at| &rest[at..]);
    if target != request.target() {
        return Err(format!("said {target}, received {}", request.target()));
    }
    let host = said["host"].as_str();
    if host == request.header("host") {
        Ok(())
    } else {
        Err(format!("said {host:?}, got {:?}", request.header("host")))
    }
}

/// Differ from one request to the next, or are masked.
const VARY: [&str; 5] = ["x-kms-stamp", "x-kms-sign", "x-request-id", "traceparent", "signature-input"];

fn set_fields(said: &Value, request: &Recorded) -> Result<(), String> {
    let set = said["headers"]["set"].as_object().cloned().unwrap_or_default();
    for (name, value) in &set {
        let values = request.head.fields.all(name);
        let value = value.as_str().unwrap_or_default();
        let free = VARY.contains(&name.as_str()) || value == "***";
        let whole = free || values == [value] || said["headers"]["added"].get(name).is_some();
        if values.is_empty() || !whole {
            return Err(format!("said {name}: {value}, received {values:?}"));
        }
    }
    let added = said["headers"]["added"].as_object().cloned().unwrap_or_default();
    for (name, value) in &added {
        let value = value.as_str().unwrap_or_default();
        if !request.head.fields.all(name).contains(&value) {
            return Err(format!("said + {name}: {value}, received {:?}", request.head.fields.all(name)));
        }
    }
    let own = request.head.fields.names().into_iter().filter(|name| name.starts_with("x-kms-"));
    match own.clone().find(|name| !set.contains_key(name)) {
        Some(name) => Err(format!("received {name}, which explain does not set")),
        None => Ok(()),
    }
}

fn removed_fields(said: &Value, request: &Recorded) -> Result<(), String> {
    let removed = said["headers"]["removed"].as_array().cloned().unwrap_or_default();
    for name in removed.iter().filter_map(Value::as_str) {
        let ours = |changes: &str| said["headers"][changes].get(name).is_some();
        if request.head.fields.has(name) && !ours("set") && !ours("added") {
            return Err(format!("said that {name} goes, received {:?}", request.head.fields.all(name)));
        }
    }
    if request.contains("forged") {
        return Err(format!("a forged value: {:?}", String::from_utf8_lossy(&request.head.raw)));
    }
    Ok(())
}

fn bound(base: &str, request: &Recorded) -> Result<(), String> {
    let (path, query) = request.target().split_once('?').unwrap_or((request.target(), ""));
    let lines: Vec<&str> = base.lines().collect();
    let expected = if base.starts_with("countersign-hmac-sha256-1\n") {
        let values = [request.method(), path, query].map(|value| format!("{}:{value}", value.len()));
        lines.get(1..4) == Some(&values.each_ref().map(String::as_str)) && request.head.fields.has("x-kms-sign")
    } else {
        let host = request.header("host").unwrap_or_default();
        let values =
            [("@method", request.method()), ("@authority", host), ("@path", path), ("@query", &format!("?{query}"))];
        let values = values.map(|(name, value)| format!("\"{name}\": {value}"));
        lines.get(..4) == Some(&values.each_ref().map(String::as_str)) && request.head.fields.has("signature")
    };
    if expected {
        Ok(())
    } else {
        Err(format!("said {base:?}, received {}", String::from_utf8_lossy(&request.head.raw)))
    }
}

fn sign(said: &Value, request: &Recorded) -> Result<(), String> {
    match said["sign"]["scheme"].as_str() {
        None | Some("none") if request.head.fields.has("x-kms-sign") => Err("signed without a scheme".into()),
        None | Some("none") => Ok(()),
        // Stamp and nonce are those of its own request; all else of the text must be what the upstream got.
        Some("hmac-sha256" | "rfc9421") => bound(said["sign"]["base"].as_str().unwrap_or_default(), request),
        Some(scheme) => {
            let token =
                if said["sign"]["base"].as_str().is_some_and(|base| base.ends_with("***")) { SIGN_TOKEN } else { "" };
            signature::verify(&request.head.fields, scheme, token);
            Ok(())
        }
    }
}
