//! An OAuth server that does what it is told: it rotates refresh tokens, detects their second use (with a window of grace, if one
//! is given), and for each call of its token endpoint follows a step: grants, stalls, lies, commits and loses its answer. It records
//! every call and knows which refresh token is good, so that a test can tell what was lost.
//!
//! Every token has the canary in it: whatever response or output shows one fails the leak guard. (Codes have not: they come by
//! the browser.)

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::origin::{After, Exchange, Origin};
use super::wait::{Gate, eventually, eventually_within};

/// What it knows its client as.
pub const CLIENT_ID: &str = "edge-client";
/// What proves that.
pub const CLIENT_SECRET: &str = "c4n4ry-client-secret-0123456789abcdef";

/// What happens to one call of the token endpoint.
#[derive(Clone)]
pub enum Step {
    /// What RFC 6749 says.
    Grant,
    /// The same, after the test has opened the gate.
    Wait(Arc<Gate>),
    /// Nothing, ever: neither a grant nor an answer.
    Stall,
    /// Grants, and closes the connection instead of answering.
    CommitThenClose,
    /// Grants, and resets it.
    CommitThenReset,
    /// Grants, and answers this much of it.
    CommitThenCut(usize),
    /// Grants, but the answer is changed by this.
    Lie(fn(&mut Value)),
    /// Grants, but says that it is HTML.
    WrongType,
    /// Does not grant: this status, these fields, this body.
    Say(u16, &'static str, &'static str),
}

/// A call of the token endpoint.
#[derive(Clone, Debug)]
pub struct Call {
    pub at: Instant,
    pub grant_type: String,
    /// Everything in the form.
    pub form: BTreeMap<String, String>,
    pub agent: String,
    pub authorization: Option<String>,
    /// What became of it: the access token that was granted, or the error.
    pub outcome: Result<String, String>,
}

/// What it is like.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long access tokens live.
    pub access: Duration,
    /// For how long a spent refresh token is good once more; `None`: not at all.
    pub grace: Option<Duration>,
    /// Whether a refresh brings a new refresh token.
    pub rotates: bool,
    /// Whether the client has to prove who it is.
    pub confidential: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { access: Duration::from_secs(3600), grace: None, rotates: true, confidential: false }
    }
}

/// A running provider.
pub struct ScriptedProvider {
    pub origin: Origin,
    state: Arc<Mutex<State>>,
}

struct State {
    settings: Settings,
    steps: VecDeque<Step>,
    calls: Vec<Call>,
    families: Vec<Family>,
    refresh: BTreeMap<String, Refresh>,
    access: BTreeMap<String, Instant>,
    codes: BTreeMap<String, Asked>,
    devices: BTreeMap<String, bool>,
    reuses: usize,
}

/// All tokens of one login.
#[derive(Default)]
struct Family {
    granted: u64,
    revoked: bool,
}

struct Refresh {
    family: usize,
    spent: Option<Instant>,
}

/// An authorization request.
struct Asked {
    challenge: String,
    redirect_uri: String,
}

impl ScriptedProvider {
    pub fn start(settings: Settings) -> Self {
        let state = State {
            settings,
            steps: VecDeque::new(),
            calls: Vec::new(),
            families: Vec::new(),
            refresh: BTreeMap::new(),
            access: BTreeMap::new(),
            codes: BTreeMap::new(),
            devices: BTreeMap::new(),
            reuses: 0,
        };
        let provider = Self { origin: Origin::start(), state: Arc::new(Mutex::new(state)) };
        provider.on("/authorize", authorize);
        provider.on("/token", token);
        provider.on("/device", device);
        provider
    }

    fn on(&self, path: &str, handle: fn(&Arc<Mutex<State>>, &mut Exchange) -> After) {
        let state = Arc::clone(&self.state);
        self.origin.on(path, move |exchange| handle(&state, exchange));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.origin.authority())
    }

    /// The `oauth2` of a provider of the configuration.
    pub fn oauth2(&self) -> String {
        let url = self.url();
        let secret = if self.state().settings.confidential { CLIENT_SECRET } else { "\"\"" };
        format!(
            "{{ authorization_url: \"{url}/authorize\", token_url: \"{url}/token\", \
             device_authorization_url: \"{url}/device\", client_id: {CLIENT_ID}, client_secret: {secret}, scopes: [api] }}"
        )
    }

    /// The next calls go like this, in this order; after them everything is granted.
    pub fn then(&self, steps: impl IntoIterator<Item = Step>) -> &Self {
        self.state().steps.extend(steps);
        self
    }

    /// How long access tokens live from now on.
    pub fn access(&self, access: Duration) {
        self.state().settings.access = access;
    }

    /// Calls of the token endpoint that were answered, or committed, or refused.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Calls with that grant.
    pub fn calls_of(&self, grant_type: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.grant_type == grant_type).collect()
    }

    /// How many refreshes have come.
    pub fn refreshes(&self) -> usize {
        self.calls_of("refresh_token").len()
    }

    /// Waits for that many refreshes.
    pub fn wait_refreshes(&self, count: usize, patience: Duration) -> Vec<Call> {
        eventually_within(patience, &format!("{count} refreshes"), || {
            Some(self.calls_of("refresh_token")).filter(|calls| calls.len() >= count)
        })
    }

    /// Waits until a call stands at the token endpoint, answered or not.
    pub fn wait_arrival(&self, count: usize) {
        eventually(&format!("{count} calls at the token endpoint"), || {
            (self.origin.requests_for("/token").len() >= count).then_some(())
        });
    }

    /// How often a spent refresh token came, outside of the window of grace: each has revoked its family.
    pub fn reuses(&self) -> usize {
        self.state().reuses
    }

    /// A login without a browser: its access token and refresh token.
    pub fn login(&self) -> (String, String) {
        let mut state = self.state();
        state.families.push(Family::default());
        let family = state.families.len() - 1;
        state.issue(family)
    }

    /// Whether that refresh token would be taken now.
    pub fn takes(&self, refresh_token: &str) -> bool {
        self.state().check(refresh_token).is_ok()
    }

    /// Whether that access token is one of its own and has not ended.
    pub fn knows(&self, access_token: &str) -> bool {
        self.state().access.get(access_token).is_some_and(|end| *end > Instant::now())
    }

    /// Takes every access token back; refresh tokens stay.
    pub fn revoke_access(&self) {
        self.state().access.clear();
    }

    /// Ends every login.
    pub fn revoke_all(&self) {
        self.state().families.iter_mut().for_each(|family| family.revoked = true);
    }

    /// A person agrees at the page of the device flow.
    pub fn approve_devices(&self) {
        self.state().devices.values_mut().for_each(|approved| *approved = true);
    }

    /// An upstream that takes its tokens: 200 with `ok`, or 401.
    pub fn upstream(&self) -> Origin {
        let origin = Origin::start();
        let state = Arc::clone(&self.state);
        origin.on("/", move |exchange| {
            exchange.read_body();
            let bearer = exchange.head.fields.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
            let good =
                bearer.is_some_and(|token| lock(&state).access.get(token).is_some_and(|end| *end > Instant::now()));
            let head = if good { "200 OK" } else { "401 Unauthorized" };
            exchange.send(format!("HTTP/1.1 {head}\r\ncontent-length: 2\r\n\r\nok"));
            After::Keep
        });
        origin
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// The next pair of a family.
    fn issue(&mut self, family: usize) -> (String, String) {
        self.families[family].granted += 1;
        let number = self.families[family].granted;
        let access = access_token(family, number);
        let refresh = format!("c4n4ry-refresh-{family}-{number}-0123456789abcdef");
        self.access.insert(access.clone(), Instant::now() + self.settings.access);
        self.refresh.insert(refresh.clone(), Refresh { family, spent: None });
        (access, refresh)
    }

    /// Whether a refresh token is good; otherwise whether this was its second use.
    fn check(&self, token: &str) -> Result<usize, bool> {
        let known = self.refresh.get(token).ok_or(false)?;
        if self.families[known.family].revoked {
            return Err(false);
        }
        let late = |spent: Instant| self.settings.grace.is_none_or(|grace| spent.elapsed() > grace);
        if self.settings.rotates && known.spent.is_some_and(late) { Err(true) } else { Ok(known.family) }
    }

    fn refresh(&mut self, token: &str) -> Result<Value, String> {
        let family = match self.check(token) {
            Ok(family) => family,
            Err(reused) => {
                if reused && let Some(known) = self.refresh.get(token) {
                    self.families[known.family].revoked = true;
                    self.reuses += 1;
                }
                return Err("invalid_grant".into());
            }
        };
        if let Some(known) = self.refresh.get_mut(token) {
            known.spent.get_or_insert_with(Instant::now);
        }
        let (access, refresh) = self.issue(family);
        let mut answer = self.answer(&access);
        if self.settings.rotates {
            answer["refresh_token"] = refresh.into();
        }
        Ok(answer)
    }

    fn first(&mut self) -> Value {
        self.families.push(Family::default());
        let (access, refresh) = self.issue(self.families.len() - 1);
        let mut answer = self.answer(&access);
        answer["refresh_token"] = refresh.into();
        answer
    }

    fn answer(&self, access: &str) -> Value {
        json!({ "access_token": access, "token_type": "Bearer", "expires_in": self.settings.access.as_secs() })
    }

    fn code(&mut self, form: &BTreeMap<String, String>) -> Result<Value, String> {
        let field = |name: &str| form.get(name).cloned().unwrap_or_default();
        let asked = self.codes.remove(&field("code")).ok_or("invalid_grant")?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
        if challenge != asked.challenge || field("redirect_uri") != asked.redirect_uri {
            return Err("invalid_grant".into());
        }
        Ok(self.first())
    }

    fn device(&mut self, code: &str) -> Result<Value, String> {
        match self.devices.get(code) {
            None => Err("expired_token".into()),
            Some(false) => Err("authorization_pending".into()),
            Some(true) => {
                self.devices.remove(code);
                Ok(self.first())
            }
        }
    }

    fn grant(&mut self, form: &BTreeMap<String, String>, authorization: Option<&str>) -> Result<Value, String> {
        self.client(form, authorization)?;
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        match field("grant_type") {
            "refresh_token" => self.refresh(field("refresh_token")),
            "authorization_code" => self.code(form),
            "urn:ietf:params:oauth:grant-type:device_code" => self.device(field("device_code")),
            "client_credentials" => {
                self.families.push(Family::default());
                let (access, _) = self.issue(self.families.len() - 1);
                Ok(self.answer(&access))
            }
            _ => Err("unsupported_grant_type".into()),
        }
    }

    /// The client proves itself in the form or by Basic (RFC 6749 §2.3.1).
    fn client(&self, form: &BTreeMap<String, String>, authorization: Option<&str>) -> Result<(), String> {
        let basic = authorization.and_then(|value| value.strip_prefix("Basic "));
        let pair = basic.and_then(|value| String::from_utf8(STANDARD.decode(value).ok()?).ok());
        let (id, secret) = match pair.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((id, secret)) => (id.to_owned(), secret.to_owned()),
            None => {
                let field = |name: &str| form.get(name).cloned().unwrap_or_default();
                (field("client_id"), field("client_secret"))
            }
        };
        let proven = !self.settings.confidential || secret == CLIENT_SECRET;
        if id == CLIENT_ID && proven { Ok(()) } else { Err("invalid_client".into()) }
    }

    fn record(&mut self, form: &BTreeMap<String, String>, exchange: &Exchange, outcome: Result<String, String>) {
        let field = |name: &str| exchange.head.fields.get(name).map(str::to_owned);
        self.calls.push(Call {
            at: Instant::now(),
            grant_type: form.get("grant_type").cloned().unwrap_or_default(),
            form: form.clone(),
            agent: field("user-agent").unwrap_or_default(),
            authorization: field("authorization"),
            outcome,
        });
    }
}

/// The access token that a family is given by its `number`th grant, both from where they begin: 0 and 1.
pub fn access_token(family: usize, number: u64) -> String {
    format!("c4n4ry-access-{family}-{number}-0123456789abcdef")
}

/// Whoever comes is logged in, and sent back with a code.
fn authorize(state: &Arc<Mutex<State>>, exchange: &mut Exchange) -> After {
    let target = exchange.target();
    let query = form(target.split_once('?').map_or("", |(_, query)| query).as_bytes());
    let field = |name: &str| query.get(name).cloned().unwrap_or_default();
    let faults = [
        field("response_type") != "code",
        field("client_id") != CLIENT_ID,
        field("code_challenge_method") != "S256",
        field("state").len() < 43,
    ];
    if faults.contains(&true) {
        return answer(exchange, 400, "content-type: text/plain\r\n", &format!("a wrong request: {query:?}"));
    }
    let mut state = lock(state);
    let code = format!("code-{}-0123456789abcdef", state.codes.len() + state.families.len());
    let asked = Asked { challenge: field("code_challenge"), redirect_uri: field("redirect_uri") };
    let back = format!("{}?code={code}&state={}", asked.redirect_uri, field("state"));
    state.codes.insert(code, asked);
    drop(state);
    answer(exchange, 302, &format!("location: {back}\r\n"), "")
}

fn device(state: &Arc<Mutex<State>>, exchange: &mut Exchange) -> After {
    body(exchange);
    let mut state = lock(state);
    let number = state.devices.len();
    let code = format!("c4n4ry-device-{number}-0123456789abcdef");
    state.devices.insert(code.clone(), false);
    drop(state);
    let url = format!("http://{}/activate", exchange.head.fields.get("host").unwrap_or_default());
    let said = json!({ "device_code": code, "user_code": format!("WDJB-{number:04}"), "verification_uri": url,
        "expires_in": 600, "interval": 1 });
    answer(exchange, 200, "content-type: application/json\r\n", &said.to_string())
}

fn token(state: &Arc<Mutex<State>>, exchange: &mut Exchange) -> After {
    let form = form(&body(exchange));
    let step = lock(state).steps.pop_front().unwrap_or(Step::Grant);
    match &step {
        Step::Wait(gate) => gate.wait(),
        Step::Stall => {
            exchange.wait_end();
            return After::Close;
        }
        Step::Say(status, fields, text) => {
            lock(state).record(&form, exchange, Err(format!("{status} {text:.80}")));
            return answer(exchange, *status, fields, text);
        }
        _ => {}
    }
    let granted = {
        let mut state = lock(state);
        let authorization = exchange.head.fields.get("authorization").map(str::to_owned);
        let granted = state.grant(&form, authorization.as_deref());
        let token = |answer: &Value| answer["access_token"].as_str().unwrap_or_default().to_owned();
        state.record(&form, exchange, granted.as_ref().map(token).map_err(Clone::clone));
        granted
    };
    match granted {
        Ok(value) => after_commit(&step, value, exchange),
        Err(error) => {
            let status = if error == "invalid_client" { 401 } else { 400 };
            answer(exchange, status, "content-type: application/json\r\n", &json!({ "error": error }).to_string())
        }
    }
}

fn after_commit(step: &Step, mut value: Value, exchange: &mut Exchange) -> After {
    const JSON: &str = "content-type: application/json\r\ncache-control: no-store\r\n";
    match step {
        Step::CommitThenClose => After::Close,
        Step::CommitThenReset => After::Reset,
        Step::CommitThenCut(count) => {
            let text = value.to_string();
            exchange.send(format!("HTTP/1.1 200 OK\r\n{JSON}content-length: {}\r\n\r\n{:.count$}", text.len(), text));
            After::Close
        }
        Step::Lie(change) => {
            change(&mut value);
            answer(exchange, 200, JSON, &value.to_string())
        }
        Step::WrongType => answer(exchange, 200, "content-type: text/html\r\n", &value.to_string()),
        _ => answer(exchange, 200, JSON, &value.to_string()),
    }
}

fn answer(exchange: &mut Exchange, status: u16, fields: &str, body: &str) -> After {
    exchange.send(format!("HTTP/1.1 {status} Said\r\n{fields}content-length: {}\r\n\r\n{body}", body.len()));
    After::Keep
}

pub(super) fn body(exchange: &mut Exchange) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = exchange.stream_body(&mut |more| bytes.extend_from_slice(more));
    bytes
}

fn form(bytes: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(bytes).into_owned().collect()
}
