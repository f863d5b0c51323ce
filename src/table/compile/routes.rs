//! Routes: each one from what was written to what runs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use http::HeaderValue;

use crate::config::model::{
    self, Environment, HostHeader, Project, Proxy, RetryOn, SignScheme, Target, UpstreamPolicy, UpstreamUrl,
    UsernameEncoding,
};
use crate::diagnostic::{Diagnostic, Pos, Spanned};
use crate::policy::access::Access;
use crate::policy::coding::Coding;
use crate::policy::cors::Cors;
use crate::policy::limit::Ledger;
use crate::policy::page::Pages;
use crate::policy::path;
use crate::policy::retry::{Cause, Retry};
use crate::policy::sign::{self, Scheme};
use crate::sign_token::Home;

use super::super::credential::Credential;
use super::super::direct::Direct;
use super::super::identity::{Identification, Source};
use super::super::matcher::{EnvironmentEntry, Prefixed, Routes, covers};
use super::super::route::{Action, Auth, Edits, Forward, HostChoice, Route, Sign, SignNames};
use super::clients::CompiledClients;
use super::credentials::Credentials;
use super::environments::LOCAL;
use super::headers::Way;
use super::upstreams::{Upstreams, Use};
use super::{FileNames, ProjectCallers, files, headers, policies};

/// What all routes of one project have in common.
pub(super) struct ProjectScope<'c> {
    pub(super) name: Arc<str>,
    app_id: Arc<str>,
    pub(super) allow_direct: bool,
    pub(super) browser_client: bool,
    guarded: bool,
    encoding: UsernameEncoding,
    family: Arc<str>,
    /// `None`: they cannot be built, which has been reported.
    names: Option<Arc<SignNames>>,
    pub(super) pages: Option<Arc<Pages>>,
    clients: &'c CompiledClients,
    pub(super) identification: &'c Arc<Identification>,
    pub(super) files: &'c FileNames,
}

/// What is shared by routes that say the same, so that a hundred thousand of them stay small.
#[derive(Default)]
pub(super) struct Shared {
    ledger: Arc<Ledger>,
    no_edits: Arc<Edits>,
    injected: HashMap<Vec<Box<str>>, Arc<[Box<str>]>>,
    texts: HashSet<Arc<str>>,
    hosts: HashMap<String, HeaderValue>,
    codings: HashSet<Arc<[Coding]>>,
    /// Projects and schemes whose ambiguity has been looked at.
    weighed: HashSet<(Arc<str>, Scheme)>,
    /// Projects about which it has been said that no client can call them.
    closed: HashSet<Arc<str>>,
}

/// Compiles the routes of one project.
pub(super) struct Builder<'b, 's, 'u> {
    pub(super) scope: &'b ProjectScope<'s>,
    pub(super) upstreams: &'b mut Upstreams<'u>,
    pub(super) credentials: &'b mut Credentials<'u>,
    pub(super) shared: &'b mut Shared,
    pub(super) problems: &'b mut Vec<Diagnostic>,
}

impl<'c> ProjectScope<'c> {
    /// Prepares a project.
    pub(super) fn of(
        project: &Project,
        callers: &ProjectCallers<'c>,
        files: &'c FileNames,
        problems: &mut Vec<Diagnostic>,
    ) -> Self {
        let built = headers::sign_names(&project.sign_defaults, &project.name, &project.app_id, problems);
        let (family, names) =
            built.map_or_else(|| (Arc::from("x-kms-"), None), |(family, names)| (family, Some(names)));
        Self {
            name: Arc::from(project.name.as_str()),
            app_id: Arc::from(project.app_id.as_str()),
            allow_direct: project.allow_direct,
            browser_client: project.browser_client,
            guarded: project.upstream_policy == UpstreamPolicy::Guarded,
            encoding: project.sign_defaults.username_encoding,
            family,
            names,
            pages: policies::pages(&project.pages, problems),
            clients: callers.clients,
            identification: callers.identification,
            files,
        }
    }
}

impl Shared {
    /// Nothing shared yet; the limits remember in that ledger.
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, ..Self::default() }
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = Arc::from(text);
        self.texts.insert(Arc::clone(&text));
        text
    }

    fn injected(&mut self, names: Vec<Box<str>>) -> Arc<[Box<str>]> {
        Arc::clone(self.injected.entry(names).or_insert_with_key(|names| names.as_slice().into()))
    }

    fn codings(&mut self, written: &[model::Coding]) -> Option<Arc<[Coding]>> {
        if written.is_empty() {
            return None;
        }
        let codings: Vec<Coding> = written.iter().map(|coding| files::coding(*coding)).collect();
        if let Some(known) = self.codings.get(codings.as_slice()) {
            return Some(Arc::clone(known));
        }
        let codings: Arc<[Coding]> = codings.into();
        self.codings.insert(Arc::clone(&codings));
        Some(codings)
    }

    fn edits(&self, written: &model::HeaderEdits, way: Way, problems: &mut Vec<Diagnostic>) -> Arc<Edits> {
        if headers::is_empty(written) {
            return Arc::clone(&self.no_edits);
        }
        Arc::new(headers::edits(written, way, problems))
    }
}

impl<'u> Builder<'_, '_, 'u> {
    /// Compiles one environment; its routes are also appended to `all`, its direct prefixes to `all_direct`.
    pub(super) fn environment(
        &mut self,
        written: &Environment,
        all: &mut Vec<Arc<Route>>,
        all_direct: &mut Vec<Arc<Direct>>,
    ) -> EnvironmentEntry {
        let name: Arc<str> = Arc::from(written.name.as_str());
        let mut routes = Routes::with_capacity(written.routes.len());
        let mut direct: Option<Box<Routes<Direct>>> = None;
        for one in &written.routes {
            let twin = match &one.action {
                model::Action::Direct(target) => {
                    let compiled = self.direct(one, target, &name);
                    compiled.and_then(|it| keep(direct.get_or_insert_default(), it, all_direct))
                }
                _ => self.route(one, &name).and_then(|it| keep(&mut routes, it, all)),
            };
            if let Some(first) = twin {
                self.report_twin(one, &first, written);
            }
        }
        EnvironmentEntry { name, routes, direct }
    }

    fn report_twin(&mut self, one: &model::Route, first: &Twin, environment: &Environment) {
        let is_direct = |route: &model::Route| matches!(route.action, model::Action::Direct(_));
        let what = if is_direct(one) { "direct routes" } else { "routes" };
        let message = format!("environment `{}` has two {what} for `{}`", *environment.name, first.prefix);
        let problem = Diagnostic::error("duplicate_prefix", one.prefix.at, message);
        let alike =
            |other: &&model::Route| other.prefix.value == one.prefix.value && is_direct(other) == is_direct(one);
        let earlier = environment.routes.iter().find(alike);
        let problem = match earlier.filter(|earlier| earlier.prefix.at != one.prefix.at) {
            Some(earlier) => problem.related(earlier.prefix.at, "first here"),
            None => problem.hint(format!("the first is at {}", first.place)),
        };
        self.problems.push(problem);
    }

    fn route(&mut self, written: &model::Route, environment: &Arc<str>) -> Option<Route> {
        let prefix = self.prefix(&written.prefix);
        if let Some(names) = &self.scope.names {
            headers::check(written, self.carried(written), names, self.problems);
        }
        let payload = headers::payload(&written.payload, self.problems);
        let sign = self.sign(written, prefix.as_deref());
        let sensitive = written.sign.is_some()
            || written.credential.is_some()
            || !payload.is_empty()
            || headers::sets_a_credential(&written.request_headers)
            || headers::tells_who_calls(written);
        let action = self.action(written, &**environment != LOCAL && self.scope.guarded, sensitive);
        self.report_closed(written);
        Some(Route {
            project: Arc::clone(&self.scope.name),
            app_id: Arc::clone(&self.scope.app_id),
            environment: Arc::clone(environment),
            prefix: prefix?,
            file: self.scope.files.name(written.at.file),
            line: written.at.line,
            action: action?,
            auth: written.auth,
            identification: Arc::clone(self.scope.identification),
            methods: written.methods.clone(),
            access: Access::new(written.access_allow.as_deref(), &written.access_deny),
            sign: sign?,
            family: Arc::clone(&self.scope.family),
            payload,
            injected: self.shared.injected(self.injected(written)),
            request_edits: self.shared.edits(&written.request_headers, Way::Request, self.problems),
            response_edits: self.shared.edits(&written.response_headers, Way::Response, self.problems),
            timeouts: written.timeouts,
            limits: written.limits.as_ref().map(|limits| {
                let name = (&*self.scope.name, &**environment, written.prefix.as_str());
                policies::limits(&self.shared.ledger, name, limits)
            }),
            cors: self.cors(written, environment),
            pages: self.scope.pages.clone(),
            compress: self.shared.codings(&written.compress),
            retry: retry(&written.retry),
            series: OnceLock::new(),
        })
    }

    /// The names that must not survive from the client: what the route sets, and what the edge alone may say of a caller.
    fn injected(&self, written: &model::Route) -> Vec<Box<str>> {
        let mut names = headers::injected(written, self.carried(written), &self.scope.family);
        for source in &self.scope.identification.sources {
            if let Source::Header { user, name } = source {
                let said = [Some(user), name.as_ref()].into_iter().flatten();
                names.extend(said.map(|name| headers::in_family_form(name).into_boxed_str()));
            }
        }
        names
    }

    fn cors(&mut self, written: &model::Route, environment: &str) -> Option<Arc<Cors>> {
        let cors = written.cors.as_ref()?;
        Some(policies::cors(cors, written.methods.as_deref(), environment, self.problems))
    }

    /// The prefix in the spelling that requests' paths are brought into.
    pub(super) fn prefix(&mut self, written: &Spanned<String>) -> Option<Arc<str>> {
        let text = if written.len() > 1 { written.trim_end_matches('/') } else { written.as_str() };
        match path::canonical(text) {
            Ok(canonical) if covers("/.countersign", &canonical) => {
                let message = "paths below `/.countersign` belong to the edge";
                self.problems.push(Diagnostic::error("reserved_prefix", written.at, message));
                None
            }
            Ok(canonical) if canonical.starts_with('/') => Some(Arc::from(&*canonical)),
            Ok(_) => self.bad_path("prefix", written, "it does not begin with `/`"),
            Err(why) => self.bad_path("prefix", written, why.0),
        }
    }

    fn bad_path<T>(&mut self, key: &str, written: &Spanned<String>, why: &str) -> Option<T> {
        let message = format!("the {key} can match no request: {why}");
        self.problems.push(Diagnostic::error("invalid_path", written.at, message));
        None
    }

    /// `Some(None)`: the route signs nothing.
    fn sign(&mut self, written: &model::Route, prefix: Option<&str>) -> Option<Option<Sign>> {
        let Some(sign) = &written.sign else { return Some(None) };
        let scheme = match sign.scheme {
            SignScheme::UserStamp => Some(Scheme::UserStamp),
            SignScheme::UserProjectStamp => Some(Scheme::UserProjectStamp),
            SignScheme::UserProjectAppidStamp => Some(Scheme::UserProjectAppidStamp),
            SignScheme::HmacSha256 => Some(Scheme::HmacSha256),
            SignScheme::Rfc9421 => Some(Scheme::Rfc9421),
            SignScheme::None => None,
        };
        self.report_token(sign, scheme);
        if let Some(scheme) = scheme {
            self.report_ambiguity(sign, scheme);
        }
        let names = Arc::clone(self.scope.names.as_ref()?);
        let token = sign.token.as_ref().map(|token| token.value.clone());
        let in_the_file = matches!(sign.tokens.home, Home::ByHand | Home::Nowhere);
        let tokens = (!in_the_file).then(|| Box::new(sign.tokens.clone()));
        let written = written.prefix.as_str();
        let written = (prefix != Some(written)).then(|| written.into());
        Some(Some(Sign { scheme, token, tokens, written, username_encoding: self.scope.encoding, names }))
    }

    fn report_token(&mut self, sign: &model::Sign, scheme: Option<Scheme>) {
        if let Some(scheme) = scheme.filter(|scheme| scheme.binds_request() && sign.token.is_none()) {
            let message = format!("`{}` cannot be made without a token", scheme.name());
            let hint = "give `token`, at least 31 characters, which the upstream knows too";
            self.problems.push(Diagnostic::error("no_sign_token", sign.at, message).hint(hint));
        } else if scheme.is_some() && sign.token.is_none() {
            let message = "without a token anybody can make this signature";
            let hint = "give `token`, at least 31 characters, if the upstream knows one";
            self.problems.push(Diagnostic::warning("no_sign_token", sign.at, message).hint(hint));
        }
    }

    fn report_ambiguity(&mut self, sign: &model::Sign, scheme: Scheme) {
        if !self.shared.weighed.insert((Arc::clone(&self.scope.name), scheme)) {
            return;
        }
        let callers = self.scope.clients.of_project(&self.scope.name);
        let users: Vec<&str> = callers.map(|client| &*client.user).filter(|user| !user.is_empty()).collect();
        if let Some((message, hint)) = sign::ambiguity(scheme, &self.scope.name, &self.scope.app_id, &users) {
            self.problems.push(Diagnostic::warning("ambiguous_signature", sign.at, message).hint(hint));
        }
    }

    /// Says once for a project that nobody can pass its authentication.
    fn report_closed(&mut self, written: &model::Route) {
        let clients = self.scope.identification.reads_tokens()
            && self.scope.clients.of_project(&self.scope.name).next().is_some();
        let closed = written.auth == Auth::Required && !clients && !self.scope.identification.knows_others();
        if closed && self.shared.closed.insert(Arc::clone(&self.scope.name)) {
            let message = format!("no client may call project `{}`, so this route answers 401 to all", self.scope.name);
            let hint = "add a client, or set `auth: optional` or `auth: none`";
            self.problems.push(Diagnostic::warning("no_client", written.at, message).hint(hint));
        }
    }

    fn action(&mut self, written: &model::Route, guarded: bool, sensitive: bool) -> Option<Action> {
        match &written.action {
            model::Action::Proxy(proxy) => self.forward(written, proxy, guarded, sensitive),
            model::Action::Files(written) => files::compile(written, self.problems).map(Action::Files),
            model::Action::Respond { status, body } => {
                Some(Action::Respond { status: *status, body: self.shared.text(body) })
            }
            model::Action::Redirect { to, status } => {
                Some(Action::Redirect { to: self.shared.text(to), status: *status })
            }
            // Compiled by `direct`, and never a route.
            model::Action::Direct(_) => None,
        }
    }

    fn forward(&mut self, written: &model::Route, proxy: &Proxy, guarded: bool, sensitive: bool) -> Option<Action> {
        let at = match &proxy.target {
            Target::Url(url) => url.at,
            Target::Group(name) => name.at,
        };
        let upstream = self.upstreams.resolve(&proxy.target, Use { at, guarded, sensitive }, self.problems);
        let base_path = self.base_path(proxy)?;
        let host = match (&proxy.host, &proxy.target) {
            (HostHeader::Client, _) => HostChoice::Client,
            (HostHeader::Literal(name), _) => HostChoice::Fixed(self.host_value(name, at)?),
            (HostHeader::Upstream, Target::Url(url)) => HostChoice::Fixed(self.host_value(&url.authority, at)?),
            (HostHeader::Upstream, Target::Group(_)) => match upstream.as_ref().and_then(|it| it.server_name.clone()) {
                Some(name) => HostChoice::Fixed(self.host_value(&name, at)?),
                None => HostChoice::Endpoint,
            },
        };
        let credential = self.credential(written, proxy)?;
        Some(Action::Forward(Forward { upstream: upstream?, base_path, host, guarded, sensitive, credential }))
    }

    /// `Some(None)`: the route's requests carry none.
    fn credential(&mut self, written: &model::Route, proxy: &Proxy) -> Option<Option<Arc<Credential>>> {
        let Some(name) = &written.credential else { return Some(None) };
        let credential = self.credentials.resolve(name, &proxy.target, self.problems)?;
        self.report_lent(written, name);
        Some(Some(credential))
    }

    /// Whoever may call such a route does so in the account's name.
    fn report_lent(&mut self, written: &model::Route, name: &Spanned<String>) {
        if written.auth != Auth::Required && written.access_allow.is_none() {
            let message = format!("whoever reaches this route uses credential `{}`", **name);
            let hint = "set `auth: required`, or say by `access.allow` from where it may be called";
            self.problems.push(Diagnostic::warning("credential_without_auth", name.at, message).hint(hint));
        }
    }

    /// What the route's requests carry, as written.
    fn carried<'w>(&self, written: &'w model::Route) -> Option<headers::Carried<'w>>
    where
        'u: 'w,
    {
        let named = written.credential.as_ref()?;
        Some(headers::Carried { named, header: &self.credentials.written(named)?.header })
    }

    /// What replaces the prefix: a URL's path, or a group's `rewrite`. `Some(None)`: nothing does.
    fn base_path(&mut self, proxy: &Proxy) -> Option<Option<Arc<str>>> {
        let (base, at, key) = match (&proxy.target, &proxy.rewrite) {
            (Target::Url(url), _) => return self.path_of(url).map(Some),
            (Target::Group(_), Some(rewrite)) => (rewrite.as_str(), rewrite.at, "rewrite"),
            (Target::Group(_), None) => return Some(None),
        };
        self.base(base, at, key).map(Some)
    }

    /// The path of a URL, which replaces a prefix.
    pub(super) fn path_of(&mut self, url: &Spanned<UpstreamUrl>) -> Option<Arc<str>> {
        self.base(&url.path, url.at, "upstream's path")
    }

    fn base(&mut self, base: &str, at: Pos, key: &str) -> Option<Arc<str>> {
        match path::canonical(if base.is_empty() { "/" } else { base }) {
            Ok(_) if base.is_empty() || base.starts_with('/') => Some(self.shared.text(base)),
            Ok(_) => self.bad_path(key, &Spanned::new(base.to_owned(), at), "it does not begin with `/`"),
            Err(why) => self.bad_path(key, &Spanned::new(base.to_owned(), at), why.0),
        }
    }

    fn host_value(&mut self, name: &str, at: Pos) -> Option<HeaderValue> {
        if let Some(known) = self.shared.hosts.get(name) {
            return Some(known.clone());
        }
        let value = crate::policy::host::canonical(name).ok().and_then(|_| HeaderValue::from_str(name).ok());
        match &value {
            Some(value) => _ = self.shared.hosts.insert(name.to_owned(), value.clone()),
            None => {
                self.problems.push(Diagnostic::error("invalid_host", at, format!("`{name}` cannot be a Host header")))
            }
        }
        value
    }
}

/// Who has a prefix already.
struct Twin {
    prefix: Arc<str>,
    place: String,
}

/// Adds one to those of its mode, unless its prefix is taken.
fn keep<R: Prefixed>(routes: &mut Routes<R>, one: R, all: &mut Vec<Arc<R>>) -> Option<Twin> {
    let one = Arc::new(one);
    match routes.insert(Arc::clone(&one)) {
        Ok(()) => {
            all.push(one);
            None
        }
        Err(first) => Some(Twin { prefix: Arc::clone(first.prefix()), place: first.place() }),
    }
}

/// One attempt is what there is without asking.
fn retry(written: &model::Retry) -> Option<Retry> {
    let cause = |on: &RetryOn| match *on {
        RetryOn::Connect => Cause::Connect,
        RetryOn::Reset => Cause::Reset,
        RetryOn::Status(status) => Cause::Status(status),
    };
    (written.attempts > 1).then(|| Retry::new(written.attempts, written.on.iter().map(cause)))
}
