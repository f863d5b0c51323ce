//! What browsers are given: the client (`client.js` and its types), `routes.json`, and the page `local`.
//!
//! Invariants: `routes.json` is of the environment that would serve this very request, kept by nobody, and readable by pages of this
//! origin alone; the page has a policy without anything inline. The rest never changes while the process runs, so that a browser that
//! asks again is told so (RFC 9110 §13.1.2).

use std::time::SystemTime;

use askama::Template;
use bytes::Bytes;
use http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue};
use pingora_core::Result;
use serde::Serialize;

use super::super::gateway::internal;
use super::super::respond::Answer;
use super::{Reply, only_read, refusal};
use crate::clock;
use crate::policy::conditional::{Conditions, Outcome, Validators};
use crate::policy::language::prefers_chinese;
use crate::policy::request_gate::{Canonical, RequestView};
use crate::table::Table;
use crate::table::decide::OwnRequest;
use crate::table::environment::Choice;
use crate::table::matcher::{EnvironmentEntry, ProjectEntry};
use crate::table::own::Page;

mod words;

use words::Words;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
/// Nobody has registered a type for TypeScript; `video/mp2t` is what its ending means elsewhere.
const TYPES: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// The page loads its own script and style, asks for `routes.json`, and, to try a developer's server, any address.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' http: https:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const NOTHING_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// What a project without a prefix of its own signs under.
const USUAL_PREFIX: &str = "x-kms-";

/// Answers.
pub(super) fn answer(
    table: &Table,
    request: &RequestView<'_>,
    canonical: &Canonical<'_>,
    asked: &OwnRequest,
) -> Result<Reply> {
    if let Some(refused) = only_read(request) {
        return Ok(refused);
    }
    match asked.page {
        Page::Client => kept(request, SCRIPT, Bytes::from_static(include_bytes!("assets/client.js"))),
        Page::ClientTypes => kept(request, TYPES, Bytes::from_static(include_bytes!("assets/client.d.ts"))),
        Page::LocalScript => kept(request, SCRIPT, Bytes::from_static(include_bytes!("assets/local.js"))),
        Page::LocalStyle => kept(request, STYLE, Bytes::from_static(include_bytes!("assets/local.css"))),
        Page::Local => local(request),
        Page::Routes => routes(table, request, canonical, asked),
        _ => Err(internal()),
    }
}

/// What stays the same while the process runs: kept, but asked for again each time, so that a newer version is never mixed with it.
fn kept(request: &RequestView<'_>, kind: &'static str, body: Bytes) -> Result<Reply> {
    let tag = format!("\"{:016x}\"", fnv(&body));
    let known = Validators { tag: &tag, modified: SystemTime::UNIX_EPOCH };
    let mut headers = guarded(kind, "no-cache");
    headers.push((ETAG, HeaderValue::from_str(&tag).map_err(|_| internal())?));
    let has_it = Conditions::of_tags(request.headers).judge(&known) == Outcome::NotModified;
    let (status, body) = if has_it { (304, Bytes::new()) } else { (200, body) };
    Ok(Reply::Answer(Answer { status, headers, body }))
}

/// FNV-1a: tells versions of one file apart; nobody gains by a collision.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// What every answer says: what it is, for how long, and that it is for this origin alone.
fn guarded(kind: &'static str, cache: &'static str) -> Vec<(HeaderName, HeaderValue)> {
    let policy = if kind == HTML { PAGE_POLICY } else { NOTHING_POLICY };
    let fields = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, cache),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, policy),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    fields.map(|(name, value)| (name, HeaderValue::from_static(value))).into()
}

#[derive(Template)]
#[template(path = "local.html")]
struct LocalPage {
    w: &'static Words,
}

fn local(request: &RequestView<'_>) -> Result<Reply> {
    let w = if prefers_chinese(request.headers) { &words::ZH } else { &words::EN };
    let page = LocalPage { w }.render().map_err(|_| internal())?;
    let mut reply = kept(request, HTML, Bytes::from(page))?;
    if let Reply::Answer(answer) = &mut reply {
        answer.headers.push((VARY, HeaderValue::from(ACCEPT_LANGUAGE)));
    }
    Ok(reply)
}

/// `routes.json`.
#[derive(Serialize)]
struct Told<'t> {
    project: &'t str,
    app_id: &'t str,
    environment: &'t str,
    /// What the signature's fields begin with, unless it is what they usually begin with.
    #[serde(skip_serializing_if = "Option::is_none")]
    header_prefix: Option<&'t str>,
    routes: Vec<Listed<'t>>,
}

#[derive(Serialize)]
struct Listed<'t> {
    prefix: &'t str,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'t str>,
}

fn routes(table: &Table, request: &RequestView<'_>, canonical: &Canonical<'_>, asked: &OwnRequest) -> Result<Reply> {
    let project = table.matcher.projects().get(asked.project).ok_or_else(internal)?;
    let chosen = table.choose(project, &canonical.host, request, asked.client_ip, clock::unix_millis());
    let Some(Choice::Default(environment) | Choice::Chosen(environment, _)) = chosen else {
        let message = "the request names an environment that it may not have";
        return Ok(Reply::Refuse(refusal(404, "environment_unavailable", message)));
    };
    let told = Told::of(project, environment).ok_or_else(internal)?;
    let mut body = serde_json::to_vec(&told).map_err(|_| internal())?;
    body.push(b'\n');
    let headers = guarded("application/json", "no-store");
    Ok(Reply::Answer(Answer { status: 200, headers, body: Bytes::from(body) }))
}

impl<'t> Told<'t> {
    fn of(project: &'t ProjectEntry, environment: &'t EnvironmentEntry) -> Option<Self> {
        let browser = project.browser.as_ref()?;
        let api = environment.routes.iter().map(|it| Listed { prefix: &it.prefix, mode: "api", target: None });
        let direct = environment.direct.iter().flat_map(|it| it.iter());
        let direct = direct.map(|it| Listed { prefix: &it.prefix, mode: "direct", target: Some(&it.target) });
        let mut routes: Vec<Listed<'_>> = api.chain(direct).collect();
        routes.sort_unstable_by_key(|it| (it.prefix, it.mode));
        Some(Self {
            project: &project.name,
            app_id: &browser.app_id,
            environment: &environment.name,
            header_prefix: Some(&*browser.header_prefix).filter(|prefix| *prefix != USUAL_PREFIX),
            routes,
        })
    }
}
