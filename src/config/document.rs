//! The top level: which section is decoded by whom, and how the files of one configuration become one [`Model`].
//!
//! Sections of which there is one may stand in one file only; named things of all files come together, each name once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::dashboard;
use super::decoder::{Decoder, Gathered};
use super::fields::Shape;
use super::model::{
    Acme, Admin, Client, Credential, Environment, Group, Identity, Listener, Logging, Model, Project, Provider, Route,
    Server, Sign, Tokens,
};
use super::section::{
    acme, admin, clients, credentials, identity, listeners, logging, projects, providers, server, tokens, upstreams,
};
use super::tree::{Entry, Kind, Node};
use super::value::shown;
use crate::diagnostic::{Diagnostic, Pos, Spanned};
use crate::sealed::Sealer;
use crate::sign_token::RouteName;

const DOCUMENT: Shape = Shape {
    what: "the configuration",
    keys: &[
        "include",
        "server",
        "logging",
        "listeners",
        "acme",
        "admin",
        "upstreams",
        "providers",
        "credentials",
        "tokens_dir",
        "tokens",
        "clients",
        "identity",
        "projects",
    ],
};

/// Sections that may stand in one file only.
const SINGLE: &[&str] = &["server", "logging", "admin", "tokens_dir", "tokens", "identity", "acme"];

/// What the files read so far say.
#[derive(Default)]
pub struct Parts {
    server: Option<Server>,
    logging: Option<Logging>,
    listeners: Vec<Listener>,
    acme: Option<Acme>,
    admin: Option<Admin>,
    upstreams: Vec<Group>,
    tokens_dir: Option<PathBuf>,
    tokens: Tokens,
    providers: Vec<Provider>,
    credentials: Vec<Credential>,
    clients: Vec<Client>,
    identity: Identity,
    pub(super) projects: Vec<Project>,
    /// Where each single section is.
    sections: HashMap<&'static str, Pos>,
    /// Where each name of each kind is.
    names: HashMap<(&'static str, String), Pos>,
    /// Whether something could not be read at all, so that what is missing may be there.
    pub incomplete: bool,
    /// Where the running process keeps its state, whatever the files say by now; `None`: none is running.
    pub kept_in: Option<PathBuf>,
}

/// One `include` of a file.
pub struct Include {
    /// The pattern, variables filled in.
    pub pattern: Spanned<String>,
}

impl Parts {
    /// Decodes one file's document and adds it; answers what the file includes.
    pub fn add(&mut self, decoder: &mut Decoder<'_, '_>, root: &Node<'_>) -> Vec<Include> {
        let Some(fields) = decoder.fields(root, &DOCUMENT) else {
            self.incomplete = true;
            return Vec::new();
        };
        for name in SINGLE {
            if let Some(entry) = fields.entry(name) {
                self.claim_section(decoder, name, entry.at);
            }
        }
        self.singles(decoder, &fields);
        self.each(decoder, fields.get("listeners"), "listener", listeners::decode, |parts| &mut parts.listeners);
        self.each(decoder, fields.get("upstreams"), "upstream", upstreams::decode, |parts| &mut parts.upstreams);
        self.each(decoder, fields.get("providers"), "provider", providers::decode, |parts| &mut parts.providers);
        self.each(decoder, fields.get("credentials"), "credential", credentials::decode, |parts| {
            &mut parts.credentials
        });
        self.each(decoder, fields.get("clients"), "client", clients::decode, |parts| &mut parts.clients);
        self.each(decoder, fields.get("projects"), "project", projects::decode, |parts| &mut parts.projects);
        includes(decoder, fields.get("include"))
    }

    fn singles(&mut self, decoder: &mut Decoder<'_, '_>, fields: &super::fields::Fields<'_, '_>) {
        if let Some(node) = fields.get("server") {
            self.server = Some(server::decode(decoder, node));
        }
        if let Some(node) = fields.get("logging") {
            self.logging = Some(logging::decode(decoder, node));
        }
        if let Some(entry) = fields.entry("acme") {
            self.acme = acme::decode(decoder, entry);
        }
        if let Some(entry) = fields.entry("admin") {
            self.admin = Some(admin::decode(decoder, &entry.value, entry.at));
        }
        if let Some(Some(path)) = fields.get("tokens_dir").and_then(|node| decoder.path(node)) {
            self.tokens_dir = Some(path.value);
        }
        if let Some(node) = fields.get("tokens") {
            self.tokens = tokens::decode(decoder, node);
        }
        if let Some(node) = fields.get("identity") {
            self.identity = identity::decode(decoder, node);
        }
    }

    fn each<T>(
        &mut self,
        decoder: &mut Decoder<'_, '_>,
        node: Option<&Node<'_>>,
        kind: &'static str,
        decode: impl Fn(&mut Decoder<'_, '_>, &Entry<'_>) -> Option<T>,
        place: impl Fn(&mut Self) -> &mut Vec<T>,
    ) {
        let Some(node) = node else { return };
        for entry in decoder.named(node) {
            self.claim_name(decoder, kind, entry);
            if let Some(thing) = decode(decoder, entry) {
                place(self).push(thing);
            }
        }
    }

    /// Whether some file defines that project, well or not.
    pub(super) fn names_project(&self, name: &str) -> bool {
        self.names.contains_key(&("project", name.to_owned()))
    }

    /// Where state is kept: where the running process keeps it, if one is running. `dir`: the first file's directory.
    pub fn state_dir(&self, dir: &Path) -> PathBuf {
        let written = || self.admin.as_ref().map(|admin| admin.state_dir.clone());
        let kept = self.kept_in.clone().or_else(written);
        kept.unwrap_or_else(|| admin::default(dir, Pos::default()).state_dir)
    }

    fn claim_section(&mut self, decoder: &mut Decoder<'_, '_>, name: &'static str, at: Pos) {
        let Some(first) = self.sections.get(name) else {
            self.sections.insert(name, at);
            return;
        };
        decoder.note(
            Diagnostic::error("duplicate_section", at, format!("`{name}` stands in two files"))
                .hint("this section cannot be spread; keep it in one file")
                .related(*first, "first given here"),
        );
    }

    fn claim_name(&mut self, decoder: &mut Decoder<'_, '_>, kind: &'static str, entry: &Entry<'_>) {
        let key = (kind, entry.key.clone().into_owned());
        let Some(first) = self.names.get(&key) else {
            self.names.insert(key, entry.at);
            return;
        };
        decoder.note(
            Diagnostic::error("duplicate_name", entry.at, format!("the {kind} {} is defined twice", shown(&entry.key)))
                .hint("rename or remove one of the two")
                .related(*first, "first defined here"),
        );
    }

    /// Every route that signs.
    pub fn signed(&self) -> impl Iterator<Item = (RouteName<'_>, &Sign)> {
        self.projects.iter().flat_map(|project| {
            project.environments.iter().flat_map(move |environment| {
                environment.routes.iter().filter_map(move |route| {
                    let name =
                        RouteName { project: &project.name, environment: &environment.name, prefix: &route.prefix };
                    Some((name, route.sign.as_ref()?))
                })
            })
        })
    }

    /// The same, to be lent what is kept for them.
    pub fn signed_mut(&mut self) -> impl Iterator<Item = (RouteName<'_>, &mut Sign)> {
        self.projects.iter_mut().flat_map(|Project { name: project, environments, .. }| {
            environments.iter_mut().flat_map(|Environment { name: environment, routes }| {
                routes.iter_mut().filter_map(|Route { prefix, sign, .. }| {
                    Some((RouteName { project, environment, prefix }, sign.as_mut()?))
                })
            })
        })
    }

    /// Whether this is no running process, and the state directory another user's.
    pub fn is_somebody_elses(&self, dir: &Path) -> bool {
        self.kept_in.is_none() && dashboard::is_somebody_elses(&self.state_dir(dir))
    }

    /// What sign tokens are sealed with in the state directory; `None`: they are not.
    pub fn sealing_key(&self) -> Option<Sealer> {
        tokens::sealing_key(&self.tokens)
    }

    /// Checks what only all files together can show.
    pub fn check(&self, gathered: &mut Gathered<'_>) {
        self.check_addresses(gathered);
        self.check_client_tokens(gathered);
        if !self.incomplete {
            self.check_least(gathered);
        }
    }

    /// The least file: one listener, one project with one route.
    fn check_least(&self, gathered: &mut Gathered<'_>) {
        let start = Pos { line: 1, column: 1, len: 1, ..Pos::default() };
        let has = |kind: &str| self.names.keys().any(|(other, _)| *other == kind);
        // What stands below a misspelled key is not missing too.
        let listeners = has("listener") || gathered.is_meant(&["listeners"]);
        let projects = has("project") || gathered.is_meant(&["projects"]);
        let routes = gathered.routes > 0 || gathered.is_meant(&["projects", "environments", "routes"]);
        let mut note = |code, message: &str, hint: &str| {
            gathered.note(Diagnostic::error(code, start, message).hint(hint));
        };
        if !listeners {
            note(
                "no_listener",
                "no listener is defined",
                "add one: listeners: { http: { address: \"0.0.0.0:8080\" } }",
            );
        }
        if !projects {
            note("no_project", "no project is defined", "add one below `projects`, with an environment and a route");
        } else if !routes {
            gathered.note(
                Diagnostic::error("no_route", self.first_project().unwrap_or(start), "no project has a route")
                    .hint("add one: environments: { production: { routes: [{ prefix: /, upstream: \"http://…\" }] } }"),
            );
        }
    }

    fn first_project(&self) -> Option<Pos> {
        self.names.iter().filter(|((kind, _), _)| *kind == "project").map(|(_, at)| *at).min()
    }

    /// Two listeners, or a listener and the admin listener, on one address.
    fn check_addresses(&self, gathered: &mut Gathered<'_>) {
        let mut taken: Vec<&Spanned<std::net::SocketAddr>> = Vec::new();
        let admin = self.admin.as_ref().map(|admin| &admin.address);
        for address in self.listeners.iter().map(|listener| &listener.address).chain(admin) {
            if let Some(first) = taken.iter().find(|other| collide(other, address)) {
                let message = format!("{} is listened on twice", address.value);
                gathered.note(
                    Diagnostic::error("address_in_use", address.at, message)
                        .hint("give each listener, the admin listener too, an address or port of its own")
                        .related(first.at, "first used here"),
                );
            }
            taken.push(address);
        }
    }

    /// One token for two clients would make it a matter of chance who calls.
    fn check_client_tokens(&self, gathered: &mut Gathered<'_>) {
        let mut owners: HashMap<[u8; 32], Pos> = HashMap::new();
        for client in &self.clients {
            let digest = clients::digest(&client.token);
            if let Some(first) = owners.get(&digest) {
                let message = format!("the client {} has the token of another client", shown(&client.name));
                gathered.note(
                    Diagnostic::error("duplicate_client_token", client.name.at, message)
                        .hint("give each client a token of its own")
                        .related(*first, "this one"),
                );
            } else {
                owners.insert(digest, client.name.at);
            }
        }
    }

    /// The model; call it when there is no error. `dir`: the first file's directory.
    pub fn into_model(self, dir: &Path) -> Model {
        let start = Pos { line: 1, column: 1, len: 1, ..Pos::default() };
        Model {
            server: self.server.unwrap_or_else(server::default),
            logging: self.logging.unwrap_or_else(logging::default),
            listeners: self.listeners,
            acme: self.acme,
            admin: self.admin.unwrap_or_else(|| admin::default(dir, start)),
            upstreams: self.upstreams,
            tokens_dir: self.tokens_dir.unwrap_or_else(|| dir.join("../tokens")),
            tokens: self.tokens,
            providers: self.providers,
            credentials: self.credentials,
            clients: self.clients,
            identity: self.identity,
            projects: self.projects,
        }
    }
}

/// Port 0 asks for any free port. An unspecified address takes the port on every address of its family.
fn collide(a: &std::net::SocketAddr, b: &std::net::SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    let overlap = a.ip() == b.ip() || (same_family && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() == b.port() && a.port() != 0 && overlap
}

fn includes(decoder: &mut Decoder<'_, '_>, node: Option<&Node<'_>>) -> Vec<Include> {
    let Some(node) = node else { return Vec::new() };
    let text = |text: &str| Ok(text.to_owned());
    let patterns = match node.kind() {
        Kind::Scalar(_) => decoder.spanned(node, text).into_iter().collect(),
        _ => decoder.spanned_values(node, text).unwrap_or_default(),
    };
    patterns.into_iter().map(|pattern| Include { pattern }).collect()
}
