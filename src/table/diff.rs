//! What an edit changes: routes added, removed, changed, and what needs a restart.
//!
//! Routes are compared as they run, secrets included, by their compiled form; nothing of a secret leaves the comparison.
//! One hash look-up a route, so a hundred thousand routes cost milliseconds.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use serde::Serialize;

use crate::config::model::{Admin, Listener, ListenerTls, Server, Tokens};
use crate::credential::provider::Provider;

use super::credential::Credential;
use super::direct::Direct;
use super::matcher::ProjectEntry;
use super::route::{Action, Forward, Route, Sign};
use super::upstream::Upstream;
use super::{StartedWith, Table};

/// The difference of two tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// `project/environment/prefix`.
    pub added: Vec<String>,
    /// `project/environment/prefix`.
    pub removed: Vec<String>,
    /// `project/environment/prefix`.
    pub changed: Vec<String>,
    /// Live keys outside of the routes that differ: `clients`, `projects.demo.environment`, `upstreams.users` …
    pub settings: Vec<String>,
    /// Keys that differ but are read at start only: `server.threads`, `listeners.http.address`, `admin.address` …
    pub needs_restart: Vec<String>,
}

impl Diff {
    /// Whether the two say the same.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares.
pub fn diff(old: &Table, new: &Table) -> Diff {
    let mut diff = Diff::default();
    routes(old, new, &mut diff);
    direct(old, new, &mut diff);
    settings(old, new, &mut diff.settings);
    server(&old.started_with.server, &new.server, &mut diff.needs_restart);
    listeners(&old.started_with.listeners, &new.listeners, &mut diff.needs_restart);
    admin(&old.started_with.admin, &new.admin, &mut diff.needs_restart);
    tokens(&old.started_with, new, &mut diff.needs_restart);
    diff
}

type Key<'t> = (&'t str, &'t str, &'t str);

fn key(route: &Route) -> Key<'_> {
    (&route.project, &route.environment, &route.prefix)
}

fn routes(old: &Table, new: &Table, diff: &mut Diff) {
    let mut before: HashMap<Key<'_>, &Arc<Route>, RandomState> =
        HashMap::with_capacity_and_hasher(old.routes.len(), RandomState::new());
    before.extend(old.routes.iter().map(|route| (key(route), route)));
    for route in &new.routes {
        match before.remove(&key(route)) {
            None => diff.added.push(name(route)),
            Some(earlier) if !same_route(earlier, route) => diff.changed.push(name(route)),
            Some(_) => {}
        }
    }
    // What is left of the old routes, in their own order.
    diff.removed.extend(old.routes.iter().filter(|route| before.contains_key(&key(route))).map(|route| name(route)));
}

/// Named with their mode, since a route may have the same prefix.
fn direct(old: &Table, new: &Table, diff: &mut Diff) {
    fn key(direct: &Direct) -> Key<'_> {
        (&direct.project, &direct.environment, &direct.prefix)
    }
    let name = |direct: &Direct| format!("{}/{}{} (direct)", direct.project, direct.environment, direct.prefix);
    let mut before: HashMap<Key<'_>, &Arc<Direct>, RandomState> =
        old.direct.iter().map(|direct| (key(direct), direct)).collect();
    for direct in &new.direct {
        match before.remove(&key(direct)) {
            None => diff.added.push(name(direct)),
            Some(earlier) if !earlier.same(direct) => diff.changed.push(name(direct)),
            Some(_) => {}
        }
    }
    diff.removed
        .extend(old.direct.iter().filter(|direct| before.contains_key(&key(direct))).map(|direct| name(direct)));
}

fn name(route: &Route) -> String {
    format!("{}/{}{}", route.project, route.environment, route.prefix)
}

/// Whether two routes do the same, wherever they stand in their files.
pub(super) fn same_route(old: &Route, new: &Route) -> bool {
    old.app_id == new.app_id
        && old.auth == new.auth
        && old.methods == new.methods
        && old.access == new.access
        && old.family == new.family
        && old.payload == new.payload
        && old.request_edits == new.request_edits
        && old.response_edits == new.response_edits
        && old.timeouts == new.timeouts
        && old.limits == new.limits
        && old.cors == new.cors
        && old.pages == new.pages
        && old.compress == new.compress
        && old.retry == new.retry
        && same_sign(old.sign.as_ref(), new.sign.as_ref())
        && same_action(&old.action, &new.action)
}

fn same_sign(old: Option<&Sign>, new: Option<&Sign>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => {
            old.scheme == new.scheme
                && old.token == new.token
                && old.username_encoding == new.username_encoding
                && old.names == new.names
        }
        (None, None) => true,
        _ => false,
    }
}

fn same_action(old: &Action, new: &Action) -> bool {
    match (old, new) {
        (Action::Forward(old), Action::Forward(new)) => same_forward(old, new),
        (Action::Files(old), Action::Files(new)) => old == new,
        (Action::Respond { status, body }, Action::Respond { status: new_status, body: new_body }) => {
            (status, body) == (new_status, new_body)
        }
        (Action::Redirect { to, status }, Action::Redirect { to: new_to, status: new_status }) => {
            (to, status) == (new_to, new_status)
        }
        _ => false,
    }
}

/// A group is named by its routes: what changes inside of it is reported under `upstreams`.
fn same_forward(old: &Forward, new: &Forward) -> bool {
    old.base_path == new.base_path
        && old.host == new.host
        && old.guarded == new.guarded
        && old.sensitive == new.sensitive
        && old.credential == new.credential
        && old.upstream.name == new.upstream.name
        && old.upstream.scheme == new.upstream.scheme
        && credential_name(old) == credential_name(new)
}

/// As a group is: what changes inside of a credential is reported under `credentials`.
fn credential_name(forward: &Forward) -> Option<&str> {
    forward.credential.as_ref().map(|credential| &*credential.name)
}

fn settings(old: &Table, new: &Table, changed: &mut Vec<String>) {
    if old.logging != new.logging {
        changed.push("logging".to_owned());
    }
    if old.client_entries != new.client_entries {
        changed.push("clients".to_owned());
    }
    if !old.identification.same(&new.identification) {
        changed.push("identity".to_owned());
    }
    let live = [
        ("acme", old.acme != new.acme),
        ("admin.allow", old.admin.allow != new.admin.allow),
        ("admin.hosts", old.admin.hosts != new.admin.hosts),
        ("admin.metrics.allow", old.admin.metrics_allow != new.admin.metrics_allow),
        ("admin.metrics.auth", old.admin.metrics_auth != new.admin.metrics_auth),
        ("admin.users_file", !same_path(old, new)),
        ("admin.public_url", public_url(old) != public_url(new)),
        ("admin.tls", old.admin.tls.as_ref().zip(new.admin.tls.as_ref()).is_some_and(|(old, new)| !same_tls(old, new))),
    ];
    changed.extend(live.iter().filter(|(_, differs)| *differs).map(|(key, _)| (*key).to_owned()));
    tls(old, new, changed);
    let named = |it: &Arc<Provider>| Arc::clone(&it.name);
    changed.extend(differing("providers", &old.providers, &new.providers, named));
    let named = |it: &Arc<Credential>| Arc::clone(&it.name);
    changed.extend(differing("credentials", &old.credentials, &new.credentials, named));
    upstreams(old, new, changed);
    projects(old, new, changed);
}

/// Which named things are new, gone, or not what they were.
fn differing<T: PartialEq>(section: &str, old: &[T], new: &[T], name: impl Fn(&T) -> Arc<str>) -> Vec<String> {
    let missing = |from: &[T], one: &&T| !from.contains(*one);
    let mut names: Vec<Arc<str>> = new.iter().filter(|one| missing(old, one)).map(&name).collect();
    let gone = old.iter().filter(|one| missing(new, one)).map(&name);
    for name in gone {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| format!("{section}.{name}")).collect()
}

fn public_url(table: &Table) -> Option<&url::Url> {
    table.admin.public_url.as_ref().map(|url| &url.value)
}

fn same_path(old: &Table, new: &Table) -> bool {
    let path = |table: &'_ Table| table.admin.users_file.as_ref().map(|path| path.value.clone());
    path(old) == path(new)
}

/// TLS material is live. That there is TLS at all is not.
fn tls(old: &Table, new: &Table, changed: &mut Vec<String>) {
    for listener in &new.listeners {
        let earlier = old.listeners.iter().find(|earlier| *earlier.name == *listener.name);
        let both = earlier.and_then(|earlier| earlier.tls.as_ref()).zip(listener.tls.as_ref());
        if both.is_some_and(|(old, new)| !same_tls(old, new)) {
            changed.push(format!("listeners.{}.tls", *listener.name));
        }
    }
}

fn same_tls(old: &ListenerTls, new: &ListenerTls) -> bool {
    let ca = |tls: &ListenerTls| tls.client_ca.as_ref().map(|path| path.value.clone());
    old.min_version == new.min_version
        && ca(old) == ca(new)
        && old.certificates.len() == new.certificates.len()
        && old
            .certificates
            .iter()
            .zip(&new.certificates)
            .all(|(old, new)| (&old.cert.value, &old.key.value) == (&new.cert.value, &new.key.value))
}

fn upstreams(old: &Table, new: &Table, changed: &mut Vec<String>) {
    let by_name = |table: &'_ Table| -> HashMap<Arc<str>, Arc<Upstream>, RandomState> {
        table.upstreams.iter().map(|upstream| (Arc::clone(&upstream.name), Arc::clone(upstream))).collect()
    };
    let before = by_name(old);
    let differs =
        |upstream: &&Arc<Upstream>| before.get(&upstream.name).is_some_and(|earlier| !same_upstream(earlier, upstream));
    changed.extend(new.upstreams.iter().filter(differs).map(|upstream| format!("upstreams.{}", upstream.name)));
}

fn same_upstream(old: &Upstream, new: &Upstream) -> bool {
    let same_endpoints = old.endpoints.len() == new.endpoints.len()
        && old.endpoints.iter().zip(&new.endpoints).all(|(old, new)| old.label == new.label);
    same_endpoints
        && old.scheme == new.scheme
        && old.schedule == new.schedule
        && old.pool_group == new.pool_group
        && old.keepalive_idle == new.keepalive_idle
        && old.max_idle == new.max_idle
        && old.balance == new.balance
        && old.health == new.health
        && old.eject == new.eject
}

fn projects(old: &Table, new: &Table, changed: &mut Vec<String>) {
    if !old.matcher.same_hosts(&new.matcher) {
        changed.push("projects.*.hosts".to_owned());
    }
    let before: HashMap<&str, &ProjectEntry> =
        old.matcher.projects().iter().map(|project| (&*project.name, project)).collect();
    for project in new.matcher.projects() {
        let Some(earlier) = before.get(&*project.name) else { continue };
        if earlier.default_name() != project.default_name() {
            changed.push(format!("projects.{}.environment", project.name));
        }
        if !earlier.identification.same(&project.identification) && is_own(old, earlier, new, project) {
            changed.push(format!("projects.{}.identity", project.name));
        }
        if earlier.browser.is_some() != project.browser.is_some() {
            changed.push(format!("projects.{}.browser_client", project.name));
        }
        if !earlier.same_rules(project) {
            changed.push(format!("projects.{}.choose_environment", project.name));
        }
    }
}

/// Whether a project finds its callers otherwise than the rest, before or after: else the change is one of `identity`.
fn is_own(old: &Table, earlier: &ProjectEntry, new: &Table, project: &ProjectEntry) -> bool {
    !Arc::ptr_eq(&old.identification, &earlier.identification)
        || !Arc::ptr_eq(&new.identification, &project.identification)
}

fn server(old: &Server, new: &Server, changed: &mut Vec<String>) {
    let keys = [
        ("server.threads", old.threads != new.threads),
        ("server.drain_timeout", old.drain_timeout != new.drain_timeout),
        ("server.max_connections", old.max_connections != new.max_connections),
        ("server.trusted_proxies", old.trusted_proxies != new.trusted_proxies),
        ("server.internal_networks", old.internal_networks != new.internal_networks),
        ("server.dns", old.dns != new.dns),
        ("server.runtime_dir", old.runtime_dir != new.runtime_dir),
    ];
    changed.extend(keys.iter().filter(|(_, differs)| *differs).map(|(key, _)| (*key).to_owned()));
}

fn listeners(old: &[Listener], new: &[Listener], changed: &mut Vec<String>) {
    for listener in new {
        match old.iter().find(|earlier| earlier.name.value == listener.name.value) {
            Some(earlier) => one_listener(earlier, listener, changed),
            None => changed.push(format!("listeners.{}", *listener.name)),
        }
    }
    let gone = |earlier: &&Listener| new.iter().all(|listener| listener.name.value != earlier.name.value);
    changed.extend(old.iter().filter(gone).map(|listener| format!("listeners.{}", *listener.name)));
}

fn one_listener(old: &Listener, new: &Listener, changed: &mut Vec<String>) {
    let keys = [
        ("address", old.address.value != new.address.value),
        ("headers_timeout", old.headers_timeout != new.headers_timeout),
        ("idle_timeout", old.idle_timeout != new.idle_timeout),
        ("max_header_size", old.max_header_size != new.max_header_size),
        ("tls", old.tls.is_some() != new.tls.is_some()),
        ("http2", old.http2 != new.http2),
        ("h2c", old.h2c != new.h2c),
        ("redirect_to_https", old.redirect_to_https != new.redirect_to_https),
        ("proxy_protocol", old.proxy_protocol != new.proxy_protocol),
    ];
    let differing = keys.iter().filter(|(_, differs)| *differs);
    changed.extend(differing.map(|(key, _)| format!("listeners.{}.{key}", *new.name)));
}

fn admin(old: &Admin, new: &Admin, changed: &mut Vec<String>) {
    if old.address.value != new.address.value {
        changed.push("admin.address".to_owned());
    }
    if old.state_dir != new.state_dir {
        changed.push("admin.state_dir".to_owned());
    }
    if old.tls.is_some() != new.tls.is_some() {
        changed.push("admin.tls".to_owned());
    }
}

fn tokens(old: &StartedWith, new: &Table, changed: &mut Vec<String>) {
    let key = |tokens: &Tokens| tokens.encryption_key.as_ref().map(|key| key.value.clone());
    let network = |tokens: &Tokens| tokens.allow_network_filesystem;
    let keys = [
        ("tokens_dir", old.tokens_dir != new.tokens_dir),
        ("tokens.encryption_key", key(&old.tokens) != key(&new.tokens)),
        ("tokens.allow_network_filesystem", network(&old.tokens) != network(&new.tokens)),
    ];
    changed.extend(keys.iter().filter(|(_, differs)| *differs).map(|(key, _)| (*key).to_owned()));
}
