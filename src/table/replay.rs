//! What a table would make of a request of the past, and how two tables differ about it.
//!
//! Flow: [`Table::replay`] asks [`Table::decide`], which serves real requests, with who had authenticated taken for granted, as
//! `explain` does; [`Outcome::changes`] names what is different. There is no second implementation of either.
//!
//! What a request carried beyond its line and host is not known any more: a preflight is replayed as a plain OPTIONS, and a
//! redirect to https, which is the listener's, not at all.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Version};
use serde::Serialize;

use crate::clock::UnixMillis;
use crate::policy::auth::ClientIndex;
use crate::policy::request_gate::{Canonical, RequestView};
use crate::policy::sign;

use super::Table;
use super::decide::{Assumed, Decision, Identity, NoTrace};
use super::diff::same_route;
use super::own::Page;
use super::rewrite;
use super::route::{Action, Auth, Forward, HostChoice, Route};
use super::upstream::Scheme;

/// A request of the past.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// As received.
    pub method: &'a str,
    /// As received.
    pub host: &'a str,
    /// Raw, without query.
    pub path: &'a str,
    /// The environment that it named itself; `None`: none.
    pub environment: Option<&'a str>,
    /// The client that it came from; empty: none.
    pub client: &'a str,
    /// The person behind it; empty: nobody.
    pub user: &'a str,
    /// Who knew that; empty: nobody.
    pub source: &'a str,
    /// The true client address.
    pub from: IpAddr,
}

/// What a table makes of a request.
#[derive(Debug)]
pub struct Outcome {
    /// The environment that serves it.
    pub environment: Option<Arc<str>>,
    /// The route that wins.
    pub route: Option<Arc<Route>>,
    /// What becomes of it.
    pub answer: Answer,
    /// Whose identity the upstream would be told.
    user: Arc<str>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its route does it, there.
    Served(String),
    /// The edge answers with an error.
    Refused {
        /// Status.
        status: u16,
        /// Code.
        code: &'static str,
    },
    /// One of the edge's own pages.
    Own(Page),
    /// 204 by the edge.
    Options,
}

/// What is different for one request, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Whoever comes is served who had to authenticate before.
    LosesAuthentication,
    /// It was served, and no route has it.
    #[serde(rename = "becomes_404")]
    Becomes404,
    /// It was served, and its route does not take the method.
    #[serde(rename = "becomes_405")]
    Becomes405,
    /// It was served, and is forbidden.
    #[serde(rename = "becomes_403")]
    Becomes403,
    /// It was served, and whoever sent it has to authenticate.
    #[serde(rename = "becomes_401")]
    Becomes401,
    /// It was served, and is refused otherwise.
    BecomesRefused,
    /// It was refused, and is served.
    BecomesServed,
    /// It was refused, and is refused otherwise.
    OtherRefusal,
    /// Another environment serves it.
    OtherEnvironment,
    /// It goes to another upstream, or to another path there.
    GoesElsewhere,
    /// Whoever comes has to authenticate.
    GainsAuthentication,
    /// It carries another identity.
    OtherIdentity,
    /// It is signed otherwise, or not at all.
    OtherSignature,
    /// It is signed with another token.
    OtherSignToken,
    /// It carries another credential.
    OtherCredential,
    /// Other headers are set, added or removed.
    OtherHeaders,
    /// Something else of its route: limits, timeouts, retries, CORS, compression.
    OtherSettings,
}

impl Table {
    /// What becomes of a request; `None`: of one that cannot have come.
    pub fn replay(&self, asked: &Asked<'_>, now: UnixMillis) -> Option<Outcome> {
        let method = Method::from_bytes(asked.method.as_bytes()).ok()?;
        let mut headers = HeaderMap::with_capacity(1);
        headers.insert(HOST, HeaderValue::from_str(asked.host).ok()?);
        let request = RequestView {
            method: &method,
            target: asked.path,
            authority: None,
            headers: &headers,
            version: Version::HTTP_11,
            peer: asked.from,
            tls: false,
            certificate: None,
        };
        let person = Identity { user: asked.user.into(), name: asked.user.into() };
        let client = self.client_named(asked.client);
        let known = !asked.source.is_empty() && asked.client.is_empty();
        let person = known.then_some((asked.source, &person));
        let assumed = Assumed { environment: asked.environment, client, person, ..Assumed::default() };
        let (decision, canonical) = self.decide_assuming(&request, now, assumed, &mut NoTrace);
        Some(Outcome::of(decision, canonical.as_ref()))
    }

    /// Whose token it was, if tokens are still asked for.
    fn client_named(&self, name: &str) -> Option<ClientIndex> {
        let index = || self.client_entries.iter().position(|client| *client.name == *name).map(ClientIndex);
        let reads = || self.identifications().any(|identification| identification.reads_tokens());
        if name.is_empty() || !reads() { None } else { index() }
    }
}

impl Outcome {
    fn of(decision: Decision, canonical: Option<&Canonical<'_>>) -> Self {
        let nobody = Arc::from("");
        match decision {
            Decision::Admit(admitted) => {
                let route = Arc::clone(&admitted.route);
                let answer = Answer::Served(destination(&route, canonical));
                let environment = Some(Arc::clone(&route.environment));
                Self { environment, route: Some(route), answer, user: admitted.identity.user }
            }
            Decision::Refuse(refusal, place) => {
                let answer = Answer::Refused { status: refusal.status, code: refusal.code };
                Self { environment: place.environment, route: place.route, answer, user: nobody }
            }
            Decision::Own(own, place) => {
                Self { environment: place.environment, route: None, answer: Answer::Own(own.page), user: nobody }
            }
            Decision::Preflight(_, route) => {
                let environment = Some(Arc::clone(&route.environment));
                Self { environment, route: Some(route), answer: Answer::Options, user: nobody }
            }
            Decision::LogIn(asked, place) => {
                let answer = match asked.step.page() {
                    Some(page) => Answer::Own(page),
                    None => Answer::Refused { status: 302, code: "login_required" },
                };
                Self { environment: place.environment, route: place.route, answer, user: nobody }
            }
            // Nothing that is replayed has a password, or a session or token of its own.
            Decision::ServerOptions | Decision::Verify(_) | Decision::Ask(_) => {
                Self { environment: None, route: None, answer: Answer::Options, user: nobody }
            }
        }
    }

    /// The environment and prefix of its route, for people; none.
    pub fn route_name(&self) -> Option<String> {
        self.route.as_ref().map(|route| format!("{}/{}{}", route.project, route.environment, route.prefix))
    }

    /// What differs when this becomes that; empty: nothing that could be noticed.
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let mut changes = match (&self.answer, &new.answer) {
            (Answer::Refused { .. }, Answer::Refused { .. }) if self.answer == new.answer => return Vec::new(),
            (Answer::Refused { .. }, Answer::Refused { .. }) => return vec![Change::OtherRefusal],
            (Answer::Refused { .. }, _) => vec![Change::BecomesServed],
            (_, Answer::Refused { status, .. }) => return vec![becomes(*status)],
            (old, new) if old != new => vec![Change::GoesElsewhere],
            _ => Vec::new(),
        };
        if self.environment != new.environment && !matches!(self.answer, Answer::Refused { .. }) {
            changes.push(Change::OtherEnvironment);
        }
        if let (Some(old), Some(route)) = (&self.route, &new.route) {
            changes.extend(of_routes(old, route));
            if self.user != new.user && !matches!(self.answer, Answer::Refused { .. }) {
                changes.push(Change::OtherIdentity);
            }
            if changes.is_empty() && !same_route(old, route) {
                changes.push(Change::OtherSettings);
            }
        }
        changes.sort_unstable();
        changes
    }
}

fn becomes(status: u16) -> Change {
    match status {
        401 => Change::Becomes401,
        403 => Change::Becomes403,
        404 => Change::Becomes404,
        405 => Change::Becomes405,
        _ => Change::BecomesRefused,
    }
}

/// What differs between the routes of one request, beside where it goes.
fn of_routes(old: &Route, new: &Route) -> Vec<Change> {
    let differs = [
        (Change::LosesAuthentication, old.auth == Auth::Required && new.auth != Auth::Required),
        (Change::GainsAuthentication, old.auth != Auth::Required && new.auth == Auth::Required),
        (Change::OtherSignature, signature(old) != signature(new)),
        (Change::OtherSignToken, sign_token(old) != sign_token(new)),
        (Change::OtherCredential, credential(old) != credential(new)),
        (
            Change::OtherHeaders,
            old.payload != new.payload
                || old.request_edits != new.request_edits
                || old.response_edits != new.response_edits,
        ),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(change, _)| change).collect()
}

/// The scheme, and under which names.
fn signature(route: &Route) -> Option<(Option<sign::Scheme>, &super::route::SignNames)> {
    route.sign.as_ref().map(|sign| (sign.scheme, &*sign.names))
}

fn sign_token(route: &Route) -> Option<&crate::secret::Secret> {
    route.sign.as_ref()?.token.as_ref()
}

fn credential(route: &Route) -> Option<&super::credential::Credential> {
    route.forward()?.credential.as_deref()
}

/// Where a request goes, for people. Equal ones: to the same place.
fn destination(route: &Route, canonical: Option<&Canonical<'_>>) -> String {
    match &route.action {
        Action::Forward(forward) => upstream(route, forward, canonical),
        Action::Files(files) => format!("files below {}", files.root.display()),
        Action::Respond { status, .. } => format!("fixed answer {}", status.as_u16()),
        Action::Redirect { to, status } => format!("redirect {} to {to}", status.as_u16()),
    }
}

fn upstream(route: &Route, forward: &Forward, canonical: Option<&Canonical<'_>>) -> String {
    let scheme = match forward.upstream.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let target = canonical.map(|canonical| rewrite::target(route, canonical)).unwrap_or_default();
    let endpoints: Vec<&str> = forward.upstream.endpoints.iter().map(|endpoint| &*endpoint.label).collect();
    let endpoints = match endpoints.as_slice() {
        [one] if **one == *forward.upstream.name => String::new(),
        several => format!(" ({})", several.join(", ")),
    };
    let host = match &forward.host {
        HostChoice::Fixed(host) if forward.upstream.endpoints.iter().any(|endpoint| endpoint.authority == *host) => {
            String::new()
        }
        HostChoice::Fixed(host) => format!(" as {}", String::from_utf8_lossy(host.as_bytes())),
        HostChoice::Endpoint => String::new(),
        HostChoice::Client => " as the client's host".to_owned(),
    };
    format!("{scheme}://{}{target}{endpoints}{host}", forward.upstream.name)
}
