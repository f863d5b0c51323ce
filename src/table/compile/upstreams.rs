//! `upstreams` and URL authorities: endpoints, the order of round robin, trust, and who may be reached with what.
//!
//! A group is compiled once, whether used or not. URLs share one upstream for each scheme, host and port. Counters of
//! endpoints, and the place in the round, come from the previous table, by upstream and endpoint.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::config::model::{Balance, Group, Http2, Scheme, Target, UpstreamTls, UpstreamUrl};
use crate::diagnostic::{Diagnostic, Pos, Spanned};
use crate::policy::access::Networks;
use crate::policy::budget::Budget;
use crate::policy::upstream_guard;

use super::super::Table;
use super::super::upstream::{Ca, ClientCertificate, Endpoint, EndpointState, Upstream, seed};
use super::hosts::Ownership;
use super::{ca, client_certificate, suggest};

/// All upstreams of one compilation.
pub(super) struct Upstreams<'c> {
    known: Vec<Known>,
    groups: HashMap<String, usize>,
    urls: HashMap<(Scheme, String, u16), usize>,
    hosts: &'c Ownership,
    internal: &'c Networks,
    previous: Previous<'c>,
}

/// One upstream, and what has been said about it.
struct Known {
    upstream: Arc<Upstream>,
    /// Of a named group: where its name stands.
    group: Option<Spanned<String>>,
    /// The hosts as written; for a URL, without a place of their own.
    hosts: Vec<(String, Option<Pos>)>,
    used: bool,
    /// What forbids each host to guarded projects, once somebody asked.
    guard: Option<Vec<Option<String>>>,
    guard_reported: bool,
    exposure_reported: bool,
    /// The first route that sends something secret to a *name* over plain http, and how many do.
    plain: Option<(Pos, usize)>,
    /// The first route of a guarded project that goes over plain http to a name that does not look like one of the cluster's.
    outside: Option<(Pos, String)>,
}

/// How a route uses an upstream.
#[derive(Clone, Copy)]
pub(super) struct Use {
    /// Where the route names it.
    pub(super) at: Pos,
    /// Of a guarded project, outside `local`.
    pub(super) guarded: bool,
    /// Carries an identity or a credential.
    pub(super) sensitive: bool,
}

impl<'c> Upstreams<'c> {
    /// Compiles the named groups.
    pub(super) fn of(
        groups: &[Group],
        hosts: &'c Ownership,
        internal: &'c Networks,
        previous: Option<&'c Table>,
        problems: &mut Vec<Diagnostic>,
    ) -> Self {
        let previous = Previous::of(previous);
        let mut all =
            Self { known: Vec::new(), groups: HashMap::new(), urls: HashMap::new(), hosts, internal, previous };
        for group in groups {
            let upstream = Arc::new(compile_group(group, &all.previous, problems));
            let hosts = group.endpoints.iter().map(|it| (it.host.value.clone(), Some(it.host.at))).collect();
            all.groups.insert(group.name.value.clone(), all.known.len());
            all.known.push(Known::new(upstream, Some(group.name.clone()), hosts));
        }
        all
    }

    /// The upstream that a route names, with everything checked that this use of it needs.
    pub(super) fn resolve(
        &mut self,
        target: &Target,
        purpose: Use,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<Arc<Upstream>> {
        let index = match target {
            Target::Url(url) => self.url(url),
            Target::Group(name) => self.group(name, problems)?,
        };
        let (hosts, internal) = (self.hosts, self.internal);
        let known = self.known.get_mut(index)?;
        known.used = true;
        if purpose.guarded {
            known.report_guard(purpose, hosts, problems);
            known.note_outside(purpose);
        }
        if purpose.sensitive && known.upstream.scheme == Scheme::Http {
            known.report_exposure(purpose, internal, problems);
        }
        if purpose.sensitive && !known.upstream.verify {
            known.report_unverified(purpose, problems);
        }
        Some(Arc::clone(&known.upstream))
    }

    /// Warns about groups that no route uses, and about names that are trusted to be inside.
    pub(super) fn report_use(&self, problems: &mut Vec<Diagnostic>) {
        for known in &self.known {
            if let (Some(name), false) = (&known.group, known.used) {
                let message = format!("no route uses upstream `{}`", **name);
                problems.push(Diagnostic::warning("unused_upstream", name.at, message));
            }
            match (known.plain, &known.outside) {
                (Some((at, routes)), _) => problems.push(known.plain_warning(at, routes)),
                (None, Some((at, host))) => problems.push(outside_warning(*at, host)),
                (None, None) => {}
            }
        }
    }

    /// All of them: groups first, then URLs in order of appearance.
    pub(super) fn into_list(self) -> Vec<Arc<Upstream>> {
        self.known.into_iter().map(|known| known.upstream).collect()
    }

    fn group(&self, name: &Spanned<String>, problems: &mut Vec<Diagnostic>) -> Option<usize> {
        let found = self.groups.get(name.as_str()).copied();
        if found.is_none() {
            let mut names: Vec<&str> = self.groups.keys().map(String::as_str).collect();
            names.sort_unstable();
            let message = format!("there is no upstream `{}`", **name);
            let hint = suggest::hint(name, "upstreams", names.into_iter());
            problems.push(Diagnostic::error("unknown_upstream", name.at, message).hint(hint));
        }
        found
    }

    fn url(&mut self, url: &UpstreamUrl) -> usize {
        let key = (url.scheme, url.host.clone(), url.port);
        let Self { known, previous, .. } = self;
        *self.urls.entry(key).or_insert_with(|| {
            let upstream = Arc::new(compile_url(url, previous));
            known.push(Known::new(upstream, None, vec![(url.host.clone(), None)]));
            known.len() - 1
        })
    }
}

impl Known {
    fn new(upstream: Arc<Upstream>, group: Option<Spanned<String>>, hosts: Vec<(String, Option<Pos>)>) -> Self {
        let (used, guard_reported, exposure_reported) = (false, false, false);
        Self {
            upstream,
            group,
            hosts,
            used,
            guard: None,
            guard_reported,
            exposure_reported,
            plain: None,
            outside: None,
        }
    }

    /// Names every host that a guarded project may not reach; those of a group once, those of a URL at each route.
    fn report_guard(&mut self, purpose: Use, own: &Ownership, problems: &mut Vec<Diagnostic>) {
        if std::mem::replace(&mut self.guard_reported, true) && self.group.is_some() {
            return;
        }
        let verdicts = self.guard.get_or_insert_with(|| {
            let verdict = |(host, _): &(String, _)| upstream_guard::check_host(host, &|host| own.is_own(host)).err();
            self.hosts.iter().map(verdict).collect()
        });
        for ((host, at), why) in self.hosts.iter().zip(verdicts) {
            let Some(why) = why else { continue };
            let message = format!("a guarded project may not reach `{host}`: {why}");
            let hint = "give a public name, or set `upstream_policy: open` for the project";
            problems.push(at_host("upstream_not_allowed", *at, purpose.at, message).hint(hint));
        }
    }

    /// http inside the cluster, https outside.
    fn note_outside(&mut self, purpose: Use) {
        if self.upstream.scheme != Scheme::Http || self.outside.is_some() {
            return;
        }
        // What the guard refuses has been said.
        let allowed = self.hosts.iter().zip(self.guard.iter().flatten()).filter(|(_, refused)| refused.is_none());
        let outside = allowed.map(|(host, _)| host).find(|(host, _)| !upstream_guard::is_cluster_name(host));
        self.outside = outside.map(|(host, at)| (at.unwrap_or(purpose.at), host.clone()));
    }

    /// Names every address to which nothing secret may go over plain http; names are counted for a warning.
    fn report_exposure(&mut self, purpose: Use, internal: &Networks, problems: &mut Vec<Diagnostic>) {
        // Inside the cluster http is the rule, and where that is has been said.
        let inside = |host: &str| !internal.is_empty() && upstream_guard::is_cluster_name(host);
        let later = |host: &str| exposure(host, internal) == Exposure::KnownLater && !inside(host);
        if self.hosts.iter().any(|(host, _)| later(host)) {
            let (_, routes) = self.plain.get_or_insert((purpose.at, 0));
            *routes += 1;
        }
        if std::mem::replace(&mut self.exposure_reported, true) && self.group.is_some() {
            return;
        }
        for (host, at) in self.hosts.iter().filter(|(host, _)| exposure(host, internal) == Exposure::Open) {
            let message = format!("an identity or a credential would go to {host} over plain http");
            let hint = "use https, or list the network in `server.internal_networks`";
            problems.push(at_host("sensitive_over_http", *at, purpose.at, message).hint(hint));
        }
    }

    fn report_unverified(&mut self, purpose: Use, problems: &mut Vec<Diagnostic>) {
        if std::mem::replace(&mut self.exposure_reported, true) {
            return;
        }
        let at = self.group.as_ref().map_or(purpose.at, |group| group.at);
        let message = "an identity or a credential goes to an upstream whose certificate is not verified";
        let hint = "remove `verify: false`; give `tls.ca` for a private authority";
        problems.push(Diagnostic::warning("unverified_upstream", at, message).hint(hint));
    }

    fn plain_warning(&self, at: Pos, routes: usize) -> Diagnostic {
        let more = if routes > 1 { format!(" (and of {} more)", routes - 1) } else { String::new() };
        let message = format!("what this route{more} adds goes to `{}` over plain http", self.upstream.name);
        let hint = "requests are refused unless the name resolves to loopback or `server.internal_networks`; use https \
                    outside of the cluster";
        Diagnostic::warning("sensitive_over_http", at, message).hint(hint)
    }
}

fn outside_warning(at: Pos, host: &str) -> Diagnostic {
    let message = format!("`{host}` is called over plain http, which is for names inside the cluster");
    let hint =
        "use https outside of it; names inside have one label, or `.internal` or `.svc` in them, or end in `.local`";
    Diagnostic::warning("plain_http_outside", at, message).hint(hint)
}

/// At the host where it has a place of its own, and then with the route that uses it; else at the route.
fn at_host(code: &'static str, at: Option<Pos>, route: Pos, message: String) -> Diagnostic {
    match at {
        Some(at) => Diagnostic::error(code, at, message).related(route, "used here"),
        None => Diagnostic::error(code, route, message),
    }
}

/// Whether something secret may go to a host over plain http, as far as its spelling tells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exposure {
    Inside,
    Open,
    /// A name: its addresses are checked when connecting.
    KnownLater,
}

fn exposure(host: &str, internal: &Networks) -> Exposure {
    match host.parse::<IpAddr>() {
        Ok(address) if upstream_guard::plain_http_allowed(address, internal) => Exposure::Inside,
        Ok(_) => Exposure::Open,
        Err(_) if host == "localhost" || host.ends_with(".localhost") => Exposure::Inside,
        Err(_) => Exposure::KnownLater,
    }
}

/// Of URLs, and the default of groups.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(55);

fn compile_group(group: &Group, previous: &Previous<'_>, problems: &mut Vec<Diagnostic>) -> Upstream {
    report_twins(group, problems);
    let ca = read_ca(&group.tls, problems);
    let client_certificate = group.tls.client_certificate.as_ref();
    let client_certificate = client_certificate.and_then(|files| client_certificate::read(files, problems));
    let pool_group = pool_group(&Trust {
        scheme: group.scheme,
        http2: group.http2,
        server_name: group.tls.server_name.as_deref(),
        ca: ca.as_ref(),
        verify: group.tls.verify,
        client_certificate: client_certificate.as_ref(),
    });
    let weights: Vec<u32> = group.endpoints.iter().map(|endpoint| endpoint.weight).collect();
    let schedule = schedule(&weights).unwrap_or_else(|| {
        let message = format!("the weights of upstream `{}` add up to more than {LONGEST_ROUND}", *group.name);
        problems.push(Diagnostic::error("invalid_weights", group.name.at, message).hint("use smaller weights"));
        Vec::new()
    });
    let name: Arc<str> = Arc::from(group.name.as_str());
    let endpoint =
        |it: &crate::config::model::Endpoint| endpoint(&name, group.scheme, (&it.host, it.port), it.weight, previous);
    Upstream {
        scheme: group.scheme,
        http2: group.http2,
        balance: group.balance.clone(),
        health: group.health.clone(),
        eject: group.eject,
        endpoints: group.endpoints.iter().map(endpoint).collect(),
        cursor: previous.cursor(&name, &schedule),
        schedule,
        server_name: group.tls.server_name.as_deref().map(Arc::from),
        pool_group,
        client_certificate: client_certificate.map(Arc::new),
        budget: previous.budget(&name),
        ca: ca.map(Arc::new),
        verify: group.tls.verify,
        keepalive_idle: group.keepalive_idle,
        max_idle: group.max_idle,
        name,
    }
}

fn compile_url(url: &UpstreamUrl, previous: &Previous<'_>) -> Upstream {
    let name: Arc<str> = Arc::from(label(&url.host, url.port));
    Upstream {
        scheme: url.scheme,
        http2: Http2::default(),
        endpoints: vec![endpoint(&name, url.scheme, (&url.host, url.port), 1, previous)],
        balance: Balance::default(),
        schedule: vec![0],
        cursor: AtomicUsize::new(0),
        health: None,
        eject: None,
        server_name: None,
        ca: None,
        verify: true,
        keepalive_idle: KEEPALIVE_IDLE,
        max_idle: None,
        client_certificate: None,
        budget: previous.budget(&name),
        pool_group: pool_group(&Trust {
            scheme: url.scheme,
            http2: Http2::default(),
            server_name: None,
            ca: None,
            verify: true,
            client_certificate: None,
        }),
        name,
    }
}

fn endpoint(
    upstream: &str,
    scheme: Scheme,
    (host, port): (&str, u16),
    weight: u32,
    previous: &Previous<'_>,
) -> Arc<Endpoint> {
    let label = label(host, port);
    let own_port = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let authority = if port == own_port { label.rsplit_once(':').map_or(&*label, |(host, _)| host) } else { &label };
    Arc::new(Endpoint {
        host: Arc::from(host),
        port,
        authority: HeaderValue::from_str(authority).unwrap_or(HeaderValue::from_static("")),
        literal: host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port)),
        weight,
        seed: seed(&label),
        state: previous.state(upstream, &label),
        label: Arc::from(label),
    })
}

fn label(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn report_twins(group: &Group, problems: &mut Vec<Diagnostic>) {
    let mut seen = HashMap::with_capacity(group.endpoints.len());
    for endpoint in &group.endpoints {
        if let Some(first) = seen.insert(label(&endpoint.host, endpoint.port), endpoint.host.at) {
            let message = format!("upstream `{}` has this endpoint twice", *group.name);
            let problem = Diagnostic::error("duplicate_endpoint", endpoint.host.at, message);
            problems.push(problem.hint("`weight` gives an endpoint a greater share").related(first, "first here"));
        }
    }
}

fn read_ca(tls: &UpstreamTls, problems: &mut Vec<Diagnostic>) -> Option<Ca> {
    ca::named(tls.ca.as_ref()?, problems)
}

/// The longest round that is unrolled.
const LONGEST_ROUND: u64 = 10_000;

/// nginx's smooth weighted round robin, unrolled over one round; `None`: the round is too long.
pub(super) fn schedule(weights: &[u32]) -> Option<Vec<u16>> {
    let divisor = weights.iter().fold(0, |left, right| gcd(left, *right)).max(1);
    let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
    let round: i64 = weights.iter().sum();
    if u64::try_from(round).is_ok_and(|round| round > LONGEST_ROUND) {
        return None;
    }
    if weights.iter().all(|weight| *weight == 1) {
        return (0..weights.len()).map(|index| u16::try_from(index).ok()).collect();
    }
    let mut credit = vec![0i64; weights.len()];
    (0..round).map(|_| turn(&mut credit, &weights, round)).collect()
}

fn turn(credit: &mut [i64], weights: &[i64], round: i64) -> Option<u16> {
    for (credit, weight) in credit.iter_mut().zip(weights) {
        *credit += weight;
    }
    // Of equals the first: `max_by_key` would take the last.
    let (index, chosen) = credit.iter_mut().enumerate().rev().max_by_key(|(_, credit)| **credit)?;
    *chosen -= round;
    u16::try_from(index).ok()
}

fn gcd(left: u32, right: u32) -> u32 {
    if right == 0 { left } else { gcd(right, left % right) }
}

/// What keeps the connections of one upstream apart from those of another to the same address.
struct Trust<'u> {
    scheme: Scheme,
    http2: Http2,
    server_name: Option<&'u str>,
    ca: Option<&'u Ca>,
    verify: bool,
    client_certificate: Option<&'u ClientCertificate>,
}

/// Equal exactly for equal settings, in every generation and process.
fn pool_group(trust: &Trust<'_>) -> u64 {
    let mut digest = Sha256::new();
    let is_https = trust.scheme == Scheme::Https;
    digest.update([u8::from(is_https), u8::from(trust.verify), trust.http2 as u8]);
    let ca = trust.ca.iter().flat_map(|ca| &ca.certificates);
    let shown = trust.client_certificate.iter().flat_map(|certificate| &certificate.chain);
    for (kind, part) in ca.map(|part| (1, part)).chain(shown.map(|part| (2, part))) {
        digest.update([kind]);
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    digest.update([0]);
    digest.update(trust.server_name.unwrap_or_default());
    digest.finalize().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// What an earlier table lends.
struct Previous<'c> {
    states: HashMap<(&'c str, &'c str), &'c Arc<EndpointState>>,
    rounds: HashMap<&'c str, &'c Upstream>,
}

impl<'c> Previous<'c> {
    fn of(table: Option<&'c Table>) -> Self {
        let upstreams = || table.iter().flat_map(|table| &table.upstreams);
        let states = upstreams()
            .flat_map(|upstream| upstream.endpoints.iter().map(move |it| ((&*upstream.name, &*it.label), &it.state)));
        Self { states: states.collect(), rounds: upstreams().map(|upstream| (&*upstream.name, &**upstream)).collect() }
    }

    fn state(&self, upstream: &str, label: &str) -> Arc<EndpointState> {
        self.states.get(&(upstream, label)).map_or_else(Arc::default, |state| Arc::clone(state))
    }

    fn budget(&self, upstream: &str) -> Arc<Budget> {
        self.rounds.get(upstream).map_or_else(Arc::default, |previous| Arc::clone(&previous.budget))
    }

    fn cursor(&self, upstream: &str, schedule: &[u16]) -> AtomicUsize {
        let same = self.rounds.get(upstream).filter(|previous| previous.schedule == schedule);
        AtomicUsize::new(same.map_or(0, |previous| previous.cursor.load(Ordering::Relaxed)))
    }
}
