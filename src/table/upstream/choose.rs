//! Who gets the next request.
//!
//! Round robin walks a schedule that was laid out when the table was compiled, and a draw at random is a draw from that
//! schedule: both take one step while the endpoints are fit. `least_requests` looks at every endpoint. `hash` is weighted
//! rendezvous hashing (Thaler and Ravishankar 1998; Schindelhauer and Schomaker 2005 for the weights): each endpoint scores
//! every key by itself, so that one that goes moves its own keys and no other, and one that comes takes only its share.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clock::UnixMillis;

use super::key::mix;
use super::{Balance, Endpoint, Standing, Upstream};

/// What one choice depends on beside the endpoints.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// What is hashed of the request: [`Upstream::key`]. `None`: chosen at random where a hash is asked for.
    pub key: Option<u64>,
    /// Endpoints of this upstream that were tried for this request before.
    pub avoid: &'a [Arc<Endpoint>],
    /// Any number, another for each choice.
    pub random: u64,
    /// The moment.
    pub now: UnixMillis,
}

/// How often a draw from the schedule may meet somebody who is not fit before all are looked at.
const DRAWS: u32 = 8;

impl Upstream {
    /// The endpoint for the next attempt: one that is fit and was not tried before; else one that is fit; else the one that
    /// was ejected least recently. `None`: all are unhealthy.
    pub fn choose(&self, wish: &Wish<'_>) -> Option<&Arc<Endpoint>> {
        if let [only] = self.endpoints.as_slice() {
            return (self.standing(only, wish.now) != Standing::Unhealthy).then_some(only);
        }
        let is_up = |endpoint: &Arc<Endpoint>| self.standing(endpoint, wish.now) == Standing::Up;
        if !wish.avoid.is_empty() {
            let fresh = self.among(wish, |endpoint| !wish.was_tried(endpoint) && is_up(endpoint));
            if fresh.is_some() {
                return fresh;
            }
        }
        self.among(wish, is_up).or_else(|| self.least_recently_ejected(wish))
    }

    /// Whether a choice needs chance.
    pub fn needs_random(&self) -> bool {
        self.endpoints.len() > 1 && self.balance != Balance::RoundRobin
    }

    fn among(&self, wish: &Wish<'_>, fit: impl Fn(&Arc<Endpoint>) -> bool) -> Option<&Arc<Endpoint>> {
        match (&self.balance, wish.key) {
            (Balance::RoundRobin, _) => self.in_turn(fit),
            (Balance::LeastRequests, _) => self.least_busy(wish.random, fit),
            (Balance::RandomTwo, _) => self.less_busy_of_two(wish.random, fit),
            (Balance::Hash(_), Some(key)) => self.best_for(key, fit),
            (Balance::Hash(_), None) => self.draw(wish.random, &fit),
        }
    }

    /// The next of the schedule who is fit. The cursor passes those who are not, so that their turns are shared by all.
    fn in_turn(&self, fit: impl Fn(&Arc<Endpoint>) -> bool) -> Option<&Arc<Endpoint>> {
        let turn = self.cursor.fetch_add(1, Ordering::Relaxed);
        let (skipped, chosen) = (0..self.schedule.len())
            .filter_map(|skipped| Some((skipped, self.scheduled(turn.wrapping_add(skipped))?)))
            .find(|(_, endpoint)| fit(endpoint))?;
        if skipped > 0 {
            self.cursor.fetch_add(skipped, Ordering::Relaxed);
        }
        Some(chosen)
    }

    fn scheduled(&self, turn: usize) -> Option<&Arc<Endpoint>> {
        let index = self.schedule.get(turn.checked_rem(self.schedule.len())?)?;
        self.endpoints.get(usize::from(*index))
    }

    /// Fewest requests for its weight; of equals one by weight.
    fn least_busy(&self, random: u64, fit: impl Fn(&Arc<Endpoint>) -> bool) -> Option<&Arc<Endpoint>> {
        let mut best: Option<&Arc<Endpoint>> = None;
        let mut equals = Lot::new(random);
        for endpoint in self.endpoints.iter().filter(|endpoint| fit(endpoint)) {
            match best.map_or(std::cmp::Ordering::Less, |best| busier(endpoint, best)) {
                std::cmp::Ordering::Less => {
                    equals = Lot::new(random);
                    equals.falls_on(endpoint.weight);
                    best = Some(endpoint);
                }
                std::cmp::Ordering::Equal if equals.falls_on(endpoint.weight) => best = Some(endpoint),
                _ => {}
            }
        }
        best
    }

    /// Two different ones by weight, and of these the less busy (Mitzenmacher 2001).
    fn less_busy_of_two(&self, random: u64, fit: impl Fn(&Arc<Endpoint>) -> bool) -> Option<&Arc<Endpoint>> {
        let first = self.draw(random, &fit)?;
        let another = |endpoint: &Arc<Endpoint>| !Arc::ptr_eq(endpoint, first) && fit(endpoint);
        let second = self.draw(mix(random ^ first.seed), &another).unwrap_or(first);
        Some(if busier(second, first).is_lt() { second } else { first })
    }

    /// One who is fit, by weight.
    fn draw(&self, random: u64, fit: &impl Fn(&Arc<Endpoint>) -> bool) -> Option<&Arc<Endpoint>> {
        let tries = (0..u64::from(DRAWS)).map(|step| mix(random.wrapping_add(step)));
        let mut drawn = tries.filter_map(|number| self.scheduled(usize::try_from(number >> 1).ok()?));
        drawn.find(|endpoint| fit(endpoint)).or_else(|| {
            let mut lot = Lot::new(random);
            let all = self.endpoints.iter().filter(|endpoint| fit(endpoint));
            all.fold(None, |drawn, endpoint| if lot.falls_on(endpoint.weight) { Some(endpoint) } else { drawn })
        })
    }

    /// The highest score for a key.
    fn best_for(&self, key: u64, fit: impl Fn(&Arc<Endpoint>) -> bool) -> Option<&Arc<Endpoint>> {
        let fit = self.endpoints.iter().filter(|endpoint| fit(endpoint));
        fit.map(|endpoint| (score(endpoint, key), endpoint))
            .reduce(|best, other| if other.0 > best.0 { other } else { best })
            .map(|(_, endpoint)| endpoint)
    }

    fn least_recently_ejected(&self, wish: &Wish<'_>) -> Option<&Arc<Endpoint>> {
        let resting = self.endpoints.iter().filter(|it| self.standing(it, wish.now) == Standing::Ejected);
        resting.min_by_key(|it| (wish.was_tried(it), self.ejected_since(it, wish.now)))
    }
}

impl Wish<'_> {
    fn was_tried(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.avoid.iter().any(|tried| Arc::ptr_eq(tried, endpoint))
    }
}

/// Requests in flight for the weight, compared without dividing.
fn busier(one: &Endpoint, other: &Endpoint) -> std::cmp::Ordering {
    let load =
        |of: &Endpoint, by: &Endpoint| u128::from(of.state.in_flight.load(Ordering::Relaxed)) * u128::from(by.weight);
    load(one, other).cmp(&load(other, one))
}

/// `-weight / ln(u)`, where `u` is uniform in (0, 1): the greatest of such scores falls on each by its weight.
fn score(endpoint: &Endpoint, key: u64) -> f64 {
    const UNIT: f64 = 1.0 / (1u64 << 53) as f64;
    let uniform = ((mix(endpoint.seed ^ key) >> 11) as f64 + 0.5) * UNIT;
    -f64::from(endpoint.weight) / uniform.ln()
}

/// Draws one of a row without knowing its length (reservoir sampling, by weight).
struct Lot {
    random: u64,
    total: u64,
}

impl Lot {
    fn new(random: u64) -> Self {
        Self { random, total: 0 }
    }

    /// Whether the lot falls on the next one rather than on those before it.
    fn falls_on(&mut self, weight: u32) -> bool {
        self.random = mix(self.random);
        self.total += u64::from(weight);
        self.random % self.total < u64::from(weight)
    }
}
