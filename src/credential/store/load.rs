//! All tokens at once, and what is wrong with the others. What is damaged is set aside, where it neither is read again nor gets lost.

use std::io;
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

use super::lock::{Lock, Wait};
use super::{CORRUPT, EXTENSION, Fault, Found, LARGEST, Store, age, document, file};
use crate::credential::record::{Record, TokenId};

/// Who copies a file into the directory writes it piece by piece: one that was written so recently may not be whole yet.
const SETTLED: Duration = Duration::from_secs(1);

/// Tokens, and what is wrong with the other files.
type Loaded = (Vec<Record>, Vec<Fault>);

impl Store {
    /// Every token, and everything that is wrong. A token that was restored from a backup is among both: it has the generation that was
    /// there before, and [`super::STALE_RESTORE`] as its reason.
    pub fn load(&self) -> (Vec<Record>, Vec<Fault>) {
        let names = match self.root.names() {
            Ok(names) => names,
            Err(error) => return (Vec::new(), vec![Fault::unreadable(&self.root.path_of(""), &error)]),
        };
        let mut loaded = (Vec::new(), Vec::new());
        let mut damaged = Vec::new();
        for name in names.iter().filter(|name| !name.starts_with('.') && name.ends_with(EXTENSION)) {
            match self.take_up(name, &mut loaded) {
                Err(fault) if fault.code == CORRUPT => damaged.push(name),
                Err(fault) => loaded.1.push(fault),
                Ok(()) => {}
            }
        }
        self.settle(&damaged);
        for name in damaged {
            if let Err(fault) = self.take_up(name, &mut loaded) {
                let fault = if fault.code == CORRUPT { self.set_damaged_aside(name, fault) } else { Some(fault) };
                loaded.1.extend(fault);
            }
        }
        loaded
    }

    fn take_up(&self, name: &str, (records, faults): &mut Loaded) -> Result<(), Fault> {
        match self.look(name)? {
            None => {}
            Some(Found::Ours { record, stale }) => {
                self.mark(&record.id, record.generation);
                let path = self.root.path_of(name);
                faults.extend(stale.map(|generation| Fault::stale(&path, generation, record.generation)));
                records.push(*record);
            }
            Some(Found::Foreign(_)) => {
                let id = match name.strip_suffix(EXTENSION).and_then(TokenId::parse) {
                    Some(id) => Some(id),
                    None => self.name(name)?,
                };
                records.extend(id.map(|id| self.adopt(&id)).transpose()?.flatten());
            }
        }
        Ok(())
    }

    /// Waits until nobody can be writing these files any more.
    fn settle(&self, names: &[&String]) {
        let ages = names.iter().filter_map(|name| age(&self.root.stat(name).ok()??));
        if let Some(youngest) = ages.min() {
            std::thread::sleep(SETTLED.saturating_sub(youngest));
        }
    }

    /// `None`: it is gone, or good by now.
    fn set_damaged_aside(&self, name: &str, fault: Fault) -> Option<Fault> {
        let stem = name.strip_suffix(EXTENSION).and_then(TokenId::parse);
        // Whoever has the lock is about to replace it.
        let _lock = match stem.map(|id| Lock::take(&self.locks, id.as_str(), Wait::AtMost(Duration::ZERO))) {
            Some(Err(_)) => return Some(fault),
            Some(Ok(lock)) => Some(lock),
            None => None,
        };
        let why = match file::read(&self.root, name, LARGEST) {
            Ok(None) => return None,
            Err(fault) => return Some(fault),
            Ok(Some(bytes)) => document::parse(&bytes).err().filter(document::Malformed::is_damage)?.to_string(),
        };
        match self.set_aside(name) {
            Ok(aside) => Some(Fault::set_aside(&self.root.path_of(name), &why, &aside)),
            Err(_) => Some(fault),
        }
    }

    /// Returns the name that it has now.
    pub(super) fn set_aside(&self, name: &str) -> io::Result<String> {
        let form = format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:3]Z");
        let now = OffsetDateTime::now_utc().format(form).map_err(io::Error::other)?;
        let aside = format!(".corrupt-{now}-{name}");
        self.root.rename_to_new(name, &aside)?;
        self.root.sync()?;
        Ok(aside)
    }
}
