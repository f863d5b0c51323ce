//! `providers`, `credentials`, `tokens`.

use url::Url;

use crate::config::model::{
    AwsSsoOidc, ClientCredentials, Credential, CredentialSource, OAuth2, Provider, ProviderKind, Tokens,
};
use crate::diagnostic::Spanned;

use super::super::Node;
use super::{Fields, duration, flag, path_or_empty, secret, text, texts, words};

pub(super) fn provider(provider: &Provider) -> (String, Node) {
    let Provider { name, kind, ca, at: _ } = provider;
    let (key, kind) = match kind {
        ProviderKind::OAuth2(it) => ("oauth2", oauth2(it)),
        ProviderKind::AwsSsoOidc(it) => ("aws_sso_oidc", aws(it)),
        ProviderKind::ClientCredentials(it) => ("client_credentials", client_credentials(it)),
    };
    let ca = path_or_empty(ca.as_ref().map(|path| path.value.as_path()));
    (name.value.clone(), Fields::default().with(key, kind).with("ca", ca).end())
}

fn oauth2(provider: &OAuth2) -> Node {
    let OAuth2 {
        authorization_url,
        token_url,
        device_authorization_url,
        client_id,
        client_secret,
        scopes,
        redirect_url,
        issuer,
    } = provider;
    Fields::default()
        .with("authorization_url", text(&authorization_url.value))
        .with("token_url", text(&token_url.value))
        .with("device_authorization_url", url_or_empty(device_authorization_url.as_ref()))
        .with("client_id", text(client_id))
        .with("client_secret", client_secret.as_ref().map_or_else(|| text(""), |_| secret()))
        .with("scopes", texts(scopes))
        .with("redirect_url", url_or_empty(redirect_url.as_ref()))
        .with("issuer", text(issuer.as_deref().unwrap_or_default()))
        .end()
}

fn aws(provider: &AwsSsoOidc) -> Node {
    let AwsSsoOidc { region, start_url, scopes, scope_parameter, scope_separator, endpoint, redirect_url } = provider;
    Fields::default()
        .with("region", text(region))
        .with("start_url", text(start_url))
        .with("scopes", texts(scopes))
        .with("scope_parameter", text(scope_parameter))
        .with("scope_separator", text(scope_separator))
        .with("endpoint", text(&endpoint.value))
        .with("redirect_url", url_or_empty(redirect_url.as_ref()))
        .end()
}

fn client_credentials(provider: &ClientCredentials) -> Node {
    let ClientCredentials { token_url, client_id, client_secret: _, scopes } = provider;
    Fields::default()
        .with("token_url", text(&token_url.value))
        .with("client_id", text(client_id))
        .with("client_secret", secret())
        .with("scopes", texts(scopes))
        .end()
}

fn url_or_empty(url: Option<&Spanned<Url>>) -> Node {
    url.map_or_else(|| text(""), |url| text(&url.value))
}

pub(super) fn credential(credential: &Credential) -> (String, Node) {
    let Credential { name, source, header, value, hosts, at: _ } = credential;
    let fields = match source {
        CredentialSource::Provider { provider, choice, refresh_before, rest_after_429 } => Fields::default()
            .with("provider", text(&provider.value))
            .with("use", text(words::use_tokens(*choice)))
            .with("refresh_before", duration(*refresh_before))
            .with("rest_after_429", duration(*rest_after_429)),
        CredentialSource::Secret(_) => Fields::default().with("secret", secret()),
    };
    let inject = Fields::default().with("header", text(&header.value)).with("value", text(&value.value));
    let hosts = texts(hosts.iter().map(|host| &host.value));
    (name.value.clone(), fields.with("inject", inject.end()).with("hosts", hosts).end())
}

pub(super) fn tokens(tokens: &Tokens) -> Node {
    let Tokens { encryption_key, allow_network_filesystem } = tokens;
    Fields::default()
        .maybe("encryption_key", encryption_key.as_ref().map(|_| secret()))
        .with("allow_network_filesystem", flag(*allow_network_filesystem))
        .end()
}
