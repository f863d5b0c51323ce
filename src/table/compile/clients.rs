//! `clients`: digests for the look-up, and who each one is.

use std::sync::Arc;

use http::HeaderValue;

use crate::config::Model;
use crate::config::model::{Client, ClientToken};
use crate::diagnostic::Diagnostic;
use crate::policy::auth::{self, Clients};
use crate::policy::sign;

use super::super::decide::{ClientEntry, IdentityValues, TokenDigest};
use super::suggest;

/// All clients, compiled.
pub(super) struct CompiledClients {
    pub(super) lookup: Clients,
    pub(super) entries: Vec<Arc<ClientEntry>>,
}

impl CompiledClients {
    /// The clients that may use a project.
    pub(super) fn of_project<'a>(&'a self, project: &'a str) -> impl Iterator<Item = &'a ClientEntry> {
        let may = move |client: &&ClientEntry| {
            client.projects.as_ref().is_none_or(|projects| projects.iter().any(|name| **name == *project))
        };
        self.entries.iter().map(|client| &**client).filter(may)
    }
}

/// Compiles them in order.
pub(super) fn compile(model: &Model, problems: &mut Vec<Diagnostic>) -> CompiledClients {
    let mut digests = Vec::with_capacity(model.clients.len());
    let mut entries = Vec::with_capacity(model.clients.len());
    for client in &model.clients {
        let digest = digest(client);
        digests.push(digest);
        entries.push(Arc::new(entry(client, TokenDigest(digest), model, problems)));
    }
    CompiledClients { lookup: Clients::new(digests), entries }
}

fn digest(client: &Client) -> [u8; 32] {
    match &client.token {
        ClientToken::Clear(token) => auth::digest(token.expose()),
        ClientToken::Sha256(digest) => *digest,
    }
}

fn entry(client: &Client, token: TokenDigest, model: &Model, problems: &mut Vec<Diagnostic>) -> ClientEntry {
    let user = user(client, problems);
    let display_name = match display_name(client, problems) {
        "" => Arc::clone(&user),
        name => Arc::from(name),
    };
    let values = IdentityValues {
        user: HeaderValue::from_str(&user).unwrap_or(HeaderValue::from_static("")),
        name_percent: HeaderValue::try_from(sign::percent_encode(&display_name))
            .unwrap_or(HeaderValue::from_static("")),
    };
    ClientEntry {
        name: Arc::from(client.name.as_str()),
        user,
        display_name,
        projects: projects(client, model, problems),
        expires_before: client.expires_before,
        strong: is_strong(client),
        values,
        token,
    }
}

/// As many characters hold 128 random bits in base64. Who keeps a digest only is taken to have made a token, not a word.
const STRONG: usize = 22;

fn is_strong(client: &Client) -> bool {
    match &client.token {
        ClientToken::Clear(token) => token.len() >= STRONG,
        ClientToken::Sha256(_) => true,
    }
}

fn user(client: &Client, problems: &mut Vec<Diagnostic>) -> Arc<str> {
    let Some(user) = client.user.as_ref().filter(|user| !user.is_empty()) else { return Arc::from("") };
    match sign::canonical_user(user) {
        Ok(user) => Arc::from(user),
        Err(why) => {
            let message = format!("the user of client `{}` cannot be signed: {why}", *client.name);
            problems.push(
                Diagnostic::error("invalid_user", user.at, message).hint("write the mail address in plain ASCII"),
            );
            Arc::from("")
        }
    }
}

fn display_name<'a>(client: &'a Client, problems: &mut Vec<Diagnostic>) -> &'a str {
    let Some(name) = &client.display_name else { return "" };
    if name.chars().any(char::is_control) {
        let message = format!("the name of client `{}` holds a control character", *client.name);
        problems.push(Diagnostic::error("invalid_value", name.at, message).hint("remove line ends, tabs and the like"));
    }
    name
}

fn projects(client: &Client, model: &Model, problems: &mut Vec<Diagnostic>) -> Option<Vec<Arc<str>>> {
    let names = model.projects.iter().map(|project| project.name.as_str());
    let listed = client.projects.as_ref()?;
    for unknown in listed.iter().filter(|listed| names.clone().all(|name| name != listed.as_str())) {
        let message = format!("client `{}` names a project that does not exist: `{}`", *client.name, **unknown);
        let hint = suggest::hint(unknown, "projects", names.clone());
        problems.push(Diagnostic::error("unknown_project", unknown.at, message).hint(hint));
    }
    Some(listed.iter().map(|name| Arc::from(name.as_str())).collect())
}
