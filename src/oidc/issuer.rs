//! An issuer, live: its documents are learned when they are needed, and kept as long as it says.
//!
//! [`Issuer::verify`] is for every request: it waits for nobody. When it lacks a key it says so, and [`Issuer::learn`]
//! fetches the discovery document and the keys, once for however many wait. Invariants:
//! - Nobody can make us ask more often than every 30 seconds, whatever names of keys he invents; without any keys, every 5.
//! - Keys are fetched again when their document's lifetime (5 minutes to 24 hours) is over; meanwhile, and while that fails,
//!   the old ones go on, for a day: then nothing is believed until the issuer answers.
//! - A fetch is a task of its own: whoever waits for it may leave.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use url::Url;

use super::TARGET;
use super::claims::{Claims, Expected, Why};
use super::jwt::Token;
use super::keys::Keys;
use super::metadata::{self, Metadata};
use super::network::Network;
use super::renewal::Renewals;
use crate::clock::UnixMillis;

/// How long documents are kept: at least, if nobody says so, and at most.
const SHORTEST: Duration = Duration::from_secs(5 * 60);
const UNSAID: Duration = Duration::from_secs(3600);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How long keys are believed beyond their time, while the issuer does not answer.
const GRACE: Duration = Duration::from_secs(24 * 3600);
/// Between two fetches, with keys and without any.
const PAUSE: Duration = Duration::from_secs(30);
const SHORT_PAUSE: Duration = Duration::from_secs(5);

/// Who makes tokens. Shared by every table whose configuration means the same one.
#[derive(Debug)]
pub struct Issuer {
    shared: Arc<Shared>,
    /// Sessions that are being renewed: they outlive a configuration as the issuer does.
    pub(super) renewals: Renewals,
}

/// What a fetch works on.
#[derive(Debug)]
struct Shared {
    url: String,
    jwks_url: Option<Url>,
    network: Network,
    known: ArcSwapOption<Known>,
    fetching: Mutex<Fetching>,
}

/// What the issuer has said.
#[derive(Debug)]
struct Known {
    keys: Keys,
    metadata: Option<Arc<Metadata>>,
    /// Then it is to be asked again.
    fresh_until: UnixMillis,
}

/// What is being asked, and was.
#[derive(Debug, Default)]
struct Fetching {
    running: Option<Waiting>,
    last: Option<(UnixMillis, Result<(), Unreachable>)>,
}

type Waiting = watch::Receiver<Option<Result<(), Unreachable>>>;

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
    /// Its key is not known yet: [`Issuer::learn`], then ask again; what is unknown then is refused.
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
        if ![Some(&parsed), jwks_url.as_ref()].into_iter().flatten().all(metadata::is_trustworthy) {
            return Err(BadIssuer::Insecure);
        }
        let shared = Shared {
            url: url.to_owned(),
            jwks_url,
            network: Network::new(anchors),
            known: ArcSwapOption::empty(),
            fetching: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared), renewals: Renewals::default() })
    }

    /// One for tests, that has these keys already and is asked again after an hour.
    #[cfg(test)]
    pub(crate) fn knowing(url: &str, jwks: &str, now: UnixMillis) -> Self {
        let issuer = Self::new(url, Vec::new(), None).unwrap();
        let known = Known { keys: Keys::read(jwks.as_bytes()).unwrap(), metadata: None, fresh_until: now + 3_600_000 };
        issuer.shared.known.store(Some(Arc::new(known)));
        issuer.shared.fetching.lock().last = Some((now, Ok(())));
        issuer
    }

    /// As tokens must name it.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Whether a new configuration means this one, which then lives on with what it knows.
    pub fn is(&self, url: &str, anchors: &[Vec<u8>], jwks_url: Option<&Url>) -> bool {
        self.shared.url == url && self.shared.network.anchors() == anchors && self.shared.jwks_url.as_ref() == jwks_url
    }

    /// What a token is, by the keys that are known. Where a runtime is at hand, keys that are due are fetched behind the
    /// scenes.
    pub fn verify(&self, token: &str, expected: &Expected, now: UnixMillis) -> Verdict {
        let token = match Token::read(token, expected.kind) {
            Ok(token) => token,
            Err(why) => return Verdict::Refused(why),
        };
        let Some(known) = self.shared.usable(now) else { return Verdict::Unknown };
        self.shared.look_again(&known, now);
        match token.judge(&known.keys, self.url(), expected, now) {
            Ok(claims) => Verdict::Valid(claims),
            Err(why) if may_be_of_a_new_key(why, &token) && self.shared.may_ask(now) => Verdict::Unknown,
            Err(why) => Verdict::Refused(why),
        }
    }

    /// Asks the issuer for its documents, once for however many wait, and not at once after a failure: then the answer is
    /// that failure.
    ///
    /// # Errors
    /// See [`Unreachable`]. The keys that were known stay.
    pub async fn learn(&self, now: UnixMillis) -> Result<(), Unreachable> {
        let mut waiting = match self.shared.begin(now, &Handle::current()) {
            Ok(waiting) => waiting,
            Err(last) => return last,
        };
        let cut = || Unreachable("the fetch of the issuer's documents was cut".to_owned());
        let done = waiting.wait_for(Option::is_some).await.map_err(|_| cut())?;
        done.clone().unwrap_or_else(|| Err(cut()))
    }

    /// What the issuer says of itself, learned where it is not known.
    pub(super) async fn metadata(&self, now: UnixMillis) -> Result<Arc<Metadata>, Unreachable> {
        if let Some(metadata) = self.known_metadata(now) {
            return Ok(metadata);
        }
        self.learn(now).await?;
        self.known_metadata(now).ok_or_else(|| Unreachable(format!("{}: it is known by its keys alone", self.url())))
    }

    /// What is known of it without asking.
    pub(super) fn known_metadata(&self, now: UnixMillis) -> Option<Arc<Metadata>> {
        let known = self.shared.usable(now)?;
        self.shared.look_again(&known, now);
        known.metadata.clone()
    }

    /// The way to it.
    pub(super) fn network(&self) -> &Network {
        &self.shared.network
    }
}

impl Shared {
    fn usable(&self, now: UnixMillis) -> Option<Arc<Known>> {
        let known = self.known.load_full()?;
        (now < known.fresh_until.saturating_add(millis(GRACE))).then_some(known)
    }

    /// Fetches what is due, without anybody waiting for it.
    fn look_again(self: &Arc<Self>, known: &Known, now: UnixMillis) {
        if now < known.fresh_until {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            // Who waits, or what came of the last time, does not matter here.
            let _ = self.begin(now, &runtime);
        }
    }

    /// Whether a fetch is going on, or may begin.
    fn may_ask(&self, now: UnixMillis) -> bool {
        let fetching = self.fetching.lock();
        fetching.running().is_some() || fetching.too_new(now, self.pause(now)).is_none()
    }

    fn pause(&self, now: UnixMillis) -> Duration {
        if self.usable(now).is_some() { PAUSE } else { SHORT_PAUSE }
    }

    /// A fetch to wait for: the one that is running, or a new one. What came of the last one, if that is too new.
    fn begin(self: &Arc<Self>, now: UnixMillis, runtime: &Handle) -> Result<Waiting, Result<(), Unreachable>> {
        let mut fetching = self.fetching.lock();
        if let Some(running) = fetching.running() {
            return Ok(running.clone());
        }
        if let Some(last) = fetching.too_new(now, self.pause(now)) {
            return Err(last.clone());
        }
        let (tell, waiting) = watch::channel(None);
        fetching.running = Some(waiting.clone());
        let shared = Arc::clone(self);
        runtime.spawn(async move {
            let came = shared.fetch(now).await;
            shared.note(&came);
            let mut fetching = shared.fetching.lock();
            fetching.last = Some((now, came.clone()));
            fetching.running = None;
            drop(fetching);
            tell.send_replace(Some(came));
        });
        Ok(waiting)
    }

    fn note(&self, came: &Result<(), Unreachable>) {
        if let Err(why) = came {
            let keys = if self.known.load().is_some() { "; the keys that were known stay" } else { "" };
            log::warn!(target: TARGET, "the issuer {} cannot be asked: {why}{keys}", self.url);
        }
    }

    async fn fetch(&self, now: UnixMillis) -> Result<(), Unreachable> {
        let metadata = match &self.jwks_url {
            Some(_) => None,
            None => Some(Arc::new(self.discover().await?)),
        };
        let place = metadata.as_ref().map(|metadata| &metadata.jwks_uri).or(self.jwks_url.as_ref());
        let place = place.ok_or_else(|| Unreachable("it has no keys".to_owned()))?;
        let document = self.document(place).await?;
        let (headers, body) = document.ok_or_else(|| Unreachable(format!("{place} answered 404 Not Found")))?;
        let keys = Keys::read(&body).map_err(|why| Unreachable(format!("{place}: {why}")))?;
        log::info!(target: TARGET, "the issuer {} has {} keys that can be used", self.url, keys.len());
        let fresh_until = now.saturating_add(millis(lifetime(&headers)));
        self.known.store(Some(Arc::new(Known { keys, metadata, fresh_until })));
        Ok(())
    }

    /// OpenID Connect Discovery 1.0 §4.1; where there is nothing, RFC 8414 §3.1.
    async fn discover(&self) -> Result<Metadata, Unreachable> {
        for place in metadata::places(&self.url) {
            if let Some((_, body)) = self.document(&place).await? {
                return Metadata::read(&body, &self.url).map_err(|why| Unreachable(format!("{place}: {why}")));
            }
        }
        Err(Unreachable(format!("{} has no discovery document (404)", self.url)))
    }

    /// `None`: there is no such document.
    async fn document(&self, place: &Url) -> Result<Option<(HeaderMap, Bytes)>, Unreachable> {
        let answer = self.network.get(place, None).await.map_err(|failure| Unreachable(failure.to_string()))?;
        let (head, body) = answer.into_parts();
        match head.status {
            StatusCode::OK => Ok(Some((head.headers, body))),
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_redirection() => {
                Err(Unreachable(format!("{place} answered {status}: redirects are not followed")))
            }
            status => Err(Unreachable(format!("{place} answered {status}"))),
        }
    }
}

impl Fetching {
    /// `None`: nothing is being fetched, or whoever did is gone.
    fn running(&self) -> Option<&Waiting> {
        self.running.as_ref().filter(|running| running.has_changed().is_ok())
    }

    /// What came of the last fetch, if it is too new for another. A clock that was set back does not stop us for long.
    fn too_new(&self, now: UnixMillis, pause: Duration) -> Option<&Result<(), Unreachable>> {
        self.last.as_ref().filter(|(at, _)| now.abs_diff(*at) < millis(pause)).map(|(_, came)| came)
    }
}

/// The issuer's one key without a name may be another one by now.
fn may_be_of_a_new_key(why: Why, token: &Token<'_>) -> bool {
    why == Why::UnknownKey || (why == Why::Signature && token.kid.is_none())
}

fn millis(duration: Duration) -> UnixMillis {
    UnixMillis::try_from(duration.as_millis()).unwrap_or(UnixMillis::MAX)
}

/// How long a document is to be kept (RFC 9111 §5.2.2.1), within our bounds.
fn lifetime(headers: &HeaderMap) -> Duration {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = values.flat_map(|value| value.split(',')).map(|part| part.trim().to_ascii_lowercase());
    let seconds = directives.find_map(|part| part.strip_prefix("max-age=")?.trim_matches('"').parse().ok());
    seconds.map_or(UNSAID, Duration::from_secs).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests;
