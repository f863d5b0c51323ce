//! Sessions of the dashboard: what a browser shows after somebody has logged in with it.
//!
//! A session is 256 random bits in a cookie that only this origin gets back (`__Host-`, `Secure`, `HttpOnly`,
//! `SameSite=Strict`). Here it is known by its SHA-256 alone, so that nothing that is read out of this process logs anybody in,
//! and for people by a short handle. It ends after eight hours without a request, after a day in any case, when somebody ends it, when
//! its user's line in `admin.users_file` changes, and with the process.
//!
//! Invariants: a log-in always makes a new id (`logging_in_makes_a_new_session`); there are never more than a thousand
//! (`the_longest_unused_makes_room`); neither of the two clocks, set back, makes a session live longer (`sessions_end`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::clock::{Moment, UnixMillis};
use crate::secret::{self, Secret};

use super::caller::{Held, Who};

/// The cookie's name. Browsers take a `__Host-` cookie over https, and from `http://127.0.0.1` and `http://localhost` (Chromium
/// and Firefox do, Safari does not).
const COOKIE: &str = "__Host-countersign";

/// Without a request.
const IDLE: Duration = Duration::from_secs(8 * 60 * 60);

/// From the log-in.
pub const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// At a time. Each is made by somebody who has a password or the token; beyond it the longest unused ends.
const SESSIONS: usize = 1000;

/// Of `user-agent`, for people who look at their sessions.
const AGENT: usize = 120;

/// What a user's line in `admin.users_file` looked like at the log-in.
pub type Mark = [u8; 32];

/// Who wants a session.
#[derive(Clone, Debug)]
pub struct Entrant {
    /// Who has logged in.
    pub who: Who,
    /// `None`: by the admin token.
    pub mark: Option<Mark>,
    /// From which address.
    pub from: IpAddr,
    /// With which browser, as it says.
    pub agent: String,
}

/// One session, as people see it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its public name.
    pub handle: String,
    /// Whose.
    pub who: Who,
    /// Where the log-in came from.
    pub from: IpAddr,
    /// The browser, as it says.
    pub agent: String,
    /// When the log-in was.
    pub created: UnixMillis,
    /// When its last request was.
    pub used: UnixMillis,
}

#[derive(Debug)]
struct Session {
    entrant: Entrant,
    held: Held,
    created: Moment,
    used: Moment,
}

impl Session {
    fn is_alive(&self, now: Moment) -> bool {
        now.since(self.used) < IDLE && now.since(self.created) < LIFETIME
    }
}

/// Every session, by the SHA-256 of its id.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

impl Sessions {
    /// Makes one; what is returned is the cookie's value, and is kept nowhere.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn open(&self, entrant: Entrant, now: Moment) -> Result<(Secret, Held), getrandom::Error> {
        let (id, csrf) = (random()?, random()?);
        let digest = digest(id.expose());
        let held = Held { handle: handle(&digest).into(), csrf, digest: hex::encode(digest).into() };
        let entrant = Entrant { agent: printable(&entrant.agent), ..entrant };
        let session = Session { entrant, held: held.clone(), created: now, used: now };
        let mut sessions = self.0.lock();
        make_room(&mut sessions, now);
        sessions.insert(digest, session);
        Ok((id, held))
    }

    /// Whose session that is, if it is one. `stands`: whether that user is still who logged in.
    pub fn find(&self, id: &str, now: Moment, stands: impl FnOnce(&Who, Option<&Mark>) -> bool) -> Option<(Who, Held)> {
        let digest = digest(id);
        let mut sessions = self.0.lock();
        let session = sessions.get_mut(&digest)?;
        if !session.is_alive(now) || !stands(&session.entrant.who, session.entrant.mark.as_ref()) {
            sessions.remove(&digest);
            return None;
        }
        session.used = now;
        Some((session.entrant.who.clone(), session.held.clone()))
    }

    /// Ends the one that a browser shows; whether there was one.
    pub fn end(&self, id: &str) -> bool {
        self.0.lock().remove(&digest(id)).is_some()
    }

    /// Whether the one of that public name is alive.
    pub fn holds(&self, handle: &str, now: Moment) -> bool {
        self.0.lock().values().any(|session| *session.held.handle == *handle && session.is_alive(now))
    }

    /// Ends one by its public name; whether there was one.
    pub fn revoke(&self, handle: &str, now: Moment) -> bool {
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| session.is_alive(now));
        let before = sessions.len();
        sessions.retain(|_, session| *session.held.handle != *handle);
        sessions.len() < before
    }

    /// Every one that is alive, the oldest first.
    pub fn list(&self, now: Moment) -> Vec<Listed> {
        let sessions = self.0.lock();
        let alive = sessions.values().filter(|session| session.is_alive(now));
        let mut list: Vec<Listed> = alive.map(Listed::of).collect();
        list.sort_by(|one, other| (one.created, &one.handle).cmp(&(other.created, &other.handle)));
        list
    }
}

impl Listed {
    fn of(session: &Session) -> Self {
        Self {
            handle: session.held.handle.to_string(),
            who: session.entrant.who.clone(),
            from: session.entrant.from,
            agent: session.entrant.agent.clone(),
            created: session.created.wall,
            used: session.used.wall,
        }
    }
}

fn make_room(sessions: &mut HashMap<[u8; 32], Session>, now: Moment) {
    if sessions.len() < SESSIONS {
        return;
    }
    sessions.retain(|_, session| session.is_alive(now));
    while sessions.len() >= SESSIONS {
        let longest_unused = sessions.iter().min_by_key(|(_, session)| session.used.monotonic).map(|(key, _)| *key);
        let Some(key) = longest_unused else { return };
        sessions.remove(&key);
    }
}

fn random() -> Result<Secret, getrandom::Error> {
    Ok(Secret::new(hex::encode(*secret::random()?)))
}

fn digest(id: &str) -> [u8; 32] {
    Sha256::digest(id).into()
}

/// Says nothing of the id, and not enough of its digest to look one up.
fn handle(digest: &[u8; 32]) -> String {
    let again: [u8; 32] = Sha256::new().chain_update(b"handle").chain_update(digest).finalize().into();
    hex::encode(again).get(..12).unwrap_or_default().to_owned()
}

fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(AGENT).collect()
}

/// Whether that is the session's CSRF token, in a time that says nothing about it.
pub fn is_csrf(held: &Held, presented: &str) -> bool {
    held.csrf.expose().as_bytes().ct_eq(presented.as_bytes()).into()
}

/// The id that a browser shows. Two of them are none: which one is meant is not ours to choose.
pub fn shown(headers: &HeaderMap) -> Option<Secret> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value);
    let first = ours.next().filter(|value| value.len() == 2 * secret::RANDOM_BYTES)?;
    ours.next().is_none().then(|| Secret::new(first))
}

/// `set-cookie` with that id.
pub fn cookie(id: &Secret) -> Option<HeaderValue> {
    let lifetime = LIFETIME.as_secs();
    let text = format!("{COOKIE}={}; Path=/; Max-Age={lifetime}; Secure; HttpOnly; SameSite=Strict", id.expose());
    crate::credential::vault::header_value(&text)
}

/// `set-cookie` that takes it away.
pub fn no_cookie() -> HeaderValue {
    HeaderValue::from_static("__Host-countersign=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entrant(user: &str) -> Entrant {
        let from = IpAddr::from([127, 0, 0, 1]);
        Entrant { who: Who::User(user.into()), mark: Some([7; 32]), from, agent: "Fire\u{1b}fox".to_owned() }
    }

    fn later(moment: Moment, by: Duration) -> Moment {
        let millis = u64::try_from(by.as_millis()).unwrap();
        Moment { monotonic: moment.monotonic + by, wall: moment.wall + millis }
    }

    fn is_alive(sessions: &Sessions, id: &Secret, now: Moment) -> bool {
        sessions.find(id.expose(), now, |_, _| true).is_some()
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_session_is_found_by_its_id_alone() {
        let (sessions, now) = (Sessions::default(), Moment::now());
        let (id, held) = sessions.open(entrant("ann"), now).unwrap();
        assert_eq!(id.len(), 64);
        let (who, found) =
            sessions.find(id.expose(), now, |who, mark| who.is("ann") && *mark.unwrap() == [7; 32]).unwrap();
        assert!(who.is("ann") && found.handle == held.handle && is_csrf(&found, held.csrf.expose()));
        for wrong in ["", &held.handle, &held.digest, held.csrf.expose(), &"0".repeat(64)] {
            assert!(sessions.find(wrong, now, |_, _| true).is_none(), "{wrong}");
            assert!(wrong == held.csrf.expose() || !is_csrf(&held, wrong));
        }
        let kept = format!("{sessions:?}");
        assert!(!kept.contains(id.expose()) && !kept.contains(held.csrf.expose()), "{kept}");
    }

    #[test]
    fn sessions_end() {
        let (sessions, now) = (Sessions::default(), Moment::now());
        let open = || sessions.open(entrant("ann"), now).unwrap().0;
        let unused = open();
        assert!(!is_alive(&sessions, &unused, later(now, IDLE)));
        assert!(!is_alive(&sessions, &unused, now), "what has ended does not come back");
        let used = open();
        let mut moment = now;
        while moment.since(now) + 60 * MINUTE < LIFETIME {
            moment = later(moment, 60 * MINUTE);
            assert!(is_alive(&sessions, &used, moment), "{:?}", moment.since(now));
        }
        assert!(!is_alive(&sessions, &used, later(now, LIFETIME)));
        let asleep = open();
        let wall_alone = Moment { wall: later(now, IDLE).wall, ..now };
        assert!(!is_alive(&sessions, &asleep, wall_alone), "the machine slept");
        let set_back = open();
        let monotonic_alone = Moment { wall: 0, ..later(now, IDLE) };
        assert!(!is_alive(&sessions, &set_back, monotonic_alone), "somebody set the clock back");
        let gone = open();
        assert!(sessions.find(gone.expose(), now, |_, _| false).is_none());
        assert!(!is_alive(&sessions, &gone, now), "a user who is gone, or has another password");
    }

    #[test]
    fn sessions_are_ended() {
        let (sessions, now) = (Sessions::default(), Moment::now());
        let (first, held) = sessions.open(entrant("ann"), now).unwrap();
        let (second, _) = sessions.open(entrant("bob"), later(now, MINUTE)).unwrap();
        let names = |now| sessions.list(now).into_iter().map(|it| it.who.to_string()).collect::<Vec<_>>();
        assert_eq!(names(now), ["ann", "bob"]);
        assert_eq!(sessions.list(now)[0].agent, "Firefox");
        assert!(sessions.revoke(&held.handle, now) && !sessions.revoke(&held.handle, now));
        assert!(!is_alive(&sessions, &first, now) && is_alive(&sessions, &second, now));
        assert!(sessions.end(second.expose()) && !sessions.end(second.expose()));
        assert!(names(now).is_empty());
    }

    #[test]
    fn the_longest_unused_makes_room() {
        let (sessions, now) = (Sessions::default(), Moment::now());
        let at = |number: usize| later(now, Duration::from_secs(number as u64));
        let ids: Vec<_> = (0..SESSIONS).map(|number| sessions.open(entrant("ann"), at(number)).unwrap().0).collect();
        assert!(is_alive(&sessions, &ids[0], at(SESSIONS)));
        sessions.open(entrant("bob"), at(SESSIONS)).unwrap();
        assert_eq!(sessions.list(at(SESSIONS)).len(), SESSIONS);
        assert!(is_alive(&sessions, &ids[0], at(SESSIONS)) && !is_alive(&sessions, &ids[1], at(SESSIONS)));
    }

    #[test]
    fn one_cookie_is_taken() {
        let id = "a1".repeat(32);
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::COOKIE, HeaderValue::from_str(value).unwrap());
            }
            shown(&headers).map(|id| id.expose().to_owned())
        };
        let ours = format!("{COOKIE}={id}");
        assert_eq!(of(&[&ours]).as_deref(), Some(id.as_str()));
        assert_eq!(of(&["a=b", &format!("c=d; {ours}; e")]).as_deref(), Some(id.as_str()));
        assert_eq!(of(&[&ours, &ours]), None, "twice");
        assert_eq!(of(&[&format!("{ours}; {ours}")]), None, "twice");
        assert_eq!(of(&[&format!("countersign={id}")]), None);
        assert_eq!(of(&[&format!("{COOKIE}={id}0")]), None);
        assert_eq!(of(&[]), None);
        let cookie = cookie(&Secret::new(id.clone())).unwrap();
        assert!(cookie.is_sensitive());
        let expected = format!("{ours}; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Strict");
        assert_eq!(cookie.to_str().unwrap(), expected);
    }
}
