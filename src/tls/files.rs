//! Certificate files as they stand on the disk at this moment.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::load::{LoadError, Loaded, certified_key};

/// More than any chain or list of CAs; a larger file is a mistake.
const MAX_FILE: u64 = 4 << 20;

/// A certificate chain and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What a pair held when it was read.
#[derive(Clone, Debug)]
pub struct Held {
    /// The certificate.
    pub loaded: Arc<Loaded>,
    /// Of the bytes of both files.
    pub digest: Digest,
    /// The key file lets every user of the machine read it.
    pub key_open_to_others: bool,
}

/// Of what files held: the same digest, the same content.
pub type Digest = [u8; 32];

/// Why a pair could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The certificate file can't be read.
    #[error("the certificate file can't be read: {0}")]
    Chain(io::Error),
    /// The key file can't be read.
    #[error("the key file can't be read: {0}")]
    Key(io::Error),
    /// They hold nothing that could be presented.
    #[error(transparent)]
    Content(#[from] LoadError),
}

impl ReadError {
    /// Whether it is about the key file rather than the certificate's.
    pub fn is_about_the_key(&self) -> bool {
        matches!(self, Self::Key(_) | Self::Content(LoadError::Key(_) | LoadError::Mismatch))
    }
}

/// What both files hold.
struct Bytes {
    chain: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
    digest: Digest,
}

impl Pair {
    /// The bytes of both, and their digest.
    fn bytes(&self) -> Result<Bytes, ReadError> {
        let chain = read(&self.cert).map_err(ReadError::Chain)?;
        let key = zeroize::Zeroizing::new(read(&self.key).map_err(ReadError::Key)?);
        let mut digest = Sha256::new();
        digest.update(u64::try_from(chain.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(&chain);
        digest.update(&*key);
        Ok(Bytes { chain, key, digest: digest.finalize().into() })
    }

    /// Reads both.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn read(&self) -> Result<Held, ReadError> {
        let Bytes { chain, key, digest } = self.bytes()?;
        let loaded = Arc::new(certified_key(&chain, &key)?);
        Ok(Held { loaded, digest, key_open_to_others: is_open_to_others(&self.key) })
    }

    /// The digest of what they hold now; `None` when one can't be read.
    pub fn digest(&self) -> Option<Digest> {
        self.bytes().ok().map(|bytes| bytes.digest)
    }

    /// How it is called in metrics and logs: the certificate's first name, else the name of its file.
    pub fn name(&self, loaded: &Loaded) -> String {
        let stem = || self.cert.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        loaded.names.first().cloned().unwrap_or_else(stem)
    }
}

/// A file of reasonable size. What is no regular file (a pipe, a device) could block the reader for ever.
///
/// # Errors
/// It can't be read, or is nothing of the kind.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= MAX_FILE => Ok(bytes),
        _ => Err(io::Error::other("it is larger than 4 MiB")),
    }
}

fn is_open_to_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::load::testing::{Kind, issue_pem};
    use super::*;

    #[test]
    fn a_pair_is_read_and_told_apart_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let pair = Pair { cert: dir.path().join("edge.crt"), key: dir.path().join("edge.key") };
        assert!(matches!(pair.read(), Err(ReadError::Chain(_))) && pair.digest().is_none());
        let pem = issue_pem(&["a.test"], Kind::Ecdsa);
        fs::write(&pair.cert, &pem.chain).unwrap();
        assert!(matches!(pair.read(), Err(error @ ReadError::Key(_)) if error.is_about_the_key()));
        fs::write(&pair.key, &pem.key).unwrap();
        fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o644)).unwrap();
        let held = pair.read().unwrap();
        assert_eq!((Some(held.digest), held.key_open_to_others), (pair.digest(), true));
        assert_eq!(pair.name(&held.loaded), "a.test");
        fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(!pair.read().unwrap().key_open_to_others);
        fs::write(&pair.cert, issue_pem(&["a.test"], Kind::Ecdsa).chain).unwrap();
        assert_ne!(Some(held.digest), pair.digest());
        assert!(matches!(pair.read(), Err(ReadError::Content(LoadError::Mismatch))));
    }

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).is_err() && read(Path::new("/dev/zero")).is_err());
    }

    #[test]
    fn a_certificate_without_names_is_called_as_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let pair = Pair { cert: dir.path().join("edge.crt"), key: dir.path().join("edge.key") };
        let pem = issue_pem(&[], Kind::Ecdsa);
        fs::write(&pair.cert, &pem.chain).unwrap();
        fs::write(&pair.key, &pem.key).unwrap();
        assert_eq!(pair.name(&pair.read().unwrap().loaded), "edge");
    }
}
