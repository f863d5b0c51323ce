//! Reading files that others write at the same time.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use crate::follow::Fingerprint;

/// After so many changes under its hands a reader takes what it has; the watcher will call again.
const ATTEMPTS: usize = 5;

/// Reads until no file changed meanwhile, so that what was read once stood there together.
///
/// # Errors
/// What a panic carried.
pub fn consistently<T>(files: impl Fn() -> Vec<PathBuf>, read: impl Fn() -> T) -> Result<T, Box<dyn Any + Send>> {
    let files = files();
    let mut before = Fingerprint::of(&files);
    let mut attempt = 1;
    loop {
        // Reading changes nothing outside of its own value, so that nothing half-changed can be left behind.
        let value = catch_unwind(AssertUnwindSafe(&read))?;
        let after = Fingerprint::of(&files);
        if after == before || attempt >= ATTEMPTS {
            return Ok(value);
        }
        before = after;
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_file_that_changes_meanwhile_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        std::fs::write(&path, "1").unwrap();
        let reads = Cell::new(0);
        let text = consistently(
            || vec![path.clone()],
            || {
                let text = std::fs::read_to_string(&path).unwrap();
                reads.set(reads.get() + 1);
                if reads.get() < 3 {
                    std::fs::write(&path, "x".repeat(reads.get() + 1)).unwrap();
                }
                text
            },
        );
        assert_eq!((text.unwrap().as_str(), reads.get()), ("xxx", 3));
    }

    #[test]
    fn a_file_that_never_rests_does_not_hold_the_reader() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        let reads = Cell::new(0);
        let outcome = consistently(
            || vec![path.clone()],
            || {
                reads.set(reads.get() + 1);
                std::fs::write(&path, "x".repeat(reads.get())).unwrap();
            },
        );
        assert!(outcome.is_ok());
        assert_eq!(reads.get(), ATTEMPTS);
    }

    #[test]
    fn a_panic_is_a_value() {
        assert!(consistently(Vec::new, || panic!("on purpose")).is_err());
    }
}
