//! The byte stream under the HTTP/2 codec: the connection's wire, and the meter that everything passes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::policy::http2::{Flood, Meter};
use crate::proxy::connection::Connection;

/// Reads and writes a connection for the codec.
#[derive(Debug)]
pub struct Carrier {
    connection: Arc<Connection>,
    meter: Meter,
    began: Instant,
    flood: Arc<OnceLock<Flood>>,
}

impl Carrier {
    /// `flood`: where a client that costs too much is reported; nothing more is read of it.
    pub fn new(connection: Arc<Connection>, flood: Arc<OnceLock<Flood>>) -> Self {
        Self { connection, meter: Meter::default(), began: Instant::now(), flood }
    }

    fn note(&self, flood: Option<Flood>) {
        if let Some(flood) = flood {
            let _ = self.flood.set(flood);
        }
    }

    /// Meters the first `count` bytes of what was offered.
    fn note_sent(&mut self, pieces: &[IoSlice<'_>], mut count: usize) {
        for piece in pieces {
            let sent = piece.get(..count.min(piece.len())).unwrap_or_default();
            count -= sent.len();
            let flood = self.meter.sent(sent);
            self.note(flood);
        }
    }
}

impl AsyncRead for Carrier {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.flood.get().is_some() {
            // The connection's task sees to the end; nothing that still comes is worth waking for.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(self.connection.wire().poll_read_any(cx, buf))?;
        let now = self.began.elapsed();
        let flood = self.meter.received(buf.filled().get(before..).unwrap_or_default(), now);
        self.note(flood);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = ready!(self.connection.wire().poll_write_any(cx, pieces))?;
        self.note_sent(pieces, sent);
        Poll::Ready(Ok(sent))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.wire().poll_flush_any(cx)
    }

    /// The connection's task closes, after the codec is through.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
