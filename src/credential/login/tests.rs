//! Logins from beginning to end against a provider of a few lines, with clocks that tests set.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::super::callback::parse;
use super::super::provider::{Kind, OAuth2};
use super::super::vault::{self, Settings};
use super::*;
use crate::observe::Observer;

const REDIRECT: &str = "http://127.0.0.1:9090/oauth/callback";
const GRANTED: &str =
    r#"{"access_token": "4ccess", "refresh_token": "r3fresh", "token_type": "Bearer", "expires_in": 3600}"#;
const PATIENCE: Duration = Duration::from_secs(20);

/// What a provider answers to a form: status and body.
type Script = Arc<dyn Fn(&HashMap<String, String>) -> (u16, String) + Send + Sync>;

struct Bench {
    logins: Arc<Logins>,
    vault: Arc<Vault>,
    state: tempfile::TempDir,
    clock: Arc<Mutex<Moment>>,
    asked: Arc<AtomicUsize>,
}

impl Bench {
    async fn new(script: impl Fn(&HashMap<String, String>) -> (u16, String) + Send + Sync + 'static) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let address = serve(Arc::new(script), Arc::clone(&asked)).await;
        let observer = Arc::new(Observer::for_tests().unwrap());
        let vault = Vault::start(vault::Parts { store: None, observer }).unwrap();
        let provider = Arc::new(provider(&address));
        vault.configure(Settings { providers: vec![(provider, Duration::from_secs(300))] });
        let state = tempfile::tempdir().unwrap();
        let clock = Arc::new(Mutex::new(Moment::now()));
        let logins = Arc::new(open(&vault, &state, &clock));
        Self { logins, vault, state, clock, asked }
    }

    /// As another process would.
    fn another(&self) -> Arc<Logins> {
        Arc::new(open(&self.vault, &self.state, &self.clock))
    }

    async fn begin(&self) -> Secret {
        let begun = self.logins.begin("sso", &session(1)).await.unwrap();
        let Flow::Browser { state, .. } = begun.flow else { panic!("another flow") };
        state
    }

    async fn paste(&self, text: &str) -> Result<Token, FinishError> {
        self.logins.finish(parse(text).unwrap(), None).await
    }

    fn goes_by(&self, monotonic: Duration, wall: i64) {
        let mut clock = self.clock.lock();
        *clock = Moment { monotonic: clock.monotonic + monotonic, wall: clock.wall.saturating_add_signed(wall) };
    }

    fn exchanges(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn open(vault: &Arc<Vault>, state: &tempfile::TempDir, clock: &Arc<Mutex<Moment>>) -> Logins {
    let clock = Arc::clone(clock);
    let clock: Clock = Arc::new(move || *clock.lock());
    Logins::open_with(Arc::clone(vault), Some(state.path().to_owned()), 9090, clock).unwrap()
}

fn provider(address: &str) -> Provider {
    let url = |path: &str| Url::parse(&format!("http://{address}{path}")).unwrap();
    let kind = Kind::OAuth2(OAuth2 {
        authorization_url: url("/authorize"),
        token_url: url("/token"),
        device_authorization_url: Some(url("/device")),
        client_id: "countersign".to_owned(),
        client_secret: Some(Secret::new("cl1ent")),
        scopes: vec!["x".to_owned()],
        redirect_url: None,
        issuer: Some("https://sso.test".to_owned()),
    });
    Provider { name: "sso".into(), kind, anchors: Vec::new() }
}

/// A provider: one thread's worth of HTTP/1.1, one request a connection.
async fn serve(script: Script, asked: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            tokio::spawn(answer(stream, Arc::clone(&script), Arc::clone(&asked)));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, script: Script, asked: Arc<AtomicUsize>) {
    let (mut text, mut part) = (String::new(), [0; 4096]);
    let body = loop {
        let count = stream.read(&mut part).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        text.push_str(std::str::from_utf8(&part[..count]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break body.to_owned();
        }
    };
    asked.fetch_add(1, Ordering::SeqCst);
    let form = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let (status, body) = script(&form);
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    let _ = stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await;
}

fn session(number: usize) -> Session {
    Session(format!("session:{number}"))
}

fn address(state: &Secret) -> String {
    format!("{REDIRECT}?code=c0de&state={}&iss=https%3A%2F%2Fsso.test", state.expose())
}

fn is_invalid(outcome: &Result<Token, FinishError>) -> bool {
    matches!(outcome, Err(FinishError::InvalidState))
}

#[tokio::test]
async fn a_login_goes_from_the_address_to_the_token() {
    let seen = Arc::new(Mutex::new(HashMap::new()));
    let seen_by_provider = Arc::clone(&seen);
    let bench = Bench::new(move |form| {
        *seen_by_provider.lock() = form.clone();
        (200, GRANTED.to_owned())
    })
    .await;
    let begun = bench.logins.begin("sso", &session(1)).await.unwrap();
    let Flow::Browser { authorization_url, redirect_uri, state } = begun.flow else { panic!("another flow") };
    assert_eq!((redirect_uri.as_str(), state.len()), (REDIRECT, 43));
    assert_eq!(begun.expires_at, bench.clock.lock().wall + 600_000);
    let url = Url::parse(&authorization_url).unwrap();
    let asked: HashMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!((asked["state"].as_str(), asked["code_challenge_method"].as_str()), (state.expose(), "S256"));
    let token = bench.paste(&address(&state)).await.unwrap();
    assert_eq!(bench.vault.tokens().into_iter().map(|token| token.id).collect::<Vec<_>>(), [token.id]);
    let sent = seen.lock().clone();
    assert_eq!((sent["grant_type"].as_str(), sent["code"].as_str()), ("authorization_code", "c0de"));
    let verifier = Secret::new(sent["code_verifier"].clone());
    assert_eq!(pkce::challenge(&verifier), asked["code_challenge"]);
    assert!(is_invalid(&bench.paste(&address(&state)).await), "a second time");
    assert_eq!((bench.exchanges(), sent["redirect_uri"].as_str()), (1, REDIRECT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_submit_and_one_exchanges() {
    let bench = Bench::new(|_| (200, GRANTED.to_owned())).await;
    let state = bench.begin().await;
    let processes = [Arc::clone(&bench.logins), bench.another()];
    let all = (0..100).map(|number| {
        let (logins, text) = (Arc::clone(&processes[number % 2]), address(&state));
        tokio::spawn(async move { logins.finish(parse(&text).unwrap(), None).await })
    });
    let mut granted = 0;
    for task in all.collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(_) => granted += 1,
            Err(error) => assert!(matches!(error, FinishError::InvalidState), "{error}"),
        }
    }
    assert_eq!((granted, bench.exchanges(), bench.vault.tokens().len()), (1, 1, 1));
}

#[tokio::test]
async fn what_does_not_fit_leaves_the_state() {
    let bench = Bench::new(|_| (200, GRANTED.to_owned())).await;
    let state = bench.begin().await;
    let right = address(&state);
    for wrong in [
        right.replace("127.0.0.1:9090", "localhost:9090"),
        right.replace("127.0.0.1:9090", "127.0.0.1:9091"),
        right.replace("http:", "https:"),
        right.replace("/oauth/callback", "/oauth/callback/"),
        right.replace("sso.test", "evil.test"),
        right.replace("&iss=https%3A%2F%2Fsso.test", ""),
        right.replace(state.expose(), &"A".repeat(43)),
        right.replace("code=c0de", "error=access_denied").replace("sso.test", "evil.test"),
    ] {
        assert!(is_invalid(&bench.paste(&wrong).await), "{wrong}");
    }
    let foreign = bench.logins.finish(parse(&right).unwrap(), Some(&session(2))).await;
    assert!(is_invalid(&foreign), "another session's browser");
    assert_eq!(bench.exchanges(), 0);
    bench.logins.finish(parse(&right).unwrap(), Some(&session(1))).await.unwrap();
}

#[tokio::test]
async fn after_ten_minutes_a_state_is_none() {
    let bench = Bench::new(|_| (200, GRANTED.to_owned())).await;
    let second = Duration::from_secs(1);
    let (early, late) = (bench.begin().await, bench.begin().await);
    bench.goes_by(599 * second, 599_000);
    bench.paste(&address(&early)).await.unwrap();
    bench.goes_by(2 * second, 2000);
    assert!(is_invalid(&bench.paste(&address(&late)).await), "601 s");
    let kept = std::fs::read_dir(bench.state.path().join("pending")).unwrap().count();
    assert_eq!((kept, bench.exchanges()), (0, 1));
    let state = bench.begin().await;
    bench.goes_by(second, 3_600_000);
    bench.paste(&address(&state)).await.unwrap();
    let state = bench.begin().await;
    bench.goes_by(601 * second, 0);
    assert!(is_invalid(&bench.paste(&address(&state)).await), "a wall clock that stands still helps nobody");
}

#[tokio::test]
async fn a_restart_costs_no_login() {
    let bench = Bench::new(|_| (200, GRANTED.to_owned())).await;
    let (first, second) = (bench.begin().await, bench.begin().await);
    let after = bench.another();
    after.finish(parse(&address(&first)).unwrap(), Some(&session(1))).await.unwrap();
    bench.goes_by(Duration::ZERO, 601_000);
    let late = after.finish(parse(&address(&second)).unwrap(), None).await;
    assert!(is_invalid(&late), "the wall clock counts across a restart");
}

#[tokio::test]
async fn a_refusal_spends_the_state() {
    let bench = Bench::new(|_| (200, GRANTED.to_owned())).await;
    let state = bench.begin().await;
    let refused = address(&state).replace("code=c0de", "error=access_denied&error_description=not%20today");
    match bench.paste(&refused).await {
        Err(FinishError::Refused { detail }) => assert_eq!(detail, "access_denied: not today"),
        other => panic!("{other:?}"),
    }
    assert!(is_invalid(&bench.paste(&address(&state)).await));
    assert_eq!(bench.exchanges(), 0);
}

#[tokio::test]
async fn a_failed_exchange_says_why_and_nothing_secret() {
    for (status, body, expected) in [
        (400, r#"{"error": "invalid_grant", "error_description": "c0de of cl1ent is spent"}"#, "invalid_grant"),
        (401, r#"{"error": "invalid_client"}"#, "invalid_client"),
        (400, r#"{"error": "authorization_pending"}"#, "begin again"),
        (500, "<html>c0de cl1ent</html>", ""),
        (200, "<html>hello c0de</html>", ""),
        (200, r#"{"access_token": ""}"#, ""),
        (429, "{}", "begin again"),
    ] {
        let bench = Bench::new(move |_| (status, body.to_owned())).await;
        let state = bench.begin().await;
        match bench.paste(&address(&state)).await {
            Err(FinishError::Exchange { detail }) => {
                assert!(!detail.is_empty() && detail.contains(expected), "{status} {body}: {detail}");
                assert!(!detail.contains("c0de") && !detail.contains("cl1ent"), "{detail}");
            }
            other => panic!("{status} {body}: {other:?}"),
        }
        assert!(is_invalid(&bench.paste(&address(&state)).await), "the code may be spent, so is the state");
        assert!(bench.vault.tokens().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn who_asked_may_leave_and_the_token_comes() {
    let (tell, told) = std::sync::mpsc::channel();
    let told = Mutex::new(told);
    // It holds one of the threads up until it is told to answer.
    let bench = Bench::new(move |_| {
        told.lock().recv_timeout(PATIENCE).unwrap();
        (200, GRANTED.to_owned())
    })
    .await;
    let text = address(&bench.begin().await);
    assert!(tokio::time::timeout(Duration::from_millis(100), bench.paste(&text)).await.is_err());
    tell.send(()).unwrap();
    let began = std::time::Instant::now();
    while bench.vault.tokens().is_empty() {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bench.exchanges(), 1);
}

#[tokio::test]
async fn logins_are_bounded_and_refused_beyond() {
    let bench = Bench::new(|_| (200, GRANTED.to_owned())).await;
    let mut states = Vec::new();
    for _ in 0..10 {
        states.push(bench.begin().await);
    }
    assert!(matches!(bench.logins.begin("sso", &session(1)).await, Err(BeginError::TooMany)));
    bench.logins.begin("sso", &session(2)).await.unwrap();
    assert!(matches!(bench.another().begin("sso", &session(1)).await, Err(BeginError::TooMany)), "after a restart");
    bench.paste(&address(&states[0])).await.unwrap();
    bench.begin().await;
    assert!(matches!(bench.logins.begin("nobody", &session(3)).await, Err(BeginError::NoProvider(_))));
}

#[tokio::test]
async fn a_device_is_asked_for_until_the_person_agrees() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let bench = Bench::new(move |form| match form.get("grant_type").map(String::as_str) {
        None => {
            let code = r#"{"device_code": "d3vice", "user_code": "AB-CD", "verification_uri": "https://sso.test/device",
                "expires_in": 600, "interval": 1}"#;
            (200, code.to_owned())
        }
        Some(_) if counted.fetch_add(1, Ordering::SeqCst) == 0 => {
            assert_eq!(form["device_code"], "d3vice");
            (400, r#"{"error": "authorization_pending"}"#.to_owned())
        }
        Some(_) => (200, GRANTED.to_owned()),
    })
    .await;
    let begun = bench.logins.begin_device("sso", &session(1)).await.unwrap();
    let Flow::Device { user_code, id, .. } = begun.flow else { panic!("another flow") };
    assert_eq!(user_code, "AB-CD");
    assert!(matches!(bench.logins.device(&id), Some(DeviceState::Pending)));
    match ended(&bench.logins, &id).await {
        DeviceState::Done(token) => assert_eq!(bench.vault.tokens()[0].id, token.id),
        other => panic!("{other:?}"),
    }
    assert_eq!(polls.load(Ordering::SeqCst), 2);
    assert!(bench.logins.device("another").is_none());
}

#[tokio::test]
async fn a_device_that_is_refused_says_so() {
    let bench = Bench::new(move |form| match form.contains_key("grant_type") {
        false => {
            let code = r#"{"device_code": "d3vice", "user_code": "AB-CD", "verification_uri": "https://sso.test/device",
                "expires_in": 600, "interval": 1}"#;
            (200, code.to_owned())
        }
        true => (400, r#"{"error": "access_denied", "error_description": "not d3vice"}"#.to_owned()),
    })
    .await;
    let begun = bench.logins.begin_device("sso", &session(1)).await.unwrap();
    let Flow::Device { id, .. } = begun.flow else { panic!("another flow") };
    match ended(&bench.logins, &id).await {
        DeviceState::Failed(why) => assert!(why.contains("access_denied") && !why.contains("d3vice"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(bench.vault.tokens().is_empty());
}

async fn ended(logins: &Logins, id: &str) -> DeviceState {
    let began = std::time::Instant::now();
    loop {
        match logins.device(id).unwrap() {
            DeviceState::Pending => assert!(began.elapsed() < PATIENCE),
            ended => return ended,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
