//! The framing of a chunked request body (RFC 9112 §7.1), checked byte by byte before any parser takes it apart.
//!
//! What passes has exactly one reading: a size of 1 to 16 hex digits, an optional extension without control characters,
//! CR LF, so many bytes, CR LF; a last chunk of size zero; a trailer section of plain lines. The end is found exactly,
//! so that what follows it can be kept for the next request.

/// Bytes of one size line with its extensions; extensions mean nothing here, so there is no need for long ones.
const MAX_LINE: usize = 4096;
/// Bytes of a whole trailer section.
const MAX_TRAILERS: usize = 16 * 1024;
/// Hex digits of a size: more could not be counted.
const MAX_DIGITS: usize = 16;

/// How far into a chunked body one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkScanner {
    state: State,
    /// Of the current chunk: the size read so far, then the bytes still to come.
    left: u64,
    /// Digits of the size, bytes of the line or of the trailers so far.
    length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a trailer line.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// The body is not chunked coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Default for ChunkScanner {
    fn default() -> Self {
        Self { state: State::Size, left: 0, length: 0 }
    }
}

impl ChunkScanner {
    /// Walks over the next bytes. Returns how many of them belong to the body: fewer than all only at its end.
    ///
    /// # Errors
    /// At the first byte that can't stand where it stands.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut rest = bytes;
        while self.state != State::Done {
            if self.state == State::Data {
                let skip = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                self.left -= u64::try_from(skip).unwrap_or(0);
                rest = rest.get(skip..).unwrap_or_default();
                if self.left == 0 {
                    self.state = State::DataCr;
                }
            }
            let Some((&byte, after)) = rest.split_first() else { break };
            self.step(byte)?;
            rest = after;
        }
        Ok(bytes.len() - rest.len())
    }

    /// Whether the body's end has been seen.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.state = match (self.state, byte) {
            (State::Size, _) => self.size(byte)?,
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.counted(MAX_LINE)?,
            (State::SizeLf, b'\n') => self.sized(),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => self.begin(State::Size),
            (State::TrailerStart, b'\r') => State::EndLf,
            // A line that begins with white space would be folded into the one before.
            (State::TrailerStart, b'!'..=b'~') | (State::Trailer, b'\t' | b' '..=b'~' | 0x80..) => {
                self.state = State::Trailer;
                self.counted(MAX_TRAILERS)?
            }
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(Malformed),
        };
        Ok(())
    }

    fn size(&mut self, byte: u8) -> Result<State, Malformed> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            self.left = (self.left << 4) | u64::from(digit);
            self.length += 1;
            return if self.length <= MAX_DIGITS { Ok(State::Size) } else { Err(Malformed) };
        }
        match byte {
            _ if self.length == 0 => Err(Malformed),
            b'\r' => Ok(State::SizeLf),
            b';' => Ok(State::Extension),
            _ => Err(Malformed),
        }
    }

    fn sized(&mut self) -> State {
        if self.left == 0 { self.begin(State::TrailerStart) } else { State::Data }
    }

    fn begin(&mut self, state: State) -> State {
        self.left = 0;
        self.length = 0;
        state
    }

    fn counted(&mut self, most: usize) -> Result<State, Malformed> {
        self.length += 1;
        if self.length <= most { Ok(self.state) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ChunkScanner, Malformed};

    fn scan(bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut scanner = ChunkScanner::default();
        scanner.advance(bytes).map(|taken| (taken, scanner.is_done()))
    }

    #[test]
    fn the_end_is_found_exactly_and_what_follows_is_left_alone() {
        for body in [
            &b"0\r\n\r\n"[..],
            b"3\r\nabc\r\n0\r\n\r\n",
            b"3;a=b\r\nabc\r\n00\r\n\r\n",
            b"0000000000000003\r\nabc\r\n0\r\nX-Trailer: y\r\nZ: 1\r\n\r\n",
            b"A\r\n0\r\n\r\n56789\r\n0\r\n\r\n",
        ] {
            let followed = [body, b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(scan(&followed), Ok((body.len(), true)), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn whatever_another_parser_might_read_otherwise_is_malformed() {
        for body in [
            &b"\r\nabc\r\n0\r\n\r\n"[..],
            b";a=b\r\n",
            b"0x3\r\nabc\r\n",
            b"+3\r\nabc\r\n",
            b" 3\r\nabc\r\n",
            b"3 \r\nabc\r\n",
            b"3\nabc\r\n",
            b"3\r\nabcd\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"3;a\rb\r\nabc\r\n",
            b"3;a\nb\r\nabc\r\n",
            b"00000000000000003\r\nabc\r\n",
            b"0\r\n folded\r\n\r\n",
            b"0\r\nX: a\rb\r\n\r\n",
            b"0\r\nX: a\0\r\n\r\n",
            b"g\r\n",
        ] {
            assert_eq!(scan(body), Err(Malformed), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn endless_extensions_and_trailers_are_cut() {
        assert_eq!(scan(&[b"3;".as_slice(), &[b'a'; 5000]].concat()), Err(Malformed));
        assert_eq!(scan(&[b"0\r\nX:".as_slice(), &[b'a'; 17_000]].concat()), Err(Malformed));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in prop::collection::vec(1usize..9, 1..60),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend(format!("{:x}\r\n", chunk.len()).bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            let whole = body.len();
            body.extend(b"NEXT");
            let mut scanner = ChunkScanner::default();
            let (mut rest, mut taken) = (&body[..], 0);
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                let used = scanner.advance(piece).unwrap();
                taken += used;
                if used < piece.len() || after.is_empty() {
                    break;
                }
                rest = after;
            }
            prop_assert!(scanner.is_done());
            prop_assert_eq!(taken, whole);
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan(&bytes);
        }
    }
}
