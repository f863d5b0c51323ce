//! `identity` and the users of the admin listener: opens the files, and says what will not work.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Model;
use crate::config::model::{Auth, IdentitySource};
use crate::diagnostic::{Diagnostic, Spanned};
use crate::users::UsersFile;

use super::super::Table;
use super::super::identity::{Identification, Source};

/// Compiles the sources. What cannot be built is reported, and then there is no table.
pub(super) fn compile(model: &Model, previous: Option<&Table>, problems: &mut Vec<Diagnostic>) -> Identification {
    let written = &model.identity;
    let known = previous.and_then(|table| table.identification.users());
    let sources = written.sources.iter().filter_map(|source| match source {
        IdentitySource::Client => Some(Source::Client),
        IdentitySource::Basic => {
            let users = users(written.basic_users.as_ref()?, known, problems)?;
            report_signed(model, &users, problems);
            Some(Source::Basic(users))
        }
        IdentitySource::Header => {
            let header = written.header.as_ref()?;
            report_untrusted(model, problems);
            Some(Source::Header { user: header.user.clone(), name: header.name.clone() })
        }
        IdentitySource::Certificate => {
            report_no_certificates(model, problems);
            Some(Source::Certificate)
        }
    });
    let identification = Identification::new(sources.collect());
    if !model.clients.is_empty() && !identification.reads_tokens() {
        let message = "there are clients, but `client` is not among `identity.sources`: their tokens are not looked at";
        let hint = "add `client` to the sources, or remove the clients";
        problems.push(Diagnostic::warning("unused_source", written.at, message).hint(hint));
    }
    identification
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

/// A signature is over a mail address, says its specification.
fn report_signed(model: &Model, users: &UsersFile, problems: &mut Vec<Diagnostic>) {
    let routes = model.projects.iter().flat_map(|project| &project.environments).flat_map(|it| &it.routes);
    let signed = routes.clone().any(|route| route.sign.is_some() && route.auth != Auth::None);
    let Some(name) = users.without_at().filter(|_| signed) else { return };
    let Some(path) = &model.identity.basic_users else { return };
    let message = format!("user `{name}` is no mail address, and is signed as it stands");
    let hint = "upstreams that check the signature expect the user's mail address: name users by theirs";
    problems.push(Diagnostic::warning("user_not_address", path.at, message).hint(hint));
}

fn report_untrusted(model: &Model, problems: &mut Vec<Diagnostic>) {
    if model.server.trusted_proxies.is_empty() {
        let message = "nobody's headers are believed, as `server.trusted_proxies` is empty: `header` never answers";
        let hint = "name the addresses of the proxy in front in server.trusted_proxies";
        problems.push(Diagnostic::warning("unused_source", model.identity.at, message).hint(hint));
    }
}

fn report_no_certificates(model: &Model, problems: &mut Vec<Diagnostic>) {
    let asks = model.listeners.iter().any(|listener| listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()));
    if !asks {
        let message = "no listener asks for client certificates: `certificate` never answers";
        let hint = "give a listener's tls a client_ca";
        problems.push(Diagnostic::warning("unused_source", model.identity.at, message).hint(hint));
    }
}
