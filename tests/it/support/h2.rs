//! A raw HTTP/2 client: frames in, frames out, with deadlines. It sends whatever it is told, and keeps to nothing by itself but
//! the preface. Every response passes the leak guard.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::hpack::{self, Decoder};
use super::leak;
use super::message::Fields;
use super::wait::PATIENCE;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITIZED: u8 = 32;

pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const INTERNAL_ERROR: u32 = 2;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With END_STREAM.
    Clean,
    /// RST_STREAM with that code.
    Reset(u32),
    /// The connection was given up with that code.
    Away(u32),
    /// The connection was closed without a word.
    Closed,
    /// Nothing more came.
    Patience,
}

/// What came on one stream.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The 1xx answers before it.
    pub interim: Vec<(u16, Fields)>,
    pub end: Option<End>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    /// The code of an error of the edge's own.
    pub fn code(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        json["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// One connection.
pub struct H2 {
    stream: TcpStream,
    buffer: Vec<u8>,
    decoder: Decoder,
    block: Vec<u8>,
    pub answers: BTreeMap<u32, Answer>,
    /// All frames received, without the payload of DATA.
    pub seen: Vec<Frame>,
    /// How the connection ended, when it did.
    pub ended: Option<End>,
    /// Whether it is closed.
    pub closed: bool,
    pub patience: Duration,
    next: u32,
    /// Whether windows are opened again as data comes, and settings and pings acknowledged.
    pub polite: bool,
}

impl H2 {
    /// Connects, and sends the preface and empty settings.
    pub fn connect(address: SocketAddr) -> Self {
        let mut client = Self::silent(address);
        client.send(PREFACE).frame(SETTINGS, 0, 0, &[]);
        client
    }

    /// Connects and sends nothing.
    pub fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("connect to the edge");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
        Self {
            stream,
            buffer: Vec::new(),
            decoder: Decoder::default(),
            block: Vec::new(),
            answers: BTreeMap::new(),
            seen: Vec::new(),
            ended: None,
            closed: false,
            patience: PATIENCE,
            next: 1,
            polite: true,
        }
    }

    /// Sends bytes; the other side may have closed, which the reading will tell.
    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        let _ = self.stream.write_all(bytes);
        self
    }

    /// Sends bytes; whether they were taken.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends one frame.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> &mut Self {
        let bytes = frame(kind, flags, stream, payload);
        self.send(&bytes)
    }

    /// Sends a request's head; `{end}`: nothing follows.
    pub fn head(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) -> &mut Self {
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.frame(HEADERS, flags, stream, &hpack::encode(fields))
    }

    /// A polite request; which stream it is.
    pub fn request(&mut self, method: &str, path: &str, further: &[(&str, &str)], end: bool) -> u32 {
        let stream = self.next;
        self.next += 2;
        let mut fields = vec![(":method", method), (":scheme", "http"), (":authority", "demo.test"), (":path", path)];
        fields.extend_from_slice(further);
        self.head(stream, &fields, end);
        stream
    }

    /// A polite GET, and its answer.
    pub fn get(&mut self, path: &str) -> Answer {
        let stream = self.request("GET", path, &[], true);
        self.answer(stream)
    }

    /// Data of a request.
    pub fn data(&mut self, stream: u32, data: &[u8], end: bool) -> &mut Self {
        self.frame(DATA, if end { END_STREAM } else { 0 }, stream, data)
    }

    /// Reads until the stream has ended; what came on it.
    pub fn answer(&mut self, stream: u32) -> Answer {
        let end = self.until(|client| client.answers.get(&stream).and_then(|answer| answer.end));
        let mut answer = self.answers.get(&stream).cloned().unwrap_or_default();
        answer.end = answer.end.or(end).or(self.ended).or(Some(End::Patience));
        answer
    }

    /// Reads until `found` finds something, or the connection has ended, or patience has.
    pub fn until<T>(&mut self, mut found: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(found) = found(self) {
                return Some(found);
            }
            if self.closed || !self.read(deadline) {
                return found(self);
            }
        }
    }

    /// Reads until the connection has ended: GOAWAY's code, or a close; `None` when nothing of the kind comes.
    pub fn end(&mut self) -> Option<End> {
        self.until(|client| client.ended)
    }

    /// Reads until the connection is closed; whether it was.
    pub fn closed(&mut self) -> bool {
        let deadline = Instant::now() + self.patience;
        while !self.closed && self.read(deadline) {}
        self.closed
    }

    /// Reads what is there already; whether the connection has ended.
    pub fn glance(&mut self) -> bool {
        while self.read(Instant::now() + Duration::from_millis(1)) {}
        self.ended.is_some()
    }

    /// Reads and keeps to the protocol until a PING comes back: everything sent before has been seen by the edge.
    pub fn ping(&mut self) -> bool {
        let mark = self.seen.len();
        self.frame(PING, 0, 0, b"roundtri");
        self.until(|client| {
            let pong = |frame: &Frame| frame.kind == PING && frame.flags & ACK != 0;
            client.seen[mark.min(client.seen.len())..].iter().any(pong).then_some(())
        })
        .is_some()
    }

    /// Reads once; false when nothing came before the deadline, or the connection is closed.
    fn read(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let _ = self.stream.set_read_timeout(Some(left));
        let mut space = vec![0; 64 * 1024];
        match self.stream.read(&mut space) {
            Ok(0) => self.close(),
            Ok(count) => {
                self.buffer.extend_from_slice(&space[..count]);
                while let Some(frame) = self.take() {
                    self.note(frame);
                }
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
            Err(_) => self.close(),
        }
    }

    fn close(&mut self) -> bool {
        self.closed = true;
        self.ended.get_or_insert(End::Closed);
        false
    }

    fn take(&mut self) -> Option<Frame> {
        let head = self.buffer.get(..9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        assert!(length <= 16_384, "a frame of {length} bytes, which nobody allowed");
        let whole = self.buffer.get(..9 + length)?.to_vec();
        self.buffer.drain(..whole.len());
        let stream = u32::from_be_bytes([whole[5], whole[6], whole[7], whole[8]]) & 0x7fff_ffff;
        Some(Frame { kind: whole[3], flags: whole[4], stream, payload: whole[9..].to_vec() })
    }

    fn note(&mut self, frame: Frame) {
        match frame.kind {
            HEADERS | CONTINUATION => self.note_block(&frame),
            DATA => self.note_data(&frame),
            RST_STREAM => {
                // Behind a whole answer it only says that the rest of the request is not wanted (RFC 9113 §8.1).
                let end = &mut self.entry(frame.stream).end;
                if *end != Some(End::Clean) || code(&frame.payload) != NO_ERROR {
                    *end = Some(End::Reset(code(&frame.payload)));
                }
            }
            GOAWAY => self.ended = Some(End::Away(code(&frame.payload[4..]))),
            SETTINGS | PING if self.polite && frame.flags & ACK == 0 => {
                let payload = if frame.kind == PING { frame.payload.clone() } else { Vec::new() };
                self.frame(frame.kind, ACK, 0, &payload);
            }
            _ => {}
        }
        let payload = if frame.kind == DATA { Vec::new() } else { frame.payload };
        self.seen.push(Frame { payload, ..frame });
    }

    fn note_block(&mut self, frame: &Frame) {
        self.block.extend_from_slice(&frame.payload);
        if frame.flags & END_HEADERS == 0 {
            return;
        }
        let fields = self.decoder.decode(&std::mem::take(&mut self.block));
        let status = fields.get(":status").and_then(|status| status.parse::<u16>().ok());
        let answer = self.entry(frame.stream);
        match status {
            Some(status) if status < 200 => answer.interim.push((status, fields)),
            Some(status) => {
                assert!(!fields.has("connection") && !fields.has("transfer-encoding"), "{fields:?}");
                leak::check_head(status, &fields);
                (answer.status, answer.fields) = (status, fields);
            }
            None => answer.trailers = fields,
        }
        if frame.kind == HEADERS && frame.flags & END_STREAM != 0 {
            answer.end = Some(End::Clean);
        }
    }

    fn note_data(&mut self, frame: &Frame) {
        let answer = self.entry(frame.stream);
        answer.body.extend_from_slice(&frame.payload);
        if frame.flags & END_STREAM != 0 {
            answer.end = Some(End::Clean);
        }
        if self.polite && !frame.payload.is_empty() {
            let count = u32::try_from(frame.payload.len()).expect("a frame").to_be_bytes();
            let (stream, is_open) = (frame.stream, frame.flags & END_STREAM == 0);
            self.frame(WINDOW_UPDATE, 0, 0, &count);
            if is_open {
                self.frame(WINDOW_UPDATE, 0, stream, &count);
            }
        }
    }

    fn entry(&mut self, stream: u32) -> &mut Answer {
        self.answers.entry(stream).or_default()
    }
}

fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]])
}

/// One frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).expect("a payload").to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// One setting's bytes.
pub fn setting(name: u16, value: u32) -> Vec<u8> {
    [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
}
