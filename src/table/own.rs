//! What the edge answers by itself below `/.countersign/`, on every host of a project.

use super::decide::Step;
use super::matcher::ProjectEntry;

/// The prefix. No route serves it.
pub const PREFIX: &str = "/.countersign";

/// One of its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `client.js`: the module for browsers.
    Client,
    /// `client.d.ts`: its types.
    ClientTypes,
    /// `routes.json`: the prefixes of the environment in force.
    Routes,
    /// `local`: where a developer switches local debugging on and off.
    Local,
    /// `local.js`: its script.
    LocalScript,
    /// `local.css`: its looks.
    LocalStyle,
    /// `environment`: which environment this browser is on; also takes what the dashboard minted.
    Environment,
    /// `oidc/login`: begins a log-in.
    OidcLogin,
    /// `oidc/callback`: where the issuer sends the browser back to.
    OidcCallback,
    /// `oidc/logout`: ends the session.
    OidcLogout,
}

/// All of them.
const PAGES: &[(&str, Page)] = &[
    ("client.js", Page::Client),
    ("client.d.ts", Page::ClientTypes),
    ("routes.json", Page::Routes),
    ("local", Page::Local),
    ("local.js", Page::LocalScript),
    ("local.css", Page::LocalStyle),
    ("environment", Page::Environment),
    ("oidc/login", Page::OidcLogin),
    ("oidc/callback", Page::OidcCallback),
    ("oidc/logout", Page::OidcLogout),
];

impl Page {
    /// Of a canonical path.
    pub fn of(path: &str) -> Option<Self> {
        let name = path.strip_prefix(PREFIX)?.strip_prefix('/')?;
        PAGES.iter().find(|(known, _)| *known == name).map(|(_, page)| *page)
    }

    /// What it does about a log-in, if it is one of those pages.
    pub(super) fn step(self) -> Option<Step> {
        match self {
            Self::OidcLogin => Some(Step::Begin),
            Self::OidcCallback => Some(Step::End),
            Self::OidcLogout => Some(Step::Leave),
            _ => None,
        }
    }
}

impl Step {
    /// The page that it is; `None`: any page of a project.
    pub(super) fn page(self) -> Option<Page> {
        match self {
            Self::Needed => None,
            Self::Begin => Some(Page::OidcLogin),
            Self::End => Some(Page::OidcCallback),
            Self::Leave => Some(Page::OidcLogout),
        }
    }
}

impl ProjectEntry {
    /// Whether the project has that page.
    pub fn serves(&self, page: Page) -> bool {
        match page {
            Page::Client | Page::ClientTypes | Page::Routes | Page::Local | Page::LocalScript | Page::LocalStyle => {
                self.browser.is_some()
            }
            Page::Environment => true,
            Page::OidcLogin | Page::OidcCallback | Page::OidcLogout => self.identification.log_in().is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_by_their_whole_path() {
        assert_eq!(Page::of("/.countersign/oidc/callback"), Some(Page::OidcCallback));
        for path in ["/.countersign", "/.countersign/", "/.countersignclient.js", "/client.js", "/.countersign/local/"]
        {
            assert_eq!(Page::of(path), None, "{path}");
        }
    }
}
