//! Which environment serves by default, and the rules by which a request may name another.

use crate::config::model::{ChooseEnvironment, EnvironmentSource, HostPattern, Project};
use crate::diagnostic::{Diagnostic, Spanned};
use crate::policy::access::Networks;

use super::super::environment::{Rule, Source};
use super::{hosts, suggest};

/// The environment that serves only where a rule lists it.
pub(super) const LOCAL: &str = "local";

/// The index of the project's default environment; 0 with a problem.
pub(super) fn default(project: &Project, problems: &mut Vec<Diagnostic>) -> usize {
    let name = &project.environment;
    if name.as_str() == LOCAL {
        let message = "`local` cannot be the environment that serves by default";
        let hint = "`local` serves a request only where a rule of `choose_environment` lists it";
        problems.push(Diagnostic::error("local_by_default", name.at, message).hint(hint));
    }
    index(project, name, problems).unwrap_or_default()
}

/// The rules, in order.
pub(super) fn rules(project: &Project, problems: &mut Vec<Diagnostic>) -> Vec<Rule> {
    project.choose_environment.iter().filter_map(|rule| compile(project, rule, problems)).collect()
}

fn compile(project: &Project, rule: &ChooseEnvironment, problems: &mut Vec<Diagnostic>) -> Option<Rule> {
    let (source, of) = match &rule.by {
        EnvironmentSource::Header(name) => (Source::Header(name.clone()), listed(project, rule, problems)),
        EnvironmentSource::Cookie(name) => (Source::Cookie(name.as_str().into()), listed(project, rule, problems)),
        EnvironmentSource::Host { host, is } => (source(host)?, vec![index(project, is, problems)?]),
    };
    Some(Rule { source, of, from: rule.from.as_deref().map(Networks::new) })
}

/// A pattern that is no host is reported where the hosts are gathered.
fn source(host: &HostPattern) -> Option<Source> {
    match hosts::canonical(host).ok()? {
        HostPattern::Exact(host) => Some(Source::Host(host.into())),
        HostPattern::Wildcard(host) => Some(Source::HostsBelow(host.into())),
    }
}

/// Which environments a rule may name: those it lists, else all but `local`.
fn listed(project: &Project, rule: &ChooseEnvironment, problems: &mut Vec<Diagnostic>) -> Vec<usize> {
    match &rule.of {
        Some(names) => names.iter().filter_map(|name| index(project, name, problems)).collect(),
        None => {
            let named = project.environments.iter().enumerate();
            named.filter(|(_, environment)| environment.name.as_str() != LOCAL).map(|(index, _)| index).collect()
        }
    }
}

fn index(project: &Project, name: &Spanned<String>, problems: &mut Vec<Diagnostic>) -> Option<usize> {
    let names = project.environments.iter().map(|environment| environment.name.as_str());
    let found = names.clone().position(|known| known == name.as_str());
    if found.is_none() {
        let message = format!("project `{}` has no environment `{}`", *project.name, **name);
        let hint = suggest::hint(name, "environments", names);
        problems.push(Diagnostic::error("unknown_environment", name.at, message).hint(hint));
    }
    found
}
