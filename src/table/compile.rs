//! [`Model`] -> [`Table`]: resolves every reference, builds every policy, and refuses what cannot be served.
//!
//! Flow: names are gathered first (`suggest`), then each kind of thing is compiled by its own file: `clients`, `credentials`, `hosts` (who
//! owns which host), `upstreams` (groups, URL authorities, what a guarded project may reach), `environments` (the rules that choose
//! one), `tls` (what listeners present) and `routes` with their `headers`. All problems of all parts come back together.
//!
//! Invariants: with an error there is no table, so nothing half-built is ever served; no message holds a secret.

mod acme;
mod ca;
mod client_certificate;
mod clients;
mod credentials;
mod direct;
mod environments;
mod files;
mod headers;
mod hosts;
mod identity;
mod policies;
mod routes;
mod sign_tokens;
mod suggest;
#[cfg(test)]
mod tests;
mod tls;
mod upstreams;

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::UnixMillis;
use crate::config::{Model, Sources};
use crate::diagnostic::{Diagnostic, FileId};
use crate::policy::access::Networks;

use super::decide::Identity;
use super::identity::Identification;
use super::matcher::{Matcher, ProjectEntry};
use super::{Direct, Route, StartedWith, Table};

/// What one compilation yields.
#[derive(Debug)]
pub struct Compiled {
    /// There when no diagnostic is an error.
    pub table: Option<Table>,
    /// Errors and warnings of this walk (those of reading are not repeated).
    pub diagnostics: Vec<Diagnostic>,
    /// Files outside of the configuration whose mending may mend it.
    pub mendable: Vec<PathBuf>,
}

/// Which table this will be.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// Its number.
    pub generation: u64,
    /// Digest of everything read.
    pub sha256: [u8; 32],
    /// When.
    pub now: UnixMillis,
}

/// Compiles. `previous` lends the endpoints' counters and what the limits remember.
pub fn compile(model: Model, sources: &Sources, stamp: Stamp, previous: Option<&Table>) -> Compiled {
    let mut problems = Vec::new();
    let internal = Networks::new(&model.server.internal_networks);
    let clients = clients::compile(&model, &mut problems);
    let identifications = identity::compile(&model, previous, &mut problems);
    let admin_users = identity::admin_users(&model, previous, &mut problems);
    let hosts = hosts::Ownership::of(&model, &mut problems);
    let mut upstreams = upstreams::Upstreams::of(&model.upstreams, &hosts, &internal, previous, &mut problems);
    let providers = credentials::providers(&model, &mut problems);
    let mut credentials = credentials::Credentials::of(&model, &mut problems);
    let ledger = previous.map_or_else(Arc::default, |table| Arc::clone(&table.ledger));
    let shared = routes::Shared::new(Arc::clone(&ledger));
    let files = FileNames::of(sources);
    let callers = Callers { clients: &clients, identifications: &identifications };
    let reached = Reached { upstreams: &mut upstreams, credentials: &mut credentials };
    let (projects, routes, direct) = projects(&model, &callers, reached, shared, &files, &mut problems);
    sign_tokens::report_lost(&model, previous, &mut problems);
    upstreams.report_use(&mut problems);
    credentials.report_use(&mut problems);
    let started_with = started_with(&model, previous);
    let acme = acme::compile(&model, &started_with.admin.state_dir, &mut problems);
    let tls = tls::compile(&model, &started_with, previous, stamp.now, &mut problems);
    problems.sort_by_key(|problem| problem.at);
    if problems.iter().any(Diagnostic::is_error) {
        let mendable = tls::files(&model);
        return Compiled { table: None, diagnostics: problems, mendable };
    }
    let upstreams = upstreams.into_list();
    let credentials = credentials.into_list();
    let mut matcher = Matcher::new(projects);
    hosts.hand_over(&mut matcher);
    let table = Table {
        generation: stamp.generation,
        sha256: hex::encode(stamp.sha256),
        loaded_at: stamp.now,
        trusted_proxies: Networks::new(&started_with.server.trusted_proxies),
        internal_networks: Networks::new(&started_with.server.internal_networks),
        started_with,
        server: model.server,
        logging: model.logging,
        listeners: model.listeners,
        acme,
        tls,
        admin: model.admin,
        tokens_dir: model.tokens_dir,
        tokens: model.tokens,
        providers,
        credentials,
        clients: clients.lookup,
        client_entries: clients.entries,
        identification: identifications.edge,
        guessing: previous.map(|table| table.guessing.clone()).unwrap_or_default(),
        cookies: previous.map_or_else(Arc::default, |table| Arc::clone(&table.cookies)),
        admin_users,
        anonymous: Identity { user: Arc::from(""), name: Arc::from("") },
        matcher,
        ledger,
        routes,
        direct,
        upstreams,
    };
    Compiled { table: Some(table), diagnostics: problems, mendable: Vec::new() }
}

fn started_with(model: &Model, previous: Option<&Table>) -> Arc<StartedWith> {
    let (server, listeners, admin) = (&model.server, &model.listeners, &model.admin);
    let now = || StartedWith {
        server: server.clone(),
        listeners: listeners.clone(),
        admin: admin.clone(),
        tokens_dir: model.tokens_dir.clone(),
        tokens: model.tokens.clone(),
    };
    previous.map_or_else(|| Arc::new(now()), |table| Arc::clone(&table.started_with))
}

fn projects(
    model: &Model,
    callers: &Callers<'_>,
    mut reached: Reached<'_, '_>,
    mut shared: routes::Shared,
    files: &FileNames,
    problems: &mut Vec<Diagnostic>,
) -> (Vec<ProjectEntry>, Vec<Arc<Route>>, Vec<Arc<Direct>>) {
    let mut all =
        Vec::with_capacity(model.projects.iter().flat_map(|it| &it.environments).map(|it| it.routes.len()).sum());
    let mut direct = Vec::new();
    let mut entries = Vec::with_capacity(model.projects.len());
    for (index, project) in model.projects.iter().enumerate() {
        let callers = ProjectCallers { clients: callers.clients, identification: callers.identifications.of(index) };
        let scope = routes::ProjectScope::of(project, &callers, files, problems);
        let environments = project.environments.iter().map(|environment| {
            let Reached { upstreams, credentials } = &mut reached;
            let mut builder = routes::Builder { scope: &scope, upstreams, credentials, shared: &mut shared, problems };
            builder.environment(environment, &mut all, &mut direct)
        });
        let environments = environments.collect();
        entries.push(ProjectEntry {
            name: Arc::clone(&scope.name),
            default: environments::default(project, problems),
            rules: environments::rules(project, problems),
            environments,
            pages: scope.pages.clone(),
            identification: Arc::clone(scope.identification),
            browser: direct::browser_client(project),
        });
    }
    (entries, all, direct)
}

/// Where requests go, and what they carry.
struct Reached<'r, 'c> {
    upstreams: &'r mut upstreams::Upstreams<'c>,
    credentials: &'r mut credentials::Credentials<'c>,
}

/// Who may call, and how they are known.
struct Callers<'c> {
    clients: &'c clients::CompiledClients,
    identifications: &'c identity::Identifications,
}

/// The same of one project.
struct ProjectCallers<'c> {
    clients: &'c clients::CompiledClients,
    identification: &'c Arc<Identification>,
}

/// The files as people know them, shared by all routes.
struct FileNames(Vec<Arc<str>>);

impl FileNames {
    fn of(sources: &Sources) -> Self {
        Self(sources.files.iter().map(|file| file.path.display().to_string().into()).collect())
    }

    fn name(&self, file: FileId) -> Arc<str> {
        self.0.get(usize::from(file.0)).map_or_else(|| Arc::from(""), Arc::clone)
    }
}
