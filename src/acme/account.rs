//! One account for each CA, kept over restarts; another when the CA does not know it any more.

use instant_acme::{Account, Error, NewAccount};
use tokio::sync::Mutex;

use super::LOG;
use super::failure::{Failure, is, whatever_the_nonce};
use super::https::Https;
use super::storage::{self, Storage};

/// Whose account.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Where it is kept.
    pub storage: Storage,
    /// At which CA.
    pub directory: String,
    /// What the CA shall know.
    pub contact: Vec<String>,
}

/// Opens accounts, one at a time: two orders at once must not make two.
#[derive(Debug, Default)]
pub struct Accounts(Mutex<()>);

impl Accounts {
    /// The account that is kept, with the contacts as they are now, or a new one.
    ///
    /// # Errors
    /// The CA refuses, or the account cannot be kept.
    pub async fn open(&self, identity: &Identity, https: &Https) -> Result<Account, Failure> {
        let _one = self.0.lock().await;
        match identity.kept()? {
            None => identity.create(https).await,
            Some(kept) => match identity.restore(kept, https).await {
                Err(error) if is_gone(&error) => identity.again(&error, https).await,
                restored => restored.map_err(|error| Failure::from(error).while_doing("account")),
            },
        }
    }

    /// Another one, after the CA has refused `gone` for `why`; or the one that was made meanwhile.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn replace(
        &self,
        gone: &Account,
        why: &Error,
        identity: &Identity,
        https: &Https,
    ) -> Result<Account, Failure> {
        let _one = self.0.lock().await;
        if let Some(kept) = identity.kept()? {
            let restored = identity.restore(kept, https).await;
            if let Ok(other) = restored
                && other.id() != gone.id()
            {
                return Ok(other);
            }
        }
        identity.again(why, https).await
    }
}

/// Whether a refusal, of a request that needs nothing but an account, means that there is none (RFC 8555 §6.7, §7.3.6).
pub fn is_gone(error: &Error) -> bool {
    is(error, "accountDoesNotExist") || is(error, "unauthorized")
}

impl Identity {
    fn kept(&self) -> Result<Option<storage::Account>, Failure> {
        self.storage.account(&self.directory).map_err(Failure::new)
    }

    async fn restore(&self, kept: storage::Account, https: &Https) -> Result<Account, Error> {
        let known = kept.contact == self.contact;
        let credentials = serde_json::to_value(&kept.credentials)?;
        let account = Account::builder_with_http(Box::new(https.clone())).from_credentials(kept.credentials).await?;
        if !known {
            let contact: Vec<&str> = self.contact.iter().map(String::as_str).collect();
            whatever_the_nonce(async || account.update_contacts(&contact).await).await?;
            let credentials = serde_json::from_value(credentials)?;
            let (directory, contact) = (self.directory.clone(), self.contact.clone());
            let kept = storage::Account { directory, contact, credentials };
            self.storage.keep_account(&kept).map_err(|error| Error::Other(Box::new(error)))?;
            log::info!(target: LOG, "{}: the account's contacts are up to date", self.directory);
        }
        Ok(account)
    }

    async fn again(&self, why: &Error, https: &Https) -> Result<Account, Failure> {
        log::warn!(target: LOG, "{}: the account is not valid any more: {why}; a new one is made", self.directory);
        self.create(https).await
    }

    /// RFC 8555 §7.3. Whoever configures a directory agrees to its terms; the documentation says so.
    async fn create(&self, https: &Https) -> Result<Account, Failure> {
        let contact: Vec<&str> = self.contact.iter().map(String::as_str).collect();
        let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let made = whatever_the_nonce(async || {
            let builder = Account::builder_with_http(Box::new(https.clone()));
            builder.create(&wanted, self.directory.clone(), None).await
        });
        let (account, credentials) = made.await.map_err(|error| Failure::from(error).while_doing("new account"))?;
        let (directory, contact) = (self.directory.clone(), self.contact.clone());
        let kept = storage::Account { directory, contact, credentials };
        self.storage.keep_account(&kept).map_err(Failure::new)?;
        log::info!(target: LOG, "{}: new account {}", self.directory, account.id());
        Ok(account)
    }
}
