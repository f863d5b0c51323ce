//! `/dashboard/tokens`: which tokens there are, how they stand, and what can be done with one.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::clock;
use crate::credential::provider::Provider;
use crate::credential::record::TokenId;
use crate::credential::store::Fault;
use crate::credential::vault::{Status, Token, VaultError};

use super::super::Shared;
use super::super::answer::see_other;
use super::super::audit::Note;
use super::moment::{Moment, count};
use super::test_now::{self, Tested};
use super::words::{Words, fill};
use super::{Frame, Notice, Visit, html, notice, part, parts};

const HERE: &str = "/dashboard/tokens";

#[derive(Template)]
#[template(path = "tokens.html")]
struct Page {
    w: &'static Words,
    frame: Frame,
    notice: Option<Notice>,
    has_providers: bool,
    table: String,
    faults: String,
}

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    done: Option<String>,
}

/// `GET /dashboard/tokens`
pub async fn page(State(shared): State<Arc<Shared>>, visit: Visit, Query(asked): Query<Asked>) -> Response {
    show(&shared, &visit, StatusCode::OK, asked.done.and_then(|done| said(visit.w, &done)))
}

/// What was done before the browser came here: in words of our own, as the address is anybody's.
fn said(w: &Words, done: &str) -> Option<Notice> {
    Some(match done {
        "saved" | "login" => Notice::good(super::super::tokens::SUCCESS, w.saved_next),
        "removed" => Notice::good(w.removed, ""),
        "refreshed" => Notice::good(w.refreshed, ""),
        _ => return None,
    })
}

fn show(shared: &Shared, visit: &Visit, status: StatusCode, notice: Option<Notice>) -> Response {
    let frame = Frame { refresh: Some(30), ..visit.frame().live("/dashboard/tokens/live.json") };
    let table = shared.parts.reloader.current();
    let page = Page {
        w: visit.w,
        frame,
        notice,
        has_providers: table.providers.iter().any(|it| it.has_login()),
        table: rows(shared, visit),
        faults: faults(shared, visit.w),
    };
    html(status, &page)
}

/// `GET /dashboard/tokens/live.json`
pub async fn live(State(shared): State<Arc<Shared>>, visit: Visit) -> Response {
    parts(vec![("tokens", rows(&shared, &visit)), ("faults", faults(&shared, visit.w))])
}

#[derive(Template)]
#[template(path = "part/tokens.html")]
struct Rows {
    w: &'static Words,
    csrf: String,
    has_providers: bool,
    rows: Vec<Row>,
}

struct Row {
    id: String,
    provider: String,
    fingerprint: String,
    tone: &'static str,
    status: &'static str,
    rests_until: Option<Moment>,
    durable: bool,
    expires: Moment,
    last_refresh: Option<Moment>,
    last_used: Option<Moment>,
    requests: String,
    created: Moment,
    needs_login: bool,
    refreshable: bool,
    reason: Option<String>,
    last_error: Option<String>,
}

fn rows(shared: &Shared, visit: &Visit) -> String {
    let providers = &shared.parts.reloader.current().providers;
    part(&Rows {
        w: visit.w,
        csrf: visit.csrf(),
        has_providers: providers.iter().any(|it| it.has_login()),
        rows: shared.parts.vault.tokens().into_iter().map(|token| Row::of(visit.w, token, providers)).collect(),
    })
}

impl Row {
    fn of(w: &'static Words, token: Token, providers: &[Arc<Provider>]) -> Self {
        let now = clock::unix_millis();
        let moment = |at| Moment::new(w, at, now);
        let (tone, word) = status(w, token.status);
        let can_log_in = providers.iter().any(|it| it.name == token.provider && it.has_login());
        let over = token.status == Status::Expired && !token.refreshable;
        Self {
            provider: token.provider.to_string(),
            fingerprint: token.fingerprint,
            tone,
            status: word,
            rests_until: token.rests_until.filter(|_| token.status == Status::Resting).map(moment),
            durable: token.durable,
            expires: moment(token.expires_at),
            last_refresh: token.last_refresh.map(moment),
            last_used: token.last_used.map(moment),
            requests: count(token.requests),
            created: moment(token.created_at),
            needs_login: can_log_in && (token.status == Status::NeedsLogin || over),
            refreshable: token.refreshable,
            reason: token.reason,
            last_error: token.last_error,
            id: token.id.to_string(),
        }
    }
}

/// The table alone.
#[cfg(test)]
pub fn table(w: &'static Words, tokens: Vec<Token>) -> String {
    let rows = tokens.into_iter().map(|token| Row::of(w, token, &[])).collect();
    part(&Rows { w, csrf: "the-csrf".to_owned(), has_providers: true, rows })
}

/// How a status is coloured, and its word.
pub fn status(w: &Words, status: Status) -> (&'static str, &'static str) {
    match status {
        Status::Valid => ("ok", w.valid),
        Status::Expiring => ("info", w.expiring),
        Status::Expired => ("bad", w.expired),
        Status::Resting => ("warn", w.resting),
        Status::NeedsLogin => ("bad", w.needs_login),
    }
}

#[derive(Template)]
#[template(path = "part/faults.html")]
struct Faults {
    w: &'static Words,
    faults: Vec<Fault>,
}

fn faults(shared: &Shared, w: &'static Words) -> String {
    part(&Faults { w, faults: shared.parts.vault.faults() })
}

/// The token of that name.
fn find(shared: &Shared, id: &str) -> Option<Token> {
    shared.parts.vault.tokens().into_iter().find(|token| token.id.as_str() == id)
}

fn unknown(shared: &Shared, visit: &Visit) -> Response {
    let said = Notice::bad(visit.w.unknown_token, "", visit.w.unknown_token_next);
    show(shared, visit, StatusCode::NOT_FOUND, Some(said))
}

/// `POST /dashboard/tokens/{id}/refresh`
pub async fn refresh(State(shared): State<Arc<Shared>>, visit: Visit, Path(id): Path<String>) -> Response {
    let Some(id) = TokenId::parse(&id) else { return unknown(&shared, &visit) };
    match shared.parts.vault.refresh(&id).await {
        Ok(_) => see_other(&format!("{HERE}?done=refreshed#token-{id}")),
        Err(VaultError::Unknown(_)) => unknown(&shared, &visit),
        Err(error) => {
            let said = Notice::bad(visit.w.refresh_failed, error.to_string(), visit.w.refresh_failed_next);
            show(&shared, &visit, StatusCode::BAD_GATEWAY, Some(said))
        }
    }
}

#[derive(Template)]
#[template(path = "remove.html")]
struct Confirm {
    w: &'static Words,
    frame: Frame,
    csrf: String,
    id: String,
    provider: String,
    requests: String,
}

/// `GET /dashboard/tokens/{id}/remove`: asks once more.
pub async fn confirm(State(shared): State<Arc<Shared>>, visit: Visit, Path(id): Path<String>) -> Response {
    let Some(token) = find(&shared, &id) else { return unknown(&shared, &visit) };
    let page = Confirm {
        w: visit.w,
        frame: visit.frame(),
        csrf: visit.csrf(),
        id: token.id.to_string(),
        provider: token.provider.to_string(),
        requests: count(token.requests),
    };
    html(StatusCode::OK, &page)
}

/// `POST /dashboard/tokens/{id}/remove`
pub async fn remove(State(shared): State<Arc<Shared>>, visit: Visit, Path(id): Path<String>) -> Response {
    let Some(id) = TokenId::parse(&id) else { return unknown(&shared, &visit) };
    match shared.parts.vault.remove(&id).await {
        Ok(()) => see_other(&format!("{HERE}?done=removed")),
        Err(VaultError::Unknown(_)) => unknown(&shared, &visit),
        Err(error) => {
            let said = Notice::bad(visit.w.remove_failed, error.to_string(), "");
            show(&shared, &visit, StatusCode::INTERNAL_SERVER_ERROR, Some(said))
        }
    }
}

/// `POST /dashboard/tokens/{id}/test`
pub async fn test(State(shared): State<Arc<Shared>>, visit: Visit, Path(id): Path<String>) -> Response {
    let Some(token) = find(&shared, &id) else { return unknown(&shared, &visit) };
    let w = visit.w;
    let (tested, note) = match test_now::test(&shared, &token).await {
        Tested::Taken { url, status } => {
            let detail = fill(w.test_answered, &[&url, &status.to_string()]);
            (Notice { detail, ..Notice::good(w.test_passed, "") }, "the upstream takes it")
        }
        Tested::Refused { url, status } => {
            let detail = fill(w.test_answered, &[&url, &status.to_string()]);
            (Notice::bad(w.test_refused, detail, w.test_refused_next), "the upstream refuses it")
        }
        Tested::NoRoute => (Notice::bad(w.test_impossible, "", w.test_none), "no route to ask"),
        Tested::NotLent => (Notice::bad(w.test_impossible, "", w.test_resting), "it is not lent"),
        Tested::NoAnswer(why) => (Notice::bad(w.test_impossible, why, ""), "no answer"),
    };
    let message = format!("{}: {}", token.id, tested.message);
    let mut response = show(&shared, &visit, StatusCode::OK, Some(Notice { message, ..tested }));
    response.extensions_mut().insert(Note(note.to_owned()));
    response
}

/// A page for what cannot be shown among the tokens.
pub fn lost(visit: &Visit, status: StatusCode, said: Notice) -> Response {
    notice(visit, status, said, HERE, visit.w.tokens)
}
