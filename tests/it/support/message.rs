//! HTTP/1 messages as bytes: a reader with deadlines and a parser that is independent of the product's, used by the
//! scripted origin (for requests) and by the raw client (for responses).

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::link::Link;

/// Why reading ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The other side finished (FIN).
    Closed,
    /// The other side aborted (RST).
    Reset,
    /// Nothing came before the deadline.
    Patience,
    /// What came is not HTTP/1.
    Malformed(String),
}

/// How a response ended, as its reader could tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By its own framing, or by FIN where it has none.
    Clean,
    /// Before its framing said so.
    Cut(Stop),
}

/// Header fields in the order received; names as they stood.
#[derive(Clone, Debug, Default)]
pub struct Fields(pub Vec<(String, Vec<u8>)>);

/// A start line and fields.
#[derive(Clone, Debug)]
pub struct Head {
    pub start: String,
    pub fields: Fields,
    pub raw: Vec<u8>,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

impl Fields {
    /// The first value of that name, as text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// All values of that name, as text; bytes that are no UTF-8 read as `<bytes>`.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self.0.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        same.map(|(_, value)| std::str::from_utf8(value).unwrap_or("<bytes>")).collect()
    }

    /// The bytes of the first value of that name.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    /// Whether the name occurs.
    pub fn has(&self, name: &str) -> bool {
        self.bytes(name).is_some()
    }

    /// All names, lower case.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.to_ascii_lowercase()).collect()
    }
}

impl Head {
    /// Parses the bytes of a head, empty line included.
    pub fn parse(raw: &[u8]) -> Result<Self, Stop> {
        let text = raw.strip_suffix(b"\r\n\r\n").ok_or_else(|| Stop::Malformed("no end of head".into()))?;
        let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let start = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let fields = lines.map(field).collect::<Result<_, _>>()?;
        Ok(Self { start, fields: Fields(fields), raw: raw.to_vec() })
    }

    /// The framing that Content-Length and Transfer-Encoding ask for; `otherwise` when there is neither.
    pub fn framing(&self, otherwise: Framing) -> Framing {
        if self.fields.all("transfer-encoding").iter().any(|value| value.to_ascii_lowercase().contains("chunked")) {
            return Framing::Chunked;
        }
        let length = self.fields.get("content-length").and_then(|value| value.trim().parse().ok());
        length.map_or(otherwise, Framing::Length)
    }
}

fn field(line: &[u8]) -> Result<(String, Vec<u8>), Stop> {
    let malformed = || Stop::Malformed(format!("field {:?}", String::from_utf8_lossy(line)));
    let colon = line.iter().position(|byte| *byte == b':').ok_or_else(malformed)?;
    let name = String::from_utf8(line[..colon].to_vec()).map_err(|_| malformed())?;
    Ok((name, line[colon + 1..].trim_ascii().to_vec()))
}

/// Reads from a socket with deadlines and remembers what came, for the report of a failing test.
pub struct Reader {
    stream: Link,
    buffer: Vec<u8>,
    seen: Vec<u8>,
}

const REMEMBERED: usize = 64 * 1024;

impl Reader {
    pub fn new(stream: impl Into<Link>) -> Self {
        Self { stream: stream.into(), buffer: Vec::new(), seen: Vec::new() }
    }

    /// Everything received so far (the first 64 KiB).
    pub fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Received, but not consumed yet.
    pub fn pending(&self) -> &[u8] {
        &self.buffer
    }

    /// Waits for at least one more byte.
    pub fn fill(&mut self, deadline: Instant) -> Result<(), Stop> {
        let mut chunk = [0u8; 64 * 1024];
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let _ = self.stream.socket().set_read_timeout(Some(left));
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Stop::Closed),
            Ok(count) => {
                self.remember(&chunk[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(Stop::Patience),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(Stop::Reset),
        }
    }

    fn remember(&mut self, bytes: &[u8]) {
        let room = REMEMBERED.saturating_sub(self.seen.len()).min(bytes.len());
        self.seen.extend_from_slice(&bytes[..room]);
        self.buffer.extend_from_slice(bytes);
    }

    /// One whole head.
    pub fn head(&mut self, deadline: Instant) -> Result<Head, Stop> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.fill(deadline)?;
        };
        let raw: Vec<u8> = self.buffer.drain(..end).collect();
        Head::parse(&raw)
    }

    /// Exactly that many bytes.
    pub fn exactly(&mut self, count: usize, deadline: Instant) -> Result<Vec<u8>, Stop> {
        while self.buffer.len() < count {
            self.fill(deadline)?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Whatever is there, at least one byte.
    pub fn some(&mut self, deadline: Instant) -> Result<Vec<u8>, Stop> {
        if self.buffer.is_empty() {
            self.fill(deadline)?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// One line, without its end.
    pub fn line(&mut self, deadline: Instant) -> Result<Vec<u8>, Stop> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                break end;
            }
            self.fill(deadline)?;
        };
        let line = self.buffer.drain(..end).collect();
        self.buffer.drain(..2);
        Ok(line)
    }

    /// A whole body into `sink`, decoded; returns the trailers. `patience` is between bytes.
    pub fn body(&mut self, framing: Framing, patience: Duration, sink: &mut dyn FnMut(&[u8])) -> Result<Fields, Stop> {
        match framing {
            Framing::None => Ok(Fields::default()),
            Framing::Length(length) => self.counted(length, patience, sink).map(|()| Fields::default()),
            Framing::Chunked => self.chunked(patience, sink),
            Framing::UntilClose => self.until_close(patience, sink).map(|()| Fields::default()),
        }
    }

    fn counted(&mut self, mut left: u64, patience: Duration, sink: &mut dyn FnMut(&[u8])) -> Result<(), Stop> {
        while left > 0 {
            if self.buffer.is_empty() {
                self.fill(Instant::now() + patience)?;
            }
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            sink(&self.buffer[..count]);
            self.buffer.drain(..count);
            left -= count as u64;
        }
        Ok(())
    }

    fn chunked(&mut self, patience: Duration, sink: &mut dyn FnMut(&[u8])) -> Result<Fields, Stop> {
        loop {
            let line = self.line(Instant::now() + patience)?;
            let text = String::from_utf8_lossy(&line).into_owned();
            let digits = text.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).map_err(|_| Stop::Malformed(format!("chunk size {text:?}")))?;
            if size == 0 {
                return self.trailers(patience);
            }
            self.counted(size, patience, sink)?;
            if self.exactly(2, Instant::now() + patience)? != b"\r\n" {
                return Err(Stop::Malformed("chunk without its line end".into()));
            }
        }
    }

    fn trailers(&mut self, patience: Duration) -> Result<Fields, Stop> {
        let mut fields = Vec::new();
        loop {
            let line = self.line(Instant::now() + patience)?;
            if line.is_empty() {
                return Ok(Fields(fields));
            }
            fields.push(field(&line)?);
        }
    }

    fn until_close(&mut self, patience: Duration, sink: &mut dyn FnMut(&[u8])) -> Result<(), Stop> {
        loop {
            sink(&std::mem::take(&mut self.buffer));
            match self.fill(Instant::now() + patience) {
                Ok(()) => {}
                Err(Stop::Closed) => return Ok(()),
                Err(stop) => return Err(stop),
            }
        }
    }
}

/// Where `needle` begins in `haystack`.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
