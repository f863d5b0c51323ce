//! One route: made, edited and removed, each after a look at what it would change; and its sign tokens.
//!
//! Flow: a form is sent to `preview`, which judges the change, tries it on the last requests and keeps it ([`Pending`]); the page that shows the
//! outcome holds its number alone, and `save` makes it. What was typed, a secret among it, is thus in no page again, but in the form
//! of somebody whose route would not hold.
//!
//! Invariants: a route of the operator's own files is shown and not edited; a change that was looked at is saved only while the file
//! still is what it was then.

mod form;
mod outcome;
pub mod tokens;
pub mod undo;

use std::collections::VecDeque;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::clock::{self, UnixMillis};
use crate::credential::login::Session;
use crate::edit::dashboard::{Key, Place};
use crate::edit::routes::{Edit, Standing};
use crate::id::RequestId;

use super::super::answer::{Problem, see_other};
use super::super::audit::{NoChange, Note};
use super::super::caller::Caller;
use super::super::change::{self, Expected};
use super::super::edits::{self, Run, Wanted};
use super::super::form::{Fields, Sent};
use super::super::{Shared, preview};
use super::words::Words;
use super::{Frame, Notice, Visit, html, notice};

use form::Form;
use outcome::Kind;
use tokens::Tokens;

/// How long a change waits to be saved.
const WAITS: UnixMillis = 15 * 60 * 1000;

/// Changes that wait at the same time.
const WAITING: usize = 200;

/// Changes that were looked at and are not saved yet.
#[derive(Debug, Default)]
pub struct Pending(Mutex<VecDeque<Waiting>>);

#[derive(Debug)]
struct Waiting {
    id: String,
    whose: Session,
    since: UnixMillis,
    wanted: Wanted,
}

impl Pending {
    fn keep(&self, whose: Session, wanted: Wanted) -> String {
        let (id, since) = (RequestId::fresh().as_str().to_owned(), clock::unix_millis());
        let mut all = self.0.lock();
        all.retain(|waiting| since.saturating_sub(waiting.since) < WAITS);
        while all.len() >= WAITING {
            all.pop_front();
        }
        all.push_back(Waiting { id: id.clone(), whose, since, wanted });
        id
    }

    fn take(&self, whose: &Session, id: &str) -> Option<Wanted> {
        let now = clock::unix_millis();
        let mut all = self.0.lock();
        let fits = |it: &Waiting| it.id == id && it.whose == *whose && now.saturating_sub(it.since) < WAITS;
        let place = all.iter().position(fits)?;
        all.remove(place).map(|waiting| waiting.wanted)
    }
}

/// Where a route is, as the address says it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    prefix: String,
    mode: Option<String>,
    done: Option<String>,
}

impl Asked {
    fn key(&self) -> Key {
        let mode = self.mode.clone().filter(|mode| !mode.is_empty());
        Key { mode: mode.unwrap_or_else(|| Key::API.to_owned()), ..Key::api(&self.prefix) }
    }
}

/// The address of a route's page.
pub fn href(project: &str, environment: &str, key: &Key) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("prefix", &key.prefix);
    if key.mode != Key::API {
        query.append_pair("mode", &key.mode);
    }
    format!("/dashboard/projects/{project}/{environment}/route?{}", query.finish())
}

#[derive(Template)]
#[template(path = "route.html")]
struct Page {
    w: &'static Words,
    frame: Frame,
    csrf: String,
    notice: Option<Notice>,
    remarks: Vec<String>,
    project: String,
    environment: String,
    /// As it is; `None`: a new one.
    standing: Option<Standing>,
    form: Form,
    tokens: Option<Tokens>,
    /// A token that was generated, this once.
    generated: Option<String>,
    /// Digest of the file that the form was made from; empty: none.
    seen: String,
}

impl Page {
    fn new(visit: &Visit, place: &Place) -> Self {
        Self {
            w: visit.w,
            frame: visit.frame(),
            csrf: visit.csrf(),
            notice: None,
            remarks: Vec::new(),
            project: place.project.clone(),
            environment: place.environment.clone(),
            standing: None,
            form: Form::default(),
            tokens: None,
            generated: None,
            seen: String::new(),
        }
    }

    fn of(shared: &Shared, visit: &Visit, place: &Place, key: &Key) -> Result<Self, Problem> {
        let routes = edits::open(shared)?;
        let seen = hex::encode(routes.digest());
        let standing = routes.one(place, key).map_err(edits::fault)?;
        let form = standing.route.as_ref().map(Form::of).unwrap_or_default();
        let tokens = Tokens::of(shared, visit, place, key);
        Ok(Self { standing: Some(standing), form, tokens, seen, ..Self::new(visit, place) })
    }
}

/// `GET /dashboard/projects/{project}/{environment}/add`
pub async fn add(
    State(shared): State<Arc<Shared>>,
    visit: Visit,
    Path((project, environment)): Path<(String, String)>,
) -> Response {
    let seen = visit.clone();
    let make = move || {
        let place = Place { project, environment };
        match edits::open(&shared).and_then(|routes| routes.list(&place).map_err(edits::fault)) {
            Ok(_) => html(StatusCode::OK, &Page::new(&seen, &place)),
            Err(problem) => lost(&seen, &problem),
        }
    };
    super::aside(&visit, make).await
}

/// `GET /dashboard/projects/{project}/{environment}/route?prefix=…`
pub async fn page(
    State(shared): State<Arc<Shared>>,
    visit: Visit,
    Path((project, environment)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    let seen = visit.clone();
    let make = move || match Page::of(&shared, &seen, &Place { project, environment }, &asked.key()) {
        Ok(page) => {
            let done = asked.done.filter(|done| done == "token");
            let notice = done.map(|_| Notice::good(seen.w.token_changed, ""));
            html(StatusCode::OK, &Page { notice, ..page })
        }
        Err(problem) => lost(&seen, &problem),
    };
    super::aside(&visit, make).await
}

fn lost(visit: &Visit, problem: &Problem) -> Response {
    let said = Notice::bad(visit.w.no_such_route, problem.message(), "");
    notice(visit, problem.status(), said, "/dashboard/routes", visit.w.routes)
}

#[derive(Template)]
#[template(path = "preview.html")]
struct Preview {
    w: &'static Words,
    frame: Frame,
    csrf: String,
    project: String,
    environment: String,
    what: String,
    id: String,
    danger: bool,
    back: String,
    total: usize,
    changed: usize,
    since: Option<String>,
    kinds: Vec<Kind>,
    routes: Vec<outcome::Touched>,
    warnings: Vec<String>,
}

/// `POST /dashboard/projects/{project}/{environment}/preview`
pub async fn look(
    State(shared): State<Arc<Shared>>,
    visit: Visit,
    Path((project, environment)): Path<(String, String)>,
    Sent(body): Sent,
) -> Response {
    let seen = visit.clone();
    let make = move || {
        let place = Place { project, environment };
        let mut response = looked(&shared, &seen, &place, &Fields::parse(&body));
        response.extensions_mut().insert(NoChange);
        response
    };
    super::aside(&visit, make).await
}

fn looked(shared: &Shared, visit: &Visit, place: &Place, fields: &Fields) -> Response {
    let field = |name: &str| fields.one(name).unwrap_or_default().to_owned();
    let asked = Asked { prefix: field("old"), mode: Some(field("mode")), done: None };
    let old = (!asked.prefix.is_empty()).then(|| asked.key());
    let form = Form::sent(fields);
    let tried = try_it(shared, visit, place, old.as_ref(), &form, [&field("do"), &field("seen")]);
    match tried {
        Ok(response) => response,
        Err(Wrong { notice, remarks, status }) => {
            let page = match &old {
                Some(key) => match Page::of(shared, visit, place, key) {
                    Ok(page) => page,
                    Err(problem) => return lost(visit, &problem),
                },
                None => Page::new(visit, place),
            };
            html(status, &Page { form, notice: Some(notice), remarks, ..page })
        }
    }
}

/// Why a form was not taken.
struct Wrong {
    notice: Notice,
    remarks: Vec<String>,
    status: StatusCode,
}

impl Wrong {
    fn of(visit: &Visit, problem: &Problem) -> Self {
        let notice = Notice::bad(visit.w.route_not_held, problem.message(), visit.w.change_refused_next);
        Self { notice, remarks: problem.remarks(), status: problem.status() }
    }
}

fn try_it(
    shared: &Shared,
    visit: &Visit,
    place: &Place,
    old: Option<&Key>,
    form: &Form,
    [what, seen_digest]: [&str; 2],
) -> Result<Response, Wrong> {
    let wrong = |problem: Problem| Wrong::of(visit, &problem);
    let routes = edits::open(shared).map_err(wrong)?;
    if !seen_digest.is_empty() && *seen_digest != hex::encode(routes.digest()) {
        return Err(wrong(change::lost_race()));
    }
    let edit = match (old, what) {
        (Some(key), "remove") => Edit::Remove(key.clone()),
        (Some(key), _) => {
            let standing = routes.one(place, key).map_err(edits::fault).map_err(wrong)?;
            Edit::Replace(key.clone(), form.route(standing.route.as_ref()).map_err(|line| bad_line(visit, line))?)
        }
        (None, _) => Edit::Add(form.route(None).map_err(|line| bad_line(visit, line))?),
    };
    let plan = routes.plan(place, edit.clone()).map_err(edits::fault).map_err(wrong)?;
    let judged = shared.editor.judge(&plan.all()).map_err(|why| wrong(edits::refused(&plan, &why)))?;
    let remarks = plan.explain(&judged.report.diagnostics);
    let seen = preview::of(&judged, &shared.parts);
    let danger = matches!(edit, Edit::Remove(_)) || seen.changes.iter().any(|kind| outcome::is_grave(kind.change));
    let expected = Some(Expected::OneOf(vec![routes.digest()]));
    let wanted = Wanted { place: place.clone(), edit, expected, run: Run::Real };
    let whose = visit.caller.as_ref().map_or_else(|| Session(String::new()), Caller::session);
    let page = Preview {
        w: visit.w,
        frame: visit.frame(),
        csrf: visit.csrf(),
        project: place.project.clone(),
        environment: place.environment.clone(),
        what: plan.what.clone(),
        id: shared.pending.keep(whose, wanted),
        danger,
        back: old.map_or_else(
            || format!("/dashboard/projects/{}/{}/add", place.project, place.environment),
            |key| href(&place.project, &place.environment, key),
        ),
        total: seen.requests.total,
        changed: seen.requests.changed,
        since: seen.requests.since.clone(),
        kinds: seen.changes.iter().map(|kind| Kind::of(visit.w, kind)).collect(),
        routes: seen.routes.iter().map(|touched| outcome::Touched::of(visit.w, touched)).collect(),
        warnings: remarks.into_iter().map(|remark| remark.message).collect(),
    };
    Ok(html(StatusCode::OK, &page))
}

fn bad_line(visit: &Visit, line: usize) -> Wrong {
    let detail = super::words::fill(visit.w.payload_line, &[&line.to_string()]);
    let notice = Notice { detail, ..Notice::bad(visit.w.route_not_held, "", "") };
    Wrong { notice, remarks: Vec::new(), status: StatusCode::UNPROCESSABLE_ENTITY }
}

/// `POST /dashboard/projects/{project}/{environment}/save`
pub async fn save(
    State(shared): State<Arc<Shared>>,
    visit: Visit,
    Path((project, environment)): Path<(String, String)>,
    Sent(body): Sent,
) -> Response {
    let seen = visit.clone();
    let make = move || {
        let fields = Fields::parse(&body);
        let waiting = seen.caller.as_ref().and_then(|caller| {
            let wanted = shared.pending.take(&caller.session(), fields.one("id").unwrap_or_default())?;
            Some((caller, wanted))
        });
        let Some((caller, wanted)) = waiting else {
            let said = Notice::bad(seen.w.nothing_waits, "", seen.w.nothing_waits_next);
            return notice(&seen, StatusCode::GONE, said, "/dashboard/routes", seen.w.routes);
        };
        match edits::change(&shared, caller, &wanted) {
            Ok(changed) => {
                let to = format!("/dashboard/routes?in={project}%2F{environment}&done=saved");
                let mut response = see_other(&to);
                response.extensions_mut().insert(Note(changed.what));
                response
            }
            Err(problem) => {
                let said = Notice::bad(seen.w.route_not_saved, problem.message(), seen.w.route_not_saved_next);
                notice(&seen, problem.status(), said, "/dashboard/routes", seen.w.routes)
            }
        }
    };
    super::aside(&visit, make).await
}
