//! What is seen from outside: metrics, access log, log. One event is one struct; recording it moves the counters and
//! writes the line side by side, so that neither is forgotten.

pub mod access_log;
pub mod destination;
pub mod event;
pub mod live;
pub mod log;
pub mod metrics;
pub mod recent;
pub mod requests;
mod spool;
pub mod systemd;
mod text;
pub mod timestamp;
pub mod token;
pub mod totals;

use std::io;
use std::sync::Arc;

use event::{End, RequestEnd};
use metrics::RouteSeries;

/// Under this target the process log has its lines about single requests.
const REQUEST: &str = "countersign::request";

/// Under this target the process log has who changed what; whatever its level, these lines are written.
pub const AUDIT: &str = "countersign::audit";

/// Everything that observes one running proxy. Two of them can live in one process.
#[derive(Debug)]
pub struct Observer {
    /// Counters and histograms.
    pub metrics: metrics::Metrics,
    /// Gauges that code moves directly: in flight, streams, connections, draining.
    pub live: Arc<live::Live>,
    /// All requests, whatever their route.
    pub totals: totals::Totals,
    /// One line a request.
    pub access: access_log::AccessLog,
    /// The last lines of both logs.
    pub recent: Arc<recent::Recent>,
    /// The last requests.
    pub requests: requests::Requests,
    /// The process's log, when this proxy may configure it.
    process_log: Option<log::ProcessLog>,
}

/// What `logging` says, for both logs. Live.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The process log.
    pub log: log::Settings,
    /// The access log.
    pub access: access_log::Settings,
}

impl Observer {
    /// Opens the logs. `process_log`: the installed one, if this proxy's configuration governs it.
    ///
    /// # Errors
    /// A log file cannot be opened.
    pub fn new(settings: &Settings, process_log: Option<log::ProcessLog>) -> io::Result<Self> {
        let live = Arc::new(live::Live::default());
        let access = access_log::AccessLog::start(&settings.access, &live)?;
        let recent = Arc::<recent::Recent>::default();
        access.show(Arc::clone(&recent));
        if let Some(process_log) = &process_log {
            process_log.show(Arc::clone(&recent));
            process_log.configure(&settings.log)?;
        }
        let metrics = metrics::Metrics::new(Arc::clone(&live));
        Ok(Self {
            metrics,
            live,
            totals: totals::Totals::default(),
            access,
            recent,
            requests: Default::default(),
            process_log,
        })
    }

    /// One that logs no requests and leaves the process log alone.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn for_tests() -> io::Result<Self> {
        let access = access_log::Settings { format: access_log::Format::Off, ..access_log::Settings::default() };
        Self::new(&Settings { access, ..Settings::default() }, None)
    }

    /// A request ended: metrics, access log, and, if it failed, one line in the process log.
    pub fn request_end(&self, series: &RouteSeries, event: &RequestEnd<'_>) {
        self.metrics.request(series, event);
        self.totals.record(event);
        self.requests.record(event);
        self.access.write(event);
        if let Some(level) = failure_level(event) {
            log_failure(level, event);
        }
    }

    /// Takes other log settings at once. What cannot be opened leaves the old place in use and is logged.
    pub fn reconfigure(&self, settings: &Settings) {
        if let Err(error) = self.access.reconfigure(&settings.access) {
            ::log::error!("logging.access.file cannot be opened: {error}; the old one stays in use");
        }
        let Some(process_log) = &self.process_log else { return };
        if let Err(error) = process_log.configure(&settings.log) {
            ::log::error!("logging.file cannot be opened: {error}; the old one stays in use");
        }
    }

    /// Waits until everything logged so far is written, at most `patience` for each log: before the process ends.
    pub fn flush(&self, patience: std::time::Duration) {
        self.access.flush(patience);
        if let Some(process_log) = &self.process_log {
            process_log.flush(patience);
        }
    }

    /// Opens log files by their names again, after a rotation has moved them.
    pub fn reopen(&self) {
        self.access.reopen();
        if let Some(process_log) = &self.process_log {
            process_log.reopen();
        }
    }
}

/// How loud a request's end is: nothing for what went well or was refused for the client's own reasons, little for
/// clients that leave, an error for the rest.
fn failure_level(event: &RequestEnd<'_>) -> Option<::log::Level> {
    match event.end {
        End::Ok | End::Refused if event.status < 500 => None,
        End::ClientAbort => Some(::log::Level::Debug),
        // A client that took too long: its own doing, and free for everybody to cause.
        End::Timeout if (400..500).contains(&event.status) || event.code.starts_with("client_") => {
            Some(::log::Level::Debug)
        }
        // The upstream's own answer, passed on whole.
        End::Ok | End::Drained => Some(::log::Level::Warn),
        End::Refused | End::UpstreamAbort | End::Timeout => Some(::log::Level::Error),
    }
}

/// One line: everything that finds the request again, nothing that came as query, header or body.
fn log_failure(level: ::log::Level, event: &RequestEnd<'_>) {
    ::log::log!(
        target: REQUEST, level,
        "{} {}{} failed: status={} end={} code={} id={} listener={} route={}/{}{} upstream={} endpoint={} attempts={} \
         took={}ms{}{}",
        Given(event.method), event.host, event.path, event.status, event.end.as_str(), Given(event.code),
        event.request_id, event.listener, Given(event.project), Given(event.environment), event.route,
        Given(event.upstream), Given(event.endpoint), event.attempts, event.duration.as_millis(),
        if event.detail.is_empty() { "" } else { ": " }, event.detail,
    );
}

/// `-` for what is empty.
struct Given<'a>(&'a str);

impl std::fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "-" } else { self.0 })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;

    pub(crate) fn event() -> RequestEnd<'static> {
        RequestEnd {
            started: 1_795_290_358_123_456,
            duration: Duration::from_micros(12_345),
            first_byte: Some(Duration::from_micros(7_001)),
            request_id: "0123456789abcdef0123456789abcdef",
            listener: "http",
            client_ip: [192, 0, 2, 7].into(),
            method: "GET",
            host: "demo.example.com",
            path: "/a0/x",
            query: Some("a=1&b"),
            protocol: "HTTP/1.1",
            status: 200,
            bytes_in: 0,
            bytes_out: 512,
            project: "demo",
            environment: "production",
            environment_named: false,
            route: "/a0",
            generation: 3,
            client: "laptop",
            user: "dev@example.com",
            source: "client",
            upstream: "test.example.com:443",
            endpoint: "test.example.com:443",
            upstream_status: Some(200),
            attempts: 1,
            reused: Some(true),
            token: "",
            end: End::Ok,
            code: "",
            detail: "",
            referer: Some("https://a.test/?q=1"),
            user_agent: Some("curl/8"),
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
        }
    }

    #[test]
    fn only_failures_are_loud() {
        let level = |status, end| failure_level(&RequestEnd { status, end, ..event() });
        assert_eq!(level(200, End::Ok), None);
        assert_eq!(level(404, End::Refused), None);
        assert_eq!(level(404, End::Ok), None);
        assert_eq!(level(500, End::Ok), Some(::log::Level::Warn));
        assert_eq!(level(503, End::Refused), Some(::log::Level::Error));
        assert_eq!(level(200, End::UpstreamAbort), Some(::log::Level::Error));
        assert_eq!(level(408, End::Timeout), Some(::log::Level::Debug));
        assert_eq!(level(504, End::Timeout), Some(::log::Level::Error));
        assert_eq!(level(0, End::ClientAbort), Some(::log::Level::Debug));
    }

    #[test]
    fn one_event_reaches_metrics_and_access_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let place = destination::Place::File(path.clone());
        let access = access_log::Settings { place, ..access_log::Settings::default() };
        let observer = Observer::new(&Settings { access, ..Settings::default() }, None).unwrap();
        observer.request_end(observer.metrics.unmatched(), &event());
        assert!(observer.metrics.render().contains("countersign_http_requests_total{code=\"200\""));
        assert_eq!(observer.totals.read().fine, 1);
        assert!(observer.access.flush(Duration::from_secs(10)));
        assert!(observer.recent.after(0)[0].text.contains("/a0/x"));
        drop(observer);
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1);
    }
}
