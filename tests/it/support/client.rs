//! The raw client: bytes in, bytes out, with deadlines. Every response passes the leak guard.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::leak;
use super::link::Link;
use super::message::{Ending, Fields, Framing, Head, Reader, Stop};
use super::wait::PATIENCE;

/// One connection to an edge.
pub struct Wire {
    link: Link,
    reader: Reader,
    sent: Vec<u8>,
    /// How long a read waits.
    pub patience: Duration,
}

/// A response as it came, 1xx aside.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: Head,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The 1xx responses before it.
    pub interim: Vec<(u16, Fields)>,
    pub ending: Ending,
}

/// A polite request to be; defaults: HTTP/1.1, host `demo.test`, `connection: close`.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    keep: bool,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.into(),
            target: target.into(),
            fields: vec![("host".into(), "demo.test".into())],
            body: Vec::new(),
            keep: false,
        }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// Replaces the host.
    pub fn host(mut self, host: &str) -> Self {
        self.fields[0].1 = host.into();
        self
    }

    /// Appends a field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self.header("content-length", &body.as_ref().len().to_string())
    }

    /// Leaves the connection open after the response.
    pub fn keep_alive(mut self) -> Self {
        self.keep = true;
        self
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.fields {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !self.keep {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out
    }
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("connect to the edge")
    }

    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        Self::plain(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    /// A connection that comes from that address of this machine, such as 127.0.0.2.
    pub fn connect_from(source: [u8; 4], address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("bind the source address");
        socket.connect_timeout(&address.into(), PATIENCE).expect("connect to the edge");
        Self::plain(socket.into()).expect("options of the connection")
    }

    fn plain(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::over(stream.into()))
    }

    /// Over a connection that is there.
    pub fn over(link: Link) -> Self {
        Self { reader: Reader::new(link.clone()), link, sent: Vec::new(), patience: PATIENCE }
    }

    /// What carries its bytes.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Sends bytes; the other side may already have closed, which the reading will tell.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.try_send(bytes);
        self
    }

    /// Sends bytes.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let bytes = bytes.as_ref();
        let room = (64 * 1024usize).saturating_sub(self.sent.len()).min(bytes.len());
        self.sent.extend_from_slice(&bytes[..room]);
        self.link.write_all(bytes)
    }

    /// The socket itself, for options.
    pub fn socket(&self) -> &TcpStream {
        self.link.socket()
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }

    /// The next response to a GET, whole.
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// The next response to that method, whole.
    pub fn response_to(&mut self, method: &str) -> Response {
        self.try_response_to(method).unwrap_or_else(|stop| {
            panic!("no response ({stop:?}); received {:?}", String::from_utf8_lossy(self.reader.seen()))
        })
    }

    /// The next response, or why there is none.
    pub fn try_response_to(&mut self, method: &str) -> Result<Response, Stop> {
        let mut response = self.try_head()?;
        let framing = response.framing(method);
        let (mut body, patience) = (Vec::new(), self.patience);
        match self.reader.body(framing, patience, &mut |bytes| body.extend_from_slice(bytes)) {
            Ok(trailers) => response.trailers = trailers,
            Err(stop) => response.ending = Ending::Cut(stop),
        }
        leak::check_bytes("a response body", &body);
        response.body = body;
        Ok(response)
    }

    /// The next response's head (1xx before it included); the body stays on the wire.
    pub fn head(&mut self) -> Response {
        self.try_head().unwrap_or_else(|stop| {
            panic!("no response head ({stop:?}); received {:?}", String::from_utf8_lossy(self.reader.seen()))
        })
    }

    fn try_head(&mut self) -> Result<Response, Stop> {
        let mut interim = Vec::new();
        loop {
            let deadline = self.deadline();
            let head = self.reader.head(deadline)?;
            let status = status(&head)?;
            leak::check_head(status, &head.fields);
            if status >= 200 || status == 101 {
                return Ok(Response::of(status, head, interim));
            }
            interim.push((status, head.fields));
        }
    }

    /// The next 1xx response.
    pub fn interim(&mut self) -> u16 {
        let deadline = self.deadline();
        let head = self.reader.head(deadline).expect("an interim response");
        let status = status(&head).expect("a status");
        leak::check_head(status, &head.fields);
        assert!(status < 200, "expected an interim response, got {status}");
        status
    }

    /// Exactly that many raw bytes.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        let deadline = self.deadline();
        let bytes = self.reader.exactly(count, deadline);
        bytes.unwrap_or_else(|stop| panic!("{count} bytes did not come ({stop:?}): {:?}", self.received()))
    }

    /// The data of the next chunk of a chunked body.
    pub fn chunk(&mut self) -> Vec<u8> {
        let deadline = self.deadline();
        let line = self.reader.line(deadline).unwrap_or_else(|stop| panic!("no chunk ({stop:?}): {}", self.received()));
        let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).expect("a chunk size");
        let data = self.exactly(size);
        assert_eq!(self.exactly(2), b"\r\n");
        data
    }

    /// Reads on until the connection ends; how it ended, and how long that took.
    pub fn end(&mut self) -> (Stop, Duration) {
        let start = Instant::now();
        loop {
            match self.reader.fill(start + self.patience) {
                Ok(()) => {}
                Err(stop) => return (stop, start.elapsed()),
            }
        }
    }

    /// Like [`Wire::end`], and fails when the connection stays open.
    pub fn closed(&mut self) -> Duration {
        let (stop, took) = self.end();
        assert_ne!(stop, Stop::Patience, "the connection stayed open; received {}", self.received());
        took
    }

    /// Fails if a byte (or an end) comes within that time.
    pub fn silent_for(&mut self, time: Duration) {
        let answer = self.reader.fill(Instant::now() + time);
        assert_eq!(answer, Err(Stop::Patience), "expected silence, got {}", self.received());
    }

    /// Bytes received and not consumed.
    pub fn pending(&self) -> &[u8] {
        self.reader.pending()
    }

    /// Everything received so far, as text.
    pub fn received(&self) -> String {
        String::from_utf8_lossy(self.reader.seen()).into_owned()
    }

    /// Ends our side of the connection (FIN).
    pub fn finish_sending(&self) {
        self.link.finish_sending();
    }

    /// Leaves at once (RST).
    pub fn abort(self) {
        let _ = socket2::SockRef::from(self.link.socket()).set_linger(Some(Duration::ZERO));
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- client sent\n{}", String::from_utf8_lossy(&self.sent));
            println!("--- client received\n{}", self.received());
        }
    }
}

fn status(head: &Head) -> Result<u16, Stop> {
    let word = head.start.split(' ').nth(1).and_then(|word| word.parse().ok());
    word.filter(|_| head.start.starts_with("HTTP/1.")).ok_or_else(|| Stop::Malformed(head.start.clone()))
}

impl Response {
    fn of(status: u16, head: Head, interim: Vec<(u16, Fields)>) -> Self {
        Self { status, head, body: Vec::new(), trailers: Fields::default(), interim, ending: Ending::Clean }
    }

    /// How its body is delimited, as the answer to that method.
    pub fn framing(&self, method: &str) -> Framing {
        let bodiless = method == "HEAD" || matches!(self.status, 101 | 204 | 304);
        if bodiless { Framing::None } else { self.head.framing(Framing::UntilClose) }
    }

    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.fields.get(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// The `error.code` of an answer of the edge's own.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Checks the shape that every JSON error of the edge has, and its status and code.
    pub fn expect_error(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text());
        self.expect_error_shape();
    }

    /// Checks the shape that every JSON error of the edge has.
    pub fn expect_error_shape(&self) {
        assert_eq!(self.header("cache-control"), Some("no-store"), "{:?}", self.head);
        let kind = self.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/json"), "content-type {kind:?}");
        let error = &self.json()["error"];
        for key in ["code", "message", "request_id"] {
            assert!(error[key].as_str().is_some_and(|text| !text.is_empty()), "error.{key} in {error}");
        }
    }

    /// Fails unless it came whole.
    pub fn expect_clean(&self) -> &Self {
        assert_eq!(self.ending, Ending::Clean, "the response was cut: {:?}", self.head);
        self
    }
}
