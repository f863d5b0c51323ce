//! What an HTTP/2 client may cost: a meter that reads the heads of the frames that pass, in both directions, and says
//! when a client sends what moves no request forward.
//!
//! Two budgets. *Frames*: everything that is neither a request nor data is paid for from a store that refills with time,
//! with requests, and with every data frame that we send (a client answers those with window updates). *Resets*: streams
//! that the client resets, or makes us reset, are paid for by requests that it lets live; a client that resets every
//! request that it makes is through soon (CVE-2023-44487, CVE-2025-8671). Limits of one message (field sizes,
//! continuations, tiny data frames) are the codec's.
//!
//! Invariants: what is counted does not depend on how the bytes are cut into reads; data costs nothing, whatever its size.
//! RFC 9113 §4.1, §6, §10.5.

use std::time::Duration;

/// The client's magic before its first frame (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Which budget a client has used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// Frames that move nothing forward.
    Frames,
    /// Streams opened and reset.
    Resets,
}

impl Flood {
    /// For metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Resets => "resets",
        }
    }
}

/// Frames that a client may send at once beyond what its requests and our data pay for.
const FRAMES: Budget = Budget { most: 4000, per_second: 400 };
/// Twice as many resets as a client may make at once without a request in between.
const RESETS: Budget = Budget { most: 200, per_second: 20 };
/// Frames that come with a request: priorities, window updates.
const WITH_A_REQUEST: u32 = 8;
/// Frames that a data frame of ours may be answered with: an update of each window, and one for good measure.
const WITH_OUR_DATA: u32 = 3;
/// A data frame of ours below this was made small by a client that opens its window byte by byte.
const REAL_DATA: u32 = 32;
/// What a reset costs; a request pays 1 back.
const RESET_COST: u32 = 2;
/// Settings cost more than other frames: they are answered, and change every stream.
const SETTINGS_COST: u32 = 10;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;

/// Error codes that a client makes us answer with (RFC 9113 §7): PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED. Not
/// REFUSED_STREAM: a client may open more streams than it may have before it knows our settings.
const PROVOKED: [u32; 3] = [1, 3, 5];

/// The meter of one connection.
#[derive(Debug)]
pub struct Meter {
    received: Frames,
    sent: Frames,
    frames: Store,
    resets: Store,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            received: Frames::behind(PREFACE.len()),
            sent: Frames::default(),
            frames: Store::new(FRAMES),
            resets: Store::new(RESETS),
        }
    }
}

impl Meter {
    /// Bytes that the client sent, and when (since the connection began). Once it says what was used up, it is to be asked
    /// no more: the connection ends.
    pub fn received(&mut self, bytes: &[u8], now: Duration) -> Option<Flood> {
        self.frames.refill(now);
        self.resets.refill(now);
        let (frames, resets) = (&mut self.frames, &mut self.resets);
        let mut flood = None;
        self.received.advance(bytes, |frame| match frame.kind {
            DATA if frame.length > 0 || frame.flags & END_STREAM != 0 => {}
            HEADERS => {
                frames.give(WITH_A_REQUEST);
                resets.give(1);
            }
            RST_STREAM if !resets.take(RESET_COST) => flood = flood.or(Some(Flood::Resets)),
            RST_STREAM => {}
            kind if !frames.take(if kind == SETTINGS { SETTINGS_COST } else { 1 }) => {
                flood = flood.or(Some(Flood::Frames));
            }
            _ => {}
        });
        flood
    }

    /// Bytes that we sent, and what the client made of them.
    pub fn sent(&mut self, bytes: &[u8]) -> Option<Flood> {
        let (frames, resets) = (&mut self.frames, &mut self.resets);
        let mut flood = None;
        self.sent.advance(bytes, |frame| match frame.kind {
            DATA if frame.length >= REAL_DATA || frame.flags & END_STREAM != 0 => frames.give(WITH_OUR_DATA),
            RST_STREAM if PROVOKED.contains(&frame.code) && !resets.take(RESET_COST) => flood = Some(Flood::Resets),
            _ => {}
        });
        flood
    }
}

/// What may be used at once, and how fast it comes back.
#[derive(Clone, Copy, Debug)]
struct Budget {
    most: u32,
    per_second: u32,
}

#[derive(Debug)]
struct Store {
    budget: Budget,
    left: u32,
    refilled: Duration,
}

impl Store {
    fn new(budget: Budget) -> Self {
        Self { budget, left: budget.most, refilled: Duration::ZERO }
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.refilled).as_millis();
        let due = passed.saturating_mul(u128::from(self.budget.per_second)) / 1000;
        if due > 0 {
            self.give(u32::try_from(due).unwrap_or(u32::MAX));
            self.refilled = now;
        }
    }

    fn give(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.budget.most);
    }

    fn take(&mut self, count: u32) -> bool {
        let enough = self.left.checked_sub(count);
        self.left = enough.unwrap_or(0);
        enough.is_some()
    }
}

/// Finds the frames in a byte stream that comes in pieces.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD + CODE],
    have: usize,
    /// Of a payload, still to come.
    skip: usize,
}

/// One frame's head; of RST_STREAM the error code as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    flags: u8,
    length: u32,
    code: u32,
}

/// RFC 9113 §4.1.
const HEAD: usize = 9;
/// RFC 9113 §6.4.
const CODE: usize = 4;

impl Frames {
    /// Frames that begin after that many other bytes.
    fn behind(skip: usize) -> Self {
        Self { skip, ..Self::default() }
    }

    fn advance(&mut self, mut bytes: &[u8], mut see: impl FnMut(Frame)) {
        loop {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = bytes.get(passed..).unwrap_or_default();
            if bytes.is_empty() {
                return;
            }
            let missing = self.wanted().saturating_sub(self.have);
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            if let Some(place) = self.head.get_mut(self.have..self.have + taken.len()) {
                place.copy_from_slice(taken);
            }
            self.have += taken.len();
            bytes = rest;
            if self.have == self.wanted() {
                see(self.take());
            }
        }
    }

    /// How much of a frame is read before it is told.
    fn wanted(&self) -> usize {
        let [high, middle, low, kind, ..] = self.head;
        let holds_code = [high, middle] != [0, 0] || usize::from(low) >= CODE;
        if self.have >= HEAD && kind == RST_STREAM && holds_code { HEAD + CODE } else { HEAD }
    }

    fn take(&mut self) -> Frame {
        let [high, middle, low, kind, flags, _, _, _, _, code @ ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        let read = self.have - HEAD;
        self.skip = usize::try_from(length).unwrap_or(usize::MAX).saturating_sub(read);
        self.have = 0;
        Frame { kind, flags, length, code: if read == CODE { u32::from_be_bytes(code) } else { 0 } }
    }
}

#[cfg(test)]
mod tests;
