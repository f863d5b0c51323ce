//! Requests of the process's own, to CAs and OAuth servers: one connection a request, bounded in time and size, whatever
//! the other side does. Redirects are answers like any other; no proxy of the environment is used; nothing is sent twice.
//!
//! Whoever spends a refresh token has to know whether the other side can have seen it: a [`Failure`] says so. In doubt it
//! is [`Failure::Unknown`].

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::header::{CONNECTION, HOST, RETRY_AFTER, USER_AGENT};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::clock::UnixMillis;

/// What the other side sees.
const AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));
/// How long an address has the field to itself before the next is tried beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// What a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To connect, name resolution and TLS included.
    pub connect: Duration,
    /// In all.
    pub total: Duration,
    /// Bytes of the answer's body.
    pub body: usize,
}

/// Why there is no answer. The words name the host, and nothing of what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing was sent: no name, no connection, no TLS.
    #[error("{0}")]
    Unsent(String),
    /// The request, or part of it, had left: nobody knows what became of it.
    #[error("{0}")]
    Unknown(String),
}

/// There is no CA certificate to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no CA certificate can be trusted: install `ca-certificates`, or set SSL_CERT_FILE")]
pub struct NoTrust;

/// Trusts the system's CAs, and some more. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    tls: TlsConnector,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// `further`: CA certificates, DER.
    ///
    /// # Errors
    /// There is none at all.
    pub fn new(further: &[Vec<u8>]) -> Result<Self, NoTrust> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::trusting(roots, further)
    }

    /// Trusts these CA certificates (DER) and no others.
    ///
    /// # Errors
    /// There is none at all.
    pub fn only(anchors: &[Vec<u8>]) -> Result<Self, NoTrust> {
        Self::trusting(RootCertStore::empty(), anchors)
    }

    fn trusting(mut roots: RootCertStore, further: &[Vec<u8>]) -> Result<Self, NoTrust> {
        roots.add_parsable_certificates(further.iter().map(|der| CertificateDer::from(der.as_slice())));
        if roots.is_empty() {
            return Err(NoTrust);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        // The provider has the default versions; a build without them would trust nobody.
        let builder = versions.map_err(|_| NoTrust)?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// One request; `host`, `user-agent` and `connection` are set here. Dropped, it is cut wherever it is: what must not be
    /// cut is awaited in a task of its own.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn exchange(&self, request: Request<Bytes>, limits: Limits) -> Result<Response<Bytes>, Failure> {
        let deadline = Instant::now() + limits.total;
        let (place, request) = addressed(request).map_err(Failure::Unsent)?;
        let unsent = |why: String| Failure::Unsent(format!("{}: {why}", place.authority));
        let patience = limits.connect.min(limits.total);
        if place.is_tls {
            let stream = within(patience, self.secured(&place)).await.map_err(unsent)?;
            talk(stream, request, &place, deadline, limits).await
        } else {
            let stream = within(patience, connect(&place)).await.map_err(unsent)?;
            talk(stream, request, &place, deadline, limits).await
        }
    }

    async fn secured(&self, place: &Place) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static, BoxError> {
        let name = ServerName::try_from(place.host.clone())?;
        Ok(self.tls.connect(name, connect(place).await?).await?)
    }
}

/// What `retry-after` says (RFC 9110 §10.2.3): seconds, or a date; `None`: nothing that can be read.
pub fn retry_after(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let now = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(now);
    Some(date.duration_since(now).unwrap_or_default())
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where a request goes.
struct Place {
    authority: Authority,
    /// Without brackets.
    host: String,
    port: u16,
    is_tls: bool,
}

impl Place {
    fn of(uri: &Uri) -> Result<Self, String> {
        let authority = uri.authority().ok_or("a URL without a host")?.clone();
        if authority.as_str().contains('@') {
            return Err("a URL with a user in it".to_owned());
        }
        let is_tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err("a URL that is neither http nor https".to_owned()),
        };
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let host = bare(authority.host()).to_owned();
        Ok(Self { authority, host, port, is_tls })
    }
}

/// `[::1]` as `::1`.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The request in origin form, with what is ours to say in its head.
fn addressed(request: Request<Bytes>) -> Result<(Place, Request<Full<Bytes>>), String> {
    let mut request = request.map(Full::new);
    let place = Place::of(request.uri())?;
    let target = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse();
    *request.uri_mut() = target.map_err(|_| "a URL with a path that cannot be sent")?;
    let host = HeaderValue::from_str(place.authority.as_str()).map_err(|_| "a URL with a host that cannot be sent")?;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok((place, request))
}

async fn within<T, E: Into<BoxError>>(limit: Duration, work: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(chain(&*error.into())),
        Err(_) => Err(format!("no connection within {}", seconds(limit))),
    }
}

async fn connect(place: &Place) -> io::Result<TcpStream> {
    let addresses = tokio::net::lookup_host((place.host.as_str(), place.port)).await?;
    let stream = first_of(in_turn(addresses.collect())).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The two families in turn, the resolver's first choice first (RFC 8305 §4).
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let six_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut these, mut those): (Vec<_>, Vec<_>) =
        addresses.into_iter().rev().partition(|address| address.is_ipv6() == six_first);
    let mut mixed = Vec::with_capacity(these.len() + those.len());
    while !these.is_empty() || !those.is_empty() {
        mixed.extend(these.pop());
        mixed.extend(those.pop());
    }
    mixed
}

/// Connects to the first address that answers. Each has a head start; one that fails leaves the field to the next at once.
async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = waiting.next() {
            running.push(TcpStream::connect(address));
        }
        let head_start = if waiting.len() == 0 { Duration::MAX } else { HEAD_START };
        match tokio::time::timeout(head_start, running.next()).await {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(error))) => last = error,
            Ok(None) => return Err(last),
            Err(_) => {}
        }
    }
}

/// The connection lives until its one answer is read.
async fn talk<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    place: &Place,
    deadline: Instant,
    limits: Limits,
) -> Result<Response<Bytes>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match tokio::time::timeout_at(deadline, exchange_on(stream, request, limits.body)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Broken::Unsent(why))) => Err(Failure::Unsent(format!("{}: {why}", place.authority))),
        Ok(Err(Broken::Later(why))) => Err(Failure::Unknown(format!("{}: {why}", place.authority))),
        Err(_) => Err(Failure::Unknown(format!("{}: no answer within {}", place.authority, seconds(limits.total)))),
    }
}

/// How far a request came.
enum Broken {
    /// Not onto the connection.
    Unsent(String),
    /// Who knows.
    Later(String),
}

impl Broken {
    fn later(error: impl Into<BoxError>) -> Self {
        Self::Later(chain(&*error.into()))
    }
}

async fn exchange_on<S>(stream: S, request: Request<Full<Bytes>>, largest: usize) -> Result<Response<Bytes>, Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let made = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = made.map_err(|error| Broken::Unsent(chain(&error)))?;
    let answer = async {
        let answered = sender.try_send_request(request).await.map_err(|error| match error.message() {
            // It has been handed back: it was not begun.
            Some(_) => Broken::Unsent(chain(error.error())),
            None => Broken::later(error.into_error()),
        })?;
        let (parts, body) = answered.into_parts();
        let body = Limited::new(body, largest).collect().await.map_err(Broken::later)?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    let mut answer = std::pin::pin!(answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        answered = &mut answer => answered,
        // It ends before the answer is read when the other side closes; what came is there to be read.
        _ = &mut connection => answer.await,
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} seconds", duration.as_secs_f64())
}

/// An error with its causes, each once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !words.contains(&text) {
            words.push_str(&format!(": {text}"));
        }
        source = cause.source();
    }
    words
}

#[cfg(test)]
mod tests;
