//! The bytes of an answer, read from a file piece by piece.
//!
//! What was announced is what is sent: a file that has grown is cut at its old length, one that has shrunk is an error, so
//! that the answer never ends as if it were whole.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};

use crate::proxy::encoder::Encoder;

/// The most that is read at once.
pub const PIECE: u64 = 128 * 1024;

/// What is still to be sent.
#[derive(Debug)]
pub struct Source {
    file: File,
    left: VecDeque<Part>,
    encoder: Option<Encoder>,
}

#[derive(Debug)]
enum Part {
    Text(Bytes),
    Span(Range<u64>),
}

impl Source {
    /// The first `length` bytes.
    pub fn whole(file: File, length: u64, encoder: Option<Encoder>) -> Self {
        let left = if length > 0 { VecDeque::from([Part::Span(0..length)]) } else { VecDeque::new() };
        Self { file, left, encoder }
    }

    /// One part.
    pub fn part(file: File, part: Range<u64>) -> Self {
        Self { file, left: VecDeque::from([Part::Span(part)]), encoder: None }
    }

    /// Several parts, each with what stands in front of it, and the end.
    pub fn parts(file: File, parts: Vec<(Bytes, Range<u64>)>, end: Bytes) -> Self {
        let left = parts.into_iter().flat_map(|(text, part)| [Part::Text(text), Part::Span(part)]);
        Self { file, left: left.chain([Part::Text(end)]).collect(), encoder: None }
    }

    /// Whether everything has been read.
    pub fn is_done(&self) -> bool {
        self.left.is_empty() && self.encoder.is_none()
    }

    /// The next bytes; empty at the end only. Blocks on the disk.
    ///
    /// # Errors
    /// The disk's; `UnexpectedEof` when the file has become shorter.
    pub fn next(&mut self) -> io::Result<Bytes> {
        loop {
            let piece = match self.left.pop_front() {
                Some(Part::Text(text)) => text,
                Some(Part::Span(span)) => self.read(span)?,
                None => return self.encoder.take().map_or_else(|| Ok(Bytes::new()), Encoder::finish),
            };
            let out = match &mut self.encoder {
                Some(encoder) => encoder.absorb(&piece)?,
                None => piece,
            };
            if !out.is_empty() {
                return Ok(out);
            }
        }
    }

    /// The beginning of a span; what is left of it is put back.
    fn read(&mut self, span: Range<u64>) -> io::Result<Bytes> {
        let wanted = usize::try_from((span.end - span.start).min(PIECE)).unwrap_or(0);
        let mut piece = Vec::with_capacity(wanted);
        let count = loop {
            match pread(&self.file, spare_capacity(&mut piece), span.start) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        // A vector may have more room than was asked for.
        piece.truncate(wanted);
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = span.start + u64::try_from(piece.len()).unwrap_or(0);
        if end < span.end {
            self.left.push_front(Part::Span(end..span.end));
        }
        Ok(Bytes::from(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::coding::Coding;
    use std::io::{Read, Write};

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn all(mut source: Source) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while !source.is_done() {
            let piece = source.next()?;
            assert!(piece.len() as u64 <= PIECE, "{} bytes at once", piece.len());
            bytes.extend_from_slice(&piece);
        }
        assert!(source.next()?.is_empty());
        Ok(bytes)
    }

    #[test]
    fn the_whole_in_bounded_pieces() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7] {
            let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            assert!(all(Source::whole(file(&content), length, None)).unwrap() == content, "{length}");
        }
    }

    #[test]
    fn parts_with_their_texts() {
        let file = file(b"0123456789");
        assert_eq!(all(Source::part(file.try_clone().unwrap(), 3..5)).unwrap(), b"34");
        let parts = vec![(Bytes::from("a:"), 0..2), (Bytes::from(" b:"), 7..10)];
        assert_eq!(all(Source::parts(file, parts, Bytes::from(" end"))).unwrap(), b"a:01 b:789 end");
    }

    #[test]
    fn a_file_that_shrinks_is_an_error_and_one_that_grows_is_not_noticed() {
        let shrunk = file(b"0123456789");
        let mut source = Source::whole(shrunk.try_clone().unwrap(), 2 * PIECE, None);
        assert_eq!(source.next().unwrap(), "0123456789");
        assert_eq!(source.next().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let encoder = Encoder::new(Coding::Gzip).unwrap();
        assert!(all(Source::whole(shrunk.try_clone().unwrap(), 11, Some(encoder))).is_err());
        assert_eq!(all(Source::whole(shrunk, 4, None)).unwrap(), b"0123");
    }

    #[test]
    fn compressed_on_the_way() {
        let content = "text that repeats itself, ".repeat(20_000);
        let encoder = Encoder::new(Coding::Gzip).unwrap();
        let length = content.len() as u64;
        let bytes = all(Source::whole(file(content.as_bytes()), length, Some(encoder))).unwrap();
        let mut plain = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut plain).unwrap();
        assert!(plain == content);
    }
}
