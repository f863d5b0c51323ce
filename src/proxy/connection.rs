//! One client connection: its socket, what was read ahead, what is held back for writing, and its deadlines.
//!
//! Shared between the driver, which owns the connection's life, and `super::io::Io`, the handle that Pingora gets for
//! each request. All state is behind one mutex that only this connection's own task takes, so it is never contended.
//!
//! Invariants:
//! - Pingora never reads past the end of the request that it was given: what follows waits in `input` for the next head.
//! - Bytes held in `output` are offered to the kernel before the task goes to sleep (`flush`), never later.
//! - A stalled client or a silent upstream becomes a `Fault` (`super::clocks`), which Pingora meets as an I/O error.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use parking_lot::{Mutex, MutexGuard};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::clocks::{Clocks, Fault};
use super::listener::ListenerInfo;
use super::transport::{Socket, Transport};
use crate::policy::certificate::ClientCertificate;
use crate::policy::chunked::ChunkScanner;
use crate::policy::head::Framing;

/// Writes up to this size are held until the connection goes idle or more comes.
const HOLD: usize = 16 * 1024;
/// What the first hold reserves: enough for most response heads with a small body.
const FIRST_HOLD: usize = 2 * 1024;
/// How much of later requests is read ahead while one is served; more stays in the kernel.
const READ_AHEAD: usize = 32 * 1024;
/// What one read of a head reserves.
const HEAD_READ: usize = 4 * 1024;

/// Answers that are compressed at the same time on one connection. Each takes up to 1 MiB, and a client of HTTP/2 that never opens
/// its windows could have a hundred of them for as many small requests; the next one goes out as it is.
const MOST_COMPRESSED: usize = 32;

/// One accepted connection.
#[derive(Debug)]
pub struct Connection {
    /// The listener that accepted it.
    pub listener: Arc<ListenerInfo>,
    socket_peer: SocketAddr,
    /// Who connected to the proxy in front, as its PROXY header says.
    source: OnceLock<SocketAddr>,
    entry: OnceLock<Entry>,
    fd: RawFd,
    cut: AtomicBool,
    compressing: AtomicUsize,
    wire: Mutex<Wire>,
}

/// What became known of a connection before its first request.
#[derive(Debug, Default)]
pub struct Entry {
    /// The client wants HTTP/2 (ALPN).
    pub http2: bool,
    /// What the client showed and the listener verified.
    pub certificate: Option<Box<ClientCertificate>>,
}

/// The state behind the mutex.
#[derive(Debug)]
pub struct Wire {
    transport: Transport,
    /// Read, not yet consumed.
    pub input: BytesMut,
    body: Body,
    output: BytesMut,
    ended: bool,
    reset: bool,
    arrived: bool,
    begun: bool,
    goes_on: bool,
    /// Of the request being served.
    pub clocks: Clocks,
    waker: Option<Waker>,
}

/// What Pingora may still read of the request being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// Nothing: only the client's leaving is of interest.
    None,
    /// That many bytes.
    Length(u64),
    /// Chunks, up to their end.
    Chunked(ChunkScanner),
}

impl Connection {
    /// Takes over an accepted socket.
    pub fn new(socket: TcpStream, peer: SocketAddr, listener: Arc<ListenerInfo>) -> Arc<Self> {
        let fd = socket.as_raw_fd();
        Arc::new(Self {
            listener,
            socket_peer: peer,
            source: OnceLock::new(),
            entry: OnceLock::new(),
            fd,
            cut: AtomicBool::new(false),
            compressing: AtomicUsize::new(0),
            wire: Mutex::new(Wire {
                transport: Transport::Plain(socket),
                input: BytesMut::new(),
                body: Body::None,
                output: BytesMut::new(),
                ended: false,
                reset: false,
                arrived: false,
                begun: false,
                goes_on: false,
                clocks: Clocks::default(),
                waker: None,
            }),
        })
    }

    /// Remembers whom the proxy in front speaks for, so that already a failed handshake is theirs; once.
    pub fn comes_from(&self, source: SocketAddr) {
        let _ = self.source.set(source);
    }

    /// Remembers what became known before the first request; once.
    pub fn enter(&self, entry: Entry) {
        let _ = self.entry.set(entry);
    }

    /// The other end: the socket's, or whom the proxy in front speaks for.
    pub fn peer(&self) -> SocketAddr {
        *self.source.get().unwrap_or(&self.socket_peer)
    }

    /// Whether it is TLS.
    pub fn is_tls(&self) -> bool {
        self.listener.tls
    }

    /// Whether the client chose HTTP/2 (ALPN).
    pub fn speaks_http2(&self) -> bool {
        self.entry.get().is_some_and(|entry| entry.http2)
    }

    /// What the client showed and the listener verified; `None` without mutual TLS.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.entry.get()?.certificate.as_deref()
    }

    /// Whether one more answer may be compressed; whoever may says when it is over ([`Connection::compressed`]).
    pub fn may_compress(&self) -> bool {
        let more = |running| (running < MOST_COMPRESSED).then_some(running + 1);
        self.compressing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// One that was compressed is over.
    pub fn compressed(&self) {
        self.compressing.fetch_sub(1, Ordering::Relaxed);
    }

    /// The state; uncontended.
    pub fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock()
    }

    /// The socket's descriptor, as an id.
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// Ends whatever goes on here, now (the drain's deadline).
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether [`Connection::cut`] was called.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Wakes the connection's task, so that it sees what changed around it.
    pub fn wake(&self) {
        if let Some(waker) = self.wire().waker.take() {
            waker.wake();
        }
    }
}

impl Wire {
    /// Remembers who is to be woken from outside.
    pub fn remember(&mut self, cx: &Context<'_>) {
        match &self.waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => self.waker = Some(cx.waker().clone()),
        }
    }

    /// Begins a request whose head (and the part of its body that came along) is now taken out of `input`.
    pub fn begin(&mut self, framing: Framing, skip: usize, head: usize) -> BytesMut {
        if skip > 0 {
            self.input.advance(skip);
        }
        self.arrived = false;
        self.begun = false;
        self.goes_on = false;
        let along = self.input.get(head..).unwrap_or_default();
        let (whole, body) = match framing {
            Framing::None => (head, Body::None),
            Framing::Length(length) => {
                let count = usize::try_from(length).unwrap_or(usize::MAX).min(along.len());
                (head + count, rest_of(length, count))
            }
            Framing::Chunked => match chunks_of(ChunkScanner::default(), along) {
                Some((count, body)) => (head + count, body),
                None => {
                    self.clocks.fail(Fault::MalformedBody);
                    (head, Body::None)
                }
            },
        };
        self.body = body;
        if whole >= self.input.len() { std::mem::take(&mut self.input) } else { self.input.split_to(whole) }
    }

    /// One of our phases has the request. Until then whatever Pingora says to the client is its own idea, and is not sent.
    pub fn arrive(&mut self) {
        self.arrived = true;
    }

    /// Whether [`Wire::arrive`] was called for this request.
    pub fn arrived(&self) -> bool {
        self.arrived
    }

    /// Ends the request: the connection is between requests again.
    pub fn finish(&mut self) {
        self.body = Body::None;
        self.clocks.rest();
        self.release();
    }

    /// The request failed, but its answer is whole: Pingora would end the connection, there is no need to.
    pub fn go_on(&mut self) {
        self.goes_on = true;
    }

    /// Whether it was said so, and nothing of the request is left to read.
    pub fn goes_on(&self) -> bool {
        self.goes_on && self.body_done()
    }

    /// Gives back the space of empty buffers: an idle connection holds none.
    pub fn release(&mut self) {
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// The request's body has been read to its end: what follows belongs to the next request.
    pub fn body_read(&mut self) {
        self.body = Body::None;
        self.clocks.body_read();
    }

    /// Whether the request's body was read to its end.
    pub fn body_done(&self) -> bool {
        self.body == Body::None
    }

    /// Whether anything of the answer to this request was written.
    pub fn begun(&self) -> bool {
        self.begun
    }

    /// The answer under way, if one is, will not be completed: the connection must not end as if it were.
    pub fn reset_if_begun(&mut self) {
        self.reset |= self.begun;
    }

    /// Ends the connection with a reset instead of a clean end, where a clean end would be a lie.
    pub fn reset_on_close(&mut self) {
        self.reset = true;
    }

    /// Whether the end must be a reset.
    pub fn wants_reset(&self) -> bool {
        self.reset
    }

    /// Whether the client has closed its side.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Whether bytes wait for the kernel.
    pub fn holds_output(&self) -> bool {
        !self.output.is_empty() || self.transport.holds_output()
    }

    /// The bare socket and what was read of it, for a handshake; nothing is read or written here until
    /// [`Wire::give_back`].
    pub fn take_socket(&mut self) -> Option<Socket> {
        match std::mem::replace(&mut self.transport, Transport::Away) {
            Transport::Plain(socket) => Some(Socket::new(socket, std::mem::take(&mut self.input))),
            other => {
                self.transport = other;
                None
            }
        }
    }

    /// What the handshake made of the socket.
    pub fn give_back(&mut self, transport: Transport) {
        self.transport = transport;
    }

    /// Reads more of a head into `input`: how many bytes, 0 at the end.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        ready!(self.transport.poll_readable(cx))?;
        self.input.reserve(HEAD_READ);
        let read = ready!(self.transport.poll_read_into(cx, &mut self.input))?;
        self.ended = read == 0;
        Poll::Ready(Ok(read))
    }

    /// Pingora reads.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.clocks.fault().is_some() {
            return Poll::Ready(Err(timed_out()));
        }
        if self.clocks.is_upgraded() {
            return self.poll_read_through(cx, buf);
        }
        match self.body {
            Body::None => self.poll_watch(cx),
            Body::Length(left) => {
                let allowed = usize::try_from(left).unwrap_or(usize::MAX);
                self.poll_read_body(cx, buf, |fresh| {
                    let count = fresh.len().min(allowed);
                    Some((count, rest_of(left, count)))
                })
            }
            Body::Chunked(scanner) => self.poll_read_body(cx, buf, |fresh| chunks_of(scanner, fresh)),
        }
    }

    /// Everything that comes.
    fn poll_read_through(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.input.is_empty() {
            let count = self.input.len().min(buf.remaining());
            buf.put_slice(&self.input.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = self.transport.poll_read(cx, buf);
        self.note_read(&read, buf.filled().len() > before);
        read
    }

    /// What belongs to the request, as `measure` has it; what is read beyond is kept for the next head.
    fn poll_read_body(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        measure: impl FnOnce(&[u8]) -> Option<(usize, Body)>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.poll_read_through(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        let Some((count, body)) = measure(fresh) else {
            self.clocks.fail(Fault::MalformedBody);
            buf.set_filled(before);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        };
        if count < fresh.len() {
            let beyond = fresh.get(count..).unwrap_or_default();
            // In front of what was read ahead earlier: it came from there.
            let mut input = BytesMut::from(beyond);
            input.extend_from_slice(&self.input);
            self.input = input;
            buf.set_filled(before + count);
        }
        self.body = body;
        Poll::Ready(Ok(()))
    }

    /// HTTP/2 reads: whatever comes, and first what was read ahead. It frames requests itself.
    pub fn poll_read_any(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.input.is_empty() {
            let count = self.input.len().min(buf.remaining());
            buf.put_slice(&self.input.split_to(count));
            return Poll::Ready(Ok(()));
        }
        self.release();
        let before = buf.filled().len();
        ready!(self.transport.poll_read(cx, buf))?;
        self.ended |= buf.filled().len() == before;
        Poll::Ready(Ok(()))
    }

    /// HTTP/2 writes, past what is held: it holds by itself.
    pub fn poll_write_any(&mut self, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let sent = self.transport.poll_write_vectored(cx, pieces);
        match sent {
            Poll::Ready(_) => self.note_progress(),
            Poll::Pending => self.clocks.nothing_written(),
        }
        sent
    }

    /// HTTP/2 has nothing more to write for now.
    pub fn poll_flush_any(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }

    /// Nothing to read for Pingora, but the client's end is reported at once; later requests are read ahead, within bounds.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_full() {
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        // Nothing will wake the task for the client's leaving now: the driver looks now and then (`has_left`).
        Poll::Pending
    }

    /// Whether no more is read ahead.
    pub fn is_full(&self) -> bool {
        self.input.len() >= READ_AHEAD
    }

    /// Whether the client has closed its side behind bytes that nobody has read yet.
    pub fn has_left(&mut self, cx: &mut Context<'_>) -> bool {
        self.transport.poll_read_closed(cx)
    }

    fn note_read(&mut self, read: &Poll<io::Result<()>>, any: bool) {
        if read.is_pending() {
            return self.clocks.nothing_read();
        }
        self.ended |= !any;
        self.clocks.something_read();
    }

    /// Pingora writes: small pieces are held, large ones go out together with what is held.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.clocks.may_write() {
            return Poll::Ready(Err(timed_out()));
        }
        if !self.arrived {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.begun = true;
        if self.output.len() + bytes.len() <= HOLD {
            self.hold(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = self.poll_write_both(cx, bytes);
        self.note_write(written.is_pending());
        written
    }

    fn hold(&mut self, bytes: &[u8]) {
        if self.output.capacity() == 0 {
            self.output.reserve(bytes.len().max(FIRST_HOLD));
        }
        self.output.extend_from_slice(bytes);
    }

    /// Held bytes and `bytes` in one call; returns how many of `bytes` the kernel took.
    fn poll_write_both(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let held = self.output.len();
            let sent = {
                let pieces = [io::IoSlice::new(&self.output), io::IoSlice::new(bytes)];
                let pieces = if held == 0 { pieces.get(1..).unwrap_or_default() } else { &pieces[..] };
                ready!(self.transport.poll_write_vectored(cx, pieces))?
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.note_progress();
            if sent > held {
                self.output.clear();
                return Poll::Ready(Ok(sent - held));
            }
            self.sent(sent);
        }
    }

    /// Offers everything held to the kernel.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.poll_flush_all(cx);
        if flushed.is_pending() {
            self.note_write(true);
        }
        flushed
    }

    fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let sent = ready!(self.transport.poll_write(cx, &self.output))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.note_progress();
            self.sent(sent);
        }
        if !self.transport.holds_output() {
            return Poll::Ready(Ok(()));
        }
        let flushed = self.transport.poll_flush(cx);
        self.note_progress();
        flushed
    }

    /// A write went through: the client took something, unless a buffer between did.
    fn note_progress(&mut self) {
        if self.transport.progressed() {
            self.clocks.something_written();
        }
    }

    /// The kernel took that many held bytes.
    fn sent(&mut self, count: usize) {
        if count >= self.output.len() {
            self.output.clear();
        } else {
            self.output.advance(count);
        }
    }

    fn note_write(&mut self, pending: bool) {
        if pending {
            self.clocks.nothing_written();
        } else if self.clocks.is_upgraded() {
            self.clocks.heard_upstream();
        }
    }

    /// Puts bytes of the driver's own behind whatever is held.
    pub fn push(&mut self, bytes: &[u8]) {
        self.hold(bytes);
    }

    /// Closes our side (FIN; with TLS its farewell before it).
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = self.transport.poll_shutdown(cx);
        if closed.is_pending() {
            self.note_write(true);
        }
        closed
    }

    /// Reads and forgets, up to the client's end.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.clear();
        self.poll_fill(cx)
    }

    /// Makes the close a reset.
    pub fn set_reset(&self) {
        self.transport.set_reset();
    }
}

/// How many of these bytes belong to a chunked body, and what is left of it; `None`: they are not chunked coding.
fn chunks_of(mut scanner: ChunkScanner, bytes: &[u8]) -> Option<(usize, Body)> {
    let count = scanner.advance(bytes).ok()?;
    Some((count, if scanner.is_done() { Body::None } else { Body::Chunked(scanner) }))
}

fn rest_of(length: u64, read: usize) -> Body {
    match length.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX)) {
        0 => Body::None,
        left => Body::Length(left),
    }
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

#[cfg(test)]
mod tests;
