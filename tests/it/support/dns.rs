//! A name server of the tests' own on 127.0.0.1, so that no test asks the world.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Answers A queries for the names it knows and NXDOMAIN for all others.
pub struct Dns {
    pub address: SocketAddr,
    pub queries: Arc<AtomicUsize>,
    names: Arc<Mutex<Names>>,
    turning: Arc<Mutex<Vec<Turning>>>,
    silent: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

type Names = Vec<(&'static str, Ipv4Addr)>;

/// A name whose answers take turns.
struct Turning {
    name: &'static str,
    answers: Vec<Vec<Ipv4Addr>>,
    /// How many times it has been asked for addresses.
    asked: usize,
}

impl Dns {
    /// Knows these names; one that occurs twice has two addresses.
    pub fn start(names: &[(&'static str, Ipv4Addr)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind a name server");
        let address = socket.local_addr().expect("an address");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let (stop, queries) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&queries));
        let (names, silent) = (Arc::new(Mutex::new(names.to_vec())), Arc::new(AtomicBool::new(false)));
        let (known, quiet) = (Arc::clone(&names), Arc::clone(&silent));
        let turning = Arc::new(Mutex::new(Vec::<Turning>::new()));
        let turns = Arc::clone(&turning);
        std::thread::spawn(move || {
            let mut packet = [0u8; 1500];
            while !stopped.load(Ordering::SeqCst) {
                if let Ok((count, from)) = socket.recv_from(&mut packet) {
                    counted.fetch_add(1, Ordering::SeqCst);
                    if !quiet.load(Ordering::SeqCst) {
                        let mut names = known.lock().unwrap().clone();
                        names.extend(turn(&packet[..count], &mut turns.lock().unwrap()));
                        let _ = socket.send_to(&answer(&packet[..count], &names), from);
                    }
                }
            }
        });
        Self { address, queries, names, turning, silent, stop }
    }

    /// That name is answered with the first of these, the next time with the second, and so on, over and over.
    pub fn turns(&self, name: &'static str, answers: &[&[Ipv4Addr]]) {
        let answers = answers.iter().map(|addresses| addresses.to_vec()).collect();
        self.turning.lock().unwrap().push(Turning { name, answers, asked: 0 });
    }

    /// How many times a name of [`Self::turns`] has been asked for addresses.
    pub fn asked(&self, name: &str) -> usize {
        self.turning.lock().unwrap().iter().filter(|it| it.name == name).map(|it| it.asked).sum()
    }

    /// From now on these are the names.
    pub fn set(&self, names: &[(&'static str, Ipv4Addr)]) {
        *self.names.lock().unwrap() = names.to_vec();
    }

    /// From now on it hears and says nothing.
    pub fn silence(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// How many queries it has heard.
    pub fn heard(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Whose turn it is, if the query is about a name that takes turns.
fn turn(query: &[u8], turning: &mut [Turning]) -> Names {
    let Some((name, end)) = name(query) else { return Vec::new() };
    let Some(it) = turning.iter_mut().find(|it| it.name == name) else { return Vec::new() };
    let addresses = it.answers[it.asked % it.answers.len()].clone();
    it.asked += usize::from(query.get(end..end + 2) == Some(&[0, 1]));
    addresses.into_iter().map(|address| (it.name, address)).collect()
}

/// RFC 1035 §4: the question comes back with the answer, if there is one.
fn answer(query: &[u8], names: &[(&str, Ipv4Addr)]) -> Vec<u8> {
    let Some((name, end)) = name(query) else { return Vec::new() };
    let kind = query.get(end..end + 2).map_or(0, |kind| u16::from_be_bytes([kind[0], kind[1]]));
    let known: Vec<_> = names.iter().filter(|(own, _)| *own == name).collect();
    let addresses: Vec<_> = known.iter().filter(|_| kind == 1).map(|(_, address)| *address).collect();
    let code = if known.is_empty() { 3 } else { 0 };
    let count = u8::try_from(addresses.len()).expect("a few addresses");
    let mut out = query[..2].to_vec();
    out.extend_from_slice(&[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    out.extend_from_slice(&query[12..end + 4]);
    for address in addresses {
        out.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        out.extend_from_slice(&address.octets());
    }
    out
}

/// The question's name, lower case, and where it ends.
fn name(query: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        if length == 0 {
            return Some((labels.join("."), at + 1)).filter(|(_, end)| query.len() >= end + 4);
        }
        labels.push(String::from_utf8_lossy(query.get(at + 1..at + 1 + length)?).to_ascii_lowercase());
        at += 1 + length;
    }
}
