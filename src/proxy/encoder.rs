//! A body being compressed. What goes in can come out at once: nothing has to wait for more.
//!
//! Memory of one stream: zstd about 1 MiB (window 512 KiB), brotli about 1 MiB (window 512 KiB), gzip about 300 KiB. The
//! levels are those at which a proxy spends its time well; a 64 KiB piece takes a millisecond or two of the thread's time.

use std::fmt;
use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::zstd_safe::CParameter;

use crate::policy::coding::Coding;

const ZSTD_LEVEL: i32 = 3;
/// RFC 9659 allows browsers up to 8 MiB (23); a proxy has many streams.
const ZSTD_WINDOW: u32 = 19;
const BROTLI_LEVEL: u32 = 4;
const BROTLI_WINDOW: u32 = 19;
const BROTLI_BUFFER: usize = 4096;
const GZIP_LEVEL: u32 = 5;

/// A body being compressed.
pub enum Encoder {
    /// RFC 8878.
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    /// RFC 7932.
    Br(Box<brotli::CompressorWriter<Vec<u8>>>),
    /// RFC 1952.
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Encoder {
    /// Begins.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(coding: Coding) -> io::Result<Self> {
        let out = Vec::new();
        Ok(match coding {
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
                encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW))?;
                Self::Zstd(Box::new(encoder))
            }
            Coding::Br => {
                Self::Br(Box::new(brotli::CompressorWriter::new(out, BROTLI_BUFFER, BROTLI_LEVEL, BROTLI_WINDOW)))
            }
            Coding::Gzip => Self::Gzip(Box::new(GzEncoder::new(out, Compression::new(GZIP_LEVEL)))),
        })
    }

    /// Takes a piece in and gives back all that the client needs to read up to its end.
    ///
    /// # Errors
    /// When the coding's library fails.
    pub fn pass(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        if piece.is_empty() {
            return Ok(Bytes::new());
        }
        self.writer().write_all(piece)?;
        self.writer().flush()?;
        Ok(self.take())
    }

    /// Takes a piece in and gives back what is ready; the rest may wait for more. For what is at hand anyway.
    ///
    /// # Errors
    /// When the coding's library fails.
    pub fn absorb(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        self.writer().write_all(piece)?;
        Ok(self.take())
    }

    /// The end of the body.
    ///
    /// # Errors
    /// When the coding's library fails.
    pub fn finish(self) -> io::Result<Bytes> {
        Ok(Bytes::from(match self {
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Br(encoder) => encoder.into_inner(),
            Self::Gzip(encoder) => encoder.finish()?,
        }))
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Zstd(encoder) => encoder,
            Self::Br(encoder) => encoder,
            Self::Gzip(encoder) => encoder,
        }
    }

    fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Br(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        }))
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zstd(_) => "Zstd",
            Self::Br(_) => "Br",
            Self::Gzip(_) => "Gzip",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use proptest::prelude::*;

    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Br, Coding::Gzip];

    /// What a client can read of a stream that may not be complete.
    fn readable(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut reader: Box<dyn Read> = match coding {
            Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
            Coding::Br => Box::new(brotli::Decompressor::new(bytes, 4096)),
            Coding::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
        };
        let (mut plain, mut byte) = (Vec::new(), [0]);
        while let Ok(1) = reader.read(&mut byte) {
            plain.push(byte[0]);
        }
        plain
    }

    fn whole(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        let read = match coding {
            Coding::Zstd => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut plain),
            Coding::Br => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain),
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain),
        };
        read.unwrap();
        plain
    }

    #[test]
    fn every_piece_can_be_read_as_soon_as_it_is_out() {
        for coding in ALL {
            let (mut encoder, mut sent, mut plain) = (Encoder::new(coding).unwrap(), Vec::new(), Vec::new());
            for round in 0..50 {
                let piece = format!("piece {round} of many, ").repeat(1 + round % 7);
                plain.extend_from_slice(piece.as_bytes());
                sent.extend_from_slice(&encoder.pass(piece.as_bytes()).unwrap());
                assert_eq!(readable(coding, &sent), plain, "{coding:?} after piece {round}");
                assert!(encoder.pass(b"").unwrap().is_empty());
            }
            sent.extend_from_slice(&encoder.finish().unwrap());
            assert_eq!(whole(coding, &sent), plain, "{coding:?}");
        }
    }

    #[test]
    fn text_gets_smaller() {
        let text = "a line that is like the others, number 12345\n".repeat(2000);
        for coding in ALL {
            let mut encoder = Encoder::new(coding).unwrap();
            let mut out = encoder.absorb(text.as_bytes()).unwrap().to_vec();
            out.extend_from_slice(&encoder.finish().unwrap());
            assert!(out.len() < text.len() / 20, "{coding:?}: {} of {}", out.len(), text.len());
        }
    }

    #[test]
    fn nothing_is_a_whole_stream_too() {
        for coding in ALL {
            assert_eq!(whole(coding, &Encoder::new(coding).unwrap().finish().unwrap()), b"", "{coding:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_goes_in_comes_out(
            pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..3000), any::<bool>()), 0..8),
        ) {
            for coding in ALL {
                let (mut encoder, mut sent, mut plain) = (Encoder::new(coding).unwrap(), Vec::new(), Vec::new());
                for (piece, at_once) in &pieces {
                    plain.extend_from_slice(piece);
                    let out = if *at_once { encoder.pass(piece) } else { encoder.absorb(piece) };
                    sent.extend_from_slice(&out.unwrap());
                }
                sent.extend_from_slice(&encoder.finish().unwrap());
                prop_assert_eq!(whole(coding, &sent), plain);
            }
        }
    }
}
