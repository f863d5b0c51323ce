//! The highest generation that each token has had, in `.hw/ID`: a file that comes back from a backup is older than that, and its
//! refresh token is likely to be spent.
//!
//! One small file for each token, so that the lock of one token is enough; written in place and not synced, as a mark that a
//! crash takes back notices less, and endangers nothing. A mark that cannot be read is none.

use std::io;
use std::os::unix::fs::FileExt as _;

use super::directory::Folder;
use crate::credential::record::TokenId;

/// Twenty digits, a space, eight digits of CRC-32C, a line end.
const LENGTH: usize = 30;

/// A token's mark; 0: none.
pub fn read(folder: &Folder, id: &TokenId) -> u64 {
    let mut line = [0; LENGTH];
    let whole = folder.read(id.as_str()).and_then(|file| file.read_exact_at(&mut line, 0));
    let text = std::str::from_utf8(&line).ok().filter(|_| whole.is_ok());
    text.and_then(parse).unwrap_or(0)
}

/// Raises a token's mark; it never goes down.
pub fn raise(folder: &Folder, id: &TokenId, generation: u64) -> io::Result<()> {
    if read(folder, id) >= generation {
        return Ok(());
    }
    let file = folder.write(id.as_str())?;
    folder.disk.write_at(&file, line(generation).as_bytes(), 0)
}

fn line(generation: u64) -> String {
    let digits = format!("{generation:020}");
    format!("{digits} {:08x}\n", crc32c::crc32c(digits.as_bytes()))
}

fn parse(text: &str) -> Option<u64> {
    let generation = text.get(..20)?.parse().ok()?;
    (line(generation) == text).then_some(generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_and_a_damaged_one_is_none() {
        for generation in [0, 1, u64::MAX] {
            assert_eq!(line(generation).len(), LENGTH);
            assert_eq!(parse(&line(generation)), Some(generation));
        }
        assert_eq!(parse(&line(7).replace('7', "8")), None);
        assert_eq!(parse(""), None);
    }
}
