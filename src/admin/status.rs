//! What `/api/v1/status` and `/api/v1/routes` say: of the table in force and of right now.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::Value;

use crate::acme::HostStatus;
use crate::clock;
use crate::observe::timestamp::rfc3339_millis;
use crate::reload::Outcome;
use crate::table::route::Auth;
use crate::table::upstream::Standing;
use crate::table::{Action, Direct, Endpoint, Route, Table, Upstream};

use super::{Shared, sign_tokens};

/// `GET /api/v1/status`.
#[derive(Debug, Serialize)]
pub struct Status {
    version: &'static str,
    generation: u64,
    sha256: String,
    started_at: String,
    loaded_at: String,
    config_file: Option<String>,
    last_reload: LastReload,
    ready: bool,
    draining: bool,
    listeners: Vec<ListenerStatus>,
    upstreams: Vec<UpstreamStatus>,
    acme: Vec<AcmeStatus>,
    routes: usize,
    connections: i64,
    in_flight: i64,
    streams_open: i64,
}

#[derive(Debug, Serialize)]
struct LastReload {
    outcome: Outcome,
    at: String,
    took_ms: u128,
    diagnostics: Vec<Value>,
    needs_restart: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ListenerStatus {
    name: String,
    address: SocketAddr,
    tls: bool,
}

/// One host whose certificate is obtained.
#[derive(Debug, Serialize)]
struct AcmeStatus {
    host: String,
    not_after: Option<String>,
    next_renewal: String,
    last_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct UpstreamStatus {
    name: String,
    balance: &'static str,
    endpoints: Vec<EndpointStatus>,
}

#[derive(Debug, Serialize)]
struct EndpointStatus {
    address: String,
    /// `up`, `unhealthy` (by the checks), `ejected` (after failures); where neither is asked for, by the last attempt: `up`
    /// or `down`, and `unknown` before the first.
    state: &'static str,
    weight: u32,
    in_flight: u64,
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ejected_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_check: Option<CheckStatus>,
}

/// How the last health check went.
#[derive(Debug, Serialize)]
struct CheckStatus {
    healthy: bool,
    at: String,
    detail: String,
}

impl Status {
    /// As of now.
    pub fn of(shared: &Shared) -> Self {
        let parts = &shared.parts;
        let (table, live) = (parts.reloader.current(), &parts.observer.live);
        let listeners = parts.listeners.iter().map(|listener| ListenerStatus {
            name: listener.name.clone(),
            address: listener.address,
            tls: listener.tls,
        });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            generation: table.generation,
            sha256: table.sha256.clone(),
            started_at: time(parts.started_at),
            loaded_at: time(table.loaded_at),
            config_file: parts.reloader.path().map(|path| path.display().to_string()),
            last_reload: LastReload::of(shared),
            ready: live.is_ready(),
            draining: live.is_draining(),
            listeners: listeners.collect(),
            upstreams: table.upstreams.iter().map(|upstream| UpstreamStatus::of(shared, upstream)).collect(),
            acme: parts.acme.iter().flat_map(|status| status.hosts()).map(AcmeStatus::of).collect(),
            routes: table.routes.len(),
            connections: live.connections.load(Ordering::Relaxed),
            in_flight: live.in_flight.load(Ordering::Relaxed),
            streams_open: live.streams_open.load(Ordering::Relaxed),
        }
    }
}

impl LastReload {
    fn of(shared: &Shared) -> Self {
        let last = shared.parts.reloader.last();
        Self {
            outcome: last.outcome,
            at: time(last.at),
            took_ms: last.took.as_millis(),
            diagnostics: last.diagnostics.clone(),
            needs_restart: last.needs_restart.clone(),
        }
    }
}

impl AcmeStatus {
    fn of(host: HostStatus) -> Self {
        Self {
            host: host.host,
            not_after: host.not_after.map(time),
            next_renewal: time(host.next_renewal),
            last_error: host.last_error,
        }
    }
}

impl UpstreamStatus {
    fn of(shared: &Shared, upstream: &Upstream) -> Self {
        let endpoints = upstream.endpoints.iter().map(|endpoint| EndpointStatus::of(shared, upstream, endpoint));
        Self { name: upstream.name.to_string(), balance: upstream.balance.name(), endpoints: endpoints.collect() }
    }
}

impl EndpointStatus {
    fn of(shared: &Shared, upstream: &Upstream, endpoint: &Endpoint) -> Self {
        let now = clock::unix_millis();
        let last_check = endpoint.state.last_check.load_full().filter(|_| upstream.health.is_some());
        Self {
            address: endpoint.label.to_string(),
            state: state(shared, upstream, endpoint, now),
            weight: endpoint.weight,
            in_flight: endpoint.state.in_flight.load(Ordering::Relaxed),
            last_error: endpoint.state.last_error.load().as_deref().cloned(),
            ejected_until: upstream.rests_until(endpoint, now).map(time),
            last_check: last_check.map(|check| CheckStatus {
                healthy: check.healthy,
                at: time(check.at),
                detail: check.detail.clone(),
            }),
        }
    }
}

fn state(shared: &Shared, upstream: &Upstream, endpoint: &Endpoint, now: u64) -> &'static str {
    let last_attempt = || shared.parts.observer.metrics.endpoint_up(&upstream.name, &endpoint.label);
    match upstream.standing(endpoint, now) {
        Standing::Unhealthy => "unhealthy",
        Standing::Ejected => "ejected",
        Standing::Up if upstream.is_judged() => "up",
        Standing::Up => last_attempt().map_or("unknown", |answered| if answered { "up" } else { "down" }),
    }
}

/// RFC 3339.
pub fn time(millis: u64) -> String {
    rfc3339_millis(millis)
}

/// `GET /api/v1/routes`.
#[derive(Debug, Serialize)]
pub struct Routes<'t> {
    generation: u64,
    routes: Vec<RouteStatus<'t>>,
}

/// One route, without anything secret: of payload only the names.
#[derive(Debug, Serialize)]
struct RouteStatus<'t> {
    project: &'t str,
    environment: &'t str,
    prefix: &'t str,
    mode: &'static str,
    action: &'static str,
    upstream: Option<&'t str>,
    status: Option<u16>,
    auth: &'static str,
    methods: Option<Vec<&'t str>>,
    signed: bool,
    /// When its sign tokens were set, with a fingerprint of each: the one that signs, the next, the previous.
    sign_tokens: Vec<sign_tokens::One>,
    payload: Vec<&'t str>,
    file: &'t str,
    line: u32,
}

impl<'t> Routes<'t> {
    /// Of a table, in file order; direct prefixes come last.
    pub fn of(table: &'t Table) -> Self {
        let routes = table.routes.iter().map(|route| RouteStatus::of(table, route));
        let direct = table.direct.iter().map(|direct| RouteStatus::of_direct(direct));
        Self { generation: table.generation, routes: routes.chain(direct).collect() }
    }
}

impl<'t> RouteStatus<'t> {
    /// Nothing of it passes here, so there is little to say.
    fn of_direct(direct: &'t Direct) -> Self {
        Self {
            project: &direct.project,
            environment: &direct.environment,
            prefix: &direct.prefix,
            mode: "direct",
            action: "direct",
            upstream: Some(&direct.target),
            status: None,
            auth: "none",
            methods: None,
            signed: false,
            sign_tokens: Vec::new(),
            payload: Vec::new(),
            file: &direct.file,
            line: direct.line,
        }
    }

    fn of(table: &Table, route: &'t Route) -> Self {
        let (action, upstream, status) = match &route.action {
            Action::Forward(forward) => ("proxy", Some(&*forward.upstream.name), None),
            Action::Files(_) => ("files", None, None),
            Action::Respond { status, .. } => ("respond", None, Some(status.as_u16())),
            Action::Redirect { status, .. } => ("redirect", None, Some(status.as_u16())),
        };
        Self {
            project: &route.project,
            environment: &route.environment,
            prefix: &route.prefix,
            mode: "api",
            action,
            upstream,
            status,
            auth: auth(route.auth),
            methods: route.methods.as_ref().map(|methods| methods.iter().map(http::Method::as_str).collect()),
            signed: route.sign.as_ref().is_some_and(|sign| sign.scheme.is_some()),
            sign_tokens: sign_tokens::ones(table, route, clock::unix_millis()),
            payload: route.payload.iter().map(|(name, _)| name.as_str()).collect(),
            file: &route.file,
            line: route.line,
        }
    }
}

fn auth(auth: Auth) -> &'static str {
    match auth {
        Auth::Required => "required",
        Auth::Optional => "optional",
        Auth::None => "none",
    }
}
