//! Everything that the vault holds: the pools, and how they change. Requests read a snapshot of them; changes are made one
//! after the other, each by publishing another snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::call::Courier;
use super::entry::Entry;
use super::moment::{Clock, Moment};
use super::pool::{Pool, Pools};
use super::{Settings, Token};
use crate::credential::provider::Provider;
use crate::credential::record::{Record, State, TokenId};
use crate::credential::store::{Fault, Store};
use crate::observe::Observer;
use crate::secret::Secret;

/// Everything.
#[derive(Debug)]
pub struct Holdings {
    /// Moments.
    pub clock: Clock,
    /// The directory; `None`: nothing is written.
    pub store: Option<Store>,
    /// What is seen.
    pub observer: Arc<Observer>,
    /// Who sends calls.
    pub courier: Box<dyn Courier>,
    /// Where refreshes run.
    pub handle: tokio::runtime::Handle,
    /// Has the thread look at what is due.
    pub wake: Notify,
    /// Refreshes under way.
    pub flights: watch::Sender<usize>,
    pools: ArcSwap<Pools>,
    /// Held while a new token is compared with those in use and taken in.
    pub taking: Mutex<()>,
    /// Held while another snapshot is made.
    edits: Mutex<()>,
    faults: Mutex<Vec<Fault>>,
    stopping: AtomicBool,
}

impl Holdings {
    /// Without tokens.
    pub fn new(
        store: Option<Store>,
        observer: Arc<Observer>,
        courier: Box<dyn Courier>,
        handle: tokio::runtime::Handle,
        clock: Clock,
    ) -> Self {
        Self {
            clock,
            store,
            observer,
            courier,
            handle,
            wake: Notify::new(),
            flights: watch::Sender::new(0),
            pools: ArcSwap::default(),
            taking: Mutex::new(()),
            edits: Mutex::new(()),
            faults: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The pools, as they are now.
    pub fn pools(&self) -> Guard<Arc<Pools>> {
        self.pools.load()
    }

    /// One token, and its pool.
    pub fn find(&self, id: &TokenId) -> Option<(Arc<Pool>, Arc<Entry>)> {
        self.pools.load().values().find_map(|pool| {
            let entry = pool.tokens.iter().find(|entry| entry.id == *id)?;
            Some((Arc::clone(pool), Arc::clone(entry)))
        })
    }

    /// The provider of that name in the table in force.
    pub fn provider(&self, name: &str) -> Option<Arc<Provider>> {
        self.pools.load().get(name)?.provider.clone()
    }

    /// Every token, by provider, then by age.
    pub fn tokens(&self) -> Vec<Token> {
        let pools = self.pools.load();
        let mut pools: Vec<&Arc<Pool>> = pools.values().collect();
        pools.sort_by(|one, other| one.line.name.cmp(&other.line.name));
        let lent = pools.into_iter().flat_map(|pool| pool.tokens.iter().map(move |entry| (pool, entry)));
        let shown = lent.filter(|(_, entry)| !entry.is_placeholder() && !entry.is_removed());
        shown.map(|(pool, entry)| entry.view(pool, &self.clock)).collect()
    }

    /// Takes what a table says.
    pub fn configure(&self, settings: Settings) {
        self.edit(|pools| {
            for pool in pools.values_mut() {
                let stays = settings.providers.iter().any(|(provider, _)| provider.name == pool.line.name);
                if !stays && pool.provider.is_some() {
                    Arc::make_mut(pool).provider = None;
                }
            }
            for (provider, refresh_before) in settings.providers {
                set_up(pool_of(pools, &provider.name), provider, refresh_before, &self.clock);
            }
        });
        self.wake.notify_one();
    }

    /// Takes a token into use.
    pub fn insert(&self, entry: Arc<Entry>) {
        self.edit(|pools| {
            let pool = pool_of(pools, &entry.provider);
            pool.tokens.retain(|known| known.id != entry.id);
            pool.tokens.push(entry);
            pool.tokens.sort_by_cached_key(|entry| (entry.held().record.created_at, entry.id.clone()));
            pool.line.bump();
        });
        self.wake.notify_one();
    }

    /// Takes a token out of use. Grants to ourselves begin anew.
    pub fn take_out(&self, entry: &Arc<Entry>) {
        entry.set_removed(true);
        self.edit(|pools| {
            let pool = pool_of(pools, &entry.provider);
            pool.tokens.retain(|known| !Arc::ptr_eq(known, entry));
            place_holder(pool, &self.clock);
            pool.line.bump();
        });
    }

    fn edit(&self, change: impl FnOnce(&mut Pools)) {
        let _one_at_a_time = self.edits.lock();
        let mut pools = Pools::clone(&self.pools.load());
        change(&mut pools);
        self.pools.store(Arc::new(pools));
    }

    /// What is wrong with files.
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.lock().clone()
    }

    /// What is wrong with files now. Returns what was not wrong before.
    pub fn set_faults(&self, now: Vec<Fault>) -> Vec<Fault> {
        let mut faults = self.faults.lock();
        let news = now.iter().filter(|fault| !faults.contains(fault)).cloned().collect();
        *faults = now;
        news
    }

    /// Whether everything in use is on the disk, or nothing is meant to be.
    pub fn is_durable(&self) -> bool {
        let Some(store) = &self.store else { return true };
        let kept = |entry: &Arc<Entry>| entry.is_placeholder() || entry.held().durable;
        store.is_durable() && self.pools.load().values().all(|pool| pool.tokens.iter().all(kept))
    }

    /// Nothing is begun from now on.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
        for pool in self.pools.load().values() {
            pool.line.bump();
        }
    }

    /// Whether nothing is begun any more.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Now.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }
}

fn pool_of<'p>(pools: &'p mut Pools, name: &Arc<str>) -> &'p mut Pool {
    Arc::make_mut(pools.entry(Arc::clone(name)).or_insert_with(|| Arc::new(Pool::new(Arc::clone(name)))))
}

fn set_up(pool: &mut Pool, provider: Arc<Provider>, refresh_before: Duration, clock: &Clock) {
    if pool.provider.as_ref().is_some_and(|known| *known != provider) {
        pool.line.forgive();
        for entry in &pool.tokens {
            entry.progress().not_before = Moment::LONG_AGO;
        }
    }
    pool.provider = Some(provider);
    pool.refresh_before = refresh_before;
    place_holder(pool, clock);
}

/// A provider that nobody logs in to has a token from the first request on: until then, its place.
fn place_holder(pool: &mut Pool, clock: &Clock) {
    if pool.grants_itself() && pool.tokens.is_empty() {
        let Some(id) = id_of_ours(&pool.line.name) else { return };
        pool.tokens.push(Entry::new(nothing_yet(id, &pool.line.name), false, true, clock));
    }
}

/// The same in every process, so that they lock each other out.
fn id_of_ours(provider: &str) -> Option<TokenId> {
    use sha2::{Digest, Sha256};
    let fits = |letter: &char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || *letter == '-';
    let name: String = provider.chars().filter(fits).take(40).collect();
    let digest = hex::encode(Sha256::digest(provider.as_bytes()));
    TokenId::parse(&format!("{name}-own-{}", digest.get(..8)?))
}

fn nothing_yet(id: TokenId, provider: &Arc<str>) -> Record {
    let lineage = id.as_str().to_owned();
    Record {
        id,
        provider: Arc::clone(provider),
        generation: 0,
        access_token: Secret::new(""),
        refresh_token: None,
        token_type: String::new(),
        scope: None,
        created_at: 0,
        obtained_at: 0,
        expires_at: 0,
        refresh_expires_at: None,
        lineage,
        previous: None,
        state: State::Valid,
        reason: None,
        last_error: None,
        registration: None,
        further: serde_json::Map::new(),
    }
}
