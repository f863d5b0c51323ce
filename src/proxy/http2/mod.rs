//! HTTP/2 towards clients (RFC 9113), over TLS by ALPN and in the clear by prior knowledge.
//!
//! Flow: [`detect`] finds the preface on a clear connection, or TLS has agreed on `h2` -> [`connection`] runs the codec over
//! `carrier`, which meters the frames that pass ([`crate::policy::http2`]) -> every stream becomes a task: `head` makes one
//! request head of it, [`Stream`] holds its two halves and its clocks, `session` is what Pingora gets, and the task (`drive`)
//! finds out who lets it wait.
//!
//! Pingora's own HTTP/2 session is not used: it has no clock on a body that does not come, answers some malformed
//! requests itself, and drops interim answers. Ours does what `connection` and `driver` do for HTTP/1, so that the
//! phases see no difference.
//!
//! Invariants:
//! - A response that can't be completed ends with RST_STREAM, never with END_STREAM.
//! - No empty piece of a body reaches the engine: only its end does.
//! - What a client may make us hold is bounded: by windows for what it sends, by [`connection::SEND_BUFFER`] for what it
//!   does not read.

mod carrier;
mod connection;
mod detect;
mod drive;
mod head;
mod session;
mod stream;
mod streams;

pub use connection::serve;
pub use detect::{Spoken, detect};
pub use session::stream_of;
pub use stream::Stream;
