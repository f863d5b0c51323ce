//! What is wrong with a configuration, and where: the currency between the reader, the compiler, `check`, reload,
//! the admin API and the log. Rendering is `config::render`'s; this file is only the words.

use serde::Serialize;

/// Which file of the set a position is in: an index into [`crate::config::Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u16);

/// A place in a configuration file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pos {
    /// The file.
    pub file: FileId,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// How many characters the caret underlines; at least 1.
    pub len: u32,
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands (for a default: where its section stands).
    pub at: Pos,
}

impl<T> Spanned<T> {
    /// Joins a value and a place.
    pub fn new(value: T, at: Pos) -> Self {
        Self { value, at }
    }
}

impl<T> std::ops::Deref for Spanned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// Whether the configuration is refused because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration holds; `check --strict` fails.
    Warning,
}

/// One problem, at one place, with what to do about it. Never contains a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// A stable snake_case name (`unknown_key`, `weak_sign_token` …); listed in the reference.
    pub code: &'static str,
    /// One lower-case clause: what is wrong.
    pub message: String,
    /// What to do about it; empty when there is nothing to add.
    pub hint: String,
    /// Where; `None` only for what has no place in a file (a missing file named on the command line).
    pub at: Option<Pos>,
    /// A second place that belongs to it (“first defined here”).
    pub related: Option<(Pos, String)>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: &'static str, at: Pos, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            hint: String::new(),
            at: Some(at),
            related: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, at: Pos, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, at, message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn related(mut self, at: Pos, note: impl Into<String>) -> Self {
        self.related = Some((at, note.into()));
        self
    }

    /// Whether it refuses the configuration.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
