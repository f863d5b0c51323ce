//! The dashboard's own file as data: which routes it has, with one more, one less, one other.
//!
//! It is written whole, and the same data is always the same text; what somebody has written into it by hand stays as far as it
//! is data (comments are none). A route's keys are not looked at here: what they may be is the configuration's business.
//!
//! Invariant: an edit changes the one route that it is about (`an_edit_changes_one_route`).

use std::path::{Path, PathBuf};

use super::file;
use crate::config::data::Data;
use crate::config::{DASHBOARD, parse_prefix};

/// What the file begins with.
const HEADER: &str = "\
# Routes that were made in the dashboard or by the admin API. Countersign writes this file anew with each of them, so that
# comments are lost; whatever else is written here by hand stays. It adds routes to projects that the configuration defines,
# may hold secrets, and is nobody else's to read (mode 0600).
";

/// The environments, routes and so on are written by hand as something else than they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is no YAML.
    #[error("line {line}: {message}")]
    Syntax {
        /// From 1.
        line: u32,
        /// What is wrong.
        message: String,
    },
    /// It is not text.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// `projects`, `environments` or `routes` is no mapping or list.
    #[error("`{0}` is not what it should be")]
    Shape(String),
}

/// Which routes of which environment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The project's name.
    pub project: String,
    /// The environment's name.
    pub environment: String,
}

/// What tells a route from the others of its environment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Without trailing slash (but `/` itself).
    pub prefix: String,
    /// `api`, unless the route says otherwise.
    pub mode: String,
}

impl Key {
    /// The mode of routes that do not say.
    pub const API: &'static str = "api";

    /// Of a prefix, for requests that pass through the proxy.
    pub fn api(prefix: &str) -> Self {
        Self { prefix: plain(prefix), mode: Self::API.to_owned() }
    }

    /// Of a route as it is written.
    pub fn of(route: &Data) -> Option<Self> {
        let mode = route.get("mode").and_then(Data::text).filter(|mode| !mode.is_empty()).unwrap_or(Self::API);
        Some(Self { prefix: plain(route.get("prefix")?.text()?), mode: mode.to_owned() })
    }
}

/// As it is compared: `/a/` is `/a`.
fn plain(prefix: &str) -> String {
    parse_prefix(prefix).unwrap_or_else(|_| prefix.to_owned())
}

/// The file's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dashboard {
    root: Data,
}

impl Dashboard {
    /// Where it is.
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(DASHBOARD)
    }

    /// Of the file's bytes; of no file, an empty one.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn read(bytes: &[u8]) -> Result<Self, Unfit> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unfit::NotUtf8)?;
        let root = Data::read(text.strip_prefix('\u{feff}').unwrap_or(text))
            .map_err(|problem| Unfit::Syntax { line: problem.at.map_or(1, |at| at.line), message: problem.message })?;
        Ok(Self { root })
    }

    /// As it is written.
    pub fn write(&self) -> Vec<u8> {
        let body = if self.root.is_empty() { "projects: {}\n".to_owned() } else { self.root.write() };
        format!("{HEADER}{body}").into_bytes()
    }

    /// The routes of a place, in the order written.
    pub fn routes(&self, place: &Place) -> &[Data] {
        let keys = ["projects", &place.project, "environments", &place.environment, "routes"];
        self.root.at(&keys).map(Data::items).unwrap_or_default()
    }

    /// One of them, and its index.
    pub fn route(&self, place: &Place, key: &Key) -> Option<(usize, &Data)> {
        self.routes(place).iter().enumerate().find(|(_, route)| Key::of(route).as_ref() == Some(key))
    }

    /// Adds a route behind the others.
    ///
    /// # Errors
    /// The file is not shaped so that it could have one there.
    pub fn add(&mut self, place: &Place, route: Data) -> Result<(), Unfit> {
        self.list(place)?.push(route);
        Ok(())
    }

    /// Puts a route in the place of one that is there.
    ///
    /// # Errors
    /// See [`Self::add`].
    pub fn replace(&mut self, place: &Place, index: usize, route: Data) -> Result<(), Unfit> {
        if let Some(old) = self.list(place)?.get_mut(index) {
            *old = route;
        }
        Ok(())
    }

    /// Takes a route away, and with the last one the environment and the project.
    ///
    /// # Errors
    /// See [`Self::add`].
    pub fn remove(&mut self, place: &Place, index: usize) -> Result<(), Unfit> {
        let list = self.list(place)?;
        if index < list.len() {
            list.remove(index);
        }
        let Place { project, environment } = place;
        prune(&mut self.root, &["projects", project, "environments", environment, "routes"]);
        Ok(())
    }

    fn list(&mut self, place: &Place) -> Result<&mut Vec<Data>, Unfit> {
        let mut at = &mut self.root;
        for key in ["projects", &place.project, "environments", &place.environment, "routes"] {
            at = at.entry(key).ok_or_else(|| Unfit::Shape(key.to_owned()))?;
        }
        if *at == Data::Null {
            *at = Data::List(Vec::new());
        }
        match at {
            Data::List(items) => Ok(items),
            _ => Err(Unfit::Shape("routes".to_owned())),
        }
    }
}

/// At the start of the process: the file is closed to others, and what a killed process has left beside it goes.
pub fn settle(state_dir: &Path) {
    file::close(&Dashboard::path(state_dir));
    file::sweep(state_dir, |name| name == DASHBOARD);
}

/// Takes away what is empty at the end of a path, from the end on.
fn prune(data: &mut Data, path: &[&str]) {
    let Some((key, rest)) = path.split_first() else { return };
    let Data::Map(entries) = data else { return };
    if let Some((_, value)) = entries.iter_mut().find(|(known, _)| known == key) {
        prune(value, rest);
    }
    entries.retain(|(known, value)| known != key || !value.is_empty());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::data::tests::data as anything;

    const TEXT: &str = "projects:\n  demo:\n    environments:\n      production:\n        routes:\n          \
        - { prefix: /a/, upstream: \"https://a.test\", unknown: [1, 0x10, ~] } # mine\n          - { prefix: /b, respond: {} }\n";

    fn place() -> Place {
        Place { project: "demo".to_owned(), environment: "production".to_owned() }
    }

    fn route(json: &str) -> Data {
        serde_json::from_str(json).unwrap()
    }

    fn keys(dashboard: &Dashboard, place: &Place) -> Vec<String> {
        dashboard.routes(place).iter().map(|route| Key::of(route).unwrap().prefix).collect()
    }

    #[test]
    fn an_edit_changes_one_route() {
        let before = Dashboard::read(TEXT.as_bytes()).unwrap();
        let mut after = before.clone();
        after.add(&place(), route(r#"{"prefix":"/c","respond":{"status":204}}"#)).unwrap();
        let (index, _) = after.route(&place(), &Key::api("/b/")).unwrap();
        after.replace(&place(), index, route(r#"{"prefix":"/b2","respond":{}}"#)).unwrap();
        let after = Dashboard::read(&after.write()).unwrap();
        assert_eq!(keys(&after, &place()), ["/a", "/b2", "/c"]);
        assert!(after.routes(&place())[0] == before.routes(&place())[0], "{}", String::from_utf8_lossy(&after.write()));
        assert!(String::from_utf8(after.write()).unwrap().contains("0x10"));
    }

    /// A route with anything in it.
    fn any_route(prefix: usize, content: Data) -> Data {
        Data::Map(vec![("prefix".to_owned(), Data::Text(format!("/r{prefix}"))), ("content".to_owned(), content)])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn whatever_is_edited_the_other_routes_stay(
            contents in prop::collection::vec(anything(), 1..6),
            new in anything(),
            chosen in any::<prop::sample::Index>(),
            action in 0..3u8,
        ) {
            let routes: Vec<Data> = contents.into_iter().enumerate().map(|(at, it)| any_route(at, it)).collect();
            let elsewhere = Place { environment: "dev".to_owned(), ..place() };
            let mut dashboard = Dashboard::read(b"").unwrap();
            for route in &routes {
                dashboard.add(&place(), route.clone()).unwrap();
                dashboard.add(&elsewhere, route.clone()).unwrap();
            }
            let mut edited = Dashboard::read(&dashboard.write()).unwrap();
            let (mut expected, at) = (routes.clone(), chosen.index(routes.len()));
            let new = any_route(99, new);
            match action {
                0 => (expected.push(new.clone()), edited.add(&place(), new).unwrap()).1,
                1 => (expected[at] = new.clone(), edited.replace(&place(), at, new).unwrap()).1,
                _ => (drop(expected.remove(at)), edited.remove(&place(), at).unwrap()).1,
            }
            let edited = Dashboard::read(&edited.write()).unwrap();
            prop_assert!(edited.routes(&place()) == expected);
            prop_assert!(edited.routes(&elsewhere) == routes);
        }
    }

    #[test]
    fn what_is_empty_goes_and_nothing_else() {
        let mut dashboard = Dashboard::read(TEXT.as_bytes()).unwrap();
        let other = Place { project: "demo".to_owned(), environment: "local".to_owned() };
        dashboard.add(&other, route(r#"{"prefix":"/","respond":{}}"#)).unwrap();
        dashboard.remove(&place(), 0).unwrap();
        dashboard.remove(&place(), 0).unwrap();
        assert_eq!((keys(&dashboard, &place()).len(), keys(&dashboard, &other).len()), (0, 1));
        assert!(!String::from_utf8(dashboard.write()).unwrap().contains("production"));
        dashboard.remove(&other, 0).unwrap();
        assert!(String::from_utf8(dashboard.write()).unwrap().ends_with("\nprojects: {}\n"));
        assert!(dashboard == Dashboard::read(b"").unwrap() || dashboard.root.is_empty());
    }

    #[test]
    fn what_is_no_such_file_is_said() {
        assert!(matches!(Dashboard::read(b"projects: [\n"), Err(Unfit::Syntax { .. })));
        assert_eq!(Dashboard::read(b"\xff"), Err(Unfit::NotUtf8));
        let mut odd = Dashboard::read(b"projects: { demo: 1 }\n").unwrap();
        assert_eq!(odd.add(&place(), Data::Null), Err(Unfit::Shape("environments".to_owned())));
    }
}
