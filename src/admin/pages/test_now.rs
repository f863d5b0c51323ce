//! Whether an upstream takes a token: one `GET` of what a route that carries it leads to, with the token, and nothing else.
//!
//! The route decides where it goes, so that a token goes nowhere that requests do not carry it. Which answer comes does not
//! matter, unless it is 401 or 403. What comes back is not shown: it could repeat what was sent.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};

use crate::credential::record::TokenId;
use crate::credential::vault::{Lease, Spec, Token};
use crate::outbound::{Client, Limits};
use crate::table::Table;
use crate::table::credential::{Credential, Source};
use crate::table::route::Forward;
use crate::table::upstream::{Endpoint, Scheme};

use super::super::Shared;

const LIMITS: Limits = Limits { connect: Duration::from_secs(5), total: Duration::from_secs(15), body: 64 * 1024 };

/// How a test ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Tested {
    /// The answer is any but 401 and 403.
    Taken {
        /// What was asked.
        url: String,
        /// What it answered.
        status: StatusCode,
    },
    /// 401 or 403.
    Refused {
        /// What was asked.
        url: String,
        /// What it answered.
        status: StatusCode,
    },
    /// No route carries it to somewhere that can be asked from here.
    NoRoute,
    /// The vault does not lend it.
    NotLent,
    /// Why there was no answer.
    NoAnswer(String),
}

/// Asks.
pub async fn test(shared: &Shared, token: &Token) -> Tested {
    let table = shared.parts.reloader.current();
    let Some(target) = Target::of(&table, token) else { return Tested::NoRoute };
    let Some(lease) = lease(shared, target.spec, &token.id).await else { return Tested::NotLent };
    let Some(request) = target.request(&lease) else { return Tested::NoRoute };
    // As the route trusts: its own CA and nobody else. Reading the system's CAs takes its time.
    let ca = target.forward.upstream.ca.clone();
    let made = tokio::task::spawn_blocking(move || match ca {
        Some(ca) => Client::only(&ca.certificates),
        None => Client::new(&[]),
    });
    let client = match made.await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Tested::NoAnswer(error.to_string()),
        Err(error) => return Tested::NoAnswer(error.to_string()),
    };
    let url = target.url();
    match client.exchange(request, LIMITS).await.map(|answer| answer.status()) {
        Ok(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) => Tested::Refused { url, status },
        Ok(status) => Tested::Taken { url, status },
        Err(failure) => Tested::NoAnswer(failure.to_string()),
    }
}

/// That token and no other; what the vault thinks of waiting applies.
async fn lease(shared: &Shared, spec: &Spec, id: &TokenId) -> Option<Lease> {
    let others = shared.parts.vault.tokens().into_iter().filter(|token| token.id != *id);
    let others: Vec<(TokenId, u64)> = others.map(|token| (token.id, token.generation)).collect();
    let lease = shared.parts.vault.lease(spec, &others).await.ok()?;
    (lease.id == *id).then_some(lease)
}

/// Where a token goes.
struct Target<'t> {
    forward: &'t Forward,
    endpoint: &'t Arc<Endpoint>,
    credential: &'t Credential,
    spec: &'t Spec,
}

impl<'t> Target<'t> {
    /// The first route that carries tokens of that provider to where this process can ask for itself: an upstream that is verified by
    /// its own name, without a certificate of ours, and by https but on this machine.
    fn of(table: &'t Table, token: &Token) -> Option<Self> {
        table.routes.iter().filter_map(|route| route.forward()).find_map(|forward| {
            let credential = forward.credential.as_deref()?;
            let Source::Pool { spec, .. } = &credential.source else { return None };
            let endpoint = forward.upstream.endpoints.first()?;
            let target = Self { forward, endpoint, credential, spec };
            (spec.provider == token.provider && target.can_be_asked()).then_some(target)
        })
    }

    fn can_be_asked(&self) -> bool {
        let upstream = &self.forward.upstream;
        let own_name = upstream.server_name.as_ref().is_none_or(|name| *name == self.endpoint.host);
        let is_local = self.endpoint.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let safe = upstream.scheme == Scheme::Https || is_local;
        safe && own_name && upstream.verify && upstream.client_certificate.is_none()
    }

    fn url(&self) -> String {
        let scheme = match self.forward.upstream.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let authority = self.endpoint.authority.to_str().unwrap_or(&self.endpoint.label);
        let path = self.forward.base_path.as_deref().filter(|path| path.starts_with('/')).unwrap_or("/");
        format!("{scheme}://{authority}{path}")
    }

    fn request(&self, lease: &Lease) -> Option<Request<Bytes>> {
        let value = self.credential.value(&lease.token)?;
        Request::get(self.url()).header(&self.credential.header, value).body(Bytes::new()).ok()
    }
}
