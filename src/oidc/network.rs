//! How an issuer is reached: bounded calls, trust that is read once.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use tokio::sync::{OnceCell, Semaphore};
use url::Url;

use crate::outbound::{Client, Failure, Limits};

/// What a call may take: somebody is waiting for it in front of his browser.
const LIMITS: Limits = Limits { connect: Duration::from_secs(4), total: Duration::from_secs(10), body: 256 * 1024 };

/// Calls to one issuer at one time: each is a connection, and anybody can begin a log-in.
const MOST: usize = 128;

/// The way to one issuer.
#[derive(Debug)]
pub struct Network {
    /// CA certificates beside the system's, DER.
    anchors: Vec<Vec<u8>>,
    client: OnceCell<Client>,
    turns: Semaphore,
}

impl Network {
    /// Trusts these too.
    pub fn new(anchors: Vec<Vec<u8>>) -> Self {
        Self { anchors, client: OnceCell::new(), turns: Semaphore::new(MOST) }
    }

    /// What it trusts beside the system's CAs.
    pub fn anchors(&self) -> &[Vec<u8>] {
        &self.anchors
    }

    /// Asks for a document. `authorization`: a header's value.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn get(&self, url: &Url, authorization: Option<HeaderValue>) -> Result<Response<Bytes>, Failure> {
        self.send(Request::get(url.as_str()), Bytes::new(), authorization).await
    }

    /// Sends a form.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn post(
        &self,
        url: &Url,
        form: String,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Bytes>, Failure> {
        let head = Request::post(url.as_str()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(head, form.into(), authorization).await
    }

    async fn send(
        &self,
        head: http::request::Builder,
        body: Bytes,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Bytes>, Failure> {
        let head = head.header(ACCEPT, "application/json");
        let mut request = head.body(body).map_err(|_| Failure::Unsent("a URL that cannot be sent".to_owned()))?;
        if let Some(mut value) = authorization {
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let turn = tokio::time::timeout(LIMITS.connect, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Failure::Unsent("too many calls to the issuer are under way".to_owned()));
        };
        self.client().await?.exchange(request, LIMITS).await
    }

    /// The system's CAs are read from files, once.
    async fn client(&self) -> Result<&Client, Failure> {
        let make = || async {
            let anchors = self.anchors.clone();
            let made = tokio::task::spawn_blocking(move || Client::new(&anchors)).await;
            let made = made.map_err(|error| Failure::Unsent(error.to_string()))?;
            made.map_err(|none| Failure::Unsent(none.to_string()))
        };
        self.client.get_or_try_init(make).await
    }
}
