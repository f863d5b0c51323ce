//! What a change would do, in words.

use crate::edit::preview;
use crate::table::replay::Change;

use super::super::words::Words;

/// One kind of difference, as it is shown.
pub struct Kind {
    pub tone: &'static str,
    pub word: &'static str,
    pub requests: usize,
    pub examples: Vec<Example>,
}

/// One request before and after.
pub struct Example {
    pub request: String,
    pub who: String,
    pub count: usize,
    pub before: String,
    pub after: String,
}

/// A route that differs.
pub struct Touched {
    pub tone: &'static str,
    pub word: &'static str,
    pub route: String,
    pub requests: usize,
}

/// Whether somebody would lose something by it: service, or a lock on the door.
pub fn is_grave(change: Change) -> bool {
    matches!(
        change,
        Change::LosesAuthentication
            | Change::Becomes404
            | Change::Becomes405
            | Change::Becomes403
            | Change::Becomes401
            | Change::BecomesRefused
            | Change::OtherSignature
    )
}

impl Kind {
    pub fn of(w: &Words, kind: &preview::Kind) -> Self {
        Self {
            tone: if is_grave(kind.change) { "bad" } else { "info" },
            word: word(w, kind.change),
            requests: kind.requests,
            examples: kind.examples.iter().map(Example::of).collect(),
        }
    }
}

impl Example {
    fn of(example: &preview::Example) -> Self {
        Self {
            request: format!("{} {}{}", example.method, example.host, example.path),
            who: example.who.clone(),
            count: example.requests,
            before: side(&example.before),
            after: side(&example.after),
        }
    }
}

impl Touched {
    pub fn of(w: &Words, touched: &preview::Touched) -> Self {
        let (tone, word) = match touched.change {
            "added" => ("ok", w.route_added),
            "removed" => ("bad", w.route_removed),
            _ => ("info", w.route_changed),
        };
        Self { tone, word, route: touched.route.clone(), requests: touched.requests }
    }
}

fn side(side: &preview::Side) -> String {
    let route = side.route.clone().unwrap_or_default();
    match (side.status, &side.to) {
        (Some(status), _) => format!("{status} {}", side.code.unwrap_or_default()),
        (None, Some(to)) => format!("{route} → {to}"),
        (None, None) => route,
    }
}

fn word(w: &Words, change: Change) -> &'static str {
    match change {
        Change::LosesAuthentication => w.loses_authentication,
        Change::Becomes404 => w.becomes_404,
        Change::Becomes405 => w.becomes_405,
        Change::Becomes403 => w.becomes_403,
        Change::Becomes401 => w.becomes_401,
        Change::BecomesRefused => w.becomes_refused,
        Change::BecomesServed => w.becomes_served,
        Change::OtherRefusal => w.other_refusal,
        Change::OtherEnvironment => w.other_environment,
        Change::GoesElsewhere => w.goes_elsewhere,
        Change::GainsAuthentication => w.gains_authentication,
        Change::OtherIdentity => w.other_identity,
        Change::OtherSignature => w.other_signature,
        Change::OtherSignToken => w.other_sign_token,
        Change::OtherCredential => w.other_credential,
        Change::OtherHeaders => w.other_headers,
        Change::OtherSettings => w.other_settings,
    }
}
