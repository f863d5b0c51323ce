//! The sign tokens of a route: set, generated and rotated; a fingerprint and an age of each, and never a token, but a generated one in
//! the one answer to the request that generated it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::clock;
use crate::edit::dashboard::{Key, Place};
use crate::edit::sign_token::{Wish, apply, find};
use crate::secret::Secret;
use crate::sign_token::{Home, RouteName, generate};

use super::super::super::Shared;
use super::super::super::answer::see_other;
use super::super::super::audit::Note;
use super::super::super::form::{Fields, Sent};
use super::super::super::sign_tokens::{failed, ones};
use super::super::moment::span;
use super::super::words::Words;
use super::super::{Notice, Visit, aside, html};
use super::{Page, href, lost};

/// What is shown of them.
pub struct Tokens {
    /// Whether they can be changed from here: not where one stands in the configuration's own text.
    pub editable: bool,
    pub all: Vec<Token>,
    pub has_next: bool,
    pub has_previous: bool,
}

/// One of them.
pub struct Token {
    pub state: &'static str,
    pub tone: &'static str,
    pub fingerprint: String,
    pub age: Option<String>,
    pub set_at: Option<String>,
}

impl Tokens {
    /// `None`: the route signs nothing.
    pub fn of(shared: &Shared, visit: &Visit, place: &Place, key: &Key) -> Option<Self> {
        let table = shared.parts.reloader.current();
        let route = find(&table, name(place, key))?;
        let sign = route.sign.as_ref().filter(|sign| sign.scheme.is_some())?;
        let all: Vec<Token> = ones(&table, route, clock::unix_millis())
            .into_iter()
            .map(|one| Token {
                state: word(visit.w, one.state),
                tone: if one.state == "current" { "ok" } else { "idle" },
                fingerprint: one.fingerprint.unwrap_or_default(),
                age: one.age_seconds.map(|age| span(visit.w, std::time::Duration::from_secs(age))),
                set_at: one.set_at,
            })
            .collect();
        let beside = sign.tokens.as_deref();
        Some(Self {
            editable: !matches!(sign.home(), Home::ByHand),
            has_next: beside.is_some_and(|it| it.next.is_some()),
            has_previous: beside.is_some_and(|it| it.previous.is_some()),
            all,
        })
    }
}

fn word(w: &Words, state: &str) -> &'static str {
    match state {
        "next" => w.token_next,
        "previous" => w.token_previous,
        _ => w.token_current,
    }
}

fn name<'a>(place: &'a Place, key: &'a Key) -> RouteName<'a> {
    RouteName { project: &place.project, environment: &place.environment, prefix: &key.prefix }
}

/// What a form asks for, in words for the audit, and the token that was generated for it.
fn wish(fields: &Fields) -> Option<(Wish, &'static str, Option<Secret>)> {
    let typed = || Secret::new(fields.one("token").unwrap_or_default());
    let generated = || generate().ok();
    Some(match fields.one("do")? {
        "set" => (Wish::Set(typed()), "set", None),
        "stage" => (Wish::Stage(typed()), "staged", None),
        "generate" => generated().map(|token| (Wish::Set(token.clone()), "set, generated", Some(token)))?,
        "stage-generated" => generated().map(|token| (Wish::Stage(token.clone()), "staged, generated", Some(token)))?,
        "activate" => (Wish::Activate, "the next one activated", None),
        "rollback" => (Wish::RollBack, "back to the previous one", None),
        "drop-next" => (Wish::DropNext, "the next one removed", None),
        "drop-previous" => (Wish::DropPrevious, "the previous one removed", None),
        "remove" => (Wish::LetGo, "removed", None),
        _ => return None,
    })
}

/// `POST /dashboard/projects/{project}/{environment}/token`
pub async fn change(
    State(shared): State<Arc<Shared>>,
    visit: Visit,
    Path((project, environment)): Path<(String, String)>,
    Sent(body): Sent,
) -> Response {
    let seen = visit.clone();
    let make = move || {
        let fields = Fields::parse(&body);
        drop(body);
        let (place, key) = (Place { project, environment }, Key::api(fields.one("prefix").unwrap_or_default()));
        let Some((wish, what, generated)) = wish(&fields) else {
            return see_other(&href(&place.project, &place.environment, &key));
        };
        let done = apply(&shared.editor, name(&place, &key), &wish, clock::unix_millis());
        let mut response = match (done, generated) {
            (Ok(_), None) => see_other(&format!("{}&done=token", href(&place.project, &place.environment, &key))),
            (Ok(_), Some(token)) => match Page::of(&shared, &seen, &place, &key) {
                Ok(page) => {
                    let notice = Some(Notice::good(seen.w.token_generated, seen.w.token_generated_next));
                    html(StatusCode::OK, &Page { notice, generated: Some(token.expose().to_owned()), ..page })
                }
                Err(problem) => lost(&seen, &problem),
            },
            (Err(fault), _) => {
                let detail = fault.to_string();
                let status = failed(fault).into_response().status();
                match Page::of(&shared, &seen, &place, &key) {
                    Ok(page) => {
                        let notice = Some(Notice::bad(seen.w.token_not_changed, detail, ""));
                        html(status, &Page { notice, ..page })
                    }
                    Err(problem) => lost(&seen, &problem),
                }
            }
        };
        response
            .extensions_mut()
            .insert(Note(format!("sign token of {}/{}{}: {what}", place.project, place.environment, key.prefix)));
        response
    };
    aside(&visit, make).await
}
