//! What carries a connection's bytes: one enum, so that the layers above don't care.
//!
//! TLS has a buffer of its own between us and the kernel: what was “written” is on its way only when `poll_flush` says so,
//! and `progressed` tells whether the kernel took anything since it was last asked.

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What carries the bytes.
#[derive(Debug)]
pub enum Transport {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS over it.
    Tls(Box<TlsStream<Socket>>),
    /// Nothing: the socket is in the hands of the handshake.
    Away,
}

impl Transport {
    /// Ready when there is something to read, or an end.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => socket.poll_read_ready(cx),
            Self::Tls(tls) => Pin::new(tls).poll_fill_buf(cx).map(|filled| or_end(filled.map(|_| ()))),
            Self::Away => Poll::Ready(Err(away())),
        }
    }

    /// What the event loop last heard of the other side's end.
    pub fn poll_read_closed(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(socket) = self.socket() else { return true };
        let ready = pin!(socket.ready(Interest::READABLE));
        matches!(ready.poll(cx), Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf).map(or_end),
            Self::Away => Poll::Ready(Err(away())),
        }
    }

    pub fn poll_read_into(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => tokio_util::io::poll_read_buf(Pin::new(socket), cx, input),
            Self::Tls(tls) => tokio_util::io::poll_read_buf(Pin::new(tls), cx, input).map(or_end),
            Self::Away => Poll::Ready(Err(away())),
        }
    }

    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
            Self::Away => Poll::Ready(Err(away())),
        }
    }

    pub fn poll_write_vectored(&mut self, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, pieces),
            Self::Away => Poll::Ready(Err(away())),
        }
    }

    /// Whether something that was written has not reached the kernel.
    pub fn holds_output(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Away => false,
            Self::Tls(tls) => tls.get_ref().1.wants_write(),
        }
    }

    /// Offers it to the kernel.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) | Self::Away => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    /// Whether the kernel took anything since this was last asked; asked after a write that succeeded.
    pub fn progressed(&mut self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(tls) => std::mem::take(&mut tls.get_mut().0.took),
            Self::Away => false,
        }
    }

    /// Ends our side: with TLS its own farewell, then FIN.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            Self::Away => Poll::Ready(Ok(())),
        }
    }

    /// Makes the close a reset.
    pub fn set_reset(&self) {
        if let Some(socket) = self.socket() {
            let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }

    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(tls) => Some(&tls.get_ref().0.tcp),
            Self::Away => None,
        }
    }
}

/// Many clients leave without TLS's farewell. Every message has an end of its own, so that this one is an end like others.
fn or_end<T: Default>(result: io::Result<T>) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(T::default()),
        result => result,
    }
}

fn away() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// The socket below TLS.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    /// Read before TLS began (behind a PROXY header).
    ahead: BytesMut,
    /// The kernel took something.
    took: bool,
}

impl Socket {
    /// `ahead`: what was read of it already.
    pub fn new(tcp: TcpStream, ahead: BytesMut) -> Self {
        Self { tcp, ahead, took: false }
    }

    /// Without TLS again.
    pub fn into_inner(self) -> TcpStream {
        self.tcp
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(count));
            if self.ahead.is_empty() {
                self.ahead = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.took |= matches!(written, Poll::Ready(Ok(1..)));
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, pieces);
        self.took |= matches!(written, Poll::Ready(Ok(1..)));
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
