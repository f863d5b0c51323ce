//! A secret is a type: it cannot be displayed or serialized, its `Debug` is redacted, its memory is zeroed,
//! and it compares in constant time.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A value that must never be seen: a sign token, a client token, a payload value.
///
/// Cloning shares the one allocation; it is zeroed when the last clone goes.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes ownership of the clear text.
    pub fn new(clear: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(clear.into())))
    }

    /// The clear text, for the few places that hash, compare or inject it.
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Secret {
    /// Constant time for equal lengths; the length itself is not secret.
    fn eq(&self, other: &Self) -> bool {
        self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How many bytes nobody can guess.
pub const RANDOM_BYTES: usize = 32;

/// 256 random bits, for what nobody may guess.
///
/// # Errors
/// The system has no randomness.
pub fn random() -> Result<Zeroizing<[u8; RANDOM_BYTES]>, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; RANDOM_BYTES]);
    getrandom::fill(bytes.as_mut())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_output_shows_nothing_of_the_secret() {
        let secret = Secret::new("correct horse battery staple");
        assert_eq!(format!("{secret:?}"), "***");
    }

    #[test]
    fn equality_is_by_content() {
        assert_eq!(Secret::new("a"), Secret::new("a"));
        assert_ne!(Secret::new("a"), Secret::new("b"));
        assert_ne!(Secret::new("a"), Secret::new("ab"));
    }
}
