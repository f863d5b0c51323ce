//! `admin.token`: 256 random bits in a file that only this process's user can read, there from the first start
//! ([`crate::private::line`]).

use std::path::Path;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::private::line;
use crate::secret::Secret;

pub use crate::private::line::LineError as TokenError;

/// The file's name in the state directory.
const NAME: &str = "admin.token";

/// The admin listener's bearer token.
#[derive(Clone, Debug)]
pub struct AdminToken {
    clear: Secret,
    digest: [u8; 32],
}

impl AdminToken {
    /// Reads the token of a state directory; makes directory and token when there are none.
    ///
    /// # Errors
    /// See [`TokenError`]; every message says what to do.
    pub fn open(state_dir: &Path) -> Result<Self, TokenError> {
        line::open(state_dir, NAME).map(Self::new)
    }

    /// Reads the token of a state directory that another process made (for the commands that talk to it).
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn find(state_dir: &Path) -> Result<Self, TokenError> {
        line::find(state_dir, NAME).map(Self::new)
    }

    /// One that is written nowhere: for a run without files.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn fresh() -> Result<Self, TokenError> {
        line::fresh().map(Self::new)
    }

    fn new(clear: Secret) -> Self {
        Self { digest: Sha256::digest(clear.expose()).into(), clear }
    }

    /// Whether that is the token, in a time that says nothing about it.
    pub fn is(&self, presented: &[u8]) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented).into();
        presented.ct_eq(&self.digest).into()
    }

    /// The value of an `authorization` header, for a client of this listener.
    pub fn expose(&self) -> &str {
        self.clear.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_itself_and_nothing_else() {
        let state = tempfile::tempdir().unwrap();
        let token = AdminToken::open(&state.path().join("state")).unwrap();
        let again = AdminToken::find(&state.path().join("state")).unwrap();
        assert!(token.is(again.expose().as_bytes()));
        assert!(!token.is(b"") && !token.is(b"wrong") && !token.is(AdminToken::fresh().unwrap().expose().as_bytes()));
    }
}
