//! `explain`: the decision and the plan for one request, for people and as JSON. Secrets masked.
//!
//! Flow: the question becomes the head that a client would have sent; [`Table::decide`] and [`rewrite::plan`], which serve real requests,
//! are asked about it, and what they say on the way is written down. There is no second implementation of either.

mod choice;
mod credential;
mod people;
mod question;
#[cfg(test)]
mod tests;
mod to_https;

use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::clock::UnixMillis;
use crate::oidc::Renewed;
use crate::policy::coding;
use crate::policy::request_gate::{Canonical, RequestView};
use crate::policy::{sign, trace};
use crate::users::Outcome;

pub use question::Question;

use super::Table;
use super::decide::{API_KEY, Admitted, Assumed, Decision, Learned, LogInRequest, NOT_BELOW, Refusal, Step, Trace};
use super::direct::Direct;
use super::rewrite::{self, Plan};
use super::route::{Action, Edits, Files, Filled, Forward, Mode, Route};
use super::upstream::Scheme;
use super::variables::Ids;

/// The interface page's JSON, and a little more.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Explanation {
    /// `routed` or `refused`.
    pub outcome: &'static str,
    /// Of the answer that the edge gives by itself; `None`: the upstream's decides.
    pub status: Option<u16>,
    /// The error code of a refusal.
    pub code: Option<&'static str>,
    /// What the client is told about a refusal.
    pub message: Option<String>,
    /// The project that has the host.
    pub project: Option<String>,
    /// The environment that was chosen.
    pub environment: Option<String>,
    /// What chose it.
    pub environment_rule: Option<String>,
    /// The winner.
    pub route: Option<Place>,
    /// The other routes, and why each lost.
    pub candidates: Vec<Candidate>,
    /// How many more there are that have nothing to do with the path.
    pub candidates_omitted: usize,
    /// Where the request goes.
    pub upstream_url: Option<String>,
    /// The upstream's name.
    pub upstream: Option<String>,
    /// All endpoints that share the requests; `upstream_url` shows the one that a hash chooses, else the first that is up.
    pub endpoints: Vec<String>,
    /// The Host header that the upstream gets.
    pub host: Option<String>,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// What each policy says, in order.
    pub verdicts: Vec<Verdict>,
    /// What happens to the request's head on its way to the upstream.
    pub headers: Changes,
    /// What the route does to the response's head; of a refusal: the answer's own headers.
    pub response_headers: Changes,
    /// The signature.
    pub sign: Option<Signature>,
    /// The table that was asked.
    pub generation: u64,
    /// The question, for people.
    #[serde(skip)]
    asked: String,
}

/// A route, and where it is written.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Place {
    /// Its prefix.
    pub prefix: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// A route that lost.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Candidate {
    /// Its prefix.
    pub prefix: String,
    /// Why.
    pub lost: &'static str,
    /// Its environment.
    pub environment: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// What one policy says.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Verdict {
    /// Which.
    pub policy: &'static str,
    /// `pass`, `skip`, `answer` or `refuse`.
    pub verdict: &'static str,
    /// Why.
    pub detail: String,
}

/// Changes to a head.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Changes {
    /// Set, replacing; a JSON object.
    pub set: Fields,
    /// Appended; a JSON object.
    pub added: Fields,
    /// Names that go.
    pub removed: Vec<String>,
}

/// Header fields in order; as JSON an object.
#[derive(Clone, Debug, Default)]
pub struct Fields(pub Vec<(String, String)>);

/// What is signed.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Signature {
    /// The configuration's word for the scheme.
    pub scheme: &'static str,
    /// The base string, the token masked; none for `scheme: none`.
    pub base: Option<String>,
}

/// Explains.
///
/// # Errors
/// What is wrong with the question itself (a URL that is none, a client that does not exist).
pub fn explain(table: &Table, question: &Question, now: UnixMillis) -> Result<Explanation, String> {
    let head = question.head(table)?;
    let client = question.client_of(table)?;
    let assumed = Assumed { environment: question.environment.as_deref(), client, ..Assumed::default() };
    let request = head.view(question);
    let about = Explanation::about(question, table);
    if let Some(sent) = about.to_https(table, question, &request) {
        return Ok(sent);
    }
    let mut notes = Notes(about);
    let mut learned = Learned::default();
    let (mut decision, mut canonical) = table.decide_assuming(&request, now, assumed, &mut notes);
    if let Decision::Verify(login) = &decision {
        // Nobody waits for this but the one who asks; and looking counts as no guess.
        let right = login.users.verify(&login.user, &login.password);
        let password = Some(if right { Outcome::Right } else { Outcome::Wrong });
        learned = Learned { password, ..learned };
        notes = Notes(Explanation::about(question, table));
        (decision, canonical) = table.decide_assuming(&request, now, Assumed { learned, ..assumed }, &mut notes);
    }
    if let Decision::Ask(_) = &decision {
        // Nobody is asked for an explanation: a session is taken to go on, a key to be out of reach.
        let asked = notes.0.verdicts.pop();
        learned = Learned { session: Some(&Renewed::Later), keys: Some(false), ..learned };
        notes = Notes(Explanation::about(question, table));
        (decision, canonical) = table.decide_assuming(&request, now, Assumed { learned, ..assumed }, &mut notes);
        let verdicts = &mut notes.0.verdicts;
        let place = verdicts.iter().position(|verdict| verdict.policy == "auth").unwrap_or(verdicts.len());
        verdicts.splice(place..place, asked);
    }
    let mut explanation = notes.0;
    match (decision, canonical) {
        (Decision::Refuse(refusal, _), _) => explanation.refused(refusal),
        (Decision::Admit(admitted), Some(canonical)) => match admitted.check_length(request.headers) {
            Ok(()) => explanation.admitted(table, &admitted, &request, &canonical, now),
            Err(refusal) => explanation.too_large(refusal),
        },
        (Decision::Preflight(headers, _), _) => explanation.preflight(&headers),
        (Decision::Own(..), _) => explanation.status = Some(200),
        (Decision::LogIn(asked, _), _) => explanation.log_in(&asked),
        (Decision::ServerOptions | Decision::Admit(_) | Decision::Verify(_) | Decision::Ask(_), _) => {
            explanation.status = Some(204);
        }
    }
    Ok(explanation)
}

/// Writes down what the decision says on its way.
struct Notes(Explanation);

/// As many routes as are shown that have nothing to do with the path.
const UNRELATED_SHOWN: usize = 32;

impl Trace for Notes {
    fn project(&mut self, name: &str) {
        self.0.project = Some(name.to_owned());
    }

    fn environment(&mut self, name: &str, rule: std::fmt::Arguments<'_>) {
        self.0.environment = Some(name.to_owned());
        self.0.environment_rule = Some(rule.to_string());
    }

    fn candidate(&mut self, route: &Arc<Route>, lost: &'static str) {
        self.lost(Place::of(route), &route.environment, lost);
    }

    fn direct(&mut self, direct: &Direct, lost: &'static str) {
        let place = Place { prefix: direct.prefix.to_string(), file: direct.file.to_string(), line: direct.line };
        self.lost(place, &direct.environment, lost);
    }

    fn winner(&mut self, route: &Arc<Route>) {
        self.0.route = Some(Place::of(route));
    }

    fn verdict(&mut self, policy: &'static str, verdict: &'static str, detail: std::fmt::Arguments<'_>) {
        self.0.verdicts.push(Verdict { policy, verdict, detail: detail.to_string() });
    }
}

impl Notes {
    fn lost(&mut self, place: Place, environment: &str, lost: &'static str) {
        let unrelated = |candidate: &&Candidate| candidate.lost == NOT_BELOW;
        if lost == NOT_BELOW && self.0.candidates.iter().filter(unrelated).count() >= UNRELATED_SHOWN {
            self.0.candidates_omitted += 1;
            return;
        }
        let Place { prefix, file, line } = place;
        self.0.candidates.push(Candidate { prefix, lost, environment: environment.to_owned(), file, line });
    }
}

impl Place {
    fn of(route: &Route) -> Self {
        Self { prefix: route.prefix.to_string(), file: route.file.to_string(), line: route.line }
    }
}

impl Explanation {
    /// Whether the request would be refused.
    pub fn is_refused(&self) -> bool {
        self.outcome == REFUSED
    }

    fn about(question: &Question, table: &Table) -> Self {
        Self {
            outcome: ROUTED,
            status: None,
            code: None,
            message: None,
            project: None,
            environment: None,
            environment_rule: None,
            route: None,
            candidates: Vec::new(),
            candidates_omitted: 0,
            upstream_url: None,
            upstream: None,
            endpoints: Vec::new(),
            host: None,
            location: None,
            verdicts: Vec::new(),
            headers: Changes::default(),
            response_headers: Changes::default(),
            sign: None,
            generation: table.generation,
            asked: format!("{} {} from {}", question.method, question.url, question.from),
        }
    }

    fn refused(&mut self, refusal: Refusal) {
        self.outcome = REFUSED;
        self.status = Some(refusal.status);
        self.code = Some(refusal.code);
        self.message = Some(refusal.message.into_owned());
        self.response_headers.set = fields(&refusal.headers, |_, _| false);
    }

    /// The very address is made for each log-in.
    fn log_in(&mut self, asked: &LogInRequest) {
        self.status = Some(302);
        self.location = Some(asked.log_in.settings.issuer.clone());
        if asked.step == Step::Needed {
            self.outcome = REFUSED;
            self.code = Some("login_required");
            self.message = Some("a browser is sent to log in first".to_owned());
        }
    }

    fn too_large(&mut self, refusal: Refusal) {
        let detail = refusal.message.clone().into_owned();
        self.verdicts.push(Verdict { policy: "limits", verdict: "refuse", detail });
        self.refused(refusal);
    }

    fn preflight(&mut self, headers: &[(HeaderName, HeaderValue)]) {
        self.status = Some(204);
        self.response_headers.set = fields(headers, |_, _| false);
    }

    fn admitted(
        &mut self,
        table: &Table,
        admitted: &Admitted,
        request: &RequestView<'_>,
        canonical: &Canonical<'_>,
        now: UnixMillis,
    ) {
        self.response_headers = response_changes(&admitted.route.response_edits);
        if let Some(cors) = &admitted.route.cors {
            let told = fields(&cors.answer(request.headers), |_, _| false);
            self.response_headers.set.0.splice(0..0, told.0);
            self.response_headers.added.0.push(("vary".to_owned(), "origin".to_owned()));
        }
        self.verdicts.extend(compress_verdict(&admitted.route, request));
        match &admitted.route.action {
            Action::Files(files) => self.served(files, admitted, canonical),
            Action::Respond { status, .. } => self.status = Some(status.as_u16()),
            Action::Redirect { to, status } => {
                self.status = Some(status.as_u16());
                self.location = Some(rewrite::redirect_location(to, admitted, canonical));
            }
            Action::Forward(forward) => self.forwarded(table, admitted, forward, request, canonical, now),
        }
    }

    fn forwarded(
        &mut self,
        table: &Table,
        admitted: &Admitted,
        forward: &Forward,
        request: &RequestView<'_>,
        canonical: &Canonical<'_>,
        now: UnixMillis,
    ) {
        let key = forward.upstream.key(admitted, request, canonical);
        let choice = choice::choose(&forward.upstream, key, now);
        self.verdicts.extend(choice.verdict);
        if choice.endpoint.is_none() {
            (self.outcome, self.status, self.code) = (REFUSED, Some(503), Some("upstream_unhealthy"));
        }
        let Some(endpoint) = choice.endpoint.or(forward.upstream.endpoints.first()) else { return };
        self.verdicts.extend(credential::verdict(forward));
        let Some(destination) = credential::destination(forward, endpoint) else { return };
        let ids = Ids { request: ONE_EACH, new_trace: ANY_TRACE };
        let mut plan = rewrite::plan(table, admitted, request, canonical, destination, now, ids);
        let begun = trace::begun(ANY_TRACE);
        for (_, value) in plan.set.iter_mut().filter(|(_, value)| begun.as_ref() == Some(value)) {
            *value = HeaderValue::from_static(ONE_EACH);
        }
        let scheme = match forward.upstream.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        self.upstream_url = Some(format!("{scheme}://{}{}", text(&endpoint.authority), plan.target));
        self.upstream = Some(forward.upstream.name.to_string());
        self.endpoints = forward.upstream.endpoints.iter().map(|endpoint| endpoint.label.to_string()).collect();
        self.host = plan.host.as_ref().map(text);
        self.sign = signature(admitted, request, &plan, ids, now);
        self.headers = request_changes(&admitted.route, plan, request);
    }
}

/// Stands for what is drawn for each request.
const ONE_EACH: &str = "one-for-each-request";
/// Digits for a trace that is never begun.
const ANY_TRACE: &str = "0123456789abcdef0123456789abcdef";
impl Explanation {
    /// By name alone: the disk is not asked.
    fn served(&mut self, files: &Files, admitted: &Admitted, canonical: &Canonical<'_>) {
        let Some(wanted) = rewrite::file(admitted, canonical) else {
            let detail = "names that begin with a dot are never served".to_owned();
            self.verdicts.push(Verdict { policy: "files", verdict: "refuse", detail });
            (self.outcome, self.status, self.code) = (REFUSED, Some(404), Some("file_not_found"));
            self.message = Some("there is no such file".to_owned());
            return;
        };
        let path = String::from_utf8_lossy(&wanted.path).into_owned();
        let what = match (wanted.as_directory, path.as_str()) {
            (true, "") => format!("{} of the root", index(files)),
            (true, path) => format!("{} of the directory {path}", index(files)),
            (false, "") => "the root itself, which gets a slash by 308".to_owned(),
            (false, path) => format!("{path}, if it is there (308 to it with a slash, if it is a directory)"),
        };
        let otherwise = files.fallback.as_ref().map_or("else 404".to_owned(), |fallback| format!("else {fallback}"));
        let detail = format!("{what}; {otherwise}; below {}", files.root.display());
        self.verdicts.push(Verdict { policy: "files", verdict: "answer", detail });
    }
}

fn index(files: &Files) -> &str {
    if files.index.is_empty() { "no index" } else { &files.index }
}

fn compress_verdict(route: &Route, request: &RequestView<'_>) -> Option<Verdict> {
    let accepted = coding::accepted(request.headers, route.compress.as_ref()?);
    Some(match accepted.first() {
        Some(coding) => {
            let detail = format!("{}, if the answer is text and not small", coding.name());
            Verdict { policy: "compress", verdict: "pass", detail }
        }
        None => {
            let detail = "the client takes none of the route's codings".to_owned();
            Verdict { policy: "compress", verdict: "skip", detail }
        }
    })
}

const ROUTED: &str = "routed";
const REFUSED: &str = "refused";

fn signature(
    admitted: &Admitted,
    request: &RequestView<'_>,
    plan: &Plan,
    ids: Ids<'_>,
    now: UnixMillis,
) -> Option<Signature> {
    let route = &*admitted.route;
    let sign = route.sign.as_ref()?;
    let username = plan.set.iter().find(|(name, _)| *name == sign.names.username).map(|(_, value)| value);
    let message = rewrite::message(sign, request, ids, username, plan);
    let claims = rewrite::claims(admitted, route, now);
    let base = sign.scheme.map(|scheme| sign::masked_base(scheme, &claims, &message, sign.token.as_ref()));
    Some(Signature { scheme: sign.scheme.map_or("none", sign::Scheme::name), base })
}

fn request_changes(route: &Route, plan: Plan, request: &RequestView<'_>) -> Changes {
    let masked = |name: &HeaderName, value: &HeaderValue| {
        value.is_sensitive()
            || is_credential(name)
            || route.sign.as_ref().is_some_and(|sign| sign.names.sign == *name || *name == rewrite::SIGNATURE)
    };
    let mut removed: Vec<String> = plan.remove.iter().map(ToString::to_string).collect();
    removed.extend(rewrite::of_one_hop(request.headers).iter().map(ToString::to_string));
    removed.sort_unstable();
    removed.dedup();
    Changes { set: fields(&plan.set, masked), added: fields(&plan.add, masked), removed }
}

fn response_changes(edits: &Edits) -> Changes {
    let shown = |_: &HeaderName, value: &HeaderValue| value.is_sensitive();
    let removed = edits.remove.iter().map(ToString::to_string).collect();
    let mut changes = Changes { set: fields(&edits.set, shown), added: fields(&edits.add, shown), removed };
    for Filled { name, mode, value } in &edits.filled {
        let value = if value.is_sensitive() { "***".to_owned() } else { value.to_string() };
        let fields = if *mode == Mode::Set { &mut changes.set } else { &mut changes.added };
        fields.0.push((name.to_string(), value));
    }
    changes
}

/// Names whose values are secrets by their nature.
fn is_credential(name: &HeaderName) -> bool {
    *name == AUTHORIZATION || *name == PROXY_AUTHORIZATION || *name == COOKIE || *name == API_KEY
}

fn fields(pairs: &[(HeaderName, HeaderValue)], masked: impl Fn(&HeaderName, &HeaderValue) -> bool) -> Fields {
    let shown = |name: &HeaderName, value: &HeaderValue| {
        if masked(name, value) { "***".to_owned() } else { text(value) }
    };
    Fields(pairs.iter().map(|(name, value)| (name.to_string(), shown(name, value))).collect())
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

impl Serialize for Fields {
    /// Several values of one name are joined as HTTP joins them (RFC 9110 §5.3).
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut joined: Vec<(&str, String)> = Vec::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            match joined.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) => *values = format!("{values}, {value}"),
                None => joined.push((name, value.clone())),
            }
        }
        let mut map = serializer.serialize_map(Some(joined.len()))?;
        for (name, value) in joined {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}
