//! `/dashboard/routes/explain`: what would happen to a request, and why. The same code decides as for a real one.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;

use crate::clock;
use crate::table::Table;
use crate::table::explain::{self, Candidate, Changes, Explanation, Place, Signature};

use super::super::Shared;
use super::super::audit::NoChange;
use super::super::form::{Fields, Sent};
use super::words::Words;
use super::{Frame, Visit, aside, html, part};

/// Names that are offered to choose from: a longer list helps nobody.
const OFFERED: usize = 500;

/// What has been typed in.
#[derive(Clone, Debug)]
pub struct Question {
    method: String,
    url: String,
    headers: String,
    environment: String,
    client: String,
    from: String,
}

impl Default for Question {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            method: text("GET"),
            url: text("/"),
            headers: String::new(),
            environment: String::new(),
            client: String::new(),
            from: text("127.0.0.1"),
        }
    }
}

impl Question {
    fn of(fields: &Fields) -> Self {
        let field = |name: &str| fields.one(name).unwrap_or_default().trim().to_owned();
        Self {
            method: field("method"),
            url: field("url"),
            headers: field("headers"),
            environment: field("environment"),
            client: field("client"),
            from: field("from"),
        }
    }

    /// Values may be secrets, so that messages name the header only.
    fn parse(&self) -> Result<explain::Question, String> {
        let method = Method::from_bytes(self.method.to_ascii_uppercase().as_bytes());
        let lines = self.headers.lines().filter(|line| !line.trim().is_empty());
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(explain::Question {
            method: method.map_err(|_| format!("`{}` is not a method", self.method))?,
            url: self.url.clone(),
            headers: lines.enumerate().map(|(index, line)| field(index + 1, line)).collect::<Result<_, _>>()?,
            environment: given(&self.environment),
            client: given(&self.client),
            from: match self.from.as_str() {
                "" => [127, 0, 0, 1].into(),
                text => text.parse().map_err(|_| format!("`{text}` is not an address"))?,
            },
        })
    }
}

fn field(number: usize, line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("header {number} is not `name: value`"))?;
    let name =
        HeaderName::try_from(name.trim()).map_err(|_| format!("header {number} has no name that one may have"))?;
    match HeaderValue::from_str(value.trim()) {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(format!("the value of `{name}` cannot be a header's")),
    }
}

#[derive(Template)]
#[template(path = "part/ask.html")]
struct Ask<'q> {
    w: &'static Words,
    csrf: String,
    asked: &'q Question,
    environments: Vec<String>,
    clients: Vec<String>,
}

/// The form, filled in.
pub fn ask(visit: &Visit, table: &Table, asked: &Question) -> String {
    let projects = table.matcher.projects().iter();
    let names = projects.flat_map(|project| project.environments.iter().map(|it| it.name.to_string()));
    let environments: BTreeSet<String> = names.take(OFFERED).collect();
    let clients = table.client_entries.iter().take(OFFERED).map(|client| client.name.to_string());
    part(&Ask {
        w: visit.w,
        csrf: visit.csrf(),
        asked,
        environments: environments.into_iter().collect(),
        clients: clients.collect(),
    })
}

#[derive(Template)]
#[template(path = "explain.html")]
struct Page {
    w: &'static Words,
    frame: Frame,
    problem: Option<String>,
    answer: Option<Answer>,
    ask: String,
}

/// The explanation, for the template.
struct Answer {
    tone: &'static str,
    outcome: &'static str,
    status: Option<u16>,
    code: Option<&'static str>,
    message: Option<String>,
    project: Option<String>,
    environment: Option<String>,
    rule: Option<String>,
    route: Option<Place>,
    upstream_url: Option<String>,
    upstream: Option<String>,
    host: Option<String>,
    location: Option<String>,
    generation: u64,
    verdicts: Vec<Verdict>,
    headers: Vec<HeaderTable>,
    sign: Option<Signature>,
    candidates: Vec<Candidate>,
    omitted: usize,
}

struct Verdict {
    policy: &'static str,
    tone: &'static str,
    word: &'static str,
    detail: String,
}

struct HeaderTable {
    title: &'static str,
    rows: Vec<HeaderRow>,
}

struct HeaderRow {
    tone: &'static str,
    change: &'static str,
    name: String,
    value: Option<String>,
}

/// `GET /dashboard/routes/explain`: nothing has been asked yet.
pub async fn blank(State(shared): State<Arc<Shared>>, visit: Visit) -> Response {
    let table = shared.parts.reloader.current();
    let ask = ask(&visit, &table, &Question::default());
    html(StatusCode::OK, &Page { w: visit.w, frame: visit.frame(), problem: None, answer: None, ask })
}

/// `POST /dashboard/routes/explain`: by POST, as headers may hold secrets and addresses are kept by browsers.
pub async fn answer(State(shared): State<Arc<Shared>>, visit: Visit, Sent(body): Sent) -> Response {
    let asked = Question::of(&Fields::parse(&body));
    let seen = visit.clone();
    let make = move || {
        let table = shared.parts.reloader.current();
        let outcome = asked.parse().and_then(|question| explain::explain(&table, &question, clock::unix_millis()));
        let (status, problem, answer) = match outcome {
            Ok(explanation) => (StatusCode::OK, None, Some(Answer::of(seen.w, explanation))),
            Err(problem) => (StatusCode::BAD_REQUEST, Some(problem), None),
        };
        let ask = ask(&seen, &table, &asked);
        html(status, &Page { w: seen.w, frame: seen.frame(), problem, answer, ask })
    };
    let mut response = aside(&visit, make).await;
    response.extensions_mut().insert(NoChange);
    response
}

impl Answer {
    fn of(w: &'static Words, it: Explanation) -> Self {
        let (tone, outcome) = if it.is_refused() { ("bad", w.refused) } else { ("ok", w.routed) };
        let headers = [(w.request_headers, it.headers), (w.response_headers, it.response_headers)];
        let tables = headers.into_iter().map(|(title, changes)| HeaderTable { title, rows: rows(w, changes) });
        Self {
            tone,
            outcome,
            status: it.status,
            code: it.code,
            message: it.message,
            project: it.project,
            environment: it.environment,
            rule: it.environment_rule,
            route: it.route,
            upstream_url: it.upstream_url,
            upstream: it.upstream,
            host: it.host,
            location: it.location,
            generation: it.generation,
            verdicts: it.verdicts.into_iter().map(Verdict::of).collect(),
            headers: tables.filter(|table| !table.rows.is_empty()).collect(),
            sign: it.sign,
            candidates: it.candidates,
            omitted: it.candidates_omitted,
        }
    }
}

impl Verdict {
    fn of(verdict: explain::Verdict) -> Self {
        let tone = match verdict.verdict {
            "pass" => "ok",
            "refuse" => "bad",
            "answer" => "info",
            _ => "idle",
        };
        Self { policy: verdict.policy, tone, word: verdict.verdict, detail: verdict.detail }
    }
}

fn rows(w: &'static Words, changes: Changes) -> Vec<HeaderRow> {
    let removed = changes.removed.into_iter();
    let removed = removed.map(|name| HeaderRow { tone: "warn", change: w.header_removed, name, value: None });
    let written = |tone, change| move |(name, value)| HeaderRow { tone, change, name, value: Some(value) };
    let set = changes.set.0.into_iter().map(written("info", w.header_set));
    let added = changes.added.0.into_iter().map(written("info", w.header_added));
    removed.chain(set).chain(added).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &str, from: &str) -> Result<explain::Question, String> {
        let (headers, from) = (headers.to_owned(), from.to_owned());
        Question { headers, from, method: "post".to_owned(), ..Question::default() }.parse()
    }

    #[test]
    fn headers_are_lines() {
        let question = asked("Accept: text/html\r\n\n  x-a:1:2 \n", "10.0.0.1").unwrap();
        assert_eq!((question.method, question.headers.len()), (Method::POST, 2));
        assert_eq!(question.headers[1].1, "1:2");
        assert_eq!(question.from.to_string(), "10.0.0.1");
    }

    #[test]
    fn what_is_wrong_is_told_without_values() {
        assert_eq!(asked("authorization secret", "").unwrap_err(), "header 1 is not `name: value`");
        assert_eq!(asked("x-a: 1\nx-b: \u{7f}secret", "").unwrap_err(), "the value of `x-b` cannot be a header's");
        assert_eq!(asked("", "here").unwrap_err(), "`here` is not an address");
    }
}
