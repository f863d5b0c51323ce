//! Which environment serves a request: the one that its browser was put on ([`browser`]), else the rules of `choose_environment`,
//! in order.
//!
//! A rule *speaks* when what it looks at is there: its header or its cookie is present (empty counts), or the host matches.
//! The first rule that speaks fixes the name. Whether the request may have it is then asked of that rule and of the later ones
//! that look at the same thing (`of` and `from`); if none of them allows it, or the project has no such environment, nothing serves
//! the request: a request that named an environment never falls to the default, nor to what another header or cookie says.

pub mod browser;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use http::HeaderMap;
use http::header::{COOKIE, HeaderName};

use crate::clock::UnixMillis;
use crate::policy::access::Networks;
use crate::policy::forward;
use crate::policy::request_gate::RequestView;
use crate::sealed::CookieKey;

use super::Table;
use super::matcher::{EnvironmentEntry, ProjectEntry, admits};

/// One rule, compiled.
#[derive(Debug)]
pub struct Rule {
    /// What it looks at.
    pub source: Source,
    /// Which environments it may name: indices into the project's. For a host rule, the one it names.
    pub of: Vec<usize>,
    /// Whose requests; `None`: everybody's.
    pub from: Option<Networks>,
}

/// What a rule looks at.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// The value of this field is the name.
    Header(HeaderName),
    /// The value of this cookie is the name.
    Cookie(Box<str>),
    /// This host means the one environment of the rule.
    Host(Box<str>),
    /// A host below this one means the one environment of the rule.
    HostsBelow(Box<str>),
}

/// What the rules say about a request.
#[derive(Clone, Copy, Debug)]
pub enum Choice<'t> {
    /// It names none.
    Default(&'t EnvironmentEntry),
    /// This chose.
    Chosen(&'t EnvironmentEntry, By<'t>),
    /// By this it names one that it may not have.
    Unavailable(By<'t>, &'static str),
}

/// What speaks about a request's environment.
#[derive(Clone, Copy, Debug)]
pub enum By<'t> {
    /// A rule of the project.
    Rule(&'t Rule),
    /// The cookie of a browser that was put on it; until then, if it can be read.
    Browser(Option<UnixMillis>),
}

/// What is known beside the request about who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'k> {
    /// Whether the client speaks https, as far as is known.
    pub https: bool,
    /// The true client address.
    pub address: IpAddr,
    /// When.
    pub now: UnixMillis,
    /// What opens our cookies.
    pub key: &'k CookieKey,
}

/// Of a name that is none of the project's.
const NO_SUCH: &str = "the project has no such environment";

/// What one rule makes of a request.
enum Named<'r> {
    Nothing,
    Name(&'r str),
    Environment(usize),
    Unclear,
}

impl Table {
    /// Which environment of this project serves a request for one of its hosts (canonical); `None` only for a project without
    /// environments, which does not compile.
    pub fn choose<'t>(
        &self,
        project: &'t ProjectEntry,
        host: &str,
        request: &RequestView<'_>,
        address: IpAddr,
        now: UnixMillis,
    ) -> Option<Choice<'t>> {
        let proto = forward::x_forwarded_proto(request.tls, request.peer, request.headers, &self.trusted_proxies);
        project.choose(host, request.headers, Sent { https: proto == "https", address, now, key: &self.cookies })
    }
}

impl ProjectEntry {
    /// Chooses; `None` only for a project without environments, which does not compile.
    fn choose<'t>(&'t self, host: &str, headers: &HeaderMap, sent: Sent<'_>) -> Option<Choice<'t>> {
        if let Some(choice) = self.by_browser(headers, sent) {
            return Some(choice);
        }
        let address = sent.address;
        for (place, rule) in self.rules.iter().enumerate() {
            let named = match rule.names(host, headers) {
                Named::Nothing => continue,
                Named::Unclear => {
                    return Some(Choice::Unavailable(By::Rule(rule), "it names several, or what it names is not text"));
                }
                Named::Environment(index) => Some(index),
                Named::Name(name) => self.environments.iter().position(|known| &*known.name == name),
            };
            let alike = self.rules.iter().skip(place).filter(|other| other.source.looks_where(&rule.source, host));
            return Some(self.allowed(rule, alike, named, address));
        }
        self.environments.get(self.default).map(Choice::Default)
    }

    /// The name of the environment that serves by default.
    pub fn default_name(&self) -> &str {
        self.environments.get(self.default).map_or("", |environment| &environment.name)
    }

    /// Whether two projects choose by the same rules.
    pub(super) fn same_rules(&self, other: &Self) -> bool {
        let same = |(old, new): (&Rule, &Rule)| {
            old.source == new.source && old.from == new.from && self.names_of(old).eq(other.names_of(new))
        };
        self.rules.len() == other.rules.len() && self.rules.iter().zip(&other.rules).all(same)
    }

    fn names_of<'t>(&'t self, rule: &'t Rule) -> impl Iterator<Item = &'t str> {
        rule.of.iter().filter_map(|index| self.environments.get(*index)).map(|environment| &*environment.name)
    }

    /// Whether any of these rules, which look at the same thing, lets the address have the environment.
    fn allowed<'t>(
        &'t self,
        named_by: &'t Rule,
        alike: impl Iterator<Item = &'t Rule>,
        named: Option<usize>,
        address: IpAddr,
    ) -> Choice<'t> {
        let Some((index, environment)) = named.and_then(|index| Some((index, self.environments.get(index)?))) else {
            return Choice::Unavailable(By::Rule(named_by), NO_SUCH);
        };
        let mut why = None;
        for rule in alike {
            match rule.permits(index, address) {
                Ok(()) => return Choice::Chosen(environment, By::Rule(rule)),
                Err(reason) => _ = why.get_or_insert(reason),
            }
        }
        Choice::Unavailable(By::Rule(named_by), why.unwrap_or("no rule may name it"))
    }
}

impl By<'_> {
    /// Whether it is what the request itself says, and not which host it is for.
    pub(super) fn reads_fields(&self) -> bool {
        match self {
            Self::Rule(rule) => rule.reads_fields(),
            Self::Browser(_) => true,
        }
    }
}

impl Rule {
    /// Whether it looks at what a request says, and not at which host it is for.
    pub(super) fn reads_fields(&self) -> bool {
        matches!(self.source, Source::Header(_) | Source::Cookie(_))
    }

    fn names<'r>(&self, host: &str, headers: &'r HeaderMap) -> Named<'r> {
        match &self.source {
            Source::Header(name) => one_of(headers.get_all(name).iter().map(|value| value.to_str().ok())),
            Source::Cookie(name) => one_of(cookies(headers, name)),
            Source::Host(_) | Source::HostsBelow(_) if !self.source.is_of(host) => Named::Nothing,
            Source::Host(_) | Source::HostsBelow(_) => {
                self.of.first().map_or(Named::Unclear, |it| Named::Environment(*it))
            }
        }
    }

    /// Whether it gives this host an environment.
    pub(super) fn is_of_host(&self, host: &str) -> bool {
        self.source.is_of(host)
    }

    fn permits(&self, environment: usize, address: IpAddr) -> Result<(), &'static str> {
        if !self.of.contains(&environment) {
            return Err("the rule may not name it");
        }
        if !admits(self.from.as_ref(), address) {
            return Err("the rule is not for this address");
        }
        Ok(())
    }
}

impl Source {
    /// Whether it is a host rule that matches this host.
    fn is_of(&self, host: &str) -> bool {
        match self {
            Self::Host(exact) => **exact == *host,
            Self::HostsBelow(parent) => host
                .strip_suffix(&**parent)
                .is_some_and(|labels| labels.strip_suffix('.').is_some_and(|labels| !labels.is_empty())),
            Self::Header(_) | Self::Cookie(_) => false,
        }
    }

    /// Whether it reads the same part of this request as `other`.
    fn looks_where(&self, other: &Self, host: &str) -> bool {
        self == other || (self.is_of(host) && other.is_of(host))
    }
}

impl fmt::Display for By<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => rule.fmt(f),
            Self::Browser(_) => f.write_str("signed cookie"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Header(name) => write!(f, "header {name}"),
            Source::Cookie(name) => write!(f, "cookie {name}"),
            Source::Host(host) => write!(f, "host {host}"),
            Source::HostsBelow(parent) => write!(f, "host *.{parent}"),
        }
    }
}

/// The one value that all of these agree on.
fn one_of<'r>(values: impl Iterator<Item = Option<&'r str>>) -> Named<'r> {
    let mut found = Named::Nothing;
    for value in values {
        found = match (found, value) {
            (Named::Nothing, Some(value)) => Named::Name(value),
            (Named::Name(first), Some(value)) if first == value => Named::Name(first),
            _ => return Named::Unclear,
        };
    }
    found
}

/// The values of every cookie of that name (RFC 6265 §5.4), without the optional quotes.
fn cookies<'r>(headers: &'r HeaderMap, name: &str) -> impl Iterator<Item = Option<&'r str>> {
    headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).filter_map(
        move |pair| {
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (pair.get(..equals)?.trim_ascii(), pair.get(equals + 1..)?.trim_ascii());
            (key == name.as_bytes()).then(|| std::str::from_utf8(unquoted(value)).ok())
        },
    )
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}
