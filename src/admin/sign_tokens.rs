//! Sign tokens of routes: set, staged, activated, taken back, removed; and when that was, with a fingerprint of each.
//!
//! Invariants: a token that was sent in or generated before is in no answer; one that is generated is in the one answer to the call
//! that generated it; no message repeats anything of a body.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize, Serializer};

use crate::clock::{UnixMillis, unix_millis};
use crate::edit::Refused;
use crate::edit::sign_token::{Fault, Wish, apply, find};
use crate::reload::Report;
use crate::sealed::Sealer;
use crate::secret::Secret;
use crate::sign_token::{self, Held, Home, RouteName};
use crate::table::{Route, Table};

use super::Shared;
use super::answer::{Problem, document};
use super::audit::Note;
use super::change;
use super::form::Sent;
use super::status::time;

/// Project, environment, prefix.
pub type Address = (String, String, String);

/// The tokens of one route, as they are shown.
#[derive(Debug, Serialize)]
pub struct Shown {
    project: String,
    environment: String,
    prefix: String,
    /// `state`: in the state directory; `file`: in a file that the configuration names; `configuration`: in its own text, a
    /// variable or a credential; `nowhere`: there is none.
    kept_in: &'static str,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Other routes whose token is in that file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shared_with: Vec<String>,
    tokens: Vec<One>,
}

/// One token, as it is shown.
#[derive(Clone, Debug, Serialize)]
pub struct One {
    /// `current`, `next` or `previous`.
    pub state: &'static str,
    /// Eight digits that tell this route's tokens apart.
    pub fingerprint: Option<String>,
    /// When it became what it is.
    pub set_at: Option<String>,
    /// Since then.
    pub age_seconds: Option<u64>,
}

/// Most routes that are named which share a file.
const NAMED: usize = 50;

impl Shown {
    /// Of a route.
    pub fn of(table: &Table, route: &Route, now: UnixMillis) -> Self {
        let home = route.sign.as_ref().map_or(&Home::Nowhere, crate::table::route::Sign::home);
        let (kept_in, path) = match home {
            Home::Nowhere | Home::LetGo => ("nowhere", None),
            Home::ByHand => ("configuration", None),
            Home::Kept => ("state", None),
            Home::File(path) => ("file", Some(path)),
        };
        let shares = |other: &&Arc<Route>| {
            path.is_some()
                && !std::ptr::eq(other.as_ref(), route)
                && other.sign.as_ref().is_some_and(|it| it.home() == home)
        };
        let shared_with = table.routes.iter().filter(shares).take(NAMED);
        Self {
            project: route.project.to_string(),
            environment: route.environment.to_string(),
            prefix: route.prefix.to_string(),
            kept_in,
            path: path.map(|path| path.display().to_string()),
            shared_with: shared_with.map(|it| format!("{}/{}{}", it.project, it.environment, it.prefix)).collect(),
            tokens: ones(table, route, now),
        }
    }
}

/// The tokens of a route, the one that signs first.
pub fn ones(table: &Table, route: &Route, now: UnixMillis) -> Vec<One> {
    let Some(sign) = route.sign.as_ref().filter(|sign| sign.scheme.is_some()) else { return Vec::new() };
    let beside = sign.tokens.as_deref();
    let current = sign.token.clone().map(|token| Held { token, set_at: beside.and_then(|it| it.set_at) });
    let (next, previous) = (beside.and_then(|it| it.next.clone()), beside.and_then(|it| it.previous.clone()));
    let all = [("current", current), ("next", next), ("previous", previous)].into_iter();
    let sealer = table.cookies.sealer();
    all.filter_map(|(state, held)| Some(One::of(state, &held?, route.written_name(), sealer, now))).collect()
}

impl One {
    fn of(state: &'static str, held: &Held, name: RouteName<'_>, sealer: Option<&Sealer>, now: UnixMillis) -> Self {
        Self {
            state,
            fingerprint: sealer.map(|sealer| name.fingerprint(sealer, &held.token)),
            set_at: held.set_at.map(time),
            age_seconds: held.set_at.map(|at| now.saturating_sub(at) / 1000),
        }
    }
}

/// The body of `PUT …/sign-token`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    token: Option<String>,
    #[serde(default)]
    generate: bool,
    activate: Option<bool>,
}

/// What a body asks for.
struct Asked {
    token: Secret,
    generated: bool,
    activate: bool,
}

impl Asked {
    /// Nothing of the body is ever said again, so that the message is always the same.
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        let wrong = || {
            let message = "the body is {\"token\":\"…\"} or {\"generate\":true}, and \"activate\":false for one that is only staged";
            Problem::new(StatusCode::BAD_REQUEST, "bad_body", message)
        };
        let body: Body = serde_json::from_slice(body).map_err(|_| wrong())?;
        let (token, generated) = match (body.token.map(Secret::new), body.generate) {
            (Some(token), false) => (token, false),
            (None, true) => (sign_token::generate().map_err(|_| failed(Fault::Random))?, true),
            _ => return Err(wrong()),
        };
        Ok(Self { token, generated, activate: body.activate.unwrap_or(true) })
    }
}

/// What a change answers.
#[derive(Serialize)]
struct Changed {
    /// Of the configuration in force.
    generation: u64,
    /// The one that was generated, this once.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "this_once")]
    token: Option<Secret>,
    #[serde(flatten)]
    shown: Shown,
}

fn this_once<S: Serializer>(token: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    token.as_ref().map(Secret::expose).serialize(serializer)
}

/// `GET …/sign-token`
pub async fn show(State(shared): State<Arc<Shared>>, Path(address): Path<Address>) -> Response {
    let look = move || {
        let table = shared.parts.reloader.current();
        shown(&table, name(&address)).map(|shown| document(StatusCode::OK, &shown))
    };
    change::aside(look).await.unwrap_or_else(Problem::into_response)
}

/// `PUT …/sign-token`
pub async fn set(State(shared): State<Arc<Shared>>, Path(address): Path<Address>, Sent(body): Sent) -> Response {
    let asked = match Asked::parse(&body) {
        Ok(asked) => asked,
        Err(problem) => return problem.into_response(),
    };
    drop(body);
    let wish = if asked.activate { Wish::Set } else { Wish::Stage };
    let what = match (asked.activate, asked.generated) {
        (true, false) => "set",
        (true, true) => "set, generated",
        (false, false) => "staged",
        (false, true) => "staged, generated",
    };
    let generated = asked.generated.then(|| asked.token.clone());
    change(shared, address, wish(asked.token), what, generated).await
}

/// `DELETE …/sign-token`
pub async fn remove(State(shared): State<Arc<Shared>>, Path(address): Path<Address>) -> Response {
    change(shared, address, Wish::LetGo, "removed", None).await
}

/// `POST …/sign-token/activate`
pub async fn activate(State(shared): State<Arc<Shared>>, Path(address): Path<Address>) -> Response {
    change(shared, address, Wish::Activate, "the next one activated", None).await
}

/// `POST …/sign-token/rollback`
pub async fn roll_back(State(shared): State<Arc<Shared>>, Path(address): Path<Address>) -> Response {
    change(shared, address, Wish::RollBack, "back to the previous one", None).await
}

/// `DELETE …/sign-token/next`
pub async fn drop_next(State(shared): State<Arc<Shared>>, Path(address): Path<Address>) -> Response {
    change(shared, address, Wish::DropNext, "the next one removed", None).await
}

/// `DELETE …/sign-token/previous`
pub async fn drop_previous(State(shared): State<Arc<Shared>>, Path(address): Path<Address>) -> Response {
    change(shared, address, Wish::DropPrevious, "the previous one removed", None).await
}

async fn change(
    shared: Arc<Shared>,
    address: Address,
    wish: Wish,
    what: &'static str,
    generated: Option<Secret>,
) -> Response {
    let work = move || Ok(changed(&shared, name(&address), &wish, generated));
    let mut response = match change::aside(work).await {
        Ok(Ok(changed)) => document(StatusCode::OK, &changed),
        // What a reload says has its own form.
        Ok(Err(Fault::Refused(refused))) => change::refused(refused),
        Ok(Err(fault)) => failed(fault).into_response(),
        Err(problem) => problem.into_response(),
    };
    response.extensions_mut().insert(Note(format!("sign token: {what}")));
    response
}

/// Changes the tokens of a route, and shows them as they are then.
fn changed(shared: &Shared, name: RouteName<'_>, wish: &Wish, generated: Option<Secret>) -> Result<Changed, Fault> {
    let Report { generation, .. } = apply(&shared.editor, name, wish, unix_millis())?;
    let table = shared.parts.reloader.current();
    let route = find(&table, name).ok_or(Fault::UnknownRoute)?;
    Ok(Changed { generation, token: generated, shown: Shown::of(&table, route, unix_millis()) })
}

fn shown(table: &Table, name: RouteName<'_>) -> Result<Shown, Problem> {
    let route = find(table, name).ok_or_else(|| failed(Fault::UnknownRoute))?;
    Ok(Shown::of(table, route, unix_millis()))
}

fn name((project, environment, prefix): &Address) -> RouteName<'_> {
    RouteName { project, environment, prefix }
}

/// Why nothing was changed, as an answer.
pub fn failed(fault: Fault) -> Problem {
    let message = fault.to_string();
    match fault {
        Fault::UnknownRoute => Problem::new(StatusCode::NOT_FOUND, "unknown_route", message),
        Fault::NotSigned => Problem::new(StatusCode::CONFLICT, "route_not_signed", message),
        Fault::ByHand(_) => Problem::new(StatusCode::CONFLICT, "sign_token_in_configuration", message),
        Fault::Unfit(_) => Problem::new(StatusCode::BAD_REQUEST, "bad_sign_token", message),
        Fault::NoCurrent | Fault::NoNext | Fault::NoPrevious => {
            Problem::new(StatusCode::CONFLICT, "no_such_sign_token", message)
        }
        Fault::Staged => Problem::new(StatusCode::CONFLICT, "sign_token_staged", message),
        Fault::Unreadable(_) => Problem::new(StatusCode::CONFLICT, "sign_token_unreadable", message),
        Fault::Io { .. } | Fault::Directory(_) | Fault::Random => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "write_failed", message)
        }
        Fault::Refused(refused) => of_refused(&refused),
    }
}

fn of_refused(refused: &Refused) -> Problem {
    change::problem(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_of_two_and_never_repeated() {
        let asked = |body: &str| Asked::parse(body.as_bytes());
        let token = "0123456789abcdef0123456789abcdef";
        let set = asked(&format!(r#"{{"token":"{token}"}}"#)).unwrap();
        assert_eq!((set.token.expose(), set.generated, set.activate), (token, false, true));
        let staged = asked(r#"{"generate":true,"activate":false}"#).unwrap();
        assert_eq!((staged.token.len(), staged.generated, staged.activate), (43, true, false));
        for wrong in [
            "".to_owned(),
            "{}".to_owned(),
            format!(r#""{token}""#),
            format!(r#"{{"token":"{token}","generate":true}}"#),
            format!(r#"{{"token":"{token}","{token}":1}}"#),
            format!(r#"{{"generate":"{token}"}}"#),
            format!(r#"{{"token":["{token}"]}}"#),
            r#"{"generate":false}"#.to_owned(),
        ] {
            let problem = asked(&wrong).err().unwrap();
            assert!(problem.code == "bad_body" && !format!("{problem:?}").contains(token), "{wrong}: {problem:?}");
        }
    }
}
