//! What a change would do, before it is made: the last requests through the old and the new table, and the routes that differ.
//!
//! Flow: whoever judges a change ([`Editor::judge`](super::Editor::judge)) hands the outcome to [`of`]. Requests that are alike
//! (method, host, path, environment, who) are replayed once; what differs is counted by kind, with a few examples of each.
//! What no recent request has touched is told by the routes that differ.
//!
//! Invariants: a preview is bounded whatever is changed (`a_preview_is_bounded`); nothing is published or remembered for it; it
//! holds no query, no credential and no token.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ahash::RandomState;
use serde::Serialize;

use crate::clock::UnixMillis;
use crate::observe::requests::{Requests, Seen};
use crate::observe::timestamp::rfc3339_micros;
use crate::reload::Judged;
use crate::table::Table;
use crate::table::diff::{Diff, diff};
use crate::table::replay::{Answer, Asked, Change, Outcome};

/// Examples of a kind.
const EXAMPLES: usize = 5;

/// Routes that are named.
const ROUTES: usize = 200;

/// Characters of a path that are shown.
const PATH: usize = 200;

/// What a change would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Preview {
    /// The last requests, replayed.
    pub requests: Replayed,
    /// What differs for them, the gravest first.
    pub changes: Vec<Kind>,
    /// Routes that are new, gone or different, and how many of these requests each has served or would serve.
    pub routes: Vec<Touched>,
    /// How many more routes there are.
    pub routes_omitted: usize,
    /// Live keys outside of the routes that differ.
    pub settings: Vec<String>,
    /// Keys that wait for the next start.
    pub needs_restart: Vec<String>,
}

/// How many requests were replayed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Replayed {
    /// All of them.
    pub total: usize,
    /// Those that are unlike any other.
    pub distinct: usize,
    /// Those that nothing would change for.
    pub unchanged: usize,
    /// Those that something would change for.
    pub changed: usize,
    /// When the oldest came.
    pub since: Option<String>,
}

/// One kind of difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Kind {
    /// Which.
    pub change: Change,
    /// How many requests it concerns.
    pub requests: usize,
    /// How many of them are unlike any other.
    pub distinct: usize,
    /// The most frequent ones.
    pub examples: Vec<Example>,
}

/// One request, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// As received.
    pub method: String,
    /// As received.
    pub host: String,
    /// As received, without query; its beginning.
    pub path: String,
    /// The client or the person; empty: nobody.
    pub who: String,
    /// How often it came.
    pub requests: usize,
    /// What the table in force makes of it.
    pub before: Side,
    /// What the new one would.
    pub after: Side,
}

/// What a table makes of a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// `project/environment/prefix`.
    pub route: Option<String>,
    /// The environment.
    pub environment: Option<String>,
    /// `served`, `refused` or `answered` (by the edge itself).
    pub outcome: &'static str,
    /// Where it goes.
    pub to: Option<String>,
    /// Of a refusal.
    pub status: Option<u16>,
    /// Of a refusal.
    pub code: Option<&'static str>,
}

/// A route that is not what it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Touched {
    /// `project/environment/prefix`.
    pub route: String,
    /// `added`, `removed` or `changed`.
    pub change: &'static str,
    /// How many of the replayed requests it serves, before or after.
    pub requests: usize,
}

/// What a judged change would do to what `old` serves. A change that says nothing new does nothing.
pub fn of(old: &Table, judged: &Judged, recent: &Requests, now: UnixMillis) -> Preview {
    replay(old, judged.table.as_ref().unwrap_or(old), &recent.read(), now)
}

/// Replays requests through two tables.
pub fn replay(old: &Table, new: &Table, recent: &[Seen], now: UnixMillis) -> Preview {
    let groups = alike(recent);
    let mut found = Found::default();
    for (first, count) in &groups {
        found.request(old, new, first, *count, now);
    }
    let since = recent.iter().map(|seen| seen.at).min().map(rfc3339_micros);
    let requests = Replayed {
        total: found.unchanged + found.changed,
        distinct: groups.len(),
        unchanged: found.unchanged,
        changed: found.changed,
        since,
    };
    let difference = diff(old, new);
    let (routes, routes_omitted) = found.routes(&difference);
    let Diff { settings, needs_restart, .. } = difference;
    Preview { requests, changes: found.kinds(), routes, routes_omitted, settings, needs_restart }
}

type Alike<'s> = (&'s str, &'s str, &'s str, Option<&'s str>, &'s str, &'s str, &'s str, IpAddr);

/// Each request that is unlike the others, and how often it came; the most frequent first.
fn alike(recent: &[Seen]) -> Vec<(&Seen, usize)> {
    let mut groups: HashMap<Alike<'_>, (&Seen, usize), RandomState> = HashMap::default();
    for seen in recent {
        groups.entry(key(seen)).or_insert((seen, 0)).1 += 1;
    }
    let mut groups: Vec<(&Seen, usize)> = groups.into_values().collect();
    groups.sort_unstable_by(|(one, many), (other, more)| more.cmp(many).then_with(|| key(one).cmp(&key(other))));
    groups
}

/// Two that are equal are decided alike.
fn key(seen: &Seen) -> Alike<'_> {
    let environment = seen.named.then_some(seen.environment.as_str());
    (&seen.method, &seen.host, &seen.path, environment, &seen.client, &seen.user, &seen.source, seen.from)
}

/// What the replay has come to so far.
#[derive(Default)]
struct Found {
    unchanged: usize,
    changed: usize,
    kinds: BTreeMap<Change, Kind>,
    /// By route: how many requests it serves, before or after.
    served: HashMap<String, usize, RandomState>,
}

impl Found {
    fn request(&mut self, old: &Table, new: &Table, seen: &Seen, count: usize, now: UnixMillis) {
        let asked = asked(seen);
        let Some((before, after)) = old.replay(&asked, now).zip(new.replay(&asked, now)) else { return };
        let (one, other) = (before.route_name(), after.route_name());
        let moved = other.filter(|other| one.as_ref() != Some(other));
        for name in one.into_iter().chain(moved) {
            *self.served.entry(name).or_default() += count;
        }
        let changes = before.changes(&after);
        if changes.is_empty() {
            self.unchanged += count;
            return;
        }
        self.changed += count;
        for change in changes {
            let kind = self.kinds.entry(change);
            let kind = kind.or_insert_with(|| Kind { change, requests: 0, distinct: 0, examples: Vec::new() });
            kind.requests += count;
            kind.distinct += 1;
            if kind.examples.len() < EXAMPLES {
                kind.examples.push(Example::of(seen, count, &before, &after));
            }
        }
    }

    fn kinds(self) -> Vec<Kind> {
        self.kinds.into_values().collect()
    }

    fn routes(&self, difference: &Diff) -> (Vec<Touched>, usize) {
        let all = [("removed", &difference.removed), ("changed", &difference.changed), ("added", &difference.added)];
        let total: usize = all.iter().map(|(_, names)| names.len()).sum();
        let named = all.into_iter().flat_map(|(change, names)| names.iter().map(move |name| (change, name)));
        let touched = named.take(ROUTES).map(|(change, name)| Touched {
            route: name.clone(),
            change,
            requests: self.served.get(name).copied().unwrap_or_default(),
        });
        (touched.collect(), total.saturating_sub(ROUTES))
    }
}

fn asked(seen: &Seen) -> Asked<'_> {
    Asked {
        method: &seen.method,
        host: &seen.host,
        path: &seen.path,
        environment: seen.named.then_some(&seen.environment),
        client: &seen.client,
        user: &seen.user,
        source: &seen.source,
        from: seen.from,
    }
}

impl Example {
    fn of(seen: &Seen, requests: usize, before: &Outcome, after: &Outcome) -> Self {
        let who = if seen.client.is_empty() { &seen.user } else { &seen.client };
        Self {
            method: seen.method.clone(),
            host: seen.host.clone(),
            path: seen.path.chars().take(PATH).collect(),
            who: who.clone(),
            requests,
            before: Side::of(before),
            after: Side::of(after),
        }
    }
}

impl Side {
    fn of(outcome: &Outcome) -> Self {
        let (word, to, status, code) = match &outcome.answer {
            Answer::Served(to) => ("served", Some(to.clone()), None, None),
            Answer::Refused { status, code } => ("refused", None, Some(*status), Some(*code)),
            Answer::Own(_) | Answer::Options => ("answered", None, None, None),
        };
        let environment = outcome.environment.as_deref().map(str::to_owned);
        Self { route: outcome.route_name(), environment, outcome: word, to, status, code }
    }
}
