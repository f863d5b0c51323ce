//! The access log: one flat line a request, written by a thread of its own so that no request ever waits for a disk.
//!
//! Flow: [`AccessLog::write`] formats into a buffer of its thread and hands the line to a bounded `Spool`. What does not
//! fit is counted (`log_records_dropped_total`). Format, file, sampling and query policy change while requests run.
//!
//! Invariant: a line never contains a raw line feed, and in JSON it always parses (`every_line_parses_and_round_trips`).

mod combined;
mod json;
mod query;

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

use super::destination::{Destination, Place};
use super::event::{End, RequestEnd};
use super::live::Live;
use super::recent::{Recent, Source};
use super::spool::{Limits, Spool};

/// Bytes that may wait for the writer.
const CAPACITY: usize = 4 * 1024 * 1024;

/// How long the writer collects: a line appears within twice that, and a busy proxy writes twenty times a second.
const LINGER: Duration = Duration::from_millis(40);

/// What `logging.access` says. Live.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How lines look.
    pub format: Format,
    /// Where they go.
    pub place: Place,
    /// 0.0 to 1.0: the part of good requests that is logged; failed ones always are.
    pub sample: f64,
    /// What of a query is shown.
    pub query: Query,
}

impl Default for Settings {
    fn default() -> Self {
        Self { format: Format::Json, place: Place::Stdout, sample: 1.0, query: Query::Redacted }
    }
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// nginx's `combined`.
    Combined,
    /// No lines.
    Off,
}

/// What of a query is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Names, with `***` for values.
    Redacted,
    /// Everything.
    Full,
    /// Nothing.
    Off,
}

/// The writer's end that requests use.
#[derive(Debug)]
pub struct AccessLog {
    active: ArcSwap<Active>,
    /// Where the spool writes; held while that changes.
    place: Mutex<Place>,
    spool: Spool,
    zone: TimeZone,
}

/// What a request needs to know of [`Settings`].
#[derive(Debug)]
struct Active {
    format: Format,
    query: Query,
    sample: Sample,
}

impl Active {
    fn new(settings: &Settings) -> Self {
        Self { format: settings.format, query: settings.query, sample: Sample::new(settings.sample) }
    }
}

impl AccessLog {
    /// Opens the place and starts the writer. Lines that are dropped are counted in `live`.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread can be started.
    pub fn start(settings: &Settings, live: &Live) -> io::Result<Self> {
        // A log that is off opens no file.
        let place = if settings.format == Format::Off { Place::Stdout } else { settings.place.clone() };
        let limits = Limits { capacity: CAPACITY, linger: LINGER, report };
        let dropped: Arc<AtomicU64> = Arc::clone(&live.log_records_dropped);
        let spool = Spool::start("access-log", Destination::open(place.clone())?, limits, dropped)?;
        let active = ArcSwap::from_pointee(Active::new(settings));
        Ok(Self { active, place: Mutex::new(place), spool, zone: TimeZone::system() })
    }

    /// Formats the event into the shared buffer; drops it (and counts) when the buffer is full.
    pub fn write(&self, event: &RequestEnd<'_>) {
        let active = self.active.load();
        if active.format == Format::Off || !(active.sample.takes() || failed(event)) {
            return;
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            match active.format {
                Format::Json => json::push_line(line, event, active.query),
                Format::Combined => combined::push_line(line, event, active.query, &self.zone),
                Format::Off => {}
            }
            self.spool.append(line);
        });
    }

    /// Takes other settings from the next request on.
    ///
    /// # Errors
    /// The new file cannot be opened: lines go on to the old one, in the new format.
    pub fn reconfigure(&self, settings: &Settings) -> io::Result<()> {
        let moved = self.move_to(settings);
        self.active.store(Arc::new(Active::new(settings)));
        moved
    }

    fn move_to(&self, settings: &Settings) -> io::Result<()> {
        let mut current = self.place.lock();
        if settings.format != Format::Off && *current != settings.place {
            self.spool.replace(Destination::open(settings.place.clone())?);
            *current = settings.place.clone();
        }
        Ok(())
    }

    /// From now on, shows there what is written, too.
    pub fn show(&self, recent: Arc<Recent>) {
        self.spool.show(Source::Access, recent);
    }

    /// Opens the file by its name again, after a rotation has moved it.
    pub fn reopen(&self) {
        self.spool.reopen();
    }

    /// Waits until what was logged so far is written, at most `patience`. Returns whether it is.
    pub fn flush(&self, patience: Duration) -> bool {
        self.spool.flush(patience)
    }
}

fn report(message: &str) {
    log::error!(target: "countersign::access_log", "{message}");
}

/// When the request ended, Unix microseconds.
fn ended(event: &RequestEnd<'_>) -> u64 {
    event.started.saturating_add(u64::try_from(event.duration.as_micros()).unwrap_or(u64::MAX))
}

/// Failed requests are logged whatever the sampling says.
fn failed(event: &RequestEnd<'_>) -> bool {
    event.status >= 500 || event.end != End::Ok
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static RANDOM: Cell<u64> = Cell::new(seed());
}

fn seed() -> u64 {
    let mut bytes = [0u8; 8];
    if getrandom::fill(&mut bytes).is_ok() { u64::from_ne_bytes(bytes) } else { crate::clock::unix_micros() }
}

/// The chance that a good request is logged, as a threshold for 32 random bits.
#[derive(Clone, Copy, Debug)]
struct Sample(u64);

impl Sample {
    const ALL: u64 = 1 << 32;

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=2^32; NaN becomes 0")]
    fn new(part: f64) -> Self {
        Self((part.clamp(0.0, 1.0) * Self::ALL as f64) as u64)
    }

    fn takes(self) -> bool {
        self.0 >= Self::ALL || random_32() < self.0
    }
}

/// 32 random bits of the thread's own sequence (SplitMix64's counter with its first mixing round).
fn random_32() -> u64 {
    RANDOM.with(|state| {
        let seed = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(seed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::event;
    use super::*;

    fn settings(path: &Path) -> Settings {
        Settings { place: Place::File(path.to_owned()), ..Settings::default() }
    }

    fn start(settings: &Settings) -> AccessLog {
        AccessLog::start(settings, &Live::default()).unwrap()
    }

    fn lines(path: &Path) -> Vec<String> {
        std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    #[test]
    fn settings_change_while_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a.log"), dir.path().join("b.log"));
        let log = start(&settings(&first));
        log.write(&event());
        log.reconfigure(&Settings { format: Format::Combined, ..settings(&second) }).unwrap();
        log.write(&event());
        log.reconfigure(&Settings { format: Format::Off, ..settings(&second) }).unwrap();
        log.write(&event());
        drop(log);
        assert!(lines(&first)[0].starts_with("{\"time\":"), "{:?}", lines(&first));
        assert!(lines(&second)[0].starts_with("192.0.2.7 - dev"), "{:?}", lines(&second));
        assert_eq!((lines(&first).len(), lines(&second).len()), (1, 1));
    }

    #[test]
    fn a_file_that_cannot_be_opened_leaves_the_old_one_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let log = start(&settings(&path));
        assert!(log.reconfigure(&settings(&dir.path().join("missing/b.log"))).is_err());
        log.write(&event());
        drop(log);
        assert_eq!(lines(&path).len(), 1);
    }

    #[test]
    fn sampling_spares_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let log = start(&Settings { sample: 0.0, ..settings(&path) });
        log.write(&event());
        log.write(&RequestEnd { status: 503, ..event() });
        log.write(&RequestEnd { end: End::ClientAbort, ..event() });
        drop(log);
        assert_eq!(lines(&path).len(), 2);
    }

    #[test]
    fn a_quarter_is_about_a_quarter() {
        let sample = Sample::new(0.25);
        let taken = (0..100_000).filter(|_| sample.takes()).count();
        assert!((24_000..26_000).contains(&taken), "{taken}");
        assert!((0..1000).all(|_| Sample::new(1.0).takes()));
        assert!(!(0..1000).any(|_| Sample::new(f64::NAN).takes()));
    }
}
