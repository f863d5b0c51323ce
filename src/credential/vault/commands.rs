//! What people do with tokens: log in, import, refresh, remove. Each command ends whatever becomes of whoever gave it.

use std::sync::Arc;
use std::time::Duration;

use super::entry::{Ended, Entry};
use super::holdings::Holdings;
use super::pool::Pool;
use super::{NewToken, Token, VaultError};
use crate::credential::LOG;
use crate::credential::import::Imported;
use crate::credential::provider::{Granted, Kind, Provider};
use crate::credential::record::{Record, TokenId};
use crate::secret::Secret;

/// How long an imported access token is good when nobody says: with a refresh token, and without one.
const UNSAID_REFRESHABLE: Duration = Duration::from_secs(300);
const UNSAID: Duration = Duration::from_secs(365 * 24 * 3600);
/// An attempt that is joined may have been for something else; then another is begun.
const JOINS: usize = 3;

/// How a token came here that somebody else's document told of.
const IMPORT: &str = "an import";

impl Holdings {
    /// See [`super::Vault::adopt`].
    pub async fn adopt(self: &Arc<Self>, new: NewToken) -> Result<Token, VaultError> {
        if self.is_stopping() {
            log::warn!(target: LOG, "a login of provider {} ended while countersign was stopping", new.provider);
        }
        let record = Record::first(&new.provider, &new.granted, new.registration, self.clock.wall());
        let (entry, unsaved) = self.keep(record, "a login").await;
        match unsaved {
            Some(detail) => Err(VaultError::Save(detail)),
            None => self.view(&entry),
        }
    }

    /// Saves a new record, and takes it into use either way. Returns why it is in memory alone.
    async fn keep(self: &Arc<Self>, record: Record, how: &'static str) -> (Arc<Entry>, Option<String>) {
        let holdings = Arc::clone(self);
        let (provider, id) = (Arc::clone(&record.provider), record.id.clone());
        let fallback = record.clone();
        let kept = self.handle.spawn_blocking(move || holdings.keep_now(record, how)).await;
        match kept {
            Ok(kept) => kept,
            // The runtime is going away, or the store has panicked.
            Err(error) => {
                self.observer.token_unsaved(&provider, id.as_str(), &error.to_string());
                (self.take_in(fallback, false, how), Some(error.to_string()))
            }
        }
    }

    fn keep_now(&self, record: Record, how: &str) -> (Arc<Entry>, Option<String>) {
        let _one_at_a_time = self.taking.lock();
        // The same document may have been sent twice at once.
        let access = Some(&record.access_token).filter(|token| !token.is_empty());
        if how == IMPORT
            && let Some(known) = self.same_as(record.refresh_token.as_ref(), access, &record.provider)
        {
            return (known, None);
        }
        let saved = self.store.as_ref().map(|store| store.create(&record));
        let durable = matches!(saved, Some(Ok(())));
        let unsaved = saved.and_then(Result::err).map(|error| error.to_string());
        if let Some(detail) = &unsaved {
            self.observer.token_unsaved(&record.provider, record.id.as_str(), detail);
        }
        (self.take_in(record, durable, how), unsaved)
    }

    fn take_in(&self, record: Record, durable: bool, how: &str) -> Arc<Entry> {
        self.observer.token_added(&record.provider, record.id.as_str(), how);
        let entry = Entry::new(record, durable, true, &self.clock);
        self.insert(Arc::clone(&entry));
        entry
    }

    fn view(&self, entry: &Arc<Entry>) -> Result<Token, VaultError> {
        let (pool, entry) = self.find(&entry.id).ok_or_else(|| VaultError::Unknown(entry.id.to_string()))?;
        Ok(entry.view(&pool, &self.clock))
    }

    /// See [`super::Vault::import`].
    pub async fn import(
        self: &Arc<Self>,
        tokens: Vec<Imported>,
        provider: Option<&str>,
    ) -> Result<Vec<Token>, VaultError> {
        // Nothing is taken of a document of which something cannot be.
        let theirs: Vec<_> = tokens.iter().map(|token| self.provider_for(token, provider)).collect::<Result<_, _>>()?;
        let mut taken = Vec::with_capacity(tokens.len());
        for (token, provider) in tokens.into_iter().zip(theirs) {
            taken.push(self.import_one(token, &provider).await?);
        }
        Ok(taken)
    }

    async fn import_one(self: &Arc<Self>, token: Imported, provider: &Arc<Provider>) -> Result<Token, VaultError> {
        if let Some(known) = self.same_as(token.refresh_token.as_ref(), token.access_token.as_ref(), &provider.name) {
            return self.view(&known);
        }
        let is_empty = token.access_token.is_none();
        let record = self.imported(token, provider);
        let (entry, unsaved) = self.keep(record, IMPORT).await;
        if let Some(detail) = unsaved {
            return Err(VaultError::Save(detail));
        }
        if is_empty && let Err(error) = self.refresh(&entry.id).await {
            // It is there, and its state tells.
            log::warn!(target: LOG, "imported token {} could not be refreshed at once: {error}", entry.id);
        }
        self.view(&entry)
    }

    /// Two tokens that share a refresh token would spend it for each other.
    fn same_as(&self, refresh: Option<&Secret>, access: Option<&Secret>, provider: &str) -> Option<Arc<Entry>> {
        let pools = self.pools();
        let same = |entry: &&Arc<Entry>| {
            let held = entry.held();
            match refresh {
                // One that was spent for what is in use would have the provider revoke both.
                Some(token) => held.record.refresh_token.as_ref() == Some(token) || held.record.has_spent(token),
                None => access == Some(&held.record.access_token),
            }
        };
        pools.get(provider)?.tokens.iter().filter(|entry| !entry.is_placeholder()).find(same).cloned()
    }

    fn imported(&self, token: Imported, provider: &Arc<Provider>) -> Record {
        let now = self.clock.wall();
        let unsaid = if token.refresh_token.is_some() { UNSAID_REFRESHABLE } else { UNSAID };
        let expires_in = match (token.access_token.is_some(), token.expires_at) {
            (false, _) => Duration::ZERO,
            (true, Some(expires_at)) => Duration::from_millis(expires_at.saturating_sub(now)),
            (true, None) => unsaid,
        };
        let granted = Granted {
            access_token: token.access_token.unwrap_or_else(|| Secret::new("")),
            refresh_token: token.refresh_token,
            token_type: "Bearer".to_owned(),
            scope: None,
            expires_in,
            refresh_expires_in: None,
            note: None,
        };
        let mut record = Record::first(&provider.name, &granted, token.registration, now);
        record.further = token.further;
        record
    }

    /// Whose an imported token is: the document's word, the caller's, or the only one that it can be.
    fn provider_for(&self, token: &Imported, given: Option<&str>) -> Result<Arc<Provider>, VaultError> {
        if let Some(name) = token.provider.as_deref().or(given) {
            let found = self.provider(name).filter(|provider| provider.has_login());
            return found.ok_or_else(|| VaultError::NoProvider(name.to_owned()));
        }
        let pools = self.pools();
        let mut fit: Vec<_> = pools.values().filter_map(|pool| pool.provider.clone()).collect();
        fit.retain(|provider| fits(provider, token));
        match &*fit {
            [only] => Ok(Arc::clone(only)),
            [] => Err(VaultError::NoProvider("that the token could be of".to_owned())),
            [..] => Err(VaultError::NoProvider(format!("named for the token: it could be any of {}", names(&fit)))),
        }
    }

    /// See [`super::Vault::refresh`].
    pub async fn refresh(self: &Arc<Self>, id: &TokenId) -> Result<Token, VaultError> {
        for _ in 0..JOINS {
            let (pool, entry) = self.known(id)?;
            if !entry.is_refreshable(&pool) {
                return Err(VaultError::NotRefreshable);
            }
            if pool.provider.is_none() {
                return Err(VaultError::NoProvider(pool.line.name.to_string()));
            }
            let is_kept = self.store.is_none() || entry.held().durable;
            let flight = self.begin_now(&pool, &entry).ok_or(VaultError::Stopping)?;
            let ended = wait(flight.ended).await;
            if flight.cause.asks() && (is_kept || ended.is_err()) {
                return ended.map_err(VaultError::Refresh).and_then(|()| self.view(&entry));
            }
        }
        Err(VaultError::Refresh("it is being saved; try again".to_owned()))
    }

    fn known(&self, id: &TokenId) -> Result<(Arc<Pool>, Arc<Entry>), VaultError> {
        let shown = self.find(id).filter(|(_, entry)| !entry.is_placeholder() && !entry.is_removed());
        shown.ok_or_else(|| VaultError::Unknown(id.to_string()))
    }

    /// See [`super::Vault::remove`].
    pub async fn remove(self: &Arc<Self>, id: &TokenId) -> Result<(), VaultError> {
        let (_, entry) = self.known(id)?;
        // Not lent from here on; a refresh that is under way ends first.
        entry.set_removed(true);
        let (holdings, removed) = (Arc::clone(self), Arc::clone(&entry));
        // Undone there, because whoever asked may have hung up.
        let remove = move || holdings.remove_now(&removed).inspect_err(|_| removed.set_removed(false));
        let gone = self.handle.spawn_blocking(remove).await;
        let gone = gone.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        gone.map_err(|error| VaultError::Save(format!("its file cannot be removed: {error}")))
    }

    fn remove_now(&self, entry: &Arc<Entry>) -> std::io::Result<()> {
        if let Some(store) = &self.store {
            store.lock(&entry.id)?.remove()?;
        }
        self.observer.token_removed(&entry.provider, entry.id.as_str(), "an operator");
        self.take_out(entry);
        Ok(())
    }
}

/// Until an attempt has ended.
async fn wait(mut ended: tokio::sync::watch::Receiver<Option<Ended>>) -> Ended {
    match ended.wait_for(Option::is_some).await {
        Ok(ended) => ended.clone().unwrap_or(Ok(())),
        Err(_) => Err("the attempt was interrupted".to_owned()),
    }
}

fn fits(provider: &Provider, token: &Imported) -> bool {
    match &provider.kind {
        Kind::AwsSsoOidc(_) => token.registration.is_some() || token.refresh_token.is_none(),
        Kind::OAuth2(_) => token.registration.is_none(),
        Kind::ClientCredentials(_) => false,
    }
}

fn names(providers: &[Arc<Provider>]) -> String {
    let mut names: Vec<&str> = providers.iter().map(|provider| &*provider.name).collect();
    names.sort_unstable();
    names.join(", ")
}
