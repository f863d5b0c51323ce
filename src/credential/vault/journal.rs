//! What a refresh reads and writes down as it goes: under the token's lock, on the disk, or, for a vault that keeps
//! nothing, nowhere.

use std::io;

use crate::credential::record::{Record, TokenId};
use crate::credential::store::{Fault, Intent, Locked, SaveError, Store, Unfinished};

/// One token's journal, for the time of one refresh.
pub enum Journal<'s> {
    /// On the disk; other processes wait.
    Disk(Locked<'s>),
    /// There is no disk; what is in use is all there is.
    None,
}

impl<'s> Journal<'s> {
    /// Locks the token; waits while another process has it.
    pub fn open(store: Option<&'s Store>, id: &TokenId) -> io::Result<Self> {
        Ok(match store {
            Some(store) => Self::Disk(store.lock(id)?),
            None => Self::None,
        })
    }

    /// What is stored; without a disk, what is in use.
    pub fn current(&self, held: &Record) -> Result<Option<Record>, Fault> {
        match self {
            Self::Disk(locked) => locked.current(),
            Self::None => Ok(Some(held.clone())),
        }
    }

    /// What another life of this token left unfinished.
    pub fn unfinished(&self) -> io::Result<Option<Unfinished>> {
        match self {
            Self::Disk(locked) => locked.unfinished(),
            Self::None => Ok(None),
        }
    }

    /// See [`Locked::intend`].
    pub fn intend(&mut self, intent: &Intent) -> Result<(), SaveError> {
        match self {
            Self::Disk(locked) => locked.intend(intent),
            Self::None => Ok(()),
        }
    }

    /// See [`Locked::answered`].
    pub fn answered(&mut self, status: u16, body: &[u8]) -> Result<(), SaveError> {
        match self {
            Self::Disk(locked) => locked.answered(status, body),
            Self::None => Ok(()),
        }
    }

    /// See [`Locked::save`].
    pub fn save(&mut self, record: &Record) -> Result<(), SaveError> {
        match self {
            Self::Disk(locked) => locked.save(record),
            Self::None => Ok(()),
        }
    }

    /// See [`Locked::settle`].
    pub fn settle(&mut self) -> io::Result<()> {
        match self {
            Self::Disk(locked) => locked.settle(),
            Self::None => Ok(()),
        }
    }
}
