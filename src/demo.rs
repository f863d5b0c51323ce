//! The demonstration upstream: a small HTTP/1.1 server that shows what reached it.
//!
//! | path | answer |
//! | --- | --- |
//! | `…/events`, `…/sse` | an event stream: `?n=` events (0, the default: without end), one every `?ms=` (1000) |
//! | `…/ws` with an upgrade | a WebSocket that sends every message back |
//! | anything else | the request as JSON: method, path, query, headers as received, bytes of the body |
//!
//! `countersign demo` runs it behind the proxy; tests use it as an origin. It listens on loopback only because its caller
//! binds it there: it repeats every header that it gets, signatures included, and belongs on no other address.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at};

/// Serves until `shutdown` is done; requests in flight are finished, streams and WebSockets end then.
///
/// # Errors
/// Those of the listening socket.
pub async fn serve(listener: TcpListener, shutdown: impl Future + Send + 'static) -> io::Result<()> {
    let (stop, stopped) = watch::channel(false);
    let app = Router::new().fallback(answer).with_state(Stop(stopped));
    let ended = async move {
        shutdown.await;
        // Nobody has to listen: without streams there is nothing to end.
        let _ = stop.send(true);
    };
    axum::serve(listener, app).with_graceful_shutdown(ended).await
}

/// Told once, when the server is to end.
#[derive(Clone)]
struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Returns when the server is to end (also when its owner is gone).
    async fn wait(&mut self) {
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

async fn answer(State(stop): State<Stop>, request: Request<Body>) -> Response {
    let (mut parts, body) = request.into_parts();
    match parts.uri.path().rsplit('/').next() {
        Some("events" | "sse") => events(&parts, stop),
        Some("ws") => match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => upgrade.on_upgrade(|socket| repeat(socket, stop)),
            Err(_) => echo(&parts, body).await,
        },
        _ => echo(&parts, body).await,
    }
}

/// What was received, as JSON.
async fn echo(parts: &Parts, body: Body) -> Response {
    match length(body).await {
        Ok(bytes) => readable(&json!({
            "method": parts.method.as_str(),
            "path": parts.uri.path(),
            "query": parts.uri.query(),
            "headers": fields(&parts.headers),
            "body_bytes": bytes,
        })),
        // The sender broke off; there is nobody left to read this.
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Indented, with a line end: it is read in a terminal.
fn readable(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], format!("{value:#}\n")).into_response()
}

/// Reads a body to its end, keeping none of it.
async fn length(mut body: Body) -> Result<u64, axum::Error> {
    let mut bytes = 0u64;
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Some(data) = frame?.data_ref() {
            bytes = bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        }
    }
    Ok(bytes)
}

/// Name to value; a name that came more than once has a list.
fn fields(headers: &HeaderMap) -> Value {
    let mut map = Map::new();
    for name in headers.keys() {
        let mut values: Vec<Value> = headers
            .get_all(name)
            .iter()
            .map(|value| Value::String(String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let value = if values.len() == 1 { values.pop() } else { Some(Value::Array(values)) };
        map.insert(name.as_str().to_owned(), value.unwrap_or_default());
    }
    Value::Object(map)
}

/// What a caller may say about an event stream.
#[derive(Deserialize)]
struct Pace {
    /// How many events; 0: without end.
    #[serde(default)]
    n: u64,
    /// Milliseconds between two.
    #[serde(default = "one_second")]
    ms: u64,
}

fn one_second() -> u64 {
    1000
}

fn events(parts: &Parts, stop: Stop) -> Response {
    match Query::<Pace>::try_from_uri(&parts.uri) {
        Ok(Query(pace)) => Sse::new(ticks(pace, stop)).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// The first event at once, the others at their times.
fn ticks(pace: Pace, stop: Stop) -> impl Stream<Item = Result<Event, axum::Error>> {
    let timer = interval_at(Instant::now(), Duration::from_millis(pace.ms.clamp(1, 3_600_000)));
    stream::unfold((1u64, timer, stop), move |(number, mut timer, mut stop)| async move {
        if pace.n != 0 && number > pace.n {
            return None;
        }
        tokio::select! {
            () = stop.wait() => None,
            _ = timer.tick() => {
                let data = json!({ "n": number, "at": crate::clock::unix_millis() });
                let event = Event::default().id(number.to_string()).event("tick").json_data(data);
                Some((event, (number.saturating_add(1), timer, stop)))
            }
        }
    })
}

/// Sends every text or binary message back until one side has had enough.
async fn repeat(mut socket: WebSocket, mut stop: Stop) {
    let mut stopped = pin!(stop.wait());
    loop {
        let message = tokio::select! {
            () = &mut stopped => return,
            message = socket.recv() => message,
        };
        let sent = match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => socket.send(message).await,
            // Pings are answered and a close is confirmed by the library.
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    struct Demo {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        task: JoinHandle<io::Result<()>>,
    }

    async fn start() -> Demo {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        Demo { address, stop, task: tokio::spawn(serve(listener, stopped)) }
    }

    async fn ask(address: SocketAddr, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn whole(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
        answer
    }

    #[tokio::test]
    async fn any_path_is_answered_with_the_request_as_it_arrived() {
        let demo = start().await;
        let request = "POST /api/userlist?x=1 HTTP/1.1\r\nhost: up.test\r\nconnection: close\r\nx-kms-user: a@x.com\r\n\
                       x-two: one\r\nx-two: two\r\ncontent-length: 5\r\n\r\nhello";
        let answer = whole(ask(demo.address, request).await).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["method"], "POST");
        assert_eq!(body["path"], "/api/userlist");
        assert_eq!(body["query"], "x=1");
        assert_eq!(body["body_bytes"], 5);
        assert_eq!(body["headers"]["x-kms-user"], "a@x.com");
        assert_eq!(body["headers"]["x-two"], json!(["one", "two"]));
    }

    #[tokio::test]
    async fn an_event_stream_has_as_many_events_as_were_asked_for_and_ends() {
        let demo = start().await;
        let request = "GET /a/events?n=3&ms=1 HTTP/1.1\r\nhost: up.test\r\nconnection: close\r\n\r\n";
        let answer = whole(ask(demo.address, request).await).await;
        assert!(answer.contains("content-type: text/event-stream"), "{answer}");
        assert_eq!(answer.matches("event: tick").count(), 3, "{answer}");
        assert!(answer.contains("id: 3\n") && !answer.contains("id: 4\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_pace_that_is_no_number_is_refused() {
        let demo = start().await;
        let request = "GET /events?n=many HTTP/1.1\r\nhost: up.test\r\nconnection: close\r\n\r\n";
        let answer = whole(ask(demo.address, request).await).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }

    #[tokio::test]
    async fn a_websocket_sends_back_what_it_gets() {
        let demo = start().await;
        let request = "GET /a/ws HTTP/1.1\r\nhost: up.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut stream = BufReader::new(ask(demo.address, request).await);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(timeout(PATIENCE, stream.read_line(&mut head)).await.unwrap().unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        // RFC 6455 section 5.7: the masked text frame "Hello", and its unmasked echo.
        stream.write_all(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]).await.unwrap();
        let mut frame = [0u8; 7];
        timeout(PATIENCE, stream.read_exact(&mut frame)).await.unwrap().unwrap();
        assert_eq!(&frame, b"\x81\x05Hello");
    }

    #[tokio::test]
    async fn a_plain_request_for_the_websocket_is_echoed() {
        let demo = start().await;
        let request = "GET /a/ws HTTP/1.1\r\nhost: up.test\r\nconnection: close\r\n\r\n";
        let answer = whole(ask(demo.address, request).await).await;
        assert!(answer.contains(r#""path": "/a/ws""#), "{answer}");
    }

    #[tokio::test]
    async fn stopping_ends_an_endless_stream_and_the_server() {
        let demo = start().await;
        let request = "GET /events?ms=3600000 HTTP/1.1\r\nhost: up.test\r\nconnection: close\r\n\r\n";
        let mut stream = BufReader::new(ask(demo.address, request).await);
        let mut text = String::new();
        while !text.contains("event: tick") {
            assert_ne!(timeout(PATIENCE, stream.read_line(&mut text)).await.unwrap().unwrap(), 0, "{text}");
        }
        demo.stop.send(()).unwrap();
        let mut rest = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut rest)).await.expect("the stream ends").unwrap();
        timeout(PATIENCE, demo.task).await.expect("the server ends").unwrap().unwrap();
    }
}
