//! `/api/v1/projects/{project}/environment`: which environment serves by default, switching it, and putting one browser on another.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::config::parse_duration;
use crate::edit::Digest;
use crate::edit::environment::{Fault, Standing};
use crate::policy::host;
use crate::reload::Report;
use crate::table::Table;
use crate::table::environment::browser::{Grant, LONGEST, OPENS_FOR, Stay};
use crate::table::matcher::ProjectEntry;

use super::answer::{Problem, document};
use super::audit::Note;
use super::caller::Caller;
use super::change::{self, Expected, aside, etag, if_match, lost_race};
use super::form::Sent;
use super::status::time;
use super::{ListenerAddress, Shared};

/// How long a browser stays when nobody says.
const USUAL: &str = "8h";

/// `GET …/environment`
#[derive(Debug, Serialize)]
struct Shown {
    project: String,
    environment: String,
    environments: Vec<String>,
    file: String,
    line: u32,
    sha256: String,
}

/// `GET /api/v1/projects/{project}/environment`
pub async fn show(State(shared): State<Arc<Shared>>, Path(project): Path<String>) -> Response {
    let work = move || Ok(shared.editor.environment(&project).map(|standing| (project, standing)));
    match aside(work).await {
        Ok(Ok((project, standing))) => shown(project, standing),
        Ok(Err(fault)) => refused(fault),
        Err(problem) => problem.into_response(),
    }
}

fn shown(project: String, standing: Standing) -> Response {
    let Standing { environment, environments, file, line, digest } = standing;
    let (file, sha256) = (file.display().to_string(), hex::encode(digest));
    let shown = Shown { project, environment, environments, file, line, sha256 };
    with_etag(document(StatusCode::OK, &shown), &digest)
}

fn with_etag(mut response: Response, digest: &Digest) -> Response {
    response.headers_mut().insert(header::ETAG, etag(digest));
    response
}

/// The body of `PUT …/environment`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    environment: String,
}

/// What a switch came to: a reload's verdict, and what serves now.
#[derive(Debug, Serialize)]
struct Switched<'a> {
    project: &'a str,
    environment: &'a str,
    #[serde(flatten)]
    verdict: &'a Report,
}

/// `PUT /api/v1/projects/{project}/environment`
pub async fn switch(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(project): Path<String>,
    headers: HeaderMap,
    Sent(body): Sent,
) -> Response {
    let asked = parse::<Switch>(&body, "{\"environment\":\"NAME\"}");
    let (to, expected) = match asked.and_then(|asked| Ok((asked.environment, if_match(&headers)?))) {
        Ok(asked) => asked,
        Err(problem) => return problem.into_response(),
    };
    let note = Note(format!("{project}: environment {to:?}"));
    let work = move || {
        let expects =
            |digest: &Digest| expected.as_ref().is_none_or(|seen: &Expected| seen.admit(Some(digest)).is_ok());
        let done = shared.editor.switch_environment(&project, &to, expects, &caller.who.to_string());
        Ok(done.map(|(report, digest)| {
            let switched = Switched { project: &project, environment: &to, verdict: &report };
            with_etag(document(StatusCode::OK, &switched), &digest)
        }))
    };
    let mut response = match aside(work).await {
        Ok(done) => done.unwrap_or_else(refused),
        Err(problem) => problem.into_response(),
    };
    response.extensions_mut().insert(note);
    response
}

/// Why it was not switched, as an answer.
pub fn refused(fault: Fault) -> Response {
    match fault {
        Fault::Refused(why) => change::refused(why),
        other => problem(&other).into_response(),
    }
}

/// The same in one line.
pub fn problem(fault: &Fault) -> Problem {
    let words = fault.to_string();
    match fault {
        Fault::UnknownProject(_) => Problem::new(StatusCode::NOT_FOUND, "unknown_project", words),
        Fault::UnknownEnvironment { .. } => Problem::new(StatusCode::NOT_FOUND, "unknown_environment", words),
        Fault::Local => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "local_by_default", words),
        Fault::Seen(_) => lost_race(),
        Fault::ByHand { .. } => Problem::new(StatusCode::CONFLICT, "not_editable", words),
        Fault::Refused(why) => change::problem(why),
    }
}

fn parse<'b, T: Deserialize<'b>>(body: &'b [u8], shape: &str) -> Result<T, Problem> {
    let bad = |error| Problem::new(StatusCode::BAD_REQUEST, "bad_request", format!("the body is not {shape}: {error}"));
    serde_json::from_slice(body).map_err(bad)
}

/// The body of `POST …/environment/grant`, and what the dashboard's form says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Which environment.
    pub environment: String,
    /// For how long: `30m`, `8h`.
    #[serde(default = "usual", rename = "for")]
    pub stays: String,
    /// On which host, with its port or scheme where these are not the listener's.
    #[serde(default)]
    pub host: Option<String>,
}

fn usual() -> String {
    USUAL.to_owned()
}

/// A link that puts the browser that opens it on an environment.
#[derive(Clone, Debug, Serialize)]
pub struct Minted {
    /// To open in that browser.
    pub url: String,
    /// Of which project.
    pub project: String,
    /// The environment.
    pub environment: String,
    /// When the browser falls back, RFC 3339.
    pub until: String,
    /// Until when the link can be opened, RFC 3339.
    pub opens_until: String,
}

/// `POST /api/v1/projects/{project}/environment/grant`
pub async fn grant(State(shared): State<Arc<Shared>>, Path(project): Path<String>, Sent(body): Sent) -> Response {
    let shape = "{\"environment\":\"NAME\",\"for\":\"8h\",\"host\":\"HOST\"}";
    let minted = parse::<Asked>(&body, shape).and_then(|asked| mint(&shared, &project, &asked));
    match minted {
        Ok(minted) => {
            let mut response = document(StatusCode::OK, &minted);
            response.extensions_mut().insert(minted.note());
            response
        }
        Err(problem) => problem.into_response(),
    }
}

impl Minted {
    /// For the audit: without the link.
    pub fn note(&self) -> Note {
        Note(format!("{}: a browser may be put on {:?} until {}", self.project, self.environment, self.until))
    }
}

/// Makes a link.
///
/// # Errors
/// There is no such project or environment, the browser may not be put on it, or the host is not the project's.
pub fn mint(shared: &Shared, project: &str, asked: &Asked) -> Result<Minted, Problem> {
    let table = shared.parts.reloader.current();
    let entry = table.matcher.projects().iter().find(|entry| *entry.name == *project);
    let entry = entry.ok_or_else(|| problem(&Fault::UnknownProject(project.to_owned())))?;
    check_environment(entry, &asked.environment)?;
    let stays = check_duration(&asked.stays)?;
    let origin = origin(&table, entry, &shared.parts.listeners, asked.host.as_deref())?;
    let now = clock::unix_millis();
    let after = |span: Duration| now.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    let stay = Stay { project: project.to_owned(), environment: asked.environment.clone(), until: after(stays) };
    let grant = Grant { stay, opens_until: after(OPENS_FOR.min(stays)) };
    let sealed = table.cookies.sealer().and_then(|sealer| grant.seal(sealer)).ok_or_else(no_key)?;
    let Grant { stay, opens_until } = grant;
    Ok(Minted {
        url: format!("{origin}/.countersign/environment?grant={sealed}"),
        project: stay.project,
        environment: stay.environment,
        until: time(stay.until),
        opens_until: time(opens_until),
    })
}

fn check_environment(project: &ProjectEntry, environment: &str) -> Result<(), Problem> {
    if project.may_grant(environment) {
        return Ok(());
    }
    if project.environment(environment).is_some() {
        let message = "a browser can be put on `local` only where a rule of `choose_environment` lists it";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "local_not_listed", message));
    }
    let known: Vec<&str> = project.environments.iter().map(|it| &*it.name).collect();
    let fault = Fault::UnknownEnvironment {
        project: project.name.to_string(),
        environment: environment.to_owned(),
        known: known.join(", "),
    };
    Err(problem(&fault))
}

fn check_duration(text: &str) -> Result<Duration, Problem> {
    let parsed = parse_duration(text).ok().filter(|span| (Duration::from_secs(60)..=LONGEST).contains(span));
    parsed.ok_or_else(|| {
        let message = "`for` is a time from 1m to 24h, such as 30m or 8h";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_duration", message)
    })
}

fn no_key() -> Problem {
    let message = "this process has no key to seal it with";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_cookie_key", message)
}

/// `https://demo.example.com`: where a browser reaches the project.
fn origin(
    table: &Table,
    project: &ProjectEntry,
    listeners: &[ListenerAddress],
    asked: Option<&str>,
) -> Result<String, Problem> {
    let asked = asked.map(str::trim).filter(|host| !host.is_empty());
    let usual = || usual_host(table, project).map(Cow::Owned);
    let host = asked.map(Cow::Borrowed).or_else(usual).ok_or_else(|| {
        let message = "the project has no host of its own; say with `host` where the browser reaches it";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "host_needed", message)
    })?;
    let (scheme, rest) = match host.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest.strip_suffix('/').unwrap_or(rest)),
        Some(_) => return Err(foreign(&host)),
        None => (None, &*host),
    };
    let (name, port) = host::split(rest).map_err(|_| foreign(&host))?;
    let is_its = table.matcher.project(&name).is_some_and(|(owner, _)| owner.name == project.name);
    if !is_its {
        return Err(foreign(&host));
    }
    Ok(address(&name, scheme, port, listeners))
}

fn foreign(host: &str) -> Problem {
    let message = format!("`{}` is not a host of the project", host.escape_debug());
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "foreign_host", message)
}

/// The first of its hosts; a project that has all the rest has `localhost`.
pub fn usual_host(table: &Table, project: &ProjectEntry) -> Option<String> {
    let own = table.matcher.hosts_of(project).first().map(|host| (*host).to_owned());
    own.or_else(|| {
        let (owner, _) = table.matcher.project("localhost")?;
        (owner.name == project.name).then(|| "localhost".to_owned())
    })
}

/// Scheme and port are the listener's with that port, else of the first that speaks TLS, else of the first.
fn address(name: &str, scheme: Option<&str>, port: Option<u16>, listeners: &[ListenerAddress]) -> String {
    let of = |tls: bool| if tls { "https" } else { "http" };
    let usual = listeners.iter().find(|it| it.tls).or(listeners.first());
    let (scheme, port) = match (scheme, port) {
        (Some(scheme), port) => (scheme, port),
        (None, Some(port)) => {
            let known = listeners.iter().find(|it| it.address.port() == port);
            (of(known.map_or(port != 80, |it| it.tls)), Some(port))
        }
        (None, None) => (of(usual.is_some_and(|it| it.tls)), usual.map(|it| it.address.port())),
    };
    match port {
        Some(port) if (scheme, port) != ("https", 443) && (scheme, port) != ("http", 80) => {
            format!("{scheme}://{name}:{port}")
        }
        _ => format!("{scheme}://{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_the_listener_that_a_browser_reaches() {
        let listener =
            |port: u16, tls| ListenerAddress { name: "x".to_owned(), address: ([0, 0, 0, 0], port).into(), tls };
        let both = [listener(8080, false), listener(8443, true)];
        let usual = [listener(80, false), listener(443, true)];
        assert_eq!(address("a.test", None, None, &both), "https://a.test:8443");
        assert_eq!(address("a.test", None, None, &usual), "https://a.test");
        assert_eq!(address("a.test", None, None, &both[..1]), "http://a.test:8080");
        assert_eq!(address("a.test", None, Some(8080), &both), "http://a.test:8080");
        assert_eq!(address("a.test", None, Some(443), &both), "https://a.test");
        assert_eq!(address("a.test", Some("https"), None, &both[..1]), "https://a.test");
    }

    #[test]
    fn a_stay_is_neither_nothing_nor_for_ever() {
        assert_eq!(check_duration("8h").unwrap(), Duration::from_secs(28_800));
        for wrong in ["", "0s", "59s", "25h", "1441m", "-1h", "8"] {
            assert_eq!(check_duration(wrong).unwrap_err().code, "bad_duration", "{wrong}");
        }
    }
}
