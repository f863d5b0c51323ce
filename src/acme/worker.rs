//! The one who remembers what is due, does it, and sees to it that what was obtained is kept before it is served.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{Notify, watch};

use super::account::{Accounts, Identity, is_gone};
use super::failure::Failure;
use super::host::{Due, Held, Host};
use super::https::Https;
use super::order::{self, Issued};
use super::status::{HostStatus, Status};
use super::storage::Storage;
use super::suggestion::{self, Suggestion};
use super::{LOG, Parts};
use crate::clock::{self, UnixMillis};
use crate::observe::timestamp::rfc3339_millis;
use crate::table::Table;
use crate::table::acme::Acme;
use crate::tls::load::{Loaded, certified_key};

/// Conversations at a time: with hundreds of hosts, a CA is not asked for all of them at once.
const MOST: usize = 4;
/// The clock of the wall may jump: it is looked at again at least that often.
const NAP: Duration = Duration::from_secs(30);

/// What came of one thing that was done.
struct Outcome {
    host: Arc<str>,
    /// The CA that was asked.
    directory: String,
    of: What,
}

enum What {
    Ordered(Result<Held, Failure>),
    Looked(Result<Suggestion, ()>),
}

type Doing = Pin<Box<dyn Future<Output = Outcome>>>;

/// All hosts, and what is being done for them.
pub struct Worker {
    parts: Parts,
    status: Arc<Status>,
    accounts: Arc<Accounts>,
    settings: Option<Arc<Acme>>,
    trust: Result<Https, Failure>,
    hosts: BTreeMap<Arc<str>, Host>,
}

impl Worker {
    /// With what the storage has, which is served from now on. No network yet.
    pub fn new(parts: Parts, status: Arc<Status>) -> Self {
        let mut worker = Self {
            parts,
            status,
            accounts: Arc::default(),
            settings: None,
            trust: Err(Failure::new("not set up")),
            hosts: BTreeMap::new(),
        };
        worker.adopt();
        worker
    }

    /// Works until stopped.
    pub async fn run(mut self, changed: Arc<Notify>, mut stopped: watch::Receiver<bool>) {
        let mut doing = FuturesUnordered::new();
        loop {
            self.adopt();
            self.begin(&mut doing);
            self.show();
            let nap = if doing.len() < MOST { self.nap(clock::unix_millis()) } else { NAP };
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                () = changed.notified() => {}
                Some(outcome) = doing.next(), if !doing.is_empty() => self.settle(outcome),
                () = tokio::time::sleep(nap) => {}
            }
        }
    }

    /// Takes over what the table in force says.
    fn adopt(&mut self) {
        let table: Arc<Table> = self.parts.tables.load_full();
        if self.settings == table.acme {
            return;
        }
        let before = std::mem::replace(&mut self.settings, table.acme.clone());
        let Some(settings) = self.settings.clone() else {
            for (host, _) in std::mem::take(&mut self.hosts) {
                self.let_go(&host);
            }
            return self.show();
        };
        self.trust = Https::new(&settings.ca).map_err(Failure::new);
        let moved = before.is_some_and(|before| before.storage != settings.storage);
        let gone: Vec<_> = self.hosts.keys().filter(|host| !settings.hosts.contains(host)).cloned().collect();
        for host in gone {
            self.hosts.remove(&host);
            self.let_go(&host);
        }
        for host in &settings.hosts {
            self.take_up(host, &settings, moved);
        }
        self.show();
    }

    /// A host that is new, or was there before with other settings. `moved`: the storage is another one.
    fn take_up(&mut self, host: &Arc<str>, settings: &Acme, moved: bool) {
        if let Some(known) = self.hosts.get_mut(host) {
            if moved && let Some(held) = &mut known.held {
                // It is served on, and not kept where it should be.
                held.directory.clear();
            }
            known.reconsider(settings.renew_before, chance());
            if !moved {
                return;
            }
        }
        let stored = match Storage::at(&settings.storage).certificate(host) {
            Ok(stored) => stored,
            Err(error) => {
                log::warn!(target: LOG, "{host}: what is kept cannot be used: {error}; another is ordered");
                None
            }
        };
        let held = stored.map(|stored| Held { loaded: Arc::new(stored.loaded), directory: stored.directory });
        if let Some(held) = &held {
            self.parts.certificates.obtained(host, Arc::clone(&held.loaded));
            log::info!(target: LOG, "{host}: serving the kept certificate, valid until {}", time(held.loaded.not_after));
        }
        if held.is_some() || !self.hosts.contains_key(host) {
            let mut fresh = Host::with(held, settings.renew_before, chance());
            fresh.busy = self.hosts.get(host).is_some_and(|known| known.busy);
            self.hosts.insert(Arc::clone(host), fresh);
        }
    }

    /// What is kept on the disk stays there: the host may come back.
    fn let_go(&self, host: &str) {
        self.parts.certificates.forget(host);
        self.parts.observer.metrics.acme_forget(host);
        log::info!(target: LOG, "{host}: not in `acme.hosts` any more; its certificate is not served any more");
    }

    /// Begins what is due, as far as there is room.
    fn begin(&mut self, doing: &mut FuturesUnordered<Doing>) {
        let Some(settings) = self.settings.clone() else { return };
        let now = clock::unix_millis();
        for (name, host) in &mut self.hosts {
            if doing.len() >= MOST {
                return;
            }
            let (at, due) = host.next(&settings.directory);
            if host.busy || at > now {
                continue;
            }
            host.busy = true;
            let task = Task {
                host: Arc::clone(name),
                held: host.held.clone().filter(|held| held.directory == settings.directory),
                settings: Arc::clone(&settings),
                accounts: Arc::clone(&self.accounts),
                challenges: Arc::clone(&self.parts.challenges),
                https: self.trust.as_ref().map(Https::afresh).map_err(Clone::clone),
            };
            doing.push(task.begin(due));
        }
    }

    /// Takes note of what came of something, and serves what was obtained: it is on the disk by now.
    fn settle(&mut self, outcome: Outcome) {
        let Outcome { host: name, directory, of } = outcome;
        let now = clock::unix_millis();
        let Some((settings, host)) = self.settings.clone().zip(self.hosts.get_mut(&name)) else { return };
        host.busy = false;
        let metrics = &self.parts.observer.metrics;
        match of {
            What::Looked(said) if directory == settings.directory => {
                host.looked(said, settings.renew_before, now, chance());
            }
            What::Looked(_) => {}
            What::Ordered(Ok(held)) => {
                metrics.acme_order(&name, "obtained");
                self.parts.certificates.obtained(&name, Arc::clone(&held.loaded));
                let word = if host.held.is_some() { "renewed" } else { "obtained" };
                let until = held.loaded.not_after;
                host.obtained(held, settings.renew_before, chance());
                let next = host.next_order(&settings.directory);
                log::info!(target: LOG, "{name}: certificate {word}, valid until {}, renewal at {}", time(until), time(next));
            }
            What::Ordered(Err(failure)) => {
                metrics.acme_order(&name, "failed");
                let wait = host.failed(&failure, now, chance());
                let next = time(now.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)));
                let rest = match &host.held {
                    Some(held) => format!("the one in use is valid until {}", time(held.loaded.not_after)),
                    None => "none is in use".to_owned(),
                };
                log::warn!(target: LOG, "{name}: no certificate: {failure}; next try at {next}; {rest}");
            }
        }
    }

    fn nap(&self, now: UnixMillis) -> Duration {
        let Some(settings) = &self.settings else { return NAP };
        let idle = self.hosts.values().filter(|host| !host.busy);
        let next = idle.map(|host| host.next(&settings.directory).0).min();
        let wait = next.map(|at| Duration::from_millis(at.saturating_sub(now)));
        wait.unwrap_or(NAP).min(NAP)
    }

    fn show(&self) {
        let Some(settings) = &self.settings else { return self.status.show(Vec::new()) };
        let one = |(name, host): (&Arc<str>, &Host)| HostStatus {
            host: name.to_string(),
            not_after: host.held.as_ref().map(|held| held.loaded.not_after),
            next_renewal: host.next_order(&settings.directory),
            last_error: host.last_error.clone(),
        };
        let hosts: Vec<HostStatus> = self.hosts.iter().map(one).collect();
        for host in &hosts {
            self.parts.observer.metrics.acme_next_renewal(&host.host, host.next_renewal / 1000);
        }
        self.status.show(hosts);
    }
}

/// Everything that one thing to be done needs, so that it depends on nothing that may change meanwhile.
struct Task {
    host: Arc<str>,
    /// What is held of this CA.
    held: Option<Held>,
    settings: Arc<Acme>,
    accounts: Arc<Accounts>,
    challenges: Arc<crate::tls::Challenges>,
    https: Result<Https, Failure>,
}

impl Task {
    /// A fault in here fails this one thing and no other.
    fn begin(self, due: Due) -> Doing {
        let (host, directory) = (Arc::clone(&self.host), self.settings.directory.clone());
        Box::pin(async move {
            let of = match due {
                Due::Look => What::Looked(guarded(self.look()).await.unwrap_or(Err(()))),
                Due::Order => What::Ordered(guarded(self.order()).await.unwrap_or_else(Err)),
            };
            Outcome { host, directory, of }
        })
    }

    async fn look(&self) -> Result<Suggestion, ()> {
        let (Ok(https), Some(held)) = (&self.https, &self.held) else { return Err(()) };
        suggestion::ask(https, &self.settings.directory, &held.loaded).await.map_err(|error| {
            log::debug!(target: LOG, "{}: no suggestion when to renew: {}", self.host, Failure::from(error));
        })
    }

    async fn order(&self) -> Result<Held, Failure> {
        let https = self.https.clone()?;
        let asked = https.clone();
        let held = self.obtain(&https).await;
        held.map_err(|failure| Failure { asked: failure.asked.max(asked.asked()), ..failure })
    }

    async fn obtain(&self, https: &Https) -> Result<Held, Failure> {
        let storage = Storage::at(&self.settings.storage);
        // A certificate that could not be kept would be asked for again and again.
        storage.prepare().map_err(Failure::new)?;
        let directory = self.settings.directory.clone();
        let contact = self.settings.contact.clone();
        let identity = Identity { storage: storage.clone(), directory, contact };
        let issued = self.issue(&identity, https).await?;
        let loaded = self.check(&issued)?;
        storage
            .keep_certificate(&self.host, &self.settings.directory, &issued.key, &issued.chain)
            .map_err(Failure::new)?;
        Ok(Held { loaded: Arc::new(loaded), directory: self.settings.directory.clone() })
    }

    async fn issue(&self, identity: &Identity, https: &Https) -> Result<Issued, Failure> {
        let replaces = || self.held.as_ref().and_then(|held| suggestion::identifier(&held.loaded));
        // A CA without such a service knows no replacements, and the library says so before it asks.
        let account = self.accounts.open(identity, https).await?;
        let order = match order::begin(&account, &self.host, replaces()).await {
            Err(error) if is_gone(&error) => {
                let account = self.accounts.replace(&account, &error, identity, https).await?;
                order::begin(&account, &self.host, None).await
            }
            order => order,
        };
        let order = order.map_err(|error| Failure::from(error).while_doing("new order"))?;
        order::fulfil(order, &self.host, &self.challenges).await
    }

    /// Whether it is what was asked for. What is not is never kept, nor served.
    fn check(&self, issued: &Issued) -> Result<Loaded, Failure> {
        let loaded = certified_key(issued.chain.as_bytes(), issued.key.as_bytes())
            .map_err(|error| Failure::new(format!("what the CA sent cannot be used: {error}")))?;
        if !loaded.names.iter().any(|name| **name == *self.host) {
            return Err(Failure::new("what the CA sent cannot be used: it is for another name"));
        }
        if loaded.not_after <= clock::unix_millis() {
            return Err(Failure::new(
                "what the CA sent cannot be used: it has ended already (is this machine's clock right?)",
            ));
        }
        Ok(loaded)
    }
}

async fn guarded<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.map_err(|_| Failure::new("a fault in countersign itself"))
}

/// From 0 to 1; a machine without randomness has no jitter.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |value| f64::from(value) / f64::from(u32::MAX))
}

fn time(millis: UnixMillis) -> String {
    let text = rfc3339_millis(millis);
    text.get(..19).map_or(text.clone(), |seconds| format!("{seconds}Z"))
}

/// What the tables are published in.
pub type Tables = Arc<ArcSwap<Table>>;
