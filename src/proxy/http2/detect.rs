//! Prior knowledge: telling HTTP/2 from HTTP/1 on a connection in the clear by its first bytes.
//!
//! The preface was chosen so that no HTTP/1 request begins like it (RFC 9113 §3.4). Bytes are looked at as they come: a
//! request that is shorter than the preface is not kept waiting for it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::time::{Instant, sleep_until};

use crate::policy::http2::PREFACE;
use crate::proxy::connection::Connection;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// Anything but HTTP/2.
    Http1,
    /// HTTP/2.
    Http2,
    /// Nothing, for too long.
    Nothing,
}

/// Waits for the bytes that tell; they stay in the connection's input.
pub async fn detect(connection: &Connection) -> Spoken {
    let mut patience = pin!(sleep_until(Instant::now() + connection.listener.headers_timeout));
    poll_fn(|cx| {
        let mut wire = connection.wire();
        wire.remember(cx);
        loop {
            if let Some(spoken) = tell(&wire.input) {
                return Poll::Ready(spoken);
            }
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(read)) if read > 0 => {}
                // HTTP/1 knows how to part with a client that said too little.
                Poll::Ready(_) => return Poll::Ready(Spoken::Http1),
                Poll::Pending => break,
            }
        }
        let over = connection.is_cut() || patience.as_mut().poll(cx).is_ready();
        if over { Poll::Ready(Spoken::Nothing) } else { Poll::Pending }
    })
    .await
}

/// `None`: more is needed.
fn tell(input: &[u8]) -> Option<Spoken> {
    let length = input.len().min(PREFACE.len());
    if input.get(..length) != PREFACE.get(..length) {
        return Some(Spoken::Http1);
    }
    (length == PREFACE.len()).then_some(Spoken::Http2)
}

use std::future::Future as _;

#[cfg(test)]
mod tests {
    use super::{PREFACE, Spoken, tell};

    #[test]
    fn every_first_difference_tells() {
        for length in 0..PREFACE.len() {
            assert_eq!(tell(&PREFACE[..length]), None, "{length} bytes");
            let mut other = PREFACE[..length].to_vec();
            other.push(b'x');
            assert_eq!(tell(&other), Some(Spoken::Http1), "{length} bytes and another");
        }
        assert_eq!(tell(&PREFACE[..]), Some(Spoken::Http2));
        assert_eq!(tell(&[&PREFACE[..], b"frames"].concat()), Some(Spoken::Http2));
        assert_eq!(tell(b"GET / HTTP/1.0\r\n\r\n"), Some(Spoken::Http1));
    }
}
