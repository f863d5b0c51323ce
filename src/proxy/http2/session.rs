//! The handle on a [`Stream`] that Pingora gets for one request.
//!
//! Everything that waits does so in one poll function of the stream, which notes who is waited for and fails when the
//! stream's task has found something out. Errors name the client's side: what was found out tells more (`failure`).

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream as Messages;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::body_buffer::FixedBuffer;
use pingora_core::protocols::http::custom::CustomMessageWrite;
use pingora_core::protocols::http::custom::server::Session as CustomSession;
use pingora_core::protocols::http::date::get_cached_date;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session as ProxySession;

use super::stream::{Gone, Stream};

/// How much of a body is kept to be sent again.
const KEPT: usize = 64 * 1024;

/// Reads and writes one stream on behalf of Pingora.
pub struct Session {
    stream: Arc<Stream>,
    request: RequestHeader,
    digest: Digest,
    response: Option<Box<ResponseHeader>>,
    ended: bool,
    body_done: bool,
    body_read: usize,
    body_sent: usize,
    kept: Option<FixedBuffer>,
}

/// Finds the stream under Pingora's session; `None`: it is none of ours.
pub fn stream_of(session: &ProxySession) -> Option<&Arc<Stream>> {
    session.as_downstream().as_custom()?.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
}

impl Session {
    /// For a stream whose head has been made `request`.
    pub fn new(stream: Arc<Stream>, request: RequestHeader) -> Result<Self> {
        // The one place where Pingora lets a session carry a value of ours.
        let head = ResponseHeader::build_no_case(StatusCode::OK, Some(0))?;
        let carried = ProxyDigest::new(Box::new(head), Some(Box::new(Arc::clone(&stream))));
        Ok(Self {
            body_done: stream.is_body_done(),
            stream,
            request,
            digest: Digest { proxy_digest: Some(Arc::new(carried)), ..Digest::default() },
            response: None,
            ended: false,
            body_read: 0,
            body_sent: 0,
            kept: None,
        })
    }

    fn send_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if self.ended || self.response.is_some() {
            return Ok(());
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::explain(ErrorType::InternalError, "HTTP/2 has no upgrades"));
        }
        for name in CONNECTION_SPECIFIC {
            head.remove_header(&name);
        }
        if head.status.is_informational() {
            return self.stream.send_interim(Response::from_parts(head.as_owned_parts(), ())).map_err(writing);
        }
        head.insert_header(header::DATE, get_cached_date())?;
        self.stream.send_head(Response::from_parts(head.as_owned_parts(), ()), end).map_err(writing)?;
        self.response = Some(head);
        self.ended = end;
        Ok(())
    }

    async fn send(&mut self, mut data: Bytes, end: bool) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        if self.has_no_body() {
            data.clear();
        }
        let length = data.len();
        poll_fn(|cx| self.stream.poll_send(cx, &mut data, end)).await.map_err(writing)?;
        self.body_sent += length;
        self.ended = end;
        Ok(())
    }

    /// RFC 9110 §6.4.1; an upstream of HTTP/2 can send data behind such a head all the same.
    fn has_no_body(&self) -> bool {
        let status = self.response.as_ref().map(|head| head.status);
        self.request.method == Method::HEAD || matches!(status, Some(StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED))
    }

    fn send_end(&mut self, mut trailers: HeaderMap) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        for name in CONNECTION_SPECIFIC {
            trailers.remove(&name);
        }
        self.stream.send_trailers(trailers).map_err(writing)?;
        self.ended = true;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.stream.finish().map_err(writing)?;
        self.ended |= self.response.is_some();
        Ok(())
    }

    /// One task of the upstream's half; whether it was the last.
    async fn carry_out(&mut self, task: HttpTask) -> Result<bool> {
        match task {
            HttpTask::Header(head, end) => self.send_head(head, end).map(|()| end),
            HttpTask::Body(data, end) => {
                let data = data.unwrap_or_default();
                if !data.is_empty() {
                    self.send(data, end).await?;
                }
                Ok(end)
            }
            HttpTask::Trailer(Some(trailers)) => self.send_end(*trailers).map(|()| true),
            HttpTask::Trailer(None) | HttpTask::Done => Ok(true),
            HttpTask::UpgradedBody(..) => Err(Error::explain(ErrorType::InternalError, "HTTP/2 has no upgrades")),
            HttpTask::Failed(error) => Err(error),
        }
    }
}

/// RFC 9113 §8.2.2.
const CONNECTION_SPECIFIC: [HeaderName; 5] = [
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

fn reading(_: Gone) -> Box<Error> {
    let mut error = Error::explain(ErrorType::ReadError, "the client's half of the stream has ended");
    error.as_down();
    error
}

fn writing(_: Gone) -> Box<Error> {
    let mut error = Error::explain(ErrorType::WriteError, "the client takes nothing more");
    error.as_down();
    error
}

#[async_trait]
impl CustomSession for Session {
    fn req_header(&self) -> &RequestHeader {
        &self.request
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        if self.body_done {
            return Ok(None);
        }
        let piece = poll_fn(|cx| self.stream.poll_body(cx)).await.map_err(reading)?;
        if let Some(piece) = &piece {
            self.body_read += piece.len();
            if let Some(kept) = &mut self.kept {
                kept.write_to_buffer(piece);
            }
        }
        self.body_done = piece.is_none() || self.stream.is_body_done();
        Ok(piece)
    }

    /// What is left of it is refused with the stream's end (RFC 9113 §8.1).
    async fn drain_request_body(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write_response_header(&mut self, resp: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.send_head(resp, end)
    }

    async fn write_response_header_ref(&mut self, resp: &ResponseHeader, end: bool) -> Result<()> {
        self.send_head(Box::new(resp.clone()), end)
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.send(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.send_end(trailers)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut ended = false;
        for task in tasks {
            ended |= self.carry_out(task).await?;
        }
        if ended {
            self.end()?;
        }
        Ok(ended)
    }

    /// The stream's clocks count instead: of reading, of writing, and of what is left unread.
    fn set_read_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_write_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_write_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_total_drain_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        None
    }

    /// Never the target: it may hold secrets.
    fn request_summary(&self) -> String {
        self.request.method.to_string()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.response.as_deref()
    }

    async fn shutdown(&mut self, _code: u32, _ctx: &str) {
        self.stream.reset();
    }

    fn is_body_done(&mut self) -> bool {
        self.body_done
    }

    async fn finish(&mut self) -> Result<()> {
        self.end()
    }

    fn is_body_empty(&mut self) -> bool {
        self.body_done && self.body_read == 0
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.body_done {
            return Err(reading(poll_fn(|cx| self.stream.poll_gone(cx)).await));
        }
        self.read_body_bytes().await
    }

    fn body_bytes_sent(&self) -> usize {
        self.body_sent
    }

    fn body_bytes_read(&self) -> usize {
        self.body_read
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Some(&mut self.digest)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        None
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        None
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        Bytes::new()
    }

    fn enable_retry_buffering(&mut self) {
        self.kept.get_or_insert_with(|| FixedBuffer::new(KEPT));
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.kept.as_ref().is_some_and(FixedBuffer::is_truncated)
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.kept.as_ref().filter(|kept| !kept.is_truncated()).and_then(FixedBuffer::get_buffer)
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Messages<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn Messages<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}
