//! Which of a name's addresses is connected to: happy eyeballs (RFC 8305).
//!
//! Pingora connects a peer to one address and knows pooled connections by it. So a [`Dial`] stands behind the peer of a
//! name with several addresses: it starts with the peer's own one, tries the next when that fails or takes longer than
//! [`DELAY`], and keeps whatever connects first. If that is another address than the peer's, the attempt is given up and
//! repeated at once with the right peer, which finds the connection made; to the request it is one attempt.
//!
//! Who lost is not asked first for a while ([`super::resolve::Name::shun`]). All addresses are those that were checked.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::{Error, ErrorType, Result};
use tokio::net::TcpStream;

use super::resolve::Name;
use crate::table::Endpoint;

/// After so long without an answer the next address is tried as well (RFC 8305 §5).
const DELAY: Duration = Duration::from_millis(250);

/// Connects one attempt to one of the addresses of a name.
#[derive(Debug)]
pub struct Dial {
    /// Whose addresses they are.
    pub endpoint: Arc<Endpoint>,
    name: Arc<Name>,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Not known to fail, the best first.
    open: Vec<SocketAddr>,
    /// A connection that is there already.
    made: Option<(SocketAddr, TcpStream)>,
}

/// What is left to do after an attempt that did not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Another address has answered: the same attempt goes on there.
    Made,
    /// There are addresses that were not tried.
    Others,
    /// Nothing.
    Nothing,
}

impl Dial {
    /// For an endpoint with these addresses (at least two), in this order.
    pub fn new(endpoint: &Arc<Endpoint>, name: Arc<Name>, addresses: Vec<SocketAddr>, patience: Duration) -> Arc<Self> {
        let state = Mutex::new(State { open: addresses, made: None });
        Arc::new(Self { endpoint: Arc::clone(endpoint), name, patience, state })
    }

    /// The address for the next peer.
    pub fn address(&self) -> Option<SocketAddr> {
        let state = self.state.lock();
        state.made.as_ref().map(|(address, _)| *address).or_else(|| state.open.first().copied())
    }

    /// What is left after this error of the peer with [`Self::address`].
    pub fn left(&self, error: &Error) -> Left {
        let mut state = self.state.lock();
        if state.made.is_some() {
            return Left::Made;
        }
        // A connect that has used its time up has had all of them.
        if *error.etype() == ErrorType::ConnectTimedout {
            state.open.clear();
        }
        if state.open.is_empty() {
            return Left::Nothing;
        }
        // It connected and then failed: its TLS, most likely.
        let failed = state.open.remove(0);
        self.name.shun(&[failed.ip()]);
        if state.open.is_empty() { Left::Nothing } else { Left::Others }
    }

    fn made(&self, wanted: SocketAddr) -> Option<TcpStream> {
        let made = self.state.lock().made.take();
        made.filter(|(address, _)| *address == wanted).map(|(_, stream)| stream)
    }

    /// Takes note of a race; answers the stream if it leads to the address that the peer wants.
    fn settle(&self, wanted: SocketAddr, race: Race) -> Result<Stream> {
        let mut state = self.state.lock();
        let lost: Vec<_> = race.lost.iter().map(SocketAddr::ip).collect();
        match race.outcome {
            Ok((winner, stream)) => {
                self.name.shun(&lost);
                state.open.retain(|address| !race.lost.contains(address));
                if winner == wanted {
                    return Ok(stream.into());
                }
                state.made = Some((winner, stream));
                Error::e_explain(ErrorType::ConnectError, "another address answered first")
            }
            Err(error) => {
                state.open.clear();
                Error::e_because(kind(&error), "no address can be connected to", error)
            }
        }
    }
}

#[async_trait]
impl L4Connect for Dial {
    async fn connect(&self, address: &PeerAddress) -> Result<Stream> {
        let wanted = *address.as_inet().ok_or_else(|| Error::explain(ErrorType::ConnectError, "not an address"))?;
        if let Some(stream) = self.made(wanted) {
            return Ok(stream.into());
        }
        let addresses = self.state.lock().open.clone();
        match tokio::time::timeout(self.patience, race(&addresses)).await {
            Ok(race) => self.settle(wanted, race),
            Err(_) => Error::e_explain(ErrorType::ConnectTimedout, "no address could be connected to in time"),
        }
    }
}

/// As Pingora files them.
fn kind(error: &io::Error) -> ErrorType {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::AddrNotAvailable => {
            ErrorType::ConnectNoRoute
        }
        _ => ErrorType::ConnectError,
    }
}

/// How a race ended.
struct Race {
    /// The first that connected; else why the first of all did not.
    outcome: io::Result<(SocketAddr, TcpStream)>,
    /// Who had begun before the winner, and had not connected when it had.
    lost: Vec<SocketAddr>,
}

/// Connects to the first address that lets itself be connected to. Each gets a head start of [`DELAY`], or until it fails.
async fn race(addresses: &[SocketAddr]) -> Race {
    let mut waiting = addresses.iter().copied();
    let mut running = FuturesUnordered::new();
    let (mut begun, mut first_error) = (Vec::with_capacity(addresses.len()), None);
    loop {
        if let Some(address) = waiting.next() {
            begun.push(address);
            running.push(async move { (address, TcpStream::connect(address).await) });
        }
        let alone = waiting.len() == 0;
        let ended = tokio::select! {
            biased;
            ended = running.next() => ended,
            () = tokio::time::sleep(DELAY), if !alone => None,
        };
        match ended {
            Some((winner, Ok(stream))) => {
                begun.retain(|address| *address != winner);
                return Race { outcome: Ok((winner, stream)), lost: begun };
            }
            Some((_, Err(error))) => {
                first_error.get_or_insert(error);
            }
            None => {}
        }
        if alone && running.is_empty() {
            let error = first_error.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable));
            return Race { outcome: Err(error), lost: begun };
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A port that nobody listens on, at this address.
    async fn refusing(ip: &str) -> SocketAddr {
        TcpListener::bind((ip, 0)).await.unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn whoever_refuses_costs_no_time_and_is_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (dead, alive) = (refusing("127.0.0.2").await, listener.local_addr().unwrap());
        let begun = std::time::Instant::now();
        let Race { outcome, lost } = race(&[dead, alive]).await;
        assert_eq!((outcome.unwrap().0, lost), (alive, vec![dead]));
        assert!(begun.elapsed() < DELAY, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn the_first_that_answers_wins_and_the_others_are_not_asked() {
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = first.local_addr().unwrap();
        let Race { outcome, lost } = race(&[address, refusing("127.0.0.2").await]).await;
        assert_eq!((outcome.unwrap().0, lost), (address, vec![]));
    }

    #[tokio::test]
    async fn when_all_fail_the_first_says_why() {
        let Race { outcome, lost } = race(&[refusing("127.0.0.1").await, refusing("127.0.0.2").await]).await;
        assert_eq!((outcome.unwrap_err().kind(), lost.len()), (io::ErrorKind::ConnectionRefused, 2));
        assert!(race(&[]).await.outcome.is_err());
    }
}
