//! The fixtures of credentials themselves, without an edge: what they claim to do, they do. A provider that could not detect a second
//! use of a refresh token would let every test of rotation pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::aws::{Aws, START_URL};
use crate::support::browser::{Browser, Device};
use crate::support::message::Stop;
use crate::support::oidc_provider::OidcProvider;
use crate::support::scripted_provider::{CLIENT_ID, ScriptedProvider, Settings, Step};
use crate::support::visitor::Visitor;
use crate::support::{Origin, Request, Response, Wire, gate};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CALLBACK: &str = "http://127.0.0.1:9090/oauth/callback";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

fn authorization(endpoint: &str, client: &str, scope: &str) -> String {
    let challenge = challenge();
    let fields = [
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", CALLBACK),
        ("scope", scope),
        ("state", "of-at-least-43-characters-0123456789012345678"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    format!("{endpoint}?{}", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish())
}

/// Bytes that the leak guard must not look at: what a provider says to its client.
fn post(authority: &str, path: &str, kind: &str, body: &str) -> Result<(u16, Value), Stop> {
    let request = Request::new("POST", path).host(authority).header("content-type", kind).body(body);
    let stream = std::net::TcpStream::connect(authority).expect("connect to the provider");
    let mut reader = crate::support::message::Reader::new(stream.try_clone().expect("a second handle"));
    std::io::Write::write_all(&mut &stream, &request.bytes()).expect("send");
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let head = reader.head(deadline)?;
    let mut body = Vec::new();
    let framing = head.framing(crate::support::message::Framing::UntilClose);
    reader.body(framing, Duration::from_secs(10), &mut |bytes| body.extend_from_slice(bytes))?;
    let status = head.start.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

fn form(authority: &str, path: &str, fields: &[(&str, &str)]) -> Result<(u16, Value), Stop> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    post(authority, path, "application/x-www-form-urlencoded", &body)
}

fn code_of(url: &url::Url) -> String {
    url.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned()
}

#[test]
fn oidc_provider_logs_in_rotates_and_revokes_a_family_that_is_used_twice() {
    let provider = OidcProvider::start(Duration::from_secs(60));
    let authority = provider.address.to_string();
    let url = authorization(&format!("{}/auth", provider.url()), "countersign", "openid offline_access");
    let back = provider.log_in("ada", &format!("{url}&prompt=consent"));
    assert!(back.as_str().starts_with(CALLBACK), "{back}");
    let token = |fields: &[(&str, &str)]| {
        let all = [&[("client_id", "countersign")], fields].concat();
        form(&authority, "/token", &all).expect("an answer")
    };
    let code = code_of(&back);
    let exchange = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
    let (status, granted) = token(&[&exchange[..], &[("code_verifier", VERIFIER)]].concat());
    assert_eq!(status, 200, "{granted}");
    assert_eq!(granted["expires_in"], 60);
    let refresh =
        |refresh: &Value| token(&[("grant_type", "refresh_token"), ("refresh_token", refresh.as_str().unwrap())]);
    let (status, second) = refresh(&granted["refresh_token"]);
    assert_eq!(status, 200, "{second}");
    assert_ne!(second["refresh_token"], granted["refresh_token"]);
    assert_eq!(provider.seen().revoked, 0);
    assert_eq!(refresh(&granted["refresh_token"]).1["error"], "invalid_grant", "the spent one");
    assert_eq!(refresh(&second["refresh_token"]).1["error"], "invalid_grant", "and its successor with it");
    let seen = provider.seen();
    assert_eq!((seen.token_calls, seen.codes, seen.refreshes, seen.revoked), (4, 1, 1, 1));
    let aborted = provider.abort(&format!("{url}&prompt=consent"));
    assert!(aborted.query().is_some_and(|query| query.contains("error=access_denied")), "{aborted}");
}

#[test]
fn oidc_provider_has_the_device_flow() {
    let provider = OidcProvider::start(Duration::from_secs(60));
    let authority = provider.address.to_string();
    let asked = [("client_id", "countersign"), ("scope", "openid offline_access")];
    let (status, device) = form(&authority, "/device/auth", &asked).expect("an answer");
    assert_eq!(status, 200, "{device}");
    let code = device["device_code"].as_str().unwrap();
    let kind = "urn:ietf:params:oauth:grant-type:device_code";
    let poll =
        || form(&authority, "/token", &[("client_id", "countersign"), ("grant_type", kind), ("device_code", code)]);
    assert_eq!(poll().unwrap().1["error"], "authorization_pending");
    provider.approve("ada", device["verification_uri"].as_str().unwrap(), device["user_code"].as_str().unwrap());
    let (status, granted) = poll().unwrap();
    assert_eq!(status, 200, "{granted}");
    assert_eq!(provider.seen().devices, 1);
}

fn refresh(provider: &ScriptedProvider, token: &str) -> Result<(u16, Value), Stop> {
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", CLIENT_ID)];
    form(&provider.origin.authority(), "/token", &fields)
}

#[test]
fn the_scripted_provider_rotates_and_detects_a_second_use() {
    let provider = ScriptedProvider::start(Settings::default());
    let (access, first) = provider.login();
    assert!(provider.knows(&access) && provider.takes(&first));
    let (status, granted) = refresh(&provider, &first).unwrap();
    let second = granted["refresh_token"].as_str().unwrap();
    assert_eq!((status, provider.takes(&first), provider.takes(second)), (200, false, true));
    assert_eq!(refresh(&provider, &first).unwrap().1["error"], "invalid_grant");
    assert_eq!((provider.reuses(), provider.takes(second)), (1, false), "the whole family");
    assert_eq!(provider.refreshes(), 2);

    let lenient = ScriptedProvider::start(Settings { grace: Some(Duration::from_secs(60)), ..Settings::default() });
    let (_, first) = lenient.login();
    let steps = [Step::CommitThenClose, Step::CommitThenReset, Step::CommitThenCut(20), Step::WrongType];
    lenient.then(steps);
    assert_eq!(refresh(&lenient, &first).unwrap_err(), Stop::Closed);
    assert_eq!(refresh(&lenient, &first).unwrap_err(), Stop::Reset);
    assert_eq!(refresh(&lenient, &first).unwrap_err(), Stop::Closed);
    assert_eq!(refresh(&lenient, &first).unwrap().0, 200, "once more, in the window of grace");
    let outcomes = lenient.calls().into_iter().map(|call| call.outcome);
    assert_eq!(outcomes.filter(Result::is_ok).count(), 4, "all were granted");
    lenient.revoke_all();
    assert!(!lenient.takes(&first));
}

#[test]
fn the_scripted_provider_follows_its_steps() {
    let provider = ScriptedProvider::start(Settings::default());
    let (_, token) = provider.login();
    let (key, gate) = gate();
    provider.then([
        Step::Say(503, "retry-after: 7\r\n", "busy"),
        Step::Lie(|answer| {
            answer.as_object_mut().unwrap().remove("expires_in");
        }),
        Step::Wait(Arc::new(gate)),
    ]);
    assert_eq!(refresh(&provider, &token).unwrap().0, 503);
    assert!(provider.takes(&token), "nothing was granted");
    let (_, lie) = refresh(&provider, &token).unwrap();
    assert!(lie["expires_in"].is_null() && lie["access_token"].is_string());
    let second = lie["refresh_token"].as_str().unwrap().to_owned();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| refresh(&provider, &second).unwrap().0);
        provider.wait_arrival(3);
        assert!(provider.takes(&second), "it stands at the gate");
        key.open();
        assert_eq!(waiting.join().unwrap(), 200);
    });
    assert!(!provider.takes(&second));
}

#[test]
fn the_scripted_provider_has_code_with_pkce_and_the_device_flow() {
    let provider = ScriptedProvider::start(Settings::default());
    let authority = provider.origin.authority();
    let url = authorization(&format!("{}/authorize", provider.url()), CLIENT_ID, "api");
    let back = Visitor::default().open(&url).away();
    let code = code_of(&back);
    let exchange = |verifier: &str| {
        let fields = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
        let more = [("client_id", CLIENT_ID), ("code_verifier", verifier)];
        form(&authority, "/token", &[&fields[..], &more].concat()).unwrap()
    };
    let (status, granted) = exchange(VERIFIER);
    assert_eq!(status, 200, "{granted}");
    assert_eq!(exchange(VERIFIER).1["error"], "invalid_grant", "a code is good once");
    let upstream = provider.upstream();
    let asked = |token: &str| -> Response {
        let mut wire = Wire::connect(upstream.authority().parse().unwrap());
        wire.send(Request::get("/").bearer(token).bytes());
        wire.response()
    };
    assert_eq!(asked(granted["access_token"].as_str().unwrap()).status, 200);
    assert_eq!(asked("another").status, 401);

    let (_, device) = form(&authority, "/device", &[("client_id", CLIENT_ID)]).unwrap();
    let kind = "urn:ietf:params:oauth:grant-type:device_code";
    let code = device["device_code"].as_str().unwrap();
    let poll = || form(&authority, "/token", &[("client_id", CLIENT_ID), ("grant_type", kind), ("device_code", code)]);
    assert_eq!(poll().unwrap().1["error"], "authorization_pending");
    provider.approve_devices();
    assert_eq!(poll().unwrap().0, 200);
}

#[test]
fn the_fake_of_aws_takes_what_its_reference_names_and_nothing_else() {
    let aws = Aws::start(Duration::from_secs(3600));
    let call = |path: &str, body: &Value| {
        post(&aws.origin.authority(), path, "application/json", &body.to_string()).expect("an answer")
    };
    let with = |body: &Value, key: &str, value: Value| {
        let mut body = body.clone();
        body[key] = value;
        body
    };
    let register = json!({ "clientName": "Countersign", "clientType": "public", "scopes": ["sso:account:access"],
        "grantTypes": ["authorization_code", "refresh_token"], "redirectUris": [CALLBACK], "issuerUrl": START_URL });
    assert_eq!(call("/client/register", &with(&register, "client_name", "x".into())).1["error"], "invalid_request");
    let no_issuer = call("/client/register", &with(&register, "issuerUrl", "https://other.example".into()));
    assert_eq!(no_issuer.1["error"], "invalid_client_metadata");
    let (status, client) = call("/client/register", &register);
    assert_eq!(status, 200, "{client}");
    let url =
        authorization(&format!("{}/authorize", aws.url()), client["clientId"].as_str().unwrap(), "sso:account:access");
    assert_eq!(Visitor::default().page(&url.replace("&scope=", "&scopes=")).status, 400);
    let code = code_of(&Visitor::default().open(&url).away());
    let token = json!({ "clientId": client["clientId"], "clientSecret": client["clientSecret"] });
    let exchange =
        json!({ "grantType": "authorization_code", "code": code, "redirectUri": CALLBACK, "codeVerifier": VERIFIER });
    let merge = |more: &Value| {
        let mut both: BTreeMap<String, Value> = serde_json::from_value(token.clone()).unwrap();
        both.extend(serde_json::from_value::<BTreeMap<String, Value>>(more.clone()).unwrap());
        json!(both)
    };
    assert_eq!(call("/token", &with(&merge(&exchange), "refreshToken", "x".into())).1["error"], "invalid_request");
    let (status, granted) = call("/token", &merge(&exchange));
    assert_eq!(status, 200, "{granted}");
    assert!(aws.knows(granted["accessToken"].as_str().unwrap()));
    let refresh = merge(&json!({ "grantType": "refresh_token", "refreshToken": granted["refreshToken"] }));
    assert_eq!(call("/token", &refresh).0, 200);
    assert_eq!(call("/token", &refresh).1["error"], "invalid_grant", "it rotates");
    assert_eq!(aws.refused().len(), 5, "{:?}", aws.refused());
}

#[test]
fn the_browser_opens_finds_types_and_takes_pictures() {
    let origin = Origin::start();
    let page = "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><title>A page</title><style>@media (prefers-color-scheme: dark) { p { color: red } }</style>\
        <form action=/done><label for=who>Your name</label><input id=who name=who><button>Send it</button></form><p>text</p>";
    let html = |body: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    origin.answer("/", html("done"));
    let origin_page = Origin::start();
    origin_page.answer("/form", html(page));
    origin_page.answer("/done", html("it is done"));
    let browser = Browser::start();
    browser.device(Device::Phone).dark(true).language("zh-CN");
    browser.open(&format!("http://{}/form", origin_page.authority()));
    assert_eq!(browser.title(), "A page");
    assert_eq!(origin_page.request_for("/form").header("accept-language"), Some("zh-CN"));
    assert_eq!(
        browser.script("return [innerWidth, getComputedStyle(document.querySelector('p')).color]"),
        json!([390, "rgb(255, 0, 0)"])
    );
    let picture = browser.screenshot("fixture");
    assert!(std::fs::metadata(&picture).is_ok_and(|file| file.len() > 1000), "{}", picture.display());
    browser.fill(&browser.field("Your name"), "王小明");
    browser.press("Send it").sees("it is done");
    assert!(origin_page.request_for("/done").target().contains("who=%E7%8E%8B"));
}
