//! YAML on disk -> [`Model`]: exactly what was written, with every problem of every file in one run.
//!
//! Flow: [`load`] walks over the file and its includes (`files`, `include`), parses each into a positioned tree
//! (`parse`, `tree`), decodes its sections (`document`, `section`: one file each) with variables filled in
//! (`interpolate`) and secrets fetched (`secrets`), and returns the model with all diagnostics. Nothing is resolved
//! across sections here: that is `table::compile`'s.
//!
//! Invariants: no text makes it panic or cost more than a small multiple of its size; a secret is never in a
//! diagnostic, and masked wherever a file's text is shown (`mask`).

mod address;
mod dashboard;
pub mod data;
mod decoder;
mod document;
mod effective;
mod fields;
mod files;
mod header;
mod include;
mod interpolate;
mod mask;
pub mod model;
mod overlay;
mod parse;
pub mod place;
pub mod render;
mod secrets;
mod section;
mod sign_tokens;
mod syntax;
mod tree;
mod value;
mod web_url;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use crate::sign_token::SHORTEST as SHORTEST_SIGN_TOKEN;
pub use address::prefix as parse_prefix;
pub use dashboard::DASHBOARD;
pub use effective::{Effective, Line, Origin};
pub use files::read_limited;
pub use header::prefix as parse_header_prefix;
pub use model::Model;
pub use overlay::Overlay;
pub use section::tokens::sealing_key;
pub use value::{Problem, duration as parse_duration};

use crate::diagnostic::Diagnostic;

/// The texts of one configuration: what diagnostics point into.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Index = [`crate::diagnostic::FileId`]; the text has its secrets masked when it is rendered.
    pub files: Vec<SourceFile>,
}

/// One file of the set. Its `Debug` leaves the text out: literal secrets may stand in it.
#[derive(Clone)]
pub struct SourceFile {
    /// As the user named it (the root) or relative to the root's directory (includes), for messages.
    pub path: PathBuf,
    /// As read.
    pub text: String,
    /// Line ranges (byte offsets into `text`) that hold secrets and are shown as `***`.
    pub masked: Vec<std::ops::Range<usize>>,
}

impl std::fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceFile").field("path", &self.path).field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

/// Everything that one walk over the files found.
#[derive(Debug)]
pub struct Loading {
    /// The texts.
    pub sources: Sources,
    /// All errors and warnings, in file order.
    pub diagnostics: Vec<Diagnostic>,
    /// There when no diagnostic is an error.
    pub model: Option<Model>,
    /// Every file and directory whose change could change the outcome (YAML, includes' directories, secret files).
    pub watched: Vec<PathBuf>,
    /// SHA-256 over all texts, secret files and variables used: equal digests mean an unchanged configuration.
    pub sha256: [u8; 32],
}

/// Looks a variable up in the environment of the process (or of a test).
pub type Env<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// Reads the configuration at `path`. Never fails as a whole: what is wrong is in `diagnostics`.
pub fn load(path: &Path, env: Env<'_>) -> Loading {
    load_with(path, env, &Overlay::default())
}

/// The same, with some files as they would be.
pub fn load_with(path: &Path, env: Env<'_>, overlay: &Overlay) -> Loading {
    load_at(path, env, overlay, None)
}

/// The same for a process that keeps its state in `state_dir`, whatever the files say by now: where that is, is read at start.
pub fn load_at(path: &Path, env: Env<'_>, overlay: &Overlay, state_dir: Option<&Path>) -> Loading {
    let mut walk = files::Walk::new(env, overlay);
    walk.kept_in(state_dir);
    walk.start(path);
    let dir = path.parent().unwrap_or(Path::new(""));
    walk.dashboard(dir);
    walk.finish(dir)
}

/// The same for a text that has no file (`run --to`, tests); relative paths are relative to `dir`.
pub fn load_text(name: &str, text: &str, dir: &Path, env: Env<'_>) -> Loading {
    let overlay = Overlay::default();
    let mut walk = files::Walk::new(env, &overlay);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    walk.text(name, text.to_owned(), dir);
    walk.finish(dir)
}
