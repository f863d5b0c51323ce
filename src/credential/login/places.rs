//! How many logins may be under way: few of one session, and a bounded number in all. Who is over is refused; nobody is evicted,
//! as anybody could then end everybody's logins.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::{LIFETIME, Session};
use crate::clock::Moment;

/// Of one session.
const OF_ONE: usize = 10;

/// Of all.
const IN_ALL: usize = 1000;

/// Who has a place.
#[derive(Debug, Default)]
pub struct Places(Mutex<HashMap<String, Place>>);

#[derive(Debug)]
struct Place {
    session: String,
    begun: Moment,
    /// Begun by a process before this one, whose clock nobody knows any more.
    is_old: bool,
}

/// A place that is given back unless it is kept.
#[derive(Debug)]
pub struct Taken<'p> {
    places: &'p Places,
    key: Option<String>,
}

impl Taken<'_> {
    /// The login is under way.
    pub fn keep(mut self) {
        self.key = None;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.places.free(key);
        }
    }
}

impl Places {
    /// Takes one; `None`: there is none left.
    pub fn take(&self, key: &str, session: &Session, now: Moment) -> Option<Taken<'_>> {
        let mut places = self.0.lock();
        places.retain(|_, place| age(place, now) < LIFETIME);
        let of_session = places.values().filter(|place| place.session == session.0).count();
        if of_session >= OF_ONE || places.len() >= IN_ALL {
            return None;
        }
        places.insert(key.to_owned(), Place { session: session.0.clone(), begun: now, is_old: false });
        Some(Taken { places: self, key: Some(key.to_owned()) })
    }

    /// That of a login which a process before this one began.
    pub fn put_back(&self, key: String, session: String, now: Moment) {
        self.0.lock().insert(key, Place { session, begun: now, is_old: true });
    }

    /// Gives it back.
    pub fn free(&self, key: &str) {
        self.0.lock().remove(key);
    }

    /// How long ago this process began it; `None`: it did not.
    pub fn age(&self, key: &str, now: Moment) -> Option<Duration> {
        self.0.lock().get(key).filter(|place| !place.is_old).map(|place| age(place, now))
    }
}

fn age(place: &Place, now: Moment) -> Duration {
    now.monotonic.saturating_duration_since(place.begun.monotonic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: usize) -> Session {
        Session(format!("session:{number}"))
    }

    fn later(now: Moment, by: Duration) -> Moment {
        Moment { monotonic: now.monotonic + by, ..now }
    }

    #[test]
    fn ten_of_a_session_and_a_thousand_in_all() {
        let (places, now) = (Places::default(), Moment::now());
        let take = |number: usize, of: usize, now| places.take(&number.to_string(), &session(of), now).map(Taken::keep);
        for number in 0..10 {
            assert!(take(number, 0, now).is_some());
        }
        assert!(take(10, 0, now).is_none());
        places.free("3");
        assert!(take(10, 0, now).is_some() && take(11, 0, now).is_none());
        for number in 100..1090 {
            assert!(take(number, number, now).is_some(), "{number}");
        }
        assert!(take(2000, 2000, now).is_none());
        assert!(take(2000, 2000, later(now, LIFETIME)).is_some(), "what nobody finishes makes room");
    }

    #[test]
    fn a_beginning_that_fails_gives_its_place_back() {
        let (places, now) = (Places::default(), Moment::now());
        for number in 0..50 {
            drop(places.take(&number.to_string(), &session(0), now).unwrap());
        }
        assert!(places.age("0", now).is_none());
        places.take("kept", &session(0), now).unwrap().keep();
        assert_eq!(places.age("kept", later(now, LIFETIME)), Some(LIFETIME));
        places.put_back("old".to_owned(), "session:0".to_owned(), now);
        assert!(places.age("old", now).is_none(), "another process's clock");
    }
}
