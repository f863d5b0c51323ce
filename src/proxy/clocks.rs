//! Who lets a request wait, and for how long: the clocks of one request and what they find.
//!
//! The same for every protocol towards the client: whoever moves its bytes (`super::connection::Wire` for HTTP/1,
//! `super::http2::Stream` for HTTP/2) notes here what moved and what did not; whoever drives the request asks
//! [`Clocks::next_due`] whenever it has nothing to do, and what is found becomes a [`Fault`], which Pingora meets as an
//! error of its next read or write.

use std::time::Duration;

use tokio::time::Instant;

use crate::table::route::Timeouts;

/// On top of `timeouts.idle`, for what of a request body is on its way inside, so that Pingora's own clock speaks first.
const PIPED: Duration = Duration::from_secs(1);

/// Why a request can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client does not send the body that it announced.
    BodyLate,
    /// The client does not read.
    ClientStalled,
    /// The request's body is not what its head announced.
    MalformedBody,
    /// The upstream is silent.
    UpstreamSilent(Silence),
    /// The client is gone.
    Broken,
    /// The answer is complete and the client is still sending: the rest is not waited for.
    Answered,
}

/// Which silence of an upstream was too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Before its response.
    FirstByte,
    /// In the middle of it.
    Idle,
    /// In the middle of the request: it takes nothing more of the body.
    Sending,
}

/// The clocks of one request.
#[derive(Debug, Default)]
pub struct Clocks {
    timeouts: Timeouts,
    fault: Option<Fault>,
    upgraded: bool,
    write_stalled: Option<Instant>,
    read_stalled: Option<Instant>,
    upstream_due: Option<(Instant, Silence)>,
}

impl Clocks {
    /// The request is over; what went wrong with it stays known.
    pub fn rest(&mut self) {
        *self = Self { fault: self.fault, ..Self::default() };
    }

    /// The route's patience.
    pub fn wait_by(&mut self, timeouts: Timeouts) {
        self.timeouts = timeouts;
    }

    /// The request's body is complete: nothing more is due of the client.
    pub fn body_read(&mut self) {
        self.read_stalled = None;
    }

    /// The request has been sent: the upstream's answer is due.
    pub fn await_first_byte(&mut self) {
        self.upstream_due = Some((Instant::now() + self.timeouts.first_byte, Silence::FirstByte));
    }

    /// The upstream said something.
    pub fn heard_upstream(&mut self) {
        self.upstream_due = Some((Instant::now() + self.timeouts.idle, Silence::Idle));
    }

    /// Nothing is expected of the upstream (any more); what is left of the body is the client's turn from now on.
    pub fn expect_nothing(&mut self) {
        self.upstream_due = None;
        self.read_stalled = self.read_stalled.map(|_| Instant::now());
    }

    /// The edge itself has something to wait for: it is nobody's turn.
    pub fn pause(&mut self) {
        self.upstream_due = None;
        self.read_stalled = None;
    }

    /// From here on the bytes belong to another protocol, in both directions.
    pub fn upgrade(&mut self) {
        self.upgraded = true;
        self.read_stalled = None;
        self.heard_upstream();
    }

    /// Whether the bytes belong to another protocol.
    pub fn is_upgraded(&self) -> bool {
        self.upgraded
    }

    /// What went wrong, if anything.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Records what went wrong. A client that stalls while it is to be told about a silent upstream counts as stalled.
    pub fn fail(&mut self, fault: Fault) {
        self.fault = Some(fault);
        self.upstream_due = None;
        self.write_stalled = None;
        self.read_stalled = None;
    }

    /// Whether the client may still be written to: it has to be told about an upstream, and about its own body.
    pub fn may_write(&self) -> bool {
        matches!(self.fault, None | Some(Fault::UpstreamSilent(_) | Fault::MalformedBody | Fault::BodyLate))
    }

    /// The next moment at which something has waited too long, and what.
    pub fn next_due(&self) -> Option<(Instant, Fault)> {
        if let Some(since) = self.write_stalled {
            return Some((since + self.timeouts.send, Fault::ClientStalled));
        }
        let client = self.read_stalled.map(|since| (since + self.timeouts.send, Fault::BodyLate));
        let upstream = self.upstream_due.map(|(due, silence)| (due, Fault::UpstreamSilent(silence)));
        match (client, upstream) {
            // Where both sides speak at the same time (gRPC), a client that is being answered may listen for as long as
            // it likes. When both are silent it is the one whose half is not over.
            (Some((_, late)), Some((due, Fault::UpstreamSilent(Silence::Idle)))) => Some((due, late)),
            (Some(client), Some(upstream)) => Some(if client.0 <= upstream.0 { client } else { upstream }),
            (one, other) => one.or(other),
        }
    }

    /// The body was asked for and nothing came: it is the client's turn.
    pub fn nothing_read(&mut self) {
        if self.upgraded {
            return;
        }
        self.read_stalled.get_or_insert_with(Instant::now);
        self.upstream_due = self.upstream_due.filter(|(_, silence)| *silence != Silence::Sending);
    }

    /// Something of the body came: it is the upstream's turn to take it.
    pub fn something_read(&mut self) {
        self.read_stalled = None;
        if self.upgraded {
            self.heard_upstream();
        } else if matches!(self.upstream_due, None | Some((_, Silence::Sending))) {
            self.upstream_due = Some((Instant::now() + self.timeouts.idle + PIPED, Silence::Sending));
        }
    }

    /// The client takes nothing more.
    pub fn nothing_written(&mut self) {
        self.write_stalled.get_or_insert_with(Instant::now);
    }

    /// The client took something. While it took nothing the upstream was not asked for more, so its clock starts anew.
    pub fn something_written(&mut self) {
        if self.write_stalled.take().is_some() && matches!(self.upstream_due, Some((_, Silence::Idle))) {
            self.heard_upstream();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{Clocks, Fault, PIPED, Silence};
    use crate::table::route::Timeouts;

    fn clocks() -> (Clocks, Timeouts) {
        let waits = Timeouts {
            first_byte: Duration::from_secs(5),
            idle: Duration::from_secs(7),
            send: Duration::from_secs(3),
            ..Timeouts::default()
        };
        let mut clocks = Clocks::default();
        clocks.wait_by(waits);
        (clocks, waits)
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_is_silent_becomes_due_and_a_word_of_it_starts_the_clock_anew() {
        let (mut clocks, waits) = clocks();
        clocks.await_first_byte();
        let now = Instant::now();
        assert_eq!(clocks.next_due(), Some((now + waits.first_byte, Fault::UpstreamSilent(Silence::FirstByte))));
        clocks.heard_upstream();
        assert_eq!(clocks.next_due(), Some((now + waits.idle, Fault::UpstreamSilent(Silence::Idle))));
        clocks.expect_nothing();
        assert_eq!(clocks.next_due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_is_the_turn_of_whoever_lets_the_other_wait() {
        let (mut clocks, waits) = clocks();
        clocks.nothing_read();
        let asked = Instant::now();
        advance(Duration::from_secs(1)).await;
        clocks.nothing_read();
        assert_eq!(clocks.next_due(), Some((asked + waits.send, Fault::BodyLate)), "asking again is no progress");
        clocks.something_read();
        let due = Instant::now() + waits.idle + PIPED;
        assert_eq!(clocks.next_due(), Some((due, Fault::UpstreamSilent(Silence::Sending))));
        clocks.nothing_read();
        assert_eq!(clocks.next_due(), Some((Instant::now() + waits.send, Fault::BodyLate)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_being_answered_may_be_silent_but_not_once_the_answer_is_over() {
        let (mut clocks, waits) = clocks();
        let due = |clocks: &Clocks| clocks.next_due().map(|(due, fault)| (due - Instant::now(), fault));
        clocks.nothing_read();
        for _ in 0..3 {
            clocks.heard_upstream();
            clocks.nothing_read();
            assert_eq!(due(&clocks), Some((waits.idle, Fault::BodyLate)), "both are silent");
            advance(waits.send).await;
        }
        clocks.expect_nothing();
        assert_eq!(due(&clocks), Some((waits.send, Fault::BodyLate)));
        clocks.body_read();
        clocks.heard_upstream();
        assert_eq!(due(&clocks), Some((waits.idle, Fault::UpstreamSilent(Silence::Idle))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_gives_its_upstream_the_time_back() {
        let (mut clocks, waits) = clocks();
        clocks.heard_upstream();
        clocks.nothing_written();
        assert_eq!(clocks.next_due(), Some((Instant::now() + waits.send, Fault::ClientStalled)));
        advance(Duration::from_secs(2)).await;
        clocks.something_written();
        assert_eq!(clocks.next_due(), Some((Instant::now() + waits.idle, Fault::UpstreamSilent(Silence::Idle))));
    }

    #[test]
    fn only_a_client_that_is_there_and_reads_is_told() {
        for (fault, told) in [
            (Fault::UpstreamSilent(Silence::Idle), true),
            (Fault::MalformedBody, true),
            (Fault::BodyLate, true),
            (Fault::ClientStalled, false),
            (Fault::Broken, false),
        ] {
            let mut clocks = Clocks::default();
            clocks.fail(fault);
            assert_eq!(clocks.may_write(), told, "{fault:?}");
        }
    }
}
