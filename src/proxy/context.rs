//! What one request carries from its arrival to its record.
//!
//! The context's end is the request's end: whatever becomes of it (answered, aborted, cut, panicked), dropping the context
//! takes it out of the in-flight count and, if nobody did before, writes its record.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::attempt::Attempts;
use super::clocks::Fault;
use super::credential::Carried;
use super::downstream::Downstream;
use super::encoder::Encoder;
use super::engine::Shared;
use super::failure::{self, Failure};
use super::peer::Leased;
use super::respond::{Problem, RequestLine};
use crate::clock::{self, UnixMillis};
use crate::id::RequestId;
use crate::observe::event::{End, RequestEnd};
use crate::policy::forward;
use crate::policy::limit::Permit;
use crate::policy::page::Pages;
use crate::policy::trace::{self, TraceId};
use crate::table::own;
use crate::table::route::Forward;
use crate::table::{Admitted, Place, Route, Table};

/// One request.
#[derive(Debug)]
pub struct Context {
    shared: Arc<Shared>,
    /// Its id.
    pub id: RequestId,
    /// The table that it sees, from its arrival to its end.
    pub table: Arc<Table>,
    /// The client's side of it.
    pub downstream: Option<Downstream>,
    /// The proof that it may go upstream.
    pub admitted: Option<Admitted>,
    /// Its route, as soon as one is found.
    pub route: Option<Arc<Route>>,
    /// How far it had come when it was refused.
    pub place: Place,
    /// Random digits: the id of a trace that begins with this request.
    pub new_trace: RequestId,
    /// Whether it does.
    pub begins_trace: bool,
    /// Leave to be in flight, given back with the context.
    pub permit: Option<Permit>,
    /// The endpoint of the attempt under way.
    pub leased: Option<Leased>,
    /// What goes to it beside the request; given back with the context.
    pub carried: Carried,
    /// How it failed, if it did.
    pub failure: Option<Failure>,
    /// More about the failure, for the log.
    pub detail: String,
    /// The code of an answer of the edge's own.
    pub refused: Option<&'static str>,
    /// Whether its query holds what no log may show, however much a log shows otherwise.
    pub secret_query: bool,
    /// What the browser is to keep of its session, whatever it is answered.
    pub cookies: Vec<HeaderValue>,
    /// At its upstream.
    pub attempts: Attempts,
    /// Whether the upstream connection came from the pool.
    pub reused: Option<bool>,
    /// What the upstream answered.
    pub upstream_status: Option<StatusCode>,
    /// Interim answers (1xx) of the upstream so far.
    pub interim: u32,
    /// When the response head went out.
    pub first_byte: Option<Duration>,
    /// What the client was answered, as far as it got.
    pub status: Option<StatusCode>,
    /// Of the request's body, so far.
    pub bytes_in: u64,
    /// Of the response's body, so far.
    pub bytes_out: u64,
    /// By which the response's body is compressed on its way.
    pub encoder: Option<Encoder>,
    compresses: bool,
    streaming: bool,
    recorded: bool,
    started: Instant,
    started_at: u64,
}

impl Context {
    /// A request whose head has just been read.
    pub fn new(shared: &Arc<Shared>) -> Self {
        shared.live().in_flight.fetch_add(1, Ordering::AcqRel);
        let id = RequestId::fresh();
        Self {
            shared: Arc::clone(shared),
            new_trace: id.clone(),
            id,
            place: Place::default(),
            begins_trace: false,
            permit: None,
            table: shared.table(),
            downstream: None,
            admitted: None,
            route: None,
            leased: None,
            carried: Carried::default(),
            failure: None,
            detail: String::new(),
            refused: None,
            secret_query: false,
            cookies: Vec::new(),
            attempts: Attempts::default(),
            reused: None,
            upstream_status: None,
            interim: 0,
            first_byte: None,
            status: None,
            bytes_in: 0,
            bytes_out: 0,
            encoder: None,
            compresses: false,
            streaming: false,
            recorded: false,
            started: Instant::now(),
            started_at: clock::unix_micros(),
        }
    }

    /// Ties the request to its client.
    pub fn arrive(&mut self, downstream: Downstream) {
        downstream.arrive();
        self.downstream = Some(downstream);
    }

    /// Every policy has admitted it.
    pub fn admit(&mut self, admitted: Admitted) {
        self.route = Some(Arc::clone(&admitted.route));
        self.admitted = Some(admitted);
    }

    /// The project's own error pages.
    pub fn pages(&self) -> Option<&Pages> {
        self.route.as_ref().map_or(self.place.pages.as_deref(), |route| route.pages.as_deref())
    }

    /// When its head had arrived.
    pub fn arrived(&self) -> UnixMillis {
        self.started_at / 1000
    }

    /// Whether its body has grown beyond what its route takes. (What flows in a tunnel is no body.)
    pub fn is_too_large(&self) -> bool {
        let most = self.admitted.as_ref().and_then(Admitted::largest_body);
        most.is_some_and(|most| self.bytes_in > most) && self.upstream_status != Some(StatusCode::SWITCHING_PROTOCOLS)
    }

    /// Where its route forwards to.
    pub fn forward(&self) -> Option<&Forward> {
        self.route.as_ref()?.forward()
    }

    /// What was found out about its two sides.
    pub fn fault(&self) -> Option<Fault> {
        self.downstream.as_ref()?.fault()
    }

    /// The response head goes out now.
    pub fn answering(&mut self) {
        self.first_byte.get_or_insert_with(|| self.started.elapsed());
    }

    /// Whether its answer may be compressed, as far as its connection is concerned. Counts until the request is over.
    pub fn may_compress(&mut self) -> bool {
        self.compresses = self.compresses || self.downstream.as_ref().is_some_and(|it| it.connection().may_compress());
        self.compresses
    }

    /// It is not compressed after all.
    pub fn goes_as_it_is(&mut self) {
        if std::mem::take(&mut self.compresses)
            && let Some(downstream) = &self.downstream
        {
            downstream.connection().compressed();
        }
    }

    /// The response has no end that could be known in advance.
    pub fn open_stream(&mut self) {
        if !self.streaming {
            self.streaming = true;
            self.shared.live().streams_open.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Writes the record of a request that ended under Pingora's eyes.
    pub fn record(&mut self, session: &Session) {
        let request = session.req_header();
        let facts = Facts { client_ip: self.client_of(&request.headers), ..Facts::of(request) };
        let status = session.response_written().map_or(0, |head| head.status.as_u16());
        let bytes_in = u64::try_from(session.body_bytes_read()).unwrap_or(0);
        let bytes_out = u64::try_from(session.body_bytes_sent()).unwrap_or(0);
        self.recorded = true;
        self.emit(&facts, status, bytes_in, bytes_out);
    }

    /// Whose request it is, also when nothing was decided: trusted proxies are believed in the record of a refusal as well.
    fn client_of(&self, headers: &HeaderMap) -> Option<IpAddr> {
        if let Some(admitted) = &self.admitted {
            return Some(admitted.client_ip);
        }
        let peer = self.downstream.as_ref()?.connection().peer().ip();
        Some(forward::client_address(peer, headers, &self.table.trusted_proxies))
    }

    /// The request was given up: the client is told, if nothing was said yet, and the record says what is known.
    fn abandon(&mut self) {
        let Some(downstream) = self.downstream.clone() else { return };
        let failure = match downstream.fault() {
            _ if downstream.is_cut() => failure::DRAINED,
            Some(fault) => failure::of_fault(fault),
            None => failure::INTERNAL,
        };
        if std::thread::panicking() {
            // The request's task dies with it: there is nobody left to end it well.
            downstream.reset();
        } else if !downstream.begun() && failure.status > 0 {
            let problem = Problem { status: failure.status, code: failure.code, message: failure.message };
            self.bytes_out = downstream.answer_past_the_engine(&problem, &self.id).try_into().unwrap_or(0);
            self.status = StatusCode::from_u16(failure.status).ok();
        }
        self.failure.get_or_insert(failure);
    }

    fn emit(&self, facts: &Facts<'_>, status: u16, bytes_in: u64, bytes_out: u64) {
        let route = self.route.as_deref();
        let admitted = self.admitted.as_ref();
        let upstream = self.leased.as_ref().and(self.forward()).map_or("", |forward| &*forward.upstream.name);
        let connection = self.downstream.as_ref().map(Downstream::connection);
        let peer = connection.map(|connection| connection.peer().ip().to_canonical());
        let event = RequestEnd {
            started: self.started_at,
            duration: self.started.elapsed(),
            first_byte: self.first_byte,
            request_id: self.id.as_str(),
            listener: connection.map_or("", |connection| &connection.listener.name),
            client_ip: facts.client_ip.or(peer).unwrap_or([0, 0, 0, 0].into()),
            method: facts.method,
            host: facts.host,
            path: facts.path,
            query: facts.query.filter(|_| !self.secret_query),
            protocol: facts.protocol,
            status,
            bytes_in,
            bytes_out,
            project: route.map(|route| &*route.project).or(self.place.project.as_deref()).unwrap_or_default(),
            environment: route
                .map(|route| &*route.environment)
                .or(self.place.environment.as_deref())
                .unwrap_or_default(),
            environment_named: admitted.map_or(self.place.named, |admitted| admitted.environment_named),
            route: route.map_or("", |route| &route.prefix),
            generation: self.table.generation,
            client: admitted.and_then(|admitted| admitted.client.as_ref()).map_or("", |client| &client.name),
            user: admitted.map_or("", |admitted| &admitted.identity.user),
            source: admitted.map_or("", |admitted| admitted.source),
            upstream,
            endpoint: self.leased.as_ref().map_or("", |leased| &leased.0.label),
            upstream_status: self.upstream_status.map(|status| status.as_u16()),
            attempts: self.attempts.made,
            reused: self.reused,
            token: self.carried.token(),
            end: self.end(),
            code: self.code(),
            detail: &self.detail,
            referer: facts.referer,
            user_agent: facts.user_agent,
            trace_id: facts.trace.map_or_else(|| self.own_trace(), TraceId::as_str),
        };
        let unmatched = self.shared.observer().metrics.unmatched();
        let series = route.map_or(unmatched, |route| self.shared.series(route));
        self.shared.observer().request_end(series, &event);
    }

    fn own_trace(&self) -> &str {
        if self.begins_trace { self.new_trace.as_str() } else { "" }
    }

    fn end(&self) -> End {
        match (&self.failure, self.refused) {
            (Some(failure), _) => failure.end,
            (None, Some(_)) => End::Refused,
            (None, None) => End::Ok,
        }
    }

    fn code(&self) -> &'static str {
        self.failure.as_ref().map(|failure| failure.code).or(self.refused).unwrap_or("")
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if !self.recorded {
            self.abandon();
            self.shared.count_attempt(self);
            let downstream = self.downstream.clone();
            let status = self.status.map_or(0, |status| status.as_u16());
            let facts = downstream.as_ref().map(Facts::of_downstream).unwrap_or_default();
            let client_ip = self.admitted.as_ref().map(|admitted| admitted.client_ip);
            let facts = Facts { client_ip, ..facts };
            self.emit(&facts, status, self.bytes_in, self.bytes_out);
        }
        self.goes_as_it_is();
        let live = self.shared.live();
        if self.streaming {
            live.streams_open.fetch_sub(1, Ordering::AcqRel);
        }
        live.in_flight.fetch_sub(1, Ordering::AcqRel);
        live.ended.notify_waiters();
    }
}

/// What the record says of the request's head.
#[derive(Default)]
struct Facts<'a> {
    method: &'a str,
    host: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    protocol: &'static str,
    referer: Option<&'a str>,
    user_agent: Option<&'a str>,
    trace: Option<TraceId<'a>>,
    /// `None`: what is known of the connection has to do.
    client_ip: Option<IpAddr>,
}

impl<'a> Facts<'a> {
    fn of(request: &'a RequestHeader) -> Self {
        let target = std::str::from_utf8(request.raw_path()).unwrap_or_default();
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Self {
            method: request.method.as_str(),
            host: text(&request.headers, &header::HOST).unwrap_or_default(),
            path,
            // What comes to the pages of our own is made of codes and grants.
            query: query.filter(|_| !path.starts_with(own::PREFIX)),
            protocol: protocol(request.version),
            referer: text(&request.headers, &header::REFERER),
            user_agent: text(&request.headers, &header::USER_AGENT),
            trace: trace::named(&request.headers),
            client_ip: None,
        }
    }

    /// Of a request that is gone with its session.
    fn of_downstream(downstream: &'a Downstream) -> Self {
        let (version, RequestLine { method, path, query }) = downstream.request_line();
        Self { method, path, query, protocol: protocol(version), ..Self::default() }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}
