//! Look-up: host -> project, environment -> routes, longest whole-segment prefix. The cost depends on the number of
//! segments in the path, never on the number of routes.
//!
//! Flow: [`Matcher::project`] (exact host, then the longest wildcard, then the project without hosts), then
//! `ProjectEntry::choose` in [`super::environment`], then [`Routes::find`] on the *canonical* path.
//!
//! Invariants: looking up allocates nothing; keys come from the configuration only, so no client can choose collisions;
//! a prefix is probed only at depths that some prefix has (`matches_the_brute_force_oracle` holds it to the plain rule).

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;

use crate::policy::access::Networks;
use crate::policy::page::Pages;

use super::direct::Direct;
use super::environment::Rule;
use super::identity::Identification;
use super::route::Route;

/// The index of one table.
#[derive(Debug, Default)]
pub struct Matcher {
    exact: HashMap<Box<str>, usize, RandomState>,
    wildcard: HashMap<Box<str>, usize, RandomState>,
    fallback: Option<usize>,
    projects: Vec<ProjectEntry>,
}

/// One project, for look-up.
#[derive(Debug)]
pub struct ProjectEntry {
    /// Its name.
    pub name: Arc<str>,
    /// Which of `environments` serves a request that names none.
    pub default: usize,
    /// `choose_environment`, in order.
    pub rules: Vec<Rule>,
    /// In the order written.
    pub environments: Vec<EnvironmentEntry>,
    /// Its own error pages.
    pub pages: Option<Arc<Pages>>,
    /// What the client for browsers is told of it; `None`: its hosts serve none.
    pub browser: Option<BrowserClient>,
    /// How the person behind a call is found.
    pub identification: Arc<Identification>,
}

/// What the client for browsers is told of a project, beside its routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserClient {
    /// The project's `app_id`; may be empty.
    pub app_id: Arc<str>,
    /// What the names of the signature's fields begin with.
    pub header_prefix: Arc<str>,
}

/// One environment of a project, for look-up.
#[derive(Debug)]
pub struct EnvironmentEntry {
    /// Its name.
    pub name: Arc<str>,
    /// Its routes by prefix.
    pub routes: Routes,
    /// The prefixes that browsers call by themselves; `None`: there is none.
    pub direct: Option<Box<Routes<Direct>>>,
}

/// What is found by its prefix.
pub trait Prefixed {
    /// `/` or whole segments without a trailing slash, in canonical spelling.
    fn prefix(&self) -> &Arc<str>;

    /// Where it was written, for people: `file:line`.
    fn place(&self) -> String;
}

impl Prefixed for Route {
    fn prefix(&self) -> &Arc<str> {
        &self.prefix
    }

    fn place(&self) -> String {
        Self::place(self)
    }
}

/// The routes of one environment, or its direct prefixes.
#[derive(Debug)]
pub struct Routes<R = Route> {
    /// The route of `/`.
    root: Option<Arc<R>>,
    by_prefix: HashMap<Arc<str>, Arc<R>, RandomState>,
    /// Whether any prefix has this many segments; index 0 stands for `/` and is not used.
    depths: Vec<bool>,
}

/// A pattern that says which hosts a project owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKey<'a> {
    /// This very host.
    Exact(&'a str),
    /// `*.` in front of this.
    Wildcard(&'a str),
}

impl Matcher {
    /// An index over these projects; hosts are added with [`Matcher::own`] and [`Matcher::own_the_rest`].
    pub fn new(projects: Vec<ProjectEntry>) -> Self {
        Self { projects, ..Self::default() }
    }

    /// Gives hosts to a project. The caller has made sure that no two projects claim one.
    pub fn own(&mut self, key: HostKey<'_>, project: usize) {
        match key {
            HostKey::Exact(host) => self.exact.insert(host.into(), project),
            HostKey::Wildcard(host) => self.wildcard.insert(host.into(), project),
        };
    }

    /// Gives all other hosts to a project.
    pub fn own_the_rest(&mut self, project: usize) {
        self.fallback = Some(project);
    }

    /// The project that a canonical host belongs to, and by which kind of pattern.
    pub fn project(&self, host: &str) -> Option<(&ProjectEntry, &'static str)> {
        let (index, how) = match self.exact.get(host) {
            Some(index) => (*index, "exact host"),
            None => match self.wildcard_owner(host) {
                Some(index) => (index, "wildcard host"),
                None => (self.fallback?, "project without hosts"),
            },
        };
        Some((self.projects.get(index)?, how))
    }

    /// All projects, in the order written.
    pub fn projects(&self) -> &[ProjectEntry] {
        &self.projects
    }

    /// The hosts that a project has by their whole name, in the order of the alphabet: those that a rule gives an environment of their own
    /// come last.
    pub fn hosts_of(&self, project: &ProjectEntry) -> Vec<&str> {
        let is_it = |index: &usize| self.projects.get(*index).is_some_and(|known| std::ptr::eq(known, project));
        let owned = self.exact.iter().filter(|(_, index)| is_it(index));
        let mut hosts: Vec<&str> = owned.map(|(host, _)| &**host).collect();
        hosts.sort_unstable_by_key(|host| (project.rules.iter().any(|rule| rule.is_of_host(host)), *host));
        hosts
    }

    /// Some exact host, for a question that names none.
    pub fn any_host(&self) -> Option<&str> {
        self.exact.iter().map(|(host, project)| (*project, &**host)).min().map(|(_, host)| host)
    }

    /// Whether two indices give every host to the same project by name.
    pub(super) fn same_hosts(&self, other: &Self) -> bool {
        self.hosts_by_name() == other.hosts_by_name()
    }

    fn hosts_by_name(&self) -> std::collections::BTreeMap<(u8, &str), &str> {
        let name = |index: &usize| self.projects.get(*index).map_or("", |project| &*project.name);
        let exact = self.exact.iter().map(|(host, index)| ((0, &**host), name(index)));
        let wildcard = self.wildcard.iter().map(|(host, index)| ((1, &**host), name(index)));
        exact.chain(wildcard).chain(self.fallback.iter().map(|index| ((2, ""), name(index)))).collect()
    }

    /// Walks up the labels: the first hit is the longest wildcard.
    fn wildcard_owner(&self, host: &str) -> Option<usize> {
        if self.wildcard.is_empty() {
            return None;
        }
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(project) = self.wildcard.get(parent) {
                return Some(*project);
            }
            rest = parent;
        }
        None
    }
}

impl ProjectEntry {
    /// The environment of that name.
    pub fn environment(&self, name: &str) -> Option<&EnvironmentEntry> {
        self.environments.iter().find(|environment| &*environment.name == name)
    }
}

impl EnvironmentEntry {
    /// The direct prefix that covers a canonical path more closely than this route, or than none.
    pub fn direct_beyond(&self, path: &str, route: Option<&Arc<Route>>) -> Option<&Arc<Direct>> {
        let direct = self.direct.as_ref()?.find(path)?;
        route.is_none_or(|route| route.prefix.len() < direct.prefix.len()).then_some(direct)
    }
}

impl<R> Default for Routes<R> {
    fn default() -> Self {
        Self { root: None, by_prefix: HashMap::default(), depths: Vec::new() }
    }
}

impl<R: Prefixed> Routes<R> {
    /// Room for that many.
    pub fn with_capacity(routes: usize) -> Self {
        let by_prefix = HashMap::with_capacity_and_hasher(routes, RandomState::new());
        Self { root: None, by_prefix, depths: Vec::new() }
    }

    /// Adds a route; gives it back when its prefix is taken.
    ///
    /// # Errors
    /// The route that has the prefix already.
    pub fn insert(&mut self, route: Arc<R>) -> Result<(), Arc<R>> {
        let depth = depth_of(route.prefix());
        if let Some(taken) = self.exactly(route.prefix()) {
            return Err(Arc::clone(taken));
        }
        if depth == 0 {
            self.root = Some(route);
            return Ok(());
        }
        if self.depths.len() <= depth {
            self.depths.resize(depth + 1, false);
        }
        if let Some(known) = self.depths.get_mut(depth) {
            *known = true;
        }
        self.by_prefix.insert(Arc::clone(route.prefix()), route);
        Ok(())
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<R>> {
        self.root.iter().chain(self.by_prefix.values())
    }

    /// The route of exactly this prefix.
    pub fn exactly(&self, prefix: &str) -> Option<&Arc<R>> {
        if prefix == "/" { self.root.as_ref() } else { self.by_prefix.get(prefix) }
    }

    /// The route with the longest prefix of whole segments of a canonical path.
    pub fn find(&self, path: &str) -> Option<&Arc<R>> {
        let (mut head, mut depth) = self.deepest(path);
        while depth > 0 {
            if self.depths.get(depth).copied().unwrap_or(false)
                && let Some(route) = self.by_prefix.get(head)
            {
                return Some(route);
            }
            head = head.rfind('/').and_then(|cut| head.get(..cut)).unwrap_or_default();
            depth -= 1;
        }
        self.root.as_ref()
    }

    /// The first segments of the path, as many as the deepest prefix has, and how many these are.
    fn deepest<'p>(&self, path: &'p str) -> (&'p str, usize) {
        let deepest = self.depths.len().saturating_sub(1);
        if deepest == 0 || path.len() <= 1 {
            return (path, 0);
        }
        let mut ends = path.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'/').map(|(at, _)| at);
        for depth in 1..=deepest {
            match ends.next() {
                Some(end) if depth == deepest => return (path.get(..end).unwrap_or(path), depth),
                Some(_) => {}
                None => return (path, depth),
            }
        }
        (path, deepest)
    }
}

/// How many segments a prefix has; `/` has none.
fn depth_of(prefix: &str) -> usize {
    if prefix == "/" { 0 } else { prefix.bytes().filter(|byte| *byte == b'/').count() }
}

/// Whether a prefix covers a canonical path by whole segments: the rule that [`Routes::find`] makes fast.
pub fn covers(prefix: &str, path: &str) -> bool {
    prefix == "/" || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether an optional list of networks admits an address (`None`: everybody).
pub(super) fn admits(networks: Option<&Networks>, address: std::net::IpAddr) -> bool {
    networks.is_none_or(|networks| networks.contains(address))
}
