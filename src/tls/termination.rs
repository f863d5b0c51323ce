//! What one listener needs to speak TLS: its terms, its certificates, whom it believes; live while the files change.
//!
//! Posture: TLS 1.2 and 1.3 with the suites and groups of Mozilla's “intermediate” profile (ECDHE with AEAD alone), no early
//! data, no renegotiation. Sessions are resumed by tickets whose keys rotate, and by a bounded cache for who has no tickets.
//!
//! Invariants:
//! - A session is resumed only under the terms that it was made under: whoever changes them (another CA for clients, another
//!   version) starts with fresh ticket keys (`new_terms_forget_old_sessions`). rustls ties it to the client's SNI by itself.
//! - A pair is replaced whole or not at all; what is broken leaves the old one in place, and is complained about once
//!   (`a_broken_file_leaves_the_old_certificate`, `a_pair_that_is_replaced_one_file_after_the_other`).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier};
use rustls::{CipherSuite, ServerConfig, SupportedProtocolVersion, version};

use super::authorities::Authorities;
use super::certificates::Certificates;
use super::chooser::Chooser;
use super::files::{Digest, Held, Pair, ReadError};
use super::load::Loaded;
use crate::clock::{self, UnixMillis};
use crate::follow::Followed;

/// Where this module's lines in the process log come from.
const LOG: &str = "countersign::tls";
/// Sessions of clients that know no tickets.
const CACHED_SESSIONS: usize = 1024;
/// Programs that renew certificates write one file after the other: how often a pair that does not fit is looked at again
/// before that is a mistake, and how long apart.
const LOOKS: usize = 6;
const APART: Duration = Duration::from_millis(200);

/// What is agreed upon before any certificate is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// TLS 1.2 is not spoken.
    pub tls13_only: bool,
    /// `h2` is offered before `http/1.1`.
    pub http2: bool,
}

/// What a termination is made from.
#[derive(Debug)]
pub struct Material {
    /// The terms.
    pub terms: Terms,
    /// The files and what they held, in the configuration's order; the first is the default.
    pub pairs: Vec<(Pair, Held)>,
    /// Clients must show a certificate of one of these.
    pub clients: Option<Authorities>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum TerminationError {
    /// No ticket keys could be made.
    #[error("the system has no randomness: {0}")]
    Randomness(rustls::Error),
    /// rustls refuses.
    #[error("{0}")]
    Refused(String),
}

/// When a certificate ends, for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Its first name, or that of its file.
    pub name: String,
    /// From then on it is not valid.
    pub not_after: UnixMillis,
    /// What its files hold now can't be served: the last good one is.
    pub broken: bool,
}

/// A listener's TLS.
pub struct Termination {
    terms: Terms,
    chooser: Arc<Chooser>,
    config: ArcSwap<ServerConfig>,
    expiries: ArcSwap<Vec<Expiry>>,
    /// Taken by whoever looks at the files; never during a handshake.
    files: Mutex<Files>,
    paths: Vec<PathBuf>,
}

/// What is served, and what the files were last seen to hold.
#[derive(Debug)]
struct Files {
    slots: Vec<Slot>,
    clients: Option<Authorities>,
    resumption: Resumption,
    /// The content of `client_ca` that was complained about.
    refused_clients: Option<String>,
}

/// One pair.
#[derive(Debug)]
struct Slot {
    pair: Pair,
    loaded: Arc<Loaded>,
    digest: Digest,
    /// The content (`None`: there was none) that was complained about.
    refused: Option<Option<Digest>>,
}

/// How sessions are resumed.
#[derive(Clone, Debug)]
struct Resumption {
    ticketer: Arc<dyn ProducesTickets>,
    cache: Arc<dyn StoresServerSessions>,
}

impl Resumption {
    fn fresh() -> Result<Self, TerminationError> {
        let ticketer = ring::Ticketer::new().map_err(TerminationError::Randomness)?;
        Ok(Self { ticketer, cache: ServerSessionMemoryCache::new(CACHED_SESSIONS) })
    }
}

impl fmt::Debug for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Termination").field("terms", &self.terms).field("paths", &self.paths).finish_non_exhaustive()
    }
}

impl Termination {
    /// Makes one; `previous` stays in use when nothing has changed, and lends its sessions when only certificates have.
    ///
    /// # Errors
    /// What rustls does not accept.
    pub fn new(
        material: Material,
        certificates: &Arc<Certificates>,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, TerminationError> {
        let lent = previous.and_then(|previous| previous.lend(&material));
        let resumption = match (lent, previous) {
            (Some(Lent::Everything), Some(previous)) => return Ok(Arc::clone(previous)),
            (Some(Lent::Sessions(resumption)), _) => resumption,
            _ => Resumption::fresh()?,
        };
        let Material { terms, pairs, clients } = material;
        let slots: Vec<Slot> = pairs.into_iter().map(|(pair, held)| Slot::new(pair, &held)).collect();
        let chooser = Arc::new(Chooser::new(&loaded(&slots), Arc::clone(certificates)));
        let config = config(terms, clients.as_ref(), &chooser, &resumption)?;
        let paths = slots.iter().flat_map(|slot| [slot.pair.cert.clone(), slot.pair.key.clone()]);
        let paths = paths.chain(clients.iter().map(|clients| clients.path.clone())).collect();
        let expiries = slots.iter().map(Slot::expiry).collect();
        Ok(Arc::new(Self {
            terms,
            chooser,
            config: ArcSwap::from_pointee(config),
            expiries: ArcSwap::from_pointee(expiries),
            files: Mutex::new(Files { slots, clients, resumption, refused_clients: None }),
            paths,
        }))
    }

    /// For the next handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// When the certificates of its files end, as of the last look.
    pub fn expiries(&self) -> Arc<Vec<Expiry>> {
        self.expiries.load_full()
    }

    fn lend(&self, material: &Material) -> Option<Lent> {
        let files = self.files.lock();
        let same_clients = files.clients.as_ref().map(|clients| (&clients.path, clients.digest))
            == material.clients.as_ref().map(|clients| (&clients.path, clients.digest));
        if self.terms != material.terms || !same_clients {
            return None;
        }
        let same_files = files.slots.len() == material.pairs.len()
            && files.slots.iter().zip(&material.pairs).all(|(slot, (pair, held))| slot.is(pair, held));
        Some(if same_files { Lent::Everything } else { Lent::Sessions(files.resumption.clone()) })
    }
}

/// What a new termination takes over from the one before it.
enum Lent {
    Everything,
    Sessions(Resumption),
}

fn loaded(slots: &[Slot]) -> Vec<Arc<Loaded>> {
    slots.iter().map(|slot| Arc::clone(&slot.loaded)).collect()
}

fn config(
    terms: Terms,
    clients: Option<&Authorities>,
    chooser: &Arc<Chooser>,
    resumption: &Resumption,
) -> Result<ServerConfig, TerminationError> {
    const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
    const NEW: &[&SupportedProtocolVersion] = &[&version::TLS13];
    let provider = Arc::new(provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(if terms.tls13_only { NEW } else { BOTH })
        .map_err(|error| TerminationError::Refused(error.to_string()))?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&clients.roots), provider).build();
            let verifier = verifier.map_err(|error| TerminationError::Refused(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::clone(chooser) as Arc<_>);
    // Every suite is a good one; testssl.sh wants the server to choose all the same.
    config.ignore_client_order = true;
    config.ticketer = Arc::clone(&resumption.ticketer);
    config.session_storage = Arc::clone(&resumption.cache);
    let protocols: &[&[u8]] = if terms.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// ring's suites, AES-128 first as in Mozilla's list: no client gains from more, and the handshake's SHA-256 has hardware of its own
/// where SHA-384 has none.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 0,
        _ => 1,
    });
    provider
}

impl Followed for Termination {
    fn paths(&self) -> Vec<PathBuf> {
        self.paths.clone()
    }

    /// Blocks for a moment while files are being replaced.
    fn refresh(&self) {
        let mut files = self.files.lock();
        if files.look_at_pairs() {
            self.chooser.replace(&loaded(&files.slots));
        }
        self.expiries.store(Arc::new(files.slots.iter().map(Slot::expiry).collect()));
        if let Some(clients) = files.look_at_clients() {
            match self.believe(&clients) {
                Ok((config, resumption)) => {
                    self.config.store(Arc::new(config));
                    log::info!(target: LOG, "{}: changed; its CAs are believed from now on", clients.path.display());
                    files.clients = Some(clients);
                    files.resumption = resumption;
                }
                Err(error) => log::error!(target: LOG, "{}: {error}; the old one stays", clients.path.display()),
            }
        }
    }
}

impl Termination {
    /// Sessions of clients that other CAs vouched for must not be resumed.
    fn believe(&self, clients: &Authorities) -> Result<(ServerConfig, Resumption), TerminationError> {
        let resumption = Resumption::fresh()?;
        Ok((config(self.terms, Some(clients), &self.chooser, &resumption)?, resumption))
    }
}

impl Files {
    /// Whether anything else is to be served from now on.
    fn look_at_pairs(&mut self) -> bool {
        let mut unsettled: Vec<(usize, ReadError)> = Vec::new();
        let mut changed = false;
        for look in 0..LOOKS {
            if look > 0 {
                std::thread::sleep(APART);
            }
            let wanted: Vec<usize> = match look {
                0 => (0..self.slots.len()).collect(),
                _ => unsettled.iter().map(|(index, _)| *index).collect(),
            };
            unsettled.clear();
            for index in wanted {
                match self.slots.get_mut(index).map(Slot::look) {
                    Some(Ok(replaced)) => changed |= replaced,
                    Some(Err(error)) => unsettled.push((index, error)),
                    None => {}
                }
            }
            if unsettled.is_empty() {
                break;
            }
        }
        for (index, error) in unsettled {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.complain(&error);
            }
        }
        changed
    }

    /// The CAs for clients, if they have changed.
    fn look_at_clients(&mut self) -> Option<Authorities> {
        let known = self.clients.as_ref()?;
        match Authorities::read(&known.path) {
            Ok(read) => {
                self.refused_clients = None;
                (read.digest != known.digest).then_some(read)
            }
            Err(error) => {
                let why = error.to_string();
                if self.refused_clients.as_ref() != Some(&why) {
                    log::error!(target: LOG, "{}: {why}; its last good content stays in force", known.path.display());
                    self.refused_clients = Some(why);
                }
                None
            }
        }
    }
}

impl Slot {
    fn new(pair: Pair, held: &Held) -> Self {
        Self { pair, loaded: Arc::clone(&held.loaded), digest: held.digest, refused: None }
    }

    fn is(&self, pair: &Pair, held: &Held) -> bool {
        self.pair == *pair && self.digest == held.digest && self.refused.is_none()
    }

    fn expiry(&self) -> Expiry {
        let name = self.pair.name(&self.loaded);
        Expiry { name, not_after: self.loaded.not_after, broken: self.refused.is_some() }
    }

    /// Whether it was replaced.
    fn look(&mut self) -> Result<bool, ReadError> {
        let digest = self.pair.digest();
        if digest == Some(self.digest) {
            if self.refused.take().is_some() {
                log::info!(target: LOG, "{}: the certificate that is served is back in place", self.pair.cert.display());
            }
            return Ok(false);
        }
        if self.refused == Some(digest) {
            return Ok(false);
        }
        let held = self.pair.read()?;
        *self = Self::new(self.pair.clone(), &held);
        self.announce();
        Ok(true)
    }

    fn announce(&self) {
        let (path, names) = (self.pair.cert.display(), self.loaded.names.join(", "));
        let until = crate::observe::timestamp::rfc3339_millis(self.loaded.not_after);
        log::info!(target: LOG, "{path}: changed; the certificate for {names}, valid until {until}, is served from now on");
        let now = clock::unix_millis();
        if self.loaded.not_after <= now || self.loaded.not_before > now {
            log::warn!(target: LOG, "{path}: this certificate is not valid at this time: clients will refuse it");
        }
    }

    /// Once for each content.
    fn complain(&mut self, error: &ReadError) {
        let digest = self.pair.digest();
        if self.refused.replace(digest) == Some(digest) {
            return;
        }
        let (cert, key) = (self.pair.cert.display(), self.pair.key.display());
        log::error!(target: LOG, "{cert}, {key}: changed, but {error}; the certificate from before stays in use");
    }
}

#[cfg(test)]
mod tests;
