//! The tokens' part of the API: what there is, logins from beginning to end, refresh, removal, import.
//!
//! What a login came to is told in flat documents (`{"error": …, "detail": …}`), word for word as the interface says; all else
//! in the shape of every other error. No answer holds a token.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::credential::callback::{self, Callback, CallbackError};
use crate::credential::import;
use crate::credential::login::{BeginError, Begun, DeviceState, FinishError, Flow, Session};
use crate::credential::record::TokenId;
use crate::credential::vault::{Status, Token, VaultError};

use super::Shared;
use super::answer::{Problem, document};
use super::audit::Note;
use super::caller::Caller;
use super::form::{Fields, Sent};
use super::status::time;

/// After a successful login.
pub const SUCCESS: &str = "Authentication successful! Token has been saved.";

/// A token, as it is shown.
#[derive(Debug, Serialize)]
pub struct Shown {
    id: String,
    provider: String,
    status: &'static str,
    reason: Option<String>,
    generation: u64,
    expires_at: String,
    created_at: String,
    last_refresh: Option<String>,
    last_used: Option<String>,
    requests: u64,
    last_error: Option<String>,
    rests_until: Option<String>,
    fingerprint: String,
    refreshable: bool,
    durable: bool,
}

impl Shown {
    /// Of a token.
    pub fn of(token: &Token) -> Self {
        Self {
            id: token.id.to_string(),
            provider: token.provider.to_string(),
            status: word(token.status),
            reason: token.reason.clone(),
            generation: token.generation,
            expires_at: time(token.expires_at),
            created_at: time(token.created_at),
            last_refresh: token.last_refresh.map(time),
            last_used: token.last_used.map(time),
            requests: token.requests,
            last_error: token.last_error.clone(),
            rests_until: token.rests_until.map(time),
            fingerprint: token.fingerprint.clone(),
            refreshable: token.refreshable,
            durable: token.durable,
        }
    }
}

/// The API's word for how a token stands.
pub fn word(status: Status) -> &'static str {
    match status {
        Status::Valid => "valid",
        Status::Expiring => "expiring",
        Status::Expired => "expired",
        Status::Resting => "resting",
        Status::NeedsLogin => "needs_login",
    }
}

/// `GET /api/v1/tokens`
pub async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let tokens = shared.parts.vault.tokens();
    document(StatusCode::OK, &tokens.iter().map(Shown::of).collect::<Vec<_>>())
}

/// `POST /api/v1/tokens/login`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedLogin {
    provider: String,
    #[serde(default)]
    flow: AskedFlow,
}

/// How somebody wants to log in.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum AskedFlow {
    /// In a browser.
    #[default]
    Browser,
    /// By a code.
    Device,
}

/// Begins a login.
pub async fn begin(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Sent(body): Sent,
) -> Response {
    let asked: AskedLogin = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => return bad_body(&format!("a login is {{\"provider\":\"…\"}}: {error}")).into_response(),
    };
    match begun(&shared, &caller, &asked.provider, asked.flow).await {
        Ok(begun) => noted(document(StatusCode::OK, &described(&begun)), format!("a login at {}", begun.provider)),
        Err(problem) => problem.into_response(),
    }
}

/// Begins a login for a caller.
async fn begun(shared: &Shared, caller: &Caller, provider: &str, flow: AskedFlow) -> Result<Begun, Problem> {
    let logins = &shared.parts.logins;
    let begun = match flow {
        AskedFlow::Browser => logins.begin(provider, &caller.session()).await,
        AskedFlow::Device => logins.begin_device(provider, &caller.session()).await,
    };
    begun.map_err(not_begun)
}

fn described(begun: &Begun) -> Value {
    let expires_at = time(begun.expires_at);
    match &begun.flow {
        Flow::Browser { authorization_url, redirect_uri, state } => json!({
            "provider": &*begun.provider, "authorization_url": authorization_url, "redirect_uri": redirect_uri,
            "state": state.expose(), "expires_at": expires_at,
        }),
        Flow::Device { user_code, verification_uri, verification_uri_complete, id } => json!({
            "provider": &*begun.provider, "id": id, "user_code": user_code, "verification_uri": verification_uri,
            "verification_uri_complete": verification_uri_complete, "expires_at": expires_at,
        }),
    }
}

fn not_begun(error: BeginError) -> Problem {
    let message = error.to_string();
    match error {
        BeginError::NoProvider(_) => Problem::new(StatusCode::NOT_FOUND, "unknown_provider", message),
        BeginError::NoSuchFlow(_) => Problem::new(StatusCode::CONFLICT, "no_such_flow", message),
        BeginError::TooMany => {
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_logins", message);
            problem.with(header::RETRY_AFTER, 600u64)
        }
        BeginError::Provider(_) => Problem::new(StatusCode::BAD_GATEWAY, "provider_failed", message),
        BeginError::Io(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "state_not_kept", message),
    }
}

/// `GET /api/v1/tokens/login/{id}`: how a device login stands.
pub async fn device(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let shown = match shared.parts.logins.device(&id) {
        None => {
            let message = "there is no such device login (any more)";
            return Problem::new(StatusCode::NOT_FOUND, "unknown_login", message).into_response();
        }
        Some(DeviceState::Pending) => json!({ "state": "pending" }),
        Some(DeviceState::Done(token)) => json!({ "state": "done", "token": Shown::of(&token) }),
        Some(DeviceState::Failed(why)) => json!({ "state": "failed", "error": why }),
    };
    document(StatusCode::OK, &shown)
}

/// A login that came to nothing, in the words of the interface.
#[derive(Debug)]
pub struct NotFinished {
    /// Of the answer.
    pub status: StatusCode,
    /// What happened.
    pub error: String,
    /// Why: the provider's or the disk's words, without secrets.
    pub detail: Option<String>,
}

impl From<CallbackError> for NotFinished {
    fn from(error: CallbackError) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: error.to_string(), detail: None }
    }
}

impl From<FinishError> for NotFinished {
    fn from(error: FinishError) -> Self {
        let text = error.to_string();
        let (status, detail) = match error {
            FinishError::InvalidState => (StatusCode::BAD_REQUEST, None),
            FinishError::Refused { detail } => (StatusCode::BAD_REQUEST, Some(detail)),
            FinishError::Exchange { detail } => (StatusCode::BAD_GATEWAY, Some(detail)),
            FinishError::Save { detail } => (StatusCode::INTERNAL_SERVER_ERROR, Some(detail)),
        };
        Self { status, error: text, detail }
    }
}

impl IntoResponse for NotFinished {
    fn into_response(self) -> Response {
        let mut flat = Map::from_iter([("error".to_owned(), Value::from(self.error.clone()))]);
        if let Some(detail) = self.detail {
            flat.insert("detail".to_owned(), detail.into());
        }
        noted(document(self.status, &flat), self.error)
    }
}

/// `POST /api/v1/tokens/callback`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AskedCallback {
    callback_url: String,
}

/// Ends a login with the address at which somebody's browser ended.
pub async fn callback(State(shared): State<Arc<Shared>>, Sent(body): Sent) -> Response {
    // What cannot be read has no code; the parser's message could quote one.
    let asked: AskedCallback = serde_json::from_slice(&body).unwrap_or_default();
    match pasted(&shared, &asked.callback_url).await {
        Ok(token) => {
            let shown = json!({ "message": SUCCESS, "token": Shown::of(&token) });
            noted(document(StatusCode::OK, &shown), format!("token {}", token.id))
        }
        Err(failed) => failed.into_response(),
    }
}

/// Ends a login with what somebody has pasted: whoever began it, any operator may.
async fn pasted(shared: &Shared, text: &str) -> Result<Token, NotFinished> {
    finish(shared, callback::parse(text)?, None).await
}

/// Ends a login with what a browser came back with: that of whoever began it.
pub async fn landed(shared: &Shared, query: &str, session: &Session) -> Result<Token, NotFinished> {
    finish(shared, callback::parse_query(query)?, Some(session)).await
}

async fn finish(shared: &Shared, callback: Callback, session: Option<&Session>) -> Result<Token, NotFinished> {
    Ok(shared.parts.logins.finish(callback, session).await?)
}

/// `POST /api/v1/tokens/{id}/refresh`
pub async fn refresh(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    match refreshed(&shared, &id).await {
        Ok(token) => document(StatusCode::OK, &Shown::of(&token)),
        Err(problem) => problem.into_response(),
    }
}

/// Refreshes a token now.
async fn refreshed(shared: &Shared, id: &str) -> Result<Token, Problem> {
    let id = TokenId::parse(id).ok_or_else(unknown)?;
    shared.parts.vault.refresh(&id).await.map_err(failed)
}

/// `POST /api/v1/tokens/{id}/test`: what can be known of a token without a request to an upstream. One that can be refreshed is, so
/// that its provider has its say; of another only its expiry is known, and whether the last upstream took it.
pub async fn test(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    match tested(&shared, &id).await {
        Ok(test) => document(StatusCode::OK, &test),
        Err(problem) => problem.into_response(),
    }
}

/// What a test came to.
#[derive(Debug, Serialize)]
struct Test {
    /// Whether a request would get it.
    pub ok: bool,
    /// `refresh`: the provider was asked; `expiry`: it could not be.
    pub checked: &'static str,
    /// Why not, if not.
    pub detail: Option<String>,
    /// As it is now.
    pub token: Option<Shown>,
}

/// Tests a token.
async fn tested(shared: &Shared, id: &str) -> Result<Test, Problem> {
    let id = TokenId::parse(id).ok_or_else(unknown)?;
    let find = || shared.parts.vault.tokens().into_iter().find(|token| token.id == id);
    let token = find().ok_or_else(unknown)?;
    let (checked, failure) = if token.refreshable {
        ("refresh", shared.parts.vault.refresh(&id).await.err().map(|error| error.to_string()))
    } else {
        ("expiry", None)
    };
    let now = find().ok_or_else(unknown)?;
    let usable = matches!(now.status, Status::Valid | Status::Expiring | Status::Resting);
    let detail =
        failure.or_else(|| (!usable).then(|| now.reason.clone().unwrap_or_else(|| word(now.status).to_owned())));
    Ok(Test { ok: detail.is_none(), checked, detail, token: Some(Shown::of(&now)) })
}

/// `DELETE /api/v1/tokens/{id}`
pub async fn remove(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    match removed(&shared, &id).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Removes a token.
async fn removed(shared: &Shared, id: &str) -> Result<(), Problem> {
    let id = TokenId::parse(id).ok_or_else(unknown)?;
    shared.parts.vault.remove(&id).await.map_err(failed)
}

/// `POST /api/v1/tokens/import[?provider=NAME]`
pub async fn import(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery, Sent(body): Sent) -> Response {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    match imported(&shared, &body, fields.one("provider")).await {
        Ok(tokens) => {
            let shown: Vec<_> = tokens.iter().map(Shown::of).collect();
            let names: Vec<_> = tokens.iter().map(|token| token.id.as_str()).collect();
            let note = format!("tokens {}", names.join(", "));
            noted(document(StatusCode::CREATED, &json!({ "tokens": shown })), note)
        }
        Err(problem) => problem.into_response(),
    }
}

/// Takes a document with tokens. `provider`: for those that do not say.
async fn imported(shared: &Shared, document: &[u8], provider: Option<&str>) -> Result<Vec<Token>, Problem> {
    let bad = |error: import::ImportError| Problem::new(StatusCode::BAD_REQUEST, "bad_import", error.to_string());
    let tokens = import::parse(document).map_err(bad)?;
    shared.parts.vault.import(tokens, provider).await.map_err(failed)
}

fn failed(error: VaultError) -> Problem {
    let message = error.to_string();
    match error {
        VaultError::Unknown(_) => unknown(),
        VaultError::NoProvider(_) => Problem::new(StatusCode::NOT_FOUND, "unknown_provider", message),
        VaultError::NotRefreshable => Problem::new(StatusCode::CONFLICT, "not_refreshable", message),
        VaultError::Refresh(_) => Problem::new(StatusCode::BAD_GATEWAY, "refresh_failed", message),
        VaultError::Save(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "save_failed", message),
        VaultError::Stopping => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", message),
    }
}

/// The name that was asked for is not said again: it may have been pasted from anywhere.
fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_token", "there is no such token")
}

fn bad_body(message: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_body", message)
}

fn noted(mut response: Response, note: String) -> Response {
    response.extensions_mut().insert(Note(note));
    response
}
