//! What every section decoder uses: typed values out of nodes, with each problem noted and decoding going on.
//!
//! A method answers `None` when it has noted why; the caller then takes a default or leaves the thing out, and the
//! error keeps the model from being used. Variables are filled in here and nowhere else.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::interpolate::{self, Fault, Filled};
use super::mask;
use super::tree::{Entry, Kind, Node};
use super::value::{Problem, shown};
use super::{Env, Overlay};
use crate::diagnostic::{Diagnostic, FileId, Pos, Severity, Spanned};

/// How many problems are kept: more than anyone reads, fewer than would fill the memory.
pub const MOST: usize = 10_000;

/// What is gathered over all files.
pub struct Gathered<'e> {
    /// The environment.
    pub env: Env<'e>,
    /// Files as they would be.
    pub overlay: &'e Overlay,
    /// All problems, up to [`MOST`].
    diagnostics: Vec<Diagnostic>,
    /// That there were more, at the first of them.
    dropped: Option<Diagnostic>,
    /// Secret bytes, by file.
    pub masked: BTreeMap<FileId, Vec<Range<usize>>>,
    /// Every variable that was asked for, and what it was.
    pub variables: BTreeMap<String, Option<String>>,
    /// Every other file that was read, and its digest (`None`: it could not be read).
    pub files: BTreeMap<PathBuf, Option<[u8; 32]>>,
    /// What to watch.
    pub watched: BTreeSet<PathBuf>,
    /// How many routes are written, good or not.
    pub routes: usize,
    /// Every key that an unknown one was probably meant to be, in any mapping.
    pub meant: BTreeSet<&'static str>,
}

impl<'e> Gathered<'e> {
    /// Nothing yet.
    pub fn new(env: Env<'e>, overlay: &'e Overlay) -> Self {
        Self {
            env,
            overlay,
            diagnostics: Vec::new(),
            dropped: None,
            masked: BTreeMap::new(),
            variables: BTreeMap::new(),
            files: BTreeMap::new(),
            watched: BTreeSet::new(),
            routes: 0,
            meant: BTreeSet::new(),
        }
    }
}

impl Gathered<'_> {
    /// Notes a problem; of a flood only the beginning is kept.
    pub fn note(&mut self, diagnostic: Diagnostic) {
        if !self.is_flooded() {
            return self.diagnostics.push(diagnostic);
        }
        let dropped = self.dropped.get_or_insert_with(|| too_many(diagnostic.at));
        if diagnostic.is_error() {
            dropped.severity = Severity::Error;
        }
    }

    /// Whether one of these keys was probably meant somewhere.
    pub fn is_meant(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.meant.contains(key))
    }

    /// How many problems there are so far.
    pub fn count(&self) -> usize {
        self.diagnostics.len()
    }

    /// Whether further problems are no longer kept.
    pub fn is_flooded(&self) -> bool {
        self.diagnostics.len() >= MOST
    }

    /// All problems, in file order.
    pub fn take_diagnostics(&mut self) -> Vec<Diagnostic> {
        let mut diagnostics = std::mem::take(&mut self.diagnostics);
        diagnostics.extend(self.dropped.take());
        diagnostics.sort_by_key(|diagnostic| diagnostic.at);
        diagnostics
    }
}

fn too_many(at: Option<Pos>) -> Diagnostic {
    let message = format!("more than {MOST} problems; the others are not shown");
    Diagnostic { at, ..Diagnostic::warning("too_many_problems", Pos::default(), message) }
}

/// Whether a text is a URL with a user in it, where a password is not far.
fn names_a_user(text: &str) -> bool {
    let place = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    place.is_some_and(|place| place.contains('@'))
}

/// Decodes one file.
pub struct Decoder<'d, 'e> {
    /// The file's text.
    pub text: &'d str,
    /// Its place among the sources.
    pub file: FileId,
    /// What its relative paths are relative to.
    pub dir: &'d Path,
    /// Whether secrets should stand in it.
    pub literals: Literals,
    /// Everything that outlives the file.
    pub gathered: &'d mut Gathered<'e>,
}

/// What is said of secrets that stand in a file themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Literals {
    /// That they had better stand elsewhere: people share such files.
    Warned,
    /// Nothing: the file is as private as one that a secret would be moved to.
    Private,
}

/// A scalar with its variables filled in.
pub struct Text<'n> {
    /// What it became.
    pub value: Cow<'n, str>,
    /// What stands in the file.
    pub raw: &'n str,
    /// Whether a variable's content is part of it.
    pub from_variable: bool,
}

impl<'d> Decoder<'d, '_> {
    /// Notes a problem.
    pub fn note(&mut self, diagnostic: Diagnostic) {
        self.gathered.note(diagnostic);
    }

    /// The text of a scalar.
    pub fn text<'n>(&mut self, node: &'n Node<'_>) -> Option<Text<'n>> {
        let raw = self.raw(node, "a single value")?;
        if interpolate::is_plain(raw) {
            return Some(Text { value: Cow::Borrowed(raw), raw, from_variable: false });
        }
        match self.filled(raw) {
            Ok(filled) => Some(Text { value: Cow::Owned(filled.text), raw, from_variable: filled.from_variable }),
            Err(fault) => {
                let at = node.place_of(self.text, fault.range);
                self.note(Diagnostic::error(fault.code, at, fault.message).hint(fault.hint));
                None
            }
        }
    }

    /// The text of a scalar as it stands in the file.
    pub fn raw<'n>(&mut self, node: &'n Node<'_>, wanted: &str) -> Option<&'n str> {
        let raw = node.scalar();
        if raw.is_none() {
            self.wrong_kind(node, wanted);
        }
        raw
    }

    /// Fills variables in, and remembers which.
    pub fn filled(&mut self, raw: &str) -> Result<Filled, Fault> {
        let pieces = interpolate::parse(raw)?;
        let gathered = &mut *self.gathered;
        interpolate::evaluate(raw, &pieces, &mut |name| {
            let env = gathered.env;
            gathered.variables.entry(name.to_owned()).or_insert_with(|| env(name)).clone()
        })
    }

    /// A typed value.
    pub fn parsed<T>(&mut self, node: &Node<'_>, parse: impl FnOnce(&str) -> Result<T, Problem>) -> Option<T> {
        let text = self.text(node)?;
        match parse(&text.value) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problem(node, &text, problem);
                None
            }
        }
    }

    /// A typed value and its place.
    pub fn spanned<T>(
        &mut self,
        node: &Node<'_>,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Option<Spanned<T>> {
        self.parsed(node, parse).map(|value| Spanned::new(value, node.target().at))
    }

    /// Text of any content.
    pub fn string(&mut self, node: &Node<'_>) -> Option<String> {
        self.text(node).map(|text| text.value.into_owned())
    }

    /// A typed value; an empty text stands for none.
    pub fn optional<T>(&mut self, node: &Node<'_>, parse: impl FnOnce(&str) -> Result<T, Problem>) -> Option<T> {
        self.parsed(node, |text| if text.is_empty() { Ok(None) } else { parse(text).map(Some) }).flatten()
    }

    /// Text and its place; an empty one stands for none.
    pub fn optional_spanned(&mut self, node: &Node<'_>) -> Option<Spanned<String>> {
        let text = self.optional(node, |text| Ok(text.to_owned()))?;
        Some(Spanned::new(text, node.target().at))
    }

    /// A typed key (of a mapping that maps names to things). Keys hold no variables.
    pub fn key<T>(&mut self, entry: &Entry<'_>, parse: impl FnOnce(&str) -> Result<T, Problem>) -> Option<Spanned<T>> {
        match parse(&entry.key) {
            Ok(value) => Some(Spanned::new(value, entry.at)),
            Err(problem) => {
                let subject = if entry.key.is_empty() { "an empty key".to_owned() } else { shown(&entry.key) };
                let message = format!("{subject} {}", problem.clause);
                self.note(Diagnostic::error(problem.code, entry.at, message).hint(problem.hint));
                None
            }
        }
    }

    /// A path, relative to the file that names it; `None` when it is empty.
    pub fn path(&mut self, node: &Node<'_>) -> Option<Option<Spanned<PathBuf>>> {
        let dir = self.dir;
        let path = self.spanned(node, |text| match text {
            text if text.contains('\0') => Err(Problem::not("invalid_value", "a path")),
            text => Ok((!text.is_empty()).then(|| dir.join(text))),
        })?;
        Some(path.value.map(|value| Spanned::new(value, path.at)))
    }

    /// Every element of a list, each decoded by itself; nothing for nothing.
    pub fn list<T>(
        &mut self,
        node: &Node<'_>,
        mut decode: impl FnMut(&mut Self, &Node<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        match node.kind() {
            Kind::Null => Some(Vec::new()),
            Kind::Sequence(nodes) => Some(nodes.iter().filter_map(|node| decode(self, node)).collect()),
            Kind::Scalar(_) | Kind::Mapping(_) | Kind::Shared(_) => {
                self.wrong_kind(node, "a list");
                None
            }
        }
    }

    /// A list of typed scalars.
    pub fn values<T>(&mut self, node: &Node<'_>, parse: impl Fn(&str) -> Result<T, Problem>) -> Option<Vec<T>> {
        self.list(node, |decoder, node| decoder.parsed(node, &parse))
    }

    /// A list of typed scalars with their places.
    pub fn spanned_values<T>(
        &mut self,
        node: &Node<'_>,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Option<Vec<Spanned<T>>> {
        self.list(node, |decoder, node| decoder.spanned(node, &parse))
    }

    /// The entries of a mapping whose keys are names; nothing for nothing.
    pub fn named<'n, 't>(&mut self, node: &'n Node<'t>) -> &'n [Entry<'t>] {
        match node.kind() {
            Kind::Mapping(entries) => entries,
            Kind::Null => &[],
            _ => {
                self.wrong_kind(node, "a mapping of names");
                &[]
            }
        }
    }

    /// Notes that a node is no …
    pub fn wrong_kind(&mut self, node: &Node<'_>, wanted: &str) {
        let at = node.target().at;
        let message = match node.kind() {
            Kind::Null => format!("a value is missing: {wanted} is expected"),
            _ => format!("{wanted} is expected here, not {}", node.kind_name()),
        };
        let hint = match (node.kind(), wanted) {
            (Kind::Scalar(_), "a list") => "write it in brackets: [ … ]",
            (Kind::Mapping(_), "a single value") => "a value with `{` or `: ` in it needs quotes",
            _ => "",
        };
        self.note(Diagnostic::error("wrong_type", at, message).hint(hint));
    }

    /// Notes why a text is no value. What came from a variable is not shown: it may have been the wrong variable.
    pub fn problem(&mut self, node: &Node<'_>, text: &Text<'_>, problem: Problem) {
        let at = node.target().at;
        let subject = match (text.from_variable, text.value.is_empty()) {
            (true, _) => shown(text.raw),
            (false, true) => "an empty value".to_owned(),
            (false, false) if names_a_user(&text.value) => {
                self.mask_value(node);
                "this URL".to_owned()
            }
            (false, false) => shown(&text.value),
        };
        let hint = match text.from_variable {
            true => "look at what the variable holds".to_owned(),
            false => problem.hint,
        };
        self.note(Diagnostic::error(problem.code, at, format!("{subject} {}", problem.clause)).hint(hint));
    }

    /// Makes the content of a file part of the configuration: a change of it is a change of the whole.
    pub fn depends_on_file(&mut self, path: &Path) {
        let regular = path.is_file().then(|| super::files::read_limited(path, super::files::MAX_FILE));
        let content = regular.and_then(Result::ok);
        self.gathered.depends_on(path, content.as_deref());
    }

    /// Masks bytes of this file.
    pub fn mask(&mut self, ranges: impl IntoIterator<Item = Range<usize>>) {
        self.gathered.masked.entry(self.file).or_default().extend(ranges);
    }

    /// Masks the secret parts of a value.
    pub fn mask_value(&mut self, node: &Node<'_>) {
        let mut ranges = Vec::new();
        mask::everything(self.text, node, &mut ranges);
        self.mask(ranges);
    }
}
