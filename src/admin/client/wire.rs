//! One request and its answer over one connection, in clear text or over TLS, within a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

use super::Answer;
use super::trust::Trust;

/// Of an answer.
const LONGEST: usize = 64 * 1024 * 1024;

/// Sends, and reads until the other side closes. `trust`: over TLS with somebody who shows one of these certificates.
pub(super) fn exchange(
    address: SocketAddr,
    trust: Option<&Trust>,
    request: &[u8],
    patience: Duration,
) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let stream = TcpStream::connect_timeout(&address, left(deadline)?)?;
    let timed = Timed { stream, deadline };
    match trust {
        None => converse(timed, request),
        Some(trust) => {
            let (config, name) = trust.client().map_err(io::Error::other)?;
            let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
            converse(StreamOwned::new(connection, timed), request)
        }
    }
}

fn converse(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(request)?;
    stream.flush()?;
    let (mut answer, mut part) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(part.get(..count).unwrap_or_default()),
            // TLS that ends without saying so: whether the answer is whole, its length tells.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(answer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
        if answer.len() > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
        }
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// A connection on which nothing takes longer than what is left of the time.
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.deadline)?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Status and body. The length must be as announced: an answer that was cut short is none.
pub(super) fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let body = bytes.get(end + 4..)?;
    let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let announced = fields.lines().find_map(|field| {
        let (name, value) = field.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    // RFC 9110 §15.3.5: never with a body.
    let length = if status == 204 { 0 } else { announced? };
    (body.len() == length).then(|| Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_whole_or_not_at_all() {
        let whole = parse(b"HTTP/1.1 422 X\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        assert_eq!((whole.status, whole.body.as_slice()), (422, b"{}".as_slice()));
        assert_eq!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().status, 204);
        for text in ["", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert!(parse(text.as_bytes()).is_none(), "{text:?}");
        }
    }
}
