use std::sync::mpsc;

use rcgen::{CertifiedKey, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// What must not be in any message.
const SENT: &str = "refresh-token-that-nobody-sees";

const LIMITS: Limits = Limits { connect: Duration::from_secs(5), total: Duration::from_secs(10), body: 1000 };

/// Patience that a test has with something that must end by itself.
fn short() -> Limits {
    Limits { connect: Duration::from_millis(150), total: Duration::from_millis(300), ..LIMITS }
}

fn authority() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap()
}

fn client() -> Client {
    Client::new(&[authority().cert.der().to_vec()]).unwrap()
}

fn post(url: &str) -> Request<Bytes> {
    Request::post(url).body(Bytes::from_static(SENT.as_bytes())).unwrap()
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server for one connection; what it read comes out of the channel.
async fn answering(answer: &'static [u8]) -> (SocketAddr, mpsc::Receiver<String>) {
    let (listener, address) = listener().await;
    let (tell, told) = mpsc::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let seen = until_sent(&mut stream).await;
        stream.write_all(answer).await.unwrap();
        tell.send(seen).unwrap();
    });
    (address, told)
}

async fn until_sent(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let (mut seen, mut piece) = (Vec::new(), [0; 1024]);
    while !seen.ends_with(SENT.as_bytes()) {
        let read = stream.read(&mut piece).await.unwrap();
        assert_ne!(read, 0, "cut: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..read]);
    }
    String::from_utf8(seen).unwrap()
}

async fn fails(url: &str, limits: Limits) -> Failure {
    let failure = client().exchange(post(url), limits).await.unwrap_err();
    assert!(!failure.to_string().contains(SENT), "{failure}");
    failure
}

fn assert_unsent(failure: &Failure, words: &str) {
    assert!(matches!(failure, Failure::Unsent(text) if text.contains(words)), "{failure:?}");
}

fn assert_unknown(failure: &Failure, words: &str) {
    assert!(matches!(failure, Failure::Unknown(text) if text.contains(words)), "{failure:?}");
}

#[tokio::test]
async fn a_request_is_ours_alone_and_its_answer_comes_back() {
    let (address, told) = answering(b"HTTP/1.1 201 Made\r\ncontent-length: 2\r\nx-a: b\r\n\r\n{}").await;
    let mut request = post(&format!("http://{address}/token?a=b"));
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("somebody else"));
    let answer = client().exchange(request, LIMITS).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-a"], &answer.body()[..]),
        (201, &HeaderValue::from_static("b"), &b"{}"[..])
    );
    let seen = told.recv().unwrap();
    assert!(seen.starts_with("POST /token?a=b HTTP/1.1\r\n"), "{seen}");
    for line in [format!("host: {address}"), format!("user-agent: {AGENT}"), "connection: close".to_owned()] {
        assert_eq!(seen.lines().filter(|seen| **seen == line).count(), 1, "{line} in {seen}");
    }
    assert!(!seen.contains("somebody else"));
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let (address, _told) =
        answering(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    let answer = client().exchange(post(&format!("http://{address}/")), LIMITS).await.unwrap();
    assert_eq!(answer.status().as_u16(), 302);
}

#[tokio::test]
async fn an_interim_answer_is_none() {
    let (address, _told) =
        answering(b"HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx").await;
    let answer = client().exchange(post(&format!("http://{address}/")), LIMITS).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"x"[..]));
}

#[tokio::test]
async fn what_has_no_address_was_not_sent() {
    assert_unsent(&fails("http://nobody.invalid/", LIMITS).await, "nobody.invalid");
    for url in ["/token", "ftp://127.0.0.1/", "http://user@127.0.0.1/"] {
        assert_unsent(&fails(url, LIMITS).await, "a URL");
    }
}

#[tokio::test]
async fn what_found_nobody_was_not_sent() {
    let (listener, address) = listener().await;
    drop(listener);
    assert_unsent(&fails(&format!("http://{address}/"), LIMITS).await, &address.to_string());
}

#[tokio::test]
async fn what_the_other_side_does_not_secure_was_not_sent() {
    let (listener, address) = listener().await;
    let silent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = Vec::new();
        stream.read_to_end(&mut hello).await.unwrap();
        hello
    });
    assert_unsent(&fails(&format!("https://{address}/"), short()).await, "no connection within 0.15 seconds");
    assert!(!silent.await.unwrap().is_empty(), "it has said hello");
}

#[tokio::test]
async fn the_total_bounds_the_connecting_too() {
    let (_listener, address) = listener().await;
    let limits = Limits { connect: Duration::from_secs(60), ..short() };
    assert_unsent(&fails(&format!("https://{address}/"), limits).await, "no connection within 0.3 seconds");
}

async fn tls_server(made: &CertifiedKey<KeyPair>) -> SocketAddr {
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else { return };
        until_sent(&mut stream).await;
        // Without `close_notify`, as many do: the length says that all is there.
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        stream.flush().await.unwrap();
    });
    address
}

#[tokio::test]
async fn tls_is_verified_by_trust_and_by_name() {
    let made = authority();
    let trusting = Client::new(&[made.cert.der().to_vec()]).unwrap();
    let address = tls_server(&made).await;
    let answer = trusting.exchange(post(&format!("https://{address}/")), LIMITS).await.unwrap();
    assert_eq!(&answer.body()[..], b"ok");

    let address = tls_server(&made).await;
    assert_unsent(&fails(&format!("https://{address}/"), LIMITS).await, "certificate");

    let address = tls_server(&rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap()).await;
    assert_unsent(&fails(&format!("https://{address}/"), LIMITS).await, "certificate");
}

#[tokio::test]
async fn a_cut_answer_leaves_us_not_knowing() {
    let (address, _told) = answering(b"").await;
    assert_unknown(&fails(&format!("http://{address}/"), LIMITS).await, &address.to_string());
    let (address, _told) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{\"access_token\"").await;
    assert_unknown(&fails(&format!("http://{address}/"), LIMITS).await, &address.to_string());
    let (address, _told) = answering(b"SSH-2.0-OpenSSH\r\n").await;
    assert_unknown(&fails(&format!("http://{address}/"), LIMITS).await, &address.to_string());
}

#[tokio::test]
async fn a_connection_that_is_closed_unread_leaves_us_not_knowing_or_unsent() {
    let (listener, address) = listener().await;
    tokio::spawn(async move { drop(listener.accept().await) });
    // Either is true: what is claimed to be unsent must not have been begun, which hyper vouches for.
    let failure = fails(&format!("http://{address}/"), LIMITS).await;
    assert!(failure.to_string().starts_with(&address.to_string()), "{failure}");
}

#[tokio::test]
async fn silence_leaves_us_not_knowing() {
    let (listener, address) = listener().await;
    let silent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        (until_sent(&mut stream).await, stream)
    });
    assert_unknown(&fails(&format!("http://{address}/"), short()).await, "no answer within 0.3 seconds");
    assert!(silent.await.unwrap().0.ends_with(SENT));
}

/// 1 KiB.
macro_rules! kib {
    () => {
        concat!(kib!(line), kib!(line), kib!(line), kib!(line))
    };
    (line) => {
        concat!(kib!(word), kib!(word), kib!(word), kib!(word))
    };
    (word) => {
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    };
}

#[tokio::test]
async fn more_than_agreed_leaves_us_not_knowing() {
    let (address, _told) =
        answering(concat!("HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\n", kib!()).as_bytes()).await;
    assert_unknown(&fails(&format!("http://{address}/"), LIMITS).await, "length limit exceeded");
}

/// A place where nobody accepts and the queue is full: the system does not even answer.
fn black_hole() -> (SocketAddr, Vec<socket2::Socket>) {
    let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let listening = socket();
    listening.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listening.listen(0).unwrap();
    let address = listening.local_addr().unwrap();
    let mut held = vec![listening];
    for _ in 0..4 {
        let filling = socket();
        filling.set_nonblocking(true).unwrap();
        let _ = filling.connect(&address);
        held.push(filling);
    }
    (address.as_socket().unwrap(), held)
}

#[tokio::test]
async fn an_address_that_does_not_answer_delays_the_next_by_its_head_start_alone() {
    let (hole, _held) = black_hole();
    let (_listener, address) = listener().await;
    let begun = Instant::now();
    let stream = first_of(vec![hole, address]).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
    assert!(begun.elapsed() >= HEAD_START, "the first had its head start");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn an_address_that_refuses_gives_way_at_once_and_the_last_error_is_told() {
    let (listener, gone) = listener().await;
    drop(listener);
    let (_listener, address) = self::listener().await;
    assert_eq!(first_of(vec![gone, address]).await.unwrap().peer_addr().unwrap(), address);
    assert_eq!(first_of(vec![gone]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(first_of(vec![]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn the_families_take_turns() {
    let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
    assert_eq!(
        in_turn(of(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"])),
        of(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"])
    );
    assert_eq!(in_turn(of(&["1.0.0.1:1", "[::1]:1"])), of(&["1.0.0.1:1", "[::1]:1"]));
    assert_eq!(in_turn(Vec::new()), Vec::new());
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    const NOW: UnixMillis = 946_684_799_000;
    let of =
        |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]), NOW);
    assert_eq!(of("120"), Some(Duration::from_secs(120)));
    assert_eq!(of("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
    assert_eq!(of("Sat, 01 Jan 2000 00:00:29 GMT"), Some(Duration::from_secs(30)));
    assert_eq!(of("Sat, 01 Jan 1972 00:00:29 GMT"), Some(Duration::ZERO));
    assert_eq!(of("soon"), None);
    assert_eq!(retry_after(&HeaderMap::new(), NOW), None);
}
