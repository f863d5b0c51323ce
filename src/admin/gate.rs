//! Who may knock, under which name, from which page, and with which token: in that order, before any handler.
//!
//! The lists are those of the table in force, so an edit of `admin.allow`, `admin.hosts` or `admin.metrics` works at once.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;

use crate::clock::Moment;
use crate::table::{Admin, MetricsAuth};

use super::answer::{Problem, harden};
use super::caller::{Caller, How, Who};
use super::login::{self, Shown};
use super::origin::{Names, check_host, check_origin};
use super::session;
use super::{LOG, Shared, Wire, audit, entry, form};

/// The longest that a request may take, its body included: a provider may take 35 seconds.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);

/// Of a request.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The middleware around everything.
pub async fn pass(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let peer = request.extensions().get::<Peer>().copied();
    let from = peer.map(|Peer(address)| address.ip().to_string()).unwrap_or_default();
    let mut line = audit::Line::of(&method, &path, &from);
    let mut response = match tokio::time::timeout(REQUEST_TIMEOUT, answer(&shared, &mut line, request, next)).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        Err(_) => timed_out().into_response(),
    };
    harden(&mut response);
    log::debug!(target: LOG, "{method} {path} {} from {from}", response.status().as_u16());
    line.answered(&response);
    response
}

fn timed_out() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "the request took too long; what it began may go on")
        .with(header::RETRY_AFTER, 5u64)
}

/// `line`: told who asks, whatever becomes of the answer.
async fn answer(
    shared: &Shared,
    line: &mut audit::Line,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (peer, needs) = admit(shared, &request)?;
    let mut caller = session_of(shared, request.headers());
    if caller.is_none() && needs.login == Login::Needed {
        let shown = Shown::of(request.headers());
        let sent = matches!(shown, Shown::Nothing).then(|| sent_to_log_in(&request)).flatten();
        let by_script = request.headers().get("sec-fetch-mode").is_some_and(|mode| mode != "navigate");
        match login::check(shared, shown, peer).await {
            Ok(known) => caller = Some(known),
            Err(problem) => return sent.ok_or_else(|| if by_script { problem.without_basic() } else { problem }),
        }
    }
    if let Some(caller) = &caller {
        line.is_of(caller);
        // A callback's form shows the state instead, which is as unguessable, and the session's own.
        if needs.login == Login::Needed && !is_callback(request.uri().path()) {
            request = form::check_csrf(request, caller).await?;
        }
        request.extensions_mut().insert(caller.clone());
    }
    Ok(next.run(request).await)
}

/// Whoever the cookie says, if it says so rightly.
fn session_of(shared: &Shared, headers: &HeaderMap) -> Option<Caller> {
    let id = session::shown(headers)?;
    let table = shared.parts.reloader.current();
    let stands = |who: &Who, mark: Option<&session::Mark>| login::stands(&table, who, mark);
    let (who, held) = shared.sessions.find(id.expose(), Moment::now(), stands)?;
    Some(Caller { who, how: How::Session(held) })
}

/// A browser that opens a page is sent to log in, and comes back afterwards.
fn sent_to_log_in(request: &Request) -> Option<Response> {
    let (uri, method) = (request.uri(), request.method());
    if !form::wants_page(request.headers()) {
        return None;
    }
    match uri.path() {
        // What the provider's redirect brought is not spent: it can be opened again, or pasted.
        path if is_callback(path) && *method == Method::POST => Some(entry::to_log_in("/dashboard/tokens", "")),
        path if entry::is_page(path) && method.is_safe() => {
            let next = uri.path_and_query().map_or(path, |whole| whole.as_str());
            Some(entry::to_log_in(next, ""))
        }
        _ => None,
    }
}

/// From where, and what that has to show.
fn admit(shared: &Shared, request: &Request) -> Result<(IpAddr, Needs), Problem> {
    let table = shared.parts.reloader.current();
    // Without an address there is nobody to trust; every connection has one.
    let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() else { return Err(not_allowed()) };
    let needs = Needs::of(request.method(), request.uri().path(), peer.ip(), &table.admin);
    if needs.address && !contains(&table.admin.allow, peer.ip()) {
        return Err(not_allowed());
    }
    let public = table.admin.public_url.as_ref().map(|url| &url.value);
    let names = Names { own: shared.address, tls: shared.wire == Wire::Tls, further: &table.admin.hosts, public };
    check_host(request.headers(), &names)?;
    if !request.method().is_safe() {
        check_origin(request.method(), request.headers(), &names)?;
    }
    check_length(request.headers())?;
    Ok((peer.ip(), needs))
}

/// Whether `admin.allow` names the address.
pub fn is_allowed(shared: &Shared, address: IpAddr) -> bool {
    contains(&shared.parts.reloader.current().admin.allow, address)
}

/// A body that announces its size need not be waited for.
fn check_length(headers: &HeaderMap) -> Result<(), Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_LIMIT) { Err(too_large()) } else { Ok(()) }
}

/// The answer to a body beyond [`BODY_LIMIT`].
pub fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is larger than 1 MiB")
}

/// What a request must have beside a name that is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needs {
    /// An address in `allow`.
    address: bool,
    /// The token, a user's password, a session.
    login: Login,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Login {
    /// As everything does that shows or changes anything.
    Needed,
    /// What is there before the log-in.
    NotNeeded,
}

impl Needs {
    fn of(method: &Method, path: &str, peer: IpAddr, admin: &Admin) -> Self {
        match path {
            "/livez" | "/readyz" => Self { address: true, login: Login::NotNeeded },
            "/metrics" if contains(&admin.metrics_allow, peer) => {
                let login = match admin.metrics_auth {
                    MetricsAuth::Required => Login::Needed,
                    MetricsAuth::None => Login::NotNeeded,
                };
                Self { address: false, login }
            }
            _ if is_before_login(method, path) => Self { address: true, login: Login::NotNeeded },
            _ => Self { address: true, login: Login::Needed },
        }
    }
}

/// The log-in itself, what its page is made from, and where a browser comes back to from a provider: such a navigation
/// brings no `SameSite=Strict` cookie along.
fn is_before_login(method: &Method, path: &str) -> bool {
    match path {
        "/login" | "/dashboard/login" => true,
        "/oauth/callback.js" | "/dashboard/oauth/callback.js" => true,
        _ if is_callback(path) || path.starts_with("/dashboard/assets/") => method.is_safe(),
        _ => false,
    }
}

fn is_callback(path: &str) -> bool {
    matches!(path, "/oauth/callback" | "/dashboard/oauth/callback")
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

fn not_allowed() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "address_not_allowed", "this address is not in admin.allow")
}
