//! One decision on its way: host, environment, route, then every policy of the route in the documented order.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{ALLOW, HeaderName, HeaderValue, MAX_FORWARDS, ORIGIN};
use http::{HeaderMap, Method};

use crate::clock::UnixMillis;
use crate::policy::cors::{Cors, Preflight};
use crate::policy::forward;
use crate::policy::limit::Limits;
use crate::policy::request_gate::{Canonical, GateRefusal, RequestView};

use super::super::Table;
use super::super::direct::Direct;
use super::super::environment::Choice;
use super::super::matcher::{EnvironmentEntry, ProjectEntry, covers};
use super::super::own::{self, Page};
use super::super::route::Route;
use super::caller::{Caller, Stop};
use super::{
    Admitted, Assumed, Decision, Identity, LogInRequest, OwnRequest, Place, Refusal, SessionCookie, Step, Trace,
};

/// One decision on its way.
pub(super) struct Asking<'d, 'a, T> {
    pub(super) table: &'d Table,
    pub(super) request: &'d RequestView<'a>,
    pub(super) canonical: &'d Canonical<'a>,
    pub(super) now: UnixMillis,
    pub(super) assumed: Assumed<'d>,
    pub(super) trace: &'d mut T,
    /// Whether the request says itself which environment serves it.
    pub(super) named: bool,
    /// How far it has come; filled in for a refusal, since an admission has it all in its route.
    pub(super) place: Place,
    /// What becomes of the session's cookie.
    pub(super) session: SessionCookie,
}

impl<T: Trace> Asking<'_, '_, T> {
    pub(super) fn decide(&mut self) -> Decision {
        let client_ip = forward::client_address(self.request.peer, self.request.headers, &self.table.trusted_proxies);
        if let Some(own) = self.own(client_ip) {
            return own;
        }
        let route = match self.route(client_ip) {
            Ok(route) => route,
            Err(refusal) => return self.refused(refusal),
        };
        match self.preflight(&route) {
            Preflight::No => {}
            Preflight::Answer(headers) => return Decision::Preflight(headers, route),
            Preflight::Stranger => return Decision::Refuse(origin_not_allowed(), self.place_of(route)),
            Preflight::Malformed => return Decision::Refuse(malformed_preflight(), self.place_of(route)),
        }
        match self.admit(&route, client_ip) {
            Err(Stop::Refuse(refusal)) => Decision::Refuse(refusal, self.place_of(route)),
            Err(Stop::Verify(login)) => Decision::Verify(login),
            Err(Stop::Ask(question)) => Decision::Ask(question),
            Err(Stop::LogIn(log_in)) => {
                let asked = LogInRequest { step: Step::Needed, log_in, project: Arc::clone(&route.project) };
                Decision::LogIn(asked, self.place_of(route))
            }
            Ok(_) if self.may_go_no_further() => Decision::ServerOptions,
            Ok((caller, identity)) => Decision::Admit(Admitted {
                route,
                client: caller.client,
                identity,
                client_ip,
                consumed: caller.consumed,
                source: caller.source,
                session: self.session,
                environment_named: self.named,
                _sealed: (),
            }),
        }
    }

    /// Before a route was found.
    fn refused(&mut self, refusal: Refusal) -> Decision {
        let named = self.named;
        Decision::Refuse(refusal, Place { named, ..std::mem::take(&mut self.place) })
    }

    fn place_of(&self, route: Arc<Route>) -> Place {
        Place { named: self.named, session: self.session, ..Place::of(route) }
    }

    /// A page of the edge's own. Which environment it is about is its own matter: one that the request may not have must not
    /// keep a browser from leaving it.
    fn own(&mut self, client_ip: IpAddr) -> Option<Decision> {
        let page = Page::of(&self.canonical.path)?;
        let (project, _) = self.table.matcher.project(&self.canonical.host)?;
        if !project.serves(page) {
            return None;
        }
        let index = self.table.matcher.projects().iter().position(|known| std::ptr::eq(known, project))?;
        self.trace.project(&project.name);
        self.trace.verdict("route", "answer", format_args!("{} is the edge's own", self.canonical.path));
        self.place.enter(project, None);
        let place = std::mem::take(&mut self.place);
        if let Some((step, log_in)) = page.step().zip(project.identification.log_in()) {
            let (log_in, project) = (Arc::clone(log_in), Arc::clone(&project.name));
            return Some(Decision::LogIn(LogInRequest { step, log_in, project }, place));
        }
        Some(Decision::Own(OwnRequest { page, project: index, client_ip }, place))
    }

    fn route(&mut self, client_ip: IpAddr) -> Result<Arc<Route>, Refusal> {
        let table = self.table;
        let Some((project, how)) = table.matcher.project(&self.canonical.host) else {
            self.trace.verdict("host", "refuse", format_args!("no project has {}", self.canonical.host));
            return Err(refusal(421, "unknown_host", "no project serves this host"));
        };
        self.trace.project(&project.name);
        self.trace.verdict("host", "pass", format_args!("{how} of project {}", project.name));
        let environment = self.environment(project, client_ip).inspect_err(|_| self.place.enter(project, None))?;
        let path = &*self.canonical.path;
        let found = if is_reserved(path) { None } else { environment.routes.find(path) };
        if self.trace.wanted() {
            self.losers(project, environment, found);
        }
        if !is_reserved(path)
            && let Some(direct) = environment.direct_beyond(path, found)
        {
            self.trace.verdict(
                "route",
                "refuse",
                format_args!("{} is direct: browsers call {} themselves", direct.prefix, direct.target),
            );
            self.place.enter(project, Some(environment));
            return Err(refusal(
                404,
                "route_is_direct",
                "browsers call this prefix at its upstream themselves; nothing is forwarded",
            ));
        }
        let Some(route) = found else {
            self.trace.verdict("route", "refuse", format_args!("no prefix of {} covers {path}", environment.name));
            self.place.enter(project, Some(environment));
            return Err(refusal(404, "route_not_found", "no route serves this path"));
        };
        self.trace.winner(route);
        self.trace.verdict("route", "pass", format_args!("{} is the longest prefix", route.prefix));
        Ok(Arc::clone(route))
    }

    fn environment<'t>(&mut self, project: &'t ProjectEntry, from: IpAddr) -> Result<&'t EnvironmentEntry, Refusal> {
        if let Some(name) = self.assumed.environment {
            return self.forced_environment(project, name);
        }
        match self.table.choose(project, &self.canonical.host, self.request, from, self.now) {
            Some(Choice::Default(environment)) => {
                self.chose(environment, format_args!("default of the project"));
                Ok(environment)
            }
            Some(Choice::Chosen(environment, by)) => {
                self.named = by.reads_fields();
                self.chose(environment, format_args!("{by}"));
                Ok(environment)
            }
            Some(Choice::Unavailable(by, why)) => {
                self.trace.verdict("environment", "refuse", format_args!("{by}: {why}"));
                Err(environment_unavailable())
            }
            None => Err(environment_unavailable()),
        }
    }

    fn forced_environment<'t>(
        &mut self,
        project: &'t ProjectEntry,
        name: &str,
    ) -> Result<&'t EnvironmentEntry, Refusal> {
        let Some(environment) = project.environment(name) else {
            self.trace.verdict("environment", "refuse", format_args!("project {} has no {name}", project.name));
            return Err(environment_unavailable());
        };
        self.chose(environment, format_args!("asked for with --environment"));
        Ok(environment)
    }

    fn chose(&mut self, environment: &EnvironmentEntry, rule: std::fmt::Arguments<'_>) {
        self.trace.environment(&environment.name, rule);
        self.trace.verdict("environment", "pass", format_args!("{}: {rule}", environment.name));
    }

    /// Tells the listener about every route of the project that did not win.
    fn losers(&mut self, project: &ProjectEntry, environment: &EnvironmentEntry, winner: Option<&Arc<Route>>) {
        let path = &*self.canonical.path;
        for route in self.table.routes.iter().filter(|route| route.project == project.name) {
            if winner.is_some_and(|winner| Arc::ptr_eq(winner, route)) {
                continue;
            }
            if let Some(lost) = why_it_lost(route, environment, path) {
                self.trace.candidate(route, lost);
            }
        }
        for direct in self.table.direct.iter().filter(|direct| direct.project == project.name) {
            if let Some(lost) = why_direct_lost(direct, environment, path) {
                self.trace.direct(direct, lost);
            }
        }
    }

    /// Answered before anybody is asked for a token: browsers send none with it.
    fn preflight(&mut self, route: &Route) -> Preflight {
        let Some(cors) = &route.cors else { return Preflight::No };
        let preflight = cors.preflight(self.request.method, self.request.headers);
        match &preflight {
            Preflight::No => self.origin(cors),
            Preflight::Answer(_) => {
                self.trace.verdict("cors", "answer", format_args!("a preflight of an allowed origin: 204 by the edge"));
            }
            Preflight::Stranger => {
                self.trace.verdict("cors", "refuse", format_args!("a preflight of an origin that is not allowed"));
            }
            Preflight::Malformed => {
                self.trace.verdict("cors", "refuse", format_args!("a preflight that cannot be read"));
            }
        }
        preflight
    }

    fn origin(&mut self, cors: &Cors) {
        if !self.request.headers.contains_key(ORIGIN) {
            self.trace.verdict("cors", "skip", format_args!("no page of another origin asks"));
        } else if cors.allowed(self.request.headers).is_some() {
            self.trace.verdict("cors", "pass", format_args!("the origin may read the answer"));
        } else {
            let detail =
                format_args!("the origin is not allowed: its page cannot read the answer, the request goes on");
            self.trace.verdict("cors", "pass", detail);
        }
    }

    fn admit(&mut self, route: &Arc<Route>, client_ip: IpAddr) -> Result<(Caller, Identity), Stop> {
        self.check_method(route)?;
        self.check_access(route, client_ip)?;
        let caller = self.authenticate(route, client_ip)?;
        let identity = self.identify(route, &caller)?;
        self.check_client(route, &caller)?;
        if let Some(limits) = &route.limits {
            self.announce(limits);
        }
        Ok((caller, identity))
    }

    fn check_method(&mut self, route: &Route) -> Result<(), Refusal> {
        if route.serves(self.request.method) {
            self.trace.verdict("methods", "pass", format_args!("{} is served", self.request.method));
            return Ok(());
        }
        self.trace.verdict("methods", "refuse", format_args!("{} is not among them", self.request.method));
        let allow = allowed_methods(route.served_methods().unwrap_or_default());
        Err(refusal(405, "method_not_allowed", "this route does not serve the method").with(ALLOW, allow))
    }

    fn check_access(&mut self, route: &Route, client_ip: IpAddr) -> Result<(), Refusal> {
        if route.admits(client_ip) {
            self.trace.verdict("access", "pass", format_args!("{client_ip} may use the route"));
            return Ok(());
        }
        self.trace.verdict("access", "refuse", format_args!("{client_ip} may not use the route"));
        Err(refusal(403, "access_denied", "this address may not use the route"))
    }

    /// What is counted is counted when the data plane takes it; looking at it costs nothing.
    fn announce(&mut self, limits: &Limits) {
        self.trace.verdict("limits", "pass", format_args!("{limits}; counted when a request really comes"));
    }

    /// RFC 9110 §7.6.2: an OPTIONS that arrives with `Max-Forwards: 0` is answered here.
    fn may_go_no_further(&mut self) -> bool {
        let ends = *self.request.method == Method::OPTIONS && max_forwards(self.request.headers) == Some(0);
        if ends {
            self.trace.verdict("request", "answer", format_args!("Max-Forwards is 0: OPTIONS is answered by the edge"));
        }
        ends
    }
}

/// `Max-Forwards`, when there is exactly one readable value.
pub(in super::super) fn max_forwards(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(MAX_FORWARDS).iter();
    let value = values.next()?.to_str().ok()?;
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if digits && values.next().is_none() { value.parse().ok() } else { None }
}

/// The edge keeps these for itself on every host.
fn is_reserved(path: &str) -> bool {
    covers(own::PREFIX, path)
}

/// Of a route that has nothing to do with the path.
pub(in super::super) const NOT_BELOW: &str = "the path is not below it";

/// Why a route did not win; `None`: it has nothing to do with the request.
fn why_it_lost(route: &Route, environment: &EnvironmentEntry, path: &str) -> Option<&'static str> {
    match (route.environment == environment.name, covers(&route.prefix, path)) {
        (true, true) if is_reserved(path) => Some("paths below /.countersign belong to the edge"),
        (true, true) => Some("a longer prefix matches"),
        (true, false) if path.starts_with(&*route.prefix) => Some("matches whole segments only"),
        (true, false) => Some(NOT_BELOW),
        (false, true) => Some("belongs to another environment"),
        (false, false) => None,
    }
}

/// Why a direct prefix serves nothing here; `None`: it has nothing to do with the request.
fn why_direct_lost(direct: &Direct, environment: &EnvironmentEntry, path: &str) -> Option<&'static str> {
    match (direct.environment == environment.name, covers(&direct.prefix, path)) {
        (true, true) => Some("it is direct: browsers call its upstream themselves"),
        (true, false) if path.starts_with(&*direct.prefix) => Some("matches whole segments only"),
        (true, false) => Some(NOT_BELOW),
        (false, true) => Some("belongs to another environment"),
        (false, false) => None,
    }
}

/// The second name that carries a client token.
pub(in super::super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What the edge as a whole can do, for a method that it never serves.
const EDGE_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

pub(in super::super) fn allowed_methods(methods: &[Method]) -> HeaderValue {
    let mut names: Vec<&str> = Vec::with_capacity(methods.len() + 1);
    for method in methods {
        names.push(method.as_str());
        if *method == Method::GET && !methods.contains(&Method::HEAD) {
            names.push(Method::HEAD.as_str());
        }
    }
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

pub(super) fn refusal(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal { status, code, message: message.into(), headers: Vec::new(), close: false, wrong_token_from: None }
}

fn origin_not_allowed() -> Refusal {
    refusal(403, "origin_not_allowed", "pages of this origin may not call the route")
}

fn malformed_preflight() -> Refusal {
    refusal(400, "malformed_preflight", "the preflight asks for methods or headers that do not exist")
}

fn environment_unavailable() -> Refusal {
    refusal(404, "environment_unavailable", "the request names an environment that it may not have")
}

/// The gate's refusals leave the framing in doubt or the body unread: the connection ends with them.
pub(super) fn malformed(gate: GateRefusal) -> Refusal {
    let refusal = Refusal { close: true, ..refusal(gate.status, gate.code, gate.message) };
    if gate.status == 405 { refusal.with(ALLOW, HeaderValue::from_static(EDGE_METHODS)) } else { refusal }
}

impl Refusal {
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl Place {
    fn of(route: Arc<Route>) -> Self {
        Self {
            project: Some(Arc::clone(&route.project)),
            environment: Some(Arc::clone(&route.environment)),
            named: false,
            pages: route.pages.clone(),
            route: Some(route),
            session: SessionCookie::Stays,
        }
    }

    fn enter(&mut self, project: &ProjectEntry, environment: Option<&EnvironmentEntry>) {
        self.project = Some(Arc::clone(&project.name));
        self.environment = environment.map(|environment| Arc::clone(&environment.name));
        self.pages = project.pages.clone();
    }
}
