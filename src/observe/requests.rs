//! The last thousand requests, in memory only: what a change of the configuration is tried on before it is made.
//!
//! Kept of each: how it was addressed (no query, no body, no field), from where, which environment served it, who had
//! authenticated and by what (never with what), and the answer's status. Each lies in a place of fixed size, so that nothing is
//! allocated once the ring is full; one that does not fit is left out, and so is one that comes while another is being written:
//! a request never waits here.
//!
//! Invariant: memory is bounded by [`KEPT`] places of 384 bytes (`old_ones_make_room`).

use std::collections::VecDeque;
use std::net::IpAddr;

use parking_lot::Mutex;

use super::event::RequestEnd;

/// Requests that are kept.
pub const KEPT: usize = 1000;

/// Bytes for the texts of one: enough for nearly all.
const ROOM: usize = 384;

/// Texts of one.
const TEXTS: usize = 7;

/// A request of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When its head had arrived, Unix microseconds.
    pub at: u64,
    /// As received.
    pub method: String,
    /// As received, port and all.
    pub host: String,
    /// Raw path, without query.
    pub path: String,
    /// Which environment served it; empty: none was found.
    pub environment: String,
    /// Whether the request said so itself, by a field or a cookie.
    pub named: bool,
    /// The client that had authenticated; empty: none.
    pub client: String,
    /// The person; empty: nobody.
    pub user: String,
    /// The source of `identity.sources` that knew; empty: none.
    pub source: String,
    /// The true client address.
    pub from: IpAddr,
    /// What was answered.
    pub status: u16,
}

/// The ring.
#[derive(Debug, Default)]
pub struct Requests(Mutex<VecDeque<Box<Place>>>);

/// Where one lies.
#[derive(Debug)]
struct Place {
    at: u64,
    from: IpAddr,
    status: u16,
    named: bool,
    /// How long each text is.
    lengths: [u16; TEXTS],
    bytes: [u8; ROOM],
}

impl Requests {
    /// Keeps a request that has ended.
    pub fn record(&self, event: &RequestEnd<'_>) {
        let texts = [event.method, event.host, event.path, event.environment, event.client, event.user, event.source];
        let fits = texts.iter().map(|text| text.len()).sum::<usize>() <= ROOM;
        if !fits || !event.path.starts_with('/') {
            return;
        }
        if let Some(mut ring) = self.0.try_lock() {
            let oldest = if ring.len() < KEPT { None } else { ring.pop_front() };
            let mut place = oldest.unwrap_or_default();
            (place.at, place.from) = (event.started, event.client_ip);
            (place.status, place.named) = (event.status, event.environment_named);
            place.write(texts);
            ring.push_back(place);
        }
    }

    /// All that are kept, the latest first.
    pub fn read(&self) -> Vec<Seen> {
        self.0.lock().iter().rev().map(|place| place.read()).collect()
    }
}

impl Default for Place {
    fn default() -> Self {
        let from = IpAddr::from([0, 0, 0, 0]);
        Self { at: 0, from, status: 0, named: false, lengths: [0; TEXTS], bytes: [0; ROOM] }
    }
}

impl Place {
    /// They fit.
    fn write(&mut self, texts: [&str; TEXTS]) {
        let mut rest = &mut self.bytes[..];
        for (text, length) in texts.into_iter().zip(&mut self.lengths) {
            let Some((here, behind)) = rest.split_at_mut_checked(text.len()) else { return };
            here.copy_from_slice(text.as_bytes());
            *length = u16::try_from(text.len()).unwrap_or(0);
            rest = behind;
        }
    }

    fn read(&self) -> Seen {
        let mut rest = &self.bytes[..];
        let [method, host, path, environment, client, user, source] = self.lengths.map(|length| {
            let (here, behind) = rest.split_at_checked(usize::from(length)).unwrap_or_default();
            rest = behind;
            String::from_utf8_lossy(here).into_owned()
        });
        let Self { at, from, status, named, .. } = *self;
        Seen { at, method, host, path, environment, named, client, user, source, from, status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::tests::event;

    #[test]
    fn what_was_recorded_is_read_the_latest_first() {
        let requests = Requests::default();
        let first = RequestEnd { path: "/a", query: Some("token=secret"), client: "laptop", ..event() };
        requests.record(&first);
        requests.record(&RequestEnd { path: "/b", status: 404, environment_named: true, ..event() });
        let seen = requests.read();
        assert_eq!(
            seen.iter().map(|it| (it.path.as_str(), it.named)).collect::<Vec<_>>(),
            [("/b", true), ("/a", false)]
        );
        assert_eq!((seen[0].status, seen[1].client.as_str()), (404, "laptop"));
        assert_eq!((seen[1].method.as_str(), seen[1].host.as_str()), (first.method, first.host));
        assert_eq!((seen[1].user.as_str(), seen[1].environment.as_str()), (first.user, first.environment));
        assert!(!format!("{seen:?}").contains("secret"), "{seen:?}");
    }

    #[test]
    fn old_ones_make_room() {
        let requests = Requests::default();
        for number in 0..KEPT + 7 {
            requests.record(&RequestEnd { path: &format!("/{number}"), ..event() });
        }
        let seen = requests.read();
        assert_eq!((seen.len(), seen[0].path.as_str(), seen[KEPT - 1].path.as_str()), (KEPT, "/1006", "/7"));
        assert!(size_of::<Place>() < ROOM + 64, "{}", size_of::<Place>());
    }

    #[test]
    fn what_does_not_fit_or_has_no_path_is_left_out() {
        let requests = Requests::default();
        let (long, short) = (format!("/{}", "x".repeat(ROOM)), format!("/{}", "x".repeat(ROOM / 2)));
        requests.record(&RequestEnd { path: &long, ..event() });
        requests.record(&RequestEnd { path: "", ..event() });
        requests.record(&RequestEnd { path: "*", ..event() });
        requests.record(&RequestEnd { path: &short, ..event() });
        // A longer one leaves nothing behind in the place of a shorter one.
        assert_eq!(requests.read().iter().map(|it| it.path.clone()).collect::<Vec<_>>(), [short]);
    }

    #[test]
    fn nobody_waits_for_a_reader() {
        let requests = Requests::default();
        let held = requests.0.lock();
        requests.record(&event());
        drop(held);
        assert!(requests.read().is_empty());
    }
}
