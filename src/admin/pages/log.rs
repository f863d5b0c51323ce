//! `/dashboard/log`: the last lines of both logs, and those that come.
//!
//! Lines are shown as they were written, so that what is masked there is masked here; what is structured in them (JSON, or the text
//! form of the process log) is read back for display and filters. The stream sends each new line as the very element that the page
//! has for it; a client that lost its connection says which line it has last.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::model::AccessFormat;
use crate::observe::recent::{LINES, Line, Source};

use super::super::Shared;
use super::super::answer::Problem;
use super::super::caller::How;
use super::moment::{count, latency};
use super::words::{Words, fill};
use super::{Frame, Visit, aside, html, part};

/// Lines on the page.
const SHOWN: usize = 200;

/// Lines of one look at the ring that a stream sends.
const AT_ONCE: usize = 200;

/// Between two looks at the ring.
const LOOK: Duration = Duration::from_millis(500);

/// A stream ends by itself before its connection's time is up; the browser opens another, where it left off.
const LASTS: Duration = Duration::from_secs(110);

/// Streams at a time: the admin listener has few connections.
pub const STREAMS: usize = 16;

/// What the address says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    source: String,
    level: String,
    project: String,
    route: String,
    q: String,
    after: Option<u64>,
}

#[derive(Template)]
#[template(path = "log.html")]
struct Page {
    w: &'static Words,
    frame: Frame,
    sources: Vec<Choice>,
    levels: Vec<Choice>,
    projects: Vec<Choice>,
    route: String,
    query: String,
    state: String,
    access_off: bool,
    stream: String,
    most: usize,
    lines: Vec<String>,
}

/// One of several to choose from.
struct Choice {
    value: String,
    name: String,
    selected: bool,
}

/// `GET /dashboard/log`
pub async fn page(State(shared): State<Arc<Shared>>, visit: Visit, Query(asked): Query<Asked>) -> Response {
    let seen = visit.clone();
    let make = move || {
        let w = seen.w;
        let table = shared.parts.reloader.current();
        let all = shared.parts.observer.recent.after(0);
        let newest = all.last().map_or(0, |line| line.number);
        let wanted = Wanted::of(&asked);
        let lines: Vec<String> = all.into_iter().rev().filter_map(|line| wanted.entry(w, line)).take(SHOWN).collect();
        let projects = table.matcher.projects().iter().map(|project| project.name.to_string());
        let page = Page {
            w,
            frame: seen.frame(),
            sources: choices(&asked.source, [("", w.log_both), ("access", w.log_access), ("process", w.log_process)]),
            levels: choices(
                &asked.level,
                [("", w.level_all), ("problems", w.level_problems), ("errors", w.level_errors)],
            ),
            projects: projects
                .map(|name| Choice { selected: name == asked.project, value: name.clone(), name })
                .collect(),
            route: asked.route.clone(),
            query: asked.q.clone(),
            state: fill(w.log_state, &[&lines.len().to_string(), &count(LINES as u64)]),
            access_off: table.logging.access.format == AccessFormat::Off,
            stream: stream_address(&asked, newest),
            most: SHOWN,
            lines,
        };
        html(StatusCode::OK, &page)
    };
    aside(&visit, make).await
}

fn choices(selected: &str, all: [(&str, &str); 3]) -> Vec<Choice> {
    let choice = |(value, name): (&str, &str)| Choice {
        value: value.to_owned(),
        name: name.to_owned(),
        selected: value == selected,
    };
    all.into_iter().map(choice).collect()
}

fn stream_address(asked: &Asked, newest: u64) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let Asked { source, level, project, route, q, .. } = asked;
    for (name, value) in [("source", source), ("level", level), ("project", project), ("route", route), ("q", q)] {
        if !value.is_empty() {
            query.append_pair(name, value);
        }
    }
    query.append_pair("after", &newest.to_string());
    format!("/dashboard/log/stream?{}", query.finish())
}

/// `GET /dashboard/log/stream`
pub async fn stream(
    State(shared): State<Arc<Shared>>,
    visit: Visit,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Response {
    let Ok(place) = Arc::clone(&shared.streams).try_acquire_owned() else {
        let message = "too many pages follow the log; close one";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", message).into_response();
    };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let from = last.or(asked.after).unwrap_or_else(|| shared.parts.observer.recent.newest());
    let session = visit.caller.as_ref().and_then(|caller| match &caller.how {
        How::Session(held) => Some(Arc::clone(&held.handle)),
        _ => None,
    });
    let (wanted, ends) = (Wanted::of(&asked), Instant::now() + LASTS);
    let tail = Tail { shared, w: visit.w, session, wanted, from, ends, _place: place };
    let events = stream::unfold((tail, Vec::new().into_iter()), next);
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}

/// Places for streams.
pub fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(STREAMS))
}

/// One page that follows.
struct Tail {
    shared: Arc<Shared>,
    w: &'static Words,
    /// The session that asked; `None`: no cookie did.
    session: Option<Arc<str>>,
    wanted: Wanted,
    from: u64,
    ends: Instant,
    _place: OwnedSemaphorePermit,
}

type Pending = std::vec::IntoIter<Event>;

async fn next((mut tail, mut pending): (Tail, Pending)) -> Option<(Result<Event, Infallible>, (Tail, Pending))> {
    loop {
        if let Some(event) = pending.next() {
            return Some((Ok(event), (tail, pending)));
        }
        if Instant::now() >= tail.ends || tail.shared.parts.observer.live.is_draining() {
            return None;
        }
        tokio::time::sleep(LOOK).await;
        // Who has logged out reads no further.
        let now = crate::clock::Moment::now();
        if tail.session.as_ref().is_some_and(|session| !tail.shared.sessions.holds(session, now)) {
            return None;
        }
        pending = tail.look().into_iter();
    }
}

impl Tail {
    /// What is new and wanted; of a flood the end.
    fn look(&mut self) -> Vec<Event> {
        let lines = self.shared.parts.observer.recent.after(self.from);
        self.from = lines.last().map_or(self.from, |line| line.number);
        let skipped = lines.len().saturating_sub(AT_ONCE);
        let entry = |line: Line| {
            let id = line.number.to_string();
            Some(Event::default().id(id).data(self.wanted.entry(self.w, line)?))
        };
        lines.into_iter().skip(skipped).filter_map(entry).collect()
    }
}

/// What is to be shown.
struct Wanted {
    source: Option<Source>,
    least: Weight,
    project: String,
    route: String,
    needle: String,
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Usual,
    Problem,
    Error,
}

impl Wanted {
    fn of(asked: &Asked) -> Self {
        Self {
            source: match asked.source.as_str() {
                "access" => Some(Source::Access),
                "process" => Some(Source::Process),
                _ => None,
            },
            least: match asked.level.as_str() {
                "problems" => Weight::Problem,
                "errors" => Weight::Error,
                _ => Weight::Usual,
            },
            project: asked.project.clone(),
            route: asked.route.trim().to_owned(),
            needle: asked.q.trim().to_lowercase(),
        }
    }

    /// The element for a line, if it is wanted.
    fn entry(&self, w: &'static Words, line: Line) -> Option<String> {
        let of_source = self.source.is_none_or(|source| source == line.source);
        if !of_source || !(self.needle.is_empty() || line.text.to_lowercase().contains(&self.needle)) {
            return None;
        }
        let read = Read::of(line);
        let of_project = self.project.is_empty() || read.field("project") == self.project;
        let of_route = self.route.is_empty() || read.field("route") == self.route;
        (of_project && of_route && read.weight() >= self.least).then(|| part(&read.shown(w)))
    }
}

/// A line, as far as it can be read.
struct Read {
    source: Source,
    text: String,
    fields: Vec<(String, String)>,
}

impl Read {
    fn of(line: Line) -> Self {
        let text = without_colours(&line.text);
        let fields = match line.source {
            _ if text.starts_with('{') => of_json(&text),
            Source::Process => of_text(&text),
            Source::Access => Vec::new(),
        };
        Self { source: line.source, fields, text }
    }

    fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    fn weight(&self) -> Weight {
        match self.source {
            Source::Process => match self.field("level") {
                "error" => Weight::Error,
                "warn" => Weight::Problem,
                _ => Weight::Usual,
            },
            Source::Access => match (self.status(), self.field("end")) {
                (500.., _) | (_, "upstream_abort") => Weight::Error,
                (400.., _) | (_, "client_abort" | "timeout") => Weight::Problem,
                _ => Weight::Usual,
            },
        }
    }

    /// Of `combined`, it stands behind the quoted request line.
    fn status(&self) -> u16 {
        let field = self.field("status");
        let combined = || self.text.split('"').nth(2).and_then(|rest| rest.split_whitespace().next());
        let status = if field.is_empty() { combined().unwrap_or_default() } else { field };
        status.parse().unwrap_or(0)
    }

    fn shown(self, w: &'static Words) -> Entry {
        let tone = match self.weight() {
            Weight::Error => "bad",
            Weight::Problem => "warn",
            Weight::Usual => "idle",
        };
        let time = self.field("time").to_owned();
        let clock = time.get(11..23).unwrap_or_default().to_owned();
        let (level, what, aside) = match self.source {
            Source::Process => self.of_process(),
            Source::Access => self.of_access(w),
        };
        Entry { tone, time, clock, level, what, aside, fields: self.fields, raw: self.text }
    }

    fn of_process(&self) -> (String, String, String) {
        let (level, target) = (self.field("level"), self.field("target"));
        let message = if self.fields.is_empty() { self.text.as_str() } else { self.field("message") };
        let level = if level.is_empty() { "log" } else { level };
        (level.to_owned(), message.to_owned(), target.to_owned())
    }

    fn of_access(&self, w: &Words) -> (String, String, String) {
        let status = self.status();
        let level = if status == 0 { "–".to_owned() } else { status.to_string() };
        if self.fields.is_empty() {
            return (level, self.text.clone(), w.log_access.to_owned());
        }
        let what = format!("{} {}{}", self.field("method"), self.field("host"), self.field("path"));
        let route = ["project", "environment"].map(|name| self.field(name)).join("/");
        let millis = self.field("duration_ms").parse().unwrap_or(f64::NAN);
        let took = Duration::try_from_secs_f64(millis / 1000.0).map(latency).unwrap_or_default();
        let parts = [self.field("code"), self.field("endpoint"), &route, &took];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !matches!(*part, "" | "/")).collect();
        (level, what, parts.join(" · "))
    }
}

#[derive(Template)]
#[template(path = "part/line.html")]
struct Entry {
    tone: &'static str,
    time: String,
    clock: String,
    level: String,
    what: String,
    aside: String,
    fields: Vec<(String, String)>,
    raw: String,
}

/// One flat object; what is empty is left out.
fn of_json(text: &str) -> Vec<(String, String)> {
    let Ok(Value::Object(object)) = serde_json::from_str(text) else { return Vec::new() };
    let shown = |value: Value| match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let fields = object.into_iter().map(|(name, value)| (name, shown(value)));
    fields.filter(|(_, value)| !value.is_empty()).collect()
}

/// `2026-11-21T19:45:58.123456Z WARN  countersign::reload: message`
fn of_text(text: &str) -> Vec<(String, String)> {
    let parts = || {
        let (time, rest) = text.split_once(' ')?;
        let (level, rest) = rest.trim_start().split_once(' ')?;
        let (target, message) = rest.trim_start().split_once(": ")?;
        Some([("time", time), ("level", level), ("target", target), ("message", message)])
    };
    let lower = |(name, value): (&str, &str)| {
        let value = if name == "level" { value.to_ascii_lowercase() } else { value.to_owned() };
        (name.to_owned(), value)
    };
    parts().map(|fields| fields.map(lower).to_vec()).unwrap_or_default()
}

/// The process log colours its levels on a terminal: `ESC [ … m`.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::words::EN;
    use super::*;

    fn line(source: Source, text: &str) -> Line {
        Line { number: 1, source, text: text.to_owned() }
    }

    const ACCESS: &str = r#"{"time":"2026-11-21T19:45:58.123456Z","method":"GET","host":"a.test","path":"/a0/x","status":404,"project":"demo","environment":"production","route":"/a0","end":"ok","duration_ms":1.5,"code":"","user_agent":"<script>alert(1)</script>"}"#;

    fn entry(asked: Asked, source: Source, text: &str) -> Option<String> {
        Wanted::of(&asked).entry(&EN, line(source, text))
    }

    #[test]
    fn a_line_is_read_back() {
        let read = Read::of(line(Source::Access, ACCESS)).shown(&EN);
        assert_eq!((read.level.as_str(), read.what.as_str(), read.tone), ("404", "GET a.test/a0/x", "warn"));
        assert_eq!((read.clock.as_str(), read.aside.as_str()), ("19:45:58.123", "demo/production · 1.5 ms"));
        let text = "2026-11-21T19:45:58.123456Z \u{1b}[33mWARN \u{1b}[0m countersign::reload: a: b";
        let read = Read::of(line(Source::Process, text)).shown(&EN);
        assert_eq!(
            (read.level.as_str(), read.what.as_str(), read.aside.as_str()),
            ("warn", "a: b", "countersign::reload")
        );
        let combined = r#"192.0.2.7 - dev [21/Nov/2026:19:45:58 +0000] "GET / HTTP/1.1" 503 512 "-" "curl/8""#;
        let read = Read::of(line(Source::Access, combined)).shown(&EN);
        assert_eq!((read.level.as_str(), read.tone, read.what.as_str()), ("503", "bad", combined));
        assert_eq!(Read::of(line(Source::Process, "odd")).shown(&EN).what, "odd");
    }

    #[test]
    fn filters_leave_what_is_wanted() {
        let shown = |asked: Asked| entry(asked, Source::Access, ACCESS).is_some();
        let text = str::to_owned;
        assert!(shown(Asked::default()));
        assert!(shown(Asked {
            level: text("problems"),
            project: text("demo"),
            route: text("/a0"),
            ..Asked::default()
        }));
        assert!(shown(Asked { q: text("A0/X"), source: text("access"), ..Asked::default() }));
        assert!(!shown(Asked { level: text("errors"), ..Asked::default() }));
        assert!(!shown(Asked { route: text("/a"), ..Asked::default() }));
        assert!(!shown(Asked { project: text("other"), ..Asked::default() }));
        assert!(!shown(Asked { source: text("process"), ..Asked::default() }));
        assert!(!shown(Asked { q: text("nowhere"), ..Asked::default() }));
    }

    #[test]
    fn hostile_lines_are_text() {
        let html = entry(Asked::default(), Source::Access, ACCESS).unwrap();
        assert!(html.contains("&#60;script&#62;alert(1)") && !html.contains("<script>"), "{html}");
        let html = entry(Asked::default(), Source::Process, "<img src=x onerror=alert(1)>").unwrap();
        assert!(!html.contains("<img"), "{html}");
    }

    #[test]
    fn the_stream_goes_on_where_the_page_ends() {
        let asked = Asked { q: "a&b=c".to_owned(), ..Asked::default() };
        assert_eq!(stream_address(&asked, 7), "/dashboard/log/stream?q=a%26b%3Dc&after=7");
    }
}
