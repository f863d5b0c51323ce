//! Who owns which host: the hosts of every project, those that only a `choose_environment` rule names, and the edge's own
//! addresses, which no guarded upstream may lead back to.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};

use crate::config::Model;
use crate::config::model::{EnvironmentSource, HostPattern, Project};
use crate::diagnostic::{Diagnostic, Pos, Spanned};
use crate::policy::host;

use super::super::matcher::{HostKey, Matcher};

/// All claims to hosts, without conflict or with a problem for each.
pub(super) struct Ownership {
    claims: HashMap<HostPattern, Claim>,
    /// The project without hosts.
    fallback: Option<Claim>,
    /// Hosts and addresses of the listeners and the admin listener.
    edge: HashSet<String>,
}

struct Claim {
    project: usize,
    name: String,
    at: Pos,
}

impl Ownership {
    /// Gathers the claims of all projects.
    pub(super) fn of(model: &Model, problems: &mut Vec<Diagnostic>) -> Self {
        let mut all = Self { claims: HashMap::new(), fallback: None, edge: edge_names(model) };
        for (index, project) in model.projects.iter().enumerate() {
            if project.hosts.is_empty() {
                all.claim_the_rest(index, project, problems);
            }
            for pattern in project.hosts.iter().chain(rule_hosts(project)) {
                all.claim(index, project, pattern, problems);
            }
        }
        all
    }

    /// Whether a host is one of the edge's own: of any project, wildcards included, or of a listener.
    pub(super) fn is_own(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let below = host.match_indices('.').filter_map(|(dot, _)| host.get(dot + 1..));
        self.edge.contains(&host)
            || self.claims.contains_key(&HostPattern::Exact(host.clone()))
            || below.into_iter().any(|parent| self.claims.contains_key(&HostPattern::Wildcard(parent.to_owned())))
    }

    /// Gives the hosts to the index.
    pub(super) fn hand_over(&self, matcher: &mut Matcher) {
        for (pattern, claim) in &self.claims {
            match pattern {
                HostPattern::Exact(host) => matcher.own(HostKey::Exact(host), claim.project),
                HostPattern::Wildcard(host) => matcher.own(HostKey::Wildcard(host), claim.project),
            }
        }
        if let Some(claim) = &self.fallback {
            matcher.own_the_rest(claim.project);
        }
    }

    fn claim(
        &mut self,
        index: usize,
        project: &Project,
        pattern: &Spanned<HostPattern>,
        problems: &mut Vec<Diagnostic>,
    ) {
        let canonical = match canonical(pattern) {
            Ok(canonical) => canonical,
            Err(why) => {
                let message = format!("`{}` is not a host: {why}", shown(pattern));
                problems.push(Diagnostic::error("invalid_host", pattern.at, message));
                return;
            }
        };
        let claim = Claim { project: index, name: project.name.value.clone(), at: pattern.at };
        match self.claims.get(&canonical) {
            Some(first) if first.project != index => problems.push(contested(&shown(&canonical), &claim, first)),
            Some(_) => {}
            None => _ = self.claims.insert(canonical, claim),
        }
    }

    fn claim_the_rest(&mut self, index: usize, project: &Project, problems: &mut Vec<Diagnostic>) {
        let claim = Claim { project: index, name: project.name.value.clone(), at: project.name.at };
        match &self.fallback {
            Some(first) => {
                let message = format!("projects `{}` and `{}` both serve any host", first.name, claim.name);
                let problem = Diagnostic::error("host_conflict", claim.at, message);
                problems.push(problem.hint("give all but one of them `hosts`").related(first.at, "the other one"));
            }
            None => self.fallback = Some(claim),
        }
    }
}

fn contested(host: &str, claim: &Claim, first: &Claim) -> Diagnostic {
    let message = format!("host `{host}` belongs to both project `{}` and project `{}`", first.name, claim.name);
    Diagnostic::error("host_conflict", claim.at, message)
        .hint("a host can lead to one project only")
        .related(first.at, format!("project `{}` has it here", first.name))
}

/// The hosts that only a rule of `choose_environment` names.
pub(super) fn rule_hosts(project: &Project) -> impl Iterator<Item = &Spanned<HostPattern>> {
    project.choose_environment.iter().filter_map(|rule| match &rule.by {
        EnvironmentSource::Host { host, .. } => Some(host),
        EnvironmentSource::Header(_) | EnvironmentSource::Cookie(_) => None,
    })
}

/// A pattern in the spelling that requests' hosts are brought into.
pub(super) fn canonical(pattern: &HostPattern) -> Result<HostPattern, &'static str> {
    match pattern {
        HostPattern::Exact(name) if name.parse::<Ipv6Addr>().is_ok() => {
            host::canonical(&format!("[{name}]")).map(|name| HostPattern::Exact(name.into_owned()))
        }
        HostPattern::Exact(name) => host::canonical(name).map(|name| HostPattern::Exact(name.into_owned())),
        HostPattern::Wildcard(name) => host::canonical(name).map(|name| HostPattern::Wildcard(name.into_owned())),
    }
}

fn shown(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Wildcard(name) => format!("*.{name}"),
    }
}

fn edge_names(model: &Model) -> HashSet<String> {
    let listeners = model.listeners.iter().map(|listener| listener.address.ip());
    let addresses = listeners.chain([model.admin.address.ip()]).filter(|address| !address.is_unspecified());
    addresses.map(written).chain(model.admin.hosts.iter().map(|host| host.to_ascii_lowercase())).collect()
}

fn written(address: IpAddr) -> String {
    address.to_string()
}
