//! What a login has to remember until the browser comes back: one file each below `state/pending/`, so that a restart or an
//! upgrade in between does not cost a login; in memory where nothing may be written.
//!
//! A file is named by the SHA-256 of its state. It appears whole, by a rename, and is taken by removing it: the system tells exactly
//! one of many tasks and processes that it has. It holds the PKCE verifier and, for AWS, the client's secret, which are
//! good for nothing without the code, for ten minutes.
//!
//! Invariant: what is no file of ours alone, 0600, is not read (`a_file_that_others_could_have_written_is_none`).

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::super::LOG;
use super::super::provider::Registration;
use super::LIFETIME;
use crate::clock::UnixMillis;
use crate::secret::Secret;

/// Of one file.
const LARGEST: u64 = 64 * 1024;

/// A clock that was set back by less than that has not been.
const SKEW: UnixMillis = 30_000;

/// One login.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The provider's name.
    pub provider: String,
    /// Where the browser comes back to.
    pub redirect_uri: String,
    /// Of PKCE.
    pub verifier: Secret,
    /// Who began it.
    pub session: String,
    /// When.
    pub created: UnixMillis,
    /// Of AWS.
    pub registration: Option<Registration>,
}

/// An entry as it is read. What is secret goes on into a [`Secret`], which takes the text over.
#[derive(Deserialize)]
struct Kept {
    v: u8,
    provider: String,
    redirect_uri: String,
    verifier: String,
    session: String,
    created: UnixMillis,
    registration: Option<KeptClient>,
}

#[derive(Deserialize)]
struct KeptClient {
    client_id: String,
    client_secret: String,
    expires_at: Option<UnixMillis>,
}

/// An entry as it is written.
#[derive(Serialize)]
struct Written<'e> {
    v: u8,
    provider: &'e str,
    redirect_uri: &'e str,
    verifier: &'e str,
    session: &'e str,
    created: UnixMillis,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration: Option<WrittenClient<'e>>,
}

#[derive(Serialize)]
struct WrittenClient<'e> {
    client_id: &'e str,
    client_secret: &'e str,
    expires_at: Option<UnixMillis>,
}

/// Every login that waits for its callback.
#[derive(Debug)]
pub enum Pending {
    /// Here.
    Directory(PathBuf),
    /// A quick start writes nothing.
    Memory(Mutex<HashMap<String, Entry>>),
}

/// Whether a login that began then may still end, by the wall clock.
pub fn is_alive(created: UnixMillis, now: UnixMillis) -> bool {
    let life = u64::try_from(LIFETIME.as_millis()).unwrap_or(u64::MAX);
    created <= now.saturating_add(SKEW) && now < created.saturating_add(life)
}

impl Pending {
    /// `state_dir`: the directory in which ours is made; `None`: memory.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(state_dir: Option<&Path>, now: UnixMillis) -> io::Result<Self> {
        let Some(state_dir) = state_dir else { return Ok(Self::Memory(Mutex::default())) };
        let directory = state_dir.join("pending");
        crate::private::directory(&directory).map_err(io::Error::other)?;
        let pending = Self::Directory(directory);
        pending.sweep(now);
        Ok(pending)
    }

    /// What processes before this one have begun: names and sessions.
    pub fn left_over(&self, now: UnixMillis) -> Vec<(String, String)> {
        let names = self.names().into_iter();
        let entries = names.filter_map(|name| self.find(&name).map(|entry| (name, entry)));
        entries.filter(|(_, entry)| is_alive(entry.created, now)).map(|(name, entry)| (name, entry.session)).collect()
    }

    /// Writes one down. Blocks, as everything here.
    ///
    /// # Errors
    /// It is not there.
    pub fn keep(&self, key: &str, entry: &Entry) -> io::Result<()> {
        match self {
            Self::Memory(entries) => {
                let mut entries = entries.lock();
                entries.retain(|_, kept| is_alive(kept.created, entry.created));
                entries.insert(key.to_owned(), entry.clone());
                Ok(())
            }
            Self::Directory(directory) => {
                self.sweep(entry.created);
                let aside = directory.join(format!(".{key}.{}", crate::id::RequestId::fresh()));
                let written = write(&aside, entry).and_then(|()| fs::rename(&aside, directory.join(key)));
                if written.is_err() {
                    // What could not be written may not be removable either; the next sweep tries again.
                    let _ = fs::remove_file(&aside);
                }
                written
            }
        }
    }

    /// Reads one; it stays.
    pub fn find(&self, key: &str) -> Option<Entry> {
        match self {
            Self::Memory(entries) => entries.lock().get(key).cloned(),
            Self::Directory(directory) => match read(&directory.join(key)) {
                Ok(entry) => Some(entry),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => {
                    log::warn!(target: LOG, "{}: {error}", directory.join(key).display());
                    None
                }
            },
        }
    }

    /// Takes one away; whether it was there, which exactly one caller is told.
    pub fn take(&self, key: &str) -> bool {
        match self {
            Self::Memory(entries) => entries.lock().remove(key).is_some(),
            Self::Directory(directory) => match fs::remove_file(directory.join(key)) {
                Ok(()) => true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                // Fails closed: what cannot be taken away could be taken twice.
                Err(error) => {
                    log::error!(target: LOG, "{}: {error}", directory.join(key).display());
                    false
                }
            },
        }
    }

    /// Removes what nobody will come back for.
    fn sweep(&self, now: UnixMillis) {
        let Self::Directory(directory) = self else { return };
        let old = |path: &Path| {
            let meta = fs::symlink_metadata(path).ok()?;
            let seconds = u64::try_from(meta.mtime()).ok()?;
            Some(!is_alive(seconds.saturating_mul(1000), now))
        };
        let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in entries.filter(|path| old(path).unwrap_or(false)) {
            // Another process may have been faster.
            let _ = fs::remove_file(path);
        }
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Memory(entries) => entries.lock().keys().cloned().collect(),
            Self::Directory(directory) => {
                let entries = fs::read_dir(directory).into_iter().flatten().flatten();
                let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
                names.filter(|name| !name.starts_with('.')).collect()
            }
        }
    }
}

fn write(path: &Path, entry: &Entry) -> io::Result<()> {
    let written = Written {
        v: 1,
        provider: &entry.provider,
        redirect_uri: &entry.redirect_uri,
        verifier: entry.verifier.expose(),
        session: &entry.session,
        created: entry.created,
        registration: entry.registration.as_ref().map(|registration| WrittenClient {
            client_id: &registration.client_id,
            client_secret: registration.client_secret.expose(),
            expires_at: registration.expires_at,
        }),
    };
    let text = Zeroizing::new(serde_json::to_vec(&written)?);
    // Not synced: a crash of the machine costs a login that can be begun again.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(&text)
}

fn read(path: &Path) -> io::Result<Entry> {
    // NOFOLLOW: it may be a link. NONBLOCK: opening a pipe would wait for its writer.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let meta = file.metadata()?;
    let ours = meta.is_file()
        && meta.nlink() == 1
        && meta.uid() == rustix::process::geteuid().as_raw()
        && meta.mode() & 0o077 == 0;
    if !ours {
        return Err(io::Error::other("not a file of ours alone, mode 0600: it is not read"));
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(LARGEST).read_to_end(&mut text)?;
    // The parser's message could quote what is in it.
    let read: Kept = serde_json::from_slice(&text).map_err(|_| io::Error::other("not a login of this version"))?;
    if read.v != 1 {
        return Err(io::Error::other("a login of another version"));
    }
    Ok(Entry::of(read))
}

impl Entry {
    fn of(read: Kept) -> Self {
        let Kept { provider, redirect_uri, verifier, session, created, registration, .. } = read;
        let registration = registration.map(|client| Registration {
            client_id: client.client_id,
            client_secret: Secret::new(client.client_secret),
            expires_at: client.expires_at,
        });
        Self { provider, redirect_uri, verifier: Secret::new(verifier), session, created, registration }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn entry(created: UnixMillis) -> Entry {
        Entry {
            provider: "builder-id".to_owned(),
            redirect_uri: "http://127.0.0.1:9090/oauth/callback".to_owned(),
            verifier: Secret::new("v3rifier"),
            session: "session:00".to_owned(),
            created,
            registration: Some(Registration {
                client_id: "client".to_owned(),
                client_secret: Secret::new("s3cret"),
                expires_at: Some(7),
            }),
        }
    }

    fn now() -> UnixMillis {
        crate::clock::unix_millis()
    }

    fn open(state: &tempfile::TempDir) -> (Pending, PathBuf) {
        (Pending::open(Some(state.path()), now()).unwrap(), state.path().join("pending"))
    }

    const KEY: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

    #[test]
    fn what_is_kept_is_found_and_taken_once() {
        let state = tempfile::tempdir().unwrap();
        let (on_disk, directory) = open(&state);
        for pending in [&on_disk, &Pending::open(None, now()).unwrap()] {
            let entry = entry(now());
            assert_eq!((pending.find(KEY), pending.take(KEY)), (None, false));
            pending.keep(KEY, &entry).unwrap();
            assert_eq!((pending.find(KEY), pending.find(KEY)), (Some(entry.clone()), Some(entry)));
            assert_eq!(pending.left_over(now()), [(KEY.to_owned(), "session:00".to_owned())]);
            assert_eq!((pending.take(KEY), pending.take(KEY), pending.find(KEY)), (true, false, None));
        }
        on_disk.keep(KEY, &entry(now())).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&directory), mode(&directory.join(KEY))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "something was left beside it");
    }

    #[test]
    fn threads_take_one_once() {
        let state = tempfile::tempdir().unwrap();
        let (pending, _) = open(&state);
        for _ in 0..50 {
            pending.keep(KEY, &entry(now())).unwrap();
            let taken: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| usize::from(pending.take(KEY)))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(taken, 1);
        }
    }

    #[test]
    fn what_nobody_came_back_for_is_swept() {
        let state = tempfile::tempdir().unwrap();
        let (pending, directory) = open(&state);
        let aside = directory.join(".half");
        fs::write(&aside, "x").unwrap();
        pending.keep(KEY, &entry(now())).unwrap();
        let eleven_minutes_ago = std::time::SystemTime::now() - LIFETIME - std::time::Duration::from_secs(60);
        for path in [&aside, &directory.join(KEY)] {
            fs::File::open(path).unwrap().set_modified(eleven_minutes_ago).unwrap();
        }
        pending.keep("another", &entry(now())).unwrap();
        assert_eq!(pending.names(), ["another"]);
        assert!(!aside.exists());
    }

    #[test]
    fn ten_minutes_by_the_wall_clock() {
        let minute = 60_000;
        assert!(is_alive(100 * minute, 100 * minute) && is_alive(100 * minute, 110 * minute - 1));
        assert!(!is_alive(100 * minute, 110 * minute));
        assert!(is_alive(100 * minute, 100 * minute - SKEW) && !is_alive(100 * minute, 99 * minute), "set back");
    }

    #[test]
    fn a_file_that_others_could_have_written_is_none() {
        let state = tempfile::tempdir().unwrap();
        let (pending, directory) = open(&state);
        let path = directory.join(KEY);
        pending.keep(KEY, &entry(now())).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(pending.find(KEY), None, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::hard_link(&path, directory.join("second")).unwrap();
        assert_eq!(pending.find(KEY), None, "a hard link");
        fs::remove_file(directory.join("second")).unwrap();
        assert!(pending.find(KEY).is_some());
        symlink(&path, directory.join("link")).unwrap();
        assert_eq!(pending.find("link"), None);
        for text in ["", "{}", "[]", "{\"v\":1", &"x".repeat(100_000)] {
            fs::write(&path, text).unwrap();
            assert_eq!(pending.find(KEY), None, "{text:.20}");
        }
    }
}
