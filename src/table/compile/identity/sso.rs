//! `identity.oidc` and `identity.jwt`: the issuers, shared and carried over, and what will not work with them.

use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

use crate::config::model::{ClaimNames, Jwt, Oidc};
use crate::diagnostic::{Diagnostic, Spanned};
use crate::oidc::{self, Client, Expected, Issuer, Settings};
use crate::sealed::Sealer;

use super::super::super::identity::{LogIn, LogInSettings, Trusted};
use super::super::{ca, hosts};
use super::{Compiling, HostPattern, Project};

impl Compiling<'_> {
    /// `None`: something about it has been reported.
    pub(super) fn log_in(&mut self, written: &Oidc) -> Option<Arc<LogIn>> {
        self.report_in_the_clear(written);
        self.report_elsewhere(written);
        let issuer = self.issuer(&written.issuer, written.ca.as_ref(), None)?;
        let settings = settings(written);
        let client = Client::new(Settings {
            issuer,
            client_id: settings.client_id.clone(),
            client_secret: settings.client_secret.clone(),
            scopes: settings.scopes.clone(),
            claims: settings.claims.clone(),
            session: settings.session,
            sealer: settings.cookie_secret.as_ref().map(Sealer::of),
        });
        Some(Arc::new(LogIn { client, settings }))
    }

    /// `None`: something about one of them has been reported.
    pub(super) fn trusted(&mut self) -> Option<Arc<[Trusted]>> {
        let written = self.written;
        let all: Vec<_> = written.jwt.iter().map(|jwt| self.one_trusted(jwt)).collect();
        all.into_iter().collect::<Option<Vec<_>>>().map(Arc::from)
    }

    fn one_trusted(&mut self, written: &Jwt) -> Option<Trusted> {
        let jwks_url = written.jwks_url.as_ref().map(|url| &url.value);
        Some(Trusted {
            issuer: self.issuer(&written.issuer, written.ca.as_ref(), jwks_url)?,
            expected: Expected::bearer(written.audiences.clone()),
            claims: claims(&written.claims),
        })
    }

    /// One for all sections and tables that mean the same.
    fn issuer(
        &mut self,
        written: &Spanned<String>,
        ca: Option<&Spanned<PathBuf>>,
        jwks_url: Option<&Url>,
    ) -> Option<Arc<Issuer>> {
        let anchors = match ca {
            Some(path) => ca::named(path, self.problems)?.certificates,
            None => Vec::new(),
        };
        if let Some(known) = self.shared.issuers.iter().find(|known| known.is(written, &anchors, jwks_url)) {
            return Some(Arc::clone(known));
        }
        match Issuer::new(written, anchors, jwks_url.cloned()) {
            Ok(issuer) => {
                let issuer = Arc::new(issuer);
                self.shared.issuers.push(Arc::clone(&issuer));
                Some(issuer)
            }
            Err(why) => {
                self.problems.push(Diagnostic::error("invalid_issuer", written.at, why.to_string()));
                None
            }
        }
    }

    /// Whoever listens in on a session's cookie has the session.
    fn report_in_the_clear(&mut self, written: &Oidc) {
        let model = self.model;
        let secured = model.listeners.iter().any(|listener| listener.tls.is_some());
        let local = model.listeners.iter().all(|listener| listener.address.ip().is_loopback());
        let in_front = !model.server.trusted_proxies.is_empty();
        let public = written.redirect_url.as_ref();
        if public.is_some_and(|url| url.scheme() == "https") || secured || local || in_front {
            return;
        }
        let message = "nobody here speaks https: the cookie of whoever logs in can be read on the way";
        let hint = "give a listener tls, or name the proxy in front that has it in server.trusted_proxies";
        self.problems.push(Diagnostic::warning("session_in_the_clear", written.at, message).hint(hint));
    }

    /// The browser that comes back has to meet the project that sent it away.
    fn report_elsewhere(&mut self, written: &Oidc) {
        // Plain http leads to this very machine only, which is for development.
        let Some(redirect) = written.redirect_url.as_ref().filter(|url| url.scheme() == "https") else { return };
        let Some(host) = redirect.host_str() else { return };
        let elsewhere: Vec<&str> = self
            .projects
            .iter()
            .filter(|project| !serves(project, host))
            .map(|project| project.name.as_str())
            .collect();
        if let [first, ..] = elsewhere.as_slice() {
            let message = format!("who logs in at project `{first}` comes back to {host}, which is no host of it");
            let hint = "leave redirect_url out: everybody then comes back to the host that he came from; \
                        or give the project an `identity` of its own";
            self.problems.push(Diagnostic::warning("redirect_elsewhere", redirect.at, message).hint(hint));
        }
    }
}

/// A project without hosts serves those that nobody has.
fn serves(project: &Project, host: &str) -> bool {
    let is_of = |pattern: &HostPattern| match hosts::canonical(pattern) {
        Ok(HostPattern::Exact(exact)) => exact == host,
        Ok(HostPattern::Wildcard(parent)) => {
            host.strip_suffix(&*parent).is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
        }
        Err(_) => false,
    };
    project.hosts.is_empty() || project.hosts.iter().chain(hosts::rule_hosts(project)).any(|pattern| is_of(pattern))
}

fn settings(written: &Oidc) -> LogInSettings {
    LogInSettings {
        issuer: written.issuer.value.clone(),
        client_id: written.client_id.clone(),
        client_secret: written.client_secret.clone(),
        cookie_secret: written.cookie_secret.clone(),
        scopes: written.scopes.clone(),
        claims: claims(&written.claims),
        session: written.session,
        redirect_url: written.redirect_url.as_ref().map(|url| url.value.clone()),
        logout_redirect_url: written.logout_redirect_url.as_ref().map(|url| url.value.clone()),
    }
}

fn claims(written: &ClaimNames) -> oidc::ClaimNames {
    oidc::ClaimNames { user: written.user.clone(), name: written.name.clone() }
}
