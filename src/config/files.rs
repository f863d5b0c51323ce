//! The files of one configuration: the first one, what it includes, what those include.
//!
//! Each file is read, parsed and decoded before its includes are, in the order in which they are named. A file that
//! was read before is not read again, unless it includes itself, which is an error.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::dashboard::{self, DASHBOARD};
use super::decoder::{Decoder, Gathered, Literals};
use super::document::{Include, Parts};
use super::include;
use super::mask;
use super::parse;
use super::secrets::reason;
use super::sign_tokens;
use super::tree::narrow;
use super::value::{Problem, printable, shown};
use super::{Env, Loading, Overlay, SourceFile, Sources};
use crate::diagnostic::{Diagnostic, FileId, Pos, Severity};

/// The largest file.
pub const MAX_FILE: usize = 16 << 20;
/// How many files one configuration may have.
const MAX_FILES: usize = 4096;

/// Walks over all files of one configuration.
pub struct Walk<'e> {
    gathered: Gathered<'e>,
    overlay: &'e Overlay,
    sources: Vec<SourceFile>,
    parts: Parts,
    /// Resolved paths of the files read so far.
    read: Vec<PathBuf>,
    /// Resolved paths of the files that are including each other right now.
    open: Vec<PathBuf>,
}

impl<'e> Walk<'e> {
    /// A walk over nothing yet.
    pub fn new(env: Env<'e>, overlay: &'e Overlay) -> Self {
        Self {
            gathered: Gathered::new(env, overlay),
            overlay,
            sources: Vec::new(),
            parts: Parts::default(),
            read: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Reads the first file.
    pub fn start(&mut self, path: &Path) {
        self.gathered.watched.insert(path.to_owned());
        match self.overlay.read(path) {
            Ok(bytes) => {
                self.bytes(path, bytes, Role::Configuration);
            }
            Err(error) => {
                self.parts.incomplete = true;
                let message = format!("{} cannot be read: {}", shown(&path.to_string_lossy()), reason(&error));
                let nowhere = Diagnostic { at: None, ..Diagnostic::error("unreadable_file", Pos::default(), message) };
                self.gathered.note(nowhere.hint("name the configuration with -c FILE"));
            }
        }
    }

    /// Takes a text in place of the first file.
    pub fn text(&mut self, name: &str, text: String, dir: &Path) {
        self.file(PathBuf::from(name), text, dir, Role::Configuration);
    }

    /// The running process keeps its state there, wherever the files say by now.
    pub fn kept_in(&mut self, state_dir: Option<&Path>) {
        self.parts.kept_in = state_dir.map(Path::to_owned);
    }

    /// Reads what the control plane has added, if there is anything. `dir`: the first file's directory.
    pub fn dashboard(&mut self, dir: &Path) {
        let state_dir = self.parts.state_dir(dir);
        let path = state_dir.join(DASHBOARD);
        self.gathered.watched.insert(path.clone());
        let resolved = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        // Without the operator's files there is nothing to add to; included by hand, it is refused as one of them.
        if self.parts.incomplete || self.read.contains(&resolved) {
            return;
        }
        match self.overlay.read(&path) {
            Ok(bytes) => {
                let file = self.bytes(&path, bytes, Role::Dashboard);
                dashboard::open_to_others(&path, file).into_iter().for_each(|it| self.gathered.note(it));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                self.parts.incomplete = true;
                let mut problem = dashboard::unreadable(&path, &error);
                if self.parts.kept_in.is_none() && dashboard::is_somebody_elses(&state_dir) {
                    problem.severity = Severity::Warning;
                }
                self.gathered.note(problem);
            }
        }
    }

    /// Ends the walk. `dir`: the first file's directory.
    pub fn finish(mut self, dir: &Path) -> Loading {
        self.parts.check(&mut self.gathered);
        sign_tokens::lend(&mut self.parts, &mut self.gathered, self.overlay, dir);
        let sha256 = self.digest();
        for (id, ranges) in std::mem::take(&mut self.gathered.masked) {
            if let Some(source) = self.sources.get_mut(usize::from(id.0)) {
                source.masked = mask::merged(ranges);
            }
        }
        let diagnostics = self.gathered.take_diagnostics();
        let good = !diagnostics.iter().any(Diagnostic::is_error);
        Loading {
            sources: Sources { files: self.sources },
            model: if good { Some(self.parts.into_model(dir)) } else { None },
            diagnostics,
            watched: self.gathered.watched.into_iter().collect(),
            sha256,
        }
    }

    fn bytes(&mut self, path: &Path, bytes: Vec<u8>, role: Role) -> FileId {
        let dir = path.parent().unwrap_or(Path::new("")).to_owned();
        let (text, bad) = decode_utf8(bytes);
        let id = self.file(path.to_owned(), text, &dir, role);
        if let Some(bad) = bad {
            self.not_utf8(id, bad);
        }
        id
    }

    fn not_utf8(&mut self, id: FileId, bad: usize) {
        let text = self.sources.get(usize::from(id.0)).map_or("", |source| &source.text);
        let before = text.get(..bad).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let at = Pos { file: id, line: narrow(line), column: narrow(column), len: 1 };
        let diagnostic = Diagnostic::error("not_utf8", at, "a byte that is not UTF-8").hint("save the file as UTF-8");
        self.gathered.note(diagnostic);
    }

    /// Decodes one text and everything that it includes.
    fn file(&mut self, path: PathBuf, text: String, dir: &Path, role: Role) -> FileId {
        let id = FileId(u16::try_from(self.sources.len()).unwrap_or(u16::MAX));
        let resolved = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        self.sources.push(SourceFile { path, text: String::new(), masked: Vec::new() });
        self.read.push(resolved.clone());
        let includes = self.document(&text, id, dir, role);
        if let Some(source) = self.sources.get_mut(usize::from(id.0)) {
            source.text = text;
        }
        self.open.push(resolved);
        for include in includes {
            self.include(dir, &include);
        }
        self.open.pop();
        id
    }

    fn document(&mut self, text: &str, file: FileId, dir: &Path, role: Role) -> Vec<Include> {
        let before = self.gathered.count();
        if text.len() > MAX_FILE {
            let at = Pos { file, line: 1, column: 1, len: 1 };
            let message = format!("the file is larger than {} MiB", MAX_FILE >> 20);
            self.gathered.note(Diagnostic::error("file_too_large", at, message).hint("split it with `include`"));
            self.parts.incomplete = true;
            return Vec::new();
        }
        let parsed = parse::parse(text, file);
        self.parts.incomplete |= parsed.broken;
        parsed.diagnostics.into_iter().for_each(|diagnostic| self.gathered.note(diagnostic));
        let mut decoder = Decoder { text, file, dir, literals: role.literals(), gathered: &mut self.gathered };
        let includes = match (&parsed.root, role) {
            (None, _) => Vec::new(),
            (Some(root), Role::Configuration) => self.parts.add(&mut decoder, root),
            (Some(root), Role::Dashboard) => {
                let name = self.sources.last().map(|source| source.path.to_string_lossy()).unwrap_or_default();
                dashboard::add(&mut self.parts, &mut decoder, root, &name);
                Vec::new()
            }
        };
        if decoder.gathered.count() > before || decoder.gathered.is_flooded() {
            let mut names = mask::ByName::new(text);
            parsed.root.iter().for_each(|root| names.node(root));
            parsed.dropped.iter().for_each(|entry| names.entry(entry));
            decoder.mask(names.masked);
            if parsed.root.is_none() {
                decoder.mask(mask::broken_text(text));
            }
        }
        includes
    }

    fn include(&mut self, dir: &Path, include: &Include) {
        let pattern = &include.pattern;
        if !include::is_pattern(pattern) {
            return self.include_file(&dir.join(&pattern.value), pattern.at, Named::Plainly);
        }
        match include::expand(dir, pattern) {
            Ok(expansion) => {
                self.gathered.watched.extend(expansion.directories);
                for path in expansion.files {
                    self.include_file(&path, pattern.at, Named::ByPattern);
                }
            }
            Err(Problem { code, clause, hint }) => {
                let message = format!("{} {clause}", shown(pattern));
                self.gathered.note(Diagnostic::error(code, pattern.at, message).hint(hint));
            }
        }
    }

    fn include_file(&mut self, path: &Path, at: Pos, named: Named) {
        self.gathered.watched.insert(path.to_owned());
        let resolved = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.open.contains(&resolved) {
            return self.cycle(path, at, named);
        }
        if self.read.contains(&resolved) {
            return;
        }
        if self.sources.len() >= MAX_FILES {
            self.parts.incomplete = true;
            let message = format!("more than {MAX_FILES} files");
            return self.gathered.note(Diagnostic::error("too_many_files", at, message));
        }
        match self.overlay.read(path) {
            Ok(bytes) => {
                self.bytes(path, bytes, Role::Configuration);
            }
            Err(error) => {
                self.parts.incomplete = true;
                let path = printable(&path.to_string_lossy());
                let message = format!("the included file `{path}` cannot be read: {}", reason(&error));
                let hint = "the path is relative to the file that names it";
                self.gathered.note(Diagnostic::error("unreadable_include", at, message).hint(hint));
            }
        }
    }

    fn cycle(&mut self, path: &Path, at: Pos, named: Named) {
        let message = format!("`{}` includes itself, directly or through others", printable(&path.to_string_lossy()));
        let hint = match named {
            Named::Plainly => "remove this line",
            Named::ByPattern => "choose a pattern that this file does not match, such as projects/*.yaml",
        };
        self.gathered.note(Diagnostic::error("include_cycle", at, message).hint(hint));
    }

    /// Over everything that was read: names and contents, each with its length so that none can pass for another.
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut item = |kind: u8, bytes: &[u8]| {
            hash.update([kind]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        for source in &self.sources {
            item(1, source.path.as_os_str().as_encoded_bytes());
            item(2, source.text.as_bytes());
        }
        for (path, content) in &self.gathered.files {
            item(3, path.as_os_str().as_encoded_bytes());
            item(4, content.as_ref().map_or(&[], |digest| digest.as_slice()));
        }
        for (name, value) in &self.gathered.variables {
            item(5, name.as_bytes());
            match value {
                Some(value) => item(6, value.as_bytes()),
                None => item(7, &[]),
            }
        }
        hash.finalize().into()
    }
}

/// The first bytes of a file, one more than the limit at most: enough to see that it is too large.
pub fn read_limited(path: &Path, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a file is to the configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The operator's.
    Configuration,
    /// The control plane's.
    Dashboard,
}

impl Role {
    fn literals(self) -> Literals {
        match self {
            Self::Configuration => Literals::Warned,
            Self::Dashboard => Literals::Private,
        }
    }
}

/// How an `include` came to a file.
#[derive(Clone, Copy)]
enum Named {
    Plainly,
    ByPattern,
}

/// Text without byte-order mark, and where the first byte is that is not UTF-8.
fn decode_utf8(bytes: Vec<u8>) -> (String, Option<usize>) {
    let (text, bad) = match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let bad = error.utf8_error().valid_up_to();
            (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(bad))
        }
    };
    match text.strip_prefix('\u{feff}') {
        Some(rest) => (rest.to_owned(), bad.map(|bad| bad.saturating_sub('\u{feff}'.len_utf8()))),
        None => (text, bad),
    }
}
