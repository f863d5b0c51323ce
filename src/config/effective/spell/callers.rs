//! `clients`, `identity`.

use url::Url;

use crate::config::model::{ClaimNames, Client, ClientToken, HeaderIdentity, Identity, Jwt, Oidc};
use crate::diagnostic::Spanned;

use super::super::Node;
use super::{Fields, duration, list, path, path_or_empty, secret, text, texts, words};

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
    let Identity { sources, header, basic_users, oidc, jwt, at: _ } = identity;
    let header = header.as_ref().map(|HeaderIdentity { user, name }| {
        let name = name.as_ref().map_or_else(|| text(""), text);
        Fields::default().with("user", text(user)).with("name", name).end()
    });
    let basic = basic_users.as_ref().map(|users| Fields::default().with("users_file", path(&users.value)).end());
    Fields::default()
        .with("sources", list(sources.iter().map(|source| text(words::identity_source(*source)))))
        .maybe("header", header)
        .maybe("basic", basic)
        .maybe("oidc", oidc.as_ref().map(log_in))
        .maybe("jwt", tokens(jwt))
        .end()
}

/// One need not be written as a list.
fn tokens(jwt: &[Jwt]) -> Option<Node> {
    match jwt {
        [] => None,
        [one] => Some(tokens_of(one)),
        several => Some(list(several.iter().map(tokens_of))),
    }
}

fn log_in(oidc: &Oidc) -> Node {
    let Oidc {
        issuer,
        client_id,
        client_secret,
        cookie_secret,
        session,
        scopes,
        claims: ClaimNames { user, name },
        redirect_url,
        logout_redirect_url,
        ca,
        at: _,
    } = oidc;
    let secret_or_empty = |given: bool| if given { secret() } else { text("") };
    Fields::default()
        .with("issuer", text(&issuer.value))
        .with("client_id", text(client_id))
        .with("client_secret", secret_or_empty(client_secret.is_some()))
        .with("cookie_secret", secret_or_empty(cookie_secret.is_some()))
        .with("session", duration(*session))
        .with("scopes", texts(scopes))
        .with("user", text(user))
        .with("name", text(name))
        .with("redirect_url", url_or_empty(redirect_url.as_ref()))
        .with("logout_redirect_url", url_or_empty(logout_redirect_url.as_ref()))
        .with("ca", path_or_empty(ca.as_ref().map(|path| path.value.as_path())))
        .end()
}

fn tokens_of(jwt: &Jwt) -> Node {
    let Jwt { issuer, audiences, jwks_url, claims: ClaimNames { user, name }, ca } = jwt;
    Fields::default()
        .with("issuer", text(&issuer.value))
        .with("audience", texts(audiences))
        .with("jwks_url", url_or_empty(jwks_url.as_ref()))
        .with("user", text(user))
        .with("name", text(name))
        .with("ca", path_or_empty(ca.as_ref().map(|path| path.value.as_path())))
        .end()
}

fn url_or_empty(url: Option<&Spanned<Url>>) -> Node {
    url.map_or_else(|| text(""), |url| text(&url.value))
}
