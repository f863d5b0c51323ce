//! An issuer on loopback whose answers a test decides.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Signer;

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `GET /path`.
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Seen {
    /// A field of its form.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let mut fields = url::form_urlencoded::parse(self.body.as_bytes());
        fields.find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
    }

    /// A field of its head.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What is answered: a status, further header lines, a body.
#[derive(Clone, Debug)]
pub(crate) struct Reply(pub(crate) u16, pub(crate) &'static str, pub(crate) String);

impl Reply {
    pub(crate) fn json(value: &Value) -> Self {
        Self(200, "content-type: application/json\r\n", value.to_string())
    }
}

type Answer = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// The issuer.
pub(crate) struct Scripted {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    /// By `GET /path`.
    answers: Mutex<HashMap<String, Answer>>,
    /// Closed: answers wait.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

/// What a request line begins with.
pub(crate) const DISCOVERY: &str = "GET /.well-known/openid-configuration";
pub(crate) const JWKS: &str = "GET /jwks";
pub(crate) const TOKEN: &str = "POST /token";
pub(crate) const USERINFO: &str = "GET /me";

impl Scripted {
    /// One that has this key, and exchanges nothing yet.
    pub(crate) async fn start(signers: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Self { url, shared: Arc::default() };
        issuer.answers(DISCOVERY, Reply::json(&issuer.metadata()));
        issuer.publishes(signers);
        let shared = Arc::clone(&issuer.shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        issuer
    }

    /// What it says of itself.
    pub(crate) fn metadata(&self) -> Value {
        let url = &self.url;
        json!({"issuer": url, "jwks_uri": format!("{url}/jwks"), "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"), "userinfo_endpoint": format!("{url}/me"),
            "end_session_endpoint": format!("{url}/logout"), "revocation_endpoint": format!("{url}/revoke")})
    }

    pub(crate) fn publishes(&self, signers: &[&Signer]) {
        self.answers(JWKS, Reply(200, "cache-control: public, max-age=600\r\n", super::jwks(signers)));
    }

    pub(crate) fn answers(&self, line: &str, reply: Reply) {
        self.decides(line, move |_| reply.clone());
    }

    pub(crate) fn decides(&self, line: &str, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        self.shared.answers.lock().insert(line.to_owned(), Arc::new(answer));
    }

    /// From now on, answers wait for permits.
    pub(crate) fn holds(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.shared.gate.lock() = Some(Arc::clone(&gate));
        gate
    }

    /// What was asked so.
    pub(crate) fn seen(&self, line: &str) -> Vec<Seen> {
        self.shared.seen.lock().iter().filter(|seen| seen.line == line).cloned().collect()
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let Some(seen) = read(&mut stream).await else { return };
    shared.seen.lock().push(seen.clone());
    let gate = shared.gate.lock().clone();
    if let Some(gate) = gate {
        gate.acquire().await.unwrap().forget();
    }
    let answer = shared.answers.lock().get(&seen.line).cloned();
    let Reply(status, further, body) = answer.map_or(Reply(404, "", String::new()), |answer| answer(&seen));
    let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n{further}\r\n", body.len());
    let _ = stream.write_all((head + &body).as_bytes()).await;
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                let line = head.split(" HTTP/").next()?.split('?').next()?.to_owned();
                return Some(Seen { line, head: head.to_owned(), body: body.to_owned() });
            }
        }
        match stream.read(&mut piece).await {
            Ok(read) if read > 0 => bytes.extend_from_slice(&piece[..read]),
            _ => return None,
        }
    }
}
