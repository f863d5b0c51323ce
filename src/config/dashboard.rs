//! The control plane's own file: routes that the dashboard and the API have made, added to projects that the operator's files
//! define.
//!
//! It holds `projects.NAME.environments.ENV.routes` and nothing else, so that nobody changes by the dashboard what is the
//! operator's to say: listeners, hosts, what upstreams may be. It lies in the state directory, which only the process's user can
//! read, and so may hold secrets.
//!
//! Invariants: it creates no project, and no environment but the two that every project has; a prefix that the operator's
//! files route is never taken from them.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::decoder::Decoder;
use super::document::Parts;
use super::fields::Shape;
use super::header;
use super::model::{Action, Environment, Project, Route};
use super::secrets::reason;
use super::section::environments::{self, ENVIRONMENT};
use super::tree::{Entry, Node};
use super::value::{self, printable, shown};
use crate::diagnostic::{Diagnostic, FileId, Pos, Spanned};

/// Its name in the state directory.
pub const DASHBOARD: &str = "dashboard.yaml";

const FILE: Shape = Shape { what: "the dashboard's file", keys: &["projects"] };
const PROJECT: Shape = Shape { what: "a project in the dashboard's file", keys: &["environments"] };

/// The environments that every project has.
const ALWAYS: [&str; 2] = ["production", "local"];

/// Adds the routes of the file to the projects of the others, which have been read. `name`: the file's.
pub fn add(parts: &mut Parts, decoder: &mut Decoder<'_, '_>, root: &Node<'_>, name: &str) {
    let Some(fields) = decoder.fields(root, &FILE) else { return };
    let Some(projects) = fields.get("projects") else { return };
    for entry in decoder.named(projects) {
        let known = parts.names_project(&entry.key);
        match parts.projects.iter_mut().find(|project| *project.name.value == *entry.key) {
            Some(known) => project(decoder, entry, known, name),
            // One that could not be decoded has been reported.
            None if known => {}
            None => unknown_project(decoder, entry),
        }
    }
}

fn unknown_project(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) {
    let message = format!("the dashboard has routes of the project {}, which no other file defines", shown(&entry.key));
    let hint = "define the project in the configuration, or remove it here";
    decoder.note(Diagnostic::error("unknown_project", entry.at, message).hint(hint));
}

fn project(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>, project: &mut Project, file: &str) {
    let Some(fields) = decoder.fields(&entry.value, &PROJECT) else { return };
    let Some(environments) = fields.get("environments") else { return };
    let family = header::family(&project.sign_defaults.header_prefix);
    for entry in decoder.named(environments) {
        environment(decoder, entry, &family, project, file);
    }
}

fn environment(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>, family: &str, project: &mut Project, file: &str) {
    let Some(name) = decoder.key(entry, value::environment_name) else { return };
    let Some(fields) = decoder.fields(&entry.value, &ENVIRONMENT) else { return };
    let routes = fields.get("routes").map(|node| environments::routes(decoder, node, family)).unwrap_or_default();
    let place = format!("/api/v1/projects/{}/environments/{}/routes/", *project.name, *name);
    let Some(known) = known(decoder, name, project) else { return };
    let key = |route: &'_ Route| (route.prefix.value.clone(), matches!(route.action, Action::Direct(_)));
    let taken: HashMap<(String, bool), Pos> = known.routes.iter().map(|route| (key(route), route.prefix.at)).collect();
    for route in &routes {
        if let Some(first) = taken.get(&key(route)) {
            decoder.note(twice(route, *first, file, &place));
        }
    }
    known.routes.extend(routes);
}

/// The environment that the operator's files have, or one of those that are always there.
fn known<'p>(
    decoder: &mut Decoder<'_, '_>,
    name: Spanned<String>,
    project: &'p mut Project,
) -> Option<&'p mut Environment> {
    let found = project.environments.iter().position(|environment| *environment.name == *name);
    if found.is_none() && !ALWAYS.contains(&name.as_str()) {
        let message = format!(
            "the dashboard has routes of the environment {}, which the project {} lacks",
            shown(&name),
            shown(&project.name)
        );
        let hint = format!("define it in the configuration, `{}: {{}}` below `environments`, or remove it here", *name);
        decoder.note(Diagnostic::error("unknown_environment", name.at, message).hint(hint));
        return None;
    }
    if found.is_none() {
        project.environments.push(Environment { name, routes: Vec::new() });
    }
    match found {
        Some(index) => project.environments.get_mut(index),
        None => project.environments.last_mut(),
    }
}

/// At the operator's line, as that is the one that somebody has in an editor; the other is named in the words.
fn twice(route: &Route, first: Pos, file: &str, place: &str) -> Diagnostic {
    let prefix = &route.prefix;
    let also = format!("{}:{}", printable(file), prefix.at.line);
    let message = format!("{} has a route in this environment already: the dashboard's, at {also}", shown(prefix));
    let call = format!("{place}{}", prefix.replace('%', "%25").replace('/', "%2F"));
    Diagnostic::error("duplicate_prefix", first, message)
        .hint(format!("remove this one, or the dashboard's: `DELETE {call}` at the admin listener"))
        .related(prefix.at, "the dashboard's")
}

/// A warning about a file of secrets that others can read or change.
pub fn open_to_others(path: &Path, file: FileId) -> Option<Diagnostic> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return None;
    }
    let path = printable(&path.to_string_lossy());
    let message = format!("the dashboard's file has mode {mode:04o}, which lets others in; it may hold secrets");
    let at = Pos { file, line: 1, column: 1, len: 1 };
    Some(Diagnostic::warning("secret_permissions", at, message).hint(format!("chmod 600 {path}")))
}

/// Whether the state directory is another user's: who only checks a configuration need not be able to read it.
pub fn is_somebody_elses(state_dir: &Path) -> bool {
    std::fs::metadata(state_dir).is_ok_and(|meta| meta.uid() != rustix::process::geteuid().as_raw())
}

/// It is there, and cannot be read.
pub fn unreadable(path: &Path, error: &std::io::Error) -> Diagnostic {
    let path = printable(&path.to_string_lossy());
    let message = format!("the dashboard's file `{path}` cannot be read: {}", reason(error));
    let hint = "its routes have not been looked at; ask as the user that the process runs as";
    Diagnostic { at: None, ..Diagnostic::error("unreadable_file", Pos::default(), message).hint(hint) }
}
