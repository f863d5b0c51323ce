//! Routes of the dashboard: which there are, and what adding, replacing or removing one would make of its file.
//!
//! Flow: [`Routes::open`] looks at the file and at the table in force; [`Routes::plan`] says which file will say what ([`Plan`]), which the
//! [`Editor`](super::Editor) judges or applies; [`Plan::explain`] turns what is wrong then into words about the route that was sent.
//!
//! Invariants: a route of the operator's own files is never touched; nothing is created that the operator has not defined, but
//! routes; `***` in a secret's place keeps what is stored (`stars_keep_what_is_stored`).

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::Change;
use super::dashboard::{Dashboard, Key, Place, Unfit};
use super::file::{self, Digest, Seen};
use super::sign_token;
use crate::clock::UnixMillis;
use crate::config::data::{self, Data, NotStored};
use crate::secret::Secret;
use crate::sign_token::{Home, RouteName};
use crate::table::{Route, Table};

/// The environments that every project has.
const ALWAYS: [&str; 2] = ["production", "local"];

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Edit {
    /// A new route.
    Add(Data),
    /// Another route in the place of one; its prefix may be another too.
    Replace(Key, Data),
    /// One less.
    Remove(Key),
}

/// Why nothing can be done.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No file defines the project.
    #[error("there is no project of that name")]
    UnknownProject,
    /// The project lacks the environment.
    #[error("the project has no environment of that name; the configuration defines them")]
    UnknownEnvironment,
    /// Nobody has made such a route.
    #[error("there is no route with that prefix in this environment")]
    UnknownRoute,
    /// The dashboard has one already.
    #[error("there is a route with that prefix in this environment already; replace it with PUT")]
    Exists,
    /// One of the operator's own.
    #[error("this prefix is routed by {file}:{line}, which is edited by hand")]
    Operators {
        /// The file.
        file: String,
        /// From 1.
        line: u32,
    },
    /// What was sent is no route.
    #[error("{0}")]
    Body(&'static str),
    /// See there.
    #[error(transparent)]
    NotStored(#[from] NotStored),
    /// Its sign token cannot be kept.
    #[error(transparent)]
    SignToken(#[from] sign_token::Fault),
    /// The file has been edited by hand, and is no longer one.
    #[error("{path} cannot be edited: {why}")]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: Unfit,
    },
    /// The system refuses.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A route, where it stands, and whether it can be edited here.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// What it matches.
    pub prefix: String,
    /// `api`, `direct`.
    pub mode: String,
    /// The file.
    pub file: String,
    /// Of the file, from 1; 0: not known.
    pub line: u32,
    /// Whether it is the dashboard's.
    pub editable: bool,
    /// As it is written, with `***` for secrets; `None`: the file says something else by now.
    pub route: Option<Data>,
}

/// What will be written.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The sign token that came with the route: written first, and not remembered.
    pub token: Vec<Change>,
    /// The file.
    pub changes: Vec<Change>,
    /// In a few words, without secrets.
    pub what: String,
    /// The route that it is about, as it will be found.
    pub key: Key,
    path: PathBuf,
    text: String,
    /// Where the route will stand, from the root; `None`: nowhere.
    steps: Option<Vec<String>>,
}

/// Something to be said about a route that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// `error`, `warning`.
    pub severity: String,
    /// As in every diagnostic.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Where in the route that was sent, such as `payload.x-api-key`; empty: the route as a whole; `None`: elsewhere.
    pub key: Option<String>,
    /// Of what is not about the route: the file.
    pub file: Option<String>,
    /// Of that file, from 1.
    pub line: Option<u64>,
}

impl Remark {
    /// An error at a key of the route.
    pub fn of_the_route(code: &str, message: &str, key: &str) -> Self {
        Self {
            severity: "error".to_owned(),
            code: code.to_owned(),
            message: message.to_owned(),
            hint: String::new(),
            key: Some(key.to_owned()),
            file: None,
            line: None,
        }
    }
}

/// The routes as they are.
#[derive(Debug)]
pub struct Routes {
    table: Arc<Table>,
    path: PathBuf,
    seen: Option<Seen>,
    dashboard: Dashboard,
}

impl Routes {
    /// Looks at the file. Blocks.
    ///
    /// # Errors
    /// It cannot be read, or is no such file.
    pub fn open(table: Arc<Table>) -> Result<Self, Fault> {
        let path = Dashboard::path(&table.started_with.admin.state_dir);
        let seen = file::look(&path).map_err(|source| Fault::Io { path: path.clone(), source })?;
        let bytes = seen.as_ref().map(|seen| &*seen.bytes).unwrap_or_default();
        let dashboard = Dashboard::read(bytes).map_err(|why| Fault::Unfit { path: path.clone(), why })?;
        Ok(Self { table, path, seen, dashboard })
    }

    /// Of the file; one that is not there says nothing.
    pub fn digest(&self) -> Digest {
        self.seen.as_ref().map_or_else(|| file::digest(b""), |seen| seen.digest)
    }

    /// All routes of a place: the dashboard's, then the operator's.
    ///
    /// # Errors
    /// There is no such place.
    pub fn list(&self, place: &Place) -> Result<Vec<Standing>, Fault> {
        self.check(place)?;
        let lines = self.lines();
        let own = self.dashboard.routes(place).iter().enumerate();
        let mut all: Vec<Standing> = own.filter_map(|(index, route)| self.own(place, index, route, &lines)).collect();
        let mut files = Files::default();
        all.extend(self.operators(place).map(|route| files.standing(route)));
        Ok(all)
    }

    /// One of them.
    ///
    /// # Errors
    /// There is no such place or route.
    pub fn one(&self, place: &Place, key: &Key) -> Result<Standing, Fault> {
        self.check(place)?;
        if let Some((index, route)) = self.dashboard.route(place, key) {
            return self.own(place, index, route, &self.lines()).ok_or(Fault::UnknownRoute);
        }
        let route = self.operators(place).find(|route| *route.prefix == *key.prefix && key.mode == Key::API);
        route.map(|route| Files::default().standing(route)).ok_or(Fault::UnknownRoute)
    }

    /// What the edit makes of the file.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn plan(&self, place: &Place, edit: Edit, now: UnixMillis) -> Result<Plan, Fault> {
        self.check(place)?;
        let mut dashboard = self.dashboard.clone();
        let unfit = |why| Fault::Unfit { path: self.path.clone(), why };
        let mut token = Vec::new();
        let (key, verb, steps) = match edit {
            Edit::Add(route) => {
                let (key, mut route) = self.written(route, None)?;
                self.check_free(place, &key)?;
                token = self.kept_apart(place, &key, &mut route, now)?;
                let index = dashboard.routes(place).len();
                dashboard.add(place, route).map_err(unfit)?;
                (key, "added", Some(steps(place, index)))
            }
            Edit::Replace(old, route) => {
                let (index, stored) = self.mine(place, &old)?;
                let sent = sends_a_token(&route);
                let (key, mut route) = self.written(route, Some((&old, stored)))?;
                if key != old {
                    self.check_free(place, &key)?;
                    self.check_token_stays(place, &old, &route)?;
                }
                if sent {
                    token = self.kept_apart(place, &key, &mut route, now)?;
                }
                dashboard.replace(place, index, route).map_err(unfit)?;
                (key, "replaced", Some(steps(place, index)))
            }
            Edit::Remove(key) => {
                let (index, _) = self.mine(place, &key)?;
                dashboard.remove(place, index).map_err(unfit)?;
                (key, "removed", None)
            }
        };
        let bytes = dashboard.write();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let same = Dashboard::read(&bytes).is_ok_and(|read| read.routes(place) == dashboard.routes(place));
        if !same {
            return Err(Fault::Body("the route holds something that a configuration file cannot"));
        }
        let before = self.seen.as_ref().map(|seen| seen.digest);
        let what = format!("{}/{}: route {} {verb}", place.project, place.environment, key.prefix);
        let changes = vec![Change { path: self.path.clone(), before, after: Some(bytes) }];
        Ok(Plan { token, changes, what, key, path: self.path.clone(), text, steps })
    }

    /// Takes a sign token out of a route: it has a file of its own, and is never read back.
    fn kept_apart(&self, place: &Place, key: &Key, route: &mut Data, now: UnixMillis) -> Result<Vec<Change>, Fault> {
        if !sends_a_token(route) {
            return Ok(Vec::new());
        }
        let taken = route.entry("sign").and_then(|sign| sign.take("token"));
        let token = Secret::new(taken.as_ref().and_then(Data::text).unwrap_or_default());
        Ok(sign_token::with_a_new_route(&self.table, name(place, key), &token, now)?)
    }

    /// What is kept for a route is found by its prefix.
    fn check_token_stays(&self, place: &Place, old: &Key, route: &Data) -> Result<(), Fault> {
        let signs_by_it = route.get("sign").is_some_and(|sign| sign.get("token").is_none());
        let known = sign_token::find(&self.table, name(place, old)).and_then(|route| route.sign.as_ref());
        let kept = known.is_some_and(|sign| *sign.home() == Home::Kept);
        if signs_by_it && kept {
            return Err(Fault::Body(
                "the sign token is kept for the old prefix: send it again as `sign.token`, or add a second route",
            ));
        }
        Ok(())
    }

    /// That the table in force has the place.
    fn check(&self, place: &Place) -> Result<(), Fault> {
        let projects = self.table.matcher.projects();
        let project = projects.iter().find(|project| *project.name == *place.project).ok_or(Fault::UnknownProject)?;
        let has = project.environments.iter().any(|environment| *environment.name == *place.environment);
        if has || ALWAYS.contains(&place.environment.as_str()) { Ok(()) } else { Err(Fault::UnknownEnvironment) }
    }

    /// A route of the dashboard.
    fn mine(&self, place: &Place, key: &Key) -> Result<(usize, &Data), Fault> {
        self.dashboard.route(place, key).ok_or_else(|| self.taken(place, key).unwrap_or(Fault::UnknownRoute))
    }

    fn check_free(&self, place: &Place, key: &Key) -> Result<(), Fault> {
        if let Some(taken) = self.taken(place, key) {
            return Err(taken);
        }
        if self.dashboard.route(place, key).is_some() { Err(Fault::Exists) } else { Ok(()) }
    }

    /// By the operator.
    fn taken(&self, place: &Place, key: &Key) -> Option<Fault> {
        let mut operators = self.operators(place);
        let route = operators.find(|route| *route.prefix == *key.prefix && key.mode == Key::API)?;
        Some(Fault::Operators { file: route.file.to_string(), line: route.line })
    }

    /// The routes in force that are not the dashboard's.
    fn operators(&self, place: &Place) -> impl Iterator<Item = &Arc<Route>> {
        let own = self.path.display().to_string();
        self.table.routes.iter().filter(move |route| {
            *route.project == *place.project && *route.environment == *place.environment && *route.file != *own
        })
    }

    /// As it will be written: with what is stored for `***`, and with its prefix.
    fn written(&self, route: Data, old: Option<(&Key, &Data)>) -> Result<(Key, Data), Fault> {
        let mut route = route.restored(old.map(|(_, stored)| stored))?;
        let Data::Map(entries) = &mut route else { return Err(Fault::Body("a route is a JSON object")) };
        let has_prefix = entries.iter().any(|(name, _)| name == "prefix");
        if let (Some((key, _)), false) = (old, has_prefix) {
            entries.insert(0, ("prefix".to_owned(), Data::Text(key.prefix.clone())));
        }
        let key = Key::of(&route).ok_or(Fault::Body("the route has no `prefix`"))?;
        if key.prefix.contains('$') || key.mode.contains('$') {
            return Err(Fault::Body("`prefix` and `mode` hold no variables here"));
        }
        Ok((key, route))
    }

    fn own(&self, place: &Place, index: usize, route: &Data, lines: &Lines) -> Option<Standing> {
        let Key { prefix, mode } = Key::of(route)?;
        let line = lines.get(&steps(place, index)).copied().unwrap_or_default();
        let file = self.path.display().to_string();
        Some(Standing { prefix, mode, file, line, editable: true, route: Some(route.masked()) })
    }

    fn lines(&self) -> Lines {
        let bytes = self.seen.as_ref().map(|seen| &*seen.bytes).unwrap_or_default();
        let places = data::places(std::str::from_utf8(bytes).unwrap_or_default());
        places.into_iter().map(|place| (place.path, place.line)).collect()
    }
}

/// Whether a route has a sign token in it, which signs something.
fn sends_a_token(route: &Data) -> bool {
    let Some(sign) = route.get("sign") else { return false };
    let scheme = sign.get("scheme").and_then(Data::text);
    scheme.is_some_and(|scheme| scheme != "none")
        && sign.get("token").is_some_and(|it| it.is_literal() && it.text().is_some())
}

fn name<'n>(place: &'n Place, key: &'n Key) -> RouteName<'n> {
    RouteName { project: &place.project, environment: &place.environment, prefix: &key.prefix }
}

type Lines = HashMap<Vec<String>, u32>;

/// From the root of the file to a route.
fn steps(place: &Place, index: usize) -> Vec<String> {
    let Place { project, environment } = place;
    ["projects", project, "environments", environment, "routes", &index.to_string()].map(str::to_owned).to_vec()
}

/// The operator's files, each read once.
#[derive(Default)]
struct Files(HashMap<Arc<str>, Option<Data>>);

impl Files {
    fn standing(&mut self, route: &Route) -> Standing {
        let file = self.0.entry(Arc::clone(&route.file)).or_insert_with(|| read(Path::new(&*route.file)));
        let keys = ["projects", &route.project, "environments", &route.environment, "routes"];
        let routes = file.as_ref().and_then(|file| file.at(&keys)).map(Data::items).unwrap_or_default();
        let key = Key::api(&route.prefix);
        let written = routes.iter().find(|written| Key::of(written).as_ref() == Some(&key));
        Standing {
            prefix: route.prefix.to_string(),
            mode: key.mode,
            file: route.file.to_string(),
            line: route.line,
            editable: false,
            route: written.map(Data::masked),
        }
    }
}

fn read(path: &Path) -> Option<Data> {
    let bytes = file::look(path).ok()??.bytes;
    Data::read(std::str::from_utf8(&bytes).ok()?).ok()
}

impl Plan {
    /// What a report says, in words about the route that was sent: errors all, warnings only where they are about the route.
    pub fn explain(&self, diagnostics: &[Value]) -> Vec<Remark> {
        let places = data::places(&self.text);
        let remarks = diagnostics.iter().map(|diagnostic| self.remark(diagnostic, &places));
        remarks.filter(|remark| remark.severity == "error" || remark.key.is_some()).collect()
    }

    fn remark(&self, diagnostic: &Value, places: &[data::Place]) -> Remark {
        let text = |name: &str| diagnostic[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| diagnostic[name].as_u64();
        let file = text("file");
        let ours = file == self.path.display().to_string();
        let at = number("line").zip(number("column"));
        let code = text("code");
        let path = at.filter(|_| ours).and_then(|at| found_at(places, at, &code));
        let key = path.zip(self.steps.as_ref()).and_then(|(path, steps)| Some(path.strip_prefix(&**steps)?.join(".")));
        let elsewhere = key.is_none();
        Remark {
            severity: text("severity"),
            code,
            message: text("message"),
            hint: text("hint"),
            file: elsewhere.then_some(file),
            line: if elsewhere { number("line") } else { None },
            key,
        }
    }
}

/// The last key or value that begins there or before. A mapping begins where its first key does: what is missing is the
/// mapping's, what is wrong the key's.
fn found_at<'p>(places: &'p [data::Place], at: (u64, u64), code: &str) -> Option<&'p [String]> {
    let begins = |place: &data::Place| (u64::from(place.line), u64::from(place.column));
    let last = places.iter().take_while(|place| begins(place) <= at).last()?;
    let outermost = places.iter().find(|place| begins(place) == begins(last));
    let found = if code.starts_with("missing_") { outermost } else { Some(last) };
    found.map(|place| &*place.path)
}
