//! What a token says, and whether that is what is expected: OpenID Connect Core 1.0 §3.1.3.7, RFC 7519 §4.1, RFC 8725 §3.
//!
//! Claims exist only after the signature was looked at ([`super::Issuer::verify`]).

use std::time::Duration;

use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use super::keys::Algorithm;
use crate::clock::UnixMillis;

/// How far two clocks may be apart.
const LEEWAY: Duration = Duration::from_secs(60);
/// The end of the year 9999: who says more has counted in milliseconds, or counts on an overflow.
const LAST_SECOND: u64 = 253_402_300_799;

/// What a token must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// It is for one of these; empty: for nobody.
    pub audiences: Vec<String>,
    /// It was made for this log-in.
    pub nonce: Option<String>,
    /// What it was made as.
    pub kind: Kind,
    /// How far the issuer's clock and ours may be apart.
    pub leeway: Duration,
}

/// What tokens are made as (RFC 8725 §3.11: one kind must not pass for another).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An ID token: `typ` absent or `JWT`, `sub` and `iat` there, `azp` ours.
    IdToken,
    /// An access token as RFC 9068 wants it: `typ` is `at+jwt`.
    AccessToken,
    /// What programs show: as most issuers make them, `typ` absent, `JWT` or `at+jwt`.
    Any,
}

impl Expected {
    /// What a program shows.
    pub fn bearer(audiences: Vec<String>) -> Self {
        Self { audiences, nonce: None, kind: Kind::Any, leeway: LEEWAY }
    }

    /// What a log-in ends with.
    pub(super) fn id_token(client_id: &str, nonce: Option<&str>) -> Self {
        let nonce = nonce.map(str::to_owned);
        Self { audiences: vec![client_id.to_owned()], nonce, kind: Kind::IdToken, leeway: LEEWAY }
    }
}

/// Why a token is refused. The words hold nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// More than 16 KiB.
    #[error("the token is too large")]
    TooLarge,
    /// Not three parts of base64url with JSON objects in two.
    #[error("it is no JSON Web Token")]
    Malformed,
    /// `none`, `HS256`, or one that nobody knows.
    #[error("its algorithm is not one that is accepted")]
    Algorithm,
    /// `crit`, or `b64`.
    #[error("it demands what is not understood here")]
    Critical,
    /// `typ` says that it was made for something else.
    #[error("it is a token of another kind")]
    Kind,
    /// The issuer has no such key, and was asked just now.
    #[error("the issuer has no key of that name for that algorithm")]
    UnknownKey,
    /// It was changed, or somebody else made it.
    #[error("its signature is wrong")]
    Signature,
    /// A claim that must be there is not, or is of another type.
    #[error("the claim {0} is missing or of a wrong type")]
    Claim(&'static str),
    /// `iss` is another one.
    #[error("it is of another issuer")]
    Issuer,
    /// `aud` is somebody else.
    #[error("it is for somebody else (aud)")]
    Audience,
    /// `azp` is somebody else.
    #[error("it was made for another client (azp)")]
    Party,
    /// `nonce` is another one, or is missing.
    #[error("it is not of this log-in (nonce)")]
    Nonce,
    /// `exp` is past.
    #[error("it has expired")]
    Expired,
    /// `nbf` or `iat` is to come.
    #[error("it is not valid yet")]
    NotYet,
    /// `at_hash` is of another access token.
    #[error("it belongs to another access token (at_hash)")]
    AccessTokenHash,
}

/// What a token says whose signature is right, and that is what was expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    values: Map<String, Value>,
    algorithm: Algorithm,
}

impl Claims {
    /// All of them, as they stand.
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// `sub`: whom the issuer means.
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// When the token ends.
    pub fn expires_at(&self) -> UnixMillis {
        number(&self.values, "exp").ok().flatten().unwrap_or_default().saturating_mul(1000)
    }

    /// A claim that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_str()
    }

    /// By which algorithm the token was signed.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Looks at what was signed.
    pub(super) fn judge(
        values: Map<String, Value>,
        algorithm: Algorithm,
        issuer: &str,
        expected: &Expected,
        now: UnixMillis,
    ) -> Result<Self, Why> {
        let claims = Self { values, algorithm };
        claims.issuer(issuer)?;
        claims.audience(expected)?;
        claims.times(expected, now / 1000)?;
        claims.kind(expected)?;
        claims.nonce(expected)?;
        Ok(claims)
    }

    fn issuer(&self, issuer: &str) -> Result<(), Why> {
        let claimed = self.text("iss").ok_or(Why::Claim("iss"))?;
        (claimed == issuer).then_some(()).ok_or(Why::Issuer)
    }

    fn audience(&self, expected: &Expected) -> Result<(), Why> {
        let audiences = self.audiences()?;
        let is_ours = |name: &&str| expected.audiences.iter().any(|ours| ours == name);
        if !audiences.iter().any(is_ours) {
            return Err(Why::Audience);
        }
        if expected.kind != Kind::IdToken {
            // In other tokens it is who asked, not for whom.
            return Ok(());
        }
        match self.values.get("azp") {
            None | Some(Value::Null) if audiences.len() == 1 => Ok(()),
            None | Some(Value::Null) => Err(Why::Party),
            Some(Value::String(party)) => is_ours(&party.as_str()).then_some(()).ok_or(Why::Party),
            Some(_) => Err(Why::Claim("azp")),
        }
    }

    fn audiences(&self) -> Result<Vec<&str>, Why> {
        match self.values.get("aud") {
            Some(Value::String(one)) => Ok(vec![one]),
            Some(Value::Array(list)) => {
                list.iter().map(Value::as_str).collect::<Option<Vec<_>>>().ok_or(Why::Claim("aud"))
            }
            _ => Err(Why::Claim("aud")),
        }
    }

    fn times(&self, expected: &Expected, now: u64) -> Result<(), Why> {
        let leeway = expected.leeway.as_secs();
        let ends = number(&self.values, "exp")?.ok_or(Why::Claim("exp"))?;
        if ends.saturating_add(leeway) <= now {
            return Err(Why::Expired);
        }
        let begins = number(&self.values, "nbf")?.max(number(&self.values, "iat")?);
        if begins.is_some_and(|begins| begins > now.saturating_add(leeway)) {
            return Err(Why::NotYet);
        }
        Ok(())
    }

    fn kind(&self, expected: &Expected) -> Result<(), Why> {
        // A logout token or a security event (OpenID Connect Back-Channel Logout 1.0 §2.4, RFC 8417 §2.2).
        if self.values.contains_key("events") {
            return Err(Why::Kind);
        }
        match self.values.get("sub") {
            Some(Value::String(subject)) if !subject.is_empty() && subject.len() <= 255 => {}
            None if expected.kind != Kind::IdToken => {}
            _ => return Err(Why::Claim("sub")),
        }
        match self.values.get("iat") {
            None if expected.kind == Kind::IdToken => Err(Why::Claim("iat")),
            _ => Ok(()),
        }
    }

    fn nonce(&self, expected: &Expected) -> Result<(), Why> {
        let Some(nonce) = &expected.nonce else { return Ok(()) };
        let claimed = self.text("nonce").ok_or(Why::Nonce)?;
        let is_same: bool = claimed.as_bytes().ct_eq(nonce.as_bytes()).into();
        is_same.then_some(()).ok_or(Why::Nonce)
    }
}

/// Seconds since the epoch; a fraction is cut off (RFC 7519 §2, NumericDate).
fn number(values: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, Why> {
    let Some(value) = values.get(name) else { return Ok(None) };
    let seconds = value.as_u64().or_else(|| whole(value.as_f64()?));
    seconds.filter(|seconds| *seconds <= LAST_SECOND).map(Some).ok_or(Why::Claim(name))
}

/// `None`: negative, or beyond what is told apart.
fn whole(seconds: f64) -> Option<u64> {
    let is_sound = (0.0..1e15).contains(&seconds);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is looked at first")]
    is_sound.then_some(seconds as u64)
}
