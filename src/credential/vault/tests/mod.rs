//! The vault as a whole, over real files and a provider that does what a test tells it to.
//!
//! Where nothing else runs, tokio's clock is stopped: it leaps to the next timer whenever everybody waits.

mod crash;
mod foreign;
mod lease;
mod outcomes;
mod people;

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::call::{Courier, Reply, Replying};
use super::moment::Clock;
use super::*;
use crate::credential::provider::{Call, ClientCredentials, Granted, Kind, OAuth2};
use crate::credential::record::{Record, State};
use crate::outbound::Failure;

/// The wall's clock where tests wind it.
pub const WALL: UnixMillis = 1_795_313_758_000;
pub const HOUR: Duration = Duration::from_secs(3600);

/// What the provider answers.
#[derive(Clone, Debug)]
pub enum Say {
    /// What a provider that rotates, and revokes a family when a refresh token comes twice, would.
    Honest,
    /// That.
    This(u16, &'static str),
    /// That, with `retry-after`.
    Later(u16, u64),
    /// It was not reached.
    Unsent,
    /// It has done its work, and its answer is lost.
    Lost,
    /// It has died before it did anything.
    Died,
}

/// A provider that rotates.
#[derive(Debug)]
pub struct Idp {
    inner: Mutex<Inner>,
    /// While it is closed, answers wait.
    gate: watch::Sender<bool>,
}

#[derive(Debug)]
struct Inner {
    script: VecDeque<Say>,
    good: HashSet<String>,
    issued: u64,
    /// The refresh tokens, or the grants, that came.
    asked: Vec<String>,
    reused: usize,
    lifetime: Option<u64>,
    rotates: bool,
}

impl Idp {
    pub fn new() -> Arc<Self> {
        let inner = Inner {
            script: VecDeque::new(),
            good: HashSet::new(),
            issued: 0,
            asked: Vec::new(),
            reused: 0,
            lifetime: Some(3600),
            rotates: true,
        };
        Arc::new(Self { inner: Mutex::new(inner), gate: watch::Sender::new(true) })
    }

    pub fn say(&self, say: impl IntoIterator<Item = Say>) {
        self.inner.lock().script.extend(say);
    }

    pub fn lives(&self, seconds: Option<u64>) {
        self.inner.lock().lifetime = seconds;
    }

    pub fn keep_refresh_tokens(&self) {
        self.inner.lock().rotates = false;
    }

    pub fn close(&self) {
        self.gate.send_replace(false);
    }

    pub fn open(&self) {
        self.gate.send_replace(true);
    }

    pub fn calls(&self) -> usize {
        self.inner.lock().asked.len()
    }

    pub fn asked(&self) -> Vec<String> {
        self.inner.lock().asked.clone()
    }

    /// Refresh tokens that came although they were spent.
    pub fn reused(&self) -> usize {
        self.inner.lock().reused
    }

    /// A login.
    pub fn login(&self, lifetime: Duration) -> Granted {
        let mut inner = self.inner.lock();
        inner.issued += 1;
        let refresh = format!("refresh-{}", inner.issued);
        inner.good.insert(refresh.clone());
        granted(&format!("access-{}", inner.issued), Some(&refresh), lifetime)
    }
}

impl Inner {
    fn answer(&mut self, asked: &str) -> (u16, String) {
        let is_grant = asked == "client_credentials";
        if !is_grant && !self.good.contains(asked) {
            self.reused += 1;
            self.good.clear();
            return (400, r#"{"error":"invalid_grant","error_description":"it was spent"}"#.to_owned());
        }
        self.issued += 1;
        let n = self.issued;
        let expires = self.lifetime.map_or(String::new(), |seconds| format!(r#","expires_in":{seconds}"#));
        let mut refresh = String::new();
        if self.rotates && !is_grant {
            self.good.remove(asked);
            self.good.insert(format!("refresh-{n}"));
            refresh = format!(r#","refresh_token":"refresh-{n}""#);
        }
        (200, format!(r#"{{"access_token":"access-{n}","token_type":"Bearer"{expires}{refresh}}}"#))
    }
}

impl Courier for Arc<Idp> {
    fn send<'a>(&'a self, _: &'a Arc<Provider>, call: Call) -> Replying<'a> {
        Box::pin(async move {
            let form: Vec<(String, String)> = url::form_urlencoded::parse(&call.body.0).into_owned().collect();
            let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            let asked = field("refresh_token").or_else(|| field("grant_type")).unwrap_or_default();
            let (say, honest) = {
                let mut inner = self.inner.lock();
                inner.asked.push(asked.clone());
                let say = inner.script.pop_front().unwrap_or(Say::Honest);
                let honest = matches!(say, Say::Honest | Say::Lost).then(|| inner.answer(&asked));
                (say, honest)
            };
            let _ = self.gate.subscribe().wait_for(|open| *open).await;
            let mut headers = HeaderMap::new();
            let (status, body) = match say {
                Say::Honest => honest.unwrap(),
                Say::This(status, body) => (status, body.to_owned()),
                Say::Later(status, seconds) => {
                    headers.insert("retry-after", seconds.into());
                    (status, String::new())
                }
                Say::Unsent => return Err(Failure::Unsent("no connection to idp.test".to_owned())),
                Say::Lost | Say::Died => return Err(Failure::Unknown("idp.test closed the connection".to_owned())),
            };
            let status = StatusCode::from_u16(status).unwrap();
            Ok(Reply { status, headers, body: Bytes::from(body) })
        })
    }
}

pub fn granted(access: &str, refresh: Option<&str>, expires_in: Duration) -> Granted {
    Granted {
        access_token: Secret::new(access),
        refresh_token: refresh.map(Secret::new),
        token_type: "Bearer".to_owned(),
        scope: None,
        expires_in,
        refresh_expires_in: None,
        note: None,
    }
}

pub fn oauth2(name: &str) -> Arc<Provider> {
    let url = |path: &str| format!("https://idp.test/{path}").parse().unwrap();
    let kind = Kind::OAuth2(OAuth2 {
        authorization_url: url("authorize"),
        token_url: url("token"),
        device_authorization_url: None,
        client_id: "edge".to_owned(),
        client_secret: None,
        scopes: Vec::new(),
        redirect_url: None,
        issuer: None,
    });
    Arc::new(Provider { name: name.into(), kind, anchors: Vec::new() })
}

pub fn machine(name: &str) -> Arc<Provider> {
    let kind = Kind::ClientCredentials(ClientCredentials {
        token_url: "https://idp.test/token".parse().unwrap(),
        client_id: "edge".to_owned(),
        client_secret: Secret::new("client-secret"),
        scopes: Vec::new(),
    });
    Arc::new(Provider { name: name.into(), kind, anchors: Vec::new() })
}

pub fn spec(choice: Choice) -> Spec {
    Spec { provider: "idp".into(), choice, rest_after_429: Duration::from_secs(60) }
}

/// A directory for tokens.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("tokens")
    }

    pub fn options(&self) -> Options {
        Options { directory: self.path(), encryption_key: None, allow_network_filesystem: false }
    }

    pub fn store(&self) -> Store {
        Store::open(&self.options()).unwrap()
    }

    pub fn record(&self, id: &TokenId) -> Record {
        self.store().read(id).unwrap().unwrap()
    }
}

/// A vault, and the task that works for it.
pub struct Running {
    pub vault: Arc<Vault>,
    work: tokio::task::JoinHandle<()>,
}

impl std::ops::Deref for Running {
    type Target = Vault;

    fn deref(&self) -> &Vault {
        &self.vault
    }
}

impl Running {
    /// `None`: it keeps nothing.
    pub fn start(place: Option<&Place>, idp: &Arc<Idp>, clock: Clock) -> Self {
        let parts = Parts { store: place.map(Place::options), observer: Arc::new(Observer::for_tests().unwrap()) };
        let handle = tokio::runtime::Handle::current();
        let (vault, work) = Vault::prepare(parts, Box::new(Arc::clone(idp)), handle, clock).unwrap();
        Self { vault, work: tokio::spawn(work) }
    }

    /// With the provider `idp`, on a clock that tests wind.
    pub fn with_idp(place: Option<&Place>, idp: &Arc<Idp>) -> Self {
        let running = Self::start(place, idp, Clock::manual(WALL));
        running.use_provider(oauth2("idp"));
        running
    }

    pub fn use_provider(&self, provider: Arc<Provider>) {
        self.vault.configure(Settings { providers: vec![(provider, Duration::from_secs(300))] });
    }

    /// A login at that provider.
    pub async fn log_in(&self, idp: &Idp, lifetime: Duration) -> Token {
        let new = NewToken { provider: "idp".into(), granted: idp.login(lifetime), registration: None };
        self.vault.adopt(new).await.unwrap()
    }

    pub fn token(&self, id: &TokenId) -> Token {
        self.vault.tokens().into_iter().find(|token| token.id == *id).unwrap()
    }

    /// The access token that a request gets.
    pub async fn leased(&self) -> Result<String, Unavailable> {
        let lease = self.vault.lease(&spec(Choice::InOrder), &[]).await?;
        Ok(lease.token.expose().to_owned())
    }

    /// Nothing can be written from now on.
    pub fn fill_disk(&self) {
        self.vault.holdings.store.as_ref().unwrap().fill_disk();
    }

    /// There is room again.
    pub fn free_disk(&self) {
        self.vault.holdings.store.as_ref().unwrap().free_disk();
    }

    /// Ends as a process does that nobody kills.
    pub async fn end(self) {
        self.vault.stop().await;
        drop(self.vault);
        self.work.await.unwrap();
    }

    /// Ends as if it were killed: nothing more is done.
    pub fn kill(self) {
        self.work.abort();
    }
}

/// Waits for a condition.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..5_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("never: {what}");
}

/// The same while a call blocks a thread, which stops the clock.
pub async fn until_called(idp: &Idp, calls: usize) {
    for _ in 0..50_000 {
        if idp.calls() == calls {
            return;
        }
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_micros(200));
    }
    panic!("never: {calls} calls, but {}", idp.calls());
}

/// Lets time pass.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
