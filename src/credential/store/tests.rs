//! The whole contract, on real files.

mod adoption;
mod disk;
mod processes;
mod refresh;
mod states;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::credential::provider::Granted;

/// A directory of tokens, and who opens it.
pub struct Place {
    pub directory: tempfile::TempDir,
}

pub fn granted(access: &str, refresh: Option<&str>) -> Granted {
    Granted {
        access_token: Secret::new(access),
        refresh_token: refresh.map(Secret::new),
        token_type: "Bearer".to_owned(),
        scope: Some("openid".to_owned()),
        expires_in: Duration::from_secs(3600),
        refresh_expires_in: None,
        note: None,
    }
}

pub fn record() -> Record {
    let provider: Arc<str> = "idp".into();
    Record::first(&provider, &granted("access-1", Some("refresh-1")), None, 1_795_313_758_000)
}

pub fn intent(of: &Record) -> Intent {
    let refresh_sha256 = of.refresh_sha256().unwrap();
    Intent { generation: of.generation, refresh_sha256, started_at: 1_795_313_759_000 }
}

impl Place {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// In memory, where that is possible: where syncing is not what is tested, a disk would only take its time.
    pub fn quick() -> Self {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self { directory: directory.unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("tokens")
    }

    pub fn options(&self, key: Option<&str>) -> Options {
        Options { directory: self.path(), encryption_key: key.map(Secret::new), allow_network_filesystem: false }
    }

    pub fn open(&self) -> Store {
        Store::open(&self.options(None)).unwrap()
    }

    pub fn file(&self, record: &Record) -> PathBuf {
        self.path().join(file_name(&record.id))
    }

    pub fn put(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Every visible name and every hidden one, without the store's own directories.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.filter(|name| !matches!(name.as_str(), ".wal" | ".lock" | ".hw")).collect();
        names.sort();
        names
    }
}

pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}
