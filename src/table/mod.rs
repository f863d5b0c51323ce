//! The table: one immutable snapshot of everything that decides, published whole. `compile` is its sole constructor.
//!
//! A request pins one `Arc<Table>` on arrival and never sees another. Nothing in here blocks, logs or reads files;
//! the only things that change inside are counters of endpoints, which live longer than one table (carried over).

pub mod acme;
pub mod compile;
pub mod credential;
pub mod decide;
pub mod diff;
pub mod direct;
pub mod environment;
pub mod explain;
pub mod identity;
pub mod matcher;
pub mod own;
pub mod replay;
pub mod rewrite;
pub mod route;
#[cfg(test)]
pub(crate) mod testing;
pub mod upstream;
pub mod variables;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixMillis;
use crate::credential::provider::Provider;
use crate::credential::vault::Settings;
use crate::follow::Followed;
use crate::policy::access::Networks;
use crate::policy::auth::Clients;
use crate::policy::limit::Ledger;
use crate::sealed::CookieKey;
use crate::tls::{Certificates, Expiry, Termination};
use crate::users::UsersFile;

pub use crate::config::model::{Admin, Listener, Logging, MetricsAuth, Server, Tokens};
pub use decide::{Admitted, Decision, Identity, NoTrace, Place, Refusal, Trace};
pub use direct::Direct;
pub use route::{Action, Route};
pub use upstream::{Endpoint, Upstream};

/// How long before its end a token is refreshed that no credential uses.
const DEFAULT_REFRESH_BEFORE: Duration = Duration::from_secs(300);

/// One generation of the configuration, compiled.
#[derive(Debug)]
pub struct Table {
    /// Numbered from 1.
    pub generation: u64,
    /// Lower-case hex of the digest over everything read.
    pub sha256: String,
    /// When it was compiled.
    pub loaded_at: UnixMillis,
    /// What is read at start only, as the process has it: every later table carries it on.
    pub started_with: Arc<StartedWith>,
    /// As written.
    pub server: Server,
    /// Live.
    pub logging: Logging,
    /// As written.
    pub listeners: Vec<Listener>,
    /// Certificates that are obtained; live.
    pub acme: Option<Arc<acme::Acme>>,
    /// What TLS listeners present; live.
    pub tls: Terminations,
    /// As written; `allow`, `hosts`, `metrics_allow`, `public_url` are live.
    pub admin: Admin,
    /// Where token files live; read at start.
    pub tokens_dir: PathBuf,
    /// How they are kept; read at start.
    pub tokens: Tokens,
    /// OAuth servers; live.
    pub providers: Vec<Arc<Provider>>,
    /// What routes put on their upstream requests; live.
    pub credentials: Vec<Arc<credential::Credential>>,
    /// `server.trusted_proxies` as of the start, for look-up.
    pub trusted_proxies: Networks,
    /// `server.internal_networks` as of the start, for look-up.
    pub internal_networks: Networks,
    /// Token digests, in the order of `client_entries`.
    pub clients: Clients,
    /// Who they are.
    pub client_entries: Vec<Arc<decide::ClientEntry>>,
    /// How the person behind a call is found, where a project does not say otherwise.
    pub identification: Arc<identity::Identification>,
    /// Who counts wrong guesses; one for all tables.
    pub guessing: identity::Guessing,
    /// What cookies are sealed under; one for all tables, opened at the start.
    pub cookies: Arc<CookieKey>,
    /// Who may log in at the admin listener, beside the bearer of its token.
    pub admin_users: Option<Arc<UsersFile>>,
    /// The identity of a caller who is nobody.
    pub anonymous: Identity,
    /// Hosts -> project -> environment -> prefix.
    pub matcher: matcher::Matcher,
    /// What the limits remember; every later table carries it on.
    pub ledger: Arc<Ledger>,
    /// Every route, in file order.
    pub routes: Vec<Arc<Route>>,
    /// Every prefix in `mode: direct`, in file order.
    pub direct: Vec<Arc<direct::Direct>>,
    /// Every upstream (named groups first, then one for each distinct URL authority).
    pub upstreams: Vec<Arc<Upstream>>,
}

impl Table {
    /// What the vault has to know of it.
    pub fn token_settings(&self) -> Settings {
        let early = |provider: &Arc<Provider>| {
            let before = self.credentials.iter().filter_map(|credential| credential.refresh_before(&provider.name));
            before.max().unwrap_or(DEFAULT_REFRESH_BEFORE)
        };
        Settings { providers: self.providers.iter().map(|it| (Arc::clone(it), early(it))).collect() }
    }

    /// The edge's own way to find the person behind a call, then each project's.
    pub fn identifications(&self) -> impl Iterator<Item = &Arc<identity::Identification>> {
        std::iter::once(&self.identification).chain(self.matcher.projects().iter().map(|it| &it.identification))
    }

    /// What it is made from beside the configuration's own files, and is live by itself.
    pub fn followed(&self) -> Vec<Arc<dyn Followed>> {
        let mut distinct: Vec<&Arc<UsersFile>> = Vec::new();
        for users in self.identifications().filter_map(|it| it.users()).chain(&self.admin_users) {
            if !distinct.iter().any(|known| Arc::ptr_eq(known, users)) {
                distinct.push(users);
            }
        }
        let users = distinct.into_iter().map(|users| Arc::clone(users) as Arc<dyn Followed>);
        let tls = self.tls.all().map(|termination| Arc::clone(termination) as Arc<dyn Followed>);
        users.chain(tls).collect()
    }
}

/// What the listeners speak TLS with.
#[derive(Debug, Default)]
pub struct Terminations {
    /// What was obtained from a CA; the same from the first table to the last.
    pub certificates: Arc<Certificates>,
    /// By listener. Also of those that an edit took away: they wait for the restart.
    listeners: Vec<(Arc<str>, Arc<Termination>)>,
    /// Of the admin listener.
    admin: Option<Arc<Termination>>,
}

impl Terminations {
    /// What that listener speaks TLS with; `None`: it doesn't.
    pub fn of(&self, listener: &str) -> Option<&Arc<Termination>> {
        self.listeners.iter().find(|(name, _)| **name == *listener).map(|(_, termination)| termination)
    }

    /// What the admin listener speaks TLS with; `None`: it doesn't.
    pub fn admin(&self) -> Option<&Arc<Termination>> {
        self.admin.as_ref()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Termination>> {
        self.listeners.iter().map(|(_, termination)| termination).chain(&self.admin)
    }

    /// When each certificate ends: those of files, then what was obtained.
    pub fn expiries(&self) -> Vec<Expiry> {
        let mut all: Vec<Expiry> = self.all().flat_map(|it| it.expiries().to_vec()).collect();
        all.extend(self.certificates.all().iter().map(|(host, loaded)| Expiry {
            name: host.clone(),
            not_after: loaded.not_after,
            broken: false,
        }));
        all
    }
}

/// The sections that are read at start: a later edit of them waits for a restart.
#[derive(Clone, Debug)]
pub struct StartedWith {
    /// `server`.
    pub server: Server,
    /// `listeners`.
    pub listeners: Vec<Listener>,
    /// `admin`.
    pub admin: Admin,
    /// `tokens_dir`.
    pub tokens_dir: PathBuf,
    /// `tokens`.
    pub tokens: Tokens,
}
