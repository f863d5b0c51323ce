//! One host's certificate: what is held, when the next is due, and what happened last. No network, no files, no clock.

use std::sync::Arc;
use std::time::Duration;

use super::failure::Failure;
use super::schedule::{self, Life, Window};
use super::suggestion::Suggestion;
use crate::clock::UnixMillis;
use crate::tls::load::Loaded;

/// What is served for a host.
#[derive(Clone, Debug)]
pub struct Held {
    /// The certificate.
    pub loaded: Arc<Loaded>,
    /// The CA that it is from; empty: one that does not count any more.
    pub directory: String,
}

impl Held {
    fn life(&self) -> Life {
        Life { from: self.loaded.not_before, until: self.loaded.not_after }
    }
}

/// What is to be done for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A certificate.
    Order,
    /// A look at what the CA suggests.
    Look,
}

/// One host.
#[derive(Debug, Default)]
pub struct Host {
    /// What is served.
    pub held: Option<Held>,
    /// Whether something is being done for it.
    pub busy: bool,
    /// When to renew what is held.
    renewal: UnixMillis,
    /// Which suggestion that is by.
    window: Option<Window>,
    /// When to look at the CA's suggestion.
    look: UnixMillis,
    /// Attempts in a row that came to nothing.
    failures: u32,
    /// Not before that moment, after such an attempt.
    retry: UnixMillis,
    /// Why the last attempt came to nothing.
    pub last_error: Option<String>,
}

impl Host {
    /// With what was found in the storage.
    pub fn with(held: Option<Held>, before: Option<Duration>, chance: f64) -> Self {
        let mut host = Self { held, ..Self::default() };
        host.plan(before, chance);
        host
    }

    /// Whether a certificate of that CA is held.
    pub fn is_of(&self, directory: &str) -> bool {
        self.held.as_ref().is_some_and(|held| held.directory == directory)
    }

    /// What to do, and when: the sooner of the two.
    pub fn next(&self, directory: &str) -> (UnixMillis, Due) {
        let order = if self.is_of(directory) { self.renewal } else { 0 };
        let order = order.max(self.retry);
        if self.is_of(directory) && self.look < order { (self.look, Due::Look) } else { (order, Due::Order) }
    }

    /// When the CA is asked for a certificate next.
    pub fn next_order(&self, directory: &str) -> UnixMillis {
        let order = if self.is_of(directory) { self.renewal } else { 0 };
        order.max(self.retry)
    }

    /// A new certificate is held, and safe.
    pub fn obtained(&mut self, held: Held, before: Option<Duration>, chance: f64) {
        *self = Self::with(Some(held), before, chance);
    }

    /// An attempt came to nothing; answers how long it is until the next.
    pub fn failed(&mut self, failure: &Failure, now: UnixMillis, chance: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        // What has ended is no reason to hurry any more: whatever is wrong has been wrong for long.
        let life = self.held.as_ref().map(Held::life).filter(|life| life.until > now);
        let wait = schedule::backoff(self.failures, failure.setback, life, failure.asked, chance);
        self.retry = now.saturating_add(millis(wait));
        self.last_error = Some(failure.words.clone());
        wait
    }

    /// The CA has said when to renew, or has not.
    pub fn looked(&mut self, said: Result<Suggestion, ()>, before: Option<Duration>, now: UnixMillis, chance: f64) {
        let Some(life) = self.held.as_ref().map(Held::life) else { return };
        let again = match said {
            Ok(Suggestion::Some { window, again }) => {
                // The moment within a window is chosen once: chosen again and again, it would drift to its end.
                if window != self.window {
                    self.window = window;
                    self.renewal = schedule::renewal(life, before, window, chance);
                }
                Ok(again)
            }
            Ok(Suggestion::None) => Ok(Some(Duration::MAX)),
            Err(()) => Err(()),
        };
        self.look = now.saturating_add(millis(schedule::next_look(life, again)));
    }

    /// The settings have changed: plans are made anew, and what failed is tried again at once.
    pub fn reconsider(&mut self, before: Option<Duration>, chance: f64) {
        (self.failures, self.retry) = (0, 0);
        self.plan(before, chance);
    }

    fn plan(&mut self, before: Option<Duration>, chance: f64) {
        let life = self.held.as_ref().map(Held::life);
        self.renewal = life.map_or(0, |life| schedule::renewal(life, before, self.window, chance));
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::schedule::Setback;
    use crate::tls::load::certified_key;

    const CA: &str = "https://ca.test/directory";
    const DAY: u64 = 24 * 3600 * 1000;

    /// Ninety days from day 1000.
    fn held(directory: &str) -> Held {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let pem = made.signing_key.serialize_pem() + &made.cert.pem();
        let loaded = certified_key(pem.as_bytes(), pem.as_bytes()).unwrap();
        let loaded = Loaded { not_before: 1000 * DAY, not_after: 1090 * DAY, ..loaded };
        Held { loaded: Arc::new(loaded), directory: directory.to_owned() }
    }

    fn failure(asked: Option<Duration>) -> Failure {
        Failure { words: "no".into(), setback: Setback::Refused, asked }
    }

    fn window(from: u64, to: u64) -> Result<Suggestion, ()> {
        Ok(Suggestion::Some { window: Window::new(from * DAY, to * DAY), again: None })
    }

    #[test]
    fn without_a_certificate_one_is_ordered_at_once() {
        assert_eq!(Host::default().next(CA), (0, Due::Order));
        let other = Host::with(Some(held("https://staging.test/")), None, 0.0);
        assert_eq!(other.next(CA), (0, Due::Order), "one of another CA does not count");
    }

    #[test]
    fn with_one_the_ca_is_asked_when_to_renew_and_its_word_counts() {
        let mut host = Host::with(Some(held(CA)), None, 0.0);
        assert_eq!(host.next(CA), (0, Due::Look));
        host.looked(Ok(Suggestion::None), None, 1000 * DAY, 0.0);
        assert_eq!((host.next_order(CA), host.next(CA)), (1060 * DAY, (1001 * DAY, Due::Look)));
        host.looked(window(1002, 1004), None, 1001 * DAY, 0.5);
        assert_eq!(host.next_order(CA), 1003 * DAY);
        host.looked(window(1002, 1004), None, 1001 * DAY, 1.0);
        assert_eq!(host.next_order(CA), 1003 * DAY, "the same window, the same moment");
        host.looked(Err(()), None, 1001 * DAY, 1.0);
        assert_eq!(host.next_order(CA), 1003 * DAY, "no answer changes nothing");
        host.looked(window(1010, 1012), None, 1001 * DAY, 0.5);
        assert_eq!(host.next_order(CA), 1011 * DAY);
    }

    #[test]
    fn a_failure_delays_the_next_attempt_and_nothing_else() {
        let mut host = Host::with(Some(held(CA)), None, 0.0);
        let now = 1060 * DAY;
        host.looked(Ok(Suggestion::None), None, now, 0.0);
        assert_eq!(host.next(CA), (now, Due::Order));
        assert_eq!(host.failed(&failure(None), now, 0.0), Duration::from_secs(60));
        assert_eq!(host.next(CA), (now + 60_000, Due::Order));
        assert_eq!(host.failed(&failure(Some(Duration::from_secs(7200))), now, 0.0), Duration::from_secs(7200));
        assert_eq!(host.last_error.as_deref(), Some("no"));
        assert!(host.held.is_some(), "what is held is served on");
        host.obtained(held(CA), None, 0.0);
        assert_eq!((host.last_error.as_deref(), host.failures, host.retry), (None, 0, 0));
    }

    #[test]
    fn changed_settings_are_tried_at_once() {
        let mut host = Host::default();
        host.failed(&failure(None), 1000 * DAY, 0.0);
        assert!(host.next(CA).0 > 1000 * DAY);
        host.reconsider(None, 0.0);
        assert_eq!(host.next(CA), (0, Due::Order));
        let mut host = Host::with(Some(held(CA)), None, 0.0);
        host.reconsider(Some(Duration::from_secs(10 * 24 * 3600)), 0.0);
        assert_eq!(host.next_order(CA), 1080 * DAY);
    }
}
