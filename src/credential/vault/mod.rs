//! The tokens in use: who lends them to requests, lets them rest, and has them refreshed, each once at a time.
//!
//! One vault lives as long as the process; each published table tells it which providers there are
//! ([`Vault::configure`]). Refreshes run on a thread of the vault's own and end whatever becomes of the requests that wait
//! for them.
//!
//! Flow: a request asks `lend`, which takes the token that its `pool` chooses; `thread` has `dispatch` begin what
//! `schedule` says is due; `refresh` is one attempt, `outcome` what its end means, `journal` and `call` the disk and the
//! network under it. `commands` are what people do, `watch` what other processes do, `holdings` what there is.
//!
//! Invariants: one attempt at a token at a time, in this process and in all (`ten_thousand_requests_are_one_call`,
//! `two_vaults_ask_once_a_generation`); a token that works is lent, whatever refreshes come to; what another process has
//! saved is never overwritten (`a_loser_takes_the_winners_token`).

mod call;
mod commands;
mod dispatch;
mod entry;
mod holdings;
mod journal;
mod lend;
mod moment;
mod outcome;
mod pool;
mod refresh;
mod schedule;
mod status;
mod thread;
mod watch;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio_util::sync::{CancellationToken, DropGuard};

use call::{Courier, Network};
use entry::{Entry, Lent};
use holdings::Holdings;
use moment::Clock;

use super::import::Imported;
use super::provider::{Granted, Provider, Registration};
use super::record::TokenId;
use super::store::{Fault, Options, Store};
use crate::clock::UnixMillis;
use crate::observe::Observer;
use crate::observe::metrics::{TokenState, TokenStates};
use crate::secret::Secret;

/// What the vault needs of the rest.
#[derive(Debug)]
pub struct Parts {
    /// `None`: nothing is written (a quick start).
    pub store: Option<Options>,
    /// What is seen.
    pub observer: Arc<Observer>,
}

/// What a table says about tokens.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Every provider, with how long before its end a token of it is refreshed.
    pub providers: Vec<(Arc<Provider>, Duration)>,
}

/// What a credential takes from the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Whose tokens.
    pub provider: Arc<str>,
    /// Which first.
    pub choice: Choice,
    /// How long a token rests after a 429 that does not say.
    pub rest_after_429: Duration,
}

/// Which token is used first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The oldest that can be used.
    #[default]
    InOrder,
    /// Each in turn.
    RoundRobin,
    /// The one with fewest requests in flight, then fewest in all.
    LeastUsed,
}

/// A token, lent to one request. In flight until it is dropped.
#[derive(Debug)]
pub struct Lease {
    /// Which.
    pub id: TokenId,
    /// Which generation of it.
    pub generation: u64,
    /// The access token.
    pub token: Secret,
    lent: Lent,
}

/// There is no token for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// When to ask again.
    pub retry_after: Duration,
    /// For the log: never a secret.
    pub why: String,
}

/// What an upstream said of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// 401: it is not taken (any more).
    Rejected,
    /// 429.
    Limited {
        /// Its `retry-after`.
        retry_after: Option<Duration>,
    },
}

/// A token, as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its name.
    pub id: TokenId,
    /// The provider's.
    pub provider: Arc<str>,
    /// How it stands.
    pub status: Status,
    /// Why, if it is not well: for people.
    pub reason: Option<String>,
    /// Its generation.
    pub generation: u64,
    /// When the access token ends.
    pub expires_at: UnixMillis,
    /// When the login was.
    pub created_at: UnixMillis,
    /// When it was refreshed last.
    pub last_refresh: Option<UnixMillis>,
    /// When a request took it last.
    pub last_used: Option<UnixMillis>,
    /// How many did, since the start.
    pub requests: u64,
    /// How the last refresh, or request, failed.
    pub last_error: Option<String>,
    /// Until when it rests.
    pub rests_until: Option<UnixMillis>,
    /// See [`super::record::Record::fingerprint`].
    pub fingerprint: String,
    /// Whether it can be refreshed.
    pub refreshable: bool,
    /// Whether it is on the disk.
    pub durable: bool,
}

/// How a token stands; the words of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Good.
    Valid,
    /// Good, and about to be refreshed.
    Expiring,
    /// Its access token has ended.
    Expired,
    /// The upstream asked for a pause.
    Resting,
    /// Somebody has to log in again.
    NeedsLogin,
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// There is no such token.
    #[error("there is no token {0}")]
    Unknown(String),
    /// There is no such provider.
    #[error("there is no provider {0}")]
    NoProvider(String),
    /// It has no refresh token.
    #[error("this token cannot be refreshed: log in again")]
    NotRefreshable,
    /// The provider has said no, or nothing.
    #[error("{0}")]
    Refresh(String),
    /// It is not on the disk.
    #[error("{0}")]
    Save(String),
    /// Too late: the process ends.
    #[error("countersign is stopping")]
    Stopping,
}

/// What a login yields.
#[derive(Debug)]
pub struct NewToken {
    /// Whose.
    pub provider: Arc<str>,
    /// What was granted.
    pub granted: Granted,
    /// Of AWS.
    pub registration: Option<Registration>,
}

/// The tokens in use.
#[derive(Debug)]
pub struct Vault {
    holdings: Arc<Holdings>,
    /// Ends the thread.
    _end: DropGuard,
}

impl Vault {
    /// Opens the store, takes up what a crash interrupted, and starts the thread that refreshes.
    ///
    /// # Errors
    /// The directory cannot be used, or no thread can be started; the message says what to do.
    pub fn start(parts: Parts) -> Result<Arc<Self>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_name("vault").build();
        let runtime = runtime.map_err(|error| format!("no threads for tokens: {error}"))?;
        let handle = runtime.handle().clone();
        let (vault, work) = Self::prepare(parts, Box::new(Network::default()), handle, Clock::start())?;
        let thread = std::thread::Builder::new().name("vault".to_owned());
        thread.spawn(move || runtime.block_on(work)).map_err(|error| format!("no thread for tokens: {error}"))?;
        Ok(vault)
    }

    /// With tokens in use, and the work that has to be done for them from then on.
    fn prepare(
        parts: Parts,
        courier: Box<dyn Courier>,
        handle: tokio::runtime::Handle,
        clock: Clock,
    ) -> Result<(Arc<Self>, impl Future<Output = ()> + Send + use<>), String> {
        let directory = parts.store.as_ref().map(|options| options.directory.clone());
        let store = parts.store.as_ref().map(Store::open).transpose().map_err(|error| error.to_string())?;
        let holdings = Arc::new(Holdings::new(store, parts.observer, courier, handle, clock));
        holdings.load();
        watch_metrics(&holdings);
        let end = CancellationToken::new();
        let work = thread::run(Arc::clone(&holdings), directory, end.clone());
        Ok((Arc::new(Self { holdings, _end: end.drop_guard() }), work))
    }

    /// Takes what a table says. Tokens of providers that are gone are kept, and left alone.
    pub fn configure(&self, settings: Settings) {
        self.holdings.configure(settings);
    }

    /// Lends a token. At once, when there is one; waits up to ten seconds for a refresh, when there will be one. `avoid`: what this
    /// request has tried (id and generation).
    ///
    /// # Errors
    /// There is none, and there will be none.
    pub async fn lease(&self, spec: &Spec, avoid: &[(TokenId, u64)]) -> Result<Lease, Unavailable> {
        self.holdings.lease(spec, avoid).await
    }

    /// Takes note of what an upstream said. A token that was rejected is refreshed, once a generation.
    pub fn report(&self, spec: &Spec, lease: &Lease, report: Report) {
        self.holdings.report(spec, lease, report);
    }

    /// Whether a request that has tried `avoid` could get another token (or a fresh generation) without long waiting.
    pub fn has_another(&self, spec: &Spec, avoid: &[(TokenId, u64)]) -> bool {
        self.holdings.has_another(spec, avoid)
    }

    /// Every token, by provider, then by age.
    pub fn tokens(&self) -> Vec<Token> {
        self.holdings.tokens()
    }

    /// Files that cannot be used.
    pub fn faults(&self) -> Vec<Fault> {
        self.holdings.faults()
    }

    /// The provider of that name in the table in force.
    pub fn provider(&self, name: &str) -> Option<Arc<Provider>> {
        self.holdings.provider(name)
    }

    /// Refreshes now (joins a refresh that is under way).
    ///
    /// # Errors
    /// See [`VaultError`].
    pub async fn refresh(&self, id: &TokenId) -> Result<Token, VaultError> {
        self.holdings.refresh(id).await
    }

    /// Removes a token.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub async fn remove(&self, id: &TokenId) -> Result<(), VaultError> {
        self.holdings.remove(id).await
    }

    /// Takes a login's token: saved before it is lent.
    ///
    /// # Errors
    /// [`VaultError::Save`]: it is kept in memory, in use, and saved as soon as that is possible ([`Token::durable`]).
    pub async fn adopt(&self, new: NewToken) -> Result<Token, VaultError> {
        self.holdings.adopt(new).await
    }

    /// Takes imported tokens; one without an access token is refreshed at once, and its status tells how that went.
    /// One whose refresh token is here already is not taken twice. `provider`: for those that do not say.
    ///
    /// # Errors
    /// See [`VaultError`]; what was taken before stays.
    pub async fn import(&self, tokens: Vec<Imported>, provider: Option<&str>) -> Result<Vec<Token>, VaultError> {
        self.holdings.import(tokens, provider).await
    }

    /// Waits for calls under way (at most 35 s): before the process ends. Starts no more.
    pub async fn stop(&self) {
        self.holdings.set_stopping();
        thread::at_rest(&self.holdings).await;
    }
}

impl Holdings {
    /// Takes what is in the directory into use, before anybody asks for it.
    fn load(&self) {
        let Some(store) = &self.store else { return };
        let (records, faults) = store.load();
        for fault in self.set_faults(faults) {
            self.observer.token_fault(&fault.file, fault.code, &fault.message);
        }
        for record in records {
            self.insert(Entry::new(record, true, false, &self.clock));
        }
    }
}

/// The metrics ask how tokens stand, as long as somebody holds them.
fn watch_metrics(holdings: &Arc<Holdings>) {
    let held = Arc::downgrade(holdings);
    holdings.observer.metrics.tokens(move || {
        let Some(holdings) = held.upgrade() else { return TokenStates { tokens: Vec::new(), durable: true } };
        let state = |token: Token| TokenState {
            provider: token.provider,
            token: token.id.to_string(),
            state: token.status.as_str(),
            expires_at: token.expires_at,
        };
        let tokens = holdings.tokens().into_iter().map(state).collect();
        TokenStates { tokens, durable: holdings.is_durable() }
    });
}

/// The value of a header that carries a secret: marked sensitive, so that HTTP/2 never indexes it.
pub fn header_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
