//! Who may do everything: the bearer of the token, and the users of `admin.users_file`.
//!
//! The token cannot be guessed, so that the right one passes whatever else came from its address. Passwords can: they are
//! verified by the same [`Verifier`](crate::users::Verifier) as on the data plane, with a count of failures of their own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::clock;
use crate::policy::basic;
use crate::secret::Secret;
use crate::table::Table;
use crate::users::{Guesses, Login, Network, Outcome};

use super::answer::Problem;
use super::caller::{Caller, How, Who};
use super::session::Mark;
use super::{LOG, Shared};

/// Wrong tokens, and wrong passwords, that an address may send in a minute before it is sent away unread.
const WRONG_TOKENS: u32 = 10;
const WRONG_PASSWORDS: u32 = 5;

const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"countersign admin\"");
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"countersign admin\", charset=\"UTF-8\"");

/// Who counts.
#[derive(Debug)]
pub struct Counts {
    tokens: Guesses,
    passwords: Arc<Guesses>,
}

impl Default for Counts {
    fn default() -> Self {
        Self { tokens: Guesses::new(WRONG_TOKENS), passwords: Arc::new(Guesses::new(WRONG_PASSWORDS)) }
    }
}

/// What a request shows.
#[derive(Debug)]
pub enum Shown {
    /// Nothing that could be a credential here.
    Nothing,
    /// `authorization: Bearer …`
    Token(Secret),
    /// `authorization: Basic …`
    Password {
        /// As it came.
        user: Box<str>,
        /// As it came.
        password: Secret,
    },
}

impl Shown {
    /// Reads the one `authorization` header.
    pub fn of(headers: &HeaderMap) -> Self {
        if let basic::Presented::Credential { user, password } = basic::present(headers) {
            return Self::Password { user, password };
        }
        bearer(headers).map_or(Self::Nothing, |token| Self::Token(Secret::new(token)))
    }
}

/// The one credential of the one header (RFC 6750 §2.1; the scheme's case does not matter).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case("bearer ").then(|| token.trim())
}

/// Lets in, or says why not.
pub async fn check(shared: &Shared, shown: Shown, peer: IpAddr) -> Result<Caller, Problem> {
    let has_users = shared.parts.reloader.current().admin_users.is_some();
    match shown {
        Shown::Token(token) => {
            check_token(shared, &token, peer)?;
            Ok(Caller { who: Who::Token, how: How::Bearer })
        }
        Shown::Password { user, password } if has_users => {
            let (who, _) = check_user(shared, user, password, peer).await?;
            Ok(Caller { who, how: How::Basic })
        }
        Shown::Nothing | Shown::Password { .. } => {
            let message = "authorization: Bearer with the contents of admin.token in admin.state_dir is needed";
            Err(unauthorized("authentication_required", message, has_users))
        }
    }
}

/// Whether that is the admin token.
pub fn check_token(shared: &Shared, token: &Secret, peer: IpAddr) -> Result<(), Problem> {
    if shared.parts.token.is(token.expose().as_bytes()) {
        return Ok(());
    }
    let (now, from) = (clock::unix_millis(), Network::from(peer));
    if let Some(wait) = shared.counts.tokens.wait(from, now) {
        return Err(too_many("too many wrong tokens from this address", wait));
    }
    shared.counts.tokens.failed(from, now);
    log::warn!(target: LOG, "wrong admin token from {peer}");
    let has_users = shared.parts.reloader.current().admin_users.is_some();
    Err(unauthorized("wrong_token", "this is not the admin token", has_users))
}

/// Whether that is the user's password; without users nobody has one.
pub async fn check_user(
    shared: &Shared,
    user: Box<str>,
    password: Secret,
    peer: IpAddr,
) -> Result<(Who, Option<Mark>), Problem> {
    let Some(users) = shared.parts.reloader.current().admin_users.clone() else { return Err(wrong_password(false)) };
    // Before the password is looked at: a session that is made from it ends when it has been changed meanwhile.
    let known = (Who::User((&*user).into()), users.mark(&user));
    let from = Network::from(peer);
    if users.knows(from, &user, &password, clock::unix_millis()) {
        return Ok(known);
    }
    let login = Login { users, guesses: Arc::clone(&shared.counts.passwords), from, user, password };
    match shared.parts.verifier.check(&login, clock::unix_millis).await {
        Outcome::Right => Ok(known),
        Outcome::Wrong => {
            log::warn!(target: LOG, "wrong admin password from {peer}");
            Err(wrong_password(true))
        }
        Outcome::TooMany(wait) => Err(too_many("too many wrong passwords from this address", wait)),
        Outcome::Overloaded => {
            let message = "too many passwords wait to be verified";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "authentication_busy", message);
            Err(problem.with(header::RETRY_AFTER, 1u64))
        }
    }
}

/// Whether the user of a session is still who logged in.
pub fn stands(table: &Table, who: &Who, mark: Option<&Mark>) -> bool {
    match (who, mark) {
        (Who::Token, _) => true,
        (Who::User(user), Some(mark)) => table.admin_users.as_ref().and_then(|users| users.mark(user)) == Some(*mark),
        (Who::User(_), None) => false,
    }
}

fn wrong_password(has_users: bool) -> Problem {
    unauthorized("wrong_password", "user and password do not belong together", has_users)
}

fn too_many(message: &str, wait: Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", message).with(header::RETRY_AFTER, seconds)
}

fn unauthorized(code: &'static str, message: &str, has_users: bool) -> Problem {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, code, message).with(header::WWW_AUTHENTICATE, BEARER);
    if has_users { problem.with(header::WWW_AUTHENTICATE, BASIC) } else { problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(values: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        match Shown::of(&headers) {
            Shown::Token(token) => Some(token.expose().to_owned()),
            Shown::Nothing | Shown::Password { .. } => None,
        }
    }

    #[test]
    fn a_token_is_taken_from_one_bearer_header() {
        assert_eq!(token(&["bEaReR  abc "]).as_deref(), Some("abc"));
        for value in ["Basic abc", "Basic YTpi", "Bearer", "abc", "", "Beare\u{72}"] {
            assert_eq!(token(&[value]), None, "{value:?}");
        }
        assert_eq!(token(&["Bearer a", "Bearer b"]), None);
    }
}
