//! A token that is taken was in the answer and can be sent; a no was in it, too; and no word that is shown holds what we sent.
//!
//! Of the input, the first byte chooses the provider, the second the status, the rest is the body.

use countersign::credential::provider::{
    Answer, AwsSsoOidc, ClientCredentials, Grant, Granted, Kind, LARGEST, OAuth2, Provider, masked,
};
use countersign::secret::Secret;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;
use url::Url;

/// What proves us.
const OURS: &str = "our-secret-0123456789";
/// What was to be refreshed.
const SENT: &str = "sent-refresh-token-9876543210";
const STATUSES: [u16; 16] = [200, 200, 200, 201, 302, 400, 400, 400, 401, 403, 404, 428, 429, 500, 502, 503];

pub fn check(data: &[u8]) {
    let [kind, status, body @ ..] = data else { return };
    let provider = Provider { name: "p".into(), kind: self::kind(*kind), anchors: Vec::new() };
    let status = StatusCode::from_u16(STATUSES[usize::from(*status) % STATUSES.len()]).expect("a status");
    let mut headers = HeaderMap::new();
    if kind & 0x80 != 0 {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
    }
    let grant = Grant::Refresh { refresh_token: Secret::new(SENT) };
    // A registration's secret is known to whoever has sent it alone.
    let ours = Secret::new(OURS);
    let mut sent = grant.secrets();
    sent.extend(provider.registers().then_some(&ours));
    let document: Option<Value> = serde_json::from_slice(body).ok().filter(Value::is_object);
    match provider.answer(status, &headers, body, 0).without(&sent) {
        Answer::Granted(granted) => {
            assert!(status.is_success() && body.len() <= LARGEST);
            check_granted(&provider, &granted, &document.expect("a document"));
        }
        Answer::Refused(refused) => {
            assert!(status.is_redirection() || document.is_some(), "a no that nobody has said");
            assert!(!status.is_server_error(), "{status} is no no");
            check_shown(&refused.to_string(), 2 * 200 + 3);
        }
        Answer::Unknown(why) => check_shown(&why, 200),
        Answer::Pending { .. } => assert!(document.is_some() && !status.is_server_error()),
        Answer::Busy { .. } => assert!(matches!(status.as_u16(), 429 | 503) || document.is_some()),
    }
    let shown = |why: &str| check_shown(&masked(why, &sent), 600);
    if let Err(why) = provider.registered(status, body) {
        // Nothing is secret when a client is registered.
        assert!(!why.is_empty() && why.chars().count() <= 600 && !why.chars().any(char::is_control), "{why:?}");
    }
    match provider.device_code(status, body) {
        Ok(code) => {
            let places = [Some(&code.verification_uri), code.verification_uri_complete.as_ref()];
            for place in places.into_iter().flatten() {
                assert!(place.starts_with("http://") || place.starts_with("https://"), "{place}");
            }
            assert!((1..=300).contains(&code.interval.as_secs()) && code.expires_in.as_secs() <= 86_400);
        }
        Err(why) => shown(&why),
    }
}

fn kind(byte: u8) -> Kind {
    let url = || Url::parse("https://sso.example.com/").expect("a URL");
    match byte % 3 {
        0 => Kind::OAuth2(OAuth2 {
            authorization_url: url(),
            token_url: url(),
            device_authorization_url: None,
            client_id: "c".into(),
            client_secret: Some(Secret::new(OURS)),
            scopes: Vec::new(),
            redirect_url: None,
            issuer: None,
        }),
        1 => Kind::AwsSsoOidc(AwsSsoOidc {
            region: "us-east-1".into(),
            start_url: "https://view.awsapps.com/start".into(),
            scopes: Vec::new(),
            scope_parameter: "scope".into(),
            scope_separator: " ".into(),
            endpoint: url(),
            redirect_url: None,
        }),
        _ => Kind::ClientCredentials(ClientCredentials {
            token_url: url(),
            client_id: "c".into(),
            client_secret: Secret::new(OURS),
            scopes: Vec::new(),
        }),
    }
}

fn check_granted(provider: &Provider, granted: &Granted, document: &Value) {
    let names = if provider.registers() { ["accessToken", "refreshToken"] } else { ["access_token", "refresh_token"] };
    let [access, refresh] = names.map(|name| document[name].as_str());
    assert_eq!(access, Some(granted.access_token.expose()));
    assert!(!granted.access_token.is_empty());
    for token in [Some(&granted.access_token), granted.refresh_token.as_ref()].into_iter().flatten() {
        assert!(HeaderValue::from_str(token.expose()).is_ok_and(|value| value.to_str().is_ok()));
    }
    if let Some(token) = &granted.refresh_token {
        assert!(provider.has_login() && refresh == Some(token.expose()));
    }
    assert!(granted.token_type.eq_ignore_ascii_case("bearer"));
    let life = granted.expires_in.as_secs();
    assert!((1..=10 * 365 * 24 * 3600).contains(&life), "{life}");
}

/// Printable, bounded, and without any piece of what we sent.
fn check_shown(text: &str, longest: usize) {
    assert!(!text.is_empty() && text.chars().count() <= longest && !text.chars().any(char::is_control), "{text:?}");
    let mut pieces = [OURS, SENT].into_iter().flat_map(|secret| secret.as_bytes().windows(8));
    assert!(pieces.all(|piece| !text.as_bytes().windows(8).any(|own| own == piece)), "{text:?} quotes what we sent");
}
