//! Routes that are made here: listed, added, replaced, removed, and the last changes undone.
//!
//! A route is the YAML's, as JSON. Each call reads the file, changes it and reloads while nobody else changes files, so that
//! what it answers is in force and no call undoes another's. `if-match` is for those who edit what they have looked at.
//!
//! Invariants: no answer holds a secret of a route; what does not hold is not written (`what_does_not_hold_is_not_written`).

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::clock::unix_millis;
use crate::config::data::Data;
use crate::edit::dashboard::{Key, Place};
use crate::edit::preview::Preview;
use crate::edit::routes::{Edit, Fault, Plan, Remark, Routes, Standing};
use crate::edit::sign_token;
use crate::edit::{self, Change, Digest, NotUndone, Note, Past, Refused};
use crate::reload::{Outcome, Report};

use super::Shared;
use super::answer::{Problem, document};
use super::audit::{self, NoChange};
use super::caller::Caller;
use super::change::{self, Expected, aside, etag, if_match};
use super::form::{Fields, Sent};
use super::preview;
use super::status::time;

/// How often a file that is edited by hand at the same moment is looked at again.
const ATTEMPTS: usize = 3;

/// Whether a change is made, or only judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// It is made.
    Real,
    /// Nothing is written.
    Dry,
}

/// What somebody wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which environment.
    pub place: Place,
    /// What of it.
    pub edit: Edit,
    /// What he has seen; `None`: he does not say.
    pub expected: Option<Expected>,
    /// Whether it is meant.
    pub run: Run,
}

/// What came of it.
#[derive(Debug)]
pub struct Changed {
    /// The route as it stands now; `None`: it is gone, or nothing was written.
    pub standing: Option<Standing>,
    /// The route's name.
    pub key: Key,
    /// In a few words.
    pub what: String,
    /// Of the file as it is now.
    pub digest: Digest,
    /// Of the reload, or as one would go.
    pub report: Report,
    /// About the route.
    pub warnings: Vec<Remark>,
    /// Of a dry run: what would become of the last requests.
    pub preview: Option<Preview>,
}

/// Makes, or judges, one change. Blocks.
///
/// # Errors
/// Why nothing was changed; where the route is at fault, with what is wrong about it.
pub fn change(shared: &Shared, caller: &Caller, wanted: &Wanted) -> Result<Changed, Problem> {
    let alone = shared.editor.alone();
    let mut attempt = 1;
    loop {
        let routes = open(shared)?;
        if let Some(expected) = &wanted.expected {
            expected.admit(Some(&routes.digest()))?;
        }
        let plan = routes.plan(&wanted.place, wanted.edit.clone(), unix_millis()).map_err(fault)?;
        let outcome = match wanted.run {
            Run::Real => {
                let note = Note { who: caller.who.to_string(), what: plan.what.clone() };
                alone.apply_as(&note, &plan.token, &plan.changes).map(|report| (report, None))
            }
            Run::Dry => judged(shared, &[&*plan.token, &*plan.changes].concat()),
        };
        match outcome {
            Ok((report, preview)) => {
                return Ok(Changed { preview, ..changed(shared, wanted, plan, report, routes.digest())? });
            }
            Err(Refused::Changed(_)) if wanted.expected.is_none() && attempt < ATTEMPTS => attempt += 1,
            Err(Refused::Changed(_)) => return Err(change::lost_race()),
            Err(why) => return Err(refused(&plan, &why)),
        }
    }
}

/// What would come of it, and of the last requests.
fn judged(shared: &Shared, changes: &[Change]) -> Result<(Report, Option<Preview>), Refused> {
    let judged = shared.editor.judge(changes)?;
    let preview = preview::of(&judged, &shared.parts);
    Ok((judged.report, Some(preview)))
}

fn changed(shared: &Shared, wanted: &Wanted, plan: Plan, report: Report, before: Digest) -> Result<Changed, Problem> {
    let warnings = plan.explain(&report.diagnostics);
    let stands = wanted.run == Run::Real && !matches!(wanted.edit, Edit::Remove(_));
    let standing = if stands { Some(open(shared)?.one(&wanted.place, &plan.key).map_err(fault)?) } else { None };
    let after = plan.changes.iter().find_map(|change| change.after.as_deref()).map(edit::file::digest);
    let digest = after.filter(|_| wanted.run == Run::Real).unwrap_or(before);
    Ok(Changed { standing, key: plan.key, what: plan.what, digest, report, warnings, preview: None })
}

/// The routes as they are.
pub fn open(shared: &Shared) -> Result<Routes, Problem> {
    if shared.parts.reloader.path().is_none() {
        return Err(change::problem(&Refused::NoFile));
    }
    Routes::open(shared.parts.reloader.current()).map_err(fault)
}

/// Why nothing can be done, as an answer.
pub fn fault(fault: Fault) -> Problem {
    let words = fault.to_string();
    match fault {
        Fault::UnknownProject => Problem::new(StatusCode::NOT_FOUND, "unknown_project", words),
        Fault::UnknownEnvironment => Problem::new(StatusCode::NOT_FOUND, "unknown_environment", words),
        Fault::UnknownRoute => Problem::new(StatusCode::NOT_FOUND, "unknown_route", words),
        Fault::Exists | Fault::Operators { .. } => Problem::new(StatusCode::CONFLICT, "prefix_taken", words),
        Fault::Body(_) | Fault::NotStored(_) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "route_invalid", words),
        Fault::SignToken(sign_token::Fault::Unfit(_)) => {
            let remark = Remark::of_the_route("weak_sign_token", &words, "sign.token");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "route_invalid", words).with_diagnostics(&[remark])
        }
        Fault::SignToken(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "write_failed", words),
        Fault::Unfit { .. } => Problem::new(StatusCode::CONFLICT, "dashboard_file", words),
        Fault::Io { .. } => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "read_failed", words),
    }
}

/// Why it was not written; a prefix that the operator has just taken is found by the reader of the files.
pub fn refused(plan: &Plan, why: &Refused) -> Problem {
    let Refused::Invalid(report) = why else { return change::problem(why) };
    let remarks = plan.explain(&report.diagnostics);
    let errors = || remarks.iter().filter(|remark| remark.severity == "error");
    let problem = if errors().any(|remark| remark.code == "duplicate_prefix") {
        let words = "there is a route with that prefix in this environment already";
        Problem::new(StatusCode::CONFLICT, "prefix_taken", words)
    } else if errors().any(|remark| remark.key.is_some()) {
        let first = errors().find(|remark| remark.key.is_some()).map_or("", |remark| &*remark.message);
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "route_invalid", format!("the route does not hold: {first}"))
    } else {
        change::problem(why)
    };
    problem.with_diagnostics(&remarks)
}

/// `{project}/environments/{environment}`
type InPlace = Result<Path<(String, String)>, PathRejection>;

/// The same, and a prefix.
type InRoute = Result<Path<(String, String, String)>, PathRejection>;

/// `GET …/routes`
pub async fn list(State(shared): State<Arc<Shared>>, path: InPlace) -> Response {
    let work = move || {
        let place = place(path)?;
        let routes = open(&shared)?;
        let standing = routes.list(&place).map_err(fault)?;
        let Place { project, environment } = place;
        let generation = shared.parts.reloader.current().generation;
        let shown = Listed { project, environment, generation, routes: standing };
        Ok(tagged(document(StatusCode::OK, &shown), &routes.digest()))
    };
    aside(work).await.unwrap_or_else(Problem::into_response)
}

#[derive(Serialize)]
struct Listed {
    project: String,
    environment: String,
    generation: u64,
    routes: Vec<Standing>,
}

/// `GET …/routes/{prefix}`
pub async fn show(State(shared): State<Arc<Shared>>, path: InRoute, RawQuery(query): RawQuery) -> Response {
    let work = move || {
        let (place, prefix) = named(path)?;
        let asked = Asked::of(query.as_deref())?;
        let routes = open(&shared)?;
        let standing = routes.one(&place, &asked.key(&prefix)).map_err(fault)?;
        Ok(tagged(document(StatusCode::OK, &standing), &routes.digest()))
    };
    aside(work).await.unwrap_or_else(Problem::into_response)
}

/// `POST …/routes`
pub async fn add(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    path: InPlace,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Sent(body): Sent,
) -> Response {
    let work = move || {
        let (place, asked) = (place(path)?, Asked::of(query.as_deref())?);
        let wanted = Wanted { place, edit: Edit::Add(route(&body)?), expected: if_match(&headers)?, run: asked.run };
        let changed = change(&shared, &caller, &wanted)?;
        let location = location(&wanted.place, &changed.key);
        let mut response = answer(changed, wanted.run, StatusCode::CREATED);
        if wanted.run == Run::Real {
            response.headers_mut().extend(location.map(|location| (header::LOCATION, location)));
        }
        Ok(response)
    };
    aside(work).await.unwrap_or_else(Problem::into_response)
}

/// `PUT …/routes/{prefix}`
pub async fn replace(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    path: InRoute,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Sent(body): Sent,
) -> Response {
    let work = move || {
        let ((place, prefix), asked) = (named(path)?, Asked::of(query.as_deref())?);
        let edit = Edit::Replace(asked.key(&prefix), route(&body)?);
        let wanted = Wanted { place, edit, expected: if_match(&headers)?, run: asked.run };
        let changed = change(&shared, &caller, &wanted)?;
        let location = location(&wanted.place, &changed.key);
        let mut response = answer(changed, wanted.run, StatusCode::OK);
        if wanted.run == Run::Real {
            // Where it is from now on: its prefix may be another.
            response.headers_mut().extend(location.map(|location| (header::CONTENT_LOCATION, location)));
        }
        Ok(response)
    };
    aside(work).await.unwrap_or_else(Problem::into_response)
}

/// `DELETE …/routes/{prefix}`
pub async fn remove(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    path: InRoute,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let work = move || {
        let ((place, prefix), asked) = (named(path)?, Asked::of(query.as_deref())?);
        let edit = Edit::Remove(asked.key(&prefix));
        let wanted = Wanted { place, edit, expected: if_match(&headers)?, run: asked.run };
        Ok(answer(change(&shared, &caller, &wanted)?, wanted.run, StatusCode::NO_CONTENT))
    };
    aside(work).await.unwrap_or_else(Problem::into_response)
}

/// What the query says.
struct Asked {
    run: Run,
    mode: String,
}

impl Asked {
    /// A misspelt `dry_run` would be done in earnest.
    fn of(query: Option<&str>) -> Result<Self, Problem> {
        let fields = Fields::parse(query.unwrap_or_default().as_bytes());
        let bad = |words: &str| Problem::new(StatusCode::BAD_REQUEST, "bad_query", words);
        if let Some(name) = fields.names().find(|name| !matches!(*name, "dry_run" | "mode")) {
            return Err(bad(&format!("the query has no `{name}`; there are `dry_run` and `mode`")));
        }
        let run = match fields.one("dry_run") {
            Some("true" | "") => Run::Dry,
            Some("false") => Run::Real,
            None if fields.names().all(|name| name != "dry_run") => Run::Real,
            _ => return Err(bad("`dry_run` is `true` or `false`")),
        };
        Ok(Self { run, mode: fields.one("mode").unwrap_or(Key::API).to_owned() })
    }

    fn key(&self, prefix: &str) -> Key {
        Key { mode: self.mode.clone(), ..Key::api(prefix) }
    }
}

fn place(path: InPlace) -> Result<Place, Problem> {
    let Path((project, environment)) = path.map_err(|_| bad_path())?;
    Ok(Place { project, environment })
}

fn named(path: InRoute) -> Result<(Place, String), Problem> {
    let Path((project, environment, prefix)) = path.map_err(|_| bad_path())?;
    Ok((Place { project, environment }, prefix))
}

fn bad_path() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_path", "the path is not percent-encoded UTF-8")
}

/// The parser's words could quote a secret, but for where they are.
fn route(body: &[u8]) -> Result<Data, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        let words = match error.classify() {
            serde_json::error::Category::Data => format!("a key of the body comes twice ({place})"),
            _ => format!("the body is not JSON ({place})"),
        };
        Problem::new(StatusCode::BAD_REQUEST, "bad_body", words)
    })
}

/// Where a route is found.
fn location(place: &Place, key: &Key) -> Option<HeaderValue> {
    let mut url = url::Url::parse("http://localhost/").ok()?;
    let Place { project, environment } = place;
    let path = ["api", "v1", "projects", project, "environments", environment, "routes", &key.prefix];
    url.path_segments_mut().ok()?.clear().extend(path);
    let query = if key.mode == Key::API { String::new() } else { format!("?mode={}", key.mode) };
    HeaderValue::try_from(format!("{}{query}", url.path())).ok()
}

fn answer(changed: Changed, run: Run, status: StatusCode) -> Response {
    let Changed { standing, what, digest, report, warnings, preview, .. } = changed;
    let mut response = match (run, standing) {
        (Run::Dry, _) => document(StatusCode::OK, &would(&report, &warnings, preview.as_ref())),
        (Run::Real, None) => status.into_response(),
        (Run::Real, Some(standing)) => document(status, &Done { standing, generation: report.generation, warnings }),
    };
    response.headers_mut().insert(header::ETAG, etag(&digest));
    match run {
        Run::Real => drop(response.extensions_mut().insert(audit::Note(what))),
        Run::Dry => drop(response.extensions_mut().insert(NoChange)),
    }
    response
}

#[derive(Serialize)]
struct Done {
    #[serde(flatten)]
    standing: Standing,
    generation: u64,
    warnings: Vec<Remark>,
}

/// What would change.
fn would(report: &Report, warnings: &[Remark], preview: Option<&Preview>) -> serde_json::Value {
    let named = &report.named;
    json!({
        "dry_run": true, "outcome": if report.outcome == Outcome::Unchanged { "unchanged" } else { "applied" },
        "added": named.added, "removed": named.removed, "changed": named.changed, "settings": named.settings,
        "needs_restart": report.needs_restart, "warnings": warnings, "preview": preview,
    })
}

fn tagged(mut response: Response, digest: &Digest) -> Response {
    response.headers_mut().insert(header::ETAG, etag(digest));
    response
}

/// A change of the past, as it is shown.
#[derive(Debug, Serialize)]
pub struct ShownPast {
    id: u64,
    at: String,
    who: String,
    what: String,
    files: Vec<String>,
    undoable: bool,
}

impl ShownPast {
    fn of(past: Past) -> Self {
        Self {
            id: past.id,
            at: time(past.at),
            who: past.note.who,
            what: past.note.what,
            files: past.files.iter().map(|file| file.display().to_string()).collect(),
            undoable: past.undoable,
        }
    }
}

/// `GET /api/v1/undo`
pub async fn past(State(shared): State<Arc<Shared>>) -> Response {
    let work = move || {
        let changes: Vec<ShownPast> = shared.editor.past().into_iter().map(ShownPast::of).collect();
        Ok(document(StatusCode::OK, &json!({ "changes": changes })))
    };
    aside(work).await.unwrap_or_else(Problem::into_response)
}

/// `POST /api/v1/undo`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedUndo {
    /// Which; the latest.
    id: Option<u64>,
}

/// Takes a change back.
pub async fn undo(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery, Sent(body): Sent) -> Response {
    let work = move || {
        let asked: AskedUndo = if body.is_empty() { AskedUndo::default() } else { undo_of(&body)? };
        let run = Asked::of(query.as_deref())?.run;
        let (past, report, preview) = take_back(&shared, asked.id, run).map_err(not_undone)?;
        let what = format!("undone: {}", past.note.what);
        let mut shown = would(&report, &[], preview.as_ref());
        if let Some(map) = shown.as_object_mut() {
            map.insert("dry_run".to_owned(), (run == Run::Dry).into());
            map.insert("generation".to_owned(), report.generation.into());
            map.insert("undone".to_owned(), json!(ShownPast::of(past)));
        }
        let mut response = document(StatusCode::OK, &shown);
        match run {
            Run::Real => drop(response.extensions_mut().insert(audit::Note(what))),
            Run::Dry => drop(response.extensions_mut().insert(NoChange)),
        }
        Ok(response)
    };
    aside(work).await.unwrap_or_else(Problem::into_response)
}

fn undo_of(body: &[u8]) -> Result<AskedUndo, Problem> {
    let words = "the body is {\"id\":N} with a number of GET /api/v1/undo, or empty for the latest change";
    serde_json::from_slice(body).map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "bad_body", words))
}

/// Takes a change back, or says what that would do. Blocks.
///
/// # Errors
/// See [`NotUndone`].
pub fn take_back(shared: &Shared, id: Option<u64>, run: Run) -> Result<(Past, Report, Option<Preview>), NotUndone> {
    let alone = shared.editor.alone();
    if run == Run::Real {
        return alone.undo(id).map(|(past, report)| (past, report, None));
    }
    let (past, changes) = alone.reverse(id)?;
    let (report, preview) = judged(shared, &changes)?;
    Ok((past, report, preview))
}

fn not_undone(why: NotUndone) -> Problem {
    let words = why.to_string();
    match why {
        NotUndone::Unknown => Problem::new(StatusCode::NOT_FOUND, "nothing_to_undo", words),
        NotUndone::Changed(_) => Problem::new(StatusCode::CONFLICT, "changed_since", words),
        NotUndone::Refused(Refused::Invalid(report)) => {
            change::problem(&Refused::Invalid(report.clone())).with_diagnostics(&report.diagnostics)
        }
        NotUndone::Refused(why) => change::problem(&why),
    }
}
