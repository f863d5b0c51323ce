//! A route's `files`: a directory, what its directories are served as, and what is served where nothing else is.

use std::path::Path;

use crate::config::decoder::{Decoder, Literals};
use crate::config::fields::{Fields, Shape};
use crate::config::model::Files;
use crate::config::tree::{Entry, Kind};
use crate::config::value::{Problem, shown};
use crate::diagnostic::Diagnostic;

const FILES: Shape = Shape { what: "`files`", keys: &["root", "index", "fallback"] };

/// What a directory is served as when nobody says.
const INDEX: &str = "index.html";

/// The only methods that read a file.
const METHODS: [http::Method; 2] = [http::Method::GET, http::Method::HEAD];

/// Decodes the key.
pub fn decode(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<Files> {
    let fields = decoder.fields(&entry.value, &FILES)?;
    let index = fields.get("index").map(|node| decoder.optional(node, name));
    let fallback = fields.get("fallback").and_then(|node| decoder.optional(node, below_root));
    let root = decoder.required(&fields, "root", entry.at)?;
    let path = decoder.path(root)?;
    if path.is_none() {
        let problem = Diagnostic::error("invalid_value", root.target().at, "`root` is empty");
        decoder.note(problem.hint("name a directory; a relative path starts at the directory of this file"));
    }
    if decoder.literals == Literals::Private && path.as_ref().is_some_and(|it| overlaps(&it.value, decoder.dir)) {
        let problem = Diagnostic::error("unusable_root", root.target().at, "the state directory cannot be served");
        decoder.note(problem.hint("name a directory that neither holds it nor lies in it"));
        return None;
    }
    let index = index.map_or_else(|| INDEX.to_owned(), Option::unwrap_or_default);
    Some(Files { root: path?, index, fallback })
}

fn overlaps(root: &Path, state_dir: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (root, state_dir) = (real(root), real(state_dir));
    root.starts_with(&state_dir) || state_dir.starts_with(&root)
}

/// Notes what has no effect on a route that serves files: methods that read none, and waiting for an upstream.
pub fn check(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>, methods: Option<&[http::Method]>) {
    let useless = methods.unwrap_or_default().iter().find(|method| !METHODS.contains(method));
    if let (Some(method), Some(entry)) = (useless, fields.entry("methods")) {
        let message = format!("files are served to GET and HEAD, never to {}", shown(method.as_str()));
        decoder.note(Diagnostic::error("useless_key", entry.at, message).hint("leave `methods` out"));
    }
    let Some(Kind::Mapping(timeouts)) = fields.get("timeouts").map(|node| node.kind()) else { return };
    for timeout in timeouts.iter().filter(|timeout| timeout.key != "send") {
        let message = format!("{} has no effect beside `files`", shown(&format!("timeouts.{}", timeout.key)));
        let hint = "nothing is forwarded on this route; of the timeouts it has `send` alone";
        decoder.note(Diagnostic::error("useless_key", timeout.at, message).hint(hint));
    }
}

/// The name of one file.
fn name(text: &str) -> Result<String, Problem> {
    if text.contains('/') {
        return Err(Problem::not("invalid_path", "the name of a file").hint("write a name alone, such as index.html"));
    }
    below_root(text)
}

/// A file below the root, as a relative path; a slash in front is forgiven.
fn below_root(text: &str) -> Result<String, Problem> {
    let path = text.strip_prefix('/').unwrap_or(text);
    let is_name = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains('\0');
    if path.split('/').all(is_name) {
        return Ok(path.to_owned());
    }
    let problem = Problem::not("invalid_path", "a file below the root that may be served");
    Err(problem.hint("no name in it may be empty or begin with a dot"))
}
