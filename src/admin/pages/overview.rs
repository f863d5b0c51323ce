//! `/dashboard`: how it goes, at one look.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::clock;
use crate::credential::vault::Token;
use crate::reload::{Outcome, Report, Trigger};
use crate::table::upstream::Standing;
use crate::table::{Endpoint, Table, Upstream};

use super::super::samples::Slot;
use super::super::{ListenerAddress, Shared};
use super::chart::{self, Chart, Line, Series};
use super::moment::{Moment, amount, count, latency, span};
use super::words::{Words, fill};
use super::{Frame, Visit, aside, html, part, parts, projects, tokens};

/// Endpoints that are shown: the page stays one that can be read.
const ENDPOINTS: usize = 200;

/// Lines of the last reload that are shown.
const LINES: usize = 3;

/// A certificate that ends sooner is worth a look.
const SOON: Duration = Duration::from_secs(14 * 86_400);

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    w: &'static Words,
    frame: Frame,
    summary: String,
    charts: String,
    environments: String,
    reload: String,
    endpoints: String,
    certificates: String,
}

/// `GET /dashboard`
pub async fn page(State(shared): State<Arc<Shared>>, visit: Visit) -> Response {
    let seen = visit.clone();
    let make = move || {
        let w = seen.w;
        let table = shared.parts.reloader.current();
        let page = Page {
            w,
            frame: Frame { refresh: Some(10), ..seen.frame().live("/dashboard/live.json") },
            summary: summary(w, &shared, &table),
            charts: charts(w, &shared),
            environments: projects::environments(&seen, &table, projects::FEW),
            reload: reload(w, &shared.parts.reloader.last(), LINES),
            endpoints: endpoints(w, &shared, &table),
            certificates: certificates(w, &shared, &table),
        };
        html(StatusCode::OK, &page)
    };
    aside(&visit, make).await
}

/// `GET /dashboard/live.json`
pub async fn live(State(shared): State<Arc<Shared>>, visit: Visit) -> Response {
    let (w, seen) = (visit.w, visit.clone());
    let make = move || {
        let table = shared.parts.reloader.current();
        parts(vec![
            ("summary", summary(w, &shared, &table)),
            ("charts", charts(w, &shared)),
            ("environments", projects::environments(&seen, &table, projects::FEW)),
            ("reload", reload(w, &shared.parts.reloader.last(), LINES)),
            ("endpoints", endpoints(w, &shared, &table)),
            ("certificates", certificates(w, &shared, &table)),
        ])
    };
    aside(&visit, make).await
}

/// A state in a word, and how it is coloured.
#[derive(Debug)]
struct Toned {
    tone: &'static str,
    word: &'static str,
}

#[derive(Template)]
#[template(path = "part/summary.html")]
struct Summary<'a> {
    w: &'static Words,
    state: Toned,
    generation: u64,
    routes: String,
    tokens: Vec<(&'static str, usize, &'static str)>,
    connections: String,
    uptime: String,
    version: &'static str,
    listeners: &'a [ListenerAddress],
}

fn summary(w: &'static Words, shared: &Shared, table: &Table) -> String {
    let live = &shared.parts.observer.live;
    let state = match (live.is_draining(), live.ready.load(Ordering::Acquire)) {
        (true, _) => Toned { tone: "warn", word: w.draining },
        (false, true) => Toned { tone: "ok", word: w.serving },
        (false, false) => Toned { tone: "warn", word: w.starting },
    };
    let up = clock::unix_millis().saturating_sub(shared.parts.started_at);
    part(&Summary {
        w,
        state,
        generation: table.generation,
        routes: number(table.routes.len()),
        tokens: tally(w, &shared.parts.vault.tokens()),
        connections: count(u64::try_from(live.connections.load(Ordering::Relaxed)).unwrap_or(0)),
        uptime: span(w, Duration::from_millis(up)),
        version: env!("CARGO_PKG_VERSION"),
        listeners: &shared.parts.listeners,
    })
}

fn number(value: usize) -> String {
    count(u64::try_from(value).unwrap_or(u64::MAX))
}

/// How many tokens stand how, in the order of the words.
fn tally(w: &Words, all: &[Token]) -> Vec<(&'static str, usize, &'static str)> {
    let mut tally: Vec<(&'static str, usize, &'static str)> = Vec::new();
    for token in all {
        let (tone, word) = tokens::status(w, token.status);
        match tally.iter_mut().find(|(_, _, known)| *known == word) {
            Some((_, count, _)) => *count += 1,
            None => tally.push((tone, 1, word)),
        }
    }
    tally
}

#[derive(Template)]
#[template(path = "part/charts.html")]
struct Charts {
    w: &'static Words,
    charts: [Chart; 4],
}

fn charts(w: &'static Words, shared: &Shared) -> String {
    let (slots, last) = shared.samples.read();
    let drawing = Drawing { w, slots, last };
    part(&Charts { w, charts: [drawing.requests(), drawing.latency(), drawing.errors(), drawing.load()] })
}

/// What the four charts are drawn from.
struct Drawing {
    w: &'static Words,
    slots: Vec<Slot>,
    last: Slot,
}

impl Drawing {
    /// A value for each slot, the newest at the right end; the left stays empty until ten minutes have passed.
    fn series(&self, value: impl Fn(&Slot) -> Option<f64>) -> Series {
        let missing = super::super::samples::SLOTS.saturating_sub(self.slots.len());
        let values = self.slots.iter().map(value);
        std::iter::repeat_n(None, missing).chain(values).collect()
    }

    fn rate(&self, of: impl Fn(&Slot) -> u64) -> (Series, String) {
        let series = self.series(|slot| Some(slot.rate(of(slot))));
        (series, format!("{}{}", amount(self.last.rate(of(&self.last))), self.w.per_second))
    }

    fn requests(&self) -> Chart {
        let (series, now) = self.rate(|slot| slot.counted.requests());
        let top = chart::top(&[&series], 1.0);
        let shown = |value| format!("{}{}", amount(value), self.w.per_second);
        let described = self.described(self.w.chart_requests, &now, &shown(chart::most(&[&series])));
        let line = Line { area: chart::area(&series, top), ..line(self.w.line_requests, "first", &series, top, &now) };
        let ticks = chart::ticks(top, shown);
        Chart { id: "requests", title: self.w.chart_requests, headline: now, ticks, described, lines: vec![line] }
    }

    #[allow(clippy::cast_precision_loss, reason = "milliseconds for a drawing")]
    fn latency(&self) -> Chart {
        let quantile =
            |part: f64| self.series(move |slot| slot.counted.first_byte(part).map(|it| it.as_secs_f64() * 1000.0));
        let (median, most, nearly_all) = (quantile(0.5), quantile(0.95), quantile(0.99));
        // A second has too few requests for its slowest hundredth: the last slot with some is what is told.
        let latest = self.slots.iter().rev().find(|slot| slot.counted.requests() > 0);
        let now = |part| latest.and_then(|slot| slot.counted.first_byte(part)).map_or("–".to_owned(), latency);
        let top = chart::top(&[&median, &most, &nearly_all], 10.0);
        let shown = |millis: f64| latency(Duration::try_from_secs_f64(millis / 1000.0).unwrap_or_default());
        let headline = format!("p95 {}", now(0.95));
        let described = self.described(self.w.chart_latency, &headline, &shown(chart::most(&[&nearly_all])));
        let lines = vec![
            line("p50", "first", &median, top, &now(0.5)),
            line("p95", "second", &most, top, &now(0.95)),
            line("p99", "third", &nearly_all, top, &now(0.99)),
        ];
        let ticks = chart::ticks(top, shown);
        Chart { id: "latency", title: self.w.chart_latency, headline, ticks, described, lines }
    }

    #[allow(clippy::cast_precision_loss, reason = "a percentage for people")]
    fn errors(&self) -> Chart {
        let (failed, failed_now) = self.rate(|slot| slot.counted.failed);
        let (refused, refused_now) = self.rate(|slot| slot.counted.refused);
        let top = chart::top(&[&failed, &refused], 1.0);
        let latest = self.slots.last().map(|slot| (slot.counted.failed, slot.counted.requests())).unwrap_or_default();
        let percent = if latest.1 == 0 { 0.0 } else { latest.0 as f64 * 100.0 / latest.1 as f64 };
        let headline = format!("{percent:.1} %");
        let shown = |value| format!("{}{}", amount(value), self.w.per_second);
        let now = fill(self.w.of_requests, &[&headline]);
        let described = self.described(self.w.chart_errors, &now, &shown(chart::most(&[&failed, &refused])));
        let lines = vec![
            line(self.w.line_failed, "bad", &failed, top, &failed_now),
            line(self.w.line_refused, "second", &refused, top, &refused_now),
        ];
        let ticks = chart::ticks(top, shown);
        Chart { id: "errors", title: self.w.chart_errors, headline, ticks, described, lines }
    }

    #[allow(clippy::cast_precision_loss, reason = "levels for a drawing")]
    fn load(&self) -> Chart {
        let in_flight = self.series(|slot| Some(slot.in_flight as f64));
        let streams = self.series(|slot| Some(slot.streams as f64));
        let top = chart::top(&[&in_flight, &streams], 2.0);
        let headline = count(self.last.in_flight);
        let described = self.described(self.w.chart_load, &headline, &amount(chart::most(&[&in_flight])));
        let lines = vec![
            line(self.w.line_in_flight, "first", &in_flight, top, &headline),
            line(self.w.line_streams, "second", &streams, top, &count(self.last.streams)),
        ];
        Chart { id: "load", title: self.w.chart_load, headline, ticks: chart::ticks(top, amount), described, lines }
    }

    fn described(&self, what: &str, now: &str, most: &str) -> String {
        fill(self.w.chart_described, &[what, now, most])
    }
}

fn line(name: &'static str, class: &'static str, series: &Series, top: f64, now: &str) -> Line {
    Line { name, class, now: now.to_owned(), path: chart::path(series, top), area: String::new() }
}

#[derive(Template)]
#[template(path = "part/reload.html")]
struct Reload<'a> {
    w: &'static Words,
    tone: &'static str,
    outcome: &'static str,
    meaning: &'static str,
    at: Option<Moment>,
    trigger: &'static str,
    took: String,
    changes: Option<String>,
    needs_restart: &'a [String],
    lines: &'a [String],
    more: usize,
    /// Whether the diagnostics stand elsewhere.
    linked: bool,
}

/// How the last reload went. At most `most` of its lines.
pub fn reload(w: &'static Words, report: &Report, most: usize) -> String {
    let (tone, outcome, meaning) = outcome(w, report.outcome);
    let shown = report.lines.get(..most.min(report.lines.len())).unwrap_or_default();
    let crate::reload::Changes { added, removed, changed } = report.changes;
    let numbers = [added, removed, changed].map(|it| it.to_string());
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    part(&Reload {
        w,
        tone,
        outcome,
        meaning,
        at: Some(Moment::new(w, report.at, clock::unix_millis())),
        trigger: trigger(w, report.trigger),
        took: fill(w.took, &[&latency(report.took)]),
        changes: (added + removed + changed > 0).then(|| fill(w.routes_changed, &numbers)),
        needs_restart: &report.needs_restart,
        lines: shown,
        more: report.lines.len() - shown.len(),
        linked: most > 0,
    })
}

/// Tone, word and meaning of an outcome.
pub fn outcome(w: &Words, outcome: Outcome) -> (&'static str, &'static str, &'static str) {
    match outcome {
        Outcome::Applied => ("ok", w.applied, w.applied_means),
        Outcome::Unchanged => ("idle", w.unchanged, w.unchanged_means),
        Outcome::Rejected => ("bad", w.rejected, w.rejected_means),
    }
}

/// What caused a reload.
pub fn trigger(w: &Words, trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Start => w.by_start,
        Trigger::File => w.by_file,
        Trigger::Signal => w.by_signal,
        Trigger::Api => w.by_api,
    }
}

#[derive(Template)]
#[template(path = "part/endpoints.html")]
struct Endpoints {
    w: &'static Words,
    rows: Vec<EndpointRow>,
    omitted: usize,
}

struct EndpointRow {
    upstream: String,
    address: String,
    weight: u32,
    tone: &'static str,
    state: &'static str,
    until: Option<String>,
    in_flight: String,
    check: Option<CheckRow>,
    last_error: Option<String>,
}

struct CheckRow {
    detail: String,
    at: Moment,
}

fn endpoints(w: &'static Words, shared: &Shared, table: &Table) -> String {
    let all = || table.upstreams.iter().flat_map(|upstream| upstream.endpoints.iter().map(move |it| (upstream, it)));
    let rows = all().take(ENDPOINTS).map(|(upstream, endpoint)| endpoint_row(w, shared, upstream, endpoint));
    part(&Endpoints { w, rows: rows.collect(), omitted: all().count().saturating_sub(ENDPOINTS) })
}

fn endpoint_row(w: &'static Words, shared: &Shared, upstream: &Upstream, endpoint: &Endpoint) -> EndpointRow {
    let now = clock::unix_millis();
    let last_attempt = || shared.parts.observer.metrics.endpoint_up(&upstream.name, &endpoint.label);
    let (tone, state) = match upstream.standing(endpoint, now) {
        Standing::Unhealthy => ("bad", w.unhealthy),
        Standing::Ejected => ("warn", w.ejected),
        Standing::Up if upstream.is_judged() => ("ok", w.up),
        Standing::Up => match last_attempt() {
            Some(true) => ("ok", w.up),
            Some(false) => ("bad", w.down),
            None => ("idle", w.unknown),
        },
    };
    let check = endpoint.state.last_check.load_full().filter(|_| upstream.health.is_some());
    EndpointRow {
        upstream: upstream.name.to_string(),
        address: endpoint.label.to_string(),
        weight: endpoint.weight,
        tone,
        state,
        until: upstream.rests_until(endpoint, now).map(|until| Moment::new(w, until, now).relative),
        in_flight: count(endpoint.state.in_flight.load(Ordering::Relaxed)),
        check: check.map(|it| CheckRow { detail: it.detail.clone(), at: Moment::new(w, it.at, now) }),
        last_error: endpoint.state.last_error.load().as_deref().cloned(),
    }
}

#[derive(Template)]
#[template(path = "part/certificates.html")]
struct Certificates {
    w: &'static Words,
    rows: Vec<CertificateRow>,
}

struct CertificateRow {
    name: String,
    tone: &'static str,
    state: &'static str,
    ends: Option<Moment>,
    note: Option<String>,
}

fn certificates(w: &'static Words, shared: &Shared, table: &Table) -> String {
    let now = clock::unix_millis();
    let hosts = shared.parts.acme.as_ref().map(|acme| acme.hosts()).unwrap_or_default();
    let mut expiries = table.tls.expiries();
    expiries.sort_by_key(|it| it.not_after);
    let missing = hosts.iter().filter(|host| host.not_after.is_none()).map(|host| CertificateRow {
        name: host.host.clone(),
        tone: "warn",
        state: w.cert_missing,
        ends: None,
        note: host.last_error.clone(),
    });
    let there = expiries.into_iter().map(|it| {
        let (tone, state) = standing(w, it.not_after, now, it.broken);
        let trouble = hosts.iter().find(|host| host.host == it.name).and_then(|host| host.last_error.clone());
        let note = it.broken.then(|| w.cert_broken_note.to_owned()).or(trouble);
        CertificateRow { name: it.name, tone, state, ends: Some(Moment::new(w, it.not_after, now)), note }
    });
    part(&Certificates { w, rows: missing.chain(there).collect() })
}

fn standing(w: &Words, not_after: u64, now: u64, broken: bool) -> (&'static str, &'static str) {
    let soon = u64::try_from(SOON.as_millis()).unwrap_or(u64::MAX);
    match not_after.checked_sub(now) {
        None | Some(0) => ("bad", w.cert_over),
        _ if broken => ("warn", w.cert_broken),
        Some(left) if left < soon => ("warn", w.cert_soon),
        Some(_) => ("ok", w.cert_good),
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::EN;
    use super::*;

    fn slot(fine: u64, failed: u64) -> Slot {
        let mut slot = Slot::default();
        (slot.lasted, slot.in_flight, slot.streams) = (Duration::from_secs(5), 3, 1);
        (slot.counted.fine, slot.counted.failed) = (fine, failed);
        slot
    }

    #[test]
    fn charts_say_in_words_what_they_show() {
        let drawing = Drawing { w: &EN, slots: vec![slot(40, 10), slot(45, 5)], last: slot(20, 5) };
        assert_eq!(drawing.requests().described, "Requests: now 5/s; at most 10/s in the last ten minutes");
        assert_eq!(drawing.requests().ticks, ["10/s", "5/s", "0"]);
        assert_eq!(drawing.errors().headline, "10.0 %");
        assert_eq!(drawing.latency().headline, "p95 –");
        assert_eq!(drawing.load().lines[1].now, "1");
        assert!(drawing.requests().lines[0].path.ends_with("L600 1"), "{}", drawing.requests().lines[0].path);
    }

    #[test]
    fn certificates_near_their_end_are_told() {
        let day = 86_400_000;
        let word = |left: u64, broken| standing(&EN, 100 * day + left, 100 * day, broken).1;
        assert_eq!((word(90 * day, false), word(13 * day, false)), ("good", "ends soon"));
        assert_eq!((word(90 * day, true), word(0, true)), ("new files broken", "ended"));
    }
}
