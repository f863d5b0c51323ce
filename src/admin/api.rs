//! The calls of the admin listener. Whoever gets here has passed the [`gate`](super::gate).

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use serde::Deserialize;
use serde_json::Value;

use crate::observe::live::Live;
use crate::reload::{Outcome, Report, Trigger};
use crate::table::Table;
use crate::table::explain::{Question, explain};

use super::answer::{Problem, document, text, typed};
use super::audit::NoChange;
use super::change::aside;
use super::form::Sent;
use super::status::{Routes, Status};
use super::{Shared, configuration, edits, entry, environments, gate, landing, pages, preview, sign_tokens, tokens};

const CONTENTS: &str = "countersign admin\n\n\
    GET    /dashboard                        for people\n\
    GET    /livez                            alive\n\
    GET    /readyz[?verbose]                 takes requests\n\
    GET    /metrics                          Prometheus\n\
    GET    /api/v1/status                    version, generation, last reload, listeners, upstreams\n\
    GET    /api/v1/config                    the configuration in force, where each value came from, what was changed\n\
    GET    /api/v1/routes                    the table in force\n\
    POST   /api/v1/reload                    reads the configuration again\n\
    POST   /api/v1/preview                   {\"files\"}: what an edit would do to the last requests\n\
    POST   /api/v1/explain                   {\"method\",\"url\",\"headers\",\"environment\",\"client\",\"from\"}\n\
    GET    /api/v1/projects/{project}/environment        which environment serves by default, and its file's sha256\n\
    PUT    /api/v1/projects/{project}/environment        {\"environment\"}: another one does; edits that value of the file\n\
    POST   /api/v1/projects/{project}/environment/grant  {\"environment\",\"for\",\"host\"}: a link that puts one browser on it\n\
    GET    /api/v1/projects/{project}/environments/{environment}/routes\n\
    \x20                                        its routes, and where they stand; POST adds one\n\
    GET    /api/v1/projects/{project}/environments/{environment}/routes/{prefix}\n\
    \x20                                        one of them; PUT replaces it, DELETE removes it (?dry_run=true: not really)\n\
    GET    /api/v1/undo                      the last changes that were made here; POST takes one back\n\
    GET    /api/v1/tokens                    the stored logins\n\
    POST   /api/v1/tokens/login              {\"provider\",\"flow\"}: begins a login\n\
    GET    /api/v1/tokens/login/{id}         how a login by device code stands\n\
    POST   /api/v1/tokens/callback           {\"callback_url\"}: ends a login\n\
    POST   /api/v1/tokens/import             takes tokens that were made elsewhere\n\
    POST   /api/v1/tokens/{id}/refresh       refreshes a token now\n\
    POST   /api/v1/tokens/{id}/test          whether a token can be used\n\
    DELETE /api/v1/tokens/{id}               removes a token\n\
    GET    /api/v1/projects/{project}/environments/{environment}/routes/{prefix}/sign-token\n                                             when a route's sign tokens were set\n\
    PUT    /api/v1/projects/{project}/environments/{environment}/routes/{prefix}/sign-token\n                                             {\"token\"} or {\"generate\":true}; \"activate\":false for one that is only staged\n\
    DELETE /api/v1/projects/{project}/environments/{environment}/routes/{prefix}/sign-token\n                                             the route signs without a token\n\
    POST   /api/v1/projects/{project}/environments/{environment}/routes/{prefix}/sign-token/activate\n                                             the staged one signs\n\
    POST   /api/v1/projects/{project}/environments/{environment}/routes/{prefix}/sign-token/rollback\n                                             the previous one signs again\n\
    DELETE /api/v1/projects/{project}/environments/{environment}/routes/{prefix}/sign-token/next\n                                             forgets the staged one\n\
    DELETE /api/v1/projects/{project}/environments/{environment}/routes/{prefix}/sign-token/previous\n                                             forgets the previous one\n\
    POST   /login                            {\"user\",\"password\"} or {\"token\"}: begins a session\n\
    POST   /logout                           ends it\n\
    GET    /api/v1/sessions                  who is logged in\n\
    DELETE /api/v1/sessions/{id}             ends a session\n\
    GET    /api/v1/openapi.json              all of this for programs\n";

/// The routes of an environment.
const ROUTES: &str = "/api/v1/projects/{project}/environments/{environment}/routes";

/// One of them; the prefix is percent-encoded with its slash.
const ROUTE: &str = "/api/v1/projects/{project}/environments/{environment}/routes/{prefix}";

/// All of it for programs.
const OPENAPI: &str = include_str!("openapi.json");

/// Methods, path, and who answers.
type Call = (&'static [&'static str], &'static str, MethodRouter<Arc<Shared>>);

/// Every call that programs may make; `openapi.json` describes each.
fn calls() -> Vec<Call> {
    vec![
        (&["GET"], "/", get(async || text(StatusCode::OK, CONTENTS))),
        (&["GET"], "/livez", get(async || text(StatusCode::OK, "alive\n"))),
        (&["GET"], "/readyz", get(readyz)),
        (&["GET"], "/metrics", get(metrics)),
        (&["GET"], "/api/v1/status", get(status)),
        (&["GET"], "/api/v1/config", get(config)),
        (&["GET"], "/api/v1/routes", get(routes)),
        (&["POST"], "/api/v1/reload", post(reload)),
        (&["POST"], "/api/v1/preview", post(preview::files)),
        (&["POST"], "/api/v1/explain", post(explanation)),
        (&["GET", "PUT"], "/api/v1/projects/{project}/environment", get(environments::show).put(environments::switch)),
        (&["POST"], "/api/v1/projects/{project}/environment/grant", post(environments::grant)),
        (&["GET", "POST"], ROUTES, get(edits::list).post(edits::add)),
        (&["GET", "PUT", "DELETE"], ROUTE, get(edits::show).put(edits::replace).delete(edits::remove)),
        (&["GET", "POST"], "/api/v1/undo", get(edits::past).post(edits::undo)),
        (&["GET"], "/api/v1/tokens", get(tokens::list)),
        (&["POST"], "/api/v1/tokens/login", post(tokens::begin)),
        (&["GET"], "/api/v1/tokens/login/{id}", get(tokens::device)),
        (&["POST"], "/api/v1/tokens/callback", post(tokens::callback)),
        (&["POST"], "/api/v1/tokens/import", post(tokens::import)),
        (&["POST"], "/api/v1/tokens/{id}/refresh", post(tokens::refresh)),
        (&["POST"], "/api/v1/tokens/{id}/test", post(tokens::test)),
        (&["DELETE"], "/api/v1/tokens/{id}", delete(tokens::remove)),
        (
            &["GET", "PUT", "DELETE"],
            "/api/v1/projects/{project}/environments/{environment}/routes/{prefix}/sign-token",
            get(sign_tokens::show).put(sign_tokens::set).delete(sign_tokens::remove),
        ),
        (
            &["POST"],
            "/api/v1/projects/{project}/environments/{environment}/routes/{prefix}/sign-token/activate",
            post(sign_tokens::activate),
        ),
        (
            &["POST"],
            "/api/v1/projects/{project}/environments/{environment}/routes/{prefix}/sign-token/rollback",
            post(sign_tokens::roll_back),
        ),
        (
            &["DELETE"],
            "/api/v1/projects/{project}/environments/{environment}/routes/{prefix}/sign-token/next",
            delete(sign_tokens::drop_next),
        ),
        (
            &["DELETE"],
            "/api/v1/projects/{project}/environments/{environment}/routes/{prefix}/sign-token/previous",
            delete(sign_tokens::drop_previous),
        ),
        (&["GET"], "/api/v1/sessions", get(entry::sessions)),
        (&["DELETE"], "/api/v1/sessions/{id}", delete(entry::revoke)),
        (&["GET"], "/api/v1/openapi.json", get(async || typed(StatusCode::OK, "application/json", OPENAPI))),
        (&["GET", "POST"], "/login", get(entry::page).post(entry::log_in)),
        (&["POST"], "/logout", post(entry::log_out)),
        (&["GET", "POST"], "/oauth/callback", get(landing::arrive).post(landing::finish)),
    ]
}

/// The same calls below `/dashboard`, and what pages are made from: for browsers.
fn for_browsers() -> Vec<Call> {
    vec![
        (&["POST"], "/dashboard/login", post(entry::log_in)),
        (&["POST"], "/dashboard/logout", post(entry::log_out)),
        (&["GET", "POST"], "/dashboard/oauth/callback", get(landing::arrive).post(landing::finish)),
        (&["GET"], "/oauth/callback.js", get(landing::script)),
        (&["GET"], "/dashboard/oauth/callback.js", get(landing::script)),
    ]
}

/// All calls behind the gate.
pub fn router(shared: Arc<Shared>) -> Router {
    let all = calls().into_iter().chain(for_browsers());
    all.fold(Router::new(), |router, (_, path, answer)| router.route(path, answer))
        .merge(pages::router())
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here; GET / lists what is")
        })
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path has other methods; see allow")
        })
        .layer(DefaultBodyLimit::max(gate::BODY_LIMIT))
        .layer(from_fn_with_state(Arc::clone(&shared), gate::pass))
        .with_state(shared)
}

async fn readyz(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let live = &shared.parts.observer.live;
    let ready = live.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose = query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
    let verdict = if ready { "ready\n" } else { "not ready\n" };
    if !verbose {
        return text(status, verdict);
    }
    text(status, format!("{}{verdict}", checks(live, &shared.parts.reloader.current())))
}

fn checks(live: &Live, table: &Table) -> String {
    let check = |holds: bool, what: &str| format!("[{}] {what}\n", if holds { '+' } else { '-' });
    let started = live.ready.load(std::sync::atomic::Ordering::Acquire);
    [
        check(true, &format!("table: generation {}", table.generation)),
        check(started, if started { "listeners: accepting" } else { "listeners: not yet accepting" }),
        check(!live.is_draining(), if live.is_draining() { "drain: under way" } else { "drain: none" }),
    ]
    .concat()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let render = move || Ok(shared.parts.observer.metrics.render());
    let answer = |body| typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body);
    aside(render).await.map_or_else(Problem::into_response, answer)
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    let render = move || Ok(document(StatusCode::OK, &Status::of(&shared)));
    aside(render).await.unwrap_or_else(Problem::into_response)
}

async fn config(State(shared): State<Arc<Shared>>) -> Response {
    let render = move || configuration::shown(&shared.parts.reloader).map(|shown| document(StatusCode::OK, &shown));
    aside(render).await.unwrap_or_else(Problem::into_response)
}

async fn routes(State(shared): State<Arc<Shared>>) -> Response {
    let render = move || {
        let table = shared.parts.reloader.current();
        Ok(document(StatusCode::OK, &Routes::of(&table)))
    };
    aside(render).await.unwrap_or_else(Problem::into_response)
}

async fn reload(State(shared): State<Arc<Shared>>) -> Response {
    let run = move || Ok(shared.parts.reloader.reload(Trigger::Api));
    aside(run).await.map_or_else(Problem::into_response, |report| verdict(&report))
}

fn verdict(report: &Report) -> Response {
    let applies = report.outcome != Outcome::Rejected;
    document(if applies { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }, report)
}

async fn explanation(State(shared): State<Arc<Shared>>, Sent(body): Sent) -> Response {
    let asked = Asked::parse(&body).and_then(Asked::question);
    let answer = move || {
        let table = shared.parts.reloader.current();
        let explanation = explain(&table, &asked?, crate::clock::unix_millis());
        explanation.map(|it| document(StatusCode::OK, &it)).map_err(bad_question)
    };
    let mut response = aside(answer).await.unwrap_or_else(Problem::into_response);
    response.extensions_mut().insert(NoChange);
    response
}

fn bad_question(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_question", message)
}

/// The body of `POST /api/v1/explain`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default = "get_method")]
    method: String,
    url: String,
    /// An object, or a list of pairs where a name comes twice.
    #[serde(default)]
    headers: Value,
    environment: Option<String>,
    client: Option<String>,
    from: Option<std::net::IpAddr>,
}

fn get_method() -> String {
    "GET".to_owned()
}

impl Asked {
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        serde_json::from_slice(body).map_err(|error| bad_question(format!("the body is not a question: {error}")))
    }

    fn question(self) -> Result<Question, Problem> {
        let method = Method::from_bytes(self.method.as_bytes());
        Ok(Question {
            method: method.map_err(|_| bad_question(format!("`{}` is not a method", self.method)))?,
            url: self.url,
            headers: headers(&self.headers)?,
            environment: self.environment,
            client: self.client,
            from: self.from.unwrap_or_else(|| [127, 0, 0, 1].into()),
        })
    }
}

fn headers(value: &Value) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
    let pairs: Option<Vec<(&str, &str)>> = match value {
        Value::Null => Some(Vec::new()),
        Value::Object(map) => map.iter().map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect(),
        Value::Array(list) => list.iter().map(pair).collect(),
        _ => None,
    };
    let pairs = pairs.ok_or_else(|| bad_question("headers are an object of texts, or a list of [name, value]"))?;
    pairs.into_iter().map(|(name, value)| header(name, value)).collect()
}

fn pair(value: &Value) -> Option<(&str, &str)> {
    match value.as_array()?.as_slice() {
        [name, value] => Some((name.as_str()?, value.as_str()?)),
        _ => None,
    }
}

/// Values may be secrets, so that messages name the header only.
fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Problem> {
    let parsed = HeaderName::from_bytes(name.as_bytes());
    let name = parsed.map_err(|_| bad_question(format!("`{name}` is not a header name")))?;
    match HeaderValue::from_str(value) {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(bad_question(format!("the value of `{name}` cannot be a header's"))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_call_is_described_and_every_description_is_a_call() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        let calls = calls();
        let known =
            calls.iter().flat_map(|(methods, path, _)| methods.iter().map(|it| ((*it).to_owned(), (*path).to_owned())));
        assert_eq!(described, known.collect::<BTreeSet<_>>());
        for name in document.to_string().split("#/components/schemas/").skip(1) {
            let name = name.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }

    #[test]
    fn the_contents_list_every_call() {
        for (methods, path, _) in calls() {
            let hidden = matches!(path, "/" | "/oauth/callback");
            assert!(hidden || methods.iter().any(|method| lists(method, path)), "{methods:?} {path}");
        }
    }

    fn lists(method: &str, path: &str) -> bool {
        CONTENTS.lines().any(|line| {
            let mut words = line.split_whitespace();
            let listed = words.next() == Some(method);
            listed && words.next().is_some_and(|it| it.split('[').next() == Some(path))
        })
    }
}
