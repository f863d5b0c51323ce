//! Prefixes in `mode: direct`, and the client for browsers that learns of them.

use std::sync::Arc;

use crate::config::model::{self, Project, Scheme, UpstreamUrl};
use crate::diagnostic::{Diagnostic, Spanned};

use super::super::direct::Direct;
use super::super::matcher::BrowserClient;
use super::routes::Builder;

/// What a project's hosts tell browsers, if they serve the client.
pub(super) fn browser_client(project: &Project) -> Option<BrowserClient> {
    project.browser_client.then(|| BrowserClient {
        app_id: Arc::from(project.app_id.as_str()),
        header_prefix: Arc::from(project.sign_defaults.header_prefix.as_str()),
    })
}

impl Builder<'_, '_, '_> {
    /// Compiles one.
    pub(super) fn direct(
        &mut self,
        written: &model::Route,
        target: &Spanned<UpstreamUrl>,
        environment: &Arc<str>,
    ) -> Option<Direct> {
        let prefix = self.prefix(&written.prefix);
        let path = self.path_of(target);
        self.report_unwanted(written);
        let scheme = match target.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let target = format!("{scheme}://{}{}", target.authority, path?);
        Some(Direct {
            project: Arc::clone(&self.scope.name),
            environment: Arc::clone(environment),
            prefix: prefix?,
            target: Arc::from(target),
            file: self.scope.files.name(written.at.file),
            line: written.at.line,
        })
    }

    fn report_unwanted(&mut self, written: &model::Route) {
        if !self.scope.allow_direct {
            let message = format!("project `{}` has no `direct` routes", self.scope.name);
            let hint =
                "set `allow_direct: true` in the project: such calls are neither signed nor logged nor limited here";
            self.problems.push(Diagnostic::error("direct_not_allowed", written.at, message).hint(hint));
        } else if !self.scope.browser_client {
            let message = "no browser learns of this route";
            let hint =
                "set `browser_client: true` in the project, which serves /.countersign/client.js and routes.json";
            self.problems.push(Diagnostic::warning("direct_without_client", written.at, message).hint(hint));
        }
    }
}
