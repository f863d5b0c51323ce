//! What was decoded, spelt as it is written in a configuration. Each struct is taken apart without `..`: whoever adds a
//! field is told here.

mod callers;
mod credentials;
mod network;
mod process;
mod projects;
mod routes;
mod words;

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use super::{Node, Value};
use crate::config::Model;

/// The whole configuration, in the order of the annotated example.
pub(super) fn model(model: &Model) -> Node {
    let Model {
        server,
        logging,
        listeners,
        acme,
        admin,
        upstreams,
        tokens_dir,
        tokens,
        providers,
        credentials,
        clients,
        identity,
        projects,
    } = model;
    Fields::default()
        .with("server", process::server(server))
        .with("logging", process::logging(logging))
        .with("listeners", map(listeners.iter().map(network::listener)))
        .maybe("acme", acme.as_ref().map(|acme| network::acme(acme, &admin.state_dir)))
        .with("admin", process::admin(admin))
        .with("upstreams", map(upstreams.iter().map(network::group)))
        .with("providers", map(providers.iter().map(credentials::provider)))
        .with("credentials", map(credentials.iter().map(credentials::credential)))
        .with("tokens_dir", path(tokens_dir))
        .with("tokens", credentials::tokens(tokens))
        .with("clients", map(clients.iter().map(callers::client)))
        .with("identity", callers::identity(identity))
        .with("projects", map(projects.iter().map(projects::project)))
        .end()
}

/// A mapping in the making.
#[derive(Default)]
struct Fields(Vec<(String, Node)>);

impl Fields {
    fn with(mut self, key: &str, node: Node) -> Self {
        self.0.push((key.to_owned(), node));
        self
    }

    /// What is switched off is left out.
    fn maybe(self, key: &str, node: Option<Node>) -> Self {
        match node {
            Some(node) => self.with(key, node),
            None => self,
        }
    }

    fn end(self) -> Node {
        plain(Value::Map(self.0))
    }
}

fn plain(value: Value) -> Node {
    Node { value, origin: None }
}

fn text(text: impl Display) -> Node {
    plain(Value::Text(text.to_string()))
}

fn whole(number: impl TryInto<u64>) -> Node {
    plain(Value::Whole(number.try_into().unwrap_or(u64::MAX)))
}

fn flag(flag: bool) -> Node {
    plain(Value::Flag(flag))
}

fn secret() -> Node {
    plain(Value::Secret)
}

fn path(path: &Path) -> Node {
    text(path.display())
}

/// Keys that take an empty text for none.
fn path_or_empty(at: Option<&Path>) -> Node {
    at.map_or_else(|| text(""), path)
}

fn texts<T: Display>(all: impl IntoIterator<Item = T>) -> Node {
    list(all.into_iter().map(text))
}

fn list(nodes: impl Iterator<Item = Node>) -> Node {
    plain(Value::List(nodes.collect()))
}

fn map(entries: impl Iterator<Item = (String, Node)>) -> Node {
    plain(Value::Map(entries.collect()))
}

/// In the largest unit that it is a whole number of.
fn duration(duration: Duration) -> Node {
    text(words::duration(duration))
}

fn size(bytes: u64) -> Node {
    text(words::size(bytes))
}
