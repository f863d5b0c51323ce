//! An upstream that speaks HTTP/2 by hand, frame by frame (RFC 9113 §4.1), so that it can misbehave at any point.
//!
//! It never decodes a header block: what a request says is none of its business, only that it came (and what its block was). `:status 200` is the
//! one octet 0x88 (RFC 7541, appendix A).

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::origin::After;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const END_STREAM: u8 = 1;
const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
/// `:status: 200`
pub const OK: &[u8] = &[0x88];

type Script = dyn Fn(&mut Peer, u32, usize) -> After + Send + Sync;

/// A running upstream.
pub struct Frames {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    requests: AtomicUsize,
    connections: AtomicUsize,
    stopped: AtomicBool,
    blocks: Mutex<Vec<Vec<u8>>>,
}

/// One connection.
pub struct Peer {
    stream: TcpStream,
}

impl Frames {
    /// Calls the script for every request: its stream, and how many came before it.
    pub fn start(script: impl Fn(&mut Peer, u32, usize) -> After + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let (ours, script) = (Arc::clone(&state), Arc::new(script) as Arc<Script>);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ours.stopped.load(Ordering::SeqCst) {
                    return;
                }
                ours.connections.fetch_add(1, Ordering::SeqCst);
                let (state, script) = (Arc::clone(&ours), Arc::clone(&script));
                std::thread::spawn(move || serve(stream, &state, &*script));
            }
        });
        Self { address, state }
    }

    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Request heads that came.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// The header blocks of the requests that came in one frame each, undecoded.
    pub fn blocks(&self) -> Vec<Vec<u8>> {
        self.state.blocks.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

fn serve(stream: TcpStream, state: &State, script: &Script) {
    let _ = stream.set_nodelay(true);
    let mut peer = Peer { stream };
    let mut preface = [0u8; 24];
    if peer.stream.read_exact(&mut preface).is_err() {
        return;
    }
    peer.frame(SETTINGS, 0, 0, &[]);
    while let Some((kind, flags, stream, payload)) = peer.next() {
        match kind {
            SETTINGS if flags & ACK == 0 => _ = peer.frame(SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => _ = peer.frame(PING, ACK, 0, &payload),
            HEADERS => {
                state.blocks.lock().unwrap().push(payload);
                let before = state.requests.fetch_add(1, Ordering::SeqCst);
                match script(&mut peer, stream, before) {
                    After::Keep => {}
                    After::Close => return drop(peer.stream.shutdown(Shutdown::Both)),
                    After::Reset => {
                        return drop(socket2::SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)));
                    }
                }
            }
            _ => {}
        }
    }
}

impl Peer {
    /// Sends one frame; false when the edge has left.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        self.stream.write_all(&bytes).is_ok()
    }

    /// The head of an answer: status 200.
    pub fn head(&mut self, stream: u32, flags: u8) -> bool {
        self.frame(HEADERS, flags | END_HEADERS, stream, OK)
    }

    /// A whole answer.
    pub fn answer(&mut self, stream: u32, body: &str) -> bool {
        self.head(stream, 0) && self.frame(DATA, END_STREAM, stream, body.as_bytes())
    }

    pub fn reset(&mut self, stream: u32, code: u32) -> bool {
        self.frame(RST_STREAM, 0, stream, &code.to_be_bytes())
    }

    /// `last`: the last stream that is, or may be, served.
    pub fn goaway(&mut self, last: u32, code: u32) -> bool {
        self.frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
    }

    /// Bytes that are no frame.
    pub fn raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next frame: its kind, flags, stream and payload.
    pub fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0u8; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]), payload))
    }

    /// Waits until the edge resets that stream or ends the connection; true: it was a reset.
    pub fn wait_reset(&mut self, stream: u32) -> bool {
        while let Some((kind, _, of, _)) = self.next() {
            if kind == RST_STREAM && of == stream {
                return true;
            }
        }
        false
    }
}
