//! How a file is replaced: written aside, synced, put in its place, and the place synced. Whoever looks sees the old or the new file,
//! whole; after `Ok` the new one survives whatever happens to the machine.

use std::fs::File;
use std::io;

use super::directory::Folder;
use crate::credential::record::TokenId;
use crate::id::RequestId;

/// What files written aside begin with; then the token's name, a dot, and something random.
const ASIDE: &str = ".tmp.";

/// No token file is larger.
pub const LARGEST: usize = 64 * 1024;

/// A file that has no place yet. Taken away when it gets none.
#[derive(Debug)]
pub struct Aside<'s> {
    folder: &'s Folder,
    name: String,
    file: File,
    placed: bool,
}

/// Why a file was not replaced.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: io::Error,
    /// Whether the disk has failed to keep something: what it holds now is not known.
    pub in_sync: bool,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self { error, in_sync: false }
    }
}

impl Failed {
    /// A sync has failed. It is not tried again: the system may count as written by now what is not.
    pub fn in_sync(error: io::Error) -> Self {
        Self { error, in_sync: true }
    }
}

impl<'s> Aside<'s> {
    /// Makes one for that token's file.
    pub fn create(folder: &'s Folder, id: &TokenId) -> io::Result<Self> {
        let name = format!("{ASIDE}{id}.{}", RequestId::fresh());
        let file = folder.create(&name)?;
        Ok(Self { folder, name, file, placed: false })
    }

    /// Takes the room that the largest token file needs.
    pub fn reserve(&self) -> io::Result<()> {
        self.folder.disk.reserve(&self.file, LARGEST as u64)
    }

    /// Writes it and puts it in its place.
    pub fn place(mut self, bytes: &[u8], name: &str) -> Result<(), Failed> {
        self.folder.disk.write_at(&self.file, bytes, 0)?;
        // What was reserved beyond.
        self.file.set_len(bytes.len() as u64)?;
        self.folder.disk.sync(&self.file).map_err(Failed::in_sync)?;
        self.folder.rename(&self.name, name)?;
        self.placed = true;
        self.folder.sync().map_err(Failed::in_sync)
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        if !self.placed {
            let _ = self.folder.unlink(&self.name);
        }
    }
}

/// Whether a name is of a file written aside, and whose if that can be told.
pub fn aside(name: &str) -> Option<Option<TokenId>> {
    let rest = name.strip_prefix(ASIDE)?;
    Some(rest.rsplit_once('.').and_then(|(id, _)| TokenId::parse(id)))
}
