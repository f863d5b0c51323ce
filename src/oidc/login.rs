//! A log-in: there and back, with one cookie in between (OpenID Connect Core 1.0 §3.1, RFC 7636, RFC 9207).
//!
//! Nothing is kept here. What must be known when the browser comes back (state, nonce, verifier, where it was) is sealed in a
//! cookie of its own for ten minutes; several log-ins of one browser have several cookies ([`login_mark`]). Invariants:
//! - Nothing of an answer is looked at before its state was compared, in constant time, with the cookie's.
//! - A log-in ends once: the cookie is removed when the browser comes back, whatever comes of it. Who keeps a copy of cookie
//!   and answer can only show the code again, which the issuer refuses, and revokes what it gave (RFC 6749 §4.1.2).
//! - Nothing here sends anybody to log in again: an answer that is refused ends in an error, so there is no loop.
//! - Whoever comes back goes to a path of our own host ([`super::safe_back`]).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq as _;
use url::Url;

use super::TARGET;
use super::back::safe_back;
use super::claims::{Claims, Why};
use super::client::{Client, Unread};
use super::exchange::{Granted, No, known_code};
use super::issuer::Unreachable;
use super::json;
use super::keys::Hash;
use super::metadata::Metadata;
use super::person::{NoPerson, Person};
use super::session::Session;
use crate::clock::UnixMillis;
use crate::sealed::Sealer;
use crate::secret::{self, Secret};

/// What the cookie is sealed for.
const PURPOSE: &str = "oidc login";
/// How long a log-in may take.
const LIFE: UnixMillis = 10 * 60 * 1000;
/// Of the query that comes back, in bytes.
const LONGEST_QUERY: usize = 16 * 1024;
/// Of what an issuer says about a refusal, in characters.
const LONGEST_WORDS: usize = 200;

/// A log-in that begins.
pub struct Begun {
    /// Where the browser is sent.
    pub location: String,
    /// The value of the cookie that it comes back with, for ten minutes.
    pub state_cookie: String,
    /// Tells this log-in's cookie from those of others in the same browser ([`login_mark`]).
    pub mark: String,
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").field("mark", &self.mark).finish_non_exhaustive()
    }
}

/// A log-in that has ended well.
#[derive(Debug)]
pub struct Finished {
    /// Who it is.
    pub session: Session,
    /// Where he was: a path of our own host.
    pub back: String,
}

/// Why there is no log-in. The words are for the log, and hold nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No cookie of this log-in, or an old one, or somebody else's; or what came back is no answer to it.
    #[error("this log-in was not begun here, or too long ago")]
    State,
    /// It was begun here, but the answer is of another issuer (RFC 9207).
    #[error("the answer is of another issuer")]
    Issuer,
    /// The issuer says no (RFC 6749 §4.1.2.1).
    #[error("the issuer refused: {0}")]
    Refused(String),
    /// The issuer cannot be asked: later, perhaps.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// It does not exchange the code, or not as it should.
    #[error("the issuer did not exchange the code: {0}")]
    Exchange(String),
    /// Its ID token is not one for us.
    #[error("the ID token is refused: {0}")]
    Token(#[from] Why),
    /// It names nobody.
    #[error(transparent)]
    Person(#[from] NoPerson),
    /// Nothing can be sealed here: no key, or no randomness.
    #[error("there is no key to seal a log-in with")]
    Unsealed,
}

/// What the cookie carries.
#[derive(Serialize, Deserialize)]
struct Pending {
    /// Which client's it is.
    of: String,
    redirect_uri: String,
    state: String,
    nonce: String,
    verifier: String,
    back: String,
    ends_at: UnixMillis,
}

impl Client {
    /// Begins one. `redirect_uri`: ours, absolute. `back`: see [`safe_back`].
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn begin(
        &self,
        redirect_uri: &str,
        back: &str,
        process: Option<&Sealer>,
        now: UnixMillis,
    ) -> Result<Begun, Fault> {
        let metadata = self.issuer().metadata(now).await.inspect_err(|why| self.tell(why))?;
        let none = || Unreachable(format!("{} has no place to log in", self.issuer().url()));
        let place = metadata.authorization_endpoint.as_ref().ok_or_else(none)?;
        let pending = Pending {
            of: self.mark.clone(),
            redirect_uri: redirect_uri.to_owned(),
            state: word()?,
            nonce: word()?,
            verifier: word()?,
            back: safe_back(back).to_owned(),
            ends_at: now.saturating_add(LIFE),
        };
        let clear = serde_json::to_vec(&pending).map(zeroize::Zeroizing::new).map_err(|_| Fault::Unsealed)?;
        let sealer = self.sealer(process).ok_or(Fault::Unsealed)?;
        let state_cookie = sealer.seal(PURPOSE, &clear).ok_or(Fault::Unsealed)?;
        let location = self.location(place, &pending);
        Ok(Begun { location, state_cookie, mark: mark(&pending.state) })
    }

    /// Ends one. `query`: of the request that came back, without `?`. The cookie is to be removed, whatever comes of it.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn finish(
        &self,
        redirect_uri: &str,
        query: &str,
        state_cookie: &str,
        process: Option<&Sealer>,
        now: UnixMillis,
    ) -> Result<Finished, Fault> {
        let finished = self.end(redirect_uri, query, state_cookie, process, now).await;
        finished.inspect_err(|fault| self.tell(fault))
    }

    fn tell(&self, why: &dyn fmt::Display) {
        log::warn!(target: TARGET, "a log-in by {} failed: {why}", self.issuer().url());
    }

    async fn end(
        &self,
        redirect_uri: &str,
        query: &str,
        state_cookie: &str,
        process: Option<&Sealer>,
        now: UnixMillis,
    ) -> Result<Finished, Fault> {
        let pending = self.pending(state_cookie, process);
        let answer = Answer::read(query);
        let (pending, answer) =
            pending.zip(answer).filter(|(pending, answer)| pending.is_of(answer)).ok_or(Fault::State)?;
        if pending.of != self.mark || pending.redirect_uri != redirect_uri || now >= pending.ends_at {
            return Err(Fault::State);
        }
        let metadata = self.issuer().metadata(now).await?;
        let code = answer.code(self.issuer().url(), &metadata)?;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", redirect_uri),
            ("code_verifier", &pending.verifier),
        ];
        let granted = self.exchange(&metadata, &fields).await?;
        let session = self.admitted(&metadata, granted, pending.nonce, now).await?;
        Ok(Finished { session, back: safe_back(&pending.back).to_owned() })
    }

    fn pending(&self, cookie: &str, process: Option<&Sealer>) -> Option<Pending> {
        serde_json::from_slice(&self.sealer(process)?.open(PURPOSE, cookie)?).ok()
    }

    /// RFC 6749 §4.1.1, OpenID Connect Core 1.0 §3.1.2.1, RFC 7636 §4.3.
    fn location(&self, place: &Url, pending: &Pending) -> String {
        let mut url = place.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &pending.redirect_uri)
            .append_pair("scope", &self.scope())
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(Sha256::digest(&pending.verifier)))
            .append_pair("code_challenge_method", "S256");
        url.into()
    }

    fn scope(&self) -> String {
        let others = self.settings.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid");
        std::iter::once("openid").chain(others).collect::<Vec<_>>().join(" ")
    }

    /// Whom a grant is of.
    async fn admitted(
        &self,
        metadata: &Metadata,
        granted: Granted,
        nonce: String,
        now: UnixMillis,
    ) -> Result<Session, Fault> {
        let id_token = granted.id_token.as_ref().ok_or_else(|| Fault::Exchange("it gave no ID token".to_owned()))?;
        let claims = self.read_id_token(id_token, Some(&nonce), now).await?;
        check_access_token(&claims, &granted.access_token)?;
        let person = self.person(metadata, &claims, &granted.access_token).await?;
        Ok(Session {
            person,
            subject: claims.subject().unwrap_or_default().to_owned(),
            of: self.mark.clone(),
            nonce,
            signed_in_at: now,
            ends_at: now.saturating_add(self.length()),
            check_at: now.saturating_add(granted.check_after_millis()),
            refresh_token: granted.refresh_token,
            id_token: granted.id_token,
        })
    }

    /// By the ID token, or, where that lacks the claims for mail address or name, by the userinfo endpoint too (§5.3).
    async fn person(&self, metadata: &Metadata, claims: &Claims, access: &Secret) -> Result<Person, Fault> {
        let names = &self.settings.claims;
        let named = Person::of(claims.values(), names);
        let is_whole = names.has_user(claims.values()) && names.has_name(claims.values());
        if is_whole || named == Err(NoPerson::NotVerified) {
            return Ok(named?);
        }
        let Some(place) = &metadata.userinfo_endpoint else { return Ok(named?) };
        let Some(more) = self.userinfo(place, access).await else { return Ok(named?) };
        // Whoever it is of (§5.3.4): tokens could have been swapped.
        if more.get("sub").and_then(Value::as_str) != claims.subject() {
            return Err(Fault::Token(Why::Claim("sub")));
        }
        let mut all = more;
        all.extend(claims.values().clone());
        Ok(Person::of(&all, &self.settings.claims)?)
    }

    async fn userinfo(&self, place: &Url, access: &Secret) -> Option<Map<String, Value>> {
        let bearer = http::HeaderValue::from_str(&format!("Bearer {}", access.expose())).ok()?;
        let why = match self.issuer().network().get(place, Some(bearer)).await {
            Ok(answer) if answer.status().is_success() => match json::object(answer.body()) {
                Some(members) => return Some(members),
                None => "answered no JSON".to_owned(),
            },
            Ok(answer) => format!("answered {}", answer.status()),
            Err(failure) => failure.to_string(),
        };
        log::warn!(target: TARGET, "the issuer {} tells no more of a person: {why}", self.issuer().url());
        None
    }
}

impl Pending {
    fn is_of(&self, answer: &Answer) -> bool {
        self.state.as_bytes().ct_eq(answer.state.expose().as_bytes()).into()
    }
}

/// What came back.
struct Answer {
    state: Secret,
    code: Option<Secret>,
    issuer: Option<String>,
    error: Option<String>,
    description: Option<String>,
}

impl Answer {
    /// `None`: it has no state, or says something twice.
    fn read(query: &str) -> Option<Self> {
        if query.len() > LONGEST_QUERY {
            return None;
        }
        Some(Self {
            state: Secret::new(once(query, "state").ok()??),
            code: once(query, "code").ok()?.map(Secret::new),
            issuer: once(query, "iss").ok()?,
            error: once(query, "error").ok()?,
            description: once(query, "error_description").ok()?,
        })
    }

    /// The code, if the issuer is the one that was asked (RFC 9207 §2.4) and says yes.
    fn code(self, issuer: &str, metadata: &Metadata) -> Result<Secret, Fault> {
        let is_other = match &self.issuer {
            Some(named) => named != issuer,
            None => metadata.names_itself,
        };
        if is_other {
            return Err(Fault::Issuer);
        }
        match (&self.error, self.code.clone()) {
            (Some(error), _) => Err(Fault::Refused(self.refusal(error))),
            (None, Some(code)) if !code.is_empty() => Ok(code),
            _ => Err(Fault::Exchange("it gave no code".to_owned())),
        }
    }

    /// What is shown of a refusal: one line, and nothing of what proves this log-in.
    fn refusal(&self, error: &str) -> String {
        let code = known_code(error).unwrap_or("for a reason of its own");
        let words = self.description.as_deref().and_then(printable);
        let words = words.filter(|words| !words.contains(self.state.expose()));
        words.map_or_else(|| code.to_owned(), |words| format!("{code} ({words})"))
    }
}

/// A parameter that comes at most once.
fn once(query: &str, name: &str) -> Result<Option<String>, ()> {
    let mut values = url::form_urlencoded::parse(query.as_bytes()).filter(|(own, _)| own == name);
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(|(_, value)| value.into_owned())),
        _ => Err(()),
    }
}

/// One line of at most 200 characters that are seen.
fn printable(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    let kept: String = line.chars().filter(|c| !super::person::is_invisible(*c)).take(LONGEST_WORDS).collect();
    (!kept.is_empty()).then_some(kept)
}

/// Which log-in an answer's query is of: the [`Begun::mark`] of its cookie, 16 hexadecimal digits. `None`: of none.
pub fn login_mark(query: &str) -> Option<String> {
    (query.len() <= LONGEST_QUERY).then(|| once(query, "state").ok().flatten()).flatten().map(|state| mark(&state))
}

/// Of a state; nobody finds the state by it.
fn mark(state: &str) -> String {
    let digest = Sha256::digest(state);
    hex::encode(digest.get(..8).unwrap_or_default())
}

/// 256 bits that nobody can guess, in 43 characters that need no escaping anywhere.
fn word() -> Result<String, Fault> {
    let random = secret::random().map_err(|_| Fault::Unsealed)?;
    Ok(URL_SAFE_NO_PAD.encode(random.as_slice()))
}

/// OpenID Connect Core 1.0 §3.1.3.6 and §3.1.3.8: the left half of the token's hash.
fn check_access_token(claims: &Claims, access: &Secret) -> Result<(), Why> {
    let Some(claimed) = claims.values().get("at_hash") else { return Ok(()) };
    let claimed = claimed.as_str().ok_or(Why::Claim("at_hash"))?;
    let digest = match claims.algorithm().hash() {
        Hash::Sha256 => Sha256::digest(access.expose()).to_vec(),
        Hash::Sha384 => Sha384::digest(access.expose()).to_vec(),
        Hash::Sha512 => Sha512::digest(access.expose()).to_vec(),
    };
    let half = digest.get(..digest.len() / 2).unwrap_or_default();
    (URL_SAFE_NO_PAD.encode(half) == claimed).then_some(()).ok_or(Why::AccessTokenHash)
}

impl From<Unread> for Fault {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Refused(why) => Self::Token(why),
            Unread::Unreachable(unreachable) => Self::Unreachable(unreachable),
        }
    }
}

impl From<No> for Fault {
    fn from(no: No) -> Self {
        Self::Exchange(no.to_string())
    }
}

#[cfg(test)]
mod tests;
