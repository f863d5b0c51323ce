//! One stream: the two halves of its exchange and its clocks, shared by its task, Pingora's session and the context.
//!
//! All state is behind one mutex that only this stream's own task takes, so it is never contended. The codec's handles
//! stay here when Pingora's session is gone, so that a request that was given up can still be answered.
//!
//! Nothing is handed to the codec beyond the windows that the client opened: whatever it does not take is noticed here.

use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use crate::proxy::clocks::{Clocks, Fault};
use crate::proxy::connection::Connection;
use crate::proxy::respond::RequestLine;

/// One exchange.
#[derive(Debug)]
pub struct Stream {
    connection: Arc<Connection>,
    asked: Asked,
    state: Mutex<State>,
}

/// What the request asked for, for the record of one that is cut.
#[derive(Debug)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// `:path`.
    pub target: Option<PathAndQuery>,
    /// `:authority`.
    pub authority: Option<Authority>,
}

#[derive(Debug)]
struct State {
    body: RecvStream,
    reply: Reply,
    clocks: Clocks,
    waker: Option<Waker>,
}

/// How far the answer has come.
#[derive(Debug)]
enum Reply {
    /// Not begun.
    Due(SendResponse<Bytes>),
    /// Its head went out.
    Begun(SendStream<Bytes>),
    /// Complete.
    Ended,
    /// Given up.
    Reset,
}

/// The stream is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream has ended")]
pub struct Gone;

impl Stream {
    /// Takes over a stream whose head has arrived.
    pub fn new(connection: Arc<Connection>, asked: Asked, body: RecvStream, reply: SendResponse<Bytes>) -> Arc<Self> {
        let state = State { body, reply: Reply::Due(reply), clocks: Clocks::default(), waker: None };
        Arc::new(Self { connection, asked, state: Mutex::new(state) })
    }

    /// The connection under it.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// `:authority`.
    pub fn authority(&self) -> Option<&str> {
        self.asked.authority.as_ref().map(Authority::as_str)
    }

    /// Method and target.
    pub fn request_line(&self) -> RequestLine<'_> {
        let target = self.asked.target.as_ref();
        RequestLine {
            method: self.asked.method.as_str(),
            path: target.map_or("", PathAndQuery::path),
            query: target.and_then(PathAndQuery::query),
        }
    }

    /// Its clocks.
    pub fn clocks(&self) -> MappedMutexGuard<'_, Clocks> {
        MutexGuard::map(self.state.lock(), |state| &mut state.clocks)
    }

    /// Remembers who is to be woken from outside.
    pub fn remember(&self, cx: &Context<'_>) {
        let waker = &mut self.state.lock().waker;
        if waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Wakes its task.
    pub fn wake(&self) {
        let waker = self.state.lock().waker.clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the answer's head went out.
    pub fn begun(&self) -> bool {
        !matches!(self.state.lock().reply, Reply::Due(_))
    }

    /// Whether nothing (more) is to be read.
    pub fn is_body_done(&self) -> bool {
        self.state.lock().body.is_end_stream()
    }

    /// The next piece of the body, never empty; `None` at its end. Its window is opened again at once: the engine asks for a
    /// piece when the upstream took the one before. Trailers of requests are not passed on.
    pub fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Gone>> {
        let state = &mut *self.state.lock();
        if state.clocks.fault().is_some() {
            return Poll::Ready(Err(Gone));
        }
        loop {
            let Poll::Ready(piece) = state.body.poll_data(cx) else {
                if matches!(state.reply, Reply::Ended) {
                    // The end of the stream tells the client to keep the rest (RFC 9113 §8.1).
                    state.clocks.fail(Fault::Answered);
                    return Poll::Ready(Err(Gone));
                }
                state.clocks.nothing_read();
                return Poll::Pending;
            };
            match piece {
                None => {
                    state.clocks.body_read();
                    return Poll::Ready(Ok(None));
                }
                Some(Ok(piece)) => {
                    let _ = state.body.flow_control().release_capacity(piece.len());
                    if !piece.is_empty() {
                        state.clocks.something_read();
                        return Poll::Ready(Ok(Some(piece)));
                    }
                }
                Some(Err(error)) => {
                    // The codec resets what is longer or shorter than its content-length (RFC 9113 §8.1.1).
                    let malformed = error.is_reset() && error.is_library();
                    state.clocks.fail(if malformed { Fault::MalformedBody } else { Fault::Broken });
                    return Poll::Ready(Err(Gone));
                }
            }
        }
    }

    /// Resolves when the client is of no help any more: it reset the stream, or left; or something was found out.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<Gone> {
        let state = &mut *self.state.lock();
        if state.clocks.fault().is_some() {
            return Poll::Ready(Gone);
        }
        state.poll_reset(cx).map(|()| Gone)
    }

    /// Whether the client reset the stream, or left.
    pub fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.state.lock().poll_reset(cx)
    }

    /// Sends an interim answer.
    pub fn send_interim(&self, head: Response<()>) -> Result<(), Gone> {
        match &mut self.state.lock().reply {
            Reply::Due(reply) => reply.send_informational(head).map_err(|_| Gone),
            _ => Err(Gone),
        }
    }

    /// Sends the answer's head; `end`: it is all.
    pub fn send_head(&self, head: Response<()>, end: bool) -> Result<(), Gone> {
        let state = &mut *self.state.lock();
        state.check_writable()?;
        let Reply::Due(reply) = &mut state.reply else { return Err(Gone) };
        let body = reply.send_response(head, end).map_err(|_| Gone)?;
        state.reply = if end { Reply::Ended } else { Reply::Begun(body) };
        Ok(())
    }

    /// Sends what the client takes of `data`, and with the last of it, when `end` says so, the answer's end.
    pub fn poll_send(&self, cx: &mut Context<'_>, data: &mut Bytes, end: bool) -> Poll<Result<(), Gone>> {
        let state = &mut *self.state.lock();
        state.check_writable()?;
        let Reply::Begun(body) = &mut state.reply else { return Poll::Ready(Err(Gone)) };
        while !data.is_empty() {
            body.reserve_capacity(data.len());
            while body.capacity() == 0 {
                let Poll::Ready(capacity) = body.poll_capacity(cx) else {
                    state.clocks.nothing_written();
                    return Poll::Pending;
                };
                capacity.ok_or(Gone)?.map_err(|_| Gone)?;
            }
            let piece = data.split_to(body.capacity().min(data.len()));
            body.send_data(piece, end && data.is_empty()).map_err(|_| Gone)?;
            state.clocks.something_written();
            if end && data.is_empty() {
                state.reply = Reply::Ended;
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Ready(if end { state.end() } else { Ok(()) })
    }

    /// Ends an answer that is complete; does nothing for one that has ended, or has not begun.
    pub fn finish(&self) -> Result<(), Gone> {
        let state = &mut *self.state.lock();
        if matches!(state.reply, Reply::Begun(_)) { state.end() } else { Ok(()) }
    }

    /// Ends the answer with these fields.
    pub fn send_trailers(&self, trailers: HeaderMap) -> Result<(), Gone> {
        let state = &mut *self.state.lock();
        state.check_writable()?;
        let Reply::Begun(body) = &mut state.reply else { return Err(Gone) };
        body.send_trailers(trailers).map_err(|_| Gone)?;
        state.reply = Reply::Ended;
        Ok(())
    }

    /// Sends a whole answer without Pingora. Returns how many bytes of body were sent.
    pub fn answer(&self, status: StatusCode, kind: &'static str, retry_after: Option<u64>, body: String) -> usize {
        let is_head = self.asked.method == Method::HEAD;
        let mut head = Response::new(());
        *head.status_mut() = status;
        let fields = head.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        fields.insert(header::CONTENT_LENGTH, body.len().into());
        if let Some(seconds) = retry_after {
            fields.insert(header::RETRY_AFTER, seconds.into());
        }
        fields.insert(header::DATE, pingora_core::protocols::http::date::get_cached_date());
        let state = &mut *self.state.lock();
        let Reply::Due(reply) = &mut state.reply else { return 0 };
        let length = body.len();
        let sent = reply.send_response(head, is_head).and_then(|mut stream| match is_head {
            true => Ok(0),
            false => stream.send_data(body.into(), true).map(|()| length),
        });
        state.reply = if sent.is_ok() { Reply::Ended } else { Reply::Reset };
        sent.unwrap_or(0)
    }

    /// Gives the stream up, unless its answer is complete: the client must not take what it has for all of it.
    pub fn reset(&self) {
        let state = &mut *self.state.lock();
        let reason = match state.clocks.fault() {
            Some(Fault::ClientStalled) => Reason::CANCEL,
            Some(Fault::MalformedBody) => Reason::PROTOCOL_ERROR,
            _ => Reason::INTERNAL_ERROR,
        };
        match &mut state.reply {
            Reply::Due(reply) => reply.send_reset(reason),
            Reply::Begun(body) => body.send_reset(reason),
            Reply::Ended | Reply::Reset => return,
        }
        state.reply = Reply::Reset;
    }
}

impl State {
    fn check_writable(&self) -> Result<(), Gone> {
        if self.clocks.may_write() { Ok(()) } else { Err(Gone) }
    }

    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The codec says either which reason the client gave, or that the connection is gone.
        match &mut self.reply {
            Reply::Due(reply) => drop(ready!(reply.poll_reset(cx))),
            Reply::Begun(body) => drop(ready!(body.poll_reset(cx))),
            Reply::Ended => return Poll::Pending,
            Reply::Reset => {}
        }
        Poll::Ready(())
    }

    fn end(&mut self) -> Result<(), Gone> {
        if let Reply::Begun(body) = &mut self.reply {
            body.send_data(Bytes::new(), true).map_err(|_| Gone)?;
            self.reply = Reply::Ended;
        }
        Ok(())
    }
}
