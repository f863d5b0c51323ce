//! How a call reaches its provider: the seam that tests replace.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use crate::credential::provider::{Call, LIMITS, Provider};
use crate::outbound::{Client, Failure};

/// An answer, as it came.
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its head.
    pub headers: HeaderMap,
    /// All of its body. Holds secrets.
    pub body: Bytes,
}

/// What comes of a call.
pub type Replying<'a> = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>>;

/// Sends calls.
pub trait Courier: Send + Sync + fmt::Debug {
    /// Sends one, once.
    fn send<'a>(&'a self, provider: &'a Arc<Provider>, call: Call) -> Replying<'a>;
}

/// Over the network.
#[derive(Debug, Default)]
pub struct Network {
    /// One client for each set of CAs.
    clients: Mutex<Vec<(Vec<Vec<u8>>, Client)>>,
}

impl Courier for Network {
    fn send<'a>(&'a self, provider: &'a Arc<Provider>, call: Call) -> Replying<'a> {
        Box::pin(async move {
            let client = self.client(&provider.anchors)?;
            let request = call.request().map_err(|error| Failure::Unsent(error.to_string()))?;
            let answer = client.exchange(request, LIMITS).await?;
            let (head, body) = answer.into_parts();
            Ok(Reply { status: head.status, headers: head.headers, body })
        })
    }
}

impl Network {
    /// The system's CAs are read once for each set of further ones.
    fn client(&self, anchors: &[Vec<u8>]) -> Result<Client, Failure> {
        let mut clients = self.clients.lock();
        if let Some((_, client)) = clients.iter().find(|(known, _)| known == anchors) {
            return Ok(client.clone());
        }
        let client = Client::new(anchors).map_err(|none| Failure::Unsent(none.to_string()))?;
        clients.push((anchors.to_vec(), client.clone()));
        Ok(client)
    }
}
