//! The bytes of an answer, read from a file piece by piece.
//!
//! What was announced is what is sent: a file that has grown is cut at its old length, one that has shrunk is an error, so
//! that the answer never ends as if it were whole.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::proxy::encoder::Encoder;

/// The most that is read at once.
pub const PIECE: u64 = 64 * 1024;

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

/// Whether reading may take its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It may wait for the disk, and compress.
    Blocking,
    /// Only what is in memory.
    AtHand,
}

/// What reading comes to.
#[derive(Debug)]
pub enum Next {
    /// The next bytes; empty at the end only.
    Piece(Bytes),
    /// It would take its time; the room is given back.
    NotAtHand(BytesMut),
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

    /// The next bytes, in `room` where that is of use.
    ///
    /// # Errors
    /// The disk's; `UnexpectedEof` when the file has become shorter.
    pub fn next(&mut self, room: BytesMut, patience: Patience) -> io::Result<Next> {
        match (self.encoder.take(), patience) {
            (None, _) => self.piece(room, patience),
            (Some(encoder), Patience::AtHand) => {
                self.encoder = Some(encoder);
                Ok(Next::NotAtHand(room))
            }
            (Some(encoder), Patience::Blocking) => self.compressed(encoder),
        }
    }

    fn compressed(&mut self, mut encoder: Encoder) -> io::Result<Next> {
        loop {
            match self.piece(BytesMut::new(), Patience::Blocking)? {
                Next::Piece(piece) if !piece.is_empty() => {
                    let out = encoder.absorb(&piece)?;
                    if !out.is_empty() {
                        self.encoder = Some(encoder);
                        return Ok(Next::Piece(out));
                    }
                }
                _ => return encoder.finish().map(Next::Piece),
            }
        }
    }

    fn piece(&mut self, room: BytesMut, patience: Patience) -> io::Result<Next> {
        match self.left.pop_front() {
            Some(Part::Text(text)) => Ok(Next::Piece(text)),
            Some(Part::Span(span)) => self.span(span, room, patience),
            None => Ok(Next::Piece(Bytes::new())),
        }
    }

    /// The beginning of a span; what is left of it is put back.
    fn span(&mut self, span: Range<u64>, mut room: BytesMut, patience: Patience) -> io::Result<Next> {
        room.resize(usize::try_from((span.end - span.start).min(PIECE)).unwrap_or(0), 0);
        let Some(count) = read(&self.file, &mut room, span.start, patience)? else {
            self.left.push_front(Part::Span(span));
            return Ok(Next::NotAtHand(room));
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        room.truncate(count);
        let end = span.start + u64::try_from(count).unwrap_or(0);
        if end < span.end {
            self.left.push_front(Part::Span(end..span.end));
        }
        Ok(Next::Piece(room.freeze()))
    }
}

/// How many bytes were read; `None`: they are not at hand.
fn read(file: &File, room: &mut [u8], at: u64, patience: Patience) -> io::Result<Option<usize>> {
    let flags = match patience {
        Patience::Blocking => ReadWriteFlags::empty(),
        Patience::AtHand => ReadWriteFlags::NOWAIT,
    };
    loop {
        match preadv2(file, &mut [IoSliceMut::new(room)], at, flags) {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::INTR) => {}
            // Not in memory, or a file system that can't tell.
            Err(_) if patience == Patience::AtHand => return Ok(None),
            Err(error) => return Err(error.into()),
        }
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
            let Next::Piece(piece) = source.next(BytesMut::new(), Patience::Blocking)? else { panic!("it may block") };
            assert!(piece.len() as u64 <= PIECE, "{} bytes at once", piece.len());
            bytes.extend_from_slice(&piece);
        }
        assert!(matches!(source.next(BytesMut::new(), Patience::Blocking)?, Next::Piece(end) if end.is_empty()));
        Ok(bytes)
    }

    fn piece(source: &mut Source, patience: Patience) -> io::Result<Option<Bytes>> {
        Ok(match source.next(BytesMut::from(&b"old bytes in the room"[..]), patience)? {
            Next::Piece(piece) => Some(piece),
            Next::NotAtHand(_) => None,
        })
    }

    #[test]
    fn what_is_in_memory_is_at_hand_and_compressing_never_is() {
        let content = b"0123456789".repeat(20_000);
        let file = file(&content);
        let mut source = Source::whole(file.try_clone().unwrap(), content.len() as u64, None);
        let mut bytes = Vec::new();
        while !source.is_done() {
            // A file system that can't tell is asked to block, as the caller does.
            let piece_at_hand = piece(&mut source, Patience::AtHand).unwrap();
            let next = piece_at_hand.or_else(|| piece(&mut source, Patience::Blocking).unwrap());
            bytes.extend_from_slice(&next.unwrap());
        }
        assert!(bytes == content);
        let mut source = Source::whole(file, 10, Some(Encoder::new(Coding::Br).unwrap()));
        assert!(piece(&mut source, Patience::AtHand).unwrap().is_none());
        assert!(!source.is_done(), "nothing is lost by asking");
        assert!(!piece(&mut source, Patience::Blocking).unwrap().unwrap().is_empty());
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
        assert_eq!(piece(&mut source, Patience::Blocking).unwrap().unwrap(), "0123456789");
        assert_eq!(piece(&mut source, Patience::Blocking).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
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
