//! Logins under way: from the state (256 bits, ten minutes, one session, once) to the token.
//!
//! Flow: [`Logins::begin`] registers a client where the provider wants one, keeps state, verifier and redirect URI in
//! `state/pending/`, and says where the browser has to go; [`Logins::finish`] finds the state, checks session and age,
//! takes it atomically, and only then exchanges the code. A device flow is polled in the background until it ends.

use std::path::PathBuf;
use std::sync::Arc;

use super::callback::Callback;
use super::vault::{Token, Vault};
use crate::clock::UnixMillis;
use crate::secret::Secret;

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

/// Logins under way.
#[derive(Debug)]
pub struct Logins {}

impl Logins {
    /// `state_dir`: `admin.state_dir`, `None`: kept in memory alone. `admin_port`: of the admin listener as it is bound.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(vault: Arc<Vault>, state_dir: Option<PathBuf>, admin_port: u16) -> std::io::Result<Self> {
        let _ = (vault, state_dir, admin_port);
        Ok(Self {})
    }

    /// Begins a login in a browser.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub async fn begin(&self, provider: &str, session: &Session) -> Result<Begun, BeginError> {
        let _ = (provider, session);
        todo!()
    }

    /// Begins a login by device code.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub async fn begin_device(&self, provider: &str, session: &Session) -> Result<Begun, BeginError> {
        let _ = (provider, session);
        todo!()
    }

    /// How a device login stands; `None`: there is none of that id.
    pub fn device(&self, id: &str) -> Option<DeviceState> {
        let _ = id;
        todo!()
    }

    /// Ends a login. `session`: who must have begun it (the real redirect); `None`: any authenticated operator pastes it.
    ///
    /// # Errors
    /// See [`FinishError`].
    pub async fn finish(&self, callback: Callback, session: Option<&Session>) -> Result<Token, FinishError> {
        let _ = (callback, session);
        todo!()
    }
}
