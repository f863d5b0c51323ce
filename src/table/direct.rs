//! Prefixes in `mode: direct`: browsers learn of them from `/.countersign/routes.json` and call their targets themselves. The edge never
//! forwards a request of theirs; one that comes here all the same is told so.

use std::sync::Arc;

use super::matcher::Prefixed;

/// One of an environment's direct prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Direct {
    /// The project's name.
    pub project: Arc<str>,
    /// The environment's name.
    pub environment: Arc<str>,
    /// `/` or whole segments without a trailing slash.
    pub prefix: Arc<str>,
    /// `http(s)://host[:port][/path]`: what replaces the prefix. No user, query or fragment.
    pub target: Arc<str>,
    /// Where it was written: file as shown to people, line.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
}

impl Direct {
    /// Whether two lead to the same place, wherever they stand in their files.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.target == other.target
    }
}

impl Prefixed for Direct {
    fn prefix(&self) -> &Arc<str> {
        &self.prefix
    }

    fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}
