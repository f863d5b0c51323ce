//! Who calls: the sources of `identity.sources`, asked in order; the first that answers wins.
//!
//! A credential in a form that a source reads is for us alone, whoever answered: it never travels on. One that is wrong
//! is refused, also where nobody has to authenticate. Passwords are slow to verify: what is not known yet becomes a
//! [`Login`], with whose outcome the decision is made again.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::policy::auth::Presented;
use crate::policy::{basic, sign};
use crate::secret::Secret;
use crate::users::{Login, Network, Outcome, UsersFile};

use super::super::identity::{LogIn, Source};
use super::super::route::{Auth, Route};
use super::asking::{Asking, refusal};
use super::{API_KEY, ClientEntry, Consumed, Identity, Question, Refusal, Trace};

/// Who the caller turned out to be.
#[derive(Default)]
pub(super) struct Caller {
    pub(super) client: Option<Arc<ClientEntry>>,
    /// Who it is, where no client is behind it.
    person: Option<Identity>,
    pub(super) consumed: Consumed,
    /// The source that answered; empty: none.
    pub(super) source: &'static str,
}

/// Why a decision ends before its admission.
pub(super) enum Stop {
    Refuse(Refusal),
    Verify(Box<Login>),
    Ask(Box<Question>),
    LogIn(Arc<LogIn>),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

impl<T: Trace> Asking<'_, '_, T> {
    pub(super) fn authenticate(&mut self, route: &Route, from: IpAddr) -> Result<Caller, Stop> {
        if route.auth == Auth::None {
            self.trace.verdict("auth", "skip", format_args!("the route asks for no authentication"));
            return Ok(Caller::default());
        }
        let table = self.table;
        if let Some(client) = self.assumed.client.and_then(|index| table.client_entries.get(index.0)) {
            return Ok(self.known(route, client)?);
        }
        if let Some((word, person)) = self.assumed.person
            && route.identification.sources.iter().any(|source| source.word() == word)
        {
            return Ok(self.assumed_person(word, person));
        }
        for source in &route.identification.sources {
            let answer = match source {
                Source::Client => self.client(route, from)?,
                Source::Basic(users) => self.basic(route, users, from)?,
                Source::Header { user, name } => self.header(route, user, name.as_ref())?,
                Source::Certificate => self.certificate(route)?,
                Source::Oidc(log_in) => self.session(route, log_in)?,
                Source::Jwt(trusted) => self.jwt(route, trusted)?,
            };
            if let Some(caller) = answer {
                return Ok(Caller { consumed: self.consumed(route), source: source.word(), ..caller });
            }
        }
        self.nobody(route)
    }

    fn assumed_person(&mut self, word: &str, person: &Identity) -> Caller {
        self.trace.verdict("auth", "pass", format_args!("user {}, by {word}", person.user));
        Caller::of(Arc::clone(&person.user), Arc::clone(&person.name))
    }

    fn nobody(&mut self, route: &Route) -> Result<Caller, Stop> {
        if route.auth == Auth::Optional {
            self.trace.verdict("auth", "pass", format_args!("anonymous: no credential, and none is required"));
            return Ok(Caller::default());
        }
        if let Some(log_in) = self.goes_to_log_in(route) {
            return Err(Stop::LogIn(log_in));
        }
        self.trace.verdict("auth", "refuse", format_args!("authentication is required, and nobody has"));
        let message = match route.identification.knows_others() {
            true => "this route needs authentication",
            false => "this route needs a client token",
        };
        Err(unauthenticated(route, "authentication_required", message).into())
    }

    fn client(&mut self, route: &Route, from: IpAddr) -> Result<Option<Caller>, Stop> {
        let table = self.table;
        let client = match table.clients.present(self.request.headers) {
            Presented::Nothing => return Ok(None),
            Presented::Client(index) => table.client_entries.get(index.0),
            Presented::Wrong if self.is_for_jwt(route) => return Ok(None),
            Presented::Wrong => None,
        };
        // A token that nobody can guess is worth looking at whoever guesses beside it; any other has to wait.
        if !client.is_some_and(|client| client.strong)
            && let Some(wait) = table.guessing.tokens.wait(Network::from(from), self.now)
        {
            return Err(self.too_many("too many wrong client tokens", wait).into());
        }
        match client {
            Some(client) => Ok(Some(self.known(route, client)?)),
            None => {
                self.trace.verdict("auth", "refuse", format_args!("the token is no client's"));
                let refusal = wrong(route, "invalid_credentials", "the client token is not valid");
                Err(Refusal { wrong_token_from: Some(Network::from(from)), ..refusal }.into())
            }
        }
    }

    fn known(&mut self, route: &Route, client: &Arc<ClientEntry>) -> Result<Caller, Refusal> {
        if client.expires_before.is_some_and(|end| self.now >= end) {
            self.trace.verdict("auth", "refuse", format_args!("client {} has expired", client.name));
            return Err(wrong(route, "client_expired", "the client token has expired"));
        }
        self.trace.verdict("auth", "pass", format_args!("client {}", client.name));
        let client = Some(Arc::clone(client));
        Ok(Caller { client, consumed: self.consumed(route), source: "client", ..Caller::default() })
    }

    fn basic(&mut self, route: &Route, users: &Arc<UsersFile>, from: IpAddr) -> Result<Option<Caller>, Stop> {
        match basic::present(self.request.headers) {
            basic::Presented::Nothing => Ok(None),
            basic::Presented::Unreadable => {
                self.trace.verdict("auth", "refuse", format_args!("the Basic credential cannot be read"));
                Err(wrong_password(route).into())
            }
            basic::Presented::Credential { user, password } => {
                self.user(route, users, from, (user, password)).map(Some)
            }
        }
    }

    fn user(
        &mut self,
        route: &Route,
        users: &Arc<UsersFile>,
        from: IpAddr,
        (user, password): (Box<str>, Secret),
    ) -> Result<Caller, Stop> {
        let passwords = &self.table.guessing.passwords;
        let from = Network::from(from);
        let known = || users.knows(from, &user, &password, self.now).then_some(Outcome::Right);
        let closed = || passwords.wait(from, self.now).map(Outcome::TooMany);
        match self.assumed.learned.password.or_else(known).or_else(closed) {
            Some(Outcome::Right) => self.admit_user(route, users, &user),
            Some(Outcome::Wrong) => {
                self.trace.verdict("auth", "refuse", format_args!("user and password do not belong together"));
                Err(wrong_password(route).into())
            }
            Some(Outcome::TooMany(wait)) => Err(self.too_many("too many wrong passwords", wait).into()),
            Some(Outcome::Overloaded) => {
                self.trace.verdict("auth", "refuse", format_args!("too many passwords wait to be verified"));
                let refusal = refusal(503, "authentication_busy", "too many passwords wait to be verified");
                Err(refusal.with(RETRY_AFTER, HeaderValue::from(1)).into())
            }
            None => {
                let (users, guesses) = (Arc::clone(users), Arc::clone(passwords));
                Err(Stop::Verify(Box::new(Login { users, guesses, from, user, password })))
            }
        }
    }

    fn admit_user(&mut self, route: &Route, users: &UsersFile, user: &str) -> Result<Caller, Stop> {
        // Gone from the file since the password was verified.
        let Some(user) = users.identity(user) else { return Err(wrong_password(route).into()) };
        self.trace.verdict("auth", "pass", format_args!("user {user}, by password"));
        Ok(Caller::of(Arc::clone(&user), user))
    }

    fn header(&mut self, route: &Route, user: &HeaderName, name: Option<&HeaderName>) -> Result<Option<Caller>, Stop> {
        let mut values = self.request.headers.get_all(user).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if !self.table.trusted_proxies.contains(self.request.peer) {
            self.trace.verdict("auth", "skip", format_args!("{user} is not believed from {}", self.request.peer));
            return Ok(None);
        }
        let said = std::str::from_utf8(value.as_bytes()).map(str::trim).unwrap_or("?\u{fffd}");
        if said.is_empty() && values.next().is_none() {
            return Ok(None);
        }
        match sign::canonical_user(said) {
            Ok(said) if values.next().is_none() => {
                self.trace.verdict("auth", "pass", format_args!("user {said}, by {user}"));
                let said: Arc<str> = said.into();
                let display = name.and_then(|name| self.display_name(name)).unwrap_or_else(|| Arc::clone(&said));
                Ok(Some(Caller::of(said, display)))
            }
            _ => {
                self.trace.verdict("auth", "refuse", format_args!("{user} does not name one user"));
                Err(wrong(route, "invalid_credentials", "the proxy in front does not name one user").into())
            }
        }
    }

    fn display_name(&self, name: &HeaderName) -> Option<Arc<str>> {
        let mut values = self.request.headers.get_all(name).iter();
        let (value, more) = (values.next()?, values.next());
        let said = std::str::from_utf8(value.as_bytes()).ok()?.trim();
        let fit = more.is_none() && !said.is_empty() && !said.chars().any(char::is_control);
        fit.then(|| Arc::from(said))
    }

    /// The chain was verified by the listener; whom it names is its own word.
    fn certificate(&mut self, route: &Route) -> Result<Option<Caller>, Stop> {
        let Some(certificate) = self.request.certificate else { return Ok(None) };
        let named = [&certificate.email, &certificate.common_name].into_iter().find(|name| !name.is_empty());
        let user = named.and_then(|name| sign::canonical_user(name).ok());
        let Some(user) = user else {
            self.trace.verdict("auth", "refuse", format_args!("the certificate's subject names no user"));
            return Err(wrong(route, "invalid_credentials", "the client certificate names no user").into());
        };
        self.trace.verdict("auth", "pass", format_args!("user {user}, by certificate"));
        let user: Arc<str> = user.into();
        let name = &certificate.common_name;
        let speaks = !name.is_empty() && !name.chars().any(char::is_control);
        let display = if speaks { Arc::from(name.as_str()) } else { Arc::clone(&user) };
        Ok(Some(Caller::of(user, display)))
    }

    /// Whose identity the upstream is told; a route that signs for authenticated callers needs one.
    pub(super) fn identify(&mut self, route: &Route, caller: &Caller) -> Result<Identity, Refusal> {
        if let Some(identity) = caller.identity() {
            self.trace.verdict("identity", "pass", format_args!("{}", identity.user));
            return Ok(identity);
        }
        if route.sign.is_some() && route.auth == Auth::Required {
            let detail = format_args!("the route signs an identity, and the client has no user");
            self.trace.verdict("identity", "refuse", detail);
            return Err(unauthenticated(route, "identity_required", "this route needs a client with a user"));
        }
        self.trace.verdict("identity", "pass", format_args!("anonymous"));
        Ok(self.table.anonymous.clone())
    }

    pub(super) fn check_client(&mut self, route: &Route, caller: &Caller) -> Result<(), Refusal> {
        let Some(client) = &caller.client else { return Ok(()) };
        if client.projects.as_ref().is_none_or(|projects| projects.contains(&route.project)) {
            self.trace.verdict("client", "pass", format_args!("{} may use project {}", client.name, route.project));
            return Ok(());
        }
        self.trace.verdict("client", "refuse", format_args!("{} may not use project {}", client.name, route.project));
        Err(refusal(403, "client_not_allowed", "this client may not use the project"))
    }

    /// What the sources read, which must not travel on.
    fn consumed(&self, route: &Route) -> Consumed {
        let (headers, sources) = (self.request.headers, &route.identification);
        let (tokens, passwords) = (sources.reads_tokens(), sources.reads_basic());
        let bearers = tokens || sources.reads_jwts();
        let ours =
            |value: &HeaderValue| (bearers && is_bearer(value)) || (passwords && basic::is_basic(value.as_bytes()));
        Consumed {
            authorization: headers.get_all(AUTHORIZATION).iter().any(ours),
            api_key: tokens && headers.contains_key(API_KEY),
        }
    }

    fn too_many(&mut self, what: &'static str, wait: Duration) -> Refusal {
        self.trace.verdict("auth", "refuse", format_args!("{what} from this address"));
        let message = "too many wrong credentials from this address";
        refusal(429, "too_many_attempts", message).with(RETRY_AFTER, whole_seconds(wait).into())
    }
}

impl Caller {
    pub(super) fn of(user: Arc<str>, name: Arc<str>) -> Self {
        Self { person: Some(Identity { user, name }), ..Self::default() }
    }

    fn identity(&self) -> Option<Identity> {
        let of_client =
            |client: &ClientEntry| Identity { user: Arc::clone(&client.user), name: Arc::clone(&client.display_name) };
        let client = self.client.as_deref().filter(|client| !client.user.is_empty());
        client.map(of_client).or_else(|| self.person.clone())
    }
}

fn wrong_password(route: &Route) -> Refusal {
    wrong(route, "invalid_credentials", "user and password do not belong together")
}

/// What was sent is wrong.
pub(super) fn wrong(route: &Route, code: &'static str, message: impl Into<Cow<'static, str>>) -> Refusal {
    challenged(refusal(401, code, message), &route.identification.challenges_wrong)
}

fn unauthenticated(route: &Route, code: &'static str, message: &'static str) -> Refusal {
    challenged(refusal(401, code, message), &route.identification.challenges)
}

fn challenged(mut refusal: Refusal, challenges: &[HeaderValue]) -> Refusal {
    refusal.headers.extend(challenges.iter().map(|challenge| (WWW_AUTHENTICATE, challenge.clone())));
    refusal
}

/// Rounded up: whoever comes back then is let in.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn is_bearer(value: &HeaderValue) -> bool {
    value.as_bytes().get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
}

#[cfg(test)]
mod tests;
