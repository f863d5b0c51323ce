//! What outlives the process: accounts and certificates, each in one file that is replaced as one.
//!
//! `accounts/DIGEST.json`, one for each directory, and `certificates/HOST.pem`: the private key and the chain together,
//! so that no crash leaves a key beside somebody else's certificate. Directories are 0700, files 0600.
//!
//! Invariants: a file is on the disk, under its name, before anybody relies on it (`write` returns after the directory
//! is synchronised); a write that fails leaves what was there (`a_write_that_fails_leaves_what_was_there`).

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::LOG;
use crate::private::{self, DirectoryError};
use crate::tls::load::{LoadError, Loaded, certified_key};

/// Before the CA's directory in a certificate's file. PEM readers pass over what is no PEM.
const DIRECTORY: &str = "directory: ";

/// Why something could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The directories.
    #[error("acme.storage: {0}")]
    Directory(#[from] DirectoryError),
    /// A file.
    #[error("acme.storage: {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that holds something else.
    #[error("acme.storage: {path}: {why}")]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// A place for accounts and certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage(PathBuf);

/// A certificate as it is kept.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Ready to be presented.
    pub loaded: Loaded,
    /// Which CA it is from.
    pub directory: String,
}

/// An account as it is kept.
#[derive(Serialize, Deserialize)]
pub struct Account {
    /// At which CA.
    pub directory: String,
    /// What the CA has been told.
    pub contact: Vec<String>,
    /// Its address at the CA and its key.
    pub credentials: AccountCredentials,
}

impl Storage {
    /// At that place, which is made when something is written.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes the directories, or finds them to be ours and closed to others; and tries whether they can be written to.
    ///
    /// # Errors
    /// They cannot.
    pub fn prepare(&self) -> Result<(), StorageError> {
        for directory in [self.0.clone(), self.accounts(), self.certificates()] {
            private::directory(&directory)?;
            let probe = aside(&directory, "probe");
            create(&probe).map_err(|source| StorageError::File { path: probe.clone(), source })?;
            let _ = fs::remove_file(&probe);
        }
        Ok(())
    }

    /// What is kept for a host.
    ///
    /// # Errors
    /// Something is kept, and cannot be used.
    pub fn certificate(&self, host: &str) -> Result<Option<Stored>, StorageError> {
        let path = self.certificate_path(host);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let loaded = certified_key(&bytes, &bytes)
            .map_err(|why: LoadError| StorageError::Content { path, why: why.to_string() })?;
        Ok(Some(Stored { loaded, directory: directory_of(&bytes) }))
    }

    /// Keeps a host's certificate with its key, both PEM. On the disk when this returns.
    ///
    /// # Errors
    /// It is not kept; what was there still is.
    pub fn keep_certificate(&self, host: &str, directory: &str, key: &str, chain: &str) -> Result<(), StorageError> {
        let text = format!("{DIRECTORY}{directory}\n{}\n{}\n", key.trim_end(), chain.trim_end());
        write(&self.certificates(), &format!("{host}.pem"), text.as_bytes())
    }

    /// The account at a CA. One that cannot be read counts as none, with a warning: another can be had.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn account(&self, directory: &str) -> Result<Option<Account>, StorageError> {
        let path = self.accounts().join(account_name(directory));
        let Some(bytes) = read(&path)? else { return Ok(None) };
        match serde_json::from_slice::<Account>(&bytes) {
            Ok(account) if account.directory == directory => Ok(Some(account)),
            Ok(_) => Ok(None),
            Err(error) => {
                // The error's text could quote a key.
                let category = error.classify();
                log::warn!(target: LOG, "{} is no account ({category:?}); a new one is made", path.display());
                Ok(None)
            }
        }
    }

    /// Keeps an account.
    ///
    /// # Errors
    /// It is not kept; what was there still is.
    pub fn keep_account(&self, account: &Account) -> Result<(), StorageError> {
        let name = account_name(&account.directory);
        let content = |why: serde_json::Error| StorageError::Content {
            path: self.accounts().join(&name),
            why: format!("{:?}", why.classify()),
        };
        let text = serde_json::to_vec_pretty(account).map_err(content)?;
        write(&self.accounts(), &name, &text)
    }

    fn accounts(&self) -> PathBuf {
        self.0.join("accounts")
    }

    fn certificates(&self) -> PathBuf {
        self.0.join("certificates")
    }

    /// Hosts are names, checked where the configuration is read: no slash, no leading dot.
    fn certificate_path(&self, host: &str) -> PathBuf {
        self.certificates().join(format!("{host}.pem"))
    }
}

/// Directories are URLs of any length and kind; a digest is a name.
fn account_name(directory: &str) -> String {
    let digest = hex::encode(Sha256::digest(directory));
    format!("{}.json", digest.get(..32).unwrap_or(&digest))
}

fn directory_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().find_map(|line| line.strip_prefix(DIRECTORY)).unwrap_or_default().trim().to_owned()
}

/// Nothing where there is no file. One that others may read is closed, with a warning.
fn read(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    let file = |source| StorageError::File { path: path.to_owned(), source };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file(error)),
    };
    let mode = fs::metadata(path).map_err(file)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        log::warn!(target: LOG, "{}: mode {mode:04o} let others read a private key; it is 0600 now", path.display());
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(file)?;
    }
    Ok(Some(bytes))
}

/// Writes beside the name, and takes the name when all of it is on the disk.
fn write(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let (path, aside) = (directory.join(name), aside(directory, name));
    let written = put(directory, &path, &aside, bytes);
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written.map_err(|source| StorageError::File { path, source })
}

fn put(directory: &Path, path: &Path, aside: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create(aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(aside, path)?;
    File::open(directory)?.sync_all()
}

/// A new file, 0600 from its first moment; a left-over of that name is removed.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Two processes may be at work while one takes over from the other.
fn aside(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!(".{name}.{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(host: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
        (made.signing_key.serialize_pem(), made.cert.pem())
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_certificate_comes_back_as_it_was_kept_and_nobody_else_can_read_it() {
        let place = tempfile::tempdir().unwrap();
        let storage = Storage::at(&place.path().join("acme"));
        assert!(storage.certificate("a.test").unwrap().is_none());
        storage.prepare().unwrap();
        let (key, chain) = made("a.test");
        storage.keep_certificate("a.test", "https://ca.test/dir", &key, &chain).unwrap();
        let stored = storage.certificate("a.test").unwrap().unwrap();
        assert_eq!(
            (stored.directory.as_str(), stored.loaded.names),
            ("https://ca.test/dir", vec!["a.test".to_owned()])
        );
        let directories = [storage.0.clone(), storage.accounts(), storage.certificates()];
        assert_eq!(directories.map(|directory| mode(&directory)), [0o700; 3]);
        assert_eq!(mode(&storage.certificate_path("a.test")), 0o600);
        assert_eq!(names(&storage.certificates()), ["a.test.pem"], "nothing is left beside it");
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let place = tempfile::tempdir().unwrap();
        let storage = Storage::at(place.path());
        storage.prepare().unwrap();
        // The name is taken by something that no file can replace.
        fs::create_dir_all(storage.certificate_path("a.test").join("x")).unwrap();
        let (key, chain) = made("a.test");
        let error = storage.keep_certificate("a.test", "d", &key, &chain).unwrap_err();
        assert!(error.to_string().contains("a.test.pem"), "{error}");
        assert_eq!(names(&storage.certificates()), ["a.test.pem"], "no half of a file is left");
    }

    #[test]
    fn a_file_that_was_opened_to_others_is_closed() {
        let place = tempfile::tempdir().unwrap();
        let storage = Storage::at(place.path());
        storage.prepare().unwrap();
        let (key, chain) = made("a.test");
        storage.keep_certificate("a.test", "d", &key, &chain).unwrap();
        let path = storage.certificate_path("a.test");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        storage.certificate("a.test").unwrap().unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_key_that_belongs_to_another_certificate_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let storage = Storage::at(place.path());
        storage.prepare().unwrap();
        let ((key, _), (_, chain)) = (made("a.test"), made("a.test"));
        storage.keep_certificate("a.test", "d", &key, &chain).unwrap();
        let error = storage.certificate("a.test").unwrap_err();
        assert!(error.to_string().ends_with("the private key does not belong to the certificate"), "{error}");
    }

    #[test]
    fn an_account_that_cannot_be_read_counts_as_none() {
        let place = tempfile::tempdir().unwrap();
        let storage = Storage::at(place.path());
        storage.prepare().unwrap();
        assert!(storage.account("https://ca.test/dir").unwrap().is_none());
        fs::write(storage.accounts().join(account_name("https://ca.test/dir")), "{ half").unwrap();
        assert!(storage.account("https://ca.test/dir").unwrap().is_none());
    }

    #[test]
    fn a_storage_that_cannot_be_written_to_says_where() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("acme");
        fs::write(&path, "a file").unwrap();
        let error = Storage::at(&path).prepare().unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
