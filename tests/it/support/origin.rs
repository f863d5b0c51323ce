//! A scripted origin on raw TCP: it records every request byte for byte and answers by a script, which may trickle,
//! stand at a gate, stall, reset or close half-way.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::message::{Fields, Framing, Head, Reader, Stop};
use super::wait::{PATIENCE, eventually};

/// What a script leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Ready for the next request on this connection.
    Keep,
    /// Close it.
    Close,
    /// Abort it: RST instead of FIN.
    Reset,
}

type Script = dyn Fn(&mut Exchange) -> After + Send + Sync;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Which connection of this origin it came on, from 0.
    pub connection: usize,
    pub head: Head,
    /// Decoded.
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// Whether its body came to its end.
    pub complete: bool,
}

impl Recorded {
    pub fn method(&self) -> &str {
        self.head.start.split(' ').next().unwrap_or_default()
    }

    pub fn target(&self) -> &str {
        self.head.start.split(' ').nth(1).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.fields.get(name)
    }

    /// Whether the bytes of its head contain that text, in any case.
    pub fn contains(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.head.raw).to_ascii_lowercase().contains(&text.to_ascii_lowercase())
    }
}

/// A running origin.
pub struct Origin {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    scripts: Mutex<Vec<(String, Arc<Script>)>>,
    requests: Mutex<Vec<Recorded>>,
    connections: AtomicUsize,
    ended: AtomicUsize,
    stopped: AtomicBool,
}

impl Origin {
    /// Answers everything with 200 and `ok` until a script says otherwise.
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    /// The same at this address.
    pub fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind(address).expect("bind an origin");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || accept(&listener, &shared));
        Self { address, state }
    }

    /// `127.0.0.1:port`
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The script for requests whose target begins with that; the longest such wins.
    pub fn on(&self, path: &str, script: impl Fn(&mut Exchange) -> After + Send + Sync + 'static) -> &Self {
        let mut scripts = self.state.scripts.lock().unwrap();
        scripts.retain(|(own, _)| own != path);
        scripts.push((path.to_owned(), Arc::new(script)));
        scripts.sort_by_key(|(own, _)| std::cmp::Reverse(own.len()));
        self
    }

    /// Reads the whole request, answers with these bytes, and keeps the connection.
    pub fn answer(&self, path: &str, bytes: impl Into<Vec<u8>>) -> &Self {
        let bytes = bytes.into();
        self.on(path, move |exchange| {
            exchange.read_body();
            exchange.send(&bytes);
            After::Keep
        })
    }

    /// Reads the whole request, answers with these bytes, and closes.
    pub fn answer_and_close(&self, path: &str, bytes: impl Into<Vec<u8>>) -> &Self {
        let bytes = bytes.into();
        self.on(path, move |exchange| {
            exchange.read_body();
            exchange.send(&bytes);
            After::Close
        })
    }

    /// Everything received so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Starts the record anew.
    pub fn forget(&self) {
        self.state.requests.lock().unwrap().clear();
    }

    /// How many requests have come.
    pub fn count(&self) -> usize {
        self.state.requests.lock().unwrap().len()
    }

    /// How many connections have come.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many of them are open.
    pub fn open(&self) -> usize {
        self.connections() - self.state.ended.load(Ordering::SeqCst)
    }

    /// The requests whose target begins with that.
    pub fn requests_for(&self, target: &str) -> Vec<Recorded> {
        self.requests().into_iter().filter(|request| request.target().starts_with(target)).collect()
    }

    /// Waits for the first request whose target begins with that.
    pub fn request_for(&self, target: &str) -> Recorded {
        eventually(&format!("a request for {target} at the origin"), || self.requests_for(target).into_iter().next())
    }

    /// Waits for the one request whose target is exactly that, and removes it from the record.
    pub fn take(&self, target: &str) -> Recorded {
        eventually(&format!("a request for {target} at the origin"), || {
            let mut requests = self.state.requests.lock().unwrap();
            let at = requests.iter().position(|request| request.target() == target)?;
            Some(requests.remove(at))
        })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for request in self.requests() {
                println!("--- origin received (connection {})", request.connection);
                println!("{}", String::from_utf8_lossy(&request.head.raw));
            }
        }
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for stream in listener.incoming().flatten() {
        if state.stopped.load(Ordering::SeqCst) {
            return;
        }
        let number = state.connections.fetch_add(1, Ordering::SeqCst);
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            serve(stream, number, &state);
            state.ended.fetch_add(1, Ordering::SeqCst);
        });
    }
}

fn serve(stream: TcpStream, connection: usize, state: &Arc<State>) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_write_timeout(Some(Duration::from_secs(60)));
    let Ok(copy) = stream.try_clone() else { return };
    let mut reader = Reader::new(copy);
    let quiet = Duration::from_secs(300);
    while let Ok(head) = reader.head(Instant::now() + quiet) {
        let index = state.record(connection, &head);
        let script = state.script(&head);
        let state = Arc::clone(state);
        let mut exchange = Exchange { head, stream: &stream, reader: &mut reader, index, state, read: false };
        match script(&mut exchange) {
            After::Keep => {}
            After::Close => return drop(stream.shutdown(Shutdown::Both)),
            // Closing the last copy with this set sends RST.
            After::Reset => return drop(socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))),
        }
    }
}

impl State {
    fn record(&self, connection: usize, head: &Head) -> (usize, Vec<u8>) {
        let request = Recorded {
            connection,
            head: head.clone(),
            body: Vec::new(),
            trailers: Fields::default(),
            complete: head.framing(Framing::None) == Framing::None,
        };
        self.requests.lock().unwrap().push(request);
        (connection, head.raw.clone())
    }

    fn update(&self, key: &(usize, Vec<u8>), change: impl FnOnce(&mut Recorded)) {
        let mut requests = self.requests.lock().unwrap();
        let own = requests.iter_mut().rev().find(|own| own.connection == key.0 && own.head.raw == key.1);
        if let Some(request) = own {
            change(request);
        }
    }

    fn script(&self, head: &Head) -> Arc<Script> {
        let target = head.start.split(' ').nth(1).unwrap_or_default().to_owned();
        let scripts = self.scripts.lock().unwrap();
        let found = scripts.iter().find(|(path, _)| target.starts_with(path.as_str()));
        found.map_or_else(|| Arc::new(say_ok) as Arc<Script>, |(_, script)| Arc::clone(script))
    }
}

fn say_ok(exchange: &mut Exchange) -> After {
    exchange.read_body();
    let body: &[u8] = if exchange.head.start.starts_with("HEAD ") { b"" } else { b"ok" };
    exchange.send([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\n", body].concat());
    After::Keep
}

/// One request and the means to answer it.
pub struct Exchange<'a> {
    pub head: Head,
    stream: &'a TcpStream,
    reader: &'a mut Reader,
    index: (usize, Vec<u8>),
    state: Arc<State>,
    read: bool,
}

impl Exchange<'_> {
    /// The request's target.
    pub fn target(&self) -> String {
        self.head.start.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// Reads the body to its end and records it; false if it was cut.
    pub fn read_body(&mut self) -> bool {
        let mut body = Vec::new();
        let outcome = self.stream_body(&mut |bytes| body.extend_from_slice(bytes));
        self.state.update(&self.index, |request| request.body = body);
        outcome.is_ok()
    }

    /// Reads the body to its end into `sink`, recording no bytes of it.
    pub fn stream_body(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<(), Stop> {
        if std::mem::replace(&mut self.read, true) {
            return Ok(());
        }
        let trailers = self.reader.body(self.head.framing(Framing::None), PATIENCE * 3, sink)?;
        self.state.update(&self.index, |request| {
            request.complete = true;
            request.trailers = trailers;
        });
        Ok(())
    }

    /// Raw bytes of the connection as they come, at least one.
    pub fn some(&mut self) -> Result<Vec<u8>, Stop> {
        self.reader.some(Instant::now() + PATIENCE)
    }

    /// Sends bytes at once. False when the edge has left.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Waits for the edge to end the connection; how, and how long it took.
    pub fn wait_end(&mut self) -> (Stop, Duration) {
        let start = Instant::now();
        loop {
            if let Err(stop) = self.reader.fill(start + PATIENCE) {
                return (stop, start.elapsed());
            }
        }
    }
}
