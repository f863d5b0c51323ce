//! A fake of AWS's identity service as its API reference has it: RegisterClient, StartDeviceAuthorization, CreateToken, and the page
//! of sign-in. It refuses every field that the reference does not name, and every one that a grant must not have, which AWS itself
//! would let pass: what we send must be right, not merely taken. Errors have AWS's shape.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::origin::{After, Exchange, Origin};
use super::scripted_provider::body;

/// Where people sign in, as the configuration names it.
pub const START_URL: &str = "https://view.awsapps.com/start";

const CODE: &str = "authorization_code";
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const REFRESH: &str = "refresh_token";

/// A running fake.
pub struct Aws {
    pub origin: Origin,
    state: Arc<Mutex<State>>,
}

struct State {
    /// How long access tokens live.
    access: Duration,
    /// The parameter that names the scopes at the page of sign-in.
    scope_parameter: String,
    /// For how long clients stay registered.
    registration: Duration,
    clients: BTreeMap<String, Client>,
    codes: BTreeMap<String, (String, String, String)>,
    devices: BTreeMap<String, (String, bool)>,
    refresh: BTreeMap<String, String>,
    access_tokens: BTreeSet<String>,
    /// What was refused, so that a test can say that nothing was.
    refused: Vec<String>,
    calls: Vec<(String, Value)>,
    number: usize,
}

struct Client {
    secret: String,
    redirects: Vec<String>,
    grants: Vec<String>,
    scopes: Vec<String>,
}

/// An error as AWS has it: `error`, and the name of the exception.
type Refusal = (u16, &'static str, &'static str, String);

impl Aws {
    /// With access tokens that live that long.
    pub fn start(access: Duration) -> Self {
        let state = State {
            access,
            scope_parameter: "scope".into(),
            registration: Duration::from_secs(90 * 24 * 3600),
            clients: BTreeMap::new(),
            codes: BTreeMap::new(),
            devices: BTreeMap::new(),
            refresh: BTreeMap::new(),
            access_tokens: BTreeSet::new(),
            refused: Vec::new(),
            calls: Vec::new(),
            number: 0,
        };
        let aws = Self { origin: Origin::start(), state: Arc::new(Mutex::new(state)) };
        aws.json("/client/register", State::register);
        aws.json("/device_authorization", State::device_authorization);
        aws.json("/token", State::token);
        let state = Arc::clone(&aws.state);
        aws.origin.on("/authorize", move |exchange| {
            let target = exchange.target();
            let asked = lock(&state).authorize(&target);
            match asked {
                Ok(back) => {
                    exchange.send(format!("HTTP/1.1 302 Found\r\nlocation: {back}\r\ncontent-length: 0\r\n\r\n"))
                }
                Err(refusal) => refuse(&state, exchange, &refusal),
            };
            After::Keep
        });
        aws
    }

    /// The page of sign-in wants its scopes under that name.
    pub fn scope_parameter(self, name: &str) -> Self {
        self.state().scope_parameter = name.into();
        self
    }

    /// Clients stay registered for that long.
    pub fn registration(self, time: Duration) -> Self {
        self.state().registration = time;
        self
    }

    fn json(&self, path: &'static str, handle: fn(&mut State, &Value) -> Result<Value, Refusal>) {
        let state = Arc::clone(&self.state);
        self.origin.on(path, move |exchange| {
            let bytes = body(exchange);
            let asked = plain_json(exchange, &bytes);
            let answer = asked.and_then(|asked| {
                let mut state = lock(&state);
                state.calls.push((path.to_owned(), asked.clone()));
                handle(&mut state, &asked)
            });
            match answer {
                Ok(value) => send(exchange, 200, "", &value),
                Err(refusal) => refuse(&state, exchange, &refusal),
            };
            After::Keep
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.origin.authority())
    }

    /// What it has refused.
    pub fn refused(&self) -> Vec<String> {
        self.state().refused.clone()
    }

    /// Calls of that path, as they were asked.
    pub fn calls(&self, path: &str) -> Vec<Value> {
        self.state().calls.iter().filter(|(own, _)| own == path).map(|(_, asked)| asked.clone()).collect()
    }

    /// Whether that is an access token of its own.
    pub fn knows(&self, access_token: &str) -> bool {
        self.state().access_tokens.contains(access_token)
    }

    /// A person agrees at the page of the device flow.
    pub fn approve_devices(&self) {
        self.state().devices.values_mut().for_each(|(_, approved)| *approved = true);
    }

    /// A login that happened elsewhere: client id, its secret, refresh token.
    pub fn elsewhere(&self) -> (String, String, String) {
        let mut state = self.state();
        let id = state.client_id();
        let secret = state.name("client-secret");
        let grants = vec![DEVICE.to_owned(), REFRESH.to_owned()];
        state.clients.insert(id.clone(), Client { secret: secret.clone(), redirects: vec![], grants, scopes: vec![] });
        let refresh = state.name("refresh");
        state.refresh.insert(refresh.clone(), id.clone());
        (id, secret, refresh)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn name(&mut self, kind: &str) -> String {
        self.number += 1;
        format!("c4n4ry-aws-{kind}-{}-0123456789abcdef", self.number)
    }

    /// No secret: it stands in the address of the page of sign-in.
    fn client_id(&mut self) -> String {
        self.number += 1;
        format!("aws-client-{}", self.number)
    }

    fn register(&mut self, asked: &Value) -> Result<Value, Refusal> {
        known(
            asked,
            &["clientName", "clientType"],
            &["scopes", "redirectUris", "grantTypes", "issuerUrl", "entitledApplicationArn"],
        )?;
        if asked["clientType"] != "public" {
            return Err(client_metadata("clientType must be public"));
        }
        let (redirects, grants) = (texts(asked, "redirectUris")?, texts(asked, "grantTypes")?);
        if let Some(other) = grants.iter().find(|grant| ![CODE, DEVICE, REFRESH].contains(&grant.as_str())) {
            return Err((400, "unsupported_grant_type", "UnsupportedGrantTypeException", other.clone()));
        }
        let by_code = grants.iter().any(|grant| grant == CODE);
        if by_code && (redirects.is_empty() || asked["issuerUrl"] != START_URL) {
            return Err(client_metadata("authorization_code needs redirectUris and issuerUrl"));
        }
        let loopback = |uri: &String| uri.starts_with("http://127.0.0.1") && uri.ends_with("/oauth/callback");
        if !redirects.iter().all(loopback) {
            return Err((400, "invalid_redirect_uri", "InvalidRedirectUriException", redirects.join(" ")));
        }
        let (id, secret) = (self.client_id(), self.name("client-secret"));
        let now = UNIX_EPOCH.elapsed().expect("a clock").as_secs();
        let answer = json!({ "clientId": id, "clientSecret": secret, "clientIdIssuedAt": now,
            "clientSecretExpiresAt": now + self.registration.as_secs(),
            "authorizationEndpoint": null, "tokenEndpoint": null });
        self.clients.insert(id, Client { secret, redirects, grants, scopes: texts(asked, "scopes")? });
        Ok(answer)
    }

    fn client(&self, asked: &Value) -> Result<(String, &Client), Refusal> {
        let id = text(asked, "clientId")?;
        let invalid = || (401, "invalid_client", "InvalidClientException", "no such client".to_owned());
        let client = self.clients.get(&id).ok_or_else(invalid)?;
        if text(asked, "clientSecret")? != client.secret {
            return Err(invalid());
        }
        Ok((id, client))
    }

    fn device_authorization(&mut self, asked: &Value) -> Result<Value, Refusal> {
        known(asked, &["clientId", "clientSecret", "startUrl"], &[])?;
        let (id, client) = self.client(asked)?;
        if !client.grants.iter().any(|grant| grant == DEVICE) || asked["startUrl"] != START_URL {
            return Err((400, "unauthorized_client", "UnauthorizedClientException", "not for this client".into()));
        }
        let code = self.name("device");
        self.devices.insert(code.clone(), (id, false));
        Ok(json!({ "deviceCode": code, "userCode": "BCDF-GHJK", "verificationUri": "https://device.sso.example.com/",
            "verificationUriComplete": "https://device.sso.example.com/?user_code=BCDF-GHJK", "expiresIn": 600, "interval": 1 }))
    }

    fn authorize(&mut self, target: &str) -> Result<String, Refusal> {
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let asked = Value::Object(pairs.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect());
        if pairs.len() != asked.as_object().map_or(0, serde_json::Map::len) {
            return Err(request("a parameter twice"));
        }
        let scopes = self.scope_parameter.clone();
        let names = ["response_type", "client_id", "redirect_uri", "state", "code_challenge_method", "code_challenge"];
        known(&asked, &[&names[..], &[scopes.as_str()]].concat(), &[])?;
        let (id, redirect) = (text(&asked, "client_id")?, text(&asked, "redirect_uri")?);
        let client = self.clients.get(&id).ok_or_else(|| request("no such client"))?;
        if !client.redirects.iter().any(|own| without_port(own) == without_port(&redirect)) {
            return Err(request("another redirect_uri than the registered one"));
        }
        if asked["response_type"] != "code" || asked["code_challenge_method"] != "S256" {
            return Err(request("response_type or code_challenge_method"));
        }
        let wanted = text(&asked, &scopes)?;
        if !wanted.split([' ', ',']).all(|scope| client.scopes.iter().any(|own| own == scope)) {
            return Err(request("a scope that was not registered"));
        }
        let code = self.name("code").replace("c4n4ry-", "");
        let back = format!("{redirect}?code={code}&state={}", text(&asked, "state")?);
        self.codes.insert(code, (id, redirect, text(&asked, "code_challenge")?));
        Ok(back)
    }

    fn token(&mut self, asked: &Value) -> Result<Value, Refusal> {
        let always = ["clientId", "clientSecret", "grantType"];
        let grant = text(asked, "grantType")?;
        let own: &[&str] = match grant.as_str() {
            CODE => &["code", "redirectUri", "codeVerifier"],
            DEVICE => &["deviceCode"],
            REFRESH => &["refreshToken"],
            _ => return Err((400, "unsupported_grant_type", "UnsupportedGrantTypeException", grant)),
        };
        known(asked, &[&always[..], own].concat(), &["scope"])?;
        texts(asked, "scope")?;
        let (id, client) = self.client(asked)?;
        if !client.grants.contains(&grant) {
            return Err((
                400,
                "unauthorized_client",
                "UnauthorizedClientException",
                format!("{grant} was not registered"),
            ));
        }
        match grant.as_str() {
            CODE => self.spend_code(&id, asked)?,
            DEVICE => self.spend_device(&id, asked)?,
            _ => self.spend_refresh(&id, asked)?,
        }
        let (access, refresh) = (self.name("access"), self.name("refresh"));
        self.access_tokens.insert(access.clone());
        self.refresh.insert(refresh.clone(), id);
        Ok(json!({ "accessToken": access, "refreshToken": refresh, "tokenType": "Bearer",
            "expiresIn": self.access.as_secs(), "idToken": null }))
    }

    fn spend_code(&mut self, id: &str, asked: &Value) -> Result<(), Refusal> {
        let code = text(asked, "code")?;
        let (client, redirect, challenge) = self.codes.remove(&code).ok_or_else(|| invalid_grant("no such code"))?;
        let proof = URL_SAFE_NO_PAD.encode(Sha256::digest(text(asked, "codeVerifier")?));
        if client != id || redirect != text(asked, "redirectUri")? || proof != challenge {
            return Err(invalid_grant("another client, redirectUri or codeVerifier"));
        }
        Ok(())
    }

    fn spend_device(&mut self, id: &str, asked: &Value) -> Result<(), Refusal> {
        let code = text(asked, "deviceCode")?;
        match self.devices.get(&code) {
            Some((own, true)) if own == id => self.devices.remove(&code),
            Some((own, false)) if own == id => {
                return Err((400, "authorization_pending", "AuthorizationPendingException", String::new()));
            }
            _ => return Err((400, "expired_token", "ExpiredTokenException", String::new())),
        };
        Ok(())
    }

    fn spend_refresh(&mut self, id: &str, asked: &Value) -> Result<(), Refusal> {
        let own = self.refresh.remove(&text(asked, "refreshToken")?);
        if own.as_deref() == Some(id) { Ok(()) } else { Err(invalid_grant("no such refreshToken")) }
    }
}

fn plain_json(exchange: &Exchange, bytes: &[u8]) -> Result<Value, Refusal> {
    let kind = exchange.head.fields.get("content-type").unwrap_or_default();
    if !kind.starts_with("application/json") || exchange.head.fields.has("authorization") {
        return Err(request("it takes unsigned application/json"));
    }
    let value: Option<Value> = serde_json::from_slice(bytes).ok();
    value.filter(Value::is_object).ok_or_else(|| request("no JSON object"))
}

/// Every field is named by the reference, and those that must be there are.
fn known(asked: &Value, required: &[&str], optional: &[&str]) -> Result<(), Refusal> {
    let object = asked.as_object().ok_or_else(|| request("no object"))?;
    if let Some(unknown) =
        object.keys().find(|key| !required.contains(&key.as_str()) && !optional.contains(&key.as_str()))
    {
        return Err(request(&format!("an unknown field {unknown}")));
    }
    match required.iter().find(|name| !object.contains_key(**name)) {
        Some(missing) => Err(request(&format!("{missing} is missing"))),
        None => Ok(()),
    }
}

fn text(asked: &Value, name: &str) -> Result<String, Refusal> {
    let text = asked[name].as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| request(&format!("{name} must be a string with something in it")))
}

/// A list of strings; empty when there is none.
fn texts(asked: &Value, name: &str) -> Result<Vec<String>, Refusal> {
    let wrong = || request(&format!("{name} must be a list of strings"));
    let Some(value) = asked.get(name) else { return Ok(Vec::new()) };
    let list = value.as_array().ok_or_else(wrong)?;
    list.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

/// On the loopback address any port will do (RFC 8252 §7.3).
fn without_port(uri: &str) -> String {
    let mut uri = url::Url::parse(uri).expect("a redirect URI");
    let _ = uri.set_port(None);
    uri.to_string()
}

fn request(what: &str) -> Refusal {
    (400, "invalid_request", "InvalidRequestException", what.to_owned())
}

fn invalid_grant(what: &str) -> Refusal {
    (400, "invalid_grant", "InvalidGrantException", what.to_owned())
}

fn client_metadata(what: &str) -> Refusal {
    (400, "invalid_client_metadata", "InvalidClientMetadataException", what.to_owned())
}

fn refuse(state: &Mutex<State>, exchange: &mut Exchange, (status, error, exception, what): &Refusal) -> bool {
    if *error != "authorization_pending" {
        lock(state)
            .refused
            .push(format!("{}: {error}: {what}", exchange.target().split('?').next().unwrap_or_default()));
    }
    let value = json!({ "error": error, "error_description": what });
    send(exchange, *status, &format!("x-amzn-errortype: {exception}\r\n"), &value)
}

fn send(exchange: &mut Exchange, status: u16, fields: &str, value: &Value) -> bool {
    let text = value.to_string();
    let head =
        format!("HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\n{fields}content-length: {}", text.len());
    exchange.send(format!("{head}\r\n\r\n{text}"))
}
