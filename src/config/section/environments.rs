//! `environments` of a project: production, local, and at most five others.

use std::collections::HashMap;

use crate::config::decoder::Decoder;
use crate::config::fields::Shape;
use crate::config::model::{Environment, Route};
use crate::config::section::routes::{self, Mode};
use crate::config::tree::{Entry, Node};
use crate::config::value;
use crate::diagnostic::{Diagnostic, Pos, Spanned};

/// One environment.
pub const ENVIRONMENT: Shape = Shape { what: "an environment", keys: &["routes"] };

/// How many a project may have beside production and local.
const MOST_OF_ONES_OWN: usize = 5;

/// Decodes the mapping. `family`: the signature headers' prefix, in family spelling.
pub fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>, family: &str) -> Vec<Environment> {
    let entries = decoder.named(node);
    let own = entries.iter().filter(|entry| !matches!(&*entry.key, "production" | "local"));
    for (count, entry) in own.enumerate() {
        if count == MOST_OF_ONES_OWN {
            let message = format!("more than {MOST_OF_ONES_OWN} environments beside production and local");
            decoder.note(Diagnostic::error("too_many_environments", entry.at, message));
        }
    }
    entries.iter().filter_map(|entry| environment(decoder, entry, family)).collect()
}

fn environment(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>, family: &str) -> Option<Environment> {
    let name = decoder.key(entry, value::environment_name);
    let fields = decoder.fields(&entry.value, &ENVIRONMENT)?;
    let routes = fields.get("routes").map(|node| routes(decoder, node, family)).unwrap_or_default();
    Some(Environment { name: name?, routes })
}

/// Decodes the routes of one environment of one file.
pub fn routes(decoder: &mut Decoder<'_, '_>, node: &Node<'_>, family: &str) -> Vec<Route> {
    let mut prefixes = Prefixes::default();
    let decode = |decoder: &mut Decoder<'_, '_>, node: &Node<'_>| routes::decode(decoder, node, family, &mut prefixes);
    decoder.list(node, decode).unwrap_or_default()
}

/// The prefixes of one environment by mode, and where each was written.
#[derive(Default)]
pub struct Prefixes {
    api: HashMap<String, Pos, ahash::RandomState>,
    direct: HashMap<String, Pos, ahash::RandomState>,
}

impl Prefixes {
    /// Notes a prefix that is taken.
    pub fn claim(&mut self, decoder: &mut Decoder<'_, '_>, mode: Mode, prefix: &Spanned<String>) {
        let (taken, message, hint) = match mode {
            Mode::Api => (
                &mut self.api,
                format!("{} has a route in this environment already", value::shown(prefix)),
                "an environment has one route for each prefix (`/a` and `/a/` are the same)",
            ),
            Mode::Direct => (
                &mut self.direct,
                format!("{} has a `direct` route in this environment already", value::shown(prefix)),
                "an environment has one route for each prefix and mode (`/a` and `/a/` are the same)",
            ),
        };
        let Some(first) = taken.get(&prefix.value) else {
            taken.insert(prefix.value.clone(), prefix.at);
            return;
        };
        decoder.note(
            Diagnostic::error("duplicate_prefix", prefix.at, message).hint(hint).related(*first, "first routed here"),
        );
    }
}
