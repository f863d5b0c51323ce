//! What the variables of header values stand for in one request.

use std::fmt::Write as _;

use crate::clock::UnixMillis;
use crate::policy::forward;
use crate::policy::request_gate::{Canonical, RequestView};
use crate::policy::template::{Values, Variable};
use crate::policy::trace;

use super::Table;
use super::decide::Admitted;

/// The two ids of a request.
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a> {
    /// What `x-request-id` says.
    pub request: &'a str,
    /// 32 random hex digits, for a trace that begins here.
    pub new_trace: &'a str,
}

impl<'a> From<&'a str> for Ids<'a> {
    fn from(request: &'a str) -> Self {
        Self { request, new_trace: request }
    }
}

/// One admitted request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The table that decided.
    pub table: &'a Table,
    /// What it decided.
    pub admitted: &'a Admitted,
    /// The head.
    pub request: &'a RequestView<'a>,
    /// Its meaning.
    pub canonical: &'a Canonical<'a>,
    /// Its ids.
    pub ids: Ids<'a>,
    /// Now.
    pub now: UnixMillis,
    /// What the upstream answered; `None` on the way there, and for the edge's own answers.
    pub upstream_status: Option<u16>,
}

impl Values for Facts<'_> {
    fn push(&self, variable: Variable, out: &mut String) {
        let Self { admitted, request, canonical, .. } = self;
        match variable {
            Variable::ClientIp => _ = write!(out, "{}", admitted.client_ip),
            Variable::Host => out.push_str(&canonical.host),
            Variable::Scheme => out.push_str(forward::x_forwarded_proto(
                request.tls,
                request.peer,
                request.headers,
                &self.table.trusted_proxies,
            )),
            Variable::Method => out.push_str(request.method.as_str()),
            Variable::Path => out.push_str(canonical.raw_path),
            Variable::Query => out.push_str(canonical.query.unwrap_or_default()),
            Variable::RequestId => out.push_str(self.ids.request),
            Variable::TraceId => {
                out.push_str(trace::named(request.headers).map_or(self.ids.new_trace, trace::TraceId::as_str));
            }
            Variable::User => out.push_str(&admitted.identity.user),
            Variable::Client => out.push_str(admitted.client.as_ref().map_or("", |client| &client.name)),
            Variable::Project => out.push_str(&admitted.route.project),
            Variable::Environment => out.push_str(&admitted.route.environment),
            Variable::Route => out.push_str(&admitted.route.prefix),
            Variable::UnixMs => _ = write!(out, "{}", self.now),
            Variable::UpstreamStatus => _ = self.upstream_status.map(|status| write!(out, "{status}")),
        }
    }
}
