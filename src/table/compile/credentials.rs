//! `providers` and `credentials`: made ready, shared by the routes that name them, and bound to where they may go.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Model;
use crate::config::model::{self, CredentialSource, Group, ProviderKind, Target, UseTokens};
use crate::credential::provider::{AwsSsoOidc, ClientCredentials, Kind, OAuth2, Provider};
use crate::credential::vault::{Choice, Spec};
use crate::diagnostic::{Diagnostic, Pos, Spanned};

use super::super::credential::{Credential, Source};
use super::{ca, suggest};

/// All credentials of one compilation, and what routes do with them.
pub(super) struct Credentials<'c> {
    known: Vec<Known<'c>>,
    groups: HashMap<&'c str, &'c Group>,
}

struct Known<'c> {
    credential: Arc<Credential>,
    written: &'c model::Credential,
    /// Where it goes, in the order of the routes: a URL's host, or the name of a group.
    goes_to: Vec<(String, Pos)>,
}

/// Compiles the providers.
pub(super) fn providers(model: &Model, problems: &mut Vec<Diagnostic>) -> Vec<Arc<Provider>> {
    let mut compiled = Vec::with_capacity(model.providers.len());
    for written in &model.providers {
        let Some(anchors) = anchors(written, problems) else { continue };
        let (name, kind) = (Arc::from(written.name.as_str()), kind(&written.kind));
        compiled.push(Arc::new(Provider { name, kind, anchors }));
        report_unused(written, model, problems);
    }
    compiled
}

/// The further CA certificates of a provider; `None`: they cannot be read, which has been reported.
fn anchors(written: &model::Provider, problems: &mut Vec<Diagnostic>) -> Option<Vec<Vec<u8>>> {
    let Some(path) = &written.ca else { return Some(Vec::new()) };
    ca::named(path, problems).map(|ca| ca.certificates)
}

fn kind(written: &ProviderKind) -> Kind {
    match written {
        ProviderKind::OAuth2(it) => Kind::OAuth2(OAuth2 {
            authorization_url: it.authorization_url.value.clone(),
            token_url: it.token_url.value.clone(),
            device_authorization_url: it.device_authorization_url.as_ref().map(|url| url.value.clone()),
            client_id: it.client_id.clone(),
            client_secret: it.client_secret.clone(),
            scopes: it.scopes.clone(),
            redirect_url: it.redirect_url.as_ref().map(|url| url.value.clone()),
            issuer: it.issuer.clone(),
        }),
        ProviderKind::AwsSsoOidc(it) => Kind::AwsSsoOidc(AwsSsoOidc {
            region: it.region.clone(),
            start_url: it.start_url.clone(),
            scopes: it.scopes.clone(),
            scope_parameter: it.scope_parameter.clone(),
            scope_separator: it.scope_separator.clone(),
            endpoint: it.endpoint.value.clone(),
            redirect_url: it.redirect_url.as_ref().map(|url| url.value.clone()),
        }),
        ProviderKind::ClientCredentials(it) => Kind::ClientCredentials(ClientCredentials {
            token_url: it.token_url.value.clone(),
            client_id: it.client_id.clone(),
            client_secret: it.client_secret.clone(),
            scopes: it.scopes.clone(),
        }),
    }
}

fn report_unused(written: &model::Provider, model: &Model, problems: &mut Vec<Diagnostic>) {
    let mut named = model.credentials.iter().filter_map(provider_of);
    if !named.any(|name| **name == *written.name) {
        let message = format!("no credential uses provider `{}`", *written.name);
        problems.push(Diagnostic::warning("unused_provider", written.name.at, message));
    }
}

fn provider_of(credential: &model::Credential) -> Option<&Spanned<String>> {
    match &credential.source {
        CredentialSource::Provider { provider, .. } => Some(provider),
        CredentialSource::Secret(_) => None,
    }
}

impl<'c> Credentials<'c> {
    /// Compiles all of them.
    pub(super) fn of(model: &'c Model, problems: &mut Vec<Diagnostic>) -> Self {
        for credential in &model.credentials {
            report_unknown_provider(credential, model, problems);
        }
        let known = model.credentials.iter().map(|written| Known {
            credential: Arc::new(compile(written)),
            written,
            goes_to: Vec::new(),
        });
        let groups = model.upstreams.iter().map(|group| (group.name.as_str(), group));
        Self { known: known.collect(), groups: groups.collect() }
    }

    /// What a route names.
    pub(super) fn written(&self, name: &str) -> Option<&'c model::Credential> {
        self.known.iter().map(|known| known.written).find(|written| *written.name == name)
    }

    /// The credential that a route to `target` names, with everything checked that this use of it needs.
    pub(super) fn resolve(
        &mut self,
        name: &Spanned<String>,
        target: &Target,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<Arc<Credential>> {
        let Some(known) = self.known.iter_mut().find(|known| *known.written.name == **name) else {
            let mut names: Vec<&str> = self.known.iter().map(|known| known.written.name.as_str()).collect();
            names.sort_unstable();
            let message = format!("there is no credential `{}`", **name);
            let hint = suggest::hint(name, "credentials", names.into_iter());
            problems.push(Diagnostic::error("unknown_credential", name.at, message).hint(hint));
            return None;
        };
        let (goes_to, hosts) = destination(target, &self.groups);
        report_foreign(known.written, name, &hosts, problems);
        if known.goes_to.iter().all(|(earlier, _)| *earlier != goes_to) {
            known.goes_to.push((goes_to, name.at));
        }
        Some(Arc::clone(&known.credential))
    }

    /// Warns about what no route uses, and about what goes to more than one place without anybody having said so.
    pub(super) fn report_use(&self, problems: &mut Vec<Diagnostic>) {
        for Known { written, goes_to, .. } in &self.known {
            match goes_to.as_slice() {
                [] => {
                    let message = format!("no route uses credential `{}`", *written.name);
                    problems.push(Diagnostic::warning("unused_credential", written.name.at, message));
                }
                [(_, first), (_, second), ..] if written.hosts.is_empty() => {
                    let all: Vec<&str> = goes_to.iter().map(|(host, _)| host.as_str()).collect();
                    let message = format!("credential `{}` goes to {}", *written.name, all.join(", "));
                    let hint = format!("if that is meant, say so: hosts: [{}] of the credential", all.join(", "));
                    let problem = Diagnostic::warning("credential_many_hosts", *second, message);
                    problems.push(problem.hint(hint).related(*first, "goes to another one here"));
                }
                _ => {}
            }
        }
    }

    /// All of them, in the order written.
    pub(super) fn into_list(self) -> Vec<Arc<Credential>> {
        self.known.into_iter().map(|known| known.credential).collect()
    }
}

fn report_unknown_provider(credential: &model::Credential, model: &Model, problems: &mut Vec<Diagnostic>) {
    let Some(provider) = provider_of(credential) else { return };
    if model.providers.iter().any(|known| *known.name == **provider) {
        return;
    }
    let message = format!("there is no provider `{}`", **provider);
    let names = model.providers.iter().map(|provider| provider.name.as_str());
    let hint = suggest::hint(provider, "providers", names);
    problems.push(Diagnostic::error("unknown_provider", provider.at, message).hint(hint));
}

fn compile(written: &model::Credential) -> Credential {
    let source = match &written.source {
        CredentialSource::Provider { provider, choice, refresh_before, rest_after_429 } => Source::Pool {
            spec: Spec {
                provider: Arc::from(provider.as_str()),
                choice: match choice {
                    UseTokens::InOrder => Choice::InOrder,
                    UseTokens::RoundRobin => Choice::RoundRobin,
                    UseTokens::LeastUsed => Choice::LeastUsed,
                },
                rest_after_429: *rest_after_429,
            },
            refresh_before: *refresh_before,
        },
        CredentialSource::Secret(secret) => Source::Secret(secret.value.clone()),
    };
    let (before, after) = written.value.split_once("{token}").unwrap_or((&written.value, ""));
    Credential {
        name: Arc::from(written.name.as_str()),
        source,
        header: written.header.value.clone(),
        before: before.to_owned(),
        after: after.to_owned(),
    }
}

/// Where a route leads, in a word, and every host that this means.
fn destination(target: &Target, groups: &HashMap<&str, &Group>) -> (String, Vec<String>) {
    match target {
        Target::Url(url) => (in_brackets(&url.host), vec![in_brackets(&url.host)]),
        Target::Group(name) => {
            let endpoints = groups.get(name.as_str()).into_iter().flat_map(|group| &group.endpoints);
            (name.value.clone(), endpoints.map(|endpoint| in_brackets(&endpoint.host)).collect())
        }
    }
}

/// As `hosts` has them.
fn in_brackets(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A credential that says where it may go goes nowhere else.
fn report_foreign(
    written: &model::Credential,
    name: &Spanned<String>,
    hosts: &[String],
    problems: &mut Vec<Diagnostic>,
) {
    let Some(first) = written.hosts.first() else { return };
    let is_named = |host: &String| written.hosts.iter().any(|named| **named == *host);
    for host in hosts.iter().filter(|host| !is_named(host)) {
        let message = format!("credential `{}` may not go to {host}, where this route leads", **name);
        problems.push(
            Diagnostic::error("credential_host", name.at, message)
                .hint("add the host to the credential's `hosts`, if it may have it")
                .related(first.at, "where it may go"),
        );
    }
}

#[cfg(test)]
mod tests;
