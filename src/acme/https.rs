//! The conversation with a CA, one connection a request: few are made, and none has to be watched while nothing is said.
//!
//! Bounded in time and size, whatever the CA does. What a refusal says about waiting is kept for the one who asked.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::outbound::{self, Client, Limits};

use super::failure::Transport;

/// Of a request; chains and directories are a few KiB.
const LIMITS: Limits = Limits { connect: Duration::from_secs(10), total: Duration::from_secs(30), body: 1 << 20 };

/// A client that trusts the system's CAs and some more. Cheap to clone; clones share what was asked for.
#[derive(Clone)]
pub struct Https {
    client: Client,
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
        let client = Client::new(further).map_err(|_| NoTrust)?;
        Ok(Self { client, asked: Arc::default() })
    }

    /// One that shares the trust, and has been told nothing yet.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self { client: self.client.clone(), asked: Arc::default() }
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
        let request = Request::get(url).body(Bytes::new())?;
        let answer = self.exchange(request).await?;
        let again = asked_to_wait(answer.headers());
        Ok((serde_json::from_slice(answer.body())?, again))
    }

    /// One request. A refusal without a problem document is an error here, as is any refused GET.
    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let reading = request.method() == http::Method::GET;
        let place = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let answer = self.client.exchange(request, LIMITS).await;
        let answer = answer.map_err(|failure| transport(Transport::Unreachable(failure.to_string())))?;
        let status = answer.status();
        if status.is_client_error() || status.is_server_error() {
            self.note(asked_to_wait(answer.headers()));
            return match serde_json::from_slice::<Problem>(answer.body()) {
                Ok(problem) if reading => Err(Error::Api(problem)),
                Ok(_) => Ok(answer),
                Err(_) => Err(strange(&place, status)),
            };
        }
        Ok(answer)
    }

    fn note(&self, asked: Option<Duration>) {
        let mut known = self.asked.lock();
        *known = (*known).max(asked);
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let request = Request::from_parts(parts, body.to_bytes());
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

fn asked_to_wait(headers: &HeaderMap) -> Option<Duration> {
    outbound::retry_after(headers, crate::clock::unix_millis())
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
}
