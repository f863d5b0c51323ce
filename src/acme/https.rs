//! The conversation with a CA, one connection a request: few are made, and none has to be watched while nothing is said.
//!
//! Bounded in time and size, whatever the CA does. What a refusal says about waiting is kept for the one who asked.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONNECTION, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::failure::Transport;

/// For a whole request.
const PATIENCE: Duration = Duration::from_secs(30);
/// To connect, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// Of an answer: chains and directories are a few KiB.
const LARGEST: usize = 1 << 20;
/// Whom a CA sees (RFC 8555 §6.1).
const AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// A client that trusts the system's CAs and some more. Cheap to clone; clones share what was asked for.
#[derive(Clone)]
pub struct Https {
    tls: TlsConnector,
    asked: Arc<Mutex<Option<Duration>>>,
}

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no CA certificate can be trusted: install `ca-certificates`, set SSL_CERT_FILE, or name one by `acme.ca`")]
pub struct NoTrust;

impl Https {
    /// Trusts the system's CAs, and these (DER).
    ///
    /// # Errors
    /// There is none at all.
    pub fn new(further: &[Vec<u8>]) -> Result<Self, NoTrust> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(further.iter().map(|der| CertificateDer::from(der.as_slice())));
        if roots.is_empty() {
            return Err(NoTrust);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        // The provider has the default versions; a build without them would trust nobody.
        let builder = versions.map_err(|_| NoTrust)?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), asked: Arc::default() })
    }

    /// One that shares the trust, and has been told nothing yet.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self { tls: self.tls.clone(), asked: Arc::default() }
    }

    /// How long the refusals so far asked to wait.
    pub fn asked(&self) -> Option<Duration> {
        *self.asked.lock()
    }

    /// A plain GET of a JSON document, and what its answer says about asking again.
    ///
    /// # Errors
    /// There is none.
    pub async fn document<T: DeserializeOwned>(&self, url: &str) -> Result<(T, Option<Duration>), Error> {
        let request = Request::get(url).body(Empty::<Bytes>::new())?;
        let answer = self.exchange(request).await?;
        let again = retry_after(answer.headers());
        Ok((serde_json::from_slice(answer.body())?, again))
    }

    /// One request. A refusal without a problem document is an error here, as is any refused GET.
    async fn exchange<B>(&self, request: Request<B>) -> Result<Response<Bytes>, Error>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let reading = request.method() == http::Method::GET;
        let place = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let unreachable = |why: String| transport(Transport::Unreachable(format!("{place}: {why}")));
        let answer = match tokio::time::timeout(PATIENCE, self.send(request)).await {
            Ok(answer) => answer.map_err(|error| unreachable(chain(&*error)))?,
            Err(_) => return Err(unreachable("no answer within 30 seconds".to_owned())),
        };
        let status = answer.status();
        if status.is_client_error() || status.is_server_error() {
            self.note(retry_after(answer.headers()));
            return match serde_json::from_slice::<Problem>(answer.body()) {
                Ok(problem) if reading => Err(Error::Api(problem)),
                Ok(_) => Ok(answer),
                Err(_) => Err(strange(&place, status)),
            };
        }
        Ok(answer)
    }

    async fn send<B>(&self, mut request: Request<B>) -> Result<Response<Bytes>, BoxError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let uri = std::mem::take(request.uri_mut());
        let authority = uri.authority().ok_or("a URL without a host")?.clone();
        *request.uri_mut() = uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        match uri.scheme_str() {
            Some("https") => {
                let stream = tokio::time::timeout(CONNECT, self.secured(&uri)).await??;
                talk(stream, request).await
            }
            _ => talk(tokio::time::timeout(CONNECT, connect(&uri, 80)).await??, request).await,
        }
    }

    async fn secured(&self, uri: &Uri) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static, BoxError> {
        let stream = connect(uri, 443).await?;
        let host = bare(uri.host().unwrap_or_default());
        let name = ServerName::try_from(host.to_owned())?;
        Ok(self.tls.connect(name, stream).await?)
    }

    fn note(&self, asked: Option<Duration>) {
        let mut known = self.asked.lock();
        *known = (*known).max(asked);
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn connect(uri: &Uri, port: u16) -> io::Result<TcpStream> {
    let host = bare(uri.host().unwrap_or_default());
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(port))).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// `[::1]` as `::1`.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The connection lives until its one answer is read.
async fn talk<S, B>(stream: S, request: Request<B>) -> Result<Response<Bytes>, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::<Incoming>::new(body, LARGEST).collect().await?;
        Ok::<_, BoxError>(Response::from_parts(parts, body.to_bytes()))
    };
    let mut answer = std::pin::pin!(answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        answered = &mut answer => answered,
        // It ends before the answer is read when the other side closes; what came is there to be read.
        _ = &mut connection => answer.await,
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let (parts, body) = client.exchange(request).await?.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

fn transport(transport: Transport) -> Error {
    Error::Other(Box::new(transport))
}

fn strange(place: &str, status: StatusCode) -> Error {
    transport(Transport::Strange(format!("{place} answered {status} without a reason")))
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

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(crate::clock::unix_millis());
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::acme::failure::Failure;
    use crate::acme::schedule::Setback;

    async fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        format!("http://{address}/directory")
    }

    fn client() -> Https {
        let made = rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap();
        Https::new(&[made.cert.der().to_vec()]).unwrap()
    }

    async fn refused(answer: &'static str) -> (Failure, Option<Duration>) {
        let (client, url) = (client(), answering(answer).await);
        let error = client.document::<serde_json::Value>(&url).await.unwrap_err();
        (Failure::from(error), client.asked())
    }

    #[tokio::test]
    async fn a_document_comes_with_its_retry_after() {
        let url = answering("HTTP/1.1 200 OK\r\nretry-after: 7\r\ncontent-length: 7\r\n\r\n{\"a\":1}").await;
        let (document, again) = client().document::<serde_json::Value>(&url).await.unwrap();
        assert_eq!((document["a"].as_u64(), again), (Some(1), Some(Duration::from_secs(7))));
    }

    #[tokio::test]
    async fn a_refusal_says_why_and_for_how_long() {
        let (failure, asked) =
            refused("HTTP/1.1 429 No\r\nretry-after: 60\r\ncontent-length: 23\r\n\r\n{\"detail\":\"too much\"}  ")
                .await;
        assert_eq!((failure.words.as_str(), asked), ("too much", Some(Duration::from_secs(60))));
        assert_eq!(failure.setback, Setback::Refused);
    }

    #[tokio::test]
    async fn what_is_no_answer_of_the_protocol_is_named() {
        let (failure, _) = refused("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\n\r\n<html>").await;
        assert!(failure.words.ends_with("answered 502 Bad Gateway without a reason"), "{failure}");
        let (failure, _) = refused("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>").await;
        assert!(failure.words.starts_with("the CA's answer is none of the protocol's"), "{failure}");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut() {
        let (failure, _) = refused("HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\nx").await;
        assert!(!failure.words.is_empty(), "{failure}");
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let failure = Failure::from(client().document::<serde_json::Value>(&url).await.unwrap_err());
        assert_eq!(failure.setback, Setback::Unreachable);
        assert!(failure.words.contains("127.0.0.1"), "{failure}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let of = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]));
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        assert_eq!(of("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        assert!(of("Fri, 31 Dec 2100 23:59:59 GMT").is_some_and(|wait| wait > Duration::from_secs(86400 * 365)));
        assert_eq!(of("soon"), None);
    }
}
