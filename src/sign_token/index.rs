//! Which routes have their token in the state directory. Without it a file that got lost would go unnoticed after a restart: the
//! route would sign without a token.

use serde::{Deserialize, Serialize};

use super::RouteName;

/// The file's name.
pub const NAME: &str = "index.json";

/// Of the form.
const VERSION: u8 = 1;

/// The routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index(Vec<Route>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    project: String,
    environment: String,
    prefix: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    v: u8,
    kept: Vec<Route>,
}

impl Index {
    /// What the file says; `None`: it is damaged.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let document: Document = serde_json::from_slice(bytes).ok()?;
        (document.v == VERSION).then_some(Self(document.kept))
    }

    /// The file's bytes.
    pub fn write(&self) -> Vec<u8> {
        let document = Document { v: VERSION, kept: self.0.clone() };
        let mut bytes = serde_json::to_vec_pretty(&document).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Whether a route is in it.
    pub fn has(&self, route: RouteName<'_>) -> bool {
        self.0.iter().any(|known| known.is(route))
    }

    /// With a route, or without it.
    #[must_use]
    pub fn with(mut self, route: RouteName<'_>, kept: bool) -> Self {
        self.0.retain(|known| !known.is(route));
        if kept {
            let [project, environment, prefix] = [route.project, route.environment, route.prefix].map(str::to_owned);
            self.0.push(Route { project, environment, prefix });
            self.0.sort();
        }
        self
    }
}

impl Route {
    fn is(&self, route: RouteName<'_>) -> bool {
        (&*self.project, &*self.environment, &*self.prefix) == (route.project, route.environment, route.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_come_and_go() {
        let name = |prefix| RouteName { project: "demo", environment: "dev", prefix };
        let index = Index::default().with(name("/b"), true).with(name("/a"), true).with(name("/a"), true);
        assert!(index.has(name("/a")) && index.has(name("/b")) && !index.has(name("/c")));
        assert_eq!(Index::read(&index.write()).unwrap(), index);
        let index = index.with(name("/a"), false).with(name("/c"), false);
        assert!(!index.has(name("/a")) && index.has(name("/b")));
        assert_eq!(Index::read(b"{}"), None);
        assert_eq!(Index::read(b""), None);
    }
}
