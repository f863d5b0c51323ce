//! `projects`, down to their environments.

use std::path::PathBuf;

use crate::config::model::{ChooseEnvironment, Environment, EnvironmentSource, Pages, Project, SignDefaults};
use crate::diagnostic::Spanned;

use super::super::Node;
use super::{Fields, callers, flag, list, map, path, routes, text, texts, words};

pub(super) fn project(project: &Project) -> (String, Node) {
    let Project {
        name,
        hosts,
        app_id,
        upstream_policy,
        environment,
        choose_environment,
        sign_defaults,
        allow_direct,
        browser_client,
        pages,
        identity,
        environments,
    } = project;
    let SignDefaults { header_prefix, username_encoding } = sign_defaults;
    let sign_defaults = Fields::default()
        .with("header_prefix", text(&header_prefix.value))
        .with("username_encoding", text(words::username_encoding(*username_encoding)));
    let Pages { by_status } = pages;
    let page = |(statuses, file): &((u16, u16), Spanned<PathBuf>)| (words::statuses(*statuses), path(&file.value));
    let node = Fields::default()
        .with("hosts", texts(hosts.iter().map(|host| words::host(host))))
        .with("app_id", text(app_id))
        .with("upstream_policy", text(words::upstream_policy(*upstream_policy)))
        .with("environment", text(&environment.value))
        .with("choose_environment", list(choose_environment.iter().map(rule)))
        .with("sign_defaults", sign_defaults.end())
        .with("allow_direct", flag(*allow_direct))
        .with("browser_client", flag(*browser_client))
        .with("pages", map(by_status.iter().map(page)))
        .maybe("identity", identity.as_ref().map(callers::identity))
        .with("environments", map(environments.iter().map(environment_of)))
        .end();
    (name.value.clone(), node)
}

fn rule(rule: &ChooseEnvironment) -> Node {
    let ChooseEnvironment { by, of, from, at: _ } = rule;
    let fields = match by {
        EnvironmentSource::Header(name) => Fields::default().with("header", text(name)),
        EnvironmentSource::Cookie(name) => Fields::default().with("cookie", text(name)),
        EnvironmentSource::Host { host, is } => {
            Fields::default().with("host", text(words::host(host))).with("is", text(&is.value))
        }
    };
    fields
        .maybe("of", of.as_ref().map(|of| texts(of.iter().map(|name| &name.value))))
        .maybe("from", from.as_ref().map(texts))
        .end()
}

fn environment_of(environment: &Environment) -> (String, Node) {
    let Environment { name, routes } = environment;
    (name.value.clone(), Fields::default().with("routes", list(routes.iter().map(routes::route))).end())
}
