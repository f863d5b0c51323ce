//! The environments of projects: which serves by default, switched with one click; and links that put one browser on another. A part of the
//! overview and of the routes' page, and a page for each project.
//!
//! A switch from or to production asks once more, and then says what was seen of the file: who has edited it meanwhile is not overruled.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::edit::Digest;
use crate::edit::environment::{Fault, Standing};
use crate::table::Table;
use crate::table::matcher::ProjectEntry;

use super::super::Shared;
use super::super::answer::{Problem, see_other};
use super::super::audit::{NoChange, Note};
use super::super::change;
use super::super::environments::{Asked as Grant, Minted, mint, usual_host};
use super::super::form::{Fields, Sent};
use super::words::{Words, fill};
use super::{Frame, Notice, Visit, html, notice, part};

/// The environment whose traffic is everybody's.
const PRODUCTION: &str = "production";

/// It serves only where a rule lists it.
const LOCAL: &str = "local";

/// Projects that the overview shows.
pub const FEW: usize = 20;

/// Projects that the routes' page shows.
pub const MANY: usize = 200;

/// How long a browser may stay, to choose from; the first is the usual one.
const STAYS: [&str; 5] = ["8h", "30m", "1h", "4h", "24h"];

#[derive(Template)]
#[template(path = "part/environments.html")]
struct Rows {
    w: &'static Words,
    csrf: String,
    rows: Vec<Row>,
    omitted: usize,
}

struct Row {
    project: String,
    environments: Vec<Choice>,
}

/// An environment of a project.
struct Choice {
    name: String,
    serves: bool,
    local: bool,
}

/// The projects with their environments.
pub fn environments(visit: &Visit, table: &Table, most: usize) -> String {
    let all = table.matcher.projects();
    let rows = all.iter().take(most).map(Row::of).collect();
    part(&Rows { w: visit.w, csrf: visit.csrf(), rows, omitted: all.len().saturating_sub(most) })
}

impl Row {
    fn of(project: &ProjectEntry) -> Self {
        let serves = project.default_name();
        let choice = |name: &str| Choice { name: name.to_owned(), serves: name == serves, local: name == LOCAL };
        Self {
            project: project.name.to_string(),
            environments: project.environments.iter().map(|it| choice(&it.name)).collect(),
        }
    }
}

fn of<'t>(table: &'t Table, name: &str) -> Option<&'t ProjectEntry> {
    table.matcher.projects().iter().find(|project| *project.name == *name)
}

#[derive(Template)]
#[template(path = "project.html")]
struct Page {
    w: &'static Words,
    frame: Frame,
    csrf: String,
    notice: Option<Notice>,
    project: String,
    choices: Vec<Choice>,
    /// File and line, where the files hold.
    place: Option<String>,
    grantable: Vec<String>,
    asked: Grant,
    stays: [&'static str; 5],
    hosts: Vec<String>,
    minted: Option<Minted>,
}

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    done: Option<String>,
}

/// `GET /dashboard/projects/{project}`
pub async fn page(
    State(shared): State<Arc<Shared>>,
    visit: Visit,
    Path(project): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let done = asked.done.filter(|done| done == "switched");
    let seen = visit.clone();
    let make = move || {
        let notice = done.map(|_| Notice::good(seen.w.switched, seen.w.switched_next));
        show(&shared, &seen, &project, StatusCode::OK, notice, None)
    };
    super::aside(&visit, make).await
}

/// What the form for a link says, and what came of it.
type Form = (Grant, Option<Minted>);

fn show(
    shared: &Shared,
    visit: &Visit,
    name: &str,
    status: StatusCode,
    notice: Option<Notice>,
    form: Option<Form>,
) -> Response {
    let table = shared.parts.reloader.current();
    let Some(project) = of(&table, name) else { return unknown(visit) };
    let place = shared.editor.environment(name).ok().map(|it| format!("{}:{}", it.file.display(), it.line));
    let (asked, minted) = form.unwrap_or_else(|| (usual(&table, project), None));
    let page = Page {
        w: visit.w,
        frame: visit.frame(),
        csrf: visit.csrf(),
        notice,
        project: name.to_owned(),
        choices: Row::of(project).environments,
        place,
        grantable: grantable(project),
        asked,
        stays: STAYS,
        hosts: table.matcher.hosts_of(project).iter().map(|host| (*host).to_owned()).collect(),
        minted,
    };
    html(status, &page)
}

fn grantable(project: &ProjectEntry) -> Vec<String> {
    let names = project.environments.iter().map(|it| it.name.to_string());
    names.filter(|name| project.may_grant(name)).collect()
}

/// The first that does not serve anyway.
fn usual(table: &Table, project: &ProjectEntry) -> Grant {
    let names = grantable(project);
    let other = names.iter().find(|name| **name != project.default_name()).or(names.first());
    let [stay, ..] = STAYS;
    Grant { environment: other.cloned().unwrap_or_default(), stays: stay.to_owned(), host: usual_host(table, project) }
}

fn unknown(visit: &Visit) -> Response {
    let said = Notice::bad(visit.w.unknown_project, "", visit.w.unknown_project_next);
    notice(visit, StatusCode::NOT_FOUND, said, "/dashboard/routes", visit.w.routes)
}

#[derive(Template)]
#[template(path = "switch.html")]
struct Confirm {
    w: &'static Words,
    frame: Frame,
    csrf: String,
    project: String,
    from: String,
    to: String,
    means: String,
    place: String,
    sha256: String,
}

/// `POST /dashboard/projects/{project}/environment`
pub async fn switch(
    State(shared): State<Arc<Shared>>,
    visit: Visit,
    Path(project): Path<String>,
    Sent(body): Sent,
) -> Response {
    let seen = visit.clone();
    let make = move || {
        let fields = Fields::parse(&body);
        let to = fields.one("environment").unwrap_or_default();
        let seen_digest = fields.one("sha256").map(digest);
        let standing = match shared.editor.environment(&project) {
            Ok(standing) => standing,
            Err(fault) => return failed(&shared, &seen, &project, fault),
        };
        let asks = [to, standing.environment.as_str()].contains(&PRODUCTION) && standing.environment != to;
        if asks && fields.one("confirmed").is_none() && standing.environments.iter().any(|it| it == to) && to != LOCAL {
            return confirm(&seen, &project, to, &standing);
        }
        let expected = |digest: &Digest| seen_digest.is_none_or(|seen| seen == Some(*digest));
        match shared.editor.switch_environment(&project, to, expected, &seen.name()) {
            Ok(_) => noted(see_other(&format!("/dashboard/projects/{project}?done=switched")), &project, to),
            Err(fault) => noted(failed(&shared, &seen, &project, fault), &project, to),
        }
    };
    super::aside(&visit, make).await
}

fn digest(text: &str) -> Option<Digest> {
    hex::decode(text).ok()?.try_into().ok()
}

fn noted(mut response: Response, project: &str, to: &str) -> Response {
    response.extensions_mut().insert(Note(format!("{project}: environment {to:?}")));
    response
}

fn confirm(visit: &Visit, project: &str, to: &str, standing: &Standing) -> Response {
    let w = visit.w;
    let page = Confirm {
        w,
        frame: visit.frame(),
        csrf: visit.csrf(),
        project: project.to_owned(),
        from: standing.environment.clone(),
        to: to.to_owned(),
        means: fill(w.switch_means, &[project, to, &standing.environment]),
        place: format!("{}:{}", standing.file.display(), standing.line),
        sha256: hex::encode(standing.digest),
    };
    let mut response = html(StatusCode::OK, &page);
    response.extensions_mut().insert(NoChange);
    response
}

fn failed(shared: &Shared, visit: &Visit, project: &str, fault: Fault) -> Response {
    let w = visit.w;
    let next = match &fault {
        Fault::UnknownProject(_) => return unknown(visit),
        Fault::Seen(_) => w.switch_lost_next,
        Fault::ByHand { .. } => w.switch_by_hand_next,
        Fault::UnknownEnvironment { .. } | Fault::Local => "",
        Fault::Refused(_) => w.change_refused_next,
    };
    let mut detail = fault.to_string();
    if let Fault::Refused(crate::edit::Refused::Invalid(report)) = &fault {
        detail = report.lines.first().cloned().unwrap_or(detail);
    }
    let status = match fault {
        Fault::Refused(why) => change::refused(why).status(),
        other => super::super::environments::problem(&other).into_response().status(),
    };
    show(shared, visit, project, status, Some(Notice::bad(w.not_switched, detail, next)), None)
}

/// `POST /dashboard/projects/{project}/grant`
pub async fn grant(
    State(shared): State<Arc<Shared>>,
    visit: Visit,
    Path(project): Path<String>,
    Sent(body): Sent,
) -> Response {
    let seen = visit.clone();
    let make = move || {
        let fields = Fields::parse(&body);
        let field = |name: &str| fields.one(name).unwrap_or_default().to_owned();
        let asked = Grant { environment: field("environment"), stays: field("for"), host: Some(field("host")) };
        match mint(&shared, &project, &asked) {
            Ok(minted) => {
                let note = minted.note();
                let mut response = show(&shared, &seen, &project, StatusCode::OK, None, Some((asked, Some(minted))));
                response.extensions_mut().insert(note);
                response
            }
            Err(problem) => not_minted(&shared, &seen, &project, &problem, asked),
        }
    };
    super::aside(&visit, make).await
}

fn not_minted(shared: &Shared, visit: &Visit, project: &str, problem: &Problem, asked: Grant) -> Response {
    let said = Notice::bad(visit.w.not_minted, problem.message(), "");
    show(shared, visit, project, problem.status(), Some(said), Some((asked, None)))
}
