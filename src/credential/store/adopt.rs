//! Files that somebody has put there: taken over where they lie. One whose name is no token's name gets one first, by a rename, so that
//! no crash makes two tokens of it.

use std::io;

use super::lock::{Lock, Wait};
use super::{Fault, Found, PATIENCE, SaveError, Store, file_name, high_water};
use crate::clock;
use crate::credential::LOG;
use crate::credential::record::document::Foreign;
use crate::credential::record::{Record, TokenId};

/// The lock of whoever gives a name; no token has this name.
const NAMING: &str = ".naming";

impl Store {
    /// Takes over what lies under a token's name.
    pub(super) fn adopt(&self, id: &TokenId) -> Result<Option<Record>, Fault> {
        let name = file_name(id);
        let failed = |error: io::Error| self.not_adopted(&name, &error);
        let _lock = Lock::take(&self.locks, id.as_str(), Wait::AtMost(PATIENCE)).map_err(failed)?;
        match self.look(&name)? {
            None => Ok(None),
            // Somebody else was faster.
            Some(Found::Ours { record, .. }) => Ok(Some(*record)),
            Some(Found::Foreign(foreign)) => self.take_over(id, foreign).map(Some),
        }
    }

    /// The same, under its lock. A file that replaces a token of ours goes on behind its last generation.
    pub(super) fn take_over(&self, id: &TokenId, foreign: Foreign) -> Result<Record, Fault> {
        let generation = high_water::read(&self.marks, id).saturating_add(1);
        let record = foreign.adopt(id.clone(), generation, clock::unix_millis());
        match self.write(&record, None) {
            Ok(()) => {
                log::info!(target: LOG, "{}: adopted", self.root.path_of(&file_name(id)).display());
                Ok(record)
            }
            Err(SaveError::Fault(fault)) => Err(fault),
            Err(error) => Err(self.not_adopted(&file_name(id), &io::Error::other(error))),
        }
    }

    /// Gives a file a name that is a token's; `None`: it is gone, or not one to adopt.
    pub(super) fn name(&self, strange: &str) -> Result<Option<TokenId>, Fault> {
        let failed = |error: io::Error| self.not_adopted(strange, &error);
        let _lock = Lock::take(&self.locks, NAMING, Wait::AtMost(PATIENCE)).map_err(failed)?;
        let Some(Found::Foreign(foreign)) = self.look(strange)? else { return Ok(None) };
        let id = TokenId::fresh(foreign.provider());
        self.root.rename_to_new(strange, &file_name(&id)).and_then(|()| self.root.sync()).map_err(failed)?;
        log::info!(target: LOG, "{} is now {}", self.root.path_of(strange).display(), file_name(&id));
        Ok(Some(id))
    }

    fn not_adopted(&self, name: &str, error: &io::Error) -> Fault {
        Fault::not_adopted(&self.root.path_of(name), error)
    }
}
