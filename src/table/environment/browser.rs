//! Browsers that were put on an environment: by a link that only the dashboard makes, which becomes a cookie that only the edge makes.
//!
//! Flow: somebody who is signed in at the dashboard gets a link with a [`Grant`], good for [`OPENS_FOR`]; opening it on a host of the project
//! makes a [`Stay`] of it, which the browser brings back as a cookie until it ends. Both are sealed, each for its own purpose, with
//! project, environment and end inside: what a browser does to its cookies changes nothing.
//!
//! Invariant: a cookie of that name that is forged, over, another project's, or for an environment that is gone refuses the request;
//! it never falls to the default (`a_cookie_that_does_not_hold_serves_nothing`).

#[cfg(test)]
mod tests;

use std::time::Duration;

use http::HeaderMap;
use http::header::COOKIE;

use crate::clock::UnixMillis;
use crate::sealed::Sealer;

use super::super::matcher::ProjectEntry;
use super::{By, Choice, NO_SUCH, Named, Sent, cookies, one_of};

/// The cookie's name over https, which no neighbour's page and nothing in the clear can set (RFC 6265bis §4.1.3.2).
pub const SECURE: &str = "__Host-countersign-environment";

/// The same over plain http.
pub const PLAIN: &str = "countersign-environment";

/// How long a link can be opened.
pub const OPENS_FOR: Duration = Duration::from_secs(5 * 60);

/// The longest that a browser can be put on an environment.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The environment that serves only where a rule lists it.
const LOCAL: &str = "local";

const PURPOSE: &str = "environment";
const GRANT_PURPOSE: &str = "environment-grant";

/// A browser's stay on an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Of which project.
    pub project: String,
    /// Which.
    pub environment: String,
    /// When it ends.
    pub until: UnixMillis,
}

/// A stay that waits to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What it will be.
    pub stay: Stay,
    /// Until when it can be opened.
    pub opens_until: UnixMillis,
}

/// The cookie's name.
pub fn name(https: bool) -> &'static str {
    if https { SECURE } else { PLAIN }
}

impl Stay {
    /// The cookie's value. `None`: the system has no randomness.
    pub fn seal(&self, sealer: &Sealer) -> Option<String> {
        sealer.seal(PURPOSE, self.text().as_bytes())
    }

    /// What a cookie's value says, whether or not it is over. `None`: none of ours.
    pub fn open(sealer: &Sealer, value: &str) -> Option<Self> {
        Self::parse(std::str::from_utf8(&sealer.open(PURPOSE, value)?).ok()?)
    }

    /// Names in a configuration hold no line end.
    fn text(&self) -> String {
        format!("{}\n{}\n{}", self.until, self.project, self.environment)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let until = lines.next()?.parse().ok()?;
        let (project, environment) = (lines.next()?.to_owned(), lines.next()?.to_owned());
        lines.next().is_none().then_some(Self { project, environment, until })
    }
}

impl Grant {
    /// For a link. `None`: the system has no randomness.
    pub fn seal(&self, sealer: &Sealer) -> Option<String> {
        let text = format!("{}\n{}", self.opens_until, self.stay.text());
        sealer.seal(GRANT_PURPOSE, text.as_bytes())
    }

    /// What a link says, whether or not it can be opened still. `None`: none of ours.
    pub fn open(sealer: &Sealer, text: &str) -> Option<Self> {
        let clear = sealer.open(GRANT_PURPOSE, text)?;
        let (opens_until, stay) = std::str::from_utf8(&clear).ok()?.split_once('\n')?;
        Some(Self { stay: Stay::parse(stay)?, opens_until: opens_until.parse().ok()? })
    }
}

impl ProjectEntry {
    /// What the browser's cookie says; `None`: there is none.
    pub(super) fn by_browser<'t>(&'t self, headers: &HeaderMap, sent: Sent<'_>) -> Option<Choice<'t>> {
        if !headers.contains_key(COOKIE) {
            return None;
        }
        let value = match one_of(cookies(headers, name(sent.https))) {
            Named::Nothing => return None,
            Named::Name(value) => value,
            Named::Unclear | Named::Environment(_) => {
                return Some(Choice::Unavailable(By::Browser(None), "it comes more than once"));
            }
        };
        let Some(sealer) = sent.key.sealer() else {
            return Some(Choice::Unavailable(By::Browser(None), "only the running process can open it"));
        };
        let stay = Stay::open(sealer, value);
        Some(match stay {
            Some(stay) => self.stays(&stay, sent),
            None => Choice::Unavailable(By::Browser(None), "it is not one that this edge has made"),
        })
    }

    fn stays(&self, stay: &Stay, sent: Sent<'_>) -> Choice<'_> {
        let by = By::Browser(Some(stay.until));
        if *self.name != *stay.project {
            return Choice::Unavailable(by, "it is for another project");
        }
        if sent.now >= stay.until {
            return Choice::Unavailable(by, "it is over");
        }
        let found = self.environments.iter().enumerate().find(|(_, known)| *known.name == *stay.environment);
        let Some((index, environment)) = found else { return Choice::Unavailable(by, NO_SUCH) };
        let listed = || self.rules.iter().any(|rule| rule.permits(index, sent.address).is_ok());
        if stay.environment == LOCAL && !listed() {
            return Choice::Unavailable(by, "no rule lists `local` for this address");
        }
        Choice::Chosen(environment, by)
    }

    /// Whether a browser may be put on that environment: it has it, and, for `local`, a rule lists it.
    pub fn may_grant(&self, environment: &str) -> bool {
        let found = self.environments.iter().position(|known| *known.name == *environment);
        let listed = |index| self.rules.iter().any(|rule| rule.of.contains(&index));
        found.is_some_and(|index| environment != LOCAL || listed(index))
    }
}
