//! Logins under way: from the state (256 bits, ten minutes, one session, once) to the token.
//!
//! Flow: [`Logins::begin`] registers a client where the provider wants one, keeps state, verifier and redirect URI in
//! `state/pending/`, and says where the browser has to go; [`Logins::finish`] finds the state, checks session, age, address and issuer,
//! takes it atomically, and only then exchanges the code. A device flow is polled in the background until it ends.
//!
//! What has begun to exchange a code ends whatever becomes of the request that asked for it: a code can be spent once.
//!
//! Invariants: a state is exchanged once, by whomever of many tasks and processes (`a_hundred_submit_and_one_exchanges`);
//! a callback that does not fit leaves its state as it was (`what_does_not_fit_leaves_the_state`); after ten minutes
//! it is none (`after_ten_minutes_a_state_is_none`).

mod device;
mod exchange;
mod pending;
mod places;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::LOG;
use super::callback::{Callback, Outcome};
use super::provider::{Ask, Grant, Provider, pkce};
use super::vault::{NewToken, Token, Vault, VaultError};
use crate::clock::{Moment, UnixMillis};
use crate::secret::{self, Secret};

use device::Devices;
use pending::{Entry, Pending};
use places::Places;

/// From the beginning of a login to its end.
const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Who began a login: the digest of a session, or of the admin token. Any authenticated operator may submit what another
/// began; the real redirect must come back to the same browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session(pub String);

/// A login that has begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The provider's name.
    pub provider: Arc<str>,
    /// How it goes on.
    pub flow: Flow,
    /// When it is too late.
    pub expires_at: UnixMillis,
}

/// How a login goes on.
#[derive(Clone, Debug)]
pub enum Flow {
    /// In a browser.
    Browser {
        /// Where it has to go.
        authorization_url: String,
        /// Where it comes back to.
        redirect_uri: String,
        /// Names the login.
        state: Secret,
    },
    /// By a code that a person types elsewhere; we ask until it is done.
    Device {
        /// What is typed.
        user_code: String,
        /// Where.
        verification_uri: String,
        /// The same with the code in it.
        verification_uri_complete: Option<String>,
        /// Names the login, for [`Logins::device`].
        id: String,
    },
}

/// How a device login stands.
#[derive(Clone, Debug)]
pub enum DeviceState {
    /// The person has not agreed yet.
    Pending,
    /// The token is there.
    Done(Box<Token>),
    /// It has failed.
    Failed(String),
}

/// Why a login cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// There is no such provider.
    #[error("there is no provider {0}")]
    NoProvider(String),
    /// The provider has no such flow.
    #[error("{0}")]
    NoSuchFlow(String),
    /// Too many have begun and not ended: 10 of a session, 1,000 in all.
    #[error("too many logins are under way; finish one, or wait ten minutes")]
    TooMany,
    /// The provider does not answer as it should.
    #[error("{0}")]
    Provider(String),
    /// The state cannot be kept.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// Unknown, used, too old, another session's, or for another address: 400.
    #[error("invalid state")]
    InvalidState,
    /// The provider or the person said no: 400; the state is spent.
    #[error("Authorization was refused")]
    Refused {
        /// As the provider put it.
        detail: String,
    },
    /// No token for the code: 502.
    #[error("Failed to exchange code for token")]
    Exchange {
        /// Why.
        detail: String,
    },
    /// 500; the token is in use, and is saved as soon as that is possible.
    #[error("Failed to save token")]
    Save {
        /// Why.
        detail: String,
    },
}

/// Looks at the clocks.
type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// Logins under way.
#[derive(Debug)]
pub struct Logins {
    inner: Arc<Inner>,
}

struct Inner {
    vault: Arc<Vault>,
    pending: Pending,
    places: Places,
    devices: Devices,
    admin_port: u16,
    clock: Clock,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("pending", &self.pending).field("places", &self.places).finish_non_exhaustive()
    }
}

impl Logins {
    /// `state_dir`: `admin.state_dir`, `None`: kept in memory alone. `admin_port`: of the admin listener as it is bound.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(vault: Arc<Vault>, state_dir: Option<PathBuf>, admin_port: u16) -> std::io::Result<Self> {
        Self::open_with(vault, state_dir, admin_port, Arc::new(Moment::now))
    }

    fn open_with(
        vault: Arc<Vault>,
        state_dir: Option<PathBuf>,
        admin_port: u16,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let now = clock();
        let pending = Pending::open(state_dir.as_deref(), now.wall)?;
        let places = Places::default();
        for (key, session) in pending.left_over(now.wall) {
            places.put_back(key, session, now);
        }
        let inner = Inner { vault, pending, places, devices: Devices::default(), admin_port, clock };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Begins a login in a browser.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub async fn begin(&self, provider: &str, session: &Session) -> Result<Begun, BeginError> {
        let provider = self.inner.provider(provider)?;
        if !provider.has_login() {
            return Err(nobody_logs_in(&provider));
        }
        let now = (self.inner.clock)();
        let (state, verifier) = (random()?, random()?);
        let key = key_of(&state);
        let place = self.inner.places.take(&key, session, now).ok_or(BeginError::TooMany)?;
        let redirect_uri = provider.redirect_uri(self.inner.admin_port);
        let registration = exchange::register(&provider, &redirect_uri).await.map_err(BeginError::Provider)?;
        let ask = Ask {
            state: state.expose(),
            challenge: &pkce::challenge(&verifier),
            redirect_uri: &redirect_uri,
            registration: registration.as_ref(),
        };
        let authorization_url = provider.authorization_url(&ask).ok_or_else(|| nobody_logs_in(&provider))?.to_string();
        let entry = Entry {
            provider: provider.name.to_string(),
            redirect_uri: redirect_uri.clone(),
            verifier,
            session: session.0.clone(),
            created: now.wall,
            registration,
        };
        // Whoever hangs up leaves the file, and so its place.
        place.keep();
        let inner = Arc::clone(&self.inner);
        let kept = move || inner.pending.keep(&key, &entry).inspect_err(|_| inner.places.free(&key));
        blocking(kept).await??;
        Ok(Begun {
            provider: Arc::clone(&provider.name),
            flow: Flow::Browser { authorization_url, redirect_uri, state },
            expires_at: later(now, LIFETIME),
        })
    }

    /// Begins a login by device code.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub async fn begin_device(&self, provider: &str, session: &Session) -> Result<Begun, BeginError> {
        let provider = self.inner.provider(provider)?;
        if !provider.has_login() {
            return Err(nobody_logs_in(&provider));
        }
        if !provider.has_device_flow() {
            let message = format!("the provider {} has no device flow", provider.name);
            return Err(BeginError::NoSuchFlow(message));
        }
        let now = (self.inner.clock)();
        let id = hex::encode(*random_bytes()?);
        let place = self.inner.places.take(&id, session, now).ok_or(BeginError::TooMany)?;
        let redirect_uri = provider.redirect_uri(self.inner.admin_port);
        let registration = exchange::register(&provider, &redirect_uri).await.map_err(BeginError::Provider)?;
        let code = exchange::device_code(&provider, registration.as_ref()).await.map_err(BeginError::Provider)?;
        place.keep();
        let life = device::life(&code);
        let begun = Begun {
            provider: Arc::clone(&provider.name),
            flow: Flow::Device {
                user_code: code.user_code.clone(),
                verification_uri: code.verification_uri.clone(),
                verification_uri_complete: code.verification_uri_complete.clone(),
                id: id.clone(),
            },
            expires_at: later(now, life),
        };
        self.inner.devices.begin(&id, now);
        tokio::spawn(device::poll(Arc::clone(&self.inner), id, provider, registration, code));
        Ok(begun)
    }

    /// How a device login stands; `None`: there is none of that id.
    pub fn device(&self, id: &str) -> Option<DeviceState> {
        self.inner.devices.state(id)
    }

    /// Ends a login. `session`: who must have begun it (the real redirect); `None`: any authenticated operator pastes it.
    ///
    /// # Errors
    /// See [`FinishError`].
    pub async fn finish(&self, callback: Callback, session: Option<&Session>) -> Result<Token, FinishError> {
        let (inner, session) = (Arc::clone(&self.inner), session.cloned());
        let finished = tokio::spawn(async move { inner.finish(callback, session.as_ref()).await });
        finished.await.unwrap_or_else(|_| Err(FinishError::Exchange { detail: FAULT.to_owned() }))
    }
}

const FAULT: &str = "a fault in countersign itself; the log says more";

impl Inner {
    fn provider(&self, name: &str) -> Result<Arc<Provider>, BeginError> {
        self.vault.provider(name).ok_or_else(|| BeginError::NoProvider(name.to_owned()))
    }

    async fn finish(self: Arc<Self>, callback: Callback, session: Option<&Session>) -> Result<Token, FinishError> {
        let key = key_of(&callback.state);
        let (entry, provider) = self.fitting(&key, &callback, session).await?;
        // From here on the state is spent, by this call alone.
        if !self.clone().take(&key).await {
            return Err(FinishError::InvalidState);
        }
        match callback.outcome {
            Outcome::Error { code, description } => {
                let detail = description.map_or_else(|| code.clone(), |description| format!("{code}: {description}"));
                log::info!(target: LOG, "a login at {} was refused there: {detail}", provider.name);
                Err(FinishError::Refused { detail })
            }
            Outcome::Code(code) => self.exchange(&provider, entry, code).await,
        }
    }

    /// The login that a callback belongs to, if nothing speaks against it. Nothing is spent by asking.
    async fn fitting(
        self: &Arc<Self>,
        key: &str,
        callback: &Callback,
        session: Option<&Session>,
    ) -> Result<(Entry, Arc<Provider>), FinishError> {
        let (inner, owned) = (Arc::clone(self), key.to_owned());
        let found = blocking(move || inner.pending.find(&owned)).await.ok().flatten();
        let entry = found.ok_or(FinishError::InvalidState)?;
        if !self.is_in_time(key, &entry) {
            self.clone().take(key).await;
            return Err(FinishError::InvalidState);
        }
        let provider = self.vault.provider(&entry.provider);
        let provider = provider.ok_or_else(|| FinishError::Exchange {
            detail: format!("there is no provider {} any more", entry.provider),
        })?;
        let fits = session.is_none_or(|session| session.0 == entry.session)
            && callback.matches(&entry.redirect_uri)
            && provider.takes_issuer(callback.issuer.as_deref());
        if fits { Ok((entry, provider)) } else { Err(FinishError::InvalidState) }
    }

    /// By the clock that nobody sets, if this process began it; by the other one after a restart.
    fn is_in_time(&self, key: &str, entry: &Entry) -> bool {
        let now = (self.clock)();
        match self.places.age(key, now) {
            Some(age) => age < LIFETIME,
            None => pending::is_alive(entry.created, now.wall),
        }
    }

    /// Whether it was still there: exactly one of many is told so.
    async fn take(self: Arc<Self>, key: &str) -> bool {
        self.places.free(key);
        let owned = key.to_owned();
        blocking(move || self.pending.take(&owned)).await.unwrap_or(false)
    }

    async fn exchange(&self, provider: &Arc<Provider>, entry: Entry, code: Secret) -> Result<Token, FinishError> {
        let Entry { redirect_uri, verifier, registration, .. } = entry;
        let grant = Grant::Code { code, verifier, redirect_uri };
        let granted = exchange::token(provider, &grant, registration.as_ref()).await;
        let granted = granted.into_granted().map_err(|detail| {
            log::warn!(target: LOG, "a login at {} failed: {detail}", provider.name);
            FinishError::Exchange { detail }
        })?;
        let new = NewToken { provider: Arc::clone(&provider.name), granted, registration };
        self.adopt(new).await.map_err(|detail| FinishError::Save { detail })
    }

    /// Operators look for these words in the log.
    async fn adopt(&self, new: NewToken) -> Result<Token, String> {
        let provider = Arc::clone(&new.provider);
        match self.vault.adopt(new).await {
            Ok(token) => {
                log::info!(target: LOG, "a login at {provider} has ended: token {}", token.id);
                Ok(token)
            }
            Err(error) => {
                log::error!(target: LOG, "Failed to save token: {error}");
                Err(match error {
                    VaultError::Save(why) => format!("{why} (it is in use, and is saved as soon as that is possible)"),
                    other => other.to_string(),
                })
            }
        }
    }
}

fn nobody_logs_in(provider: &Provider) -> BeginError {
    BeginError::NoSuchFlow(format!("nobody logs in to {}: it is asked with the client's own secret", provider.name))
}

/// What a state is known by: nothing that is kept lets anybody say it.
fn key_of(state: &Secret) -> String {
    hex::encode(Sha256::digest(state.expose()))
}

fn random() -> std::io::Result<Secret> {
    Ok(pkce::word(&*random_bytes()?))
}

fn random_bytes() -> std::io::Result<zeroize::Zeroizing<[u8; secret::RANDOM_BYTES]>> {
    secret::random().map_err(|error| std::io::Error::other(error.to_string()))
}

fn later(now: Moment, by: Duration) -> UnixMillis {
    now.wall.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX))
}

/// Files may hang, and the admin listener has one thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| std::io::Error::other(error.to_string()))
}
