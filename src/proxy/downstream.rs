//! The client's side of one request, whichever protocol it speaks.
//!
//! The phases ask it for what they need: who is there, what was found out, which clock runs. How bytes move is the
//! business of the protocols (`connection` and `driver` for HTTP/1, `http2`).

use std::sync::Arc;

use bytes::Bytes;
use http::Version;
use parking_lot::{MappedMutexGuard, MutexGuard};
use pingora_proxy::Session;

use super::clocks::{Clocks, Fault};
use super::connection::Connection;
use super::http2::{self, Stream};
use super::io::Io;
use super::respond::{self, Problem, RequestLine};
use crate::id::RequestId;

/// The client's side of one request.
#[derive(Clone, Debug)]
pub enum Downstream {
    /// A connection that serves one request at a time.
    Http1 {
        /// The connection.
        connection: Arc<Connection>,
        /// The request's head, for the record of a request that is cut.
        head: Bytes,
    },
    /// One stream of a connection.
    Http2(Arc<Stream>),
}

impl Downstream {
    /// Finds it under Pingora's session.
    pub fn of(session: &Session) -> Option<Self> {
        if let Some(stream) = http2::stream_of(session) {
            return Some(Self::Http2(Arc::clone(stream)));
        }
        let http1 = session.as_downstream().as_http1()?;
        let io: &Io = http1.stream().as_any().downcast_ref()?;
        Some(Self::Http1 { connection: Arc::clone(&io.0), head: http1.get_headers_raw_bytes() })
    }

    /// The connection: the other end's address, the listener.
    pub fn connection(&self) -> &Connection {
        match self {
            Self::Http1 { connection, .. } => connection,
            Self::Http2(stream) => stream.connection(),
        }
    }

    /// One of our phases has the request. Over HTTP/2 nobody else ever speaks to the client.
    pub fn arrive(&self) {
        match self {
            Self::Http1 { connection, .. } => connection.wire().arrive(),
            Self::Http2(_) => {}
        }
    }

    /// HTTP/2's `:authority`; `None` over HTTP/1.
    pub fn authority(&self) -> Option<&str> {
        match self {
            Self::Http1 { .. } => None,
            Self::Http2(stream) => stream.authority(),
        }
    }

    /// Its clocks.
    pub fn clocks(&self) -> MappedMutexGuard<'_, Clocks> {
        match self {
            Self::Http1 { connection, .. } => MutexGuard::map(connection.wire(), |wire| &mut wire.clocks),
            Self::Http2(stream) => stream.clocks(),
        }
    }

    /// What was found out.
    pub fn fault(&self) -> Option<Fault> {
        self.clocks().fault()
    }

    /// The request's body was read to its end.
    pub fn body_read(&self) {
        match self {
            Self::Http1 { connection, .. } => connection.wire().body_read(),
            Self::Http2(stream) => stream.clocks().body_read(),
        }
    }

    /// Whether anything of the answer was written.
    pub fn begun(&self) -> bool {
        match self {
            Self::Http1 { connection, .. } => connection.wire().begun(),
            Self::Http2(stream) => stream.begun(),
        }
    }

    /// Whether the drain's deadline has come.
    pub fn is_cut(&self) -> bool {
        self.connection().is_cut()
    }

    /// The answer under way will not be completed. `by_close`: only the connection's close would tell its end.
    pub fn cut_short(&self, by_close: bool) {
        match self {
            Self::Http1 { connection, .. } if by_close => connection.wire().reset_on_close(),
            Self::Http1 { .. } => {}
            Self::Http2(stream) => stream.reset(),
        }
    }

    /// The connection goes on behind the answer of a request that failed.
    pub fn go_on(&self) {
        if let Self::Http1 { connection, .. } = self {
            connection.wire().go_on();
        }
    }

    /// Ends it with a reset, now: there is nobody left to end it well.
    pub fn reset(&self) {
        match self {
            Self::Http1 { connection, .. } => connection.wire().set_reset(),
            Self::Http2(stream) => stream.reset(),
        }
    }

    /// Answers without Pingora. Returns how many bytes of body were sent.
    pub fn answer_past_the_engine(&self, problem: &Problem<'_>, id: &RequestId) -> usize {
        match self {
            Self::Http1 { connection, head } => respond::past_the_engine(connection, problem, id, head),
            Self::Http2(stream) => respond::on_stream(stream, problem, id),
        }
    }

    /// The protocol, and what the request asked for, as far as it is known when the request's session is gone.
    pub fn request_line(&self) -> (Version, RequestLine<'_>) {
        match self {
            Self::Http1 { head, .. } => (Version::HTTP_11, RequestLine::of(head)),
            Self::Http2(stream) => (Version::HTTP_2, stream.request_line()),
        }
    }
}
