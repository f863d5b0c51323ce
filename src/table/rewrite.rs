//! What goes upstream: a pure plan, applied by the data plane and printed by `explain`.
//!
//! Order: hop-by-hop and forwarding names out, the signature family and injected names out (any spelling), the caller's
//! own credential out, `headers.request` edits, forwarding headers in, and last, once per attempt, the six signature headers
//! with the route's payload behind them, and the route's credential behind everything.
//!
//! Invariants: no name that the edge sets survives from the client in any spelling (`_` and `.` count as `-`); what
//! follows the prefix and the query are forwarded byte for byte. Fields of one hop are the HTTP engine's to remove; [`of_one_hop`]
//! only names them for `explain`.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::header::{CONNECTION, COOKIE, FORWARDED, HOST, HeaderName, HeaderValue, MAX_FORWARDS, UPGRADE, VIA};
use http::{HeaderMap, Method, Version};

use crate::clock::UnixMillis;
use crate::policy::file_path::{self, Wanted};
use crate::policy::request_gate::{Canonical, RequestView};
use crate::policy::sign::{self, Claims, Message, Signature};
use crate::policy::{forward, host, own_cookie, path, trace};

use super::Table;
use super::credential::Destination;
use super::decide::{Admitted, max_forwards};
use super::route::{Edits, Filled, HostChoice, Mode, Route, Sign, UsernameEncoding};
use super::upstream::Endpoint;
use super::variables::{Facts, Ids};

/// The changes to the head of one attempt.
#[derive(Debug, Default)]
pub struct Plan {
    /// Path and query for the upstream (origin-form).
    pub target: String,
    /// The Host header.
    pub host: Option<HeaderValue>,
    /// Names of the client's head that must go (as they stand there).
    pub remove: Vec<HeaderName>,
    /// Set, each replacing whatever has that name; none of these names survives from the client. The signature, the
    /// payload and then the credential are last.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Appended (`headers.request.add`).
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// Plans one attempt. `stamp`: the moment that is signed. `ids`: what `x-request-id` says, and a trace's id, should one begin.
pub fn plan<'a>(
    table: &'a Table,
    admitted: &'a Admitted,
    request: &'a RequestView<'_>,
    canonical: &'a Canonical<'_>,
    destination: Destination<'_>,
    stamp: UnixMillis,
    ids: impl Into<Ids<'a>>,
) -> Plan {
    let Destination { endpoint, carried } = destination;
    let ids = ids.into();
    let route = &*admitted.route;
    let trusted = table.trusted_proxies.contains(request.peer);
    let mut plan = Plan {
        target: target(route, canonical),
        host: host_sent(route, request, canonical, endpoint),
        remove: removed(admitted, request.headers, trusted),
        set: Vec::with_capacity(route.request_edits.set.len() + route.payload.len() + 16),
        add: route.request_edits.add.clone(),
    };
    // These first, so that a route may set them otherwise.
    own_cookies(table, request.headers, endpoint, &mut plan);
    tracing(route, request.headers, ids.new_trace, &mut plan);
    via(route, request, &mut plan);
    port(request, table, trusted, &mut plan);
    plan.set.extend_from_slice(&route.request_edits.set);
    if !route.request_edits.filled.is_empty() {
        let facts = Facts { table, admitted, request, canonical, ids, now: stamp, upstream_status: None };
        for (mode, name, value) in filled(&route.request_edits, &facts) {
            match mode {
                Mode::Set => plan.set.push((name, value)),
                Mode::Add => plan.add.push((name, value)),
            }
        }
    }
    if *request.method == Method::OPTIONS {
        plan.set.extend(max_forwards(request.headers).map(|hops| (MAX_FORWARDS, hops.saturating_sub(1).into())));
    }
    forwarding(table, admitted, request, canonical, trusted, &mut plan);
    plan.put(X_REQUEST_ID, HeaderValue::from_str(ids.request).ok());
    if let Some(sign) = &route.sign {
        identify(admitted, sign, request, stamp, ids, &mut plan);
    }
    plan.set.extend_from_slice(&route.payload);
    plan.set.extend(carried);
    plan
}

/// The values with variables of one direction, as one request fills them in.
pub fn filled<'e>(
    edits: &'e Edits,
    facts: &'e Facts<'e>,
) -> impl Iterator<Item = (Mode, HeaderName, HeaderValue)> + 'e {
    let fill = |Filled { name, mode, value }: &Filled| Some((*mode, name.clone(), value.fill(facts)?));
    edits.filled.iter().filter_map(fill)
}

/// The `Location` of a redirect route.
pub fn redirect_location(to: &str, admitted: &Admitted, canonical: &Canonical<'_>) -> String {
    let rest = path::rest(canonical.raw_path, &canonical.path, admitted.route.prefix_len());
    let query = canonical.query.map(|query| format!("?{query}")).unwrap_or_default();
    // One pass: what is put in for one placeholder is never read as another.
    let mut location = String::with_capacity(to.len() + rest.len() + query.len());
    let mut left = to;
    while let Some((before, from)) = left.find('{').and_then(|at| left.split_at_checked(at)) {
        location.push_str(before);
        left = if let Some(after) = from.strip_prefix(REST) {
            // `/` in front of `/evil.test` would be an address on another host.
            location.push_str(if location.ends_with('/') { rest.strip_prefix('/').unwrap_or(rest) } else { rest });
            after
        } else if let Some(after) = from.strip_prefix(QUERY) {
            location.push_str(&query);
            after
        } else {
            location.push('{');
            from.strip_prefix('{').unwrap_or_default()
        };
    }
    location.push_str(left);
    location
}

/// Which file of a route with `files` a request is about; `None`: none that is ever served.
pub fn file(admitted: &Admitted, canonical: &Canonical<'_>) -> Option<Wanted> {
    file_path::wanted(canonical.path.get(admitted.route.prefix_len()..)?)
}

/// Stands for the path after the prefix in a redirect's address.
const REST: &str = "{rest}";
/// Stands for `?` and the query in a redirect's address.
const QUERY: &str = "{query}";

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// RFC 9421 §4.1 and §4.2.
pub(super) const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The fields of this head that go no further than this hop (RFC 9110 §7.6.1): known names, and what `Connection`
/// nominates. An upgrade keeps `connection` and `upgrade`.
pub fn of_one_hop(headers: &HeaderMap) -> Vec<HeaderName> {
    let upgrade = headers.contains_key(UPGRADE);
    headers
        .keys()
        .filter(|name| !(upgrade && (**name == CONNECTION || **name == UPGRADE)))
        .filter(|name| is_of_the_connection(name.as_str()) || is_nominated(headers, name))
        .cloned()
        .collect()
}

/// Whether a field belongs to one connection. (Where a request came from is another matter: a trusted peer may say.)
pub(super) fn is_of_the_connection(name: &str) -> bool {
    forward::is_hop_by_hop(name) && !tells_the_origin(name)
}

fn is_nominated(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut nominated = headers.get_all(CONNECTION).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    nominated.any(|one| one.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
}

impl Plan {
    fn put(&mut self, name: HeaderName, value: Option<HeaderValue>) {
        self.set.extend(value.map(|value| (name, value)));
    }
}

pub(super) fn target(route: &Route, canonical: &Canonical<'_>) -> String {
    let mut target = match route.forward().and_then(|forward| forward.base_path.as_deref()) {
        Some(base) => path::join(base, path::rest(canonical.raw_path, &canonical.path, route.prefix_len())),
        None => canonical.raw_path.to_owned(),
    };
    if let Some(query) = canonical.query {
        target.reserve_exact(query.len() + 1);
        target.push('?');
        target.push_str(query);
    }
    target
}

fn host_sent(
    route: &Route,
    request: &RequestView<'_>,
    canonical: &Canonical<'_>,
    endpoint: &Endpoint,
) -> Option<HeaderValue> {
    match &route.forward()?.host {
        HostChoice::Fixed(value) => Some(value.clone()),
        HostChoice::Endpoint => Some(endpoint.authority.clone()),
        HostChoice::Client => asked_host(request, canonical),
    }
}

/// The host that the client asked for, canonical, with the port that it wrote.
fn asked_host(request: &RequestView<'_>, canonical: &Canonical<'_>) -> Option<HeaderValue> {
    let host = &*canonical.host;
    let field = request.headers.get(HOST);
    if let Some(value) = field.filter(|value| value.as_bytes() == host.as_bytes()) {
        return Some(value.clone());
    }
    let asked = request.authority.or_else(|| field.and_then(|value| value.to_str().ok())).unwrap_or(host);
    match host::split(asked) {
        Ok((_, Some(port))) => HeaderValue::try_from(format!("{host}:{port}")).ok(),
        _ => HeaderValue::from_str(host).ok(),
    }
}

fn removed(admitted: &Admitted, headers: &HeaderMap, trusted: bool) -> Vec<HeaderName> {
    let credential = admitted.route.forward().and_then(|forward| forward.credential.as_deref());
    let replaced = |name: &str| credential.is_some_and(|credential| reads_as(name, credential.header.as_str()));
    let goes = |name: &&HeaderName| must_go(admitted, name.as_str(), trusted) || replaced(name.as_str());
    headers.keys().filter(goes).cloned().collect()
}

fn must_go(admitted: &Admitted, name: &str, trusted: bool) -> bool {
    let route = &*admitted.route;
    sign::in_family(name, &route.family)
        || (tells_the_origin(name) && !(trusted && is_plain(name)))
        || route.injected.iter().any(|injected| reads_as(name, injected))
        || route.request_edits.remove.iter().any(|removed| removed.as_str() == name)
        || (admitted.consumed.authorization && reads_as(name, "authorization"))
        || (admitted.consumed.api_key && reads_as(name, "x-api-key"))
        || reads_as(name, "x-request-id")
}

/// Cookies of the edge's own (sessions, log-ins, an environment, and the dashboard's, which browsers send to every port of its
/// host) are for the edge alone.
fn own_cookies(table: &Table, headers: &HeaderMap, endpoint: &Endpoint, plan: &mut Plan) {
    let is_there = own_cookie::pairs(headers).any(own_cookie::is_ours) && !plan.remove.contains(&COOKIE);
    if !is_there {
        return;
    }
    let to_admin = is_admin(table, endpoint);
    let goes_on = |pair: &&[u8]| !own_cookie::is_ours(pair) || (to_admin && pair.starts_with(OF_THE_DASHBOARD));
    let kept: Vec<&[u8]> = own_cookie::pairs(headers).filter(|pair| !pair.is_empty()).filter(goes_on).collect();
    match HeaderValue::from_bytes(&kept.join(&b"; "[..])) {
        Ok(value) if !value.is_empty() => plan.set.push((COOKIE, value)),
        _ => plan.remove.push(COOKIE),
    }
}

/// Whoever reaches the dashboard through a route needs its session there.
const OF_THE_DASHBOARD: &[u8] = b"__Host-countersign=";

/// Whether that is the admin listener of this very process.
fn is_admin(table: &Table, endpoint: &Endpoint) -> bool {
    let admin = table.started_with.admin.address.value;
    let is_here = endpoint.literal.map_or(&*endpoint.host == "localhost", |literal| {
        literal.ip().to_canonical().is_loopback() || literal.ip() == admin.ip()
    });
    is_here && endpoint.port == admin.port()
}

/// Whether a field claims where the request came from: only a trusted peer may.
fn tells_the_origin(name: &str) -> bool {
    sign::in_family(name, "x-forwarded-") || reads_as(name, "forwarded") || reads_as(name, "x-real-ip")
}

/// Whether a name is spelt as proxies spell it. They hand on `x_forwarded_for` as their clients sent it.
fn is_plain(name: &str) -> bool {
    !name.contains(['_', '.'])
}

/// Whether an upstream may take one name for the other: equal with `_` and `.` read as `-`. Both are lower case.
pub(super) fn reads_as(name: &str, other: &str) -> bool {
    let plain = |byte: u8| if matches!(byte, b'_' | b'.') { b'-' } else { byte };
    name.len() == other.len() && name.bytes().zip(other.bytes()).all(|(left, right)| plain(left) == plain(right))
}

fn forwarding(
    table: &Table,
    admitted: &Admitted,
    request: &RequestView<'_>,
    canonical: &Canonical<'_>,
    trusted: bool,
    plan: &mut Plan,
) {
    let RequestView { peer, headers, tls, .. } = *request;
    let address = HeaderValue::try_from(admitted.client_ip.to_string()).ok();
    // A stranger's chain is the one address, which is already written.
    let chain = if trusted {
        HeaderValue::try_from(forward::x_forwarded_for(peer, headers, &table.trusted_proxies)).ok()
    } else {
        address.clone()
    };
    let proto = forward::x_forwarded_proto(tls, peer, headers, &table.trusted_proxies);
    plan.put(X_FORWARDED_FOR, chain);
    plan.put(X_FORWARDED_PROTO, Some(HeaderValue::from_static(proto)));
    if !(trusted && headers.contains_key(X_FORWARDED_HOST)) {
        plan.put(X_FORWARDED_HOST, asked_host(request, canonical));
    }
    plan.put(X_REAL_IP, address);
    if trusted && headers.contains_key(FORWARDED) {
        let host = asked_host(request, canonical);
        let host = host.as_ref().and_then(|host| host.to_str().ok());
        let proto = if tls { "https" } else { "http" };
        plan.put(FORWARDED, HeaderValue::try_from(forward::forwarded::rebuilt(headers, peer, proto, host)).ok());
    }
}

/// A trace that came in goes on as it is; one begins where there is none that can be read, unless the route removes it.
fn tracing(route: &Route, headers: &HeaderMap, new_trace: &str, plan: &mut Plan) {
    if trace::named(headers).is_some() || route.request_edits.remove.contains(&trace::TRACEPARENT) {
        return;
    }
    plan.put(trace::TRACEPARENT, trace::begun(new_trace));
    if headers.contains_key(trace::TRACESTATE) {
        plan.remove.push(trace::TRACESTATE);
    }
}

/// RFC 9110 §7.6.3: who passed the request on, and how it had come.
fn via(route: &Route, request: &RequestView<'_>, plan: &mut Plan) {
    if route.request_edits.remove.contains(&VIA) {
        return;
    }
    let own = via_received(request.version);
    let mut earlier = request.headers.get_all(VIA).iter().filter_map(|value| value.to_str().ok()).peekable();
    if earlier.peek().is_none() {
        return plan.put(VIA, Some(own));
    }
    let mut chain = earlier.collect::<Vec<_>>().join(", ");
    chain.push_str(", ");
    chain.push_str(own.to_str().unwrap_or_default());
    plan.put(VIA, HeaderValue::try_from(chain).ok());
}

/// The entry of this edge in `via`, for a message that came in that version.
pub fn via_received(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 countersign",
        Version::HTTP_2 => "2.0 countersign",
        _ => "1.1 countersign",
    })
}

/// The port that the client asked: the one in Host, else the scheme's.
fn port(request: &RequestView<'_>, table: &Table, trusted: bool, plan: &mut Plan) {
    let RequestView { peer, headers, tls, .. } = *request;
    if trusted && headers.contains_key(X_FORWARDED_PORT) {
        return;
    }
    let asked = request.authority.or_else(|| headers.get(HOST).and_then(|value| value.to_str().ok()));
    let written = asked.and_then(|asked| host::split(asked).ok()).and_then(|(_, port)| port);
    let value = match written {
        Some(port) => HeaderValue::from(port),
        None if forward::x_forwarded_proto(tls, peer, headers, &table.trusted_proxies) == "https" => {
            HeaderValue::from_static("443")
        }
        None => HeaderValue::from_static("80"),
    };
    plan.put(X_FORWARDED_PORT, Some(value));
}

/// The six headers that say who calls; the signature is over what they say.
fn identify(
    admitted: &Admitted,
    sign: &Sign,
    request: &RequestView<'_>,
    stamp: UnixMillis,
    ids: Ids<'_>,
    plan: &mut Plan,
) {
    let names = &*sign.names;
    let username = name_value(admitted, sign.username_encoding);
    let signature = sign.scheme.and_then(|scheme| {
        let message = message(sign, request, ids, username.as_ref(), plan);
        sign::signature(scheme, &claims(admitted, &admitted.route, stamp), &message, sign.token.as_ref())
    });
    plan.put(names.user.clone(), user_value(admitted));
    plan.put(names.username.clone(), username);
    plan.put(names.stamp.clone(), Some(stamp.into()));
    plan.put(names.appid.clone(), Some(names.appid_value.clone()));
    plan.put(names.project.clone(), Some(names.project_value.clone()));
    match signature {
        Some(Signature::Sign(sign)) => plan.put(names.sign.clone(), HeaderValue::from_bytes(&sign).ok()),
        Some(Signature::Message(message)) => {
            plan.put(SIGNATURE_INPUT, HeaderValue::try_from(message.input).ok());
            plan.put(SIGNATURE, HeaderValue::try_from(message.signature).ok());
        }
        None => {}
    }
}

/// The request as the upstream gets it, for the schemes that bind it.
pub(super) fn message<'a>(
    sign: &'a Sign,
    request: &'a RequestView<'_>,
    ids: Ids<'a>,
    username: Option<&'a HeaderValue>,
    plan: &'a Plan,
) -> Message<'a> {
    let (path, query) = plan.target.split_once('?').unwrap_or((&plan.target, ""));
    let text = |value: Option<&'a HeaderValue>| {
        value.and_then(|value| std::str::from_utf8(value.as_bytes()).ok()).unwrap_or_default()
    };
    Message {
        method: request.method.as_str(),
        authority: text(plan.host.as_ref()),
        path,
        query,
        username: text(username),
        prefix: &sign.names.prefix,
        nonce: ids.new_trace,
    }
}

/// What a route signs for an admitted caller.
pub(super) fn claims<'a>(admitted: &'a Admitted, route: &'a Route, stamp: UnixMillis) -> Claims<'a> {
    Claims { user: &admitted.identity.user, project: &route.project, app_id: &route.app_id, stamp }
}

fn user_value(admitted: &Admitted) -> Option<HeaderValue> {
    match prepared(admitted) {
        Some(client) => Some(client.values.user.clone()),
        None => HeaderValue::from_str(&admitted.identity.user).ok(),
    }
}

fn name_value(admitted: &Admitted, encoding: UsernameEncoding) -> Option<HeaderValue> {
    let name = &*admitted.identity.name;
    match (encoding, prepared(admitted)) {
        (UsernameEncoding::Percent, Some(client)) => Some(client.values.name_percent.clone()),
        (UsernameEncoding::Percent, None) => HeaderValue::try_from(sign::percent_encode(name)).ok(),
        (UsernameEncoding::Raw, _) => HeaderValue::from_bytes(name.as_bytes()).ok(),
    }
}

/// The client, when the identity is its own, whose header values are ready.
fn prepared(admitted: &Admitted) -> Option<&super::decide::ClientEntry> {
    admitted.client.as_deref().filter(|client| Arc::ptr_eq(&client.user, &admitted.identity.user))
}
