//! The streams under way on one connection: counted for its idle clock, and found when the drain's deadline comes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::stream::Stream;

/// The streams of one connection.
#[derive(Debug)]
pub struct Streams(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    next: u64,
    under_way: HashMap<u64, Arc<Stream>, ahash::RandomState>,
    idle_since: Instant,
}

/// One stream on the books, until its task ends, however it ends.
#[derive(Debug)]
pub struct UnderWay {
    key: u64,
    streams: Arc<Streams>,
    stream: Arc<Stream>,
}

impl Streams {
    /// None.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inner { next: 0, under_way: HashMap::default(), idle_since: Instant::now() })))
    }

    /// Puts one on the books.
    pub fn add(self: &Arc<Self>, stream: &Arc<Stream>) -> UnderWay {
        let mut inner = self.0.lock();
        let key = inner.next;
        inner.next += 1;
        inner.under_way.insert(key, Arc::clone(stream));
        UnderWay { key, streams: Arc::clone(self), stream: Arc::clone(stream) }
    }

    /// Since when there is none; `None` while there is one.
    pub fn idle_since(&self) -> Option<Instant> {
        let inner = self.0.lock();
        inner.under_way.is_empty().then_some(inner.idle_since)
    }

    /// Wakes the tasks of all, so that they see what changed around them.
    pub fn wake(&self) {
        let all: Vec<_> = self.0.lock().under_way.values().cloned().collect();
        all.iter().for_each(|stream| stream.wake());
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let is_last = {
            let mut inner = self.streams.0.lock();
            inner.under_way.remove(&self.key);
            inner.idle_since = Instant::now();
            inner.under_way.is_empty()
        };
        if is_last {
            // The connection's own clocks begin to count.
            self.stream.connection().wake();
        }
    }
}
