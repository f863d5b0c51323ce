//! `identity`, of the whole edge and of projects, and the users of the admin listener: opens the files, and says what will
//! not work. What outlives one table (what a file's users have verified, what issuers have published) is carried over.

mod sso;

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Model;
use crate::config::model::{self, Auth, HostPattern, IdentitySource, Project};
use crate::diagnostic::{Diagnostic, Spanned};
use crate::oidc::Issuer;
use crate::users::UsersFile;

use super::super::Table;
use super::super::identity::{Identification, Source};

/// How callers are found.
pub(super) struct Identifications {
    /// Where a project does not say otherwise.
    pub(super) edge: Arc<Identification>,
    /// The projects', in order; `None`: as everywhere.
    own: Vec<Option<Arc<Identification>>>,
}

impl Identifications {
    /// That of the project at this place.
    pub(super) fn of(&self, project: usize) -> &Arc<Identification> {
        self.own.get(project).and_then(Option::as_ref).unwrap_or(&self.edge)
    }
}

/// Compiles the sources. What cannot be built is reported, and then there is no table.
pub(super) fn compile(model: &Model, previous: Option<&Table>, problems: &mut Vec<Diagnostic>) -> Identifications {
    let mut shared = Shared::of(previous);
    let common = model.projects.iter().filter(|project| project.identity.is_none()).collect();
    let edge = Compiling { model, written: &model.identity, projects: common, shared: &mut shared, problems }.all();
    let own = model.projects.iter().map(|project| {
        let written = project.identity.as_ref()?;
        let projects = vec![project];
        Some(Compiling { model, written, projects, shared: &mut shared, problems: &mut *problems }.all())
    });
    let all = Identifications { own: own.collect(), edge };
    report_unread(model, &all, problems);
    all
}

fn report_unread(model: &Model, all: &Identifications, problems: &mut Vec<Diagnostic>) {
    let own = all.own.iter().flatten();
    let reads = all.edge.reads_tokens() || own.into_iter().any(|identification| identification.reads_tokens());
    if !model.clients.is_empty() && !reads {
        let message = "there are clients, but `client` is not among `identity.sources`: their tokens are not looked at";
        let hint = "add `client` to the sources, or remove the clients";
        problems.push(Diagnostic::warning("unused_source", model.identity.at, message).hint(hint));
    }
}

/// What several sections may name, and tables before this one have known.
struct Shared {
    /// Files of tables before.
    known: Vec<Arc<UsersFile>>,
    /// Files that this table reads.
    opened: Vec<Arc<UsersFile>>,
    issuers: Vec<Arc<Issuer>>,
}

impl Shared {
    fn of(previous: Option<&Table>) -> Self {
        let before = || previous.into_iter().flat_map(Table::identifications);
        Self {
            known: before().filter_map(|it| it.users()).map(Arc::clone).collect(),
            opened: Vec::new(),
            issuers: before().flat_map(|it| it.issuers()).map(Arc::clone).collect(),
        }
    }

    fn users(&mut self, path: &Spanned<PathBuf>, problems: &mut Vec<Diagnostic>) -> Option<Arc<UsersFile>> {
        if let Some(opened) = self.opened.iter().find(|users| users.path() == path.value) {
            return Some(Arc::clone(opened));
        }
        let known = self.known.iter().find(|users| users.path() == path.value);
        let users = users(path, known, problems)?;
        self.opened.push(Arc::clone(&users));
        Some(users)
    }
}

/// One section on its way.
struct Compiling<'c> {
    model: &'c Model,
    written: &'c model::Identity,
    /// The projects that it is of.
    projects: Vec<&'c Project>,
    shared: &'c mut Shared,
    problems: &'c mut Vec<Diagnostic>,
}

impl Compiling<'_> {
    fn all(mut self) -> Arc<Identification> {
        let written = self.written;
        let sources = written.sources.iter().filter_map(|source| self.source(*source));
        Arc::new(Identification::new(sources.collect()))
    }

    fn source(&mut self, source: IdentitySource) -> Option<Source> {
        match source {
            IdentitySource::Client => Some(Source::Client),
            IdentitySource::Basic => {
                let users = self.shared.users(self.written.basic_users.as_ref()?, self.problems)?;
                self.report_signed(&users);
                Some(Source::Basic(users))
            }
            IdentitySource::Header => {
                let header = self.written.header.as_ref()?;
                self.report_untrusted();
                Some(Source::Header { user: header.user.clone(), name: header.name.clone() })
            }
            IdentitySource::Certificate => {
                self.report_no_certificates();
                Some(Source::Certificate)
            }
            IdentitySource::Oidc => self.log_in(self.written.oidc.as_ref()?).map(Source::Oidc),
            IdentitySource::Jwt => self.trusted().map(Source::Jwt),
        }
    }

    /// A signature is over a mail address, says its specification.
    fn report_signed(&mut self, users: &UsersFile) {
        let routes = self.projects.iter().flat_map(|project| &project.environments).flat_map(|it| &it.routes);
        let signed = routes.clone().any(|route| route.sign.is_some() && route.auth != Auth::None);
        let Some(name) = users.without_at().filter(|_| signed) else { return };
        let Some(path) = &self.written.basic_users else { return };
        let message = format!("user `{name}` is no mail address, and is signed as it stands");
        let hint = "upstreams that check the signature expect the user's mail address: name users by theirs";
        self.problems.push(Diagnostic::warning("user_not_address", path.at, message).hint(hint));
    }

    fn report_untrusted(&mut self) {
        if self.model.server.trusted_proxies.is_empty() {
            let message = "nobody's headers are believed, as `server.trusted_proxies` is empty: `header` never answers";
            let hint = "name the addresses of the proxy in front in server.trusted_proxies";
            self.problems.push(Diagnostic::warning("unused_source", self.written.at, message).hint(hint));
        }
    }

    fn report_no_certificates(&mut self) {
        let listeners = &self.model.listeners;
        let asks = listeners.iter().any(|listener| listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()));
        if !asks {
            let message = "no listener asks for client certificates: `certificate` never answers";
            let hint = "give a listener's tls a client_ca";
            self.problems.push(Diagnostic::warning("unused_source", self.written.at, message).hint(hint));
        }
    }
}

/// Who may log in at the admin listener beside the bearer of its token.
pub(super) fn admin_users(
    model: &Model,
    previous: Option<&Table>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Arc<UsersFile>> {
    let known = previous.and_then(|table| table.admin_users.as_ref());
    users(model.admin.users_file.as_ref()?, known, problems)
}

/// A file that was open already stays open, with what it has verified; it is read again all the same.
fn users(
    path: &Spanned<PathBuf>,
    known: Option<&Arc<UsersFile>>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Arc<UsersFile>> {
    let known = known.filter(|users| users.path() == path.value);
    let opened = match known {
        Some(users) => users.read_again().map(|_| Arc::clone(users)),
        None => UsersFile::open(path).map(Arc::new),
    };
    match opened {
        Ok(users) => {
            report_notes(path, &users, problems);
            Some(users)
        }
        Err(error) => {
            let message = format!("the users' file {} cannot be used: {error}", path.display());
            let hint = "make it with `countersign password --htpasswd USER` or `htpasswd -B`";
            problems.push(Diagnostic::error("invalid_users_file", path.at, message).hint(hint));
            None
        }
    }
}

fn report_notes(path: &Spanned<PathBuf>, users: &UsersFile, problems: &mut Vec<Diagnostic>) {
    for note in users.notes() {
        problems.push(Diagnostic::warning("unusable_user", path.at, format!("{}: {note}", path.display())));
    }
    if users.is_empty() {
        let message = format!("{} has no user who could log in", path.display());
        problems.push(Diagnostic::warning("no_users", path.at, message));
    }
}
