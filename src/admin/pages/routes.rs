//! `/dashboard/routes`: the table in force, by project and environment, and the form that asks what would happen to a request.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::edit::dashboard::Key;
use crate::policy::limit::Limits;
use crate::table::route::{Auth, Sign};
use crate::table::{Action, Route, Table};

use super::super::Shared;
use super::explain::ask;
use super::moment::{amount, bytes};
use super::words::{Words, fill};
use super::{Frame, Notice, Visit, aside, html, projects, route};

/// Routes on one page.
const PAGE: usize = 100;

#[derive(Template)]
#[template(path = "routes.html")]
struct Page {
    w: &'static Words,
    frame: Frame,
    notice: Option<Notice>,
    generation: u64,
    places: Vec<Place>,
    query: String,
    total: usize,
    groups: Vec<Group>,
    pages: Option<Pages>,
    environments: String,
    explain: String,
}

/// A project with an environment, to choose from.
struct Place {
    key: String,
    count: usize,
    serves: bool,
    selected: bool,
}

/// Routes of one environment.
struct Group {
    project: String,
    environment: String,
    serves: bool,
    rows: Vec<Row>,
}

struct Row {
    prefix: String,
    href: String,
    methods: Option<String>,
    action: String,
    target: String,
    auth: &'static str,
    auth_tone: &'static str,
    sign: Option<&'static str>,
    credential: Option<String>,
    limits: Option<String>,
    file: String,
    line: u32,
}

/// Where in a long table the page is.
struct Pages {
    before: Option<String>,
    after: Option<String>,
    from: usize,
    to: usize,
    of: usize,
}

/// What the address says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// `project/environment`
    r#in: String,
    q: String,
    page: usize,
    done: Option<String>,
}

/// `GET /dashboard/routes`
pub async fn page(State(shared): State<Arc<Shared>>, visit: Visit, Query(asked): Query<Asked>) -> Response {
    let seen = visit.clone();
    let make = move || html(StatusCode::OK, &Page::of(&shared.parts.reloader.current(), &seen, &asked));
    aside(&visit, make).await
}

impl Page {
    fn of(table: &Table, visit: &Visit, asked: &Asked) -> Self {
        let needle = asked.q.trim().to_lowercase();
        let wanted = |route: &&Arc<Route>| is_in(route, &asked.r#in) && matches(route, &needle);
        let found: Vec<&Arc<Route>> = table.routes.iter().filter(wanted).collect();
        let last = found.len().saturating_sub(1) / PAGE;
        let page = asked.page.min(last);
        let shown = found.iter().skip(page * PAGE).take(PAGE);
        Self {
            w: visit.w,
            frame: visit.frame(),
            notice: asked.done.as_ref().filter(|done| *done == "saved").map(|_| Notice::good(visit.w.saved, "")),
            generation: table.generation,
            places: places(table, &asked.r#in),
            query: asked.q.clone(),
            total: table.routes.len(),
            groups: groups(visit.w, table, shown.map(|route| &***route)),
            pages: (last > 0).then(|| Pages::of(asked, page, last, found.len())),
            environments: projects::environments(visit, table, projects::MANY),
            explain: ask(visit, table, &super::explain::Question::default()),
        }
    }
}

impl Pages {
    fn of(asked: &Asked, page: usize, last: usize, of: usize) -> Self {
        let href = |page: usize| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("in", &asked.r#in).append_pair("q", &asked.q).append_pair("page", &page.to_string());
            format!("/dashboard/routes?{}", query.finish())
        };
        Self {
            before: page.checked_sub(1).map(href),
            after: (page < last).then(|| href(page + 1)),
            from: page * PAGE + 1,
            to: ((page + 1) * PAGE).min(of),
            of,
        }
    }
}

fn is_in(route: &Route, place: &str) -> bool {
    let named = place.split_once('/');
    named.is_none_or(|(project, environment)| *route.project == *project && *route.environment == *environment)
}

/// Whether what is looked for stands anywhere in what the table shows.
fn matches(route: &Route, needle: &str) -> bool {
    let holds = |text: &str| text.to_lowercase().contains(needle);
    needle.is_empty()
        || holds(&route.prefix)
        || holds(&target(route))
        || route.forward().and_then(|it| it.credential.as_ref()).is_some_and(|it| holds(&it.name))
        || holds(&route.place())
}

/// In the order written, those without routes included.
fn places(table: &Table, selected: &str) -> Vec<Place> {
    let projects = table.matcher.projects().iter();
    let environments = projects.flat_map(|project| project.environments.iter().map(move |it| (project, it)));
    let mut places: Vec<Place> = environments
        .map(|(project, environment)| {
            let key = format!("{}/{}", project.name, environment.name);
            let serves = project.default_name() == &*environment.name;
            Place { selected: key == selected, key, count: 0, serves }
        })
        .collect();
    let mut before: Option<usize> = None;
    for route in &table.routes {
        let is_it = |place: &Place| {
            place.key.strip_prefix(&*route.project).and_then(|rest| rest.strip_prefix('/')) == Some(&*route.environment)
        };
        // Neighbours in a file belong together.
        let known = before.filter(|index| places.get(*index).is_some_and(is_it));
        before = known.or_else(|| places.iter().position(is_it));
        if let Some(place) = before.and_then(|index| places.get_mut(index)) {
            place.count += 1;
        }
    }
    places
}

fn groups<'r>(w: &'static Words, table: &Table, routes: impl Iterator<Item = &'r Route>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for route in routes {
        let known = groups.iter().position(|it| *it.project == *route.project && *it.environment == *route.environment);
        let row = Row::of(w, route);
        match known.and_then(|index| groups.get_mut(index)) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group {
                project: route.project.to_string(),
                environment: route.environment.to_string(),
                serves: serves(table, route),
                rows: vec![row],
            }),
        }
    }
    groups
}

fn serves(table: &Table, route: &Route) -> bool {
    let project = table.matcher.projects().iter().find(|project| project.name == route.project);
    project.is_some_and(|project| project.default_name() == &*route.environment)
}

impl Row {
    fn of(w: &'static Words, route: &Route) -> Self {
        let (auth_tone, auth) = auth(route.auth);
        let methods =
            |methods: &Vec<http::Method>| methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(" ");
        Self {
            prefix: route.prefix.to_string(),
            href: route::href(&route.project, &route.environment, &Key::api(&route.prefix)),
            methods: route.methods.as_ref().map(methods),
            action: action(&route.action),
            target: target(route),
            auth,
            auth_tone,
            sign: route.sign.as_ref().map(sign),
            credential: route.forward().and_then(|it| it.credential.as_ref()).map(|it| it.name.to_string()),
            limits: route.limits.as_deref().map(|it| limits(w, it)),
            file: route.file.to_string(),
            line: route.line,
        }
    }
}

/// The configuration's words.
fn action(action: &Action) -> String {
    match action {
        Action::Forward(_) => "proxy".to_owned(),
        Action::Files(_) => "files".to_owned(),
        Action::Respond { status, .. } => format!("respond {}", status.as_u16()),
        Action::Redirect { status, .. } => format!("redirect {}", status.as_u16()),
    }
}

/// Where it leads.
fn target(route: &Route) -> String {
    match &route.action {
        Action::Forward(forward) => {
            format!("{}{}", forward.upstream.name, forward.base_path.as_deref().unwrap_or_default())
        }
        Action::Files(files) => files.root.display().to_string(),
        Action::Respond { .. } => String::new(),
        Action::Redirect { to, .. } => to.to_string(),
    }
}

/// An open door is what the eye should find.
fn auth(auth: Auth) -> (&'static str, &'static str) {
    match auth {
        Auth::Required => ("ok", "required"),
        Auth::Optional => ("info", "optional"),
        Auth::None => ("idle", "none"),
    }
}

fn sign(sign: &Sign) -> &'static str {
    sign.scheme.map_or("none", crate::policy::sign::Scheme::name)
}

fn limits(w: &Words, limits: &Limits) -> String {
    let rules = limits.rules();
    let rate = rules.quota.map(|quota| format!("{}{}", amount(quota.per_second()), w.per_second));
    let at_once = rules.concurrent.map(|count| fill(w.limit_flights, &[&count.to_string()]));
    let body = rules.body.map(|size| fill(w.limit_body, &[&bytes(size)]));
    [rate, at_once, body].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
