//! One health check: `GET` over a connection of its own, and what the answer means.

use std::sync::OnceLock;

use http::{Version, header};
use pingora::upstreams::peer::HttpPeer;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;

use super::dial::Left;
use super::failure::describe;
use super::health::Subject;
use super::peer::{Bounds, Peers, Probe};
use crate::table::route::Timeouts;
use crate::table::upstream::{Http2, Scheme};

/// What the checks call themselves.
const USER_AGENT: &str = concat!("countersign-health/", env!("CARGO_PKG_VERSION"));
/// As much of an answer's body is read, so that the upstream sees a regular end.
const BODY: usize = 64 * 1024;
/// Peers of one check at most: the addresses of a name, and who answered first among them.
const PEERS: usize = 16;

/// Asks. Its connections are not those of requests.
#[derive(Default)]
pub(super) struct Prober {
    /// Made at the first check, as it reads the system's trust store.
    connector: OnceLock<Connector>,
}

impl Prober {
    /// Asks once; answers what makes it healthy, or what does not.
    pub(super) async fn ask(&self, peers: &Peers, subject: &Subject) -> Result<String, String> {
        let connector = self.connector.get_or_init(|| Connector::new(None));
        let timeouts = Timeouts { connect: subject.health.timeout, ..Timeouts::default() };
        let bounds = Bounds { internal: &subject.internal, guarded: subject.guarded, private: false };
        let probe = Probe { upstream: &subject.upstream, endpoint: &subject.endpoint, timeouts, bounds };
        let mut again = None;
        for _ in 0..PEERS {
            let (peer, dial) = peers.probe(&probe, again.as_ref()).await.map_err(|none| none.detail)?;
            match connector.get_http_session::<HttpPeer>(&peer).await {
                Ok((session, _)) => return exchange(session, subject).await,
                Err(error) => match dial.filter(|dial| dial.left(&error) != Left::Nothing) {
                    Some(dial) => again = Some(dial),
                    None => return Err(describe(&error)),
                },
            }
        }
        Err("no address can be connected to".to_owned())
    }
}

async fn exchange(mut session: HttpSession, subject: &Subject) -> Result<String, String> {
    let status = answer(&mut session, subject).await.map_err(|error| describe(&error))?;
    // The verdict is there; the rest is politeness.
    let mut left = BODY;
    while let Ok(Some(bytes)) = session.read_response_body().await {
        left = left.saturating_sub(bytes.len());
        if left == 0 {
            break;
        }
    }
    let good = match subject.health.status {
        Some(wanted) => status == wanted,
        None => status.is_success() || status.is_redirection(),
    };
    if good { Ok(format!("status {}", status.as_u16())) } else { Err(format!("status {}", status.as_u16())) }
}

async fn answer(session: &mut HttpSession, subject: &Subject) -> Result<http::StatusCode> {
    let is_http2 = matches!(session, HttpSession::H2(_));
    if !is_http2 && subject.upstream.http2 == Http2::Only {
        return Error::e_explain(ErrorType::Custom("does not speak HTTP/2"), "ALPN");
    }
    session.write_request_header(Box::new(head(subject, is_http2)?)).await?;
    session.finish_request_body().await?;
    loop {
        session.read_response_header().await?;
        let status = session.response_header().map(|head| head.status);
        match status {
            Some(status) if status.is_informational() => {}
            Some(status) => return Ok(status),
            None => return Error::e_explain(ErrorType::ConnectionClosed, "no head"),
        }
    }
}

fn head(subject: &Subject, is_http2: bool) -> Result<RequestHeader> {
    let (health, upstream) = (&subject.health, &subject.upstream);
    let host = health.host.as_deref().or(upstream.server_name.as_deref());
    let host = host.or_else(|| subject.endpoint.authority.to_str().ok()).unwrap_or_default();
    let mut head = RequestHeader::build(http::Method::GET, health.path.as_bytes(), Some(4))?;
    if is_http2 {
        let scheme = if upstream.scheme == Scheme::Https { "https" } else { "http" };
        let uri = http::Uri::builder().scheme(scheme).authority(host).path_and_query(&*health.path).build();
        head.set_uri(uri.map_err(|error| Error::because(ErrorType::InvalidHTTPHeader, "health", error))?);
        head.set_version(Version::HTTP_2);
    } else {
        head.insert_header(header::HOST, host)?;
        head.insert_header(header::CONNECTION, "close")?;
    }
    head.insert_header(header::USER_AGENT, USER_AGENT)?;
    head.insert_header(header::ACCEPT, "*/*")?;
    Ok(head)
}
