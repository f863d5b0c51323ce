//! Many reloads, every tenth of them wrong, under steady load and with open streams: nothing is lost, cut or mixed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::{echoing, edge, marked, replace};
use crate::support::origin::After;
use crate::support::{Ending, Exchange, Request, Wire, eventually};

/// How much of it: (reloads, streams).
fn scale() -> (usize, usize) {
    if std::env::var_os("COUNTERSIGN_FULL").is_some() { (1_000, 200) } else { (100, 50) }
}

/// Counts up; all streams tell each number to their clients.
#[derive(Default)]
struct Ticker {
    now: Mutex<usize>,
    changed: Condvar,
}

impl Ticker {
    fn tick(&self) {
        *self.now.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    fn after(&self, seen: usize) -> usize {
        let guard = self.now.lock().unwrap();
        *self.changed.wait_timeout_while(guard, Duration::from_secs(30), |now| *now <= seen).unwrap().0
    }
}

/// What the load saw.
#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    requests: AtomicU64,
    problems: Mutex<Vec<String>>,
}

#[test]
fn many_reloads_under_load_lose_nothing_and_mix_nothing() {
    let (reloads, streams) = scale();
    let origin = echoing();
    let ticker = Arc::new(Ticker::default());
    let ticking = Arc::clone(&ticker);
    origin.on("/events", move |exchange| tell(exchange, &ticking, reloads));
    let edge = edge(&origin);
    let data = edge.data;

    let listeners: Vec<_> = (0..streams).map(|_| std::thread::spawn(move || listen(data, reloads))).collect();
    eventually("all streams are open", || (origin.requests_for("/events").len() == streams).then_some(()));

    let tally = Arc::new(Tally::default());
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let tally = Arc::clone(&tally);
            std::thread::spawn(move || call_on_and_on(data, &tally))
        })
        .collect();

    let resident = edge.process.resident();
    let start = Instant::now();
    for number in 1..=reloads {
        if number % 10 == 0 {
            replace(&edge, &edge.render(&marked("wrong")).replace("/respond", "respond"));
            assert_eq!(edge.reload().0, 422, "reload {number} is wrong");
        } else {
            replace(&edge, &edge.render(&marked(&format!("m{number}"))));
            let (status, verdict) = edge.reload();
            assert_eq!(status, 200, "reload {number}: {verdict}");
        }
        ticker.tick();
    }
    let took = start.elapsed();
    tally.stop.store(true, Ordering::SeqCst);
    clients.into_iter().for_each(|client| client.join().expect("a client"));
    let cut: Vec<String> = listeners.into_iter().filter_map(|l| l.join().expect("a stream").err()).collect();
    let requests = tally.requests.load(Ordering::SeqCst);
    let drift = edge.process.resident().saturating_sub(resident) / 1024;
    println!("{reloads} reloads in {took:?}, {requests} requests, {streams} streams; resident +{drift} KiB");

    assert!(cut.is_empty(), "{} streams were cut: {:?}", cut.len(), cut.first());
    let problems = tally.problems.lock().unwrap();
    assert!(problems.is_empty(), "{} of {requests}: {:?}", problems.len(), problems.iter().take(5).collect::<Vec<_>>());
    assert!(requests > reloads as u64, "only {requests} requests");
    assert!(edge.generation() > (reloads - reloads / 10) as u64, "generation {}", edge.generation());
}

fn tell(exchange: &mut Exchange, ticker: &Ticker, last: usize) -> After {
    exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut told = 0;
    while told < last {
        let now = ticker.after(told);
        for number in told + 1..=now {
            let event = format!("data: {number}\n\n");
            if !exchange.send(format!("{:x}\r\n{event}\r\n", event.len())) {
                return After::Close;
            }
        }
        told = now;
    }
    exchange.send("0\r\n\r\n");
    After::Keep
}

/// One open stream to its end: every event, in order, and a clean end.
fn listen(data: SocketAddr, last: usize) -> Result<(), String> {
    let mut wire = Wire::connect(data);
    wire.patience = Duration::from_secs(60);
    wire.send("GET /events HTTP/1.1\r\nhost: demo.test\r\n\r\n");
    let response = wire.try_response_to("GET").map_err(|stop| format!("{stop:?}"))?;
    let expected: String = (1..=last).map(|number| format!("data: {number}\n\n")).collect();
    match response.ending {
        Ending::Clean if response.text() == expected => Ok(()),
        Ending::Clean => Err(format!("events are missing: {} bytes", response.body.len())),
        Ending::Cut(stop) => Err(format!("{stop:?} after {} bytes", response.body.len())),
    }
}

/// Requests on one keep-alive connection until told to stop.
fn call_on_and_on(data: SocketAddr, tally: &Tally) {
    let mut wire = Wire::connect(data);
    while !tally.stop.load(Ordering::SeqCst) {
        for target in ["/respond", "/proxied"] {
            wire.send(Request::get(target).keep_alive().bytes());
            tally.requests.fetch_add(1, Ordering::SeqCst);
            match wire.try_response_to("GET") {
                Ok(response) => {
                    let marker = response.header("x-marker").unwrap_or_default().to_owned();
                    if response.status != 200 || response.ending != Ending::Clean || response.text() != marker {
                        let what = format!("{target}: {} {marker} / {}", response.status, response.text());
                        tally.problems.lock().unwrap().push(what);
                    }
                    if response.header("connection") == Some("close") {
                        wire = Wire::connect(data);
                    }
                }
                Err(stop) => {
                    tally.problems.lock().unwrap().push(format!("{target}: {stop:?}"));
                    wire = Wire::connect(data);
                }
            }
        }
    }
}
