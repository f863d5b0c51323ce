//! One token, under its lock: how a refresh is written down, from what is asked to what is saved.

use std::io;

use super::journal::{self, Journal};
use super::lock::Lock;
use super::save::{Aside, Failed};
use super::{CORRUPT, Fault, Found, Intent, SaveError, Store, Unfinished, file, file_name};
use crate::credential::LOG;
use crate::credential::record::{Record, TokenId};

/// One token, locked against other threads and processes; released when dropped.
#[derive(Debug)]
pub struct Locked<'s> {
    store: &'s Store,
    id: TokenId,
    journal: Option<Journal>,
    reserved: Option<Aside<'s>>,
    /// Last, so that it is released last.
    _lock: Lock,
}

impl<'s> Locked<'s> {
    pub(super) fn new(store: &'s Store, id: TokenId, lock: Lock) -> Self {
        Self { store, id, journal: None, reserved: None, _lock: lock }
    }

    /// What is stored now.
    ///
    /// # Errors
    /// It cannot be used. `None`: it is gone.
    pub fn current(&self) -> Result<Option<Record>, Fault> {
        match self.store.look(&file_name(&self.id))? {
            None => Ok(None),
            Some(Found::Ours { record, .. }) => Ok(Some(*record)),
            Some(Found::Foreign(foreign)) => self.store.take_over(&self.id, foreign).map(Some),
        }
    }

    /// A refresh that was not finished. One whose successor is stored is finished, whatever the journal says.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn unfinished(&self) -> io::Result<Option<Unfinished>> {
        let bytes = file::read(&self.store.journals, self.id.as_str(), journal::LENGTH)
            .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault.message))?;
        let Some(entries) = bytes.and_then(|bytes| journal::parse(&bytes)) else { return Ok(None) };
        let is_over = self
            .current()
            .is_ok_and(|stored| stored.is_some_and(|stored| stored.generation > entries.intent.generation));
        if is_over {
            return Ok(None);
        }
        let answer = entries.open_answer(&self.id, self.store.key.as_ref())?;
        Ok(Some(Unfinished { intent: entries.intent, answer }))
    }

    /// Writes down what is about to be asked, and takes the room that the answer and the save will need: without it
    /// nothing may be asked.
    ///
    /// # Errors
    /// No room, or none that lasts.
    pub fn intend(&mut self, intent: &Intent) -> Result<(), SaveError> {
        let (store, name) = (self.store, file_name(&self.id));
        let no_room = |error: io::Error| store.failed(&store.root, &name, &self.id, error.into());
        let aside = Aside::create(&store.root, &self.id).map_err(no_room)?;
        aside.reserve().map_err(no_room)?;
        match Journal::begin(&self.store.journals, &self.id, intent) {
            Ok(journal) => {
                self.journal = Some(journal);
                self.reserved = Some(aside);
                Ok(())
            }
            Err(error) => {
                // Nothing is asked: what may be written of the intent should not say otherwise.
                let _ = journal::clear(&self.store.journals, &self.id);
                Err(self.journal_failed(error).into())
            }
        }
    }

    /// Writes down the answer as it came, before anybody looks at it.
    ///
    /// # Errors
    /// It is not on the disk.
    pub fn answered(&mut self, status: u16, body: &[u8]) -> Result<(), SaveError> {
        let Some(journal) = &self.journal else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an answer to nothing that was asked").into());
        };
        let written = journal.answer(status, body, self.store.key.as_ref());
        Ok(written.map_err(|failed| self.journal_failed(failed))?)
    }

    fn journal_failed(&self, failed: Failed) -> io::Error {
        self.store.failed(&self.store.journals, self.id.as_str(), &self.id, failed)
    }

    /// Saves: a generation that is higher than what is stored, or the same with another state. Ends the journal. A file that
    /// was taken away meanwhile comes back: a token that was had is not thrown away for want of a file to replace.
    ///
    /// # Errors
    /// See [`SaveError`]; the journal stays.
    pub fn save(&mut self, record: &Record) -> Result<(), SaveError> {
        if record.id != self.id {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "another token's lock").into());
        }
        match self.current() {
            Ok(None) => {}
            Ok(Some(stored)) if stored.lineage == record.lineage && stored.generation <= record.generation => {}
            Ok(Some(stored)) => return Err(SaveError::Overtaken(stored.generation)),
            // It is about to be replaced by something better, and kept for whoever wants to look at it.
            Err(fault) if fault.code == CORRUPT => self.store.set_aside(&file_name(&self.id)).map(drop)?,
            Err(fault) => return Err(SaveError::Fault(fault)),
        }
        self.store.write(record, self.reserved.take())?;
        self.journal = None;
        if let Err(error) = self.settle() {
            log::warn!(target: LOG, "{error}");
        }
        Ok(())
    }

    /// Ends the journal: the provider has said no, and nothing changes.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn settle(&mut self) -> io::Result<()> {
        self.reserved = None;
        self.journal = None;
        journal::clear(&self.store.journals, &self.id).map_err(|error| self.journal_failed(error.into()))
    }

    /// Removes the token, with all that belongs to it: the file last, so that what a crash interrupts is done again.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(mut self) -> io::Result<()> {
        let name = self.id.as_str();
        self.reserved = None;
        self.store.journals.unlink(name)?;
        self.store.root.unlink(&file_name(&self.id))?;
        self.store.root.sync()?;
        self.store.unkept.lock().remove(&self.id);
        // Its name is never given again, so that its mark and its lock are of no use, and do no harm either.
        for (folder, what) in [(&self.store.marks, "mark"), (&self.store.locks, "lock")] {
            if let Err(error) = folder.unlink(name) {
                log::warn!(target: LOG, "{}: the {what} stays: {error}", folder.path_of(name).display());
            }
        }
        Ok(())
    }
}
