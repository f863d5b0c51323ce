//! The configuration as it is in force: every key with its value, defaults filled in, and where each value came from.
//!
//! Flow: [`Effective::of`] takes what was decoded (`spell`: one function for each kind of thing, which takes its struct apart
//! without `..`, so that a new field cannot be forgotten) and looks up in the texts which of it was written (`origin`).
//! The command line, the admin API and the dashboard show the same.
//!
//! Invariants: no secret is in it (`no_secret_is_shown`); every key that was written is in it
//! (`everything_that_was_written_is_there`). What is left out: parts that are switched off, and keys without which something
//! is found out by the process itself (such as `server.threads`).

mod origin;
mod spell;
#[cfg(test)]
mod tests;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{Model, Sources};

/// What secrets are shown as.
const HIDDEN: &str = "***";

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Effective {
    root: Node,
}

/// A value, and where it came from.
#[derive(Clone, Debug)]
struct Node {
    value: Value,
    /// `None`: it is the default.
    origin: Option<Origin>,
}

/// A value.
#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Whole(u64),
    Fraction(f64),
    Flag(bool),
    Secret,
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Origin {
    /// As in diagnostics.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One key and its value.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// `listeners.http.address`, `projects.demo.environments.production.routes[0].prefix`.
    pub key: String,
    /// In YAML, on one line; secrets as `***`.
    pub value: String,
    /// `None`: it is the default.
    pub origin: Option<Origin>,
}

impl Effective {
    /// What `model`, as it was read from `sources`, says.
    pub fn of(model: &Model, sources: &Sources) -> Self {
        let mut root = spell::model(model);
        origin::find(&mut root, sources);
        Self { root }
    }

    /// A configuration that says the same (but for the secrets), with nothing left to defaults.
    pub fn yaml(&self) -> String {
        serde_yaml::to_string(&self.root).unwrap_or_default()
    }

    /// The same as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::to_value(&self.root).unwrap_or_default()
    }

    /// Every key, in the order of the sections.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        self.root.lines(String::new(), &mut lines);
        lines
    }
}

impl Node {
    /// Lists of plain values are one line.
    fn lines(&self, key: String, lines: &mut Vec<Line>) {
        match &self.value {
            Value::Map(entries) if !entries.is_empty() => {
                for (name, node) in entries {
                    node.lines(below(&key, name), lines);
                }
            }
            Value::List(nodes) if nodes.iter().any(Self::has_parts) => {
                for (place, node) in nodes.iter().enumerate() {
                    node.lines(format!("{key}[{place}]"), lines);
                }
            }
            _ => lines.push(Line { key, value: self.inline(), origin: self.origin.clone() }),
        }
    }

    fn has_parts(&self) -> bool {
        matches!(&self.value, Value::List(_) | Value::Map(_))
    }

    fn inline(&self) -> String {
        match &self.value {
            Value::List(nodes) => {
                let inside: Vec<String> = nodes.iter().map(Self::inline).collect();
                format!("[{}]", inside.join(", "))
            }
            Value::Map(_) => "{}".to_owned(),
            Value::Secret => HIDDEN.to_owned(),
            Value::Text(text) if text.is_empty() => "\"\"".to_owned(),
            _ => serde_yaml::to_string(self).map(|text| one_line(text.trim_end())).unwrap_or_default(),
        }
    }
}

/// A text of several lines is shown with its escapes.
fn one_line(yaml: &str) -> String {
    if !yaml.contains('\n') {
        return yaml.to_owned();
    }
    let text: String = serde_yaml::from_str(yaml).unwrap_or_default();
    format!("{text:?}")
}

fn below(key: &str, name: &str) -> String {
    let name = if name.contains(['.', '[', ' ']) { format!("{name:?}") } else { name.to_owned() };
    if key.is_empty() { name } else { format!("{key}.{name}") }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Whole(number) => serializer.serialize_u64(*number),
            Value::Fraction(number) => serializer.serialize_f64(*number),
            Value::Flag(flag) => serializer.serialize_bool(*flag),
            Value::Secret => serializer.serialize_str(HIDDEN),
            Value::List(nodes) => {
                let mut list = serializer.serialize_seq(Some(nodes.len()))?;
                nodes.iter().try_for_each(|node| list.serialize_element(node))?;
                list.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, node)| map.serialize_entry(key, node))?;
                map.end()
            }
        }
    }
}
