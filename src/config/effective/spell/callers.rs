//! `clients`, `identity`.

use crate::config::model::{Client, ClientToken, HeaderIdentity, Identity};

use super::super::Node;
use super::{Fields, list, path, secret, text, texts, words};

pub(super) fn client(client: &Client) -> (String, Node) {
    let Client { name, token, user, display_name, projects, expires_before } = client;
    let fields = match token {
        ClientToken::Clear(_) => Fields::default().with("token", secret()),
        ClientToken::Sha256(digest) => Fields::default().with("token_sha256", text(hex::encode(digest))),
    };
    let node = fields
        .with("user", text(user.as_ref().map_or("", |user| user)))
        .with("name", text(display_name.as_ref().map_or("", |name| name)))
        .maybe("projects", projects.as_ref().map(|projects| texts(projects.iter().map(|name| &name.value))))
        .maybe("expires", expires_before.map(|before| text(words::last_day(before))))
        .end();
    (name.value.clone(), node)
}

pub(super) fn identity(identity: &Identity) -> Node {
    let Identity { sources, header, basic_users, at: _ } = identity;
    let header = header.as_ref().map(|HeaderIdentity { user, name }| {
        let name = name.as_ref().map_or_else(|| text(""), text);
        Fields::default().with("user", text(user)).with("name", name).end()
    });
    let basic = basic_users.as_ref().map(|users| Fields::default().with("users_file", path(&users.value)).end());
    Fields::default()
        .with("sources", list(sources.iter().map(|source| text(words::identity_source(*source)))))
        .maybe("header", header)
        .maybe("basic", basic)
        .end()
}
