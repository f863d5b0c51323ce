//! The process log: what happens that is not one request, and one line for each request that failed.
//!
//! The `log` crate knows one logger a process, so installing it is apart from using it: [`install`] may be called by
//! every proxy of a process and returns the same [`ProcessLog`]; what was configured last holds for all.
//! Records are formatted through `env_logger` and written by a thread of their own: no request waits for a terminal.
//!
//! Invariants: a record is one line, whatever its message holds; nothing of Pingora's own modules is ever written, as
//! they print whole request heads and queries (`nothing_of_pingora_is_written`); the modules of other crates are heard
//! from `warn` up only, whatever the level says; who changed what is always written (`changes_are_written_at_every_level`).

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use env_logger::fmt::Formatter;
use env_logger::{Builder, Logger, Target, WriteStyle};
use log::{Level, LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;

use super::destination::{Destination, Place};
use super::recent::{Recent, Source};
use super::spool::{Limits, Spool};
use super::{AUDIT, text, timestamp};

/// Bytes that may wait for the writer.
const CAPACITY: usize = 1024 * 1024;

/// The crate whose modules follow the configured level.
const OWN: &str = "countersign";

/// What `logging` says. Live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From which level on.
    pub level: LevelFilter,
    /// How lines look.
    pub format: Format,
    /// Where they go.
    pub place: Place,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: LevelFilter::Info, format: Format::Auto, place: Place::Stderr }
    }
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One flat JSON object a line: `time`, `level`, `target`, `message`.
    Json,
    /// Text on a terminal, JSON elsewhere.
    Auto,
}

/// The one logger of the process. There is no other way to give the `log` crate one, which is why this is a static.
static INSTALLED: OnceLock<ProcessLog> = OnceLock::new();

/// Installs the process's logger at the first call; returns it at every call.
///
/// # Errors
/// The writer cannot be started.
pub fn install() -> io::Result<ProcessLog> {
    if let Some(installed) = INSTALLED.get() {
        return Ok(installed.clone());
    }
    let made = ProcessLog::start(&Settings::default())?;
    let installed = INSTALLED.get_or_init(|| made);
    // Fails when there is a logger already: ours by a race, or that of a program which embeds this library and knows best.
    if log::set_boxed_logger(Box::new(installed.clone())).is_ok() {
        installed.take_level(installed.inner.settings.lock().level);
    }
    Ok(installed.clone())
}

/// A logger with its writer. Clones are the same one.
#[derive(Clone)]
pub struct ProcessLog {
    inner: Arc<Inner>,
}

struct Inner {
    /// Formats; replaced as a whole when the format changes.
    logger: ArcSwap<Logger>,
    spool: Arc<Spool>,
    settings: Mutex<Settings>,
    /// As configured; the `log` crate's own maximum is never below `info`.
    level: AtomicUsize,
    dropped: Arc<AtomicU64>,
}

impl std::fmt::Debug for ProcessLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessLog").field("settings", &*self.inner.settings.lock()).finish_non_exhaustive()
    }
}

impl ProcessLog {
    fn start(settings: &Settings) -> io::Result<Self> {
        let dropped = Arc::new(AtomicU64::new(0));
        let limits = Limits { capacity: CAPACITY, linger: Duration::ZERO, report };
        let destination = Destination::open(settings.place.clone())?;
        let spool = Arc::new(Spool::start("log", destination, limits, Arc::clone(&dropped))?);
        let logger = ArcSwap::from_pointee(build(settings, &spool));
        Ok(Self {
            inner: Arc::new(Inner {
                logger,
                spool,
                settings: Mutex::new(settings.clone()),
                level: AtomicUsize::new(settings.level as usize),
                dropped,
            }),
        })
    }

    /// Takes other settings at once.
    ///
    /// # Errors
    /// The file cannot be opened: level and format change, the old place stays.
    pub fn configure(&self, settings: &Settings) -> io::Result<()> {
        let mut current = self.inner.settings.lock();
        let opened = if current.place == settings.place {
            Ok(())
        } else {
            Destination::open(settings.place.clone()).map(|destination| self.inner.spool.replace(destination))
        };
        let place = if opened.is_ok() { settings.place.clone() } else { current.place.clone() };
        *current = Settings { place, ..settings.clone() };
        self.inner.logger.store(Arc::new(build(&current, &self.inner.spool)));
        self.take_level(current.level);
        opened
    }

    /// Changes the level alone.
    pub fn set_level(&self, level: LevelFilter) {
        self.inner.settings.lock().level = level;
        self.take_level(level);
    }

    /// Who changed what is written whatever the level, so that such records must get as far as here.
    fn take_level(&self, level: LevelFilter) {
        self.inner.level.store(level as usize, Ordering::Relaxed);
        log::set_max_level(level.max(LevelFilter::Info));
    }

    fn is_loud_enough(&self, target: &str, level: Level) -> bool {
        level as usize <= self.inner.level.load(Ordering::Relaxed) || (target == AUDIT && level <= Level::Info)
    }

    /// From now on, shows there what is written, too.
    pub fn show(&self, recent: Arc<Recent>) {
        self.inner.spool.show(Source::Process, recent);
    }

    /// Opens the file by its name again, after a rotation has moved it.
    pub fn reopen(&self) {
        self.inner.spool.reopen();
    }

    /// Waits until what was logged so far is written, at most `patience`: before the process ends.
    pub fn flush(&self, patience: Duration) -> bool {
        self.inner.spool.flush(patience)
    }

    /// Records that no place took.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.inner.dropped)
    }
}

impl Log for ProcessLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_heard(metadata.target(), metadata.level()) && self.is_loud_enough(metadata.target(), metadata.level())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.inner.logger.load().log(record);
        }
    }

    fn flush(&self) {
        self.inner.spool.flush(Duration::from_secs(1));
    }
}

/// Whether records of that module are written at all.
fn is_heard(target: &str, level: Level) -> bool {
    match target.split("::").next().unwrap_or_default() {
        OWN => true,
        name if name.starts_with("pingora") => false,
        _ => level <= Level::Warn,
    }
}

fn build(settings: &Settings, spool: &Arc<Spool>) -> Logger {
    let terminal = settings.place == Place::Stderr && io::stderr().is_terminal();
    let json = settings.format == Format::Json || (settings.format == Format::Auto && !terminal);
    let style = if terminal && !json { WriteStyle::Auto } else { WriteStyle::Never };
    // The level is looked at before (`is_loud_enough`), so that it changes without building anything anew.
    let mut builder = Builder::new();
    builder.filter_level(LevelFilter::Trace).write_style(style);
    builder.target(Target::Pipe(Box::new(Spooled(Arc::clone(spool)))));
    if json {
        builder.format(json_line)
    } else {
        builder.format(text_line)
    };
    builder.build()
}

/// `env_logger` hands over each record with one call of `write_all`; `flush` follows.
struct Spooled(Arc<Spool>);

impl Write for Spooled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `2026-11-21T19:45:58.123456Z WARN  countersign::reload: message`
fn text_line(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let time = timestamp::rfc3339_micros(crate::clock::unix_micros());
    let message = record.args().to_string();
    let style = out.default_level_style(record.level());
    writeln!(out, "{time} {style}{:<5}{style:#} {}: {}", record.level(), record.target(), text::one_line(&message))
}

fn json_line(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let mut line = Vec::with_capacity(256);
    line.extend_from_slice(b"{\"time\":\"");
    timestamp::push_rfc3339_micros(&mut line, crate::clock::unix_micros());
    let level = record.level().as_str().to_ascii_lowercase();
    let message = record.args().to_string();
    for (key, value) in [("level", level.as_str()), ("target", record.target()), ("message", &message)] {
        line.extend_from_slice(b"\",\"");
        line.extend_from_slice(key.as_bytes());
        line.extend_from_slice(b"\":\"");
        text::push_json(&mut line, value);
    }
    line.extend_from_slice(b"\"}\n");
    out.write_all(&line)
}

/// The log's own trouble can only be told to the process's standard error.
fn report(message: &str) {
    // Nobody is left to hear of a failure.
    let _ = writeln!(io::stderr(), "countersign: log: {message}");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A logger of the test's own, not the process's.
    fn logger(path: &Path, format: Format) -> ProcessLog {
        let place = Place::File(path.to_owned());
        ProcessLog::start(&Settings { level: LevelFilter::Trace, format, place }).unwrap()
    }

    fn say(log: &ProcessLog, level: Level, target: &str, message: &str) {
        if is_heard(target, level) {
            let mut record = Record::builder();
            record.level(level).target(target);
            log.inner.logger.load().log(&record.args(format_args!("{message}")).build());
        }
    }

    fn written(log: &ProcessLog, path: &Path) -> String {
        assert!(log.flush(PATIENCE));
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_json_record_is_one_flat_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = logger(&path, Format::Json);
        say(&log, Level::Warn, "countersign::reload", "line one\nline \"two\"");
        let text = written(&log, &path);
        let value: serde_json::Value = serde_json::from_str(text.strip_suffix('\n').unwrap()).unwrap();
        assert_eq!((&value["level"], &value["target"]), (&"warn".into(), &"countersign::reload".into()));
        assert_eq!(value["message"], "line one\nline \"two\"");
        assert!(value["time"].as_str().unwrap().ends_with('Z'));
        assert_eq!((text.lines().count(), value.as_object().unwrap().len()), (1, 4));
    }

    #[test]
    fn a_text_record_cannot_fake_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = logger(&path, Format::Text);
        say(&log, Level::Info, "countersign::server", "path /a\n2026 INFO forged\x1b[2J");
        let text = written(&log, &path);
        assert!(text.ends_with("Z INFO  countersign::server: path /a\\n2026 INFO forged\\u{1b}[2J\n"), "{text:?}");
    }

    #[test]
    fn nothing_of_pingora_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = logger(&path, Format::Text);
        for target in ["pingora_proxy::proxy_h1", "pingora_core", "pingora", "pingora_http::x"] {
            say(&log, Level::Error, target, "GET /?token=s3cret");
        }
        say(&log, Level::Debug, "hyper::proto", "headers");
        say(&log, Level::Warn, "notify", "kept");
        say(&log, Level::Trace, "countersign::proxy", "kept too");
        let text = written(&log, &path);
        assert_eq!((text.lines().count(), text.contains("s3cret")), (2, false), "{text}");
    }

    #[test]
    fn format_and_file_change_while_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a"), dir.path().join("b"));
        let log = logger(&first, Format::Text);
        say(&log, Level::Info, "countersign", "one");
        assert!(log.flush(PATIENCE));
        let settings = Settings { level: LevelFilter::Trace, format: Format::Json, place: Place::File(second.clone()) };
        log.inner.spool.replace(Destination::open(settings.place.clone()).unwrap());
        log.inner.logger.store(Arc::new(build(&settings, &log.inner.spool)));
        say(&log, Level::Info, "countersign", "two");
        assert!(written(&log, &second).starts_with("{\"time\":"));
        assert_eq!(std::fs::read_to_string(first).unwrap().lines().count(), 1);
    }

    #[test]
    fn changes_are_written_at_every_level() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let place = Place::File(path.clone());
        let log = ProcessLog::start(&Settings { level: LevelFilter::Off, format: Format::Text, place }).unwrap();
        for (target, level) in [(AUDIT, Level::Info), (AUDIT, Level::Debug), ("countersign::admin", Level::Error)] {
            Log::log(&log, &Record::builder().level(level).target(target).args(format_args!("said")).build());
        }
        let text = written(&log, &path);
        assert_eq!((text.lines().count(), text.contains("INFO  countersign::audit: said")), (1, true), "{text}");
    }

    #[test]
    fn installing_twice_gives_the_same_log() {
        let (first, second) = (install().unwrap(), install().unwrap());
        assert!(Arc::ptr_eq(&first.inner, &second.inner));
        first.set_level(LevelFilter::Debug);
        assert_eq!(second.inner.settings.lock().level, LevelFilter::Debug);
    }
}
