//! What answers mean: RFC 6749 §5, RFC 8628 §3.2 and §3.5, AWS's documents and exceptions.
//!
//! An answer is a yes only if it has a token that can be used, and a no only if it says so in JSON. Everything else leaves
//! us not knowing: the grant may be spent.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::shown::printable;
use super::{Answer, DeviceCode, Granted, Refusal, Refused, Registration};
use crate::clock::UnixMillis;
use crate::outbound;
use crate::secret::Secret;

/// Of an answer.
pub const LARGEST: usize = 64 * 1024;
/// How long a token lives when nobody says so.
const UNSAID: Duration = Duration::from_secs(300);
/// How long anything lives at most, whatever is said: beyond that, clocks and calendars end before tokens do.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long a device code lives, if nobody says so, and at most.
const DEVICE_LIFE: (u64, u64) = (600, 24 * 3600);
/// Seconds between polls, if nobody says so (RFC 8628 §3.2), and at most.
const INTERVAL: (u64, u64) = (5, 300);
/// For the operator.
const NO_EXPIRY: &str = "the provider does not say how long the token lives; it is refreshed as if it were 5 minutes";

/// How a kind of provider writes its names.
#[derive(Clone, Copy)]
pub(super) struct Names {
    access_token: &'static str,
    refresh_token: &'static str,
    token_type: &'static str,
    expires_in: &'static str,
    refresh_expires_in: &'static [&'static str],
    device_code: &'static str,
    user_code: &'static str,
    verification_uri: &'static [&'static str],
    verification_uri_complete: &'static str,
}

/// RFC 6749 and RFC 8628, with what is common beside them.
pub(super) const SNAKE: Names = Names {
    access_token: "access_token",
    refresh_token: "refresh_token",
    token_type: "token_type",
    expires_in: "expires_in",
    refresh_expires_in: &["refresh_expires_in", "refresh_token_expires_in"],
    device_code: "device_code",
    user_code: "user_code",
    verification_uri: &["verification_uri", "verification_url"],
    verification_uri_complete: "verification_uri_complete",
};

/// AWS.
pub(super) const CAMEL: Names = Names {
    access_token: "accessToken",
    refresh_token: "refreshToken",
    token_type: "tokenType",
    expires_in: "expiresIn",
    refresh_expires_in: &["refreshExpiresIn", "refreshTokenExpiresIn"],
    device_code: "deviceCode",
    user_code: "userCode",
    verification_uri: &["verificationUri"],
    verification_uri_complete: "verificationUriComplete",
};

/// A token endpoint's answer.
pub(super) fn token(names: &Names, status: StatusCode, headers: &HeaderMap, body: &[u8], now: UnixMillis) -> Answer {
    if status.is_redirection() {
        return Answer::Refused(redirected(status));
    }
    if body.len() > LARGEST {
        return Answer::Unknown(format!("the provider answered {status} with more than 64 KiB"));
    }
    let members = members(body);
    let has_token = members.as_ref().is_some_and(|members| members.contains_key(names.access_token));
    let is_yes = has_token && status.is_success();
    let may_refuse = !is_yes && !status.is_server_error();
    if let Some(refused) = members.as_ref().filter(|_| may_refuse).and_then(|members| refused(members, headers)) {
        return by_code(refused, status, headers, now);
    }
    match status {
        StatusCode::TOO_MANY_REQUESTS => busy(headers, now),
        StatusCode::SERVICE_UNAVAILABLE => match outbound::retry_after(headers, now) {
            Some(wait) => Answer::Busy { retry_after: Some(wait) },
            None => unknown(status, "an error"),
        },
        status if status.is_success() => match members {
            Some(members) => granted(names, &members).map_or_else(Answer::Unknown, Answer::Granted),
            None => unknown(status, "what is not JSON"),
        },
        status => unknown(status, "an error without a reason"),
    }
}

fn busy(headers: &HeaderMap, now: UnixMillis) -> Answer {
    Answer::Busy { retry_after: outbound::retry_after(headers, now) }
}

fn unknown(status: StatusCode, what: &str) -> Answer {
    Answer::Unknown(format!("the provider answered {status} with {what}"))
}

fn redirected(status: StatusCode) -> Refused {
    let description = format!("the provider answered {status}: its URL is another one");
    Refused { kind: Refusal::Client, code: "redirect".into(), description: Some(description) }
}

fn members(body: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    }
}

/// RFC 6749 §5.2, also with a status of 200, which some send; `None`: it is no error.
fn refused(members: &Map<String, Value>, headers: &HeaderMap) -> Option<Refused> {
    let exception = || exception(members, headers);
    let code = text(members, "error").map(str::to_owned).or_else(exception)?;
    let described = ["error_description", "message", "Message"].iter().find_map(|name| text(members, name));
    Some(Refused { kind: kind(&code), code: printable(&code)?, description: described.and_then(printable) })
}

fn kind(code: &str) -> Refusal {
    match code {
        "invalid_grant" | "expired_token" | "access_denied" => Refusal::Grant,
        "invalid_client" | "unauthorized_client" => Refusal::Client,
        _ => Refusal::Other,
    }
}

/// What becomes of a no: some only say to wait.
fn by_code(refused: Refused, status: StatusCode, headers: &HeaderMap, now: UnixMillis) -> Answer {
    match refused.code.as_str() {
        "authorization_pending" => Answer::Pending { slow_down: false },
        "slow_down" => Answer::Pending { slow_down: true },
        "temporarily_unavailable" | "throttling" | "too_many_requests" => busy(headers, now),
        _ if status == StatusCode::TOO_MANY_REQUESTS => busy(headers, now),
        _ => Answer::Refused(refused),
    }
}

/// AWS's `InvalidGrantException` as `invalid_grant`.
fn exception(members: &Map<String, Value>, headers: &HeaderMap) -> Option<String> {
    let in_head = || headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let named = text(members, "__type").or_else(in_head)?;
    // `com.amazonaws.ssooidc#InvalidGrantException`, `InvalidGrantException:http://…`
    let named = named.rsplit('#').next().unwrap_or(named);
    let named = named.split(':').next().unwrap_or(named);
    let named = named.strip_suffix("Exception").unwrap_or(named);
    let mut code = String::new();
    for c in named.chars() {
        if c.is_ascii_uppercase() && !code.is_empty() {
            code.push('_');
        }
        code.push(c.to_ascii_lowercase());
    }
    (!code.is_empty()).then_some(code)
}

/// RFC 6749 §5.1.
fn granted(names: &Names, members: &Map<String, Value>) -> Result<Granted, String> {
    let access_token = secret(members, names.access_token).ok_or("the provider's answer has no access token")?;
    let token_type = text(members, names.token_type).unwrap_or("Bearer");
    if !token_type.eq_ignore_ascii_case("bearer") {
        return Err("the provider's token is not a bearer token".to_owned());
    }
    let lives = life(members, names.expires_in);
    Ok(Granted {
        access_token,
        refresh_token: secret(members, names.refresh_token),
        token_type: token_type.to_owned(),
        scope: text(members, "scope").and_then(printable),
        expires_in: lives.unwrap_or(UNSAID),
        refresh_expires_in: names.refresh_expires_in.iter().find_map(|name| life(members, name)),
        note: lives.is_none().then_some(NO_EXPIRY),
    })
}

/// `RegisterClient`'s answer.
pub(super) fn registered(status: StatusCode, body: &[u8]) -> Result<Registration, String> {
    let members = success(status, body)?;
    let client_id = text(&members, "clientId").and_then(printable).ok_or("the provider's answer has no clientId")?;
    let client_secret = secret(&members, "clientSecret").ok_or("the provider's answer has no clientSecret")?;
    let expires_at = number(&members, "clientSecretExpiresAt").map(|seconds| seconds.saturating_mul(1000));
    Ok(Registration { client_id, client_secret, expires_at })
}

/// RFC 8628 §3.2.
pub(super) fn device_code(names: &Names, status: StatusCode, body: &[u8]) -> Result<DeviceCode, String> {
    let members = success(status, body)?;
    let device_code = secret(&members, names.device_code).ok_or("the provider's answer has no device code")?;
    let user_code =
        text(&members, names.user_code).and_then(printable).ok_or("the provider's answer has no user code")?;
    let place = names.verification_uri.iter().find_map(|name| web_address(&members, name));
    let seconds =
        |name, (unsaid, most): (u64, u64)| Duration::from_secs(number(&members, name).unwrap_or(unsaid).min(most));
    Ok(DeviceCode {
        device_code,
        user_code,
        verification_uri: place.ok_or("the provider's answer has no address for the user")?,
        verification_uri_complete: web_address(&members, names.verification_uri_complete),
        expires_in: seconds(names.expires_in, DEVICE_LIFE),
        interval: seconds("interval", INTERVAL),
    })
}

/// The members of a yes, or why it is none.
fn success(status: StatusCode, body: &[u8]) -> Result<Map<String, Value>, String> {
    if status.is_redirection() {
        return Err(redirected(status).to_string());
    }
    if body.len() > LARGEST {
        return Err(format!("the provider answered {status} with more than 64 KiB"));
    }
    let members = members(body);
    if let Some(refused) = members.as_ref().and_then(|members| refused(members, &HeaderMap::new())) {
        return Err(format!("the provider answered {status}: {refused}"));
    }
    match members {
        Some(members) if status.is_success() => Ok(members),
        Some(_) => Err(format!("the provider answered {status} without a reason")),
        None => Err(format!("the provider answered {status} with what is not JSON")),
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// One that can be sent: RFC 6749, appendix A: `%x20-7E`, and a header's value has no spaces at its ends.
fn secret(members: &Map<String, Value>, name: &str) -> Option<Secret> {
    let text = text(members, name)?;
    let fits = text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && text.trim() == text;
    fits.then(|| Secret::new(text))
}

/// A positive number of seconds, which some write as text.
fn number(members: &Map<String, Value>, name: &str) -> Option<u64> {
    let number = match members.get(name)? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // Saturates; not a number is none.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and is checked")]
    let whole = number as u64;
    (whole > 0).then_some(whole)
}

fn life(members: &Map<String, Value>, name: &str) -> Option<Duration> {
    number(members, name).map(|seconds| Duration::from_secs(seconds).min(LONGEST_LIFE))
}

/// One that a person can be sent to: a link that runs a script is none.
fn web_address(members: &Map<String, Value>, name: &str) -> Option<String> {
    let url = url::Url::parse(text(members, name)?).ok()?;
    let fits = matches!(url.scheme(), "http" | "https") && url.has_host() && url.as_str().len() <= 2048;
    fits.then(|| url.into())
}
