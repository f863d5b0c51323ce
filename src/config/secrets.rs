//! Secret values: `${VAR}`, `file:path`, `credential:NAME` (systemd), or a literal, which is accepted with a warning.
//!
//! What is read here goes into a [`Secret`] and nowhere else: messages name places, never contents.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::decoder::{Decoder, Gathered, Literals};
use super::interpolate::{self, Fault};
use super::mask;
use super::tree::Node;
use super::value::printable;
use crate::diagnostic::{Diagnostic, Pos, Spanned};
use crate::secret::Secret;

/// The largest file that a secret may come from.
const MAX_SECRET_FILE: u64 = 64 * 1024;

impl Decoder<'_, '_> {
    /// A secret.
    pub fn secret(&mut self, node: &Node<'_>) -> Option<Spanned<Secret>> {
        let at = node.target().at;
        self.mask_value(node);
        let raw = self.raw(node, "a single value")?;
        let filled = match self.filled(raw) {
            Ok(filled) => filled,
            Err(fault) => {
                self.secret_fault(node, raw, fault);
                return None;
            }
        };
        // The word before the colon must stand in the file: a variable's content is never read as a reference.
        let clear = if mask::is_reference(raw) {
            self.referenced(at, &filled.text)?
        } else {
            if self.literals == Literals::Warned && !filled.from_variable && !filled.text.is_empty() {
                self.note(literal(at));
            }
            filled.text
        };
        Some(Spanned::new(Secret::new(clear), at))
    }

    /// A `$` without braces may well belong to the secret itself: such a “variable” is not named.
    fn secret_fault(&mut self, node: &Node<'_>, raw: &str, fault: Fault) {
        let at = node.place_of(self.text, fault.range.clone());
        if fault.code == "unset_variable" && interpolate::is_bare(raw, &fault.range) {
            let message = "a variable that this secret names is not set";
            let hint = "if the `$` is part of the secret, write `$$`; better, keep the secret in a file or variable";
            return self.note(Diagnostic::error(fault.code, node.target().at, message).hint(hint));
        }
        self.note(Diagnostic::error(fault.code, at, fault.message).hint(fault.hint));
    }

    fn referenced(&mut self, at: Pos, reference: &str) -> Option<String> {
        let (path, private) = if let Some(name) = reference.strip_prefix("credential:") {
            (self.credential_path(at, name)?, false)
        } else {
            let path = reference.strip_prefix("file:").unwrap_or(reference);
            if path.is_empty() {
                self.note(Diagnostic::error("secret_file", at, "a file name is missing after `file:`"));
                return None;
            }
            (self.dir.join(path), true)
        };
        if self.literals == Literals::Private && is_the_processes_own(self.dir, &path) {
            let message = "the process keeps this file for itself; no route that is made here may name it";
            self.note(Diagnostic::error("secret_file", at, message).hint("keep the secret in a file of its own"));
            return None;
        }
        let read = match self.gathered.overlay.instead_of(&path) {
            None => read(&path),
            Some(Some(bytes)) => text(bytes.to_vec()).map(|text| Found { text, open_to_others: false }),
            Some(None) => Err(cannot(&std::io::ErrorKind::NotFound.into())),
        };
        self.gathered.depends_on(&path, read.as_ref().ok().map(|found| found.text.as_bytes()));
        match read {
            Ok(found) => {
                if private && found.open_to_others {
                    self.note(open_to_others(at, &path));
                }
                Some(found.text)
            }
            Err(clause) => {
                let message = format!("the secret file `{}` {clause}", printable(&path.to_string_lossy()));
                let hint = if path.is_relative() || reference.starts_with("file:") {
                    "a relative path starts at the directory of the file that names it"
                } else {
                    ""
                };
                self.note(Diagnostic::error("secret_file", at, message).hint(hint));
                None
            }
        }
    }

    fn credential_path(&mut self, at: Pos, name: &str) -> Option<PathBuf> {
        const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            let message = format!("`{}` is not the name of a credential", printable(name));
            self.note(Diagnostic::error("secret_credential", at, message));
            return None;
        }
        let env = self.gathered.env;
        let directory = self.gathered.variables.entry(DIRECTORY.into()).or_insert_with(|| env(DIRECTORY)).clone();
        if directory.is_none() {
            let message =
                format!("`credential:{}` needs the variable `{DIRECTORY}`, which is not set", printable(name));
            let hint = "systemd sets it for a service with LoadCredential= or SetCredential=";
            self.note(Diagnostic::error("secret_credential", at, message).hint(hint));
        }
        directory.map(|directory| Path::new(&directory).join(name))
    }
}

impl Gathered<'_> {
    /// Remembers a file whose content belongs to the configuration.
    pub fn depends_on(&mut self, path: &Path, content: Option<&[u8]>) {
        self.watched.insert(path.to_owned());
        self.files.insert(path.to_owned(), content.map(|content| Sha256::digest(content).into()));
    }
}

struct Found {
    text: String,
    open_to_others: bool,
}

/// A small text file without its one trailing line end; the error is the rest of a sentence.
fn read(path: &Path) -> Result<Found, String> {
    let cannot = |error: std::io::Error| cannot(&error);
    // Asked before opening: a named pipe in the file's place would hold the reader up.
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err("is not a regular file".into());
    }
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(MAX_SECRET_FILE + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_SECRET_FILE {
        return Err("is larger than 64 KiB".into());
    }
    Ok(Found { text: text(bytes)?, open_to_others: open_to_others_mode(&metadata) })
}

/// Whether a file below the state directory is one that the process keeps for itself.
fn is_the_processes_own(state_dir: &Path, path: &Path) -> bool {
    const OWN: &[&str] =
        &["sign-tokens", "undo", "pending", "acme", "admin.token", "cookie.key", super::dashboard::DASHBOARD];
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let path = real(path);
    let first = path.strip_prefix(real(state_dir)).ok().and_then(|below| below.components().next());
    first.is_some_and(|first| OWN.iter().any(|own| first.as_os_str() == *own))
}

fn cannot(error: &std::io::Error) -> String {
    format!("cannot be read: {}", reason(error))
}

/// A secret without the one line end behind it.
fn text(bytes: Vec<u8>) -> Result<String, String> {
    let mut text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// An error of the system in plain words.
pub fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        std::io::ErrorKind::IsADirectory => "it is a directory".into(),
        _ => error.to_string().to_lowercase(),
    }
}

fn open_to_others_mode(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o004 != 0
}

fn open_to_others(at: Pos, path: &Path) -> Diagnostic {
    let path = printable(&path.to_string_lossy());
    Diagnostic::warning("secret_permissions", at, format!("every user of this machine can read `{path}`"))
        .hint(format!("chmod 600 {path}"))
}

fn literal(at: Pos) -> Diagnostic {
    Diagnostic::warning("literal_secret", at, "a secret stands in the file itself")
        .hint("move it out: ${VARIABLE}, file:path, or credential:NAME")
}
