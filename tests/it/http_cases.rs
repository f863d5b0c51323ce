//! The HTTP cases of an edge, as rows: bytes sent, what must come back, what may reach the origin. RFC 9110, RFC 9112.
//!
//! A row that allows several answers names them all. Every row runs, and a failing test lists every row that failed.

use std::time::Duration;

use crate::support::{Config, Edge, Origin, Recorded, Response, Stop, Wire};

/// What must be true of a row beyond its status.
#[derive(Clone, Copy)]
pub enum Then {
    /// Nothing more.
    Nothing,
    /// The origin received nothing of it.
    Unseen,
    /// The origin received nothing of it, and the connection is closed after the answer.
    UnseenAndClosed,
    /// The request that the origin received satisfies this.
    Seen(fn(&Recorded) -> bool),
    /// The response satisfies this.
    Answer(fn(&Response) -> bool),
}

/// Name, bytes (`{…}` as in [`fill`]), statuses allowed (0: closed without an answer), what else.
pub type Row = (&'static str, &'static str, &'static [u16], Then);

use Then::{Answer, Nothing, Seen, Unseen, UnseenAndClosed};

mod bodies;
mod framing;
mod hops;
mod keep_alive;
mod requests;
mod responses;
mod timing;
mod versions;

pub struct Rig {
    pub origin: Origin,
    pub edge: Edge,
}

pub fn rig() -> Rig {
    let origin = Origin::start();
    let edge = Config::new(
        r#"
        projects:
          demo:
            hosts: [a.test]
            upstream_policy: open
            environments:
              production:
                routes:
                  - { prefix: /, upstream: "http://{origin}", auth: none }
                  - { prefix: /a0, upstream: "http://{origin}/api", auth: none, sign: { scheme: user-stamp, token: "${SIGN_TOKEN}" } }
                  - { prefix: /socket, upstream: "http://{origin}/socket", auth: none }
        "#,
    )
    .environment("SIGN_TOKEN", "0123456789-0123456789-0123456789-abc")
    .origin(&origin)
    .secured()
    .start();
    Rig { origin, edge }
}

impl Rig {
    /// Runs all rows, in the clear and over TLS, and fails with the list of those that failed.
    pub fn run(&self, rows: &[Row]) {
        type Way = (&'static str, fn(&Edge) -> Wire);
        let ways: [Way; 2] = [("plain", Edge::connect), ("TLS", Edge::connect_secured)];
        for (way, connect) in ways {
            let failures = rows.iter().filter_map(|row| guarded(row.0, || self.row(row, connect(&self.edge))).err());
            let failures: Vec<String> = failures.collect();
            let count = failures.len();
            assert!(failures.is_empty(), "{count} of {} rows failed ({way}):\n{}", rows.len(), failures.join("\n"));
        }
    }

    fn row(&self, (name, bytes, statuses, then): &Row, mut wire: Wire) -> Result<(), String> {
        let (fail, before) = (|what: String| format!("  {name}: {what}"), self.origin.count());
        wire.patience = Duration::from_secs(4);
        wire.send(fill(bytes));
        let method = bytes.split(' ').next().unwrap_or("GET").trim_start();
        let outcome = wire.try_response_to(method);
        let status = match &outcome {
            Ok(response) => response.status,
            Err(Stop::Closed | Stop::Reset) => 0,
            Err(stop) => return Err(fail(format!("{stop:?}; received {:?}", wire.received()))),
        };
        if !statuses.contains(&status) {
            return Err(fail(format!("expected {statuses:?}, got {status}; received {:?}", short(&wire.received()))));
        }
        let seen = self.origin.requests().split_off(before);
        match then {
            Nothing => {}
            Unseen if seen.is_empty() => {}
            UnseenAndClosed if seen.is_empty() && wire.end().0 != Stop::Patience => {}
            Unseen | UnseenAndClosed if !seen.is_empty() => {
                return Err(fail(format!("reached the origin: {:?}", seen[0].head.start)));
            }
            Unseen | UnseenAndClosed => return Err(fail("the connection stays open".into())),
            Seen(check) if seen.len() == 1 && check(&seen[0]) => {}
            Seen(_) => return Err(fail(format!("the origin saw {:?}", seen))),
            Answer(check) if outcome.as_ref().is_ok_and(check) => {}
            Answer(_) => return Err(fail(format!("answered {:?}", wire.received()))),
        }
        own_errors_are_well_formed(outcome.ok().as_ref()).map_err(fail)
    }
}

/// The leak guard fails by panicking: in a table that is one row's failure.
pub fn guarded(name: &str, run: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        Err(format!("  {name}: {text}"))
    })
}

/// Whatever the edge itself answers as an error is JSON with a code, and is never stored.
pub fn own_errors_are_well_formed(response: Option<&Response>) -> Result<(), String> {
    let Some(response) = response.filter(|response| response.status >= 400 && !response.body.is_empty()) else {
        return Ok(());
    };
    let code = serde_json::from_slice::<serde_json::Value>(&response.body)
        .ok()
        .and_then(|json| json["error"]["code"].as_str().map(str::to_owned));
    let stored = response.header("cache-control") != Some("no-store");
    match code {
        Some(code) if !code.is_empty() && !stored => Ok(()),
        _ => Err(format!("the error is not ours: {}", short(&String::from_utf8_lossy(&response.head.raw)))),
    }
}

pub fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Placeholders for what a row cannot hold: `{long:N}` N letters, `{fields:N}` N header lines, `\u{e000}+b` byte b.
pub fn fill(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("{long:").or_else(|| rest.find("{fields:")) {
        encode(&rest[..at], &mut out);
        let end = at + rest[at..].find('}').expect("a closing brace");
        let (kind, count) = rest[at + 1..end].split_once(':').expect("a count");
        let count: usize = count.parse().expect("a number");
        match kind {
            "long" => out.extend(std::iter::repeat_n(b'x', count)),
            _ => (0..count).for_each(|n| out.extend_from_slice(format!("x-n{n}: {n}\r\n").as_bytes())),
        }
        rest = &rest[end + 1..];
    }
    encode(rest, &mut out);
    out
}

/// Characters from the private-use area stand for single bytes 0x80 to 0xff.
fn encode(text: &str, out: &mut Vec<u8>) {
    for character in text.chars() {
        match u32::from(character) {
            code @ 0xe000..=0xe0ff => out.push(u8::try_from(code - 0xe000).expect("a byte")),
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}
